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
from ...reference.functions import Array
from ..cases.case import LARGEST_SIZE, Case
from ..conventions import Convention, formula
from ..conventions.parameter_map import ConventionMap
from ..subjects.protocol import Inputs
from .audit import Allowed, Published, Unread

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
OPERATORS = {"gru": "gru", "gruCell": "gru", "lstm": "lstm", "lstmCell": "lstm"}
USUAL = {"gru": ["sigmoid", "tanh"], "lstm": ["sigmoid", "tanh", "tanh"]}
ORDERS = {"gru": "zrn", "lstm": "iofg"}


def read(path: Path, allowed: Allowed | None) -> Iterator[Published | Unread]:
    """Yield the tests of a script, or Unread for unsupported ones; raise Unread without tests."""
    if path.stat().st_size > LARGEST:
        raise Unread(f"{path}: larger than {LARGEST} bytes")
    text = path.read_text(encoding="utf-8", errors="replace")
    start = START.search(text)
    if start is None:
        raise Unread(f"{path}: no array of tests, as in const gruTests = [...]")
    try:
        tests = _Literal(text, start.end()).value()
    except (ValueError, IndexError, OverflowError) as error:
        raise Unread(f"{path}: {error}") from error
    tolerances = {dtype: Allowed(ulp=float(n)) for dtype, n in ULPS.findall(text[: start.start()])}
    for number, test in enumerate(tests, 1):
        where = f"{path.name}, test {number}"
        try:
            vector = _published(test, where)
            yield replace(vector, allowed=allowed or tolerances.get(vector.case.dtype, Allowed()))
        except Unread as reason:
            yield reason
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            yield Unread(f"{where}: not a test of WebNN ({type(error).__name__}: {error})")


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


def _published(test: Mapping[str, Any], where: str) -> Published:
    graph = test["graph"]
    operator = graph["operators"][0]
    kind = operator["name"]
    if kind not in OPERATORS or len(graph["operators"]) != 1:
        raise Unread(f"{where}: operator {kind}: no single gru, gruCell, lstm or lstmCell")
    family, cell = OPERATORS[kind], kind.endswith("Cell")
    named = {key: value for pair in operator["arguments"] for key, value in pair.items()}
    options = named.get("options", {})
    arrays = {name: _array(entry) for name, entry in graph["inputs"].items()}

    def argument(name: str) -> Array | None:
        key = options.get(name, named.get(name))
        return arrays.get(key) if isinstance(key, str) else None

    peephole = argument("peepholeWeight")
    c = _convention(family, options, peephole)
    x, W, R = (argument(name) for name in ("input", "weight", "recurrentWeight"))
    if x is None or W is None or R is None:
        raise Unread(f"{where}: input, weight or recurrentWeight is missing")
    x, W, R = (a[None] if cell else a for a in (x, W, R))
    direction = options.get("direction", "forward")
    both = direction == "both"
    H = R.shape[-1]
    state = _state(argument, x, 1 + both, H, len(c.states))
    case = Case(
        x.shape[0], x.shape[1], x.shape[2], H, bidirectional=both,
        state=state is not None, dtype=x.dtype.name,
    )  # fmt: skip
    if max((*x.shape, H)) > LARGEST_SIZE or not x.size:
        raise Unread(f"{where}: arrays of these shapes are not read")
    stored = {"weight_ih": W, "weight_hh": R}
    for name, bias in (("bias_ih", argument("bias")), ("bias_hh", argument("recurrentBias"))):
        stored[name] = np.zeros(W.shape[:2], x.dtype) if bias is None else bias
    if c.peepholes:
        stored["peephole"] = peephole
    parameters = _parameters(stored, 1 + both, R.shape)
    expected = _expected(graph, operator["outputs"], case, family, cell)
    if direction == "backward":
        x = x[::-1]
        expected = {n: a[::-1] if n == "y" else a for n, a in expected.items()}
    rectified = _rectified(options.get("activations", USUAL[family]), family, where)
    parameter_map = ConventionMap(c, case)
    if {n: np.shape(a) for n, a in parameters.items()} != dict(
        parameter_map.shapes()
    ) or c.cell is None:
        raise Unread(f"{where}: its weights have other shapes than WebNN says")
    words = formula.summary(c) + ", all activations ReLU" * rectified
    inputs = Inputs(parameters, x, state, None)
    name = f"{where}: {test.get('name', '')}"
    return Published(
        name, c.cell, case, parameter_map, inputs, expected, Allowed(), words, rectified
    )


