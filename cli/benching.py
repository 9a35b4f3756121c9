"""``gatewise bench``: how fast, how much memory, how far back. One file for each bench."""

from __future__ import annotations

import importlib

import click

BENCHES = {
    "cost": "Operations, bytes, parameters and what is kept for the gradient, as formulas say.",
    "decay": "How gradients decay or explode with lag.",
    "ladder": "How an LSTM is made fast, one step after the other.",
    "memory": "Long-range tasks: success against lag.",
    "speed": "How fast layers run, once they have proven right.",
}
"""Name and what it measures; ``cli/bench_NAME.py`` holds its ``command``."""


class _Benches(click.Group):
    """Loads a bench when it is asked for, so that the others cost nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(BENCHES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in BENCHES:
            return None
        module = importlib.import_module(f".bench_{cmd_name}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(BENCHES.items()))


@click.group(cls=_Benches)
def bench() -> None:
    """Measure layers: speed, cost, memory, and how far back gradients reach."""
