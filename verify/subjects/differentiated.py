"""Calls of code in torch or JAX: conversion of arrays, and gradients by the framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from .framework import imported
from .protocol import Cotangents, Inputs, Pulled, Result
from .torch_module import array_of, gradients, one_thread, precise, tensor_of

STATE_NAMES = ("state", "states", "hx", "hidden", "carry")
"""The names of an argument for the initial state."""


@dataclass(frozen=True)
class Arrays:
    """Conversions between NumPy's arrays and those with which code is called."""

    into: Callable[[Floats], Any] = lambda array: array
    back: Callable[[Any], Floats] = np.asarray
    stack: Callable[[Sequence[Any]], Any] = np.stack
    setting: Callable[[], AbstractContextManager[Any]] = nullcontext


def arrays_of(gradient: str, case: Case | None = None, device: str = "cpu") -> Arrays:
    """Return the conversions of a framework, ``torch`` or ``jax``; of NumPy for other names.

    Those of torch are on a device, which computes in the case's arithmetic.
    """
    if gradient == "torch":
        torch = imported("torch", "torch")
        return Arrays(
            lambda a: tensor_of(torch, np.array(a, order="C"), device), partial(array_of, torch),
            torch.stack, partial(_setting, torch, case, device),
        )  # fmt: skip
    if gradient == "jax":
        jax = imported("jax", "jax")
        jax.config.update("jax_enable_x64", True)
        return Arrays(jax.numpy.asarray, np.asarray, jax.numpy.stack)
    return Arrays()


@contextmanager
def _setting(torch: Any, case: Case | None, device: str) -> Iterator[None]:
    with one_thread(torch), precise(torch, case, device) if case else nullcontext():
        yield


class Differentiable(Protocol):
    """A call of code in torch or JAX."""

    @property
    def arrays(self) -> Arrays:
        """The conversions of its framework."""

    def outputs(self, inputs: Inputs, leaves: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Return y (T, B, width) and states (B, ...), given the inputs' leaves."""

    def result(self, y: Any, final: Sequence[Any]) -> Result:
        """Return outputs and states as NumPy arrays."""


def run_converted(call: Differentiable, inputs: Inputs) -> Result:
    """Call code once, with arrays of its framework; return NumPy's."""
    with call.arrays.setting():
        leaves = {name: call.arrays.into(array) for name, array in inputs.leaves.items()}
        return call.result(*call.outputs(inputs, leaves))


def result_of_pass(arrays: Arrays, y: Any, final: Sequence[Any]) -> Result:
    """Return y (T, B, H) and states (B, H) of the one pass as NumPy arrays, states (1, B, H)."""
    return Result(arrays.back(y), tuple(arrays.back(s)[None] for s in final))


def pulled_by(
    framework: str, call: Differentiable, inputs: Inputs, cotangents: Sequence[Cotangents]
) -> list[Pulled]:
    """Call once and pull cotangents back, by the differentiation of ``torch`` or ``jax``."""
    return {"torch": _by_torch, "jax": _by_jax}[framework](call, inputs, cotangents)


def _by_torch(
    call: Differentiable, inputs: Inputs, cotangents: Sequence[Cotangents]
) -> list[Pulled]:
    torch = imported("torch", "torch")
    leaves = {k: call.arrays.into(a).requires_grad_() for k, a in inputs.leaves.items()}
    y, final = call.outputs(inputs, leaves)
    pulled = []
    for pair in cotangents:
        pairs = [
            (o, call.arrays.into(d))
            for o, d in zip((y, *final), each_cotangent(pair), strict=True)
            if d is not None and (o.requires_grad or len(inputs.x))  # of no steps, all is given
        ]
        named = {k: call.arrays.back(d) for k, d in gradients(torch, pairs, leaves).items()}
        pulled.append(Pulled.of_leaves(call.result(y, final), named))
    return pulled


def _by_jax(call: Differentiable, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
    jax = imported("jax", "jax")
    leaves = {k: call.arrays.into(a) for k, a in inputs.leaves.items()}
    outputs, pull = jax.vjp(lambda named: call.outputs(inputs, named), leaves)
    pulled = []
    for pair in cotangents:
        directions = [
            jax.numpy.zeros_like(o) if d is None else call.arrays.into(d)
            for o, d in zip((outputs[0], *outputs[1]), each_cotangent(pair), strict=True)
        ]
        (named,) = pull((directions[0], tuple(directions[1:])))
        back = {k: np.array(d) for k, d in named.items()}
        pulled.append(Pulled.of_leaves(call.result(*outputs), back))
    return pulled


def each_cotangent(pair: Cotangents) -> list[Floats | None]:
    """Return the cotangents of y (T, B, H) and of each final state (B, H)."""
    dy, dfinal = pair
    return [dy, *(None if d is None else d[0] for d in dfinal)]
