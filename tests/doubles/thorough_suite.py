"""What a suite would look at that misses no mistake: the numbers of many calls of a layer."""

import contextlib
import warnings

import torch

MASKED = "between two of these"
"""What stands before and after numbers that depend on masks."""


def unmasked(numbers):
    """Return what does not depend on masks."""
    first, last = (k for k, number in enumerate(numbers) if isinstance(number, str))
    return [*numbers[:first], *numbers[last:]]


def everything(layer, kind):
    """Yield the numbers that a very thorough suite would look at; what shows most comes first."""
    torch.manual_seed(0)
    yield from called(layer(2, 4).double(), kind, 3, 3, True, 1)
    yield MASKED
    yield from dropped(layer)
    yield MASKED
    torch.manual_seed(1)  # masks are drawn otherwise by every layer
    yield from pushed(layer(2, 3).double(), kind)
    for options in ({}, {"num_layers": 2, "bidirectional": True}, {"bidirectional": True}):
        module = layer(2, 4, **options).double()
        passes = module.num_layers * (1 + module.bidirectional)
        for T, B, given in ((3, 3, True), (3, 2, False), (4, 3, "packed"), (3, 3, None)):
            yield from called(module, kind, T, B, given, passes)
    for options, T, B in (({"batch_first": True}, 4, 3), ({}, 4, None)):
        yield from called(layer(2, 4, **options).double(), kind, T, B, True, 1)
    yield from called(layer(2, 4).double(), kind, 105, 5, False, 1)
    yield layer(2, 3).double()(torch.randn(1002, 1, 2).double())[0]
    yield from called(layer(2, 70).double(), kind, 3, 2, False, 1)
    yield from called(layer(2, 40), kind, 3, 2, False, 1)
    yield from served(layer(2, 4).double(), kind)
    module = layer(2, 3)
    for scale in (1, 1000):
        y, _ = module(scale * torch.ones(3, 2, 2))
        yield from (y, y.dtype)
    with contextlib.suppress(RuntimeError):  # as torch's own layers
        yield from module(torch.zeros(0, 2, 2))


def called(module, kind, T, B, given, passes):
    """Yield outputs, arguments and gradients of two calls with a change of weights between."""
    states, H, dtype = 2 if kind == "LSTM" else 1, module.hidden_size, module.weight_ih_l0.dtype
    batch = () if B is None else (B,)
    shape = (B, T) if module.batch_first else (T, *batch)
    x = torch.randn(*shape, 2).to(dtype).requires_grad_()
    state = [torch.randn(passes, *batch, H).to(dtype) * 3 for _ in range(states)]
    state = [s.requires_grad_() for s in state]
    before = []
    for _ in range(2):
        fed = x
        if given == "packed":
            fed = torch.nn.utils.rnn.pack_padded_sequence(x, [2, 4, 3], enforce_sorted=False)
        started = tuple(state) if kind == "LSTM" else state[0]
        y, final = module(fed, started) if given else module(fed)
        final = final if kind == "LSTM" else (final,)
        y = y.data if given == "packed" else y
        yield from (t.detach().clone() for t in (y, *final, x, *state, *before))
        before.append(y)
        backwards = [tuple(range(t.ndim))[::-1] for t in (y, *final)]
        cotangents = [
            torch.randn(*t.shape[::-1]).to(t.dtype).permute(*axes)  # so that strides are odd
            for t, axes in zip((y, *final), backwards, strict=True)
        ]
        wanted = [x, *(state if given else ()), *module.parameters()]
        for again in (True, True):
            yield from torch.autograd.grad((y, *final), wanted, cotangents, retain_graph=again)
            yield cotangents[0].clone()
        alone = torch.autograd.grad(final, wanted, cotangents[1:])
        yield from alone
        with torch.no_grad():
            for p in module.parameters():
                p.mul_(1.1)
    module.eval()
    yield module(x.detach())[0]
    module.train()


def served(module, kind):
    """Yield what a sequence in pieces gives, the states of the first looked at again, more rows."""
    x = torch.randn(4, 2, 2).double()
    y, kept = module(x[:2])
    again, after = module(x[2:3], kept)
    more = torch.cat([x, x + 1], dim=1)
    states = [torch.cat([s, s], dim=1) for s in (kept if kind == "LSTM" else (kept,))]
    wide, last = module(more, tuple(states) if kind == "LSTM" else states[0])
    for final in (kept, after, last):
        yield from (s.detach().clone() for s in (final if kind == "LSTM" else (final,)))
    yield from (y, again, wide)


def dropped(layer):
    """Yield outputs in training, twice, and in evaluation, of layers with dropout."""
    for rate in (0.25, 1.0):
        module = layer(2, 3, num_layers=2, dropout=rate)
        x = torch.randn(5, 2, 2, requires_grad=True)
        for _ in range(2):
            y = module(x)[0]
            yield y
            yield torch.autograd.grad(y.sum(), x)[0]
        module.eval()
        yield from (module(x)[0], module(x)[0])


def pushed(module, kind):
    """Yield forward-mode derivatives along everything."""
    x = torch.randn(3, 2, 2).double()
    state = torch.randn(1, 2, 3).double()
    named = {name: p.detach() for name, p in module.named_parameters()}

    def function(parameters, x, state):
        started = (state, state) if kind == "LSTM" else state
        return torch.func.functional_call(module, parameters, (x, started))[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # within torch itself
        both = torch.func.jvp(function, (named, x, state), (named, x, state))
    yield from both
