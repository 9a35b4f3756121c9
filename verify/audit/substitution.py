"""Other numbers in the place of a module's parameters, for the time of one call.

A fault of the weights is a function of the real ones, so that gradients still reach them. Where a
module does not look its parameters up when it is called, their data are exchanged instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

WAYS = ("tensors", "data")
"""How parameters are replaced: by tensors that depend on them, or by exchanging their data."""


@contextmanager
def substituted(module: Any, changed: Mapping[Any, Any], way: str) -> Iterator[None]:
    """Let ``module`` compute with ``changed``, from each parameter to what replaces it."""
    undo: list[Callable[[], None]] = []
    try:
        if way == "data":
            _exchange_data(changed, undo)
        else:
            for part in module.modules():
                _exchange_tensors(part, changed, undo)
        yield
    finally:
        for step in reversed(undo):
            step()


def _exchange_data(changed: Mapping[Any, Any], undo: list[Callable[[], None]]) -> None:
    for parameter, new in changed.items():
        undo.append(lambda p=parameter, old=parameter.data: setattr(p, "data", old))  # type: ignore[misc]
        parameter.data = new.detach().clone()


def _exchange_tensors(
    part: Any, changed: Mapping[Any, Any], undo: list[Callable[[], None]]
) -> None:
    """Exchange registered parameters, under all their names, and plain lists that hold them."""
    registered = part._parameters
    for name, parameter in list(registered.items()):
        if parameter is not None and parameter in changed:
            undo.append(lambda n=name, p=parameter: registered.__setitem__(n, p))  # type: ignore[misc]
            registered[name] = changed[parameter]
    held = vars(part)
    for name, value in list(held.items()):
        # torch.nn.LSTM calls its kernel with such a list, _flat_weights
        if isinstance(value, list | tuple) and any(_is_in(item, changed) for item in value):
            undo.append(lambda n=name, v=value: held.__setitem__(n, v))  # type: ignore[misc]
            held[name] = type(value)(changed[i] if _is_in(i, changed) else i for i in value)


def _is_in(item: Any, changed: Mapping[Any, Any]) -> bool:
    """Whether an object is one of the parameters; lists of a module may hold anything."""
    try:
        return item in changed
    except TypeError:  # it cannot be hashed, so it is no parameter
        return False


def reaches(call: Any, way: str) -> bool:
    """Whether a call computes with what is put in the place of its parameters."""
    with call.torch.no_grad():
        nan = {part.tensor: part.tensor * float("nan") for part in call.parts}
        try:
            outputs = call.run(parameters=nan, way=way)
        except Exception:
            return False
        return bool(nan) and bool(call.torch.isnan(call.opened(outputs.y)).any())
