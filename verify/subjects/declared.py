"""Ordinary code as a subject: a class or a function, with a declaration of its arrays.

.. code-block:: python

    @gatewise.subject("gru", weights="keras", axes="BTD", gradient="torch")
    def gru(x, h0, kernel, recurrent_kernel, bias):
        return y, h

Arguments are recognised by their names: ``x`` (or ``inputs``), the state (``state`` as declared, or
``h0`` and ``c0`` each alone), ``lengths``, ``cu_seqlens``, ``mask``, ``params`` (all arrays
by the convention's names). The remaining arguments are the convention's arrays, in its order.

A recurrence that is not in the catalogue declares its arrays instead of a convention; its cell is
its step, a function of (p, x, state), or None if it has no equations:

.. code-block:: python

    @gatewise.subject(None, parameters={"W": "D H", "u": "H"}, states="h", axes="BTD")
    def ind_rnn(x, h0, W, u):
        return y, h
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import cells
from ...reference.layer import Layer
from ..cases.case import Case
from ..cases.options import Options
from ..conventions import Convention
from ..conventions.convention import GATES, RECURRENT_BIAS
from ..conventions.parameter_map import ConventionMap, OwnMap, ParameterMap
from ..numbers.arithmetic import FLOAT64
from ..numbers.bounded import Bounded
from ..numbers.followed import Unfollowed
from ..runs.verdict import OWN_EQUATIONS
from .differentiated import (
    STATE_NAMES,
    Arrays,
    arrays_of,
    each_cotangent,
    pulled_by,
    result_of_pass,
    run_converted,
)
from .framework import Plain, imported
from .frameworks import families
from .inputs import draw_inputs
from .loader import UnknownSubject, says_its_cell
from .protocol import Built, Cotangents, Inputs, OneCell, Pulled, Result
from .ragged import RAGGED_ARGUMENTS, RaggedLayer, ragged_arguments, ragged_cases, ragged_options
from .recurrence import Recurrence
from .torch_module import stated_version, torch_dtype
from .trial import dtypes_of, reset_method, run, working_options

DECLARATION = "__gatewise__"
"""The attribute that holds the declaration of a class or a function."""

CONVENTION = ("weights", "order", "layout", "bias")
OWN = ("parameters", "states", "input")
BETWEEN_CALLS = ("stateful", "reset", "partial_state")
ATTRIBUTES = (*CONVENTION, *OWN, "axes", "state", "returns", "gradient")
"""The attributes by which a class may declare its arrays, beside ``cell``."""

AXES = ("TBD", "BTD", "DBT", "TD", "BD")
STATES = ("tuple", "h", "stacked", "none")
RETURNS = ("both", "y", "state")
GRADIENTS = ("", "vjp", "torch", "jax")
X, STATE = ("x", "xs", "input", "inputs"), STATE_NAMES
PARAMS = ("params", "parameters", "weights", "p")
ONE_STATE = {"h": ("h", "h0", "h_0", "h_prev", "a0"), "c": ("c", "c0", "c_0", "c_prev")}
ALIASES = {"onnx": "onnxruntime", "flax": "flax-linen", "jax": "flax-linen"}


@dataclass(frozen=True)
class Declaration:
    """The meaning of the arrays and the call of a class or a function.

    ``cell``: ``rnn``, ``lstm`` or ``gru``; for a recurrence outside the catalogue its step, or
    None.
    ``weights``: whose convention its arrays have, a family
    of adapters (``torch``, ``keras``, ``onnx``, ...), or a ``Convention``; ``order``, ``layout``
    and ``bias`` replace fields of it. ``axes`` of x and y: ``BD`` is a single step; with ``DBT``
    states are (H, B). ``state``: a
    tuple, h alone, all states stacked along a first axis, or none at all. ``returns``: outputs and
    state, outputs alone (of cells with one state), or the state alone (of a step). ``gradient``:
    by a method ``vjp(params, x, state, dy, dstate)`` with the same axes and arrays, or by torch's
    or JAX's differentiation; the code is then called with that framework's arrays.

    ``stateful``: a call without a state continues from the state of the last call, until the
    method that ``reset`` names is called. ``partial_state``: one of several states may be None,
    for zeros.

    For a recurrence outside the catalogue, ``parameters``, ``states`` and ``input`` are the axes
    of every array without the batch, in the widths D and H: ``{"W": "D 4H"}``; states may be names
    alone.
    """

    cell: str | Callable[..., Any] | None
    weights: str | Convention = "torch"
    order: str = ""
    layout: str = ""
    bias: tuple[str, ...] | None = None
    axes: str = "TBD"
    state: str = "tuple"
    returns: str = "both"
    gradient: str = ""
    parameters: Any = None
    states: Any = ("h",)
    input: Any = "D"
    stateful: bool = False
    reset: str = "reset"
    partial_state: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for fields that contradict each other; say what is expected."""
        outside_catalogue = self.cell is None or callable(self.cell)
        object.__setattr__(self, "gradient", self.gradient or "")
        cells = () if outside_catalogue else (("cell", tuple(GATES)),)
        for name, allowed in (*cells, ("axes", AXES), ("state", STATES),
                              ("returns", RETURNS), ("gradient", GRADIENTS)):  # fmt: skip
            if getattr(self, name) not in allowed:
                choices = ", ".join(repr(choice) for choice in allowed)
                hint = "; of another kind: None, or its step" if name == "cell" else ""
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {choices}{hint}")
        if self.stateful and self.axes in ("TD", "BD"):
            raise ValueError(
                f"stateful: expected whole sequences of a batch, not axes={self.axes!r}: "
                "gatewise hands the state from step to step, and calls row by row"
            )
        if self.cell == "lstm" and (self.state == "h" or self.returns == "y"):
            raise ValueError(
                "an LSTM has the states h and c: take and return both, as in return y, (h, c); "
                "from y alone nobody can tell what c was"
            )
        if not outside_catalogue:
            _ = self.convention
            if self.parameters is not None:
                raise ValueError(
                    f"cell={self.cell!r} has the arrays of its convention; a recurrence with "
                    "parameters of its own has cell=None, or a step of its own"
                )
        else:
            _ = self.recurrence

    @cached_property
    def recurrence(self) -> Recurrence | None:
        """The declared recurrence, if it is not in the catalogue."""
        if isinstance(self.cell, str):
            return None
        for name in CONVENTION:
            if getattr(self, name) != Declaration.__dataclass_fields__[name].default:
                raise ValueError(f"{name}: a recurrence of one's own has no convention; "
                                 'say parameters={"W": "D 4H", ...}')  # fmt: skip
        if self.axes == "DBT":
            raise ValueError("axes='DBT': only cells of the catalogue have their states as (H, B)")
        if self.parameters is None:
            raise ValueError('parameters: expected the axes of every array, {"W": "D 4H", ...}')
        named = self.states
        if not isinstance(named, Mapping):
            names = named.split() if isinstance(named, str) else named
            named = dict.fromkeys(names, "H")
        if len(named) > 1 and (self.state == "h" or self.returns == "y"):
            raise ValueError(f"it has the states {', '.join(named)}: take and return all of them")
        return Recurrence(self.parameters, named, self.input, self.cell)

    @property
    def convention(self) -> Convention:
        """The convention of its arrays; ValueError for an unknown name."""
        convention = self.weights
        if not isinstance(convention, Convention):
            convention = _stated(convention, str(self.cell))
        order = self.order.replace("c", "g") if self.cell == "lstm" else self.order
        changes: dict[str, Any] = {"order": order, "layout": self.layout, "bias": self.bias}
        if self.bias is None and sorted(order) == sorted(convention.order):
            changes["bias"] = tuple(_reordered(b, convention.order, order) for b in convention.bias)
        return replace(convention, **{k: v for k, v in changes.items() if v})


