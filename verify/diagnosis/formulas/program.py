"""A cell's program: statements that can be parsed, edited and run on arrays."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from types import CodeType
from typing import Any

import numpy as np

from ....reference import functions
from ....reference.cell import State
from ....reference.cells import cell_named
from ....reference.cells.lstm_layer_norm import EPSILON
from ....reference.cells.minimal import positive, positive_vjp
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ....reference.sequence import choose, only
from .activations import ACTIVATIONS, OF_ROWS
from .texts_of_families import ALL


class NoProgram(RuntimeError):
    """The cell has no program to edit."""


Order = Callable[[int], Sequence[int]]
"""A function from the number of steps to the order in which the backward pass visits them."""


def last_first(steps: int) -> Sequence[int]:
    """Return T - 1, ..., 0."""
    return range(steps - 1, -1, -1)


def rebuilt(node: ast.expr, leaf: Callable[[ast.Name], ast.expr], *, calls: bool) -> ast.expr:
    """Return an expression with names replaced; with ``calls`` it can be compiled.

    Powers become calls then, as traced arrays have products and no powers.
    """

    def again(node: ast.expr) -> ast.expr:
        result: ast.expr = node
        match node:
            case ast.Name():
                result = leaf(node)
            case ast.BinOp(base, ast.Pow(), ast.Constant(power)) if calls:
                function = again(ast.Name(f"power_{power!r}", ast.Load()))
                result = ast.Call(function, [again(base)], [])
            case ast.BinOp(left, op, right):
                result = ast.BinOp(again(left), op, again(right))
            case ast.UnaryOp(op, operand):
                result = ast.UnaryOp(op, again(operand))
            case ast.Attribute(value, attr):
                result = ast.Attribute(again(value), attr, ast.Load())
            case ast.Call(function, arguments):
                result = ast.Call(again(function), [again(a) for a in arguments], [])
        if calls:
            result.lineno, result.col_offset = 1, 0
        return result

    return again(node)


_GLOBALS: dict[str, Any] = {}
"""The globals of statements: Python's own names, which ``eval`` inserts once."""


