"""Gradients that are added to those of earlier calls, because they are not set to zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from ....reference.arrays import Floats
from ....reference.cells import cell_named
from ...cases.case import Case
from ...mutants import Change
from ...mutants.gradient import gives, gives_named
from ...mutants.replaceable_layer import ReplaceableLayer
from ...subjects.protocol import Inputs, Subject
from ..hypotheses import Hypothesis, base

UNTIL = {
    "over calls": "set them to zero where a backward pass starts",
    "over the backward passes of one run": (
        "set them to zero where a backward pass starts, not where the forward pass does"
    ),
}
"""The extent of the sum, over all calls or within one run, with the remedy."""


def accumulated(subject: Subject) -> Iterator[Hypothesis]:
    """Yield hypotheses that groups of gradients accumulate, returned as copies or as buffers."""
    names = tuple(cell_named(subject.cells[0]).shapes(Case(2, 2, 3, 4).sizes))
    biases = tuple(n for n in names if n.startswith("b"))
    weights = tuple(n for n in names if n not in biases)
    groups = {"The gradients of all parameters": names}
    groups |= {"The gradients of all parameters and of x": (*names, "x")}
    groups |= {"The gradients of the weights": weights, "The gradients of the biases": biases}
    groups |= {f"The gradient of {n}": (n,) for n in (*names, "x")}
    distinct = {group: words for words, group in reversed(groups.items())}
    for (group, words), (until, fix), shared in product(
        reversed(distinct.items()), UNTIL.items(), (False, True)
    ):
        verb = "accumulate" if words.startswith("The gradients") else "accumulates"
        yield Hypothesis(
            (f"{words} {verb} {until}{', shared' if shared else ''}",),
            (f"{words} {verb} {until}: a second backward call returns the sum of both.",),
            (_summed(group, shared=shared, over_calls=until == "over calls"),), (fix,),
            ("backward-twice", "vjp-linearity"),
        )  # fmt: skip


def _summed(group: Sequence[str], *, shared: bool, over_calls: bool) -> Change:
    """Return a change that sums gradients; with ``shared`` all calls return the same buffer."""

    def change(layer: ReplaceableLayer) -> None:
        sums: dict[str, Floats] = {}

        def added(name: str, d: Floats) -> Floats:
            if base(name) not in group and name not in group:
                return d
            if name not in sums or sums[name].shape != d.shape:
                sums[name] = np.zeros_like(d)
            sums[name] += d
            return sums[name] if shared else sums[name].copy()

        def record(right: Callable[[Inputs], object], inputs: Inputs) -> object:
            if not over_calls:
                sums.clear()
            return right(inputs)

        gives_named(layer, added)
        gives(layer, lambda pulled: replace(pulled, x=added("x", pulled.x)))
        layer.wrap("record", record)

    return change
