"""Arrays alone: which convention explains them, within which bound, and what stays open."""

import io
import json
import re
import zipfile

import numpy as np
import pytest

from commands import invoke, refused
from gatewise.reference.parameters import Sizes
from gatewise.verify.conventions import family
from gatewise.verify.conventions.convention import Convention
from gatewise.verify.identification.example import examples, roles
from gatewise.verify.identification.explanation import explain
from gatewise.verify.identification.probe import Unreadable
from some_conventions import forward

CONVENTIONS = {
    "torch lstm": Convention("lstm", "ifgo", ("ifgo", "ifgo")),
    "keras lstm": Convention("lstm", "ifgo", ("ifgo",), "in-out"),
    "tensorflow lstm": Convention("lstm", "igfo", ("igfo",), "joint", forget_offset=1.0),
    "torch gru": Convention("gru", "rzn", ("rzn", "rzm")),
    "haiku gru": Convention("gru", "zrn", ("zrn",), "in-out", reset="before", update="take"),
    "relu rnn": Convention("rnn", "a", ("a",), candidate="relu"),
}


def arrays(convention, *, T=4, B=3, D=7, H=5, seed=0, dtype="float32", state=True):
    """What a system of a convention returns: NumPy in its dtype."""
    rng, sizes = np.random.default_rng(seed), Sizes(D, H)
    stored = {
        name: rng.normal(size=shape, scale=0.5).astype(dtype)
        for name, shape in family.stored_shapes(convention, sizes).items()
    }
    x = rng.normal(size=(T, B, sizes.D)).astype(dtype)
    count = 2 if convention.family == "lstm" else 1
    start = tuple(rng.normal(size=(B, sizes.H), scale=float(state)).astype(dtype)
                  for _ in range(count))  # fmt: skip
    y, _ = forward(convention, sizes, stored, x, start)
    states = {f"{s}0": a for s, a in zip("hc", start, strict=False)}
    return stored | {"x": x, "y": y.astype(dtype)} | (states if state else {})


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_is_found_from_one_run(name):
    convention = CONVENTIONS[name]
    found = explain(convention.family, examples(arrays(convention), {}, convention.family))

    assert [fit.convention.differences(convention) for fit in found.fits] == [()]
    assert found.nearest.ratio <= 1
    assert found.nearest.residual <= found.nearest.bound


def test_all_steps_tell_which_convention_is_nearest():
    """Without a state, the first step is the same wherever a GRU's reset acts."""
    convention = CONVENTIONS["haiku gru"]
    found = explain("gru", examples(arrays(convention, state=False), {}, "gru"))

    assert found.ranking[0][0].convention.differences(convention) == ()


def test_the_axis_of_steps_is_found():
    given = arrays(CONVENTIONS["torch gru"])
    turned = {n: a.swapaxes(0, 1) if n in "xy" else a for n, a in given.items()}
    found = explain("gru", examples(turned, {}, "gru"))
    assert [fit.convention.time for fit in found.fits] == ["second"]


def test_what_rounding_does_not_explain_is_not_explained():
    given = arrays(CONVENTIONS["torch gru"], dtype="float64")
    bound = explain("gru", examples(given, {}, "gru", "float32")).nearest.bound
    for share, explained in ((0.01, True), (3.0, False)):
        off = given | {"y": given["y"] + share * bound}
        assert bool(explain("gru", examples(off, {}, "gru", "float32")).fits) is explained


def test_what_one_example_cannot_tell_apart_is_told():
    """One step from a state of 0 does not show where a GRU's reset acts."""
    plain = Convention("gru", "rzn", ("rzn",))
    found = explain("gru", examples(arrays(plain, T=1, state=False), {}, "gru"))
    assert "reset" in found.undetermined


