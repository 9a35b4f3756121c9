"""The base class of cells: gates, states, traits, one step and its hand-derived VJP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Annotated, TypeAlias

import numpy as np

from .arrays import Array, Carried, Floats, Hidden, Input, Rows, Units
from .functions import zeros
from .parameters import Parameters, Shape, Sizes

State: TypeAlias = tuple[Carried, ...]
"""The arrays that a cell carries from step to step, (B, ...) each; most often the output first."""

Gates: TypeAlias = Mapping[str, Carried]
"""Intermediate values of one step by name."""


VJP: TypeAlias = tuple[Parameters, Rows, State]
"""The cotangents of a step's arguments: parameters, input and old state."""

ReadVJP: TypeAlias = tuple[Parameters, Rows, tuple[Carried | None, ...], tuple[Carried | None, ...]]
"""The cotangents of a readout's arguments: parameters, input, old states and new states."""


@dataclass(frozen=True)
class Limit:
    """The limit of one state after a step whose gates are saturated by their biases.

    ``opened`` gates are 1, ``shut`` gates 0. ``becomes`` is ``old`` (the state stays), ``zero``, or
    ``fresh`` (the old state has no influence).
    """

    statement: str
    opened: tuple[str, ...]
    shut: tuple[str, ...]
    state: str
    becomes: str


