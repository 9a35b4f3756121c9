"""The command: exit codes, messages without tracebacks, JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from commands import refused
from gatewise.verify.runs import run as run_files

SWAPPED = """
import sys
sys.path.insert(0, {tests!r})
from plain_numpy import LSTM


class Swapped(LSTM):
    def unrolled(self, params, x, state, lengths):
        order = [1, 0, 2, 3]
        turned = {{name: array[order] for name, array in params.items()}}
        return super().unrolled(turned, x, state, lengths)
"""


@pytest.fixture
def plain(root):
    """A right subject that needs no torch."""
    return f"{root}/tests/doubles/plain_numpy.py:LSTM"


def test_verify_passes_and_leaves_a_run(run, tmp_path):
    result = run("verify torch:RNN --budget quick --check smoke,forward --check final")

    assert result.exit_code == 0
    assert "torch:RNN" in result.stdout
    assert "6 passed" in result.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert len((folder / "verdicts.jsonl").read_text().splitlines()) == 6


def test_verify_reports_a_wrong_subject(run, tmp_path, root):
    (tmp_path / "swapped.py").write_text(SWAPPED.format(tests=str(root / "tests" / "doubles")))
    result = run("verify swapped.py:Swapped --check forward --dtype float64 --no-diagnosis")

    assert result.exit_code == 1
    assert "swapped.py:Swapped does not conform: 1 of 1 check failed" in result.stdout
    assert "first failure   forward (float64): " in result.stdout
    assert "lstm.forget_gate" in result.stdout
    again = 'again           gatewise verify swapped.py:Swapped --check forward --case \'{"T": 1'
    assert again in result.stdout
    assert "the first failure without gatewise: runs" in result.stdout
    assert len(list(tmp_path.glob("runs/*/scripts/1-forward-float64.py"))) == 1


def test_one_case_again(run):
    case = '{"T": 3, "B": 2, "D": 2, "H": 3, "dtype": "float32"}'
    result = run("verify torch:GRU --check gradient --case", case, "--json")
    (verdict,) = json.loads(result.stdout)

    assert result.exit_code == 0
    assert (verdict["cases"], verdict["dtype"], verdict["status"]) == (1, "float32", "passed")


def test_a_case_that_some_checks_cannot_take(run, plain):
    case = '{"T": 1, "B": 3, "D": 2, "H": 3}'
    result = run(f"verify {plain} --json --case", case)
    verdicts = {verdict["check"]: verdict for verdict in json.loads(result.stdout)}

    assert result.exit_code == 0
    assert {"forward", "gradient"} < verdicts.keys()
    assert not {"transition", "carry", "causality"} & verdicts.keys()


def test_an_interrupted_run_keeps_its_verdicts(run, monkeypatch, plain):
    real, kept = run_files.append, []

    def interrupted(folder, verdict):
        if kept:
            raise KeyboardInterrupt
        real(folder, verdict)
        kept.append(folder)

    with monkeypatch.context() as patched:
        patched.setattr(run_files, "append", interrupted)
        result = run(f"verify {plain} --budget quick --check forward")

    assert result.exit_code == 3
    assert f"finished verdicts are kept; go on with: gatewise verify --resume {kept[0]}" in (
        " ".join(result.output.split())
    )
    assert run("report -o page.html").exit_code == 0
    assert "1 of 2 checks was not tested" in Path("page.html").read_text(encoding="utf-8")
    assert "2 passed" in run("verify --resume", kept[0]).stdout


@pytest.mark.parametrize(("line", "message"), [
    ("torch:FOO", "subject 'torch:FOO' is not known; there are torch:GRU"),
    ("torch-FOO", "subject 'torch-FOO' is not known; there are allennlp-light:*, brevitas:*, "),
    ("torch:RNN --check foo", "check 'foo' is not known; there are smoke, forward"),
    ("torch:RNN --case {", "case: expected JSON"),
    ('torch:GRUCell --case {"T":1,"B":1,"D":1,"H":1,"layers":2}',
     "does not offer more than one layer"),
    ('torch:GRU --case {"T":9,"B":1,"D":1,"H":3,"P":2}', "does not offer a projected hidden state"),
    ('torch:GRU --check transition --case {"T":1,"B":1,"D":1,"H":1}',
     "check transition: expected T > 4"),
    ('torch:RNN --dtype float32 --case {"T":1,"B":1,"D":1,"H":1}',
     "its dtype is float64, but float32 was asked for"),
    ("torch:RNN --budget vast", "'vast' is not one of"),
    ("torch:RNN --seed -1", "-1 is not in the range"),
    ("torch:RNN --timeout 0", "0.0 is not in the range"),
    ("torch:RNN --resume .", "leave out SUBJECT"),
    ("", "name a SUBJECT"),
])  # fmt: skip
def test_usage_errors(run, line, message):
    refused(run(f"verify {line}"), 2, message)


def test_a_missing_package_is_exit_3(run, monkeypatch, tmp_path):
    """Without torch nothing was tested, and that is not success."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "torch.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "empty"))
    monkeypatch.setattr("gatewise.verify.execution.processes.subprocess", subprocess)
    refused(run("verify torch:RNN --check forward"), 3, "smoke: PyTorch is not installed")


