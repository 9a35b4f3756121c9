"""A submission to one of KernelBench's problems: a class ``ModelNew``, or a function on arrays.

A class has the constructor and the call of the problem's own model, and its parameters under the
same names (``lstm.weight_ih_l0``, ``fc.weight``) or, with names of its own, drawn in the same
order, as the benchmark itself needs them. A function takes x, the initial states and a mapping of
the parameters by these names, all of them NumPy's, and returns the output.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ParameterMap
from ..numbers.ledger import Mismatch
from .called import NotOffered, SubjectCrashed, with_care
from .forbidden import NOTHING, Forbidden, forbidden
from .kernel_problems import Problem, StateSpace, leaves, problem_named
from .protocol import OneCell, Subject, SubjectUnavailable
from .torch_module import (
    array_of,
    gradients,
    import_torch,
    is_cuda,
    one_thread,
    precise,
    tensor_of,
    torch_dtype,
    torch_version,
)

DTYPES = ("float32", "float16", "bfloat16", "float64")
"""The dtypes in which a submission may compute, the benchmark's first."""

SEED = 20250
"""The seed under which models are constructed, to match parameters by their drawn numbers."""


class Submission(Protocol):
    """A submission built for one case. Arrays are time-first, whatever its own layout is."""

    def output(self, leaves: Mapping[str, Floats]) -> Floats:
        """Return the output for x, initial states and parameters."""

    def pulled(self, leaves: Mapping[str, Floats], cotangent: Floats) -> dict[str, Floats]:
        """Return the gradients of all leaves, by name, of the output's product with a cotangent."""

    @property
    def keeps_state(self) -> bool:
        """Whether a call without a state continues from the state of the last call."""

    def continued_output(self, x: Floats) -> Floats:
        """Return the output for x alone, from the state that another call has left."""

    def forbidden(self, leaves: Mapping[str, Floats]) -> str:
        """Say which forbidden class or operator it contains or runs; "" if none."""

    def random_state(self) -> bytes:
        """Return the state of the random number generator that it may use."""


class Submitted(Subject, Protocol):
    """A subject that is a submission, in this process or in another."""

    @property
    def problem(self) -> Problem:
        """The problem that it solves."""


@dataclass(frozen=True)
class Kernel(OneCell):
    """A submission to a problem, with the classes and operators that it must not use."""

    name: str
    value: Any
    problem: Problem
    forbid: Forbidden = NOTHING
    options: Options = field(default_factory=lambda: Options(problem=True))
    dtypes: tuple[str, ...] = DTYPES
    device: str = "cpu"

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell."""
        return (self.problem.cell,)

    def version(self) -> str:
        """Return the version of PyTorch, in which submissions are written."""
        return torch_version(self.device) if self.is_module else f"numpy {np.__version__}"

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the map of the recurrence's arrays."""
        return self.problem.parameter_map(case)

    @property
    def is_module(self) -> bool:
        """Whether it is a class of torch's modules; else it is a function."""
        return isinstance(self.value, type)

    def build(self, case: Case) -> Any:
        """Return the submission, built for the sizes of a case."""
        if not self.is_module:
            return Function(self.problem, case, self.value, self.forbid)
        torch = import_torch()
        module = self.module(case)
        names = _names(torch, self, case, module)
        return Module(self.problem, case, module, names, self.forbid, self.device)

    def module(self, case: Case) -> Any:
        """Construct the class as the benchmark does; move it."""
        torch = import_torch()
        torch.manual_seed(SEED)
        module = self.value(*self.problem.init_arguments(case))
        module = module.to(torch_dtype(torch, case))
        return module if self.device == "cpu" else module.to(self.device)


def kernel(
    value: Any, name: str, like: str, forbid: Sequence[str] = (), device: str = "cpu"
) -> Kernel:
    """Return a class or a function as a submission, with the options that it offers."""
    refused = forbidden(forbid, device)
    return _with_working_options(Kernel(name, value, problem_named(like), refused, device=device))


