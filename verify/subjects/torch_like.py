"""A user's class with the constructor and the call of torch.nn's layers or cells, as a subject.

Its parameters have torch.nn's names, or ``own_names`` determines their meaning.

Every option is tried once on a tiny input. An option that the class deliberately refuses is *not
supported*; an option that it accepts must be right. An argument that its source names is offered
even if using it raises by accident.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ConventionMap
from ..numbers.ledger import Mismatch
from ..runs.verdict import PARAMETERS
from . import torch_module as torch_caller
from .call_form import LENGTHS, NONE, TORCHS, CallForm, FormSearch, forms
from .called import NotOffered, SubjectCrashed, layer_of, raised_by, state_shapes, with_care
from .cell_call import STEPS, call_steps, class_of, step_of
from .each_direction import in_each_direction
from .inputs import draw_cotangents, draw_inputs
from .loader import UnknownSubject
from .own_names import CASE, ModuleMap, NoMapping, OwnNames, own_names
from .protocol import Inputs, Result, SubjectUnavailable
from .torch_module import (
    TorchModule,
    cuda_flags,
    import_torch,
    is_cuda,
    precise,
    torch_dtype,
    torch_version,
)
from .torch_parameters import CONVENTIONS, stepped
from .torch_subject import DEFAULTS, TorchLayer, call_layer, depth_arguments
from .trial import LONGEST_REASON

KINDS = ("LSTM", "GRU", "RNN")
CELL = "Cell"
REFERENCE = {kind: CONVENTIONS[kind.lower()] for kind in KINDS} | {
    f"{kind}{CELL}": stepped(kind.lower()) for kind in KINDS
}
"""The conventions of torch.nn's layers and cells, by the names of the classes."""

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
"""Patterns of words by which a refusal names an option."""

NOT_OF_CELLS = ""
"""The reason for which a cell has no layers, lengths, ...: obvious, so it is not printed."""

THE_HIDDEN_WIDTH = r"hid|unit|state|n_?h|h_|h$"
THE_INPUT_WIDTH = r"in|feat|x|d_?in|n_?in|emb"
"""The names of arguments for H and D."""

SAME = 2.0**-30
"""The largest difference of two results in float64 that rounding, not randomness, explains."""


