"""Nests of numbers: making, comparing and rearranging them for the transcriptions."""

from typing import Any

from transcriptions.scalar import mp, mpf


def ln(n: int) -> Any:
    """log(n) at the precision in force."""
    return mp.log(n)


def flat(value: Any) -> list[Any]:
    """All numbers of nested lists and tuples, in order."""
    if isinstance(value, (list, tuple)):
        return [number for part in value for number in flat(part)]
    return [mp.convert(value)]


def gap(a: Any, b: Any) -> Any:
    """Largest difference between two equally long nests of numbers."""
    pairs = list(zip(flat(a), flat(b), strict=True))
    assert pairs
    return max(abs(p - q) for p, q in pairs)


def same(a: Any, b: Any, digits: int = 45) -> bool:
    """Whether two nests of numbers agree to so many decimals."""
    return bool(gap(a, b) < mpf(10) ** -digits)


def values(*shape: int, salt: int = 1) -> Any:
    """A nest of the given shape whose entries differ and lie within (-1, 1)."""
    if not shape:
        return mp.sin(salt) * mpf(9) / 10
    return [values(*shape[1:], salt=7 * salt + 3 * k + 1) for k in range(shape[0])]


def by_key(keys: str, *shape: int, salt: int = 1) -> Any:
    """One nest of `values` for each letter."""
    return {key: values(*shape, salt=salt + 5 * n) for n, key in enumerate(keys)}


def transposed(M: Any) -> Any:
    """The matrix with rows and columns exchanged."""
    return [list(column) for column in zip(*M, strict=True)]


def each(function: Any, parameters: Any) -> Any:
    """The parameters of every letter passed through a function."""
    return {key: function(parameter) for key, parameter in parameters.items()}
