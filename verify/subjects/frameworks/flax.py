"""Flax's recurrent layers in both APIs: ``RNN`` and ``Bidirectional`` around a cell.

Cells of ``flax.linen`` and ``flax.nnx`` with the same name differ: nnx's GRUCell has no b_hn,
although its docstring states it, and the two APIs pack the parameters differently.
States (carries) are (c, h). The layers run on beyond a row's length, which is documented; a row of
length 0 ends in the state of the *last step*, since the index of its last step, -1, wraps around.
So rows of length 0 are not offered. Flax does not stack layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ...conventions.parameter_map import suffixes
from ..framework import from_layout, imported, to_layout
from .jax_arrays import Function, JaxSubject, one_layer_states, stacked

FAMILIES = {"flax-linen": ("flax", "jax"), "flax-nnx": ("flax", "jax")}
INSTALL = "flax"

Path = tuple[str, ...]


@dataclass(frozen=True)
class FlaxLayer(JaxSubject):
    """``RNN(kind)``, or ``Bidirectional(RNN(kind), RNN(kind))`` for two directions."""

    kind: str = ""

    install: ClassVar[str] = INSTALL

    def version(self) -> str:
        flax, jax = imported("flax", self.install), imported("jax", self.install)
        api = self.name.partition(":")[0].partition("-")[2]
        return f"flax {flax.__version__} {api} (jax {jax.__version__}, {jax.default_backend()})"

    def paths(self, case: Case) -> dict[str, Path]:
        """Return the path of each of the convention's arrays in the module."""
        rnns: tuple[Path, ...] = ((),)
        if case.bidirectional:
            rnns = (("forward_rnn",), ("backward_rnn",))
        return {
            f"{packed.name}{suffix}": (*rnn, "cell", *self.path(packed.name))
            for suffix, rnn in zip(suffixes(case), rnns, strict=True)
            for packed in self.convention.arrays()
        }

    def path(self, name: str) -> Path:
        """Return the path of one of the convention's arrays in the cell."""
        raise NotImplementedError

    @property
    def stored(self) -> Stored:
        """The paths in the tree of parameters, joined by ``/``."""
        arrays = [packed.name for packed in self.convention.arrays()]
        keys = tuple((a, "/".join(("{direction}cell", *self.path(a)))) for a in arrays)
        return Stored(keys, ("", "forward_rnn/", "backward_rnn/"))


class LinenLayer(FlaxLayer):
    """A layer of ``flax.linen``, where parameters are an argument of the call."""

    def path(self, name: str) -> Path:
        """Return the name of the dense layer, ``ii``, ``hf``, ..., and of its array."""
        if name == "bias_hn":
            return "hn", "bias"
        array, gate = (name, "") if self.kind == "SimpleCell" else (name[:-2], name[-1])
        biased = "h" if self.convention.family == "lstm" else "i"
        side = {"weight_ih": "i", "weight_hh": "h", "bias": biased}[array]
        return side + gate, "bias" if array == "bias" else "kernel"

    def function(self, case: Case) -> Function:
        jax, nn = imported("jax", self.install), imported("flax.linen", self.install)
        rnns = [
            nn.RNN(getattr(nn, self.kind)(case.H, param_dtype=case.dtype))
            for _ in range(case.directions)
        ]
        module = nn.Bidirectional(*rnns) if case.bidirectional else rnns[0]
        paths = self.paths(case)

        def run(parameters: Mapping[str, Any], x: Any, state: Any, lengths: Any) -> Any:
            tree: dict[str, Any] = {}
            for name, path in paths.items():
                _put(tree, path, parameters[name])

            def call(x: Any, **more: Any) -> Any:
                return module.apply({"params": tree}, x, **more)

            return _call_layer(jax, case, call, x, state, lengths)

        return run


