"""Training and evaluation: the effect of the mode, and dropout between layers.

The mask of dropout cannot be read from a layer. But few units and steps have few masks: each result
in training must equal that of one of them, which identifies the mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ...reference.functions import Array
from ...reference.layer import Gradient, Layer, Output
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..cases.strategies import cases
from ..numbers.arithmetic import FINER, HALVES
from ..numbers.bounded import Bounded
from ..numbers.ledger import Ledger, Mismatch, Undecided, in_bounds
from ..subjects.called import Called, NotOffered, SubjectUnderTest, layer_of
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Inputs, Subject
from .check import SubjectCheck, catalogued
from .oracle import compare_outputs, exact, expected

ROWS = 96
"""Rows of one call, each with its own mask."""

SEARCHED = 1000
"""Seeds tried for a case whose masks give distinct results; ReLU needs some dozen."""

FALSE_ALARM = 1e-9
"""Probability that a right layer's masks are refused."""


def modes(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Alternate evaluation and training, beginning with either; evaluation never has a mask."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    for first in (False, True):
        called = subject.build(case)
        for training in (first, not first, first, not first):
            called.train(training)
            before = _buffers(called)
            got = called.forward(inputs)
            if training:
                _refuse_statistics(before, _buffers(called))
            if not training or case.dropout == 0:
                compare_outputs(ledger, subject, case, got, want)
    return ledger


def _buffers(called: Called) -> dict[str, Array]:
    """Return the buffers of a layer by name, {} if it does not expose them."""
    buffers: dict[str, Array] = getattr(called.built, "buffers", dict)()
    return buffers


def _refuse_statistics(before: dict[str, Array], after: dict[str, Array]) -> None:
    """Raise NotOffered if training changes buffers, on which evaluation may depend."""
    same = {n for n in before.keys() & after.keys() if np.array_equal(before[n], after[n])}
    if changed := [name for name in after if name not in same]:
        raise NotOffered(
            f"training changes the buffers {', '.join(changed)}, on which evaluation may depend "
            "(running statistics)"
        )


def dropout(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Find the mask of each row of a training run, and compare the masks with their rate."""
    ledger, inputs = Ledger(), _one_row_repeated(draw_inputs(subject, case), case.B)
    called = subject.build(case)
    called.train(True)
    masks = _all_masks(case)
    answers = _outputs_by_mask(subject, case, inputs, masks)
    if not _are_distinct(answers):
        raise Undecided(f"rounding in {case.dtype} hides which entries are zeroed")
    chosen = [_mask_numbers(case, called.forward(inputs).y, answers) for _ in range(2)]
    if 0 < case.dropout < 1:
        drawn_masks = masks[np.concatenate(chosen)]
        _require_rate(ledger, case, drawn_masks)
        ledger.require("masks", len(set(chosen[0])) > 1, "every row has the same one")
        again = not np.array_equal(chosen[0], chosen[1])
        ledger.require("masks", again, "the second call has those of the first")
        _require_independence(ledger, drawn_masks)
    ledger.require("y in training", True, "")
    if subject.options.gradient:
        _compare_gradient(ledger, called, inputs, masks)
    return ledger


def _one_row_repeated(inputs: Inputs, count: int) -> Inputs:
    """Return the inputs with the first row ``count`` times."""
    state = inputs.state and tuple(np.repeat(s[:, :1], count, axis=1) for s in inputs.state)
    return replace(inputs, x=np.repeat(inputs.x[:, :1], count, axis=1), state=state)


def _all_masks(case: Case) -> Array:
    """Return all masks (number of masks, T, H) of 0 and 1 that the rate allows."""
    if case.dropout in (0, 1):
        return np.full((1, case.T, case.H), 1 - case.dropout)
    entries = product((0.0, 1.0), repeat=case.T * case.H)
    return np.array(list(entries)).reshape(-1, case.T, case.H)


def _scaled(case: Case, masks: Array) -> Array:
    share = 1 - case.dropout
    return masks / share if share > 0 else 0 * masks


@dataclass(frozen=True)
class _Stack:
    """The reference's two layers with a mask in between; all numbers are Bounded."""

    case: Case
    layers: tuple[Layer, Layer]
    parameters: tuple[Parameters, ...]
    outputs: tuple[Output[Any], Output[Any]]
    mask: Bounded

    @classmethod
    def run(cls, subject: Subject, case: Case, inputs: Inputs, mask: Array) -> _Stack:
        """Run both; ``mask`` is (T, B, H), scaled."""
        layer = layer_of(subject, case)
        layers = [Layer(layer.cell, sizes) for sizes in layer.pass_sizes]
        state = inputs.state or layer.initial_state(inputs.x, inputs.x.shape[1])
        numbers = replace(inputs, state=state).map(partial(exact, case))
        p = subject.parameter_map(case).to_reference(numbers.parameters)
        starts = [tuple(s[k : k + 1] for s in numbers.state or ()) for k in range(2)]
        scaled, x = exact(case, mask), numbers.x
        stamps = x[..., : layer.cell.input_width(case.sizes) - case.D]
        lower = layers[0].forward(p[:1], x, starts[0])
        between = np.concatenate([stamps, lower.y * scaled], axis=-1)
        upper = layers[1].forward(p[1:], between, starts[1])
        return cls(case, (layers[0], layers[1]), tuple(p), (lower, upper), scaled)

    def gradient(self, dy: Array) -> tuple[Gradient[Any], Gradient[Any]]:
        """Pull a cotangent on the upper outputs back through both."""
        above = self.layers[1].vjp(self.parameters[1:], self.outputs[1], exact(self.case, dy))
        width = self.mask.shape[-1]
        dy = above.x[..., -width:] * self.mask
        below = self.layers[0].vjp(self.parameters[:1], self.outputs[0], dy)
        return below, above


def _outputs_by_mask(subject: Subject, case: Case, inputs: Inputs, masks: Array) -> Bounded:
    """Return the outputs (T, number of masks, H) with each mask."""
    many = _one_row_repeated(inputs, len(masks))
    between = _scaled(case, masks).swapaxes(0, 1)
    y: Bounded = _Stack.run(subject, case, many, between).outputs[1].y
    return y


def _mask_numbers(case: Case, y: Array, answers: Bounded) -> Array:
    """Return the number of each row's mask; raise Mismatch if no mask explains a row."""
    ratio = in_bounds(y[:, :, None], answers.value[:, None], answers.bound[:, None])
    ratio = ratio.max(axis=(0, 3))
    best = ratio.argmin(axis=1)
    row = int(ratio.min(axis=1).argmax())
    if not ratio[row, best[row]] <= 1:
        raise Mismatch(
            f"y of row {row} in training is explained by none of {len(ratio[0])} masks of rate "
            f"{case.dropout} (the nearest is {ratio[row, best[row]]:.3g} times the bound off)"
        )
    return best


def _require_rate(ledger: Ledger, case: Case, masks: Array) -> None:
    """Compare the share of zeros, overall and at each unit and step, with the rate (Hoeffding)."""
    for where, share, count in (
        ("overall", np.array(1 - masks.mean()), masks.size),
        ("at a unit and step", 1 - masks.mean(axis=0), len(masks)),
    ):
        allowed = math.sqrt(math.log(2 * share.size / FALSE_ALARM) / (2 * count))
        worst = share.flat[np.argmax(np.abs(share - case.dropout))]
        ledger.require(
            f"share of zeros {where}", abs(worst - case.dropout) <= allowed,
            f"expected {case.dropout} ± {allowed:.2g}, got {worst:.3g}",
        )  # fmt: skip


def _require_independence(ledger: Ledger, masks: Array) -> None:
    """Require independent entries of masks: no two are always, or never, the same."""
    flat = masks.reshape(len(masks), -1)
    for first, second in combinations(range(flat.shape[1]), 2):
        same = float((flat[:, first] == flat[:, second]).mean())
        ledger.require("masks", 0 < same < 1, "two entries always have the same, or opposite, one")


def _compare_gradient(ledger: Ledger, called: Called, inputs: Inputs, masks: Array) -> None:
    """Find the masks from the outputs, and compare the gradient with that of these masks."""
    subject, case = called.subject, called.case
    dy, dfinal = draw_cotangents(subject, case)
    pulled = called.gradient(inputs, (dy, tuple(None for _ in dfinal)))
    chosen = _mask_numbers(case, pulled.y, _outputs_by_mask(subject, case, inputs, masks))
    between = _scaled(case, masks[chosen]).swapaxes(0, 1)
    below, above = _Stack.run(subject, case, inputs, between).gradient(dy)
    packed = subject.parameter_map(case).from_reference([*below.parameters, *above.parameters])
    for name, want in packed.items():
        ledger.compare(f"gradient of {name}", pulled.parameters[name], want)
    features = slice(pulled.x.shape[-1] - case.D, None)  # all columns but a time stamp
    ledger.compare("gradient of x", pulled.x[..., features], below.x[..., features])


def _two_layers(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield two small layers for each rate, if possible such that masks give distinct results."""
    for rate in (0.5, 0.25, 1.0, 0.0):
        state = subject.options.state
        plain = Case(2, ROWS, 2, 3, layers=2, dropout=rate, state=state, dtype=dtype)
        searched = SEARCHED // 10 if dtype in HALVES else SEARCHED
        seeds = (replace(plain, seed=seed) for seed in range(searched))
        narrow = FINER.get(dtype, (dtype,))[0]
        yield next(
            (case for case in seeds if _has_distinct_masks(subject, replace(case, assumed=narrow))),
            plain,
        )


def _has_distinct_masks(subject: Subject, case: Case) -> bool:
    masks = _all_masks(case)
    return _are_distinct(_outputs_by_mask(subject, case, draw_inputs(subject, case), masks))


def _are_distinct(answers: Bounded) -> bool:
    """Return whether outputs (T, masks, H) of any two masks differ by more than rounding."""
    count = answers.shape[1]
    flat = np.moveaxis(answers.value, 1, 0).reshape(count, -1)
    bound = np.moveaxis(answers.bound, 1, 0).reshape(count, -1)
    near = np.abs(flat[:, None] - flat) <= bound[:, None] + bound
    return not (near.all(axis=2) & ~np.eye(count, dtype=bool)).any()


def _refuses(case: Case) -> str:
    plain = case.layers == 2 and not (case.bidirectional or case.lengths or case.P)
    if plain and 1 < case.H and 1 < case.T and case.T * case.H <= 8 and case.B >= ROWS:
        return ""
    return f"expected two layers in one direction, T and H of at least 2, T H <= 8, B >= {ROWS}"


CHECKS = (
    SubjectCheck(
        "modes",
        "Without dropout, training and evaluation are the same; with it, evaluation has none, "
        "before and after training.",
        modes,
        cases=lambda subject, dtype: st.builds(
            replace,
            cases(subject, dtype),
            layers=st.just(2 if subject.options.layers else 1),
            dropout=st.sampled_from([0.0, 0.5] if catalogued(subject) else [0.5]),
        ),
        needs=("dropout",),
        share=0.2,
    ),
    SubjectCheck(
        "dropout",
        "In training every result is explained by a mask between the layers; masks have the "
        "rate asked for, differ between rows, steps, units and calls, and gradients use them too.",
        dropout,
        cases=lambda subject, dtype: st.sampled_from(list(_two_layers(subject, dtype))),
        equations=("stacked",),
        needs=("equations", "dropout", "layers"),
        forced=_two_layers,
        share=0.05,
        refuses=_refuses,
    ),
)
