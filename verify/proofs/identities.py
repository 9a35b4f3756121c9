"""Identities of the catalogue: different equations that must agree, exactly or up to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import Cell
from ...reference.cells import cell_named
from ...reference.cells.lstm_phased import PhasedLSTM, time_gate
from ...reference.cells.skip import CELLS as SKIP_CELLS
from ...reference.functions import tanh
from ...reference.parameters import Parameters
from ..cases.case import Case
from .material import Material, agree, cell_material, disprove, forward, proof, small_cases

ORDINARY = small_cases(scales=["unit"]).map(lambda case: replace(case, P=0))


def _like(cell: Cell, m: Material, arrays: dict[str, Floats], *states: Floats) -> Material:
    """Return material for another cell from this material's arrays."""
    sizes = Case(1, 1, m.p["W"].shape[1], m.p["W"].shape[2]).sizes
    shapes = cell.shapes(sizes)
    p = Parameters(shapes, {name: arrays[name] for name in shapes})
    return replace(m, p=p, state=states or m.state)


def _same(names: list[str], label: str, a: tuple[Floats, ...], b: tuple[Floats, ...]) -> None:
    for k, (first, second) in enumerate(zip(a, b, strict=True)):
        agree(names, f"{label}, output {k}", first, second, units=512)


def polarity(case: Case) -> None:
    """E23a with (W_z, U_z, b_z) negated is E23b, since σ(-x) = 1 - σ(x)."""
    takes, keeps = cell_named("gru-takes-new"), cell_named("gru-keeps-old")
    m = cell_material(takes, case)
    sign = np.array([1.0, -1.0, 1.0])  # gates r, z, n
    negated = m.p.map(lambda a: a * sign.reshape(-1, *[1] * (a.ndim - 1)))
    names = ["gru.state_takes_new", "gru.state_keeps_old"]
    _same(names, "negated polarity", forward(takes, m), forward(keeps, replace(m, p=negated)))


def reset_position(case: Case) -> None:
    """E24 = E22 when U_n is diagonal and b_hn = 0; and differs from it in general."""
    before, after = cell_named("gru-keeps-old"), cell_named("gru")
    m = cell_material(before, case)
    names = ["gru.candidate", "gru.candidate_reset_after"]
    diagonal = m.p["U"].copy()
    diagonal[2] *= np.eye(case.H)
    arrays = {**m.p, "b_hn": np.zeros(case.H)}
    special = arrays | {"U": diagonal}
    reset_before = forward(before, _like(before, m, special))
    reset_after = forward(after, _like(after, m, special))
    _same(names, "diagonal U_n", reset_before, reset_after)
    general = forward(before, m)[0], forward(after, _like(after, m, arrays))[0]
    if case.T > 1 and np.array_equal(*general):
        disprove(names, "reset before and after agree although U_n is not diagonal")


def gru_as_lstm(case: Case) -> None:
    """A GRU with r = 1 is an LSTM with i = 1 - f, o = 1 and no tanh at the output."""
    gru = cell_named("gru-keeps-old")
    m = cell_material(gru, case)
    b = m.p["b"].copy()
    b[0] = 1e4  # the reset gate is 1
    m = m.replaced("b", b)
    h = m.state[0]
    for t in range(case.T):
        ((new,), _) = gru.step(m.p, m.x[t], (h,))
        f = 1 / (1 + np.exp(-(m.x[t] @ m.p.W_z + h @ m.p.U_z + m.p.b_z)))
        g = np.tanh(m.x[t] @ m.p.W_n + h @ m.p.U_n + m.p.b_n)
        h = f * h + (1 - f) * g
        agree(["gru.state_keeps_old", "gru.candidate"], f"step {t + 1}", new, h, units=512)


def no_peepholes(case: Case) -> None:
    """Peepholes of 0 leave the LSTM, in both readings of E25."""
    lstm = cell_named("lstm")
    m = cell_material(lstm, case)
    arrays = {**m.p, "p": np.zeros((3, case.H))}
    for name in ("lstm-peephole", "lstm-peephole-old"):
        cell = cell_named(name)
        _same(list(cell.equations), name, forward(cell, _like(cell, m, arrays)), forward(lstm, m))


def open_time_gate(case: Case) -> None:
    """Phased LSTM at k = 1 (the top of the opening) is the peephole LSTM."""
    phased, peephole = PhasedLSTM(), cell_named("lstm-peephole")
    m = cell_material(peephole, case)
    # One period a step and r_on = 1: the phase is 1/2 at every step, where k = 1.
    timing = {"tau": np.ones(case.H), "s": np.full(case.H, 0.5), "r_on": np.ones(case.H)}
    stamps = np.broadcast_to(np.arange(1.0, case.T + 1)[:, None, None], (case.T, case.B, 1))
    q = _like(phased, m, {**m.p, **timing})
    q = replace(q, x=np.concatenate([stamps, m.x], axis=2))
    _same(["phased.gated_state", "phased.time_gate"], "k = 1", forward(phased, q),
          forward(peephole, m))  # fmt: skip


def time_gate_shape(case: Case) -> None:
    """K rises from 0 to 1 over r_on/2, falls to 0 at r_on, leaks beyond; period τ."""
    cell = PhasedLSTM()
    m = cell_material(cell, case)
    p, names = m.p, ["phased.time_gate", "phased.phase"]
    half, end = p.r_on / 2, p.r_on
    agree(names, "k at 0", time_gate(p, 0 * half, cell.leak), 0 * half)
    agree(names, "k at r_on/2", time_gate(p, half, cell.leak), 1 + 0 * half)
    agree(
        names, "k just below r_on", time_gate(p, end * (1 - 1e-12), cell.leak), 0 * end, scale=1e5
    )
    agree(names, "k beyond r_on", time_gate(p, (1 + end) / 2, 0.25), 0.25 * (1 + end) / 2)
    shifted = m.replaced("s", p.s + 3 * p.tau)
    for a, b in zip(forward(cell, m), forward(cell, shifted), strict=True):
        agree(names, "shift by three periods", a, b, units=2.0**20)


