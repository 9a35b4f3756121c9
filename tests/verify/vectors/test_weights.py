"""Vectors in somebody's own convention are what that framework computes, and are judged as such."""

import json
from dataclasses import replace

import numpy as np
import pytest

from commands import invoke, refused
from gatewise.verify.cases.case import Case
from gatewise.verify.mutants import mutants
from gatewise.verify.vectors import cause, files, selection, weights
from gatewise.verify.vectors.files import numbers
from gatewise.verify.vectors.judgement import judge
from gatewise.verify.vectors.vector import ALL, FAR_STATE

CASES = (
    (Case(3, 2, 2, 3, bidirectional=True, layers=2), ALL),
    (Case(2, 2, 2, 2), FAR_STATE),
    (Case(4, 2, 3, 2, state=False), ALL),
)
STATEMENTS = {mutant.id: mutant.statement for mutant in mutants()}


def document(cell, convention, dtype="float64"):
    """Vectors of a few cases, all of which are kept, in a framework's convention."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "candidates", lambda cell, dtype, seed: (
            (replace(case, dtype=dtype), output) for case, output in CASES
        ))  # fmt: skip
        patch.setattr(selection, "_without_spare", list)
        adapter = weights.adapter(convention, cell) if convention else None
        return files.vectors(selection.select(cell, dtype, adapter=adapter))


def given_arrays(test):
    return {name: numbers(array.values, array.shape) for name, array in test.given.items()}


@pytest.fixture(scope="module")
def of_torch():
    return document("lstm", "torch")


def by_torch(test, slip=lambda state: state):
    """Compute a test with torch's own LSTM, whose names the arrays have."""
    torch = pytest.importorskip("torch")
    arrays = {n: torch.tensor(a, requires_grad=True) for n, a in given_arrays(test).items()}
    layer = torch.nn.LSTM(test.D, test.H, test.layers, bidirectional=test.bidirectional,
                          dtype=torch.float64)  # fmt: skip
    named = dict(layer.named_parameters())
    layer.load_state_dict(slip({n: arrays[n].detach() for n in named}))
    start = [arrays[f"initial {s}"] for s in "hc" if f"initial {s}" in arrays]
    y, (h, c) = layer(arrays["x"], tuple(start) or None)
    ends = ((y, "y"), (h, "final h"), (c, "final c"))
    sum((o * arrays[f"cotangent of {n}"].detach()).sum() for o, n in ends).backward()
    got = {name: output.detach().numpy() for output, name in ends}
    got |= {f"gradient of {n}": p.grad.numpy() for n, p in named.items()}
    names = ["x", *(n for n in arrays if n.startswith("initial "))]
    return got | {f"gradient of {n}": arrays[n].grad.numpy() for n in names}


def test_torch_itself_passes_with_its_own_arrays(of_torch):
    outputs = {str(test.id): by_torch(test) for test in of_torch.tests}

    judgement = judge(of_torch, outputs)

    assert judgement.passed, judgement
    assert {*outputs["1"]} == {*of_torch.tests[0].expected}
    assert of_torch.weights == "torch:LSTM"
    assert "b′ = bias_hh [4H]" in of_torch.equations[-1]


def exchanged(state):
    """Read i's and f's blocks one for the other, as a layer with another order of gates."""

    def turned(array):
        i, f, g, o = array.chunk(4)
        return array.new_tensor(np.concatenate([f, i, g, o]))

    return {name: turned(array) for name, array in state.items()}


def test_a_mistake_in_torch_s_arrays_is_named_exactly(of_torch):
    """Of those that fail the same tests, the one that computes the same numbers."""
    outputs = {str(test.id): by_torch(test, exchanged) for test in of_torch.tests}

    judgement = judge(of_torch, outputs)
    exact = cause.exact_suspects(of_torch, outputs, judgement.suspects)

    assert len(judgement.suspects) > 5
    assert [STATEMENTS[each] for each in exact] == [
        "The input and forget gates are exchanged in W, U and b."
    ]


def test_two_biases_are_no_halves_and_their_sum_is_exact(of_torch):
    """Whoever reads one of them twice is noticed; no rounding comes in by the division."""
    plain = document("lstm", "")
    for test, other in zip(of_torch.tests, plain.tests, strict=True):
        arrays, own = given_arrays(test), given_arrays(other)
        first, second = arrays["bias_ih_l0"], arrays["bias_hh_l0"]
        assert np.array_equal(first + second, own["b_l0"].reshape(-1))
        assert np.all(first != second)
        assert np.all(np.abs(first) < 2 * np.abs(second))
        assert {*test.catches} <= {*other.catches}
        assert len(test.catches) > 0.9 * len(other.catches)


def by_keras(test):
    """Compute a test as Keras lays arrays out, rows first: kernel (D, 4H), gates i, f, g, o."""
    arrays = given_arrays(test)
    W, R, b = (arrays[f"lstm_cell/{n}"] for n in ("kernel", "recurrent_kernel", "bias"))
    h, c = (arrays.get(f"initial {s}", np.zeros((1, test.B, test.H)))[0] for s in "hc")
    y = []
    for x in arrays["x"].swapaxes(0, 1):
        i, f, g, o = np.split(x @ W + h @ R + b, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-each)) for each in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        y.append(h)
    return {"y": np.stack(y, 1), "final h": h[None], "final c": c[None]}


def test_keras_has_its_names_and_rows_first():
    """Of what a layer of Keras offers: one direction, one layer."""
    made = document("lstm", "keras", "float32")
    outputs = {str(test.id): by_keras(test) for test in made.tests}

    assert judge(made, outputs).passed
    assert all(not test.bidirectional and test.layers == 1 for test in made.tests)
    assert made.tests[0].given["x"].shape[:2] == (made.tests[0].B, made.tests[0].T)


def test_the_command_names_a_mistake_exactly(tmp_path, of_torch):
    files.write(tmp_path / "v", of_torch)
    wrong = {str(t.id): {n: a.tolist() for n, a in by_torch(t, exchanged).items()}
             for t in of_torch.tests}  # fmt: skip
    (tmp_path / "wrong.json").write_text(json.dumps(wrong), encoding="utf-8")
    arguments = ["vectors", "check", str(tmp_path / "v"), "--outputs", str(tmp_path / "wrong.json")]

    said = invoke(*arguments)
    told = json.loads(invoke(*arguments, "--json").output)

    assert said.exit_code == 1
    assert "it computes what this mistake does: The input and forget gates" in said.output
    assert told["exact"] == ["L01"]
    refused(invoke("vectors export --cell gru --convention tourch -o", tmp_path), 2,
            "'tourch' states no convention of a layer of gru")  # fmt: skip
