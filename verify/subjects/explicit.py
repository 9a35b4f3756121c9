"""Code in any library with ``cell``, ``forward`` and optionally ``vjp``, called with NumPy arrays.

.. code-block:: python

    class MyLSTM:
        cell = "lstm"

        def forward(self, params, x, state):  # params["W"] (G, D, H) or params.W_f (D, H)
            return y, (h, c)  # y (T, B, H), states (B, H)

        def vjp(self, params, x, state, dy, dstate):
            return {"W": ..., "U": ..., "b": ...}, dx, (dh0, dc0)

A ``lengths`` argument of ``forward`` and ``vjp`` offers sequences of different lengths,
``cu_seqlens`` packed ones, ``mask`` (T, B) padding in front (see ``ragged``), ``jvp``
(params, x, state, dparams, dx, dstate) forward-mode derivatives. The attribute ``dtypes`` limits
the dtypes, as in ``("float32",)``; ``quantised`` declares integers or fixed point (see
``numbers.quantisation``); ``gradient``, ``torch`` or ``jax``, names what differentiates a cell
beyond RNN, LSTM and GRU, which is then called with its arrays.

A constructor with the arguments ``layers`` (or ``num_layers``), ``bidirectional`` or ``dropout``
offers these options. With either of the first two, ``params`` and their gradients are lists with
one entry for each pass: layer 0 forward, layer 0 backward, layer 1 forward, ...; states are
(layers * directions, B, H). ``dropout`` needs modes: ``train()`` and ``eval()``, or an attribute
``training``.

A method ``reorder(state, rows)`` returns the states of these rows, in this order: what a server
does when sequences leave, change places or go on twice.

With ``stateful = True`` a call without a state continues from the state of the last call, until
``reset()`` or the method that ``reset = "reset_states"`` names is called. With
``partial_state = True`` one of several states may be None, which stands for zeros.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import State
from ...reference.cells import cell_named
from ...reference.errors import InputError
from ..cases.case import Case
from ..cases.layouts import RAGGED
from ..cases.options import Options
from ..cases.schedule import RAGGED_WORDS, parsed
from ..conventions.parameter_map import ExplicitMap, suffixes
from .called import NotOffered, same_count, with_care
from .differentiated import Arrays, arrays_of, pulled_by, run_converted
from .inputs import draw_cotangents, draw_inputs
from .loader import UnknownSubject
from .protocol import Cotangents, Inputs, OneCell, Pulled, Result
from .ragged import RaggedLayer, ragged_arguments, ragged_cases, ragged_options
from .trial import LONGEST_REASON, dtypes_of, reset_method, run, working_options

PLAIN = Case(2, 2, 2, 3)
CALL = '''

class Parameters(dict):
    """params["W"] (G, D, H), and params.W_f (D, H), the slice of a gate."""

    def __getattr__(self, name):
        array, _, gate = name.partition("_")
        return self[name] if name in self else self[array][GATES[array].index(gate)]


def call(layer, parameters, x, state, lengths=None, dy=None, dfinal=None, kept=False,
         rows=None):
    """Call the layer, and return everything it computes, by name."""
    if RESET and state is None and not kept:
        getattr(layer, RESET)()
    passes = [Parameters({n[: -len(end)]: a for n, a in parameters.items() if n.endswith(end)})
              for end in ENDS]  # fmt: skip
    named = passes if SEVERAL else passes[0]
    state = None if state is None else tuple(map(given, state))
    state = state if rows is None else layer.reorder(state, rows)
    more = {} if lengths is None else {"lengths": lengths}
    y, final = layer.forward(named, x, state, **more)
    final = final if isinstance(final, (tuple, list)) else (final,)
    result = {"y": np.asarray(y)}
    for name, s in zip(STATES, final):
        result[f"final {name}"] = returned(s)
    if dfinal is not None:
        ends = tuple(np.zeros_like(s) if d is None else given(d) for d, s in zip(dfinal, final))
        dy = np.zeros_like(y) if dy is None else dy
        dparams, dx, dstate = layer.vjp(named, x, state, dy, ends, **more)
        for end, d in zip(ENDS, dparams if SEVERAL else [dparams]):
            for name in d:
                result[f"gradient of {name}{end}"] = np.asarray(d[name])
        result["gradient of x"] = np.asarray(dx)
        for name, d in zip(STATES, dstate if isinstance(dstate, (tuple, list)) else (dstate,)):
            result[f"gradient of initial {name}"] = returned(d)
    return result


def given(state):
    return state if SEVERAL or state is None else state[0]


def returned(state):
    return np.asarray(state) if SEVERAL else np.asarray(state)[None]

'''
ARGUMENTS = {"layers": ("layers", "num_layers"), "bidirectional": ("bidirectional",),
             "dropout": ("dropout",)}  # fmt: skip
"""The options that a constructor may take, with the names of their arguments."""

NO_MODES = "it has no modes: train() and eval(), or an attribute training"


def train(layer: Any, training: bool) -> None:
    """Switch a layer's mode by train and eval, by train alone, or by the attribute training."""
    if hasattr(layer, "eval"):
        layer.train() if training else layer.eval()
    elif hasattr(layer, "train"):
        layer.train(training)
    else:
        layer.training = training


