"""The part that runs inside their pytest: plant the mutant when the class is imported."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .catalogue import faults
from .notes import ENVIRONMENT, Notes
from .planting import NoTarget, Planting, guess, untouched
from .watching import Watcher


class Audit:
    """One run of their suite, with one mutant or with the wrapping alone."""

    def __init__(self, order: dict[str, str]) -> None:
        self.order = order
        self.note = Notes(Path(order["notes"]))
        self.where, _, self.attribute = order["target"].rpartition(":")
        self.planting: Planting | None = None
        self.watcher = Watcher(self.where, self.found)

    def found(self, module: ModuleType) -> None:
        """Plant the mutant into the class that a module holds."""
        if self.planting is not None:  # the same file under another name is another class
            self.note("twice", module.__name__)
        target: Any = module
        for part in self.attribute.split("."):
            if not hasattr(target, part):
                self.note("refused", f"there is no {self.attribute} in {self.where}")
                return
            target = getattr(target, part)
        try:
            self.planting = self._planted(target)
        except NoTarget as error:
            self.note("refused", str(error))

    def _planted(self, target: Any) -> Planting:
        kind = self.order["like"] or (guess(target) if isinstance(target, type) else "")
        planting = Planting(target, kind or "LSTM", self.note)
        if not kind:
            raise NoTarget("its name does not say whether it is an LSTM, a GRU or an RNN")
        self.note("kind", kind)
        planting.way = self.order["way"]
        if id := self.order["mutant"]:
            fault = next(f for f in faults() if f.id == id)
            planting.plant, planting.needs = fault.plant, fault.needs
        return planting.__enter__()

    def finish(self) -> None:
        """Say what the class offers, once nothing can be disturbed any more."""
        if self.planting is None:
            self._say_why_not()
        elif self.planting.plant is untouched and self.planting.last is not None:
            from .probing import offers, way

            self.note("way", way(self.planting))
            for need in sorted(offers(self.planting)):
                self.note("offers", need)

    def _say_why_not(self) -> None:
        """Tell a module that no test imports from one that is not there."""
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
    """Watch for the class before any of their files is imported."""
    audit = Audit(json.loads(os.environ[ENVIRONMENT]))
    _audits.append(audit)
    audit.watcher.start()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note which test fails."""
    if report.failed:
        for audit in _audits:
            audit.note("failed", report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note which file cannot be imported."""
    if report.failed:
        for audit in _audits:
            audit.note("failed", report.nodeid)


def pytest_sessionfinish() -> None:
    """Say what the class offers."""
    for audit in _audits:
        audit.finish()
