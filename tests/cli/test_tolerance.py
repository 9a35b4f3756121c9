"""``gatewise tolerance``: its table, its grades, lines to paste, and what it refuses."""

import json

import numpy as np
import pytest

from commands import invoke, refused

SMALL = "tolerance --cell lstm --sizes T=4,B=2,D=3,H=4 --evaluations 3"


def pasted(result):
    """Return what the lines to paste define."""
    defined = {}
    exec(result.output, defined)
    return defined["TOLERANCES"]


def test_the_table_fits_a_terminal():
    result = invoke(SMALL)

    assert result.exit_code == 0
    assert "lstm in float32, T=4, B=2, D=3, H=4, seed 0" in result.output
    assert all(len(line) <= 80 for line in result.output.splitlines())
    assert sum(line.startswith("gradient of ") for line in result.output.splitlines()) == 6


@pytest.mark.parametrize(("tolerance", "code", "said"), [
    ("atol=1e-5,rtol=1e-5", 0, "atol=1e-05, rtol=1e-05: sound"),
    ("rtol=1e-9", 1, "too tight"),
    ("atol=0.5", 1, "blind"),
])  # fmt: skip
def test_a_grade_comes_first(tolerance, code, said):
    result = invoke(SMALL, "--grade", tolerance)
    assert result.exit_code == code
    assert said in result.output.splitlines()[0]


def test_lines_to_paste_are_python():
    read = pasted(invoke(f"{SMALL} --for pytest"))
    assert {"y", "final h", "final c", "gradient of x"} < read.keys()
    assert all(0 < each["atol"] < 1e-3 for each in read.values())


def test_json_has_everything():
    read = json.loads(invoke(f"{SMALL} --grade atol=0.5 --json").output)

    assert read["grade"]["words"] == ["blind"]
    assert read["grade"]["passed"]
    assert {t["quantity"] for t in read["tolerances"]} >= {"y", "gradient of x"}
    assert read["versions"]["numpy"] == np.__version__


def test_half_precision_may_be_stored_alone():
    stored = invoke(f"{SMALL} --dtype float16 --inside float32 --for pytest")
    whole = invoke(f"{SMALL} --dtype float16 --for pytest")
    narrow, wide = (pasted(each)["y"] for each in (stored, whole))
    assert narrow["atol"] < wide["atol"] / 2


@pytest.mark.parametrize(("line", "said"), [
    ("rn", "cell: expected one of"),
    ("rnn --sizes T=0", "--sizes: T=0: expected 1 to 4096"),
    ("rnn --sizes Q=3", "--sizes: 'Q' is none of T=, B=, D=, H="),
    ("rnn --grade atol=-1", "--grade: atol=-1: expected a number from 0"),
    ("rnn --grade atol=x", "--grade: atol=x: expected a number from 0"),
    ("rnn --inside float32", "only float16 and bfloat16"),
])  # fmt: skip
def test_a_mistake_of_the_user_is_a_sentence(line, said):
    refused(invoke(f"tolerance --cell {line}"), 2, said)


def test_sizes_come_from_the_arrays_that_are_given(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.ones((3, 2, 5)), **{"state 0": np.zeros((1, 2, 6))})
    result = invoke("tolerance --cell gru --inputs", tmp_path / "own.npz", "--evaluations", "2")
    assert result.exit_code == 0, result.output
    assert "T=3, B=2, D=5, H=6" in result.output


def test_bounds_beyond_the_numbers_are_told():
    result = invoke("tolerance --cell gru --dtype float16 --sizes T=20,B=1,D=2,H=4 --evaluations 1")
    assert "show nothing: take fewer steps" in result.output


def test_a_file_that_is_no_archive_is_a_sentence(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"no archive")
    refused(invoke(SMALL, "--inputs", path), 2, "cannot be read as .npz")
