"""The calls, passes or steps in which a layer makes a mistake, while all others are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ....reference.parameters import Parameters
from ...cases.case import Case
from ...mutants import Change
from ...mutants.replaceable_layer import At, Part, ReadPart, ReplaceableLayer
from ...subjects.protocol import Inputs
from ..hypotheses import Hypothesis
from ..observation import Observation

CallPredicate = Callable[[Case, Inputs], bool]
"""Whether a call is selected."""

AtPredicate = Callable[[At], bool]
"""Whether a pass, or a step of it, is selected."""

PASS_PARTS = ("unroll", "see", "step", "output", "show", "carry", "step_vjp")
"""The parts of a layer that know in which pass they are; the last six also know the step."""

CALL_PARTS = ("run", "read_cotangents", "give_gradients", "read_tangents")
"""The parts of a call, in which all others are called."""


@dataclass(frozen=True)
class Scope:
    """A condition under which a mistake is made, in words that begin its statement.

    ``calls`` are those that the mistake can influence.
    """

    words: str
    calls: CallPredicate

    def separates(self, observations: Sequence[Observation]) -> bool:
        """Whether all deviating calls are in the scope, and some that are right are not."""
        deviating, right = set[bool](), set[bool]()
        for observation in observations:
            wrong = {key[0] for key in observation.deviating}
            for number, call in enumerate(observation.calls):
                if call.inputs is not None and call.results:
                    inside = self.calls(call.layer.case, call.inputs)
                    (deviating if number in wrong else right).add(inside)
        return deviating == {True} and False in right

    def stated(self, hypothesis: Hypothesis, change: Change) -> Hypothesis:
        """Return a hypothesis with another change, in the words of the scope."""
        statement = " ".join(hypothesis.statements)
        return replace(
            hypothesis,
            ids=(f"{hypothesis.name}: {self.words}",),
            statements=(f"{self.words}: {statement[0].lower()}{statement[1:]}",),
            changes=(change,),
            fixes=(" and ".join(hypothesis.fixes),),
        )


def in_calls(scope: Scope, hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis that a mistake is made in the calls of a scope alone."""

    def change(layer: ReplaceableLayer) -> None:
        wrong = ReplaceableLayer(layer.case, layer.cell)
        for apply in hypothesis.changes:
            apply(wrong)

        def path(part: str, right: Part, *given: Any) -> Any:
            wrong.inputs, wrong.training = layer.inputs, layer.training
            inside = scope.calls(layer.case, layer.inputs)
            return (getattr(wrong, part) if inside else right)(*given)

        for part in CALL_PARTS:
            layer.wrap(part, lambda right, *given, part=part: path(part, right, *given))

    return scope.stated(hypothesis, change)


def in_passes(scope: Scope, selected: AtPredicate, hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis that a mistake is made in some passes alone, or at some steps."""

    def change(layer: ReplaceableLayer) -> None:
        right = {name: getattr(layer, name) for name in PASS_PARTS}
        read = layer.read_parameters
        for apply in hypothesis.changes:
            apply(layer)
        for name, part in right.items():
            wrong = getattr(layer, name)
            if wrong is not part:
                setattr(layer, name, _either(selected, wrong, part))
        if layer.read_parameters is not read:
            layer.read_parameters = _read(layer, selected, layer.read_parameters, read)

    return scope.stated(hypothesis, change)


def _either(selected: AtPredicate, wrong: Part, right: Part) -> Part:
    return lambda at, *given: (wrong if selected(at) else right)(at, *given)


def _read(
    layer: ReplaceableLayer, selected: AtPredicate, wrong: ReadPart, right: ReadPart
) -> ReadPart:
    """Return the reading of parameters that is wrong in the selected passes."""

    def read(named: Mapping[str, Any]) -> Sequence[Parameters]:
        directions = layer.case.directions
        both = zip(wrong(named), right(named), strict=True)
        return [
            w if selected(At(k // directions, k % directions, (), None)) else r
            for k, (w, r) in enumerate(both)
        ]

    return read