def _reordered(bias: str, before: str, order: str) -> str:
    """Return the letters of a bias in another order, if they stood in that of the weights."""
    letters = bias.replace(RECURRENT_BIAS, "n")
    return "".join(bias[letters.index(g)] for g in order) if letters == before else bias


def _stated(name: str, cell: str) -> Convention:
    """Return the convention that the adapter of a framework states."""
    family = ALIASES.get(name, name)
    kinds = {"rnn": ("RNN", "SimpleRNN", "SimpleCell")}.get(cell, (cell.upper(),))
    adapters = families()[family].subjects() if family in families() else ()
    for adapter in adapters:
        convention = getattr(adapter, "convention", None)
        if adapter.name.partition(":")[2] in kinds and isinstance(convention, Convention):
            return convention
    choices = ", ".join(sorted({*families(), *ALIASES}))
    raise ValueError(f"weights={name!r}: it states no convention of a {cell}; there are {choices}")


def subject(cell: str | Callable[..., Any] | None, **fields: Any) -> Callable[[Any], Any]:
    """Declare the arrays of a class or a function, so that gatewise can call it unchanged.

    The arguments are the fields of ``Declaration``. Raises ValueError for a wrong one.
    """
    declaration = Declaration(cell, **fields)

    def decorate(value: Any) -> Any:
        setattr(value, DECLARATION, declaration)
        return value

    return decorate


