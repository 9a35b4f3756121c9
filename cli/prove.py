"""``gatewise prove``: prove the reference itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from .common import BUDGETS, CONFORMS, DIFFERS, json_option, or_usage, print_json, seed_option


@click.command()
@click.argument("patterns", metavar="[EQUATION_OR_PROOF]...", nargs=-1)
@click.option(
    "--budget", type=click.Choice(BUDGETS), default="quick", show_default=True,
    help="Examples for each proof: 8, 30 or 200.",
)  # fmt: skip
@seed_option
@click.option("--fail-fast", is_flag=True, help="Stop at the first proof that fails.")
@json_option
def prove(patterns: Sequence[str], budget: str, seed: int, fail_fast: bool, as_json: bool) -> None:
    """Prove the reference itself.

    All equations, or those named by id, name or proof (* and ?).
    """
    from ..reports.terminal import progress
    from ..verify.proofs import runner as proving

    chosen = or_usage(lambda: proving.choose(patterns))
    results = []
    with progress(len(chosen)) as advance:
        for proof in chosen:
            result = proving.attempt(proof, budget=budget, seed=seed)
            results.append(result)
            advance(proof.id)
            if fail_fast and not result.holds:
                break
    if as_json:
        print_json(results, ensure_ascii=True)
    else:
        for result in results:
            mark = "holds" if result.holds else "FAILS"
            click.echo(f"{mark}  {result.proof:44}  {result.message or result.statement}")
    failed = sum(not r.holds for r in results)
    if not as_json:
        click.echo(f"proofs that hold: {len(results) - failed}, that fail: {failed}")
    sys.exit(DIFFERS if failed else CONFORMS)
