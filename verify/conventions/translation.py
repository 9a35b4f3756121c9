"""Translation of parameters from one convention to another, by the map of ``comparison.py``.

Arrays are only moved, negated, halved or added up. A parameter without a place must be 0, or the
constant that the other convention has there; otherwise NoHome names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...reference.arrays import Floats
from ...reference.parameters import Shape, Sizes
from ..cases.case import Case
from . import family
from .comparison import compare
from .convention import RECURRENT_BIAS, Convention, added, slice_shape
from .parameter_map import NoHome, suffixes

Slices = dict[str, Floats]


def stored_shapes(convention: Convention, case: Case) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all arrays of all passes; the reference need not have a cell."""
    return {
        f"{name}{suffix}": shape
        for suffix, sizes in passes(convention, case)
        for name, shape in family.stored_shapes(convention, sizes).items()
    }


def passes(convention: Convention, case: Case) -> Iterator[tuple[str, Sizes]]:
    """Yield the suffix of each pass's names and its sizes."""
    width = case.P if convention.projected else case.H
    for number, suffix in enumerate(suffixes(case)):
        first = number < case.directions
        yield suffix, Sizes(case.D if first else width * case.directions, case.H, case.P or None)


def translated(
    a: Convention, b: Convention, case: Case, named: Mapping[str, Floats]
) -> dict[str, Floats]:
    """Return arrays with which ``b`` computes the same as ``a`` with the arrays ``named``.

    Arrays are those of all passes. Raises NoHome if there are none.
    """
    way = compare(a, b).forward
    if way.never:
        raise NoHome(way.never)
    result: dict[str, Floats] = {}
    for suffix, sizes in passes(a, case):
        stored = {name: named[f"{name}{suffix}"] for name in family.stored_shapes(a, sizes)}
        try:
            arrays = _translated_pass(a, b, sizes, stored)
        except NoHome as problem:
            raise NoHome(
                f"{suffix[1:]}: {problem}; possible only when {' and '.join(way.conditions)}"
            ) from None
        result |= {f"{name}{suffix}": array for name, array in arrays.items()}
    return result


def _translated_pass(
    a: Convention, b: Convention, sizes: Sizes, stored: Mapping[str, Floats]
) -> Slices:
    weights, vectors = _unpacked(a, sizes, stored)
    like = weights[f"U_{a.order[0]}"]
    alike = [set(letters) for letters in a.bias] == [set(letters) for letters in b.bias]
    if not alike:
        vectors = [_summed(vectors)]
    if a.family == "gru" and a.update != b.update:
        for slices in (weights, *vectors):
            slices |= {k: -slices[k] for k in ("W_z", "U_z", "b_z") if k in slices}
    if a.family == "gru" and a.reset != b.reset:
        _only_diagonal(weights["U_n"], *(v.get("b_hn") for v in vectors))
    _couple(a, b, weights, vectors)
    _shift(a, b, vectors, like, sizes)
    _check_peepholes(a, b, weights)
    return _packed(b, sizes, weights, vectors, like, alike=alike)


def _unpacked(
    a: Convention, sizes: Sizes, stored: Mapping[str, Floats]
) -> tuple[Slices, list[Slices]]:
    """Return the slices of weights and peepholes, and those of each bias array."""
    shapes = family.shapes(a, sizes)
    weights: Slices = {}
    vectors: list[Slices] = [{} for _ in a.bias]
    for packed in a.arrays():
        blocks = packed.split(stored[packed.name], shapes)
        number = _bias_number(a, packed.name)
        (weights if number is None else vectors[number]).update(blocks)
    return weights, vectors or [{}]


def _bias_number(convention: Convention, array: str) -> int | None:
    """Return the number of the bias that an array is or belongs to; None for other arrays."""
    if not array.startswith("bias"):
        return None
    names = convention.bias_names
    numbers = [k for k, name in enumerate(names) if array == name]
    return (
        numbers[0] if numbers else next(k for k, n in enumerate(names) if array.startswith(f"{n}_"))
    )


