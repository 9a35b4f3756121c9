"""The arguments and results of calls as records, for messages and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np

from ...reference.arrays import Floats
from .protocol import Inputs, Pulled, Result


class ArgumentRecord(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The arguments of a call: the fields of ``Inputs``."""

    parameters: dict[str, Floats]
    x: Floats
    state: tuple[Floats | None, ...] | None
    lengths: Floats | None
    kept: bool = False
    rows: tuple[int, ...] | None = None
    layout: str = ""

    @classmethod
    def of(cls, inputs: Inputs) -> ArgumentRecord:
        """Return the arguments as a record."""
        return cls(**{**vars(inputs), "parameters": dict(inputs.parameters)})

    @property
    def inputs(self) -> Inputs:
        """The arguments for a layer."""
        return Inputs(**msgspec.structs.asdict(self))


class ResultRecord(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The results of a call: the fields of ``Result``, and those of ``Pulled`` with gradients."""

    y: Floats
    final: tuple[Floats, ...]
    parameters: dict[str, Floats] | None = None
    x: Floats | None = None
    initial: tuple[Floats, ...] = ()

    @classmethod
    def of(cls, result: Result) -> ResultRecord:
        """Return results as a record; arrays keep their memory."""
        returned = cls(np.asarray(result.y), tuple(map(np.asarray, result.final)))
        if isinstance(result, Pulled):
            returned.parameters = {n: np.asarray(a) for n, a in result.parameters.items()}
            returned.x, returned.initial = (
                np.asarray(result.x), tuple(map(np.asarray, result.initial))
            )  # fmt: skip
        return returned

    @property
    def result(self) -> Result:
        """The results for a check."""
        if self.parameters is None or self.x is None:
            return Result(self.y, self.final)
        return Pulled(self.y, self.final, self.parameters, self.x, self.initial)


def arrays_in(value: object) -> Iterator[Floats]:
    """Yield the arrays within nested records, mappings and sequences, in their order."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, Inputs | Result):
        yield from arrays_in(vars(value))
    elif isinstance(value, Mapping | tuple | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from arrays_in(part)