class Cell(ABC):
    """One member of the recurrent family.

    ``name`` is what users type, ``title`` what reports print, ``equations`` the names of the
    equations it computes, ``gates`` the letters along the gate axis, ``states`` the names of the
    arrays it carries. ``traits`` say which properties hold, so that checks can be chosen by them:

    * ``bounded``: the state lies in [-1, 1] when the initial state is.
    * ``surrogate``: its gradient is a straight-through estimate, not a derivative.
    * ``projected``: it takes a width P of the projected hidden state.
    * ``timed``: column 0 of its input is the time stamp.
    * ``readout``: its output is none of its states; ``readout`` computes it.
    """

    name: str
    title: str
    equations: tuple[str, ...]
    gates: tuple[str, ...]
    states: tuple[str, ...]
    traits: frozenset[str] = frozenset({"bounded"})
    limits: tuple[Limit, ...] = ()
    spans: Mapping[str, tuple[float, float]] = {}
    """The intervals of the parameters that are drawn uniformly; all others are normal."""

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shape of every parameter: here W (G, D, H), U (G, H, H) and b (G, H)."""
        return {
            "W": Shape(self.gates, (sizes.D, sizes.H)),
            "U": Shape(self.gates, (sizes.H, sizes.H)),
            "b": Shape(self.gates, (sizes.H,)),
        }

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the width of every state, in the order of ``states``."""
        return (sizes.H,) * len(self.states)

    def state_shapes(self, sizes: Sizes) -> tuple[tuple[int, ...], ...]:
        """Return the shape of one row of every state: here its width."""
        return tuple((width,) for width in self.widths(sizes))

    def input_width(self, sizes: Sizes) -> int:
        """Return the width of the input ``x``."""
        return sizes.D

    def feature(self, index: int, sizes: Sizes) -> str:
        """Return the name of one number of the input."""
        return f"feature {index}"

    def output_width(self, sizes: Sizes) -> int:
        """Return the width of the output of a step."""
        return self.widths(sizes)[0]

    def initial_state(self, like: Array, batch: int, sizes: Sizes) -> State:
        """Return the default state before the first step: zeros, (B, ...) each."""
        return tuple(zeros(like, (batch, *shape)) for shape in self.state_shapes(sizes))

    def random_parameters(self, rng: np.random.Generator, sizes: Sizes) -> Parameters:
        """Draw float64 parameters: N(0, 1/fan-in) weights, N(0, 1/4) vectors; none is zero."""
        shapes = self.shapes(sizes)
        drawn = {name: self.random_parameter(name, rng, shape) for name, shape in shapes.items()}
        return Parameters(shapes, drawn)

    def random_parameter(self, name: str, rng: np.random.Generator, shape: Shape) -> Floats:
        """Draw one float64 parameter."""
        if name in self.spans:
            return rng.uniform(*self.spans[name], shape.full)
        fan_in = shape.axes[0] if len(shape.axes) > 1 else 4
        drawn: Floats = rng.standard_normal(shape.full) / np.sqrt(fan_in)
        return drawn

    def random_state(self, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Draw one float64 state from N(0, 1)."""
        return rng.standard_normal(shape)

    def random_input(
        self, rng: np.random.Generator, steps: int, batch: int, sizes: Sizes
    ) -> Annotated[Floats, "T B _"]:
        """Draw a float64 input sequence (T, B, input width) from N(0, 1)."""
        return rng.standard_normal((steps, batch, self.input_width(sizes)))

    @abstractmethod
    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Return the next state and the step's intermediate values. ``x`` is (B, input width)."""

    @abstractmethod
    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull a cotangent on the new state back to (parameters, input, old state).

        ``gates`` and ``new`` are the results of ``step`` at the same point.
        """

    def no_output(self, state: State) -> Rows:
        """Return an output of zeros for the rows of ``state``."""
        return zeros(state[0], state[0].shape)

    def readout(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State) -> Rows:
        """Return the output of a step (B, width), by default the first state."""
        return new[0]

    def readout_vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, dy: Rows
    ) -> ReadVJP:
        """Pull a cotangent on the output of ``readout`` back to its arguments.

        The cotangents are those of the parameters, the input, the old and the new states; None for
        a state that the output does not depend on.
        """
        raise NotImplementedError(f"{self.name}: its output is its first state")

    def state_from_outputs(self, p: Parameters, x: Rows, before: Rows, h: Rows) -> State | None:
        """Return the state after a step from its input and the outputs before and after it.

        None where the outputs do not determine the state. ``x`` is (B, input width).
        """
        return (h,) if len(self.states) == 1 and "readout" not in self.traits else None

    def __repr__(self) -> str:
        return f"<cell {self.name}>"


def total(arrays: list[Annotated[Array, "..."]]) -> Annotated[Array, "..."]:
    """Return the sum of a non-empty list."""
    return reduce(add, arrays)


def affine_vjp(
    p: Parameters,
    x: Input,
    h: Hidden,
    dz: Mapping[str, Units],
    recurrent: Mapping[str, Units] | None = None,
) -> tuple[dict[str, Array], Input, Hidden]:
    """Pull cotangents dz of z_k = x W_k + h U_k + b_k back to the parameters, to x and to h.

    ``recurrent`` are those of u_k = h U_k, where they are not dz. Returns the arrays for W,
    U and b, then dx and dh.
    """
    gates = p.shapes["W"].gates
    dz_row: Array = np.concatenate([dz[k] for k in gates], axis=1)  # (B, G H): one product for all
    du_row = dz_row if recurrent is None else np.concatenate([recurrent[k] for k in gates], axis=1)
    arrays: dict[str, Array] = {
        "W": _by_gate(x.T @ dz_row, len(gates)),
        "U": _by_gate(h.T @ du_row, len(gates)),
        "b": dz_row.sum(axis=0).reshape(len(gates), -1),
    }
    return arrays, dz_row @ p.rows("W"), du_row @ p.rows("U")


def _by_gate(row: Annotated[Array, "_ _"], gates: int) -> Annotated[Array, "_ _ _"]:
    """Return (G, D, H), given the gates side by side (D, G H)."""
    H = row.shape[1] // gates
    return np.stack([row[:, k * H : (k + 1) * H] for k in range(gates)])


def input_vjp(p: Parameters, x: Input, dz: Mapping[str, Units]) -> tuple[dict[str, Array], Input]:
    """Pull cotangents dz of z_k = x W_k + b_k back to the arrays W and b, and to x."""
    arrays: dict[str, Array] = {
        "W": np.stack([x.T @ dz[k] for k in p.shapes["W"].gates]),
        "b": np.stack([dz[k].sum(axis=0) for k in p.shapes["b"].gates]),
    }
    return arrays, total([dz[k] @ getattr(p, f"W_{k}").T for k in p.shapes["W"].gates])
