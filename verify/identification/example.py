"""One recorded run of a system that is not here: weights, inputs, and what came back.

Arrays are recognised by their names, or their roles are given; which axis is that of the steps
follows from their shapes. What had to be assumed is kept, to be said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Sizes
from ..numbers.arithmetic import HALVES
from .probe import Unreadable

NAMES = {
    "x": ("x", "input", "inputs"),
    "y": ("y", "output", "outputs", "out"),
    "initial h": ("h0", "initialh", "inith", "hinit", "hprev"),
    "initial c": ("c0", "initialc", "initc", "cinit", "cprev"),
    "final h": ("hn", "finalh", "yh", "hfinal", "hlast", "ht"),
    "final c": ("cn", "finalc", "yc", "cfinal", "clast", "ct"),
    "lengths": ("lengths", "length", "seqlengths", "seqlens", "sequencelength", "sequencelengths"),
}
"""What arrays are called, in small letters and without signs."""

GRADIENT = "gradient of "
"""What stands before a role, or a parameter's name, in the role of its gradient."""

GRADIENTS = ("d{}", "grad{}", "gradient{}", "gradof{}", "gradientof{}", "{}grad", "{}gradient")
"""What gradients are called, of an array called ``{}``."""

RESULTS = ("y", "final h", "final c")
"""Roles of what a system returns; their gradients are given to it, the others it returns."""

PLACES, MANY = 6, 4
"""Decimal places that are taken for a printer's, if so many different numbers have no others."""

Cotangents: TypeAlias = tuple["Array | None", tuple["Array | None", ...]]


@dataclass(frozen=True)
class Example:
    """One run of one layer: x (T, B, D), y (T, B, width), states (B, width); None: not there.

    ``gradients`` are by role, ``x``, ``initial h``, or by the name of a parameter; they are those
    of a loss whose gradients by the results are ``cotangents``, None where that is not said.
    ``axes`` says how the arrays lay, ``assumed`` what was not in them; ``printed``: all numbers
    are printed with so many decimal places.
    """

    parameters: Mapping[str, Array]
    x: Array
    y: Array | None
    state: tuple[Array, ...] | None
    final: tuple[Array | None, ...]
    dtype: str
    rows_first: bool = False
    axes: str = "steps first (T, B, D)"
    lengths: Array | None = None
    gradients: Mapping[str, Array] = field(default_factory=dict)
    cotangents: Cotangents | None = None
    assumed: tuple[str, ...] = ()
    printed: int | None = None

    @property
    def unit(self) -> float:
        """How far a printed number may be from the one that was computed."""
        return 0.0 if self.printed is None else 0.5 * 10.0**-self.printed

    @property
    def steps(self) -> int:
        """T."""
        return int(self.x.shape[0])

    @property
    def rows(self) -> int:
        """B."""
        return int(self.x.shape[1])

    @property
    def outputs(self) -> dict[str, Array]:
        """What was returned, by name."""
        named = {"y": self.y} | {f"final {s}": a for s, a in zip("hc", self.final, strict=False)}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def sizes(self) -> Sizes:
        """The widths; an LSTM whose c is wider than its h projects."""
        states = [*(self.state or (None, None)), *self.final]
        width = next(a.shape[-1] for a in (self.y, *self.final[:1], *states) if a is not None)
        inner = next((a.shape[-1] for a in (*states[1:2], *self.final[1:]) if a is not None), width)
        return Sizes(self.x.shape[-1], inner, width if width != inner else None)

    @cached_property
    def shown(self) -> Array:
        """Which steps of which rows belong to a sequence, (T, B)."""
        ends = np.full(self.rows, self.steps) if self.lengths is None else self.lengths
        return np.asarray(np.arange(self.steps)[:, None] < ends)

    @property
    def padded(self) -> str:
        """What stands in y after the end of a row: "", ``zeros`` or ``others``."""
        if self.y is None or self.shown.all():
            return ""
        return "others" if self.y[~self.shown].any() else "zeros"

    def part(self, steps: int, rows: int) -> Example:
        """Return its first steps and rows, outputs alone; the whole where it has no y."""
        if self.y is None or (self.steps <= steps and self.rows <= rows):
            return self
        state = None if self.state is None else tuple(s[:rows] for s in self.state)
        ends = None if self.lengths is None else np.minimum(self.lengths[:rows], steps)
        return replace(
            self, x=self.x[:steps, :rows], y=self.y[:steps, :rows], state=state, lengths=ends,
            final=tuple(None for _ in self.final), gradients={}, cotangents=None,
        )  # fmt: skip


def plain(name: str) -> str:
    """Return a name in small letters and without signs."""
    return re.sub(r"[\W_]", "", name.lower())


