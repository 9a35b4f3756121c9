"""Deviations that a user knows and accepts, declared in a file.

.. code-block:: toml

    [[deviation]]
    subject = "my_lstm.py:MyLSTM"
    check = ["padding", "final"] # one or, if they fail for one reason, several
    dtype = "float32"            # left out: every dtype
    reason = "padding is copied from the last step; callers mask it"
    expires = 2027-06-30
    largest = 1e6                # error in units of its bound; left out: any
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from .verdict import Verdict

KNOWN = "known deviation"


@dataclass(frozen=True)
class Deviation:
    """One accepted failure, until it expires or exceeds its declared size."""

    subject: str
    check: str
    reason: str
    expires: date
    dtype: str = ""
    largest: float = float("inf")

    def concerns(self, verdict: Verdict) -> bool:
        """Return whether it is about this verdict."""
        return (
            self.subject == verdict.subject
            and self.check == verdict.check
            and self.dtype in ("", verdict.dtype)
        )

    def judge(self, verdict: Verdict, today: date) -> None:
        """Apply this declaration to a verdict: change its status and message in place."""
        if verdict.status == "passed":
            verdict.status = "failed"
            verdict.message = f"declared as a deviation ({self.reason}), but it passes: remove it"
        elif verdict.status == "failed" and today > self.expires:
            verdict.message = f"the declared deviation expired on {self.expires}: {verdict.message}"
        elif verdict.status == "failed" and (verdict.worst_ratio or 0.0) > self.largest:
            verdict.message = (
                f"the declared deviation has outgrown {self.largest:g} times the bound: "
                f"{verdict.message}"
            )
        elif verdict.status == "failed" and verdict.lacking:
            verdict.message = (
                f"declared as a deviation ({self.reason}), but something else ran "
                f"({verdict.lacking}): {verdict.message}"
            )
        elif verdict.status == "failed":
            verdict.status = KNOWN
            verdict.message = f"{self.reason} (until {self.expires}): {verdict.message}"


@dataclass(frozen=True)
class Deviations:
    """All declarations of a file."""

    declared: tuple[Deviation, ...] = ()
    path: str = ""

    @classmethod
    def read(cls, path: Path) -> Deviations:
        """Read a TOML file; raise ValueError with a reason if it is invalid."""
        if not path.is_file():
            raise ValueError(f"{path}: there is no such file")
        try:
            text = tomllib.loads(path.read_text(encoding="utf-8"))
        except RecursionError as error:
            raise ValueError(f"{path}: cannot be read (nested too deeply)") from error
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: cannot be read ({error})") from error
        entries = text.get("deviation", [])
        if not isinstance(entries, list) or text.keys() - {"deviation"}:
            raise ValueError(f"{path}: expected [[deviation]] tables and nothing else")
        declared = (
            deviation
            for number, entry in enumerate(entries, start=1)
            for deviation in _deviations(f"{path}: deviation {number}", entry)
        )
        return cls(tuple(declared), str(path))

    def require(self, checks: Collection[str], dtypes: Collection[str]) -> None:
        """Raise ValueError if a declaration names an unknown check or dtype."""
        for deviation in self.declared:
            if deviation.check not in checks:
                raise ValueError(f"{self.path}: check {deviation.check!r:.60} is not known")
            if deviation.dtype not in ("", *dtypes):
                raise ValueError(f"{self.path}: dtype {deviation.dtype!r:.60} is not known; there "
                                 f"are {', '.join(dtypes)}")  # fmt: skip

    def judge(self, verdict: Verdict, today: date | None = None) -> Verdict:
        """Apply the first declaration that concerns the verdict, and return the verdict."""
        for deviation in self.declared:
            if deviation.concerns(verdict):
                deviation.judge(verdict, today or date.today())
                break
        return verdict


def _deviations(where: str, entry: Any) -> Iterator[Deviation]:
    """Yield the deviations of one entry: one for each of its subjects, checks and dtypes."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where}: expected a table")
    names = {f.name for f in fields(Deviation)}
    if unknown := sorted(entry.keys() - names):
        raise ValueError(
            f"{where}: {', '.join(unknown)} unknown; there are {', '.join(sorted(names))}"
        )
    if missing := sorted({"subject", "check", "reason", "expires"} - entry.keys()):
        raise ValueError(f"{where}: {', '.join(missing)} missing")
    if not isinstance(entry["reason"], str):
        raise ValueError(f"{where}: reason: expected text")
    several = [_texts(f"{where}: {name}", entry.get(name, "")) for name in _SEVERAL]
    if type(entry["expires"]) is not date:
        raise ValueError(f"{where}: expires: expected a date such as 2027-06-30")
    largest = entry.get("largest", 1.0)
    if isinstance(largest, bool) or not isinstance(largest, int | float) or not largest > 0:
        raise ValueError(f"{where}: largest: expected a positive number")
    alike = {name: entry[name] for name in ("reason", "expires", "largest") if name in entry}
    for subject, check, dtype in itertools.product(*several):
        yield Deviation(subject=subject, check=check, dtype=dtype, **alike)


_SEVERAL = ("subject", "check", "dtype")


def _texts(where: str, value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{where}: expected text, or a list of texts")
    return texts
