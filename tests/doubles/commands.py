"""Commands as users give them, in this process, and how they refuse."""

from click.testing import CliRunner

from gatewise.cli import main

ALONE = {key: {"jobs": 1} for key in ("audit", "diagnose", "mutants", "verify")}
"""One process at a time where a command names no other number: tests run beside each other."""


def invoke(line, *arguments, **how):
    """Run ``gatewise`` with the words of a line, and further arguments as they are."""
    given = [*line.split(), *map(str, arguments)]
    return CliRunner().invoke(main, given, catch_exceptions=False, default_map=ALONE, **how)


def said(result):
    """All that a command printed, in one line."""
    return " ".join(result.output.split())


def refused(result, code, *words):
    """It says why in a sentence with these words, without a traceback, and exits so."""
    output = said(result)
    assert "Traceback" not in output
    assert result.exit_code == code, output
    assert len(output) < 1000
    for word in words:
        assert word in output
