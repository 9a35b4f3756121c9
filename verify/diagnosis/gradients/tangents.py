"""Tangents that are wrong in the same way as the gradients.

Where a graph is cut, by ``detach`` for example, autograd differentiates the remaining function in
reverse and in forward mode alike, so the Jacobian of one mode is the transpose of the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...numbers.ledger import Mismatch
from ...subjects.called import Call, NotOffered, SubjectCrashed, under_test
from ...subjects.inputs import draw_cotangents
from ...subjects.protocol import Subject
from ..hypotheses import along
from ..observation import Observation
from ..search import is_gradient

NOTE = "Forward mode (jvp) is wrong in the same way: its derivatives are those of the way back."

EXACT = {"float64": 2.0**-30, "float32": 2.0**-10}
"""The relative difference of two sums of products that rounding explains."""


def as_gradients(subject: Subject, observations: Sequence[Observation]) -> bool:
    """Whether wrong tangents agree with the layer's own gradients, if outputs are right.

    If outputs are wrong, wrong derivatives need no explanation of their own.
    """
    off = [(key, o.calls[key[0]]) for o in observations for key in sorted(o.deviating)]
    if any(call.tangents is None and not is_gradient(key) for key, call in off):
        return False
    unlike = {id(call): call for _, call in off if call.tangents is not None}.values()
    return bool(unlike) and all(_transposed(subject, call) for call in unlike)


def _transposed(subject: Subject, call: Call) -> bool:
    """Whether <d, J t> = <J' d, t> for drawn cotangents d and a call's tangents t."""
    case, (pushed,) = call.layer.case, call.results
    assert call.inputs is not None  # noqa: S101 - it was called
    assert call.tangents is not None  # noqa: S101 - the caller has checked it
    dy, dfinal = draw_cotangents(subject, case)
    try:
        pulled = under_test(subject).build(case).gradient(call.inputs, (dy, dfinal))
    except (SubjectCrashed, NotOffered, Mismatch):
        return False
    ahead = float(np.vdot(dy, pushed.y))
    ahead += sum(float(np.vdot(d, t)) for d, t in zip(dfinal, pushed.final, strict=True))
    size = float(np.sum(np.abs(dy * pushed.y)))
    return abs(ahead - along(pulled, call.tangents)) <= EXACT[case.dtype] * max(size, 1.0)
