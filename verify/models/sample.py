"""The inputs of a model that a file of arrays holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..runs.npz import read_npz
from ..subjects.loader import UnknownSubject


def sample(path: Path, wanted: Mapping[str, np.dtype[Any]]) -> dict[str, Floats]:
    """Return a model's inputs by name, in the dtypes that are wanted.

    UnknownSubject if the file holds others, or numbers of another kind.
    """
    where = f"--inputs {path}"
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise UnknownSubject(f"{where}: cannot be read: {error}") from error
    missing, unknown = wanted.keys() - arrays.keys(), arrays.keys() - wanted.keys()
    if missing or unknown:
        what = f"no {', '.join(sorted(missing))}" if missing else f"{', '.join(sorted(unknown))}"
        raise UnknownSubject(f"{where}: {what}; the model's inputs are {', '.join(wanted)}")
    for name, dtype in wanted.items():
        if arrays[name].dtype.kind != dtype.kind and arrays[name].dtype != dtype:
            raise UnknownSubject(f"{where}: {name} is {arrays[name].dtype}, expected {dtype}")
    return {name: arrays[name].astype(dtype) for name, dtype in wanted.items()}
