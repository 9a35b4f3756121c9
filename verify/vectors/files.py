"""Files of vectors: what is given, what is expected with a bound for each entry, what is caught.

Numbers are exact: hexadecimal floats, as C, Java, Python and others read them. Bounds are decimal,
rounded up. ``SCHEMA`` is the version; fields that it does not have are refused.
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
    """An array that the layer is called with, entries in C order."""

    shape: tuple[int, ...]
    values: list[str]


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """An array that is expected: each entry within its bound of its value; bound inf: anything."""

    shape: tuple[int, ...]
    values: list[str]
    bounds: list[str]


class Test(msgspec.Struct, forbid_unknown_fields=True):
    """One call: sizes, arrays, what is expected, and the mistakes that it catches.

    ``comment`` says what it is there for; ``outputs_catch`` are the mistakes that it catches
    without gradients.
    """

    __test__ = False  # pytest takes it for tests

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
    """A mistake of the catalogue: what it is, and the real defect that it is modelled on."""

    mistake: str
    source: str


class Vectors(msgspec.Struct, forbid_unknown_fields=True):
    """A file of vectors of one cell in one dtype.

    ``weights`` says how parameters lie: those of the equations, W (G, D, H), U (G, H, H), b (G, H),
    with the suffix of layer and direction (``_l0_reverse``), or those of a framework; ``equations``
    are then its formula. ``missed`` are the mistakes that larger vectors would show, ``not_shown``
    those that none can, and why.
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
    """Return a selection as it is written."""
    catalogue = {mutant.id: mutant for mutant in mutants()}
    notes = {
        id: Note(catalogue[id].statement, catalogue[id].models) for id in sorted(selection.catches)
    }
    own = selection.adapter
    tests = [_test(number, each, own) for number, each in enumerate(selection.vectors, 1)]
    return Vectors(
        SCHEMA, selection.cell, selection.dtype, own.name if own else EQUATIONS,
        formula.plain(own.convention) if own else (), versions(), notes, dict(selection.missed),
        dict(selection.unseen), tests,
    )  # fmt: skip


def _test(number: int, vector: Vector, own: FrameworkSubject | None) -> Test:
    case = vector.case
    given = {name: Given(a.shape, _exact(a)) for name, a in weights.given(vector, own).items()}
    expected = {
        name: Wanted(want.value.shape, _exact(want.value), _above(want.bound))
        for name, want in weights.expected(vector, own).items()
    }
    return Test(
        number, vector.reason, case.T, case.B, case.D, case.H, case.layers, case.bidirectional,
        sorted(vector.catches), sorted(vector.in_outputs), given, expected,
    )  # fmt: skip


def _exact(array: Array) -> list[str]:
    return [_hexadecimal(float(value)) for value in np.asarray(array, np.float64).flat]


def _hexadecimal(value: float) -> str:
    """Return a float's shortest hexadecimal form: 0x1.8p+0."""
    head, p, exponent = value.hex().partition("p")
    return head.rstrip("0").rstrip(".") + p + exponent if p else head


def _above(bounds: Floats) -> list[str]:
    """Return bounds with three digits, none smaller than it is."""
    written = []
    for bound in map(float, np.asarray(bounds).flat):
        shown = f"{bound:.2e}"
        if float(shown) < bound:
            shown = f"{math.nextafter(bound * 1.01, math.inf):.2e}"
        written.append(shown if bound else "0")
    return written


def write(folder: Path, document: Vectors) -> Path:
    """Write a file of vectors into a folder, which is made; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=0) + b"\n")
    return path


def arrays(document: Vectors) -> dict[str, Array]:
    """Return every array by test and name, as ``npz`` and ``safetensors`` hold them."""
    named: dict[str, Array] = {}
    for test in document.tests:
        for name, given in test.given.items():
            named[f"{test.id}/given/{name}"] = numbers(given.values, given.shape)
        for name, wanted in test.expected.items():
            named[f"{test.id}/expected/{name}"] = numbers(wanted.values, wanted.shape)
            named[f"{test.id}/bound/{name}"] = numbers(wanted.bounds, wanted.shape)
    return named


def numbers(values: list[str], shape: tuple[int, ...]) -> Floats:
    """Return an array of numbers that were written, hexadecimal or decimal."""
    read = [float.fromhex(v) if "x" in v else float(v) for v in values]
    return np.array(read, np.float64).reshape(shape)


def read(folder: Path) -> Vectors:
    """Read a file of vectors, as untrusted input; RunFileError says what is wrong with it."""
    path = folder / FILE if folder.is_dir() else folder
    try:
        document = msgspec.json.decode(text(path), type=Vectors)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunFileError(f"{path}: no file of vectors ({error})") from error
    if document.schema != SCHEMA:
        raise RunFileError(f"{path}: schema {document.schema!r}, expected {SCHEMA!r}")
    for test in document.tests:
        for name, given in test.given.items():
            _hold(f"{path}: test {test.id}, {name}", given)
        for name, wanted in test.expected.items():
            _hold(f"{path}: test {test.id}, {name}", wanted)
    return document


def _hold(where: str, array: Given | Wanted) -> None:
    """Refuse an array whose entries are not as many as its shape says, or no numbers."""
    lists = [array.values, *([array.bounds] if isinstance(array, Wanted) else [])]
    count = math.prod(array.shape)
    if min(array.shape, default=0) < 0 or any(len(each) != count for each in lists):
        raise RunFileError(f"{where}: its entries are not as many as its shape says")
    try:
        for each in lists:
            numbers(each, array.shape)
    except (ValueError, OverflowError) as error:
        raise RunFileError(f"{where}: {error}") from error


def outputs(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Read what a program made of vectors: arrays by test and name.

    A JSON object ``{"1": {"y": [[...]], ...}}`` with numbers or hexadecimal strings, or an ``npz``
    whose arrays are called ``1/y``. RunFileError says what is wrong with it.
    """
    if path.suffix == ".npz":
        return _of_npz(path)
    try:
        said = msgspec.json.decode(text(path), type=dict[str, dict[str, Any]])
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunFileError(f"{path}: no outputs of vectors ({error})") from error
    return {test: {n: _array(path, test, n, a) for n, a in named.items()}
            for test, named in said.items()}  # fmt: skip


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
            return [plain(each) for each in entry]
        return float.fromhex(entry) if isinstance(entry, str) else float(entry)

    try:
        return np.array(plain(value), np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RunFileError(f"{path}: test {test}, {name}: no array of numbers ({error})") from error
