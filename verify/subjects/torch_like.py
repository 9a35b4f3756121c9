"""A class with the constructor and the call of torch.nn's layers or cells: no adapter needed.

Its parameters have torch.nn's names, or ``own_names`` finds out what they mean.

What it offers beyond the plain call is tried out once, on a tiny input; what it refuses there is
*not supported*. What it accepts, it has to do right: an argument of the constructor that its source
names, and that it then raises for by accident, is offered.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ConventionMap
from ..numbers.ledger import Mismatch
from ..runs.verdict import PARAMETERS
from . import torch_module as torch_caller
from .called import NotOffered, layer_of, raised_by, state_shapes, with_care
from .inputs import draw_cotangents, draw_inputs
from .loader import UnknownSubject
from .own_names import CASE, NoMapping, OwnMap, OwnNames, own_names
from .protocol import Inputs, Result, SubjectUnavailable
from .torch_module import TorchModule, import_torch, torch_dtype
from .torch_parameters import CONVENTIONS, stepped
from .torch_subject import TorchLayer, call_layer, depth_arguments

KINDS = ("LSTM", "GRU", "RNN")
CELL = "Cell"
REFERENCE = {kind: CONVENTIONS[kind.lower()] for kind in KINDS} | {
    f"{kind}{CELL}": stepped(kind.lower()) for kind in KINDS
}
"""What the arrays of torch.nn's layers and cells mean, by the names of the classes."""

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
    "zero_length": replace(PLAIN, lengths=True, zero_length=True, state=False),
    "no_steps": replace(PLAIN, T=0, state=False),
    "unbatched": replace(PLAIN, B=1, layout="unbatched", state=False),
    "jvp": replace(PLAIN, state=False),
}
"""The calls that may be refused, and a case that uses each."""

ALWAYS_FIRST = "it has the batch first in every check"

NAMES = {
    "layers": r"layer|deep|stack",
    "bidirectional": r"direction",
    "bias": r"bias",
    "projection": r"proj",
    "batch_first": r"batch_?first|time.major|layout",
    "dropout": r"dropout",
    "state": r"hx|state|h_?0|initial",
    "lengths": r"pack|length",
    "zero_length": r"pack|length",
}
"""Words by which a refusal names an option."""

NOT_OF_CELLS = ""
"""Why a cell has no layers, lengths, ...: a word on each would say the same."""

LONGEST_REASON = 200
LENGTHS = ("lengths", "seq_lengths", "sequence_lengths")
REQUIRED = inspect.Parameter.empty

SAME = 2.0**-30
"""Two results that differ by less than this in float64 are rounded differently, not random."""


