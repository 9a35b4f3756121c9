"""A class that is always bidirectional, as one that takes ``bidirectional``.

In one direction it is called in both, and the forward direction's half of all that it takes and
returns is kept. Which parameters are the forward direction's is found by changing them.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any

BOTH = "bidirectional"


def in_each_direction(torch: Any, layer: Any, D: int, H: int) -> Any:
    """Return a subclass that takes ``bidirectional``; None unless both halves of y are apart."""
    own = inspect.signature(layer)
    if not isinstance(layer, type) or BOTH in own.parameters:
        return None
    forward_names = _of_the_forward_half(torch, layer(D, H), D, H)
    if not forward_names:
        return None

    class EachDirection(layer):  # type: ignore[misc]
        def __init__(self, *sizes: Any, bidirectional: bool = False, **more: Any) -> None:
            super().__init__(*sizes, **more)
            self.gatewise_halved = not bidirectional

        def named_parameters(self, *given: Any, **more: Any) -> Any:
            for name, parameter in super().named_parameters(*given, **more):
                if not self.gatewise_halved or name in forward_names:
                    yield name, parameter

        @wraps(layer.forward)
        def forward(self, x: Any, *given: Any, **more: Any) -> Any:
            if not self.gatewise_halved:
                return super().forward(x, *given, **more)
            states = _each(torch, given, lambda s: torch.cat([s, torch.zeros_like(s)]))
            returned = super().forward(x, *states, **more)
            if not isinstance(returned, tuple) or hasattr(returned, "data"):
                return _first_half(returned)
            return _first_half(returned[0]), *_each(torch, returned[1:], lambda s: s[:1])

    flag = inspect.Parameter(BOTH, inspect.Parameter.KEYWORD_ONLY, default=False)
    places = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    EachDirection.__signature__ = own.replace(parameters=[*places, flag])
    return EachDirection


def _each(torch: Any, values: Any, function: Any) -> Any:
    """Apply a function to all tensors of nested tuples and lists."""
    if isinstance(values, (tuple, list)):
        return tuple(_each(torch, value, function) for value in values)
    return function(values) if torch.is_tensor(values) else values


def _first_half(y: Any) -> Any:
    """Return the first half of the units of outputs, which may be packed."""
    if isinstance(y, tuple):
        return y._replace(data=_first_half(y.data))  # type: ignore[attr-defined]
    return y[..., : y.shape[-1] // 2]


def _of_the_forward_half(torch: Any, module: Any, D: int, H: int) -> frozenset[str]:
    """Return the names of the parameters on which the first half of y depends, and no others.

    Nothing unless y has twice H units, and the other half depends on all other parameters alone.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(shape: Any) -> Any:
        return 0.5 * torch.randn(shape, generator=generator)

    with torch.no_grad():
        module.float().eval()
        x = draw((4, 3, D))
        named = dict(module.named_parameters())
        for parameter in named.values():
            parameter.copy_(draw(parameter.shape))
        y = _outputs(torch, module(x))
        if y.shape != (4, 3, 2 * H):
            return frozenset()
        halves: list[set[str]] = [set(), set()]
        for name, parameter in named.items():
            before = parameter.clone()
            parameter.copy_(draw(parameter.shape))
            changed = (_outputs(torch, module(x)) != y).flatten(0, 1).any(0)
            parameter.copy_(before)
            for half, moved in zip(halves, changed.split(H), strict=True):
                if moved.any():
                    half.add(name)
    apart = halves[0].isdisjoint(halves[1]) and len(halves[0]) == len(halves[1])
    return frozenset(halves[0]) if apart else frozenset()


def _outputs(torch: Any, returned: Any) -> Any:
    return returned if torch.is_tensor(returned) else returned[0]
