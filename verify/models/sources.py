"""The layers that a file was exported from: of arrays by name, of a module, of another file.

Layers are recognised by the names of their arrays: PyTorch's ``weight_ih_l0``, Keras's
``recurrent_kernel``; a module of PyTorch says more of itself, and so does a file of ONNX.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...reference.arrays import Floats
from ..runs.npz import read_npz
from ..runs.words import words
from ..subjects import loader
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import SubjectUnavailable
from .graph import LARGEST_ARRAY, SUFFIX, ModelError
from .inventory import inventory, opened
from .nodes import DEFAULTS, Node, unheld

ORDERS = {
    "torch": {"lstm": "ifgo", "gru": "rzn", "rnn": "a"},
    "keras": {"lstm": "ifgo", "gru": "zrn", "rnn": "a"},
    "onnx": {"lstm": "iofg", "gru": "zrn", "rnn": "a"},
    "TensorFlow Lite": {"lstm": "ifgo", "gru": "zrn", "rnn": "a"},
}
"""The gates in the order of whose arrays they are, by the letters of the equations."""

SUFFIXES = (SUFFIX, ".tflite")
"""What the names of model files end in."""

FAMILIES = {1: "rnn", 3: "gru", 4: "lstm"}
TORCH = re.compile(r"(.*?)\.?(weight|bias)_(ih|hh)(?:_l(\d+))?(_reverse)?$")
KERAS = re.compile(r"(.*?)[./:]?(recurrent_kernel|kernel|bias)(?::0)?$")


@dataclass(frozen=True)
class Layer:
    """One recurrent layer, gate by gate, so that two can be compared.

    ``passes`` have for each direction W_i (H, D), U_i (H, H), b_i (H,) of the input, c_i (H,) of
    the state, p_i (H,); r_h (P, H) of a projection, s_i (H,) of a layer norm. ``facts`` are what is
    known beside: ``reset``, ``activations``, ``clip``, ``coupled``, ``direction``, ``steps``, and
    ``reader``, whose operator it is. ``fixed`` are initial states that are constants.
    ``names`` are those under which its arrays lie.
    """

    name: str
    family: str
    passes: tuple[Mapping[str, Floats], ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Floats] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @property
    def signature(self) -> tuple[str, int, int, int]:
        """Family, widths and directions."""
        gate = ORDERS["onnx"][self.family][0]
        H, D = self.passes[0][f"W_{gate}"].shape
        return self.family, H, D, len(self.passes)


def of_node(node: Node) -> Layer:
    """Return a node of a file as a layer."""
    order, H = ORDERS["onnx"][node.family], node.H
    passes = []
    for k in range(node.directions):
        of = {slot: array[k] for slot, array in node.weights.items()}
        blocks: dict[str, Floats] = {}
        for number, gate in enumerate(order):
            rows = slice(number * H, (number + 1) * H)
            blocks |= {f"W_{gate}": of["W"][rows], f"U_{gate}": of["R"][rows]}
            if "B" in of:
                half = len(order) * H
                blocks[f"b_{gate}"] = of["B"][:half][rows]
                blocks |= {f"c_{gate}": of["B"][half:][rows]} if len(of["B"]) > half else {}
            if "norm" in of:
                blocks[f"s_{gate}"] = of["norm"][rows]
        if "P" in of:
            blocks |= {f"p_{g}": of["P"][k * H : (k + 1) * H] for k, g in enumerate("iof")}
        if "projection" in of:
            blocks["r_h"] = of["projection"]
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
    """Return the recurrent layers of a source; UnknownSubject says why there are none."""
    try:
        if source.endswith(SUFFIXES):
            every = inventory(opened(Path(source)))
            found = [of_node(node) for node in every if not unheld(node)]
        elif source.endswith((".safetensors", ".npz")):
            found = list(of_arrays(_stored(Path(source))))
        elif loader.is_file(source):
            found = list(_of_module(loader.load(source).value, source))
        else:
            raise UnknownSubject(
                f"--against {source}: expected weights.safetensors, weights.npz, module.py:Model "
                "or model.onnx"
            )
    except ModelError as error:
        raise UnknownSubject(f"--against {error}") from error
    if not found:
        raise UnknownSubject(
            f"--against {source}: no recurrent layer is recognised in it, by names such as "
            "weight_ih_l0 or recurrent_kernel"
        )
    return found


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
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnknownSubject(f"--against {path}: cannot be read: {said}") from error


def of_arrays(
    arrays: Mapping[str, Floats], facts: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[Layer]:
    """Yield the layers that arrays are by their names; ``facts`` of those by what precedes them."""
    torch: dict[tuple[str, int], dict[tuple[str, str], Floats]] = {}
    keras: dict[str, dict[str, Floats]] = {}
    for name, array in arrays.items():
        if named := TORCH.match(name):
            prefix, kind, which, number, reverse = named.groups()
            key = prefix, int(number) if number else -1
            torch.setdefault(key, {})[f"{kind}_{which}", reverse or ""] = array
        elif named := KERAS.match(name):
            keras.setdefault(named[1], {})[named[2]] = array
    for (prefix, number), own in torch.items():
        if ("weight_hh", "") in own and ("weight_ih", "") in own:
            yield from _of_torch(prefix, number, own, (facts or {}).get(prefix, {}))
    for prefix, kernels in keras.items():
        if {"kernel", "recurrent_kernel"} <= kernels.keys():
            yield from _of_keras(prefix, kernels)


def _family(rows: int, H: int) -> str:
    return FAMILIES.get(rows // H, "") if H and rows % H == 0 else ""


def _of_torch(
    prefix: str, number: int, own: Mapping[tuple[str, str], Floats], facts: Mapping[str, str]
) -> Iterator[Layer]:
    U = own["weight_hh", ""]
    family = _family(U.shape[0], U.shape[1]) if U.ndim == 2 else ""
    if not family:
        return
    order, H = ORDERS["torch"][family], U.shape[1]
    letters = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b", "bias_hh": "c"}
    passes = []
    for suffix in ("", "_reverse"):
        given = {name: a for (name, reverse), a in own.items() if reverse == suffix}
        if not {"weight_ih", "weight_hh"} <= given.keys():
            continue
        passes.append({
            f"{letters[name]}_{gate}": array[k * H : (k + 1) * H]
            for name, array in given.items() for k, gate in enumerate(order)
        })  # fmt: skip
    known = {"clip": "0", "coupled": "no", "steps": "any" if number >= 0 else "1"}
    known["direction"] = "bidirectional" if len(passes) == 2 else "forward"
    if family == "gru":
        known["reset"] = "after"
    if family != "rnn":
        known["activations"] = " ".join(DEFAULTS[family.upper()])
    layer = f"layer {number}" if number > 0 else ""
    name = " ".join(filter(None, (prefix, layer))) or "the layer"
    names = (f"{prefix}.weight_ih" if prefix else "",)
    yield Layer(name, family, tuple(passes), {**known, **facts}, names=names)


def _of_keras(prefix: str, own: Mapping[str, Floats]) -> Iterator[Layer]:
    kernel, recurrent, bias = own["kernel"], own["recurrent_kernel"], own.get("bias")
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
    known = {"clip": "0", "coupled": "no", "steps": "any"}
    if family == "gru" and bias is not None:
        known["reset"] = "after" if bias.ndim == 2 else "before"
    yield Layer(prefix or "the layer", family, (blocks,), known, names=(prefix,))


def _of_module(value: Any, source: str) -> Iterator[Layer]:
    """Yield the layers of a module of PyTorch, or of the class of one; else of its arrays."""
    model = value
    try:
        model = value() if isinstance(value, type) else value
        if callable(model) and not hasattr(model, "state_dict") and not isinstance(model, Mapping):
            model = model()
    except TypeError as error:
        raise UnknownSubject(
            f"--against {source}: {words(error)}; expected a class or a function without "
            "arguments, or a module"
        ) from error
    if isinstance(model, Mapping):
        yield from of_arrays({name: np.asarray(a) for name, a in model.items()})
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
    yield from of_arrays(arrays, facts)


# How layers travel from the process that reads them to the one that judges.

FACTS = "layers"


class _Travelling(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What of a layer is no array."""

    name: str
    family: str
    facts: dict[str, str]
    names: tuple[str, ...]
    passes: int


