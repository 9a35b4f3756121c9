"""Serving: whatever happens to states between calls, each row equals one run of its sequence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import strategies as st

from ...reference.arrays import Floats
from ...reference.cell import State
from ..cases.case import Case
from ..cases.layouts import LEFT_PADDED
from ..cases.options import Options
from ..cases.schedule import FORCED, MIXED, MOST_ROWS, RAGGED_WORDS, UNEVEN, Operation, parsed
from ..cases.strategies import cases, schedules
from ..numbers.ledger import Ledger, Mismatch
from ..subjects.called import Called, SubjectUnderTest, layer_of
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Inputs, Result, Subject
from .check import SubjectCheck
from .oracle import Expected, expected, state_names

LONGEST_SEQUENCE, LONGEST_CALL = 12, 4
"""Steps of one sequence, and of one call."""

PADDING = 1.5
"""The value of padding."""


@dataclass(frozen=True)
class Row:
    """A sequence: its number, and its steps (branch, position), from which they are drawn.

    Steps after a ``back`` belong to another branch, so that their numbers differ.
    """

    number: int
    steps: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Batch:
    """Rows and their states; ``order`` is a permutation that the layer has yet to apply to them.

    The states are None before the first call of a layer that starts from its own.
    """

    rows: tuple[Row, ...]
    states: State | None
    order: tuple[int, ...] | None = None

    def chosen(self, rows: Sequence[int], *, by_layer: bool) -> Batch:
        """Return the batch of some rows, in this order."""
        chosen = tuple(self.rows[k] for k in rows)
        if self.states is None:
            return Batch(chosen, None)
        if by_layer:
            before = range(len(self.rows)) if self.order is None else self.order
            return Batch(chosen, self.states, tuple(before[k] for k in rows))
        return Batch(chosen, tuple(np.ascontiguousarray(s[:, list(rows)]) for s in self.states))

    def joined(self, rows: tuple[Row, ...], first_states: State) -> Batch:
        """Return the batch with new rows, which begin with ``first_states``."""
        if self.states is None:
            return Batch((*self.rows, *rows), None)
        states = self.states
        if self.order is not None:
            states = tuple(s[:, list(self.order)] for s in states)
        pairs = zip(states, first_states, strict=True)
        return Batch((*self.rows, *rows), tuple(np.concatenate(pair, axis=1) for pair in pairs))


@dataclass
class Server:
    """A layer and its present batch, which operations change.

    ``next_row`` is the number of the next row that joins, ``branch`` that of the present branch;
    ``saved`` are the batches that were kept, each with a copy of its states.
    """

    called: Called
    inputs: Inputs
    batch: Batch
    next_row: int
    branch: int = 0
    saved: list[tuple[Batch, State]] = field(default_factory=list)

    def perform(self, operation: Operation) -> tuple[Result, list[int]] | None:
        """Perform an operation; if the layer was called, return its result and each row's steps.

        Impossible operations, such as a step beyond the longest sequence, are skipped.
        """
        word, numbers, rows = operation.word, operation.numbers, self.batch.rows
        if word == "keep":
            self.saved.append((self.batch, tuple(map(np.array, self.batch.states or ()))))
        elif word == "back" and self.saved:
            self._back()
        elif word == "rows":
            by_layer = self.called.subject.options.reorders
            self.batch = self.batch.chosen([n % len(rows) for n in numbers], by_layer=by_layer)
        elif word == "join":
            self._join(min(numbers[0], MOST_ROWS - len(rows)))
        elif word in ("decode", "prefill", *RAGGED_WORDS) and self._offered(word):
            room = [self.called.case.T - len(row.steps) for row in rows]
            if word in RAGGED_WORDS:
                steps = [min(numbers[k % len(numbers)], most) for k, most in enumerate(room)]
            else:
                steps = [min(*room, *(numbers or (1,)))] * len(rows)
            empty = word in RAGGED_WORDS and self.called.subject.options.zero_length
            least = 0 if empty else 1
            if min(steps) >= least and max(steps) > 0:
                return self._call(steps, word), steps
        return None

    def _offered(self, word: str) -> bool:
        """Return whether the layer offers a call of this operation from the present states."""
        options, layout = self.called.subject.options, RAGGED_WORDS.get(word)
        from_states = self.batch.states is not None or self.called.case.state
        if word in RAGGED_WORDS and word not in _ragged(options):
            return False
        return layout != LEFT_PADDED or options.left_padding_state or not from_states

    def _back(self) -> None:
        (self.batch, copies), self.branch = self.saved[-1], self.branch + 1
        for s, copy in zip(self.batch.states or (), copies, strict=True):
            if not np.array_equal(s, copy, equal_nan=True):
                raise Mismatch("a later call has changed the states that were kept")

    def _join(self, count: int) -> None:
        rows = tuple(Row(self.next_row + k) for k in range(count))
        self.next_row += count
        self.batch = self.batch.joined(rows, self._first_states(rows)) if rows else self.batch

    def _call(self, steps: Sequence[int], word: str) -> Result:
        """Call the layer with so many steps of each row."""
        batch, case = self.batch, self.called.case
        rows = tuple(
            Row(row.number, row.steps + tuple((self.branch, len(row.steps) + k) for k in range(n)))
            for row, n in zip(batch.rows, steps, strict=True)
        )
        x = np.full((max(steps), len(rows), self._width), PADDING, case.number_type)
        for b, (row, n) in enumerate(zip(rows, steps, strict=True)):
            x[:n, b] = self.read(row)[len(row.steps) - n :]
        states: State | None = None
        if batch.states is not None:  # recorded arrays must not change later
            states = tuple(map(np.array, batch.states))
        if states is None and case.state:
            states = self._first_states(batch.rows)
        uneven, layout = word in RAGGED_WORDS, RAGGED_WORDS.get(word, "")
        call_case = replace(
            case, T=len(x), B=len(rows), state=states is not None, lengths=uneven,
            zero_length=min(steps) == 0,
        )  # fmt: skip
        lengths = np.array(steps) if uneven else None
        call_inputs = replace(
            self.inputs, x=x, state=states, lengths=lengths, rows=batch.order, layout=layout
        )
        result = replace(self.called, case=call_case).forward(call_inputs)
        self.batch = Batch(rows, result.final)
        return result

    def read(self, row: Row) -> Floats:
        """Return the inputs of a row's steps so far, (steps, D)."""
        case = self.called.case
        branches = {
            branch: self._stream(f"x {row.number} {branch}")
            for branch in {branch for branch, _ in row.steps}
        }  # fmt: skip
        steps = [branches[branch][position] for branch, position in row.steps]
        return np.stack(steps) if steps else np.zeros((0, self._width), case.number_type)

    def _stream(self, part: str) -> Floats:
        """Draw the steps of the longest sequence, (T, D)."""
        case, cell = self.called.case, layer_of(self.called.subject, self.called.case).cell
        x = cell.random_input(case.generator(part), case.T, 1, case.sizes)
        return case.simplified(part, x)[:, 0]

    @property
    def _width(self) -> int:
        case = self.called.case
        return layer_of(self.called.subject, case).cell.input_width(case.sizes)

    def _first_states(self, rows: Sequence[Row]) -> State:
        """Return the initial states of rows: drawn, or the cell's own."""
        case, layer = self.called.case, layer_of(self.called.subject, self.called.case)
        states = []
        for row in rows:
            alone = replace(case, B=1, seed=case.seed + row.number)
            if case.state:
                states.append(draw_inputs(self.called.subject, alone).state)
            else:
                states.append(layer.initial_state(np.zeros(0, case.number_type), 1))
        return tuple(
            np.concatenate(rows_of_state, axis=1) for rows_of_state in zip(*states, strict=True)
        )

    def expected(self, rows: Sequence[Row]) -> Expected:
        """Return the expected results of one run of each row's sequence; rows are equally long."""
        subject, case = self.called.subject, self.called.case
        x = np.stack([self.read(row) for row in rows], axis=1)
        states = self._first_states(rows) if case.state else None
        inputs = replace(self.inputs, x=x, state=states, lengths=None)
        return expected(subject, replace(case, T=len(x), B=len(rows)), inputs)


