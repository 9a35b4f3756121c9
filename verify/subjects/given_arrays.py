"""Layers whose cell reads its gates as inputs: a class that takes named arrays of sequences.

.. code-block:: python

    class MyDelta:
        cell, axes, gradient = "gated-delta", "BTD", "torch"

        def forward(self, q, k, v, g, beta, state):  # q (B, T, heads, K), state (B, heads, K, V)
            return o, state  # o (B, T, heads, V)

``axes``: ``TBD`` (default), ``BTD``, or ``BHTD`` with heads before time. ``gradient``: ``torch`` or
``jax``, whose differentiation and arrays are then used, or ``vjp``, a method that takes the same
arguments and ``dy`` and ``dstate``, and returns the gradients by name and those of the state;
otherwise there are no gradients. ``state`` is None for zeros, one array, or a tuple if the cell
has several; ``forward`` may also take ``lengths`` (B,), ``cu_seqlens`` (B + 1,) and a ``mask``
(see ``ragged``).

``form = "chunk:64"`` declares the algorithm, which has error bounds of its own; ``forms`` lists
several, one of which ``forward`` takes as its argument ``form``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ...reference.cells import cells
from ...reference.errors import InputError
from ...reference.forms import STEPS, form_named
from ...reference.gated_by_input import GatedByInput
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ExplicitMap
from .differentiated import (
    STATE_NAMES,
    Arrays,
    arrays_of,
    pulled_by,
    result_of_pass,
    run_converted,
)
from .framework import Plain
from .loader import UnknownSubject
from .protocol import Built, Cotangents, Inputs, OneCell, Pulled, Result
from .ragged import RaggedLayer, ragged_arguments, ragged_cases, ragged_options
from .torch_module import stated_version
from .trial import dtypes_of, run, working_options

AXES = ("TBD", "BTD", "BHTD")
GRADIENTS = ("", "torch", "jax", "vjp")
PLAIN = Case(3, 2, 2, 3)


@dataclass(frozen=True)
class GivenArrays(OneCell):
    """A class (instantiated for every case) or an object that takes the arrays of its cell."""

    name: str
    value: Any
    options: Options
    dtypes: tuple[str, ...] = ("float64", "float32")
    import_lines: str = field(default="", repr=False)
    device: str = "cpu"

    @property
    def forms(self) -> tuple[str, ...]:
        """The names of its forms; ``forward`` takes one of them as ``form``."""
        return tuple(getattr(self.value, "forms", ()))

    def in_form(self, name: str) -> GivenArrays:
        """Return the layer in a form; UnknownSubject if it has no such form."""
        if self.forms and name not in self.forms:
            raise UnknownSubject(
                f"subject {self.name!r}: its forms are {', '.join(self.forms)}, not {name}"
            )
        kinds = gated_by_input(self.cells[0]).form_kinds
        if name != STEPS and form_named(name).kind not in kinds:
            choices = f"no form {name}: it has {', '.join((STEPS, *kinds))}" if kinds else (
                "no other form than steps")  # fmt: skip
            raise UnknownSubject(f"subject {self.name!r}: {self.cells[0]} has {choices}")
        return replace(self, options=replace(self.options, program=name))

    @property
    def cells(self) -> tuple[str, ...]:
        """The cell that it claims to compute."""
        return (str(self.value.cell),)

    @property
    def axes(self) -> str:
        """The order of the first axes of its arrays."""
        return str(getattr(self.value, "axes", AXES[0]))

    @property
    def gradient(self) -> str:
        """The way of differentiation, one of ``GRADIENTS``; "" for none."""
        gradient = getattr(self.value, "gradient", "vjp" if hasattr(self.value, "vjp") else "")
        return str(gradient or "")

    def version(self) -> str:
        """Return the version that the code states, and that of what computes on a device."""
        version = getattr(self.value, "version", "")
        return stated_version(str(version() if callable(version) else version), self.device)

    def parameter_map(self, case: Case) -> ExplicitMap:
        """Return the map of the cell's own parameters, if it has any."""
        return ExplicitMap(self.cells[0], case)

    def build(self, case: Case) -> Built:
        """Return the layer, ready to be called."""
        layer = self.value() if isinstance(self.value, type) else self.value
        arrays = arrays_of(self.gradient.replace("vjp", ""), case, self.device)
        call = _Call(self, layer, arrays, case)
        return RaggedLayer(Plain(call.run, call.pull if self.gradient else None))


