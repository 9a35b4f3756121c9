"""Sequences: sums over time, carrying the state, lengths, directions, depth and topologies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ...reference import topologies
from ...reference.arrays import Floats
from ...reference.cell import Cell
from ...reference.cells import cell_named, cells
from ...reference.layer import Layer, stacked
from ...reference.sequence import backpropagate, reverse, unroll
from ..cases.case import Case
from ..checks.check import Check
from ..numbers.complex_step import derivative
from .material import (
    Material,
    agree,
    cell_material,
    disprove,
    forward,
    gradients,
    proof,
    small_cases,
)

CASES = small_cases(scales=["unit"]).map(lambda case: replace(case, P=0, T=case.T + 1))
EVERY = list(cells().values())
BOUNDED = [cell for cell in EVERY if "bounded" in cell.traits]
BPTT = ["bptt.backpropagate"]

agree_back = partial(agree, BPTT, units=4096, scale=8.0)
"""Compare gradients: sums of many products in different orders."""


def sum_over_time(cell: Cell, case: Case) -> None:
    """E10: the gradient is the sum of those of each step's loss, for every parameter."""
    m = cell_material(cell, case)
    total = gradients(cell, m)
    parts = [replace(m, dy=m.dy * 0)]
    for t in range(len(m.x)):
        only = np.zeros_like(m.dy)
        only[t] = m.dy[t]
        parts.append(replace(m, dy=only, dfinal=tuple(d * 0 for d in m.dfinal)))
    summed: dict[str, Floats] = {}
    for part in parts:
        for name, d in gradients(cell, part).items():
            summed[name] = summed.get(name, 0) + d
    for name, d in total.items():
        agree_back(f"{cell.name}: gradient of {name}", d, summed[name])


def carry(cell: Cell, case: Case) -> None:
    """Two segments with the state carried, forward and backward, are one sequence."""
    m = cell_material(cell, replace(case, lengths=False))
    cut = 1 + case.seed % (case.T - 1)
    run = unroll(cell, m.p, m.x, m.state)
    first = unroll(cell, m.p, m.x[:cut], m.state)
    second = unroll(cell, m.p, m.x[cut:], first.final)
    joined = np.concatenate([first.y, second.y])
    agree(cell.equations, f"{cell.name}: y in two segments", joined, run.y, units=256)
    for got, want in zip(second.final, run.final, strict=True):
        agree(cell.equations, f"{cell.name}: final state", got, want, units=256)
    dp, dx, dstate = backpropagate(cell, m.p, run, m.dy, m.dfinal)
    dp2, dx2, dmiddle = backpropagate(cell, m.p, second, m.dy[cut:], m.dfinal)
    dp1, dx1, dstart = backpropagate(cell, m.p, first, m.dy[:cut], dmiddle)
    agree_back(f"{cell.name}: dx", np.concatenate([dx1, dx2]), dx)
    for name, d in dp.items():
        label = f"{cell.name}: gradient of {name} in two segments"
        agree_back(label, (dp1 + dp2)[name], d)
    for got, want in zip(dstart, dstate, strict=True):
        agree_back(f"{cell.name}: gradient of the state", got, want)


def padding(cell: Cell, case: Case) -> None:
    """A padded row equals the row alone: NaN in its padding changes nothing, nor does length 0."""
    lengths = np.array([case.T, case.seed % case.T, 0])
    m = replace(cell_material(cell, replace(case, B=3)), lengths=lengths)
    beyond = np.arange(case.T)[:, None] >= lengths
    m = m.replaced("x", np.where(beyond[:, :, None], np.nan, m.x))
    run = unroll(cell, m.p, m.x, m.state, lengths)
    g = gradients(cell, m)
    for b, length in enumerate(lengths):
        row = slice(b, b + 1)
        state = tuple(s[row] for s in m.state)
        alone = unroll(cell, m.p, m.x[:length, row], state)
        names = cell.equations
        agree(names, f"{cell.name}: y of row {b}", run.y[:length, row], alone.y, units=256)
        agree(names, f"{cell.name}: y in the padding", run.y[length:, b], 0 * run.y[length:, b])
        for got, want in zip(run.final, alone.final, strict=True):
            agree(names, f"{cell.name}: final state of row {b}", got[row], want, units=256)
        dfinal = tuple(d[row] for d in m.dfinal)
        _, dx, d0 = backpropagate(cell, m.p, alone, m.dy[:length, row], dfinal)
        if length:
            agree_back(f"{cell.name}: dx", g["x"][:length, row], dx)
        agree(BPTT, f"{cell.name}: dx in the padding", g["x"][length:, b], 0 * g["x"][length:, b])
        for k, want in enumerate(d0):
            agree_back(f"{cell.name}: d state", g[f"state {k}"][row], want)


