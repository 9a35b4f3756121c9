"""``Followed``: numbers on which a user's own step runs, forward and back.

A step is written for NumPy. Its operations on these numbers are composed of a few operations of
another number system, ``Bounded`` for instance, each with its pullback; so a step gets bounds, and
gradients with bounds. Operations that cannot be followed raise TypeError with NumPy's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import reduce, singledispatch
from typing import Any, TypeAlias

import numpy as np

from ...reference import functions
from ...reference.arrays import Floats, NumberSystem
from .bounded import Bounded

Number: TypeAlias = Any
"""An array of the underlying number system."""

Pull: TypeAlias = Callable[[Number], Number]
"""A function from the cotangent of a result to that of one argument."""


class Followed(NumberSystem):
    """An array of another number system, its sources, and the pullback to each of them.

    An exponential, and 1 plus an exponential (``beside_one``), keep their ``exponent``: their
    quotient is the sigmoid, which has several spellings, instead of a quotient of large numbers.
    """

    def __init__(self, value: Number, sources: Sequence[tuple[Followed, Pull]] = ()) -> None:
        self.value = value
        self.sources = tuple(sources)
        self.exponent: Followed | None = None
        self.beside_one = False

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        rule = RULES.get(name)
        if rule is None or method != "__call__" or kwargs:
            label = name if method == "__call__" else f"{name}.{method}"
            raise Unfollowed(f"np.{label}" + (f" with {', '.join(kwargs)}" if kwargs else ""))
        return rule(*(followed(x, self.value) for x in inputs))

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        rule = FUNCTIONS.get(function)
        if rule is not None:
            return rule(*args, **kwargs)
        if function in MOVING:
            return moved(args[0], lambda index: function(index, *args[1:], **kwargs))
        if function in JOINING:
            return joined(args[0], lambda parts: function(parts, *args[1:], **kwargs))
        raise Unfollowed(f"np.{function.__name__}")

    def __getitem__(self, key: Any) -> Any:
        if any(isinstance(k, NumberSystem) for k in (key if isinstance(key, tuple) else [key])):
            raise Unfollowed("an index that is computed")
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise Unfollowed("an assignment to entries (stack them instead: np.stack)")

    def __getattr__(self, name: str) -> Any:
        method = METHODS.get(name)
        if method is None:
            raise UnfollowedAttribute(f"the method {name}")
        return lambda *args, **kwargs: method(self, *args, **kwargs)

    def __iter__(self) -> Iterator[Followed]:
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        raise Unfollowed("a decision on a number (if, and, or)")

    def __float__(self) -> float:
        raise Unfollowed("float(...)")

    def _rearranged(self, function: Callable[[Any], Any]) -> Any:
        return moved(self, function)

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    def __iadd__(self, other: Any) -> Any:
        return self + other

    def __isub__(self, other: Any) -> Any:
        return self - other

    def __imul__(self, other: Any) -> Any:
        return self * other

    def __itruediv__(self, other: Any) -> Any:
        return self / other


class Unfollowed(TypeError):
    """An operation of a step cannot be followed."""


class UnfollowedAttribute(Unfollowed, AttributeError):
    """The same for attributes, so that ``hasattr`` returns False."""


def followed(x: Any, like: Number) -> Followed:
    """Return followed numbers unchanged, or a constant in the number system of ``like``."""
    return x if isinstance(x, Followed) else Followed(lifted(like, x))


@singledispatch
def lifted(like: Number, constant: Any) -> Number:
    """Return a constant in the number system of ``like``, floats in the dtype of ``like``."""
    array = np.asarray(constant)
    floats = isinstance(like, np.ndarray) and like.dtype.kind != "O" and array.dtype.kind == "f"
    return array.astype(like.dtype) if floats else array


@lifted.register
def _(like: Bounded, constant: Any) -> Bounded:
    return Bounded.exact(np.asarray(constant), like.arithmetic)


def pulled(
    outputs: Sequence[Followed], cotangents: Sequence[Number], targets: Sequence[Followed]
) -> list[Number]:
    """Return the gradients by ``targets``, from the cotangents of the outputs."""
    gradients: dict[int, Number] = {}
    for output, d in zip(outputs, cotangents, strict=True):
        _add(gradients, output, d)
    for node in _latest_first(outputs):
        d = gradients.get(id(node))
        if d is not None:
            for source, pull in node.sources:
                _add(gradients, source, fitted(pull(d), source.shape))
    return [gradients.get(id(leaf), functions.zeros(leaf.value, leaf.shape)) for leaf in targets]


def _add(gradients: dict[int, Number], node: Followed, d: Number) -> None:
    gradients[id(node)] = gradients[id(node)] + d if id(node) in gradients else d


def _latest_first(outputs: Sequence[Followed]) -> list[Followed]:
    """Return all sources of the outputs in reverse order of computation."""
    order: list[Followed] = []
    visited: set[int] = set()
    stack = [(node, False) for node in outputs]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif id(node) not in visited:
            visited.add(id(node))
            stack.append((node, True))
            stack += [(source, False) for source, _ in node.sources]
    return order[::-1]


def fitted(d: Number, shape: tuple[int, ...]) -> Number:
    """Sum over the axes along which an argument was broadcast."""
    while d.ndim > len(shape):
        d = d.sum(axis=0)
    for axis, n in enumerate(shape):
        if n == 1 and d.shape[axis] != 1:
            d = d.sum(axis=axis, keepdims=True)
    return d


@singledispatch
def scattered(d: Number, index: Floats, shape: tuple[int, ...]) -> Number:
    """Return the transpose of indexing: each entry of ``d`` is added to its source entry."""
    return with_added(np.asarray(d), index, shape)


@scattered.register
def _(d: Bounded, index: Floats, shape: tuple[int, ...]) -> Bounded:
    most = int(np.bincount(index.ravel()).max(initial=1)) if index.size else 1
    parts = (with_added(np.asarray(a), index, shape) for a in (d.value, d.error, d.mass))
    value, error, mass = parts
    return Bounded(value, error, d.arithmetic, mass, d.roundings + most - 1)


def with_added(array: Floats, index: Floats, shape: tuple[int, ...]) -> Floats:
    """Return zeros of ``shape`` with entries added at indices into the flat array."""
    size = math.prod(shape)
    flat = np.zeros(size, array.dtype)
    places = index.ravel()
    if not places.size or np.bincount(places).max() == 1:
        flat[places] = array.ravel()
    elif array.dtype == np.float64:
        flat = np.bincount(places, array.ravel(), size)
    else:
        np.add.at(flat, places, array.ravel())
    return flat.reshape(shape)


def moved(x: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function that only moves, repeats or leaves out entries; it may return several."""
    result = function(np.arange(x.size).reshape(x.shape))
    if isinstance(result, list | tuple):
        return [_indexed(x, index) for index in result]
    return _indexed(x, np.asarray(result))


