"""C17, C25, C26 and C27: counts of parameters, and identities between forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ...reference.cell import Cell, State
from ...reference.cells import cell_named, gating_cells
from ...reference.cells.lstm import candidate, cell_state, forget_gate
from ...reference.functions import Array, sigmoid, tanh
from ...reference.parameters import Parameters, Sizes
from ...reference.sequence import Unrolled, backpropagate, unroll
from ...verify.numbers.arithmetic import FLOAT32, FLOAT64, Arithmetic
from ...verify.numbers.bounded import Bounded
from ...verify.numbers.complex_step import derivative
from ..cost.layer import parameters
from .ledger import LAW, OPEN, Evidence, claim
from .material import FAR, Sample, apart, draw

SIZES = ((1, 1), (3, 5), (8, 64), (100, 37), (512, 512))
"""The sizes (D, H) at which parameters are counted."""


@claim(
    "C17", "The GRU has fewer parameters than the LSTM, no output gate, and no cell state.",
    documents=("D1", "D2"), about=("E13", "E14", "E16", "E17", "E20", "E21"), reading=LAW,
)  # fmt: skip
def parameter_counts(e: Evidence, rng: np.random.Generator) -> None:
    """Count the numbers in every parameter, in units of H(D + H + 1): one gate's."""
    counts = {}
    for name in ("rnn", "gru-takes-new", "gru-keeps-old", "lstm"):
        units = [_count(name, D, H) / (H * (D + H + 1)) for D, H in SIZES]
        counts[name] = units[0] if len(set(units)) == 1 else np.nan
        e.number(f"{name}: parameters in units of H(D + H + 1)", counts[name], "",
                 "not the same at every size")  # fmt: skip
    e.number("PyTorch's reset-after GRU, D = 8 and H = 64: parameters", _count("gru", 8, 64))
    lstm, gru = cell_named("lstm"), cell_named("gru-keeps-old")
    grus = [counts[n] for n in ("gru-takes-new", "gru-keeps-old")]
    e.says("fewer parameters at every size",
           all(_count(n, D, H) < _count("lstm", D, H) for D, H in SIZES
               for n in ("gru-takes-new", "gru-keeps-old", "gru")),
           f"the GRU has {grus[0]:g} units, the LSTM {counts['lstm']:g}")  # fmt: skip
    e.says("no output gate", "o" in lstm.gates and "o" not in gru.gates, "the GRU has a gate o")
    e.says("no cell state", lstm.states == ("h", "c") and gru.states == ("h",),
           f"the GRU carries {', '.join(gru.states)}")  # fmt: skip
    e.instead("RNN : GRU : LSTM is 1 : 3 : 4, exactly", [counts["rnn"], *grus, counts["lstm"]]
              == [1, 3, 3, 4])  # fmt: skip


def _count(name: str, D: int, H: int) -> int:
    return parameters(cell_named(name), Sizes(D, H))


@claim(
    "C25", "The same network, with the same weights, is used at every step.",
    documents=("D3",), about=("E10", "E11"), reading=LAW,
)  # fmt: skip
def shared_weights(e: Evidence, rng: np.random.Generator) -> None:
    """Give every step a copy of the weights; the copies' gradients add up to the shared one's."""
    steps, worst, forward = 6, {}, 0.0
    for cell in gating_cells().values():
        if "surrogate" in cell.traits:  # its gradient is no derivative (E29)
            continue
        p, x, state = _sequence(cell, rng, steps)
        run = unroll(cell, p, x, state)
        forward = max(forward, apart(_with_copies(cell, [p] * steps, x, state), run.y[-1]))
        direction = p.map(lambda a: rng.standard_normal(a.shape))
        shared = sum(float((d * direction[k]).sum()) for k, d in _gradient(cell, p, run).items())
        copies = [_one_copy(cell, p, direction, t, x, state) for t in range(steps)]
        worst[cell.name] = abs(shared - sum(copies)) / sum(abs(c) for c in copies)
    e.number("cells", len(worst))
    e.number(f"largest difference of outputs after {steps} steps with copied weights", forward)
    off = e.number("largest relative difference: shared gradient, sum over copies",
                   max(worst.values()))  # fmt: skip
    e.says("an unrolled network with copies computes the same", forward == 0,
           f"outputs are {forward:.3g} apart")  # fmt: skip
    e.says("the gradient of shared weights is the sum over the copies", off <= 1e-12,
           f"{max(worst, key=lambda k: worst[k])}: off by {off:.3g} of the sum")  # fmt: skip


