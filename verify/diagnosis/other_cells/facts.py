"""Properties that can be measured of any layer, each stated as a sentence.

Some show that the layer is another cell than it claims; together they are its likeness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ....reference.cell import State
from ...mutants.parts import changed
from ...subjects.called import under_test
from ...subjects.inputs import draw_inputs
from .normalisation import gains
from .pre_activations import activated, expected, measured
from .step import REFUSALS, Step, StepExperiment, distance, scaled

FACTOR = 3.0
"""The factor of weights that a normalisation cancels."""

UNCHANGED = 1e-3
"""The largest relative change, as due to the ε of layer norm, that counts as none."""

FAR = 100.0
"""A cell state, and a factor of inputs, far beyond ordinary ones."""

STEPS = 5
"""The number of steps of a sequence."""


@dataclass(frozen=True)
class Fact:
    """A property in a sentence; ``other``: it shows that the layer is another cell.

    ``handover``: the states that a call takes or returns are not those that its steps carry.
    """

    sentence: str
    other: bool = False
    handover: bool = False


def facts(experiment: StepExperiment, step: Step) -> tuple[str, tuple[str, ...]]:
    """Return the likeness of another cell, "" if there is none, and the other facts."""
    sources: list[Callable[[StepExperiment, Step], Iterator[Fact]]] = [_sequence, _rows, _future]
    all_facts: list[Fact] = []
    for source in (*sources, _unread, _normalised, _affine, _gates, _departure, _limits):
        if source in FACTS_OF_STATES and any(fact.handover for fact in all_facts):
            continue  # a call's states are not those that a step reads
        try:
            all_facts.extend(source(experiment, step))
        except REFUSALS:
            continue
    others = [fact.sentence.rstrip(".") for fact in all_facts if fact.other]
    return "; ".join(others) + "." * bool(others), tuple(
        fact.sentence for fact in all_facts if not fact.other
    )


def right(experiment: StepExperiment, step: Step) -> bool:
    """Whether one step is that of the equations."""
    wanted = experiment.right(step.p, step.x, step.old)
    return _changes(step.outputs, (wanted[0], *wanted)) <= experiment.exact


def scale_effect(experiment: StepExperiment, step: Step) -> str:
    """Say that multiplying all weights by a constant changes nothing; "" if it does."""
    change = _change(step, experiment.run(p=scaled(experiment.p, FACTOR, ("W", "U"))))
    if change > UNCHANGED:
        return ""
    return f"Multiplying all weights by {FACTOR:g} changes {_nothing(change)}."


def _nothing(change: float) -> str:
    return "nothing" if change == 0 else f"nothing beyond {change:.0e} of the outputs"


def _change(first: Step, second: Step) -> float:
    return _changes(second.outputs, first.outputs)


def _changes(new: State, old: State) -> float:
    return max(distance(a, b) for a, b in zip(new, old, strict=True))


def _rows(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield the fact that rows have influence on each other."""
    x = np.array(step.x)
    x[0] += 1
    deviations = [
        np.abs(a - b)[1:].max() for a, b in zip(e.run(x=x).outputs, step.outputs, strict=True)
    ]
    if max(deviations) > e.exact:
        yield Fact(
            "rows of the batch have influence on each other: another input in row 0 changes other "
            f"rows by up to {max(deviations):.2g}.",
            other=True,
        )