def _with_working_options(subject: Kernel) -> Kernel:
    """Return the submission with the dtypes in which it runs, and whether it has gradients.

    float32, the benchmark's dtype, is always offered: the smoke check reports if it fails.
    """
    plain = subject.problem.case(2, 2, 3, 4)
    tried = (*DTYPES, *(["tf32"] if is_cuda(subject.device) else []))
    dtypes = [dtype for dtype in tried if _runs(subject, replace(plain, dtype=dtype))]
    reasons: dict[str, str] = {}
    if not subject.is_module:
        reasons["gradient"] = "it is a function on arrays"
    elif dtypes and not _differentiable(subject, replace(plain, dtype=dtypes[0])):
        reasons["gradient"] = "its output has no derivative that torch knows of"
    options = replace(
        subject.options, gradient=not reasons, forbidden=bool(subject.forbid.names),
        reasons=tuple(reasons.items()),
    )  # fmt: skip
    offered = tuple(dict.fromkeys(("float32", *dtypes)))
    return replace(subject, options=options, dtypes=offered)


def _runs(subject: Kernel, case: Case) -> bool:
    try:
        output = with_care(lambda: subject.build(case).output(leaves(subject.problem, case)))
    except SubjectUnavailable:
        raise
    except Exception:
        return False
    return bool(output.dtype == case.number_type)


def _differentiable(subject: Kernel, case: Case) -> bool:
    drawn = leaves(subject.problem, case)
    cotangent = np.ones(subject.problem.output_shape(case), case.number_type)
    try:
        with_care(lambda: subject.build(case).pulled(drawn, cotangent))
    except NoDerivative:
        return False
    except Exception:
        return True  # a check reports what is wrong
    return True


class NoDerivative(NotOffered):
    """The output does not depend on any leaf, according to autograd."""


@dataclass(frozen=True)
class Function:
    """A function on arrays."""

    problem: Problem
    case: Case
    value: Callable[..., Any]
    forbid: Forbidden = NOTHING

    def output(self, leaves: Mapping[str, Floats]) -> Floats:
        arguments, parameters = self._copied(leaves)
        before, parameters_before = self._copied(leaves)
        with self.forbid.refused():
            output = np.asarray(self.value(*arguments.values(), parameters))
        for name, was in before.items():
            _require_same(name, arguments[name], was, np.may_share_memory(output, arguments[name]))
        for name, was in parameters_before.items():
            _require_same(name, parameters[name], was, shared=False)
        return output

    def _copied(self, leaves: Mapping[str, Floats]) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Return copies of the arguments in the problem's layout, and of the parameters."""
        laid_out = {n: _laid_out(self.problem, n, leaves[n]) for n in called(self.problem)}
        arguments = {name: np.array(array, order="C") for name, array in laid_out.items()}
        return arguments, {name: np.array(leaves[name]) for name in self.problem.shapes(self.case)}

    def pulled(self, leaves: Mapping[str, Floats], cotangent: Floats) -> dict[str, Floats]:
        raise NotImplementedError("a function on arrays has no gradients")

    def ready(self, leaves: Mapping[str, Floats]) -> Callable[[], Any]:
        """Return a call of the function, for a clock."""
        arguments, parameters = self._copied(leaves)
        return lambda: np.asarray(self.value(*arguments.values(), parameters))

    @property
    def keeps_state(self) -> bool:
        return False

    def continued_output(self, x: Floats) -> Floats:
        raise NotImplementedError("a function keeps no state")

    def forbidden(self, leaves: Mapping[str, Floats]) -> str:
        return self.forbid.violation(None, lambda: self.output(leaves))

    def random_state(self) -> bytes:
        return repr(np.random.get_state(legacy=False)).encode()


