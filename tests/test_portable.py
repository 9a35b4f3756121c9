"""What ``nox -s portable`` covers, and what turns it red; its settings are not run here."""

import sys
from itertools import combinations, product
from pathlib import Path

import portable
from made_runs import failure, kept, verdict
from portable import Row

GREEN = Row("oldest", passed=3)
MADE = """
import pytest
def test_a(): pass
def test_b(): assert 0
def test_c(): pytest.skip("")
"""


def test_any_two_choices_of_two_libraries_meet_in_a_setting():
    for one, other in combinations(range(len(portable.LIBRARIES)), 2):
        met = {(chosen[one], chosen[other]) for chosen in portable.CHOICES.values()}
        assert met == set(product((0, 1), repeat=2))


def test_the_tests_that_are_named_are_there(root):
    missing = [path for path in portable.WITHOUT_TORCH if not (root / "tests" / path).exists()]
    assert not missing


def test_a_variable_without_effect_is_named(monkeypatch):
    monkeypatch.setattr(portable, "PROBE", "print('ATen: DEFAULT')")
    assert portable.not_taken({"ATEN_CPU_CAPABILITY": "default"}) == ""
    asked = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
    assert portable.not_taken(asked) == "ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA"
    row = portable.under("haswell", ())
    assert (row.note, row.red) == ("not tested: see above", True)


def test_the_same_verdicts_are_green_whatever_their_last_digits(tmp_path):
    kept(tmp_path / "own/run", verdict())
    kept(tmp_path / "other/run", verdict(worst_ratio=0.9))
    row = portable.compared(GREEN, portable.differing(tmp_path / "own", tmp_path / "other"))
    assert (row.red, row.note) == (False, "same verdicts")


def test_another_verdict_is_red_and_named(tmp_path, capsys):
    kept(tmp_path / "own/run", verdict("torch:GRU"))
    kept(tmp_path / "other/run", failure("torch:GRU"))
    row = portable.compared(GREEN, portable.differing(tmp_path / "own", tmp_path / "other"))
    assert (row.red, row.note) == (True, "1 VERDICTS DIFFER")
    assert "torch:GRU forward float64: passed, failed here" in capsys.readouterr().out


def test_a_verdict_or_a_run_that_is_missing_is_red(tmp_path):
    own = kept(tmp_path / "own/run", verdict(), verdict(check="final")).parent
    other = kept(tmp_path / "other/run", verdict()).parent
    assert portable.compared(GREEN, portable.differing(own, other)).red
    row = portable.compared(GREEN, portable.differing(own, tmp_path / "nowhere"))
    assert (row.red, row.note) == (True, "no verdicts")


def test_tests_are_counted_and_a_red_one_is_red(here, monkeypatch):
    monkeypatch.setattr(portable, "OUT", here)
    Path("tests").mkdir()
    Path("tests/test_made.py").write_text(MADE, encoding="utf-8")
    row = portable.tested(
        "oldest", sys.executable, ["test_made.py"], {"PYTEST_ADDOPTS": "-p no:gatewise"}
    )
    assert (row.passed, row.failed, row.skipped, row.red) == (1, 1, 1, True)
    row = portable.tested("haswell", sys.executable, ["test_nowhere.py"], {})
    assert row.red


def test_a_python_that_is_not_there_is_not_tested_and_says_so():
    assert portable.with_python("python0.0") == Row("python0.0", note="not there: not tested")


def test_the_table_is_80_columns_wide():
    row = Row("old-onednn", 2990, 100, 200, 1200.4, "not there: not tested")
    assert all(len(line) <= 80 for line in portable.told([row]))