@dataclass(frozen=True)
class TorchLike(TorchLayer):
    """A user's class in the place of ``torch.nn.LSTM``, ``GRU``, ``RNN``, or of their cells."""

    layer: Callable[..., Any] = field(default=lambda: None)
    import_lines: str = ""
    evaluated: bool = False
    """Whether it is held in evaluation, since in training it is random without dropout, too."""
    own: OwnNames | None = None
    """What its parameters mean, where they have other names than torch.nn's."""
    package: str = ""
    """The package that it is of, and its version."""
    batch_first: bool = False
    """Whether its batch axis is the first whatever an argument says."""

    @property
    def form(self) -> tuple[str, str] | None:
        """What tells another machine the meaning of its parameters, if their names are torch's."""
        return None if self.own else ("like", f"torch.nn.{self.kind}")

    def version(self) -> str:
        """Return the versions of its package and of PyTorch, and what own names mean."""
        mapping = f"{PARAMETERS}{self.own.text}" if self.own else ""
        torch = f"torch {import_torch().__version__}"
        return (f"{self.package} ({torch})" if self.package else torch) + mapping

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
    def steps(self) -> bool:
        """Whether it stands for a cell, of which a call is one step."""
        return self.kind.endswith(CELL)

    @property
    def call(self) -> Callable[..., Any]:
        """How the class is called."""
        if self.steps:
            return partial(_call_steps, step_of(self.layer), len(self.convention.states))
        if self.batch_first:
            return _call_batch_first
        return partial(_call_with_lengths, self.lengths) if self.lengths else call_layer

    @property
    def lengths(self) -> dict[str, Any]:
        """The arguments by which it takes lengths, as torch's layers do not; the first is None."""
        if self.steps:
            return {}
        try:
            arguments = inspect.signature(_class(self.layer).forward).parameters
        except (AttributeError, TypeError, ValueError):
            return {}
        names = [name for name in LENGTHS if name in arguments]
        unsorted = {"enforce_sorted": False} if "enforce_sorted" in arguments else {}
        return {names[0]: None} | unsorted if names else {}

    def caller(self, case: Case) -> str:
        """Return source that imports, builds and calls the class; "" where it takes lengths."""
        if case.lengths and self.lengths:
            return ""
        given = self._arguments(case)
        takes = self._names("dtype")
        called = replace(case, layout="batch-first") if self.batch_first else case
        text = torch_caller.source(
            self.import_lines, called, given, takes_dtype=takes, evaluated=self.evaluated
        )
        if self.steps:
            method, spread = step_of(self.layer)
            states = "*state" if spread or len(self.convention.states) == 1 else "state"
            body = STEPS.replace("METHOD", method).replace("GIVEN", states)
            text += body.replace("STATES", str(len(self.convention.states)))
            text = text.replace("y, final = layer(*given)", "y, final = steps(layer, *given)")
        if not self._numbered:
            return text
        named = '{f"{name}_l0": p for name, p in layer.named_parameters()}'
        return text.replace("dict(layer.named_parameters())", named)

    @property
    def _numbered(self) -> bool:
        """Whether the map's names have the ending of the one pass, and the parameters' have not."""
        return self.steps or self.own is not None

    def _key(self, name: str) -> str:
        """Return the name that the map has for a parameter."""
        return f"{name}_l0" if self._numbered else name

    def _arguments(self, case: Case) -> dict[str, Any]:
        """Return the constructor's arguments that differ from its defaults."""
        arguments = inspect.signature(self.layer).parameters
        given = depth_arguments(case)
        if not case.bias or ("bias" in arguments and arguments["bias"].default is REQUIRED):
            given["bias"] = case.bias
        argument = arguments.get("batch_first")
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
    """Return the subject that a class is, with what it offers.

    UnknownSubject says which other class of torch's it fits, where it does not fit this one.
    """
    kind = like.rpartition(".")[2]
    subject = TorchLike(
        name, REFERENCE[kind], Options(), kind=kind, layer=layer, import_lines=import_lines
    )
    if not callable(layer):
        raise SubjectUnavailable(f"{name} is no class")
    try:
        subject = _with_own_names(subject)
    except SubjectUnavailable:
        _refuse_another(subject)
        raise
    if _misfit(subject):
        _refuse_another(subject)
    return _tried(subject)


def fitting(layer: Any, name: str, kinds: Iterable[str] = tuple(REFERENCE)) -> list[str]:
    """Return the classes of torch.nn in whose place a class can be built and called."""
    fits = []
    for kind in kinds:
        subject = TorchLike(name, REFERENCE[kind], Options(), kind=kind, layer=layer)
        try:
            misfit = _misfit(_with_own_names(subject))
        except SubjectUnavailable:
            continue
        if misfit is None:
            fits.append(f"torch.nn.{kind}")
    return fits


def _refuse_another(subject: TorchLike) -> None:
    """Raise UnknownSubject if the class fits others of torch's."""
    import_torch()
    others = [kind for kind in REFERENCE if kind != subject.kind]
    if fits := fitting(subject.layer, subject.name, others):
        raise UnknownSubject(
            f"{subject.name} does not fit --like torch.nn.{subject.kind}; "
            f"it fits --like {' and '.join(fits)}"
        )


def _misfit(subject: TorchLike) -> Exception | None:
    """Return what is raised where the class is not built or called like torch's, or None.

    It fits with a state, or without one.
    """
    refusals = [
        _refusal(subject, replace(PLAIN, state=state), partial(_run_whole, subject))
        for state in (True, False)
    ]
    return refusals[0] if all(refusals) else None


def _run_whole(subject: TorchLike, case: Case) -> None:
    """Build and call the class; raise unless it returns arrays of the right shapes."""
    result = subject.build(case).forward(draw_inputs(subject, case))
    shapes = state_shapes(layer_of(subject, case), case)
    returned = [result.y.shape, *(s.shape for s in result.final)]
    if returned != [(case.T, case.B, shapes[0][-1]), *shapes]:
        raise TypeError(f"it returned arrays of the shapes {returned}")


class Step(NamedTuple):
    """How a cell is called: by which method, and whether with each of its states alone."""

    method: str
    spread: bool


