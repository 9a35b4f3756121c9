"""Arrays alone with a mistake in them: which it is, under which convention, and what stays open."""

import json

import numpy as np
import pytest

from commands import invoke
from gatewise.verify.diagnosis.arrays import diagnosis, mistakes
from gatewise.verify.identification.example import examples
from gatewise.verify.identification.explanation import compared, explain
from plain_numpy import sigmoid


def lstm(slip="", *, T=5, B=3, D=4, H=6, dtype="float32", seed=0, state=False):
    """What an LSTM written down here returns, [4H, D] and two biases, with a slip."""
    rng = np.random.default_rng(seed)
    shapes = {"w_ih": (4 * H, D), "w_hh": (4 * H, H), "b_ih": (4 * H,), "b_hh": (4 * H,)}
    named = {n: (rng.normal(size=s) * 0.5).astype(dtype) for n, s in shapes.items()}
    x = rng.normal(size=(T, B, D)).astype(dtype)
    start = [rng.normal(size=(B, H), scale=float(state)).astype(dtype) for _ in "hc"]
    (h, c), y = start, []
    for x_t in x:
        b_hh = np.split(named["b_hh"], 4)
        b_hh = [b_hh[k] for k in ((1, 0, 2, 3) if slip == "one bias" else range(4))]
        sums = x_t @ named["w_ih"].T + h @ named["w_hh"].T + named["b_ih"] + np.concatenate(b_hh)
        a = dict(zip("ifgo", np.split(sums, 4, axis=-1), strict=True))
        i, f, o = (sigmoid(a[k]) for k in "ifo")
        g = a["g"] if slip == "no tanh" else np.tanh(a["g"])
        before, c = c, i * g if slip == "no forgetting" else f * c + i * g
        c = c * f if slip == "forgets twice" else c
        seen = before if slip == "old cell" else c
        h = o * (seen if slip == "no output tanh" else np.tanh(seen))
        y.append(h)
    states = {"h0": start[0], "c0": start[1]} if state else {}
    final = h * 0.5 if slip == "half the state" else h
    y = np.stack(y)
    y = np.roll(y, 1, axis=1) if slip == "rows rolled" else y
    return named | states | {"x": x, "y": y, "h_n": final, "c_n": c}


def explained(arrays, cell="lstm", **more):
    result = explain(cell, examples(arrays, {}, cell))
    assert not result.fits
    found = mistakes(result, **{"seconds": 600, **more})
    return diagnosis(result, found), found


@pytest.mark.parametrize(("slip", "words"), [
    ("forgets twice", "factor f too many"),
    ("rows rolled", "previous row"),
    ("one bias", "In b_hh alone, the parts of i and f are exchanged."),
])  # fmt: skip
def test_a_mistake_in_the_numbers_is_named(slip, words):
    said, found = explained(lstm(slip))

    assert words in " ".join(s for e in said.explanations for s in e.statements)
    assert {fit.recorded.convention.order for fit in found.fits} == {"ifgo"}
    assert said.location.part == "outputs"
    assert said.location.place.startswith("step ")
    assert said.residual <= 1


def test_an_activation_that_no_framework_has_is_a_mistake(tmp_path):
    """It computes the numbers exactly, yet exit 1; a right layer has exit 0."""
    said = []
    for slip in ("no output tanh", ""):
        path = tmp_path / "run.npz"
        np.savez(path, **lstm(slip))
        said.append(invoke("explain", path, "--cell", "lstm"))

    assert [each.exit_code for each in said] == [1, 0], said[0].output
    assert "In the output h_t, of c_t, tanh is missing" in said[0].stdout
    assert "if it is meant" in said[0].stdout
    assert "is it right?    yes" not in said[0].stdout
    assert "is it right?    yes" in said[1].stdout


def test_a_formula_is_found_whatever_the_order_of_the_gates():
    """The example knows no c but the last: the edits run over all steps."""
    given = lstm("old cell")
    blocks = {n: np.split(a, 4) for n, a in given.items() if n[:2] in ("w_", "b_")}
    given |= {n: np.concatenate([b[k] for k in (1, 3, 0, 2)]) for n, b in blocks.items()}
    said, found = explained(given)

    assert "h_t = o * tanh(c_{t-1})" in said.headline
    assert {fit.recorded.convention.order for fit in found.fits} == {"foig"}