def _sequence(cell: Cell, rng: np.random.Generator, steps: int) -> tuple[Parameters, Array, State]:
    sizes = Sizes(3, 4)
    p, x = cell.random_parameters(rng, sizes), cell.random_input(rng, steps, 2, sizes)
    widths = zip(cell.states, cell.widths(sizes), strict=True)
    return p, x, tuple(cell.random_state(name, rng, (2, width)) for name, width in widths)


def _gradient(cell: Cell, p: Parameters, run: Unrolled[Any]) -> Parameters:
    """Return the gradient of the sum of the last outputs."""
    dy = np.zeros(run.y.shape)
    dy[-1] = 1
    return backpropagate(cell, p, run, dy, tuple(0 * s for s in run.final))[0]


def _with_copies(cell: Cell, copies: Sequence[Parameters], x: Array, state: State) -> Array:
    """Return the last output (B, width) of a network with weights of its own at every step."""
    for p, x_t in zip(copies, x, strict=True):
        state, _ = cell.step(p, x_t, state)
    return state[0]


def _one_copy(
    cell: Cell, p: Parameters, direction: Parameters, t: int, x: Array, state: State
) -> float:
    """Return the derivative of the sum of last outputs along a change of copy ``t`` alone."""

    def last(z: Array) -> tuple[Array, ...]:
        copies = [p] * len(x)
        copies[t] = Parameters(p.shapes, {k: a + z * direction[k] for k, a in p.items()})
        start = tuple(np.asarray(s).astype(complex) for s in state)
        return (_with_copies(cell, copies, x, start).sum(),)

    return float(derivative(last, np.zeros(()), np.ones(()))[0])


@claim(
    "C26", "[a, x] W with one matrix and a U + x W with two are one map.",
    documents=("D0", "D1", "D2", "D3", "D4"), about=("E04", "E13", "E20"), reading=LAW,
)  # fmt: skip
def one_matrix(e: Evidence, rng: np.random.Generator) -> None:
    """Compute RNN, LSTM and GRU in the concatenated form; hold them to the bound of rounding."""
    for arithmetic, dtype in ((FLOAT64, np.float64), (FLOAT32, np.float32)):
        worst, largest = 0.0, 0.0
        for _ in range(30):
            for name, joined in JOINED.items():
                sample = draw(name, rng)
                want = _new_state_with_bound(sample, arithmetic, dtype)
                got = joined(*(np.asarray(a, dtype) for a in _stack(sample)))
                difference = np.abs(got.astype(float) - want.value)
                worst = max(worst, float((difference / want.bound).max()))
                largest = max(largest, float(difference.max()))
        e.number(f"{arithmetic.name}: largest difference", largest)
        e.number(f"{arithmetic.name}: in units of the rounding bound", worst)
        e.says(f"{arithmetic.name}: the two forms differ by rounding alone", worst <= 1,
               f"they are {largest:.3g} apart, {worst:.3g} times the bound")  # fmt: skip


def _new_state_with_bound(sample: Sample, arithmetic: Arithmetic, dtype: type) -> Bounded:
    """Return the new state of the split form, with its bound in an arithmetic."""

    def exact(a: Array) -> Bounded:
        return Bounded.exact(np.asarray(a, dtype).astype(float), arithmetic)

    new, _ = sample.cell.step(sample.p.map(exact), exact(sample.x), tuple(map(exact, sample.state)))
    return cast(Bounded, new[0])


