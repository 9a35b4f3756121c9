"""The diagnosis of a submission to a benchmark's problem.

First, arguments that can change without a change of the output are not read. Then every known
mistake is computed in the reference's layer, with the submission's weights.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..checks import kernel_oracle as oracle
from ..checks import kernel_state_spaces as state_spaces
from ..numbers.ledger import Mismatch
from ..runs.diagnosis import Diagnosis, Explanation, Location
from ..runs.verdict import Verdict
from ..subjects.called import NotOffered, SubjectCrashed, with_care
from ..subjects.kernel import Submission, Submitted
from ..subjects.kernel_problems import Problem, StateSpace, leaves
from ..subjects.protocol import Inputs, Subject
from .deadline import Deadline
from .hypotheses import Guess, Hypothesis, hypotheses
from .location import listed

MARGIN = 2.0
"""The largest deviation, in bounds, of a mistake that fits; a wrong submission deviates by over 1
from the right answer."""

PARTS = {
    "kernel-output": "outputs",
    "kernel-steps": "outputs",
    "kernel-size": "outputs",
    "kernel-gradient": "gradients",
    "kernel-calls": "calls",
    "kernel-own-work": "program",
}


@dataclass(frozen=True)
class Trial:
    """A case with the submission's result and the right one, Bounded.

    The results are gradients by name, or the output alone, under ``output``.
    """

    case: Case
    leaves: Mapping[str, Floats]
    cotangent: Floats
    got: Mapping[str, Floats]
    want: Mapping[str, Any]

    def deviation(self, numbers: Mapping[str, Floats] | None = None) -> float:
        """Return the largest difference to other numbers, by default the right ones, in bounds."""
        named = self.want if numbers is None else numbers
        return max(
            _in_bounds(np.abs(got - _value(named[name])), self.want[name].bound)
            for name, got in self.got.items()
        )


def _in_bounds(apart: Floats, bound: Floats) -> float:
    """Return the largest quotient; equal numbers are 0 bounds apart, even for a bound of 0."""
    quotients = np.divide(apart, bound, out=np.full(apart.shape, np.inf), where=bound > 0)
    return float(np.max(np.where(apart == 0, 0, quotients)))


def _value(numbers: Any) -> Floats:
    return np.asarray(getattr(numbers, "value", numbers), dtype=np.float64)


def diagnose_submission(
    subject: Submitted, dtype: str, failing: Sequence[Verdict], seconds: float
) -> Diagnosis:
    """Diagnose the failures of a submission."""
    first, deadline = failing[0], Deadline(seconds)
    diagnosis = Diagnosis(subject.name, dtype, "unexplained", tuple(v.check for v in failing))
    diagnosis.location = Location(PARTS.get(first.check, "program"), place=first.place)
    diagnosis.message = f"Nothing that is known explains it; {first.check}: {first.message}"
    if first.status != "failed" or first.check in ("kernel-calls", "kernel-own-work", "smoke"):
        diagnosis.message = f"{first.check}: {first.message}"
        return diagnosis
    try:
        explanations = [
            *_unread(subject, dtype, first),
            *_catalogued(subject, dtype, diagnosis, deadline),
        ]
    except Mismatch:  # it writes into its arguments, which the check reported
        diagnosis.message = f"{first.check}: {first.message}"
        return diagnosis
    except (SubjectCrashed, NotOffered) as raised:
        diagnosis.message = f"it could not be diagnosed: {raised}"
        return diagnosis
    if explanations:
        diagnosis.status, diagnosis.explanations = "explained", explanations
    elif coarse := _coarser(subject, dtype):
        diagnosis.message = (
            f"Its error is of the size that {coarse} would have: look for products or states in "
            f"less precision than {dtype}, or for a function that is approximated."
        )
    return diagnosis


COARSER = ("tf32", "float16", "bfloat16")

MEANINGFUL = 0.1
"""The share of the largest number up to which a bound is meaningful for precision."""


def _coarser(subject: Submitted, dtype: str) -> str:
    """Return the finest arithmetic whose rounding explains the output's errors; "" if none."""
    plain = (subject.problem.case(1, 3, 4, 6, seed=seed) for seed in range(4))
    cases = (replace(case, dtype=dtype) for case in plain)
    trials = [_trial(subject, case, gradients=False) for case in cases]
    if all(trial.deviation() <= 1 for trial in trials):
        return ""
    for name in COARSER:
        if all(_within_bounds(subject.problem, trial, name) for trial in trials):
            return name
    return ""


def _within_bounds(problem: Problem, trial: Trial, arithmetic: str) -> bool:
    lift = oracle.bounded(replace(trial.case, assumed=arithmetic))
    want = oracle.output(problem, trial.case, trial.leaves, lift)
    meant = np.median(want.bound) <= MEANINGFUL * np.abs(want.value).max()
    return bool(meant and np.all(np.abs(trial.got["output"] - want.value) <= want.bound))


