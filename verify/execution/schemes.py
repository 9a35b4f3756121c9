"""Names without an adapter: ``mutant:ID``, ``recording:DIR``, ``FILE.onnx#NODE``.

Importing the module registers them.
"""

from __future__ import annotations

from pathlib import Path

from ..runs.records import RunFileError
from ..subjects import FILES, SCHEMES
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import Subject


def _mutant(name: str) -> Subject:
    from ..mutants import mutant_named
    from ..mutants.quantised import quantised_named

    return quantised_named(name) or mutant_named(name)


def _recording(name: str) -> Subject:
    from ..recordings import files

    try:
        return files.subject(name, Path(name.removeprefix("recording:")))
    except (RunFileError, OSError) as error:
        raise UnknownSubject(f"subject {name!r}: {error}") from error


def _node(name: str) -> Subject:
    from ..models.subject import node_named

    return node_named(name)


SCHEMES |= {"mutant": _mutant, "recording": _recording}
FILES |= {".onnx": _node, ".tflite": _node}
