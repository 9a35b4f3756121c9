"""How many mistakes are seen in recurrences that have no equations, and which cannot be.

``python -m gatewise.bench.scores.recurrences`` plants mistakes in the layers of
``without_equations`` and holds each to all checks. A mistake that leaves a faithful recurrence,
with gradients of what it computes, is one that no property can see: those are listed as unprovable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from ...verify.api import check
from .rows import (
    Columns,
    Work,
    counted,
    jobs_option,
    json_option,
    misses_option,
    print_json,
    print_table,
    scored,
    write_table,
)

ZONEOUT, MINIMAL, CONV = "zoneout_lstm", "minimal_gru", "conv_rnn"
LAYERS = (ZONEOUT, MINIMAL, CONV)


@dataclass(frozen=True)
class Mistake:
    """What is wrong with a layer: pieces of its text and what stands in their place.

    ``provable``: some property of every recurrence, or its gradient, shows it.
    """

    layer: str
    what: str
    edits: tuple[tuple[str, str], ...]
    provable: bool = True


def _seen(layer: str, what: str, *edits: tuple[str, str]) -> Mistake:
    return Mistake(layer, what, edits)


def _unprovable(layer: str, what: str, *edits: tuple[str, str]) -> Mistake:
    return Mistake(layer, what, edits, provable=False)


STARTS = "h, c = state or (np.zeros((x.shape[1], len(p.U)), x.dtype),) * 2"
GOES = "going = (t < lengths)[:, None, None]"

MISTAKES = (
    _seen(
        ZONEOUT,
        "c is not returned: h twice",
        ("return y, (h, c), caches", "return y, (h, h), caches"),
    ),
    _seen(ZONEOUT, "the initial c is ignored", (STARTS, STARTS + "\n        c = 0 * c")),
    _seen(
        ZONEOUT,
        "the state before the last step is returned",
        ("return y, (h, c), caches", "return y, (h, caches[-1][1] if caches else c), caches"),
    ),
    _seen(
        ZONEOUT,
        "the state is kept between calls",
        (STARTS, STARTS + "\n        h = h + getattr(self, 'kept', 0)"),
        ("return y, (h, c), caches", "self.kept = 1e-3\n        return y, (h, c), caches"),
    ),
    _seen(
        ZONEOUT,
        "weights are those of the first call",
        (
            STARTS,
            STARTS + "\n        p = self.__dict__.setdefault('p', p)\n        "
            "p = p if p.W.shape[0] == x.shape[-1] else self.__dict__['p']",
        ),
    ),
    _seen(
        ZONEOUT, "the input is written into", ("y[t] = h\n", "y[t] = h\n            x[t] *= 2\n")
    ),
    _seen(
        ZONEOUT,
        "the cotangent is written into",
        ("dh = dh + dy[t]\n", "dy[t] += dh\n            dh = dy[t]\n"),
    ),
    _seen(
        ZONEOUT,
        "outputs are those of the next row",
        ("y[t] = h\n", "y[t] = np.roll(h, 1, axis=0)\n"),
    ),
    _seen(
        ZONEOUT,
        "gates are normalised over the batch",
        (
            "i, f, g, o = np.split(x[t] @ p.W + h @ p.U + p.b",
            "i, f, g, o = np.split(x[t] @ p.W - (x[t] @ p.W).mean(0) + h @ p.U + p.b",
        ),
    ),
    _seen(ZONEOUT, "the gradient forgets that h stays", ("dh = KEPT * dh + da", "dh = da")),
    _seen(ZONEOUT, "the gradient forgets that c stays", ("dc = KEPT * dc + dnew", "dc = dnew")),
    _seen(
        ZONEOUT,
        "the gradient of the forget gate reads the new c",
        ("dnew * c * f", "dnew * shown * f"),
    ),
    _seen(
        ZONEOUT,
        "the cotangent of the final c is ignored",
        ("dh, dc = dstate", "dh, dc = dstate[0], 0 * dstate[1]"),
    ),
    _seen(
        ZONEOUT,
        "weights' gradients are those of the last step",
        ('dp["U"] += h.T @ da', 'dp["U"] = h.T @ da'),
    ),
    _seen(ZONEOUT, "the slope of tanh is forgotten", ("dshown * o * (1 - shown**2)", "dshown * o")),
    _seen(
        ZONEOUT,
        "the gradient is clipped at 0.1",
        ("dx[t] = da @ p.W.T", "da = np.clip(da, -0.1, 0.1)\n            dx[t] = da @ p.W.T"),
    ),
    _unprovable(ZONEOUT, "another share of the state stays", ("KEPT = 0.15", "KEPT = 0.2")),
    _unprovable(ZONEOUT, "no state stays at all", ("KEPT = 0.15", "KEPT = 0.0")),
    _unprovable(
        ZONEOUT,
        "the gates stand in another order",
        ("i, f, g, o = np.split", "f, i, g, o = np.split"),
        (
            "da = [dnew * g * i * (1 - i), dnew * c * f * (1 - f),",
            "da = [dnew * c * f * (1 - f), dnew * g * i * (1 - i),",
        ),
    ),
    _seen(
        ZONEOUT,
        "the bias is forgotten",
        (" + h @ p.U + p.b", " + h @ p.U"),
        ('dp["b"] += da.sum(axis=0)', 'dp["b"] += 0'),
    ),
    _seen(
        MINIMAL,
        "time runs backwards",
        ("f = sigmoid(x[:, t] @", "x_t = x[:, T - 1 - t]\n            f = sigmoid(x_t @"),
        ("np.tanh(x[:, t] @", "np.tanh(x_t @"),
    ),
    _seen(
        MINIMAL,
        "the gate reads the next input",
        ("f = sigmoid(x[:, t] @", "f = sigmoid(x[:, min(t + 1, T - 1)] @"),
    ),
    _seen(MINIMAL, "the initial state is ignored", ("if state is not None:", "if False:")),
    _seen(
        MINIMAL,
        "outputs lag a step behind",
        ("return y[:, 1:], y[:, -1]", "return y[:, :-1], y[:, -1]"),
    ),
    _seen(
        MINIMAL,
        "the final state is that of the last row",
        ("y[:, -1]", "np.repeat(y[-1:, -1], len(y), 0)"),
    ),
    _seen(
        MINIMAL,
        "results share memory with a buffer that is used again",
        (
            "y = np.zeros((B, T + 1, len(p.u)), x.dtype)",
            "y = np.zeros((B, T + 1, len(p.u)), x.dtype)\n        "
            "y = self.__dict__.setdefault((B, T, x.dtype), y)\n        y[:, 0] = 0",
        ),
    ),
    _seen(
        MINIMAL, "the gradient forgets the gate in the candidate", (" + dn * p.u * h) * f", ") * f")
    ),
    _seen(
        MINIMAL,
        "the gradient through the gate is not carried",
        (" + df @ p.Uf.T\n        return", "\n        return"),
    ),
    _seen(MINIMAL, "a recurrent weight is not transposed", ("df @ p.Uf.T", "df @ p.Uf")),
    _seen(
        MINIMAL,
        "gradients add up over calls",
        (
            "dp, dx = {name: np.zeros_like(a) for name, a in p.items()}, np.zeros_like(x)",
            "zeros = {name: np.zeros_like(a) for name, a in p.items()}\n        "
            "dp, dx = self.__dict__.setdefault('dp', zeros), np.zeros_like(x)",
        ),
    ),
    _seen(MINIMAL, "the sign of a term is another", ("dh * (n - h)", "dh * (n + h)")),
    _seen(
        MINIMAL,
        "the cotangent of the final state is added at every step",
        ("dh = dh + dy[:, t]", "dh = dh + dy[:, t] + dstate * (t < x.shape[1] - 1)"),
    ),
    _unprovable(
        MINIMAL,
        "the gate keeps where it should renew",
        ("(1 - f) * h + f * n", "f * h + (1 - f) * n"),
        ("dn = dh * f * (1", "dn = dh * (1 - f) * (1"),
        ("dh * (n - h)", "dh * (h - n)"),
        ("dh = dh * (1 - f) +", "dh = dh * f +"),
    ),
    _unprovable(
        MINIMAL,
        "the candidate does not read the gate",
        ("p.u * f * h)", "p.u * h)"),
        (" + dn * p.u * h) * f", ") * f"),
        ("(dn * f * h)", "(dn * h)"),
        ("dn * p.u * f +", "dn * p.u +"),
    ),
    _seen(
        CONV,
        "the batch and the positions are mixed",
        ("np.roll(x, shift, axis=-1)", "np.roll(x, shift, axis=0)"),
    ),
    _seen(
        CONV, "the final state goes on in the padding", ("h = np.where(going, new, h)", "h = new")
    ),
    _seen(CONV, "outputs go on in the padding", ("y[t] = np.where(going, h, 0)", "y[t] = h")),
    _seen(CONV, "rows end a step late", (GOES, GOES.replace("t <", "t <="))),
    _seen(
        CONV, "rows are padded in front", (GOES, "going = (t >= len(x) - lengths)[:, None, None]")
    ),
    _seen(
        CONV,
        "evaluation has noise",
        ("self.training = False", "self.training = True"),
        ("self.training = training", "pass"),
    ),
    _seen(
        CONV,
        "the noise stays on after training",
        ("self.training = training", "self.training |= training"),
    ),
    _seen(CONV, "states come back in float64", ("return y, (h,)", "return y, (h.astype(float),)")),
    _seen(
        CONV,
        "the last position is cut from the state",
        ("return y, (h,)", "return y, (h[..., :-1],)"),
    ),
    _unprovable(
        CONV,
        "the ring is a line",
        (
            "np.roll(x, shift, axis=-1)",
            "np.roll(np.where(np.arange(5) == {1: 4, 0: 9, -1: 0}[shift], 0, x), shift, axis=-1)",
        ),
    ),
    _seen(
        CONV,
        "no state is read",
        ("convolved(h, of_h)", "0 * convolved(x[t, ..., :1, :], of_h[:, :1])"),
    ),
    _unprovable(CONV, "the kernel is mirrored", ("(1, 0, -1)", "(-1, 0, 1)")),
    _unprovable(CONV, "another activation", ("new = np.tanh(a)", "new = a / (1 + abs(a))")),
)


@dataclass(frozen=True)
class Row:
    """What became of one mistake: the checks that failed, the first of them first."""

    layer: str
    what: str
    provable: bool
    failed: tuple[str, ...]

    @property
    def missed(self) -> bool:
        """Whether it was to be seen, and was not."""
        return self.provable and not self.failed

    @property
    def result(self) -> str:
        """What is said of it in tables."""
        if self.failed:
            return "seen" if self.provable else "seen, unexpectedly"
        return "missed" if self.provable else "unprovable"


def source(layer: str) -> str:
    """Return the text of a right layer."""
    return (files(__package__) / "without_equations" / f"{layer}.py").read_text(encoding="utf-8")


def wrong_source(mistake: Mistake) -> str:
    """Return the text of a layer with a mistake; ValueError where a piece is not in it."""
    text = source(mistake.layer)
    for before, after in mistake.edits:
        if before not in text:
            raise ValueError(f"{mistake.layer}: {mistake.what}: there is no {before!r}")
        text = text.replace(before, after)
    return text


def layer_of_text(text: str) -> Any:
    """Return the class that a text defines."""
    namespace: dict[str, Any] = {"__name__": "layer"}
    exec(text, namespace)  # noqa: S102
    return namespace["Layer"]


def row(number: int) -> Row:
    """Hold a layer with one mistake to all checks."""
    mistake = MISTAKES[number]
    outcome = check(layer_of_text(wrong_source(mistake)), budget="quick", explain=False)
    failed = tuple(dict.fromkeys(v.check for v in outcome if v.wrong))
    unrun = ("smoke",) if any(v.check == "smoke" and not v.compared for v in outcome) else ()
    return Row(mistake.layer, mistake.what, mistake.provable, failed or unrun)


def totals(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many mistakes there are of each result."""
    results = [r.result for r in rows]
    return {"mistakes": len(rows)} | {each: results.count(each) for each in dict.fromkeys(results)}


COLUMNS: Columns = {
    "": lambda r: r.result,
    "layer": lambda r: r.layer,
    "mistake": lambda r: r.what,
    "checks that fail": lambda r: ", ".join(r.failed),
}


@click.command()
@jobs_option
@misses_option
@json_option
def main(jobs: int, misses: Path | None, as_json: bool) -> None:
    """Score and print all, whether they are missed or not."""
    todo: list[Work[Row]] = [(row, (number,)) for number in range(len(MISTAKES))]
    scores = {(r.layer, r.what): r for r in scored(todo, jobs)}
    rows = [scores[m.layer, m.what] for m in MISTAKES]
    if misses:
        title = f"Recurrences without equations: {counted(totals(rows))}"
        write_table(misses, title, COLUMNS, rows)
    if as_json:
        print_json(rows=[asdict(row) for row in rows], totals=totals(rows))
    else:
        print_table("Recurrences without equations", COLUMNS, rows)
        click.echo(counted(totals(rows)))


if __name__ == "__main__":
    main()
