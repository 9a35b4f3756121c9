"""OpenVINO's RNNSequence, LSTMSequence and GRUSequence, on its CPU plugin.

Its precision depends on the machine, and may be bfloat16, unless INFERENCE_PRECISION_HINT is set to
float32; the adapter sets it and reads back the precision of every node. float64 silently runs as
float32, so it is not offered.

Without lengths the axes of rows and steps are dynamic, and one program takes any. With lengths they
have to be static: if either is dynamic, version 2026.4.1 silently ignores the lengths. A row of
length 0 ends in zeros, whatever its initial state; the final states of input of no steps are
uninitialised memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ..framework import FrameworkSubject, OncePerParameters, Plain, by_pass, imported
from ..protocol import Inputs, Result, SubjectUnavailable

FAMILIES = {"openvino": ("openvino",)}
INSTALL = "openvino"

PRECISION = "f32"
SETTINGS = {"INFERENCE_PRECISION_HINT": PRECISION, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}


@dataclass(frozen=True)
class OpenVino(FrameworkSubject):
    """A model of one sequence operator, by the function of opset8 that creates its node."""

    function: str = field(kw_only=True)
    attributes: Mapping[str, bool] = field(default_factory=dict, kw_only=True)
    stored: ClassVar[Stored] = Stored(
        (("weight_ih", "W"), ("weight_hh", "R"), ("bias", "B")), axis=True
    )

    def version(self) -> str:
        return f"openvino {import_openvino().__version__}, precision {PRECISION}"

    def build(self, case: Case) -> Plain:
        def compiled(inputs: Inputs) -> Any:
            program = (
                import_openvino().Core().compile_model(self._model(case, inputs), "CPU", SETTINGS)
            )
            _prove(program)
            return program

        def form(inputs: Inputs) -> object:
            return None if inputs.lengths is None else inputs.x.shape

        program_for = OncePerParameters(compiled, form)

        def run(inputs: Inputs) -> Result:
            (steps, rows, _), width = inputs.x.shape, case.directions * case.H
            lengths = np.full(rows, steps) if inputs.lengths is None else inputs.lengths
            inputs_of_model = [inputs.x, *(inputs.state or ())]  # rows first, and no gaps in memory
            arrays = [np.ascontiguousarray(np.swapaxes(array, 0, 1)) for array in inputs_of_model]
            outputs = program_for(inputs)([*arrays, lengths.astype(np.int32)])
            y, *final = (outputs[k] for k in range(len(inputs_of_model)))
            y = np.moveaxis(y, 2, 0).reshape(steps, rows, width)  # from (B, directions, T, H)
            return Result(y, tuple(np.swapaxes(state, 0, 1) for state in final))

        return Plain(run)

    def _model(self, case: Case, inputs: Inputs) -> Any:
        openvino, ops = import_openvino(), imported("openvino.opset8", INSTALL)
        steps, rows = (-1, -1) if inputs.lengths is None else inputs.x.shape[:2]
        x = ops.parameter([rows, steps, case.D], np.float32)
        states = [
            ops.parameter([rows, case.directions, case.H], np.float32)
            for _ in self.convention.states
        ]
        lengths = ops.parameter([rows], np.int32)
        node = getattr(ops, self.function)(
            x,
            *states,
            lengths,
            *map(ops.constant, _weights(case, inputs.parameters)),
            case.H,
            "bidirectional" if case.bidirectional else "forward",
            **self.attributes,
        )
        return openvino.Model(list(node.outputs()), [x, *states, lengths])


def import_openvino() -> Any:
    """Return openvino; SubjectUnavailable says how to install it."""
    return imported("openvino", INSTALL)


def _weights(case: Case, parameters: Mapping[str, Floats]) -> list[Floats]:
    """Return the inputs W, R and B, with an entry for each direction."""
    passes = by_pass(case, parameters)
    return [
        np.stack([arrays[name] for arrays in passes]) for name in ("weight_ih", "weight_hh", "bias")
    ]


def _prove(compiled: Any) -> None:
    """Raise SubjectUnavailable unless all nodes compute in float32."""
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    nodes = compiled.get_runtime_model().get_ordered_ops()
    precisions = {node.get_rt_info()["runtimePrecision"].astype(str) for node in nodes}
    if hint != PRECISION or not precisions <= {PRECISION, "i32"}:
        raise SubjectUnavailable(
            f"expected precision {PRECISION}, got hint {hint}, nodes {precisions}"
        )


def _convention(family: str, order: str, bias: str, **others: Any) -> Convention:
    return Convention(
        family,
        order,
        (bias,),
        time="second",
        states=("h", "c") if family == "lstm" else ("h",),
        padding="zeros",
        empty_row="zeros",
        merge="axis",
        **others,
    )


OPTIONS = Options(
    layers=False,
    bias=False,
    default_state=False,
    gradient=False,
    reasons=(
        ("layers", "an operator is one layer"),
        ("bias", "its operators require them"),
        ("default_state", "its operators require initial states"),
        ("zero_length", "it ends in zeros, not in its initial state"),
        ("no_steps", "its final states are memory that nobody wrote"),
        ("gradient", "an inference engine"),
    ),
)


def _subject(name: str, convention: Convention, function: str, **attributes: bool) -> OpenVino:
    return OpenVino(
        f"openvino:{name}",
        convention,
        OPTIONS,
        ("float32",),
        function=function,
        attributes=attributes,
    )


SUBJECTS = (
    _subject("RNN", _convention("rnn", "a", "a"), "rnn_sequence"),
    _subject("LSTM", _convention("lstm", "figo", "figo"), "lstm_sequence"),
    _subject("GRU", _convention("gru", "zrn", "zrnm"), "gru_sequence", linear_before_reset=True),
    _subject("GRU-reset-before", _convention("gru", "zrn", "zrn", reset="before"), "gru_sequence"),
)
