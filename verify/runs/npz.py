"""The arrays of an untrusted ``.npz`` file: nothing in it is run, and little memory is taken."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ...reference.arrays import Floats

LARGEST, DENSEST = 2**30, 4
"""The most bytes of arrays, and the most per byte of the file; a zip bomb declares more."""

MOST = 4096
"""The most arrays of a file."""


def read_npz(path: Path) -> dict[str, Floats]:
    """Return the arrays by name; ValueError says in a sentence why they are not read."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ValueError("there is no such file")
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no npz file")
        with zipfile.ZipFile(path) as members:
            if len(members.infolist()) > MOST:
                raise ValueError(f"it holds more than {MOST} arrays")
            declared = sum(_declared(members, member) for member in members.infolist())
        if declared > max(LARGEST, DENSEST * path.stat().st_size):
            raise ValueError(
                f"it declares {declared / 2**30:.3g} GiB of arrays; at most {LARGEST / 2**30:g} "
                "GiB are read of such a file: save one layer and a short run"
            )
        with np.load(path, allow_pickle=False) as stored:
            return {name: np.asarray(stored[name]) for name in stored.files}
    except Exception as error:  # archives are read by many packages, each with errors of its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(reason) from error


def _declared(members: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Return the bytes that a member declares, in the directory or in its array's header."""
    if not member.filename.endswith(".npy"):
        raise ValueError(f"{member.filename}: it is no array")
    with members.open(member) as stream:
        major, _ = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
        shape, _, dtype = header(stream)
    if dtype.hasobject:
        name = member.filename.removesuffix(".npy")
        raise ValueError(
            f"{name}: it holds pickled objects, which are not loaded: save plain arrays"
        )
    return max(member.file_size, math.prod(shape) * dtype.itemsize)
