"""A mistake on one of two paths through a layer: that of packed input is another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ...mutants import Change
from ...mutants.replaceable_layer import Part, ReplaceableLayer
from ..hypotheses import Hypothesis
from ..search import Explainer

PARTS = ("run", "read_cotangents", "give_gradients", "read_tangents")
"""The parts of a call, in which all others are called."""


def without_lengths(explainer: Explainer, candidates: Iterable[Hypothesis]) -> Iterator[Hypothesis]:
    """Yield mistakes that are made without lengths alone, if what is wrong is wrong there alone."""
    deviating = {_padded(seen) for seen in explainer.observations if seen.deviating}
    right = {_padded(seen) for seen in explainer.observations if not seen.deviating}
    if deviating != {False} or True not in right:
        return
    for hypothesis in candidates:
        if hypothesis.changes and not (hypothesis.sources or hypothesis.needs == ("lengths",)):
            said = " ".join(hypothesis.statements)
            yield replace(
                hypothesis,
                ids=(f"{hypothesis.name} without lengths",),
                statements=(f"Where no lengths are given: {said[0].lower()}{said[1:]}",),
                changes=(_on_one_path(hypothesis.changes),),
                fixes=(" and ".join(hypothesis.fixes),),
            )


def _padded(seen: Any) -> bool:
    return any(call.inputs and call.inputs.lengths is not None for call in seen.calls)


def _on_one_path(changes: tuple[Change, ...]) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        wrong = ReplaceableLayer(layer.case, layer.cell)
        for each in changes:
            each(wrong)

        def path(part: str, right: Part, *given: Any) -> Any:
            wrong.inputs, wrong.training = layer.inputs, layer.training
            return (getattr(wrong, part) if layer.inputs.lengths is None else right)(*given)

        for part in PARTS:
            layer.wrap(part, lambda right, *given, part=part: path(part, right, *given))

    return change