def has_modes(layer: object) -> bool:
    """Whether ``train`` can switch a layer."""
    return hasattr(layer, "train") or hasattr(layer, "training")


DIFFERENTIATED = ("torch", "jax")
"""Frameworks that may differentiate a layer without ``vjp``, which is called with their arrays."""


@dataclass(frozen=True)
class Explicit(OneCell):
    """A class (instantiated for every case) or an object with ``cell`` and ``forward``."""

    name: str
    value: Any
    options: Options
    dtypes: tuple[str, ...] = ("float64", "float32")
    import_lines: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The cell that it claims to compute."""
        return (str(self.value.cell),)

    @property
    def form(self) -> tuple[str, str]:
        """The kind and cell that a recording stores, to reconstruct the parameters' meaning."""
        return "explicit", self.cells[0]

    def version(self) -> str:
        """Return the version that the code states, or ""."""
        return str(getattr(self.value, "version", ""))

    def parameter_map(self, case: Case) -> ExplicitMap:
        """Return the map of the reference's layout."""
        return ExplicitMap(self.cells[0], case)

    def caller(self, case: Case) -> str:
        """Return source that imports and calls the layer."""
        cell = cell_named(self.cells[0])
        gates = {name: list(shape.gates) for name, shape in cell.shapes(case.sizes).items()}
        names = (
            f"\nGATES = {gates}\nSTATES = {list(cell.states)}\n"
            f"ENDS = {list(suffixes(case))}\nSEVERAL = {self.several}\n"
            f"RESET = {self.reset!r}\n"
        )
        layouts = (case.layout, *(o.word for o in parsed(case.schedule)))
        if not self.import_lines or self.gradient or {*RAGGED, *RAGGED_WORDS} & {*layouts}:
            return ""  # scripts of other layouts call the layer by gatewise
        return self.import_lines + names + self._make(case) + CALL

    def _make(self, case: Case) -> str:
        """Return source that defines ``make``, and ``train`` where it has modes."""
        arguments = ", ".join(
            f"{name}={value!r}" for name, value in self._constructor_arguments(case).items()
        )
        construction = f"Layer({arguments})" if isinstance(self.value, type) else "Layer"
        if not self.options.dropout:
            return f"\n\ndef make():\n    return {construction}\n"
        body = f"    layer = {construction}\n    train(layer, False)\n    return layer\n"
        switch = f"from typing import Any\n\n\n{inspect.getsource(train)}"
        return f"{switch}\n\ndef make():\n{body}"

    def build(self, case: Case) -> RaggedLayer:
        """Return the layer, ready to be called: in evaluation mode, if it has modes."""
        layer = self.value
        if isinstance(layer, type):
            layer = layer(**self._constructor_arguments(case))
        built = (_Differentiated if self.gradient else _Built)(layer, self, case)
        if self.options.dropout and has_modes(layer):
            train(layer, False)
        return RaggedLayer(built)

    @property
    def gradient(self) -> str:
        """By what it is differentiated, "" if by its own ``vjp`` or not at all."""
        stated = getattr(self.value, "gradient", "")
        return str(stated) if stated in DIFFERENTIATED else ""

    @property
    def several(self) -> bool:
        """Whether parameters are lists with an entry for each pass, and states have that axis."""
        return bool(self.takes.keys() & {"layers", "bidirectional"})

    @cached_property
    def reset(self) -> str:
        """The method that resets the state kept between calls; "" if it keeps none."""
        stateful = getattr(self.value, "stateful", False) is True
        stated = getattr(self.value, "reset", None)
        name = stated if isinstance(stated, str) else "reset"
        return reset_method(self.value, self.name, name) if stateful else ""

    @cached_property
    def takes(self) -> dict[str, str]:
        """The constructor's argument for each option that it takes."""
        if not isinstance(self.value, type):
            return {}
        parameters = inspect.signature(self.value).parameters
        candidates = ((option, name) for option, names in ARGUMENTS.items() for name in names)
        return {option: name for option, name in candidates if name in parameters}

    def _constructor_arguments(self, case: Case) -> dict[str, Any]:
        """Return the constructor's arguments for a case."""
        return {name: getattr(case, option) for option, name in self.takes.items()}