def _indexed(x: Followed, index: Floats) -> Followed:
    flat = x.value.reshape(-1)[index.ravel()].reshape(index.shape)
    return Followed(flat, [(x, lambda d: scattered(d, index, x.shape))])


def joined(arrays: Sequence[Any], function: Callable[[list[Floats]], Floats]) -> Any:
    """Apply a function that only joins the entries of several arrays."""
    like = next(a for a in arrays if isinstance(a, Followed)).value
    parts = [followed(a, like) for a in arrays]
    ends = np.cumsum([p.size for p in parts])
    starts = [int(end) - p.size for end, p in zip(ends, parts, strict=True)]
    indices = [s + np.arange(p.size).reshape(p.shape) for s, p in zip(starts, parts, strict=True)]
    flat = np.concatenate([p.value.reshape(-1) for p in parts])

    def part(start: int, p: Followed) -> Pull:
        return lambda d: d[start : start + p.size].reshape(p.shape)

    all_entries = Followed(flat, [(p, part(s, p)) for s, p in zip(starts, parts, strict=True)])
    return _indexed(all_entries, np.asarray(function(indices)))


def _where(condition: Any, *sides: Any) -> Any:
    if isinstance(condition, Followed) or len(sides) != 2:
        raise Unfollowed("np.where on a condition that is computed")
    return joined(sides, lambda parts: np.where(condition, *parts))