@dataclass(frozen=True)
class Statement:
    """``target = value``; a ``slot``, a gradient of parameters, ``adds`` up over the steps."""

    target: str
    value: ast.expr = field(compare=False)
    slot: bool = False
    adds: bool = False

    @cached_property
    def code(self) -> CodeType:
        """The compiled value."""
        tree = ast.Expression(rebuilt(self.value, lambda n: n, calls=True))
        return compile(tree, self.target, "eval")

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that the value reads."""
        return frozenset(n.id for n in ast.walk(self.value) if isinstance(n, ast.Name))

    def evaluated(self, values: Mapping[str, Array]) -> Array:
        """Return the value by the values of the names it reads; that of an edit may raise."""
        value: Array = eval(self.code, _GLOBALS, values)  # noqa: S307 - gatewise's own code
        return value

    def with_value(self, value: ast.expr) -> Statement:
        """Return the statement with another right side."""
        return replace(self, value=value)


@dataclass(frozen=True)
class Program:
    """A forward step; the start, the step and the end of the backward pass; the order of steps.

    ``start`` and ``end`` run once, the backward step for each step in ``order``. ``x_at`` returns
    the index at which a step's dx is stored.
    """

    cell: str
    forward: tuple[Statement, ...]
    start: tuple[Statement, ...]
    back: tuple[Statement, ...]
    end: tuple[Statement, ...]
    order: Order = last_first
    x_at: Callable[[int, int], int] = lambda t, steps: t

    def section(self, name: str) -> tuple[Statement, ...]:
        """Return the statements of a section by its name."""
        statements: tuple[Statement, ...] = getattr(self, name)
        return statements

    @cached_property
    def lines(self) -> dict[str, tuple[int, Statement]]:
        """The statements of the step with their numbers, by their targets."""
        return {s.target: (k, s) for k, s in enumerate(self.forward)}

    def with_statements(self, section: str, changed: Mapping[int, Statement]) -> Program:
        """Return the program with some statements of a section replaced."""
        new = tuple(changed.get(k, s) for k, s in enumerate(self.section(section)))
        return replace(self, **{section: new})  # type: ignore[arg-type]

    @cached_property
    def ordered(self) -> tuple[Statement, ...]:
        """The statements of the step, each after those that it reads; NameError for a cycle."""
        later, done, computed = [*self.forward], list[Statement](), set[str]()
        while later:
            for k, s in enumerate(later):
                before, all_targets = (
                    {o.target for o in statements if o is not s}
                    for statements in (later[:k], later)
                )
                if s.names.isdisjoint(before) and not (s.names - computed) & all_targets:
                    break
            else:
                raise NameError(f"{later[0].target} is computed from itself")
            done.append(later.pop(k))
            computed.add(s.target)
        return tuple(done)

    def step(self, p: Mapping[str, Array], x: Array, state: State) -> tuple[State, Values]:
        """Return the next state and all values of one step."""
        states = cell_named(self.cell).states
        values = Values(p)
        values["x"] = x
        values.update({f"{s}_old": a for s, a in zip(states, state, strict=True)})
        for statement in self.ordered:
            values[statement.target] = statement.evaluated(values)
        return tuple(values[f"{s}_new"] for s in states), values

    def run(
        self, p: Mapping[str, Array], x: Array, state: State, lengths: Array | None = None
    ) -> Run:
        """Run over x (T, B, D) from a state; rows that have ended keep their state."""
        steps: list[Values] = []
        outputs: list[Array] = [np.zeros((0, *state[0].shape), state[0].dtype)]
        for t in range(len(x)):
            active = None if lengths is None else (t < np.asarray(lengths))[:, None]
            new, values = self.step(p, only(active, x[t]), state)
            steps.append(values)
            state = tuple(choose(active, n, old) for n, old in zip(new, state, strict=True))
            outputs.append(only(active, new[0])[None])
        return Run(self, p, steps, np.concatenate(outputs), state, x, lengths)


@dataclass(frozen=True)
class Run:
    """A forward run of a program: outputs, final state, and the values of every step."""

    program: Program
    p: Mapping[str, Array]
    steps: list[Values]
    y: Array
    final: State
    x: Array
    lengths: Array | None

    def values_back(self, dy: Array, dfinal: State, program: Program | None = None) -> Values:
        """Return all values of the backward pass at its last step."""
        gradients: dict[str, Array] = {"dx": np.zeros_like(self.x)}
        values = self._run_backward(program or self.program, dy, dfinal, gradients)
        return Values({**values, **gradients})

    def pull(self, dy: Array, dfinal: State, program: Program | None = None) -> dict[str, Array]:
        """Return all gradients by name: dW_i, ..., dx (T, B, D), and d0_h, d0_c."""
        gradients: dict[str, Array] = {"dx": np.zeros_like(self.x)}
        self._run_backward(program or self.program, dy, dfinal, gradients)
        return gradients

    def _run_backward(
        self, program: Program, dy: Array, dfinal: State, gradients: dict[str, Array]
    ) -> Values:
        states, T = cell_named(program.cell).states, len(self.steps)
        values = Values(self.p)
        values.update({f"d{s}_final": d for s, d in zip(states, dfinal, strict=True)})
        values.update(T=T, B=len(dy[0]) if T else 1)
        for statement in program.start:
            values[statement.target] = statement.evaluated(values)
        last_values = values
        for t in program.order(T):
            last_values = self._step_back(program, values, t, dy, gradients)
        last_values.update({f"d{s}_next": values[f"d{s}_next"] for s in states})
        for statement in program.end:
            gradients[statement.target] = statement.evaluated(last_values)
        return last_values

    def _step_back(
        self, program: Program, values: Values, t: int, dy: Array, gradients: dict[str, Array]
    ) -> Values:
        """Add a step's gradients to ``found``; return the values of the step."""
        states, T = cell_named(program.cell).states, len(self.steps)
        live = None if self.lengths is None else np.flatnonzero(t < np.asarray(self.lengths))
        carried = {f"d{s}_next": values[f"d{s}_next"] for s in states}
        values_of_step = Values(values, self, t, live, dy)
        values_of_step.update({name: _selected_rows(d, live) for name, d in carried.items()})
        for statement in program.back:
            value = statement.evaluated(values_of_step)
            target = statement.target
            if statement.slot:
                before = statement.adds and target in gradients
                gradients[target] = gradients[target] + value if before else value
            else:
                values_of_step[target] = value
        at = program.x_at(t, T)
        for s in states:
            values[f"d{s}_next"] = _with_rows(
                carried[f"d{s}_next"], values_of_step[f"d{s}_old"], live
            )
        if 0 <= at < T:
            gradients["dx"][at] = _with_rows(0 * gradients["dx"][at], values_of_step["dx"], live)
        return values_of_step


