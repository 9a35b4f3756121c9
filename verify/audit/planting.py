"""The class's ``forward``, replaced: whoever holds the class, under whatever name, gets the mutant.

The class itself stays what it is, so that ``isinstance``, subclasses, registries, pickles and
state dictionaries are as before. What is met on the way is told to ``note``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from .anatomy import GATES
from .call import Call, Forward, NotExpressible, NotReached, Outputs
from .catalogue import NEEDS, Plant

Note = Callable[[str, str], None]
"""(what, about what): told once, however often it happens."""


class NoTarget(ValueError):
    """What the user named is no class whose calls could be changed."""


class _Lacking(NotReached):
    """The call has not what the fault needs; another call may have it."""


def guess(target: Any) -> str:
    """Return LSTM, GRU or RNN, by the name of the class or of one that it is made from; or ""."""
    for name in (c.__name__.upper() for c in inspect.getmro(target)):
        for kind in GATES:
            if kind in name:
                return kind
    return ""


def untouched(call: Call) -> Outputs:
    """Nothing is wrong: the wrapping alone, with copies in the place of parameters."""
    return call.run(parameters={part.tensor: part.tensor * 1 for part in call.parts})


class Planting:
    """One class with one fault; the fault ``untouched`` is none."""

    def __init__(
        self,
        target: Any,
        kind: str,
        note: Note,
        *,
        plant: Plant = untouched,
        needs: tuple[str, ...] = (),
        way: str = "tensors",
    ) -> None:
        forward: Any = getattr(target, "forward", None)
        if not inspect.isclass(target) or not callable(forward):
            raise NoTarget("it is no class with a method forward, as a torch.nn.Module has")
        self.target: Any = target
        self.kind, self.note = kind, note
        self.plant, self.needs, self.way = plant, needs, way
        self.last: Call | None = None
        self._memory: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
        self._inside: list[Any] = []
        self._original: Forward = forward
        self._own = "forward" in vars(target)

    def __enter__(self) -> Planting:
        """Replace the method."""
        original = self._original

        @functools.wraps(original)
        def forward(module: Any, *args: Any, **kwargs: Any) -> Any:
            # a forward may call itself, as with an axis added to unbatched inputs
            if any(module is other for other in self._inside):
                return original(module, *args, **kwargs)
            self._inside.append(module)
            try:
                return self._forward(module, args, kwargs)
            finally:
                self._inside.pop()

        self.target.forward = forward
        return self

    def __exit__(self, *error: object) -> None:
        """Put the method back."""
        if self._own:
            self.target.forward = self._original
        else:
            del self.target.forward

    def _forward(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.note("called", "")
        memory = self._memory.setdefault(module, {})
        call = Call(self.kind, module, self._original, args, kwargs, self.way, memory)
        try:
            offered = call.offers()
            for need in offered:
                self.note("seen", need)
            if lacking := [need for need in self.needs if need not in offered]:
                raise _Lacking(f"never {NEEDS[lacking[0]]} where it could be planted")
            result = call.result(self.plant(call))
        except _Lacking as why:
            self.note("lacking", str(why))
        except NotReached as why:
            self.note("not reached", str(why))
        except NotExpressible as why:
            self.note("not expressible", str(why))
        except Exception as error:
            # Either the layer refuses this call, and does so again, or the planting is at fault.
            result = self._original(module, *args, **kwargs)
            self.note("not expressible", f"{type(error).__name__}: {error}"[:200])
            return result
        else:
            self.last = call
            self.note("planted", "")
            return result
        return self._original(module, *args, **kwargs)
