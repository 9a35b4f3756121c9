"""The diagnosis of a wrong layer: all examinations in their order.

Crashes and randomness come first, since they need no search. ``STAGES`` yield hypotheses; a later
stage runs only if no earlier one explained everything. ``EXAMINATIONS`` measure the layer, before
the ``LAST_STAGES``, which take long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from ..cases.case import Case
from ..checks import check_named
from ..checks.check import reads_out
from ..runs.diagnosis import Diagnosis
from ..runs.verdict import Verdict
from ..subjects.called import in_steps
from ..subjects.protocol import Subject
from ..subjects.quantised import Quantised
from .arithmetic import precision
from .arithmetic.declared import explain_call, is_rounded, other_arithmetic, relative_to_declaration
from .arithmetic.grid import on_a_grid
from .arithmetic.storage import storage
from .causes import writes
from .causes.cause import hidden, unexplained, with_causes
from .causes.crash import crashes
from .causes.randomness import randomness
from .conventions import other_conventions
from .deadline import Deadline
from .discovery import Discovery
from .dropout import dropout_notes
from .formulas.departure import departures
from .formulas.gated_by_input import slips
from .formulas.relations import backward_passes, steps
from .gradients.accumulated import accumulated
from .gradients.clipped import clipped
from .gradients.detached import detached
from .gradients.tangents import NOTE as TANGENTS_NOTE
from .gradients.tangents import as_gradients
from .gradients.truncation import Truncation, truncation
from .hypotheses import Hypothesis, hypotheses
from .location import TRAINING, locate
from .misplaced.chunks import chunks
from .misplaced.passes import passes
from .misplaced.places import outputs, places
from .observation import Experiment, basic, thorough
from .other_cells.character import character
from .other_form import in_another_form
from .own_order import without_own_order
from .scopes.calls import (
    conditions_seen,
    edited_under_conditions,
    separating,
    under_conditions,
)
from .scopes.mixed import mixed
from .scopes.passes import in_some_passes
from .scopes.steps import at_some_steps
from .search import NEAR, Explainer, Search, observations

MOST = 4
"""The most failing cases, of different checks, that a search explains first."""

LARGEST = 200_000
"""The largest size of further failing cases, in steps times rows times units."""

SHORT = 50
"""The most steps of the further experiments that test what holds in some calls alone."""

FEW = 2
"""The most explanations of the outputs alone that are combined with mistakes of gradients."""

GRADIENT_CHECKS = frozenset(("gradient", "cotangents", "backward-twice", "gradient-window"))

SECONDS = 300.0
"""The default time limit of a diagnosis."""

Stage = Callable[[Explainer, Search], Iterator[Hypothesis]]
"""A function that yields hypotheses about a subject, the likeliest first; the search holds the
results of earlier stages."""

Examination = Callable[[Explainer, Sequence[Experiment]], Discovery]
"""A function that measures a layer with wrong outputs, and compares its findings with the
observations and with further experiments."""


def singles(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield the suspected mistakes, those of the catalogue, and the measured one."""
    yield from explainer.suspected
    yield from hypotheses(explainer.subject, explainer.dtype)
    if explainer.measured:
        yield explainer.measured


