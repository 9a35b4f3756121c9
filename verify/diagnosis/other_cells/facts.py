"""What can be measured of a layer without knowing what it is: each fact is a sentence.

Some facts make it another cell than the one that it claims to be: those are its likeness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ....reference.cell import State
from ....reference.parameters import Parameters
from ...subjects.called import under_test
from ...subjects.inputs import draw_inputs
from .normalisation import gains
from .pre_activations import activated, expected, measured
from .step import REFUSALS, Step, StepExperiment, distance, scaled

FACTOR = 3.0
"""By which weights are multiplied to see whether that is normalised away."""

UNCHANGED = 1e-3
"""Share of the largest number below which a change by FACTOR is no change: that is an ε's work."""

FAR = 100.0
"""A cell state, and a factor on inputs, beyond all ordinary ones."""

STEPS = 5
"""Steps of a sequence that is looked at."""


@dataclass(frozen=True)
class Fact:
    """A sentence; ``other``: no cell of this kind does that, so it is another one.

    ``handover``: states that calls are given, or return, are not those that steps carry.
    """

    sentence: str
    other: bool = False
    handover: bool = False


def facts(experiment: StepExperiment, step: Step) -> tuple[str, tuple[str, ...]]:
    """Return what makes it another cell, "" if nothing does, and all facts in sentences."""
    sources: list[Callable[[StepExperiment, Step], Iterator[Fact]]] = [_sequence, _rows, _future]
    known: list[Fact] = []
    for source in (*sources, _unread, _normalised, _affine, _gates, _departure, _limits):
        if source in OF_STATES and any(fact.handover for fact in known):
            continue  # what is given or returned is not the state that a step reads
        try:
            known.extend(source(experiment, step))
        except REFUSALS:
            continue
    others = [fact.sentence.rstrip(".") for fact in known if fact.other]
    return "; ".join(others) + "." * bool(others), tuple(
        fact.sentence for fact in known if not fact.other
    )


def right(experiment: StepExperiment, step: Step) -> bool:
    """Whether one step is that of the equations."""
    wanted = experiment.right(step.p, step.x, step.old)
    return all(
        distance(a, b) <= experiment.exact
        for a, b in zip(step.outputs, (wanted[0], *wanted), strict=True)
    )


def scale_effect(experiment: StepExperiment, step: Step) -> str:
    """Say what multiplying all weights by a constant changes, if that is nothing to speak of."""
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
    """Yield whether rows have influence on each other."""
    x = np.array(step.x)
    x[0] += 1
    off = [np.abs(a - b)[1:].max() for a, b in zip(e.run(x=x).outputs, step.outputs, strict=True)]
    if max(off) > e.exact:
        yield Fact(
            "rows of the batch have influence on each other: another input in row 0 changes other "
            f"rows by up to {max(off):.2g}.",
            other=True,
        )