def _parameters(
    stored: Mapping[str, Array], passes: int, recurrent: tuple[int, ...]
) -> dict[str, Array]:
    """Return the arrays of all directions by the convention's names; vectors may be flat."""
    named = {}
    for place, suffix in zip(range(passes), ("_l0", "_l0_reverse"), strict=False):
        for name, array in stored.items():
            by_pass = array if array.ndim == len(recurrent) else array.reshape(passes, -1)
            named[f"{name}{suffix}"] = by_pass[place]
    return named


def _rectified(activations: Any, family: str, where: str) -> bool:
    """Return whether all activations are ReLU; raise Unread for unsupported ones."""
    if {*activations} == {"relu"}:
        return True
    if activations != USUAL[family]:
        raise Unread(f"{where}: activations {', '.join(map(str, activations))}: no such cell here")
    return False


def _array(entry: Mapping[str, Any]) -> Array:
    """Return an array of a test, in its dtype."""
    dtype = entry["descriptor"]["dataType"]
    if dtype not in ("float32", "float16"):
        raise Unread(f"arrays of {dtype} are not read")
    shape = tuple(int(n) for n in entry["descriptor"]["shape"])
    data = entry["data"]
    values = np.asarray(data, np.float64)
    full = np.full(shape, values) if values.ndim == 0 else values.reshape(shape)
    return full.astype(dtype)


def _convention(family: str, options: Mapping[str, Any], peephole: Array | None) -> Convention:
    """Return the convention: order of gates, two biases, the GRU's reset, peepholes unless 0."""
    order = str(options.get("layout", ORDERS[family]))
    after = family == "gru" and options.get("resetAfter", True)
    others: dict[str, Any] = {}
    if family == "gru":
        others["reset"] = "after" if after else "before"
    if peephole is not None and np.any(peephole):
        others["peepholes"] = "iof"
    second = order.replace("n", "m") if after else order
    states = ("h", "c") if family == "lstm" else ("h",)
    return Convention(family, order, bias=(order, second), states=states, merge="axis", **others)


def _state(argument: Any, x: Array, passes: int, H: int, count: int) -> tuple[Array, ...] | None:
    """Return the initial states (passes, B, H), zeros for a missing one; None without any."""
    names = (("initialHiddenState", "hiddenState"), ("initialCellState", "cellState"))[:count]
    initial = [
        next((a for a in map(argument, aliases) if a is not None), None) for aliases in names
    ]
    if all(s is None for s in initial):
        return None
    shape = (passes, x.shape[1], H)
    return tuple(np.zeros(shape, x.dtype) if s is None else s.reshape(shape) for s in initial)


def _expected(
    graph: Mapping[str, Any], outputs: Any, case: Case, family: str, cell: bool
) -> dict[str, Floats]:
    """Return the outputs by name: final states, then the sequence if it is returned."""
    names = ["final h", *(["final c"] if family == "lstm" else []), "y"]
    listed = outputs if isinstance(outputs, list) else [outputs]
    expected = {}
    for name, output in zip(names, listed, strict=False):
        array = _array(graph["expectedOutputs"][output]).astype(np.float64)
        if name == "y":  # (T, directions, B, H)
            width = case.directions * case.H
            array = np.moveaxis(array, 1, 2).reshape(case.T, case.B, width)
        elif cell:
            array = array[None]
        expected[name] = array
    return expected
