"""The subject's side: answers to the judge's questions, by the subject and its layers.

No code here judges. The subject may do anything to this process, so the judge verifies that every
answer fits its question.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import IO, Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import Cell
from ...reference.cells import cells
from ..cases.case import Case
from ..numbers.ledger import Mismatch
from ..runs.exception_text import exception_text
from ..runs.provenance import gpu
from ..subjects import model_file, subject_named
from ..subjects.call_records import ArgumentRecord, ResultRecord, arrays_in
from ..subjects.called import NotOffered, SubjectCrashed, with_care
from ..subjects.declared import Declared
from ..subjects.explicit import Explicit
from ..subjects.given_arrays import GivenArrays
from ..subjects.loader import UnknownSubject
from ..subjects.program import Program
from ..subjects.protocol import Built, Inputs, Result, SubjectUnavailable
from ..subjects.quantised import Quantised
from . import schemes  # noqa: F401 - it makes the names of files known
from .channel import (
    Answer,
    Meaning,
    Portrait,
    Question,
    receive,
    send,
)
from .sandbox import limit_memory

UNKNOWN, UNAVAILABLE, REFUSED = "unknown", "unavailable", "refused"
DIFFERENT, CRASHED = "different", "crashed"
PROBLEMS: dict[str, type[Exception]] = {
    UNKNOWN: UnknownSubject,
    UNAVAILABLE: SubjectUnavailable,
    REFUSED: NotOffered,
    DIFFERENT: Mismatch,
    CRASHED: SubjectCrashed,
}
"""The exceptions that cross to the judge, by the kind of problem that stands for each."""

OWN_ADAPTER = "its adapter says itself what its parameters mean, in the process that judges"
OWN_STEP = "its step is the equations too, and runs in the process that judges"
"""Reasons why a subject must run in the judge's process."""

REMEMBERED = 3
"""The number of a layer's results that are compared again after later calls, on both sides."""


def problem_of(error: Exception) -> Answer:
    """Return an error as an answer."""
    kind = next((kind for kind, expected in PROBLEMS.items() if isinstance(error, expected)), "")
    text = exception_text(error)
    if kind:
        return Answer(kind, text.removeprefix(f"{type(error).__name__}: "))
    return Answer(CRASHED, text)


@dataclass
class RememberedLayer:
    """A layer, and the results of its last calls: the arrays, and copies of them."""

    built: Any
    results: dict[int, list[tuple[Floats, Floats]]] = field(default_factory=dict)

    def keep(self, number: int, result: object) -> None:
        """Remember the results of a call."""
        self.results[number] = [(array, np.array(array)) for array in arrays_in(result)]
        for old in list(self.results)[:-REMEMBERED]:
            del self.results[old]

    def changed(self) -> dict[int, dict[int, Floats]]:
        """Return the arrays of earlier results that have changed, by call and place."""
        every = {
            number: {k: a for k, (a, copy) in enumerate(pairs) if a.tobytes() != copy.tobytes()}
            for number, pairs in self.results.items()
        }
        return {number: arrays for number, arrays in every.items() if arrays}


