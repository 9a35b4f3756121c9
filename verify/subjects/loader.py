"""Find the object that a SUBJECT names: a file's, a module's, or an installed package's."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from .protocol import SubjectUnavailable

ENTRY_POINTS = "gatewise.subjects"


class UnknownSubject(ValueError):
    """A name that leads to no subject; the message says what is wrong with it."""


@dataclass(frozen=True)
class Loaded:
    """An object, and the source lines that import it as ``Layer`` in a program of its own."""

    value: Any
    import_lines: str


def registered() -> dict[str, Any]:
    """Return the entry points by which installed packages offer subjects."""
    return {found.name: found for found in entry_points(group=ENTRY_POINTS)}


def load(name: str) -> Loaded:
    """Import what ``path/to/file.py:Name`` or ``package.module:Name`` stands for."""
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        raise UnknownSubject(f"subject {name!r}: expected path/to/file.py:Name or module:Name")
    if where.endswith(".py") or "/" in where:
        path = Path(where).expanduser().resolve()
        module = _module_from(path, name)
        lines = (
            f"import importlib.util, sys\n"
            f"sys.path.insert(0, {str(path.parent)!r})\n"
            f"spec = importlib.util.spec_from_file_location({path.stem!r}, {str(path)!r})\n"
            f"module = importlib.util.module_from_spec(spec)\n"
            f"spec.loader.exec_module(module)\n"
            f"Layer = module.{attribute}\n"
        )
    else:
        module = _imported(where, name)
        lines = f"from {where} import {attribute} as Layer\n"
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise UnknownSubject(f"subject {name!r}: there is no {attribute} in {where}")
        value = getattr(value, part)
    return Loaded(value, lines)


def _module_from(path: Path, name: str) -> ModuleType:
    if not path.is_file():
        raise UnknownSubject(f"subject {name!r}: there is no file {path}")
    sys.path.insert(0, str(path.parent))  # as Python does for a script, so siblings are found
    spec = importlib.util.spec_from_file_location(f"gatewise_subject_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UnknownSubject(f"subject {name!r}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SubjectUnavailable(
            f"subject {name!r}: importing {path} raised {type(error).__name__}: {error}"
        ) from error
    return module


def _imported(where: str, name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))  # as python -m does
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name and where.startswith(error.name):
            raise UnknownSubject(f"subject {name!r}: there is no module {error.name}") from error
        raise SubjectUnavailable(f"subject {name!r}: importing {where}: {error}") from error
    except Exception as error:
        raise SubjectUnavailable(
            f"subject {name!r}: importing {where} raised {type(error).__name__}: {error}"
        ) from error
