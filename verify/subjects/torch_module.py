"""A torch module built for one case, called with NumPy arrays; gradients by autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..numbers.ledger import Mismatch
from .framework import from_layout, to_layout
from .profiler import Watch
from .protocol import Cotangents, Inputs, Pulled, Result, Subject, SubjectUnavailable

Call = Callable[[Any, Any, Any, Any, Any], tuple[Any, tuple[Any, ...]]]
"""The call of a module: (torch, module, x, state, lengths) to (y, final states)."""


def import_torch() -> Any:
    """Return torch; SubjectUnavailable says how to install it."""
    try:
        import torch
    except ImportError as error:
        message = "PyTorch is not installed; install it with: pip install torch"
        raise SubjectUnavailable(message) from error
    return torch


@contextmanager
def one_thread(torch: Any) -> Iterator[None]:
    """Compute on one thread: cases are small, and threads that wait for each other are slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def require_device(device: str) -> None:
    """Raise SubjectUnavailable unless PyTorch can compute on a device here; it says why not."""
    torch = import_torch()
    try:
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0]
        raise SubjectUnavailable(f"PyTorch has no device {device} here: {why}") from error


def is_cuda(device: str) -> bool:
    """Whether a device is a GPU of CUDA's, or of ROCm's, which PyTorch calls by the same name."""
    return device.partition(":")[0] == "cuda"


def torch_version(device: str) -> str:
    """Return the version of PyTorch, and of what computes on a GPU."""
    torch = import_torch()
    if not is_cuda(device):
        return f"torch {torch.__version__}{'' if device == 'cpu' else f', {device}'}"
    name = torch.cuda.get_device_name(device)
    cudnn = torch.backends.cudnn.version()
    return f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}, {name}"


def stated_version(stated: str, device: str) -> str:
    """Return the version that code states, and that of what computes on a device."""
    return ", ".join(filter(None, (stated, "" if device == "cpu" else torch_version(device))))


@contextmanager
def precise(torch: Any, case: Case, device: str) -> Iterator[None]:
    """Compute in the case's own arithmetic: on a GPU in TF32 only where that is the dtype."""
    if not is_cuda(device):
        yield
        return
    current = torch.cuda.device(device) if ":" in device else nullcontext()  # kernels go there
    with current, cuda_setting(torch, case, cudnn=torch.backends.cudnn.enabled):
        yield


def cuda_flags(case: Case, *, cudnn: bool) -> dict[str, bool]:
    """Return what PyTorch is set to: no algorithm is chosen by time, TF32 only if asked for."""
    tf32 = case.dtype == "tf32"
    return {
        "cudnn.enabled": cudnn,
        "cudnn.benchmark": False,
        "cudnn.allow_tf32": tf32,
        "cuda.matmul.allow_tf32": tf32,
    }


@contextmanager
def cuda_setting(torch: Any, case: Case, *, cudnn: bool) -> Iterator[None]:
    """Set PyTorch's flags while the block runs."""
    wanted = []
    for name, value in cuda_flags(case, cudnn=cudnn).items():
        *path, flag = name.split(".")
        wanted.append((reduce(getattr, path, torch.backends), flag, value))
    before = [getattr(place, flag) for place, flag, _ in wanted]
    for place, flag, value in wanted:
        setattr(place, flag, value)
    try:
        yield
    finally:
        for (place, flag, _), value in zip(wanted, before, strict=True):
            setattr(place, flag, value)