def gru_of_full_candidates(order, T=3, B=2, D=4, H=3):
    """What a GRU returns whose gates stand in an order, and whose candidate is added in full."""
    rng = np.random.default_rng(0)
    shapes = {"w_ih": (3 * H, D), "w_hh": (3 * H, H), "b_ih": (3 * H,), "b_hh": (3 * H,)}
    named = {n: (rng.normal(size=s) * 0.5).astype("float32") for n, s in shapes.items()}
    x, h, y = rng.normal(size=(T, B, D)).astype("float32"), np.zeros((B, H), "float32"), []
    for x_t in x:
        a, u = (
            dict(zip(order, np.split(v @ named[f"w_{k}"].T + named[f"b_{k}"], 3, -1), strict=True))
            for k, v in (("ih", x_t), ("hh", h))
        )
        r, z = (sigmoid(a[k] + u[k]) for k in "rz")
        h = z * h + np.tanh(a["n"] + r * u["n"])
        y.append(h)
    return named | {"x": x, "y": np.stack(y), "h_n": h}


def test_a_mistake_is_found_under_a_convention_that_no_framework_has():
    said, found = explained(gru_of_full_candidates("nzr"), "gru")
    assert said.headline.startswith("The candidate is added in full")
    assert {fit.recorded.convention.order for fit in found.fits} == {"nzr"}


def test_a_large_example_is_tried_in_part_and_held_as_a_whole():
    """The slip shows in all of it; a number that is off at its end refutes the mistake."""
    given = lstm("no tanh", T=12, B=4, state=True)
    said, _ = explained(given)
    given["y"][-1, -1, -1] += 0.01
    other, _ = explained(given, seconds=2)

    assert "tanh is not applied" in said.headline
    assert other.status == "unexplained"


def test_what_nothing_explains_is_said_with_the_time_that_it_took():
    said, found = explained(lstm("half the state"), seconds=0)
    assert said.status == "unexplained"
    assert not said.complete
    assert not found.fits


@pytest.mark.parametrize("dtype", ["tf32", "float16, inside float32"])
def test_a_coarser_arithmetic_is_named(dtype):
    """Numbers that are off by as much as products in TF32, or storing in float16, may be."""
    given = lstm(dtype="float64", T=2)
    (example,) = (e for e in examples(given, {}, "lstm", "float32") if not e.rows_first)
    right = explain("lstm", [example]).nearest.candidate
    names = {"y": "y", "final h": "h_n", "final c": "c_n"}
    for name, got, want in compared(right, example, dtype):
        given[names[name]] = got + 0.5 * want.bound
    result = explain("lstm", examples(given, {}, "lstm", "float32"))

    assert not result.fits
    assert mistakes(result, seconds=0).coarser == dtype


@pytest.mark.parametrize("dtype", ["float32", "tf32"])
def test_no_coarser_arithmetic_explains_numbers_that_are_beyond_its_bounds(dtype):
    """A gradient that is wrong in every entry, under right outputs."""
    given = gradients()
    given["grad_weight_hh_l0"] = given["grad_weight_hh_l0"] * 3
    result = explain("gru", examples(given, {}, "gru", dtype))

    assert not result.fits
    assert mistakes(result, seconds=0).coarser == ""


def test_a_number_that_is_off_by_itself_is_counted_and_no_rounding(tmp_path):
    """TF32 would allow as much, but everywhere."""
    given = lstm()
    given["y"][2, 1, 3] += 1e-3
    result = explain("lstm", examples(given, {}, "lstm"))
    path = tmp_path / "run.npz"
    np.savez(path, **given)
    said = invoke("explain", path, "--cell", "lstm", "--seconds", "0")

    assert mistakes(result, seconds=0).coarser == ""
    assert (result.nearest.off, result.nearest.entries) == (1, 5 * 3 * 6 + 2 * 3 * 6)
    assert "off             1 of the 126 numbers" in said.stdout
    assert "rounding  " not in said.stdout


