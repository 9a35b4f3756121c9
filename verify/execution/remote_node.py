"""The judge's side of a node of a model file, which is read and run in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import msgspec

from ..cases.case import Case
from ..conventions.parameter_map import ParameterMap
from ..models.operation import Operation
from ..models.subject import ComparedNode, NodeMap, Summary
from ..models.variants import cell_of, operation_of
from ..subjects.loader import UnknownSubject
from .channel import Answer, OutOfTurn, Question, receive, send
from .limits import MEMORY
from .processes import Child, environment
from .remote import HOST, RemoteSubject
from .tasks import Named
from .time_limit import TimeLimit

PATIENCE = 60.0
"""The time limit for reading a file in seconds."""


class RemoteNode(RemoteSubject, ComparedNode):
    """A subject ``FILE.onnx#NODE``; its weights are requested once."""

    def __init__(self, named: Named, memory: int, hidden: Sequence[str] = ()) -> None:
        """Start its process, and request its arrays."""
        super().__init__(named, memory, hidden)
        if self.portrait.meaning.kind != "node" or self.portrait.meaning.content is None:
            raise self._end("a portrait of something else than a node")
        self.content = self.portrait.meaning.content

    @property
    def fixed(self) -> tuple[tuple[str, Any], ...]:
        """The fields of all its cases: the node's widths, directions and layout."""
        return self.portrait.meaning.fixed

    @property
    def held_to(self) -> tuple[str, ...]:
        """The checks that apply to it."""
        return self.portrait.meaning.held_to

    @property
    def attributes(self) -> Operation:
        """The operation that its attributes state."""
        meaning = self.portrait.meaning
        assert meaning.convention is not None  # noqa: S101 - soundness asks for one
        return meaning.operation or operation_of(meaning.convention)

    @cached_property
    def own_cell(self) -> Any:
        """The operator's equations, if the reference has no cell for it."""
        operation = self.portrait.meaning.operation
        return cell_of(operation) if operation else None

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the convention's map, with the node's own weights."""
        convention = self.portrait.meaning.convention
        assert convention is not None  # noqa: S101 - soundness asks for one
        convention = replace(convention, projected=True) if case.P else convention
        return NodeMap(convention, case, self.content.weights, self.own_cell)


def listed(path: str, memory: int = MEMORY, seconds: float = PATIENCE) -> list[Summary]:
    """Return the recurrent nodes of a model file, which is read in a process of its own.

    UnknownSubject says why it cannot be read.
    """
    child = Child(HOST, str(memory), environment=environment())
    limit = TimeLimit(seconds, child.pid, child.kill)
    try:
        send(child.stdin, 1, Question("nodes", text=path))
        _, answer = receive(child.stdout, 1, Answer)
        if answer.problem:
            raise UnknownSubject(answer.text)
        return msgspec.convert(answer.shapes.get("nodes"), list[Summary])
    except (EOFError, OSError, OutOfTurn, msgspec.ValidationError) as error:
        end = f"it was not read in {seconds:g} s" if limit.reached else child.how_it_ended()
        raise UnknownSubject(f"{path}: {end}") from error
    finally:
        limit.stop()
        child.close()
