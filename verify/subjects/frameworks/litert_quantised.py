"""LiteRT's quantised LSTM and RNN, formerly TensorFlow Lite's, on its CPU kernels.

``LSTM`` and ``RNN`` are hybrid: weights of 8 bits, one scale for each gate of each matrix, and
floats otherwise. In each step the engine quantises what they are multiplied with, each row with a
range of its own, without a zero point, or with one (``asymmetric``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

from ....reference.functions import Array
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...numbers.quantisation import ROUNDINGS
from ..framework import FrameworkSubject, OncePerParameters, Plain, imported
from ..protocol import Inputs, Result
from .litert_model import ABSENT, INSTALL, Grid, Model, Program

FAMILIES = {"litert-quantised": ("ai_edge_litert",)}

OPTIONS = Options(
    layers=False,
    bidirectional=False,
    bias=False,
    lengths=False,
    gradient=False,
    reasons=(
        ("layers", "an operator is one layer"),
        ("bidirectional", "an operator has one direction"),
        ("bias", "the operator needs its biases"),
        ("lengths", "all rows of a call are as long as its input"),
        ("gradient", "an inference engine"),
    ),
)

LARGEST = np.float32(127)
"""The largest integer of a weight; the scale is a 127th of the largest magnitude."""


def rounded_weights(weights: Array) -> tuple[Array, Grid]:
    """Return weights of 8 bits, and their scale as float32 has it: 1 where all are 0."""
    scale = np.abs(weights).max(initial=0) / LARGEST or np.float32(1)
    integers = np.clip(ROUNDINGS["away"](weights / scale), -LARGEST, LARGEST)
    return integers.astype(np.int8), Grid(float(scale))


@dataclass(frozen=True)
class LiteRT(FrameworkSubject):
    """A model of one operator with weights of 8 bits; ``quantised`` is its arithmetic."""

    quantised: str = field(kw_only=True)
    asymmetric: bool = field(default=False, kw_only=True)

    def version(self) -> str:
        """Return the version."""
        imported("ai_edge_litert", INSTALL)
        return f"ai-edge-litert {version('ai-edge-litert')}"

    def build(self, case: Case) -> Plain:
        """Return the layer; for other parameters or sizes another model is made."""
        made = OncePerParameters(lambda inputs: self._program(case, inputs), lambda i: i.x.shape)
        widths = [case.H for _ in self.convention.states]

        def run(inputs: Inputs) -> Result:
            rows = inputs.x.shape[1]
            state = [s[0] for s in inputs.state or ()] or [
                np.zeros((rows, width), np.float32) for width in widths
            ]
            y, final = made(inputs).run(inputs.x, state)
            return Result(y, tuple(s[None] for s in final))

        return Plain(run)

    def _program(self, case: Case, inputs: Inputs) -> Program:
        model, (steps, rows, _) = Model(), inputs.x.shape
        x = model.tensor(inputs.x.shape, "float32")
        matrices = [
            [model.constant(*rounded_weights(w)) for w in self._gates(inputs, name)]
            for name in ("weight_ih", "weight_hh")
        ]
        biases = [model.constant(b) for b in self._gates(inputs, "bias")]
        states = [
            model.tensor((rows, case.H), "float32", variable=True) for _ in self.convention.states
        ]
        given = operands(x, *matrices, biases, states)
        y = model.tensor((steps, rows, case.H), "float32")
        options = {
            "fusedActivationFunction": model.schema.ActivationFunctionType.TANH,
            "asymmetricQuantizeInputs": self.asymmetric,
        }
        kind = {"lstm": "UnidirectionalSequenceLSTM", "rnn": "SequenceRNN"}[self.convention.family]
        return Program(model.finished(kind, options, given, y), states)

    def _gates(self, inputs: Inputs, name: str) -> list[Array]:
        """Return the parts of an array, one for each gate, in the operator's order."""
        return np.split(inputs.parameters[f"{name}_l0"], len(self.convention.order))


def operands(
    x: int, input_weights: Any, recurrent_weights: Any, biases: Any, states: Sequence[int]
) -> list[int]:
    """Return an operator's inputs in their order; those of an LSTM that are left out are absent."""
    if len(states) == 1:
        return [x, *input_weights, *recurrent_weights, *biases, *states]
    peepholes, projection, normalisation = [ABSENT] * 3, [ABSENT] * 2, [ABSENT] * 4
    return [
        x, *input_weights, *recurrent_weights, *peepholes, *biases, *projection, *states,
        *normalisation,
    ]  # fmt: skip


HYBRID = "weights=8, per=gate, activations=8, range=row, rounding=away"
SYMMETRIC, ASYMMETRIC = "activation_zero=no", "zero_added=before"
CONVENTIONS = {
    "LSTM": Convention("lstm", "ifgo", ("ifgo",), states=("h", "c")),
    "RNN": Convention("rnn", "a", ("a",), states=("h",)),
}

SUBJECTS = tuple(
    LiteRT(
        f"litert-quantised:{kind}{'-asymmetric' if asymmetric else ''}",
        convention, OPTIONS, ("float32",), asymmetric=asymmetric,
        quantised=f"{HYBRID}, {ASYMMETRIC if asymmetric else SYMMETRIC}",
    )
    for kind, convention in CONVENTIONS.items()
    for asymmetric in (False, True)
)  # fmt: skip
