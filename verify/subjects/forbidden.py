"""Classes and operators that a submission must not use: while it runs, they raise in any thread.

They raise in PyTorch's dispatcher, so that a submission cannot conceal them by sizes, the number of
calls, threads, or a replaced profiler. Kernels of a GPU, which are no operators of the dispatcher,
are found by the profiler alone.
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
from .profiler import operators_and_kernels
from .torch_module import import_torch, is_cuda

SHARED_KERNELS = r"aten::_?(mkldnn|cudnn|miopen)_rnn"
"""Operators that compute any of PyTorch's recurrent layers."""

COMPOSED = "CompositeImplicitAutograd"
"""The key of kernels that call other operators: called by it, they are not dispatched."""


class NotItsOwn(Mismatch):
    """A submission tried to run a forbidden class or operator; the message names it."""


@dataclass(frozen=True)
class Forbidden:
    """Forbidden names of classes, and of operators (with ``::``)."""

    names: tuple[str, ...]
    device: str = "cpu"
    tried: list[str] = field(default_factory=list, compare=False)

    @cached_property
    def classes(self) -> dict[str, type]:
        """The forbidden classes by name; UnknownSubject if torch has no such class."""
        return {name: _class(import_torch(), name) for name in self.names if "::" not in name}

    @cached_property
    def operators(self) -> dict[str, str]:
        """A description of each forbidden operator of the dispatcher, by its name.

        A forbidden recurrent class forbids the operators that compute it, fused or step by step.
        """
        nn, names = import_torch().nn, import_torch()._C._dispatch_get_all_op_names()
        descriptions: dict[str, str] = {}
        for name, kind in self.classes.items():
            kinds = [
                layer.lower()
                for layer in ("LSTM", "GRU", "RNN")
                if issubclass(getattr(nn, layer), kind)
                or issubclass(getattr(nn, f"{layer}Cell"), kind)
            ]
            pattern = rf"{SHARED_KERNELS}|aten::.*({'|'.join(kinds)})"
            computing = [n for n in names if kinds and re.match(pattern, n)]
            descriptions |= {n: f"{name}'s {n.partition('.')[0]}" for n in computing}
        operators = {n: n.partition(".")[0] for n in names}  # without the overload
        return descriptions | {n: o for n, o in operators.items() if o in self.names}

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Raise NotItsOwn if the block tries something forbidden, even if it catches the error."""
        if not self.names:
            yield
            return
        torch = import_torch()
        self.tried.clear()
        libraries = self._refusals()
        hook = torch.nn.modules.module.register_module_forward_pre_hook(self._look_at)
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
        """Refuse as long as this process lives; no submission can find and undo the refusal."""
        for library in self._refusals():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))  # it outlives all references

    def _refusals(self) -> Collection[Any]:
        """Refuse the operators; return the libraries whose reset allows them again."""
        c = import_torch()._C
        keys = dict.fromkeys(("CPU", self.device.partition(":")[0].upper(), COMPOSED))
        libraries: dict[str, Any] = {}
        for operator, description in self.operators.items():
            space, _, plain = operator.partition("::")
            library = libraries.setdefault(space, c._dispatch_library("IMPL", space, ""))
            for key in keys:
                if key != COMPOSED or c._dispatch_has_kernel_for_dispatch_key(operator, key):
                    library.impl(plain, key, partial(self._refuse, description))
        return libraries.values()

    def violation(self, module: Any, run: Callable[[], object]) -> str:
        """Say which forbidden class or operator a module contains or runs; "" if none."""
        torch = import_torch()
        for part, child in module.named_modules() if module is not None else ():
            for name, kind in self.classes.items():
                if _is(child, kind):
                    return f"it contains {name} (its {part}); a wrapper is not a kernel"
        activity = torch.profiler.ProfilerActivity
        both = [activity.CPU, *([activity.CUDA] if is_cuda(self.device) else [])]
        try:
            run()  # also without the profiler: a submission can detect profiling
            with torch.profiler.profile(activities=both) as profile:
                run()
        except NotItsOwn as refusal:
            return str(refusal)
        operators, kernels = operators_and_kernels(profile.events())
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


def forbidden(names: Sequence[str], device: str = "cpu") -> Forbidden:
    """Parse forbidden names; UnknownSubject if one is neither a class nor an operator."""
    parsed = Forbidden(tuple(names), device)
    parsed.classes  # noqa: B018 - raises
    return parsed


def _class(torch: Any, name: str) -> type:
    """Return a class of torch by its name; UnknownSubject if there is none."""
    value: Any = torch
    for part in name.removeprefix("torch.").split("."):
        value = getattr(value, part, None)
    if not isinstance(value, type):
        raise UnknownSubject(
            f"--forbid {name}: expected a class of torch's, torch.nn.LSTM, or an operator, "
            f"aten::lstm"
        )
    return value