def _small(problem: Problem, dtype: str) -> list[Case]:
    cases = (problem.case(5, 3, 4, 6, 2, seed=1), problem.case(3, 4, 2, 5, 3, seed=3),
             problem.case(6, 2, 7, 4, 2, seed=5))  # fmt: skip
    return [replace(case, dtype=dtype) for case in cases]


# Arguments that can change without a change of the output.


def _unread(subject: Submitted, dtype: str, first: Verdict) -> Iterator[Explanation]:
    """Yield explanations by arguments that a submission does not read, in the case that failed."""
    problem = subject.problem
    case, long = _small(problem, dtype)[0], first.check in ("kernel-steps", "kernel-size")
    if long and first.case:
        case = Case.from_json(first.case)
    submission = cast("Submission", with_care(lambda: subject.build(case)))
    arrays, other_arrays = leaves(problem, case), leaves(problem, replace(case, seed=case.seed + 3))

    def output(**changed: Floats) -> Floats:
        return with_care(lambda: submission.output({**arrays, **changed}))

    before = output()
    if not np.array_equal(output(), before):
        sentence = "Its output is random: the same call again returns other numbers."
        yield Explanation(("random",), (sentence,), ("draw no random numbers",))
        return
    # arrays that a long run forgets may rightly change no bit of its output
    named = ["x"] if long else [n for n in arrays if arrays[n].shape == other_arrays[n].shape]
    named = [n for n in named if n not in problem.unread]
    unread = [n for n in named if np.array_equal(output(**{n: other_arrays[n]}), before)]
    if unread:
        all_unread = len(unread) == len(named) > 1
        names = "Nothing that it is given" if all_unread else _listed(unread)
        number = "has" if all_unread or len(unread) == 1 else "have"
        yield Explanation(
            ("unread",),
            (f"{names} {number} {'an' if all_unread else 'no'} influence on its output.",),
            (f"read {_listed(unread)}",),
        )  # fmt: skip
    if "x" in unread or problem.layout == "one step":
        yield from _rows(problem, arrays, other_arrays, before, output)
        return

    def is_read(steps: int) -> bool:
        """Whether the output changes with the first steps."""
        changed = np.concatenate([other_arrays["x"][:steps], arrays["x"][steps:]])
        return not np.array_equal(output(x=changed), before)

    if steps := bisect_left(range(1, case.T + 1), True, key=is_read):
        yield Explanation(
            ("unread steps",),
            (f"The first {steps} of {case.T} steps have no influence on its output.",),
            ("read every step",),
        )
    yield from _rows(problem, arrays, other_arrays, before, output)


def _rows(
    problem: Problem,
    arrays: Mapping[str, Floats],
    other_arrays: Mapping[str, Floats],
    before: Floats,
    output: Any,
) -> Iterator[Explanation]:
    """Yield the explanation that a row's output changes with another row's input."""
    if arrays["x"].shape[1] < 2:
        return
    x = arrays["x"].copy()
    x[:, 0] = other_arrays["x"][:, 0]
    axis = oracle.axis_of_rows(problem)
    now, was = (np.moveaxis(array, axis, 0) for array in (output(x=x), before))
    moved = [row for row in range(1, len(now)) if not np.array_equal(now[row], was[row])]
    if moved:
        yield Explanation(
            ("rows",),
            (f"The output of row {moved[0]} changes with the input of row 0.",),
            ("compute each row from its own input",),
        )


def _listed(names: Sequence[str]) -> str:
    return listed([*names[:4], f"{len(names) - 4} more"] if len(names) > 5 else names)


# Known mistakes, in the reference's layer.


def _catalogued(
    subject: Submitted, dtype: str, diagnosis: Diagnosis, deadline: Deadline
) -> Iterator[Explanation]:
    """Yield the mistakes of the catalogue that compute the submission's numbers in all trials."""
    trials = [_trial(subject, case, gradients=False) for case in _small(subject.problem, dtype)]
    gradients = all(trial.deviation() <= 1 for trial in trials)
    if gradients:
        if not subject.options.gradient or "kernel-gradient" not in diagnosis.failed:
            return
        trials = [_trial(subject, case, gradients=True) for case in _small(subject.problem, dtype)]
        if all(trial.deviation() <= 1 for trial in trials):
            return
        yield from _zeros(trials[0])
    diagnosis.experiments, diagnosis.residual = len(trials), np.inf
    if isinstance(subject.problem, StateSpace) and not gradients:
        for mistake in state_spaces.MISTAKES:
            yield from _state_space_mistakes(subject.problem, mistake, trials, diagnosis)
    others: list[tuple[float, str]] = []
    for hypothesis in hypotheses(cast("Subject", subject), "float64"):
        if deadline.passed:
            diagnosis.complete = False
            break
        off = _largest_deviation(subject, hypothesis, trials, gradients=gradients)
        diagnosis.tried += 1
        if off <= MARGIN:
            diagnosis.residual = min(diagnosis.residual, off)
            yield _explained(subject.problem, hypothesis)
        else:
            others.append((off, " ".join(hypothesis.statements)))
    diagnosis.residual = diagnosis.residual if np.isfinite(diagnosis.residual) else 0.0
    if others:
        diagnosis.runner_up, diagnosis.runner_up_name = min(others)


