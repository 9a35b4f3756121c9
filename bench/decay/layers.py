"""The gradient of a user's layer against lag, beside that of the equations.

The layer runs once over all steps, on its own device and in its own dtype; a random unit cotangent
on its last output is pulled back, and the gradient of the input k steps before is recorded. The
reference does the same in float64 on the same numbers. Both are unscaled, as in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...reference.functions import Array
from ...verify.cases.case import Case
from ...verify.numbers.arithmetic import PackageMissing
from ...verify.subjects import subject_named
from ...verify.subjects.called import NotOffered, SubjectCrashed, layer_of, state_shapes, with_care
from ...verify.subjects.protocol import Inputs, Subject, SubjectUnavailable, Watching
from ..run import OK, UnsupportedError
from .problem import INPUT_WIDTH, Setting, parameters
from .rates import band, rate, slope
from .rows import LayerRow

POINTS = 100
"""The most lags of a curve."""


def measured(name: str, setting: Setting, dtype: str, steps: int, seeds: Sequence[int]) -> LayerRow:
    """Measure a layer over seeds; raise UnsupportedError, with the reason, if it cannot run."""
    subject = subject_named(name)
    watch: Watching | None = getattr(subject, "watch", None)
    if watch is not None:
        watch.begin()
    try:
        version = subject.version()
        gradients = [_pull_back(subject, setting, dtype, steps, seed) for seed in seeds]
    except (SubjectUnavailable, NotOffered, SubjectCrashed, PackageMissing) as error:
        raise UnsupportedError(str(error)) from error
    if watch is not None and watch.lacking:
        raise UnsupportedError(f"something else ran: {watch.lacking}")
    lags = np.unique(np.linspace(0, steps - 1, min(POINTS, steps)).astype(int))
    curves, exact = (np.array([_log_norms(dx)[lags] for dx in side])
                  for side in zip(*gradients, strict=True))  # fmt: skip
    late = lags >= lags[-1] // 5
    return LayerRow(
        id="", status=OK, what="layer", subject=name, version=version, cell=setting.cell,
        dtype=dtype, hidden=setting.hidden, gain=setting.gain, forget_bias=setting.forget_bias,
        steps=steps, seeds=len(seeds), lags=tuple(lags.tolist()), curve=band(curves),
        right=band(exact), rate=rate(np.array([slope(lags[late], logs[late]) for logs in exact])),
        wrong=_median([_first(_is_wrong(*pair)) for pair in gradients]),
        zero=_median([_first(~dx.any(axis=1)) for dx, _ in gradients]),
        ran=watch.summary if watch is not None else "",
    )  # fmt: skip


def _pull_back(
    subject: Subject, setting: Setting, dtype: str, steps: int, seed: int
) -> tuple[Array, Array]:
    """Return gradients (T, D) of the inputs, in float64: of the layer, and of the equations."""
    rng = np.random.default_rng((seed, 0))
    p = parameters(setting, rng)
    state = subject.options.state and not subject.options.default_state
    case = Case(steps, 1, INPUT_WIDTH, setting.hidden, dtype=dtype, state=state, seed=seed)
    if missing := (*subject.options.missing(("gradient",)), *subject.options.lacking(case)):
        raise UnsupportedError(subject.options.why(missing))
    packed = {
        name: np.asarray(array).astype(case.number_type)
        for name, array in subject.parameter_map(case).pack([p]).items()
    }
    x = rng.standard_normal((steps, 1, INPUT_WIDTH)).astype(case.number_type)
    last = rng.standard_normal(setting.hidden)
    dy = np.zeros((steps, 1, setting.hidden))
    dy[-1, 0] = last / np.linalg.norm(last)
    dy = dy.astype(case.number_type)
    layer = layer_of(subject, case)
    shapes = state_shapes(layer, case)
    start = tuple(np.zeros(shape, case.number_type) for shape in shapes) if state else None
    inputs = Inputs(packed, x, start, None)
    built = with_care(lambda: subject.build(case))
    (gradients,) = with_care(lambda: built.gradients(inputs, [(dy, (None,) * len(shapes))]))
    fine = {name: array.astype(np.float64) for name, array in packed.items()}
    named = subject.parameter_map(case).to_reference(fine)
    output = layer.forward(named, x.astype(np.float64), None)
    gradient = layer.vjp(named, output, dy.astype(np.float64))
    return gradients.x[:, 0].astype(np.float64), gradient.x[:, 0]


def _log_norms(dx: Array) -> Array:
    """Return ln ‖dx‖ at each lag, from the last step back; -inf where it is 0."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.log(np.linalg.norm(dx[::-1], axis=1))


def _is_wrong(gradient: Array, expected: Array) -> Array:
    """Return, for each step, whether the gradient is off by more than half of its norm."""
    return ~(np.linalg.norm(gradient - expected, axis=1) <= np.linalg.norm(expected, axis=1) / 2)


def _first(steps: Array) -> float:
    """Return the lag of the last true step; inf if none is true."""
    lags = np.flatnonzero(steps[::-1])
    return float(lags[0]) if len(lags) else float("inf")


def _median(lags: Sequence[float]) -> int | None:
    """Return the median lag over seeds; None if it is beyond the last."""
    middle = sorted(lags)[len(lags) // 2]
    return int(middle) if np.isfinite(middle) else None