def _future(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield the fact that outputs depend on later inputs."""
    x = e.steps(STEPS)
    later = np.array(x)
    later[-1] += 1
    deviations = np.abs(e.sequence(x).y - e.sequence(later).y).reshape(STEPS, -1).max(axis=1)
    early = np.flatnonzero(deviations[:-1] > e.exact)
    if early.size:
        yield Fact(
            f"outputs depend on the future: the input of step {STEPS - 1} changes the output of "
            f"step {int(early[-1])} by {deviations[early[-1]]:.2g}.",
            other=True,
        )


def _unread(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield facts on arrays without influence on a step."""
    if _change(step, e.run(x=step.x + 1)) == 0:
        yield Fact("The input has no influence on the step.")
    for k, name in enumerate(e.cell.states) if e.case.state else ():
        old = tuple(s + 1 if j == k else s for j, s in enumerate(step.old))
        if _change(step, e.run(old=old)) == 0 and _changes(e.right(old=old), e.right()) > 0:
            yield Fact(f"The old {name} has no influence on the step.")
    for name in step.p:
        moved = changed(step.p, **{name: step.p[name] + 1})
        if np.any(step.p[name]) and _change(step, e.run(p=moved)) == 0:
            yield Fact(f"Adding 1 to all of {name} has no influence on the step.")


def _normalised(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield facts on scales or shifts of the pre-activations without influence."""
    arrays = {
        ("W", "U", "b"): "all weights and biases",
        ("W", "U"): "all weights",
        ("W",): "the weights of x",
        ("U",): "the weights of h",
    }
    for names, words in arrays.items():
        used = [n for n in names if n in step.p]
        if not used or not _have_influence(e, step, used):
            continue
        rescaled = scaled(step.p, FACTOR, used)
        change = _change(step, e.run(p=rescaled))
        if change <= UNCHANGED < _changes(e.right(p=rescaled), e.right(p=step.p)):
            normalised = "its pre-activations are normalised (layer norm)"
            if _scales_with_what_it_multiplies(e, step, used):
                normalised = "its weights are normalised, or lose their scale"
            yield Fact(
                f"{normalised}: multiplying {words} by {FACTOR:g} changes {_nothing(change)}.",
                other=True,
            )
            if measured_gains := gains(e):
                yield Fact(measured_gains.words)
            break
    shifted = changed(step.p, b=step.p["b"] + 1) if "b" in step.p and e.case.bias else None
    if shifted and _change(step, e.run(p=shifted)) <= UNCHANGED:
        yield Fact(
            "a constant that is added to the pre-activations of all units is taken away again.",
            other=True,
        )


def _scales_with_what_it_multiplies(e: StepExperiment, step: Step, names: Sequence[str]) -> bool:
    """Whether the input, or the old h of an LSTM, changes a step when it is multiplied, too."""
    x, (h, *rest) = step.x, step.old
    x = FACTOR * x if "W" in names else x
    h = FACTOR * h if "U" in names and rest else h
    return _change(step, e.run(x=x, old=(h, *rest))) > UNCHANGED


def _have_influence(e: StepExperiment, step: Step, names: Sequence[str]) -> bool:
    """Whether other numbers in each of these arrays change the step."""
    others = (changed(step.p, **{name: step.p[name][..., ::-1]}) for name in names)
    return all(_change(step, e.run(p=p)) > UNCHANGED for p in others)


def _affine(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield facts on affine relations: only c' of an LSTM should be affine, in c."""
    if not e.case.state or e.cell.name not in ("rnn", "lstm", "gru"):
        return
    names = ("x", *e.cell.states)
    for k, new in enumerate(e.cell.states):
        for j, name in enumerate(names):
            ends = [_moved(e, step, j, offset).new[k] for offset in (-1.0, 1.0)]
            bend = float(np.abs(ends[0] + ends[1] - 2 * step.new[k]).max())
            slope = float(np.abs(ends[1] - ends[0]).max())
            if slope <= e.exact:
                continue
            straight = bend <= 64 * e.exact * max(1.0, slope)
            wanted = (new, name) == ("c", "c")
            if straight and not wanted:
                yield Fact(f"The new {new} is affine in {name}: no activation is between.")
            if not straight and wanted:
                yield Fact(
                    f"the new c is not affine in the old c: it bends by {bend:.2g} where the "
                    f"equations have a straight line.",
                    other=True,
                )


def _moved(e: StepExperiment, step: Step, which: int, offset: float) -> Step:
    """Run the step with a constant added to the input (0), or to one of the old states."""
    if which == 0:
        return e.run(x=step.x + offset)
    return e.run(old=tuple(s + offset if k == which - 1 else s for k, s in enumerate(step.old)))


def _gates(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield facts on gates with values outside (0, 1)."""
    for gate, value in activated(e).items():
        if gate not in ("f", "i", "z") or not np.isfinite(value).all():
            continue  # o is measured through the cell state's activation
        low, high = float(np.min(value)), float(np.max(value))
        if low < -e.exact or high > 1 + e.exact:
            yield Fact(
                f"gate {gate} does not lie in (0, 1): it was seen from {low:.3g} to {high:.3g}.",
                other=True,
            )


def _departure(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield facts on the gates and states that deviate from the equations."""
    if right(e, step):
        yield Fact("One step of the lowest layer is right.")
        return
    yield Fact("One step of the lowest layer is wrong already.")
    wanted = expected(e)
    pre_activations = {gate: s for gate, s in measured(e).items() if gate in wanted}
    slack = 64 * e.exact
    off = {g: float(np.nanmax(np.abs(s - wanted[g]))) for g, s in pre_activations.items()}
    correct = [g for g in off if off[g] <= slack * max(1.0, float(np.abs(wanted[g]).max()))]
    wrong = [g for g in off if g not in correct]
    if wrong:
        worst = ", ".join(f"{g} by up to {off[g]:.2g}" for g in wrong)
        rest = f"; those of {', '.join(correct)} are right" if correct else ""
        yield Fact(f"Pre-activations that are off: {worst}{rest}.")
    elif correct:
        yield Fact(f"The pre-activations of {', '.join(correct)} are right.")
    states = zip(e.cell.states, step.new, e.right(), strict=True)
    fine = [name for name, new, want in states if distance(new, want) <= e.exact]
    if fine:
        yield Fact(f"The new {', '.join(fine)} is right.")
    if distance(step.y, step.new[0]) > e.exact:
        yield Fact("The output of a step is not the state that it returns.")


def _sequence(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield facts on sequences: a hidden state, or the first wrong step, layer or direction."""
    x = e.steps(STEPS)
    sequence = e.sequence(x)
    old, by_calls = step.old, []
    for x_t in x if e.case.state else ():
        call = e.run(x=x_t, old=old)
        by_calls.append(call.y)
        old = call.new
    if by_calls:
        deviating = [t for t in range(STEPS) if distance(sequence.y[t], by_calls[t]) > e.exact]
        if deviating and not any(chain(_rows(e, step), _future(e, step))):
            differs = (
                f"from step {deviating[0]} on, a sequence differs from the same steps in calls"
            )
            if right(e, step):
                yield Fact(
                    f"its steps carry more than its states: {differs} of their own.", other=True
                )
            else:
                yield Fact(f"F{differs[1:]} of their own.", handover=True)
    if right(e, step):
        yield from _first_wrong(e)


def _first_wrong(e: StepExperiment) -> Iterator[Fact]:
    options, plain = e.subject.options, replace(e.case, T=STEPS, B=3, D=3, H=4)
    cases = {
        f"one layer over {STEPS} steps": plain,
        "two layers": replace(plain, layers=2) if options.layers else None,
        "two directions": replace(plain, bidirectional=True) if options.bidirectional else None,
        "rows of different lengths": replace(plain, lengths=True) if options.lengths else None,
    }
    for words, case in cases.items():
        if case is None:
            continue
        inputs = draw_inputs(e.subject, case)
        got = under_test(e.subject).build(case).forward(inputs)
        want = e.reference(case, inputs)
        wrong = np.abs(got.y - want.y).reshape(STEPS, case.B, -1) > e.exact
        finals = [distance(a, b) > e.exact for a, b in zip(got.final, want.final, strict=True)]
        if wrong.any():
            t, b, _ = (int(k) for k in np.argwhere(wrong)[0])
            yield Fact(f"With {words} the first wrong output is at step {t}, row {b}.")
            return
        if any(finals):
            yield Fact(f"With {words} outputs are right, and final states are not.")
            return


FACTS_OF_STATES = (_normalised, _affine, _gates, _departure)


def _limits(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield facts on the size of states."""
    far = e.run(x=FAR * step.x)
    for name, new in zip(e.cell.states, far.new, strict=True):
        if name == "h" and "bounded" in e.cell.traits and np.abs(new).max() > 1 + e.exact:
            large = float(np.abs(new).max())
            beyond = max(1.0, float(np.abs(step.old[0]).max()))
            if large > beyond + e.exact:
                yield Fact(f"h is not bounded: it reaches {large:.3g}.", other=True)
    if "c" in e.cell.states and e.case.state:
        ends = [e.run(old=(step.old[0], FAR * k + 0 * step.old[1])).new[1] for k in (1, 2)]
        if distance(*ends) <= e.exact:
            yield Fact(f"The new c is clipped at {float(np.max(ends[0])):.4g}.")