@dataclass(frozen=True)
class TorchLike(TorchLayer):
    """A user's class that replaces ``torch.nn.LSTM``, ``GRU``, ``RNN``, or one of their cells."""

    layer: Callable[..., Any] = field(default=lambda: None)
    import_lines: str = ""
    evaluated: bool = False
    """Whether it runs in evaluation mode, since in training it is random even without dropout."""
    own: OwnNames | None = None
    """The meaning of its parameters, if they have other names than torch.nn's."""
    package: str = ""
    """The package that it belongs to, and its version."""
    called_as: CallForm = TORCHS
    """The form in which it is called, whatever an argument says of the batch axis."""
    device: str = "cpu"
    """The device on which it computes."""
    halved: bool = False
    """Whether it always has two directions; one is then half of what it computes."""

    @property
    def form(self) -> tuple[str, str] | None:
        """The kind and class that a recording stores; None for parameters of other names.

        None, too, with ReLU, which that class would not compute.
        """
        stored = not self.own and self.nonlinearity != "relu"
        return ("like", f"torch.nn.{self.kind}") if stored else None

    def version(self) -> str:
        """Return the versions of its package and of PyTorch, and the meaning of own names."""
        form = f". Its calls: {self.called_as.text}" if self.called_as.text else ""
        mapping = f"{PARAMETERS}{self.own.text}{form}" if self.own else ""
        if self.nonlinearity:
            mapping = mapping or f"{PARAMETERS}torch.nn's"
            default = f"With {self.nonlinearity}, its default"
            mapping += f". {default}; the other nonlinearity is not tested"
        mapping += ". One direction is half of a call in both" * self.halved
        torch = torch_version(self.device)
        return (f"{self.package} ({torch})" if self.package else torch) + mapping

    def parameter_map(self, case: Case) -> ConventionMap:
        """Return torch.nn's map, or that of the parameters' own names."""
        if self.own is None:
            return super().parameter_map(case)
        return ModuleMap(self.own.convention, case, self.own.arrays)

    def module(self, torch: Any, case: Case) -> Any:
        """Construct the class with the arguments that differ from torch's defaults; move it."""
        arguments, dtype = self._arguments(case), torch_dtype(torch, case)
        if self._names("dtype"):
            layer = self.layer(*self.widths(case), **arguments, dtype=dtype)
        else:
            layer = self.layer(*self.widths(case), **arguments).to(dtype)
        return layer if self.device == "cpu" else layer.to(self.device)

    def build(self, case: Case) -> TorchModule:
        """Return the layer; Mismatch for parameters of unexpected names or shapes."""
        module = self.module(import_torch(), case)
        try:
            keys = self._keys(module, case)
        except NoMapping as reason:
            raise Mismatch(f"parameters: {reason}") from reason
        shapes = {keys[name]: tuple(p.shape) for name, p in module.named_parameters()}
        expected = dict(self.parameter_map(case).shapes())
        for name in sorted(expected.keys() | shapes.keys()):
            if expected.get(name) != shapes.get(name):
                whose = "in a layer of these sizes" if self.own else f"as torch.nn.{self.kind}"
                raise Mismatch(
                    f"parameter {name}: expected {expected.get(name, 'none')} {whose}, "
                    f"got {shapes.get(name, 'none')}"
                )
        return self.torch_module(module.eval() if self.evaluated else module, case)

    def torch_module(self, module: Any, case: Case) -> TorchModule:
        """Return a module of it, with how it is called."""
        setting = partial(precise, import_torch(), case, self.device)
        key = self._keys(module, case).__getitem__
        return TorchModule(module, case, self.call, key, self.device, setting)

    @property
    def steps(self) -> bool:
        """Whether it replaces a cell, of which a call is one step."""
        return self.kind.endswith(CELL)

    @property
    def call(self) -> Callable[..., Any]:
        """The function that calls the class."""
        if self.steps:
            return partial(call_steps, step_of(self.layer), len(self.convention.states))
        if self.called_as != TORCHS:
            return partial(self.called_as.call, self.lengths)
        return partial(_call_with_lengths, self.lengths) if self.lengths else call_layer

    @property
    def lengths(self) -> dict[str, Any]:
        """The arguments of ``forward`` for lengths, where None stands for them; {} for none."""
        if self.steps:
            return {}
        try:
            arguments = inspect.signature(class_of(self.layer).forward).parameters
        except (AttributeError, TypeError, ValueError):
            return {}
        names = [name for name in LENGTHS if name in arguments]
        unsorted = {"enforce_sorted": False} if "enforce_sorted" in arguments else {}
        return {names[0]: None} | unsorted if names else {}

    def caller(self, case: Case) -> str:
        """Return source that imports, builds and calls the class; "" where it takes lengths."""
        if self.halved or self.called_as.listed or (case.lengths and self.lengths):
            return ""
        arguments = self._arguments(case)
        takes = self._names("dtype")
        form = self.called_as
        called = replace(case, layout="batch-first") if form.batch_first else case
        text = torch_caller.source(
            self._imports(case), called, arguments, takes_dtype=takes, device=self.device,
            evaluated=self.evaluated, widths=self.widths(case),
        )  # fmt: skip
        if self.steps:
            method, spread = step_of(self.layer)
            states = "*state" if spread or len(self.convention.states) == 1 else "state"
            body = STEPS.replace("METHOD", method).replace("GIVEN", states)
            text += body.replace("STATES", str(len(self.convention.states)))
            text = text.replace("y, final = layer(*given)", "y, final = steps(layer, *given)")
        elif replace(form, batch_first=False) != TORCHS:
            rows_first = called.layout == "batch-first"
            text += form.source(len(self.convention.states), rows_first=rows_first)
            text = text.replace("y, final = layer(*given)", "y, final = called(layer, *given)")
        if not self._numbered:
            return text
        named = '{f"{name}_l0": p for name, p in layer.named_parameters()}'
        if case.layers * case.directions > 1:
            try:
                keys = self._keys(self.module(import_torch(), case), case)
            except NoMapping:
                return ""
            named = f"{{{keys!r}[name]: p for name, p in layer.named_parameters()}}"
        return text.replace("dict(layer.named_parameters())", named)

    def _imports(self, case: Case) -> str:
        """Return source that imports the class and, for a GPU, sets what PyTorch computes in."""
        if not is_cuda(self.device):
            return self.import_lines
        flags = cuda_flags(case, cudnn=True).items()
        lines = (f"torch.backends.{n} = {on}\n" for n, on in flags if n.endswith("tf32"))
        return f"{self.import_lines}\n{''.join(lines)}"

    @property
    def _numbered(self) -> bool:
        """Whether the map's names end with the pass (``_l0``), and the parameters' do not."""
        return self.steps or self.own is not None

    def _keys(self, module: Any, case: Case) -> dict[str, str]:
        """Return the names that the map has for a module's parameters."""
        shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
        if not self._numbered:
            return {name: name for name in shapes}
        mapping = self.parameter_map(case)
        if case.layers * case.directions > 1 and isinstance(mapping, ModuleMap):
            return mapping.keys(shapes)
        return {name: f"{name}_l0" for name in shapes}

    def widths(self, case: Case) -> tuple[int, int]:
        """Return D and H, in the order of the constructor's first two arguments."""
        first, second, *_ = (*inspect.signature(self.layer).parameters, "", "")
        turned = re.match(THE_HIDDEN_WIDTH, first) and re.match(THE_INPUT_WIDTH, second)
        return (case.H, case.D) if turned else (case.D, case.H)

    def _arguments(self, case: Case) -> dict[str, Any]:
        """Return the constructor's arguments whose value is not its default."""
        usual = {"bias": True} | DEFAULTS
        stated = {n: p.default for n, p in inspect.signature(self.layer).parameters.items()}
        defaults = usual | {n: d for n, d in stated.items() if d is not None}
        arguments = usual | {"bias": case.bias} | depth_arguments(case)
        return {name: value for name, value in arguments.items() if defaults[name] != value}

    def _names(self, argument: str) -> bool:
        """Whether the constructor has a parameter of this name, other than in **arguments."""
        return argument in inspect.signature(self.layer).parameters

    def _takes(self, argument: str) -> bool:
        parameters = inspect.signature(self.layer).parameters
        anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        return argument in parameters or anything


