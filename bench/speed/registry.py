"""The contenders by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from ...reference.errors import InputError
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...verify.subjects import adapter, family, known, subject_named
from ...verify.subjects.protocol import Built, Inputs, Result, Subject
from ...verify.subjects.torch_module import TorchModule
from ..run import UnsupportedError
from . import cuda, ladder, numpy_layers, torch_layers
from .contender import FORWARD, Contender, FallbackError, Prepared
from .problem import Cotangents, Problem


@cache
def package_contenders() -> dict[str, Contender]:
    """Return the contenders of this package, by name."""
    modules = (numpy_layers, ladder, torch_layers, cuda)
    return {c.name: c for module in modules for c in module.CONTENDERS}


def contender_named(name: str, like: str | None = None) -> Contender:
    """Return the contender of a name: one of this package, or any subject of ``verify``.

    ``like`` is the torch class that a user's own class replaces; others need none.
    """
    if name in package_contenders():
        return package_contenders()[name]
    check_family(name)
    subject = subject_named(name, None if adapter(name) else like)
    return Contender(name, subject.cells, subject.version, partial(_prepare, subject=subject))


def check_family(name: str) -> None:
    """Raise InputError for an unknown name of a family that only this package has."""
    alike = [member for member in package_contenders() if family(member) == family(name)]
    if alike and name not in alike and not known(family(name)):
        raise InputError("subject", f"one of {', '.join(alike)}", repr(name))


def expanded(names: tuple[str, ...]) -> list[str]:
    """Return names, each once, with FAMILY:* replaced by all members of the family."""
    members: dict[str, None] = {}
    all_names = list(dict.fromkeys([*package_contenders(), *known()]))
    for name in names:
        kind = family(name)
        alike = [n for n in all_names if family(n) == kind] if name == f"{kind}:*" else [name]
        if not alike:
            families = dict.fromkeys(f"{family(member)}:*" for member in all_names)
            raise InputError("subject", f"one of {', '.join(families)}", repr(name))
        members |= dict.fromkeys(alike)
    return list(members)


class Adapted(Prepared):
    """Any other subject of ``verify``, a user's own class included, with its NumPy arrays.

    Conversions are on the clock; where a framework has its parameters inside its program, so is
    their comparison with the last ones.
    """

    note = "NumPy arrays in and out, conversions on the clock"

    def __init__(self, problem: Problem, subject: Subject, built: Built) -> None:
        super().__init__(problem)
        self.subject, self.built = subject, built
        packed = subject.parameter_map(problem.case).pack(problem.parameters)
        self.inputs = Inputs(
            {name: self._to_dtype(array) for name, array in packed.items()},
            self._to_dtype(problem.x),
            tuple(map(self._to_dtype, problem.state)),
            None,
        )

    def _to_dtype(self, array: Array) -> Array:
        """Return an array in the problem's dtype; bfloat16's are held in float32 until here."""
        return np.asarray(array).astype(self.problem.case.number_type)

    def forward(self) -> Any:
        """Run the layer."""
        return self.built.forward(self.inputs)

    def training(self, cotangents: Cotangents) -> Any:
        """Run the layer and pull one pair of cotangents back."""
        if not self.subject.options.gradient:
            raise UnsupportedError(self.subject.options.why(("gradient",)))
        pair = self._to_dtype(cotangents.y), tuple(map(self._to_dtype, cotangents.final))
        (pulled,) = self.built.gradients(self.inputs, [pair])
        return pulled

    def arrays(self, result: Result) -> Result:
        """Return the arrays, which are NumPy's already."""
        return result

    def named(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return the subject's names."""
        return self.subject.parameter_map(self.problem.case).from_reference(gradient)


def _prepare(problem: Problem, subject: Subject) -> Prepared:
    """Return the subject ready to be called; a torch module is timed with tensors.

    FallbackError if something else runs than its name says.
    """
    if problem.dtype not in subject.dtypes:
        raise UnsupportedError(f"it computes in {', '.join(subject.dtypes)}")
    if lacking := subject.options.lacking(problem.case):
        raise UnsupportedError(subject.options.why(lacking))
    built = subject.build(problem.case)
    if isinstance(built, TorchModule) and subject.options.gradient:
        prepare = torch_layers.prepare if built.device == "cpu" else cuda.prepare
        return prepare(problem, subject)
    prepared, watch = Adapted(problem, subject, built), getattr(subject, "watch", None)
    if watch is not None:
        watch.begin()
        prepared.call(FORWARD, None)
        prepared.first.clear()  # the profiler was on that clock
        if watch.lacking:
            raise FallbackError(f"something else ran: {watch.lacking}")
    return prepared
