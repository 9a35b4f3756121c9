"""The subject ``recording:DIR``, which returns the recorded results of another machine.

Checks run as usual: their drawn numbers are those of the recording, their calls are answered in the
recorded order, and the equations with their bounds are computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ParameterMap
from ..numbers.ledger import Mismatch
from ..subjects.call_records import arrays_in
from ..subjects.called import NotOffered, SubjectCrashed
from ..subjects.protocol import Built, Cotangents, Inputs, OneCell, Pulled, Result, Subject
from .trace import Trace, bits, call_arguments, numbers_key

UNANSWERED = {
    "purity": "it compares the caller's own arrays after a call, which are not recorded",
    "parameters": "it checks the parameters of the constructor, and only results are recorded",
}
"""Checks that no recording can answer, with the reasons."""

EXCEPTIONS: dict[str, type[Exception]] = {
    "SubjectCrashed": SubjectCrashed,
    "NotOffered": NotOffered,
    "Mismatch": Mismatch,
}
"""Exceptions that may be recorded instead of a result, by name."""

Key = tuple[str, str]
"""A check's id, and a case as JSON."""


@dataclass
class RecordedKernels:
    """The recorded kernels of the cases that were replayed since ``begin``.

    ``runs`` has, by check and case, the kernels that ran and those that were lacking.
    """

    runs: Mapping[Key, tuple[str, str]]
    replayed: dict[Key, None] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget the replayed cases."""
        self.replayed.clear()

    @property
    def summary(self) -> str:
        """The longest list of kernels of a case; cases with lacking kernels come first."""
        runs = [self.runs[key] for key in self.replayed]
        return max(runs, key=lambda pair: (bool(pair[1]), len(pair[0])), default=("", ""))[0]

    @property
    def lacking(self) -> str:
        """The lacking kernels, each once."""
        return ", ".join(dict.fromkeys(filter(None, (self.runs[k][1] for k in self.replayed))))


@dataclass(frozen=True)
class Replayed(OneCell):
    """A recording in place of its layer.

    ``base`` is the adapter of the recorded parameters, whose layer is never run. ``traces`` loads
    the trace of a check and a case; ``playback`` is that of the case being answered, if any.
    """

    name: str
    base: Subject
    options: Options
    dtypes: tuple[str, ...]
    cells: tuple[str, ...]
    origin: str
    traces: Mapping[Key, Callable[[], Trace]]
    watch: RecordedKernels | None = None
    playback: Playback | None = None

    def version(self) -> str:
        """Return the recorded version and machine."""
        return self.origin

    def cases_for(self, check: str, dtype: str) -> list[Case]:
        cases = (Case.from_json(text) for id, text in self.traces if id == check)
        return [case for case in cases if case.dtype == dtype]

    def why_not(self, check: str) -> str:
        """Return the reason why there are no cases of a check."""
        return f"a recording cannot answer it: {UNANSWERED[check]}" if check in UNANSWERED else (
            "the recording holds no case of it"
        )  # fmt: skip

    def recorded(self, check: str, case: Case) -> tuple[Replayed, Case]:
        """Return the layer that answers one case of a check, and the case with its numbers.

        Raises NotOffered if the case was not recorded, RunFileError for an invalid file.
        """
        key = (check, case.to_json())
        if key not in self.traces:
            raise NotOffered("the recording does not hold this case")
        playback = Playback(self.traces[key]())
        if self.watch is not None:
            self.watch.replayed[key] = None
        return replace(self, playback=playback), replace(case, source=playback.numbers)

    def build(self, case: Case) -> Built:
        if self.playback is None:
            raise NotOffered("a recording answers the calls of recorded checks alone")
        return self.playback

    def cell(self, case: Case) -> str:
        return self.base.cell(case)

    def parameter_map(self, case: Case) -> ParameterMap:
        return self.base.parameter_map(case)


class Playback:
    """The layer of one recorded case, which answers calls in the recorded order."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._calls = iter([call for call in trace.calls if call.inputs is not None])

    def numbers(self, case: Case, part: str, numbers: Floats) -> Floats:
        """Return the recorded numbers of a part, or the drawn ones if they were not recorded."""
        return np.array(self.trace.drawn.get(numbers_key(case, part, numbers.shape), numbers))

    def forward(self, inputs: Inputs) -> Result:
        (result,) = self._answer(inputs, None, None)
        return result

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        return cast("Sequence[Pulled]", self._answer(inputs, cotangents, None))

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        (result,) = self._answer(inputs, None, tangents)
        return result

    def train(self, training: bool) -> None:
        """Do nothing: the following calls were recorded in that mode."""

    def _answer(
        self, inputs: Inputs, pairs: Sequence[Cotangents] | None, tangents: Inputs | None
    ) -> list[Result]:
        """Return the results of the next recorded call, which must be this one."""
        call = next(self._calls, None)
        if call is None or not call.results:
            raise self._end()
        if bits(call.arguments) != bits(call_arguments(inputs, pairs, tangents)):
            raise NotOffered(
                "this version of the check makes other calls than the recorded one; record it again"
            )
        results = [deepcopy(result).result for result in call.results]
        for array in arrays_in(results):
            if array.dtype == object:
                raise Mismatch(f"expected arrays of a dtype of NumPy, got one of {array}")
        return results

    def _end(self) -> Exception:
        ended = self.trace.ended
        if ended is None:
            return NotOffered(
                "this version of the check makes more calls than were recorded; record it again"
            )
        return EXCEPTIONS[ended.kind](ended.message)