def torch_like(
    layer: Any, name: str, like: str, import_lines: str = "", device: str = "cpu"
) -> TorchLike:
    """Return a class as a subject on a device, with the options that it offers.

    UnknownSubject names the classes of torch that it fits, if it does not fit this one.
    """
    kind = like.rpartition(".")[2]
    subject = TorchLike(
        name, REFERENCE[kind], Options(), kind=kind, layer=layer, import_lines=import_lines,
        device=device,
    )  # fmt: skip
    if not callable(layer):
        raise SubjectUnavailable(f"{name} is no class")
    subject = _with_its_nonlinearity(subject)
    try:
        subject = _with_own_names(subject)
    except SubjectUnavailable:
        halved = _with_each_direction(subject)
        if halved is None:
            _refuse_another(subject)
            raise
        subject = halved
    if _misfit(subject):
        _refuse_another(subject)
    return _with_working_options(subject)


def _with_its_nonlinearity(subject: TorchLike) -> TorchLike:
    """Return a subject like RNN that is held with the constructor's default nonlinearity."""
    parameters = inspect.signature(subject.layer).parameters
    default = parameters["nonlinearity"].default if "nonlinearity" in parameters else None
    if subject.convention.family != "rnn" or default not in ("tanh", "relu"):
        return subject
    convention = replace(subject.convention, candidate=default)
    return replace(subject, convention=convention, nonlinearity=default)


def _with_each_direction(subject: TorchLike) -> TorchLike | None:
    """Return a subject of an always bidirectional class that is held in one direction, too."""
    if subject.steps:
        return None
    try:
        torch = import_torch()
        layer = with_care(lambda: in_each_direction(torch, subject.layer, *subject.widths(CASE)))
        return layer and _with_own_names(replace(subject, layer=layer, halved=True))
    except Exception:  # the class's own, or it is not of this kind: the first refusal stands
        return None


def fitting(
    layer: Any, name: str, kinds: Iterable[str] = tuple(REFERENCE), device: str = "cpu"
) -> list[str]:
    """Return the classes of torch.nn like which a class can be built and called."""
    fits = []
    for kind in kinds:
        subject = TorchLike(name, REFERENCE[kind], Options(), kind=kind, layer=layer, device=device)
        try:
            misfit = _misfit(_with_own_names(_with_its_nonlinearity(subject)))
        except SubjectUnavailable:
            continue
        if misfit is None:
            fits.append(f"torch.nn.{kind}")
    return fits


def _refuse_another(subject: TorchLike) -> None:
    """Raise UnknownSubject if the class fits other classes of torch."""
    import_torch()
    others = [kind for kind in REFERENCE if kind != subject.kind]
    if fits := fitting(subject.layer, subject.name, others, subject.device):
        raise UnknownSubject(
            f"{subject.name} does not fit --like torch.nn.{subject.kind}; "
            f"it fits --like {' and '.join(fits)}"
        )


