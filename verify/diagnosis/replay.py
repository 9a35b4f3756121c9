"""Repeat the calls of an observation with another layer, and compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..checks.oracle import state_names
from ..checks.quantities import by_name
from ..subjects.called import Call, with_care
from ..subjects.protocol import (
    Built,
    Inputs,
    Result,
    Subject,
    SubjectUnavailable,
    cotangents_of,
)
from .observation import Key, Observation, residual

R = TypeVar("R")


class Raised(Exception):
    """The other layer raised in a repeated call."""


def replay(
    build: Callable[[Case], Built], calls: Sequence[Call]
) -> Iterator[tuple[int, Sequence[Result]]]:
    """Repeat calls with another layer; yield each call's number and results.

    Raise Raised if the other layer raises.
    """
    layers: dict[int, Built] = {}
    for number, call in enumerate(calls):
        key = id(call.layer.built)
        if key not in layers:
            layers[key] = _with_care(lambda call=call: build(call.layer.case))  # type: ignore[misc]
        layer = layers[key]
        if call.inputs is None:
            layer.train(call.training)
            continue
        yield number, _with_care(lambda call=call, layer=layer: _repeat_call(layer, call))  # type: ignore[misc]


def _repeat_call(layer: Built, call: Call) -> Sequence[Result]:
    assert call.inputs is not None  # noqa: S101 - replay skips those
    inputs = _copied_inputs(call.inputs)
    if call.tangents is not None:
        return [layer.jvp(inputs, _copied_inputs(call.tangents))]
    if call.cotangents is None:
        return [layer.forward(inputs)]
    return layer.gradients(inputs, [cotangents_of(_view_copied, pair) for pair in call.cotangents])


def _copied_inputs(inputs: Inputs) -> Inputs:
    lengths = None if inputs.lengths is None else np.array(inputs.lengths)
    parameters = inputs.parameters.items()  # those that are not contiguous are so on purpose
    return replace(
        inputs,
        parameters={n: np.array(a) if a.flags.c_contiguous else a for n, a in parameters},
        x=_view_copied(inputs.x),
        state=None if inputs.state is None else tuple(map(_view_copied, inputs.state)),
        lengths=lengths,
    )


def _view_copied(array: Floats) -> Floats:
    """Copy an array with its strides: a wrong layer may write into memory, or misread strides."""
    steps = zip(array.strides, array.shape, strict=True)
    if any(stride == 0 and size > 1 for stride, size in steps):
        return array  # broadcast: not writable
    root = array.base if isinstance(array.base, np.ndarray) else array
    return array.copy() if root is array else _view(array, root)


def _view(array: Floats, root: Floats) -> Floats:
    """Return the same view into a copy of its memory."""
    memory = root.copy(order="K")
    offset = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return np.ndarray(array.shape, array.dtype, memory, offset, array.strides)


def _with_care(function: Callable[[], R]) -> R:
    try:
        return with_care(function)
    except SubjectUnavailable:
        raise
    except Exception as error:
        raise Raised(str(error)) from error


def predictions(
    subject: Subject, build: Callable[[Case], Built], observation: Observation
) -> Iterator[tuple[Key, Floats]]:
    """Yield all arrays that another layer returns in the calls of an observation."""
    states = state_names(subject, observation.experiment.case)
    for number, results in replay(build, observation.calls):
        for k, result in enumerate(results):
            for name, array in by_name(states, result).items():
                yield (number, k, name), np.array(array)  # a later call may write into it


def largest_residual(
    subject: Subject, build: Callable[[Case], Built], observation: Observation
) -> float:
    """Return the largest residual of another layer, or the first over 1.

    If the subject raised in these calls, the other layer may raise, or return more.
    """
    worst, raised = 0.0, bool(observation.words) and not _answered(observation)
    try:
        for key, predicted in predictions(subject, build, observation):
            if key not in observation.seen:
                return float("inf") if not raised else worst
            worst = max(worst, residual(observation.seen[key], predicted, observation.levels[key]))
            if worst > 1:
                return worst
    except Raised:
        return worst if raised else float("inf")
    return worst


def first_residual(
    subject: Subject, build: Callable[[Case], Built], observation: Observation
) -> float:
    """Return the largest residual of another layer's outputs in the first call alone.

    This is cheap and refutes most hypotheses. Return 0 if the call raises or has no outputs.
    """
    call = observation.calls[0] if observation.calls else None
    if call is None or call.inputs is None or call.tangents is not None:
        return 0.0
    inputs = call.inputs
    try:
        result = _with_care(lambda: build(call.layer.case).forward(_copied_inputs(inputs)))
    except Raised:
        return 0.0
    worst = 0.0
    for name, array in by_name(state_names(subject, observation.experiment.case), result).items():
        key = (0, 0, name)
        if key in observation.seen:
            worst = max(worst, residual(observation.seen[key], array, observation.levels[key]))
    return worst


def _answered(observation: Observation) -> bool:
    """Whether all calls returned."""
    return all(call.results for call in observation.calls if call.inputs is not None)


def signature(
    subject: Subject, build: Callable[[Case], Built], observation: Observation
) -> Mapping[Key, Floats]:
    """Return all arrays of another layer in the calls of an observation, up to an exception."""
    arrays: dict[Key, Floats] = {}
    with suppress(Raised):
        for key, predicted in predictions(subject, build, observation):
            arrays[key] = predicted
    return arrays
