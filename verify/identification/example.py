"""One recorded run of a system that is not available: weights, inputs and results.

Arrays are recognised by their names, or have stated roles; the axis of the steps follows from their
shapes. Assumptions are recorded, to be reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from ...reference.arrays import Floats
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
"""The names of arrays by their roles, in small letters and without punctuation."""

GRADIENT = "gradient of "
"""The prefix of a role, or of a parameter's name, in the role of its gradient."""

GRADIENTS = ("d{}", "grad{}", "gradient{}", "gradof{}", "gradientof{}", "{}grad", "{}gradient")
"""The names of the gradient of an array ``{}``."""

RESULTS = ("y", "final h", "final c")
"""The roles of results; their gradients are arguments of the system, the others results."""

PLACES, MANY = 6, 4
"""The most decimal places of printed numbers, and the fewest different numbers that show it."""

Cotangents: TypeAlias = tuple["Floats | None", tuple["Floats | None", ...]]


@dataclass(frozen=True)
class Example:
    """One run of one layer: x (T, B, D), y (T, B, width), states (B, width); None if missing.

    ``gradients`` are by role, ``x``, ``initial h``, or by the name of a parameter; they belong to a
    loss whose gradients by the results are ``cotangents``, None if not stated. ``axes`` describes
    the original axes, ``assumed`` the assumptions; ``printed`` is the number of decimal places of
    printed numbers.
    """

    parameters: Mapping[str, Floats]
    x: Floats
    y: Floats | None
    state: tuple[Floats, ...] | None
    final: tuple[Floats | None, ...]
    dtype: str
    rows_first: bool = False
    axes: str = "steps first (T, B, D)"
    lengths: Floats | None = None
    gradients: Mapping[str, Floats] = field(default_factory=dict)
    cotangents: Cotangents | None = None
    assumed: tuple[str, ...] = ()
    printed: int | None = None

    @property
    def unit(self) -> float:
        """The largest difference of a printed number from the computed one."""
        return 0.0 if self.printed is None else 0.5 * 10.0**-self.printed

    @property
    def steps(self) -> int:
        """The number of steps, T."""
        return int(self.x.shape[0])

    @property
    def rows(self) -> int:
        """The number of rows, B."""
        return int(self.x.shape[1])

    @property
    def outputs(self) -> dict[str, Floats]:
        """The results by name."""
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
    def shown(self) -> Floats:
        """The mask of steps that belong to a sequence, (T, B)."""
        ends = np.full(self.rows, self.steps) if self.lengths is None else self.lengths
        return np.asarray(np.arange(self.steps)[:, None] < ends)

    @property
    def padded(self) -> str:
        """The contents of y after the ends of rows: "" for no padding, ``zeros`` or ``others``."""
        if self.y is None or self.shown.all():
            return ""
        return "others" if self.y[~self.shown].any() else "zeros"

    def part(self, steps: int, rows: int) -> Example:
        """Return the first steps and rows, outputs alone; itself if it has no y."""
        if self.y is None or (self.steps <= steps and self.rows <= rows):
            return self
        state = None if self.state is None else tuple(s[:rows] for s in self.state)
        ends = None if self.lengths is None else np.minimum(self.lengths[:rows], steps)
        return replace(
            self, x=self.x[:steps, :rows], y=self.y[:steps, :rows], state=state, lengths=ends,
            final=tuple(None for _ in self.final), gradients={}, cotangents=None,
        )  # fmt: skip


def plain(name: str) -> str:
    """Return a name in small letters and without punctuation."""
    return re.sub(r"[\W_]", "", name.lower())


