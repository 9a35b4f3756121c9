"""The pytest plugin that substitutes the class when it is imported.

Notes are written at once, as lines of JSON in a file of the audit, so that a suite that hangs or
crashes keeps them. The environment variable ``ORDER`` holds the instructions of a run: target,
like, mutant ("" for none) and the file of notes.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ORDER = "GATEWISE_AUDIT"


class Notes:
    """A file of notes that several processes may write; each writes a note once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: set[tuple[str, str]] = set()

    def __call__(self, kind: str, about: str = "") -> None:
        """Write a note, if it is new."""
        if (kind, about) not in self._written:
            self._written.add((kind, about))
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([kind, about]) + "\n")


def read_notes(path: Path) -> dict[str, list[str]]:
    """Return the notes: for each kind, what they are about."""
    notes: dict[str, list[str]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, about = json.loads(line)
            notes.setdefault(kind, []).append(about)
    return notes


class Watcher(MetaPathFinder):
    """Calls ``imported`` with a module of a name or file, after its execution."""

    def __init__(self, where: str, imported: Callable[[ModuleType], None]) -> None:
        is_file = where.endswith(".py") or "/" in where
        self.path = Path(where).expanduser().resolve() if is_file else None
        self.name, self.imported = where, imported
        self._searching = False

    def start(self) -> None:
        """Watch imports from now on, and report a module that is already imported."""
        for name, module in list(sys.modules.items()):
            # sys.modules may hold other objects, and modules that load themselves lazily
            attributes = vars(module) if isinstance(module, ModuleType) else {}
            if self._is_wanted(name, attributes.get("__file__")):
                self.imported(module)
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module by the other finders, and call ``imported`` after its execution."""
        if self._searching or (self.path is None and name != self.name):
            return None
        self._searching = True
        try:
            others = (f for f in sys.meta_path if f is not self and hasattr(f, "find_spec"))
            spec = next((s for f in others if (s := f.find_spec(name, path, target))), None)
        finally:
            self._searching = False
        if spec is not None and spec.loader and self._is_wanted(name, spec.origin):
            self._extend(spec.loader, name)
        return spec

    def _is_wanted(self, name: str, file: str | None) -> bool:
        if self.path is None:
            return name == self.name
        origin = Path(file) if file else None
        return (
            origin is not None and origin.name == self.path.name and origin.resolve() == self.path
        )

    def _extend(self, loader: Any, name: str) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ == name:  # pytest's loader of tests serves many modules
                self.imported(module)

        loader.exec_module = exec_module


class Audit:
    """One run of the user's suite, with one mutant or with the correct layer."""

    def __init__(self, order: dict[str, str]) -> None:
        self.order = order
        self.note = Notes(Path(order["notes"]))
        self.where, _, self.attribute = order["target"].rpartition(":")
        self.substitute: Any = None
        self.watcher = Watcher(self.where, self.imported)

    def imported(self, module: ModuleType) -> None:
        """Install the substitute in the target class of a module."""
        from .substitute import NoTarget

        if self.substitute is not None:  # the same file under another name is another class
            self.note("twice", module.__name__)
        target: Any = module
        for part in self.attribute.split("."):
            if not hasattr(target, part):
                self.note("refused", f"there is no {self.attribute} in {self.where}")
                return
            target = getattr(target, part)
        try:
            self.substitute = self._substituted(target)
        except NoTarget as error:
            self.note("refused", str(error))

    def _substituted(self, target: Any) -> Any:
        from ..mutants import mutants
        from .substitute import NoTarget, Substitute, guess

        kind = self.order["like"] or (guess(target) if isinstance(target, type) else "")
        mutant = next((m for m in mutants() if m.id == self.order["mutant"]), None)
        substitute = Substitute(target, kind or "LSTM", self.note, mutant)
        if not kind:
            raise NoTarget("its name does not say whether it is an LSTM, a GRU or an RNN")
        self.note("kind", kind)
        substitute.install()
        return substitute

    def finish(self) -> None:
        """After all tests, note whether the class offers what the mutant needs to show."""
        if self.substitute is None:
            self._note_missing_target()
        elif self.substitute.mutant and self.substitute.last and not self.substitute.shown:
            from .trial import shows

            self.note("ended", "")
            self.substitute.note = lambda kind, about: None
            if shows(self.substitute):
                self.note("offered", "")

    def _note_missing_target(self) -> None:
        """Note the reason if the module does not exist or cannot be imported."""
        if self.watcher.path is not None:
            if not self.watcher.path.is_file():
                self.note("refused", f"there is no file {self.watcher.path}")
            return
        try:
            importlib.import_module(self.where)
        except ModuleNotFoundError as error:
            self.note("refused", f"there is no module {error.name}")
        except Exception as error:
            self.note("refused", f"importing it raised {type(error).__name__}: {error}")


_audits: list[Audit] = []


def pytest_load_initial_conftests() -> None:
    """Watch for the class before any file of the user is imported."""
    audit = Audit(json.loads(os.environ[ORDER]))
    _audits.append(audit)
    audit.watcher.start()


def pytest_runtest_logreport(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Note failed tests, and files that cannot be imported."""
    if report.failed:
        for audit in _audits:
            audit.note("failed", report.nodeid)


pytest_collectreport = pytest_runtest_logreport


def pytest_sessionfinish() -> None:
    """Finish all audits."""
    for audit in _audits:
        audit.finish()
