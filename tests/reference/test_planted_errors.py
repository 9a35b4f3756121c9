"""Errors planted in the reference's source turn red, and the message names the equation.

Each runs in a process of its own, on a copy of the package with one line changed. The proofs of the
equations to be named must fail, or the documents' transcriptions where only these can see it.
"""

import functools
import json
import os
import shutil
import subprocess
import sys

import pytest

from planted_errors import PLANTED, Planted

ORIGIN = "import gatewise; print(gatewise.__file__)"
PROVE = """
import json, sys
from gatewise.verify.proofs.runner import attempt, choose

names = sys.argv[1:]
for proof in choose(names):
    result = attempt(proof)
    if not result.holds:
        print(json.dumps(result.message))
        if any(name in result.message for name in names):
            break
"""


def copy_of(root, folder, planted):
    """Copy the package to ``folder/gatewise`` with one error planted in it."""
    package = folder / "gatewise"
    package.mkdir()
    shutil.copy(root / "__init__.py", package)
    shutil.copytree(root / "reference", package / "reference")
    (package / "verify").symlink_to(root / "verify")
    path = package / "reference" / planted.file
    text = path.read_text(encoding="utf-8")
    assert text.count(planted.old) == planted.times, f"{planted.file} no longer has: {planted.old}"
    path.write_text(text.replace(planted.old, planted.new), encoding="utf-8")


def environment(folder, root):
    """Return the variables with which Python imports the changed copy."""
    paths = os.pathsep.join([str(folder), str(root / "tests" / "doubles")])
    return os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def run(server, root, tmp_path):
    """Run Python on the changed copy."""
    return functools.partial(server.run, "-P", cwd=tmp_path, anew=True,
                             env=environment(tmp_path, root))  # fmt: skip


def failing_proofs(names, run, first=()):
    """Return the messages of proofs about these equations that fail, up to one that names them."""
    done = run("-c", PROVE, *first, *names)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def failing_transcriptions(folder, root):
    """Return what pytest says of the first of the documents' transcriptions that differs."""
    tests = sorted(map(str, (root / "tests" / "reference").glob("test_against_documents*.py")))
    options = ["-q", "-x", "-c", str(root / "pyproject.toml"), "--rootdir", str(root)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *options, *tests], text=True, capture_output=True,
        check=False, cwd=folder, env=environment(folder, root),
    )  # fmt: skip
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("E  ")]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.id)
def test_planted_error_is_named(planted, run, root, tmp_path):
    copy_of(root, tmp_path, planted)
    if planted.only_documents:
        messages = failing_transcriptions(tmp_path, root)
    else:
        messages = failing_proofs(planted.named, run, planted.proofs)

    assert messages, "nothing turned red"
    assert any(name in message for message in messages for name in planted.named), messages


def test_without_a_planted_error_nothing_turns_red(run, root, tmp_path):
    """The changed copy is what is imported, and an unchanged one is green, as in the suite."""
    text = (root / "reference" / "cells" / "lstm.py").read_text(encoding="utf-8")
    copy_of(root, tmp_path, Planted("none", "cells/lstm.py", (), text, text))
    assert run("-c", ORIGIN).stdout.startswith(str(tmp_path))
    assert failing_proofs(("*[lstm]",), run) == []
