"""What a suite would look at that misses no fault: the numbers of many calls of a layer."""

import torch


def everything(layer, kind):
    """Yield the numbers that a very thorough suite would look at."""
    torch.manual_seed(0)
    for options in ({}, {"num_layers": 2, "bidirectional": True}, {"bidirectional": True}):
        module = layer(2, 3, **options).double()
        passes = module.num_layers * (1 + module.bidirectional)
        for T, B, given in ((3, 3, True), (3, 2, False), (4, 3, "packed")):
            yield from called(module, kind, T, B, given, passes)
    yield from called(layer(2, 3).double(), kind, 105, 5, False, 1)
    yield from dropped(layer)
    module = layer(2, 3)
    for scale in (1, 1000):
        y, _ = module(scale * torch.ones(3, 2, 2))
        yield from (y, y.dtype)


def called(module, kind, T, B, given, passes):
    """Yield outputs, arguments and gradients of two calls with a change of weights between."""
    states = 2 if kind == "LSTM" else 1
    x = torch.randn(T, B, 2).double().requires_grad_()
    state = [torch.randn(passes, B, 3).double().requires_grad_() for _ in range(states)]
    for _ in range(2):
        fed = x
        if given == "packed":
            fed = torch.nn.utils.rnn.pack_padded_sequence(x, [2, 4, 3], enforce_sorted=False)
        started = tuple(state) if kind == "LSTM" else state[0]
        y, final = module(fed, started) if given else module(fed)
        final = final if kind == "LSTM" else (final,)
        y = y.data if given == "packed" else y
        yield from (t.detach().clone() for t in (y, *final, x, *state))
        backwards = [tuple(range(t.ndim))[::-1] for t in (y, *final)]
        cotangents = [
            torch.randn(*t.shape[::-1]).double().permute(*axes)  # so that they have odd strides
            for t, axes in zip((y, *final), backwards, strict=True)
        ]
        wanted = [x, *(state if given else ()), *module.parameters()]
        for again in (True, False):
            yield from torch.autograd.grad((y, *final), wanted, cotangents, retain_graph=again)
        with torch.no_grad():
            for p in module.parameters():
                p.mul_(1.1)


def dropped(layer):
    """Yield outputs in training, twice, and in evaluation, of a layer with dropout."""
    module = layer(2, 3, num_layers=2, dropout=0.5)
    x = torch.randn(5, 2, 2)
    yield from (module(x)[0], module(x)[0])
    module.eval()
    yield from (module(x)[0], module(x)[0])