class Respondent:
    """An answerer of questions; ``memory`` is the subject's limit in MiB."""

    def __init__(
        self, questions: IO[bytes], answers: IO[bytes], memory: int, in_force: str
    ) -> None:
        self.questions, self.answers = questions, answers
        self.memory, self.in_force = memory, in_force
        self.subject: Any
        self.number = 0
        self.layers: dict[int, RememberedLayer] = {}
        self.borrowed: dict[str, None] = {}

    def serve(self) -> None:
        """Answer questions until the input ends."""
        ask: dict[str, Callable[[Question], Answer]] = {
            "hello": lambda _: Answer(text=self.in_force),
            "load": self._load, "widths": self._widths, "caller": self._caller,
            "build": self._build, "drop": self._drop, "forward": self._forward,
            "gradients": self._gradients, "jvp": self._jvp, "train": self._train,
            "buffers": self._buffers, "gpu": lambda _: Answer(shapes=gpu()),
            "output": self._output, "pulled": self._pulled, "keeps_state": self._keeps_state,
            "continued_output": self._continued_output, "forbidden": self._forbidden,
            "random": self._random, "nodes": self._nodes,
        }  # fmt: skip
        while True:
            try:
                number, question = receive(self.questions, None, Question)
            except EOFError:
                return
            self.number = number
            try:
                answer = ask[question.ask](question)
            except Exception as error:
                answer = problem_of(error)
            answer.borrowed = tuple(self.borrowed)
            send(self.answers, number, answer)

    def _load(self, question: Question) -> Answer:
        watch_imports(self.borrowed)

        def on_import() -> None:
            limit_memory(self.memory)
            send(self.answers, self.number, Answer(imported=True))

        if model_file(question.text):
            from ..models.subject import node_named

            subject: Any = node_named(question.text, question.against, question.inputs)
        else:
            if question.forbid:  # before it is imported, and could keep what is still allowed
                from ..subjects.forbidden import forbidden

                forbidden(question.forbid.split(",")).refuse_for_good()
            subject = subject_named(
                question.text, question.like, question.forbid, on_import=on_import,
                device=question.device,
            )  # fmt: skip
        quantised = subject.quantisation.text if isinstance(subject, Quantised) else ""
        self.subject = subject = subject.subject if isinstance(subject, Quantised) else subject
        meaning = meaning_of(subject)
        version = with_care(subject.version) if meaning.kind else ""  # else its judge asks for it
        arguments = subject.arguments if isinstance(subject, Declared) else None
        portrait = Portrait(
            subject.name, subject.cells, subject.dtypes, subject.options, version,
            meaning, getattr(subject, "form", None), arguments, quantised,
        )  # fmt: skip
        watch_steps(self.borrowed)
        return Answer(portrait=portrait)

    def _nodes(self, question: Question) -> Answer:
        """Answer with the recurrent nodes of a model file."""
        from ..models.subject import summaries

        return Answer(shapes={"nodes": [asdict(each) for each in summaries(question.text)]})

    def _widths(self, question: Question) -> Answer:
        """Answer with the axes of a recurrence's parameters for widths D and H."""
        recurrence = self.subject.own_cell  # only recurrences get this question
        axes: Mapping[str, Any] = with_care(lambda: recurrence.parameters(*question.widths))
        return Answer(shapes={str(n): v if isinstance(v, str | int) else tuple(map(str, v))
                              for n, v in axes.items()})  # fmt: skip

    def _caller(self, question: Question) -> Answer:
        return Answer(text=self.subject.caller(Case.from_json(question.text)))

    def _build(self, question: Question) -> Answer:
        case = Case.from_json(question.text)
        layer = RememberedLayer(with_care(lambda: self.subject.build(case)))
        self.layers[question.layer] = layer
        return Answer(layer=question.layer)

    def _drop(self, question: Question) -> Answer:
        self.layers.pop(question.layer, None)
        return Answer()

    def _forward(self, question: Question) -> Answer:
        return self._call(question, lambda built, inputs: [built.forward(inputs)])

    def _gradients(self, question: Question) -> Answer:
        pairs = question.cotangents
        return self._call(question, lambda built, inputs: built.gradients(inputs, pairs))

    def _jvp(self, question: Question) -> Answer:
        tangents = inputs_of(question.tangents)
        return self._call(question, lambda built, inputs: [built.jvp(inputs, tangents)])

    def _train(self, question: Question) -> Answer:
        with_care(lambda: self.layers[question.layer].built.train(question.training))
        return Answer()

    def _buffers(self, question: Question) -> Answer:
        built = self.layers[question.layer].built
        buffers: Mapping[str, Floats] = with_care(getattr(built, "buffers", dict))
        return Answer(arrays={name: np.asarray(array) for name, array in buffers.items()})

    def _call(
        self, question: Question, call: Callable[[Built, Inputs], Sequence[Result]]
    ) -> Answer:
        """Call a layer; answer with its results and the arguments that it changed."""
        layer, inputs = self.layers[question.layer], inputs_of(question.arguments)
        arrays = list(arrays_in([inputs, question.cotangents]))
        before = [array.tobytes() for array in arrays]
        results = with_care(lambda: list(call(layer.built, inputs)))
        written = {k: a for k, a in enumerate(arrays) if a.tobytes() != before[k]}
        earlier, returned = layer.changed(), tuple(map(ResultRecord.of, results))
        layer.keep(question.call, returned[:1] and returned[0].result)
        return Answer(results=returned, written=written, earlier=earlier)

    # Questions to a submission to a benchmark's problem.

    def _output(self, question: Question) -> Answer:
        layer = self.layers[question.layer]
        output = np.asarray(with_care(lambda: layer.built.output(question.arrays)))
        answer = Answer(arrays={"output": output}, earlier=layer.changed())
        layer.keep(question.call, output)
        return answer

    def _pulled(self, question: Question) -> Answer:
        built, ((cotangent, _),) = self.layers[question.layer].built, question.cotangents
        gradients = with_care(lambda: built.pulled(question.arrays, cotangent))
        return Answer(arrays={name: np.asarray(array) for name, array in gradients.items()})

    def _continued_output(self, question: Question) -> Answer:
        built, x = self.layers[question.layer].built, question.arrays["x"]
        return Answer(arrays={"output": np.asarray(with_care(lambda: built.continued_output(x)))})

    def _keeps_state(self, question: Question) -> Answer:
        built = self.layers[question.layer].built
        return Answer(text="yes" if with_care(lambda: built.keeps_state) else "")

    def _forbidden(self, question: Question) -> Answer:
        built = self.layers[question.layer].built
        return Answer(text=with_care(lambda: built.forbidden(question.arrays)))

    def _random(self, question: Question) -> Answer:
        state = self.layers[question.layer].built.random_state()
        return Answer(text=hashlib.sha256(state).hexdigest())


