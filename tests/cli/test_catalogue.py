"""What ``gatewise subjects`` lists, and what ``FAMILY:*`` stands for."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from commands import invoke
from gatewise.verify.execution import availability
from gatewise.verify.execution.session import Request
from gatewise.verify.subjects import expanded, family, frameworks, loader, subjects
from gatewise.verify.subjects.loader import UnknownSubject

LAYERS = """
import os
from gatewise.verify.subjects.protocol import SubjectUnavailable


class Right:
    name, cells, dtypes = "right", ("lstm",), ("float32",)
    parameter_map = None

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
    monkeypatch.setattr(availability, "known", lambda *wanted: ["mlx:GRU", *names])
    monkeypatch.setattr(availability, "_probe", probed(availability._probe, names))
    return lambda *more: invoke("subjects", *more)


def probed(probe, names):
    """Probe layers of ours only: whether MLX is installed here is not known."""
    return lambda stated, timeout: (
        probe([one for one in stated if one.named.name in names], timeout) or [*stated]
    )


def test_versions_and_what_is_missing(listed):
    rows = {
        row["subject"].rpartition(":")[2]: row
        for row in json.loads(listed("--probe", "--json").stdout)
    }

    assert rows["Right"]["version"] == "right 1.2"
    assert rows["Right"]["problem"] == ""
    assert rows["Missing"]["version"] == ""
    assert "pip install nothing" in rows["Missing"]["problem"]
    assert "exit code 7" in rows["Dies"]["problem"]
    assert rows["Right"]["probed"] is True
    assert rows["GRU"]["convention"].startswith("GRU, gates r z n, [3H, D]")


def test_what_is_missing_is_told_once_for_each_reason(listed):
    result = listed("--probe")
    assert result.exit_code == 0
    assert "not available" in result.stdout
    assert result.stdout.count("install it with: pip install nothing") == 1


def test_the_plain_list_asks_nobody(monkeypatch):
    monkeypatch.setattr(availability, "Isolated", None)
    result = invoke("subjects --no-versions --json")
    rows = json.loads(result.stdout)

    assert {row["subject"] for row in rows} >= set(subjects())
    assert all(row["cell"] and row["dtypes"] for row in rows if row["subject"] in subjects())
    assert not any(row["version"] or row["problem"] for row in rows)
    assert "problem" not in invoke("subjects --no-versions").stdout


def test_the_list_imports_no_framework():
    program = (
        "import sys\n"
        "from gatewise.verify.execution import availability\n"
        "listed = {one.named.name: one for one in availability.installed()}\n"
        "print(listed['torch:LSTM'].version, '|', listed['torch:LSTM'].problem)\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'jax', 'keras'} & sys.modules.keys()))\n"
    )
    torch = pytest.importorskip("torch")

    assert _printed(program) == [f"torch {torch.__version__} | ", "[]"]


def test_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(availability.importlib.util, "find_spec", lambda name: None)
    rows = json.loads(invoke("subjects haiku torch --json").stdout)

    assert {row["subject"].partition(":")[0] for row in rows} == {"haiku", "torch"}
    assert not any(row["version"] or row["probed"] for row in rows)
    assert rows[0]["problem"] == (
        "haiku is not installed; install it with: pip install dm-haiku 'jax[cpu]'"
    )


def test_one_name_imports_one_adapter():
    """Neither a framework nor another family's file is imported to find a subject."""
    program = (
        "import sys\n"
        "from gatewise.verify.subjects import expanded, subject_named\n"
        "subject_named('torch:LSTM'), expanded(['torch:*'])\n"
        "prefix = 'gatewise.verify.subjects.frameworks.'\n"
        "print([name for name in sys.modules if name.startswith(prefix)])\n"
    )

    assert _printed(program) == ["['gatewise.verify.subjects.frameworks.torch_layers']"]


def test_adapters_declare_their_families():
    for path in Path(frameworks.__file__).parent.glob("*.py"):
        adapter = importlib.import_module(f"{frameworks.__name__}.{path.stem}")
        named = [family(subject.name) for subject in getattr(adapter, "SUBJECTS", ())]
        declared = [name for name, each in frameworks.families().items() if each.file == path.stem]

        assert sorted(set(named)) == declared, path.name


def _printed(program):
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_every_family_is_listed_once():
    found = availability.families()

    every = [name for names in found.values() for name in names]

    assert len(every) == len(set(every))
    assert set(every) >= set(subjects())
    assert all(family(name) == of for of, names in found.items() for name in names)


def test_a_pattern_means_the_whole_family():
    all_of = [name for name in subjects() if name.startswith("onnxruntime:")]

    assert expanded(["onnxruntime:*"]) == all_of
    assert expanded([all_of[1], "my.py:LSTM", "onnxruntime:*"])[:2] == [all_of[1], "my.py:LSTM"]
    assert len(expanded([all_of[1], "onnxruntime:*"])) == len(all_of)
    assert "torch-onnx:LSTM" not in expanded(["torch:*"])


def test_a_registered_family(monkeypatch):
    monkeypatch.setattr(loader, "registered", lambda: {"mine:A": None, "mine:B": None})
    assert expanded(["mine:*"]) == ["mine:A", "mine:B"]


def test_no_such_family():
    with pytest.raises(UnknownSubject, match=r"no family 'onxruntime'; there are .*onnxruntime:\*"):
        expanded(["onxruntime:*"])


def test_a_request_has_all_of_a_family():
    """Verify and diagnose read names in the same way; a run keeps the names, not the pattern."""
    request = Request.parse(["haiku:*"], budget="quick")
    assert request.subjects == ("haiku:GRU", "haiku:LSTM", "haiku:RNN")


@pytest.mark.parametrize("command", ["verify", "diagnose"])
def test_no_such_family_is_a_usage_error(command, here):
    result = invoke(command, "nothing:*")

    assert result.exit_code == 2
    assert "there is no family 'nothing'" in result.stderr
    assert not list(here.iterdir())
