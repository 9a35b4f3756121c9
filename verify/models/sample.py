"""Inputs of a model from a file of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..runs.npz import read_npz
from ..subjects.loader import UnknownSubject


def sample(path: Path, dtypes: Mapping[str, np.dtype[Any]]) -> dict[str, Floats]:
    """Return a model's inputs by name, in its dtypes.

    Raises UnknownSubject if the file holds others, or numbers of another kind.
    """
    where = f"--inputs {path}"
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise UnknownSubject(f"{where}: cannot be read: {error}") from error
    missing, unknown = dtypes.keys() - arrays.keys(), arrays.keys() - dtypes.keys()
    if missing or unknown:
        names = f"no {', '.join(sorted(missing))}" if missing else f"{', '.join(sorted(unknown))}"
        raise UnknownSubject(f"{where}: {names}; the model's inputs are {', '.join(dtypes)}")
    for name, dtype in dtypes.items():
        if arrays[name].dtype.kind != dtype.kind and arrays[name].dtype != dtype:
            raise UnknownSubject(f"{where}: {name} is {arrays[name].dtype}, expected {dtype}")
    return {name: arrays[name].astype(dtype) for name, dtype in dtypes.items()}
