"""Adapters of frameworks, one file each; new files are discovered.

A file defines ``SUBJECTS``; ``FAMILIES``, the prefixes of their names with the modules that each
needs; and ``INSTALL``, the arguments of pip for all, or for each family. ``FAMILIES`` must be a
literal, since it is read from the source: a lookup imports one family's adapter alone.
"""

from __future__ import annotations

import importlib
import re
from ast import literal_eval
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..protocol import Subject

_FAMILIES = re.compile(r"^FAMILIES\b[^=\n]*= (\{.*?\})$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Family:
    """The subjects with one prefix, the file that defines them, and the packages that it needs."""

    name: str
    file: str
    packages: tuple[str, ...]

    @property
    def adapter(self) -> Any:
        """The file's module; importing it imports no framework."""
        return importlib.import_module(f"{__name__}.{self.file}")

    @property
    def install(self) -> str:
        """The arguments of pip that install its packages."""
        install: str | dict[str, str] = self.adapter.INSTALL
        return install if isinstance(install, str) else install[self.name]

    def subjects(self) -> Iterator[Subject]:
        """Yield its subjects; ValueError if the adapter has none of this family."""
        members = [s for s in self.adapter.SUBJECTS if s.name.partition(":")[0] == self.name]
        if not members:
            raise ValueError(f"{self.file}.py: FAMILIES has {self.name!r}, SUBJECTS none of it")
        yield from members


@cache
def families() -> dict[str, Family]:
    """Return the families by name, without importing an adapter; ValueError if two share one."""
    declared: dict[str, Family] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for name, packages in _declared(path).items():
            if name in declared:
                raise ValueError(f"{path.name}: {declared[name].file}.py has {name!r}, too")
            declared[name] = Family(name, path.stem, packages)
    return dict(sorted(declared.items()))


def _declared(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the ``FAMILIES`` in an adapter's source; {} for a helper, which has none."""
    literal = _FAMILIES.search(path.read_text(encoding="utf-8"))
    if literal is None:
        return {}
    try:
        families = literal_eval(literal[1])
    except (SyntaxError, ValueError):
        families = None
    if not isinstance(families, dict) or not all(isinstance(p, tuple) for p in families.values()):
        raise ValueError(
            f"{path.name}: FAMILIES: expected a literal, each family with a tuple of packages, "
            f"got {literal[1]}"
        )
    return families
