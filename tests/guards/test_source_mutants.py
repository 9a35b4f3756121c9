"""Errors planted in the suite's own source turn the test red that is named for them.

What finds errors in layers may have errors itself. Each is planted in a copy of the package, and
its one test is run in a process of its own: a few of them here, all of them by ``nox -s guards``.
"""

import ast
import compileall
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from source_mutants import HANDFUL, SOURCE_MUTANTS

PACKAGE = ("__init__.py", "__main__.py", "bench", "cli", "reference", "verify", "reports")
RUN = SOURCE_MUTANTS if os.environ.get("GATEWISE_GUARDS") else [
    mutant for mutant in SOURCE_MUTANTS if mutant.id in HANDFUL
]  # fmt: skip
TOLD = re.compile(r"^E +(.*)$", re.MULTILINE)


@cache
def texts(room):
    """Return what stands in every file of a room."""
    files = [room] if room.is_file() else sorted(room.rglob("*.py"))
    return {file: file.read_text(encoding="utf-8") for file in files}


def place(root, mutant):
    """Return the file, below ``root``, in which the text of a mutant stands once, and nowhere else.

    Rooms are searched, so that files may be moved within them.
    """
    found = texts(root / mutant.room)
    counts = {file: text.count(mutant.old) for file, text in found.items()}
    total = sum(counts.values())
    mend = "mend the entry in tests/doubles/source_mutants.py"
    assert total == 1, f"{total} times in {mutant.room}, {mend}: {mutant.old}"
    return next(file for file, count in counts.items() if count).relative_to(root)


@pytest.fixture(scope="module")
def copy(root, tmp_path_factory):
    """A copy of the package, importable as gatewise, and the environment that imports it."""
    folder = tmp_path_factory.mktemp("copy")
    package = folder / "gatewise"
    package.mkdir()
    for name in PACKAGE:
        copied = shutil.copytree if (root / name).is_dir() else shutil.copy
        copied(root / name, package / name)
    shutil.rmtree(package / "reports" / "results", ignore_errors=True)
    compileall.compile_dir(package, quiet=2)
    environment = {
        **os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    environment.pop("PYTEST_ADDOPTS", None)
    where = "import gatewise; print(gatewise.__file__)"
    found = subprocess.run([sys.executable, "-P", "-c", where], env=environment, text=True,
                           capture_output=True, check=True, cwd=folder).stdout  # fmt: skip
    assert Path(found.strip()).is_relative_to(folder), f"imported {found}"
    return package, environment


def turned_red(mutant, copy, root):
    """Plant a mutant, run its test; return the exit code, and what was said."""
    package, environment = copy
    path = package / place(root, mutant)
    text = path.read_text(encoding="utf-8")
    compiled = Path(importlib.util.cache_from_source(str(path)))
    compiled.unlink(missing_ok=True)
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:xdist",
             "-c", str(root / "pyproject.toml"), "--rootdir", str(root),
             str(root / "tests" / mutant.test)],
            env=environment, text=True, capture_output=True, check=False, cwd=package.parent,
        )  # fmt: skip
    finally:
        path.write_text(text, encoding="utf-8")
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("mutant", RUN, ids=lambda mutant: mutant.id)
def test_a_source_mutant_is_seen(mutant, copy, root):
    code, output = turned_red(mutant, copy, root)
    assert code != 0, f"nothing turned red: {mutant.id}: {mutant.test} passes"
    assert code == 1, output  # 2 to 5: the test could not be run
    said = TOLD.findall(output)
    assert said, output
    assert not re.match(r"(Name|Attribute|Type|Syntax|Import)Error", said[0]), said[0]
    assert mutant.said in output
    print(f"\n| {mutant.id} | {mutant.test} | {said[0]} |")


def test_every_entry_still_applies(root):
    assert len({mutant.id for mutant in SOURCE_MUTANTS}) == len(SOURCE_MUTANTS)
    assert set(HANDFUL) <= {mutant.id for mutant in SOURCE_MUTANTS}
    for mutant in SOURCE_MUTANTS:
        text = texts(root / mutant.room)[root / place(root, mutant)]
        assert mutant.old.split() != mutant.new.split(), mutant.id
        ast.parse(text.replace(mutant.old, mutant.new))
        file, *names = mutant.test.partition("[")[0].split("::")
        tests = (root / "tests" / file).read_text(encoding="utf-8")
        assert names, f"{mutant.id}: names no test"
        assert all(re.search(rf"(def|class) {name}\b", tests) for name in names), mutant.test


def test_a_copy_without_an_error_is_green(copy, root):
    """Else any test would turn red in it."""
    first = SOURCE_MUTANTS[0]
    unchanged = type(first)("none", first.room, first.old, first.old, first.test)
    code, output = turned_red(unchanged, copy, root)
    assert code == 0, output