def roles(arrays: Mapping[str, Floats], stated: Mapping[str, str]) -> dict[str, str]:
    """Return the name of the array for each role; ``stated`` holds the user's.

    Unreadable if there is no input or no output, or if two arrays may have the same role.
    """
    names_by_role = dict(stated)
    for role, name in names_by_role.items():
        base = role.removeprefix(GRADIENT)
        if name not in arrays or not (base in NAMES or (base != role and base in arrays)):
            allowed = ", ".join(arrays if name not in arrays else (*NAMES, f"{GRADIENT}NAME"))
            raise Unreadable(f"--role '{role}={name}': expected one of {allowed}")
    plain_names = {name: plain(name) for name in arrays}
    for role, names in NAMES.items():
        _recognise(role, names, plain_names, names_by_role)
    if "x" not in names_by_role:
        raise Unreadable(f"which of {', '.join(arrays)} is the input? say --role x=NAME")
    if not {"y", "final h"} & names_by_role.keys():
        raise Unreadable(
            f"which of {', '.join(arrays)} is the output? say --role y=NAME; without one there is "
            "nothing to explain"
        )
    for role, names in NAMES.items():
        synonyms = (*names, *(plain(names_by_role[r]) for r in (role,) if r in names_by_role))
        _recognise(f"{GRADIENT}{role}", _gradient_names(synonyms), plain_names, names_by_role)
    for name in arrays:
        if name not in names_by_role.values():
            gradients = _gradient_names([plain_names[name]])
            _recognise(f"{GRADIENT}{name}", gradients, plain_names, names_by_role)
    if not arrays.keys() - names_by_role.values():
        raise Unreadable(
            f"there are no weights beside {', '.join(arrays)}: save them, too; without them any "
            "output may be right"
        )
    return names_by_role


def _gradient_names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(form.format(name) for name in names for form in GRADIENTS)


def _recognise(
    role: str, names: Sequence[str], plain_names: Mapping[str, str], names_by_role: dict[str, str]
) -> None:
    """Enter the array of a role into the known ones, by its plain name."""
    taken = names_by_role.values()
    matches = [n for n, bare in plain_names.items() if bare in names and n not in taken]
    if role in names_by_role or not matches:
        return
    if len(matches) > 1:
        raise Unreadable(f"{' and '.join(matches)} may both be {role}: say --role '{role}=NAME'")
    names_by_role[role] = matches[0]


@dataclass(frozen=True)
class Axes:
    """An order of axes, in words, with the conversion to (T, B, width)."""

    words: str
    turned: Callable[[Floats], Floats]
    rows_first: bool = False
    features_first: bool = False


AXES = {
    1: (Axes("one step of one row (D,)", lambda a: a[None, None]),),
    2: (
        Axes("one row (T, D)", lambda a: a[:, None]),
        Axes("one step (B, D)", lambda a: a[None]),
        Axes("one step, features first (D, B)", lambda a: a.T[None], features_first=True),
    ),
    3: (
        Axes("steps first (T, B, D)", lambda a: a),
        Axes("rows first (B, T, D)", lambda a: a.swapaxes(0, 1), rows_first=True),
        Axes("features first (D, B, T)", lambda a: a.transpose(2, 1, 0), features_first=True),
    ),
}
"""The possible orders, by the number of axes of the input."""


def examples(
    arrays: Mapping[str, Floats], stated: Mapping[str, str], cell: str, dtype: str | None = None
) -> list[Example]:
    """Return arrays as an example, once for every axis that may be that of the steps.

    Weights of x and h in one array are also split, with either part first. Unreadable if no axis
    can be, or for malformed lengths.
    """
    role = roles(arrays, stated)
    several = sorted(n for n in arrays if re.search(r"_l[1-9]|reverse|_bw\b|backward", n))
    if several:
        raise Unreadable(
            f"{', '.join(several[:3])}: these are several layers or directions; give the arrays of "
            "one layer and direction at a time"
        )
    by_role = {r: np.asarray(arrays[n]) for r, n in role.items()}
    x = by_role["x"]
    if x.ndim not in AXES:
        raise Unreadable(f"{role['x']}: expected an input of up to three axes, got {x.ndim}")
    if "lengths" in by_role:
        _check_lengths(by_role["lengths"], max(x.shape[:-1]))
    parameters = _parameters(
        {n: np.asarray(a) for n, a in arrays.items() if n not in role.values()}
    )
    fitting = [
        example
        for axes in AXES[x.ndim]
        if (example := _example(cell, parameters, by_role, axes, dtype)) is not None
    ]
    if not fitting:
        shapes = ", ".join(f"{name} {list(np.shape(a))}" for name, a in arrays.items())
        raise Unreadable(f"no axis of the input can be that of the steps and rows: {shapes}")
    return [variant for example in fitting for variant in (example, *_split(example))]


