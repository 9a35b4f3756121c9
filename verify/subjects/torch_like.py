"""A class with the constructor and the call of torch.nn's layers: no adapter needed.

Its parameters have torch.nn's names, or ``own_names`` finds out what they mean.

What it offers beyond the plain call is tried out once, on a tiny input; what it refuses there is
*not supported*. What it accepts, it has to do right: an argument of the constructor that its source
names, and that it then raises for by accident, is offered.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ...reference.functions import Array
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ConventionMap
from ..numbers.ledger import Mismatch
from ..runs.verdict import PARAMETERS
from . import torch_module as torch_caller
from .called import NotOffered, raised_by, with_care
from .frameworks.torch_layers import TorchLayer, call_layer, depth_arguments
from .inputs import draw_cotangents, draw_inputs
from .own_names import CASE, NoMapping, OwnMap, OwnNames, own_names
from .protocol import Inputs, Result, SubjectUnavailable
from .torch_module import TorchModule, import_torch, torch_dtype
from .torch_parameters import CONVENTIONS

REFERENCE = {kind: CONVENTIONS[kind.lower()] for kind in ("LSTM", "GRU", "RNN")}
DTYPES = ("float64", "float32", "float16", "bfloat16")
PLAIN = Case(3, 2, 4, 5)
ARGUMENTS = {
    "layers": ("num_layers", replace(PLAIN, layers=2)),
    "bidirectional": ("bidirectional", replace(PLAIN, bidirectional=True)),
    "bias": ("bias", replace(PLAIN, bias=False)),
    "projection": ("proj_size", replace(PLAIN, P=1)),
    "batch_first": ("batch_first", replace(PLAIN, layout="batch-first")),
    "dropout": ("dropout", replace(PLAIN, layers=2, dropout=0.5)),
}
"""The constructor's arguments, and a case that uses each."""

CALLS = {
    "state": PLAIN,
    "default_state": replace(PLAIN, state=False),
    "lengths": replace(PLAIN, lengths=True, state=False),
    "no_steps": replace(PLAIN, T=0, state=False),
    "unbatched": replace(PLAIN, B=1, layout="unbatched", state=False),
    "jvp": replace(PLAIN, state=False),
}
"""The calls that may be refused, and a case that uses each."""

NAMES = {
    "layers": r"layer|deep|stack",
    "bidirectional": r"direction",
    "bias": r"bias",
    "projection": r"proj",
    "batch_first": r"batch_?first|time.major|layout",
    "dropout": r"dropout",
    "state": r"hx|state|h_?0|initial",
    "lengths": r"pack|length",
}
"""Words by which a refusal names an option."""

LONGEST_REASON = 200

SAME = 2.0**-30
"""Two results that differ by less than this in float64 are rounded differently, not random."""


