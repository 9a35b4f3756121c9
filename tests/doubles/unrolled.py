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


def gru_before(name: str, layer: Arrays, x: str, h: str) -> tuple[list[Any], list[Any]]:
    """Return one step of a GRU whose reset acts before the product: W, U and b for each gate."""
    lines, stored = [], []
    for k, gate in enumerate("rzn"):
        parts = {part: np.split(layer[f"{part}_l0"], 3)[k]
                 for part in ("weight_ih", "weight_hh", "bias_ih")}  # fmt: skip
        arrays = {"W": parts["weight_ih"].T, "U": parts["weight_hh"].T, "b": parts["bias_ih"]}
        stored += [numpy_helper.from_array(np.ascontiguousarray(a), f"{name}.{n}{gate}")
                   for n, a in arrays.items()]  # fmt: skip
        operand = "rh" if gate == "n" else f"!{h}"
        lines += [f"rh = Mul r !{h}"] * (gate == "n")
        lines += [f"x{gate} = MatMul !{x} W{gate}", f"h{gate} = MatMul {operand} U{gate}",
                  f"t{gate} = Add x{gate} h{gate}", f"s{gate} = Add t{gate} b{gate}",
                  f"{gate} = {'Tanh' if gate == 'n' else 'Sigmoid'} s{gate}"]  # fmt: skip
    lines += [line.format(h=h) for line in BLENDS["around"]]
    return nodes(name, lines), stored


def joint_lstm(name: str, layer: Arrays, x: str, h: str, c: str) -> tuple[list[Any], list[Any]]:
    """Return one step of an LSTM of one product of x and h side by side, gates i, g, f, o."""
    order = [0, 2, 1, 3]

    def gates(part: str) -> np.ndarray:
        blocks = np.split(layer[f"{part}_l0"], 4)
        return np.concatenate([blocks[k] for k in order])

    whole = np.concatenate([gates("weight_ih").T, gates("weight_hh").T])
    stored = [numpy_helper.from_array(whole, f"{name}.W"),
              numpy_helper.from_array(gates("bias_ih"), f"{name}.b")]  # fmt: skip
    made = nodes(name, [f"xh = Concat !{x} !{h}", "p = MatMul xh W", "s = Add p b",
                        "p0 p1 p2 p3 = Split s", "i = Sigmoid p0", "g = Tanh p1",
                        "f = Sigmoid p2", "o = Sigmoid p3", f"kept = Mul f !{c}",
                        "written = Mul i g", "new_c = Add written kept", "shown = Tanh new_c",
                        "new_h = Mul shown o"])  # fmt: skip
    made[0].attribute.append(helper.make_attribute("axis", 1))
    return made, stored