def _split(example: Example) -> Iterator[Example]:
    """Yield the example with weights of [x, h] as two arrays, then those of [h, x]."""
    sizes = example.sizes
    both = sizes.D + sizes.projected
    axes = {
        name: array.shape.index(both)
        for name, array in example.parameters.items()
        if array.ndim == 2 and both in array.shape and sum(array.shape) % sizes.H == both % sizes.H
    }
    packed = [*axes.values()] == [0]  # which the layout ``joint`` reads, with x first
    parts_first = (("D", sizes.D), ("H", sizes.projected))[packed:] if axes else ()
    for first, size in parts_first:

        def parts(
            arrays: Mapping[str, Floats], first: str = first, size: int = size
        ) -> dict[str, Floats]:
            split = dict[str, Floats]()
            for name, array in arrays.items():
                if name in axes:
                    upper, lower = np.split(array, [size], axis=axes[name])
                    rows = ":, " * axes[name]
                    split |= {f"{name}[{rows}:{first}]": upper, f"{name}[{rows}{first}:]": lower}
                else:
                    split[name] = array
            return split

        yield replace(
            example, parameters=parts(example.parameters), gradients=parts(example.gradients)
        )


def _example(
    cell: str,
    parameters: Mapping[str, Floats],
    by_role: Mapping[str, Floats],
    axes: Axes,
    dtype: str | None,
) -> Example | None:
    """Return the example if arrays have these axes; None if they cannot have them."""
    x = by_role["x"]
    turned = axes.turned(x)
    T, B = turned.shape[:2]
    letters = "hc" if cell == "lstm" else "h"

    def steps(role: str) -> Floats | None:
        return _steps(by_role[role], x.ndim, axes) if role in by_role else None

    def states(before: str) -> list[Floats | None]:
        named = (by_role.get(f"{before} {letter}") for letter in letters)
        return [None if s is None else _rows(s, axes) for s in named]

    y, final, dy = steps("y"), states("final"), steps(f"{GRADIENT}y")
    dfinal = states(f"{GRADIENT}final")
    if y is None and "y" in by_role:  # the last output alone, as Keras returns it
        final[0] = _rows(by_role["y"], axes) if final[0] is None else final[0]
        dfinal[0] = _rows(by_role[f"{GRADIENT}y"], axes) if f"{GRADIENT}y" in by_role else dfinal[0]
    initial, gradients = states("initial"), states(f"{GRADIENT}initial")
    state, assumed = _started(initial, gradients, final, y, turned)
    gradients_by_name = {
        f"initial {s}": d for s, d in zip(letters, gradients, strict=True) if d is not None
    }
    named = {r.removeprefix(GRADIENT): a for r, a in by_role.items() if r.startswith(GRADIENT)}
    gradients_by_name |= {n: d for n, d in _parameters(named).items() if n in parameters}
    if (dx := steps(f"{GRADIENT}x")) is not None:
        gradients_by_name["x"] = dx
    has_cotangents = dy is not None or any(d is not None for d in dfinal)
    with_rows = [a for a in (y, *final, dy, *dfinal, *(initial if state else ())) if a is not None]
    ends = by_role.get("lengths")
    results = [by_role[r] for r in RESULTS if r in by_role]
    example = Example(
        parameters, turned, y, state, tuple(final), dtype or _dtype([x, *results]),
        axes.rows_first, axes.words, None if ends is None else ends.astype(int),
        gradients_by_name, (dy, tuple(dfinal)) if has_cotangents else None, assumed,
        _places(results),
    )  # fmt: skip
    fits = all(a.shape[:2] == (T, B) if a.ndim == 3 else a.shape[0] == B for a in with_rows)
    same = all(
        d.shape == parameters[n].shape for n, d in gradients_by_name.items() if n in parameters
    )
    if not same:
        raise Unreadable("a gradient has another shape than what it is of")
    within = ends is None or (ends.shape == (B,) and bool((ends <= T).all()))
    return example if fits and within else None


