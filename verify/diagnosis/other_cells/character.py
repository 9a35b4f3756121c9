"""Experiments on a layer that no known mistake explains.

A measured relation, as zoneout with its rates or a kind of layer norm, is a hypothesis like any
other, and accepted if it computes the same numbers. Other measurements become notes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...subjects.protocol import Subject
from ..discovery import Discovery
from ..hypotheses import NOTHING_WRONG, Hypothesis
from ..observation import OUTPUTS, VALUES, Experiment, basic, plain_case
from ..search import Explainer
from . import mixture as mixtures
from . import normalisation
from .clip import clipped, clipped_outputs
from .facts import facts, right, scale_effect
from .pre_activations import rescaled
from .step import REFUSALS, Mode, Step, StepExperiment

SAMPLES = 256
"""The number of rows of a step in training whose entries are counted."""

ONE_RATE = "in training keep each entry of the old state at the rate by which evaluation mixes it"
EVALUATION = "It is random in training; what follows was measured in evaluation."
EVALUATION_RIGHT = "In evaluation plain runs are right; in training it is random."

DEVIATIONS = 5
"""The most standard deviations between a share of random entries and its rate."""


def character(explainer: Explainer, rest: Sequence[Experiment] = ()) -> Discovery:
    """Measure a layer by experiments, and compare the findings with its observations."""
    subject = explainer.subject
    varying = any(observation.varying for observation in explainer.observations)
    examined = Mode(subject, training=False).as_subject if varying else subject
    try:
        experiment = StepExperiment(examined, explainer.dtype)
        step = experiment.run()
        if varying and not _repeats(experiment):
            return Discovery()
        training = StepExperiment(Mode(subject, training=True).as_subject, explainer.dtype)
        random = not _repeats(training)
    except REFUSALS:
        return Discovery()
    judge = explainer.of(examined, [*basic(examined, explainer.dtype)]) if varying else explainer
    partial: list[str] = []
    for relation in _measured(experiment, step, random=random):
        residual, experiments = _residual(relation.hypothesis, judge, rest)
        if residual <= 1:
            finding = _explained(subject, experiment, relation, random=random)
            return replace(finding, residual=residual, experiments=experiments)
        sentence = " ".join(relation.hypothesis.statements)
        if examined.options.gradient and _fits_outputs(relation.hypothesis, judge):
            partial.append(f"This explains all outputs, but not all gradients: {sentence}")
        else:
            partial.append(f"This fits one step, but not all that was seen: {sentence}")
    likeness, notes = facts(experiment, step)
    if random:
        partial.append(EVALUATION_RIGHT if judge.residual_of(NOTHING_WRONG) <= 1 else EVALUATION)
    return Discovery([], (*partial, *notes), likeness)


@dataclass(frozen=True)
class Relation:
    """A measured hypothesis; ``variant``: it is a cell that is right in its own terms."""

    hypothesis: Hypothesis
    variant: bool = False
    mixture: mixtures.Mixture | None = None
    notes: tuple[str, ...] = ()


def _explained(
    subject: Subject, experiment: StepExperiment, relation: Relation, *, random: bool
) -> Discovery:
    hypothesis, variant, notes = relation.hypothesis, relation.variant, [*relation.notes]
    if random and relation.mixture:
        agrees, counted = _in_training(subject, experiment, relation.mixture)
        variant, notes = variant and agrees, [*notes, *counted]
        if not agrees:
            hypothesis = replace(hypothesis, fixes=(ONE_RATE, *hypothesis.fixes))
    if variant:
        notes = [*notes, "It is consistent in itself: another cell than the claimed, and right."]
    explanation = replace(hypothesis.explanation, variant=variant)
    return Discovery([explanation], tuple(notes))


def _repeats(experiment: StepExperiment) -> bool:
    """Whether a step returns the same results twice."""
    first, second = experiment.run(), experiment.run()
    return all(np.array_equal(a, b) for a, b in zip(first.outputs, second.outputs, strict=True))


def _measured(experiment: StepExperiment, step: Step, *, random: bool) -> Iterator[Relation]:
    """Yield the relations that one step fulfils, if it deviates from the equations."""
    cell = experiment.cell
    if clip := clipped(experiment):
        yield from map(Relation, clip)
    yield from map(Relation, clipped_outputs(experiment))
    if right(experiment, step):
        return
    if mixed := mixtures.mixture(experiment, step):
        consistent = mixtures.consistent(mixed, cell.states)
        yield Relation(mixtures.hypothesis(mixed, cell, random=random), consistent, mixed)
    if normalised := normalisation.structure(experiment, step):
        effect = scale_effect(experiment, step)
        hypothesis = normalisation.hypothesis(normalised, cell.name)
        yield Relation(hypothesis, variant=True, notes=tuple(filter(None, [effect])))
    yield from map(Relation, rescaled(experiment))


def _residual(
    hypothesis: Hypothesis, judge: Explainer, rest: Sequence[Experiment]
) -> tuple[float, int]:
    """Return the residual of a hypothesis, and the number of experiments.

    One of them has input and state of equal width, which a sum of both may need.
    """
    if (residual := judge.residual_of(hypothesis)) > 1:
        return residual, len(judge.observations)
    case = plain_case(judge.subject, judge.dtype, D=4, H=4, seed=17)
    further = judge.of(judge.subject, [Experiment(VALUES, case), *rest])
    count = len(judge.observations) + len(further.observations)
    return max(residual, further.residual_of(hypothesis)), count


def _fits_outputs(hypothesis: Hypothesis, judge: Explainer) -> bool:
    """Whether a hypothesis explains the outputs, regardless of gradients."""
    plain = [s.experiment for s in judge.observations if s.experiment.check == VALUES]
    outputs = [replace(experiment, check=OUTPUTS) for experiment in plain]
    return bool(plain) and judge.of(judge.subject, outputs).residual_of(hypothesis) <= 1


def _in_training(
    subject: Subject, experiment: StepExperiment, mixture: mixtures.Mixture
) -> tuple[bool, list[str]]:
    """Return whether training keeps old entries at the rate of evaluation, and notes on it."""
    switched = Mode(subject, training=True).as_subject
    training = StepExperiment(switched, experiment.case.dtype, B=SAMPLES)
    try:
        step = training.run()
    except REFUSALS:
        return False, []
    agrees, notes = True, []
    shares = mixtures.rates(mixture, experiment.cell.states)
    states = zip(experiment.cell.states, shares, step.new, step.old, training.right(), strict=True)
    for name, rate, new, old, wanted in states:
        if rate is None:
            continue
        kept_old, took_new = (np.abs(new - s) <= training.exact for s in (old, wanted))
        share, spread = float(kept_old.mean()), np.sqrt(rate * (1 - rate) / kept_old.size)
        if not (kept_old | took_new).all():
            agrees = False
            notes.append(f"In training {name} is neither the old nor the new one everywhere.")
        elif abs(share - rate) > DEVIATIONS * spread:
            agrees = False
            notes.append(
                f"In training {share:.3g} of {kept_old.size} entries of {name} keep the old value: "
                f"that is another rate than the {rate:.3g} in evaluation."
            )
        elif rate:
            notes.append(
                f"In training each entry of {name} keeps its old value at random "
                f"({share:.3g} of {kept_old.size} entries), which fits the rate in evaluation."
            )
    return agrees, notes
