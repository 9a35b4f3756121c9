"""What a fault is, and where all of them are found."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .call import Call, Outputs

KINDS = ("LSTM", "GRU", "RNN")
GATED = ("LSTM", "GRU")
HOMES = ("layout", "convention", "state", "sequence", "gradient", "mode", "dtype")

NEEDS = {
    "parameters": "parameters that can be told apart and replaced",
    "bias": "a bias",
    "two biases": "an input bias and a recurrent bias",
    "levels": "more than one level",
    "directions": "two directions",
    "lengths": "rows of different lengths (a PackedSequence)",
    "state": "an initial state",
    "no state": "a call without an initial state",
    "dropout": "dropout between levels",
    "float64": "float64",
    "gradients": "a call whose gradients are recorded",
}
"""What a fault may need of a layer or of a call, as it is told."""

Plant = Callable[["Call"], "Outputs"]
"""Run a call with the fault in it."""


@dataclass(frozen=True)
class Fault:
    """A way to be wrong that can be planted from outside.

    ``models`` is the real defect; "" where the fault is a typical one that no thread reports.
    Calls that lack what it ``needs`` cannot reach it. ``caught_by`` names the input that would
    show it.
    """

    id: str
    statement: str
    plant: Plant = field(repr=False)
    models: str
    kinds: tuple[str, ...]
    needs: tuple[str, ...]
    caught_by: str


_found: dict[str, Fault] = {}


def fault(
    id: str,
    *,
    caught_by: str,
    models: str = "",
    kinds: tuple[str, ...] = KINDS,
    needs: tuple[str, ...] = (),
) -> Callable[[Plant], Plant]:
    """Register the decorated function, whose docstring is the statement."""

    def register(plant: Plant) -> Plant:
        if id in _found:
            raise ValueError(f"fault {id} is registered twice")
        if unknown := set(needs) - NEEDS.keys():
            raise ValueError(f"fault {id} needs {unknown}, which nobody can offer")
        statement = (plant.__doc__ or "").strip()
        _found[id] = Fault(id, statement, plant, models, kinds, needs, caught_by)
        return plant

    return register


def faults() -> tuple[Fault, ...]:
    """Return every fault, by id."""
    for home in HOMES:
        importlib.import_module(f"{__package__}.{home}")
    return tuple(_found[id] for id in sorted(_found))


def choose(names: Sequence[str]) -> tuple[Fault, ...]:
    """Return the faults with these ids, or all; a ValueError lists them."""
    known = {f.id: f for f in faults()}
    for name in names:
        if name not in known:
            raise ValueError(f"mutant {name!r} is not known; there are {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names)) or tuple(known.values())
