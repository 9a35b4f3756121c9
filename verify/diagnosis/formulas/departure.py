"""The gates, arrays or paths of gradients that deviate first, for layers that no edit explains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....reference.functions import Array
from ...numbers.ledger import Mismatch
from ...subjects.called import NotOffered, SubjectCrashed
from ...subjects.protocol import Subject
from ..location import listed
from ..search import Explainer
from .measurement import Cut, Measurement, measured, measurements, small_case
from .one_step import RAISED, OneStep
from .phrases import GATES, gate
from .program import Program, Statement, Values, right_program


def departures(explainer: Explainer) -> Iterator[str]:
    """Yield sentences on the gates or paths whose gradients deviate first."""
    subject, dtype = explainer.subject, explainer.dtype
    runs = measurements(subject, dtype)
    if not runs or any(m.wrong_outputs for m in runs) or not any(m.wrong_gradients for m in runs):
        return
    try:
        if runs[0].wrong_gradients:
            yield from _one_step(subject, dtype, runs[0])
        else:
            yield from _many_steps(subject, dtype, runs)
    except (SubjectCrashed, NotOffered, Mismatch, ValueError):
        return


@dataclass(frozen=True)
class _Step:
    """The gradients of one backward step of one row, by gates and those that follow from them.

    ``gates`` are those whose pre-activation has a wrong gradient, ``following`` the other gradients
    that do not follow from the measured ones of the gates.
    """

    gates: tuple[str, ...]
    right: tuple[str, ...]
    following: tuple[str, ...]


def _analyse_step(m: Measurement) -> _Step:
    """Analyse one step of one row, where the gradient of b is that of the pre-activation."""
    program, letters = right_program(m.cell.name), m.cell.gates
    off = [k for k in letters if not m.same(f"db_{k}", m.right_gradients[f"db_{k}"])]
    gates = tuple(k for k in off if _slots_agree(m, k))
    of_biases = {k: m.gradients[f"db_{k}"] for k in gates}
    measured_gates = {f"da_{k}": d[None] for k, d in of_biases.items() if not np.isnan(d).any()}
    following = tuple(sorted(m.differing(_following(program, m, measured_gates), m.gradients)))
    return _Step(gates, tuple(k for k in letters if k not in gates), following)


def _slots_agree(m: Measurement, letter: str) -> bool:
    """Whether the gradient of W is x times that of the pre-activation, which is that of b."""
    da, dW = m.gradients[f"db_{letter}"][None], m.gradients[f"dW_{letter}"]
    return (
        bool(np.isnan(da).any())
        or m.same(f"dW_{letter}", m.x[0].T @ da)
        or m.same(f"dW_{letter}", dW * 0)
    )


def _following(
    program: Program, m: Measurement, measured_gates: dict[str, Array]
) -> dict[str, Array]:
    """Return the gradients of one step, with measured ones for some pre-activations."""
    values, gradients = Values(OneStep(program, m).values, m.right, 0, None, m.dy), {}
    for statement in program.back:
        value = measured_gates.get(statement.target)
        values[statement.target] = value = _value(statement, values) if value is None else value
        if statement.slot:
            gradients[statement.target] = value
    initial = {f"d0_{s}": values[f"d{s}_old"] for s in m.cell.states}
    return gradients | {"dx": values["dx"][None]} | initial


def _value(statement: Statement, values: Values) -> Array:
    try:
        return statement.evaluated(values)
    except RAISED as error:
        raise ValueError(str(error)) from error


def _one_step(subject: Subject, dtype: str, m: Measurement) -> Iterator[str]:
    """Yield sentences on wrong gradients in one step."""
    alone = measured(subject, small_case(subject, dtype, 1, B=1))
    if not any(np.any(d) for d in alone.gradients.values()):
        yield "In a sequence of one step all gradients are 0: is that step visited (time)?"
        return
    if not alone.wrong_gradients:
        names = _listed(_names(m.wrong_gradients))
        yield f"One step of one row is right; with two rows {names} off: the sum over rows."
        return
    if not any(name == "dx" or name.startswith("d0_") for name in alone.wrong_gradients):
        names = _listed(_names(alone.wrong_gradients))
        yield f"From one step on {names} off, while x and the initial states get right gradients."
        return
    ignored = [
        f"the gradient of the final {s}" for k, s in enumerate(m.cell.states)
        if _lacks(subject, dtype, k)
    ]  # fmt: skip
    if ignored:
        so = _listed(ignored)
        yield f"{so[0].upper()}{so[1:]} wrong already where nothing else is given (one step)."
    step = _analyse_step(alone)
    if step.gates:
        off = _listed(_gate_names(step.gates))
        rest = "; those of the other gates are right" if step.right else ""
        noun = "gradient of the pre-activation" if len(step.gates) == 1 else (
            "gradients of the pre-activations"
        )  # fmt: skip
        yield (f"From one step on the {noun} of {off} off{rest}{_shared(m, step.gates)}.")
    if step.following:
        yield (
            f"From one step on {_listed(_names(step.following))} off, "
            f"{'also' if step.gates else 'while the gradients of all gates are right'}"
            f"{' as computed from those of the gates' if step.gates else ''}."
        )


def _shared(m: Measurement, off: Sequence[str]) -> str:
    """Return a clause that says what the wrong gates have in common."""
    letters = set(m.cell.gates)
    if len(letters) > 1 and set(off) == letters:
        return "; they share the gradient of h_t (the path through h)"
    if "c" in m.cell.states and set(off) == letters - {"o"}:
        return "; they share the gradient of c_t (the path through c)"
    if set(off) == {"n", "r"}:
        return "; that of r follows from that of n"
    return ""


def _lacks(subject: Subject, dtype: str, number: int) -> bool:
    """Whether one step is wrong with a cotangent on one final state alone."""
    case = small_case(subject, dtype, 1)
    right = not measured(subject, case, _outputs_alone(0)).wrong_gradients
    return right and bool(measured(subject, case, _final_alone(number)).wrong_gradients)


def _outputs_alone(*steps: int) -> Cut:
    """Return a cut that keeps the cotangents of the outputs of some steps alone."""
    return lambda dy, dfinal: (
        np.stack([d if t in steps else 0 * d for t, d in enumerate(dy)]),
        tuple(0 * d for d in dfinal),
    )


def _final_alone(number: int) -> Cut:
    """Return a cut that keeps the cotangent of one final state alone."""
    return lambda dy, dfinal: (
        0 * dy, tuple(d if k == number else 0 * d for k, d in enumerate(dfinal))
    )  # fmt: skip


def _many_steps(subject: Subject, dtype: str, runs: Sequence[Measurement]) -> Iterator[str]:
    """Yield sentences on wrong gradients from two or three steps on, and their paths."""
    first = next(m for m in runs if m.wrong_gradients)
    T, names = first.case.T, _listed(_names(first.wrong_gradients))
    before = "One step is" if T == 2 else "Two steps are"
    yield f"{before} right; from {T} steps on {names} off."
    if not any(name == "dx" or name.startswith("d0_") for name in first.wrong_gradients):
        yield "What steps pass back is right: look at how they are added up over the steps (time)."
        return
    paths = list(_paths(subject, dtype, T, first))
    yield from paths or ["Each cotangent alone is pulled back rightly; together they are not."]


def _paths(subject: Subject, dtype: str, T: int, m: Measurement) -> Iterator[str]:
    case = small_case(subject, dtype, T)

    def wrong(cut: Cut, *, recurrent: bool = True) -> frozenset[str]:
        return measured(subject, case, cut, recurrent=recurrent).wrong_gradients

    first, last = wrong(_outputs_alone(0)), wrong(_outputs_alone(T - 1))
    without_u = bool(wrong(_outputs_alone(T - 1), recurrent=False))
    if first:
        off = ", ".join(_names(first))
        yield f"The gradient of the output of step 1 alone is off ({off}): time."
    if last:
        past = "c (dc_{t-1})" if "c" in m.cell.states else "h past the gates"
        path = past if without_u else "h (dh_{t-1}, that is U)"
        yield f"The gradient of the last output goes wrong on its way back through {path}."
    for k, s in enumerate(m.cell.states):
        if not last and wrong(_final_alone(k)):
            yield f"The gradient of the final {s} alone goes wrong on its way back."


def _names(gradients: Sequence[str] | frozenset[str]) -> list[str]:
    """Return gradients by names that users know, with gates after their array."""
    arrays: dict[str, list[str]] = {}
    for name in sorted(gradients):
        array, _, letter = name.removeprefix("d0_").removeprefix("d").partition("_")
        if name.startswith("d0_"):
            s = name[3:]
            arrays[f"what a step passes back to {s}_{{t-1}} (the path through {s})"] = []
        elif name == "db_hn":
            arrays["the gradient of b_hn"] = []
        else:
            arrays.setdefault(f"the gradient of {array}", []).extend([letter] if letter else [])
    return [f"{a} ({_letters(letters)})" if letters else a for a, letters in arrays.items()]


def _letters(letters: Sequence[str]) -> str:
    return ("gates " if len(letters) > 1 else "gate ") + ", ".join(letters)


def _gate_names(letters: Sequence[str]) -> list[str]:
    return [f"{gate(k)} ({k})" if gate(k)[-1] != k and k in GATES else gate(k) for k in letters]


def _listed(names: Sequence[str]) -> str:
    """Return "a, b and c are"."""
    return f"{listed(names)} {'is' if len(names) == 1 else 'are'}"
