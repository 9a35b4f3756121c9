"""The judge's side of a subject that runs in a process of its own.

All that determines a verdict is on this side: the inputs, the map from the subject's parameters to
the reference's, the equations, the comparison. An answer that does not fit its question ends the
subject's process.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..conventions.parameter_map import ConventionMap, ExplicitMap, OwnMap, ParameterMap
from ..numbers.ledger import Mismatch
from ..subjects.call_records import ArgumentRecord, arrays_in
from ..subjects.called import NotOffered, SubjectCrashed
from ..subjects.framework import PROJECTED
from ..subjects.kernel_problems import Problem, problem_named
from ..subjects.own_names import ModuleMap
from ..subjects.protocol import Cotangents, Inputs, Pulled, Result
from ..subjects.recurrence import Recurrence, lengths
from ..subjects.torch_parameters import TorchMap
from .channel import (
    Answer,
    OutOfTurn,
    Portrait,
    Question,
    receive,
    send,
)
from .processes import Child, MemoryLimit, environment
from .respondent import PROBLEMS, REFUSED, REMEMBERED
from .soundness import LISTED, LONGEST_SOURCE, LONGEST_TEXT, LONGEST_VERSION, WIDEST, unsound
from .tasks import Named

HOST = "gatewise.verify.execution.host"

LOADED = ("like", "forbid", "against", "inputs", "device")
"""The fields of ``Named`` that a subject's process needs to load it."""

FOR_IMPORTS = 2048
"""Further MiB that a program may take during its import."""


class SubjectEnded(BaseException):
    """The subject's process has ended; the message says why.

    It is no Exception, so that no handler takes it for a result, or draws another case.
    """


