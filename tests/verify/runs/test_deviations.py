"""Declared deviations: accepted as long as they are what was declared, and no longer."""

import json
from datetime import date

import pytest

from commands import invoke
from gatewise.verify.runs.deviations import Deviations
from gatewise.verify.runs.verdict import Verdict

DECLARED = """
[[deviation]]
subject = "my.py:LSTM"
check = "padding"
dtype = "float32"
reason = "callers mask it"
expires = 2027-06-30
largest = 100.0
"""
BEFORE, LAST, AFTER = date(2027, 1, 1), date(2027, 6, 30), date(2027, 7, 1)


def verdict(status="failed", subject="my.py:LSTM", check="padding", dtype="float32", ratio=9.0):
    return Verdict(subject, "lstm", check, "", [], dtype, 0, status=status, worst_ratio=ratio,
                   message="y is off")  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "deviations.toml"
        path.write_text(text, encoding="utf-8")
        return Deviations.read(path)

    return read


@pytest.mark.parametrize("today", [BEFORE, LAST])
def test_a_declared_failure_is_known(read, today):
    found = read(DECLARED).judge(verdict(), today)
    assert found.status == "known deviation"
    assert found.message == "callers mask it (until 2027-06-30): y is off"


@pytest.mark.parametrize(("given", "today", "message"), [
    (verdict(), AFTER, "the declared deviation expired on 2027-06-30: y is off"),
    (verdict(ratio=101.0), BEFORE, "has outgrown 100 times the bound: y is off"),
])  # fmt: skip
def test_what_is_no_longer_as_declared_fails(read, given, today, message):
    found = read(DECLARED).judge(given, today)
    assert found.status == "failed"
    assert message in found.message


def test_a_declared_failure_of_something_else_is_not_covered(read):
    """Where another implementation ran than was asked for, its failure is not the declared one."""
    other = verdict()
    other.lacking = "cuDNN did not run"
    found = read(DECLARED).judge(other, BEFORE)

    assert found.status == "failed"
    assert "something else ran (cuDNN did not run): y is off" in found.message


def test_what_passes_is_not_to_be_declared(read):
    """Else the declaration would cover the next failure that comes along."""
    found = read(DECLARED).judge(verdict("passed"), BEFORE)
    assert found.status == "failed"
    assert found.message == "declared as a deviation (callers mask it), but it passes: remove it"


@pytest.mark.parametrize("other", [
    {"subject": "my.py:GRU"}, {"check": "forward"}, {"dtype": "float64"}, {"status": "crashed"},
    {"status": "timeout"}, {"status": "not tested"}, {"status": "not supported"},
], ids=str)  # fmt: skip
def test_nothing_else_is_covered(read, other):
    given = verdict(**other)
    before = (given.status, given.message)
    found = read(DECLARED).judge(given, BEFORE)
    assert (found.status, found.message) == before


def test_every_dtype_and_any_size_where_none_is_named(read):
    text = "\n".join(line for line in DECLARED.splitlines() if line[:5] not in ("dtype", "large"))
    for dtype in ("float32", "float64"):
        found = read(text).judge(verdict(dtype=dtype, ratio=1e300), BEFORE)
        assert found.status == "known deviation"


def test_one_entry_covers_several(read):
    text = DECLARED.replace('"my.py:LSTM"', '["my.py:LSTM", "my.py:GRU"]')
    declared = read(text.replace('"padding"', '["padding", "final"]'))

    for subject in ("my.py:LSTM", "my.py:GRU"):
        for check in ("padding", "final"):
            known = declared.judge(verdict(subject=subject, check=check), BEFORE)
            assert known.status == "known deviation"
    assert declared.judge(verdict(check="forward"), BEFORE).status == "failed"
    assert "remove it" in declared.judge(verdict("passed", check="final"), BEFORE).message


@pytest.mark.parametrize(("text", "message"), [
    ("deviation = 3", "expected [[deviation]] tables and nothing else"),
    ("[[deviations]]", "expected [[deviation]] tables and nothing else"),
    ("[[deviation]]", "deviation 1: check, expires, reason, subject missing"),
    (DECLARED + DECLARED.replace("2027-06-30", '"2027-06-30"'),
     "deviation 2: expires: expected a date such as 2027-06-30"),
    (DECLARED.replace("100.0", "0"), "largest: expected a positive number"),
    (DECLARED.replace("100.0", "nan"), "largest: expected a positive number"),
    (DECLARED.replace("100.0", "true"), "largest: expected a positive number"),
    (DECLARED.replace('"padding"', "3"), "check: expected text, or a list of texts"),
    (DECLARED.replace('"padding"', "[]"), "check: expected text, or a list of texts"),
    (DECLARED.replace('"padding"', '["final", 3]'), "check: expected text, or a list of texts"),
    (DECLARED + "ratio = 3", "deviation 1: ratio unknown; there are check, dtype, expires"),
    (DECLARED.replace("2027-06-30", "2027-06-30T00:00:00"), "expires: expected a date"),
    ("[[", "cannot be read"),
])  # fmt: skip
def test_a_file_with_a_mistake_is_refused(read, text, message):
    with pytest.raises(ValueError, match=r"deviations\.toml: ") as caught:
        read(text)
    assert message in str(caught.value)


def test_the_command(root, here):
    subject = f"{root}/tests/doubles/faulty.py:WritesIntoItsInput"
    declared = DECLARED.replace("my.py:LSTM", subject).replace('"padding"', '"purity"')

    def verify(expires):
        (here / "known.toml").write_text(
            declared.replace('dtype = "float32"', "").replace("2027-06-30", expires)
        )
        arguments = ["verify", subject, "--check", "purity", "--budget", "quick", "--seed", "2",
                     "--dtype", "float64", "--deviations", "known.toml", "--json",
                     "--no-diagnosis"]  # fmt: skip
        result = invoke(*arguments)
        return result.exit_code, json.loads(result.stdout)[0]["status"]

    assert verify("9999-12-31") == (0, "known deviation")
    assert verify("2020-01-01") == (1, "failed")
