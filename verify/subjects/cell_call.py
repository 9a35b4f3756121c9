"""The call of a class that replaces one of torch.nn's cells: once for each step."""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import Any, NamedTuple

from ...reference.arrays import Floats
from .call_form import TENSORS, tensors


class Step(NamedTuple):
    """The method by which a cell is called, and whether states are separate arguments."""

    method: str
    spread: bool


def step_of(layer: Any) -> Step:
    """Return the call of a class as a cell: by ``step`` if it has no ``forward``.

    A third argument with a name of c gets c, ``forward(x, h, c)``; otherwise the second gets both.
    """
    layer = class_of(layer)
    forward = getattr(layer, "forward", None)
    has_none = getattr(forward, "__name__", "") == "_forward_unimplemented"
    method = "step" if has_none and callable(getattr(layer, "step", None)) else "forward"
    try:
        names = [*inspect.signature(getattr(layer, method)).parameters]
    except (AttributeError, TypeError, ValueError):
        return Step(method, spread=False)
    names = names[1:] if isinstance(layer, type) else names
    return Step(method, spread=len(names) > 2 and bool(re.fullmatch(THE_CELL_STATE, names[2])))


def class_of(layer: Any) -> Any:
    """Return the class of a layer, without arguments bound by partial."""
    return layer.func if isinstance(layer, partial) else layer


THE_CELL_STATE = r"(prev_?)?c(x|t|0|_.*|ell.*|prev)?"
"""The names of an argument for an LSTM's c."""


def call_steps(
    step: Step, states: int, torch: Any, module: Any, x: Any, state: Any, lengths: Floats | None
) -> tuple[Any, tuple[Any, ...]]:
    """Call a cell step after step; it returns its states, or an output and its states."""
    call = module if step.method == "forward" else getattr(module, step.method)
    now = () if state is None else tuple(s[0] for s in tensors(torch, state))
    outputs = []
    for x_t in x:
        together = now[:1] if len(now) == 1 else (now,) if now else ()
        returned = tensors(torch, call(x_t, *(now if step.spread else together)))
        if len(returned) not in (states, states + 1):
            raise TypeError(f"a step returned {len(returned)} tensors, its states are {states}")
        outputs.append(returned[0])
        now = returned[-states:]
    return torch.stack(outputs), tuple(s[None] for s in now)


STEPS = (
    TENSORS
    + '''
def steps(cell, x, state=None):
    """Call the cell step after step."""
    state = () if state is None else tuple(s[0] for s in tensors(state))
    y = []
    for x_t in x:
        given = () if not state else (GIVEN,)
        returned = tensors(cell.METHOD(x_t, *given))
        y.append(returned[0])
        state = tuple(returned[-STATES:])
    return torch.stack(y), tuple(s[None] for s in state)
'''
)
"""The source of ``call_steps`` for stand-alone scripts."""
