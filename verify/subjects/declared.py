"""Ordinary code as a subject: a class or a function, and a declaration of how it means its arrays.

.. code-block:: python

    @gatewise.subject("gru", weights="keras", axes="BTD", gradient="torch")
    def gru(x, h0, kernel, recurrent_kernel, bias):
        return y, h

Arguments are recognised by their names: ``x`` (or ``inputs``), the state (``state`` as declared, or
``h0`` and ``c0`` each alone), ``lengths``, ``params`` (all arrays by the convention's names). Those
that are left are the convention's arrays, in its order.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...reference.functions import Array
from ..cases.case import Case
from ..cases.options import Options
from ..conventions import Convention
from ..conventions.convention import GATES
from ..conventions.parameter_map import ConventionMap
from .framework import Plain, imported
from .frameworks import families
from .inputs import draw_inputs
from .loader import UnknownSubject
from .protocol import Built, Cotangents, Inputs, Pulled, Result

DECLARATION = "__gatewise__"
"""The attribute that holds what was declared."""

ATTRIBUTES = ("weights", "order", "layout", "bias", "axes", "state", "returns", "gradient")
"""What a class may declare as attributes beside ``cell``."""

AXES = ("TBD", "BTD", "DBT", "TD", "BD")
STATES = ("tuple", "h", "stacked", "none")
RETURNS = ("both", "y", "state")
GRADIENTS = ("", "vjp", "torch", "jax")
X, STATE = ("x", "xs", "input", "inputs"), ("state", "states", "hx", "hidden", "carry")
PARAMS = ("params", "parameters", "weights", "p")
ONE_STATE = {"h": ("h", "h0", "h_0", "h_prev", "a0"), "c": ("c", "c0", "c_0", "c_prev")}
ALIASES = {"onnx": "onnxruntime", "flax": "flax-linen", "jax": "flax-linen"}


@dataclass(frozen=True)
class Declaration:
    """How code means its arrays and its call.

    ``cell``: ``rnn``, ``lstm`` or ``gru``. ``weights``: whose convention its arrays have, a family
    of adapters (``torch``, ``keras``, ``onnx``, ...), or a ``Convention``; ``order``, ``layout``
    and ``bias`` replace fields of it. ``axes`` of x and y: ``BD`` is a single step; with ``DBT``
    states are (H, B). ``state``: a
    tuple, h alone, all states stacked along a first axis, or none at all. ``returns``: outputs and
    state, outputs alone (of cells with one state), or the state alone (of a step). ``gradient``:
    by a method ``vjp(params, x, state, dy, dstate)`` with the same axes and arrays, or by torch's
    or JAX's differentiation, whose arrays it is then called with.
    """

    cell: str
    weights: str | Convention = "torch"
    order: str = ""
    layout: str = ""
    bias: tuple[str, ...] | None = None
    axes: str = "TBD"
    state: str = "tuple"
    returns: str = "both"
    gradient: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no declaration, in a sentence that says what is."""
        for name, allowed in (("cell", tuple(GATES)), ("axes", AXES), ("state", STATES),
                              ("returns", RETURNS), ("gradient", GRADIENTS)):  # fmt: skip
            if getattr(self, name) not in allowed:
                known = ", ".join(repr(each) for each in allowed)
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {known}")
        if self.cell == "lstm" and (self.state == "h" or self.returns == "y"):
            raise ValueError(
                "an LSTM has the states h and c: take and return both, as in return y, (h, c); "
                "from y alone nobody can tell what c was"
            )

    @property
    def convention(self) -> Convention:
        """The convention of its arrays; ValueError if there is none of that name."""
        convention = self.weights
        if not isinstance(convention, Convention):
            convention = _stated(convention, self.cell)
        given: dict[str, Any] = {"order": self.order, "layout": self.layout, "bias": self.bias}
        return replace(convention, **{k: v for k, v in given.items() if v})


def _stated(name: str, cell: str) -> Convention:
    """Return the convention that the adapter of a framework states."""
    family = ALIASES.get(name, name)
    kinds = {"rnn": ("RNN", "SimpleRNN", "SimpleCell")}.get(cell, (cell.upper(),))
    adapters = families()[family].subjects() if family in families() else ()
    for adapter in adapters:
        convention = getattr(adapter, "convention", None)
        if adapter.name.partition(":")[2] in kinds and isinstance(convention, Convention):
            return convention
    known = ", ".join(sorted({*families(), *ALIASES}))
    raise ValueError(f"weights={name!r}: it states no convention of a {cell}; there are {known}")


