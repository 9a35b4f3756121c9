"""The roles of a layer's parameters: by torch.nn's names, or else by shape and order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..conventions.parameter_map import ConventionMap
from ..subjects.torch_parameters import CONVENTIONS

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
NAME = re.compile(r"(?:^|\.)((weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l(\d+)(_reverse)?)$")


class NotReadable(Exception):
    """A class, or one call of it, differs from torch.nn's; the message says how."""


@dataclass(frozen=True, eq=False)
class StoredParameter:
    """One parameter, perhaps stored as the transpose of torch.nn's."""

    tensor: Any
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that torch.nn's parameter has."""
        shape = tuple(self.tensor.shape)
        return shape[::-1] if self.transposed else shape

    def turned(self, array: Floats) -> Floats:
        """Return an array of one form in the other."""
        return array.T if self.transposed else array


def parameters(module: Any, kind: str) -> dict[str, StoredParameter]:
    """Return the parameters by torch.nn's names; raise NotReadable if that is impossible."""
    named = list(module.named_parameters())
    by_name = {m.group(1): StoredParameter(p) for name, p in named if (m := NAME.search(name))}
    result = by_name or _by_shape(module, [p for _, p in named], kind)
    if not {"weight_ih_l0", "weight_hh_l0"} <= result.keys():
        raise NotReadable("its parameters have neither the names nor the shapes of torch.nn's")
    return result


def _by_shape(module: Any, tensors: Sequence[Any], kind: str) -> dict[str, StoredParameter]:
    """Recognise (G H, D) or (D, G H), (G H, H) or (H, G H), and (G H,), pass after pass."""
    gates = GATES[kind]
    H = _hidden(module, tensors, gates)
    matrices = [t for t in tensors if t.ndim == 2 and gates * H in t.shape]
    biases = [t for t in tensors if tuple(t.shape) == (gates * H,)]
    passes, odd = divmod(len(matrices), 2)
    if not H or not passes or odd or len(biases) not in (0, passes, 2 * passes):
        return {}
    directions = 2 if getattr(module, "bidirectional", False) else 1
    result: dict[str, StoredParameter] = {}
    for k in range(passes):
        level, direction = divmod(k, directions)
        suffix = f"_l{level}" + ("_reverse" if direction else "")
        W, U = matrices[2 * k : 2 * k + 2]
        if not _may_be_recurrent(U, H, gates):  # W has other sizes than U, unless D is H
            W, U = U, W
        if not _may_be_recurrent(U, H, gates):
            return {}
        transposed = [m.shape[0] != gates * H for m in (W, U)]
        if U.shape[0] == U.shape[1]:  # one gate: its matrix is stored as the input's is
            transposed[1] = transposed[0]
        result[f"weight_ih{suffix}"] = StoredParameter(W, transposed[0])
        result[f"weight_hh{suffix}"] = StoredParameter(U, transposed[1])
        of_pass = biases[k * len(biases) // passes : (k + 1) * len(biases) // passes]
        result |= {
            f"{n}{suffix}": StoredParameter(b)
            for n, b in zip(("bias_ih", "bias_hh"), of_pass, strict=False)
        }
    return result


def _hidden(module: Any, tensors: Sequence[Any], gates: int) -> int:
    stated = getattr(module, "hidden_size", None)
    if isinstance(stated, int):
        return stated
    square = (m for m in tensors if m.ndim == 2 and max(m.shape) == gates * min(m.shape))
    return next((int(min(m.shape)) for m in square), 0)


def _may_be_recurrent(matrix: Any, H: int, gates: int) -> bool:
    return tuple(matrix.shape) in ((gates * H, H), (H, gates * H))


def case_of(
    module: Any, kind: str, stored: Mapping[str, StoredParameter], layout: str, dtype: str
) -> Case:
    """Return a case with the layer's options, one row and one step."""
    D, H = stored["weight_ih_l0"].shape[1], stored["weight_ih_l0"].shape[0] // GATES[kind]
    P = stored["weight_hh_l0"].shape[1] if "weight_hr_l0" in stored else 0
    layers = 1 + max(int(m.group(3)) for name in stored if (m := NAME.search(name)))
    rate = getattr(module, "dropout", 0.0)
    rate = getattr(rate, "p", rate)  # a number, or a torch.nn.Dropout
    case = Case(
        1, 1, D, H, P,
        layers=layers,
        bidirectional="weight_ih_l0_reverse" in stored,
        bias="bias_ih_l0" in stored,
        layout=layout,
        dropout=float(rate) if isinstance(rate, int | float) else 0.0,
        dtype=dtype,
    )  # fmt: skip
    cell = cell_of(module, kind, case)
    expected = ConventionMap(CONVENTIONS[cell], case).shapes()
    for name in expected.keys() | stored.keys():
        lacks_second_bias = name not in stored and name.startswith("bias_hh")
        if not lacks_second_bias and (
            name not in stored or expected.get(name) != stored[name].shape
        ):
            has = stored[name].shape if name in stored else "none"
            raise NotReadable(
                f"parameter {name}: expected {expected.get(name, 'none')} as torch.nn.{kind}, "
                f"got {has}"
            )
    return case


def cell_of(module: Any, kind: str, case: Case) -> str:
    """Return the name of the reference's cell."""
    if kind == "RNN" and getattr(module, "nonlinearity", "tanh") == "relu":
        return "rnn-relu"
    return "lstm-projected" if case.P else kind.lower()


def to_reference(case: Case, cell: str, named: Mapping[str, Floats]) -> tuple[Parameters, ...]:
    """Unpack arrays under torch.nn's names; a missing second bias is 0."""
    like = named["weight_hh_l0"]
    of_torch = ConventionMap(CONVENTIONS[cell], case)
    shapes = of_torch.shapes().items()
    absent = {n: np.zeros(s, like.dtype) for n, s in shapes if n not in named}
    return of_torch.to_reference({**absent, **named})
