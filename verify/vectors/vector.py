"""One vector: a case's numbers, what is expected of them, and the mistakes that they catch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..checks.oracle import expected, expected_gradient
from ..checks.quantities import GRADIENT, by_name
from ..conventions.convention import Convention
from ..conventions.parameter_map import ConventionMap, ExplicitMap
from ..mutants import mutants, right_subject
from ..numbers.bounded import Bounded
from ..numbers.ledger import in_bounds
from ..subjects.called import layer_of, under_test
from ..subjects.framework import FrameworkSubject
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Cotangents, Inputs, Subject
from ..tolerances.certificate import Mistake, Setting

ALL, FAR_STATE, NAN_PADDING, OUTPUTS = "", "far state", "NaN in the padding", "outputs alone"
"""Cotangents on all outputs; with ``FAR`` states; with NaN after the ends of rows; on none.

NaN there must have no influence. It stands there, too, where a row has length 0.
"""

FAR = 100.0
"""By what initial states are multiplied, which are then beyond what a clip would leave."""


@dataclass(frozen=True)
class Vector:
    """One case with its numbers, what is expected of them, and the mistakes that they catch.

    ``setting`` has the weights as the equations have them, where mistakes are made; ``inputs`` and
    ``expected`` have them as they are written, which may be somebody's convention. ``in_outputs``
    are those of the mistakes that show without gradients. ``output`` is the one that has a
    cotangent, or ALL, FAR_STATE, NAN_PADDING or OUTPUTS.
    """

    setting: Setting
    inputs: Inputs
    expected: Mapping[str, Bounded]
    catches: frozenset[str]
    in_outputs: frozenset[str]
    output: str = ALL

    @property
    def case(self) -> Case:
        """The case."""
        return self.setting.case

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the cell's states."""
        return layer_of(self.setting.subject, self.case).cell.states

    @property
    def given(self) -> dict[str, Floats]:
        """What the layer is called with, by name; cotangents where gradients are expected."""
        named = {n.replace("state ", "initial "): a for n, a in self.inputs.leaves.items()}
        for k, state in enumerate(self.states):
            if f"initial {k}" in named:
                named[f"initial {state}"] = named.pop(f"initial {k}")
        if self.inputs.lengths is not None:
            named["lengths"] = self.inputs.lengths
        if not self.setting.gradients:
            return named
        dy, dfinal = self.setting.cotangents
        pairs = zip(self.states, dfinal, strict=True)
        return named | {"cotangent of y": dy} | {f"cotangent of final {s}": d for s, d in pairs}

    @property
    def entries(self) -> int:
        """How many numbers it has."""
        given = sum(array.size for array in self.given.values())
        return int(given + 2 * sum(want.value.size for want in self.expected.values()))

    @property
    def reason(self) -> str:
        """What it is there for, in a line."""
        case = self.case
        parts = [f"{case.T} steps, {case.B} rows"]
        parts += ["rows of different lengths"] * case.lengths
        parts += [f"{case.layers} layers"] * (case.layers > 1)
        parts += ["both directions"] * case.bidirectional
        parts += ["an initial state"] if case.state else ["no initial state"]
        parts += [f"{case.scale} weights"] * (case.scale != "unit")
        parts += ["no bias"] * (not case.bias)
        parts += ["states far from 0"] * (self.output == FAR_STATE)
        parts += [self.output] * (self.output in (NAN_PADDING, OUTPUTS))
        alone = self.output not in (ALL, FAR_STATE, NAN_PADDING, OUTPUTS)
        parts += [f"a cotangent on {self.output} alone"] * alone
        return ", ".join(parts)


def vector(cell: str, case: Case, output: str = ALL, *, gradients: bool = True) -> Vector:
    """Draw a case's numbers, derive what is expected, and run every mistake on them."""
    subject, gradients = right_subject(cell), gradients and output != OUTPUTS
    states = layer_of(subject, case).cell.states
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    if case.zero_length or output == NAN_PADDING:
        padding = np.arange(case.T)[:, None] >= np.asarray(inputs.lengths)
        inputs = replace(inputs, x=np.where(padding[:, :, None], np.nan, inputs.x))
    if output == FAR_STATE:
        inputs = replace(inputs, state=tuple(FAR * s for s in inputs.state or ()))
    elif output not in (ALL, NAN_PADDING, OUTPUTS):
        dy = dy if output == "y" else np.zeros_like(dy)
        pairs = zip(states, dfinal, strict=True)
        dfinal = tuple(d if output == f"final {s}" else np.zeros_like(d) for s, d in pairs)
    want = wanted(subject, case, inputs, (dy, dfinal), gradients=gradients)
    setting = Setting(subject, case, inputs, (dy, dfinal), want, gradients)
    catches, in_outputs = _caught(setting, want, lambda got: got)
    return Vector(setting, inputs, want, catches, in_outputs, output)