@pytest.mark.parametrize(("given", "message"), [
    ({}, "which of a, b is the input"),
    ({"x": "a", "z": "b"}, "expected one of x, y"),
    ({"x": "a", "y": "nothing"}, "expected one of a, b"),
    ({"x": "a"}, "which of a, b is the output"),
    ({"x": "a", "y": "b"}, "there are no weights beside a, b: save them, too"),
])  # fmt: skip
def test_a_role_that_cannot_be_taken_is_a_sentence(given, message):
    with pytest.raises(Unreadable, match=message):
        roles({"a": np.zeros(3), "b": np.zeros(3)}, given)


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "json"])
def test_the_command_reads_files(tmp_path, suffix):
    path, given = tmp_path / f"run.{suffix}", arrays(CONVENTIONS["torch gru"])
    if suffix == "npz":
        np.savez(path, **given)
    elif suffix == "json":
        path.write_text(json.dumps({name: a.tolist() for name, a in given.items()}))
    else:
        pytest.importorskip("safetensors.numpy").save_file(given, path)
    said = invoke("explain", path, "--cell", "gru")
    told = json.loads(invoke("explain", path, "--cell", "gru", "--json").stdout)

    assert said.exit_code == 0, said.output
    assert "explained: GRU, gates r z n" in said.stdout
    assert told["explained"] is True
    assert told["residual"] <= told["bound"]


