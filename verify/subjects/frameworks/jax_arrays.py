"""Common code of layers in JAX: compiled calls on NumPy arrays, gradients by ``jax.vjp``.

JAX disables float64 by default; if enabled, arrays without a dtype become float64. So it is enabled
around the calls of float64 cases alone, and float32 runs as by default.
Calls are compiled, as is usual with JAX. Compiled functions are cached, since compiling takes far
longer than any case: one function for each layer, which JAX specialises by shape.
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
"""The number of layers whose compiled functions are cached."""


class JaxSubject(FrameworkSubject):
    """A layer that is a pure function of JAX arrays."""

    install: ClassVar[str]
    """The arguments of pip."""

    @abstractmethod
    def function(self, case: Case) -> Function:
        """Return the layer as a function with the case's sizes and options, for any T and B."""

    def build(self, case: Case) -> Built:
        jax = imported("jax", self.install)
        with jax.enable_x64(case.dtype == "float64"):
            function = _compiled(self, _layer_alone(case))
        return _Called(jax, function, case)


def _layer_alone(case: Case) -> Case:
    """Return the case without steps, rows and seed, on which a layer does not depend."""
    case_of_layer = Case(1, 1, case.D, case.H, bias=case.bias, layers=case.layers, dtype=case.dtype)
    return replace(case_of_layer, bidirectional=case.bidirectional, layout=case.layout)


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
        """Run the layer once; cotangents beyond a row's length are set to 0."""
        with self.jax.enable_x64(self.case.dtype == "float64"):
            *arguments, lengths = self._arguments(inputs)
            function = partial(_without_lengths, self.function, lengths)
            outputs, pull = self.jax.vjp(function, *arguments)
            result = self._result(inputs, outputs)
            pulled = []
            for dy, dfinal in cotangents:
                heads = _heads(self.jax, outputs, _with_zero_padding(dy, inputs.lengths), dfinal)
                named, dx, dstate = pull(heads)
                parameters = {name: np.array(d) for name, d in named.items()}
                initial = tuple(np.array(d) for d in dstate or ())
                pulled.append(Pulled(result.y, result.final, parameters, np.array(dx), initial))
            return pulled

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        with self.jax.enable_x64(self.case.dtype == "float64"):
            *arguments, lengths = self._arguments(inputs)
            *along, _ = self._arguments(tangents)
            function = partial(_without_lengths, self.function, lengths)
            _, derivative = self.jax.jvp(function, arguments, along)
            return self._result(inputs, derivative)

    def train(self, training: bool) -> None:
        raise NotImplementedError("it has no modes")

    def _arguments(self, inputs: Inputs) -> tuple[Any, Any, Any, Any]:
        """Return the inputs as arrays of JAX."""
        array = self.jax.numpy.array
        converted = inputs.map(array)
        lengths = None if inputs.lengths is None else array(inputs.lengths.astype(np.int32))
        return converted.parameters, converted.x, converted.state, lengths

    @staticmethod
    def _result(inputs: Inputs, outputs: tuple[Any, tuple[Any, ...]]) -> Result:
        y, final = outputs
        return Result(within(np.array(y), inputs.lengths), tuple(np.array(s) for s in final))


def _without_lengths(function: Callable[..., Any], lengths: Any, *arguments: Any) -> Any:
    """Call a function of lengths, which have no derivative, with the other arguments."""
    return function(*arguments, lengths)


def _with_zero_padding(dy: Floats | None, lengths: Floats | None) -> Floats | None:
    return None if dy is None else within(dy, lengths)


def _heads(
    jax: Any, outputs: Any, dy: Floats | None, dfinal: Sequence[Floats | None]
) -> tuple[Any, tuple[Any, ...]]:
    """Return the cotangents as arrays of JAX, with zeros for None."""

    def head(output: Any, d: Floats | None) -> Any:
        return jax.numpy.array(np.zeros(output.shape, output.dtype) if d is None else d)

    y, final = outputs
    return head(y, dy), tuple(head(s, d) for s, d in zip(final, dfinal, strict=True))


def one_layer_states(state: tuple[Any, ...] | None, k: int) -> tuple[Any, ...] | None:
    """Return the states (B, width) of one pass, or None."""
    return None if state is None else tuple(s[k] for s in state)


def stacked(jax: Any, states: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Stack the states of all passes to (passes, B, width) each."""
    return tuple(jax.numpy.stack(parts) for parts in zip(*states, strict=True))