def wanted(
    subject: Subject, case: Case, inputs: Inputs, cotangents: Cotangents, *, gradients: bool
) -> dict[str, Bounded]:
    """Return what is expected of a subject by name, with or without gradients."""
    held, states = under_test(subject), layer_of(subject, case).cell.states
    if gradients:
        return by_name(states, expected_gradient(held, case, inputs, cotangents))
    return by_name(states, expected(held, case, inputs))


def mistakes(setting: Setting) -> Iterator[Mistake]:
    """Yield what each mistake makes of a setting, in float64 or else in the setting's own dtype.

    What is wrong about the dtype of an answer alone is left out: vectors have numbers alone.
    """
    yield from setting.mistakes()
    dtype, cell = setting.case.dtype, setting.subject.cell_name
    for mutant in mutants():
        if cell in mutant.cells and dtype in mutant.dtypes and "float64" not in mutant.dtypes:
            made = setting.mistake(mutant, dtype)
            if made.got:
                yield made


def in_convention(vector: Vector, adapter: FrameworkSubject) -> Vector:
    """Return a vector whose weights have a framework's convention, with the bounds of that.

    What a mistake makes of it is the same; where bounds are wider, fewer may be caught. Nothing is
    promised in the padding, unless the framework has zeros there.
    """
    case, setting = vector.case, vector.setting
    own, plain = adapter.parameter_map(case), ExplicitMap(setting.subject.cell_name, case)
    arrays = divided(own.convention, own.pack(plain.to_reference(setting.inputs.parameters)))
    inputs = replace(setting.inputs, parameters=arrays)
    free = bool(case.lengths) and adapter.convention.padding != "zeros"
    inside = np.ones((case.T, case.B, 1), bool)
    if free:
        inside = (np.arange(case.T)[:, None] < np.asarray(inputs.lengths))[:, :, None]
        dy, dfinal = setting.cotangents
        setting = replace(setting, cotangents=(np.where(inside, dy, 0 * dy), dfinal))
    want = wanted(adapter, case, inputs, setting.cotangents, gradients=setting.gradients)
    if free:
        y = want["y"]
        want["y"] = Bounded(y.value, np.where(inside, y.bound, np.inf), y.arithmetic)
    catches, in_outputs = _caught(setting, want, lambda got: _renamed(got, plain, own))
    return Vector(
        setting, inputs, want, vector.catches & catches, vector.in_outputs & in_outputs,
        vector.output,
    )  # fmt: skip


def _caught(
    setting: Setting,
    want: Mapping[str, Bounded],
    renamed: Callable[[Mapping[str, Floats]], Mapping[str, Floats]],
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the mistakes of which some number is beyond its bound, and those of an output."""
    outputs = {name: w for name, w in want.items() if not name.startswith(GRADIENT)}
    alone = replace(setting, expected=outputs, gradients=False)
    known = {mutant.id: mutant for mutant in mutants()}
    caught, in_outputs = set(), set()
    for mistake in mistakes(setting):
        got = renamed(mistake.got)
        if not _beyond(got, want):
            continue
        caught.add(mistake.id)
        raised = not got and setting.gradients  # perhaps on the way back alone
        got = alone.mistake(known[mistake.id]).got if raised else got
        if _beyond(got, outputs):
            in_outputs.add(mistake.id)
    return frozenset(caught), frozenset(in_outputs)


def divided(convention: Convention, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return arrays whose biases, where they stand in two as halves, differ; their sum is the same.

    ``bias_hh`` has the leading bit, ``bias_ih`` the rest, so that no rounding comes in.
    """
    result, stored = dict(arrays), {packed.name: packed for packed in convention.arrays()}
    for name in (key for key in arrays if key.startswith("bias_ih")):
        twin = name.replace("bias_ih", "bias_hh", 1)
        first, second = (stored[key.rpartition("_l")[0]] for key in (name, twin))
        ours, theirs = first.split(arrays[name], {}), second.split(arrays[twin], {})
        for part in ours.keys() & theirs.keys():
            whole = np.asarray(ours[part] + theirs[part]).astype(np.float64)
            lead = np.ldexp(np.sign(whole) / 2, np.frexp(whole)[1])
            ours[part] = (whole - lead).astype(arrays[name].dtype)
            theirs[part] = lead.astype(arrays[name].dtype)
        result |= {name: first.join(ours), twin: second.join(theirs)}
    return result


def _renamed(
    got: Mapping[str, Floats], plain: ExplicitMap, own: ConventionMap
) -> Mapping[str, Floats]:
    """Return what a mistake made, gradients of weights as those of a convention's arrays."""
    names = [GRADIENT + name for name in plain.shapes()]
    if not {*names} <= got.keys():
        return got
    gradients = plain.to_reference({n.removeprefix(GRADIENT): got[n] for n in names})
    others = {name: array for name, array in got.items() if name not in names}
    return others | {GRADIENT + n: a for n, a in own.from_reference(gradients).items()}


def _beyond(got: Mapping[str, Floats], want: Mapping[str, Bounded]) -> bool:
    """Whether a quantity is missing, or a number lies beyond its bound."""
    return any(
        name not in got or bool(np.any(in_bounds(got[name], w.value, w.bound) > 1))
        for name, w in want.items()
    )
