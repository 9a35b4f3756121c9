"""Published vectors of WebNN's conformance tests: a script with a literal array of tests.

The array (``const gruTests = [...]``) is parsed as data and nothing is run. Operators are gru,
gruCell, lstm and lstmCell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..models.content import ORDERS
from ..models.nodes import DEFAULTS, Node
from .audit import NotAudited, PublishedTest, Tolerance
from .operators import published_test

LARGEST = 2**24
"""Bytes of a script."""

DEEPEST = 40
"""Largest depth of nested literals."""

START = re.compile(r"\b(?:const|let|var)\s+\w*[Tt]ests\s*=\s*(?=\[)")
TOKEN = re.compile(
    r"""\s+|//[^\n]*|/\*.*?\*/|(?P<mark>[\[\]{}:,])|(?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    r"""|(?P<number>[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?))|(?P<word>[-\w$]+)""",
    re.DOTALL,
)
WORDS = {"true": True, "false": False, "null": None, "undefined": None, "NaN": float("nan"),
         "Infinity": float("inf"), "-Infinity": float("-inf")}  # fmt: skip
ULPS = re.compile(r"\b(float\d+):\s*(\d+)")
OPERATORS = {"gru": "GRU", "gruCell": "GRU", "lstm": "LSTM", "lstmCell": "LSTM"}
DIRECTIONS = {"forward": "forward", "backward": "reverse", "both": "bidirectional"}
STATES = (("initialHiddenState", "hiddenState"), ("initialCellState", "cellState"))
"""The names of the initial states, those of cells last."""


def read(path: Path, tolerance: Tolerance | None) -> Iterator[PublishedTest | NotAudited]:
    """Yield the tests of a script, or NotAudited for an unsupported one; raise it without tests."""
    if path.stat().st_size > LARGEST:
        raise NotAudited(f"{path}: larger than {LARGEST} bytes")
    text = path.read_text(encoding="utf-8", errors="replace")
    start = START.search(text)
    if start is None:
        raise NotAudited(f"{path}: no array of tests, as in const gruTests = [...]")
    try:
        tests = _Literal(text, start.end()).value()
    except (ValueError, IndexError, OverflowError) as error:
        raise NotAudited(f"{path}: {error}") from error
    stated = ULPS.findall(text[: start.start()])
    tolerances = {dtype: Tolerance(ulp=float(ulps)) for dtype, ulps in stated}
    for number, test in enumerate(tests, 1):
        where = f"{path.name}, test {number}"
        try:
            vector = _published_test(test, where)
            default = tolerances.get(vector.case.dtype, Tolerance())
            yield replace(vector, tolerance=tolerance or default)
        except NotAudited as reason:
            yield reason
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            yield NotAudited(f"{where}: not a test of WebNN ({type(error).__name__}: {error})")


