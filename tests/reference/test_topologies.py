"""The topologies: values by plain loops, and pullbacks in every argument by complex step."""

import numpy as np
import pytest

from gatewise.reference import topologies as T
from gatewise.reference.cells import cell_named
from gatewise.reference.parameters import Parameters
from gatewise.verify.cases.case import Case
from gatewise.verify.numbers.complex_step import derivative
from gatewise.verify.proofs.material import cell_material

LSTM, CASE, LENGTHS = cell_named("lstm"), Case(4, 3, 2, 3, seed=1), np.array([4, 2, 0])
M = cell_material(LSTM, CASE)
ARRAYS = {**M.p, "x": M.x, "h": M.state[0], "c": M.state[1], "V": CASE.normal("V", (3, 2)),
          "start": CASE.normal("start", (3, 2)),
          **{f"{k} out": CASE.normal(k, a.shape) for k, a in M.p.items()}}  # fmt: skip
RUNS = {}


def topology(run):
    RUNS[run.__name__] = run
    return run


def by_name(dp, d, ds, key):
    """Gradients by the names of ARRAYS."""
    return {**dp, key: d, "h": ds[0], "c": ds[1]}


def parameters(a, ending=""):
    return Parameters(M.p.shapes, {k: a[k + ending] for k in "WUb"})


def named(dp, ending=""):
    return {k + ending: d for k, d in dp.items()}


@topology
def many_to_many(a):
    y, pull = T.many_to_many(LSTM, parameters(a), a["x"], (a["h"], a["c"]), LENGTHS)
    return y, lambda dy: by_name(*pull(dy), key="x")


@topology
def many_to_one(a):
    y, pull = T.many_to_one(LSTM, parameters(a), a["x"], (a["h"], a["c"]), LENGTHS)
    return y, lambda dy: by_name(*pull(dy), key="x")


@topology
def one_to_one(a):
    y, pull = T.one_to_one(LSTM, parameters(a), a["start"], (a["h"], a["c"]))
    return y, lambda dy: by_name(*pull(dy), key="start")


@topology
def one_to_many(a):
    y, pull = T.one_to_many(LSTM, parameters(a), a["V"], a["start"], (a["h"], a["c"]), 3)

    def pulled(dy):
        dp, dV, dx, (dh, dc) = pull(dy)
        return {**dp, "V": dV, "start": dx, "h": dh, "c": dc}

    return y, pulled


@topology
def encoder_decoder(a):
    pair = (LSTM, parameters(a)), (LSTM, parameters(a, " out"))
    y, pull = T.encoder_decoder(*pair, a["V"], a["x"], a["start"], 3, LENGTHS)

    def pulled(dy):
        dp_in, dp_out, dV, dx, dstart = pull(dy)
        return {**dp_in, **named(dp_out, " out"), "V": dV, "x": dx, "start": dstart}

    return y, pulled


@pytest.mark.parametrize("name", RUNS)
def test_pullback_in_every_argument(name):
    run, complex_arrays = RUNS[name], {k: a.astype(complex) for k, a in ARRAYS.items()}
    y, pulled = run(ARRAYS)
    dy = CASE.normal("dy", y.shape)
    for key, d in pulled(dy).items():
        direction = CASE.normal(f"direction {key}", ARRAYS[key].shape)
        (slope,) = derivative(lambda z, k=key: (run({**complex_arrays, k: z})[0],),
                              ARRAYS[key], direction)  # fmt: skip
        assert d.shape == ARRAYS[key].shape
        np.testing.assert_allclose(
            (d * direction).sum(), (dy * slope).sum(), rtol=1e-11, err_msg=key
        )


def walk(p, xs, h, c):
    """Step through xs (n, D) for one row; return every h, and the last state."""
    out = []
    for x in xs:
        (h, c), _ = LSTM.step(p, x[None], (h, c))
        out.append(h[0])
    return out, h, c


@pytest.mark.parametrize("b", range(3))
def test_values_row_by_row(b):
    """Each row by its own length; the decoder starts in the encoder's last state and feeds back."""
    a, n, p, q = ARRAYS, LENGTHS[b], parameters(ARRAYS), parameters(ARRAYS, " out")
    row = slice(b, b + 1)
    every, h, _ = walk(p, a["x"][:n, b], a["h"][row], a["c"][row])
    np.testing.assert_allclose(many_to_many(a)[0][:n, b], np.reshape(every, (n, 3)), rtol=1e-12)
    assert (many_to_many(a)[0][n:, b] == 0).all()
    np.testing.assert_allclose(many_to_one(a)[0][b], h[0], rtol=1e-12)
    _, h, c = walk(p, a["x"][:n, b], np.zeros((1, 3)), np.zeros((1, 3)))
    x, printed = a["start"][row], []
    for _ in range(3):
        (h, c), _ = LSTM.step(q, x, (h, c))
        x = h @ a["V"]
        printed.append(x[0])
    np.testing.assert_allclose(encoder_decoder(a)[0][:, b], printed, rtol=1e-11)
