"""TensorFlow's fused ops ``BlockLSTM``, ``BlockLSTMV2`` and ``GRUBlockCell``, on the CPU.

BlockLSTM clips the cell state to [-3, 3] by default (``cell_clip``), which its gradient ignores;
the adapter switches it off. Its ``seq_len_max`` is one length for the whole batch, not for rows.

The gradient that TensorFlow 2.21 registers for BlockLSTMV2 is BlockLSTM's, whose gates lie in
another order; nothing calls the op BlockLSTMGradV2, which would be right. The adapter returns the
gradients of ``tf.GradientTape``.

GRUBlockCell has no registered gradient. GRUBlockCellGrad returns the gradients of x, h and the
gates; the adapter sums those of the parameters, as its documentation asks callers to do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ..framework import FrameworkSubject, Plain, imported, pulled_back, result_of
from ..protocol import Built, Cotangents, Inputs, Pulled, Result, SubjectUnavailable

FAMILIES = {"tensorflow": ("tensorflow",)}
INSTALL = "tensorflow-cpu"


@dataclass(frozen=True)
class TensorFlowOp(FrameworkSubject):
    """An op of tf.raw_ops; ops store no parameters, so files have the convention's names."""

    op: str = ""

    def version(self) -> str:
        return f"tensorflow {_tensorflow(self.op).__version__}, CPU"

    def build(self, case: Case) -> Built:
        tf = _tensorflow(self.op)
        function = _gru if self.op == "GRUBlockCell" else _block
        layer = _Layer(tf, self, function)
        return Plain(layer.run, layer.pull)