class NnxLayer(FlaxLayer):
    """A layer of ``flax.nnx``, where the module holds the parameters."""

    def path(self, name: str) -> Path:
        """Return the name of the dense layer and of its array."""
        if self.kind == "LSTMCell":
            array, gate = name[:-2], name[-1]
            side = {"weight_ih": "i", "weight_hh": "h", "bias": "h"}[array]
            dense = "if_" if side + gate == "if" else side + gate
            return dense, "bias" if array == "bias" else "kernel"
        biased = "dense_h" if self.convention.family == "lstm" else "dense_i"
        dense = {"weight_ih": "dense_i", "weight_hh": "dense_h", "bias": biased}[name]
        return dense, "bias" if name == "bias" else "kernel"

    def function(self, case: Case) -> Function:
        """Return a function that puts the parameters into a copy of the module and calls it."""
        jax, nnx = imported("jax", self.install), imported("flax.nnx", self.install)
        rnns = [nnx.RNN(self._cell(nnx, case), rngs=nnx.Rngs(0)) for _ in range(case.directions)]
        layer = nnx.Bidirectional(*rnns) if case.bidirectional else rnns[0]
        graph, variables_of_layer = nnx.split(layer)
        flat, paths = dict(nnx.to_flat_state(variables_of_layer)), self.paths(case)

        def run(parameters: Mapping[str, Any], x: Any, state: Any, lengths: Any) -> Any:
            # copies, since calls write to counters of random numbers even if they draw none
            variables = {path: variable.copy() for path, variable in flat.items()}
            for name, path in paths.items():
                variables[path] = _with_array(flat[path], parameters[name], name)
            module = nnx.merge(graph, nnx.from_flat_state(variables.items()))
            return _call_layer(jax, case, module, x, state, lengths)

        return run

    def _cell(self, nnx: Any, case: Case) -> Any:
        zeros = nnx.initializers.zeros_init()
        # SimpleCell alone computes in float32 by default, whatever its parameters' dtype
        more = {"dtype": case.dtype} if self.kind == "SimpleCell" else {}
        return getattr(nnx, self.kind)(
            case.D, case.H, param_dtype=case.dtype, rngs=nnx.Rngs(0),
            kernel_init=zeros, recurrent_kernel_init=zeros, **more,
        )  # fmt: skip


def _put(tree: dict[str, Any], path: Path, array: Any) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = array


def _with_array(variable: Any, array: Any, name: str) -> Any:
    if variable.shape != array.shape:
        raise ValueError(f"{name}: expected shape {variable.shape}, got {array.shape}")
    return variable.replace(array)


def _call_layer(jax: Any, case: Case, call: Any, x: Any, state: Any, lengths: Any) -> Any:
    """Call a layer with x (T, B, D), converted to the case's layout."""
    more: dict[str, Any] = {} if lengths is None else {"seq_lengths": lengths}
    if state is not None:
        state = tuple(s[:, 0] for s in state) if case.layout == "unbatched" else state
        carries = [_carry(one_layer_states(state, k)) for k in range(case.directions)]
        more["initial_carry"] = tuple(carries) if case.bidirectional else carries[0]
    time_first = case.layout != "batch-first"
    carry, y = call(to_layout(case, x), time_major=time_first, return_carry=True, **more)
    final = stacked(jax, [_states(c) for c in (carry if case.bidirectional else (carry,))])
    if case.layout == "unbatched":
        final = tuple(s[:, None] for s in final)
    return from_layout(case, y), final


def _carry(states: Any) -> Any:
    """Return (c, h) of (h, c), and h of (h,)."""
    return states[::-1] if len(states) == 2 else states[0]


def _states(carry: Any) -> Any:
    return carry[::-1] if isinstance(carry, tuple) else (carry,)


_OPTIONS = Options(
    layers=False,
    bias=False,
    no_steps=True,
    jvp=True,
    batch_first=True,
    unbatched=True,
    reasons=(
        ("bias", "its cells always have one"),
        ("zero_length", "such a row ends in the state of the last step: index -1 wraps around"),
    ),
)


def _convention(family: str, order: str, *bias: str, layout: str) -> Convention:
    return Convention(
        family, order, bias, layout=layout, states=("c", "h") if family == "lstm" else ("h",),
        time="second", padding="runs on", empty_row="last step", merge="concatenated",
    )  # fmt: skip


_GATES_APART = "separate in-out"
_LSTM = _convention("lstm", "ifgo", "ifgo", layout=_GATES_APART)
_RNN = _convention("rnn", "a", "a", layout="in-out")

SUBJECTS = (
    LinenLayer("flax-linen:LSTM", _LSTM, _OPTIONS, kind="LSTMCell"),
    LinenLayer("flax-linen:OptimizedLSTM", _LSTM, _OPTIONS, kind="OptimizedLSTMCell"),
    LinenLayer(
        "flax-linen:GRU",
        _convention("gru", "rzn", "rzn", "m", layout=_GATES_APART),
        _OPTIONS,
        kind="GRUCell",
    ),
    LinenLayer("flax-linen:RNN", _RNN, _OPTIONS, kind="SimpleCell"),
    NnxLayer("flax-nnx:LSTM", _LSTM, _OPTIONS, kind="LSTMCell"),
    NnxLayer(
        "flax-nnx:OptimizedLSTM",
        _convention("lstm", "ifgo", "ifgo", layout="in-out"),
        _OPTIONS,
        kind="OptimizedLSTMCell",
    ),
    NnxLayer(
        "flax-nnx:GRU", _convention("gru", "rzn", "rzn", layout="in-out"), _OPTIONS, kind="GRUCell"
    ),
    NnxLayer("flax-nnx:RNN", _RNN, _OPTIONS, kind="SimpleCell"),
)
