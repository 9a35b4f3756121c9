"""The conventions of a run's subjects for parameters and calls, as their adapters state them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..verify.conventions import Convention, formula
from ..verify.subjects import adapter
from .section import Cell, Section, Table
from .summary import own_name

HEADINGS = ("subject", "gates", "W", "biases", "GRU: reset, z", "what else it computes",
            "states", "time axis", "padding", "directions")  # fmt: skip


def section(names: Iterable[str]) -> Iterator[Section]:
    """Yield the table of conventions, if any of the subjects states one."""
    rows = tuple(row for name in names for row in _rows(name))
    if rows:
        intro = (
            "What adapters state of the layers that they adapt; gatewise identify finds it out "
            "from what a layer returns. Parameters of conventions that compute the same are "
            "carried from one to the other by gatewise convert.",
        )
        yield Section("conventions", "Conventions", intro, (Table("", HEADINGS, rows),))


def _rows(name: str) -> Iterator[tuple[Cell, ...]]:
    subject = adapter(own_name(name))
    c = getattr(subject, "convention", None)
    if isinstance(c, Convention):
        shape = formula.weight_shape(c.layout, len(c.order), "D")
        order, recurrent = " ".join(c.order), " ".join(c.recurrent_order)
        gates = f"{order}; in U {recurrent}" if recurrent not in ("", order) else order
        share = "old kept" if c.update == "keep" else "new taken"
        gru = f"{c.reset} the product, z = share of the {share}" if c.family == "gru" else ""
        yield (name, gates, shape, ", ".join(c.bias) or "none", gru, "; ".join(_odd(c)),
               ", ".join(c.states), c.time,
               "" if c.padding == "none" else f"{c.padding}; empty row: {c.empty_row}",
               "" if c.merge == "none" else c.merge)  # fmt: skip


def _odd(c: Convention) -> Iterator[str]:
    """Yield the differences from the plain equations."""
    if c.forget_offset:
        yield f"f + {c.forget_offset:g}"
    if c.gate != "sigmoid":
        yield f"gates: {c.gate}"
    for which in ("candidate", "output"):
        if getattr(c, which) != "tanh" and (which == "candidate" or c.family == "lstm"):
            yield f"{which}: {getattr(c, which)}"
    if c.peepholes:
        yield f"peepholes {c.peepholes}, o sees the {c.output_peephole} c"
    if c.coupled:
        yield "f = 1 - i"
    if c.projected:
        yield "projected"