def _summed(vectors: list[Slices]) -> Slices:
    total: Slices = {}
    for slices in vectors:
        added(total, slices)
    return total


def _only_diagonal(U: Floats, *b_hn: Floats | None) -> None:
    """Check that reset commutes with the product: r ⊙ (h U) = (r ⊙ h) U."""
    if np.any(U - np.diag(np.diag(U)) != 0):
        raise NoHome("U_n is not diagonal")
    if any(np.any(b != 0) for b in b_hn if b is not None):
        raise NoHome("b_hn is not 0")


def _couple(a: Convention, b: Convention, weights: Slices, vectors: list[Slices]) -> None:
    """Write a coupled f = 1 - i as a separate gate, or a separate f = 1 - i as a coupled one."""
    if a.coupled and not b.coupled:
        for group in (weights, *vectors):
            group |= {f"{k}_f": -group[f"{k}_i"] for k in "WUbp" if f"{k}_i" in group}
    elif b.coupled and not a.coupled:
        slices = {**weights, **_summed(vectors)}
        for k in "WUbp":
            of_f, of_i = (slices.get(f"{k}_{g}", np.zeros(())) for g in "fi")
            offset = a.forget_offset if k == "b" else 0.0
            if np.any(of_f != -of_i - offset):
                raise NoHome(f"{k}_f is not -{k}_i")
            weights.pop(f"{k}_f", None)
        for vector in vectors:
            vector.pop("b_f", None)


def _shift(a: Convention, b: Convention, vectors: list[Slices], like: Floats, sizes: Sizes) -> None:
    """Add the difference of the forget offsets to b_f."""
    change = (0.0 if a.coupled else a.forget_offset) - b.forget_offset
    if b.coupled or "f" not in b.letters or not change:
        return
    before = vectors[0].get("b_f", np.zeros(sizes.H, dtype=like.dtype))
    home = next((v for v in vectors if "b_f" in v), vectors[0])
    home["b_f"] = home.get("b_f", before) + np.asarray(change, dtype=like.dtype)


def _check_peepholes(a: Convention, b: Convention, weights: Slices) -> None:
    both = "o" in a.peepholes and "o" in b.peepholes
    if both and a.output_peephole != b.output_peephole and np.any(weights["p_o"] != 0):
        raise NoHome("p_o is not 0, and o sees another c")


def _packed(
    b: Convention,
    sizes: Sizes,
    weights: Slices,
    vectors: list[Slices],
    like: Floats,
    *,
    alike: bool,
) -> dict[str, Floats]:
    """Return ``b``'s arrays; slices without a place must be 0."""
    shapes = family.shapes(b, sizes)
    letters = "".join(b.bias)
    if not alike:
        vectors = [_halved(vectors[0], letters)] * max(len(b.bias), 1)
    available = set(weights) | {name for v in vectors for name in v}
    names = {name for packed in b.arrays() for name in packed.parts}
    for name in sorted(available - names):
        source = weights if name in weights else _summed(vectors)
        if np.any(source[name] != 0):
            raise NoHome(f"{name} is not 0, and there is no array for it")
    result = {}
    for packed in b.arrays():
        number = _bias_number(b, packed.name)
        source = weights if number is None else vectors[number]
        result[packed.name] = packed.join(
            {n: source.get(n, _zeros(shapes, n, like)) for n in packed.parts}
        )
    return result


def _halved(total: Slices, letters: str) -> Slices:
    """Return the slices of each bias array; a bias in two arrays is halved, exactly."""
    counts = {name: letters.count(_letter(name)) for name in total}
    return {name: value / counts[name] if counts[name] > 1 else value
            for name, value in total.items()}  # fmt: skip


def _letter(name: str) -> str:
    return RECURRENT_BIAS if name == "b_hn" else name.partition("_")[2]


def _zeros(shapes: Mapping[str, Shape], name: str, like: Floats) -> Floats:
    return np.zeros(slice_shape(shapes, name), dtype=like.dtype)