def test_what_was_not_judged_is_exit_3(run, tmp_path):
    """A layer that refuses what was asked for is not right; the last line says why."""
    (tmp_path / "later.py").write_text(
        "class Later:\n    cell = 'rnn'\n\n    def forward(self, params, x, state):\n"
        "        raise NotImplementedError('to do')\n"
    )
    result = run("verify later.py:Later --check forward,gradient")

    assert result.exit_code == 3
    (last,) = result.output.splitlines()[-1:]
    assert last.startswith("exit code 3: ")
    assert "forward was not judged: refused: to do (later.py, line 5, in forward)" in last
    assert "gradient was not judged: the subject does not offer gradients" in last


def test_a_blind_check_is_exit_3(run):
    """What could not have failed has not been tested."""
    case = '{"T": 60, "B": 1, "D": 3, "H": 30, "scale": "large", "dtype": "float32", "seed": 1}'
    refused(run("verify torch:RNN --check forward --case", case), 3,
            "blind forward: no case had a bound sharp enough to fail")  # fmt: skip


def test_the_profile_says_where_the_time_went(run, plain):
    result = run(f"verify {plain} --budget quick --check gradient --profile")
    (line,) = (line for line in result.stdout.splitlines() if "s in checks:" in line)
    shares = [int(word) for word in line.replace("%", " % ").split()[4:] if word.isdigit()]

    assert len(shares) == 3
    assert 99 <= sum(shares) <= 101


def test_the_newest_run_is_reported(run, tmp_path, root):
    for name in ("GRU", "LSTM"):
        subject = f"{root}/tests/doubles/plain_numpy.py:{name}"
        run(f"verify {subject} --budget quick --check forward --dtype float64")
    result = run("report -o out/page.html")
    page = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")

    assert result.exit_code == 0
    assert result.output.strip() == f"report: {tmp_path / 'out' / 'page.html'}"
    assert "plain_numpy.py:LSTM</bdi>" in page
    assert "plain_numpy.py:GRU</bdi>" not in page


def test_verify_writes_the_report_last(run, tmp_path, plain):
    result = run(f"verify {plain} --budget quick --check forward --report page.html")
    assert result.output.rstrip().endswith(f"report: {tmp_path / 'page.html'}")


def test_a_report_whose_name_says_no_form_is_refused_before_the_run(run, tmp_path, plain):
    before = sorted(tmp_path.iterdir())
    result = run(f"verify {plain} --check smoke --report report")
    refused(result, 2, "--report report: expected a name that ends in .html")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("what", ["nowhere", "--runs empty"])
def test_report_without_a_run(run, tmp_path, what):
    (tmp_path / "empty").mkdir()
    refused(run(f"report {what}"), 3, "there is no")


@pytest.mark.parametrize(
    "listing", ["cells", "subjects --no-versions", "checks", "examples", "equations"]
)
def test_listings_are_json_too(run, listing):
    text, objects = run(listing), run(listing.split()[0], "--json")
    assert text.exit_code == objects.exit_code == 0
    assert len(json.loads(objects.output)) >= 4
    assert len(text.output.splitlines()) >= 4


def test_a_cell_is_shown_with_its_equations(run):
    told = run("cells skip-rnn ssd kda")
    (shown,) = json.loads(run("cells ssd --json").stdout)

    assert r"E04 rnn.state (D0, D2, D3, D4)" in told.stdout
    assert r"a_t = \tanh(W_a [a_{t-1}, x_t] + b_a)" in told.stdout
    assert "W (1, D, H), U (1, H, H), b (1, H), w_p (H, 1), b_p (1)" in told.stdout
    assert shown["parameters"] == "x (N, V), dt (N), B (K), C (K), A (N), D (N)"
    assert all(len(line) <= 80 for line in told.stdout.splitlines() if "\\" not in line)  # TeX
    refused(run("cells lsm"), 2, "cell: expected one of", "got 'lsm'")


def test_prove_one_equation(run):
    result = run("prove E08")
    assert result.exit_code == 0
    assert "holds  chain.product" in result.output
    assert run("prove E99").exit_code == 2


def test_no_module_of_the_folder_takes_the_place_of_an_installed_one(tmp_path):
    """A layer may write files where the command runs."""
    for name in ("click", "msgspec", "rich", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is no package')")
    command = [sys.executable, "-m", "gatewise", "cells", "--json"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
