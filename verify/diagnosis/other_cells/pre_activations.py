"""Measured pre-activations of gates; other gates are saturated by their biases.

In an LSTM the forget gate is the response of c' to c, the output gate h' / tanh(c'); the number
written to c' is the input gate for a candidate of 1, and the candidate for an input gate of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ....reference.arrays import Array
from ....reference.parameters import Parameters
from ...mutants.parts import changed, reads, with_gates
from ...mutants.replaceable_layer import ReplaceableLayer
from ..hypotheses import Hypothesis
from .step import REFUSALS, StepExperiment

Inverse = Callable[[Array], Array]

SATURATED = 200.0
"""A bias for which sigmoid and tanh round to 1."""

STEEP = 4.0
"""The largest pre-activation at which activations are steep enough to be inverted."""


def measured(experiment: StepExperiment) -> dict[str, Array]:
    """Return the pre-activation of every gate that can be isolated, (B, H) each.

    Entries for which the activation is too flat are nan.
    """
    pre_activations: dict[str, Array] = {}
    for gate, value, inverse in _activated(experiment):
        with np.errstate(all="ignore"):
            s = inverse(value)
            pre_activations[gate] = np.where(np.abs(s) <= STEEP, s, np.nan)
    return {gate: s for gate, s in pre_activations.items() if np.isfinite(s).mean() > 1 / 2}


def activated(experiment: StepExperiment) -> dict[str, Array]:
    """Return the value of every gate that can be isolated, (B, H) each."""
    return {gate: value for gate, value, _ in _activated(experiment)}


def _logit(a: Array) -> Array:
    return np.log(a) - np.log1p(-a)


def _activated(e: StepExperiment) -> Iterator[tuple[str, Array, Inverse]]:
    try:
        if e.cell.name == "lstm":
            yield from _lstm_pre_activations(e)
        elif e.cell.name in ("gru", "gru-keeps-old", "gru-takes-new"):
            yield from _gru_pre_activations(e)
        elif e.cell.name == "rnn":
            yield "a", e.run().new[0], np.arctanh
    except REFUSALS:
        return


def _lstm_pre_activations(e: StepExperiment) -> Iterator[tuple[str, Array, Inverse]]:
    step, (h, c) = e.run(), e.old
    with np.errstate(all="ignore"):
        yield "o", step.new[0] / np.tanh(step.new[1]), _logit
    if not e.case.state:
        return
    empty = (h, np.zeros_like(c))
    yield "f", e.run(old=(h, np.ones_like(c))).new[1] - e.run(old=empty).new[1], _logit
    if not e.case.bias:
        return
    open_g, open_i = (with_bias(e.p, gate, SATURATED) for gate in ("g", "i"))
    further = e.run(p=with_bias(e.p, "g", 2 * SATURATED), old=empty).new[1]
    written = e.run(p=open_g, old=empty).new[1]
    if np.array_equal(written, further):  # the candidate saturates
        yield "i", written, _logit
    both = with_bias(open_g, "i", SATURATED)
    if np.abs(e.run(p=both, old=empty).new[1] - 1).max() <= e.exact:  # else i is not its own gate
        yield "g", e.run(p=open_i, old=empty).new[1], np.arctanh


def _gru_pre_activations(e: StepExperiment) -> Iterator[tuple[str, Array, Inverse]]:
    if not (e.case.state and e.case.bias):
        return
    takes_new, (h,) = e.cell.name == "gru-takes-new", e.old
    open_n = e.run(p=with_bias(e.p, "n", SATURATED)).new[0]
    share_of_old = (open_n - 1) / (h - 1)
    yield "z", 1 - share_of_old if takes_new else share_of_old, _logit
    shut = with_bias(e.p, "z", SATURATED if takes_new else -SATURATED)
    yield "n", e.run(p=shut).new[0], np.arctanh


def with_bias(p: Parameters, gate: str, value: float) -> Parameters:
    """Return the parameters with a gate's weights 0 and its biases one value."""
    parts = {f"{array}_{gate}": 0 * getattr(p, f"{array}_{gate}") for array in ("W", "U")}
    bias = 0 * getattr(p, f"b_{gate}") + value
    return with_gates(p, **parts, **{f"b_{gate}": bias})