def never_skipping(case: Case) -> None:
    """Skip cells with ũ = 1 throughout are the plain cells; with ũ = 0 they copy."""
    for cell in SKIP_CELLS:
        plain = cell.plain
        m = cell_material(cell, replace(case, lengths=False))
        always = m.replaced("b_p", m.p["b_p"] * 0 + 1e4)
        always = replace(always, state=(*m.state[:-1], np.ones((case.B, 1))))
        names = list(plain.shapes(case.sizes))
        p = Parameters({n: m.p.shapes[n] for n in names}, {n: m.p[n] for n in names})
        bare = forward(plain, replace(m, p=p, state=m.state[:-1]))
        _same(
            ["skip.state", "skip.accumulated"],
            f"{cell.name}, u = 1",
            forward(cell, always)[:-1],
            bare,
        )
        never = m.replaced("b_p", m.p["b_p"] * 0 - 1e4)
        never = replace(never, state=(*m.state[:-1], np.zeros((case.B, 1))))
        copied = forward(cell, never)[1:-1]
        _same(["skip.state", "skip.increment"], f"{cell.name}, u = 0", copied, m.state[:-1])


def one_matrix(case: Case) -> None:
    """[a, x] W and a U + x W are one map."""
    cell = cell_named("rnn")
    m = cell_material(cell, case)
    stacked = np.concatenate([m.p.U_a, m.p.W_a])
    a, x = m.state[0], m.x[0]
    joined = tanh(np.concatenate([a, x], axis=1) @ stacked + m.p.b_a)
    agree(["rnn.state"], "concatenated form", cell.step(m.p, x, (a,))[0][0], joined)


def candidate_is_rnn(case: Case) -> None:
    """The LSTM's candidate is exactly the vanilla RNN's update."""
    lstm, rnn = cell_named("lstm"), cell_named("rnn")
    m = cell_material(lstm, case)
    _, gates = lstm.step(m.p, m.x[0], m.state)
    arrays = {name: m.p[name][2:3] for name in ("W", "U", "b")}
    p = Parameters(rnn.shapes(case.sizes), arrays)
    agree(["lstm.candidate", "rnn.state"], "g against a", gates["g"],
          rnn.step(p, m.x[0], m.state[:1])[0][0], units=0)  # fmt: skip


def identity_projection(case: Case) -> None:
    """A projection by the identity leaves the LSTM."""
    lstm, projected = cell_named("lstm"), cell_named("lstm-projected")
    m = cell_material(lstm, case)
    q = _like(projected, m, {**m.p, "R": np.eye(case.H)})
    _same(["lstm.projection"], "R = I", forward(projected, q), forward(lstm, m))


def coupled(case: Case) -> None:
    """Coupling is f = 1 - i: the LSTM whose forget gate has the input gate's weights negated."""
    lstm, cell = cell_named("lstm"), cell_named("lstm-coupled")
    m = cell_material(cell, case)
    arrays = {k: np.stack([a[0], -a[0], a[1], a[2]]) for k, a in m.p.items()}
    q = _like(lstm, m, arrays)
    _same(["lstm.coupled_forget_gate"], "f = 1 - i", forward(cell, m), forward(lstm, q))


PROOFS = (
    proof("identity.polarity", "E23a with W_z, U_z, b_z negated is E23b.",
          ["gru.state_takes_new", "gru.state_keeps_old", "gru.update_gate"], ORDINARY, polarity),
    proof("identity.reset", "Reset after is reset before when U_n is diagonal and b_hn = 0.",
          ["gru.candidate", "gru.candidate_reset_after", "gru.reset_gate"], ORDINARY,
          reset_position),
    proof("identity.gru_as_lstm", "A GRU with r = 1 is an LSTM with i = 1 - f and o = 1.",
          ["gru.state_keeps_old", "gru.candidate"], ORDINARY, gru_as_lstm),
    proof("identity.no_peepholes", "Peepholes of 0 leave the LSTM.",
          ["lstm.peephole_forget_gate", "lstm.peephole_input_gate", "lstm.peephole_output_gate"],
          ORDINARY, no_peepholes),
    proof("identity.open_time_gate", "The Phased LSTM at k = 1 is the peephole LSTM.",
          ["phased.phase", "phased.time_gate", "phased.gated_state"], ORDINARY, open_time_gate),
    proof("identity.time_gate", "The time gate opens and closes over r_on, then leaks; period τ.",
          ["phased.phase", "phased.time_gate"], ORDINARY, time_gate_shape),
    proof("identity.never_skipping", "A Skip cell is the plain cell at u = 1, a copy at u = 0.",
          ["skip.update_gate", "skip.state", "skip.increment", "skip.accumulated"], ORDINARY,
          never_skipping),
    proof("identity.one_matrix", "The concatenated and the split form are one map.",
          ["rnn.state"], ORDINARY, one_matrix),
    proof("identity.candidate", "The LSTM's candidate is the vanilla RNN's update.",
          ["lstm.candidate", "rnn.state"], ORDINARY, candidate_is_rnn),
    proof("identity.projection", "A projection by the identity leaves the LSTM.",
          ["lstm.projection"], ORDINARY, identity_projection),
    proof("identity.coupled", "The coupled LSTM is the LSTM with W_f = -W_i and so on.",
          ["lstm.coupled_forget_gate"], ORDINARY, coupled),
)  # fmt: skip