def gradients(slip=""):
    """A GRU of PyTorch, its gradients for a given dy, and a slip in them."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = torch.nn.GRU(4, 6)
    x, dy = torch.randn(5, 3, 4, requires_grad=True), torch.randn(5, 3, 6)
    y, h = layer(x)
    y.backward(dy)
    named = {n: p.detach().numpy() for n, p in layer.named_parameters()}
    back = {f"grad_{n}": p.grad.numpy() for n, p in layer.named_parameters()}
    if slip == "recurrent bias":
        back["grad_bias_hh_l0"] = back["grad_bias_ih_l0"].copy()
    if slip == "sign":
        back["grad_weight_ih_l0"] = -back["grad_weight_ih_l0"]
    if slip == "twice":
        back["grad_bias_hh_l0"] = 2 * back["grad_bias_hh_l0"]
    dx = np.roll(x.grad.numpy(), 1, axis=0) if slip == "steps rolled" else x.grad.numpy()
    dx = dx / np.float32(2) if slip == "half" else dx
    ends = {"x": x.detach().numpy(), "dx": dx, "y": y.detach().numpy(), "h_n": h.detach().numpy()}
    return named | back | ends | {"dy": dy.numpy()}


def test_right_gradients_are_explained():
    result = explain("gru", examples(gradients(), {}, "gru"))

    assert len(result.fits) == 1
    assert {c.quantity for c in result.nearest.ledger.comparisons} >= {
        "gradient of x", "gradient of bias_hh_l0", "gradient of weight_ih_l0",
    }  # fmt: skip


@pytest.mark.parametrize(("slip", "words"), [
    ("recurrent bias", "The gradient of bias_ih is returned in the place of that of bias_hh"),
    ("steps rolled", "previous step"),
    ("sign", "The gradient of weight_ih is negated."),
    ("twice", "The gradient of bias_hh is doubled."),
    ("half", "The gradient of x is halved."),
])  # fmt: skip
def test_a_mistake_of_the_way_back_is_named(slip, words):
    """Outputs are right, so the convention is known."""
    said, found = explained(gradients(slip), "gru")
    assert words in " ".join(s for e in said.explanations for s in e.statements)
    assert said.location.part == "gradients"
    assert found.conventions == 1


def test_a_loss_that_is_not_in_the_file_is_found_out():
    """dy of the mean of the squared outputs, left out; of another loss nothing fits.

    A gradient that is wrong does not hide it.
    """
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer, x = torch.nn.GRU(4, 6), torch.randn(5, 3, 4)
    named = {n: p.detach().numpy() for n, p in layer.named_parameters()}
    for loss, words in ((lambda y: (y**2).mean(), "the mean of the squared"),
                        (lambda y: y.sum(), "the sum of the outputs")):  # fmt: skip
        layer.zero_grad()
        y = layer(x)[0]
        loss(y).backward()
        back = {f"{n}.grad": p.grad.numpy() for n, p in layer.named_parameters()}
        given = named | back | {"x": x.numpy(), "y": y.detach().numpy()}
        fit = explain("gru", examples(given, {}, "gru")).nearest
        assert fit.ratio <= 1
        assert words in fit.loss
        given["weight_hh_l0.grad"] = 2 * given["weight_hh_l0.grad"]
        said, _ = explained(given, "gru")
        assert words in explain("gru", examples(given, {}, "gru")).nearest.loss
        assert said.headline == "The gradient of weight_hh is doubled."


def test_the_command_tells_a_mistake(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, **lstm("no tanh"))
    said = invoke("explain", path, "--cell", "lstm", "--seconds", "600")
    short = invoke("explain", path, "--cell", "lstm", "--seconds", "0", "--json")
    told = json.loads(short.stdout)

    assert said.exit_code == 1, said.output
    assert "what is wrong   In the candidate g, tanh is not applied" in said.stdout
    assert "convention      LSTM, gates i f g o, [4H, D], two biases" in said.stdout
    assert "zeros are assumed" in said.stdout
    assert told["explained"] is False
    assert told["diagnosis"]["complete"] is False
    assert short.exit_code == 1