class Values(dict[str, Array]):
    """Values by name; those of saved steps are looked up when the program reads them.

    ``i`` is the value of step t, ``i__prev_zero`` that of step t - 1, or 0 if there is none;
    ``_wrap``: by Python's negative index, ``_edge``: of the nearest step. ``mirror`` is step
    T - 1 - t. ``first`` and ``last`` are 1 at such steps, ``row_is_first`` and ``row_is_last`` for
    such rows.
    """

    def __init__(
        self,
        p: Mapping[str, Array],
        run: Run | None = None,
        t: int = 0,
        live: Array | None = None,
        dy: Array | None = None,
    ) -> None:
        """Set the parameters by name, and the visited step of a run."""
        super().__init__(p)
        self._run, self._t, self._live, self._dy = run, t, live, dy

    def __missing__(self, name: str) -> Array:
        if self._run is None:
            raise KeyError(name)
        T, (plain, _, shift) = len(self._run.steps), name.partition("__")
        if plain in ENDS:
            value = self._end(self._run, plain)
        else:
            way, _, beyond = shift.partition("_")
            mirrored = T - 1 - 2 * self._t
            t = self._t + {"": 0, "prev": -1, "next": 1, "mirror": mirrored}[way]
            inside = 0 <= t < T
            t = t % T if beyond == "wrap" else min(max(t, 0), T - 1)
            array = self._dy[t] if plain == "dy" and self._dy is not None else None
            array = self._run.steps[t][plain] if array is None else array
            value = _selected_rows(array, self._live)
            value = value if inside or beyond != "zero" else 0 * value
        self[name] = value
        return value

    def _end(self, run: Run, which: str) -> Array:
        """Return 1 for rows at their first or last step, or for the first or last row; (B, 1)."""
        B, T = run.x.shape[1], len(run.steps)
        ends = np.full(B, T) if run.lengths is None else np.asarray(run.lengths)
        at = {
            "first": np.zeros(B) == self._t,
            "last": ends - 1 == self._t,
            "row_is_first": np.arange(B) == 0,
            "row_is_last": np.arange(B) == B - 1,
        }[which]
        return _selected_rows(at[:, None].astype(run.x.dtype), self._live)


ENDS = ("first", "last", "row_is_first", "row_is_last")
"""Names that are 1 at an end and 0 elsewhere."""


def _selected_rows(array: Array, live: Array | None) -> Array:
    return array if live is None else array[live]


def _with_rows(full: Array, part: Array, live: Array | None) -> Array:
    if live is None:
        return part
    full = full.copy()
    full[live] = part
    return full


def named(p: Parameters) -> dict[str, Any]:
    """Return parameters by a program's names, W_i, ..., b_hn, and the functions it calls."""
    return {**FUNCTIONS, **{name: getattr(p, name) for name in p.names()}}


def gradient(p: Parameters, gradients: Mapping[str, Array]) -> Parameters:
    """Return the gradients of parameters; 0 for those that a program omits."""

    def slot(name: str) -> Array:
        like = getattr(p, name)
        d = gradients.get(f"d{name}")
        return np.zeros_like(like) if d is None else np.broadcast_to(d, like.shape)

    arrays = {
        name: np.stack([slot(f"{name}_{gate}") for gate in shape.gates]) if shape.gates
        else slot(name)
        for name, shape in p.shapes.items()
    }  # fmt: skip
    return Parameters(p.shapes, arrays)


@cache
def program_of(cell: str) -> Program | None:
    """Return the program of a cell, None if it has no text."""
    text = ALL.get(cell)
    if text is None:
        return None
    states, gates = cell_named(cell).states, cell_named(cell).gates
    start = "\n".join(f"d{s}_next = d{s}_final" for s in states)
    end = "\n".join(f"d0_{s} = d{s}_next" for s in states)
    forward, first, back, last = (
        tuple(_statements(part, gates)) for part in (text.forward, start, text.backward, end)
    )
    return Program(cell, forward, first, back, last)


