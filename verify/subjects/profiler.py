"""What really ran? PyTorch's profiler says; a layer that is named for cuDNN may run without it.

Looking costs some milliseconds a call, so the first call of every kind is looked at: forward or
with gradients, packed or not, stacked, in two directions, projected, and by the sizes of the hidden
state at which cuDNN is known to change its algorithm.
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
    """What a subject is named for: operators that have to run, or must not.

    ``forward`` and ``backward`` are the profiler's names, without what may follow a colon. With
    ``on_device`` some kernel has to run on the GPU, too.
    """

    name: str
    forward: tuple[str, ...] = ()
    backward: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    on_device: bool = False

    def seen(self, operators: set[str]) -> set[str]:
        """Return the operators that it is about, or, if there are none, PyTorch's own."""
        own = (*self.forward, *self.backward)
        about = {name for name in operators if any(_is(name, named) for named in own)}
        return about or {name for name in operators if name.startswith("aten::")}

    def lacks(self, operators: set[str], kernels: set[str], *, backward: bool) -> str:
        """Return in words what should have run and did not, or did and should not; "" if right."""
        for needed in (*self.forward, *(self.backward if backward else ())):
            if not any(_is(name, needed) for name in operators):
                return f"{needed} did not run"
        for excluded in self.without:
            if any(_is(name, excluded) for name in operators):
                return f"{excluded} ran"
        return "the profiler saw no kernel on the GPU" if self.on_device and not kernels else ""


@dataclass
class Watch:
    """Looks at the first call of every kind since ``begin``."""

    route: Route
    looked: dict[object, str] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget what was seen."""
        self.looked.clear()
        self.names.clear()

    @contextmanager
    def looking(self, torch: Any, case: Case, *, packed: bool, backward: bool) -> Iterator[None]:
        """Look at what runs in the block, if it is the first of its kind."""
        kind = (backward, packed, case.layers > 1, case.bidirectional, case.P > 0, case.dropout > 0,
                sum(case.H > edge for edge in EDGES), case.dtype)  # fmt: skip
        if kind in self.looked:
            yield
            return
        activity = torch.profiler.ProfilerActivity
        both = [activity.CPU, *([activity.CUDA] if self.route.on_device else [])]
        with torch.profiler.profile(activities=both) as profile:
            yield
        operators, kernels = seen(profile.events())
        self.looked[kind] = self.route.lacks(operators, kernels, backward=backward)
        telling = kernels or self.route.seen(operators)
        self.names |= dict.fromkeys(sorted(map(short, telling)))

    @property
    def told(self) -> str:
        """Return in a sentence what ran, the recurrent kernels first."""
        if not self.looked:
            return ""
        right = sum(not lack for lack in self.looked.values())
        telling = [name for name in self.names if RECURRENT.search(name)]
        named = list(dict.fromkeys([*telling, *self.names]))[:NAMED]
        return (
            f"{self.route.name} in {right} of {len(self.looked)} profiled calls: "
            f"{', '.join(named) or 'nothing was named'}"
        )

    @property
    def lacking(self) -> str:
        """Return what was missing in the calls that were looked at, each thing once; "" if none."""
        return ", ".join(dict.fromkeys(filter(None, self.looked.values())))


def _is(name: str, operator: str) -> bool:
    return name == operator or name.startswith(f"{operator}: ")


def seen(events: Any) -> tuple[set[str], set[str]]:
    """Return the names of operators and of kernels that the profiler has seen."""
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
