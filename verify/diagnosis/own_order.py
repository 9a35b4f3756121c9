"""Orders of gates that need not be a mistake, beside one that is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ...reference.cells import cell_named
from ..mutants import mutants
from ..runs.diagnosis import Explanation
from ..subjects.protocol import Subject


def without_own_order(
    subject: Subject, explanations: Sequence[Explanation]
) -> tuple[list[Explanation], list[str]]:
    """Return explanations without orders of gates that may be intended, and notes on these.

    Arrays with names of their own may have the gates in any order.
    """
    own_names = getattr(subject, "own", None)
    arrays = getattr(own_names, "arrays", own_names) or ()
    single = {a.slices[0][-1] for a in arrays if len(a.slices) == 1}
    free = {name[-1] for a in arrays for name in a.slices} - single
    orders = {m.id: m.same_as for m in mutants() if m.same_as.startswith("order ")}
    gates = cell_named(subject.cells[0]).gates
    remaining, notes = [], dict[str, None]()
    for explanation in explanations:
        parts = [*zip(explanation.ids, explanation.statements, explanation.fixes, strict=False)]
        read = {id: orders.get(id, id).removeprefix("order ") for id in explanation.ids}
        intended = {id: order for id, order in read.items() if _is_own(order, gates, free)}
        others = [part for part in parts if part[0] not in intended]
        if intended and others and len(parts) == len(explanation.ids):
            ids, statements, fixes = zip(*others, strict=True)
            remaining.append(replace(explanation, ids=ids, statements=statements, fixes=fixes))
            notes |= {
                f"Its gates stand in the order {' '.join(intended[id])}.": None for id in intended
            }
        else:
            remaining.append(explanation)
    return remaining, [*notes]


def _is_own(order: str, gates: Sequence[str], free: Collection[str]) -> bool:
    """Whether a text is an order of the gates that moves free gates alone."""
    return sorted(order) == sorted(gates) and all(
        a == b or a in free for a, b in zip(order, gates, strict=True)
    )
