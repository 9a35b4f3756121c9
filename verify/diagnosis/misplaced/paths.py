"""Mistakes on one of two paths through a layer: often packed input takes a path of its own."""

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
    """Yield mistakes made without lengths alone, if only observations without lengths deviate."""
    deviating = {o.has_lengths for o in explainer.observations if o.deviating}
    right = {o.has_lengths for o in explainer.observations if not o.deviating}
    if deviating != {False} or True not in right:
        return
    for hypothesis in candidates:
        if hypothesis.changes and not (hypothesis.sources or hypothesis.needs == ("lengths",)):
            statement = " ".join(hypothesis.statements)
            yield replace(
                hypothesis,
                ids=(f"{hypothesis.name} without lengths",),
                statements=(f"Where no lengths are given: {statement[0].lower()}{statement[1:]}",),
                changes=(_on_one_path(hypothesis.changes),),
                fixes=(" and ".join(hypothesis.fixes),),
            )


def _on_one_path(changes: tuple[Change, ...]) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        wrong = ReplaceableLayer(layer.case, layer.cell)
        for apply in changes:
            apply(wrong)

        def path(part: str, right: Part, *given: Any) -> Any:
            wrong.inputs, wrong.training = layer.inputs, layer.training
            return (getattr(wrong, part) if layer.inputs.lengths is None else right)(*given)

        for part in PARTS:
            layer.wrap(part, lambda right, *given, part=part: path(part, right, *given))

    return change