def roles(arrays: Mapping[str, Array], given: Mapping[str, str]) -> dict[str, str]:
    """Return which array plays which role; ``given`` says so by name and role.

    Unreadable if there is no input or no output, or if two arrays may be the same.
    """
    known = dict(given)
    for role, name in known.items():
        base = role.removeprefix(GRADIENT)
        if name not in arrays or not (base in NAMES or (base != role and base in arrays)):
            allowed = ", ".join(arrays if name not in arrays else (*NAMES, f"{GRADIENT}NAME"))
            raise Unreadable(f"--role '{role}={name}': expected one of {allowed}")
    for role, names in NAMES.items():
        _recognise(role, names, arrays, known)
    if "x" not in known:
        raise Unreadable(f"which of {', '.join(arrays)} is the input? say --role x=NAME")
    if not {"y", "final h"} & known.keys():
        raise Unreadable(
            f"which of {', '.join(arrays)} is the output? say --role y=NAME; without one there is "
            "nothing to explain"
        )
    for role, names in NAMES.items():
        called = (*names, *(plain(known[r]) for r in (role,) if r in known))
        _recognise(f"{GRADIENT}{role}", _of_gradients(called), arrays, known)
    for name in arrays:
        if name not in known.values():
            _recognise(f"{GRADIENT}{name}", _of_gradients([plain(name)]), arrays, known)
    if not arrays.keys() - known.values():
        raise Unreadable(
            f"there are no weights beside {', '.join(arrays)}: save them, too; without them any "
            "output may be right"
        )
    return known


