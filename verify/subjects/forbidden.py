"""What a submission must not use: while it runs, that raises, in whichever thread it is tried.

Refused at PyTorch's dispatcher, so that neither a size, the number of calls, another thread, nor a
profiler that was replaced conceals it. What is no operator of the dispatcher, a kernel of a GPU for
instance, is seen by the profiler alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from ..numbers.ledger import Mismatch
from .loader import UnknownSubject
from .profiler import seen
from .torch_module import import_torch, is_cuda

SHARED_KERNELS = r"aten::_?(mkldnn|cudnn|miopen)_rnn"
"""Operators that compute any of PyTorch's recurrent layers."""


class NotItsOwn(Mismatch):
    """A submission tried to run what is forbidden; the message says what."""


@dataclass(frozen=True)
class Forbidden:
    """Names of classes, and of operators: those with ``::``."""

    names: tuple[str, ...]
    device: str = "cpu"
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
        libraries: dict[str, Any] = {}
        try:
            for operator, what in self.operators.items():
                space, _, plain = operator.partition("::")
                if space not in libraries:
                    libraries[space] = torch.library.Library(space, "IMPL")
                for key in {"CPU", self.device.partition(":")[0].upper()}:
                    libraries[space].impl(plain, partial(self._refuse, what), key)
            hook = torch.nn.modules.module.register_module_forward_pre_hook(self._look_at)
            try:
                yield
            except Exception:
                if not self.tried:
                    raise
            finally:
                hook.remove()
        finally:
            for library in libraries.values():
                library._destroy()
        if self.tried:
            raise NotItsOwn(self.tried[0])

    def said(self, module: Any, run: Callable[[], object]) -> str:
        """Say which of the forbidden things a module contains, or runs when it is called; or ""."""
        torch = import_torch()
        for part, each in module.named_modules() if module is not None else ():
            for name, kind in self.classes.items():
                if isinstance(each, kind):
                    return f"it contains {name} (its {part}); a wrapper is not a kernel"
        activity = torch.profiler.ProfilerActivity
        both = [activity.CPU, *([activity.CUDA] if is_cuda(self.device) else [])]
        try:
            run()  # by itself, too: a submission can see that it is profiled
            with torch.profiler.profile(activities=both) as profile:
                run()
        except NotItsOwn as said:
            return str(said)
        operators, kernels = seen(profile.events())
        ran = next((name for name in self.names if name in operators | kernels), "")
        return _sentence(ran) if ran else ""

    def _look_at(self, module: Any, _: object) -> None:
        for name, kind in self.classes.items():
            if isinstance(module, kind):
                self._refuse(name)

    def _refuse(self, name: str, *_: object, **__: object) -> Any:
        self.tried.append(_sentence(name))
        raise NotItsOwn(_sentence(name))


NOTHING = Forbidden(())


def _sentence(name: str) -> str:
    return f"it runs {name}; a wrapper is not a kernel"


def forbidden(names: Sequence[str], device: str = "cpu") -> Forbidden:
    """Return what names forbid; UnknownSubject if one is neither a class nor an operator."""
    made = Forbidden(tuple(names), device)
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
