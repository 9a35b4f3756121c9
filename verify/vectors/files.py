"""Files of vectors: given arrays, expected ones with a bound of each entry, caught mistakes.

Numbers are exact: hexadecimal floats, which C, Java, Python and others read. Bounds are decimal,
rounded up. ``SCHEMA`` is the version; unknown fields are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...reference.arrays import Floats
from ...reference.functions import Array
from ..conventions import formula
from ..mutants import mutants
from ..runs.npz import read_npz
from ..runs.provenance import versions
from ..runs.records import RunFileError, text
from ..subjects.framework import FrameworkSubject
from . import weights
from .selection import Selection
from .vector import Vector

SCHEMA = "gatewise.vectors/1"
FILE = "vectors.json"
EQUATIONS = "equations"


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """An argument of the layer, entries in C order."""

    shape: tuple[int, ...]
    values: list[str]


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """An expected array: each entry within its bound of its value; a bound of inf allows all."""

    shape: tuple[int, ...]
    values: list[str]
    bounds: list[str]


class Test(msgspec.Struct, forbid_unknown_fields=True):
    """One call: sizes, given and expected arrays, and the mistakes that it catches.

    ``comment`` gives its purpose; ``outputs_catch`` are the mistakes that it catches without
    gradients.
    """

    __test__ = False  # not a test class of pytest

    id: int
    comment: str
    T: int
    B: int
    D: int
    H: int
    layers: int
    bidirectional: bool
    catches: list[str]
    outputs_catch: list[str]
    given: dict[str, Given]
    expected: dict[str, Wanted]


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """A mistake of the catalogue: its statement, and the real defect that it is modelled on."""

    mistake: str
    source: str


class Vectors(msgspec.Struct, forbid_unknown_fields=True):
    """A file of vectors of one cell in one dtype.

    ``weights`` is the layout of parameters: that of the equations, W (G, D, H), U (G, H, H), b (G,
    H), with the suffix of layer and direction (``_l0_reverse``), or a framework's; ``equations``
    are then its formula. ``missed`` are the mistakes that larger vectors would show, ``not_shown``
    those that no vectors can, with the reasons.
    """

    schema: str
    cell: str
    dtype: str
    weights: str
    equations: tuple[str, ...]
    versions: dict[str, str]
    notes: dict[str, Note]
    missed: dict[str, str]
    not_shown: dict[str, str]
    tests: list[Test]


def vectors(selection: Selection) -> Vectors:
    """Return the file of a selection."""
    catalogue = {mutant.id: mutant for mutant in mutants()}
    notes = {
        id: Note(catalogue[id].statement, catalogue[id].models) for id in sorted(selection.catches)
    }
    adapter = selection.adapter
    tests = [_test(number, v, adapter) for number, v in enumerate(selection.vectors, 1)]
    return Vectors(
        SCHEMA, selection.cell, selection.dtype, adapter.name if adapter else EQUATIONS,
        formula.plain(adapter.convention) if adapter else (), versions(), notes,
        dict(selection.missed), dict(selection.unseen), tests,
    )  # fmt: skip


def _test(number: int, vector: Vector, adapter: FrameworkSubject | None) -> Test:
    case = vector.case
    arguments = {
        name: Given(a.shape, _exact(a)) for name, a in weights.given_arrays(vector, adapter).items()
    }
    expected = {
        name: Wanted(want.value.shape, _exact(want.value), _above(want.bound))
        for name, want in weights.expected(vector, adapter).items()
    }
    return Test(
        number, vector.reason, case.T, case.B, case.D, case.H, case.layers, case.bidirectional,
        sorted(vector.catches), sorted(vector.in_outputs), arguments, expected,
    )  # fmt: skip


def _exact(array: Array) -> list[str]:
    return [_hexadecimal(float(value)) for value in np.asarray(array, np.float64).flat]


def _hexadecimal(value: float) -> str:
    """Return a float's shortest hexadecimal form: 0x1.8p+0."""
    head, p, exponent = value.hex().partition("p")
    return head.rstrip("0").rstrip(".") + p + exponent if p else head