@dataclass(frozen=True)
class Module:
    """A module; ``names`` maps the names of the problem's model to its own."""

    problem: Problem
    case: Case
    module: Any
    names: Mapping[str, str]
    forbid: Forbidden = NOTHING
    device: str = "cpu"

    def output(self, leaves: Mapping[str, Floats]) -> Floats:
        torch = import_torch()
        with self._conditions(torch), torch.no_grad():
            tensors = self._set(torch, leaves)
            output = self._run(torch, tensors)
            self._require_untouched(torch, tensors, leaves, output)
            return array_of(torch, output)  # not later, when more is allowed

    def pulled(self, leaves: Mapping[str, Floats], cotangent: Floats) -> dict[str, Floats]:
        torch = import_torch()
        with self._conditions(torch), torch.enable_grad():
            tensors = self._set(torch, leaves, record=True)
            output = self._run(torch, tensors)
            if not output.requires_grad:
                raise NoDerivative("its output has no derivative")
            if tuple(output.shape) != cotangent.shape:
                raise Mismatch(
                    f"output: expected shape {cotangent.shape}, got {tuple(output.shape)}"
                )
            d = tensor_of(torch, cotangent, self.device)
            pulled = gradients(torch, [(output, d)], tensors, more=False)
            self._require_untouched(torch, tensors, leaves, output)
            return {
                name: _turned(self.problem, name, array_of(torch, d), index=np.s_[None])
                for name, d in pulled.items()
            }

    def ready(self, leaves: Mapping[str, Floats]) -> Callable[[], Any]:
        """Set the parameters, and return a call of the module with the inputs, for a clock.

        The call ends when the device has done what it was asked.
        """
        torch = import_torch()
        tensors = self._set(torch, leaves)
        arguments = [tensors[name] for name in called(self.problem)]

        def call() -> Any:
            with self.forbid.refused(), precise(torch, self.case, self.device), torch.no_grad():
                return array_of(torch, self.module(*arguments))  # else a lazy one takes no time

        return call

    @contextmanager
    def _conditions(self, torch: Any) -> Iterator[None]:
        """Run the block on one thread, in the case's arithmetic, and refuse what is forbidden."""
        with self.forbid.refused(), one_thread(torch), precise(torch, self.case, self.device):
            yield

    @property
    def keeps_state(self) -> bool:
        if self.problem.layout != "one step":
            return False  # there a missing state is drawn at random
        try:
            inspect.signature(self.module.forward).bind(None)
        except TypeError:
            return False
        return True

    def continued_output(self, x: Floats) -> Floats:
        torch = import_torch()
        with self._conditions(torch), torch.no_grad():
            tensor = tensor_of(torch, _laid_out(self.problem, "x", x), self.device)
            return array_of(torch, self.module(tensor))

    def forbidden(self, leaves: Mapping[str, Floats]) -> str:
        return self.forbid.violation(self.module, lambda: self.output(leaves))

    def random_state(self) -> bytes:
        torch = import_torch()
        states = [torch.random.get_rng_state()]
        if is_cuda(self.device):
            states.append(torch.cuda.get_rng_state(self.device))
        return b"".join(state.numpy().tobytes() for state in states)

    def _set(
        self, torch: Any, leaves: Mapping[str, Floats], *, record: bool = False
    ) -> dict[str, Any]:
        """Set the parameters; return the arguments and the parameters by name."""
        tensors: dict[str, Any] = {}
        for name in called(self.problem):
            array = np.ascontiguousarray(_laid_out(self.problem, name, leaves[name]))
            tensors[name] = tensor_of(torch, array, self.device).requires_grad_(record)
        state = dict(self.module.named_parameters()) | dict(self.module.named_buffers())
        for name in self.problem.shapes(self.case):
            parameter = state[self.names[name]]
            with torch.no_grad():
                parameter.copy_(tensor_of(torch, leaves[name], self.device))
            tensors[name] = parameter.requires_grad_(record)
        return tensors

    def _run(self, torch: Any, tensors: Mapping[str, Any]) -> Any:
        output = self.module(*(tensors[name] for name in called(self.problem)))
        if not isinstance(output, torch.Tensor):
            raise Mismatch(f"output: expected a tensor, got {type(output).__name__}")
        return output

    def _require_untouched(
        self, torch: Any, tensors: Mapping[str, Any], leaves: Mapping[str, Floats], output: Any
    ) -> None:
        """Raise Mismatch if the call wrote into its arguments, or returned their memory."""
        memory = output.untyped_storage().data_ptr()
        for name, tensor in tensors.items():
            was = _laid_out(self.problem, name, leaves[name])
            shared = output.numel() > 0 and tensor.untyped_storage().data_ptr() == memory
            _require_same(name, array_of(torch, tensor), was, shared)


