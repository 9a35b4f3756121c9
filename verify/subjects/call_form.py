"""The way in which a class takes its arguments and returns its states, found by calling it.

Classes with parameters of their own often have the batch first, states (B, H) without torch's axis
of layers, h and c as two arguments, or no initial state at all. A form is taken if in it every row
of y depends on its own row of x and of the states; a class must take the states that it returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from .protocol import Inputs, Result, SubjectUnavailable

TOGETHER, APART, NONE = "together", "apart", "none"
LENGTHS = ("lengths", "seq_lengths", "sequence_lengths")
OF_ROWS = (*LENGTHS, "mask", "enforce_sorted")
"""Arguments of ``forward`` that are no states."""

OWN_ROWS, OTHER_SHAPES, OTHER_ROWS = "own rows", "other shapes", "other rows"
OTHER_OUTPUTS, WITHHELD, NO_FIT = "other outputs", "withheld", "no fit"
RANKS = (OWN_ROWS, OTHER_SHAPES, OTHER_ROWS, OTHER_OUTPUTS, NO_FIT)
"""How well a form fits, the best first."""

ROW = 1
"""The row whose arguments are changed; it is neither the first nor the last."""


@dataclass(frozen=True)
class CallForm:
    """How a class is called: the axes of its x and states, and the arguments of its states.

    ``takes`` says whether several states are one argument, as torch's, or one each, or none is
    taken; ``has_passes`` whether states have the axis of layers and directions, (1, B, H). If
    outputs are returned alone, ``alone`` is the number of states: the first is the last output, and
    zeros stand for the second. If each state is a list with an array for each layer, ``listed`` is
    the number of states.
    """

    batch_first: bool = False
    takes: str = TOGETHER
    has_passes: bool = True
    alone: int = 0
    listed: int = 0

    @property
    def text(self) -> str:
        """The form in words, where it is not torch's; "" if it is."""
        clauses = ["x is (B, T, D)"] * self.batch_first
        clauses += ["states are (B, H)"] * (not self.has_passes)
        clauses += ["states are lists, (B, H) for each layer"] * (self.listed > 0)
        clauses += ["y is returned alone"] * (self.alone > 0)
        clauses += ["so the final c is not tested"] * (self.alone > 1)
        clauses += {APART: ["h and c are two arguments"], NONE: ["no initial state"]}.get(
            self.takes, []
        )
        return ", ".join(clauses)

    def is_near(self, other: CallForm) -> bool:
        """Whether it differs from another form in the axes of x alone."""
        return replace(self, batch_first=other.batch_first) == other

    def call(
        self,
        arguments: Mapping[str, Any],
        torch: Any,
        module: Any,
        x: Any,
        state: Any,
        lengths: Floats | None,
    ) -> tuple[Any, tuple[Any, ...]]:
        """Return y (T, B, H) and states (1, B, H); ``arguments`` are those that take lengths.

        Lengths are None among them. Without any, x comes as a packed sequence.
        """
        rnn = torch.nn.utils.rnn
        x = self._turned(x)
        rows_first = self.batch_first or getattr(module, "batch_first", False) is True
        time = int(rows_first)
        given = self._given(() if state is None else tensors(torch, state))
        ends = None if lengths is None else torch.from_numpy(lengths).to(x.device)
        if ends is None:
            returned = module(x, *given)
        elif arguments:
            named = {name: ends if value is None else value for name, value in arguments.items()}
            returned = module(x, *given, **named)
        else:
            packed = rnn.pack_padded_sequence(
                x, ends.cpu(), batch_first=rows_first, enforce_sorted=False
            )
            returned = module(packed, *given)
        alone = torch.is_tensor(returned) or isinstance(returned, rnn.PackedSequence)
        y, *rest = [returned] if alone else returned
        if isinstance(y, rnn.PackedSequence):
            y, _ = rnn.pad_packed_sequence(y, batch_first=rows_first)
        if ends is not None and y.shape[time] < x.shape[time]:  # it ends with the longest row
            shape = [*y.shape]
            shape[time] = x.shape[time] - y.shape[time]
            y = torch.cat([y, y.new_zeros(shape)], time)
        final = tensors(torch, rest)
        if self.listed:
            lists = rest[0] if len(rest) == 1 < self.listed else rest
            if len(lists) != self.listed or not all(isinstance(states, list) for states in lists):
                raise TypeError("its states are no lists with an array for each layer")
            final = tuple(torch.stack(states) for states in lists)
        if self.alone and (final or lengths is not None):
            raise TypeError("it returns more than its outputs, or has lengths")
        if self.alone:
            last = y.select(time, -1)[None]
            return self._turned(y), (last, *[torch.zeros_like(last)] * (self.alone - 1))
        return self._turned(y), final if self.has_passes else tuple(s[None] for s in final)

    def _turned(self, array: Any) -> Any:
        """Exchange the axes of rows and steps, if the class has the rows first."""
        return array.transpose(0, 1) if self.batch_first else array

    def _given(self, states: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments for the states (1, B, H)."""
        if states and self.takes == NONE:
            raise TypeError("it takes no initial state")
        states = states if self.has_passes else tuple(s[0] for s in states)
        states = tuple(map(list, states)) if self.listed else states
        return states if self.takes == APART or len(states) == 1 else (states,) if states else ()

    def source(self, states: int, *, rows_first: bool) -> str:
        """Return source of a function ``called(layer, x, state=None)`` for stand-alone scripts.

        ``rows_first`` says whether the class is called with the batch first.
        """
        one_by_one = self.takes == APART or states == 1
        last = f"[y[{':, -1' if rows_first else '-1'}][None]]"
        returned = "final" if self.has_passes else "[s[None] for s in final]"
        return SOURCE.format(
            state="[s[0] for s in state]" if not self.has_passes else "list(state)",
            given="state" if one_by_one else "[tuple(state)]",
            final=last if self.alone else returned,
        )


TORCHS = CallForm()

TENSORS = """

def tensors(values):
    return [values] if torch.is_tensor(values) else [t for each in values for t in tensors(each)]

"""
"""The source of ``tensors`` for stand-alone scripts."""

SOURCE = (
    TENSORS
    + '''
def called(layer, x, state=None):
    """Call the layer in its own form; return y, and states with torch's axis of layers."""
    state = [] if state is None else tensors(state)
    state = {state}
    y, *final = tensors(layer(x, *({given} if state else [])))
    return y, {final}
'''
)
"""The source of ``CallForm.call`` without lengths, for stand-alone scripts."""


def tensors(torch: Any, values: Any) -> tuple[Any, ...]:
    """Return the tensors of nested tuples and lists, in their order."""
    if isinstance(values, torch.Tensor):
        return (values,)
    if not isinstance(values, (tuple, list)):
        raise TypeError(f"it returned {type(values).__name__}, no tensor")
    return tuple(tensor for value in values for tensor in tensors(torch, value))


def forms(forward: Callable[..., Any], states: int, *, batch_first: bool) -> Iterator[CallForm]:
    """Yield the forms that the arguments of ``forward`` allow, torch's first.

    With ``batch_first`` x has the batch first in all of them.
    """
    names = inspect.signature(forward).parameters.values()
    places = [p for p in names if p.kind is not p.KEYWORD_ONLY and p.name not in (*OF_ROWS, "self")]
    anything = any(p.kind is p.VAR_POSITIONAL for p in places)
    takes = [TOGETHER] if anything or len(places) > 1 else [NONE]
    if states > 1 and (anything or len(places) > states):
        takes.append(APART)
    for form in product((0, states), (True, False), takes, {batch_first, True}):
        alone, has_passes, way, first = form
        yield CallForm(first, NONE if alone > 1 else way, has_passes, alone)
    for way, first in product(takes, {batch_first, True}):
        yield CallForm(first, way, listed=states)


@dataclass(frozen=True)
class FormSearch:
    """A search for the form in which a class is called, by calls on one random input.

    ``run`` calls the class in a form, and raises what it raises; ``shapes`` are those of its
    parameters, ``states`` is the number of its states.
    """

    run: Callable[[CallForm, Inputs], Result]
    case: Case
    shapes: Mapping[str, tuple[int, ...]]
    states: int

    def best(self, candidates: Collection[CallForm]) -> CallForm | None:
        """Return the form in which rows depend on their own arguments; None if it runs in none.

        Next best are torch's states that come back in other shapes, then states that are ignored
        or reach other rows, then outputs of another shape: the checks will say so. Raises
        SubjectUnavailable if c is withheld.
        """
        fits: dict[CallForm, str] = {}
        for form in candidates:
            fits[form] = self._fit(form)
            if fits[form] == OWN_ROWS:
                return form
        if WITHHELD in fits.values():
            raise SubjectUnavailable(
                "it returns y without c, and from y alone nobody can tell what c was: let it "
                "return y, (h, c)"
            )
        best = min(fits, key=lambda form: (RANKS.index(fits[form]), self._starts_apart(form)))
        return None if fits[best] == NO_FIT else best

    def _inputs(self, form: CallForm) -> Inputs:
        """Return the arguments of a call in a form."""
        case = self.case
        draw = case.normal
        named = {name: draw(f"form {name}", shape, 0.35) for name, shape in self.shapes.items()}
        x = draw("form x", (case.T, case.B, case.D))
        state = tuple(draw(f"form {k}", (1, case.B, case.H)) for k in range(self.states))
        return Inputs(named, x, None if form.takes == NONE else state, None)

    def _fit(self, form: CallForm) -> str:
        """Return one of ``RANKS``; a class without initial states fits by its x alone."""
        case, inputs = self.case, self._inputs(form)
        try:
            result = self.run(form, inputs)
            same_states = [s.shape for s in result.final] == [(1, case.B, case.H)] * self.states
            if result.y.shape != (case.T, case.B, case.H):
                return OTHER_OUTPUTS if same_states else NO_FIT
            if len(result.final) < self.states > 1:
                return WITHHELD
            own = self._by_row(form, inputs, result)
        except SubjectUnavailable:
            raise
        except Exception:  # the class's own: it is not called so
            return NO_FIT
        if own is None:
            return NO_FIT
        if not same_states:
            return OTHER_SHAPES if own and form.has_passes else NO_FIT
        return OWN_ROWS if own else OTHER_ROWS

    def _starts_apart(self, form: CallForm) -> bool:
        """Whether states come back in other shapes from a call without a state than it takes."""
        try:
            final = self.run(form, self._inputs(replace(form, takes=NONE))).final
        except SubjectUnavailable:
            raise
        except Exception:  # the class's own
            return False
        return any(s.shape != (1, self.case.B, self.case.H) for s in final)

    def _by_row(self, form: CallForm, inputs: Inputs, result: Result) -> bool | None:
        """Whether one row of the states changes its row of y alone; None for no recurrence.

        States tell which axis is that of the rows. Of a class that returns y alone only the
        recurrence does, which a row has over its steps; a cell that broadcasts its h has none.
        """
        by_x = self.run(form, replace(inputs, x=_changed(inputs.x))).y != result.y
        if form.alone and not by_x[1:, ROW].any():
            return None
        if inputs.state is None:
            return True
        states = tuple(map(_changed, inputs.state))
        by_state = self.run(form, replace(inputs, state=states)).y != result.y
        return np.array_equal(by_state.any((0, 2)), np.arange(self.case.B) == ROW)


def _changed(array: Floats) -> Floats:
    """Return a copy with other values in one row of the first step or pass."""
    changed = array.copy()
    changed[0, ROW] += 1.0
    return changed