def step_of(layer: Any) -> Step:
    """Return how a class is called as a cell: by ``step`` where it has no ``forward``.

    A third argument that is named as c is gets c, ``forward(x, h, c)``; else the second gets both.
    """
    layer = _class(layer)
    forward = getattr(layer, "forward", None)
    has_none = getattr(forward, "__name__", "") == "_forward_unimplemented"
    method = "step" if has_none and callable(getattr(layer, "step", None)) else "forward"
    try:
        names = [*inspect.signature(getattr(layer, method)).parameters]
    except (AttributeError, TypeError, ValueError):
        return Step(method, spread=False)
    names = names[1:] if isinstance(layer, type) else names
    return Step(method, spread=len(names) > 2 and bool(re.fullmatch(THE_CELL_STATE, names[2])))


def _class(layer: Any) -> Any:
    """Return what is called to construct a layer, without arguments that are bound to it."""
    return layer.func if isinstance(layer, partial) else layer


THE_CELL_STATE = r"(prev_?)?c(x|t|0|_.*|ell.*|prev)?"
"""What the argument is called that takes an LSTM's c."""


def _call_steps(
    step: Step, states: int, torch: Any, module: Any, x: Any, state: Any, lengths: Floats | None
) -> tuple[Any, tuple[Any, ...]]:
    """Call a cell step after step; it returns its states, or an output and its states."""
    call = module if step.method == "forward" else getattr(module, step.method)
    now = () if state is None else tuple(s[0] for s in _tensors(torch, state))
    outputs = []
    for x_t in x:
        together = now[:1] if len(now) == 1 else (now,) if now else ()
        returned = _tensors(torch, call(x_t, *(now if step.spread else together)))
        if len(returned) not in (states, states + 1):
            raise TypeError(f"a step returned {len(returned)} tensors, its states are {states}")
        outputs.append(returned[0])
        now = returned[-states:]
    return torch.stack(outputs), tuple(s[None] for s in now)


def _tensors(torch: Any, values: Any) -> tuple[Any, ...]:
    """Return the tensors of nested tuples and lists, in their order."""
    if isinstance(values, torch.Tensor):
        return (values,)
    if not isinstance(values, (tuple, list)):
        raise TypeError(f"it returned {type(values).__name__}, no tensor")
    return tuple(tensor for value in values for tensor in _tensors(torch, value))


STEPS = '''

def tensors(values):
    return [values] if torch.is_tensor(values) else [t for each in values for t in tensors(each)]


def steps(cell, x, state=None):
    """Call the cell step after step."""
    state = () if state is None else tuple(s[0] for s in tensors(state))
    y = []
    for x_t in x:
        given = () if not state else (GIVEN,)
        returned = tensors(cell.METHOD(x_t, *given))
        y.append(returned[0])
        state = tuple(returned[-STATES:])
    return torch.stack(y), tuple(s[None] for s in state)
'''
"""The same, for stand-alone scripts."""


def _call_batch_first(
    torch: Any, module: Any, x: Any, state: Any, lengths: Floats | None
) -> tuple[Any, tuple[Any, ...]]:
    """Call a module that has the batch axis first."""
    y, final = call_layer(torch, module, x.transpose(0, 1), state, lengths)
    return y.transpose(0, 1), final


def _call_with_lengths(
    arguments: Mapping[str, Any],
    torch: Any,
    module: Any,
    x: Any,
    state: Any,
    lengths: Floats | None,
) -> tuple[Any, tuple[Any, ...]]:
    """Call a module that takes lengths; its outputs may end with the longest."""
    if lengths is None:
        return call_layer(torch, module, x, state, lengths)
    ends = torch.from_numpy(lengths)
    given = {name: ends if value is None else value for name, value in arguments.items()}
    y, final = module(x, *(() if state is None else (state,)), **given)
    time = int(bool(getattr(module, "batch_first", False)))
    shape = list(y.shape)
    shape[time] = x.shape[time] - y.shape[time]
    return torch.cat([y, y.new_zeros(shape)], time), final if isinstance(final, tuple) else (final,)


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
    torchs = set(subject.parameter_map(CASE).shapes())
    own = {subject._key(name) for name in shapes}
    if not shapes or own == torchs or (own & torchs and not subject.steps):
        return subject  # a cell calls an array weight_ih without a thought of torch.nn's
    first = getattr(module, "batch_first", False) is True and not subject._names("batch_first")
    first = first and not subject.steps
    refusals: list[Exception] = []
    for batch_first in (first,) if first or subject.steps else (False, True):
        subject = replace(subject, batch_first=batch_first)
        try:
            meaning = own_names(_careful(module, subject), shapes, subject.convention)
        except SubjectUnavailable:
            raise
        except Exception as refusal:  # the module's own, too
            refusals.append(refusal)
            if isinstance(refusal, NoMapping):
                break  # it runs: its axes are right
        else:
            return replace(subject, own=meaning, convention=meaning.convention)
    first_of_all = refusals[0]
    why = str(first_of_all)
    why = why if isinstance(first_of_all, NoMapping) else f"its run raised {why}"
    proposal = PROPOSAL.format(subject.kind.removesuffix(CELL).lower())
    raise SubjectUnavailable(f"{why}: {proposal}") from first_of_all