def _require_same(name: str, now: Floats, was: Floats, shared: bool) -> None:
    if not np.array_equal(now, was, equal_nan=True):
        raise Mismatch(f"{name}: the call wrote into it")
    if shared:
        raise Mismatch(f"{name}: the output is in its memory; it should be in memory of its own")


def called(problem: Problem) -> tuple[str, ...]:
    """Return the names of a submission's arguments before the parameters, in order."""
    return ("x", *problem.states)


def _laid_out(problem: Problem, name: str, array: Floats) -> Floats:
    """Return x or a state in the layout of the problem's model."""
    return _turned(problem, name, array, index=0)


def _turned(problem: Problem, name: str, array: Floats, index: Any) -> Floats:
    """Exchange steps and rows, or index the axis of the one step or layer, as the model has it."""
    if name == "x" and problem.layout == "batch-first":
        return array.swapaxes(0, 1)
    flat = name in problem.states and problem.kind == "rnn"  # a state without an axis of layers
    return array[index] if flat or (name == "x" and problem.layout == "one step") else array


def _names(torch: Any, subject: Kernel, case: Case, module: Any) -> dict[str, str]:
    """Map the names of the problem's model to the module's own.

    Parameters of other names are matched by their numbers: the benchmark constructs both models
    under one seed. SubjectCrashed names a parameter without a match.
    """
    shapes = subject.problem.shapes(case)
    state = dict(module.named_parameters()) | dict(module.named_buffers())
    module_shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if all(module_shapes.get(name) == shape for name, shape in shapes.items()):
        return {name: name for name in shapes}
    drawn = _drawn_parameters(torch, subject.problem, case)
    names: dict[str, str] = {}
    for name, shape in shapes.items():
        same = (
            candidate for candidate, tensor in state.items()
            if module_shapes[candidate] == shape and candidate not in names.values()
            and torch.equal(tensor.detach(), drawn[name].to(tensor))
        )  # fmt: skip
        if (candidate := next(same, None)) is not None:
            names[name] = candidate
    lacking = [name for name in shapes if name not in names]
    if lacking:
        raise SubjectCrashed(
            f"parameter {lacking[0]}: expected shape {shapes[lacking[0]]} as in the problem's "
            f"model, by this name or drawn in the same order; got {_listed(module_shapes)}"
        )
    return names


def _drawn_parameters(torch: Any, problem: Problem, case: Case) -> dict[str, Any]:
    """Return the parameters that the problem's model draws under the seed."""
    torch.manual_seed(SEED)
    if isinstance(problem, StateSpace):
        shapes = problem.shapes(case).items()
        return {name: torch.randn(shape).to(torch_dtype(torch, case)) for name, shape in shapes}
    nn = torch.nn
    parts: dict[str, Any] = {}
    if problem.module == "i2h":
        parts["i2h"] = nn.Linear(case.D + case.H, case.H)
    else:
        parts[problem.module] = getattr(nn, problem.kind.upper())(
            case.D, case.H, case.layers, bidirectional=case.bidirectional
        )
    if problem.head:
        parts[problem.head] = nn.Linear(case.H * case.directions, problem.width(case))
    tensors = (
        (f"{part}.{name}", tensor)
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    )
    return {name: tensor.to(torch_dtype(torch, case)) for name, tensor in tensors}


LISTED = 6
"""Parameters that are named in a message."""


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    named = [f"{name} {shape}" for name, shape in list(shapes.items())[:LISTED]]
    more = f" and {len(shapes) - LISTED} more" if len(shapes) > LISTED else ""
    return (", ".join(named) + more) if named else "none"
