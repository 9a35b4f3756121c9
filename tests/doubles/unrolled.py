"""Steps of recurrent layers as exporters unroll them: Gemm, Split, Sigmoid, Tanh, Mul, Add."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from model_files import Arrays

OPS = Sequence[tuple[str, Sequence[str], Sequence[str], dict[str, Any]]]


def gemms(name: str, layer: Arrays, x: str, h: str) -> tuple[list[Any], list[Any]]:
    """Return the products of x and of h, ``NAME.x`` and ``NAME.h``, and their matrices."""
    stored = [numpy_helper.from_array(a, f"{name}.{n}") for n, a in layer.items()]
    made = [
        helper.make_node(
            "Gemm", [value, f"{name}.weight_{part}_l0", f"{name}.bias_{part}_l0"],
            [f"{name}.{letter}"], transB=1,
        )
        for value, part, letter in ((x, "ih", "x"), (h, "hh", "h"))
    ]  # fmt: skip
    return made, stored


def nodes(name: str, lines: Sequence[str]) -> list[Any]:
    """Return nodes of lines such as ``f = Sigmoid p1``; every value but x, h and c is local."""

    def local(value: str) -> str:
        return value if value.startswith("!") else f"{name}.{value}"

    made = []
    for line in lines:
        outputs, _, right = line.partition(" = ")
        kind, *inputs = right.split()
        attributes = {"axis": 1} if kind == "Split" else {}
        made.append(helper.make_node(
            kind, [local(i).lstrip("!") for i in inputs], [local(o) for o in outputs.split()],
            **attributes,
        ))  # fmt: skip
    return made


def lstm(name: str, layer: Arrays, x: str, h: str, c: str) -> tuple[list[Any], list[Any]]:
    """Return one step of an LSTM in PyTorch's order; it makes ``NAME.new_h`` and ``NAME.new_c``."""
    made, stored = gemms(name, layer, x, h)
    made += nodes(name, [
        "sum = Add h x", "p0 p1 p2 p3 = Split sum", "i = Sigmoid p0", "f = Sigmoid p1",
        "g = Tanh p2", "o = Sigmoid p3", f"kept = Mul f !{c}", "written = Mul i g",
        "new_c = Add kept written", "shown = Tanh new_c", "new_h = Mul o shown",
    ])  # fmt: skip
    return made, stored


BLENDS = {
    "around": ["d = Sub !{h} n", "zd = Mul d z", "new_h = Add zd n"],
    "both shares": ["rest = Sub !one z", "kept = Mul z !{h}", "fresh = Mul rest n",
                    "new_h = Add kept fresh"],
    "takes new": ["rest = Sub !one z", "kept = Mul rest !{h}", "fresh = Mul z n",
                  "new_h = Add fresh kept"],
}  # fmt: skip
"""Ways to blend a GRU's old state and its candidate."""


def gru(
    name: str, layer: Arrays, x: str, h: str, blend: str = "around"
) -> tuple[list[Any], list[Any]]:
    """Return one step of a GRU whose reset acts after the product, in PyTorch's order."""
    made, stored = gemms(name, layer, x, h)
    made += nodes(name, [
        "x0 x1 x2 = Split x", "h0 h1 h2 = Split h", "sr = Add h0 x0", "r = Sigmoid sr",
        "sz = Add h1 x1", "z = Sigmoid sz", "rh = Mul h2 r", "sn = Add x2 rh", "n = Tanh sn",
        *(line.format(h=h) for line in BLENDS[blend]),
    ])  # fmt: skip
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    return made, [*stored, *([one] if blend != "around" else [])]
