"""Readers of published vectors that can be audited.

They are node tests of ONNX, WebNN's conformance tests, gatewise's own vectors, and plain arrays,
whose convention is identified as by ``explain``. All are untrusted data: parsed, bounded in size,
and never run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import cell_named
from ..cases.case import Case
from ..conventions import formula
from ..conventions.parameter_map import ExplicitMap, ParameterMap
from ..identification.example import examples
from ..identification.explanation import explain
from ..identification.probe import Unreadable
from ..identification.recorded import Recorded
from ..runs.records import RunFileError
from ..subjects.framework import FrameworkSubject
from ..subjects.protocol import Inputs
from . import files, public_onnx, public_webnn, weights
from .audit import NotAudited, PublishedTest, Tolerance

INSTALLED = "onnx:"
"""Stands for the node tests of the installed package of ONNX."""

ARRAYS = (".npz", ".safetensors", ".json")
SCRIPTS = (".js", ".mjs", ".html")
CLOSE = Tolerance(atol=1e-8, rtol=1e-5)
"""The default tolerance of ``numpy.allclose``."""


@dataclass(frozen=True)
class PlainArrays:
    """Options of plain arrays: their reader, cell, and number of printed places.

    ``arrays`` raises ValueError for a file without arrays; ``cell`` is rnn, lstm or gru.
    """

    arrays: Callable[[Path], Mapping[str, Floats]]
    cell: str = ""
    printed: int | None = None


def read(
    path: Path, plain: PlainArrays, tolerance: Tolerance | None
) -> Iterator[PublishedTest | NotAudited]:
    """Yield the tests of a folder or a file, or NotAudited for a test that is not supported."""
    tests: Iterator[PublishedTest | NotAudited]
    if str(path) == INSTALLED:
        tests = public_onnx.installed(tolerance)
    elif path.is_dir():
        tests = _folder(path, plain, tolerance)
    elif not path.is_file():  # a pipe would be waited for
        raise NotAudited(f"{path}: there is no such file")
    elif path.suffix in SCRIPTS:
        tests = public_webnn.read(path, tolerance)
    elif path.suffix == ".json" and _is_gatewise(path):
        tests = _gatewise(path, tolerance)
    elif path.suffix in ARRAYS:
        tests = _plain(path, plain, tolerance)
    else:
        suffixes = ", ".join((*SCRIPTS, *ARRAYS))
        raise NotAudited(f"{path}: expected a folder, {INSTALLED}, or one of {suffixes}")
    yield from tests


def _folder(
    path: Path, plain: PlainArrays, tolerance: Tolerance | None
) -> Iterator[PublishedTest | NotAudited]:
    inside = public_onnx.folders(path)
    for folder in inside:
        try:
            yield from public_onnx.read(folder, tolerance)
        except NotAudited as reason:
            yield reason
    if inside:
        return
    kinds = (files.FILE,) if (path / files.FILE).is_file() else (*SCRIPTS, *ARRAYS)
    paths = [file for file in sorted(path.iterdir()) if file.name.endswith(kinds)]
    if not paths:
        raise NotAudited(f"{path}: no node tests, vectors, scripts or arrays in it")
    for file in paths:
        try:
            yield from read(file, plain, tolerance)
        except NotAudited as reason:
            yield reason


def _is_gatewise(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"gatewise.vectors/' in file.read(200)


def _gatewise(path: Path, tolerance: Tolerance | None) -> Iterator[PublishedTest]:
    """Yield gatewise's own vectors, with their bounds unless a tolerance is allowed."""
    try:
        document = files.read(path)
    except RunFileError as error:
        raise NotAudited(str(error)) from error
    for test in document.tests:
        yield of_test(document, test, tolerance)