def _careful(module: Any, subject: TorchLike) -> Callable[[Inputs], Result]:
    """Return what runs a module in evaluation."""
    run = TorchModule(module.eval(), CASE, subject.call).forward
    return lambda inputs: with_care(lambda: run(inputs))


PROPOSAL = (
    'declare its arrays, @gatewise.subject({0!r}, order=..., gradient="torch") above a function '
    "(x, h0, w_ih, w_hh, b_ih, b_hh), or write a class with explicit gates: gatewise new {0}"
)


def _tried(subject: TorchLike) -> TorchLike:
    """Return the subject with the options and dtypes that it turns out to have."""
    reasons: dict[str, str] = {}
    source = _own_source(subject.layer)
    for option, (argument, case) in ARGUMENTS.items():
        if subject.steps and option != "bias":
            reasons[option] = NOT_OF_CELLS
        elif subject.own and option in ("layers", "bidirectional", "projection"):
            reasons[option] = "parameters of other names than torch.nn's are read in one pass"
        elif option == "projection" and subject.kind != "LSTM":
            reasons[option] = f"torch.nn.{subject.kind} has none"
        elif option == "batch_first" and subject.batch_first:
            reasons[option] = ALWAYS_FIRST
        elif not subject._takes(argument):
            reasons[option] = f"its constructor takes no {argument}"
        elif refusal := (
            _refusal(subject, case, partial(subject.module, import_torch()))
            or _not_offered(_refusal(subject, case, partial(_run, subject)), option, source)
        ):
            reasons[option] = str(refusal)[:LONGEST_REASON]
    reasons |= _refused_calls(subject, packs="PackedSequence" in source)
    if {"state", "default_state"} <= reasons.keys():
        del reasons["default_state"]  # it does not run at all: the smoke check says why
    plain = replace(PLAIN, state="default_state" in reasons)
    refusal = _refusal(subject, plain, partial(_run, subject, gradient=True))
    if isinstance(refusal, NotOffered):
        reasons["gradient"] = str(refusal)[:LONGEST_REASON]
    offered: dict[str, Any] = {
        option: option not in reasons for option in (*ARGUMENTS, *CALLS, "gradient")
    }
    if not subject.lengths:
        reasons["zero_length"] = NOT_OF_CELLS if subject.steps else "torch does not pack them"
    if subject.own:
        reasons["named_parameters"] = "they have names of their own"
    said = tuple((option, reason) for option, reason in reasons.items() if reason)
    options = Options(**offered, named_parameters=subject.own is None, reasons=said)
    dtypes = [
        d for d in DTYPES if not _refusal(subject, replace(plain, dtype=d), partial(_run, subject))
    ]
    evaluated = _random(subject, plain, training=True) and not _random(
        subject, plain, training=False
    )
    dtypes = dtypes or list(DTYPES)
    return replace(subject, options=options, dtypes=tuple(dtypes), evaluated=evaluated)


def _refused_calls(subject: TorchLike, *, packs: bool) -> dict[str, str]:
    """Return the options among ``CALLS`` that are not offered, and why."""
    reasons: dict[str, str] = {}
    for option, plain in CALLS.items():
        if subject.steps and option in ("lengths", "zero_length", "no_steps"):
            reasons[option] = NOT_OF_CELLS
            continue
        needs_state = "default_state" in reasons and option != "default_state"
        case = replace(plain, state=plain.state or needs_state)
        refusal = _refusal(subject, case, partial(_run, subject, jvp=option == "jvp"))
        accepted = option == "state" or (option == "lengths" and packs)
        if refusal := _deliberate(refusal, option) if accepted else refusal:
            reasons[option] = str(refusal)[:LONGEST_REASON]
    return reasons


def _random(subject: TorchLike, case: Case, *, training: bool) -> bool:
    """Whether two layers made anew return two results for the same input."""

    def run() -> list[Floats]:
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