def _misfit(subject: TorchLike) -> Exception | None:
    """Return the exception if the class cannot be built or called like torch's, or None.

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


def _call_with_lengths(
    arguments: Mapping[str, Any],
    torch: Any,
    module: Any,
    x: Any,
    state: Any,
    lengths: Floats | None,
) -> tuple[Any, tuple[Any, ...]]:
    """Call a module that takes lengths; its outputs may end with the longest row."""
    if lengths is None:
        return call_layer(torch, module, x, state, lengths)
    ends = torch.from_numpy(lengths).to(x.device)
    filled = {name: ends if value is None else value for name, value in arguments.items()}
    y, final = module(x, *(() if state is None else (state,)), **filled)
    time = int(bool(getattr(module, "batch_first", False)))
    shape = list(y.shape)
    shape[time] = x.shape[time] - y.shape[time]
    return torch.cat([y, y.new_zeros(shape)], time), final if isinstance(final, tuple) else (final,)


def _with_own_names(subject: TorchLike) -> TorchLike:
    """Return the subject with the meaning of its parameters, if none has a name of torch.nn's.

    SubjectUnavailable says why that cannot be determined, and what to write instead.
    """
    try:
        module = with_care(lambda: subject.module(import_torch(), CASE))
        shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    except SubjectUnavailable:
        raise
    except Exception:
        return subject  # the smoke check reports why it cannot be constructed
    torchs = set(subject.parameter_map(CASE).shapes())
    names = {*subject._keys(module, CASE).values()}
    if not shapes or names == torchs or (names & torchs and not subject.steps):
        return subject  # a cell's array weight_ih need not be meant as torch.nn's
    first = getattr(module, "batch_first", False) is True and not subject._names("batch_first")
    first = first and not subject.steps
    refusals: list[Exception] = []
    for called_as in _forms(module, shapes, subject, batch_first=first):
        subject = replace(subject, called_as=called_as)
        try:
            run, takes_state = _careful(module, subject), called_as.takes != NONE
            meaning = own_names(run, shapes, subject.convention, takes_state=takes_state)
        except SubjectUnavailable:
            raise
        except Exception as refusal:  # the module's own, too
            refusals.append(refusal)
            if isinstance(refusal, NoMapping):
                break  # it runs: its axes are right
        else:
            return replace(subject, own=meaning, convention=meaning.convention)
    first_refusal = refusals[0]
    own = isinstance(first_refusal, NoMapping | Mismatch)
    why = str(first_refusal) if own else f"its run raised {first_refusal}"
    proposal = PROPOSAL.format(subject.kind.removesuffix(CELL).lower())
    raise SubjectUnavailable(f"{why}: {proposal}") from first_refusal


def _forms(
    module: Any, shapes: Mapping[str, tuple[int, ...]], subject: TorchLike, *, batch_first: bool
) -> list[CallForm]:
    """Return the form in which a module computes row by row; those nearest torch's if in none."""
    if subject.steps:
        return [TORCHS]
    states = len(subject.convention.states)

    def run(form: CallForm, inputs: Inputs) -> Result:
        return _careful(module, replace(subject, called_as=form))(inputs)

    candidates = [*forms(module.forward, states, batch_first=batch_first)]
    form = FormSearch(run, CASE, shapes, states).best(candidates)
    return [form] if form else [each for each in candidates if each.is_near(candidates[0])]


def _careful(module: Any, subject: TorchLike) -> Callable[[Inputs], Result]:
    """Return a run of a module in evaluation mode, protected from what it may do."""
    run = replace(subject.torch_module(module.eval(), CASE), key=str).forward
    return lambda inputs: with_care(lambda: run(inputs))


PROPOSAL = (
    'declare its arrays, @gatewise.subject({0!r}, order=..., gradient="torch") above a function '
    "(x, h0, w_ih, w_hh, b_ih, b_hh), or write a class with explicit gates: gatewise new {0}"
)


