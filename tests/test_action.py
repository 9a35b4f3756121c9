"""The steps of the action: green on a right layer, red with a useful summary on a wrong one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RIGHT = """
import numpy as np

class RNN:
    cell = "rnn"

    def forward(self, p, x, state):
        h = np.zeros((x.shape[1], len(p.b_a)), x.dtype) if state is None else state[0]
        y = np.zeros((len(x), *h.shape), x.dtype)
        for t, x_t in enumerate(x):
            y[t] = h = np.tanh(x_t @ p.W_a + h @ p.U_a + p.b_a)
        return y, (h,)
"""
"""A layer without gradients, to which few checks apply."""


@pytest.fixture
def action(root, tmp_path):
    """Run the action's script as a runner does; return exit code, the job's summary, and errors."""

    def run(subject, **inputs):
        summary = tmp_path / "summary"
        programs = Path(sys.executable).parent
        environment = {
            **os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(summary), "SUBJECT": subject, **inputs,
        }  # fmt: skip
        done = subprocess.run(["bash", str(root / ".ci" / "action")], cwd=tmp_path, check=False,
                              env=environment, capture_output=True, text=True)  # fmt: skip
        written = summary.read_text(encoding="utf-8") if summary.exists() else ""
        return done.returncode, written, done.stderr

    return run


def test_a_right_layer_is_green(action, tmp_path):
    pytest.importorskip("jinja2")
    (tmp_path / "mine.py").write_text(RIGHT, encoding="utf-8")
    code, summary, _ = action("mine.py")

    assert code == 0
    assert summary.startswith("# ✅ gatewise: ")
    kept = {path.name for path in (tmp_path / "gatewise-report").iterdir()}
    assert kept == {"index.html", "junit.xml", "summary.md", "runs"}


def test_a_wrong_layer_is_red_and_the_summary_says_what_is_wrong(action, tmp_path):
    pytest.importorskip("jinja2")
    (tmp_path / "mine.py").write_text(RIGHT.replace(" + p.b_a", ""), encoding="utf-8")
    code, summary, _ = action("mine.py")

    assert code == 1
    assert summary.startswith("# ❌ gatewise: ")
    assert "b is not read" in summary


def test_what_the_layer_is_like_is_handed_on(action, root):
    code, _, errors = action(f"{root}/examples/gru_torch.py", LIKE="torch.nn.Sequential")
    assert code == 2
    assert "torch.nn.Sequential" in errors


def test_a_subject_is_no_option_and_no_command(action, tmp_path):
    code, _, _ = action("--help; touch injected")
    assert code == 2
    assert not (tmp_path / "injected").exists()


def test_the_action_hands_on_what_the_script_reads(root):
    named = set(
        re.findall(r"^ {8}([A-Z]+): \$\{\{ inputs\.", (root / "action.yml").read_text(), re.M)
    )
    read = set(re.findall(r"\$\{?([A-Z]+)\b", (root / ".ci" / "action").read_text()))

    assert named - {"INSTALL"} == read - {"GITHUB"} == {"SUBJECT", "LIKE", "BUDGET", "DEVIATIONS"}
