"""Slips in cells that are given their gates, and from one chunk of steps to the next."""

import numpy as np
import pytest

from gatewise.reference.cells import cell_named
from gatewise.reference.parameters import Parameters, Sizes
from gatewise.verify.diagnosis.formulas.gated_by_input import (
    TEXTS,
    GivenStep,
    given_edits,
    given_program,
)
from gatewise.verify.diagnosis.formulas.program import statement
from judgements import diagnosed

SIZES = Sizes(5, 4)


def step_of(cell, *lines):
    """Return a cell's step by its program, with other lines for their targets."""
    program, changed = given_program(cell), {s.target: s for s in map(statement, lines)}
    places = {s.target: k for k, s in enumerate(program.forward)}
    edited = program.with_statements("forward", {places[n]: s for n, s in changed.items()})
    return GivenStep(cell_named(cell), edited)


@pytest.mark.parametrize("cell", TEXTS)
def test_a_program_is_its_cell_and_is_edited_everywhere(cell):
    known, rng = cell_named(cell), np.random.default_rng(1)
    p, (x,) = known.random_parameters(rng, SIZES), known.random_input(rng, 1, 3, SIZES)
    state = tuple(1 + rng.random((3, *shape)) for shape in known.state_shapes(SIZES))

    new, y = step_of(cell)(p, known.split(x, SIZES), state)

    right, gates = known.step(p, x, state)
    for mine, other in zip(new, right, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12)
    shown = known.readout(p, x, state, gates, right)
    np.testing.assert_allclose(y.reshape(3, -1), shown, rtol=1e-12)
    targets = {s.target for s in given_program(cell).forward}
    assert {t for e in given_edits(cell) for t in e.targets} == targets


def layer(cell, *lines):
    """Return a layer of this cell with other lines."""
    known = cell_named(cell)
    names = [*(each.name for each in known.inputs), *known.parameter_axes]
    step = step_of(cell, *lines)

    def forward(arrays, state):
        given = {each.name: arrays[each.name] for each in known.inputs}
        T, B = given[known.inputs[0].name].shape[:2]
        sizes = Sizes(*(given[n].shape[-1] for n in _wide(known)))
        shapes = {n: np.shape(arrays[n]) for n in known.parameter_axes}
        p = Parameters(known.shapes(sizes), {n: arrays[n] for n in shapes})
        states = state if state is not None else [
            np.zeros((B, *s)) for s in known.state_shapes(sizes)
        ]  # fmt: skip
        states = tuple(states) if isinstance(states, (tuple, list)) else (states,)
        y = []
        for t in range(T):
            states, out = step(p, {n: a[t] for n, a in given.items()}, states)
            y.append(out)
        return np.stack(y), states

    body = f"lambda self, {', '.join(names)}, state=None: run(locals(), state)"
    return type("Layer", (), {"cell": cell, "forward": eval(body, {"run": forward})})


def _wide(known):
    """Return an array that is K wide, and one that is V wide."""
    return [
        next(e.name for e in known.inputs if e.axes.split()[-1] == letter) for letter in "KV"
    ]  # fmt: skip


@pytest.mark.parametrize(("cell", "line", "said"), [
    ("ssd", "y = sum_k(C * S_new) + D * x * dt", "there is a factor dt too many in D * x_t"),
    ("rwkv6", "S_new = exp(-exp(w)) * S_old + k * v", "-exp(w) stands in the place of w"),
    ("rwkv7", "kept = exp(w) * S_old - a * kappa * sum_k(k * S_old)", "k stands in the place of k"),
    ("gated-delta", "u = sigmoid(beta) * (v - sum_k(k * kept))", "sigmoid(beta) stands in the pl"),
    ("mlstm", "f_gate = exp(log_sigmoid(f) - m_new)", "the term m_{t-1} is missing"),
])  # fmt: skip
@pytest.mark.usefixtures("briefly")
def test_a_slip_is_named(cell, line, said):
    diagnosis = diagnosed(layer(cell, line), "forward")

    assert said in diagnosis.explanations[0].statements[0]


class Chunked:
    """Mamba-2 in chunks of 4 steps; ``decay`` is that of the state before a chunk, by its steps."""

    cell, axes, form = "ssd", "BTD", "chunk:4"

    def forward(self, x, dt, B, C, A, D, state=None):
        S = np.zeros((len(x), *x.shape[2:], B.shape[-1]), x.dtype) if state is None else state
        y = [x[:, :0]]
        for start in range(0, x.shape[1], 4):
            xs, ds, Bs, Cs = (a[:, start : start + 4] for a in (x, dt, B, C))
            log = (ds * A).cumsum(1)
            apart = np.tril(np.moveaxis(log[:, :, None] - log[:, None], -1, 1))
            w = (Cs @ Bs.swapaxes(1, 2))[:, None] * np.tril(np.exp(apart))
            inside = np.einsum("bnts,bsn,bsnv->btnv", w, ds, xs)
            before = np.einsum("bnvk,btk,btn->btnv", S, Cs, self.decay(log, ds * A))
            y.append(inside + before + D[:, None] * xs)
            S = np.exp(log[:, -1])[..., None, None] * self.handed(S, log[:, -1]) + np.einsum(
                "btn,btnv,btk->bnvk", np.exp(log[:, -1:] - log) * ds, xs, Bs
            )
        return np.concatenate(y, 1), S

    def decay(self, log, step):
        return np.exp(log)

    def handed(self, S, log):
        return S


class Undecayed(Chunked):
    def decay(self, log, step):
        return 1 + 0 * log


class Late(Chunked):
    def decay(self, log, step):
        return np.exp(log - step)


class HandedOnUndecayed(Chunked):
    def handed(self, S, log):
        return S / np.exp(log)[..., None, None]


@pytest.mark.parametrize(("chunked", "said"), [
    (Undecayed, "of 4 steps is not decayed where outputs are read."),
    (Late, "of 4 steps decays a step late where outputs are read."),
    (HandedOnUndecayed, "of 4 steps is not decayed on its way to the next chunk."),
])  # fmt: skip
@pytest.mark.usefixtures("briefly")
def test_what_goes_wrong_between_chunks_is_named(chunked, said):
    assert diagnosed(Chunked, "forward").status == "conforms"

    assert diagnosed(chunked, "forward").explanations[0].statements[0].endswith(said)


@pytest.mark.usefixtures("briefly")
def test_keys_that_are_scaled_for_the_queries_are_named():
    lines = ("u = beta * (v - sum_k(k / root_k * kept))", "S_new = kept + k / root_k * u",
             "y = sum_k(q * S_new)")  # fmt: skip
    said = diagnosed(layer("gated-delta", *lines), "forward").headline
    assert "the keys are divided by √K, and the queries are not" in said
