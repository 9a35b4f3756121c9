"""What the layers of JAX's family share: compiled calls on NumPy arrays, gradients by ``jax.vjp``.

JAX knows no float64 until it is told to; with it, arrays made without a dtype become float64. So it
is switched on around the calls of float64 cases alone, and float32 runs as it does by default.
Calls are compiled, as JAX is used; what is compiled is kept, since compiling takes far longer than
any case: one function for each layer, and JAX itself tells the shapes apart.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, ClassVar, TypeAlias

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ..framework import FrameworkSubject, imported, within
from ..protocol import Built, Cotangents, Inputs, Pulled, Result

Function: TypeAlias = Callable[[Mapping[str, Any], Any, Any, Any], tuple[Any, tuple[Any, ...]]]
"""(arrays by the convention's names, x, states or None, lengths or None) to (y, final states)."""

KEPT = 64
"""Layers whose compiled calls are kept."""


class JaxSubject(FrameworkSubject):
    """A layer that is a pure function of JAX arrays."""

    install: ClassVar[str]
    """What pip is given."""

    @abstractmethod
    def function(self, case: Case) -> Function:
        """Return the layer as a function; sizes and options are the case's, but not T and B."""

    def build(self, case: Case) -> Built:
        jax = imported("jax", self.install)
        with jax.enable_x64(case.dtype == "float64"):
            function = _compiled(self, _layer_alone(case))
        return _Called(jax, function, case)


def _layer_alone(case: Case) -> Case:
    """Return the case without what a layer does not depend on: its numbers, steps and rows."""
    kept = Case(1, 1, case.D, case.H, bias=case.bias, layers=case.layers, dtype=case.dtype)
    return replace(kept, bidirectional=case.bidirectional, layout=case.layout)


@lru_cache(maxsize=KEPT)
def _compiled(subject: JaxSubject, case: Case) -> Function:
    jax = imported("jax", subject.install)
    compiled: Function = jax.jit(subject.function(case))
    return compiled


@dataclass(frozen=True)
class _Called:
    jax: Any
    function: Function
    case: Case

    def forward(self, inputs: Inputs) -> Result:
        with self.jax.enable_x64(self.case.dtype == "float64"):
            return self._result(inputs, self.function(*self._arguments(inputs)))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Run the layer once; what it returns beyond a row's length is nobody's, so 0 goes back."""
        with self.jax.enable_x64(self.case.dtype == "float64"):
            *given, lengths = self._arguments(inputs)
            function = partial(_without_lengths, self.function, lengths)
            outputs, pull = self.jax.vjp(function, *given)
            result = self._result(inputs, outputs)
            pulled = []
            for dy, dfinal in cotangents:
                heads = _heads(self.jax, outputs, _within(dy, inputs.lengths), dfinal)
                named, dx, dstate = pull(heads)
                parameters = {name: np.array(d) for name, d in named.items()}
                initial = tuple(np.array(d) for d in dstate or ())
                pulled.append(Pulled(result.y, result.final, parameters, np.array(dx), initial))
            return pulled

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        with self.jax.enable_x64(self.case.dtype == "float64"):
            *given, lengths = self._arguments(inputs)
            *along, _ = self._arguments(tangents)
            function = partial(_without_lengths, self.function, lengths)
            _, derivative = self.jax.jvp(function, given, along)
            return self._result(inputs, derivative)

    def train(self, training: bool) -> None:
        raise NotImplementedError("it has no modes")

    def _arguments(self, inputs: Inputs) -> tuple[Any, Any, Any, Any]:
        """Return the inputs in JAX's own memory."""
        array = self.jax.numpy.array
        named = {name: array(a) for name, a in inputs.parameters.items()}
        state = None if inputs.state is None else tuple(map(array, inputs.state))
        lengths = None if inputs.lengths is None else array(inputs.lengths.astype(np.int32))
        return named, array(inputs.x), state, lengths

    @staticmethod
    def _result(inputs: Inputs, outputs: tuple[Any, tuple[Any, ...]]) -> Result:
        y, final = outputs
        return Result(within(np.array(y), inputs.lengths), tuple(np.array(s) for s in final))


def _without_lengths(function: Callable[..., Any], lengths: Any, *given: Any) -> Any:
    """Call a function of lengths, which have no derivative, with the other arguments."""
    return function(*given, lengths)


def _within(dy: Floats | None, lengths: Floats | None) -> Floats | None:
    return None if dy is None else within(dy, lengths)


def _heads(
    jax: Any, outputs: Any, dy: Floats | None, dfinal: Sequence[Floats | None]
) -> tuple[Any, tuple[Any, ...]]:
    """Return cotangents as JAX takes them, which knows no None: zeros instead."""

    def head(output: Any, d: Floats | None) -> Any:
        return jax.numpy.array(np.zeros(output.shape, output.dtype) if d is None else d)

    y, final = outputs
    return head(y, dy), tuple(head(s, d) for s, d in zip(final, dfinal, strict=True))


def laid_out(case: Case, x: Any) -> Any:
    """Return x (T, B, D) with the axes that the case's layout has."""
    if case.layout == "unbatched":
        return x[:, 0]
    return x.swapaxes(0, 1) if case.layout == "batch-first" else x


def as_drawn(case: Case, y: Any) -> Any:
    """Return outputs in the case's layout as (T, B, width)."""
    if case.layout == "unbatched":
        return y[:, None]
    return y.swapaxes(0, 1) if case.layout == "batch-first" else y


def one_layer_states(state: tuple[Any, ...] | None, k: int) -> tuple[Any, ...] | None:
    """Return the states (B, width) of one pass, or None."""
    return None if state is None else tuple(s[k] for s in state)


def stacked(jax: Any, states: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Return the states of all passes, (passes, B, width) each, from those of every pass."""
    return tuple(jax.numpy.stack(parts) for parts in zip(*states, strict=True))