def schedule(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Perform a schedule; after each call, compare each row with one run of its sequence."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    rows = tuple(Row(k) for k in range(case.B))
    server = Server(subject.build(case), inputs, Batch(rows, None), case.B)
    parts = [part.strip() for part in case.schedule.split(";") if part.strip()]
    for k, operation in enumerate(parsed(case.schedule)):
        performed = "; ".join(parts[: k + 1])
        try:
            answer = server.perform(operation)
        except Mismatch as wrong:
            raise Mismatch(f"{performed}: {wrong}") from wrong
        if answer is not None:
            _compare(ledger, server, performed, *answer)
    return ledger


def _compare(
    ledger: Ledger, server: Server, performed: str, result: Result, steps: Sequence[int]
) -> None:
    names = state_names(server.called.subject, server.called.case)
    alike: dict[int, list[int]] = defaultdict(list)
    for b, row in enumerate(server.batch.rows):
        alike[len(row.steps)].append(b)
    for count, group in alike.items():
        want = server.expected([server.batch.rows[b] for b in group])
        for k, b in enumerate(group):
            n, label = steps[b], f"{performed}: row {b}"
            ledger.compare(f"{label}: y", result.y[:n, b], want.y[count - n :, k], first=count - n)
            for name, got, w in zip(names, result.final, want.final, strict=False):
                ledger.compare(f"{label}: final {name}", got[:, b], w[:, k])


def _cases(subject: Subject, dtype: str) -> st.SearchStrategy[Case]:
    options = subject.options
    return st.builds(
        replace,
        cases(subject, dtype, scales=("unit",), lengths=False, depth=False),
        T=st.just(LONGEST_SEQUENCE),
        B=st.integers(1, 3),
        layers=st.integers(1, 2) if options.layers else st.just(1),
        zero_length=st.just(False),
        schedule=schedules(ragged=_ragged(options), longest=LONGEST_CALL),
    )


def _forced_cases(subject: Subject, dtype: str) -> Iterator[Case]:
    options = subject.options
    plain = Case(LONGEST_SEQUENCE, 2, 3, 4, dtype=dtype, layers=2 if options.layers else 1)
    mixed = [MIXED] * (options.packed or options.left_padding)
    texts = [*mixed, *FORCED, *(UNEVEN[word] for word in _ragged(options))]
    for number, text in enumerate(texts):
        from_states = number % 2 == 1 and (options.left_padding_state or text != UNEVEN["left"])
        state = not options.default_state or (from_states and options.state)
        yield replace(plain, schedule=text, state=state, seed=number)


def _ragged(options: Options) -> list[str]:
    """Return the operations with rows of different steps that a layer offers."""
    offers = {
        "padded": options.lengths, "packed": options.packed, "left": options.left_padding
    }  # fmt: skip
    return [word for word, offered in offers.items() if offered]


def _refuses(case: Case) -> str:
    plain = not (case.bidirectional or case.lengths or case.layout != "time-first")
    return "" if case.schedule and plain else "expected a schedule, in one direction"


CHECKS = (
    SubjectCheck(
        "schedule",
        "Whatever a server does with the states between calls (prefill in pieces, decode, take "
        "back, reorder, join, pad or pack), every row's outputs are those of one run of its "
        "sequence.",
        schedule,
        cases=_cases,
        needs=("state",),
        forced=_forced_cases,
        share=0.3,
        refuses=_refuses,
    ),
)
