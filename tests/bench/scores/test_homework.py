"""The folder of thirty files: what is in it, and that a wrong line is not taken for a right one."""

from dataclasses import replace

import pytest

from gatewise.bench.scores import homework
from gatewise.bench.scores.homework import File, broken, files, objection
from gatewise.bench.scores.other_hands import NUMPY, Hand
from gatewise.verify.runs.diagnosis import Diagnosis, Explanation
from gatewise.verify.runs.findings import Finding
from gatewise.verify.runs.verdict import Verdict

FAILED = Verdict("a.py", "rnn", "forward", "", [], "float64", 0, status="failed", message="y is 1")
MISTAKE = Hand(NUMPY, "rnn", "C04")


def explained(*ids):
    explanations = [Explanation((id,), ("Something.",), ()) for id in ids]
    return Diagnosis("a.py", "float64", "explained", explanations=explanations)


def test_there_are_thirty():
    there = files(0)
    verdicts = [file.verdict for file in there.values()]
    ids = [file.hand.id for file in there.values() if file.hand]

    assert len(there) == 30
    assert (verdicts.count("conforms"), verdicts.count("failed")) == (5, 20)
    assert (verdicts.count("not tested"), verdicts.count("timeout")) == (4, 1)
    assert len(set(ids)) == len(ids) == 20
    assert {h.style for h in (f.hand for f in there.values()) if h} >= {NUMPY}
    for name, file in there.items():
        if name.endswith("syntax"):
            with pytest.raises(SyntaxError):
                compile(file.text, name, "exec")
        else:
            compile(file.text, name, "exec")
    assert files(0) == there
    assert files(1) != there


def test_what_is_broken_is_not_the_right_text():
    texts = {file.text for file in broken().values()}
    assert len(texts) == 5
    assert homework.text_of(NUMPY, "lstm") not in texts
    assert "while True" in broken()["endless"].text
    assert "raise RuntimeError" in broken()["crash"].text


def test_lines_are_held_to_the_mistake():
    file = File("", "failed", MISTAKE)
    right = Finding("a.py", (FAILED,), explained("C04"))

    assert objection(file, right) == ""
    assert objection(file, None) == "it has no line"
    assert objection(file, replace(right, diagnosis=explained("C05"))).startswith("expected C04: ")
    assert objection(file, replace(right, diagnosis=None)).startswith("expected C04: ")
    assert objection(replace(file, verdict="conforms"), right) == "expected conforms, got failed"
    words = File("", "failed", words="y is 2")
    assert objection(words, replace(right, diagnosis=None)) == "expected words: y is 2"
    assert objection(replace(words, words="y is 1"), replace(right, diagnosis=None)) == ""


def test_a_folder_is_judged(tmp_path):
    wrong = File(homework.text_of(NUMPY, "rnn", "C04"), "failed", MISTAKE)
    there = {name: broken()[name] for name in ("syntax", "no_module", "no_class")}
    rows, took = homework.judged(tmp_path / "folder", there | {"wrong": wrong})

    assert [row.objection for row in rows] == [""] * 4
    assert [row.verdict for row in rows] == ["not tested"] * 3 + ["failed"]
    assert rows[3].seconds > 0
    assert 0 < took.cpu_seconds
    assert (tmp_path / "folder" / "grades.csv").exists()
