"""Equinox's ``LSTMCell`` and ``GRUCell``, scanned over time and mapped over the batch.

The cells take one step of one row and have no layer around them; the adapter wraps them into
``jax.lax.scan``, as their documentation does. They require an initial state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ..framework import imported
from .jax_arrays import Function, JaxSubject

FAMILIES = {"equinox": ("equinox", "jax")}
INSTALL = "equinox"

FIELDS = {array: array for array in ("weight_ih", "weight_hh", "bias")} | {"bias_hn": "bias_n"}
"""The cells' names of the convention's arrays."""


@dataclass(frozen=True)
class EquinoxCell(JaxSubject):
    """A cell of ``equinox.nn``."""

    kind: str = ""

    install: ClassVar[str] = INSTALL
    stored: ClassVar[Stored] = Stored(tuple(FIELDS.items()))

    def version(self) -> str:
        equinox, jax = imported("equinox", self.install), imported("jax", self.install)
        return f"equinox {equinox.__version__} (jax {jax.__version__}, {jax.default_backend()})"

    def function(self, case: Case) -> Function:
        jax, equinox = imported("jax", self.install), imported("equinox", self.install)
        make, key = getattr(equinox.nn, self.kind), jax.random.key(0)
        plain = equinox.filter_eval_shape(
            lambda: make(case.D, case.H, use_bias=case.bias, dtype=case.dtype, key=key)
        )
        arrays = [packed.name for packed in self.convention.arrays(bias=case.bias)]

        def run(parameters: Mapping[str, Any], x: Any, state: Any, lengths: Any) -> Any:
            values = [parameters[f"{array}_l0"] for array in arrays]
            cell = equinox.tree_at(
                lambda cell: [getattr(cell, FIELDS[array]) for array in arrays], plain, values
            )

            def step(state: Any, x_t: Any) -> tuple[Any, Any]:
                after = jax.vmap(cell)(x_t, state)
                return after, after[0] if isinstance(after, tuple) else after

            first = tuple(s[0] for s in state)
            final, y = jax.lax.scan(step, first if len(first) > 1 else first[0], x)
            return y, tuple(s[None] for s in (final if isinstance(final, tuple) else (final,)))

        return run


_OPTIONS = Options(
    layers=False,
    bidirectional=False,
    lengths=False,
    default_state=False,
    jvp=True,
    reasons=(("default_state", "its cells take a state at every step"),),
)

SUBJECTS = (
    EquinoxCell(
        "equinox:LSTM",
        Convention("lstm", "ifgo", ("ifgo",), time="one step", states=("h", "c")),
        _OPTIONS,
        kind="LSTMCell",
    ),
    EquinoxCell(
        "equinox:GRU",
        Convention("gru", "rzn", ("rzn", "m"), time="one step", states=("h",)),
        _OPTIONS,
        kind="GRUCell",
    ),
)