class RemoteSubject:
    """A subject in a process of its own; ``memory`` is in MiB, ``hidden`` are invisible folders.

    ``shared`` is the reason why it must run in the judge's process, "" for none; ``arguments`` are
    those of a declared function, ``own`` arrays with names of their own; ``form`` is what a
    recording stores.
    """

    def __init__(self, named: Named, memory: int, hidden: Sequence[str] = ()) -> None:
        self.name, self._number, self._layers = named.name, 0, 0
        self.borrowed: tuple[str, ...] = ()
        self._answered: set[str] = set()
        self._refused: dict[str, str] = {}
        """The kinds of questions it has answered, and refused; those in both it offers."""
        self._dropped: list[int] = []
        self._memory: MemoryLimit | None = None
        self._child = Child(HOST, str(memory), *hidden, environment=environment(), leads=False)
        if memory:
            self._memory = MemoryLimit(self._child, memory, FOR_IMPORTS)
        try:
            self.in_force = self.ask(Question("hello")).text  # before its code, which may lie, runs
            details = {name: value for name, value in vars(named).items() if name in LOADED}
            answer = self.ask(Question("load", text=named.name, **details))
        except BaseException:
            self.close()
            raise
        if answer.portrait is None:
            raise self._end("an answer without a portrait")
        self.portrait: Portrait = answer.portrait
        if fault := unsound(self.portrait, named.like):
            raise self._end(f"a portrait of itself with {fault}")
        portrait, meaning = self.portrait, self.portrait.meaning
        self.options, self.dtypes, self.cells = portrait.options, portrait.dtypes, portrait.cells
        self.form, self.arguments, self.shared = portrait.form, portrait.arguments, meaning.shared
        self.convention, self.own = meaning.convention, meaning.arrays or None

    @cached_property
    def problem(self) -> Problem:
        """The benchmark's problem that it solves."""
        return problem_named(self.portrait.meaning.problem)

    @cached_property
    def own_cell(self) -> Recurrence | None:
        """The recurrence without equations, or None for other subjects."""
        meaning = self.portrait.meaning
        if meaning.kind != "recurrence":
            return None
        return Recurrence(self._axes, meaning.states, meaning.x)

    @property
    def watch(self) -> Borrowing:
        """The observer of whether it computes with gatewise's own equations."""
        return Borrowing(self)

    def version(self) -> str:
        """Return the version that it states, or ""."""
        return self.portrait.version[:LONGEST_VERSION]

    def cell(self, case: Case) -> str:
        """Return the reference's cell that it claims to compute."""
        return PROJECTED if case.P and PROJECTED in self.cells else self.cells[0]

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the map of its parameters: the judge's, never the subject's."""
        meaning = self.portrait.meaning
        if self.own_cell is not None:
            return OwnMap(self.own_cell, case)
        if meaning.problem:
            return self.problem.parameter_map(case)
        if meaning.convention is None:
            return ExplicitMap(self.cells[0], case)
        convention = replace(meaning.convention, projected=True) if case.P else meaning.convention
        if meaning.kind == "own":
            return ModuleMap(convention, case, meaning.arrays)
        return (TorchMap if meaning.kind == "torch" else ConventionMap)(convention, case)

    def caller(self, case: Case) -> str:
        """Return source of a stand-alone script's calls, or ""."""
        text = self.ask(Question("caller", text=case.to_json())).text
        return text if len(text) <= LONGEST_SOURCE else ""

    def gpu(self) -> dict[str, str]:
        """Return torch's description of the GPU that it has used."""
        return self.ask(Question("gpu")).shapes

    def build(self, case: Case) -> RemoteLayer:
        """Return the layer for a case."""
        self._layers += 1
        number = self._layers
        # The subject must not know a case's seed; that of a problem also determines a width.
        hushed = case if self.options.problem else replace(case, seed=0)
        self.ask(Question("build", layer=number, text=hushed.to_json()))
        layer = RemoteLayer(self, number)
        weakref.finalize(layer, self._dropped.append, number)
        return layer

    def ask(self, question: Question) -> Answer:
        """Return the answer to a question; raise its problem as an exception."""
        while self._dropped:
            self._exchange(Question("drop", layer=self._dropped.pop()))
        answer = self._exchange(question)
        self.borrowed = tuple(name[:LISTED] for name in answer.borrowed[:LISTED])
        if answer.problem == REFUSED:
            self._refused.setdefault(question.ask, answer.text)
        elif answer.problem:
            raise PROBLEMS.get(answer.problem, SubjectCrashed)(answer.text[:LONGEST_TEXT])
        else:
            self._answered.add(question.ask)
        if refusal := self._refused.get(question.ask):
            if question.ask in self._answered:
                raise SubjectCrashed(f"it offers this, and {refusal}")
            raise NotOffered(refusal)
        return answer

    def close(self) -> None:
        """End its process."""
        if self._memory is not None:
            self._memory.stop()
        self._child.close()

    def _exchange(self, question: Question) -> Answer:
        self._number += 1
        try:
            send(self._child.stdin, self._number, question)
            answer = receive(self._child.stdout, self._number, Answer)[1]
            if answer.imported and question.ask == "load":
                if self._memory is not None:
                    self._memory.set_baseline()
                answer = receive(self._child.stdout, self._number, Answer)[1]
            return answer
        except OutOfTurn as said:
            raise self._end(str(said)) from said
        except (EOFError, OSError, ValueError) as ended:
            how = self._child.how_it_ended()
            if self._memory is not None and self._memory.reached:
                how = self._memory.reached
            self.close()
            raise SubjectEnded(how) from ended

    def _end(self, what: str) -> SubjectEnded:
        self.close()
        return SubjectEnded(f"the process was ended: it spoke out of turn; it sent {what}")

    @lru_cache(maxsize=64)  # noqa: B019 - a subject lives as long as its process
    def _axes(self, D: int, H: int) -> Mapping[str, Any]:
        shapes = self.ask(Question("widths", widths=(D, H))).shapes
        for name, axes in shapes.items():
            try:
                widest = max(lengths(axes, D, H), default=0)
            except (ValueError, TypeError) as error:
                raise SubjectCrashed(f"parameter {name[:LISTED]}: {error}") from error
            if widest > WIDEST:
                raise SubjectCrashed(f"parameter {name[:LISTED]}: an axis of {widest}")
        return shapes


@dataclass(frozen=True)
class Borrowing:
    """An observer of gatewise's own computations that a subject uses."""

    subject: RemoteSubject

    def begin(self) -> None:
        """Do nothing: an import stays in effect."""

    @property
    def summary(self) -> str:
        """The empty string: kernels are not observed."""
        return ""

    @property
    def lacking(self) -> str:
        """The reason why its numbers are not its own, "" for none."""
        if not self.subject.borrowed:
            return ""
        names = ", ".join(self.subject.borrowed[:3])
        return f"it uses {names}: what was compared is gatewise's own computation with itself"


