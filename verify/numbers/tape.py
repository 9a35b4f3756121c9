"""``Traced``: a number system that records operations, and pulls cotangents back through them.

A mutant is wrong in one place. Its forward computation is changed there alone, and its gradient is
that of the changed program, so that checks see this one mistake. An operation may have its own rule
(:func:`custom`); a wrong rule is a wrong gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ...reference import functions
from ...reference.arrays import Array, Floats, NumberSystem
from .followed import fitted, with_added

Pull: TypeAlias = Callable[..., Sequence[Any]]
"""A function from the cotangents of an operation's results to those of its arguments."""


@dataclass(frozen=True)
class _Entry:
    results: tuple[Traced, ...]
    arguments: tuple[Array, ...]
    pull: Pull


class Tape:
    """The recorded operations, in order."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def leaf(self, value: Array) -> Traced:
        """Return an array whose gradient can be computed."""
        return Traced(value, self)

    def record(
        self, values: Sequence[Array], arguments: tuple[Array, ...], pull: Pull
    ) -> tuple[Traced, ...]:
        """Return the results of an operation, traced."""
        results = tuple(Traced(value, self) for value in values)
        self._entries.append(_Entry(results, arguments, pull))
        return results

    def pull(
        self,
        outputs: Sequence[Array],
        cotangents: Sequence[Floats | None],
        leaves: Sequence[Traced],
    ) -> list[Floats]:
        """Return the gradients by ``leaves``; a cotangent of None is 0."""
        gradients: dict[
            int, Floats
        ] = {}  # by id, which is unique because entries keep their arrays
        for output, d in zip(outputs, cotangents, strict=True):
            _add_to(gradients, output, d)
        for entry in reversed(self._entries):
            ds = [gradients.pop(id(result), None) for result in entry.results]
            if all(d is None for d in ds):
                continue
            filled = [_filled(d, r) for d, r in zip(ds, entry.results, strict=True)]
            for argument, d in zip(entry.arguments, entry.pull(*filled), strict=True):
                _add_to(gradients, argument, d)
        return [_filled(gradients.get(id(leaf)), leaf) for leaf in leaves]


class Traced(NumberSystem):
    """An array on a tape."""

    value: Floats

    def __init__(self, value: Array, tape: Tape) -> None:
        self.value = np.asarray(value)
        self.tape = tape

    def _rearranged(self, function: Callable[[Floats], Floats]) -> Array:
        return rearranged(self, function)

    def __getitem__(self, key: Any) -> Array:
        return custom(lambda a: _item(a, key), self)[0]

    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> Array:
        """Return the sum over an axis, or over everything."""
        return custom(lambda a: _sum(a, axis, keepdims), self)[0]

    def astype(self, dtype: Any) -> Array:
        """Return the numbers rounded to another dtype."""
        back = self.dtype
        return custom(lambda a: _single(a.astype(dtype), lambda d: [d.astype(back)]), self)[0]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        rule = RULES.get(ufunc)
        if rule is None or method != "__call__" or kwargs:
            return NotImplemented
        return custom(rule, *inputs)[0]

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if function in (np.stack, np.concatenate):
            axis = kwargs.get("axis", args[1] if len(args) > 1 else 0)
            joined = _stack if function is np.stack else _concatenate
            return custom(lambda *arrays: joined(arrays, axis), *args[0])[0]
        if function is np.where and len(args) == 3:
            return custom(lambda a, b: _where(args[0], a, b), *args[1:])[0]
        return NotImplemented


def plain(x: Array) -> Any:
    """Return the numbers themselves."""
    return x.value if isinstance(x, Traced) else x


def custom(
    rule: Callable[..., tuple[Sequence[Array], Pull]], *arguments: Array
) -> tuple[Array, ...]:
    """Apply an operation with its own pullback: ``rule(*arrays)`` returns (results, pull)."""
    values, pull = rule(*(plain(a) for a in arguments))
    tape = next((a.tape for a in arguments if isinstance(a, Traced)), None)
    return tuple(values) if tape is None else tape.record(values, arguments, pull)


def instead(x: Array, value: Array, pull: Callable[[Floats], Floats] = lambda d: d) -> Array:
    """Return ``value`` instead of ``x``; the cotangent reaches x through ``pull``."""
    return custom(lambda a: _single(value, lambda d: [pull(d)]), x)[0]


def rearranged(x: Array, function: Callable[[Floats], Floats]) -> Array:
    """Apply a function that only moves, repeats or leaves out entries, or writes 0."""

    def rule(a: Floats) -> tuple[Sequence[Floats], Pull]:
        moved = function(1 + np.arange(a.size).reshape(a.shape))
        places = np.maximum(moved - 1, 0)  # written zeros pass no cotangent
        return [function(a)], lambda d: [with_added(np.where(moved, d, 0), places, a.shape)]

    return custom(rule, x)[0]


def rows(x: Array) -> tuple[Array, ...]:
    """Return x[0], x[1], ...; one operation, however many there are."""
    return custom(lambda a: (list(a), lambda *ds: [np.stack(ds)]), x)


def _add_to(gradients: dict[int, Floats], x: Array, d: Floats | None) -> None:
    if isinstance(x, Traced) and d is not None:
        d = fitted(d, x.shape)
        gradients[id(x)] = gradients[id(x)] + d if id(x) in gradients else d


def _filled(d: Floats | None, like: Traced) -> Floats:
    return np.zeros(like.shape, like.dtype) if d is None else d


def _single(value: Array, pull: Pull) -> tuple[Sequence[Array], Pull]:
    return [value], pull


def _item(a: Floats, key: Any) -> tuple[Sequence[Floats], Pull]:
    def pull(d: Floats) -> Sequence[Floats]:
        full = np.zeros(a.shape, d.dtype)
        if all(isinstance(k, int | slice) for k in (key if isinstance(key, tuple) else (key,))):
            full[key] = d
        else:
            np.add.at(full, key, d)
        return [full]

    return [a[key]], pull


def _sum(a: Floats, axis: int | None, keepdims: bool) -> tuple[Sequence[Floats], Pull]:
    wide = a.sum(axis=axis, keepdims=True).shape
    return [a.sum(axis=axis, keepdims=keepdims)], lambda d: [
        np.broadcast_to(d.reshape(wide), a.shape)
    ]


def _stack(arrays: Sequence[Floats], axis: int) -> tuple[Sequence[Floats], Pull]:
    return [np.stack(arrays, axis)], lambda d: list(np.moveaxis(d, axis, 0))


def _concatenate(arrays: Sequence[Floats], axis: int) -> tuple[Sequence[Floats], Pull]:
    ends = np.cumsum([a.shape[axis] for a in arrays])[:-1]
    return [np.concatenate(arrays, axis)], lambda d: np.split(d, ends, axis)


def _where(condition: Floats, a: Floats, b: Floats) -> tuple[Sequence[Floats], Pull]:
    return [np.where(condition, a, b)], lambda d: [
        np.where(condition, d, np.zeros_like(d)),
        np.where(condition, np.zeros_like(d), d),
    ]


def _divide(a: Floats, b: Floats) -> tuple[Sequence[Floats], Pull]:
    return [a / b], lambda d: [d / b, -d * a / (b * b)]


def _matmul(a: Floats, b: Floats) -> tuple[Sequence[Floats], Pull]:
    return [a @ b], lambda d: [d @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ d]


def _through(value: Floats, slope: Floats) -> tuple[Sequence[Floats], Pull]:
    return [value], lambda d: [d * slope]


RULES: dict[Any, Callable[..., tuple[Sequence[Array], Pull]]] = {
    np.add: lambda a, b: _single(a + b, lambda d: [d, d]),
    np.subtract: lambda a, b: _single(a - b, lambda d: [d, -d]),
    np.negative: lambda a: _single(-a, lambda d: [-d]),
    np.multiply: lambda a, b: _single(a * b, lambda d: [d * b, d * a]),
    np.true_divide: _divide,
    np.matmul: _matmul,
    np.tanh: lambda a: _through(np.tanh(a), np.asarray(functions.tanh_slope(np.tanh(a)))),
    np.exp: lambda a: _through(np.exp(a), np.exp(a)),
    np.log: lambda a: _through(np.log(a), 1 / a),
    np.sqrt: lambda a: _through(np.sqrt(a), 0.5 / np.sqrt(a)),
    np.sin: lambda a: _through(np.sin(a), np.cos(a)),
    np.cos: lambda a: _through(np.cos(a), -np.sin(a)),
}


@functions.sigmoid.register
def _(s: Traced) -> Array:
    value = np.asarray(functions.sigmoid(s.value))
    return custom(lambda a: _through(value, value * (1 - value)), s)[0]


@functions.softplus.register
def _(s: Traced) -> Array:
    value, slope = functions.softplus(s.value), functions.sigmoid(s.value)
    return custom(lambda a: _through(np.asarray(value), np.asarray(slope)), s)[0]


@functions.zeros.register
def _(like: Traced, shape: tuple[int, ...]) -> Floats:
    return np.zeros(shape, like.dtype)


@functions.switch.register
def _(s: Traced, below: Array | float, above: Array | float) -> Array:
    if isinstance(below, Traced) or isinstance(above, Traced):
        return np.where(s.value < 0, below, above)
    return functions.switch(s.value, below, above)


@functions.floor.register
def _(s: Traced) -> Floats:
    return np.floor(s.value)
