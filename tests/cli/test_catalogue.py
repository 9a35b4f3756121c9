"""What ``gatewise subjects`` lists, and what ``FAMILY:*`` stands for."""

import json

import pytest
from click.testing import CliRunner

from gatewise.cli import main
from gatewise.verify.execution import availability
from gatewise.verify.execution.session import Request
from gatewise.verify.subjects import expanded, family, subjects
from gatewise.verify.subjects import loader as loading
from gatewise.verify.subjects.loader import UnknownSubject

LAYERS = """
import os
from gatewise.verify.subjects.protocol import SubjectUnavailable


class Right:
    name, cells, dtypes = "right", ("lstm",), ("float32",)
    to_reference = None

    @property
    def options(self):
        from gatewise.verify.cases.options import Options
        return Options()

    def version(self):
        return "right 1.2"


class Missing(Right):
    def version(self):
        raise SubjectUnavailable("nothing is not installed; install it with: pip install nothing")


class Dies(Right):
    def version(self):
        os._exit(7)
"""


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """List these layers alone, as if a package had registered them."""
    path = tmp_path / "layers.py"
    path.write_text(LAYERS, encoding="utf-8")
    names = [f"{path}:{name}" for name in ("Right", "Missing", "Dies")]
    monkeypatch.setattr(availability, "known", lambda: ["mlx:GRU", *names])
    monkeypatch.setattr(availability, "_describe", described(availability._describe, names))
    return lambda *more: CliRunner().invoke(main, ["subjects", *more], catch_exceptions=False)


def described(ask, names):
    """Ask for layers of ours only: whether MLX is installed here is not known."""
    return lambda stated, timeout: (
        ask([one for one in stated if one.named.name in names], timeout) or [*stated]
    )


def test_versions_and_what_is_missing(listed):
    """One that is missing, and one that ends its process, have a problem; the others a version."""
    rows = {row["subject"].rpartition(":")[2]: row for row in json.loads(listed("--json").stdout)}

    assert rows["Right"]["version"] == "right 1.2"
    assert rows["Right"]["problem"] == ""
    assert rows["Missing"]["version"] == ""
    assert "pip install nothing" in rows["Missing"]["problem"]
    assert "exit code 7" in rows["Dies"]["problem"]
    assert rows["GRU"]["convention"].startswith("GRU, gates r z n, [3H, D]")


def test_what_is_missing_is_told_once_for_each_reason(listed):
    """Below the table; the exit code is 0 all the same."""
    result = listed()

    assert result.exit_code == 0
    assert "not available" in result.stdout
    assert result.stdout.count("install it with: pip install nothing") == 1


def test_the_plain_list_asks_nobody(monkeypatch):
    """--no-versions starts no process, and lists every adapter with its convention."""
    monkeypatch.setattr(availability, "Isolated", None)
    result = CliRunner().invoke(main, ["subjects", "--no-versions", "--json"])
    rows = json.loads(result.stdout)

    assert {row["subject"] for row in rows} >= set(subjects())
    assert all(row["cell"] and row["dtypes"] for row in rows if row["subject"] in subjects())
    assert not any(row["version"] or row["problem"] for row in rows)
    assert "problem" not in CliRunner().invoke(main, ["subjects", "--no-versions"]).stdout


def test_every_family_is_listed_once():
    """Families are contiguous: 'torch' comes apart from 'torch-onnx'."""
    found = availability.families()

    every = [name for names in found.values() for name in names]

    assert len(every) == len(set(every))
    assert set(every) >= set(subjects())
    assert all(family(name) == of for of, names in found.items() for name in names)


def test_a_pattern_means_the_whole_family():
    """In order, each once, beside names and paths."""
    all_of = [name for name in subjects() if name.startswith("onnxruntime:")]

    assert expanded(["onnxruntime:*"]) == all_of
    assert expanded([all_of[1], "my.py:LSTM", "onnxruntime:*"])[:2] == [all_of[1], "my.py:LSTM"]
    assert len(expanded([all_of[1], "onnxruntime:*"])) == len(all_of)
    assert "torch-onnx:LSTM" not in expanded(["torch:*"])


def test_a_registered_family(monkeypatch):
    """Subjects that other packages register count as well."""
    monkeypatch.setattr(loading, "registered", lambda: {"mine:A": None, "mine:B": None})

    assert expanded(["mine:*"]) == ["mine:A", "mine:B"]


def test_no_such_family():
    """The message names the families that there are."""
    with pytest.raises(UnknownSubject, match=r"no family 'onxruntime'; there are .*onnxruntime:\*"):
        expanded(["onxruntime:*"])


def test_a_request_has_all_of_a_family():
    """Verify and diagnose read names in the same way; a run keeps the names, not the pattern."""
    request = Request.parse(["haiku:*"], budget="quick")

    assert request.subjects == ("haiku:GRU", "haiku:LSTM", "haiku:RNN")


@pytest.mark.parametrize("command", ["verify", "diagnose"])
def test_no_such_family_is_a_usage_error(command, tmp_path, monkeypatch):
    """Exit code 2, and no run."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [command, "nothing:*"])

    assert result.exit_code == 2
    assert "there is no family 'nothing'" in result.stderr
    assert not list(tmp_path.iterdir())
