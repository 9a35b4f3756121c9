"""Names that no adapter owns, ``mutant:ID`` and ``recording:DIR``: imported to be known."""

from __future__ import annotations

from pathlib import Path

from ..runs.records import RunFileError
from ..subjects import SCHEMES
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import Subject


def _mutant(name: str) -> Subject:
    from ..mutants import mutant_named

    return mutant_named(name)


def _recording(name: str) -> Subject:
    from ..recordings import files

    try:
        return files.subject(name, Path(name.removeprefix("recording:")))
    except (RunFileError, OSError) as error:
        raise UnknownSubject(f"subject {name!r}: {error}") from error


SCHEMES |= {"mutant": _mutant, "recording": _recording}