def _parameters(arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return parameters, with biases without axes of length 1, and two in one array split."""
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


def _steps(array: Floats, axes: int, layout: Axes) -> Floats | None:
    """Convert an array to (T, B, width), without an axis of one direction; None without steps."""
    if array.ndim == 4:
        array = next((array.squeeze(k) for k in (1, 0) if array.shape[k] == 1), array)
    return layout.turned(array) if array.ndim == axes else None


def _rows(state: Floats, axes: Axes) -> Floats:
    """Convert a state to (B, width), without axes of length 1 for layers and directions."""
    if axes.features_first and state.ndim == 2:
        return state.T
    while state.ndim > 2:
        state = state[0] if state.shape[0] == 1 else state[:, 0]
    return state[None] if state.ndim == 1 else state


def _started(
    initial: Sequence[Floats | None],
    gradients: Sequence[Floats | None],
    final: Sequence[Floats | None],
    y: Floats | None,
    x: Floats,
) -> tuple[tuple[Floats, ...] | None, tuple[str, ...]]:
    """Return the initial state, None for the layer's default, and the assumptions on it."""
    names = ["initial " + "hc"[k] for k, s in enumerate(initial) if s is None]
    assumed = (f"no {' and '.join(names)} in the file: zeros are assumed",) if names else ()
    if all(s is None for s in (*initial, *gradients)):
        return None, assumed
    known_arrays = [a for a in (*initial, *final, y) if a is not None]

    def zeros(k: int) -> Floats:
        width = next(a.shape[-1] for a in (initial[k], final[k], *known_arrays) if a is not None)
        return np.zeros((x.shape[1], width), x.dtype)

    return tuple(zeros(k) if s is None else s for k, s in enumerate(initial)), assumed


def _check_lengths(lengths: Floats, longest: int) -> None:
    """Raise Unreadable for malformed lengths."""
    if (lengths.astype(int) != lengths).any() or (lengths < 0).any() or (lengths > longest).any():
        values = lengths.astype(float).tolist()
        raise Unreadable(f"lengths: expected whole numbers from 0 to {longest}, got {values}")


def _dtype(results: Sequence[Floats]) -> str:
    """Return the coarsest dtype that represents all results, or prints as they do."""
    for name in HALVES:
        if all(str(a.dtype) == name for a in results):
            return name
    for name in ("float32", "float64"):
        if all(_held(a, name) for a in results):
            return name
    return "float64"


def _held(array: Floats, name: str) -> bool:
    """Whether a dtype represents these numbers, or prints as they do, as float32 prints 0.1."""
    near = array.astype(name)
    printed = near.astype(str).astype(np.float64)
    return np.array_equal(near.astype(np.float64), array) or np.array_equal(printed, array)


def _places(arrays: Sequence[Floats]) -> int | None:
    """Return the decimal places with which all numbers are printed; None if there are more."""
    numbers = np.unique(np.concatenate([a.ravel() for a in arrays]))
    numbers = numbers[numbers != np.round(numbers)]  # gates saturate at 0 and 1
    for places in range(1, PLACES + 1):
        near = np.round(numbers.astype(np.float64), places).astype(numbers.dtype)
        if np.array_equal(near, numbers) and len(numbers) >= MANY:
            return places
    return None
