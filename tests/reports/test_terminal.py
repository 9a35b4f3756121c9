"""What stands on a terminal: in its width, with every word whole."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from gatewise.cli.common import say
from gatewise.reports import terminal
from gatewise.verify.runs.findings import Finding, counted
from gatewise.verify.runs.verdict import Verdict

ROWS = [
    ("homework/student_number_seven.py", "not tested", "4 of 74",
     "The blocks of bias_ih are read as biases of i f g o, not of f i g o; cotangents are off."),
    ("torch:RNN", "conforms", "70 of 74", ""),
    ("torch-compile:LSTM", "not supported", "0 of 74", "input without a batch axis"),
]  # fmt: skip
HEADINGS = ("subject", "verdict", "passed", "what is wrong")
VERDICT = Verdict("a:B", "rnn", "smoke", "", [], "float64", 0)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_tables_fit_and_break_no_word(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    terminal.print_rows(HEADINGS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    words = " ".join(lines).replace("│", " ").split()

    assert max(map(len, lines)) <= width
    for row in ROWS:
        for word in " ".join(row).split():
            assert word in words, f"{word} is cut"


def test_a_word_that_is_wider_than_the_terminal_stays_whole(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    terminal.print_rows(("a", "b"), [("x" * 30, "y")])
    assert "x" * 30 in capsys.readouterr().out


def test_without_a_terminal_a_table_is_as_wide_as_it_needs(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table("head")
    table.add_row("word " * 30)
    terminal.print_table(table)

    assert ("word " * 30).strip() in capsys.readouterr().out


def test_a_dtype_in_which_a_subject_does_not_compute_has_no_column():
    other = replace(VERDICT, dtype="float32", status="not supported")
    headings = [str(c.header) for c in terminal.check_table([VERDICT, other]).columns]
    assert headings == ["check", "float64"]
    headings = [str(c.header) for c in terminal.check_table([other]).columns]
    assert headings == ["check", "float32"]


@pytest.mark.parametrize("width", [60, 80])
def test_what_stands_beside_the_bar_is_cut_between_words(width, monkeypatch):
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    monkeypatch.setattr(terminal, "Console", lambda **_: console)
    line = "passed torch:RNN-relu batch-permutation float64 error/bound 0.17 3.2 s"
    with terminal.progress(None, lines=True) as advance:
        advance.plan(2)
        advance(line)
        shown = advance.bar.tasks[0].description
        bar = console.render_lines(advance.bar.make_tasks_table(advance.bar.tasks))

    assert set(shown.split()) <= {*line.split(), "…"}
    assert len(shown) > 2
    assert len(bar) == 1, "it wraps"
    assert shown in "".join(segment.text for segment in bar[0])


def test_there_is_no_bar_of_nothing(monkeypatch):
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    monkeypatch.setattr(terminal, "Console", lambda **_: console)
    with terminal.progress(0):
        pass
    with terminal.progress(None) as advance:
        advance.plan(0)

    assert "0/0" not in console.file.getvalue()


def test_things_are_counted_in_words():
    assert [counted(number, "case") for number in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
    assert Finding("a:B", (replace(VERDICT, check="forward"),)).headline == (
        "a:B: 1 of 1 check passed"
    )


def test_sentences_break_between_words(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    say("  largest error 2.2e-16, 0.028 of its bound; runner-up 0.11")
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].startswith("  largest")
    assert all(line.startswith("    ") for line in lines[1:])
    assert max(map(len, lines)) <= 30
    monkeypatch.delenv("COLUMNS")
    say("word " * 40)
    assert capsys.readouterr().out.count("\n") == 1


def test_the_table_of_many_names_files_without_their_folders():
    """A long path would leave no room for the other columns."""
    message = "importing /home/someone/courses/2026/homework/a.py raised SyntaxError ('b/a.py', 3)"
    verdict = replace(VERDICT, status="not tested", message=message)
    table = terminal.subject_table([Finding("b/a.py", (verdict,))])

    assert terminal.plain(next(iter(table.columns[3].cells))) == (
        "smoke: importing a.py raised SyntaxError ('b/a.py', 3)"
    )
