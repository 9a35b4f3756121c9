"""Models of one operator of TensorFlow Lite, and LiteRT, which runs them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...subjects.framework import by_pass, imported
from ...subjects.frameworks.litert_model import INSTALL, Writer, import_schema
from ...subjects.protocol import Inputs, Result
from .operators import OPERATORS, OWN_ORDER, FusedNode, Places

__all__ = ["INSTALL", "STATE", "feeds", "interpreter", "model", "result"]

STATE = "state "
"""Beginning of the names of state variables."""

COUNTS = {"UNIDIRECTIONAL_SEQUENCE_LSTM": 24, "LSTM": 24, "BIDIRECTIONAL_SEQUENCE_LSTM": 48,
          "UNIDIRECTIONAL_SEQUENCE_RNN": 5, "RNN": 5, "BIDIRECTIONAL_SEQUENCE_RNN": 12}  # fmt: skip
"""Number of inputs of each operator."""


def interpreter(model: bytes, *, keep_tensors: bool = False) -> Any:
    """Return LiteRT's interpreter of a model, on one thread.

    ``keep_tensors`` keeps all tensors; it disables LiteRT's delegates, which keep none.
    """
    package = imported("ai_edge_litert.interpreter", INSTALL)
    kinds = package.OpResolverType
    return package.Interpreter(
        model_content=model, num_threads=1, experimental_preserve_all_tensors=keep_tensors,
        experimental_op_resolver_type=kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keep_tensors
        else kinds.AUTO,
    )  # fmt: skip


def model(node: FusedNode, case: Case, inputs: Inputs, *, original: bool) -> bytes:
    """Return a model of a node alone, for a case's sizes, with x ``x`` and states ``state h 0``...

    ``original``: with the arrays of the file instead of those of the call.
    """
    writer = Writer()
    name, options = _operator(node, case)
    _, places = OPERATORS[name]
    T, B = inputs.x.shape[:2]
    axes = (B,) if node.one_step else (B, T) if case.layout == "batch-first" else (T, B)
    numbers = [-1] * COUNTS[name]
    numbers[0] = x = writer.tensor("x", (*axes, case.D))
    passes = by_pass(case, inputs.parameters)
    widths = (case.P or case.H, case.H)
    for place, array in node.arrays.items() if original else ():
        numbers[place] = writer.tensor(f"array {place}", array.shape, array)
    for direction, arrays in enumerate(passes):
        placed = [] if original else _placed(node, places, direction, arrays)
        for place, array in placed:
            numbers[place] = writer.tensor(f"array {place}", array.shape, array)
        for state, place, width in zip("hc", places.states[direction], widths, strict=False):
            name_of_state = f"{STATE}{state} {direction}"
            numbers[place] = writer.tensor(name_of_state, (B, width), variable=True)
    merged = len(passes) == 1 or node.merged
    width = widths[0] * (len(passes) if merged else 1)
    outputs = [writer.tensor(f"y {k}", (*axes, width)) for k in range(1 if merged else len(passes))]
    writer.operator(name, numbers, outputs, options)
    return writer.model([x], outputs)


def _operator(node: FusedNode, case: Case) -> tuple[str, Any]:
    """Return the operator's name and options, those of the file unless the case differs."""
    schema, name = import_schema(), node.operator
    assert node.file_operator is not None  # noqa: S101 - the node was read from a file
    options = copy.copy(node.file_operator.options)
    if node.directions == 2 and not case.bidirectional:
        name, original = name.replace("BIDIRECTIONAL", "UNIDIRECTIONAL"), options
        options = getattr(schema, "UnidirectionalSequenceLSTMOptionsT" if node.kind == "LSTM"
                          else "SequenceRNNOptionsT")()  # fmt: skip
        for field in vars(options):
            setattr(options, field, getattr(original, field, getattr(options, field)))
    if not node.one_step and (case.layout == "batch-first") != (node.layout == 1):
        options.timeMajor = case.layout != "batch-first"
    return name, options


def _placed(
    node: FusedNode, places: Places, direction: int, arrays: dict[str, Floats]
) -> list[tuple[int, Floats]]:
    """Return the arrays of a direction, gate by gate, with their places among the inputs."""
    order = list(node.convention.order)
    H = len(arrays["weight_hh"]) // len(order)
    bias = arrays.get("bias", np.zeros(len(order) * H, np.float32))
    placed = []
    for slot, array, gates in (
        ("W", arrays["weight_ih"], order),
        ("R", arrays["weight_hh"], order),
        ("B", bias, order),
        ("P", arrays.get("peephole"), node.convention.peepholes),
        ("norm", arrays.get("layer_norm"), order),
    ):
        firsts = getattr(places, slot)
        if array is None or not firsts:
            continue
        file_order = "ifo" if slot == "P" else OWN_ORDER if node.kind == "LSTM" else "a"
        for gate, block in zip(gates, np.split(array, len(gates)), strict=True):
            coupled = node.fused.coupled and gate == "i"  # the file has it as f, negated
            place = firsts[direction] + file_order.index("f" if coupled else gate)
            placed.append((place, -block if coupled and slot != "norm" else block))
    if "weight_hr" in arrays:
        placed.append((places.projection[direction], arrays["weight_hr"]))
    return placed


def feeds(node: FusedNode, case: Case, inputs: Inputs) -> dict[str, Floats]:
    """Return the inputs of a call: x, and the states if there are any."""
    x = np.swapaxes(inputs.x, 0, 1) if case.layout == "batch-first" else inputs.x
    named = {"x": x}
    for name, state in zip(node.states, inputs.state or (), strict=False):
        named |= {f"{STATE}{name} {k}": s for k, s in enumerate(state)}
    return named


def result(node: FusedNode, case: Case, outputs: list[Floats]) -> Result:
    """Return the outputs, directions side by side, and the final states."""
    count = case.directions * len(node.states)
    y, states = np.concatenate(outputs[:-count], axis=-1), outputs[-count:]
    y = np.swapaxes(y, 0, 1) if case.layout == "batch-first" and y.ndim == 3 else y
    final = (np.stack(states[k :: len(node.states)]) for k, _ in enumerate(node.states))
    return Result(y, tuple(final))
