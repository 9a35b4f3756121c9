"""One way of letting Hypothesis draw, shared by proofs and by checks of subjects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import (
    HealthCheck,
    Phase,
    Verbosity,
    currently_in_test_context,
    given,
    seed,
    settings,
    target,
)
from hypothesis.strategies import SearchStrategy

LARGEST_TARGET = 1e6
"""Hypothesis steers towards large error/bound; beyond this it makes no difference."""


def for_all(
    function: Callable[[Any], None],
    strategy: SearchStrategy[Any],
    *,
    examples: int,
    seed_value: int,
    steer: bool = True,
    shrink: bool = True,
) -> None:
    """Call ``function`` on ``examples`` drawn values; raise what it raises on the shrunk one.

    The same seed draws the same values; with ``steer`` later ones follow what ``aim`` was told.
    No example database: a run depends on its seed alone.
    """
    extra = [Phase.target] * steer + [Phase.shrink] * shrink
    configured = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *extra],
    )

    def run(value: Any) -> None:
        function(value)

    seed(seed_value)(configured(given(strategy)(run)))()


def aim(ratio: float) -> None:
    """Let Hypothesis look for a larger error/bound; outside of a drawn run, do nothing."""
    if currently_in_test_context():
        target(min(ratio, LARGEST_TARGET), label="error/bound")
