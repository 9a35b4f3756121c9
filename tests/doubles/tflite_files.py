"""Small files of TensorFlow Lite with recurrent operators, made from arrays by gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.verify.subjects.frameworks.litert_model import Writer

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
                if array.dtype == np.float16:
                    narrow, number = number, writer.tensor(f"{label} wide", array.shape)
                    writer.operator("DEQUANTIZE", [narrow], [number])
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


def _product(writer: Writer, x: int, matrix: np.ndarray, bias: np.ndarray | None = None) -> int:
    """Add x W^T + b, with its columns beside each other."""
    W = writer.tensor(f"weights of {x}", matrix.shape, matrix)
    b = -1 if bias is None else writer.tensor(f"bias of {x}", bias.shape, bias)
    return _made(writer, "FULLY_CONNECTED", [x, W, b], len(matrix),
                 writer.schema.FullyConnectedOptionsT())  # fmt: skip


def _made(writer: Writer, operator: str, inputs: list[int], width: int, options: Any = None) -> int:
    made = writer.tensor(f"value {len(writer.graph.tensors)}", (1, width))
    writer.operator(operator, inputs, [made], options)
    return made


def _parts(writer: Writer, whole: int, count: int, H: int) -> list[int]:
    axis = writer.tensor(f"axis of {whole}", (), np.array(1, np.int32), dtype="INT32")
    made = [writer.tensor(f"part {k} of {whole}", (1, H)) for k in range(count)]
    options = writer.schema.SplitOptionsT(numSplits=count)
    writer.operator("SPLIT", [axis, whole], made, options)
    return made


def lstm_step(writer: Writer, x: int, h: int, c: int, own: Mapping[str, np.ndarray],
              product: int | None = None) -> list[int]:  # fmt: skip
    """Add one step of an LSTM of PyTorch's arrays, as TensorFlow's converter writes it.

    ``product`` is that of x, where it is there already.
    """
    schema, H = writer.schema, own["weight_hh_l0"].shape[1]
    bias = own["bias_ih_l0"] + own["bias_hh_l0"]
    of_x = _product(writer, x, own["weight_ih_l0"]) if product is None else product
    of_h = _product(writer, h, own["weight_hh_l0"], bias)
    sums = _made(writer, "ADD", [of_x, of_h], 4 * H, schema.AddOptionsT())
    parts = _parts(writer, sums, 4, H)
    i, f, o = (_made(writer, "LOGISTIC", [parts[k]], H) for k in (0, 1, 3))
    g = _made(writer, "TANH", [parts[2]], H)
    kept, written = (
        _made(writer, "MUL", pair, H, schema.MulOptionsT()) for pair in ([f, c], [i, g])
    )
    new = _made(writer, "ADD", [kept, written], H, schema.AddOptionsT())
    shown = _made(writer, "TANH", [new], H)
    return [_made(writer, "MUL", [o, shown], H, schema.MulOptionsT()), new]


def gru_step(writer: Writer, x: int, h: int, own: Mapping[str, np.ndarray]) -> list[int]:
    """Add one step of a GRU of PyTorch's arrays, as TensorFlow's converter writes it."""
    schema, H = writer.schema, own["weight_hh_l0"].shape[1]
    r, z, n = _parts(writer, _product(writer, x, own["weight_ih_l0"], own["bias_ih_l0"]), 3, H)
    hr, hz, hn = _parts(writer, _product(writer, h, own["weight_hh_l0"], own["bias_hh_l0"]), 3, H)

    def gate(*pair: int) -> int:
        sums = _made(writer, "ADD", list(pair), H, schema.AddOptionsT())
        return _made(writer, "LOGISTIC", [sums], H)

    reset = _made(writer, "MUL", [gate(r, hr), hn], H, schema.MulOptionsT())
    new = _made(writer, "TANH", [_made(writer, "ADD", [n, reset], H, schema.AddOptionsT())], H)
    update, one = gate(z, hz), writer.tensor("one", (), np.array(1, np.float32))
    rest = _made(writer, "SUB", [one, update], H, schema.SubOptionsT())
    parts = [_made(writer, "MUL", pair, H, schema.MulOptionsT())
             for pair in ([update, h], [rest, new])]  # fmt: skip
    return [_made(writer, "ADD", parts, H, schema.AddOptionsT())]


def unrolled(path: Path, kind: str, own: Mapping[str, np.ndarray], *, steps: int = 1,
             loop: bool = False) -> Path:  # fmt: skip
    """Write a model of unrolled steps; in a ``loop`` its graph is the body of a WHILE."""
    writer = Writer()
    H, D = own["weight_hh_l0"].shape[1], own["weight_ih_l0"].shape[1]
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    now = given = [writer.tensor(name, (1, H)) for name in states]
    xs = [writer.tensor(f"x{k}", (1, D)) for k in range(steps)]
    for x in xs:
        now = lstm_step(writer, x, *now, own) if kind == "LSTM" else gru_step(writer, x, *now, own)
    data = writer.model([*given, *xs], [*now, *(xs if loop else [])])
    path.write_bytes(_in_loop(writer, data) if loop else data)
    return path


def _integers(writer: Writer, *values: int) -> int:
    name = f"integers {len(writer.graph.tensors)}"
    return writer.tensor(name, (len(values),), np.array(values, np.int32), dtype="INT32")


def multiplied_before(path: Path, own: Mapping[str, np.ndarray], steps: int, *,
                      turned: bool = False) -> Path:  # fmt: skip
    """Write unrolled steps of an LSTM whose product with x is one, before them, of all steps.

    ``turned``: its columns are turned round, as no LSTM has them.
    """
    writer = Writer()
    H, D = own["weight_hh_l0"].shape[1], own["weight_ih_l0"].shape[1]
    now = given = [writer.tensor(name, (1, H)) for name in "hc"]
    x = writer.tensor("x", (1, steps, D))
    W = writer.tensor("W", own["weight_ih_l0"].shape, own["weight_ih_l0"])
    whole = writer.tensor("all steps", (1, steps, 4 * H))
    options = writer.schema.FullyConnectedOptionsT(keepNumDims=True)
    writer.operator("FULLY_CONNECTED", [x, W, -1], [whole], options)
    if turned:
        zeros = _integers(writer, 0, 0, 0)
        inputs = [whole, zeros, zeros, _integers(writer, 1, 1, -1)]
        whole = writer.tensor("turned", (1, steps, 4 * H))
        options = writer.schema.StridedSliceOptionsT(beginMask=7, endMask=7)
        writer.operator("STRIDED_SLICE", inputs, [whole], options)
    for k in range(steps):
        part, row = writer.tensor(f"part {k}", (1, 1, 4 * H)), writer.tensor(f"row {k}", (1, 4 * H))
        place, size = _integers(writer, 0, k, 0), _integers(writer, 1, 1, -1)
        writer.operator("SLICE", [whole, place, size], [part], writer.schema.SliceOptionsT())
        shape = _integers(writer, 1, 4 * H)
        writer.operator("RESHAPE", [part, shape], [row], writer.schema.ReshapeOptionsT())
        now = lstm_step(writer, x, *now, own, row)
    path.write_bytes(writer.model([*given, x], now))
    return path


def _in_loop(writer: Writer, data: bytes) -> bytes:
    """Return a model with the graph of one as the body of a WHILE that never begins."""
    import flatbuffers

    schema = writer.schema
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (body,) = model.subgraphs
    shapes = [body.tensors[k].shape for k in body.inputs]

    def graph() -> Any:
        tensors = [schema.TensorT(shape=list(shape), name=f"main {k}", buffer=0)
                   for k, shape in enumerate(shapes)]  # fmt: skip
        every = list(range(len(tensors)))
        return schema.SubGraphT(tensors=tensors, operators=[], inputs=every, outputs=every)

    main, condition = graph(), graph()
    model.buffers.append(schema.BufferT(data=np.zeros(1, np.uint8)))
    never = schema.TensorT(shape=[], type=schema.TensorType.BOOL, buffer=len(model.buffers) - 1)
    condition.tensors.append(never)
    condition.outputs = [len(condition.tensors) - 1]
    model.operatorCodes.append(schema.OperatorCodeT(
        deprecatedBuiltinCode=schema.BuiltinOperator.WHILE,
        builtinCode=schema.BuiltinOperator.WHILE, version=1))  # fmt: skip
    count = len(shapes)
    main.tensors += [schema.TensorT(shape=list(s), name=f"end {k}") for k, s in enumerate(shapes)]
    main.outputs = list(range(count, 2 * count))
    main.operators = [schema.OperatorT(
        opcodeIndex=len(model.operatorCodes) - 1, inputs=list(range(count)), outputs=main.outputs,
        builtinOptions=schema.WhileOptionsT(condSubgraphIndex=1, bodySubgraphIndex=2),
        builtinOptionsType=schema.BuiltinOptions.WhileOptions)]  # fmt: skip
    model.subgraphs = [main, condition, body]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