@pytest.mark.parametrize(("name", "content"), [
    ("a.npz", b"not a file of arrays"), ("a.json", b'{"x": "y"}'), ("a.json", b"[1]"),
    ("a.txt", b""), ("a.safetensors", b"\xff" * 40), ("a.json", b'{"x": [1.0, NaN]}'),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(invoke("explain", tmp_path / name, "--cell", "gru"), 2, name)


def as_one_row(given):
    """The first row alone: x (T, D), y (T, H), states (H,)."""
    return {n: a[:, 0] if n in "xy" else a[0] if n in ("h0", "c0") else a for n, a in given.items()}


def as_final_states(given):
    """The last output in the place of all of them, as Keras returns it."""
    return given | {"y": given["y"][-1]}


def with_lengths(given, after=0.0):
    """Rows of 4, 2 and 1 steps; ``after`` them stands another number, or nan: the layer runs on."""
    lengths = np.array([4, 2, 1])
    ended = np.arange(4)[:, None, None] >= lengths[:, None]
    ends = given["y"][lengths - 1, np.arange(3)]
    y = given["y"] if np.isnan(after) else np.where(ended, after, given["y"])
    return given | {"lengths": lengths, "y": y, "h_n": ends}


@pytest.mark.parametrize(("form", "axes"), [
    (as_one_row, "one row (T, D)"),
    (as_final_states, "steps first (T, B, D)"),
    (with_lengths, "steps first (T, B, D)"),
    (lambda given: with_lengths(given, np.nan), "steps first (T, B, D)"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["torch lstm", "torch gru"])
def test_arrays_in_other_forms_are_read(form, axes, name):
    convention = CONVENTIONS[name]
    found = explain(convention.family, examples(form(arrays(convention)), {}, convention.family))

    assert found.fits
    assert found.nearest.convention.order == convention.order
    assert found.nearest.example.axes == axes


GATES = {
    "letters": ("W{}", "U{}", "b{}"),
    "letters inside": ("w_{}_x", "w_{}_h", "bias_{}"),
    "words": ("{}.input.weight", "{}.hidden.weight", "{}.bias"),
}
WORDS = {"i": "input", "f": "forget", "g": "cell", "o": "output", "r": "reset", "z": "update",
         "n": "new"}  # fmt: skip


@pytest.mark.parametrize("D", [7, 5])
@pytest.mark.parametrize("style", GATES)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_arrays_of_each_gate_are_read_by_what_their_names_differ_in(cell, style, D):
    order = "ifgo" if cell == "lstm" else "rzn"
    convention = Convention(cell, order, (order,), "separate in-out", reset="before")
    given = arrays(convention, D=D)
    kinds = dict(zip(("weight_ih", "weight_hh", "bias"), GATES[style], strict=True))

    def own(name):
        kind, _, gate = name.rpartition("_")
        letter = WORDS[gate] if kind in kinds and style == "words" else gate
        return kinds[kind].format(letter) if kind in kinds else name

    found = explain(cell, examples({own(n): a for n, a in given.items()}, {}, cell))
    weights = {own(n): a for n, a in given.items() if n.startswith("weight_ih")}
    shuffled = weights | {own(n): a for n, a in reversed(given.items())}
    also = explain(cell, examples(shuffled, {}, cell))

    for explanation in (found, also):
        (fit,) = explanation.fits
        names = {ours: own(ours) for ours in given if "_" in ours}
        assert fit.candidate.names == names


def test_names_that_are_no_layers_are_not_compared():
    """A file may hold as many and as long names as it likes; each pair of letters is a place."""
    given = arrays(CONVENTIONS["torch lstm"])
    many = {f"{'x' * 3000}{k}": np.zeros((5, 7)) for k in range(400)}
    with pytest.raises(Unreadable, match="none that a convention of the lstm has"):
        explain("lstm", examples(given | many, {}, "lstm"))


@pytest.mark.parametrize("state_first", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_weights_of_inputs_and_states_in_one_array_are_split(turned, state_first):
    """As courses write them: W_f [h, x] + b_f, with features before rows and steps."""
    convention = Convention("lstm", "ifgo", ("ifgo",), "separate out-in")
    given = arrays(convention, B=4, T=6)
    joint = {
        f"W{g}": np.concatenate(
            [given[f"weight_{k}_{g}"] for k in (("hh", "ih") if state_first else ("ih", "hh"))], 1
        )
        for g in "fiog"
    }
    joint = {n: a.T if turned else a for n, a in joint.items()}
    joint |= {f"b{g}": given[f"bias_{g}"][:, None] for g in "fiog"}
    joint |= {"x": given["x"].transpose(2, 1, 0), "y": given["y"].transpose(2, 1, 0)}
    joint |= {n: given[n].T for n in ("h0", "c0")}
    found = explain("lstm", examples(joint, {}, "lstm"))

    (fit,) = found.fits
    size = "H" if state_first else "D"
    rows = "" if turned else ":, "
    states = f"{rows}:{size}" if state_first else f"{rows}{size}:"
    assert fit.example.axes == "features first (D, B, T)"
    assert fit.candidate.names["weight_hh_f"] == f"Wf[{states}]"


def test_the_answer_says_which_array_is_which(tmp_path):
    given = arrays(CONVENTIONS["keras lstm"])
    own = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel"}
    np.savez(tmp_path / "run.npz", **{own.get(n, n): a for n, a in given.items()})
    said = invoke("explain", tmp_path / "run.npz", "--cell", "lstm").stdout
    told = json.loads(invoke("explain", tmp_path / "run.npz", "--cell", "lstm", "--json").stdout)

    assert "weight_ih is kernel, weight_hh is recurrent_kernel\n" in said
    assert told["arrays"]["weight_ih"] == "kernel"


def test_a_number_after_the_end_is_not_judged_and_one_before_it_is():
    convention = CONVENTIONS["torch lstm"]
    right = with_lengths(arrays(convention))
    after, before = right | {"y": right["y"].copy()}, right | {"y": right["y"].copy()}
    after["y"][3, 2, 0] = 0.5
    before["y"][0, 2, 0] += 0.5

    assert explain("lstm", examples(after, {}, "lstm")).fits
    assert not explain("lstm", examples(before, {}, "lstm")).fits


def test_a_state_that_is_missing_is_assumed_to_be_zeros_and_that_is_said():
    given = arrays(CONVENTIONS["torch lstm"], state=False)
    (example, *_) = examples(given, {}, "lstm")
    (half, *_) = examples(given | {"h0": np.zeros((3, 5), "float32")}, {}, "lstm")

    assert "initial h and initial c" in example.assumed[0]
    assert "no initial c in the file: zeros are assumed" in half.assumed


@pytest.mark.parametrize("seen", ["new", "old"])
def test_peepholes_are_read(seen):
    peephole = Convention(
        "lstm", "ifgo", ("ifgo",), "in-out", peepholes="ifo", output_peephole=seen
    )
    (fit,) = explain("lstm", examples(arrays(peephole), {}, "lstm")).fits
    assert (fit.convention.peepholes, fit.convention.output_peephole) == ("ifo", seen)


def test_a_bias_in_two_rows_is_read():
    keras = Convention("gru", "zrn", ("zrn", "zrm"), "in-out")
    given = arrays(keras)
    names = [n for n in given if n.startswith("bias")]
    stacked = {n: a for n, a in given.items() if n not in names}
    stacked["bias"] = np.stack([given[n] for n in names])
    found = explain("gru", examples(stacked, {}, "gru"))
    assert [fit.convention.order for fit in found.fits] == ["zrn"]


@pytest.mark.parametrize(("name", "D", "H"), [
    ("relu rnn", 3, 4), ("relu rnn", 4, 4), ("relu rnn", 2, 1), ("torch gru", 3, 1)
])  # fmt: skip
def test_a_matrix_of_few_units_is_none_of_stacked_vectors(name, D, H):
    """Its shape, (1, H) to (4, H), is that of so many vectors, too."""
    convention = CONVENTIONS[name]
    given = arrays(convention, D=D, H=H, T=6)
    found = explain(convention.family, examples(given, {}, convention.family))
    assert found.fits
    assert found.nearest.ratio <= 1


@pytest.mark.parametrize(("change", "message"), [
    ({"lengths": np.array([1, 9, 2])}, "whole numbers from 0 to 4"),
    ({"weight_ih_l1": np.zeros((20, 7))}, "several layers or directions"),
    ({"weight_ih": np.zeros((19, 7))}, "none that a convention of the lstm has"),
    ({"grad_weight_ih": np.zeros((3, 3))}, "another shape than what it is of"),
    ({"y": np.zeros((9, 3, 5))}, "no axis of the input"),
    ({"x": np.zeros((1, 1, 1, 4))}, "up to three axes"),
])  # fmt: skip
def test_arrays_that_do_not_go_together_are_a_sentence(change, message):
    given = arrays(CONVENTIONS["torch lstm"]) | change
    with pytest.raises(Unreadable, match=message):
        explain("lstm", examples(given, {}, "lstm"))


@pytest.mark.parametrize(("array", "message"), [
    (np.array([{}], dtype=object), "pickled objects"),
    (np.array([1.0, np.nan]), r"odd\[1\] is nan"),
    (np.array([np.inf]), r"odd\[0\] is inf"),
    (np.array(["a"]), "expected real numbers"),
    (np.array([1j]), "expected real numbers"),
    (np.zeros((0, 3)), "it is empty"),
])  # fmt: skip
def test_an_array_that_says_nothing_is_a_usage_error(tmp_path, array, message):
    path = tmp_path / "run.npz"
    np.savez(path, **arrays(CONVENTIONS["torch gru"]), odd=array)
    result = invoke("explain", path, "--cell", "gru")

    assert result.exit_code == 2, result.output
    assert re.search(message, result.output)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("x.npz", b"hello", "no npz file"),
    ("x.npz", b"", "no npz file"),
    ("x.json", b'{"x": [[1.0]], "h": ["a"]}', "h: expected numbers"),
    ("x.json", b'{"h": [[1, 2], [3]]}', "h: expected numbers, in lists of equal length"),
])  # fmt: skip
def test_what_is_no_file_of_arrays_is_a_sentence(tmp_path, name, content, message):
    """It names the array, and speaks of pickled objects only where there are any."""
    path = tmp_path / name
    path.write_bytes(content)
    result = invoke("explain", path, "--cell", "gru")

    refused(result, 2, message)
    assert "pickled" not in result.output


@pytest.mark.parametrize("written", [0, 2**21])
def test_a_file_that_declares_too_much_is_not_unpacked(tmp_path, monkeypatch, written):
    """By the header of an array, or by what is packed; nothing is loaded."""
    path = tmp_path / "bomb.npz"
    header = io.BytesIO()
    entries = 2**40 if written == 0 else written
    shape = {"descr": "<f4", "fortran_order": False, "shape": (entries,)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("x.npy", header.getvalue() + bytes(4 * written))
    monkeypatch.setattr("gatewise.verify.runs.npz.LARGEST", 2**22)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it is loaded"))
    refused(invoke("explain", path, "--cell", "gru"), 2, "GiB of arrays")


def test_numbers_that_are_printed_are_held_to_what_was_printed():
    """As float32 prints them; with four places, and with one that is off by two of the last."""
    given = arrays(CONVENTIONS["torch gru"])
    shortest = {n: a.astype(str).astype(float) for n, a in given.items()}
    few = {n: np.round(a.astype(float), 4) for n, a in given.items()}
    off = few | {"y": few["y"] + np.where(np.arange(60).reshape(4, 3, 5) == 7, 2e-3, 0)}
    fits = [explain("gru", examples(each, {}, "gru")) for each in (shortest, few, off)]

    assert [bool(found.fits) for found in fits] == [True, True, False]
    assert [found.nearest.example.printed for found in fits] == [None, 4, 4]
    assert fits[0].nearest.example.dtype == "float32"
    assert fits[0].nearest.bound < 1e-5 < fits[1].nearest.bound
