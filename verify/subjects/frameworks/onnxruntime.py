"""ONNX Runtime's RNN, LSTM and GRU, on its CPU execution provider.

Parameters are initializers of the model, as in every exported file. The engine repacks them when it
opens the session, so other parameters need another session. Its CPU kernels compute in float32 and
float16; it has none for float64. Clipping (``clip``) is not in the reference.

A row of length 0 ends in zeros, whatever its initial state (ONNX leaves this open), and so does
input of no steps, on which the GRU of version 1.31.1 ends the process; neither is offered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...cases.case import Case
from ...cases.options import Options
from ...conventions.file_layout import Stored
from ..framework import FrameworkSubject, OncePerParameters, Plain, imported, optional_inputs
from ..protocol import Inputs, Result, SubjectUnavailable
from .onnx_operator import Operator, convention

FAMILIES = {"onnxruntime": ("onnxruntime", "onnx")}
INSTALL = "onnxruntime onnx"

PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True)
class OnnxRuntime(FrameworkSubject):
    """A model of one recurrent operator, run by ONNX Runtime."""

    operator: Operator = field(kw_only=True)

    def version(self) -> str:
        imported("onnx", INSTALL)
        return f"onnxruntime {import_runtime().__version__}, {PROVIDER}"

    @property
    def stored(self) -> Stored:
        return self.operator.stored

    def build(self, case: Case) -> Plain:
        """Return the layer; it opens another session for other parameters."""
        onnx = imported("onnx", INSTALL)

        def make(inputs: Inputs) -> Any:
            model = self.model_to_run(onnx, self.operator.model(onnx, case, inputs))
            return session(model.SerializeToString())

        session_for = OncePerParameters(make, optional_inputs)

        def run(inputs: Inputs) -> Result:
            feeds = self.operator.feeds(case, inputs)
            return self.operator.result(case, session_for(inputs).run(self.operator.outputs, feeds))

        return Plain(run)

    def model_to_run(self, onnx: Any, model: Any) -> Any:
        """Return the model to run; SubjectUnavailable unless it is the operator alone."""
        if [node.op_type for node in model.graph.node] != [self.operator.kind]:
            raise SubjectUnavailable(f"the model is not one {self.operator.kind}")
        return model


def import_runtime() -> Any:
    """Return onnxruntime; SubjectUnavailable says how to install it."""
    return imported("onnxruntime", INSTALL)


def session(model: bytes) -> Any:
    """Return a session on one thread; SubjectUnavailable unless the CPU alone computes."""
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    opened = runtime.InferenceSession(model, options, providers=[PROVIDER])
    if opened.get_providers() != [PROVIDER]:
        raise SubjectUnavailable(f"expected {PROVIDER} alone, got {opened.get_providers()}")
    return opened


RULES = {"padding": "zeros", "empty_row": "zeros"}
OPTIONS = Options(
    layers=False,
    gradient=False,
    reasons=(
        ("layers", "an operator of ONNX is one layer"),
        ("zero_length", "it ends in zeros, not in its initial state; ONNX does not say"),
        ("no_steps", "RNN and LSTM end in zeros, GRU ends the process"),
        ("gradient", "an inference engine"),
        ("batch_first", "its CPU kernels refuse layout=1"),
    ),
)


def _subject(name: str, operator: Operator) -> OnnxRuntime:
    options, dtypes = OPTIONS, ("float32",)
    return OnnxRuntime(
        f"onnxruntime:{name}", operator.convention, options, dtypes, operator=operator
    )


SUBJECTS = (
    _subject("RNN", Operator("RNN", convention("rnn", **RULES))),
    _subject(
        "RNN-relu",
        Operator("RNN", convention("rnn", candidate="relu", **RULES), activations=("Relu",)),
    ),
    _subject("LSTM", Operator("LSTM", convention("lstm", **RULES))),
    _subject("LSTM-peephole", Operator("LSTM", convention("lstm", peepholes="iof", **RULES))),
    _subject(
        "LSTM-coupled",
        Operator("LSTM", convention("lstm", coupled=True, **RULES), {"input_forget": 1}),
    ),
    _subject(
        "LSTM-sigmoid-candidate",
        Operator(
            "LSTM",
            convention("lstm", candidate="sigmoid", **RULES),
            activations=("Sigmoid", "Sigmoid", "Tanh"),
        ),
    ),
    _subject("GRU", Operator("GRU", convention("gru", **RULES), {"linear_before_reset": 1})),
    _subject("GRU-reset-before", Operator("GRU", convention("gru", reset="before", **RULES))),
)