@dataclass(frozen=True)
class TorchLike(TorchLayer):
    """A user's class in the place of ``torch.nn.LSTM``, ``GRU`` or ``RNN``."""

    layer: Callable[..., Any] = field(default=lambda: None)
    import_lines: str = ""
    evaluated: bool = False
    """Whether it is held in evaluation, since in training it is random without dropout, too."""
    own: OwnNames | None = None
    """What its parameters mean, where they have other names than torch.nn's."""
    batch_first: bool = False
    """Whether its batch axis is the first though no argument says so."""

    def version(self) -> str:
        """Return the version of PyTorch, and what parameters of other names mean."""
        mapping = f"{PARAMETERS}{self.own.text}" if self.own else ""
        return f"torch {import_torch().__version__}{mapping}"

    def parameter_map(self, case: Case) -> ConventionMap:
        """Return torch.nn's map, or that of the class's own names."""
        if self.own is None:
            return super().parameter_map(case)
        return OwnMap(self.own.convention, case, self.own.arrays)

    def module(self, torch: Any, case: Case) -> Any:
        """Construct the class with the arguments that differ from torch's defaults."""
        given = self._arguments(case)
        if self._names("dtype"):
            return self.layer(case.D, case.H, **given, dtype=torch_dtype(torch, case))
        return self.layer(case.D, case.H, **given).to(torch_dtype(torch, case))

    def build(self, case: Case) -> TorchModule:
        """Return the layer; parameters under other names, or of other shapes, are an error."""
        module = self.module(import_torch(), case)
        found = {self._key(name): tuple(p.shape) for name, p in module.named_parameters()}
        wanted = dict(self.parameter_map(case).shapes())
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                whose = "in a layer of these sizes" if self.own else f"as torch.nn.{self.kind}"
                raise Mismatch(
                    f"parameter {name}: expected {wanted.get(name, 'none')} {whose}, "
                    f"got {found.get(name, 'none')}"
                )
        module = module.eval() if self.evaluated else module
        return TorchModule(module, case, self.call, self._key)

    @property
    def call(self) -> Callable[..., Any]:
        """How the class is called."""
        return _call_batch_first if self.batch_first else call_layer

    def caller(self, case: Case) -> str:
        """Return source that imports, builds and calls the class."""
        given = self._arguments(case)
        takes = self._names("dtype")
        called = replace(case, layout="batch-first") if self.batch_first else case
        text = torch_caller.source(
            self.import_lines, called, given, takes_dtype=takes, evaluated=self.evaluated
        )
        if self.own is None:
            return text
        named = '{f"{name}_l0": p for name, p in layer.named_parameters()}'
        return text.replace("dict(layer.named_parameters())", named)

    def _key(self, name: str) -> str:
        """Return the name that the map has for a parameter."""
        return name if self.own is None else f"{name}_l0"

    def _arguments(self, case: Case) -> dict[str, Any]:
        """Return the constructor's arguments that differ from its defaults."""
        given = depth_arguments(case) | ({} if case.bias else {"bias": False})
        argument = inspect.signature(self.layer).parameters.get("batch_first")
        if argument is not None and argument.default is True and case.layout != "batch-first":
            given["batch_first"] = False
        return given

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
    return _tried(_with_own_names(subject))


def _call_batch_first(
    torch: Any, module: Any, x: Any, state: Any, lengths: Array | None
) -> tuple[Any, tuple[Any, ...]]:
    """Call a module that has the batch axis first."""
    y, final = call_layer(torch, module, x.transpose(0, 1), state, lengths)
    return y.transpose(0, 1), final


def _with_own_names(subject: TorchLike) -> TorchLike:
    """Return the subject with what its parameters mean, where none has a name of torch.nn's.

    SubjectUnavailable says why that is not known, and what to write instead.
    """
    try:
        module = with_care(lambda: subject.module(import_torch(), CASE))
        shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    except SubjectUnavailable:
        raise
    except Exception:
        return subject  # the smoke check says why it cannot be made
    if not shapes or set(shapes) & set(subject.parameter_map(CASE).shapes()):
        return subject
    takes = "batch_first" in inspect.signature(subject.layer).parameters
    first = not takes and getattr(module, "batch_first", False) is True
    subject = replace(subject, batch_first=first)
    run = TorchModule(module.eval(), CASE, subject.call).forward

    def careful(inputs: Inputs) -> Result:
        return with_care(lambda: run(inputs))

    try:
        own = own_names(careful, shapes, subject.convention)
    except SubjectUnavailable:
        raise
    except Exception as refusal:  # the module's own, too
        why = str(refusal) if isinstance(refusal, NoMapping) else f"its run raised {refusal}"
        proposal = PROPOSAL.format(subject.kind.lower())
        raise SubjectUnavailable(f"{why}: {proposal}") from refusal
    return replace(subject, own=own, convention=own.convention)


PROPOSAL = (
    'declare its arrays, @gatewise.subject({0!r}, order=..., gradient="torch") above a function '
    "(x, h0, w_ih, w_hh, b_ih, b_hh), or write a class with explicit gates: gatewise new {0}"
)