class _Literal:
    """A parser of JavaScript literals: arrays, objects, strings, numbers; else ValueError."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at

    def value(self, depth: int = 0) -> Any:
        """Return the value at the current position."""
        kind, mark = self._next()
        if depth > DEEPEST:
            raise ValueError(f"literals nested deeper than {DEEPEST}")
        if mark == "[":
            return list(self._items("]", lambda: self.value(depth + 1)))
        if mark == "{":
            return dict(self._items("}", lambda: self._pair(depth + 1)))
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", mark[1:-1])
        if kind == "number":
            return float(mark)
        if mark in WORDS:
            return WORDS[mark]
        raise ValueError(f"{mark[:40]!r} is no literal")

    def _pair(self, depth: int) -> tuple[str, Any]:
        kind, mark = self._next()
        key = mark[1:-1] if kind == "string" else mark
        if self._next()[1] != ":":
            raise ValueError(f"expected a colon after {key[:40]!r}")
        return key, self.value(depth)

    def _items(self, end: str, item: Any) -> Iterator[Any]:
        while True:
            start = self.at
            if self._next()[1] == end:
                return
            self.at = start
            yield item()
            mark = self._next()[1]
            if mark == end:
                return
            if mark != ",":
                raise ValueError(f"expected a comma or {end!r}, got {mark[:40]!r}")

    def _next(self) -> tuple[str, str]:
        """Return the next token and its kind, skipping blanks and comments."""
        while mark := TOKEN.match(self.text, self.at):
            self.at = mark.end()
            if mark.lastgroup:
                return mark.lastgroup, mark[0]
        raise ValueError(f"expected a literal, got {self.text[self.at : self.at + 20]!r}")


def _published_test(test: Mapping[str, Any], where: str) -> PublishedTest:
    """Return a test with its arrays as ONNX's operators have them."""
    graph = test["graph"]
    operator = graph["operators"][0]
    if operator["name"] not in OPERATORS or len(graph["operators"]) != 1:
        raise NotAudited(
            f"{where}: operator {operator['name']}: no single gru, gruCell, lstm or lstmCell"
        )
    kind, one_step = OPERATORS[operator["name"]], operator["name"].endswith("Cell")
    named = {key: value for pair in operator["arguments"] for key, value in pair.items()}
    options = named.get("options", {})
    arrays = {name: _array(entry) for name, entry in graph["inputs"].items()}

    def argument_of(*names: str) -> Floats | None:
        keys = (options.get(name, named.get(name)) for name in names)
        return next((arrays[key] for key in keys if isinstance(key, str) and key in arrays), None)

    x, W, R = (argument_of(name) for name in ("input", "weight", "recurrentWeight"))
    if x is None or W is None or R is None:
        raise NotAudited(f"{where}: input, weight or recurrentWeight is missing")
    x, W, R = (a[None] if one_step else a for a in (x, W, R))
    direction = DIRECTIONS[options.get("direction", "forward")]
    passes, H = 1 + (direction == "bidirectional"), R.shape[-1]
    biases = (argument_of("bias"), argument_of("recurrentBias"))
    halves = [np.zeros(W.shape[:2], x.dtype) if b is None else b.reshape(passes, -1)
              for b in biases]  # fmt: skip
    weights = {"W": W, "R": R, "B": np.concatenate(halves, axis=1)}
    peephole = argument_of("peepholeWeight")
    if peephole is not None and np.any(peephole):
        weights["P"] = peephole.reshape(passes, -1)
    node = Node(
        where, kind, direction=direction, weights=weights,
        activations=DEFAULTS[kind] * passes,
        reset_after=kind == "GRU" and options.get("resetAfter", True),
    )  # fmt: skip
    given = {"X": x}
    for state, names in zip(node.states, STATES, strict=False):
        if (initial := argument_of(*names)) is not None:
            given[f"initial_{state}"] = initial.reshape(passes, x.shape[1], H)
    rectified = _has_relu(options.get("activations"), kind, where)
    order = str(options.get("layout", ORDERS["onnx"][node.family]))
    return published_test(
        f"{where}: {test.get('name', '')}", "WebNN", node, given,
        _outputs(graph, operator["outputs"], node, one_step=one_step), Tolerance(),
        order=order, rectified=rectified,
    )  # fmt: skip


def _has_relu(activations: Any, kind: str, where: str) -> bool:
    """Return whether all activations are ReLU; raise NotAudited for unsupported ones."""
    if activations in (None, [usual.name.lower() for usual in DEFAULTS[kind]]):
        return False
    if {*activations} == {"relu"}:
        return True
    raise NotAudited(f"{where}: activations {', '.join(map(str, activations))}: no such cell here")


def _array(entry: Mapping[str, Any]) -> Floats:
    """Return an array of a test, in its dtype."""
    dtype = entry["descriptor"]["dataType"]
    if dtype not in ("float32", "float16"):
        raise NotAudited(f"arrays of {dtype} are not read")
    shape = tuple(int(n) for n in entry["descriptor"]["shape"])
    data = entry["data"]
    values = np.asarray(data, np.float64)
    full = np.full(shape, values) if values.ndim == 0 else values.reshape(shape)
    return full.astype(dtype)


def _outputs(
    graph: Mapping[str, Any], outputs: Any, node: Node, *, one_step: bool
) -> dict[str, Floats]:
    """Return the outputs by ONNX's names: final states, then the sequence if it is returned."""
    names = [*(f"Y_{state}" for state in node.states), "Y"]
    listed = outputs if isinstance(outputs, list) else [outputs]
    arrays = {
        name: _array(graph["expectedOutputs"][output])
        for name, output in zip(names, listed, strict=False)
    }
    return {name: array[None] if one_step else array for name, array in arrays.items()}
