"""Any code at all: ``cell``, ``forward`` and optionally ``vjp``, with NumPy at the border.

.. code-block:: python

    class MyLSTM:
        cell = "lstm"

        def forward(self, params, x, state):  # params["W"] (G, D, H) or params.W_f (D, H)
            return y, (h, c)  # y (T, B, H), states (B, H)

        def vjp(self, params, x, state, dy, dstate):
            return {"W": ..., "U": ..., "b": ...}, dx, (dh0, dc0)

A ``lengths`` argument of ``forward`` and ``vjp`` offers sequences of different lengths, ``jvp``
(params, x, state, dparams, dx, dstate) forward-mode derivatives; an attribute ``dtypes``,
``("float32",)`` for instance, says that it computes in those alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...reference.cell import State
from ...reference.cells import cell_named
from ...reference.errors import InputError
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ExplicitMap
from .loader import UnknownSubject
from .protocol import Cotangents, Inputs, Pulled, Result

PLAIN = Case(2, 2, 2, 3)
LONGEST_REASON = 200
CALL = '''

def make():
    return Layer() if isinstance(Layer, type) else Layer


class Parameters(dict):
    """params["W"] (G, D, H), and params.W_f (D, H), the slice of a gate."""

    def __getattr__(self, name):
        array, _, gate = name.partition("_")
        return self[name] if name in self else self[array][GATES[array].index(gate)]


def call(layer, parameters, x, state, lengths=None, dy=None, dfinal=None):
    """Call the layer, and return everything it computes, by name."""
    named = Parameters({name.rpartition("_l")[0]: a for name, a in parameters.items()})
    state = None if state is None else tuple(s[0] for s in state)
    more = {} if lengths is None else {"lengths": lengths}
    y, final = layer.forward(named, x, state, **more)
    final = final if isinstance(final, (tuple, list)) else (final,)
    result = {"y": np.asarray(y)}
    for name, s in zip(STATES, final):
        result[f"final {name}"] = np.asarray(s)[None]
    if dfinal is not None:
        ends = tuple(np.zeros_like(s) if d is None else d[0] for d, s in zip(dfinal, final))
        dy = np.zeros_like(y) if dy is None else dy
        dparams, dx, dstate = layer.vjp(named, x, state, dy, ends, **more)
        for name in parameters:
            result[f"gradient of {name}"] = np.asarray(dparams[name.rpartition("_l")[0]])
        result["gradient of x"] = np.asarray(dx)
        for name, d in zip(STATES, dstate if isinstance(dstate, (tuple, list)) else (dstate,)):
            result[f"gradient of initial {name}"] = np.asarray(d)[None]
    return result

'''


@dataclass(frozen=True)
class Explicit:
    """A class (made anew for every case) or an object with ``cell`` and ``forward``."""

    name: str
    value: Any
    options: Options
    dtypes: tuple[str, ...] = ("float64", "float32")
    import_lines: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The cell it claims."""
        return (str(self.value.cell),)

    def version(self) -> str:
        """Return its version, if it says one."""
        return str(getattr(self.value, "version", ""))

    def cell(self, case: Case) -> str:
        """Return the cell it claims."""
        return self.cells[0]

    def parameter_map(self, case: Case) -> ExplicitMap:
        """Return the map of the reference's own layout."""
        return ExplicitMap(self.cells[0], case)

    def caller(self, case: Case) -> str:
        """Return source that imports and calls it."""
        cell = cell_named(self.cells[0])
        gates = {name: list(shape.gates) for name, shape in cell.shapes(case.sizes).items()}
        names = f"\nGATES = {gates}\nSTATES = {list(cell.states)}\n"
        return self.import_lines + names + CALL if self.import_lines else ""

    def build(self, case: Case) -> _Built:
        """Return it, ready to be called."""
        made = self.value() if isinstance(self.value, type) else self.value
        return _Built(made, self, case)