def bounded(cell: Cell, case: Case) -> None:
    """Outputs lie in [-1, 1], whatever the weights, when the first hidden state does."""
    m = cell_material(cell, replace(case, scale="large"))
    m = replace(m, state=(np.tanh(m.state[0]), *m.state[1:]))
    y = forward(cell, m)[0]
    if not (np.abs(y) <= 1).all():
        disprove(cell.equations, f"{cell.name}: |h| reaches {np.abs(y).max():.17g}")


def reversal(case: Case) -> None:
    """Reversing twice is the identity; step t of a row of length n is step n - 1 - t."""
    x = case.normal("x", (case.T, 3, case.D))
    lengths = np.array([case.T, case.seed % case.T, 0])
    names = ["sequence.reversed"]
    agree(names, "reversed twice", reverse(reverse(x, lengths), lengths), x, units=0)
    for b, n in enumerate(lengths):
        agree(names, f"row {b}", reverse(x, lengths)[:n, b], x[:n, b][::-1], units=0)
        agree(names, f"padding of row {b}", reverse(x, lengths)[n:, b], x[n:, b], units=0)
    agree(names, "without lengths", reverse(x), x[::-1], units=0)


def both_directions(case: Case) -> None:
    """E26: the backward half is the forward cell on the reversed rows, put back in order."""
    cell = cell_named("lstm")
    layer = Layer(cell, case.sizes, bidirectional=True)
    p = layer.random_parameters(case.generator("p"))
    x, lengths = case.normal("x", (case.T, case.B, case.D)), case.row_lengths()
    state = tuple(case.normal(f"s{k}", (2, case.B, case.H)) for k in range(2))
    y = layer.forward(p, x, state, lengths).y
    ahead = unroll(cell, p[0], x, tuple(s[0] for s in state), lengths).y
    ends = [case.T] * case.B if lengths is None else lengths
    back = np.zeros_like(ahead)
    for b, n in enumerate(ends):
        start = tuple(s[1, b : b + 1] for s in state)
        run = unroll(cell, p[1], x[:n, b : b + 1][::-1], start)
        back[:n, b] = run.y[::-1, 0]
    names = ["bidirectional", "sequence.reversed"]
    agree(names, "y", y, np.concatenate([ahead, back], axis=2), units=256)


def depth(case: Case) -> None:
    """E27: a stack is its layers one after the other."""
    cell = cell_named("gru")
    layer = Layer(cell, case.sizes, layers=2)
    p = layer.random_parameters(case.generator("p"))
    x = case.normal("x", (case.T, case.B, case.D))
    zero = (np.zeros((case.B, case.H)),)
    below = unroll(cell, p[0], x, zero).y
    agree(["stacked"], "y", stacked(layer, p, x), unroll(cell, p[1], below, zero).y, units=256)


def layer_gradient(cell: Cell, case: Case) -> None:
    """The gradient through layers, directions and lengths is the derivative, by complex step."""
    layer = Layer(cell, case.sizes, 2, bidirectional=True)
    p = layer.random_parameters(case.generator("p"))
    x = cell.random_input(case.generator("x"), case.T, case.B, case.sizes)
    lengths = case.row_lengths()
    output = layer.forward(p, x, None, lengths)
    dy = case.normal("dy", output.y.shape)
    dfinal = tuple(case.normal(f"d{k}", s.shape) for k, s in enumerate(output.final))
    dx = layer.vjp(p, output, dy, dfinal).x
    direction = case.normal("direction", x.shape)
    z = tuple(q.map(lambda array: array.astype(complex)) for q in p)

    def outputs(argument: Floats) -> tuple[Floats, ...]:
        run = layer.forward(z, argument, None, lengths)
        return (run.y, *run.final)

    slopes = derivative(outputs, x, direction)
    want = sum((c * s).sum() for c, s in zip((dy, *dfinal), slopes, strict=True))
    names = [*BPTT, "bidirectional", "stacked", "sequence.reversed"]
    agree(names, f"{cell.name}: dx", (dx * direction).sum(), want, units=2.0**16, scale=8.0)


def _readout(m: Material) -> Floats:
    return np.resize(np.linspace(-1, 1, 7), (m.p["W"].shape[2], m.p["W"].shape[1]))


def _encoder_decoder(cell: Cell, m: Material, case: Case) -> tuple[Any, Any]:
    start = np.ones((case.B, case.D))
    decoder = cell.random_parameters(case.generator("decoder"), case.sizes)
    args = (cell, m.p), (cell, decoder), _readout(m), m.x, start, case.T + 1, m.lengths
    return topologies.encoder_decoder(*args)


