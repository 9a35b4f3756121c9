"""Small files of ONNX with recurrent nodes, made from layers under PyTorch's names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where PyTorch has the gates that ONNX reads first, second, ..."""

Arrays = dict[str, np.ndarray]


def torch_layer(kind: str, D: int, H: int, *, seed: int = 0, both: bool = False) -> Arrays:
    """Return the arrays of a layer as ``torch.nn`` names them."""
    rng, gates = np.random.default_rng(seed), GATES[kind]
    shapes = {"weight_ih": (gates * H, D), "weight_hh": (gates * H, H),
              "bias_ih": (gates * H,), "bias_hh": (gates * H,)}  # fmt: skip
    return {
        f"{name}_l0{suffix}": (rng.standard_normal(shape) / 2).astype(np.float32)
        for suffix in ("", "_reverse")[: 1 + both]
        for name, shape in shapes.items()
    }


def gates_of(kind: str, array: np.ndarray) -> list[np.ndarray]:
    """Return the blocks of the gates, in ONNX's order."""
    blocks = np.split(array, GATES[kind])
    return [blocks[k] for k in ORDER[kind]]


def onnx_weights(kind: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Return W, R and B as an exporter should write them."""
    passes = [s for s in ("", "_reverse") if f"weight_ih_l0{s}" in arrays]

    def whole(name: str, suffix: str) -> np.ndarray:
        return np.concatenate(gates_of(kind, arrays[f"{name}_l0{suffix}"]))

    bias = [np.concatenate([whole("bias_ih", s), whole("bias_hh", s)]) for s in passes]
    return {
        "W": np.stack([whole("weight_ih", s) for s in passes]),
        "R": np.stack([whole("weight_hh", s) for s in passes]),
        "B": np.stack(bias),
    }


def node(
    name: str, kind: str, weights: Mapping[str, np.ndarray], *, x: str = "x", y: str = "",
    state: bool = False, **attributes: Any,
) -> tuple[Any, list[Any]]:  # fmt: skip
    """Return a node and its initialisers; ``weights`` may hold initial states, too."""
    own = {slot: f"{name}.{slot}" for slot in weights}
    states = ("initial_h", "initial_c")[: 1 + (kind == "LSTM")]
    given = [own.get(slot, "") for slot in ("W", "R", "B")]
    given += ["", *(own.get(s, s if state else "") for s in states)]
    if kind == "GRU":
        attributes = {"linear_before_reset": 1, **attributes}
    outputs = [y or f"{name}.Y", f"{name}.Y_h", *([f"{name}.Y_c"] if kind == "LSTM" else [])]
    H = weights["R"].shape[-1]
    made = helper.make_node(kind, [x, *given], outputs, name=name, hidden_size=H, **attributes)
    return made, [numpy_helper.from_array(a, own[slot]) for slot, a in weights.items()]


def value(name: str, shape: Sequence[Any] | None = None, kind: int = TensorProto.FLOAT) -> Any:
    """Return what a graph says of an input or an output."""
    return helper.make_tensor_value_info(name, kind, shape)


def written(
    path: Path, nodes: Sequence[tuple[Any, list[Any]]], *, D: int = 3, H: int = 4,
    steps: Any = "T", functions: Sequence[Any] = (), inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
) -> Path:  # fmt: skip
    """Write a model of these nodes, each of which may read x and the initial states."""
    stored = [tensor for _, tensors in nodes for tensor in tensors]
    names = {name for made, _ in nodes for name in made.input}
    given = [value("x", [steps, "B", D])]
    given += [value(n, [1, "B", H]) for n in ("initial_h", "initial_c") if n in names]
    shown = outputs or [value(made.output[0]) for made, _ in nodes]
    graph = helper.make_graph(
        [made for made, _ in nodes], "main", [*given, *inputs], list(shown), stored
    )
    imports = [helper.make_opsetid("", 17), *([helper.make_opsetid("own", 1)] if functions else [])]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))
    onnx.save_model(model, path)
    return path