def _stack(sample: Sample) -> tuple[Array, ...]:
    """Return [a, x], one matrix [U; W] and a bias for each gate, and the other states."""
    joined = np.concatenate([sample.state[0], sample.x], axis=1)
    W = np.concatenate([sample.p["U"], sample.p["W"]], axis=1)
    return joined, W, sample.p["b"], *sample.state


def _rnn(joined: Array, W: Array, b: Array, a: Array) -> Array:
    return tanh(joined @ W[0] + b[0])


def _lstm(joined: Array, W: Array, b: Array, h: Array, c: Array) -> Array:
    i, f, g, o = (joined @ W[k] + b[k] for k in range(4))
    return sigmoid(o) * tanh(sigmoid(f) * c + sigmoid(i) * tanh(g))


def _gru(joined: Array, W: Array, b: Array, h: Array) -> Array:
    r, z = (sigmoid(joined @ W[k] + b[k]) for k in range(2))
    H = h.shape[1]
    reset = np.concatenate([r * joined[:, :H], joined[:, H:]], axis=1)
    return z * h + (1 - z) * tanh(reset @ W[2] + b[2])


JOINED: dict[str, Callable[..., Array]] = {"rnn": _rnn, "lstm": _lstm, "gru-keeps-old": _gru}
"""The documents' concatenated forms, written out."""


@claim(
    "C27", "The GRU is like an LSTM with a forget gate but without an output gate; its update gate"
    " takes the place of the forget and the input gate.",
    documents=("D1",), about=("E17", "E18", "E22", "E23b"), reading=OPEN,
)  # fmt: skip
def gru_is_lstm(e: Evidence, rng: np.random.Generator) -> None:
    """Build the LSTM from the GRU's weights: f = u, i = 1 - f, o = 1, with and without tanh(c)."""
    bare = e.number("r = 1; LSTM with i = 1 - f and h = c: largest difference over 20 steps",
                    _follow(rng, FAR, squashed=False))  # fmt: skip
    squashed = e.number("the same with the LSTM's h = tanh(c)", _follow(rng, FAR, squashed=True))
    reset = e.number("r as drawn, h = c: largest difference", _follow(rng, None, squashed=False))
    same = e.says("with its output tanh and any r", max(squashed, reset) <= 1e-14,
                  f"with h = tanh(c) the states are {squashed:.2g} apart, and with r not held at 1"
                  f" {reset:.2g}: an LSTM has no reset gate")  # fmt: skip
    e.when("r = 1 and the LSTM's output tanh is left out: then i = 1 - f, o = 1 is the GRU",
           within=bare <= 1e-14, beyond=not same)  # fmt: skip


def _follow(rng: np.random.Generator, r: float | None, *, squashed: bool) -> float:
    """Return the largest difference of the constructed LSTM from the GRU within 20 steps."""
    sample = draw("gru-keeps-old", rng, biases={} if r is None else {"r": r})
    shapes = cell_named("lstm").shapes(Sizes(sample.x.shape[1], sample.state[0].shape[1]))
    # Gates i, f, g, o: f is the GRU's update gate and g its candidate; i and o are not used.
    p = Parameters(shapes, {k: np.stack([0 * a[1], a[1], a[2], 0 * a[1]])
                            for k, a in sample.p.items()})  # fmt: skip
    h: Array = rng.uniform(-0.9, 0.9, sample.state[0].shape)
    worst = 0.0
    c: Array = np.arctanh(h) if squashed else h
    for _ in range(20):
        x = rng.standard_normal(sample.x.shape)
        ((h,), _) = sample.cell.step(sample.p, x, (h,))
        shown = np.tanh(c) if squashed else c
        f = forget_gate(p, x, shown)
        c = cell_state(f, c, 1 - f, candidate(p, x, shown))
        worst = max(worst, apart(h, np.tanh(c) if squashed else c))
    return worst
