"""From a wrong layer to a sentence that says what to change.

A layer is taken apart from the general to the special. Crashes and randomness come first: they
need no search. ``STAGES`` yield hypotheses; a later stage runs only if no earlier one explained
everything. ``EXAMINATIONS`` measure the layer, before the ``LAST_STAGES``, which take long.
``REMARKS`` say what can be said of a layer that nothing explains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
from .arithmetic.declared import as_declared, is_rounded, of_the_call, other_arithmetic
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
from .formulas.given import slips
from .formulas.relations import steps, ways_back
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
from .misplaced.paths import without_lengths
from .misplaced.places import places
from .observation import Experiment, basic, thorough
from .other_cells.character import character
from .other_form import in_another_form
from .own_order import without_own_order
from .search import Explainer, Search, observations

MOST = 4
"""Failing cases, of different checks, that an explanation is sought for at first."""

LARGEST = 200_000
"""Steps times rows times units of a case that is looked at beside those."""

NEAR = 10.0
"""Levels of rounding up to which a mistake that does not fit is worth a mention.

What fits is off by less than 1, with a margin for other programs' rounding in it; what does not is
off by 1e3 to 1e12. In between only a mistake that fits up to a rounding not thought of can stand.
"""

FEW = 2
"""Explanations of the outputs alone that something is sought beside."""

GRADIENT_CHECKS = frozenset(("gradient", "cotangents", "backward-twice", "gradient-window"))

SECONDS = 300.0
"""Seconds for a diagnosis, unless others are given."""

Stage = Callable[[Explainer, Search], Iterator[Hypothesis]]
"""Yield hypotheses about a subject, the likeliest first; the search has what was tried before."""

Examination = Callable[[Explainer, Sequence[Experiment]], Discovery]
"""Measure a layer whose outputs are wrong: what it finds is judged by its own comparison, in what
was seen and in further experiments."""

Remark = Callable[[Explainer, Sequence[Verdict]], Iterator[str]]
"""Yield sentences about a layer that no hypothesis explains."""


def singles(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield every mistake of the catalogue, and what was measured."""
    yield from explainer.suspected
    yield from hypotheses(explainer.subject, explainer.dtype)
    if explainer.measured:
        yield explainer.measured