def _above(bounds: Floats) -> list[str]:
    """Return bounds with three digits, rounded up."""
    texts = []
    for bound in map(float, np.asarray(bounds).flat):
        text = f"{bound:.2e}"
        if float(text) < bound:
            text = f"{math.nextafter(bound * 1.01, math.inf):.2e}"
        texts.append(text if bound else "0")
    return texts


def write(folder: Path, document: Vectors) -> Path:
    """Write a file of vectors into a folder, which is created; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=0) + b"\n")
    return path


def arrays(document: Vectors) -> dict[str, Array]:
    """Return all arrays by test and name, for ``npz`` and ``safetensors``."""
    named: dict[str, Array] = {}
    for test in document.tests:
        for name, array in test.given.items():
            named[f"{test.id}/given/{name}"] = numbers(array.values, array.shape)
        for name, expected in test.expected.items():
            named[f"{test.id}/expected/{name}"] = numbers(expected.values, expected.shape)
            named[f"{test.id}/bound/{name}"] = numbers(expected.bounds, expected.shape)
    return named


def numbers(values: list[str], shape: tuple[int, ...]) -> Floats:
    """Return an array of numbers from their text, hexadecimal or decimal."""
    entries = [float.fromhex(v) if "x" in v else float(v) for v in values]
    return np.array(entries, np.float64).reshape(shape)


def read(folder: Path) -> Vectors:
    """Read an untrusted file of vectors; raise RunFileError with a reason if it is invalid."""
    path = folder / FILE if folder.is_dir() else folder
    try:
        document = msgspec.json.decode(text(path), type=Vectors)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunFileError(f"{path}: no file of vectors ({error})") from error
    if document.schema != SCHEMA:
        raise RunFileError(f"{path}: schema {document.schema!r}, expected {SCHEMA!r}")
    for test in document.tests:
        for name, array in test.given.items():
            _check(f"{path}: test {test.id}, {name}", array)
        for name, expected in test.expected.items():
            _check(f"{path}: test {test.id}, {name}", expected)
    return document


def _check(where: str, array: Given | Wanted) -> None:
    """Raise RunFileError for a wrong number of entries, or entries that are not numbers."""
    lists = [array.values, *([array.bounds] if isinstance(array, Wanted) else [])]
    count = math.prod(array.shape)
    if min(array.shape, default=0) < 0 or any(len(entries) != count for entries in lists):
        raise RunFileError(f"{where}: the number of its entries does not fit its shape")
    try:
        for entries in lists:
            numbers(entries, array.shape)
    except (ValueError, OverflowError) as error:
        raise RunFileError(f"{where}: {error}") from error


def outputs(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Read a program's outputs for vectors: arrays by test and name.

    A JSON object ``{"1": {"y": [[...]], ...}}`` with numbers or hexadecimal strings, or an ``npz``
    with arrays named ``1/y``. Raises RunFileError with a reason for an invalid file.
    """
    if path.suffix == ".npz":
        return _of_npz(path)
    try:
        by_test = msgspec.json.decode(text(path), type=dict[str, dict[str, Any]])
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunFileError(f"{path}: no outputs of vectors ({error})") from error
    return {test: {n: _array(path, test, n, a) for n, a in named.items()}
            for test, named in by_test.items()}  # fmt: skip


def _of_npz(path: Path) -> dict[str, dict[str, Array]]:
    try:
        flat = read_npz(path)
    except ValueError as error:
        raise RunFileError(f"{path}: no file of arrays ({error})") from error
    named: dict[str, dict[str, Array]] = {}
    for name, array in flat.items():
        test, _, quantity = name.partition("/")
        named.setdefault(test, {})[quantity] = array
    return named


def _array(path: Path, test: str, name: str, value: Any) -> Floats:
    def plain(entry: Any) -> Any:
        if isinstance(entry, list):
            return [plain(e) for e in entry]
        return float.fromhex(entry) if isinstance(entry, str) else float(entry)

    try:
        return np.array(plain(value), np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RunFileError(f"{path}: test {test}, {name}: no array of numbers ({error})") from error
