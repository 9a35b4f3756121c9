"""The steps of the action: green on a right layer, red with a useful summary on a wrong one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def action(root, tmp_path):
    """Run the action's script as a runner does; return exit code and the job's summary."""

    def run(subject, **inputs):
        summary = tmp_path / "summary"
        programs = Path(sys.executable).parent
        environment = {
            **os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(summary), "SUBJECT": subject, **inputs,
        }  # fmt: skip
        done = subprocess.run(["bash", str(root / ".ci" / "action")], cwd=tmp_path, check=False,
                              env=environment, capture_output=True, text=True)  # fmt: skip
        return done.returncode, summary.read_text(encoding="utf-8") if summary.exists() else ""

    return run


def test_a_right_layer_is_green(action, root, tmp_path):
    pytest.importorskip("jinja2")
    code, summary = action(f"{root}/examples/lstm_numpy.py")

    assert code == 0
    assert summary.startswith("# ✅ gatewise: ")
    kept = {path.name for path in (tmp_path / "gatewise-report").iterdir()}
    assert kept == {"index.html", "junit.xml", "summary.md", "runs"}


EXCHANGED = '''
from plain_numpy import LSTM


class Exchanged:
    """Input and forget gate exchanged."""

    cell = "lstm"

    def forward(self, params, x, state, lengths=None):
        p = {name: array[[1, 0, 2, 3]] for name, array in params.items()}
        return LSTM().forward(p, x, state, lengths)
'''


def test_a_wrong_layer_is_red_and_the_summary_says_what_is_wrong(action, root, tmp_path):
    pytest.importorskip("jinja2")
    (tmp_path / "wrong.py").write_text(EXCHANGED, encoding="utf-8")
    code, summary = action("wrong.py:Exchanged", PYTHONPATH=f"{root}/tests/doubles", LIKE="")

    assert code == 1
    assert summary.startswith("# ❌ gatewise: ")
    assert "in the order f i g o, not i f g o" in summary


def test_inputs_become_options(root, tmp_path):
    """Those that are empty are left out."""
    program = tmp_path / "gatewise"
    program.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SUBJECT": "it.py:GRU",
                   "LIKE": "torch.nn.GRU", "BUDGET": "thorough", "DEVIATIONS": ""}  # fmt: skip
    done = subprocess.run(["bash", str(root / ".ci" / "action")], cwd=tmp_path, check=True,
                          env=environment, capture_output=True, text=True)  # fmt: skip

    assert "--budget thorough" in done.stdout
    assert "--like torch.nn.GRU" in done.stdout
    assert "--deviations" not in done.stdout
    assert done.stdout.endswith("-- it.py:GRU\n")


def test_a_subject_is_no_option_and_no_command(action, tmp_path):
    code, _ = action("--help; touch injected")
    assert code == 2
    assert not (tmp_path / "injected").exists()


def test_the_action_hands_on_what_the_script_reads(root):
    named = set(
        re.findall(r"^ {8}([A-Z]+): \$\{\{ inputs\.", (root / "action.yml").read_text(), re.M)
    )
    read = set(re.findall(r"\$\{?([A-Z]+)\b", (root / ".ci" / "action").read_text()))

    assert named - {"INSTALL"} == read - {"GITHUB"} == {"SUBJECT", "LIKE", "BUDGET", "DEVIATIONS"}
