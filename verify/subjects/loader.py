"""Import the object that a SUBJECT names: from a file, a module or an installed package."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from types import ModuleType
from typing import Any

from ..runs.exception_text import exception_text
from .protocol import SubjectUnavailable

ENTRY_POINTS = "gatewise.subjects"


class UnknownSubject(ValueError):
    """A name that stands for no subject; the message says why."""


@dataclass(frozen=True)
class Loaded:
    """An object, and source lines that import it as ``Layer`` in a stand-alone script."""

    value: Any
    import_lines: str


def registered() -> dict[str, Any]:
    """Return the entry points by which installed packages offer subjects."""
    from importlib.metadata import entry_points  # it imports much, and few names lead here

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def is_file(name: str) -> bool:
    """Whether a subject's name is a path of a Python file, with or without a class."""
    return name.rpartition(":")[0].endswith(".py") or name.endswith(".py")


def files(name: str) -> list[str]:
    """Return the subjects for which a folder or a path with wildcards stands; [] for one name."""
    where, colon, attribute = name.rpartition(":")
    where = where or name
    member = f":{attribute}" if colon and where != name else ""
    if Path(where).is_dir():
        paths = sorted(Path(where).glob("*.py"))
        missing = f"{where}: the folder has no Python file"
    elif set(where) & set("*?[") and ("/" in where or where.endswith(".py")):
        paths = sorted(map(Path, glob(where, recursive=True)))
        missing = f"{where}: there is no such file"
    else:
        return []
    if not paths:
        raise UnknownSubject(missing)
    return [f"{path}{member}" for path in paths]


WEIGHTS = (
    "convert weights alone with: gatewise convert; explain weights with an input and an output "
    "with: gatewise explain"
)
INSTEAD = {
    ".tflite": "hold a node of it with: gatewise verify model.tflite --node NAME",
    ".onnx": "hold a node of it with: gatewise verify model.onnx --node NAME",
    ".ipynb": "copy the class into a Python file",
    **dict.fromkeys((".safetensors", ".npz", ".npy", ".h5", ".keras", ".pt", ".pth"), WEIGHTS),
}  # fmt: skip
"""Advice for files that hold no class, by their suffix."""

PROGRAMS = "process"
"""The family of programs, the word before the colon of ``process:COMMAND``."""

PROGRAM = "a program in any language that answers lines of JSON is: process:COMMAND"
"""Advice for all other files."""


def refuse_data(name: str) -> None:
    """Raise UnknownSubject for a file that is no Python file, with advice."""
    where = name.rpartition(":")[0] or name
    suffix = Path(where).suffix.lower()
    if suffix == ".py" or not (suffix in INSTEAD or Path(where).is_file()):
        return
    instead = INSTEAD.get(suffix, PROGRAM)
    raise UnknownSubject(
        f"subject {name!r}: {where} is no Python file; a path may be a folder, path/to/file.py or "
        f"path/to/file.py:Name. {instead[0].upper()}{instead[1:]}"
    )


def load(name: str) -> Loaded:
    """Import the object of ``path/to/file.py:Name`` or ``package.module:Name``.

    ``path/to/file.py`` alone stands for the one class with ``forward`` that it defines.
    """
    where, colon, attribute = name.rpartition(":")
    if name.endswith(".py"):
        where, attribute = name, ""
    elif not colon or not where or not attribute or where.endswith(":"):
        raise UnknownSubject(f"subject {name!r}: expected path/to/file.py:Name or module:Name")
    if where.endswith(".py") or "/" in where:
        path = Path(where).expanduser().resolve()
        module = _module_from(path, name)
        attribute = attribute or _only_layer(module, name)
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


def _only_layer(module: ModuleType, name: str) -> str:
    """Return the name of the one class with ``forward`` that a module defines."""
    layers = [
        key for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
        and callable(getattr(value, "forward", None))
    ]  # fmt: skip
    if not layers:
        raise UnknownSubject(
            f"subject {name!r}: it defines no class with forward; say which class or function is "
            f"meant, as in {name}:MyLSTM"
        )
    if len(layers) > 1:
        raise UnknownSubject(f"subject {name!r}: say which of {', '.join(layers)}, as in "
                             f"{name}:{layers[0]}")  # fmt: skip
    return layers[0]


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
            f"subject {name!r}: importing {path} raised {exception_text(error)}"
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
            f"subject {name!r}: importing {where} raised {exception_text(error)}"
        ) from error


def says_its_cell(value: object) -> bool:
    """Whether an object has a ``cell``; a method of that name, which takes self, says nothing."""
    cell = getattr(value, "cell", None)
    if not inspect.isfunction(cell):
        return hasattr(value, "cell")
    return next(iter(inspect.signature(cell).parameters), "") != "self"