def _of_gradients(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(form.format(name) for name in names for form in GRADIENTS)


def _recognise(
    role: str, names: Sequence[str], arrays: Mapping[str, Array], known: dict[str, str]
) -> None:
    """Enter the array of a role, by its name, among those that are known."""
    called = [n for n in arrays if plain(n) in names and n not in known.values()]
    if role in known or not called:
        return
    if len(called) > 1:
        raise Unreadable(f"{' and '.join(called)} may both be {role}: say --role '{role}=NAME'")
    known[role] = called[0]


@dataclass(frozen=True)
class Axes:
    """One way in which arrays of steps may lie: in words, and how they become (T, B, width)."""

    words: str
    turned: Callable[[Array], Array]
    rows_first: bool = False


AXES = {
    1: (Axes("one step of one row (D,)", lambda a: a[None, None]),),
    2: (Axes("one row (T, D)", lambda a: a[:, None]), Axes("one step (B, D)", lambda a: a[None])),
    3: (
        Axes("steps first (T, B, D)", lambda a: a),
        Axes("rows first (B, T, D)", lambda a: a.swapaxes(0, 1), rows_first=True),
    ),
}
"""The ways, by the number of axes that the input has."""


def examples(
    arrays: Mapping[str, Array], given: Mapping[str, str], cell: str, dtype: str | None = None
) -> list[Example]:
    """Return the example that arrays are, once for every axis that may be that of the steps.

    Unreadable if none can be, or if lengths are none.
    """
    role = roles(arrays, given)
    several = sorted(n for n in arrays if re.search(r"_l[1-9]|reverse|_bw\b|backward", n))
    if several:
        raise Unreadable(
            f"{', '.join(several[:3])}: these are several layers or directions; give the arrays of "
            "one layer and direction at a time"
        )
    taken = {r: np.asarray(arrays[n]) for r, n in role.items()}
    x = taken["x"]
    if x.ndim not in AXES:
        raise Unreadable(f"{role['x']}: expected an input of up to three axes, got {x.ndim}")
    if "lengths" in taken:
        _check_lengths(taken["lengths"], max(x.shape[:-1]))
    parameters = _parameters(
        {n: np.asarray(a) for n, a in arrays.items() if n not in role.values()}
    )
    fitting = [
        example
        for axes in AXES[x.ndim]
        if (example := _example(cell, parameters, taken, axes, dtype)) is not None
    ]
    if not fitting:
        shapes = ", ".join(f"{name} {list(np.shape(a))}" for name, a in arrays.items())
        raise Unreadable(f"no axis of the input can be that of the steps and rows: {shapes}")
    return fitting


def _example(
    cell: str,
    parameters: Mapping[str, Array],
    taken: Mapping[str, Array],
    axes: Axes,
    dtype: str | None,
) -> Example | None:
    """Return what arrays are if their axes are these; None if they cannot be."""
    x = taken["x"]
    turned = axes.turned(x)
    T, B = turned.shape[:2]
    letters = "hc" if cell == "lstm" else "h"

    def steps(role: str) -> Array | None:
        return _steps(taken[role], x.ndim, axes) if role in taken else None

    def states(before: str) -> list[Array | None]:
        named = (taken.get(f"{before} {letter}") for letter in letters)
        return [None if s is None else _rows(s) for s in named]

    y, final, dy = steps("y"), states("final"), steps(f"{GRADIENT}y")
    dfinal = states(f"{GRADIENT}final")
    if y is None and "y" in taken:  # the last output alone, as Keras returns it
        final[0] = _rows(taken["y"]) if final[0] is None else final[0]
        dfinal[0] = _rows(taken[f"{GRADIENT}y"]) if f"{GRADIENT}y" in taken else dfinal[0]
    initial, gradients = states("initial"), states(f"{GRADIENT}initial")
    state, assumed = _started(initial, gradients, final, y, turned)
    of = {f"initial {s}": d for s, d in zip(letters, gradients, strict=True) if d is not None}
    named = {r.removeprefix(GRADIENT): a for r, a in taken.items() if r.startswith(GRADIENT)}
    of |= {n: d for n, d in _parameters(named).items() if n in parameters}
    if (dx := steps(f"{GRADIENT}x")) is not None:
        of["x"] = dx
    given = dy is not None or any(d is not None for d in dfinal)
    whole = [a for a in (y, *final, dy, *dfinal, *(initial if state else ())) if a is not None]
    ends = taken.get("lengths")
    results = [taken[r] for r in RESULTS if r in taken]
    example = Example(
        parameters, turned, y, state, tuple(final), dtype or _dtype([x, *results]),
        axes.rows_first, axes.words, None if ends is None else ends.astype(int),
        of, (dy, tuple(dfinal)) if given else None, assumed, _places(results),
    )  # fmt: skip
    fits = all(a.shape[:2] == (T, B) if a.ndim == 3 else a.shape[0] == B for a in whole)
    same = all(d.shape == parameters[n].shape for n, d in of.items() if n in parameters)
    if not same:
        raise Unreadable("a gradient has another shape than what it is of")
    within = ends is None or (ends.shape == (B,) and bool((ends <= T).all()))
    return example if fits and within else None


def _parameters(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return arrays; of biases without axes of length 1, and two in one array apart."""
    parameters = {}
    for name, array in arrays.items():
        bias = plain(name).startswith("b") or "bias" in plain(name)
        if bias and array.ndim == 2 and 1 in array.shape:
            parameters[name] = array.reshape(-1)
        elif bias and array.ndim == 2 and len(array) == 2:  # Keras's GRU that resets after
            parameters |= {f"{name}[{k}]": array[k] for k in range(2)}
        else:
            parameters[name] = array
    return parameters


def _steps(array: Array, axes: int, layout: Axes) -> Array | None:
    """Return (T, B, width), without an axis of one direction; None for what has no steps."""
    if array.ndim == 4:
        array = next((array.squeeze(k) for k in (1, 0) if array.shape[k] == 1), array)
    return layout.turned(array) if array.ndim == axes else None


def _rows(state: Array) -> Array:
    """Return a state as (B, width): leading axes of length 1 are those of layers, directions."""
    while state.ndim > 2:
        state = state[0] if state.shape[0] == 1 else state[:, 0]
    return state[None] if state.ndim == 1 else state


def _started(
    initial: Sequence[Array | None],
    gradients: Sequence[Array | None],
    final: Sequence[Array | None],
    y: Array | None,
    x: Array,
) -> tuple[tuple[Array, ...] | None, tuple[str, ...]]:
    """Return the initial state, None for the layer's own, and what is assumed of it."""
    names = ["initial " + "hc"[k] for k, s in enumerate(initial) if s is None]
    assumed = (f"no {' and '.join(names)} in the file: zeros are assumed",) if names else ()
    if all(s is None for s in (*initial, *gradients)):
        return None, assumed
    known = [a for a in (*initial, *final, y) if a is not None]

    def zeros(k: int) -> Array:
        width = next(a.shape[-1] for a in (initial[k], final[k], *known) if a is not None)
        return np.zeros((x.shape[1], width), x.dtype)

    return tuple(zeros(k) if s is None else s for k, s in enumerate(initial)), assumed


def _check_lengths(given: Array, longest: int) -> None:
    """Raise Unreadable if lengths are none."""
    if (given.astype(int) != given).any() or (given < 0).any() or (given > longest).any():
        said = given.astype(float).tolist()
        raise Unreadable(f"lengths: expected whole numbers from 0 to {longest}, got {said}")


def _dtype(results: Sequence[Array]) -> str:
    """Return the coarsest dtype that holds every number of the results, or that they print."""
    for name in HALVES:
        if all(str(a.dtype) == name for a in results):
            return name
    for name in ("float32", "float64"):
        if all(_held(a, name) for a in results):
            return name
    return "float64"


def _held(array: Array, name: str) -> bool:
    """Whether a dtype holds these numbers, or prints them so: 0.1 is no number of float32."""
    near = array.astype(name)
    printed = near.astype(str).astype(np.float64)
    return np.array_equal(near.astype(np.float64), array) or np.array_equal(printed, array)


def _places(arrays: Sequence[Array]) -> int | None:
    """Return the decimal places that all numbers are printed with; None if there are more."""
    numbers = np.unique(np.concatenate([a.ravel() for a in arrays]))
    numbers = numbers[numbers != np.round(numbers)]  # 0 and 1 are what gates saturate at
    for places in range(1, PLACES + 1):
        near = np.round(numbers.astype(np.float64), places).astype(numbers.dtype)
        if np.array_equal(near, numbers) and len(numbers) >= MANY:
            return places
    return None
