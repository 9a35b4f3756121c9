"""LiteRT's quantised LSTM and RNN, formerly TensorFlow Lite's, on its CPU kernels.

``LSTM`` and ``RNN`` are hybrid: weights of 8 bits, one scale for each gate of each matrix, and
floats otherwise. In each step the engine quantises their operands, each row with a range of its
own, without a zero point, or with one (``asymmetric``).

``LSTM-int8`` has integers alone: input and output of 8 bits with fixed scales, as calibration
determines them, a cell state and gates of 16, biases of 32. The adapter quantises its arguments.
The operator takes no activations of 16 bits, and the operand of a projection must have its zero
point in the middle: another is used with the wrong sign (findings/litert_projection_zero_point.py).

``coupled`` gates have weights of f, and i is 1 - f, so the weights of i are written negated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from itertools import chain
from typing import Any

import numpy as np

from ....reference.functions import Array
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...numbers.integer_lstm import BIAS_END
from ...numbers.quantisation import ROUNDINGS, Quantisation
from ..framework import FrameworkSubject, OncePerParameters, Plain, imported
from ..protocol import Inputs, Result
from .litert_model import ABSENT, INSTALL, Grid, Program, Writer

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
"""The largest integer of a weight; the scale is 1/127 of the largest magnitude."""


def rounded_weights(weights: Array) -> tuple[Array, Grid]:
    """Return weights of 8 bits, and their scale in float32: 1 if all are 0."""
    scale = np.abs(weights).max(initial=0) / LARGEST or np.float32(1)
    integers = np.clip(ROUNDINGS["away"](weights / scale), -LARGEST, LARGEST)
    return integers.astype(np.int8), Grid(float(scale))


Parts = tuple[list[int], list[int], list[int], list[int]]
"""The tensors of W, U and b for each gate, and of the projection R, if there is one."""


@dataclass(frozen=True)
class LiteRT(FrameworkSubject):
    """A model of one hybrid operator with weights of 8 bits; ``quantised`` is its arithmetic."""

    quantised: str = field(kw_only=True)
    asymmetric: bool = field(default=False, kw_only=True)

    def version(self) -> str:
        """Return the version."""
        imported("ai_edge_litert", INSTALL)
        return f"ai-edge-litert {version('ai-edge-litert')}"

    def build(self, case: Case) -> Plain:
        """Return the layer; it builds a new model for other parameters or sizes."""
        program_for = OncePerParameters(
            lambda inputs: self._program(case, inputs), lambda i: i.x.shape
        )

        def run(inputs: Inputs) -> Result:
            rows = inputs.x.shape[1]
            state = [s[0] for s in inputs.state or ()]
            state = state or [np.zeros((rows, n), np.float32) for n in self._widths(case)]
            return self._run(program_for(inputs), inputs.x, state)

        return Plain(run)

    def _widths(self, case: Case) -> list[int]:
        """Return the widths of the states."""
        return [case.P or case.H, case.H][: len(self.convention.states)]

    def _run(self, program: Program, x: Array, state: Sequence[Array]) -> Result:
        """Run a program on floating-point arrays."""
        y, final = program.run(x, state)
        return Result(y, tuple(s[None] for s in final))

    def _program(self, case: Case, inputs: Inputs) -> Program:
        writer, (steps, rows, _) = Writer(), inputs.x.shape
        x = writer.tensor("x", inputs.x.shape)
        parts = self._parts(writer, inputs)
        widths = self._widths(case)
        states = [writer.tensor("state", (rows, n), variable=True) for n in widths]
        y = writer.tensor("y", (steps, rows, widths[0]))
        options = {"asymmetricQuantizeInputs": self.asymmetric}
        return self._complete_program(writer, x, parts, states, y, options)

    def _parts(self, writer: Writer, inputs: Inputs) -> Parts:
        """Add the parameters of all gates."""
        W, U, b = (self._gates(inputs, name) for name in ("weight_ih", "weight_hh", "bias"))
        return (
            [writer.constant(*rounded_weights(w)) for w in W],
            [writer.constant(*rounded_weights(u)) for u in U],
            [writer.constant(a) for a in b],
            self._projection(writer, inputs),
        )

    def _projection(self, writer: Writer, inputs: Inputs) -> list[int]:
        """Add a projection's weights, if there is one."""
        named = [a for name, a in inputs.parameters.items() if name == "weight_hr_l0"]
        return [writer.constant(*rounded_weights(a)) for a in named]

    def _gates(self, inputs: Inputs, name: str) -> list[Array]:
        """Split an array by gates; coupled gates begin with f, the negated i."""
        parts = np.split(inputs.parameters[f"{name}_l0"], len(self.convention.order))
        return [-parts[0], *parts[1:]] if self.convention.coupled else parts

    def _complete_program(
        self,
        writer: Writer,
        x: int,
        parts: Parts,
        states: list[int],
        y: int,
        options: dict[str, Any],
        intermediates: Sequence[int] = (),
    ) -> Program:
        """Return the program of a complete graph; optional inputs of an LSTM are absent."""
        operands, schema = [x, *chain(*parts), *states], writer.schema
        operator, settings = "UNIDIRECTIONAL_SEQUENCE_RNN", schema.SequenceRNNOptionsT()
        if self.convention.family == "lstm":
            *of_gates, R = parts
            W, U, b = (([ABSENT] if self.convention.coupled else []) + part for part in of_gates)
            peepholes, projection, normalisation = [ABSENT] * 3, R or [ABSENT], [ABSENT] * 4
            operands = [x, *W, *U, *peepholes, *b, *projection, ABSENT, *states, *normalisation]
            operator = "UNIDIRECTIONAL_SEQUENCE_LSTM"
            settings = schema.UnidirectionalSequenceLSTMOptionsT()
        settings.timeMajor = True
        settings.fusedActivationFunction = schema.ActivationFunctionType.TANH
        for name, value in options.items():
            setattr(settings, name, value)
        writer.operator(operator, operands, [y], settings, intermediates)
        return Program(writer.model([x], [y]), states)


