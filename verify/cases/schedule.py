"""Schedules: what a server does with a layer and its states while sequences go on.

A schedule is text, so that a case holds it and prints it: operations, separated by semicolons.

===============  ===============================================================================
``prefill 3``    call with three steps of every row
``decode``       call with one step of every row
``padded 2,0,1`` call with so many steps of each row, and padding at the end
``packed 2,0,1`` the same without padding: rows stand one after another, with ``cu_seqlens``
``left 2,0,1``   the same with padding in front, and a mask
``keep``         save the present states and sequences
``back``         restore those that were saved last: other steps follow
``rows 1,0,1``   continue these rows in this order: others leave, one may occur twice
``join 2``       add two new rows
===============  ===============================================================================

Row numbers are taken modulo the number of rows, so that every schedule suits every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .layouts import LEFT_PADDED, PACKED

NUMBERS = {
    "prefill": "one", "decode": "none", "padded": "several", "packed": "several",
    "left": "several", "keep": "none", "back": "none", "rows": "several", "join": "one",
}  # fmt: skip
"""The operations, and how many numbers each has."""

RAGGED_WORDS = {"padded": "", "packed": PACKED, "left": LEFT_PADDED}
"""Operations in which rows have different steps, and the layout of each."""

MOST_ROWS = 4


@dataclass(frozen=True)
class Operation:
    """One word of ``NUMBERS``, and its numbers."""

    word: str
    numbers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.word} {','.join(map(str, self.numbers))}".rstrip()


def text_of(operations: Sequence[Operation]) -> str:
    """Return the text of a schedule, as cases hold it."""
    return "; ".join(map(str, operations))


def parsed(text: str) -> tuple[Operation, ...]:
    """Return the operations of a schedule's text; raise ValueError for an invalid one."""
    return tuple(_operation(part) for part in text.split(";") if part.strip())


def _operation(text: str) -> Operation:
    word, *rest = text.split()
    count = NUMBERS.get(word)
    if count is None:
        raise ValueError(f"schedule: {word!r:.40} unknown; there are {', '.join(NUMBERS)}")
    try:
        numbers = tuple(map(int, rest[0].split(","))) if rest else ()
    except ValueError:
        numbers = (-1,)
    fits = {"none": not numbers, "one": len(numbers) == 1, "several": bool(numbers)}[count]
    if not fits or len(rest) > 1 or any(not 0 <= n <= 99 for n in numbers):
        raise ValueError(f"schedule: {text.strip()!r:.40}: expected {word} with {count} number")
    return Operation(word, numbers)


FORCED = (
    "prefill 3; decode; keep; decode; decode; back; decode; prefill 2",
    "prefill 2; rows 1,0,1; decode; join 1; decode; rows 2,0; decode",
)
"""Schedules for every layer: a sequence with a step that is taken back, and rows that change
places, are copied, leave and join."""

MIXED = "left 3,1,2; decode; rows 1,0,1; packed 1,3,2; decode; prefill 2"
"""The first schedule for a layer that takes packed sequences or padding in front."""

UNEVEN = {
    word: f"{word} 3,1,2; decode; rows 1,0; {word} 1,3; decode" for word in RAGGED_WORDS
}  # fmt: skip
"""Schedules for a layer that takes rows of different steps, by operation."""