@dataclass(frozen=True)
class _Call:
    subject: GivenArrays
    layer: Any
    arrays: Arrays
    case: Case

    @property
    def cell(self) -> GatedByInput:
        """The cell, whose arrays have names."""
        return gated_by_input(self.subject.cells[0])

    def run(self, inputs: Inputs) -> Result:
        """Run the layer."""
        return run_converted(self, inputs)

    def pull(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Run the layer once and pull cotangents back."""
        with self.arrays.setting():
            if self.subject.gradient != "vjp":
                return pulled_by(self.subject.gradient, self, inputs, cotangents)
            return [self._by_vjp(inputs, pair) for pair in cotangents]

    def outputs(self, inputs: Inputs, leaves: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Call the layer with its kind of arrays; return y (T, B, width) and states (B, ...)."""
        states = [leaves.get(f"state {k}") for k in range(len(inputs.state or ()))]
        initial = tuple(None if s is None else s[0] for s in states)
        y, final = self.layer.forward(
            **self._arguments(self.layer.forward, inputs, leaves, initial)
        )
        final = tuple(final) if isinstance(final, tuple | list) else (final,)
        return self._flat(y, leaves["x"].shape[:2]), final

    def result(self, y: Any, final: Sequence[Any]) -> Result:
        """Return outputs and states as NumPy arrays; states with an axis of passes."""
        return result_of_pass(self.arrays, y, final)

    def _arguments(
        self,
        function: Callable[..., Any],
        inputs: Inputs,
        leaves: Mapping[str, Any],
        states: tuple[Any, ...],
    ) -> dict[str, Any]:
        """Return the arguments that the function takes, by name."""
        named: dict[str, Any] = {
            n: self._turned(a, self._axes_of(n))
            for n, a in self.cell.split(leaves["x"], self.case.sizes).items()
        }
        named |= {n.removesuffix("_l0"): leaves[n] for n in inputs.parameters}
        state = None if not states else states[0] if len(self.cell.states) == 1 else states
        named |= dict.fromkeys((*STATE_NAMES, "initial_state"), state)
        named |= ragged_arguments(inputs, partial(self._turned, axes=""), self.arrays.into)
        parameters = inspect.signature(function).parameters
        if self.subject.forms:
            named["form"] = self.case.form or self.subject.options.program
        return {name: named[name] for name in parameters if name in named}

    def _axes_of(self, name: str) -> str:
        return next(array.axes for array in self.cell.inputs if array.name == name)

    def _turned(self, array: Any, axes: str) -> Any:
        """Convert (T, B, ...) to the layer's order of axes; ``_back`` is the inverse."""
        if self.subject.axes == "TBD":
            return array
        array = array.swapaxes(0, 1)
        heads_first = self.subject.axes == "BHTD" and axes.startswith("N")
        return array.swapaxes(1, 2) if heads_first else array

    def _to_reference_axes(self, array: Any, axes: str) -> Any:
        if self.subject.axes == "BHTD" and axes.startswith("N"):
            array = array.swapaxes(1, 2)
        return array if self.subject.axes == "TBD" else array.swapaxes(0, 1)

    def _flat(self, y: Any, lead: tuple[int, ...]) -> Any:
        """Return outputs as (T, B, width), where ``lead`` is (T, B)."""
        axes = self.cell.output_axes
        wanted = (*lead, *self.cell.shape(axes, self.case.sizes))
        y = self._to_reference_axes(y, axes)
        if tuple(y.shape) != wanted:
            return y  # the comparison of shapes reports it
        return y.reshape((*wanted[:2], int(np.prod(wanted[2:]))))

    def _by_vjp(self, inputs: Inputs, pair: Cotangents) -> Pulled:
        """Call the layer's ``vjp``."""
        outputs = self.run(inputs)
        dy, dfinal = pair
        dy = np.zeros_like(outputs.y) if dy is None else dy
        ends = tuple(
            np.zeros_like(s[0]) if d is None else d[0]
            for d, s in zip(dfinal, outputs.final, strict=True)
        )
        axes, sizes = self.cell.output_axes, self.case.sizes
        d = self._turned(dy.reshape(*dy.shape[:2], *self.cell.shape(axes, sizes)), axes)
        initial = tuple(s[0] for s in inputs.state or ())
        named = self._arguments(self.layer.forward, inputs, inputs.leaves, initial)
        dnamed, dstate = self.layer.vjp(**named, dy=d, dstate=ends[0] if len(ends) == 1 else ends)
        back = {n: self._to_reference_axes(np.asarray(dnamed[n]), self._axes_of(n))
                for n in (states.name for states in self.cell.inputs)}  # fmt: skip
        gradients = {"x": self.cell.joined(back, inputs.x, sizes)}
        gradients |= {n: np.asarray(dnamed[n.removesuffix("_l0")]) for n in inputs.parameters}
        if inputs.state is not None:
            states = dstate if isinstance(dstate, tuple | list) else (dstate,)
            gradients |= {f"state {k}": np.asarray(s)[None] for k, s in enumerate(states)}
        return Pulled.of_leaves(outputs, gradients)


def gated_by_input(name: object) -> GatedByInput:
    """Return the cell of this name that reads its gates as inputs; KeyError for another."""
    cell = cells()[str(name)]
    if not isinstance(cell, GatedByInput):
        raise KeyError(name)
    return cell


def takes_given_arrays(value: Any) -> bool:
    """Whether a class or an object names a cell that reads its gates as inputs."""
    cell = cells().get(str(getattr(value, "cell", "")))
    return isinstance(cell, GatedByInput) and hasattr(value, "forward")


def given_arrays(value: Any, name: str, import_lines: str = "", device: str = "cpu") -> GivenArrays:
    """Return a class or an object as a subject, with the options that it offers."""
    cell = gated_by_input(value.cell)
    parameters = inspect.signature(value.forward).parameters
    needed = [array.name for array in cell.inputs] + list(cell.parameter_axes)
    missing = [array for array in needed if array not in parameters]
    stated = (("axes", AXES), ("gradient", GRADIENTS))
    for attribute, allowed in stated:
        if getattr(value, attribute, allowed[0]) not in allowed:
            raise UnknownSubject(
                f"subject {name!r}: {attribute}={getattr(value, attribute)!r}: expected one of "
                f"{', '.join(map(repr, allowed))}"
            )
    if missing:
        raise UnknownSubject(
            f"subject {name!r}: {cell.name} is given {', '.join(needed)}, and its forward takes "
            f"no {', '.join(missing)}"
        )
    subject = GivenArrays(name, value, Options(), dtypes_of(value), import_lines, device)
    options = Options(
        layers=False,
        bidirectional=False,
        bias=False,
        **ragged_options(parameters),
        state=any(n in (*STATE_NAMES, "initial_state") for n in parameters),
        gradient=bool(subject.gradient),
        forms=subject.forms,
    )
    return _with_working_options(_in_its_form(replace(subject, options=options)))


def _in_its_form(subject: GivenArrays) -> GivenArrays:
    """Return the subject in its declared form, or in the first of its forms."""
    form = str(getattr(subject.value, "form", "") or next(iter(subject.forms), ""))
    try:
        for name in (*subject.forms, *filter(None, [form])):
            form_named(name)
    except InputError as error:
        raise UnknownSubject(f"subject {subject.name!r}: {error}") from error
    return subject.in_form(form) if form else subject


def _with_working_options(subject: GivenArrays) -> GivenArrays:
    """Run the subject on small cases; return it with the options that work."""
    plain = replace(PLAIN, state=subject.options.state)
    cases = {"default_state": replace(PLAIN, state=False), "no_steps": replace(plain, T=0)}
    cases |= ragged_cases(subject.options, plain)
    offered, reasons = working_options(
        {option: partial(run, subject, case) for option, case in cases.items()}
    )
    options = replace(subject.options, **offered, reasons=tuple(reasons.items()))
    return replace(subject, options=options)
