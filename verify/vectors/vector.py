"""One vector: the numbers of a case, its expected results, and the mistakes that it catches."""

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
"""Cotangents on all outputs; also with ``FAR`` states; also with NaN in the padding; on none.

NaN in the padding must have no influence; it also fills rows of length 0.
"""

FAR = 100.0
"""The factor on initial states that puts them beyond any clip."""


@dataclass(frozen=True)
class Vector:
    """One case with its numbers, its expected results, and the mistakes that it catches.

    ``setting`` has weights in the layout of the equations, for the mistakes; ``inputs`` and
    ``expected`` have them in the layout of the file, which may be a framework's. ``in_outputs``
    are the mistakes that show without gradients. ``output`` is the only one with a cotangent, or
    ALL, FAR_STATE, NAN_PADDING or OUTPUTS.
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
        """The arguments of the layer by name, with cotangents if gradients are expected."""
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
        """The number of its numbers."""
        arguments = sum(array.size for array in self.given.values())
        return int(arguments + 2 * sum(want.value.size for want in self.expected.values()))

    @property
    def reason(self) -> str:
        """A description of its case in a line."""
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
    """Draw a case's numbers, derive the expected results, and run all mistakes."""
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
    want = expected_results(subject, case, inputs, (dy, dfinal), gradients=gradients)
    setting = Setting(subject, case, inputs, (dy, dfinal), want, gradients)
    catches, in_outputs = _caught(setting, want, lambda got: got)
    return Vector(setting, inputs, want, catches, in_outputs, output)


def expected_results(
    subject: Subject, case: Case, inputs: Inputs, cotangents: Cotangents, *, gradients: bool
) -> dict[str, Bounded]:
    """Return a subject's expected results by name, with or without gradients."""
    tested, states = under_test(subject), layer_of(subject, case).cell.states
    if gradients:
        return by_name(states, expected_gradient(tested, case, inputs, cotangents))
    return by_name(states, expected(tested, case, inputs))


def mistakes(setting: Setting) -> Iterator[Mistake]:
    """Yield the results of each mistake in a setting, in float64 or else in the setting's dtype.

    Mistakes in the dtype of results alone are left out, because vectors contain only numbers.
    """
    yield from setting.mistakes()
    dtype, cell = setting.case.dtype, setting.subject.cell_name
    for mutant in mutants():
        if cell in mutant.cells and dtype in mutant.dtypes and "float64" not in mutant.dtypes:
            mistake = setting.mistake(mutant, dtype)
            if mistake.got:
                yield mistake


def in_convention(vector: Vector, adapter: FrameworkSubject) -> Vector:
    """Return a vector with weights in a framework's convention, and the bounds of that.

    Mistakes compute the same; wider bounds may catch fewer of them. Outputs in the padding are
    arbitrary unless the framework has zeros there.
    """
    case, setting = vector.case, vector.setting
    parameter_map = adapter.parameter_map(case)
    explicit = ExplicitMap(setting.subject.cell_name, case)
    packed = parameter_map.pack(explicit.to_reference(setting.inputs.parameters))
    arrays = divided(parameter_map.convention, packed)
    inputs = replace(setting.inputs, parameters=arrays)
    free = bool(case.lengths) and adapter.convention.padding != "zeros"
    inside = np.ones((case.T, case.B, 1), bool)
    if free:
        inside = (np.arange(case.T)[:, None] < np.asarray(inputs.lengths))[:, :, None]
        dy, dfinal = setting.cotangents
        setting = replace(setting, cotangents=(np.where(inside, dy, 0 * dy), dfinal))
    want = expected_results(adapter, case, inputs, setting.cotangents, gradients=setting.gradients)
    if free:
        y = want["y"]
        want["y"] = Bounded(y.value, np.where(inside, y.bound, np.inf), y.arithmetic)
    catches, in_outputs = _caught(setting, want, lambda got: _renamed(got, explicit, parameter_map))
    return Vector(
        setting, inputs, want, vector.catches & catches, vector.in_outputs & in_outputs,
        vector.output,
    )  # fmt: skip


def _caught(
    setting: Setting,
    want: Mapping[str, Bounded],
    renamed: Callable[[Mapping[str, Floats]], Mapping[str, Floats]],
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the mistakes with a number beyond its bound, and those with one in an output."""
    outputs = {name: w for name, w in want.items() if not name.startswith(GRADIENT)}
    alone = replace(setting, expected=outputs, gradients=False)
    by_id = {mutant.id: mutant for mutant in mutants()}
    caught, in_outputs = set(), set()
    for mistake in mistakes(setting):
        got = renamed(mistake.got)
        if not _beyond(got, want):
            continue
        caught.add(mistake.id)
        raised = not got and setting.gradients  # perhaps in the backward pass alone
        got = alone.mistake(by_id[mistake.id]).got if raised else got
        if _beyond(got, outputs):
            in_outputs.add(mistake.id)
    return frozenset(caught), frozenset(in_outputs)


def divided(convention: Convention, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return arrays in which the halves of two biases differ, with the same sum.

    ``bias_hh`` has the leading bit, ``bias_ih`` the rest, so that nothing is rounded.
    """
    result, stored = dict(arrays), {packed.name: packed for packed in convention.arrays()}
    for name in (key for key in arrays if key.startswith("bias_ih")):
        twin = name.replace("bias_ih", "bias_hh", 1)
        first, second = (stored[key.rpartition("_l")[0]] for key in (name, twin))
        ours, theirs = first.split(arrays[name], {}), second.split(arrays[twin], {})
        for part in ours.keys() & theirs.keys():
            total = np.asarray(ours[part] + theirs[part]).astype(np.float64)
            lead = np.ldexp(np.sign(total) / 2, np.frexp(total)[1])
            ours[part] = (total - lead).astype(arrays[name].dtype)
            theirs[part] = lead.astype(arrays[name].dtype)
        result |= {name: first.join(ours), twin: second.join(theirs)}
    return result


def _renamed(
    got: Mapping[str, Floats], explicit: ExplicitMap, parameter_map: ConventionMap
) -> Mapping[str, Floats]:
    """Return a mistake's results, with gradients by the arrays of a convention."""
    names = [GRADIENT + name for name in explicit.shapes()]
    if not {*names} <= got.keys():
        return got
    gradients = explicit.to_reference({n.removeprefix(GRADIENT): got[n] for n in names})
    others = {name: array for name, array in got.items() if name not in names}
    return others | {GRADIENT + n: a for n, a in parameter_map.from_reference(gradients).items()}


def _beyond(got: Mapping[str, Floats], want: Mapping[str, Bounded]) -> bool:
    """Return whether a quantity is missing, or a number lies beyond its bound."""
    return any(
        name not in got or bool(np.any(in_bounds(got[name], w.value, w.bound) > 1))
        for name, w in want.items()
    )
