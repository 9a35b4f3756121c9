"""Small files of TensorFlow Lite with recurrent operators, made from arrays by gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.verify.models.tflite.flatbuffer import Writer

Arrays = dict[str, np.ndarray]

PLACES = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (24, (dict(W=1, U=5, p=9, b=12, R=16, h=18, c=19, s=20),)),
    "LSTM": (24, (dict(W=1, U=5, p=9, b=12, R=16, h=18, c=19, s=20),)),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (48, (dict(W=1, U=5, p=9, b=12, R=16, h=35, c=36),
                                         dict(W=18, U=22, p=26, b=29, R=33, h=37, c=38))),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (5, (dict(W=1, U=2, b=3, h=4),)),
    "RNN": (5, (dict(W=1, U=2, b=3, h=4),)),
    "BIDIRECTIONAL_SEQUENCE_RNN": (12, (dict(W=1, U=2, b=3, h=4), dict(W=5, U=6, b=7, h=8))),
}  # fmt: skip
"""How many inputs an operator has, and where each direction's arrays begin."""

OPTIONS = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM", "LSTM": "LSTM",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "BidirectionalSequenceLSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNN", "RNN": "RNN",
    "BIDIRECTIONAL_SEQUENCE_RNN": "BidirectionalSequenceRNN",
}  # fmt: skip


def layer(kind: str, D: int, H: int, *, P: int = 0, seed: int = 0, more: str = "",
          coupled: bool = False) -> Arrays:  # fmt: skip
    """Return the arrays of one direction, ``W_i`` (H, D), ``U_f`` (H, P or H), ``b_o``, ...

    ``more`` are letters of what it has beside: p peepholes, s layer norm; R is there where P is.
    """
    rng, gates = np.random.default_rng(seed), "ifco" if kind == "LSTM" else "a"
    gates = gates.replace("i", "") if coupled else gates
    arrays = {f"W_{g}": rng.standard_normal((H, D)) / 2 for g in gates}
    arrays |= {f"U_{g}": rng.standard_normal((H, P or H)) / 2 for g in gates}
    arrays |= {f"b_{g}": rng.standard_normal(H) / 2 for g in gates}
    if "p" in more:
        arrays |= {f"p_{g}": rng.standard_normal(H) / 2 for g in gates if g != "c"}
    if "s" in more:
        arrays |= {f"s_{g}": 1 + rng.standard_normal(H) / 4 for g in gates}
    if P:
        arrays["R_h"] = rng.standard_normal((P, H)) / 2
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def of_torch(kind: str, own: Mapping[str, np.ndarray], suffix: str = "") -> Arrays:
    """Return the arrays of one direction of a layer that has PyTorch's names."""
    gates = "ifco" if kind == "LSTM" else "a"
    arrays: Arrays = {}
    for name, letter in (("weight_ih", "W"), ("weight_hh", "U")):
        blocks = np.split(own[f"{name}_l0{suffix}"], len(gates))
        arrays |= {f"{letter}_{g}": block for g, block in zip(gates, blocks, strict=True)}
    bias = own[f"bias_ih_l0{suffix}"] + own[f"bias_hh_l0{suffix}"]
    blocks = np.split(bias, len(gates))
    return arrays | {f"b_{g}": block for g, block in zip(gates, blocks, strict=True)}


@dataclass
class Node:
    """An operator: its name, the arrays of each direction, its options by the schema's names."""

    name: str
    operator: str
    passes: Sequence[Arrays]
    options: dict[str, Any] = field(default_factory=dict)
    rows: int = 2
    variable: bool = True


def written(path: Path, nodes: Sequence[Node], *, T: int = 3, B: int = 2,
            x_major: bool | None = None) -> Path:  # fmt: skip
    """Write a model of these nodes, each of which reads x, steps first as the first node says.

    ``x_major`` says otherwise.
    """
    writer = Writer()
    schema = writer.schema
    first = nodes[0]
    D = next(iter(first.passes[0].values())).shape[1]
    major = first.options.get("timeMajor") if x_major is None else x_major
    axes = (B,) if first.operator in ("LSTM", "RNN") else (T, B) if major else (B, T)
    x = writer.tensor("x", (*axes, D))
    outputs = []
    for node in nodes:
        count, places = PLACES[node.operator]
        numbers = [x, *[-1] * (count - 1)]
        for d, (own, place) in enumerate(zip(node.passes, places, strict=True)):
            for name, array in own.items():
                letter, _, gate = name.partition("_")
                order = {"p": "ifo", "R": "h"}.get(letter, "ifco" if "c" in place else "a")
                label = f"{node.name}/{name}/{d}"
                number = writer.tensor(label, array.shape, array, dtype=array.dtype.name.upper())
                numbers[place[letter] + order.index(gate)] = number
            H = next(a for n, a in own.items() if n.startswith("W")).shape[0]
            P = own["R_h"].shape[0] if "R_h" in own else H
            for state, width in (("h", P), ("c", H)):
                if state in place:
                    zeros = None if node.variable else np.ones((node.rows, width), np.float32)
                    label = f"{node.name}/{state}/{d}"
                    numbers[place[state]] = writer.tensor(
                        label, (node.rows, width), zeros, variable=node.variable
                    )
        merge = node.options.get("mergeOutputs", True)
        wide = P * len(places) if merge else P
        made = [writer.tensor(f"{node.name}{k if k else ''}", (*axes, wide))
                for k in range(1 if merge else len(places))]  # fmt: skip
        options = getattr(schema, f"{OPTIONS[node.operator]}OptionsT")()
        options.fusedActivationFunction = schema.ActivationFunctionType.TANH
        for key, value in {"timeMajor": False, "mergeOutputs": True, **node.options}.items():
            if not hasattr(options, key):
                continue
            setattr(options, key, value)
        writer.operator(node.operator, numbers, made, options)
        outputs += made
    path.write_bytes(writer.model([x], outputs))
    return path
