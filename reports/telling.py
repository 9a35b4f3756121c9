"""A diagnosis in words, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ..verify.diagnosis.diagnosis import Diagnosis, Explanation

SHOWN = 6
"""Explanations that are listed where several compute the same."""


def tell_diagnosis(diagnosis: Diagnosis) -> None:
    """Print what is wrong with a subject, where, and what to do."""
    for line in lines(diagnosis):
        click.echo(line)


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the lines of a diagnosis."""
    yield f"\ndiagnosis of {diagnosis.subject} ({diagnosis.dtype})"
    if not diagnosis.explanations:
        yield f"  {diagnosis.message}"
    for number, one in enumerate(diagnosis.explanations[:SHOWN]):
        yield from _explained(one, first=number == 0)
    if len(diagnosis.explanations) > SHOWN:
        yield f"  and {len(diagnosis.explanations) - SHOWN} more that compute the same"
    if str(diagnosis.location):
        yield f"  where: {diagnosis.location}"
    if diagnosis.reach:
        yield f"  reach: {diagnosis.reach}"
    yield f"  failed checks: {', '.join(diagnosis.failed)}"
    if diagnosis.tried:
        yield f"  {_evidence(diagnosis)}"


def _explained(one: Explanation, *, first: bool) -> Iterator[str]:
    lead = "what is wrong" if first else "or, computing the same"
    for statement in one.statements:
        yield f"  {lead}: {statement} [{one.name}]"
    if first:
        for fix in one.fixes:
            yield f"  to do: {fix}"


def _evidence(diagnosis: Diagnosis) -> str:
    """Say how sure this is: how far off the explanation is, and the nearest other one."""
    tried = f"{diagnosis.tried} mistakes tried in {diagnosis.experiments} experiments"
    if diagnosis.runner_up is None:
        nearest = ""
    else:
        nearest = f", the nearest other ({diagnosis.runner_up_name}) {diagnosis.runner_up:.2g}"
    if not diagnosis.explanations:
        return f"{tried}{nearest} times what rounding explains"
    return f"{tried}; off by {diagnosis.residual:.2g} of what rounding explains{nearest} times that"
