"""The cost model: counted on the cells' own lines, and the same in closed form."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from gatewise.bench.cost.layer import changes, cost_of, recurrent_flop, row
from gatewise.bench.cost.shape import Shape, grid
from gatewise.bench.cost.step import PRODUCT, Counted, Tape, count_step
from gatewise.reference.cell import Cell
from gatewise.reference.cells import cell_named, gating_cells
from gatewise.reference.errors import InputError
from gatewise.reference.functions import midpoint
from gatewise.reference.parameters import Parameters, Sizes

SMOKE = Shape(T=5, B=2, D=8, H=16)


def input_flop(cell, sizes):
    """The flop of the input's products, for one row at one step: 2 G H D."""
    return 2 * int(np.prod(cell.shapes(sizes)["W"].full))


EVERY = pytest.mark.parametrize("cell", gating_cells().values(), ids=lambda cell: cell.name)


@EVERY
@pytest.mark.parametrize("sizes", [(Sizes(3, 5, 4), 2), (Sizes(7, 7, 7), 1), (Sizes(1, 9, 2), 4)])
def test_the_count_is_the_closed_form(cell, sizes):
    """Each matrix once a step: the input's in parallel, the others in turn; backward twice."""
    widths, batch = sizes
    widths = widths if "projected" in cell.traits else Sizes(widths.D, widths.H)
    step = count_step(cell, widths, batch)
    feeding, recurrent = input_flop(cell, widths), recurrent_flop(cell, widths)
    assert step.parallel.product == step.input.product == batch * feeding
    assert step.sequential.product == step.state.product == batch * recurrent
    assert step.weights.product == batch * (feeding + recurrent)
    assert 2 * (step.feeding + step.recurrent) == feeding + recurrent


@pytest.mark.parametrize(("name", "G", "activations", "chain", "saved"), [
    ("rnn", 1, 1, 1, 1), ("lstm", 4, 5, 1, 6), ("lstm-peephole", 4, 5, 1, 6), ("gru", 3, 3, 1, 5),
    ("gru-keeps-old", 3, 3, 2, 4),
])  # fmt: skip
def test_what_papers_count(name, G, activations, chain, saved):
    """2 G H I and 2 G H² flop, activations and kept words of a unit; products in a row."""
    D, H, B = 6, 10, 3
    step = count_step(cell_named(name), Sizes(D, H), B)
    assert step.parallel.product == 2 * G * H * D * B
    assert step.sequential.product == 2 * G * H * H * B
    assert step.forward.activation == activations * H * B
    assert step.saved == saved * H * B
    assert (step.chain, step.chain_back) == (chain, chain)


def test_elementwise_operations_of_the_lstm():
    """Two sums a gate, three operations for c, one for h; a peephole is two more a gate."""
    plain, peephole = (count_step(cell_named(n), Sizes(2, 5), 1) for n in ("lstm", "lstm-peephole"))
    assert plain.forward.pointwise == 5 * (4 * 2 + 3 + 1)
    assert peephole.forward.pointwise - plain.forward.pointwise == 5 * 3 * 2


def test_what_the_reference_computes_twice():
    """The GRU that resets after its product needs that product again, zoned out or not."""
    again = {
        c.name: count_step(c, Sizes(2, 5), 3).recomputed.calls for c in gating_cells().values()
    }
    assert {name for name, calls in again.items() if calls} == {"gru", "zoneout-gru"}


def test_a_planted_product_is_counted():
    class Wasteful(type(cell_named("rnn"))):
        def step(self, p, x, state):
            (new,), gates = super().step(p, x, state)
            return (new + 0 * (state[0] @ p.U_a),), gates

    plain = cell_named("rnn")
    wasteful = Wasteful.__new__(Wasteful)
    wasteful.__dict__.update(plain.__dict__)
    sizes = Sizes(3, 5)
    counted = count_step(wasteful, sizes, 2).sequential
    assert counted.calls == 2
    assert counted.product == 2 * 2 * recurrent_flop(wasteful, sizes)


def test_what_is_not_known_does_not_count_as_nothing():
    """An operation without a cost is refused, and so is a branch that looks at values."""
    x = Tape().input((2, 3))
    with pytest.raises(TypeError):
        np.maximum(x, 0)
    with pytest.raises(TypeError, match="switch"):
        midpoint(x)


def test_chains_and_dependence():
    """a @ b @ c are two products in a row; what does not depend on a is not below it."""
    tape = Tape()
    a, b, c = (tape.input((4, 4)) for _ in range(3))
    aside = b @ c
    chained: Counted = a @ b @ c
    lines = tape.below(a) & tape.above(chained)
    assert tape.longest(PRODUCT, lines) == 2
    assert aside.line not in tape.below(a)
    assert [line.cost for line in tape.lines if line.kind == PRODUCT] == [128] * 3