def _future(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield whether outputs depend on later inputs."""
    x = e.steps(STEPS)
    later = np.array(x)
    later[-1] += 1
    off = np.abs(e.sequence(x).y - e.sequence(later).y).reshape(STEPS, -1).max(axis=1)
    early = np.flatnonzero(off[:-1] > e.exact)
    if early.size:
        yield Fact(
            f"outputs depend on the future: the input of step {STEPS - 1} changes the output of "
            f"step {int(early[-1])} by {off[early[-1]]:.2g}.",
            other=True,
        )


def _unread(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield what has no influence on a step at all."""
    if _change(step, e.run(x=step.x + 1)) == 0:
        yield Fact("The input has no influence on the step.")
    for k, name in enumerate(e.cell.states) if e.case.state else ():
        old = tuple(s + 1 if j == k else s for j, s in enumerate(step.old))
        if _change(step, e.run(old=old)) == 0 and _changes(e.right(old=old), e.right()) > 0:
            yield Fact(f"The old {name} has no influence on the step.")
    for name in step.p:
        moved = Parameters(step.p.shapes, {n: a + 1 if n == name else a for n, a in step.p.items()})
        if np.any(step.p[name]) and _change(step, e.run(p=moved)) == 0:
            yield Fact(f"Adding 1 to all of {name} has no influence on the step.")


def _normalised(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield which scale or shift of the pre-activations has no influence."""
    arrays = {
        ("W", "U", "b"): "all weights and biases",
        ("W", "U"): "all weights",
        ("W",): "the weights of x",
        ("U",): "the weights of h",
    }
    for names, words in arrays.items():
        used = [n for n in names if n in step.p]
        if not used or not _read(e, step, used):
            continue
        other = scaled(step.p, FACTOR, used)
        change = _change(step, e.run(p=other))
        if change <= UNCHANGED < _changes(e.right(p=other), e.right(p=step.p)):
            normalised = "its pre-activations are normalised (layer norm)"
            if _scales_with_what_it_multiplies(e, step, used):
                normalised = "its weights are normalised, or lose their scale"
            yield Fact(
                f"{normalised}: multiplying {words} by {FACTOR:g} changes {_nothing(change)}.",
                other=True,
            )
            if gained := gains(e):
                yield Fact(gained.words)
            break
    shifted = Parameters(step.p.shapes, {n: a + 1 if n == "b" else a for n, a in step.p.items()})
    if "b" in step.p and e.case.bias and _change(step, e.run(p=shifted)) <= UNCHANGED:
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


def _read(e: StepExperiment, step: Step, names: Sequence[str]) -> bool:
    """Whether other numbers in each of these arrays make another step."""
    reversed_ = ({n: a[..., ::-1] if n == name else a for n, a in step.p.items()} for name in names)
    others = (Parameters(step.p.shapes, arrays) for arrays in reversed_)
    return all(_change(step, e.run(p=p)) > UNCHANGED for p in others)


def _affine(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield in what the new states are affine: of an LSTM c' is in c, and nothing else is."""
    if not e.case.state or e.cell.name not in ("rnn", "lstm", "gru"):
        return
    names = ("x", *e.cell.states)
    for k, new in enumerate(e.cell.states):
        for j, name in enumerate(names):
            ends = [_moved(e, step, j, way).new[k] for way in (-1.0, 1.0)]
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


def _moved(e: StepExperiment, step: Step, which: int, way: float) -> Step:
    """Run the step with something added to the input (0), or to one of the old states."""
    if which == 0:
        return e.run(x=step.x + way)
    return e.run(old=tuple(s + way if k == which - 1 else s for k, s in enumerate(step.old)))


def _gates(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield gates whose values do not lie in (0, 1)."""
    for gate, value in activated(e).items():
        if gate not in ("f", "i", "z") or not np.isfinite(value).all():
            continue  # o is measured through the cell state's activation
        low, high = float(value.min()), float(value.max())
        if low < -e.exact or high > 1 + e.exact:
            yield Fact(
                f"gate {gate} does not lie in (0, 1): it was seen from {low:.3g} to {high:.3g}.",
                other=True,
            )


def _departure(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield which gate or state is the first that is not that of the equations."""
    if right(e, step):
        yield Fact("One step of the lowest layer is right.")
        return
    yield Fact("One step of the lowest layer is wrong already.")
    wanted = expected(e)
    seen = {gate: s for gate, s in measured(e).items() if gate in wanted}
    slack = 64 * e.exact
    off = {gate: float(np.nanmax(np.abs(s - wanted[gate]))) for gate, s in seen.items()}
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
    """Yield from which step, layer, direction on a layer is wrong whose single step is right."""
    x = e.steps(STEPS)
    whole = e.sequence(x)
    old, own = step.old, []
    for x_t in x if e.case.state else ():
        one = e.run(x=x_t, old=old)
        own.append(one.y)
        old = one.new
    if own:
        apart = [t for t in range(STEPS) if distance(whole.y[t], own[t]) > e.exact]
        if apart and not any(chain(_rows(e, step), _future(e, step))):
            differs = f"from step {apart[0]} on, a sequence differs from the same steps in calls"
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
        off = np.abs(got.y - want.y).reshape(STEPS, case.B, -1) > e.exact
        finals = [distance(a, b) > e.exact for a, b in zip(got.final, want.final, strict=True)]
        if off.any():
            t, b, _ = (int(k) for k in np.argwhere(off)[0])
            yield Fact(f"With {words} the first wrong output is at step {t}, row {b}.")
            return
        if any(finals):
            yield Fact(f"With {words} outputs are right, and final states are not.")
            return


OF_STATES = (_normalised, _affine, _gates, _departure)


def _limits(e: StepExperiment, step: Step) -> Iterator[Fact]:
    """Yield how large states become."""
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