def expected(experiment: StepExperiment) -> dict[str, Array]:
    """Return the pre-activations by the equations, of gates that sum W x + U h + b."""
    p, x, h = experiment.p, experiment.x, experiment.old[0]
    names = set(p.names())
    gates = [k for k in experiment.cell.gates if k != "n" and {f"U_{k}", f"b_{k}"} <= names]
    return {k: x @ getattr(p, f"W_{k}") + h @ getattr(p, f"U_{k}") + getattr(p, f"b_{k}")
            for k in gates}  # fmt: skip


TERMS = ("W x", "U h", "the bias")
"""The terms of a pre-activation."""


@dataclass(frozen=True)
class Line:
    """A pre-activation: factors of W x, U h and the bias, and a constant."""

    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    constant: float = 0.0

    def sentence(self, gate: str) -> str:
        """Return a sentence that describes the pre-activation of a gate."""
        name = "The candidate" if gate in ("g", "n", "a") else f"Gate {gate}"
        parts = []
        if len(set(self.factors)) == 1:
            if self.factors[0] != 1:
                parts.append(f"its pre-activation is multiplied by {self.factors[0]:.4g}")
        else:
            off = zip(TERMS, self.factors, strict=True)
            parts += [f"{term} is multiplied by {f:.4g}" for term, f in off if f != 1]
        if self.constant:
            parts.append(f"its pre-activation has {self.constant:.4g} added to it")
        return f"{name}: {', and '.join(parts)}."


def rescaled(experiment: StepExperiment) -> Iterator[Hypothesis]:
    """Yield the hypothesis that parts of pre-activations are scaled or shifted by constants."""
    pre_activations, lines = measured(experiment), dict[str, Line]()
    for gate in (k for k in experiment.cell.gates if k in pre_activations and k != "n"):
        line = _line(experiment, gate, pre_activations[gate])
        if line is None:
            return
        if line != Line():
            lines[gate] = line
    if not lines:
        return

    def change(layer: ReplaceableLayer) -> None:
        def read(p: Parameters) -> Parameters:
            arrays = {}
            for j, name in enumerate(("W", "U", "b")):
                parts = list(p[name])
                for k, gate in enumerate(p.shapes["W"].gates):
                    line = lines.get(gate, Line())
                    parts[k] = line.factors[j] * parts[k]
                    if name == "b":
                        parts[k] = parts[k] + line.constant
                arrays[name] = np.stack(parts)
            return changed(p, **arrays)

        reads(layer, read)

    fixes = ("add W x, U h and the bias as they are: look for a temperature or a constant bias",)
    statements = tuple(line.sentence(gate) for gate, line in sorted(lines.items()))
    yield Hypothesis(("scaled pre-activation",), statements, (change,), fixes, ("forward",))


def _line(e: StepExperiment, gate: str, pre_activation: Array) -> Line | None:
    """Return the factors and the constant that fit a pre-activation, or None."""
    p, finite = e.p, np.isfinite(pre_activation)
    b = np.broadcast_to(getattr(p, f"b_{gate}"), pre_activation.shape)
    terms = (e.x @ getattr(p, f"W_{gate}"), e.old[0] @ getattr(p, f"U_{gate}"), b)
    matrix = np.stack([*(t[finite] for t in terms), np.ones(finite.sum())], axis=1)
    numbers = np.linalg.lstsq(matrix, pre_activation[finite], rcond=None)[0]
    slack = 64 * e.exact * max(1.0, float(np.abs(pre_activation[finite]).max()))
    if not np.abs(matrix @ numbers - pre_activation[finite]).max() <= slack:
        return None
    plain = np.array([float(f"{number:.4g}") for number in numbers])
    plain[np.abs(plain) <= 64 * slack] = 0.0
    if np.abs(matrix @ plain - pre_activation[finite]).max() <= 64 * slack:
        numbers = plain
    *factors, constant = map(float, numbers)
    return Line((factors[0], factors[1], factors[2]), constant)
