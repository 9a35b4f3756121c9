"""Vectors are exact, catch what they say, and judge what somebody made of them."""

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import invoke, refused
from gatewise.reference.cells import cell_named
from gatewise.reference.layer import Layer
from gatewise.reference.parameters import Sizes
from gatewise.verify.cases.case import Case
from gatewise.verify.conventions.parameter_map import ExplicitMap
from gatewise.verify.mutants import mutants
from gatewise.verify.runs import npz
from gatewise.verify.runs.records import RunFileError
from gatewise.verify.vectors import files, selection
from gatewise.verify.vectors.files import numbers
from gatewise.verify.vectors.judgement import judge

CASES = (
    (Case(3, 2, 2, 3), ""),
    (Case(4, 3, 3, 2, lengths=True, state=False), ""),
    (Case(0, 2, 1, 3), ""),
    (Case(6, 4, 3, 2, lengths=True, zero_length=True, state=False), ""),
)


@pytest.fixture(scope="module")
def chosen():
    """Vectors of the RNN, chosen among a few cases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "candidates", lambda cell, dtype, seed: iter(CASES))
        return selection.select("rnn", "float64")


@pytest.fixture(scope="module")
def document(chosen):
    """The same as a file has it."""
    return files.vectors(chosen)


def computed(test, slip=lambda arrays: arrays):
    """Compute a test with NumPy alone, as its reader would: outputs by name."""
    given_arrays = {name: numbers(a.values, a.shape) for name, a in test.given.items()}
    given_arrays = slip(given_arrays)
    x, lengths = given_arrays["x"], given_arrays.get("lengths")
    ends = [test.T] * test.B if lengths is None else lengths.astype(int)
    h = given_arrays.get("initial h", np.zeros((1, test.B, test.H)))[0].copy()
    W, U, b = (given_arrays[f"{name}_l0"][0] for name in "WUb")
    y = np.zeros((test.T, test.B, test.H))
    for row in range(test.B):
        for t in range(ends[row]):
            h[row] = np.tanh(x[t, row] @ W + h[row] @ U + b)
            y[t, row] = h[row]
    return {"y": y, "final h": h[None]}


def test_every_vector_is_needed(chosen):
    for vector in chosen.vectors:
        others = frozenset().union(*(v.catches for v in chosen.vectors if v is not vector))
        assert vector.catches - others
    home = {m.id for m in mutants() if "rnn" in m.cells}
    assert chosen.catches | {*chosen.unseen} | {*chosen.missed} == home
    assert not chosen.catches & {*chosen.unseen}
    assert len(chosen.catches) > 35


def test_what_is_not_shown_has_a_reason(chosen):
    assert all(len(reason) > 20 for reason in chosen.unseen.values())
    assert "training" in chosen.unseen["M02"]
    assert "from one call to another" in chosen.unseen["L11"]


def test_a_reader_with_numpy_alone_agrees(document):
    """What is written is enough to compute every output, within its bounds."""
    outputs = {str(test.id): computed(test) for test in document.tests}

    judgement = judge(document, outputs)

    assert judgement.passed, judgement
    assert 0 < max(r.worst for r in judgement.results) <= 1


SLIPS = {
    "no bias": lambda arrays: arrays | {"b_l0": 0 * arrays["b_l0"]},
    "U transposed": lambda arrays: arrays | {"U_l0": arrays["U_l0"].swapaxes(1, 2)},
    "no initial state": lambda arrays: {n: a for n, a in arrays.items() if n != "initial h"},
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_of_a_reader_fails(document, slip):
    """With the array, the index and the numbers; the catalogue's mistakes like it are named."""
    outputs = {str(test.id): computed(test, SLIPS[slip]) for test in document.tests}

    judgement = judge(document, outputs)

    assert judgement.failed
    assert not [each for each in judgement.suspects if each.startswith("G")]  # no gradients given
    message = next(r.message for r in judgement.results if r.status == "failed")
    assert "expected" in message
    assert "[" in message