@dataclass(frozen=True)
class Declared(OneCell):
    """A class or a function with a declaration, as a subject."""

    name: str
    value: Any
    declaration: Declaration
    options: Options
    dtypes: tuple[str, ...] = ("float64", "float32")
    import_lines: str = field(default="", repr=False)
    device: str = "cpu"

    @property
    def convention(self) -> Convention:
        """The convention of its arrays."""
        return self.declaration.convention

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell of its convention, or the name of the declared recurrence."""
        return (self.own_cell.name if self.own_cell else str(self.convention.cell),)

    @property
    def own_cell(self) -> Recurrence | None:
        """The declared recurrence, if it is not in the catalogue."""
        return self.declaration.recurrence

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments of the function that is called."""
        return tuple(inspect.signature(_function_of(self.value)).parameters)

    def version(self) -> str:
        """Return the version that the code states, and that of what computes on a device."""
        return stated_version(str(getattr(self.value, "version", "")), self.device)

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the map of its convention, or of its declared arrays."""
        if self.own_cell is not None:
            return OwnMap(self.own_cell, case)
        return ConventionMap(self.convention, case)

    def build(self, case: Case) -> Built:
        """Return the layer, ready to be called."""
        layer = self._layer(case)
        if callable(getattr(layer, "train", None)):
            layer.train(False)
        call = _Call(self, layer, arrays_of(self.declaration.gradient, case, self.device), case)
        built = _Built(call.run, call.pull if self.declaration.gradient else None, layer)
        return RaggedLayer(built)

    def _layer(self, case: Case) -> Any:
        if self.is_module:
            module = self.value(case.D, case.H)
            return module.to(self.device, torch_dtype(imported("torch", "torch"), case))
        return self.value() if isinstance(self.value, type) else self.value

    @property
    def is_module(self) -> bool:
        """Whether it is a class of torch's modules, constructed with the widths of a case."""
        return self.own_cell is not None and hasattr(self.value, "named_parameters")