def _summed(x: Any, axis: Any = None, *, keepdims: bool = False) -> Followed:
    """Sum over an axis, several, or all."""
    axes = _axes(x, axis)
    value = x.value
    for k in axes:
        value = value.sum(axis=k, keepdims=True)
    wide = value
    if not keepdims:
        value = value.reshape(tuple(n for k, n in enumerate(x.shape) if k not in axes))

    return Followed(value, [(x, lambda d: _broadcast(d.reshape(wide.shape), x.shape))])


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(k % x.ndim for k in (axis if isinstance(axis, tuple | list) else (axis,)))


def _mean(x: Any, axis: Any = None, *, keepdims: bool = False, dtype: Any = None) -> Any:
    count = math.prod(x.shape[k] for k in _axes(x, axis))
    return _summed(x, axis, keepdims=keepdims) / count


def _var(x: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    count = math.prod(x.shape[k] for k in _axes(x, axis)) - ddof
    centred = x - _mean(x, axis, keepdims=True)
    return _summed(centred * centred, axis, keepdims=keepdims) / count


def _std(x: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return np.sqrt(_var(x, axis, ddof=ddof, keepdims=keepdims))


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord not in (None, 2) or (ord == 2 and axis is None and x.ndim > 1):
        raise Unfollowed(f"np.linalg.norm of order {ord}")
    return np.sqrt(_summed(x * x, axis, keepdims=keepdims))


def _most(pair: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def over(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
        axes = _axes(x, axis)
        for k in axes:
            parts = np.split(x, x.shape[k], axis=k)
            x = reduce(pair, parts)
        shape = [n for k, n in enumerate(x.shape) if keepdims or k not in axes]
        return moved(x, lambda index: index.reshape(shape))

    return over


def _einsum(text: str, *operands: Any) -> Any:
    """Multiply, and sum over all labels that the result lacks."""
    if not isinstance(text, str) or "." in text:
        raise Unfollowed("np.einsum with an ellipsis")
    inputs, arrow, output = text.replace(" ", "").partition("->")
    labels = inputs.split(",")
    if any(len({*operand_labels}) < len(operand_labels) for operand_labels in labels):
        raise Unfollowed("np.einsum along a diagonal")
    letters = sorted({*inputs} - {","})
    if not arrow:
        output = "".join(k for k in letters if inputs.count(k) == 1)
    like = next(a for a in operands if isinstance(a, Followed)).value
    order = [*output, *(k for k in letters if k not in output)]
    product: Any = 1.0
    for operand_labels, operand in zip(labels, operands, strict=True):
        x = followed(operand, like)
        transposed = np.transpose(
            x, [operand_labels.index(k) for k in order if k in operand_labels]
        )
        spread = tuple(slice(None) if k in operand_labels else None for k in order)
        product = product * transposed[spread]
    return _summed(product, tuple(range(len(output), len(order)))) if letters else product


def _clip(x: Any, low: Any = None, high: Any = None) -> Any:
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _like(value: float) -> Callable[..., Floats]:
    def filled(x: Any, dtype: Any = None, shape: Any = None) -> Floats:
        return np.full(x.shape if shape is None else shape, value)

    return filled


def _through(value: Number, slope: Number, x: Followed) -> Followed:
    return Followed(value, [(x, lambda d: d * slope)])


def _multiply(a: Followed, b: Followed) -> Followed:
    return Followed(a.value * b.value, [(a, lambda d: d * b.value), (b, lambda d: d * a.value)])


def _added(a: Followed, b: Followed) -> Followed:
    result = Followed(a.value + b.value, [(a, lambda d: d), (b, lambda d: d)])
    for constant, exponential in ((a, b), (b, a)):
        if exponential.exponent is not None and not exponential.beside_one and _is_one(constant):
            result.exponent, result.beside_one = exponential.exponent, True
    return result


def _is_one(x: Followed) -> bool:
    return not x.sources and bool(np.all(np.asarray(functions.midpoint(x.value)) == 1))


def _divide(a: Followed, b: Followed) -> Followed:
    if b.beside_one and b.exponent is not None:
        if _is_one(a):
            return _sigmoid(-b.exponent)
        if a.exponent is b.exponent:
            return _sigmoid(b.exponent)
    value = a.value / b.value
    return Followed(value, [(a, lambda d: d / b.value), (b, lambda d: -(d * value) / b.value)])


def _matmul(a: Followed, b: Followed) -> Followed:
    """Multiply matrices; a vector is a matrix of one row or column."""
    if a.ndim == 1:
        return moved(_matmul(a[None], b), lambda index: index[..., 0, :])  # type: ignore[no-any-return]
    if b.ndim == 1:
        return moved(_matmul(a, b[:, None]), lambda index: index[..., 0])  # type: ignore[no-any-return]
    a_transposed, b_transposed = (_turned(x.value) for x in (a, b))
    return Followed(
        a.value @ b.value, [(a, lambda d: d @ b_transposed), (b, lambda d: a_transposed @ d)]
    )


def _turned(x: Number) -> Number:
    """Return a matrix, or a stack of them, transposed."""
    index = np.arange(math.prod(x.shape)).reshape(x.shape).swapaxes(-1, -2)
    return x.reshape(-1)[index.ravel()].reshape(index.shape)


def _sigmoid(x: Followed) -> Followed:
    value = functions.sigmoid(x.value)
    return _through(value, functions.sigmoid_slope(value), x)


def _tanh(x: Followed) -> Followed:
    value = np.tanh(x.value)
    return _through(value, functions.tanh_slope(value), x)


def _exp(x: Followed) -> Followed:
    value = np.exp(x.value)
    result = _through(value, value, x)
    result.exponent = x
    return result


def _sqrt(x: Followed) -> Followed:
    value = np.sqrt(x.value)
    return Followed(value, [(x, lambda d: d * 0.5 / value)])


def _log(x: Followed) -> Followed:
    return Followed(np.log(x.value), [(x, lambda d: d / x.value)])


def _switched(s: Followed, below: Followed, above: Followed) -> Followed:
    """Choose by the sign of ``s``; the gradient goes to both sides if the sign is uncertain."""
    shape = np.broadcast_shapes(s.shape, below.shape, above.shape)
    sign, low, high = (_broadcast(x.value, shape) for x in (s, below, above))
    nothing = functions.zeros(sign, shape)
    return Followed(
        functions.switch(sign, low, high),
        [
            (below, lambda d: functions.switch(sign, d, nothing)),
            (above, lambda d: functions.switch(sign, nothing, d)),
        ],
    )


def _broadcast(x: Number, shape: tuple[int, ...]) -> Number:
    index = np.broadcast_to(np.arange(math.prod(x.shape)).reshape(x.shape), shape)
    return x.reshape(-1)[index.ravel()].reshape(shape)


@functions.switch.register
def _(s: Followed, below: Any, above: Any) -> Followed:
    return _switched(s, followed(below, s.value), followed(above, s.value))


@functions.sigmoid.register
def _(s: Followed) -> Followed:
    return _sigmoid(s)


@functions.zeros.register
def _(like: Followed, shape: tuple[int, ...]) -> Followed:
    return Followed(functions.zeros(like.value, shape))


def _maximum(a: Followed, b: Followed) -> Followed:
    return _switched(a - b, b, a)


def _power(x: Followed, exponent: Followed) -> Any:
    """Raise to a constant power: integers by products, others by roots and logarithms."""
    if exponent.sources or exponent.size != 1:
        raise Unfollowed("np.power with an exponent that is computed")
    power = float(np.ravel(functions.midpoint(exponent.value))[0])
    if power < 0:
        return 1.0 / _power(x, followed(-power, x.value))
    if power == 0.5:
        return _sqrt(x)
    if power != int(power) or power > 16:
        return np.exp(power * np.log(x))
    if power == 0:
        return followed(np.ones(x.shape), x.value)
    return reduce(_multiply, [x] * int(power))


RULES: dict[str, Callable[..., Any]] = {
    "add": _added,
    "subtract": lambda a, b: Followed(a.value - b.value, [(a, lambda d: d), (b, lambda d: -d)]),
    "negative": lambda x: Followed(-x.value, [(x, lambda d: -d)]),
    "positive": lambda x: x,
    "multiply": _multiply,
    "divide": _divide,
    "matmul": _matmul,
    "tanh": _tanh,
    "exp": _exp,
    "expm1": lambda x: _exp(x) - 1.0,
    "log": _log,
    "log1p": lambda x: _log(x + 1.0),
    "sqrt": _sqrt,
    "square": lambda x: _multiply(x, x),
    "reciprocal": lambda x: _divide(followed(1.0, x.value), x),
    "power": _power,
    "float_power": _power,
    "absolute": lambda x: _switched(x, -x, x),
    "fabs": lambda x: _switched(x, -x, x),
    "maximum": _maximum,
    "fmax": _maximum,
    "minimum": lambda a, b: _switched(a - b, a, b),
    "fmin": lambda a, b: _switched(a - b, a, b),
    "logaddexp": lambda a, b: _maximum(a, b) + np.log1p(np.exp(-np.abs(a - b))),
    "expit": _sigmoid,
    "conjugate": lambda x: x,
}
"""NumPy's and SciPy's elementwise functions, by name."""

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _summed,
    np.mean: _mean,
    np.var: _var,
    np.std: _std,
    np.max: _most(np.maximum),
    np.min: _most(np.minimum),
    np.linalg.norm: _norm,
    np.einsum: _einsum,
    np.dot: lambda a, b: np.matmul(a, b) if np.ndim(a) * np.ndim(b) else a * b,
    np.where: _where,
    np.clip: _clip,
    np.zeros_like: _like(0.0),
    np.empty_like: _like(0.0),
    np.ones_like: _like(1.0),
    np.full_like: lambda x, value, dtype=None: np.full(x.shape, value),
    np.copy: lambda x: x,
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x: x.size,
}

MOVING = {
    np.reshape, np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze, np.ravel,
    np.broadcast_to, np.repeat, np.tile, np.roll, np.flip, np.take, np.diagonal,
    np.split, np.array_split, np.hsplit, np.vsplit, np.atleast_1d, np.atleast_2d,
}  # fmt: skip
"""NumPy's functions that only move, repeat or leave out entries of one array."""

JOINING = {np.stack, np.concatenate, np.hstack, np.vstack, np.column_stack, np.dstack}


def _cast(x: Followed, dtype: Any, **_: Any) -> Followed:
    if np.dtype(dtype) != np.float64:  # the dtype in which steps are written
        raise Unfollowed(f"a cast to {np.dtype(dtype)}")
    return x


METHODS: dict[str, Callable[..., Any]] = {
    "sum": _summed,
    "mean": _mean,
    "var": _var,
    "std": _std,
    "max": _most(np.maximum),
    "min": _most(np.minimum),
    "clip": _clip,
    "dot": np.dot,
    "transpose": lambda x, *axes: moved(x, lambda index: index.transpose(*axes)),
    "swapaxes": np.swapaxes,
    "squeeze": np.squeeze,
    "repeat": np.repeat,
    "ravel": np.ravel,
    "flatten": np.ravel,
    "copy": lambda x: x,
    "astype": _cast,
}
"""Methods of NumPy's arrays."""