@dataclass(frozen=True)
class TorchModule:
    """A module and its ``call``; ``key`` maps its parameters' names to torch.nn's.

    ``device`` is where it computes, ``setting`` what PyTorch is set to while it does, ``watch``
    looks at what runs.
    """

    module: Any
    case: Case
    call: Call
    key: Callable[[str], str] = str
    device: str = "cpu"
    setting: Callable[[], AbstractContextManager[Any]] = nullcontext
    watch: Watch | None = None

    def train(self, training: bool) -> None:
        """Switch between training and evaluation."""
        self.module.train(training)

    def forward(self, inputs: Inputs) -> Result:
        """Run the layer without recording for autograd."""
        torch = import_torch()
        with self._conditions(torch, inputs), torch.no_grad():
            leaves = self._leaves(torch, inputs)
            y, final = self._run(torch, leaves, inputs)
            _copy_writes_back(torch, inputs, leaves)
        return _result(torch, y, final)

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Run the layer once and pull every pair of cotangents back by autograd."""
        torch = import_torch()
        with self._conditions(torch, inputs, backward=True):
            leaves = self._leaves(torch, inputs, record=True)
            y, final = self._run(torch, leaves, inputs)
            outputs = _result(torch, y, final)
            pulled = []
            for number, (dy, dfinal) in enumerate(cotangents, start=1):
                more = number < len(cotangents)
                named = self._pull(torch, leaves, [y, *final], [dy, *dfinal], more)
                pulled.append(Pulled.of_leaves(outputs, named))
            _copy_writes_back(torch, inputs, leaves)
        return pulled

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Push tangents forward by torch's forward-mode differentiation."""
        torch = import_torch()
        leaves, along = (
            {name: leaf.detach().clone() for name, leaf in self._leaves(torch, call).items()}
            for call in (inputs, tangents)
        )
        wrapper = _wrapper(torch, self.module, lambda leaves: self._run(torch, leaves, inputs))
        keys = {f"module.{name}": self.key(name) for name, _ in self.module.named_parameters()}

        def function(leaves: Mapping[str, Any]) -> Any:
            parameters = {name: leaves[key] for name, key in keys.items()}
            y, final = torch.func.functional_call(wrapper, parameters, (leaves,))
            return (y, *final)

        with self._conditions(torch, inputs):
            _, (dy, *dfinal) = torch.func.jvp(function, (leaves,), (along,))
        return _result(torch, dy, dfinal)

    @contextmanager
    def _conditions(self, torch: Any, inputs: Inputs, *, backward: bool = False) -> Iterator[None]:
        """Run the block on one thread, in the module's setting, observed by its ``watch``."""
        with one_thread(torch), self.setting():
            if self.watch is None:
                yield
                return
            packed = inputs.lengths is not None
            with self.watch.looking(torch, self.case, packed=packed, backward=backward):
                yield

    def _leaves(self, torch: Any, inputs: Inputs, *, record: bool = False) -> dict[str, Any]:
        """Set the parameters, and return all tensors of which gradients are computed, by name."""
        leaves: dict[str, Any] = {}
        for name, parameter in self.module.named_parameters():
            values = inputs.parameters[self.key(name)]
            with torch.no_grad():
                parameter.copy_(tensor_of(torch, values, self.device))
            parameter.requires_grad_(record)
            leaves[self.key(name)] = parameter
        for name, array in inputs.called_with.items():
            moved = tensor_of(torch, array, self.device)
            turned = name == "x" or self.case.layout == "unbatched"
            if turned and self.case.layout != "time-first":
                moved = to_layout(self.case, moved).contiguous()
            leaves[name] = moved.requires_grad_(record)
        return leaves

    def _run(
        self, torch: Any, leaves: Mapping[str, Any], inputs: Inputs
    ) -> tuple[Any, tuple[Any, ...]]:
        state = tuple(leaves[f"state {k}"] for k in range(len(inputs.state or ())))
        hx = None if inputs.state is None else state[0] if len(state) == 1 else state
        y, final = self.call(torch, self.module, leaves["x"], hx, inputs.lengths)
        alone = self.case.layout == "unbatched"
        return from_layout(self.case, y), tuple(s[:, None] if alone else s for s in final)

    def _pull(
        self, torch: Any, leaves: Mapping[str, Any], outputs: Any, cotangents: Any, more: bool
    ) -> dict[str, Floats]:
        wanted = []
        for name, output, d in zip(("y", "final h", "final c"), outputs, cotangents, strict=False):
            if d is None or not output.requires_grad:
                continue
            if tuple(output.shape) != d.shape:  # else torch says something about cotangents
                raise Mismatch(f"{name}: expected shape {d.shape}, got {tuple(output.shape)}")
            wanted.append((output, tensor_of(torch, d, self.device)))
        pulled = gradients(torch, wanted, leaves, more=more)
        return {name: array_of(torch, self._from_layout(d, name)) for name, d in pulled.items()}

    def _from_layout(self, tensor: Any, name: str) -> Any:
        alone = self.case.layout == "unbatched" and name.startswith("state ")
        return from_layout(self.case, tensor) if name == "x" or alone else tensor