def inputs_of(arguments: ArgumentRecord | None) -> Inputs:
    """Return the arguments in a question; ValueError if there are none."""
    if arguments is None:
        raise ValueError("a question without the arguments of its call")
    return arguments.inputs


def meaning_of(subject: Any) -> Meaning:
    """Return the parameters' meaning as data; of kind "" if only the subject's code has it."""
    if subject.options.problem:
        return Meaning("problem", problem=subject.problem.name)
    if isinstance(subject, Explicit | GivenArrays):
        return Meaning("explicit")
    if isinstance(subject, Declared):
        return _declared_meaning(subject)
    kind = type(subject).__name__  # by name: the modules import PyTorch and runtimes
    if kind == "NodeSubject":
        return Meaning(
            "node", convention=subject.convention, operation=subject.operation,
            fixed=subject.fixed, held_to=subject.held_to, content=subject.content,
        )  # fmt: skip
    if isinstance(subject, Program):
        weights = "convention" if subject.convention else "explicit"
        return Meaning(weights, convention=subject.convention)
    return _torch_meaning(subject) if kind == "TorchLike" else Meaning("", OWN_ADAPTER)


def _torch_meaning(subject: Any) -> Meaning:
    if subject.own is None:
        return Meaning("torch", convention=subject.convention)
    return Meaning("own", convention=subject.own.convention, arrays=subject.own.arrays)


def _declared_meaning(subject: Declared) -> Meaning:
    recurrence = subject.own_cell
    if recurrence is None:
        return Meaning("convention", convention=subject.convention)
    if recurrence.function is None:
        return Meaning("recurrence", states=dict(recurrence.of_states), x=recurrence.of_x)
    return Meaning("", OWN_STEP)


FREE = {"functions", "parameters", "errors", "cases", "conventions", "subjects", "api", "options"}
"""Parts of gatewise that a layer or an adapter may use: types, errors, and base classes."""

OWN = {"Layer", "cell_named", "cells", "equations", "examples", "Bounded"}
"""Names of gatewise that compute what a subject should compute itself."""


def watch_imports(borrowed: dict[str, None]) -> None:
    """Record the computations of gatewise that other modules import.

    It prevents nothing, and a program can deliberately hide from it.
    """
    package = __name__.partition(".")[0]
    plain_import, plain_module = builtins.__import__, importlib.import_module
    plain_name = sys.modules[package].__getattr__

    def note(name: str, names: Sequence[str], importer: str) -> None:
        if importer.partition(".")[0] == package or name.partition(".")[0] != package:
            return
        parts = set(name.split("."))
        if parts & {"reference", "verify"} and not parts & FREE:
            borrowed[name] = None
        borrowed.update(dict.fromkeys(f"{name}.{n}" for n in names if name == package and n in OWN))

    def import_(name: str, scope: Any = None, local: Any = None, names: Any = (), level: int = 0,
                **keywords: Any) -> ModuleType:  # fmt: skip
        scope = keywords.get("globals", scope)
        names = keywords.get("fromlist", names)
        if not level:
            note(name, [str(n) for n in names or ()], str((scope or {}).get("__name__", "")))
        return plain_import(name, scope, keywords.get("locals", local), names, level)

    def import_module(name: str, package: str | None = None) -> ModuleType:
        note(name, (), _module_of_caller())
        return plain_module(name, package)

    def attribute(name: str) -> Any:
        note(package, (name,), _module_of_caller())
        return plain_name(name)

    builtins.__import__, importlib.import_module = import_, import_module  # type: ignore[assignment]
    sys.modules[package].__getattr__ = attribute  # type: ignore[method-assign]


def watch_steps(borrowed: dict[str, None]) -> None:
    """Record gatewise's cells that take a step, however the subject obtained them."""

    def noted(step: Callable[..., Any]) -> Callable[..., Any]:
        def noted_step(cell: Cell, *arguments: Any) -> Any:
            borrowed[f"the cell {cell.name} of gatewise"] = None
            return step(cell, *arguments)

        return noted_step

    for kind in {kind for cell in cells().values() for kind in type(cell).__mro__}:
        if "step" in vars(kind):
            kind.step = noted(kind.step)  # type: ignore[attr-defined]


def _module_of_caller() -> str:
    return str(sys._getframe(2).f_globals.get("__name__", ""))