def module_parameters(module: Any, D: int, H: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of a module's class for these widths."""
    if not isinstance(module, type):
        raise TypeError("expected the class of the module, which is made with (D, H)")
    return {name: tuple(array.shape) for name, array in module(D, H).named_parameters()}


@dataclass(frozen=True)
class _Built(Plain):
    """A layer with training and evaluation modes, if its class has ``train``."""

    layer: Any = None

    def train(self, training: bool) -> None:
        """Switch between training and evaluation."""
        self.layer.train(training)

    def buffers(self) -> dict[str, Floats]:
        """Return copies of the buffers of a torch module, by name."""
        buffers: Iterable[tuple[str, Any]] = getattr(self.layer, "named_buffers", tuple)()
        return {name: np.asarray(buffer.detach().cpu()).copy() for name, buffer in buffers}


@dataclass(frozen=True)
class _Call:
    """Calls of the user's code, in its own axes and arrays."""

    subject: Declared
    layer: Any
    arrays: Arrays
    case: Case

    def run(self, inputs: Inputs) -> Result:
        """Run the code on NumPy arrays."""
        return run_converted(self, inputs)

    def pull(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Run once and pull cotangents back, by the declared differentiation."""
        gradient = self.subject.declaration.gradient
        with self.arrays.setting():
            if gradient == "vjp":
                return self._by_vjp(inputs, cotangents)
            return pulled_by(gradient, self, inputs, cotangents)

    def outputs(self, inputs: Inputs, leaves: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Call with the code's kind of arrays; return y (T, B, H) and states (B, H)."""
        weights = {n.removesuffix("_l0"): leaves[n] for n in inputs.parameters}  # in their order
        x = self._spread(leaves["x"], 2, self._x_axes)
        self._reset(inputs)
        names = [f"state {k}" for k in range(len(inputs.state or ()))]
        states = [leaves[name][0] if name in leaves else None for name in names]
        state = self._spread_states(states) or None
        y, final = self._call_steps_at_once(weights, x, state, self._row_places(inputs))
        pairs = zip(final, self._state_axes, strict=False)
        surplus = final[len(self._state_axes) :]  # the check of the number of states reports it
        return self._flattened(y, 2, self._state_axes[0]), (
            *(self._flattened(s, 1, axes) for s, axes in pairs), *surplus
        )  # fmt: skip

    def _reset(self, inputs: Inputs) -> None:
        """Reset a layer that keeps its state, unless the call continues from the last one."""
        if self.subject.declaration.stateful and inputs.anew:
            getattr(self.layer, self.subject.declaration.reset)()

    def _call_steps_at_once(
        self,
        weights: Mapping[str, Any],
        x: Any,
        state: tuple[Any, ...] | None,
        where: Mapping[str, Any],
    ) -> tuple[Any, tuple[Any, ...]]:
        """Call the code for all steps, in its axes."""
        axes, stack = self.subject.declaration.axes, self.arrays.stack
        if axes == "BD":
            outputs = []
            for x_t in x:
                y, state = self._call_code(weights, x_t, state, {})
                outputs.append(state[0] if y is None else y)
            return stack(outputs), state or ()
        if axes == "TD":  # a row at a time
            count = x.shape[1]
            rows = [self._call_code(weights, x[:, k], _row(state, k), {}) for k in range(count)]
            y = stack([y for y, _ in rows]).swapaxes(0, 1)
            return y, tuple(stack(list(s)) for s in zip(*(s for _, s in rows), strict=True))
        y, final = self._call_code(weights, self._turned(x), state, where)
        return self._turned(y), final

    def _row_places(self, inputs: Inputs) -> dict[str, Any]:
        """Return the lengths, boundaries or mask of the rows, by the names of arguments."""
        into = self.arrays.into if inputs.layout else np.asarray
        by_row = self.subject.declaration.axes in ("BTD", "DBT")
        return ragged_arguments(inputs, np.transpose if by_row else np.asarray, into)

    @property
    def _x_axes(self) -> tuple[int, ...]:
        recurrence = self.subject.own_cell
        return recurrence.x_axes(self.case.sizes) if recurrence else (self.case.D,)

    @property
    def _state_axes(self) -> tuple[tuple[int, ...], ...]:
        recurrence = self.subject.own_cell
        if recurrence:
            return recurrence.state_axes(self.case.sizes)
        return ((self.case.H,),) * (2 if self.subject.declaration.cell == "lstm" else 1)

    def _spread_states(self, states: Sequence[Any]) -> tuple[Any, ...]:
        pairs = zip(states, self._state_axes, strict=False)
        return tuple(self._spread(state, 1, axes) for state, axes in pairs)

    def _spread(self, array: Any, leading: int, axes: tuple[int, ...]) -> Any:
        """Reshape the last axis of an array to the declared axes."""
        if len(axes) == 1 or array is None:
            return array
        return array.reshape((*array.shape[:leading], *axes))

    def _flattened(self, array: Any, leading: int, axes: tuple[int, ...]) -> Any:
        """Merge the last axes of an array into one; return an array of other axes unchanged."""
        if len(axes) == 1 or tuple(array.shape[leading:]) != axes:
            return array
        return array.reshape((*array.shape[:leading], int(np.prod(axes))))

    def _by_vjp(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Call ``vjp`` with the same axes and arrays as ``forward``."""
        weights = Named({n.removesuffix("_l0"): np.array(a) for n, a in inputs.parameters.items()})
        state = None
        if inputs.state is not None:
            state = self._spread_states([s[0] for s in inputs.state])
        outputs = self.run(inputs)
        parameters = inspect.signature(self.layer.vjp).parameters
        more = {name: a for name, a in self._row_places(inputs).items() if name in parameters}
        pulled = []
        for pair in cotangents:
            dy, *ends = (
                np.zeros_like(o) if d is None else d
                for o, d in zip((outputs.y, *(s[0] for s in outputs.final)), each_cotangent(pair),
                                strict=True)
            )  # fmt: skip
            self._reset(inputs)
            dp, dx, dstate = self.layer.vjp(
                weights, self._turned(self._spread(inputs.x, 2, self._x_axes)),
                self._state(self._flipped(state)),
                self._turned(self._spread(dy, 2, self._state_axes[0])),
                self._state(self._flipped(self._spread_states(ends))), **more,
            )  # fmt: skip
            named = dp if isinstance(dp, Mapping) else dict(zip(weights, dp, strict=True))
            initial = dstate if isinstance(dstate, tuple | list) else (dstate,)
            if self.subject.declaration.state == "stacked":
                initial = tuple(dstate)
            initial = self._flipped(tuple(map(np.asarray, initial)))
            gradients = {f"{n}_l0": np.asarray(d) for n, d in named.items()}
            gradients["x"] = self._flattened(self._turned(np.asarray(dx)), 2, self._x_axes)
            if inputs.state is not None:
                gradients |= {
                    f"state {k}": self._flattened(np.asarray(d), 1, axes)[None]
                    for k, (d, axes) in enumerate(zip(initial, self._state_axes, strict=False))
                }
            pulled.append(Pulled.of_leaves(outputs, gradients))
        return pulled

    def result(self, y: Any, final: Sequence[Any]) -> Result:
        """Return y (T, B, H) and states (passes, B, H) as NumPy arrays, from states (B, H)."""
        return result_of_pass(self.arrays, y, final)

    def _call_code(
        self, weights: Mapping[str, Any], x: Any, state: Any, where: Mapping[str, Any]
    ) -> tuple[Any, tuple[Any, ...]]:
        arguments = self._bound(weights, x, self._flipped(state), where)
        if self.subject.is_module:
            run = imported("torch", "torch").func.functional_call
            return self._results(run(self.layer, dict(weights), (), arguments))
        return self._results(_function_of(self.layer)(**arguments))

    def _results(self, result: Any) -> tuple[Any, tuple[Any, ...]]:
        """Return outputs and a tuple of states from the code's return value."""
        declaration = self.subject.declaration
        if declaration.returns == "y":
            last = {"BTD": (slice(None), -1), "DBT": (..., -1)}.get(declaration.axes, -1)
            return result, self._flipped((result[last],))
        y, state = (None, result) if declaration.returns == "state" else result
        if declaration.state == "h" or not isinstance(state, tuple | list):
            state = tuple(state) if declaration.state == "stacked" else (state,)
        return y, self._flipped(tuple(state))

    def _bound(
        self, weights: Mapping[str, Any], x: Any, state: Any, where: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments of the code, by its own names for them."""
        weights, index_of = self._stored(weights), one_state(self.subject.own_cell)
        unbound = list(weights)
        bound: dict[str, Any] = {}
        for name in inspect.signature(_function_of(self.layer)).parameters:
            if name in X:
                bound[name] = x
            elif name in STATE:
                bound[name] = self._state(state)
            elif name in RAGGED_ARGUMENTS:
                bound[name] = where.get(name)
            elif name in PARAMS:
                bound[name] = Named(weights)
            elif name in index_of:
                bound[name] = None if state is None else state[index_of[name]]
            elif unbound:
                key = name if name in unbound else unbound[0]
                unbound.remove(key)
                bound[name] = weights[key]
        return bound

    def _stored(self, weights: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return Keras's two biases of a GRU as one array, where there is an argument for that."""
        pair = [weights[n] for n in ("bias_ih", "bias_hh") if n in weights]
        whole = self.subject.declaration.weights == "keras" and "bias" in self.subject.arguments
        if len(pair) < 2 or not whole:
            return weights
        without_biases = {n: a for n, a in weights.items() if not n.startswith("bias")}
        return without_biases | {"bias": self.arrays.stack(pair)}

    def _state(self, state: Any) -> Any:
        if state is None or self.subject.declaration.state == "tuple":
            return state
        return state[0] if self.subject.declaration.state == "h" else self.arrays.stack(state)

    def _turned(self, array: Any) -> Any:
        """Convert (T, B, ...) to the code's axes, or back: the swap is its own inverse."""
        axis = {"BTD": 1, "DBT": 2}.get(self.subject.declaration.axes)
        return array if axis is None else array.swapaxes(0, axis)

    def _flipped(self, states: Any) -> Any:
        """Convert states (B, H) to the code's axes, or back: the swap is its own inverse."""
        if states is None or self.subject.declaration.axes != "DBT":
            return states
        return tuple(None if s is None else s.swapaxes(0, 1) for s in states)


def _function_of(layer: Any) -> Callable[..., Any]:
    """Return the function that is called: ``forward``, ``step``, or the object itself."""
    return getattr(layer, "forward", None) or getattr(layer, "step", None) or layer  # type: ignore[no-any-return]


def _row(state: Any, k: int) -> tuple[Any, ...] | None:
    """Return the states of one row."""
    return None if state is None else tuple(None if s is None else s[k] for s in state)


class Named(dict[str, Any]):
    """Arrays by name: ``p["W"]``, or ``p.W``."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"no parameter {name!r}; there are {', '.join(self)}")


def one_state(recurrence: Recurrence | None) -> dict[str, int]:
    """Return the index of each state, by the names that an argument for it may have."""
    if recurrence is None:
        return {name: "hc".index(state) for state, names in ONE_STATE.items() for name in names}
    names = {
        state: (state, f"{state}0", f"{state}_0", f"{state}_prev") for state in recurrence.states
    }
    return {name: k for k, state in enumerate(recurrence.states) for name in names[state]}


def declaration_of(value: Any, name: str) -> Declaration | None:
    """Return the declaration of a class or a function, None if it has none."""
    decorated: Declaration | None = getattr(value, DECLARATION, None)
    if decorated is not None or not says_its_cell(value):
        return decorated
    cell = getattr(value.cell, "__func__", value.cell)  # a step is no method
    outside_catalogue = cell is None or callable(cell)
    attributes = {key: getattr(value, key) for key in ATTRIBUTES if hasattr(value, key)}
    fields = {k: v for k, v in attributes.items() if _may_declare(k, v, outside_catalogue)}
    if outside_catalogue and hasattr(value, "named_parameters"):
        fields = {"parameters": partial(module_parameters, value), "gradient": "torch", **fields}
    explicit = str(cell) in cells() and str(cell) not in GATES and fields.keys() <= {"gradient"}
    if not outside_catalogue and (explicit or not fields):
        return None
    between = {key: getattr(value, key, None) for key in BETWEEN_CALLS}
    fields |= {k: v for k, v in between.items() if v is True or (k == "reset" and type(v) is str)}
    try:
        declaration = Declaration(cell if outside_catalogue else str(cell), **fields)
    except (TypeError, ValueError) as error:
        raise UnknownSubject(f"subject {name!r}: {error}") from error
    return declaration


def _may_declare(field: str, value: Any, outside_catalogue: bool) -> bool:
    """Whether an attribute's value declares the field of its name.

    A method, a buffer or a tuple of numbers of that name declares nothing.
    """
    if field in OWN:
        return outside_catalogue and isinstance(value, str | int | tuple | list | Mapping)
    if field == "bias":
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    return isinstance(value, str) or (field == "weights" and isinstance(value, Convention))


def declared(
    value: Any, name: str, declaration: Declaration, import_lines: str = "", device: str = "cpu"
) -> Declared:
    """Return a declared class or function as a subject, with the options that it offers."""
    recurrence = declaration.recurrence
    if recurrence is None and declaration.convention.cell is None:
        raise UnknownSubject(f"subject {name!r}: the reference has no cell for its convention")
    parameters = inspect.signature(_function_of(value)).parameters
    if declaration.gradient == "vjp":
        for argument in {*RAGGED_ARGUMENTS} & {*parameters}:
            if argument not in inspect.signature(value.vjp).parameters:
                raise UnknownSubject(
                    f"subject {name!r}: it takes {argument} and its vjp does not: give vjp, too, "
                    f"an argument {argument}, which is None where all rows are of one length"
                )
    names_of_state = {*STATE, *one_state(recurrence)}
    takes_state = declaration.state != "none" and not names_of_state.isdisjoint(parameters)
    options = Options(
        layers=False,
        bidirectional=False,
        **ragged_options(parameters),
        bias=False,
        projection=False,
        gradient=bool(declaration.gradient),
        jvp=False,
        state=takes_state,
        no_steps=False,
        zero_length=False,
        default_state=declaration.axes != "BD",
        partial_state=declaration.partial_state or _takes_each_state(parameters, declaration),
        kept_state=declaration.stateful,
        dropout=recurrence is not None and callable(getattr(value, "train", None)),
        equations=recurrence is None or recurrence.function is not None,
    )
    if declaration.stateful:
        reset_method(value, name, declaration.reset)
    subject = Declared(name, value, declaration, options, dtypes_of(value), import_lines, device)
    if recurrence is not None and recurrence.function is not None:
        _try_step(name, recurrence)
    return _with_working_options(subject)


def _takes_each_state(parameters: Iterable[str], declaration: Declaration) -> bool:
    """Whether the code takes several states as separate arguments."""
    recurrence = declaration.recurrence
    places = one_state(recurrence)
    count = len(recurrence.states) if recurrence else 2 if declaration.cell == "lstm" else 1
    return count > 1 and {places[n] for n in parameters if n in places} == {*range(count)}


def _try_step(name: str, recurrence: Recurrence) -> None:
    """Raise UnknownSubject for a step whose rounding errors cannot be bounded; say what helps."""
    case = Case(2, 2, 3, 4)
    rng = np.random.default_rng(0)
    p = recurrence.random_parameters(rng, case.sizes)
    arrays = [p.map(partial(Bounded.exact, arithmetic=FLOAT64))]
    shape = case.T, case.B, recurrence.input_width(case.sizes)
    x = Bounded.exact(rng.standard_normal(shape), FLOAT64)
    layer = Layer(recurrence, case.sizes)
    try:
        output = layer.forward(arrays, x)
        layer.vjp(arrays, output, output.y, output.final)
    except Unfollowed as operation:
        raise UnknownSubject(
            f"subject {name!r}: its step {recurrence.name.removeprefix(OWN_EQUATIONS)} uses "
            f"{operation}, which cannot be followed with bounds. Write it with sums, products, "
            "quotients, tanh, exp, log, sqrt, mean, var, maximum, concatenate and the like of "
            "NumPy; or hold the layer without equations: cell = None"
        ) from operation
    except Exception as error:
        raise UnknownSubject(
            f"subject {name!r}: its step does not run: {type(error).__name__}: {error}"
        ) from error


def _with_working_options(subject: Declared) -> Declared:
    """Run the subject on small cases; return it with the options that work."""
    offered = subject.options
    cases = {"default_state": Case(2, 2, 2, 3, state=False)} if offered.default_state else {}
    if subject.own_cell is not None:
        plain = Case(2, 3, 2, 4, state=offered.state)
        cases["no_steps"] = replace(plain, T=0)
        cases |= ragged_cases(offered, plain)
    trials = {option: partial(run, subject, case) for option, case in cases.items()}
    if offered.partial_state and not subject.declaration.partial_state:
        trials["partial_state"] = partial(_run_with_one_state, subject)
    changed, reasons = working_options(trials)
    return replace(subject, options=replace(offered, **changed, reasons=tuple(reasons.items())))


def _run_with_one_state(subject: Declared) -> None:
    case = Case(2, 2, 2, 3)
    inputs = draw_inputs(subject, case)
    for k, state in enumerate(inputs.state or ()):
        alone = tuple(state if j == k else None for j in range(len(inputs.state or ())))
        subject.build(case).forward(replace(inputs, state=alone))
