"""The substitute of a class's ``forward``: a layer of the catalogue, correct or a mutant.

The class object stays the same, so that ``isinstance``, registries, pickles and state dictionaries
work as before, and every reference to the class gets the substitute. Each call is first made by the
class itself, without recording: its exceptions are passed on, and its result shows the form of
outputs. Then a layer of NumPy arrays, with the parameters of the class, computes outputs and,
through a ``torch.autograd.Function``, gradients (by the mutant's own backward pass) and
forward-mode derivatives.

The layer computes in the dtype of x, as the class does: float64 inside would hide overflow and
rounding (D02, D04) from a float32 suite, and float32 results of NumPy and of torch differ no more
than those of two correct float32 layers. Halves, which NumPy lacks or computes slowly, are
converted to float32 and back.

Beside the mutant, the correct layer runs on the same arrays until the two differ in anything that
a caller can observe: outputs, gradients, tangents, arguments, or results returned before. A mutant
that never differs has never been shown to the tests.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..conventions.parameter_map import ConventionMap, ExplicitMap
from ..mutants import Mutant
from ..mutants.catalogue import MutantSubject
from ..mutants.parts import PLAIN
from ..mutants.replaceable_layer import Recorded, ReplaceableLayer
from ..subjects.protocol import Inputs, Result
from ..subjects.torch_parameters import CONVENTIONS
from .parameters import (
    GATES,
    NotReadable,
    StoredParameter,
    case_of,
    cell_of,
    parameters,
    to_reference,
)

Note = Callable[[str, str], None]
"""A function of the kind of a note and its subject."""

NO_PADDING = "torch's packed rows have no padding in which it could show"
NOT_APPLICABLE = {
    **dict.fromkeys(("Q08", "Q09", "Q13", "Q14", "Q17"), NO_PADDING),
    "Q11": "torch packs no row of length 0",
    "V01": "final states are copied when they become tensors",
    "P03": "their tests end with the process, and with the exit code of tests that pass",
    "P05": "it would take the memory of the whole machine",
}
"""Mutants that do not apply to a class with the call of torch.nn's layers, with the reasons."""


def not_applicable(mutant: Mutant, kind: str) -> str:
    """Return why a mutant does not apply to a class like torch.nn's ``kind``; "" if it does."""
    if not _applies(mutant, kind.lower()):
        return f"it is a mistake of {' and '.join(mutant.cells)}, not of {kind.lower()}"
    if {"packed", "left_padding"} & {*mutant.needs}:
        return "a class of torch.nn takes rows of different lengths as a PackedSequence alone"
    if "reorders" in mutant.needs:
        return "a class of torch.nn has no method that puts the rows of states in another order"
    return NOT_APPLICABLE.get(mutant.id, "")


def _applies(mutant: Mutant, cell: str) -> bool:
    """Return whether a mutant applies to this cell; those of all families apply to variants."""
    return cell in mutant.cells or (
        cell in ("rnn-relu", "lstm-projected") and set(PLAIN) <= set(mutant.cells)
    )


class NoTarget(ValueError):
    """The target is not a class whose calls can be changed."""


