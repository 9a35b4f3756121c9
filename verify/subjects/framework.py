"""Common code of the adapters of other frameworks: parameters mapped by a stated convention.

An adapter is one file: it states a ``Convention`` and the options that it offers, and calls the
framework with NumPy arrays. The rest follows from the convention.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.options import Options
from ..conventions import Convention
from ..conventions.file_layout import Stored
from ..conventions.parameter_map import ConventionMap, suffixes
from .protocol import Built, Cotangents, Inputs, OneCell, Pulled, Result, SubjectUnavailable

PROJECTED = "lstm-projected"


@dataclass(frozen=True)
class FrameworkSubject(OneCell, ABC):
    """A layer of another framework; users type its ``name``, ``FRAMEWORK:Layer``.

    Arrays are named by the convention (``weight_ih_l0``, ...); the adapter translates them when it
    builds the layer. ``dtypes`` are those of its arithmetic.
    """

    name: str
    convention: Convention
    options: Options
    dtypes: tuple[str, ...] = ("float64", "float32")

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell of the convention, and the projected one where offered."""
        cell = self.convention.cell
        if cell is None:
            raise ValueError(f"{self.name}: the reference has no cell for its convention")
        return (cell, *([PROJECTED] if self.options.projection else []))

    @property
    def stored(self) -> Stored:
        """The names and layouts of the convention's arrays in files saved by the framework."""
        return Stored()

    @abstractmethod
    def version(self) -> str:
        """Return name and version of the package; SubjectUnavailable if it is not installed."""

    @abstractmethod
    def build(self, case: Case) -> Built:
        """Return the layer, ready to be called."""

    def cell(self, case: Case) -> str:
        """Return the reference's cell that it claims to compute."""
        return PROJECTED if case.P else self.cells[0]

    def parameter_map(self, case: Case) -> ConventionMap:
        """Return the convention's map; a projection is one more array."""
        convention = replace(self.convention, projected=True) if case.P else self.convention
        return ConventionMap(convention, case)


@dataclass(frozen=True)
class Plain:
    """A ``Built`` made of two functions of NumPy arrays; the second may be None.

    ``run`` returns outputs (T, B, width) and final states (passes, B, width) each; ``pull`` runs
    once and returns the gradients for several pairs of cotangents.
    """

    run: Callable[[Inputs], Result]
    pull: Callable[[Inputs, Sequence[Cotangents]], Sequence[Pulled]] | None = None

    def forward(self, inputs: Inputs) -> Result:
        """Run the layer."""
        return self.run(inputs)

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        """Run the layer once, and pull each pair of cotangents back."""
        if self.pull is None:
            raise NotImplementedError("it has no gradients")
        return self.pull(inputs, cotangents)

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Raise: adapters of other frameworks have no forward mode."""
        raise NotImplementedError("it has no forward mode")

    def train(self, training: bool) -> None:
        """Raise: adapters of other frameworks have one mode."""
        raise NotImplementedError("it has no modes")


def result_of(outputs: Sequence[Any]) -> Result:
    """Return outputs (T, B, width) and final states as new arrays of NumPy."""
    y, *final = (np.array(output) for output in outputs)
    return Result(y, tuple(final))


def pulled_back(
    result: Result,
    leaves: Mapping[str, Any],
    pairs: Sequence[tuple[Any, Floats | None]],
    gradient: Callable[[list[Any], list[Any], list[Any]], Sequence[Any]],
) -> Pulled:
    """Pull cotangents, each with its output, back to the leaves; None stands for zeros.

    ``gradient`` returns the gradients of (outputs, leaves, cotangents), None for zeros, too.
    """
    pulled: Sequence[Any] = [None] * len(leaves)
    if present := [(output, d) for output, d in pairs if d is not None]:
        outputs, cotangents = map(list, zip(*present, strict=True))
        pulled = gradient(outputs, list(leaves.values()), cotangents)
    named = {
        name: np.zeros(leaf.shape, result.y.dtype) if d is None else np.array(d)
        for (name, leaf), d in zip(leaves.items(), pulled, strict=True)
    }
    return Pulled.of_leaves(result, named)


def imported(module: str, install: str) -> Any:
    """Return a module, or raise SubjectUnavailable and say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        problem = f"{package} is not installed" if missing else f"importing {module}: {error}"
        raise SubjectUnavailable(f"{problem}; install it with: pip install {install}") from error


def by_pass(case: Case, named: Mapping[str, Floats]) -> list[dict[str, Floats]]:
    """Return the arrays of every pass under their names without suffix, in the passes' order."""
    return [
        {
            name.removesuffix(suffix): array
            for name, array in named.items() if name.endswith(suffix)
        }
        for suffix in suffixes(case)
    ]  # fmt: skip


def to_layout(case: Case, x: Any) -> Any:
    """Convert x (T, B, D) to the case's layout."""
    if case.layout == "unbatched":
        return x[:, 0]
    return x.swapaxes(0, 1) if case.layout == "batch-first" else x


def from_layout(case: Case, y: Any) -> Any:
    """Convert outputs from the case's layout to (T, B, width)."""
    if case.layout == "unbatched":
        return y[:, None]
    return y.swapaxes(0, 1) if case.layout == "batch-first" else y


def within(y: Floats, lengths: Floats | None) -> Floats:
    """Return y (T, B, width) with zeros beyond every row's length."""
    if lengths is None:
        return y
    inside = np.arange(y.shape[0])[:, None] < lengths
    return np.where(inside[:, :, None], y, np.zeros((), y.dtype))


class OncePerParameters:
    """A program that contains its parameters: ``make`` is called again only for other parameters.

    ``form`` returns what else distinguishes programs, such as whether they take a state or lengths.
    """

    def __init__(self, make: Callable[[Inputs], Any], form: Callable[[Inputs], object]) -> None:
        self.make, self.form = make, form
        self.key: object = None
        self.program: Any = None

    def __call__(self, inputs: Inputs) -> Any:
        """Return the program for these parameters."""
        parameters = tuple((name, a.tobytes()) for name, a in sorted(inputs.parameters.items()))
        key = parameters, self.form(inputs)
        if key != self.key:
            self.program = self.make(inputs)
            self.key = key
        return self.program


def optional_inputs(inputs: Inputs) -> object:
    """Return a key of which optional inputs a call has."""
    return inputs.state is None, inputs.lengths is None


def flat(array: Floats) -> tuple[Floats, list[int]]:
    """Return a buffer, and the strides in entries with which it represents the array.

    Frameworks with ``as_strided`` can so take arrays with gaps in memory. The gaps hold 1000, so
    that code that reads them returns wrong numbers.
    """
    strides = [stride // array.itemsize for stride in array.strides]
    if min(strides, default=0) < 0 or array.size == 0:
        raise ValueError("expected a non-empty array without negative strides")
    last = sum((n - 1) * stride for n, stride in zip(array.shape, strides, strict=True))
    buffer = np.full(last + 1, 1000, array.dtype)
    np.lib.stride_tricks.as_strided(buffer, array.shape, array.strides)[...] = array
    return buffer, strides