def _with_working_options(subject: TorchLike) -> TorchLike:
    """Run the subject on small cases; return it with the options and dtypes that work."""
    reasons: dict[str, str] = {}
    source = _own_source(subject.layer)
    for option, (argument, case) in ARGUMENTS.items():
        if subject.steps and option != "bias":
            reasons[option] = NOT_OF_CELLS
        elif subject.own and option == "projection":
            reasons[option] = "parameters of other names than torch.nn's are read without one"
        elif option == "projection" and subject.kind != "LSTM":
            reasons[option] = f"torch.nn.{subject.kind} has none"
        elif option == "batch_first" and subject.called_as.batch_first:
            reasons[option] = ALWAYS_FIRST
        elif not subject._takes(argument):
            reasons[option] = f"its constructor takes no {argument}"
        elif option in ("layers", "bidirectional") and (one_pass := _one_pass(subject, case)):
            reasons[option] = one_pass
        elif refusal := (
            _refusal(subject, case, partial(subject.module, import_torch()))
            or _not_offered(_refusal(subject, case, partial(_run, subject)), option, source)
        ):
            reasons[option] = str(refusal)[:LONGEST_REASON]
    reasons |= _refused_calls(subject, packs="PackedSequence" in source)
    if {"state", "default_state"} <= reasons.keys():
        del reasons["default_state"]  # it does not run at all: the smoke check reports why
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
    shown_reasons = tuple((option, reason) for option, reason in reasons.items() if reason)
    options = Options(
        **offered, named_parameters=subject.own is None, reasons=shown_reasons,
        final_states=subject.called_as.alone < 2,
    )  # fmt: skip
    tried = (*DTYPES, *(["tf32"] if is_cuda(subject.device) else []))
    dtypes = [
        d for d in tried if not _refusal(subject, replace(plain, dtype=d), partial(_run, subject))
    ]
    evaluated = _random(subject, plain, training=True) and not _random(
        subject, plain, training=False
    )
    dtypes = dtypes or list(DTYPES)
    return replace(subject, options=options, dtypes=tuple(dtypes), evaluated=evaluated)


def _one_pass(subject: TorchLike, case: Case) -> str:
    """Return the reason for which a class with own names is held in one pass alone; "" if not."""
    if subject.own is None:
        return ""
    form = subject.called_as
    if not form.has_passes or form.alone:
        return "its states have no axis of layers and directions"
    try:
        subject._keys(with_care(partial(subject.module, import_torch(), case)), case)
    except NoMapping as reason:
        return str(reason)
    except SubjectCrashed:
        return ""  # whether it refuses the option or trips over it is seen next
    return ""


def _refused_calls(subject: TorchLike, *, packs: bool) -> dict[str, str]:
    """Return the reasons for which options among ``CALLS`` are not offered."""
    reasons: dict[str, str] = {}
    for option, plain in CALLS.items():
        if subject.steps and option in ("lengths", "zero_length", "no_steps"):
            reasons[option] = NOT_OF_CELLS
            continue
        if option == "state" and subject.called_as.takes == NONE:
            alone = subject.called_as.alone > 1
            reasons[option] = "it returns y alone" if alone else "its forward takes none"
            continue
        needs_state = "default_state" in reasons and option != "default_state"
        case = replace(plain, state=plain.state or needs_state)
        refusal = _refusal(subject, case, partial(_run, subject, jvp=option == "jvp"))
        accepted = option == "state" or (option == "lengths" and packs)
        if refusal := _deliberate(refusal, option) if accepted else refusal:
            reasons[option] = str(refusal)[:LONGEST_REASON]
    return reasons


def _random(subject: TorchLike, case: Case, *, training: bool) -> bool:
    """Whether two new layers return different results for the same input."""

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
    """Return the exception that a function raises for a case, or None."""
    try:
        with_care(partial(function, case))
    except SubjectUnavailable:
        raise
    except Exception as error:
        return error
    return None


def _not_offered(refusal: Exception | None, option: str, source: str) -> Exception | None:
    """Return the exception if it shows that an option is not offered; None for an accident.

    A class may inherit a constructor of PyTorch and never name an option of it; if that option
    raises, it is not offered.
    """
    if source and not re.search(NAMES[option], source, re.IGNORECASE):
        return refusal
    return _deliberate(refusal, option)


def _deliberate(refusal: Exception | None, option: str) -> Exception | None:
    """Return the exception if it refuses an option deliberately; None for an accident.

    Deliberate are NotImplementedError, and raise or assert statements that name the option.
    """
    if refusal is None or isinstance(refusal, NotOffered):
        return refusal
    line = raised_by(refusal)
    named = re.search(NAMES[option], f"{line} {refusal}", re.IGNORECASE)
    return refusal if named and re.match(r"(raise|assert)\b", line) else None


def _own_source(layer: Any) -> str:
    """Return the source of a class and of its bases, except those of PyTorch."""
    sources = []
    for base in inspect.getmro(layer) if isinstance(layer, type) else (layer,):
        if getattr(base, "__module__", "").split(".")[0] not in ("torch", "builtins"):
            with suppress(OSError, TypeError):
                sources.append(inspect.getsource(base))
    return "\n".join(sources)
