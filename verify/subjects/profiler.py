"""The operators and kernels that a layer runs, by PyTorch's profiler.

A layer that is named for cuDNN may run without it. Profiling costs some milliseconds a call, so
only the first call of every kind is profiled: forward or with gradients, packed or not, stacked, in
two directions, projected, and by the hidden sizes at which cuDNN is known to change its algorithm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..cases.case import Case

EDGES = (128, 192, 256, 384, 1024)
"""Hidden units up to which PyTorch asks cuDNN for other algorithms (its RNN.cpp)."""

NAMED = 6
"""Kernels and operators that are named in a verdict."""

RECURRENT = re.compile(r"persist|elementwise_(fp|bp)|elemWiseRNNcell|rnn|lstm|gru", re.IGNORECASE)
"""Names of kernels and operators that compute recurrent layers, cuDNN's and PyTorch's own."""


@dataclass(frozen=True)
class Route:
    """The operators that a subject's name promises or excludes.

    ``forward`` and ``backward`` are the profiler's names up to a colon; those in ``without`` must
    not run. With ``on_device`` some kernel has to run on the GPU, too.
    """

    name: str
    forward: tuple[str, ...] = ()
    backward: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    on_device: bool = False

    def own_operators(self, operators: set[str]) -> set[str]:
        """Return the operators of the route, or, if none ran, PyTorch's own."""
        names = (*self.forward, *self.backward)
        named = {operator for operator in operators if any(_is(operator, name) for name in names)}
        return named or {operator for operator in operators if operator.startswith("aten::")}

    def lacks(self, operators: set[str], kernels: set[str], *, backward: bool) -> str:
        """Say which operator should have run and did not, or ran against the route; "" if none."""
        for needed in (*self.forward, *(self.backward if backward else ())):
            if not any(_is(name, needed) for name in operators):
                return f"{needed} did not run"
        for excluded in self.without:
            if any(_is(name, excluded) for name in operators):
                return f"{excluded} ran"
        return "the profiler saw no kernel on the GPU" if self.on_device and not kernels else ""


@dataclass
class Watch:
    """An observer that profiles the first call of every kind since ``begin``."""

    route: Route
    lacks_by_kind: dict[object, str] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget all observations."""
        self.lacks_by_kind.clear()
        self.names.clear()

    @contextmanager
    def looking(self, torch: Any, case: Case, *, packed: bool, backward: bool) -> Iterator[None]:
        """Profile the block, if it is the first call of its kind."""
        kind = (backward, packed, case.layers > 1, case.bidirectional, case.P > 0, case.dropout > 0,
                sum(case.H > edge for edge in EDGES), case.dtype)  # fmt: skip
        if kind in self.lacks_by_kind:
            yield
            return
        activity = torch.profiler.ProfilerActivity
        activities = [activity.CPU, *([activity.CUDA] if self.route.on_device else [])]
        with torch.profiler.profile(activities=activities) as profile:
            yield
        operators, kernels = operators_and_kernels(profile.events())
        self.lacks_by_kind[kind] = self.route.lacks(operators, kernels, backward=backward)
        telling = kernels or self.route.own_operators(operators)
        self.names |= dict.fromkeys(sorted(map(short, telling)))

    @property
    def summary(self) -> str:
        """A sentence that names what ran, the recurrent kernels first; "" if nothing did."""
        if not self.lacks_by_kind:
            return ""
        conforming = sum(not lack for lack in self.lacks_by_kind.values())
        telling = [name for name in self.names if RECURRENT.search(name)]
        named = list(dict.fromkeys([*telling, *self.names]))[:NAMED]
        return (
            f"{self.route.name} in {conforming} of {len(self.lacks_by_kind)} profiled calls: "
            f"{', '.join(named) or 'nothing was named'}"
        )

    @property
    def lacking(self) -> str:
        """The deviations of all profiled calls from the route, without repetitions; "" if none."""
        return ", ".join(dict.fromkeys(filter(None, self.lacks_by_kind.values())))


def _is(name: str, operator: str) -> bool:
    return name == operator or name.startswith(f"{operator}: ")


def operators_and_kernels(events: Any) -> tuple[set[str], set[str]]:
    """Return the names of operators and of kernels in a profiler's events."""
    operators: set[str] = set()
    kernels: set[str] = set()
    for event in events or ():
        on_device = str(event.device_type).rpartition(".")[2] != "CPU"
        (kernels if on_device else operators).add(str(event.name))
    return operators, {
        name for name in kernels if not name.startswith(("Mem", "aten::", "Activity"))
    }


def short(name: str) -> str:
    """Return a kernel's name without its result, template arguments and parameters."""
    plain = name.removeprefix("void ").replace("(anonymous namespace)", "")
    return re.split(r"[<(]", plain, maxsplit=1)[0].strip(": ")[:60]
