"""Additional calls after the tests, to decide whether a class can show a mutant at all.

A mutant of two directions says nothing about the tests of a class that has only one. A mutant that
no test has reached is tried on new instances; a call that they refuse is not offered by the class.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from .substitute import Substitute

VARIANTS: tuple[tuple[int, dict[str, Any]], ...] = (
    (3, {}),
    (3, {"num_layers": 2, "bidirectional": True}),
    (3, {"batch_first": True}),
    (3, {"num_layers": 2, "dropout": 0.5}),
    (3, {"num_layers": 2, "dropout": 1.0}),
    (66, {}),
    (40, {}),
)
"""Units and further arguments of the constructor of instances."""

SMALL, LARGE = ((4, 4), (3, 2)), ((105, 5), (1002, 1))
"""Steps and rows of calls: the same number, fewer; many, very many."""


def shows(substitute: Substitute) -> bool:
    """Return whether any call of the class shows the mutant."""
    import torch

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        for module, D in _modules(substitute):
            for _ in _calls(substitute, torch, module, D):
                if substitute.shown:
                    return True
    return substitute.shown


def _modules(substitute: Substitute) -> Iterator[tuple[Any, int]]:
    """Yield instances and the width of their inputs."""
    for H, arguments in VARIANTS:
        with suppress(Exception):  # any exception is a refusal
            module = substitute.target(2, H, **arguments)
            yield copy.deepcopy(module).double(), 2
    for H in (3, 66):
        with suppress(Exception):
            yield substitute.target(2, H).float(), 2
    if substitute.last is not None:  # not every constructor takes two sizes
        module, call = substitute.last
        with suppress(Exception):
            yield copy.deepcopy(module), call.case.D


def _calls(substitute: Substitute, torch: Any, module: Any, D: int) -> Iterator[None]:
    """Make calls of every kind, and yield after each."""
    dtype = next((p.dtype for p in module.parameters()), torch.get_default_dtype())
    pack = torch.nn.utils.rnn.pack_padded_sequence
    plain = sum(p.numel() for p in module.parameters()) < 200
    for T, B in SMALL + (LARGE if plain else ()):
        x = torch.randn(T, B, D, dtype=dtype, requires_grad=True)
        if (T, B) in LARGE:
            with suppress(Exception), torch.set_grad_enabled(B > 1):
                y, _ = module(x)
                yield
                torch.autograd.grad(y[-1].sum(), x)
                yield
            continue
        lengths = torch.tensor([2, *[T] * (B - 2), 1])
        for argument in (x, pack(x, lengths, enforce_sorted=False), x[:, 0], 1000 * x, x[:0]):
            with suppress(Exception):
                _, final = module(argument)
                yield
                states = tuple(final) if isinstance(final, tuple | list) else (final,)
                states = tuple(torch.randn_like(s) for s in states)
                state = states if isinstance(final, tuple | list) else states[0]
                yield from _pulled(torch, module, argument, state)
                if argument is x:
                    yield from _pushed(torch, module, x, state)
    module.eval()
    with suppress(Exception):
        module(torch.randn(4, 2, D, dtype=dtype))
        yield


def _pushed(torch: Any, module: Any, x: Any, state: Any) -> Iterator[None]:
    """Compute forward-mode derivatives along tangents of all inputs."""
    named = {name: p.detach() for name, p in module.named_parameters()}

    def outputs(named: Any, x: Any, state: Any) -> Any:
        return torch.func.functional_call(module, named, (x, state))[0]

    primals = (named, x.detach(), state)
    with suppress(Exception):
        torch.func.jvp(outputs, primals, primals)
        yield


def _pulled(torch: Any, module: Any, argument: Any, state: Any) -> Iterator[None]:
    """Call twice, with other weights in between, and pull strided cotangents back twice."""
    for _ in range(2):
        y, final = module(argument, state)
        yield
        y = y if torch.is_tensor(y) else y.data
        final = tuple(final) if isinstance(final, tuple | list) else (final,)
        cotangents = [torch.randn_like(t.T.contiguous()).T for t in (y, *final)]
        for outputs, given_back in (((y, *final), cotangents), (final, cotangents[1:])):
            for _ in range(2):
                torch.autograd.grad(
                    outputs, list(module.parameters()), given_back,
                    retain_graph=True, allow_unused=True,
                )  # fmt: skip
                yield
        with torch.no_grad():
            for p in module.parameters():
                p.mul_(1.25)