@dataclass(frozen=True)
class _Built:
    made: Any
    subject: Explicit
    case: Case

    def forward(self, inputs: Inputs) -> Result:
        y, final = self.made.forward(*self._arguments(inputs), **_lengths(inputs))
        return Result(np.asarray(y), _with_passes(final))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        outputs = self.forward(inputs)
        pulled = []
        for dy, dfinal in cotangents:
            ends = tuple(
                np.zeros_like(s[0]) if d is None else d[0]
                for d, s in zip(dfinal, outputs.final, strict=True)
            )
            given = np.zeros_like(outputs.y) if dy is None else dy
            dp, dx, dstate = self.made.vjp(
                *self._arguments(inputs), given, ends, **_lengths(inputs)
            )
            named = {f"{name}_l0": np.asarray(dp[name]) for name in dp}
            initial = _with_passes(dstate) if inputs.state is not None else ()
            pulled.append(Pulled(outputs.y, outputs.final, named, np.asarray(dx), initial))
        return pulled

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        p, _, dstate = self._arguments(tangents)
        dy, dfinal = self.made.jvp(*self._arguments(inputs), p, tangents.x, dstate)
        return Result(np.asarray(dy), _with_passes(dfinal))

    def train(self, training: bool) -> None:
        raise NotImplementedError("explicit layers have no modes")

    def _arguments(self, inputs: Inputs) -> tuple[Parameters, Array, State | None]:
        (p,) = self.subject.parameter_map(self.case).to_reference(inputs.parameters)
        state = None if inputs.state is None else tuple(s[0] for s in inputs.state)
        return p, inputs.x, state


def _lengths(inputs: Inputs) -> dict[str, Array]:
    return {} if inputs.lengths is None else {"lengths": inputs.lengths}


def _with_passes(states: Any) -> State:
    """Return states with the axis of layers and directions that the protocol has."""
    arrays = states if isinstance(states, tuple | list) else (states,)
    return tuple(np.asarray(s)[None] for s in arrays)


def explicit(value: Any, name: str, import_lines: str = "") -> Explicit:
    """Return the subject that an object is, with what it offers."""
    try:
        cell = cell_named(str(value.cell))
    except InputError as error:
        own = "a recurrence of another kind has cell = None, or its step"
        raise UnknownSubject(f"subject {name!r}: {error}; {own}") from error
    taken = inspect.signature(value.forward).parameters
    options = Options(
        layers=False,
        bidirectional=False,
        lengths="lengths" in taken,
        projection="projected" in cell.traits,
        gradient=hasattr(value, "vjp"),
        jvp=hasattr(value, "jvp"),
    )
    dtypes = tuple(getattr(value, "dtypes", ("float64", "float32")))
    return _tried(Explicit(name, value, options, dtypes, import_lines))


def _tried(subject: Explicit) -> Explicit:
    """Return the subject with the options that it turns out to have."""
    from .called import NotOffered, with_care
    from .inputs import draw_cotangents, draw_inputs

    cases = {
        "default_state": replace(PLAIN, state=False),
        "no_steps": replace(PLAIN, T=0),
        "zero_length": replace(PLAIN, B=3, lengths=True, zero_length=True),
    }
    reasons, offered = {}, {}
    for option, case in cases.items():
        if option == "zero_length" and not subject.options.lengths:
            offered[option] = False
            continue
        built = with_care(partial(subject.build, case))
        try:
            with_care(partial(built.forward, draw_inputs(subject, case)))
            offered[option] = True
        except Exception as error:
            offered[option], reasons[option] = False, str(error)[:LONGEST_REASON]
    plain = replace(PLAIN, state=not offered["default_state"])
    inputs, built = draw_inputs(subject, plain), with_care(partial(subject.build, plain))
    equal = replace(inputs, lengths=np.full(plain.B, plain.T))
    calls: dict[str, Callable[[], object]] = {
        "lengths": partial(built.forward, equal),
        "gradient": partial(built.gradients, inputs, [draw_cotangents(subject, plain)]),
        "jvp": partial(built.jvp, inputs, inputs),
    }
    for option, call in calls.items():
        if not getattr(subject.options, option):
            continue
        try:
            with_care(call)
        except NotOffered as said:
            offered[option], reasons[option] = False, str(said)[:LONGEST_REASON]
        except Exception:  # noqa: S112 - what it takes, it has to do right: a check will say so
            continue
    if not offered.get("lengths", True):
        offered["zero_length"] = False
    options = replace(subject.options, **offered, reasons=tuple(reasons.items()))
    return replace(subject, options=options)