class RemoteLayer:
    """A layer of a remote subject."""

    def __init__(self, subject: RemoteSubject, number: int) -> None:
        self.subject, self.number = subject, number
        self._calls = 0
        self._results: dict[int, list[Floats]] = {}

    def forward(self, inputs: Inputs) -> Result:
        """Run the layer."""
        return self._call("forward", inputs)[0]

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        """Run the layer once, and pull each pair of cotangents back."""
        results = self._call("gradients", inputs, cotangents)
        if len(results) != len(cotangents):
            raise Mismatch(f"gradients: expected {len(cotangents)}, got {len(results)}")
        return [result for result in results if isinstance(result, Pulled)]

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Push tangents forward."""
        return self._call("jvp", inputs, tangents=tangents)[0]

    def train(self, training: bool) -> None:
        """Switch between training and evaluation."""
        self.subject.ask(Question("train", layer=self.number, training=training))

    def buffers(self) -> dict[str, Floats]:
        """Return the buffers of a module."""
        return self.subject.ask(Question("buffers", layer=self.number)).arrays

    def _call(
        self,
        ask: str,
        inputs: Inputs,
        cotangents: Sequence[Cotangents] = (),
        tangents: Inputs | None = None,
    ) -> list[Result]:
        self._calls += 1
        question = Question(
            ask, layer=self.number, call=self._calls, arguments=ArgumentRecord.of(inputs),
            tangents=None if tangents is None else ArgumentRecord.of(tangents),
            cotangents=tuple(cotangents),
        )  # fmt: skip
        answer = self.subject.ask(question)
        _write(answer.written, list(arrays_in([inputs, cotangents])))
        self._rewrite(answer)
        results = [returned.result for returned in answer.results]
        if not results:
            raise Mismatch("it returned nothing")
        self._remember(results[0])
        return results

    def _remember(self, result: object) -> None:
        self._results[self._calls] = list(arrays_in(result))
        self._results.pop(self._calls - REMEMBERED, None)

    def _rewrite(self, answer: Answer) -> None:
        """Apply a later call's changes to earlier results."""
        for number, changed in answer.earlier.items():
            _write(changed, self._results.get(number, ()))

    # A submission to a benchmark's problem (see ``subjects.kernel.Submission``).

    def output(self, leaves: Mapping[str, Floats]) -> Floats:
        """Return the output for x, initial states and parameters."""
        self._calls += 1
        answer = self._asked("output", leaves, call=self._calls)
        self._rewrite(answer)
        output = self._only(answer, "output")
        self._remember(output)
        return output

    def pulled(self, leaves: Mapping[str, Floats], cotangent: Floats) -> dict[str, Floats]:
        """Return the gradients of all leaves."""
        gradients = self._asked("pulled", leaves, cotangents=((cotangent, ()),)).arrays
        for name in leaves:
            if name not in gradients:
                raise Mismatch(f"gradient of {name}: expected one, got none")
        return gradients

    @property
    def keeps_state(self) -> bool:
        """Whether a call without a state continues from the state of the last call."""
        return bool(self._asked("keeps_state", {}).text)

    def continued_output(self, x: Floats) -> Floats:
        """Return the output for x alone, from the state that another call has left."""
        return self._only(self._asked("continued_output", {"x": x}), "output")

    def forbidden(self, leaves: Mapping[str, Floats]) -> str:
        """Say which forbidden class or operator it contains or runs; "" if none."""
        return self._asked("forbidden", leaves).text

    def random_state(self) -> bytes:
        """Return a digest of the state of the random number generator that it may use."""
        return self._asked("random", {}).text.encode()

    def _asked(self, ask: str, leaves: Mapping[str, Floats], **more: Any) -> Answer:
        return self.subject.ask(Question(ask, layer=self.number, arrays=dict(leaves), **more))

    def _only(self, answer: Answer, name: str) -> Floats:
        if name not in answer.arrays:
            raise Mismatch(f"{name}: expected one, got none")
        return answer.arrays[name]


def _write(changed: Mapping[int, Floats], arrays: Sequence[Floats]) -> None:
    """Apply the subject's changes to the judge's arrays."""
    for place, array in changed.items():
        there = arrays[place] if 0 <= place < len(arrays) else None
        if there is not None and there.flags.writeable and there.shape == array.shape:
            np.copyto(there, array, casting="unsafe")