@dataclass(frozen=True)
class _Layer:
    tf: Any
    subject: TensorFlowOp
    function: Any

    def run(self, inputs: Inputs) -> Result:
        with self.tf.device("CPU"):
            return result_of(self.function(self.tf, self.subject, self._leaves(inputs)))

    def pull(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Run once, and pull every pair of cotangents back by the tape."""
        with self.tf.device("CPU"), self.tf.GradientTape(persistent=True) as tape:
            leaves = self._leaves(inputs)
            tape.watch(list(leaves.values()))
            outputs = self.function(self.tf, self.subject, leaves)

        def gradient(heads: list[Any], along: list[Any], directions: list[Any]) -> Sequence[Any]:
            with self.tf.device("CPU"):
                pulled: Sequence[Any] = tape.gradient(
                    heads, along, [self.tf.constant(d) for d in directions]
                )
                return pulled

        result = result_of(outputs)
        return [
            pulled_back(result, leaves, list(zip(outputs, (dy, *end), strict=True)), gradient)
            for dy, end in cotangents
        ]

    def _leaves(self, inputs: Inputs) -> dict[str, Any]:
        """Return all tensors of which gradients are computed, by name."""
        if inputs.state is None:
            raise NotImplementedError("the ops need an initial state")
        return {name: self.tf.constant(array) for name, array in inputs.leaves.items()}


def _block(tf: Any, subject: TensorFlowOp, leaves: Mapping[str, Any]) -> list[Any]:
    """Call BlockLSTM or BlockLSTMV2 over all steps; return y, and the last h and c."""
    x, w = leaves["x"], leaves["weight_l0"]
    peephole = leaves.get("peephole_l0", tf.zeros(3 * w.shape[1] // 4))
    wci, wcf, wco = tf.split(peephole, 3)
    first = {"forget_bias": subject.convention.forget_offset} if subject.op == "BlockLSTM" else {}
    out = getattr(tf.raw_ops, subject.op)(
        seq_len_max=tf.constant(x.shape[0], tf.int64),
        x=x,
        h_prev=leaves["state 0"][0],
        cs_prev=leaves["state 1"][0],
        w=w,
        wci=wci,
        wcf=wcf,
        wco=wco,
        b=leaves["bias_l0"],
        cell_clip=-1.0,
        use_peephole=bool(subject.convention.peepholes),
        **first,
    )
    return [out.h, out.h[-1:], out.cs[-1:]]


def _gru(tf: Any, subject: TensorFlowOp, leaves: Mapping[str, Any]) -> list[Any]:
    """Call GRUBlockCell step by step; return y and the last h."""
    w, b = leaves["weight_l0"], leaves["bias_l0"]
    width = b.shape[0] // 3
    w_ru, w_c = tf.split(w, [2 * width, width], axis=1)
    b_ru, b_c = tf.split(b, [2 * width, width])
    h, steps = leaves["state 0"][0], []
    for x in tf.unstack(leaves["x"]):
        h = _gru_step(tf)(x, h, w_ru, w_c, b_ru, b_c)
        steps.append(h)
    return [tf.stack(steps), h[None]]


def _gru_step(tf: Any) -> Any:
    """Return one step of GRUBlockCell with the gradient of GRUBlockCellGrad."""

    def step(x: Any, h_prev: Any, *p: Any) -> tuple[Any, Any]:
        arguments = dict(zip(("x", "h_prev", "w_ru", "w_c", "b_ru", "b_c"), (x, h_prev, *p),
                         strict=True))  # fmt: skip
        r, u, c, h = tf.raw_ops.GRUBlockCell(**arguments)

        def pull(d_h: Any) -> tuple[Any, ...]:
            g = tf.raw_ops.GRUBlockCellGrad(**arguments, r=r, u=u, c=c, d_h=d_h)
            dw_ru = tf.matmul(tf.concat([x, h_prev], 1), g.d_r_bar_u_bar, transpose_a=True)
            dw_c = tf.matmul(tf.concat([x, r * h_prev], 1), g.d_c_bar, transpose_a=True)
            biases = (tf.reduce_sum(g.d_r_bar_u_bar, 0), tf.reduce_sum(g.d_c_bar, 0))
            return (g.d_x, g.d_h_prev, dw_ru, dw_c, *biases)

        return h, pull

    return tf.custom_gradient(step)


def _tensorflow(op: str) -> Any:
    """Return tensorflow without its log messages; SubjectUnavailable if it lacks the op."""
    before = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = before or "3"
    tf = imported("tensorflow", INSTALL)
    if before is None:
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    if not hasattr(tf.raw_ops, op):
        raise SubjectUnavailable(f"tensorflow {tf.__version__} has no tf.raw_ops.{op}")
    return tf


_OPTIONS = Options(
    layers=False,
    bidirectional=False,
    bias=False,
    lengths=False,
    default_state=False,
    reasons=(
        ("bias", "the op needs a bias"),
        ("lengths", "seq_len_max is one length for the whole batch"),
        ("default_state", "the op needs an initial state"),
        ("no_steps", "the op returns the states of every step, and no other"),
    ),
)
_OF_STEPS = ("lengths", "no_steps")
_CELL = replace(_OPTIONS, reasons=tuple(r for r in _OPTIONS.reasons if r[0] not in _OF_STEPS))
_FIRST = Convention(
    "lstm", "igfo", ("igfo",), layout="joint", forget_offset=1.0, states=("h", "c"),
    padding="zeros",
)  # fmt: skip
_SECOND = replace(_FIRST, order="ifgo", bias=("ifgo",), forget_offset=0.0)
_GRU = Convention(
    "gru", "rzn", ("rzn",), layout="joint", reset="before", time="one step", states=("h",)
)
_SINGLE = ("float32",)

SUBJECTS = (
    TensorFlowOp("tensorflow:BlockLSTM", _FIRST, _OPTIONS, _SINGLE, "BlockLSTM"),
    TensorFlowOp(
        "tensorflow:BlockLSTM-peephole",
        replace(_FIRST, peepholes="ifo"),
        _OPTIONS,
        _SINGLE,
        "BlockLSTM",
    ),
    TensorFlowOp("tensorflow:BlockLSTMV2", _SECOND, _OPTIONS, _SINGLE, "BlockLSTMV2"),
    TensorFlowOp(
        "tensorflow:BlockLSTMV2-peephole",
        replace(_SECOND, peepholes="ifo"),
        _OPTIONS,
        _SINGLE,
        "BlockLSTMV2",
    ),
    TensorFlowOp("tensorflow:GRUBlockCell", _GRU, _CELL, _SINGLE, "GRUBlockCell"),
)
