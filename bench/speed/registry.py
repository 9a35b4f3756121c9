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
def own() -> dict[str, Contender]:
    """Return the contenders that are timed natively, by name."""
    modules = (numpy_layers, ladder, torch_layers, cuda)
    return {c.name: c for module in modules for c in module.CONTENDERS}


def contender_named(name: str, like: str | None = None) -> Contender:
    """Return the contender of a name: one of ``own``, or any subject of ``verify``.

    ``like`` is the torch class in whose place a user's own class stands; others need none.
    """
    if name in own():
        return own()[name]
    check_family(name)
    subject = subject_named(name, None if adapter(name) else like)
    return Contender(name, subject.cells, subject.version, partial(_prepare, subject=subject))


def check_family(name: str) -> None:
    """Raise InputError for a name that is none of a family that is only timed, as torch-native."""
    alike = [one for one in own() if family(one) == family(name)]
    if alike and name not in alike and not known(family(name)):
        raise InputError("subject", f"one of {', '.join(alike)}", repr(name))


def expanded(names: tuple[str, ...]) -> list[str]:
    """Return names, each once, with FAMILY:* replaced by all of a family."""
    members: dict[str, None] = {}
    everyone = list(dict.fromkeys([*own(), *known()]))
    for name in names:
        of = family(name)
        alike = [one for one in everyone if family(one) == of] if name == f"{of}:*" else [name]
        if not alike:
            families = dict.fromkeys(f"{family(one)}:*" for one in everyone)
            raise InputError("subject", f"one of {', '.join(families)}", repr(name))
        members |= dict.fromkeys(alike)
    return list(members)


class Adapted(Prepared):
    """Any other subject of ``verify``, a user's own class too, with its NumPy arrays.

    Conversions are on the clock; where a framework has its parameters inside its program, comparing
    them with the last ones is, too.
    """

    note = "NumPy arrays in and out, conversions on the clock"

    def __init__(self, problem: Problem, subject: Subject, built: Built) -> None:
        super().__init__(problem)
        self.subject, self.built = subject, built
        packed = subject.parameter_map(problem.case).pack(problem.parameters)
        self.inputs = Inputs(
            {name: self._typed(array) for name, array in packed.items()},
            self._typed(problem.x),
            tuple(map(self._typed, problem.state)),
            None,
        )

    def _typed(self, array: Array) -> Array:
        """Return an array in the problem's dtype; bfloat16's are held in float32 until here."""
        return np.asarray(array).astype(self.problem.case.number_type)

    def forward(self) -> Any:
        """Run the layer."""
        return self.built.forward(self.inputs)

    def training(self, cotangents: Cotangents) -> Any:
        """Run the layer and pull one pair of cotangents back."""
        if not self.subject.options.gradient:
            raise UnsupportedError(self.subject.options.why(("gradient",)))
        pair = self._typed(cotangents.y), tuple(map(self._typed, cotangents.final))
        (pulled,) = self.built.gradients(self.inputs, [pair])
        return pulled

    def arrays(self, result: Result) -> Result:
        """Return the arrays, which are NumPy's already."""
        return result

    def named(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return the subject's names."""
        return self.subject.parameter_map(self.problem.case).from_reference(gradient)


def _prepare(problem: Problem, subject: Subject) -> Prepared:
    """Return the subject ready to be called; a torch module is timed as one.

    FallbackError if something else runs than it is named for.
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
