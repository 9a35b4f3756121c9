"""The cost model against PyTorch's own counters, where they are exact."""

import pytest

import torch_counters
from gatewise.bench.cost.layer import Cost
from gatewise.bench.speed.torch_layers import native
from gatewise.reference.cells import cell_named
from gatewise.reference.layer import Layer
from gatewise.reference.parameters import Sizes

torch = pytest.importorskip("torch")

KINDS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
T, B, D, H = 6, 3, 7, 16
EVERY = pytest.mark.parametrize("cell", KINDS)


def made(cell, *, layers=1, directions=1, x_grad=True, state_grad=True):
    """A layer of torch, its inputs, and the layer's cost."""
    module = getattr(torch.nn, KINDS[cell])(D, H, num_layers=layers, bidirectional=directions == 2)
    x = torch.randn(T, B, D, requires_grad=x_grad)
    shape = (layers * directions, B, H)
    states = [torch.randn(shape, requires_grad=state_grad) for _ in cell_named(cell).states]
    layer = Layer(cell_named(cell), Sizes(D, H), layers, directions == 2)
    cost = Cost(layer, T, B, input_gradient=x_grad, state_gradient=state_grad)
    return module, x, tuple(states) if len(states) > 1 else states[0], cost


@EVERY
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("x_grad", "state_grad"), [(True, True), (False, True), (True, False)])
def test_flop_forward_and_backward(cell, layers, directions, x_grad, state_grad):
    """All products of torch's native layers, whichever gradients are wanted."""
    module, x, state, cost = made(
        cell, layers=layers, directions=directions, x_grad=x_grad, state_grad=state_grad
    )
    with native():
        forward = torch_counters.counted_flop(lambda: module(x, state))
        y = module(x, state)[0].sum()
        backward = torch_counters.counted_flop(y.backward)
    assert forward == cost.flop("forward")
    assert backward == cost.flop("backward")


def test_torch_counts_nothing_of_a_onednn_lstm():
    """Its counter says 0 where one operator holds the layer; hence our own count."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of PyTorch has no oneDNN")
    module, x, state, cost = made("lstm")
    assert torch_counters.counted_flop(lambda: module(x, state)) == 0 < cost.flop()


@EVERY
def test_words_kept_by_torch(cell):
    """What its native layers keep: a T + b words a row and unit, never below the reference's."""
    module, x, state, cost = made(cell)
    with native():
        words = torch_counters.saved_words(lambda: module(x, state), [x, *module.parameters()])
    each, once = torch_counters.NATIVE_WORDS[cell]
    assert words == (each * T + once) * B * H
    assert words >= cost.saved


def test_kept_words_are_seen_where_they_grow():
    x = torch.randn(5, 5, requires_grad=True)
    one = torch_counters.saved_words(lambda: x.tanh(), [x])
    two = torch_counters.saved_words(lambda: x.tanh().tanh(), [x])
    assert (one, two) == (25, 50)


@EVERY
def test_products_called_by_torch(cell):
    """The input's product once, the recurrent one at every step; backward the same, twice."""
    module, x, state, _ = made(cell)
    with native():
        forward = torch_counters.product_calls(lambda: module(x, state))
        total = module(x, state)[0].sum()
        backward = torch_counters.product_calls(total.backward)
    assert forward == T + 1
    assert backward == 2 * (T + 1)


@EVERY
def test_parameters_of_torch(cell):
    """The reference's, and the second bias without effect: all of it but the GRU's b_hn."""
    module, _, _, cost = made(cell, layers=2, directions=2)
    gates = len(cell_named(cell).gates) - (cell == "gru")
    assert sum(p.numel() for p in module.parameters()) == cost.parameters + 4 * gates * H


def test_graphs():
    """torch.compile takes a loop over cells whole, is cut by a print, and gives up on a layer."""
    cell, layer = torch.nn.GRUCell(D, H), torch.nn.GRU(D, H)
    x = torch.randn(T, B, D)

    def loop(x):
        h = x.new_zeros(B, H)
        for x_t in x:
            h = cell(x_t, h)
        return h

    def cut(x):
        h = cell(x[0], x.new_zeros(B, H))
        torch._dynamo.graph_break()
        return cell(x[1], h)

    assert torch_counters.graphs(loop, x) == 1
    assert torch_counters.graphs(cut, x) == 2
    assert torch_counters.graphs(layer, x) == 0
