"""The matrix of the field: standings from verdicts, a history that grows, what a reader sees."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gatewise.reports import field
from gatewise.reports.field import Standing
from gatewise.verify.runs.records import RunFileError
from gatewise.verify.subjects import subjects
from gatewise.verify.subjects.frameworks import families

HELD = Standing(
    created="2026-01-01T00:00:00Z", gatewise="1.0", source="abcdef0123", subject="one:LSTM",
    version="one 1.0", cell="lstm", dtype="float64", counts={"passed": 5},
)  # fmt: skip


def seen(page):
    """What a reader sees of it: colours aside."""
    return re.sub("</?span[^>]*>", "", page)


@pytest.mark.parametrize(("counts", "verdict"), [
    ({"passed": 5, "not supported": 2}, field.CONFORMS),
    ({"passed": 5, "known deviation": 1}, field.DEVIATES),
    ({"passed": 5, "known deviation": 1, "blind": 1}, field.IN_PART),
    ({"passed": 5, "not tested": 1}, field.IN_PART),
    ({"not tested": 5, "not supported": 2}, field.UNTESTED),
    ({"blind": 5}, field.UNTESTED),
    ({"not supported": 7, "passed": 0}, field.NOT_OFFERED),
    ({"passed": 50, "failed": 1}, field.FAILS),
    ({"timeout": 1, "not tested": 3}, field.FAILS),
    ({}, field.NOT_OFFERED),
])  # fmt: skip
def test_what_counts_come_to(counts, verdict):
    """Nothing judged is never green, and one failure is red."""
    assert replace(HELD, counts=counts).verdict == verdict


def test_a_matrix_has_the_worst_of_several_layers():
    """Layers of one framework and column share a place; dtypes that stand alike stand together."""
    wrong = replace(HELD, subject="one:Other", counts={"failed": 1})
    single = replace(HELD, dtype="float32")
    half = replace(HELD, dtype="float16")
    rnn = replace(HELD, cell="rnn", subject="two:RNN", counts={"not tested": 1})

    lines = seen(field.matrix([wrong, HELD, single, half, rnn])).splitlines()

    assert lines[0] == "| framework | RNN | LSTM |"
    assert lines[2] == "| [one](field.md#one) |  | ✕ f64<br>✓ f32 f16 |"
    assert lines[3] == "| [two](field.md#two) | ○ f64 |  |"


def test_the_last_standing_counts_and_changes_are_told():
    """Whatever order the lines have; the change has both versions."""
    later = replace(HELD, created="2026-02-01T00:00:00Z", version="one 2.0", counts={"failed": 1},
                    source="1234567aaa")  # fmt: skip

    assert field.latest([later, HELD]) == (later,)
    text = seen("\n".join(field.page([later, HELD])))
    assert "✕ 0 of 1" in text
    assert "✓ 5 of 5" not in text
    assert "✓ conforms → ✕ fails (one 1.0 → one 2.0): one:LSTM float64" in text
    assert text.index("2026-02-01") < text.index("2026-01-01")


def test_reasons_stand_below_their_framework():
    known = replace(HELD, counts={"passed": 1, "known deviation": 1}, deviations=("a *b* <c>",))
    text = seen("\n".join(field.page([known, replace(known, dtype="float32")])))
    assert text.count(r"* one:LSTM: a \*b\* &lt;c&gt;") == 1
    assert "≈ 1 of 2 | ≈ 1 of 2" in text


def test_a_run_is_added_once(root, tmp_path):
    run = root / "reports" / "results" / "published" / "runs" / "1-checks"
    history = tmp_path / "history.jsonl"
    command = [sys.executable, "-P", "-m", "gatewise.reports.field", str(history), str(run)]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout
            for _ in range(2)]  # fmt: skip
    read = field.read(history)

    assert [line.split()[0] for line in said] == [str(len(read)), "0"]
    assert {each.place for each in read} >= {("torch:LSTM", "float64"), ("torch:GRU", "float32")}
    lstm = next(each for each in read if each.place == ("torch:LSTM", "float32"))
    assert (lstm.cell, lstm.verdict) == ("lstm", field.CONFORMS)
    assert lstm.version.startswith("torch 2.")


def test_what_is_no_history_is_refused(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"created": 3}\n')
    with pytest.raises(RunFileError, match=r"history.jsonl:1: created: expected"):
        field.read(path)


def test_every_framework_is_on_the_published_page(root):
    """A page without one of them would look complete; what nobody held is not tested."""
    history = field.read(Path(root, "reports", "results", "field", "history.jsonl"))
    whole = field.complete(history, subjects())
    text = seen("\n".join(field.page(whole)))

    assert {name for name in families() if f"### {name} {{#" not in text} == set()
    assert "cudnn:LSTM | ○ 0 of 1" in text
    assert {each.subject for each in whole} >= {*subjects()}
