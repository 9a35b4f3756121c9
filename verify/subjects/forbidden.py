"""What a submission must not use: while it runs, that raises, in whichever thread it is tried.

Refused at PyTorch's dispatcher, so that neither a size, the number of calls, another thread, nor a
profiler that was replaced conceals it. What is no operator of the dispatcher, a kernel of a GPU for
instance, is seen by the profiler alone.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from ..numbers.ledger import Mismatch
from .loader import UnknownSubject
from .profiler import seen
from .torch_module import import_torch

SHARED_KERNELS = r"aten::_?(mkldnn|cudnn|miopen)_rnn"
"""Operators that compute any of PyTorch's recurrent layers."""

COMPOSED = "CompositeImplicitAutograd"
"""The key of kernels that call other operators: called by it, they are not dispatched."""


class NotItsOwn(Mismatch):
    """A submission tried to run what is forbidden; the message says what."""


@dataclass(frozen=True)
class Forbidden:
    """Names of classes, and of operators: those with ``::``."""

    names: tuple[str, ...]
    tried: list[str] = field(default_factory=list, compare=False)

    @cached_property
    def classes(self) -> dict[str, type]:
        """The forbidden classes by name; UnknownSubject if torch has no such class."""
        return {name: _class(import_torch(), name) for name in self.names if "::" not in name}

    @cached_property
    def operators(self) -> dict[str, str]:
        """What is said of each operator of the dispatcher that is forbidden.

        A recurrent class forbids the operators that compute it, fused or step by step, too.
        """
        nn, every = import_torch().nn, import_torch()._C._dispatch_get_all_op_names()
        said: dict[str, str] = {}
        for name, kind in self.classes.items():
            kinds = [each.lower() for each in ("LSTM", "GRU", "RNN")
                     if issubclass(getattr(nn, each), kind)
                     or issubclass(getattr(nn, f"{each}Cell"), kind)]  # fmt: skip
            pattern = rf"{SHARED_KERNELS}|aten::.*({'|'.join(kinds)})"
            computing = [each for each in every if kinds and re.match(pattern, each)]
            said |= {each: f"{name}'s {each.partition('.')[0]}" for each in computing}
        plain = {each: each.partition(".")[0] for each in every}
        return said | {each: operator for each, operator in plain.items() if operator in self.names}

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Raise NotItsOwn where something forbidden is tried in the block, caught there or not."""
        if not self.names:
            yield
            return
        torch = import_torch()
        self.tried.clear()
        hook = torch.nn.modules.module.register_module_forward_pre_hook(self._look_at)
        libraries = self._refusals()
        try:
            yield
        except Exception:
            if not self.tried:
                raise
        finally:
            hook.remove()
            for library in libraries:
                library.reset()
        if self.tried:
            raise NotItsOwn(self.tried[0])

    def refuse_for_good(self) -> None:
        """Refuse as long as this process lives; what refuses cannot be found to be switched off."""
        for library in self._refusals():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))  # nobody has it, and it stays

    def _refusals(self) -> Collection[Any]:
        """Refuse the operators; return what has to be reset to allow them again."""
        c = import_torch()._C
        libraries: dict[str, Any] = {}
        for operator, what in self.operators.items():
            space, _, plain = operator.partition("::")
            library = libraries.setdefault(space, c._dispatch_library("IMPL", space, ""))
            for key in ("CPU", COMPOSED):
                if key == "CPU" or c._dispatch_has_kernel_for_dispatch_key(operator, key):
                    library.impl(plain, key, partial(self._refuse, what))
        return libraries.values()

    def said(self, module: Any, run: Callable[[], object]) -> str:
        """Say which of the forbidden things a module contains, or runs when it is called; or ""."""
        torch = import_torch()
        for part, each in module.named_modules() if module is not None else ():
            for name, kind in self.classes.items():
                if _is(each, kind):
                    return f"it contains {name} (its {part}); a wrapper is not a kernel"
        activity = torch.profiler.ProfilerActivity.CPU
        try:
            run()  # by itself, too: a submission can see that it is profiled
            with torch.profiler.profile(activities=[activity]) as profile:
                run()
        except NotItsOwn as said:
            return str(said)
        operators, kernels = seen(profile.events())
        ran = next((name for name in self.names if name in operators | kernels), "")
        return _sentence(ran) if ran else ""

    def _look_at(self, module: Any, _: object) -> None:
        for name, kind in self.classes.items():
            if _is(module, kind):
                self._refuse(name)

    def _refuse(self, name: str, *_: object, **__: object) -> Any:
        self.tried.append(_sentence(name))
        raise NotItsOwn(_sentence(name))


NOTHING = Forbidden(())


def _is(module: Any, kind: type) -> bool:
    """Whether a module is of a class, or of another of torch's that computes the same.

    Those of ``torch.ao`` have the same names.
    """
    names = kind.__name__, f"{kind.__name__}Cell"
    return isinstance(module, kind) or any(
        base.__module__.startswith("torch.") and base.__name__ in names
        for base in type(module).__mro__
    )


def _sentence(name: str) -> str:
    return f"it runs {name}; a wrapper is not a kernel"


def forbidden(names: Sequence[str]) -> Forbidden:
    """Return what names forbid; UnknownSubject if one is neither a class nor an operator."""
    made = Forbidden(tuple(names))
    made.classes  # noqa: B018 - raises
    return made


def _class(torch: Any, name: str) -> type:
    """Return a class of torch by its name; UnknownSubject if there is none."""
    found: Any = torch
    for part in name.removeprefix("torch.").split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise UnknownSubject(
            f"--forbid {name}: expected a class of torch's, torch.nn.LSTM, or an operator, "
            f"aten::lstm"
        )
    return found