def cuts(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield detached states, sums over calls and clipped norms, where outputs are right."""
    if not explainer.outputs_deviate:
        yield from accumulated(explainer.subject)
        yield from detached(explainer.subject.cells[0].partition("-")[0])
        yield from clipped()


def conventions(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield the convention by which the layer computes, alone and with every other mistake.

    From here on it stands before whatever else is tried: single steps show it.
    """
    yield from explainer.bases
    if not search.fits:
        yield from explainer.beyond(singles(explainer, search))


def misplaced(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield right numbers in the wrong place, and parameters read from the wrong place."""
    gradients = not explainer.outputs_deviate
    candidates = [
        *places(explainer.subject, gradients=gradients),
        *passes(explainer.subject, gradients=gradients),
    ]
    yield from filter(explainer.possible, candidates)
    if not search.fits:
        yield from explainer.beyond(candidates)


def between_chunks(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield what goes wrong from one chunk of steps to the next, where outputs are wrong."""
    if explainer.outputs_deviate:
        yield from chunks(explainer.subject)


def outputs_first(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield what explains the outputs alone, together with everything that spoils gradients.

    Who writes the way back by hand may have gone wrong on both ways.
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
    for way in explainer.of_outputs_alone:
        yield from (way + back for back in spoiling)


def pairs(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield two mistakes together, those first that the numbers suggest."""
    yield from explainer.pairs(hypotheses(explainer.subject, explainer.dtype), search)


def one_path(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield what is wrong where no lengths are given alone."""
    gradients = not explainer.outputs_deviate
    every = (
        singles(explainer, search), cuts(explainer, search),
        places(explainer.subject, gradients=gradients),
    )  # fmt: skip
    yield from without_lengths(explainer, chain.from_iterable(every))


STAGES: tuple[Stage, ...] = (
    singles, cuts, ways_back, conventions, misplaced, steps, outputs_first,
)  # fmt: skip
STAGES_OF_GIVEN: tuple[Stage, ...] = (singles, slips, between_chunks)
"""What is tried of a cell that is given its gates: it has no weights that could be misread."""

EXAMINATIONS: tuple[Examination, ...] = (on_a_grid, character)
LAST_STAGES: tuple[Stage, ...] = (one_path, pairs)
REMARKS: tuple[Remark, ...] = (departures,)


def diagnose(
    subject: Subject,
    dtype: str,
    failing: Sequence[Verdict],
    *,
    seconds: float = SECONDS,
    on_step: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Find out what is wrong with a subject, given the checks that it failed in one dtype.

    The search ends after ``seconds``; the diagnosis then says so.
    """
    deadline = Deadline(seconds)
    writings = writes.written(subject, dtype, failing)
    writing = writes.cause(subject, dtype, writings, failing)
    causes = [c for c in crashes(subject, dtype, failing) if not (writing and writes.refused(c))]
    causes += [writing] if writing else []
    causes += randomness(subject, dtype, unexplained(failing, causes))
    rest = unexplained(failing, causes) or [v for c in causes for v in hidden(subject, dtype, c)]
    suspected = tuple(writes.hypotheses_of(writings, jvp=subject.options.jvp))
    values = _of_its_form(subject, dtype, rest) or _of_quantised(
        subject, dtype, rest, deadline, suspected, on_step=on_step
    )
    ids = values.explanations[0].ids if values.explanations else ()
    causes = [cause for cause in causes if cause.explanation.ids != ids]
    if not causes:
        values.failed = tuple(v.check for v in failing)
    return with_causes(values, causes, failing)


def _of_its_form(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Diagnosis | None:
    """Return that a layer computes in another form than it says, None if that is not so."""
    failures = judged(failing) if reads_out(subject) else []
    finding = in_another_form(subject, [*map(_experiment, failures)]) if failures else Discovery()
    plain = Diagnosis(subject.name, dtype, failed=tuple(v.check for v in failing))
    return _of_finding(plain, finding, 0) if finding.explanations else None


def _of_values(
    subject: Subject,
    dtype: str,
    failing: Sequence[Verdict],
    deadline: Deadline,
    suspected: tuple[Hypothesis, ...] = (),
    *,
    on_step: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Find out what is wrong with the numbers of a subject."""
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
    measured = Truncation()
    if diagnosis.location.part == "gradients":
        measured = truncation(subject, dtype)
    explainer.measured = measured.hypothesis
    diagnosis.reach = measured.words
    diagnosis.experiments = len(explainer.observations)
    arithmetic = precision.explanation(
        subject, dtype, failures, storage(explainer.observations, dtype)
    )
    whole = arithmetic and precision.explains(arithmetic, dtype, explainer.observations)
    rest = [_experiment(v) for v in failures if v not in first and _size(v) <= LARGEST]
    if arithmetic and whole:
        grid = on_a_grid(explainer, rest)  # which says more than how coarse it is
        if grid.explanations:
            return _of_finding(diagnosis, grid, 0)
        if arithmetic.certain:
            diagnosis.status, diagnosis.explanations = "explained", [arithmetic.explanation]
            return diagnosis
    given = reads_out(subject)
    # The first of the basic experiments is a plain call: a convention that is another shows there.
    if explainer.outputs_deviate and explainer.observations[len(first)].deviating and not given:
        explainer.bases = tuple(other_conventions(subject))
    stages = STAGES_OF_GIVEN if given else STAGES[:1] if whole else STAGES
    search = searched(explainer, rest, stages)
    diagnosis.experiments += len(rest)
    finding = Discovery() if search.fits or whole or given else examined(explainer, rest)
    if finding.explanations:
        return _of_finding(diagnosis, finding, search.tried)
    if not search.fits and not whole:
        search = searched(explainer, rest, LAST_STAGES, search)
    fits = [explainer.in_words_of_convention(h) for h in ranked(search.fits, failures)]
    diagnosis.explanations, own = without_own_order(subject, [h.explanation for h in fits])
    if arithmetic and whole and not diagnosis.explanations:
        diagnosis.explanations = [arithmetic.explanation]
    _conclude(diagnosis, search, deadline)
    if arithmetic and not diagnosis.explanations:
        diagnosis.message += f"; it computes in {arithmetic.name} at best, and that is not all"
    notes = list(dropout_notes(explainer, search, failing)) if failures != failing else []
    notes += own + [TANGENTS_NOTE] * bool(explainer.transposed and diagnosis.explanations)
    if not diagnosis.explanations:
        diagnosis.message = finding.message or diagnosis.message
        notes += [*of_outputs(explainer), *finding.notes]
        notes += () if given else [said for r in REMARKS for said in r(explainer, failing)]
    diagnosis.notes = tuple(notes)
    return diagnosis


def _of_quantised(
    subject: Subject,
    dtype: str,
    failing: Sequence[Verdict],
    deadline: Deadline,
    suspected: tuple[Hypothesis, ...] = (),
    *,
    on_step: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Find out what is wrong with a layer, in another arithmetic than declared first of all.

    What is wrong beside that is found for weights rounded as declared. Where nothing is, and
    nothing but weights is rounded, how they are is measured, from the checks that know nothing of
    the declaration.
    """
    failures = judged(failing)
    if not isinstance(subject, Quantised) or not failures:
        return _of_values(subject, dtype, failing, deadline, suspected, on_step=on_step)
    other = of_the_call(subject, dtype, failures)
    if not other.explanations:
        other = other_arithmetic(subject, dtype, failures)
    if other.explanations:
        diagnosis = Diagnosis(subject.name, dtype, failed=tuple(v.check for v in failing))
        first = [_experiment(v) for v in representative(failures)[:1]]
        seen = list(observations(subject.as_subject, first))
        diagnosis.location = locate(subject.as_subject, failures, seen)
        return _of_finding(diagnosis, other, 0)
    diagnosis = _of_values(subject.as_subject, dtype, failing, deadline, suspected, on_step=on_step)
    bare = subject.subject
    of_any = [v for v in failing if check_named(v.check).concerned(bare)]
    if not in_steps(subject) and not diagnosis.explanations and judged(of_any):
        diagnosis = _of_values(bare, dtype, of_any, deadline, suspected, on_step=on_step)
    said = [
        as_declared(e, subject.quantisation) if is_rounded(e) else e for e in diagnosis.explanations
    ]
    return replace(diagnosis, explanations=said)


def _of_finding(diagnosis: Diagnosis, finding: Discovery, tried: int) -> Diagnosis:
    """Return the diagnosis that what an examination found makes."""
    return replace(
        diagnosis, status="explained", explanations=finding.explanations, notes=finding.notes,
        tried=tried, residual=finding.residual, experiments=finding.experiments,
    )  # fmt: skip


def of_outputs(explainer: Explainer) -> Iterator[str]:
    """Yield what explains the outputs where nothing explains the gradients, too."""
    for way in explainer.of_outputs_alone[:1]:
        yield f"The outputs are explained: {' '.join(way.statements)}"
        yield "The gradients are wrong beyond that."


def judged(failing: Sequence[Verdict]) -> list[Verdict]:
    """Return the failures that an explanation is sought for.

    Masks of dropout are drawn by another program: while the equations are wrong, no row of a
    training run can be recognised, and that it cannot says nothing. What raised says little of
    values.
    """
    failures = [v for v in failing if v.case]
    failures = [v for v in failures if v.status == "failed"] or failures
    return [v for v in failures if v.check not in TRAINING] or failures


def examined(explainer: Explainer, rest: Sequence[Experiment]) -> Discovery:
    """Return what the first examination finds that explains everything, or all notes."""
    notes: tuple[str, ...] = ()
    for examination in EXAMINATIONS if explainer.outputs_deviate else ():
        finding = examination(explainer, rest)
        notes = (*notes, *finding.notes)
        if finding.explanations or examination is EXAMINATIONS[-1]:
            return replace(finding, notes=notes)
    return Discovery()


def searched(
    explainer: Explainer,
    rest: Sequence[Experiment],
    stages: Sequence[Stage],
    before: Search | None = None,
) -> Search:
    """Return what the first stage that explains everything finds; ``rest`` must be met, too.

    ``before`` is what earlier stages tried.
    """
    search, more = before or Search(), list(thorough(explainer.subject, explainer.dtype))
    if not any(e.case.dropout for e in rest) and explainer.deviates:
        more = [e for e in more if not e.case.dropout]  # dropout is judged apart
    for stage in stages:
        explainer.consider(stage(explainer, search), search)
        explainer.sift(search, rest)
        if len(search.fits) > 1:
            explainer.sift(search, more, until=1)
        if search.fits or not search.complete:
            break
    return search


def _experiment(verdict: Verdict) -> Experiment:
    """Return a check's failing case as it was drawn; of masks the smallest, of which few differ."""
    smallest = verdict.check in TRAINING or not verdict.drawn
    return Experiment(verdict.check, Case.from_json(verdict.case if smallest else verdict.drawn))


def _conclude(diagnosis: Diagnosis, search: Search, deadline: Deadline) -> None:
    """Write down in a diagnosis what a search found."""
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
    """Return explanations with the foreseen before others, single mistakes before pairs.

    What is there without a further mistake, too, is told without it.
    """
    failed = {v.check for v in failing}
    fits = [h for h in fits if not any(set(other.ids) < set(h.ids) for other in fits)]

    def rank(hypothesis: Hypothesis) -> tuple[int, int]:
        foreseen = any(id in failed for id in hypothesis.killed_by[:1])
        return len(hypothesis.ids), 0 if foreseen else 1

    return sorted(fits, key=rank)