@EVERY
def test_a_layer_adds_up_its_passes(cell):
    """Two layers in two directions are four passes, the upper ones reading both directions."""
    shape = Shape(T=4, B=3, D=5, H=6, layers=2, directions=2)
    cost = cost_of(cell, shape)
    sizes = cost.layer.pass_sizes
    flop = [input_flop(cell, s) + recurrent_flop(cell, s) for s in sizes]
    assert cost.flop() == 4 * 3 * sum(flop)
    assert cost.flop("backward") == 2 * cost.flop()
    assert cost.flop("training") == 3 * cost.flop()
    assert cost.recurrent_flop("training") == 3 * cost.recurrent_flop()
    drawn = cost.layer.random_parameters(np.random.default_rng(0))
    assert cost.parameters == sum(array.size for p in drawn for array in p.values())


def test_sequential_share_of_training():
    """2 H / (3 (I + H)): a third where the input is as wide as the state."""
    for D, H in ((8, 8), (1, 99), (100, 4)):
        cost = cost_of(cell_named("lstm"), Shape(T=7, B=2, D=D, H=H))
        share = cost.sequential["training"] / cost.flop("training")
        assert share == pytest.approx(2 * H / (3 * (D + H)), rel=1e-15)


def test_bytes_of_an_lstm():
    """The words of one step that streams its weights, term by term, forward and backward."""
    B, D, H, T = 2, 3, 5, 7
    cost = cost_of(cell_named("lstm"), Shape(T, B, D, H))
    unit = B * H
    ahead = 4 * H * H + (1 + 1) * unit + 4 * unit + 2 * unit
    assert cost.step_words("forward", streamed=True) == T * ahead
    assert cost.step_words("forward", streamed=False) == T * (ahead - 4 * H * H) + 4 * H * H
    back = 4 * H * H + 4 * unit + 6 * unit + unit + 4 * unit
    assert cost.step_words("backward", streamed=True) == T * back
    training = cost.step_words("training", streamed=True)
    assert training == T * (ahead + back + 6 * unit)
    once = T * B * D + 4 * D * H + T * 4 * unit
    assert cost.parallel_words("forward") == once
    weights = T * B * (4 * H + D + H) + 4 * H * (D + H)
    assert cost.parallel_words("backward") == once + weights


def test_intensity_of_a_streamed_recurrence():
    """Half the batch in flop for each byte, in float32, where the state is wide."""
    cost = cost_of(cell_named("lstm"), Shape(10, 16, 4096, 4096))
    assert cost.intensity(4) == pytest.approx(16 / 2, rel=0.02)


def test_deepbench_row():
    """LSTM 4096, batch 128, 25 steps: 4.295e11 flop, as its published times are divided by."""
    cost = cost_of(cell_named("lstm"), Shape(T=25, B=128, D=4096, H=4096))
    assert cost.recurrent_flop() == 2 * 4 * 4096**2 * 128 * 25 == 429496729600
    assert cost.flop() == 2 * cost.recurrent_flop()


def test_counters_are_what_they_were(root):
    """FLOPs, products, kept words, parameters: any change is told, and has to be meant.

    If it is: gatewise bench cost --shapes T=5,B=2,D=8,H=16 --json > tests/data/cost_counters.json
    """
    before = json.loads(
        (root / "tests" / "data" / "cost_counters.json").read_text(encoding="utf-8")
    )
    now = [row(cell, SMOKE) for cell in gating_cells().values()]
    assert changes(before, now) == []
    assert {r["cell"] for r in before} <= gating_cells().keys()


def test_a_changed_counter_is_told():
    now = row(cell_named("lstm"), SMOKE)
    before = asdict(now) | {"calls": now.calls - 1}
    said = changes([before], [now])
    assert said == [f"lstm T5-B2-D8-H16: calls {now.calls - 1} -> {now.calls}"]


def test_grids():
    assert grid("H=4/8,B=1,T=2") == [Shape(2, 1, 4, 4), Shape(2, 1, 8, 8)]
    (one,) = grid("H=4,B=1,T=2,D=3,L=2,N=2")
    assert str(one) == "T2-B1-D3-H4-L2-N2"
    for wrong in ("H=4", "H=4,B=1,T=0", "H=4,B=1,T=2,N=3", "H=x,B=1,T=2", "Q=1", "", "H=4,B=,T=1"):
        with pytest.raises(InputError, match="shapes"):
            grid(wrong)


def test_a_new_cell_needs_nothing_here():
    class Own(Cell):
        name, title, equations, gates, states = "own", "Own", (), ("a",), ("h",)

        def step(self, p, x, state):
            (h,) = state
            return (x @ p.W_a + h @ p.U_a @ p.U_a + p.b_a,), {}

        def vjp(self, p, x, state, gates, new, cotangent):
            (h,), (d,) = state, cotangent
            back = d @ p.U_a.T
            arrays = {"W": np.stack([x.T @ d]), "b": np.stack([d.sum(axis=0)]),
                      "U": np.stack([h.T @ back + (h @ p.U_a).T @ d])}  # fmt: skip
            return Parameters(p.shapes, arrays), d @ p.W_a.T, (back @ p.U_a.T,)

    step = count_step(Own(), Sizes(3, 5), 2)
    assert (step.chain, step.sequential.calls, step.recomputed.calls) == (2, 2, 1)
    assert step.saved == 2 * 5 + 2 * 5