def guess(target: Any) -> str:
    """Return LSTM, GRU or RNN, by the names of the class and its bases; "" if none fits."""
    for name in (c.__name__.upper() for c in inspect.getmro(target)):
        for kind in GATES:
            if kind in name:
                return kind
    return ""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a class: its tensors, and their conversion to arrays of a layer and back.

    ``rows`` are the times and row numbers of packed entries, ``sizes`` their (T, B).
    """

    case: Case
    cell: str
    x: Any
    state: tuple[Any, ...]
    parameters: Mapping[str, StoredParameter]
    rows: tuple[Floats, Floats] | None
    sizes: tuple[int, int]
    lengths: Floats | None

    @property
    def tensors(self) -> tuple[Any, ...]:
        """All tensors that may have gradients: x, initial states, parameters."""
        x = self.x if self.rows is None else self.x.data
        return (x, *self.state, *(p.tensor for p in self.parameters.values()))

    def to_layer(self, array: Floats) -> Floats:
        """Return inputs or outputs of the call as (T, B, width)."""
        if self.rows is not None:
            padded = np.zeros((*self.sizes, array.shape[-1]), array.dtype)
            padded[self.rows] = array
            return padded
        if self.case.layout == "unbatched":
            return array[:, None]
        return array.swapaxes(0, 1) if self.case.layout == "batch-first" else array

    def to_caller(self, array: Floats) -> Floats:
        """Return (T, B, width) in the layout of the call."""
        if self.rows is not None:
            return array[self.rows]
        if self.case.layout == "unbatched":
            return array[:, 0]
        return array.swapaxes(0, 1) if self.case.layout == "batch-first" else array

    def inputs(self, arrays: Sequence[Floats]) -> Inputs:
        """Return arrays in the order of ``tensors`` as inputs of a layer."""
        x, rest = arrays[0], arrays[1 + len(self.state) :]
        state = tuple(self._state(s) for s in arrays[1 : 1 + len(self.state)]) or None
        pairs = zip(self.parameters.items(), rest, strict=True)
        named = {name: p.turned(a) for (name, p), a in pairs}
        passes = to_reference(self.case, self.cell, named)
        explicit = ExplicitMap(self.cell, self.case).from_reference(passes)
        return Inputs(explicit, self.to_layer(x), state, self.lengths)

    def outputs(self, result: Result) -> list[Floats]:
        """Return outputs and final states in the form of the call."""
        return [self.to_caller(result.y), *(np.array(self._outside(s)) for s in result.final)]

    def cotangents(self, arrays: Sequence[Floats | None]) -> tuple[Any, tuple[Any, ...]]:
        """Return cotangents on y (T, B, width) and on the final states.

        A contiguous array of the caller stays contiguous in the layer's layout.
        """
        dy, *dfinal = arrays
        if dy is not None:
            contiguous, dy = dy.flags.c_contiguous, self.to_layer(dy)
            dy = np.ascontiguousarray(dy) if contiguous else dy
        return dy, tuple(None if d is None else self._state(d) for d in dfinal)

    def gradients(
        self, named: Mapping[str, Floats], x: Floats, initial: Sequence[Floats]
    ) -> list[Floats]:
        """Return a layer's gradients in the order of ``tensors``."""
        passes = ExplicitMap(self.cell, self.case).to_reference(named)
        packed = ConventionMap(CONVENTIONS[self.cell], self.case).from_reference(passes)
        weights = [p.turned(packed[name]) for name, p in self.parameters.items()]
        return [self.to_caller(x), *map(self._outside, initial), *weights]

    def _state(self, array: Floats) -> Floats:
        return array[:, None] if self.case.layout == "unbatched" else array

    def _outside(self, state: Floats) -> Floats:
        return state[:, 0] if self.case.layout == "unbatched" else state


