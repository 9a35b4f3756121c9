"""A class with the constructor, parameter names and call of torch.nn's layers: no adapter needed.

What it offers beyond the plain call is tried out once, on a tiny input; what it refuses there is
*not supported*. What it accepts, it has to do right.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..cases.case import Case
from ..cases.options import Options
from ..numbers.ledger import Mismatch
from . import torch_module as torch_caller
from .frameworks.torch_layers import TorchLayer, call_layer, depth_arguments
from .protocol import SubjectUnavailable
from .torch_module import TorchModule, import_torch, torch_dtype
from .torch_parameters import CONVENTIONS

REFERENCE = {kind: CONVENTIONS[kind.lower()] for kind in ("LSTM", "GRU", "RNN")}
DTYPES = ("float64", "float32", "float16", "bfloat16")
PLAIN = Case(2, 1, 2, 3)
ARGUMENTS = {
    "layers": ("num_layers", replace(PLAIN, layers=2)),
    "bidirectional": ("bidirectional", replace(PLAIN, bidirectional=True)),
    "bias": ("bias", replace(PLAIN, bias=False)),
    "projection": ("proj_size", replace(PLAIN, P=1)),
    "batch_first": ("batch_first", replace(PLAIN, layout="batch-first")),
    "dropout": ("dropout", replace(PLAIN, layers=2, dropout=0.5)),
}
"""The constructor's arguments, and a case that uses each."""


@dataclass(frozen=True)
class TorchLike(TorchLayer):
    """A user's class in the place of ``torch.nn.LSTM``, ``GRU`` or ``RNN``."""

    layer: Callable[..., Any] = field(default=lambda: None)
    import_lines: str = ""

    def version(self) -> str:
        """Return the version of PyTorch; the class itself has none."""
        return f"torch {import_torch().__version__}"

    def module(self, torch: Any, case: Case) -> Any:
        """Construct the class with the arguments that differ from torch's defaults."""
        given = depth_arguments(case) | ({} if case.bias else {"bias": False})
        if self._names("dtype"):
            return self.layer(case.D, case.H, **given, dtype=torch_dtype(torch, case))
        return self.layer(case.D, case.H, **given).to(torch_dtype(torch, case))

    def build(self, case: Case) -> TorchModule:
        """Return the layer; parameters under other names, or of other shapes, are an error."""
        module = self.module(import_torch(), case)
        found = {name: tuple(p.shape) for name, p in module.named_parameters()}
        wanted = dict(self.parameter_map(case).shapes())
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise Mismatch(
                    f"parameter {name}: expected {wanted.get(name, 'none')} as torch.nn."
                    f"{self.kind}, got {found.get(name, 'none')}"
                )
        return TorchModule(module, case, call_layer)

    def caller(self, case: Case) -> str:
        """Return source that imports, builds and calls the class."""
        given = depth_arguments(case) | ({} if case.bias else {"bias": False})
        takes = self._names("dtype")
        return torch_caller.source(self.import_lines, case, given, takes_dtype=takes)

    def _names(self, argument: str) -> bool:
        """Whether the constructor names it; **arguments may lead to one that does not."""
        return argument in inspect.signature(self.layer).parameters

    def _takes(self, argument: str) -> bool:
        parameters = inspect.signature(self.layer).parameters
        anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        return argument in parameters or anything


def torch_like(layer: Any, name: str, like: str, import_lines: str = "") -> TorchLike:
    """Return the subject that a class is, with what it offers."""
    kind = like.rpartition(".")[2]
    subject = TorchLike(
        name, REFERENCE[kind], Options(), kind=kind, layer=layer, import_lines=import_lines
    )
    if not callable(layer):
        raise SubjectUnavailable(f"{name} is no class")
    return _tried(subject)


def _tried(subject: TorchLike) -> TorchLike:
    """Return the subject with the options and dtypes that it turns out to have."""
    reasons: dict[str, str] = {}
    for option, (argument, case) in ARGUMENTS.items():
        if option == "projection" and subject.kind != "LSTM":
            reasons[option] = f"torch.nn.{subject.kind} has none"
        elif not subject._takes(argument):
            reasons[option] = f"its constructor takes no {argument}"
        elif said := _refusal(subject, case, only_construct=True):
            reasons[option] = said
    calls = {
        "state": PLAIN,
        "default_state": replace(PLAIN, state=False),
        "lengths": replace(PLAIN, B=2, lengths=True, state=False),
        "no_steps": replace(PLAIN, T=0, state=False),
        "unbatched": replace(PLAIN, layout="unbatched", state=False),
        "jvp": replace(PLAIN, state=False),
    }
    for option, case in calls.items():
        if said := _refusal(subject, case, jvp=option == "jvp"):
            reasons[option] = said
    if {"state", "default_state"} <= reasons.keys():
        del reasons["default_state"]  # it does not run at all: the smoke check says why
    offered = {option: option not in reasons for option in (*ARGUMENTS, *calls)}
    reasons["zero_length"] = "torch does not pack them"
    options = Options(**offered, named_parameters=True, reasons=tuple(reasons.items()))
    plain = replace(PLAIN, state=not options.default_state)
    dtypes = [d for d in DTYPES if not _refusal(subject, replace(plain, dtype=d))]
    return replace(subject, options=options, dtypes=tuple(dtypes) or DTYPES)


def _refusal(
    subject: TorchLike, case: Case, *, only_construct: bool = False, jvp: bool = False
) -> str:
    """Return what the subject says to a case, "" if it takes it."""
    from .called import with_care
    from .inputs import draw_inputs

    def attempt() -> None:
        if only_construct:
            subject.module(import_torch(), case)
            return
        inputs = draw_inputs(subject, case)
        built = subject.build(case)
        result = built.jvp(inputs, inputs) if jvp else built.forward(inputs)
        if result.y.ndim != 3:
            raise TypeError(f"it returned outputs with {result.y.ndim} axes")

    try:
        with_care(attempt)
    except SubjectUnavailable:
        raise
    except Exception as error:
        return str(error)[:200]
    return ""