def _explained(problem: Problem, hypothesis: Hypothesis) -> Explanation:
    """Return a mistake in words; state spaces have no scale, so K08 is described otherwise."""
    if isinstance(problem, StateSpace) and hypothesis.ids == ("K08",):
        return Explanation(hypothesis.ids, ("The output is scaled by 1/√K, as attention is.",),
                           ("read the state by C as it is",))  # fmt: skip
    return hypothesis.explanation


def _state_space_mistakes(
    problem: StateSpace,
    mistake: state_spaces.Mistake,
    trials: Sequence[Trial],
    diagnosis: Diagnosis,
) -> Iterator[Explanation]:
    """Yield a mistake of state spaces if it computes the submission's numbers in all trials."""
    diagnosis.tried += 1
    with np.errstate(all="ignore"):
        off = max(
            trial.deviation({"output": mistake.output(problem, trial.case, {
                name: oracle.plain(array) for name, array in trial.leaves.items()
            })})
            for trial in trials
        )  # fmt: skip
    if off <= MARGIN:
        diagnosis.residual = min(diagnosis.residual, off)
        yield Explanation((mistake.id,), (mistake.statement,), (mistake.fix,))


def _zeros(trial: Trial) -> Iterator[Explanation]:
    """Yield the explanation that a gradient is 0 throughout."""
    names = [n for n, d in trial.got.items() if not np.any(d) and np.any(_value(trial.want[n]))]
    if names:
        yield Explanation(
            ("no gradient",),
            (f"The gradient of {_listed(names)} is 0 throughout.",),
            ("do not detach it, and return its gradient from a backward function",),
        )


def _trial(subject: Submitted, case: Case, *, gradients: bool) -> Trial:
    problem = subject.problem
    arrays, lift = leaves(problem, case), oracle.bounded(case)
    d = case.normal("cotangent", problem.output_shape(case))
    submission = cast("Submission", with_care(lambda: subject.build(case)))
    if gradients:
        _, want = oracle.pulled(problem, case, arrays, d, lift)
        got = with_care(lambda: submission.pulled(arrays, d))
        return Trial(case, arrays, d, {name: got[name].astype(float) for name in want}, want)
    got = {"output": with_care(lambda: submission.output(arrays)).astype(float)}
    return Trial(case, arrays, d, got, {"output": oracle.output(problem, case, arrays, lift)})


def _largest_deviation(
    subject: Submitted, hypothesis: Hypothesis, trials: Sequence[Trial], *, gradients: bool
) -> float:
    """Return the largest deviation of a mistake, in bounds; inf if it does not apply."""
    worst = 0.0
    for trial in trials:
        try:
            with np.errstate(all="ignore"):
                numbers = _with_mistake(subject, hypothesis, trial, gradients=gradients)
                off = trial.deviation(numbers)
        except Exception:  # a mistake of another layer's kind
            return float("inf")
        worst = max(worst, off if np.isfinite(off) else float("inf"))
        if worst > MARGIN:
            return worst
    return worst


def _with_mistake(
    subject: Submitted, hypothesis: Hypothesis, trial: Trial, *, gradients: bool
) -> Mapping[str, Floats]:
    """Return the output, or all gradients, of the reference with a mistake in its layer."""
    problem, case = subject.problem, replace(trial.case, dtype="float64")
    arrays = {name: oracle.plain(array) for name, array in trial.leaves.items()}
    if isinstance(problem, StateSpace):
        built = Guess(cast("Subject", subject), hypothesis).build(case)
        return state_spaces.by_cell(problem, case, arrays, built,
                                    trial.cotangent if gradients else None)  # fmt: skip
    inputs = Inputs(
        problem.recurrent(case, arrays), arrays["x"], tuple(arrays[n] for n in problem.states), None
    )
    built = Guess(cast("Subject", subject), hypothesis).build(case)
    if not gradients:
        result = built.forward(inputs)
        return {"output": oracle.returned(problem, result.y, result.final, arrays, oracle.plain)}
    run = built.forward(inputs)
    of_head, dy, dfinal = oracle.cotangents(
        problem, arrays, run.y, run.final, oracle.plain(trial.cotangent), oracle.plain
    )
    (pulled,) = built.gradients(inputs, [(dy, dfinal)])
    initial = dict(zip(problem.states, pulled.initial, strict=True))
    return problem.of_recurrent(pulled.parameters) | of_head | initial | {"x": pulled.x}