@dataclass(frozen=True)
class _Built:
    layer: Any
    subject: Explicit
    case: Case

    def forward(self, inputs: Inputs) -> Result:
        y, final = self.layer.forward(*self._arguments(inputs), **self._lengths(inputs))
        return Result(np.asarray(y), self._returned(final))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        outputs = self.forward(inputs)
        pulled = []
        for dy, dfinal in cotangents:
            ends = self._to_states_of_layer(
                np.zeros_like(s) if d is None else d
                for d, s in zip(dfinal, outputs.final, strict=True)
            )
            output_cotangent = np.zeros_like(outputs.y) if dy is None else dy
            dp, dx, dstate = self.layer.vjp(
                *self._arguments(inputs), output_cotangent, ends, **self._lengths(inputs)
            )
            initial = self._returned(dstate) if inputs.state is not None else ()
            pulled.append(
                Pulled(outputs.y, outputs.final, self._named(dp), np.asarray(dx), initial)
            )
        return pulled

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        p, _, dstate = self._arguments(tangents)
        dy, dfinal = self.layer.jvp(*self._arguments(inputs), p, tangents.x, dstate)
        return Result(np.asarray(dy), self._returned(dfinal))

    def train(self, training: bool) -> None:
        if not has_modes(self.layer):
            raise NotImplementedError(NO_MODES)
        train(self.layer, training)

    def _arguments(self, inputs: Inputs) -> tuple[Any, Floats, State | None]:
        if self.subject.reset and inputs.anew:
            getattr(self.layer, self.subject.reset)()
        passes = self.subject.parameter_map(self.case).to_reference(inputs.parameters)
        p = list(passes) if self.subject.several else passes[0]
        state = None if inputs.state is None else self._to_states_of_layer(inputs.state)
        if inputs.rows is not None:
            state = tuple(np.asarray(s) for s in self.layer.reorder(state, list(inputs.rows)))
        return p, inputs.x, state

    def _lengths(self, inputs: Inputs) -> dict[str, Any]:
        """Return the arguments of lengths, boundaries or mask that the call needs."""
        arrays = {name: a for name, a in ragged_arguments(inputs).items() if a is not None}
        parameters = inspect.signature(self.layer.forward).parameters if inputs.layout else arrays
        return {name: a for name, a in arrays.items() if name in parameters}

    def _named(self, gradients: Any) -> dict[str, Floats]:
        """Return the gradients of the parameters of all passes by name."""
        passes, ends = gradients if self.subject.several else [gradients], suffixes(self.case)
        same_count("gradients of passes' parameters", len(passes), len(list(suffixes(self.case))))
        return {
            f"{name}{end}": np.asarray(d[name])
            for end, d in zip(ends, passes, strict=True)
            for name in d
        }

    def _to_states_of_layer(self, states: Iterable[Floats]) -> State:
        """Return states as the layer takes them: a layer of one pass without the axis of passes."""
        several = self.subject.several
        return tuple(s if several or s is None else s[0] for s in states)

    def _returned(self, states: Any) -> State:
        """Return the layer's states with the protocol's axis of layers and directions."""
        arrays = states if isinstance(states, tuple | list) else (states,)
        several = self.subject.several
        return tuple(np.asarray(s) if several else np.asarray(s)[None] for s in arrays)