def right_program(cell: str) -> Program:
    """Return the program of a cell that has a text."""
    program = program_of(cell)
    if program is None:
        raise NoProgram(f"there is no program of {cell}")
    return program


def _statements(text: str, gates: Sequence[str]) -> Iterator[Statement]:
    for line in filter(None, map(str.strip, text.splitlines())):
        names, colon, rest = line.rpartition(": ")
        over = [g.strip() for g in names.split(",")] if colon else gates
        many = re.search(r"_k\b", rest)
        for gate in over if many else [""]:
            yield statement(re.sub(r"_k\b", f"_{gate}", rest))


def statement(line: str) -> Statement:
    """Parse a line of a text as a statement."""
    tree = ast.parse(line).body[0]
    if isinstance(tree, ast.AugAssign) and isinstance(tree.target, ast.Name):
        return Statement(tree.target.id, tree.value, slot=True, adds=True)
    assert isinstance(tree, ast.Assign)  # noqa: S101 - texts have no others
    assert isinstance(tree.targets[0], ast.Name)  # noqa: S101
    return Statement(tree.targets[0].id, tree.value)


def expression(text: str) -> ast.expr:
    """Parse a text as an expression."""
    return ast.parse(text, mode="eval").body


def mean_of(*arrays: Array) -> Array:
    """Return the mean over all entries of each row of several arrays together, (..., B, 1)."""
    total, *others = (a.sum(axis=-1)[..., None] for a in arrays)
    for part in others:
        total = total + part
    return total / sum(a.shape[-1] for a in arrays)


def deviation_of(
    *arrays: Array, inside: float = EPSILON, outside: float = 0.0, less: int = 0
) -> Array:
    """Return the standard deviation likewise, with constants inside and outside of the root.

    The sum of squares is divided by the number of entries minus ``less``.
    """
    number = sum(a.shape[-1] for a in arrays)
    centred = [a - mean_of(*arrays) for a in arrays]
    by = float(number / (number - less)) if number > less else float("nan")
    variance = mean_of(*(a * a for a in centred)) * by
    return np.sqrt(variance + inside) + outside


DEVIATIONS: Mapping[str, tuple[Callable[..., Array], str]] = {
    "deviation_less_1": (partial(deviation_of, less=1), "the variance is divided by n - 1, not n"),
    "deviation_outside": (
        partial(deviation_of, inside=0.0, outside=EPSILON),
        "epsilon is added to the deviation, not to the variance",
    ),
    "deviation_both": (
        partial(deviation_of, inside=0.0, outside=EPSILON, less=1),
        "epsilon is added to the deviation, not to the variance, which is divided by n - 1",
    ),
    "deviation_alone": (partial(deviation_of, inside=0.0), "no epsilon is added to the variance"),
    **{f"deviation_{k}": (
        partial(deviation_of, inside=10.0**-k), f"epsilon is 1e-{k}, not {EPSILON:g}"
    )
    for k in (3, 4, 6, 8, 12)},
}  # fmt: skip
"""Deviations that are computed otherwise, and how."""


FUNCTIONS: dict[str, Callable[..., Array]] = {
    **{name: function for name, (function, _) in ACTIVATIONS.items()},
    **{name: function for name, (function, _) in OF_ROWS.items()},
    "tanh": np.tanh,
    "sigmoid": functions.sigmoid,
    "relu": functions.relu,
    "identity": lambda a: a,
    "above_0": positive,
    "slope_above_0": lambda a: positive_vjp(a, np.ones((), a.dtype))[0],
    "positive": lambda y: (y > 0).astype(y.dtype),
    "rows": lambda a: a.sum(axis=0),
    "mean_rows": lambda a: a.mean(axis=0),
    "first_row": lambda a: a[0],
    "last_row": lambda a: a[-1],
    "clip": lambda a: np.clip(a, -1, 1),
    "sign": np.sign,
    "mean_of": mean_of,
    "deviation_of": deviation_of,
    **{name: function for name, (function, _) in DEVIATIONS.items()},
    "power_0.5": np.sqrt,
    "power_2": lambda a: a * a,
    "power_3": lambda a: a * a * a,
    "power_4": lambda a: a * a * a * a,
}