def of_test(
    document: files.Vectors, test: files.Test, tolerance: Tolerance | None = None
) -> PublishedTest:
    """Return one of gatewise's own vectors; those in a convention lack gradients of weights."""
    name, final = f"test {test.id}: {test.comment}", test.expected.get("final h")
    width = final.shape[-1] if final is not None and final.shape else test.H
    sizes = {"T": test.T, "B": test.B, "D": test.D, "H": test.H, "layers": test.layers,
             "P": width if width < test.H else 0, "bidirectional": test.bidirectional,
             "lengths": "lengths" in test.given, "state": "initial h" in test.given,
             "dtype": document.dtype}  # fmt: skip
    try:
        case = Case.from_json(json.dumps(sizes))
        cell_named(document.cell)
        adapter, parameter_map, stems = _convention(document, case)
        arrays = _numbers(test.given, adapter, stems)
        expected = _numbers(test.expected, adapter)
        limits = {n: files.Given(w.shape, w.bounds) for n, w in test.expected.items()}
        bounds = _numbers(limits, adapter)
    except ValueError as error:  # Unfit is a ValueError
        raise NotAudited(f"{name}: {error}") from error
    none = np.zeros(0)
    missing = [
        n for n, shape in parameter_map.shapes().items() if np.shape(arrays.get(n, none)) != shape
    ]
    if missing or np.shape(arrays.get("x", none))[:2] != (test.T, test.B):
        raise NotAudited(f"{name}: {', '.join(missing) or 'x'}: is missing or has another shape")
    states = [array for n, array in arrays.items() if n.startswith("initial ")]
    lengths = arrays["lengths"].astype(int) if case.lengths else None
    parameters = {n: arrays[n].astype(case.number_type) for n in parameter_map.shapes()}
    inputs = Inputs(parameters, arrays["x"], tuple(states) or None, lengths)
    finals = tuple(a for n, a in arrays.items() if n.startswith("cotangent of final "))
    back = (arrays["cotangent of y"], finals) if "cotangent of y" in arrays else None
    return PublishedTest(
        name, document.cell, case, parameter_map, inputs, expected, tolerance or Tolerance(),
        cotangents=back, bounds=None if tolerance else bounds,
    )  # fmt: skip


def _convention(
    document: files.Vectors, case: Case
) -> tuple[FrameworkSubject | None, ParameterMap, list[str]]:
    """Return the adapter of a file's weights, their map, and the names of their arrays."""
    if document.weights == files.EQUATIONS:
        return None, ExplicitMap(document.cell, case), []
    try:
        adapter = weights.adapter(document.weights, document.cell)
    except ValueError as error:
        raise NotAudited(str(error)) from error
    parameter_map = adapter.parameter_map(case)
    return (
        adapter,
        parameter_map,
        [packed.name for packed in parameter_map.convention.arrays(bias=case.bias)],
    )


def _numbers(
    arrays: Mapping[str, files.Given] | Mapping[str, files.Wanted],
    adapter: FrameworkSubject | None,
    stems: Sequence[str] = (),
) -> dict[str, Floats]:
    named = {name: files.numbers(a.values, a.shape) for name, a in arrays.items()}
    return weights.from_file(named, adapter, stems)


def _plain(path: Path, plain: PlainArrays, tolerance: Tolerance | None) -> Iterator[PublishedTest]:
    """Yield the call of plain arrays, in the first convention that explains its outputs."""
    if not plain.cell:
        raise NotAudited(f"{path}: plain arrays: say what they are of: --cell rnn, lstm or gru")
    try:
        several = examples(plain.arrays(path), {}, plain.cell)
        if plain.printed is not None:
            several = [replace(e, printed=plain.printed) for e in several]
        explained = explain(plain.cell, several)
    except (Unreadable, ValueError) as error:
        raise NotAudited(f"{path.name}: {error}") from error
    fitting = [
        fit for fit in explained.comparisons if fit.outputs_fit and fit.convention.cell is not None
    ]
    if not fitting:
        worst = explained.nearest
        raise NotAudited(
            f"{path.name}: no convention gives these numbers; of the nearest one the worst is off "
            f"by {worst.residual:.2g}: gatewise explain says more"
        )
    fit = fitting[0]
    example = replace(fit.example, gradients={}, cotangents=None)
    recorded = Recorded(fit.candidate, example)
    result, case = recorded.result(), recorded.case
    names = ("y", *(f"final {state}" for state in recorded.states))
    expected = {
        name: np.asarray(array, np.float64)
        for name, array in zip(names, (result.y, *result.final), strict=True)
        if name in example.outputs
    }  # fmt: skip
    used_tolerance = tolerance or replace(CLOSE, atol=max(CLOSE.atol, example.unit))
    yield PublishedTest(
        path.name, str(fit.convention.cell), case, recorded.parameter_map(case), recorded.inputs,
        expected, used_tolerance, formula.summary(fit.convention), unit=example.unit,
    )  # fmt: skip