def read_call(
    kind: str, module: Any, forward: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Call:
    """Read a call of torch.nn's layers; raise NotReadable for any other."""
    import torch

    names = [
        p.name
        for p in list(inspect.signature(forward).parameters.values())[1:]
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    arguments = {**dict(zip(names, args, strict=False)), **kwargs}
    x: Any
    state: Any
    x, state = (arguments.get(name) for name in (*names, "", "")[:2])
    packed = isinstance(x, torch.nn.utils.rnn.PackedSequence)
    data = x.data if packed else x
    if not torch.is_tensor(data) or data.ndim not in (2, 3) or not data.dtype.is_floating_point:
        raise NotReadable("its call does not take a tensor (T, B, D) or packed rows first")
    dtype = "float64" if data.dtype == torch.float64 else "float32"
    layout = "batch-first" if getattr(module, "batch_first", False) else "time-first"
    if packed:
        layout = "time-first"
    elif x.ndim == 2:
        layout = "unbatched"
    stored = parameters(module, kind)
    case = case_of(module, kind, stored, layout, dtype)
    states = _states(state, kind)
    rows, sizes, lengths = _packing(x) if packed else (None, (0, 0), None)
    return Call(case, cell_of(module, kind, case), x, states, stored, rows, sizes, lengths)


def _states(state: Any, kind: str) -> tuple[Any, ...]:
    import torch

    states = tuple(state) if isinstance(state, tuple | list) else (state,)
    if all(s is None for s in states):
        return ()
    if len(states) != 1 + (kind == "LSTM") or not all(torch.is_tensor(s) for s in states):
        raise NotReadable(f"its initial state is not that of torch.nn.{kind}")
    return states


def _packing(x: Any) -> tuple[tuple[Floats, Floats], tuple[int, int], Floats]:
    """Return times and rows of packed entries, (T, B), and the length of every row."""
    counts = x.batch_sizes.numpy()
    B = int(counts[0])
    order = np.arange(B) if x.sorted_indices is None else x.sorted_indices.cpu().numpy()
    lengths = np.zeros(B, int)
    lengths[order] = (counts[:, None] > np.arange(B)).sum(0)
    times = np.repeat(np.arange(len(counts)), counts)
    return (times, np.concatenate([order[:n] for n in counts])), (len(counts), B), lengths


class Run:
    """One call computed by a layer, and by the correct one until ``show`` is called."""

    def __init__(
        self,
        call: Call,
        layers: Sequence[ReplaceableLayer],
        show: Callable[[], None],
        *,
        record: bool,
    ) -> None:
        self.call, self.layers, self.show, self.record = call, layers, show, record
        self.runs: list[Recorded] = []
        self.raised: Exception | None = None
        self.y: Floats | None = None

    def forward(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """Return y and the final states."""
        arrays = [_numpy(t) for t in tensors]
        arguments = arrays[: 1 + len(self.call.state)]
        before = [np.array(a) for a in arguments]
        self.inputs = self.call.inputs(arrays)
        results: list[Result] = []
        for layer in reversed(self.layers):  # the correct one first, on unchanged arguments
            results.insert(0, self._result(layer))
        self._compare(*([r.y, *r.final] for r in results))
        self._compare(arguments, before)
        arrays = self.call.outputs(results[0])
        self.y = arrays[0]
        dtype = self.call.tensors[0].dtype
        usual = [dtype if str(a.dtype) == self.call.case.dtype else None for a in arrays]
        return tuple(_tensor(a, tensors[0], d) for a, d in zip(arrays, usual, strict=True))

    def _result(self, layer: ReplaceableLayer) -> Result:
        try:
            if not self.record:
                return layer.forward(self.inputs)
            self.runs.insert(0, layer.record(self.inputs))
        except RuntimeError as error:
            self.raised = error
            raise
        return self.runs[0].outputs

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        """Return the gradients of all tensors of the call."""
        arrays = [None if d is None else _numpy(d) for d in cotangents]
        before = [None if a is None else np.array(a) for a in arrays]
        gradients: list[list[Floats]] = []
        for run in reversed(self.runs):
            dy, dfinal = self.call.cotangents(arrays)
            if dy is not None and not dy.flags.writeable:
                dy = np.array(dy)  # a broadcast array must not be written into
            pulled = run.pull((dy, dfinal))
            gradients.insert(0, self.call.gradients(pulled.parameters, pulled.x, pulled.initial))
        if arrays[0] is not None and self.call.rows is None and arrays[0].flags.writeable:
            arrays[0][...] = self.call.to_caller(dy)  # return what the mutant wrote into a copy
        self._compare(*gradients)
        self._compare([a for a in arrays if a is not None], [b for b in before if b is not None])
        tensors = self.call.tensors
        return [_tensor(a, t, t.dtype) for a, t in zip(gradients[0], tensors, strict=True)]

    def push(self, tangents: Sequence[Any]) -> tuple[Any, ...]:
        """Return the tangents of y and of the final states."""
        tensors = self.call.tensors
        arrays = [
            np.zeros(t.shape, self.call.case.dtype) if d is None else _numpy(d)
            for t, d in zip(tensors, tangents, strict=True)
        ]
        along = self.call.inputs(arrays)
        results = [self.call.outputs(layer.jvp(self.inputs, along)) for layer in self.layers]
        self._compare(*results)
        return tuple(_tensor(a, tensors[0], tensors[0].dtype) for a in results[0])

    def _compare(self, *results: Sequence[Floats]) -> None:
        """Call ``show`` if the results of two layers are not the same bits."""
        if len(results) == 2 and not all(
            a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
            for a, b in zip(*results, strict=True)
        ):
            self.show()


def _numpy(tensor: Any) -> Floats:
    """Return the tensor's own memory, if NumPy can compute with it."""
    tensor = tensor.detach().cpu()
    array: Floats = (tensor.float() if tensor.element_size() < 4 else tensor).numpy()
    if 0 in array.strides and array.size:  # a broadcast array must not be written into
        array.flags.writeable = False
    return array


def _tensor(array: Floats, like: Any, dtype: Any) -> Any:
    """Return an array as a tensor, which shares its memory if possible."""
    import torch

    if any(step < 0 for step in array.strides) or not array.flags.writeable:
        array = np.array(array)
    return torch.from_numpy(array).to(device=like.device, dtype=dtype)


@functools.cache
def _function() -> Any:
    """Return the autograd function of a Run; the user's code has imported torch by then."""
    import torch

    class Once(torch.autograd.Function):
        """A function of plain tensors, also within torch.func, without derivatives."""

        @staticmethod
        def forward(function: Any, *tensors: Any) -> tuple[Any, ...]:
            return tuple(function(tensors))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            pass

    once: Any = Once.apply

    class Substituted(torch.autograd.Function):
        @staticmethod
        def forward(run: Run, *tensors: Any) -> tuple[Any, ...]:
            return run.forward(tensors)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.run = inputs[0]
            ctx.set_materialize_grads(False)

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
            return (None, *once(ctx.run.pull, *cotangents))

        @staticmethod
        def jvp(ctx: Any, _: None, *tangents: Any) -> tuple[Any, ...]:
            return tuple(once(ctx.run.push, *tangents))

    return Substituted


class Substitute:
    """One class with a mutant's layer in its place, or with the correct one."""

    def __init__(self, target: Any, kind: str, note: Note, mutant: Mutant | None = None) -> None:
        forward: Any = getattr(target, "forward", None)
        if not inspect.isclass(target) or not callable(forward):
            raise NoTarget("it is no class with a method forward, as a torch.nn.Module has")
        self.target: Any = target
        self.kind, self.note, self.mutant = kind, note, mutant
        self.shown = False
        self.last: tuple[Any, Call] | None = None
        self._layers: WeakKeyDictionary[Any, dict[Case, list[ReplaceableLayer]]] = (
            WeakKeyDictionary()
        )
        self._returned: tuple[Floats, Floats] | None = None
        self._inside: list[Any] = []
        self._original: Any = forward

    def install(self) -> None:
        """Replace the method permanently."""
        original = self._original

        @functools.wraps(original)
        def forward(module: Any, *args: Any, **kwargs: Any) -> Any:
            # a forward may call itself, as with an axis added to unbatched inputs
            if any(module is active for active in self._inside):
                return original(module, *args, **kwargs)
            self._inside.append(module)
            try:
                return self._forward(module, args, kwargs)
            finally:
                self._inside.pop()

        self.target.forward = forward

    def _show(self) -> None:
        self.shown = True
        self.note("shown", "")

    def _forward(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import torch

        self.note("called", "")
        state = torch.get_rng_state()
        with torch.no_grad():
            result = self._original(module, *args, **kwargs)
        torch.set_rng_state(state)
        run = None
        try:
            call = read_call(self.kind, module, self._original, args, kwargs)
            _check_form(result, self.kind)
            layers = self._built(module, call)
            if self.mutant and self.mutant.isolated:
                self._show()  # before the call, which may not return
            run = Run(call, layers, self._show, record=torch.is_grad_enabled())
            y, *final = _function().apply(run, *call.tensors)
        except Exception as error:
            if run is not None and error is run.raised:  # the mutant itself raises
                self._show()
                raise
            why = (
                str(error) if isinstance(error, NotReadable) else f"{type(error).__name__}: {error}"
            )
            self.note("not readable", why[:200])
            return self._original(module, *args, **kwargs)
        self._look(call, result, run, (y, *final))
        self.last = module, call
        return (
            y if call.rows is None else result[0]._replace(data=y),
            tuple(final) if self.kind == "LSTM" else final[0],
        )

    def _built(self, module: Any, call: Call) -> list[ReplaceableLayer]:
        """Return the module's layer, the same in all its calls, and the correct one."""
        import torch

        by_case = self._layers.setdefault(module, {})
        if call.case not in by_case:
            mutant = self.mutant if self.mutant and _applies(self.mutant, call.cell) else None
            subjects = [MutantSubject(call.cell, mutant), MutantSubject(call.cell)]
            by_case[call.case] = [subject.build(call.case) for subject in subjects]
        layers = by_case[call.case]
        training = bool(module.training)
        seed = None
        if training and call.case.dropout:  # so that torch.manual_seed determines the masks
            seed = int(torch.randint(2**31, ()).item())
        for layer in layers:
            layer.training = training
            layer.rng = layer.rng if seed is None else np.random.default_rng(seed)
        return layers[:1] if self.shown or self.mutant is None else layers

    def _look(self, call: Call, result: Any, run: Run, outputs: tuple[Any, ...]) -> None:
        """Note that the call was substituted, and differences of the correct layer."""
        self.note("substituted", "")
        if self._returned is not None and not np.array_equal(*self._returned, equal_nan=True):
            self._show()
        if not self.shown and run.y is not None:
            self._returned = run.y, np.array(run.y)
        dropping = bool(call.case.dropout) and run.layers[0].training
        if self.mutant is None and not dropping:
            y, final = result
            finals = tuple(final) if self.kind == "LSTM" else (final,)
            theirs = (y if call.rows is None else y.data, *finals)
            for name, a, b in zip(("y", "final h", "final c"), theirs, outputs, strict=False):
                if difference := _difference(a, b):
                    self.note("differs", f"{name} {difference}")


def _check_form(result: Any, kind: str) -> None:
    import torch

    if not isinstance(result, tuple) or len(result) != 2:
        raise NotReadable("its call does not return (outputs, final state)")
    final = result[1] if kind == "LSTM" else (result[1],)
    few = not isinstance(final, tuple | list) or len(final) != 1 + (kind == "LSTM")
    if few or not all(torch.is_tensor(s) for s in final):
        raise NotReadable(f"its final state is not that of torch.nn.{kind}")


def _difference(theirs: Any, ours: Any) -> str:
    """Return the difference of two tensors in words, "" if half their digits agree."""
    import torch

    if theirs.shape != ours.shape:
        return f"is {tuple(theirs.shape)}, not {tuple(ours.shape)}"
    tolerance = torch.finfo(theirs.dtype).eps ** 0.5
    theirs, ours = (t.detach().double().nan_to_num() for t in (theirs, ours))
    if not theirs.numel():
        return ""
    far = float((theirs - ours).abs().max())
    return f"differs by {far:.1g}" if far > tolerance * max(float(theirs.abs().max()), 1) else ""