Run = Callable[[Cell, Material, Case], tuple[Any, Any]]
TOPOLOGIES: dict[str, tuple[int, Run]] = {
    "many_to_many": (
        1, lambda cell, m, case: topologies.many_to_many(cell, m.p, m.x, m.state, m.lengths),
    ),
    "many_to_one": (
        1, lambda cell, m, case: topologies.many_to_one(cell, m.p, m.x, m.state, m.lengths),
    ),
    "one_to_one": (1, lambda cell, m, case: topologies.one_to_one(cell, m.p, m.x[0], m.state)),
    "one_to_many": (
        2,
        lambda cell, m, case: topologies.one_to_many(
            cell, m.p, _readout(m), m.x[0], m.state, case.T
        ),
    ),
    "encoder_decoder": (3, _encoder_decoder),
}  # fmt: skip
"""Each topology's place of x among the gradients, and the function that runs it."""


def pullback(name: str, case: Case) -> None:
    """Compare a topology's pullback to x with a complex step."""
    (place, run), cell = TOPOLOGIES[name], cell_named("lstm")
    m = cell_material(cell, case)
    y, pull = run(cell, m, case)
    dy, direction = case.normal("d", y.shape), case.normal("direction", m.x.shape)
    z = m.map(lambda array: array.astype(complex))
    (slope,) = derivative(lambda x: (run(cell, z.replaced("x", x), case)[0],), m.x, direction)
    dx = np.asarray(pull(dy)[place])
    if dx.ndim < m.x.ndim:  # it reads the first step alone
        direction = direction[0]
    got, want = (dx * direction).sum(), (dy * slope).sum()
    agree([f"topology.{name}"], "dx of the pullback", got, want, units=4096, scale=8.0)


def topologies_nest(case: Case) -> None:
    """The last of many-to-many is many-to-one; T = 1 is one-to-one; a generator's first is too."""
    cell = cell_named("lstm")
    m = cell_material(cell, replace(case, lengths=False))
    outputs, _ = topologies.many_to_many(cell, m.p, m.x, m.state)
    last, _ = topologies.many_to_one(cell, m.p, m.x, m.state)
    single, _ = topologies.one_to_one(cell, m.p, m.x[0], m.state)
    V = _readout(m)
    generated, _ = topologies.one_to_many(cell, m.p, V, m.x[0], m.state, 2)
    agree(["topology.many_to_one"], "last output", last, outputs[-1])
    agree(["topology.one_to_one"], "T = 1", single, outputs[0])
    agree(["topology.one_to_many"], "first output", generated[0], outputs[0] @ V, scale=8.0)
    if not np.isfinite(generated).all():
        disprove(["topology.one_to_many"], "outputs are not finite")


def for_every_cell(
    id: str,
    statement: str,
    names: list[str],
    function: Callable[[Cell, Case], None],
    chosen: list[Cell],
) -> Iterator[Check]:
    """Yield one proof for each cell, of its equations and those in ``names``."""
    for cell in chosen:
        about = dict.fromkeys((*cell.equations, *names))
        holds = partial(function, cell)
        yield proof(f"{id}[{cell.name}]", f"{cell.title}: {statement}", list(about), CASES, holds)


PROOFS = (
    *for_every_cell("sequence.sum_over_time", "∂E/∂W = Σ_t ∂E_t/∂W, for every parameter.",
                    BPTT, sum_over_time, EVERY),
    *for_every_cell("sequence.carry", "Two segments with the state carried are one sequence, and "
                    "so are their gradients.", BPTT, carry, EVERY),
    *for_every_cell("sequence.padding", "A padded row is the row alone, values and gradients; a "
                    "row of length 0 ends in its initial state.", BPTT, padding, EVERY),
    *for_every_cell("sequence.bounded", "Hidden states stay in [-1, 1].", [], bounded, BOUNDED),
    proof("sequence.reversal", "Reversal is within each row's length, and its own inverse.",
          ["sequence.reversed"], CASES, reversal),
    proof("layer.bidirectional", "The backward half is the forward cell on the reversed row.",
          ["bidirectional", "sequence.reversed"], CASES, both_directions),
    proof("layer.stacked", "A stack is its layers one after the other.", ["stacked"], CASES, depth),
    *for_every_cell("layer.gradient", "The gradient through layers, directions and lengths, by "
                    "complex step.",
                    ["bidirectional", "stacked", "sequence.reversed", *BPTT],
                    layer_gradient, [c for c in EVERY if "readout" not in c.traits]),
    proof("topology.nested", "The topologies are special cases of one another.",
          ["topology.many_to_one", "topology.one_to_one", "topology.one_to_many"],
          CASES, topologies_nest),
    *(proof(f"pullback[{name}]", "Its pullback is its derivative, by complex step.",
            [f"topology.{name}"], CASES, partial(pullback, name)) for name in TOPOLOGIES),
)  # fmt: skip
