"""The reference evaluator of ONNX (``onnx.reference``): RNN, LSTM and GRU as lines of NumPy.

It computes in the dtype of its input, float64 too. It silently ignores ``sequence_lens`` (every row
runs to the last step), and an LSTM's ``activations``, ``clip`` and ``input_forget``, so coupled
gates and other candidates are not offered. Input of no steps raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...cases.case import Case
from ...cases.options import Options
from ...conventions.file_layout import Stored
from ..framework import FrameworkSubject, Plain, imported
from ..protocol import Inputs, Result, SubjectUnavailable
from .onnx_operator import Operator, convention

FAMILIES = {"onnx-reference": ("onnx",)}
INSTALL = "onnx"


@dataclass(frozen=True)
class OnnxReference(FrameworkSubject):
    """A model of one recurrent operator, run by ONNX's reference evaluator."""

    operator: Operator = field(kw_only=True)

    def version(self) -> str:
        return f"onnx {imported('onnx', INSTALL).__version__}"

    @property
    def stored(self) -> Stored:
        return self.operator.stored

    def build(self, case: Case) -> Plain:
        onnx, reference = imported("onnx", INSTALL), imported("onnx.reference", INSTALL)

        def run(inputs: Inputs) -> Result:
            evaluator = reference.ReferenceEvaluator(self.operator.model(onnx, case, inputs))
            _prove(evaluator, self.operator.kind)
            feeds = self.operator.feeds(case, inputs)
            return self.operator.result(case, evaluator.run(None, feeds))

        return Plain(run)


def _prove(evaluator: Any, kind: str) -> None:
    """Raise SubjectUnavailable unless the evaluator runs the operator itself."""
    kinds = [type(node).__name__.partition("_")[0] for node in evaluator.rt_nodes_]
    if kinds != [kind]:
        raise SubjectUnavailable(f"expected one {kind}, got {kinds}")


OPTIONS = Options(
    layers=False,
    lengths=False,
    gradient=False,
    batch_first=True,
    reasons=(
        ("layers", "an operator of ONNX is one layer"),
        ("lengths", "it ignores sequence_lens"),
        ("no_steps", "it raises ValueError"),
        ("gradient", "an evaluator of outputs"),
    ),
)


def _subject(name: str, operator: Operator) -> OnnxReference:
    return OnnxReference(f"onnx-reference:{name}", operator.convention, OPTIONS, operator=operator)


SUBJECTS = (
    _subject("RNN", Operator("RNN", convention("rnn"))),
    _subject("LSTM", Operator("LSTM", convention("lstm"))),
    _subject("LSTM-peephole", Operator("LSTM", convention("lstm", peepholes="iof"))),
    _subject("GRU", Operator("GRU", convention("gru"), {"linear_before_reset": 1})),
    _subject("GRU-reset-before", Operator("GRU", convention("gru", reset="before"))),
)