def _tried(subject: TorchLike) -> TorchLike:
    """Return the subject with the options and dtypes that it turns out to have."""
    reasons: dict[str, str] = {}
    source = _own_source(subject.layer)
    for option, (argument, case) in ARGUMENTS.items():
        if subject.own and option in ("layers", "bidirectional", "projection"):
            reasons[option] = "parameters of other names than torch.nn's are read in one pass"
        elif option == "projection" and subject.kind != "LSTM":
            reasons[option] = f"torch.nn.{subject.kind} has none"
        elif not subject._takes(argument):
            reasons[option] = f"its constructor takes no {argument}"
        elif refusal := (
            _refusal(subject, case, partial(subject.module, import_torch()))
            or _not_offered(_refusal(subject, case, partial(_run, subject)), option, source)
        ):
            reasons[option] = str(refusal)[:LONGEST_REASON]
    packs = "PackedSequence" in source
    for option, case in CALLS.items():
        refusal = _refusal(subject, case, partial(_run, subject, jvp=option == "jvp"))
        accepted = option == "state" or (option == "lengths" and packs)
        if refusal := _deliberate(refusal, option) if accepted else refusal:
            reasons[option] = str(refusal)[:LONGEST_REASON]
    if {"state", "default_state"} <= reasons.keys():
        del reasons["default_state"]  # it does not run at all: the smoke check says why
    plain = replace(PLAIN, state="default_state" in reasons)
    refusal = _refusal(subject, plain, partial(_run, subject, gradient=True))
    if isinstance(refusal, NotOffered):
        reasons["gradient"] = str(refusal)[:LONGEST_REASON]
    offered = {option: option not in reasons for option in (*ARGUMENTS, *CALLS, "gradient")}
    reasons["zero_length"] = "torch does not pack them"
    if subject.own:
        reasons["named_parameters"] = "they have names of their own"
    options = Options(
        **offered, named_parameters=subject.own is None, reasons=tuple(reasons.items())
    )
    dtypes = [
        d for d in DTYPES if not _refusal(subject, replace(plain, dtype=d), partial(_run, subject))
    ]
    evaluated = _random(subject, plain, training=True) and not _random(
        subject, plain, training=False
    )
    dtypes = dtypes or list(DTYPES)
    return replace(subject, options=options, dtypes=tuple(dtypes), evaluated=evaluated)


def _random(subject: TorchLike, case: Case, *, training: bool) -> bool:
    """Whether two layers made anew return two results for the same input."""

    def run() -> list[Array]:
        results, inputs = [], draw_inputs(subject, case)
        for _ in range(2):
            built = subject.build(case)
            built.train(training)
            results.append(built.forward(inputs).y)
        return results

    try:
        first, second = with_care(run)
        return not np.allclose(first, second, rtol=SAME, atol=SAME, equal_nan=True)
    except SubjectUnavailable:
        raise
    except Exception:
        return False


def _run(subject: TorchLike, case: Case, *, jvp: bool = False, gradient: bool = False) -> None:
    """Build and call the class."""
    inputs, built = draw_inputs(subject, case), subject.build(case)
    if gradient:
        built.gradients(inputs, [draw_cotangents(subject, case)])
        return
    result = built.jvp(inputs, inputs) if jvp else built.forward(inputs)
    if result.y.ndim != 3:
        raise TypeError(f"it returned outputs with {result.y.ndim} axes")


def _refusal(
    subject: TorchLike, case: Case, function: Callable[[Case], object]
) -> Exception | None:
    """Return what the subject raises in a case, None if it takes it."""
    try:
        with_care(partial(function, case))
    except SubjectUnavailable:
        raise
    except Exception as error:
        return error
    return None


def _not_offered(refusal: Exception | None, option: str, source: str) -> Exception | None:
    """Return what was raised if it shows that an option is not offered; None for an accident.

    Whoever inherits a constructor of PyTorch, and never names an option that it takes, says nothing
    of it: what then raises is not offered.
    """
    if source and not re.search(NAMES[option], source, re.IGNORECASE):
        return refusal
    return _deliberate(refusal, option)


def _deliberate(refusal: Exception | None, option: str) -> Exception | None:
    """Return what was raised if it says that an option is not offered; None for an accident.

    That is NotImplementedError, or a raise or assert statement that names the option.
    """
    if refusal is None or isinstance(refusal, NotOffered):
        return refusal
    line = raised_by(refusal)
    named = re.search(NAMES[option], f"{line} {refusal}", re.IGNORECASE)
    return refusal if named and re.match(r"(raise|assert)\b", line) else None


def _own_source(layer: Any) -> str:
    """Return the source of a class and of its bases, those of PyTorch left out."""
    sources = []
    for each in inspect.getmro(layer) if isinstance(layer, type) else (layer,):
        if getattr(each, "__module__", "").split(".")[0] not in ("torch", "builtins"):
            with suppress(OSError, TypeError):
                sources.append(inspect.getsource(each))
    return "\n".join(sources)