def cuts(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield detached states, sums over calls and clipped norms, if the outputs are right."""
    if not explainer.outputs_deviate:
        yield from accumulated(explainer.subject)
        yield from detached(explainer.subject.cells[0].partition("-")[0])
        yield from clipped()


def conventions(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield the convention by which the layer computes, alone and with every other mistake.

    Later stages combine their hypotheses with it, since single steps show it.
    """
    yield from explainer.bases
    if not search.fits:
        yield from explainer.with_conventions(singles(explainer, search))


def misplaced(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield right numbers in the wrong place, and parameters read from the wrong place."""
    gradients = not explainer.outputs_deviate
    candidates = [
        *places(explainer.subject, gradients=gradients),
        *passes(explainer.subject, gradients=gradients),
    ]
    yield from sorted(filter(explainer.possible, candidates), key=_concerns(explainer))
    if not search.fits:
        yield from explainer.with_conventions(candidates)


def of_one_option(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield what is misplaced with an option, if calls with it are wrong and no others."""
    options = {condition.needs for condition, _, _ in separating(explainer)} - {""}
    if options and explainer.outputs_deviate:
        for candidates in (places, passes):
            for hypothesis in candidates(explainer.subject, gradients=False):
                if not options.isdisjoint(hypothesis.needs) and explainer.possible(hypothesis):
                    yield hypothesis


def _concerns(explainer: Explainer) -> Callable[[Hypothesis], bool]:
    """Return a key that puts mistakes first that concern the only options that are wrong."""
    options = {condition.needs for condition, _, _ in separating(explainer)} - {""}
    return lambda hypothesis: options.isdisjoint(hypothesis.needs)


def between_chunks(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield what goes wrong from one chunk of steps to the next, where outputs are wrong."""
    if explainer.outputs_deviate:
        yield from chunks(explainer.subject)


def outputs_first(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield explanations of the outputs alone, each with every mistake of gradients.

    Code with a backward pass written by hand may be wrong in both passes.
    """
    if not (explainer.outputs_deviate and explainer.subject.options.gradient):
        return
    outputs, partly = explainer.of_outputs(), Search()
    for stage in (singles, conventions, misplaced):
        outputs.consider(stage(outputs, partly), partly)
        if partly.fits or not partly.complete:
            break
    few = partly.fits[:FEW]
    explainer.of_outputs_alone = [outputs.in_words_of_convention(fit) for fit in few]
    spoiling = [
        *(h for h in singles(explainer, search) if set(h.killed_by) & GRADIENT_CHECKS),
        *places(explainer.subject, gradients=True),
        *passes(explainer.subject, gradients=True),
    ]
    for fit in explainer.of_outputs_alone:
        yield from (fit + mistake for mistake in spoiling)


def pairs(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield pairs of mistakes, those that the numbers suggest first."""
    yield from explainer.pairs(hypotheses(explainer.subject, explainer.dtype), search)


def scoped(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield mistakes that are made in some calls, passes or steps alone, where that shows."""
    catalogue = partial(hypotheses, explainer.subject, explainer.dtype)
    yield from edited_under_conditions(explainer, search)
    yield from in_some_passes(
        explainer, search, lambda: chain(catalogue(), outputs(explainer.subject.cells[0]))
    )
    yield from at_some_steps(explainer, search, catalogue, at_least=3)
    yield from under_conditions(explainer, catalogue)


def after_the_first_step(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield mistakes at all steps but the first, where no edit of the formulas explains them."""
    catalogue = partial(hypotheses, explainer.subject, explainer.dtype)
    yield from at_some_steps(explainer, search, catalogue, at_least=2)


def everywhere_and_elsewhere(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield what explains plain calls alone, with every mistake of calls with more options."""
    gradients = not explainer.outputs_deviate
    catalogue = partial(hypotheses, explainer.subject, explainer.dtype)

    def every() -> Iterator[Hypothesis]:
        yield from catalogue()
        yield from places(explainer.subject, gradients=gradients)
        yield from passes(explainer.subject, gradients=gradients)

    yield from mixed(explainer, (singles, conventions, steps, backward_passes), every)


def under_one_condition(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield right numbers in the wrong place, and cut gradients, under one condition alone."""
    gradients = not explainer.outputs_deviate
    yield from under_conditions(
        explainer,
        lambda: chain(cuts(explainer, search), places(explainer.subject, gradients=gradients)),
    )


STAGES: tuple[Stage, ...] = (
    singles, cuts, of_one_option, scoped, backward_passes, conventions, misplaced, steps,
    outputs_first,
)  # fmt: skip
STAGES_OF_GIVEN: tuple[Stage, ...] = (singles, slips, between_chunks)
"""The stages for cells that read their gates as inputs: they have no weights to misread."""

EXAMINATIONS: tuple[Examination, ...] = (on_a_grid, character)
LAST_STAGES: tuple[Stage, ...] = (
    under_one_condition, everywhere_and_elsewhere, after_the_first_step, pairs,
)  # fmt: skip
CONFINED: tuple[Stage, ...] = (scoped, under_one_condition, after_the_first_step)
"""The stages whose hypotheses hold in some calls, passes or steps: all experiments test them."""


def diagnose(
    subject: Subject,
    dtype: str,
    failing: Sequence[Verdict],
    *,
    seconds: float = SECONDS,
    on_step: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Diagnose a subject by the checks that it failed in one dtype.

    The search ends after ``seconds``; the diagnosis says so.
    """
    deadline = Deadline(seconds)
    writings = writes.written(subject, dtype, failing)
    writing = writes.cause(subject, dtype, writings, failing)
    causes = [c for c in crashes(subject, dtype, failing) if not (writing and writes.refused(c))]
    causes += [writing] if writing else []
    causes += randomness(subject, dtype, unexplained(failing, causes))
    rest = unexplained(failing, causes) or [v for c in causes for v in hidden(subject, dtype, c)]
    suspected = tuple(writes.hypotheses_of(writings, jvp=subject.options.jvp))
    values = _diagnose_form(subject, dtype, rest) or _diagnose_quantised(
        subject, dtype, rest, deadline, suspected, on_step=on_step
    )
    ids = values.explanations[0].ids if values.explanations else ()
    causes = [cause for cause in causes if cause.explanation.ids != ids]
    if not causes:
        values.failed = tuple(v.check for v in failing)
    return with_causes(values, causes, failing)


def _diagnose_form(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Diagnosis | None:
    """Return the diagnosis that a layer computes in another form than it declares, or None."""
    failures = judged(failing) if reads_out(subject) else []
    finding = in_another_form(subject, [*map(_experiment, failures)]) if failures else Discovery()
    plain = Diagnosis(subject.name, dtype, failed=tuple(v.check for v in failing))
    return _diagnosis_of_finding(plain, finding) if finding.explanations else None


def _diagnose_values(
    subject: Subject,
    dtype: str,
    failing: Sequence[Verdict],
    deadline: Deadline,
    suspected: tuple[Hypothesis, ...],
    *,
    on_step: Callable[[str], None],
) -> Diagnosis:
    """Diagnose wrong numbers of a subject."""
    diagnosis = Diagnosis(subject.name, dtype, failed=tuple(v.check for v in failing))
    failures = judged(failing)
    if not failures:
        diagnosis.status = "unexplained" if failing else "conforms"
        diagnosis.message = failing[0].message if failing else "no check failed"
        return diagnosis
    first = representative(failures)
    experiments = [*map(_experiment, first), *basic(subject, dtype)]
    explainer = Explainer(
        subject, dtype, list(observations(subject, experiments)), on_step, deadline
    )
    explainer.suspected = suspected
    explainer.transposed = as_gradients(subject, explainer.observations)
    diagnosis.location = locate(subject, failures, explainer.observations)
    in_gradients = diagnosis.location.part == "gradients"
    measured = truncation(subject, dtype) if in_gradients else Truncation()
    explainer.measured, diagnosis.reach = measured.hypothesis, measured.words
    diagnosis.experiments = len(explainer.observations)
    arithmetic = precision.explanation(
        subject, dtype, failures, storage(explainer.observations, dtype)
    )
    is_coarser = arithmetic and precision.explains(arithmetic, dtype, explainer.observations)
    rest = [_experiment(v) for v in failures if v not in first and _size(v) <= LARGEST]
    if arithmetic and is_coarser:
        grid = on_a_grid(explainer, rest)  # which says more than how coarse it is
        if grid.explanations:
            return _diagnosis_of_finding(diagnosis, grid)
        if arithmetic.certain:
            diagnosis.status, diagnosis.explanations = "explained", [arithmetic.explanation]
            return diagnosis
    reads_gates = reads_out(subject)
    plain_call = explainer.observations[len(first)]  # in which another convention shows
    if explainer.outputs_deviate and plain_call.deviating and not reads_gates:
        explainer.bases = tuple(other_conventions(subject))
    stages = STAGES_OF_GIVEN if reads_gates else STAGES[:1] if is_coarser else STAGES
    search = searched(explainer, rest, stages)
    diagnosis.experiments += len(rest)
    enough = search.fits or is_coarser or reads_gates or not subject.options.final_states
    finding = Discovery() if enough else examined(explainer, rest)
    if finding.explanations:
        return _diagnosis_of_finding(diagnosis, finding, search.tried)
    if not search.fits and not is_coarser:
        search = searched_last(explainer, rest, search)
    fits = [explainer.in_words_of_convention(h) for h in ranked(search.fits, failures)]
    diagnosis.explanations, order_notes = without_own_order(subject, [h.explanation for h in fits])
    if arithmetic and is_coarser and not diagnosis.explanations:
        diagnosis.explanations = [arithmetic.explanation]
    _conclude(diagnosis, search, deadline)
    if arithmetic and not diagnosis.explanations:
        diagnosis.message += f"; it computes in {arithmetic.name} at best, and that is not all"
    notes = list(dropout_notes(explainer, search, failing)) if failures != failing else []
    notes += order_notes + [TANGENTS_NOTE] * bool(explainer.transposed and diagnosis.explanations)
    if not diagnosis.explanations:
        diagnosis.message = finding.message or diagnosis.message
        notes += [*output_notes(explainer), *finding.notes]
        notes += [] if reads_gates else _remarks(explainer)
    diagnosis.notes = tuple(notes)
    return diagnosis


def _remarks(explainer: Explainer) -> list[str]:
    """Return sentences about a layer that no hypothesis explains."""
    return [*departures(explainer), *conditions_seen(explainer)]


def _diagnose_quantised(
    subject: Subject,
    dtype: str,
    failing: Sequence[Verdict],
    deadline: Deadline,
    suspected: tuple[Hypothesis, ...],
    *,
    on_step: Callable[[str], None],
) -> Diagnosis:
    """Diagnose wrong numbers of a layer that may be quantised.

    First another arithmetic than the declared one is tried, then other mistakes with weights
    rounded as declared. If neither explains the failures, and only weights are rounded, their
    rounding is measured from the checks that ignore the declaration.
    """

    def diagnosed(layer: Subject, failing: Sequence[Verdict]) -> Diagnosis:
        return _diagnose_values(layer, dtype, failing, deadline, suspected, on_step=on_step)

    failures = judged(failing)
    if not isinstance(subject, Quantised) or not failures:
        return diagnosed(subject, failing)
    arithmetic = explain_call(subject, dtype, failures)
    if not arithmetic.explanations:
        arithmetic = other_arithmetic(subject, dtype, failures)
    if arithmetic.explanations:
        diagnosis = Diagnosis(subject.name, dtype, failed=tuple(v.check for v in failing))
        first = [_experiment(v) for v in representative(failures)[:1]]
        observed = list(observations(subject.as_subject, first))
        diagnosis.location = locate(subject.as_subject, failures, observed)
        return _diagnosis_of_finding(diagnosis, arithmetic)
    diagnosis = diagnosed(subject.as_subject, failing)
    bare = subject.subject
    of_any = [v for v in failing if check_named(v.check).concerned(bare)]
    if not in_steps(subject) and not diagnosis.explanations and judged(of_any):
        diagnosis = diagnosed(bare, of_any)
    explanations = [
        relative_to_declaration(e, subject.quantisation) if is_rounded(e) else e
        for e in diagnosis.explanations
    ]
    return replace(diagnosis, explanations=explanations)


def _diagnosis_of_finding(diagnosis: Diagnosis, finding: Discovery, tried: int = 0) -> Diagnosis:
    """Return the diagnosis of an examination's finding."""
    return replace(
        diagnosis, status="explained", explanations=finding.explanations, notes=finding.notes,
        tried=tried, residual=finding.residual, experiments=finding.experiments,
    )  # fmt: skip


def output_notes(explainer: Explainer) -> Iterator[str]:
    """Yield notes on outputs that are explained while gradients are not."""
    for fit in explainer.of_outputs_alone[:1]:
        yield f"The outputs are explained: {' '.join(fit.statements)}"
        yield "The gradients are wrong beyond that."


def judged(failing: Sequence[Verdict]) -> list[Verdict]:
    """Return the failures that need an explanation.

    Failures of training are left out beside others: with wrong equations no row of a training run
    can be recognised. Exceptions are left out beside wrong values, of which they say little.
    """
    failures = [v for v in failing if v.case]
    failures = [v for v in failures if v.status == "failed"] or failures
    return [v for v in failures if v.check not in TRAINING] or failures


def examined(explainer: Explainer, rest: Sequence[Experiment]) -> Discovery:
    """Return the first finding with an explanation, or the last, with all notes."""
    finding, notes = Discovery(), tuple[str, ...]()
    for examination in EXAMINATIONS if explainer.outputs_deviate else ():
        finding = examination(explainer, rest)
        notes += finding.notes
        if finding.explanations:
            break
    return replace(finding, notes=notes)


def searched(
    explainer: Explainer,
    rest: Sequence[Experiment],
    stages: Sequence[Stage],
    before: Search | None = None,
) -> Search:
    """Run the stages up to the first that explains all observations and the experiments ``rest``.

    ``before`` is the search of earlier stages.
    """
    search, more = before or Search(), list(thorough(explainer.subject, explainer.dtype))
    if not any(e.case.dropout for e in rest) and explainer.deviates:
        more = [e for e in more if not e.case.dropout]  # dropout is judged apart
    for stage in stages:
        explainer.consider(stage(explainer, search), search)
        explainer.sift(search, rest)
        untried = more
        if stage in CONFINED:
            explainer.sift(search, [e for e in more if e.case.T <= SHORT])
            untried = [e for e in more if e.case.T > SHORT]
        explainer.sift(search, untried, until=1)
        if search.fits or not search.complete:
            break
    return search


def searched_last(explainer: Explainer, rest: Sequence[Experiment], search: Search) -> Search:
    """Run the last stages; then let mistakes fit that miss by a few levels of rounding.

    They have to come as near in all experiments, gradients included.
    """
    search = searched(explainer, rest, LAST_STAGES, search)
    if search.fits:
        return search
    seen = [*explainer.observations, *observations(explainer.subject, rest)]
    wide = explainer.with_observations(seen).widened(NEAR)
    for hypothesis in search.near:
        residual = NEAR * wide.residual_of(hypothesis)
        if residual <= NEAR:
            search.fits.append(hypothesis)
            search.residual = max(search.residual, residual)
    return search


def _experiment(verdict: Verdict) -> Experiment:
    """Return a check's failing case as drawn; for training the smallest, with few masks."""
    smallest = verdict.check in TRAINING or not verdict.drawn
    return Experiment(verdict.check, Case.from_json(verdict.case if smallest else verdict.drawn))


def _conclude(diagnosis: Diagnosis, search: Search, deadline: Deadline) -> None:
    """Write the results of a search into a diagnosis."""
    diagnosis.status = "explained" if diagnosis.explanations else "unexplained"
    diagnosis.residual, diagnosis.tried = search.residual, search.tried
    diagnosis.complete = search.complete
    if search.runner_up < NEAR:
        diagnosis.runner_up, diagnosis.runner_up_name = search.runner_up, search.runner_up_name
    if not diagnosis.explanations:
        time = "" if search.complete else f"; {deadline.words}"
        diagnosis.message = f"no known mistake explains this, nor two together{time}"


def representative(failing: Sequence[Verdict]) -> list[Verdict]:
    """Return a few failing checks, those with the smallest cases."""
    return sorted(failing, key=_size)[:MOST]


def _size(verdict: Verdict) -> int:
    case = Case.from_json(verdict.drawn or verdict.case)
    return max(case.T, 1) * case.B * case.H * case.layers * case.directions


def ranked(fits: Sequence[Hypothesis], failing: Sequence[Verdict]) -> list[Hypothesis]:
    """Sort explanations: single mistakes before pairs, those with a failed check of theirs first.

    A pair is left out if a part of it fits alone.
    """
    failed = {v.check for v in failing}
    fits = [h for h in fits if not any(set(other.ids) < set(h.ids) for other in fits)]

    def rank(hypothesis: Hypothesis) -> tuple[int, int]:
        foreseen = any(id in failed for id in hypothesis.killed_by[:1])
        return len(hypothesis.ids), 0 if foreseen else 1

    return sorted(fits, key=rank)
