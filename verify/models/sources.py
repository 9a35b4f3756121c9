"""Source layers of exported files: from arrays by name, a module, or another file.

Layers are recognised by the names of their arrays: PyTorch's ``weight_ih_l0``, Keras's
``recurrent_kernel``. Modules of PyTorch and files of ONNX also describe the layers themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..runs.exception_text import exception_text
from ..runs.npz import read_npz
from ..subjects import loader
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import SubjectUnavailable
from .content import ORDERS, Layer
from .graph import SUFFIX, ModelError
from .inventory import inventory, read_model
from .nodes import DEFAULTS, Node, problem_of

SUFFIXES = (SUFFIX, ".tflite")
"""Suffixes of model files."""

FAMILIES = {1: "rnn", 3: "gru", 4: "lstm"}
TORCH = re.compile(r"(.*?)\.?(weight|bias)_(ih|hh)(?:_l(\d+))?(_reverse)?$")
KERAS = re.compile(r"(.*?)[./:]?(recurrent_kernel|kernel|bias)(?::0)?$")


def layer_of_node(node: Node) -> Layer:
    """Return a node of a file as a layer."""
    order, H = ORDERS["onnx"][node.family], node.H
    passes = []
    for k in range(node.directions):
        arrays = {slot: array[k] for slot, array in node.weights.items()}
        blocks: dict[str, Floats] = {}
        for number, gate in enumerate(order):
            rows = slice(number * H, (number + 1) * H)
            blocks |= {f"W_{gate}": arrays["W"][rows], f"U_{gate}": arrays["R"][rows]}
            if "B" in arrays:
                half = len(order) * H
                blocks[f"b_{gate}"] = arrays["B"][:half][rows]
                blocks |= {f"c_{gate}": arrays["B"][half:][rows]} if len(arrays["B"]) > half else {}
            if "norm" in arrays:
                blocks[f"s_{gate}"] = arrays["norm"][rows]
        if "P" in arrays:
            blocks |= {f"p_{g}": arrays["P"][k * H : (k + 1) * H] for k, g in enumerate("iof")}
        if "projection" in arrays:
            blocks["r_h"] = arrays["projection"]
        passes.append(blocks)
    facts = {
        "activations": " ".join(map(str, node.of_direction)), "clip": f"{node.clip:g}",
        "coupled": "yes" if node.coupled else "no", "direction": node.direction,
        "steps": str(node.steps or "any"), "reader": node.reader, **node.more_facts,
    }  # fmt: skip
    if node.kind == "GRU":
        facts["reset"] = "after" if node.reset_after else "before"
    names = (node.name, node.path, *node.stored.values())
    fixed = {name: a for name, a in node.fixed.items() if np.any(a)}
    return Layer(node.name, node.family, tuple(passes), facts, fixed, names)


def layers(source: str) -> list[Layer]:
    """Return the recurrent layers of a source; raise UnknownSubject if there are none."""
    try:
        if source.endswith(SUFFIXES):
            nodes = inventory(read_model(Path(source)))
            result = [layer_of_node(node) for node in nodes if not problem_of(node)]
        elif source.endswith((".safetensors", ".npz")):
            result = list(layers_of_arrays(_stored(Path(source))))
        elif loader.is_file(source):
            result = list(_module_layers(loader.load(source).value, source))
        else:
            raise UnknownSubject(
                f"--against {source}: expected weights.safetensors, weights.npz, module.py:Model "
                "or model.onnx"
            )
    except ModelError as error:
        raise UnknownSubject(f"--against {error}") from error
    if not result:
        raise UnknownSubject(
            f"--against {source}: no recurrent layer is recognised in it, by names such as "
            "weight_ih_l0 or recurrent_kernel"
        )
    return result


def _stored(path: Path) -> dict[str, Floats]:
    """Return the arrays of a file by name."""
    if not path.is_file():
        raise UnknownSubject(f"--against {path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        return read_npz(path)
    except ImportError as error:
        raise SubjectUnavailable(f"{path}: pip install safetensors to read it") from error
    except Exception as error:  # a file of somebody else's may be anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnknownSubject(f"--against {path}: cannot be read: {reason}") from error


def layers_of_arrays(
    arrays: Mapping[str, Floats], facts: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[Layer]:
    """Yield the layers of arrays by their names; ``facts`` are by the prefixes of the names."""
    torch: dict[tuple[str, int], dict[tuple[str, str], Floats]] = {}
    keras: dict[str, dict[str, Floats]] = {}
    for name, array in arrays.items():
        if named := TORCH.match(name):
            prefix, kind, which, number, reverse = named.groups()
            key = prefix, int(number) if number else -1
            torch.setdefault(key, {})[f"{kind}_{which}", reverse or ""] = array
        elif named := KERAS.match(name):
            keras.setdefault(named[1], {})[named[2]] = array
    for (prefix, number), named_arrays in torch.items():
        if ("weight_hh", "") in named_arrays and ("weight_ih", "") in named_arrays:
            yield from _torch_layers(prefix, number, named_arrays, (facts or {}).get(prefix, {}))
    for prefix, kernels in keras.items():
        if {"kernel", "recurrent_kernel"} <= kernels.keys():
            yield from _keras_layers(prefix, kernels)


def _family(rows: int, H: int) -> str:
    return FAMILIES.get(rows // H, "") if H and rows % H == 0 else ""


def _torch_layers(
    prefix: str, number: int, arrays: Mapping[tuple[str, str], Floats], facts: Mapping[str, str]
) -> Iterator[Layer]:
    U = arrays["weight_hh", ""]
    family = _family(U.shape[0], U.shape[1]) if U.ndim == 2 else ""
    if not family:
        return
    order, H = ORDERS["torch"][family], U.shape[1]
    letters = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b", "bias_hh": "c"}
    passes = []
    for suffix in ("", "_reverse"):
        of_direction = {name: a for (name, reverse), a in arrays.items() if reverse == suffix}
        if not {"weight_ih", "weight_hh"} <= of_direction.keys():
            continue
        passes.append({
            f"{letters[name]}_{gate}": array[k * H : (k + 1) * H]
            for name, array in of_direction.items() for k, gate in enumerate(order)
        })  # fmt: skip
    defaults = {"clip": "0", "coupled": "no", "steps": "any" if number >= 0 else "1"}
    defaults["direction"] = "bidirectional" if len(passes) == 2 else "forward"
    if family == "gru":
        defaults["reset"] = "after"
    if family != "rnn":
        defaults["activations"] = " ".join(map(str, DEFAULTS[family.upper()]))
    layer = f"layer {number}" if number > 0 else ""
    name = " ".join(filter(None, (prefix, layer))) or "the layer"
    names = (f"{prefix}.weight_ih" if prefix else "",)
    yield Layer(name, family, tuple(passes), {**defaults, **facts}, names=names)


def _keras_layers(prefix: str, arrays: Mapping[str, Floats]) -> Iterator[Layer]:
    kernel, recurrent, bias = arrays["kernel"], arrays["recurrent_kernel"], arrays.get("bias")
    if kernel.ndim != 2 or recurrent.ndim != 2:
        return
    H = recurrent.shape[0]
    family = _family(recurrent.shape[1], H)
    if not family:
        return
    blocks: dict[str, Floats] = {}
    for k, gate in enumerate(ORDERS["keras"][family]):
        columns = slice(k * H, (k + 1) * H)
        blocks |= {f"W_{gate}": kernel[:, columns].T, f"U_{gate}": recurrent[:, columns].T}
        if bias is not None and bias.ndim == 2:
            blocks |= {f"b_{gate}": bias[0][columns], f"c_{gate}": bias[1][columns]}
        elif bias is not None:
            blocks[f"b_{gate}"] = bias[columns]
    facts = {"clip": "0", "coupled": "no", "steps": "any"}
    if family == "gru" and bias is not None:
        facts["reset"] = "after" if bias.ndim == 2 else "before"
    yield Layer(prefix or "the layer", family, (blocks,), facts, names=(prefix,))


def _module_layers(value: Any, source: str) -> Iterator[Layer]:
    """Yield the layers of a module of PyTorch, of its class, or of arrays by name."""
    model = value
    try:
        model = value() if isinstance(value, type) else value
        if callable(model) and not hasattr(model, "state_dict") and not isinstance(model, Mapping):
            model = model()
    except TypeError as error:
        raise UnknownSubject(
            f"--against {source}: {exception_text(error)}; expected a class or a function without "
            "arguments, or a module"
        ) from error
    if isinstance(model, Mapping):
        yield from layers_of_arrays({name: np.asarray(a) for name, a in model.items()})
        return
    if not hasattr(model, "state_dict"):
        raise UnknownSubject(f"--against {source}: expected a torch.nn.Module, or arrays by name")
    facts = {}
    for prefix, module in model.named_modules():
        nonlinearity = getattr(module, "nonlinearity", None)
        if isinstance(nonlinearity, str):
            facts[prefix] = {"activations": nonlinearity.capitalize()}
    state = model.state_dict()
    arrays = {name: t.detach().cpu().float().numpy() if t.is_floating_point() else t.numpy()
              for name, t in state.items() if hasattr(t, "detach")}  # fmt: skip
    yield from layers_of_arrays(arrays, facts)