def packed(several: Sequence[Layer], prefix: str) -> dict[str, Floats]:
    """Return layers as arrays by name; ``unpacked`` reads them."""
    said: list[list[Any]] = []
    arrays: dict[str, Floats] = {}
    for number, layer in enumerate(several):
        said.append([layer.name, layer.family, dict(layer.facts), layer.names, len(layer.passes)])
        for k, blocks in enumerate(layer.passes):
            arrays |= {f"{prefix}{number} {k} {name}": a for name, a in blocks.items()}
        arrays |= {f"{prefix}{number} fixed {name}": a for name, a in layer.fixed.items()}
    if sum(a.size for a in arrays.values()) > LARGEST_ARRAY // 4:
        raise UnknownSubject(f"more than {LARGEST_ARRAY // 4} numbers in recurrent layers")
    text = json.dumps(said).encode()
    return {f"{prefix}{FACTS}": np.frombuffer(text, np.uint8), **arrays}


def unpacked(arrays: Mapping[str, Floats], prefix: str) -> list[Layer]:
    """Return the layers that arrays hold under a prefix."""
    if f"{prefix}{FACTS}" not in arrays:
        return []
    text = arrays[f"{prefix}{FACTS}"].tobytes()
    several = []
    for number, said in enumerate(msgspec.json.decode(text, type=list[_Travelling])):
        passes = tuple(under(arrays, f"{prefix}{number} {k} ") for k in range(said.passes))
        fixed = under(arrays, f"{prefix}{number} fixed ")
        several.append(Layer(said.name, said.family, passes, said.facts, fixed, said.names))
    return several


def under(arrays: Mapping[str, Floats], prefix: str) -> dict[str, Floats]:
    """Return the arrays whose names begin so, by the rest of their names."""
    return {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}