def subject(cell: str, **declared: Any) -> Callable[[Any], Any]:
    """Declare how a class or a function means its arrays, so that it can be held as it is.

    The arguments are the fields of ``Declaration``. Raises ValueError for what is none.
    """
    declaration = Declaration(cell, **declared)
    _ = declaration.convention  # so that a wrong name is refused here

    def decorate(value: Any) -> Any:
        setattr(value, DECLARATION, declaration)
        return value

    return decorate


@dataclass(frozen=True)
class Declared:
    """A class or a function with a declaration, as a subject."""

    name: str
    value: Any
    declaration: Declaration
    options: Options
    dtypes: tuple[str, ...] = ("float64", "float32")
    import_lines: str = field(default="", repr=False)

    @property
    def convention(self) -> Convention:
        """What is stated of its arrays."""
        return self.declaration.convention

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell of its convention."""
        return (str(self.convention.cell),)

    def version(self) -> str:
        """Return its version, if it says one."""
        return str(getattr(self.value, "version", ""))

    def cell(self, case: Case) -> str:
        """Return the cell that it claims."""
        return self.cells[0]

    def parameter_map(self, case: Case) -> ConventionMap:
        """Return the map of its convention."""
        return ConventionMap(self.convention, case)

    def caller(self, case: Case) -> str:
        """Return nothing: scripts of failures call it by gatewise."""
        return ""

    def build(self, case: Case) -> Built:
        """Return it, ready to be called."""
        made = self.value() if isinstance(self.value, type) else self.value
        call = _Call(self, made, _arrays(self.declaration.gradient))
        return Plain(call.run, call.pull if self.declaration.gradient else None)


@dataclass(frozen=True)
class _Arrays:
    """Whose arrays code is called with: to them, and back to NumPy."""

    into: Callable[[Array], Any] = lambda array: array
    back: Callable[[Any], Array] = np.asarray
    stack: Callable[[Sequence[Any]], Any] = np.stack


def _arrays(gradient: str) -> _Arrays:
    if gradient == "torch":
        torch = imported("torch", "torch")
        return _Arrays(
            lambda a: torch.tensor(np.array(a)), lambda a: np.asarray(a.detach()), torch.stack
        )
    if gradient == "jax":
        jax = imported("jax", "jax")
        jax.config.update("jax_enable_x64", True)
        return _Arrays(jax.numpy.asarray, np.asarray, jax.numpy.stack)
    return _Arrays()


@dataclass(frozen=True)
class _Call:
    """Calls of the user's code, in its own axes and arrays."""

    subject: Declared
    made: Any
    arrays: _Arrays

    @property
    def function(self) -> Callable[..., Any]:
        """What is called."""
        return getattr(self.made, "forward", None) or getattr(self.made, "step", None) or self.made  # type: ignore[no-any-return]

    def run(self, inputs: Inputs) -> Result:
        """Run the code on NumPy arrays."""
        leaves = {name: self.arrays.into(array) for name, array in inputs.leaves.items()}
        return self._result(*self.called(inputs, leaves))

    def pull(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Run once and pull cotangents back, by the differentiation that was declared."""
        pulls = {"torch": self._by_torch, "jax": self._by_jax, "vjp": self._by_vjp}
        return pulls[self.subject.declaration.gradient](inputs, cotangents)

    def called(self, inputs: Inputs, leaves: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Call with arrays of the code's own kind; return y (T, B, H) and states (B, H)."""
        weights = {n.removesuffix("_l0"): leaves[n] for n in inputs.parameters}  # in their order
        x, stack = leaves["x"], self.arrays.stack
        states = sorted(name for name in leaves if name.startswith("state "))
        state = tuple(leaves[name][0] for name in states) or None
        axes = self.subject.declaration.axes
        if axes == "BD":
            outputs = []
            for x_t in x:
                y, state = self._once(weights, x_t, state, None)
                outputs.append(state[0] if y is None else y)
            return stack(outputs), state or ()
        if axes == "TD":  # a row at a time
            rows = [
                self._once(weights, x[:, k], state and tuple(s[k] for s in state), None)
                for k in range(x.shape[1])
            ]
            y = stack([y for y, _ in rows]).swapaxes(0, 1)
            return y, tuple(stack(list(s)) for s in zip(*(s for _, s in rows), strict=True))
        y, final = self._once(weights, self._turned(x), state, inputs.lengths)
        return self._turned(y), final

    def _by_torch(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        torch = imported("torch", "torch")
        leaves = {k: self.arrays.into(a).requires_grad_() for k, a in inputs.leaves.items()}
        y, final = self.called(inputs, leaves)
        pulled = []
        for given in cotangents:
            pairs = [(o, torch.tensor(np.array(d))) for o, d in zip((y, *final), _flat(given),
                     strict=True) if d is not None]  # fmt: skip
            outputs, directions = zip(*pairs, strict=True)
            gradients = torch.autograd.grad(
                outputs, list(leaves.values()), directions, retain_graph=True, allow_unused=True
            )
            named = {
                k: self.arrays.back(torch.zeros_like(leaf) if d is None else d)
                for (k, leaf), d in zip(leaves.items(), gradients, strict=True)
            }
            pulled.append(Pulled.of_leaves(self._result(y, final), named))
        return pulled

    def _by_jax(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        jax = imported("jax", "jax")
        leaves = {k: self.arrays.into(a) for k, a in inputs.leaves.items()}
        outputs, pull = jax.vjp(lambda named: self.called(inputs, named), leaves)
        pulled = []
        for given in cotangents:
            directions = [
                jax.numpy.zeros_like(o) if d is None else self.arrays.into(d)
                for o, d in zip((outputs[0], *outputs[1]), _flat(given), strict=True)
            ]
            (named,) = pull((directions[0], tuple(directions[1:])))
            back = {k: np.array(d) for k, d in named.items()}
            pulled.append(Pulled.of_leaves(self._result(*outputs), back))
        return pulled

    def _by_vjp(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Call ``vjp`` with the same axes and arrays as ``forward``."""
        weights = {n.removesuffix("_l0"): np.array(a) for n, a in inputs.parameters.items()}
        state = None if inputs.state is None else tuple(s[0] for s in inputs.state)
        outputs = self.run(inputs)
        pulled = []
        for given in cotangents:
            dy, *ends = (
                np.zeros_like(o) if d is None else d
                for o, d in zip((outputs.y, *(s[0] for s in outputs.final)), _flat(given),
                                strict=True)
            )  # fmt: skip
            dp, dx, dstate = self.made.vjp(
                weights, self._turned(inputs.x), self._state(self._flipped(state)),
                self._turned(dy), self._state(self._flipped(tuple(ends))),
            )  # fmt: skip
            named = dp if isinstance(dp, Mapping) else dict(zip(weights, dp, strict=True))
            initial = dstate if isinstance(dstate, tuple | list) else (dstate,)
            if self.subject.declaration.state == "stacked":
                initial = tuple(dstate)
            initial = self._flipped(tuple(map(np.asarray, initial)))
            gradients = {f"{n}_l0": np.asarray(d) for n, d in named.items()}
            gradients["x"] = np.asarray(self._turned(np.asarray(dx)))
            if inputs.state is not None:
                gradients |= {f"state {k}": np.asarray(d)[None] for k, d in enumerate(initial)}
            pulled.append(Pulled.of_leaves(outputs, gradients))
        return pulled

    def _result(self, y: Any, final: Sequence[Any]) -> Result:
        back = self.arrays.back
        return Result(back(y), tuple(back(s)[None] for s in final))

    def _once(
        self, weights: Mapping[str, Any], x: Any, state: Any, lengths: Array | None
    ) -> tuple[Any, tuple[Any, ...]]:
        arguments = self._bound(weights, x, self._flipped(state), lengths)
        return self._results(self.function(**arguments))

    def _results(self, result: Any) -> tuple[Any, tuple[Any, ...]]:
        """Return outputs and a tuple of states of what was returned."""
        declaration = self.subject.declaration
        if declaration.returns == "y":
            last = {"BTD": (slice(None), -1), "DBT": (..., -1)}.get(declaration.axes, -1)
            return result, self._flipped((result[last],))
        y, state = (None, result) if declaration.returns == "state" else result
        if declaration.state == "h" or not isinstance(state, tuple | list):
            state = tuple(state) if declaration.state == "stacked" else (state,)
        return y, self._flipped(tuple(state))

    def _bound(
        self, weights: Mapping[str, Any], x: Any, state: Any, lengths: Array | None
    ) -> dict[str, Any]:
        """Return the arguments by the names that the code has for them."""
        left = list(weights)
        bound: dict[str, Any] = {}
        for name in inspect.signature(self.function).parameters:
            if name in X:
                bound[name] = x
            elif name in STATE:
                bound[name] = self._state(state)
            elif name == "lengths":
                bound[name] = lengths
            elif name in PARAMS:
                bound[name] = dict(weights)
            elif kind := next((k for k, names in ONE_STATE.items() if name in names), ""):
                bound[name] = None if state is None else state["hc".index(kind)]
            elif left:
                key = name if name in left else left[0]
                left.remove(key)
                bound[name] = weights[key]
        return bound

    def _state(self, state: Any) -> Any:
        if state is None or self.subject.declaration.state == "tuple":
            return state
        return state[0] if self.subject.declaration.state == "h" else self.arrays.stack(state)

    def _turned(self, array: Any) -> Any:
        """Return (T, B, ...) in the code's axes, or the other way round."""
        other = {"BTD": 1, "DBT": 2}.get(self.subject.declaration.axes)
        return array if other is None else array.swapaxes(0, other)

    def _flipped(self, states: Any) -> Any:
        """Return states (B, H) in the code's axes, or the other way round."""
        if states is None or self.subject.declaration.axes != "DBT":
            return states
        return tuple(s.swapaxes(0, 1) for s in states)


def _flat(pair: Cotangents) -> list[Array | None]:
    """Return the cotangents of y and of the final states, (B, H) each."""
    dy, dfinal = pair
    return [dy, *(None if d is None else d[0] for d in dfinal)]


def declaration_of(value: Any, name: str) -> Declaration | None:
    """Return what a class or a function declares, None if it declares nothing."""
    decorated: Declaration | None = getattr(value, DECLARATION, None)
    stated = {key: getattr(value, key) for key in ATTRIBUTES if hasattr(value, key)}
    given = {key: each for key, each in stated.items() if _may_declare(key, each)}
    if decorated is not None or not given or not hasattr(value, "cell"):
        return decorated
    try:
        declaration = Declaration(str(value.cell), **given)
        _ = declaration.convention
    except (TypeError, ValueError) as error:
        raise UnknownSubject(f"subject {name!r}: {error}") from error
    return declaration


def _may_declare(field: str, value: Any) -> bool:
    """Whether a class says something of its convention by an attribute of a field's name.

    A method, a buffer or a tuple of numbers of that name is the class's own affair.
    """
    if field == "bias":
        return isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    return isinstance(value, str) or (field == "weights" and isinstance(value, Convention))


def declared(value: Any, name: str, declaration: Declaration, import_lines: str = "") -> Declared:
    """Return the subject that a declared class or function is, with what it offers."""
    convention = declaration.convention
    if convention.cell is None:
        raise UnknownSubject(f"subject {name!r}: the reference has no cell for its convention")
    function = getattr(value, "forward", None) or getattr(value, "step", None) or value
    taken = inspect.signature(function).parameters
    given = any(n in (*STATE, *ONE_STATE["h"]) for n in taken) and declaration.state != "none"
    options = Options(
        layers=False,
        bidirectional=False,
        lengths="lengths" in taken,
        bias=False,
        projection=False,
        gradient=bool(declaration.gradient),
        jvp=False,
        state=given,
        no_steps=False,
        zero_length=False,
        default_state=declaration.axes != "BD",
    )
    dtypes = tuple(getattr(value, "dtypes", ("float64", "float32")))
    subject = Declared(name, value, declaration, options, dtypes, import_lines)
    return subject if declaration.axes == "BD" else _with_default_state(subject)


def _with_default_state(subject: Declared) -> Declared:
    """Return the subject; it has a start of its own if it runs without a state."""
    case = Case(2, 2, 2, 3, state=False)
    try:
        subject.build(case).forward(draw_inputs(subject, case))
    except Exception as error:  # whatever it raises is why it does not offer it
        reasons = (("default_state", f"{type(error).__name__}: {error}"[:200]),)
        options = replace(subject.options, default_state=False, reasons=reasons)
        return replace(subject, options=options)
    return subject
