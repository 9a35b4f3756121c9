"""A node of a file, as the judge sees it: the file is read, and run, in the process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import count
from typing import Any

import msgspec

from ..cases.case import Case
from ..conventions.parameter_map import ParameterMap
from ..models.departures import Departure, departures
from ..models.equations import Operation
from ..models.sources import unpacked
from ..models.subject import CALL, OWN, SOURCE, UNROLLED, UNSEEN, WEIGHT, NodeMap, Summary
from ..models.variants import operation_of
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import Inputs, Result
from .channel import Answer, OutOfTurn, Question, receive, send
from .isolation import MEMORY
from .processes import Child, environment
from .remote import HOST, Remote
from .tasks import Named
from .time_limit import TimeLimit

PATIENCE = 60.0
"""Seconds in which a file is read."""


class RemoteNode(Remote):
    """A subject of the name ``FILE.onnx#NODE``; its own weights are asked for once."""

    def __init__(self, named: Named, memory: int, hidden: Sequence[str] = ()) -> None:
        """Start its process, and ask for the arrays that it is held with."""
        super().__init__(
            named.name, named.like, memory, hidden, against=named.against, inputs=named.inputs
        )
        if self.portrait.meaning.kind != "node":
            raise self._end("a portrait of something else than a node")
        settled = self.options.settled(Case(1, 1, 1, 1, dtype=self.dtypes[0]))
        self.arrays = self.build(settled).buffers()

    @cached_property
    def weights(self) -> dict[str, Any]:
        """The node's own weights by its convention's names."""
        start = len(WEIGHT)
        return {name[start:]: a for name, a in self.arrays.items() if name.startswith(WEIGHT)}

    @cached_property
    def own_cell(self) -> Any:
        """The operator's equations, where the reference has no cell for it."""
        operation = self.portrait.meaning.operation
        return operation.cell if operation else None

    @property
    def unrolled(self) -> bool:
        """Whether it is a step that an exporter has unrolled, which runs with its own weights."""
        return UNROLLED in self.arrays

    @cached_property
    def departures(self) -> list[Departure]:
        """How the node departs from what it is compared with."""
        own, source = unpacked(self.arrays, OWN), unpacked(self.arrays, SOURCE)
        return departures(int(self.arrays["number"]), own, source)

    @property
    def attributes(self) -> Operation:
        """What its attributes say that it computes."""
        meaning = self.portrait.meaning
        assert meaning.convention is not None  # noqa: S101 - soundness asks for one
        return meaning.operation or operation_of(meaning.convention)

    @property
    def unseen(self) -> str:
        """Why what reaches the node in the running graph cannot be had, "" if it can."""
        return self.arrays[UNSEEN].tobytes().decode() if UNSEEN in self.arrays else ""

    @property
    def calls_in_graph(self) -> Iterator[tuple[Inputs, Result]]:
        """What reached the node in the running graph, and what it made of it."""
        for k in count():
            named = {
                name.removeprefix(f"{CALL}{k} "): array for name, array in self.arrays.items()
                if name.startswith(f"{CALL}{k} ")
            }  # fmt: skip
            if not named:
                return
            pairs = [(named.get(f"state {i}"), named[f"final {i}"])
                     for i in range(len(named)) if f"final {i}" in named]  # fmt: skip
            states = tuple(s for s, _ in pairs if s is not None)
            inputs = Inputs(self.weights, named["x"], states or None, named.get("lengths"))
            yield inputs, Result(named["y"], tuple(final for _, final in pairs))

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the convention's map, with the node's own weights."""
        convention = self.portrait.meaning.convention
        assert convention is not None  # noqa: S101 - soundness asks for one
        convention = replace(convention, projected=True) if case.P else convention
        return NodeMap(convention, case, self.weights)


def listed(path: str, memory: int = MEMORY, seconds: float = PATIENCE) -> list[Summary]:
    """Return the recurrent nodes of a model file, which is read in a process of its own.

    UnknownSubject says in a sentence why it cannot be read.
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
