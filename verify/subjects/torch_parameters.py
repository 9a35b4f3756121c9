"""PyTorch's parameters: names, packed gate order, two biases; and the map to the explicit layout.

Rows of ``weight_ih`` (G * H, D) stand gate after gate: i, f, g, o (LSTM), r, z, n (GRU). Both
biases are added, except in the GRU's candidate, whose recurrent bias is reset with the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...reference.cells import cell_named
from ...reference.functions import Array, zeros
from ...reference.layer import Layer
from ...reference.parameters import Parameters
from ..case import Case


def reference_layer(case: Case, cell: str) -> Layer:
    """Return the reference's layer of a case."""
    return Layer(cell_named(cell), case.sizes, case.layers, case.bidirectional)


def suffixes(case: Case) -> Iterator[str]:
    """Yield the ending of each pass: _l0, _l0_reverse, _l1, ..."""
    for layer in range(case.layers):
        for direction in range(case.directions):
            yield f"_l{layer}" + ("_reverse" if direction else "")


def shapes(case: Case, cell: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter under torch's name."""
    named: dict[str, tuple[int, ...]] = {}
    gates = len(cell_named(cell).gates) * case.H
    layer = reference_layer(case, cell)
    for suffix, sizes in zip(suffixes(case), layer.pass_sizes, strict=True):
        named[f"weight_ih{suffix}"] = (gates, sizes.D)
        named[f"weight_hh{suffix}"] = (gates, case.P or case.H)
        if case.bias:
            named[f"bias_ih{suffix}"] = named[f"bias_hh{suffix}"] = (gates,)
        if case.P:
            named[f"weight_hr{suffix}"] = (case.P, case.H)
    return named


def draw(case: Case, name: str, shape: tuple[int, ...]) -> Array:
    """Draw weights of N(0, 1/fan-in) by the case's scale, biases of N(0, 1/4)."""
    weight = len(shape) > 1
    return case.normal(name, shape, case.weight_scale / np.sqrt(shape[-1]) if weight else 0.5)


def to_reference(case: Case, cell: str, named: Mapping[str, Array]) -> tuple[Parameters, ...]:
    """Unpack torch's parameters, of any number system."""
    layer = reference_layer(case, cell)
    result = []
    for suffix, sizes in zip(suffixes(case), layer.pass_sizes, strict=True):
        W, U = (_blocks(named[f"weight_{kind}{suffix}"], case.H) for kind in ("ih", "hh"))
        arrays = {"W": np.stack([w.T for w in W]), "U": np.stack([u.T for u in U])}
        arrays |= _biases(case, cell, named, suffix, like=arrays["W"])
        if case.P:
            arrays["R"] = named[f"weight_hr{suffix}"].T
        result.append(Parameters(layer.cell.shapes(sizes), arrays))
    return tuple(result)


def _biases(
    case: Case, cell: str, named: Mapping[str, Array], suffix: str, like: Array
) -> dict[str, Array]:
    gates = len(cell_named(cell).gates)
    if not case.bias:
        b_ih = b_hh = [zeros(like, (case.H,))] * gates
    else:
        b_ih, b_hh = (_blocks(named[f"bias_{kind}{suffix}"], case.H) for kind in ("ih", "hh"))
    if cell != "gru":
        return {"b": np.stack([a + b for a, b in zip(b_ih, b_hh, strict=True)])}
    return {"b": np.stack([b_ih[0] + b_hh[0], b_ih[1] + b_hh[1], b_ih[2]]), "b_hn": b_hh[2]}


def from_reference(case: Case, cell: str, gradient: Sequence[Parameters]) -> dict[str, Array]:
    """Pack a gradient: each of two added biases has the gradient of their sum."""
    named = {}
    for suffix, d in zip(suffixes(case), gradient, strict=True):
        for kind, name in (("ih", "W"), ("hh", "U")):
            named[f"weight_{kind}{suffix}"] = np.concatenate([block.T for block in d[name]])
        if case.bias:
            b = [d["b"][k] for k in range(len(d["b"]))]
            named[f"bias_ih{suffix}"] = np.concatenate(b)
            recurrent = [*b[:2], d["b_hn"]] if cell == "gru" else b
            named[f"bias_hh{suffix}"] = np.concatenate(recurrent)
        if case.P:
            named[f"weight_hr{suffix}"] = d["R"].T
    return named


def pack(case: Case, cell: str, parameters: Sequence[Parameters]) -> dict[str, Array]:
    """Pack the reference's parameters; a bias is halved, exactly, between torch's two."""
    halved = []
    for p in parameters:
        b = p["b"] / 2
        if cell == "gru":  # the candidate's input bias stands alone
            b = np.concatenate([b[:2], p["b"][2:]])
        halved.append(Parameters(p.shapes, {**p, "b": b}))
    return from_reference(case, cell, halved)


def place(case: Case, cell: str, name: str, index: tuple[int, ...]) -> str:
    """Say which gate and unit an entry of a packed array belongs to."""
    if name.startswith("weight_hr"):
        return f"projected unit {index[0]}"
    gate, unit = divmod(index[0], case.H)
    return f"gate {cell_named(cell).gates[gate]}, unit {unit}"


def _blocks(packed: Array, height: int) -> list[Array]:
    return [packed[k : k + height] for k in range(0, packed.shape[0], height)]