@dataclass(frozen=True)
class _Differentiated(_Built):
    """The same in arrays of torch's or JAX's, whose differentiation gives its gradients."""

    @property
    def arrays(self) -> Arrays:
        """Whose arrays it is called with."""
        return arrays_of(self.subject.gradient)

    def forward(self, inputs: Inputs) -> Result:
        return run_converted(self, inputs)

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        pairs = [
            (dy, tuple(d if d is None else d[None] for d in dfinal))
            if self.subject.several else (dy, dfinal) for dy, dfinal in cotangents
        ]  # fmt: skip
        with self.arrays.setting():
            return pulled_by(self.subject.gradient, self, inputs, pairs)

    def outputs(self, inputs: Inputs, leaves: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Call it; states have an axis of passes where it has several."""
        states = [leaves[f"state {k}"] for k in range(len(inputs.state or ()))]
        named = {name: leaves[name] for name in inputs.parameters}
        converted = replace(
            inputs, parameters=named, x=leaves["x"], state=tuple(states) if states else None
        )
        y, final = self.layer.forward(*self._arguments(converted), **self._lengths(inputs))
        return y, tuple(final) if isinstance(final, tuple | list) else (final,)

    def result(self, y: Any, final: Sequence[Any]) -> Result:
        """Return outputs and states as NumPy's arrays."""
        return Result(self.arrays.back(y), self._returned([self.arrays.back(s) for s in final]))


def explicit(value: Any, name: str, import_lines: str = "") -> Explicit:
    """Return a class or an object as a subject, with the options that it offers."""
    try:
        cell = cell_named(str(value.cell))
    except InputError as error:
        hint = "a recurrence of another kind has cell = None, or its step"
        raise UnknownSubject(f"subject {name!r}: {error}; {hint}") from error
    parameters = inspect.signature(value.forward).parameters
    options = Options(
        layers=False,
        bidirectional=False,
        **ragged_options(parameters),
        projection="projected" in cell.traits,
        partial_state=getattr(value, "partial_state", False) is True and len(cell.states) > 1,
        gradient=hasattr(value, "vjp") or getattr(value, "gradient", "") in DIFFERENTIATED,
        jvp=hasattr(value, "jvp"),
    )
    subject = Explicit(name, value, options, dtypes_of(value), import_lines)
    offered: dict[str, Any] = dict.fromkeys(subject.takes, True)
    offered["kept_state"] = bool(subject.reset)
    offered["reorders"] = hasattr(value, "reorder")
    return _with_working_options(replace(subject, options=replace(options, **offered)))


def _with_working_options(subject: Explicit) -> Explicit:
    """Run the subject on small cases; return it with the options that work."""
    layer = with_care(partial(subject.build, PLAIN)).layer
    modes = {} if has_modes(layer) or not subject.options.dropout else {"dropout": NO_MODES}
    if modes:
        subject = replace(subject, options=replace(subject.options, dropout=False))
    cases = {
        "default_state": replace(PLAIN, state=False),
        "no_steps": replace(PLAIN, T=0),
        **ragged_cases(subject.options, PLAIN),
    }
    layers = {option: with_care(partial(subject.build, case)) for option, case in cases.items()}
    offered, reasons = working_options(
        {
            option: partial(layers[option].forward, draw_inputs(subject, case))
            for option, case in cases.items()
        }
    )
    reasons = modes | reasons
    plain = replace(PLAIN, state=not offered["default_state"])
    inputs, built = draw_inputs(subject, plain), with_care(partial(subject.build, plain))
    equal = replace(inputs, lengths=np.full(plain.B, plain.T))
    calls: dict[str, Callable[[], object]] = {
        "lengths": partial(built.forward, equal),
        "gradient": partial(built.gradients, inputs, [draw_cotangents(subject, plain)]),
        "jvp": partial(built.jvp, inputs, inputs),
    }
    depth = {"layers": {"layers": 2}, "bidirectional": {"bidirectional": True},
             "dropout": {"dropout": 0.5}}  # fmt: skip
    for option, used in depth.items():
        calls[option] = partial(run, subject, replace(plain, **used))  # type: ignore[arg-type]
    for option, call in calls.items():
        if not getattr(subject.options, option):
            continue
        try:
            with_care(call)
        except NotOffered as refusal:
            offered[option], reasons[option] = False, str(refusal)[:LONGEST_REASON]
        except Exception:  # noqa: S112 - an option that it takes must work: a check reports this
            continue
    if not offered.get("lengths", True) and not subject.options.packed:
        offered["zero_length"] = False
    options = replace(subject.options, **offered, reasons=tuple(reasons.items()))
    return replace(subject, options=options)
