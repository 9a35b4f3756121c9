"""Haiku's ``LSTM``, ``GRU`` and ``VanillaRNN``, called by Haiku's ``dynamic_unroll``.

The LSTM's gates lie in the order i, g, f, o, in one kernel for [x, h], and 1 is added to the forget
gate at every call (its documentation says "after initialization"). The GRU resets before the
product, and its z is the share of the new state. The RNN's activation is ReLU. Layers are stacked
by ``DeepRNN``. There are no directions (``reverse`` is an option of single units) and no lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ..framework import from_layout, imported, to_layout
from .jax_arrays import Function, JaxSubject, one_layer_states, stacked

FAMILIES = {"haiku": ("haiku", "jax")}
INSTALL = "dm-haiku 'jax[cpu]'"


@dataclass(frozen=True)
class HaikuCore(JaxSubject):
    """A core of Haiku; ``module`` is the name of the module that holds its parameters."""

    kind: str = ""
    module: str = ""

    install: ClassVar[str] = INSTALL

    def version(self) -> str:
        haiku, jax = imported("haiku", self.install), imported("jax", self.install)
        return f"dm-haiku {haiku.__version__} (jax {jax.__version__}, {jax.default_backend()})"

    @property
    def stored(self) -> Stored:
        """The modules and names of the parameters, joined by ``/``."""
        places = _NAMES[self.kind].items()
        return Stored(
            tuple((a, f"{self.module}{{later}}{inner}/{name}") for a, (inner, name) in places)
        )

    def function(self, case: Case) -> Function:
        jax, haiku = imported("jax", self.install), imported("haiku", self.install)
        time_first = case.layout != "batch-first"

        def unroll(x: Any, state: Any) -> Any:
            cores = [getattr(haiku, self.kind)(case.H) for _ in range(case.layers)]
            core = haiku.DeepRNN(cores) if case.layers > 1 else cores[0]
            if state is None:
                first = core.initial_state(x.shape[1 if time_first else 0])
            else:
                firsts = [self._state(haiku, state, k) for k in range(case.layers)]
                first = tuple(firsts) if case.layers > 1 else firsts[0]
            return haiku.dynamic_unroll(core, x, first, time_major=time_first)

        apply = haiku.without_apply_rng(haiku.transform(unroll)).apply

        def run(parameters: Mapping[str, Any], x: Any, state: Any, lengths: Any) -> Any:
            tree = self._tree(case, parameters)
            y, final = apply(tree, to_layout(case, x), state)
            finals = [_arrays(s) for s in (final if case.layers > 1 else (final,))]
            return from_layout(case, y), stacked(jax, finals)

        return run

    def _tree(self, case: Case, parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        tree: dict[str, dict[str, Any]] = {}
        for k in range(case.layers):
            module = self.module + (f"_{k}" if k else "")
            for packed in self.convention.arrays():
                inner, name = _NAMES[self.kind][packed.name]
                tree.setdefault(module + inner, {})[name] = parameters[f"{packed.name}_l{k}"]
        return tree

    def _state(self, haiku: Any, state: Any, k: int) -> Any:
        arrays = one_layer_states(state, k) or ()
        return haiku.LSTMState(*arrays) if self.kind == "LSTM" else arrays[0]


def _arrays(state: Any) -> tuple[Any, ...]:
    return tuple(state) if isinstance(state, tuple) else (state,)


_NAMES = {
    "LSTM": {"weight": ("/linear", "w"), "bias": ("/linear", "b")},
    "GRU": {"weight_ih": ("", "w_i"), "weight_hh": ("", "w_h"), "bias": ("", "b")},
    "VanillaRNN": {
        "weight_ih": ("/linear", "w"),
        "bias_ih": ("/linear", "b"),
        "weight_hh": ("/linear_1", "w"),
        "bias_hh": ("/linear_1", "b"),
    },
}
"""The place of each of the convention's arrays: the module within the core's, and its name."""

_OPTIONS = Options(
    bidirectional=False,
    bias=False,
    lengths=False,
    no_steps=True,
    jvp=True,
    batch_first=True,
    reasons=(("bias", "its cores always have one"),),
)

SUBJECTS = (
    HaikuCore(
        "haiku:LSTM",
        Convention("lstm", "igfo", ("igfo",), layout="joint", forget_offset=1.0, states=("h", "c")),
        _OPTIONS,
        kind="LSTM",
        module="lstm",
    ),
    HaikuCore(
        "haiku:GRU",
        Convention(
            "gru", "zrn", ("zrn",), layout="in-out", reset="before", update="take", states=("h",)
        ),
        _OPTIONS,
        kind="GRU",
        module="gru",
    ),
    HaikuCore(
        "haiku:RNN",
        Convention("rnn", "a", ("a", "a"), layout="in-out", candidate="relu", states=("h",)),
        _OPTIONS,
        kind="VanillaRNN",
        module="vanilla_rnn",
    ),
)