def gradients(
    torch: Any, pairs: Sequence[tuple[Any, Any]], leaves: Mapping[str, Any], *, more: bool = True
) -> dict[str, Any]:
    """Return the gradients of all leaves, by name, of outputs paired with cotangents.

    ``more``: other cotangents will be pulled back through the same run.
    """
    pulled: Sequence[Any] = [None] * len(leaves)
    if pairs:
        outputs, cotangents = zip(*pairs, strict=True)
        pulled = torch.autograd.grad(
            outputs, list(leaves.values()), cotangents, retain_graph=more, allow_unused=True
        )
    named = zip(leaves.items(), pulled, strict=True)
    return {name: torch.zeros_like(leaf) if d is None else d for (name, leaf), d in named}


def _wrapper(torch: Any, module: Any, run: Callable[[Any], Any]) -> Any:
    """Return a module around ``module``, so that torch.func can exchange its parameters."""

    class Whole(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, leaves: Any) -> Any:
            return run(leaves)

    return Whole()


def _result(torch: Any, y: Any, final: Sequence[Any]) -> Result:
    return Result(array_of(torch, y), tuple(array_of(torch, s) for s in final))


def _copy_writes_back(torch: Any, inputs: Inputs, leaves: Mapping[str, Any]) -> None:
    """Copy the layer's changes of its arguments to the caller's arrays."""
    for name, array in inputs.called_with.items():
        now = array_of(torch, leaves[name])
        if now.shape == array.shape and not np.array_equal(now, array, equal_nan=True):
            array[...] = now


def torch_dtype(torch: Any, case: Case) -> Any:
    """Return torch's dtype of a case's numbers."""
    return getattr(torch, case.number_type.name)


def arrays_alone(torch: Any, subject: Subject, case: Case) -> Any:
    """Return a module of a subject's arrays, for a function that takes them as arguments."""
    shapes, dtype = subject.parameter_map(case).shapes(), torch_dtype(torch, case)
    empty = {name: torch.empty(shape, dtype=dtype) for name, shape in shapes.items()}
    return torch.nn.ParameterDict(empty)


def tensor_of(torch: Any, array: Floats, device: str = "cpu") -> Any:
    """Return a tensor of the same numbers, contiguous or with the array's strides."""
    if array.flags.c_contiguous:
        return _same_memory(torch, np.array(array)).clone().to(device)
    if 0 in array.strides:  # torch expands, but does not take, what NumPy broadcasts
        base = array[tuple(slice(1) if s == 0 else slice(None) for s in array.strides)]
        return tensor_of(torch, np.ascontiguousarray(base), device).expand(array.shape)
    shared = _same_memory(torch, array)
    if device == "cpu":
        return shared
    moved = torch.empty_strided(shared.shape, shared.stride(), dtype=shared.dtype, device=device)
    return moved.copy_(shared)


def array_of(torch: Any, tensor: Any) -> Floats:
    """Return a tensor's numbers as an array, in the same memory where NumPy can read it."""
    on_cpu = tensor.detach().cpu()
    if on_cpu.dtype != torch.bfloat16:
        return np.asarray(on_cpu.numpy())
    import ml_dtypes

    return np.asarray(on_cpu.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16))