@dataclass(frozen=True)
class IntegerLiteRT(LiteRT):
    """A model of one operator in integers alone, with the scales of its arithmetic."""

    @cached_property
    def arithmetic(self) -> Quantisation:
        """The parsed arithmetic."""
        return Quantisation.parse(self.quantised)

    @cached_property
    def grids(self) -> dict[str, Grid]:
        """The scales of x, h and c; zero points are those of signed integers."""
        scales = self.arithmetic.given_scales.items()
        grids = {name: Grid(float(np.float32(s)), zero - 128) for name, (s, zero) in scales}
        return {**grids, "c": Grid(self.arithmetic.state_formats["c"].step)}

    def _run(self, program: Program, x: Array, state: Sequence[Array]) -> Result:
        grids = self.grids
        read = [_integers(a, grids[n], d) for n, a, d in zip("hc", state, STORED, strict=True)]
        y, (h, c) = program.run(_integers(x, grids["x"], "int8"), read)
        y, h, c = (_numbers(a, grids[n]) for a, n in ((y, "h"), (h, "h"), (c, "c")))
        return Result(y, (h[None], c[None]))

    def _program(self, case: Case, inputs: Inputs) -> Program:
        writer, grids, (steps, rows, _) = Writer(), self.grids, inputs.x.shape
        x = writer.tensor("x", inputs.x.shape, dtype="INT8", grid=grids["x"])
        parts = self._parts(writer, inputs)
        states = [
            writer.tensor(name, (rows, width), dtype=dtype.upper(), grid=grids[name], variable=True)
            for width, name, dtype in zip(self._widths(case), "hc", STORED, strict=True)
        ]
        y = writer.tensor("y", (steps, rows, case.P or case.H), dtype="INT8", grid=grids["h"])
        gates = Grid(self.arithmetic.gate_format.step)
        between = [writer.tensor("gate", (1,), dtype="INT16", grid=gates) for _ in range(4)]
        hidden = grids["m" if case.P else "h"]
        between.append(writer.tensor("hidden", (1,), dtype="INT8", grid=hidden))
        return self._complete_program(writer, x, parts, states, y, {}, between)

    def _parts(self, writer: Writer, inputs: Inputs) -> Parts:
        W, U, b = (self._gates(inputs, name) for name in ("weight_ih", "weight_hh", "bias"))
        rounded = [rounded_weights(w) for w in W]
        scales = [grid.scale * self.grids["x"].scale for _, grid in rounded]
        ends = [BIAS_END * s for s in scales]
        b = [np.clip(np.float64(a), -end, end) for a, end in zip(b, ends, strict=True)]
        biases = [_integers(a, Grid(s), "int32") for a, s in zip(b, scales, strict=True)]
        return (
            [writer.constant(*w) for w in rounded],
            [writer.constant(*rounded_weights(u)) for u in U],
            [writer.constant(a, Grid(s)) for a, s in zip(biases, scales, strict=True)],
            self._projection(writer, inputs),
        )


STORED = ("int8", "int16")
"""The dtypes of h and c between steps."""


def _integers(a: Array, grid: Grid, dtype: str) -> Array:
    """Quantise numbers to a grid's integers, with saturation."""
    ends = np.iinfo(dtype)
    quotient = np.asarray(a, np.float64) / grid.scale
    return np.clip(ROUNDINGS["away"](quotient) + grid.zero, ends.min, ends.max).astype(dtype)


def _numbers(integers: Array, grid: Grid) -> Array:
    """Convert a grid's integers to numbers."""
    return (integers.astype(np.float32) - np.float32(grid.zero)) * np.float32(grid.scale)


HYBRID = "weights=8, per=gate, activations=8, range=row, operands=xhm, rounding=away"
SYMMETRIC, ASYMMETRIC = f"{HYBRID}, activation_zero=no", f"{HYBRID}, zero_added=before"
INTEGERS = (
    "weights=8, per=gate, activations=8, range=given, operands=xhm, "
    "scales=x:0.03125:123+h:0.0078:131+m:0.0079:128, states=c:<16,5>, gates=<16,4>, rounding=away"
)
"""Scales as calibration may determine them; that of x is a power of 2, so that ties are exact."""

CONVENTIONS = {
    "LSTM": Convention("lstm", "ifgo", ("ifgo",), states=("h", "c")),
    "LSTM-coupled": Convention("lstm", "igo", ("igo",), states=("h", "c"), coupled=True),
    "RNN": Convention("rnn", "a", ("a",), states=("h",)),
}


def _subject(
    name: str, convention: str, quantised: str, kind: type[LiteRT] = LiteRT, **others: Any
) -> LiteRT:
    options = replace(OPTIONS, projection=convention == "LSTM")
    return kind(
        f"litert-quantised:{name}", CONVENTIONS[convention], options, ("float32",),
        quantised=quantised, **others,
    )  # fmt: skip


SUBJECTS = (
    _subject("LSTM", "LSTM", SYMMETRIC),
    _subject("LSTM-asymmetric", "LSTM", ASYMMETRIC, asymmetric=True),
    _subject("LSTM-coupled", "LSTM-coupled", SYMMETRIC),
    _subject("RNN", "RNN", SYMMETRIC),
    _subject("RNN-asymmetric", "RNN", ASYMMETRIC, asymmetric=True),
    _subject("LSTM-int8", "LSTM", INTEGERS, IntegerLiteRT),
    _subject("LSTM-int8-coupled", "LSTM-coupled", INTEGERS, IntegerLiteRT),
)
