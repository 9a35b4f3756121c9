"""Errors planted in the reference's source turn red, and the message names the equation.

Each runs in a process of its own, on a copy of the package with one line changed: first the
proofs, then the documents' transcriptions.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from planted_errors import PLANTED, Planted

PACKAGE = ("__init__.py", "__main__.py", "cli", "reference", "verify", "reports")


def copy_of(root, folder, planted):
    """Copy the package to ``folder/gatewise`` with one error planted in it."""
    package = folder / "gatewise"
    package.mkdir()
    for name in PACKAGE:
        source = root / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, package / name)
    path = package / "reference" / planted.file
    text = path.read_text(encoding="utf-8")
    assert text.count(planted.old) == planted.times, f"{planted.file} no longer has: {planted.old}"
    path.write_text(text.replace(planted.old, planted.new), encoding="utf-8")
    return folder


def run(arguments, folder, root):
    """Run Python on the changed copy; its source must be the one that is imported."""
    paths = os.pathsep.join([str(folder), str(root / "tests" / "doubles")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    where = "import gatewise; print(gatewise.__file__)"
    command = [sys.executable, "-P", *arguments]
    seen = subprocess.run([sys.executable, "-P", "-c", where], env=environment, text=True,
                          capture_output=True, check=True, cwd=folder).stdout  # fmt: skip
    assert seen.startswith(str(folder)), f"imported {seen}"
    return subprocess.run(
        command, env=environment, text=True, capture_output=True, check=False, cwd=folder
    )


def what_turns_red(planted, folder, root):
    """Return the messages of all failing proofs, or else those of the transcriptions."""
    proved = run(["-m", "gatewise", "prove", "--json"], folder, root)
    results = json.loads(proved.stdout)
    messages = [result["message"] for result in results if not result["holds"]]
    assert proved.returncode == (1 if messages else 0)
    if messages and not planted.only_documents:
        return messages
    tests = [
        str(path)
        for path in sorted((root / "tests" / "reference").glob("test_against_documents*.py"))
    ]
    options = ["-q", "-c", str(root / "pyproject.toml"), "--rootdir", str(root)]
    compared = run(["-m", "pytest", *options, *tests], folder, root)
    assert compared.returncode in (0, 1), compared.stdout + compared.stderr
    red = [line for line in compared.stdout.splitlines() if line.startswith("E  ")]
    return messages + red


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.id)
def test_planted_error_is_named(planted, root, tmp_path):
    """Something turns red, and it names an equation that the error touches."""
    messages = what_turns_red(planted, copy_of(root, tmp_path, planted), root)

    assert messages, "nothing turned red"
    assert any(name in message for message in messages for name in planted.named), messages


def test_without_a_planted_error_nothing_turns_red(root, tmp_path):
    """The harness itself is green on an unchanged copy."""
    text = (root / "reference" / "cells" / "lstm.py").read_text(encoding="utf-8")
    unchanged = Planted("none", "cells/lstm.py", text, text, named=(), only_documents=True)

    assert what_turns_red(unchanged, copy_of(root, tmp_path, unchanged), root) == []