def test_numbers_are_exact(chosen, document):
    """The very bits that were drawn; bounds are rounded up."""
    for vector, test in zip(chosen.vectors, document.tests, strict=True):
        for name, array in vector.given.items():
            written = numbers(test.given[name].values, test.given[name].shape)
            assert np.array_equal(written, array, equal_nan=True)
        for name, want in vector.expected.items():
            bounds = numbers(test.expected[name].bounds, want.value.shape)
            assert np.all(bounds >= want.bound)
            assert np.all(bounds <= 1.05 * want.bound)


@given(st.floats(allow_nan=False))
def test_hexadecimal_is_short_and_exact(value):
    """As C's strtod and others read it."""
    written = files._hexadecimal(value)
    assert float.fromhex(written) == value
    assert math.copysign(1, float.fromhex(written)) == math.copysign(1, value)


def test_expectations_are_those_of_the_reference(chosen):
    vector = next(v for v in chosen.vectors if v.case.state and not v.case.lengths and v.case.T)
    case, given_arrays = vector.case, vector.given
    layer = Layer(cell_named("rnn"), Sizes(case.D, case.H))
    parameters = ExplicitMap("rnn", case).to_reference(given_arrays)
    y = layer.forward(parameters, given_arrays["x"], (given_arrays["initial h"],)).y

    assert np.all(np.abs(y - vector.expected["y"].value) <= vector.expected["y"].bound)


def test_the_commands(chosen, document, here, monkeypatch):
    monkeypatch.setattr(selection, "candidates", lambda cell, dtype, seed: iter(CASES))

    said = invoke("vectors export --cell rnn -o v --format npz")
    assert said.exit_code == 0
    assert f"they catch {len(chosen.catches)} of the" in said.output
    with np.load("v/vectors.npz") as arrays:
        assert "1/expected/y" in arrays
    outputs = {str(test.id): computed(test) for test in document.tests}
    plain = {test: {n: a.tolist() for n, a in named.items()} for test, named in outputs.items()}
    (here / "right.json").write_text(json.dumps(plain), encoding="utf-8")
    assert invoke("vectors check v --outputs right.json").exit_code == 0
    first = next(iter(plain))
    del plain[first]
    (here / "few.json").write_text(json.dumps(plain), encoding="utf-8")
    few = invoke("vectors check v --outputs few.json")
    refused(few, 3, f"test {first} not tested")
    np.savez(here / "wrong.npz", **{f"{test}/y": 0.9 * named["y"] + 0.1
                                        for test, named in outputs.items()})  # fmt: skip
    wrong = invoke("vectors check v --outputs wrong.npz --json")
    assert wrong.exit_code == 1
    assert {r["status"] for r in json.loads(wrong.output)["results"]} <= {"failed", "passed"}


SHORT = {"x": {"shape": [2], "values": ["0x1p+0"]}}


@pytest.mark.parametrize("damage", [
    lambda d: d | {"schema": "gatewise.vectors/9"},
    lambda d: d | {"more": 1},
    lambda d: d | {"tests": [d["tests"][0] | {"T": "three"}]},
    lambda d: d | {"tests": [d["tests"][0] | {"given": SHORT}]},
    lambda d: d | {"tests": [d["tests"][0] | {"given": {"x": {"shape": [1], "values": ["one"]}}}]},
    lambda d: d | {"tests": [d["tests"][0] | {"given": {"x": {"shape": [-1], "values": []}}}]},
])  # fmt: skip
def test_a_damaged_file_is_refused(document, tmp_path, damage):
    whole = msgspec.to_builtins(document)
    (tmp_path / files.FILE).write_text(json.dumps(damage(whole)), encoding="utf-8")
    with pytest.raises(RunFileError, match=r"vectors\.json"):
        files.read(tmp_path)


def test_outputs_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "LARGEST", 1000)
    np.savez_compressed(tmp_path / "out.npz", **{"1/y": np.zeros((100, 10))})
    with pytest.raises(RunFileError, match="GiB of arrays"):
        files.outputs(tmp_path / "out.npz")


@pytest.mark.parametrize("text", ["[]", '{"1": {"y": "one"}}', '{"1": {"y": [[1], 2]}}', "nothing"])
def test_damaged_outputs_are_refused(tmp_path, text):
    (tmp_path / "out.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunFileError, match=r"out\.json"):
        files.outputs(tmp_path / "out.json")