def _same_memory(torch: Any, array: Floats) -> Any:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


CALL = '''

def tensor(values):
    return torch.tensor(values, dtype=DTYPE, device="DEVICE")


def array(values):
    values = values.detach().cpu()
    return (values.float() if values.dtype is torch.bfloat16 else values).numpy()


def call(layer, parameters, x, state, lengths=None, dy=None, dfinal=None):
    """Set the parameters, call the layer, and return everything it computes, by name."""
    named = dict(layer.named_parameters())
    with torch.no_grad():
        for name, values in parameters.items():
            named[name].copy_(tensor(values))
    x = tensor(x).requires_grad_()
    state = None if state is None else [tensor(s).requires_grad_() for s in state]
    given = [AS_CALLED]
    if state is not None:
        hx = STATES_AS_CALLED
        given.append(hx[0] if len(hx) == 1 else tuple(hx))
    if lengths is not None:
        rnn = torch.nn.utils.rnn
        ends = torch.tensor(lengths)
        given[0] = rnn.pack_padded_sequence(
            given[0], ends, batch_first=BATCH_FIRST, enforce_sorted=False
        )
    y, final = layer(*given)
    if lengths is not None:
        y, _ = rnn.pad_packed_sequence(y, batch_first=BATCH_FIRST, total_length=x.shape[0])
    final = list(final) if isinstance(final, (tuple, list)) else [final]
    y, final = AS_RETURNED
    result = {"y": array(y)}
    for name, s in zip("hc", final):
        result[f"final {name}"] = array(s)
    if dfinal is not None:
        heads = [(o, d) for o, d in zip([y, *final], [dy, *dfinal]) if d is not None]
        leaves = {**named, "x": x}
        leaves |= {f"initial {name}": s for name, s in zip("hc", state or [])}
        pulled = torch.autograd.grad(
            [o for o, _ in heads if o.requires_grad], list(leaves.values()),
            [tensor(np.array(d)) for o, d in heads if o.requires_grad], allow_unused=True,
        )
        for (name, leaf), d in zip(leaves.items(), pulled):
            d = torch.zeros_like(leaf) if d is None else d
            result[f"gradient of {name}"] = array(d)
    return result

'''
"""The plain torch code by which stand-alone scripts call a layer."""

FORMS = {
    "time-first": ("x", "state", "y, final"),
    "batch-first": ("x.transpose(0, 1)", "state", "y.transpose(0, 1), final"),
    "unbatched": ("x[:, 0]", "[s[:, 0] for s in state]", "y[:, None], [s[:, None] for s in final]"),
}


def source(
    import_lines: str,
    case: Case,
    options: dict[str, Any],
    *,
    takes_dtype: bool,
    device: str = "cpu",
    evaluated: bool = False,
    widths: tuple[int, int] | None = None,
) -> str:
    """Return source that defines ``make`` and ``call``; ``import_lines`` define ``Layer``.

    ``widths`` are D and H in the order in which the constructor takes them.
    """
    widths = widths or (case.D, case.H)
    arguments = [*map(str, widths), *(f"{k}={v!r}" for k, v in options.items())]
    dtype = f"torch.{case.number_type.name}"
    if takes_dtype:
        arguments.append(f"dtype={dtype}")
    construction = f"Layer({', '.join(arguments)})" + ("" if takes_dtype else f".to({dtype})")
    x, states, returned = FORMS[case.layout]
    body = CALL.replace("STATES_AS_CALLED", states).replace("AS_CALLED", x)
    body = body.replace("AS_RETURNED", returned)
    body = body.replace("BATCH_FIRST", str(case.layout == "batch-first"))
    construction = construction if device == "cpu" else f'{construction}.to("{device}")'
    construction += ".eval()" if evaluated else ""
    body = body.replace("DTYPE", dtype).replace("DEVICE", device)
    make = f"\n\ndef make():\n    return {construction}\n"
    return f"import torch\n{import_lines}{make}{body}"
