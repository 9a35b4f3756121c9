"""What was recorded on real GPUs holds here, too."""

from pathlib import Path

import pytest

from gatewise.reports.page import render
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import hold
from gatewise.verify.recordings.files import INDEX
from gatewise.verify.runs.run import read
from gatewise.verify.subjects import subject_named

EVIDENCE = Path(__file__).parents[3] / "reports" / "results" / "evidence"
RECORDINGS = sorted(path.parent for path in EVIDENCE.glob(f"*/{INDEX}"))
RUNS = sorted(path.parent for path in EVIDENCE.glob("runs/*/run.json"))


@pytest.mark.parametrize("folder", RECORDINGS, ids=lambda folder: folder.name)
def test_recordings_hold(folder):
    subject = subject_named(f"recording:{folder}")
    verdicts = [hold(subject, check, dtype) for dtype in subject.dtypes
                for check in subject_checks() if check.concerns(subject)]  # fmt: skip

    assert not [v for v in verdicts if v.wrong or (v.open and v.status != "blind")]
    assert any(v.status == "passed" for v in verdicts)


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_runs_are_readable(folder):
    assert render(read(folder))


def test_the_readme_says_what_there_is():
    """It must not speak of evidence that is missing, nor deny what lies beside it."""
    said = (EVIDENCE / "README.md").read_text(encoding="utf-8")
    assert ("| recordings | none yet |" in said) is (not RECORDINGS)
    assert all(folder.name in said for folder in RECORDINGS)
    assert "| live cuDNN | *not tested* |" in said
