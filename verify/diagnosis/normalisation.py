"""Layer norm: are pre-activations, or the cell state, normalised, and which of them together?

Ba, Kiros & Hinton 2016 for W x and U h apart; others normalise their sum, each gate alone, or
divide by the root mean square without taking the mean away (Zhang & Sennrich 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ...reference.cell import Cell, State
from ...reference.cells import cell_named
from ...reference.cells.gru import state_keeps_old, state_takes_new
from ...reference.functions import Array, relu, sigmoid, tanh
from ...reference.parameters import Parameters
from ..mutants.replaceable_layer import At, ReplaceableLayer
from ..numbers.tape import Pull, custom
from .hypotheses import Hypothesis
from .step import Step, StepExperiment, distance

EPSILONS = (0.0, 1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
NEAR = 2e-2
"""A structure is worth a closer look if it is as near with an ε of 1e-5: numbers are near 1."""

PLACES = {
    "apart": "W x and U h are normalised apart, and biases are added after",
    "apart, bias in W x": "W x with the biases, and U h, are normalised apart",
    "apart, bias in U h": "W x, and U h with the biases, are normalised apart",
    "sum": "W x + U h is normalised, and biases are added after",
    "all": "W x + U h + b is normalised",
    "input": "W x alone is normalised",
    "recurrence": "U h alone is normalised",
    "": "pre-activations are not normalised",
}
SPANS = {
    "gate": "each gate by itself",
    "pass": "all gates together",
    "gates": "r and z together, the candidate by itself",
}
CELLS = {
    "": "",
    "shown": "the cell state is normalised where it is shown, h' = o tanh(norm(c'))",
    "carried": "the new cell state is normalised before it is shown and carried",
}


@dataclass(frozen=True)
class Norm:
    """How numbers are normalised along the last axis.

    ``kind``: ``variance`` (mean 0, variance 1), ``deviation`` (the same by n - 1, with ε outside
    of the root), ``square`` (root mean square 1).
    """

    kind: str = "variance"
    epsilon: float = 1e-5

    @property
    def words(self) -> str:
        """What comes out, in words."""
        eps = f"ε = {self.epsilon:g}" if self.epsilon else "no ε"
        return {
            "variance": f"to mean 0 and variance 1 ({eps})",
            "deviation": f"to mean 0 and standard deviation 1, by n − 1 ({eps} outside the root)",
            "square": f"to a root mean square of 1 ({eps}), the mean stays",
        }[self.kind]

    def __call__(self, z: Array) -> Array:
        """Normalise, with the gradient."""
        return custom(self._rule, z)[0]

    def _rule(self, a: Array) -> tuple[Sequence[Array], Pull]:
        n, centred = a.shape[-1], self.kind != "square"

        def centre(b: Array) -> Array:
            return b - b.mean(axis=-1, keepdims=True) if centred else b

        d = centre(a)
        mean_square = (d * d).mean(axis=-1, keepdims=True)
        with np.errstate(all="ignore"):
            if self.kind == "deviation":
                spread = np.sqrt(mean_square * n / (n - 1) if n > 1 else mean_square * np.nan)
                s = 1 / (spread + self.epsilon)
                falls = s * s / ((n - 1) * spread) if n > 1 else s
            else:
                s = 1 / np.sqrt(mean_square + self.epsilon)
                falls = s**3 / n
            value = (d * s).astype(a.dtype)

        def pull(dy: Array) -> Sequence[Array]:
            along = (dy * d).sum(axis=-1, keepdims=True)
            return [centre(dy * s - along * falls * d).astype(a.dtype)]

        return [value], pull


@dataclass(frozen=True)
class Structure:
    """Which numbers of a step are normalised: a key of PLACES, of SPANS, of CELLS."""

    place: str
    span: str
    cell: str
    norm: Norm

    def step(self, cell: Cell, p: Parameters, x: Array, old: State) -> State:
        """Return the new states."""
        if cell.states == ("h", "c"):
            return self._lstm(p, x, old)
        if "n" in cell.gates:
            return self._gru(cell.name, p, x, old[0])
        z = self._sum(self._inputs(p, x), self._recurrence(p, old[0]), p)["a"]
        return (relu(z) if "relu" in cell.name else tanh(z),)

    def _lstm(self, p: Parameters, x: Array, old: State) -> State:
        h, c = old
        z = self._sum(self._inputs(p, x), self._recurrence(p, h), p)
        c_new = sigmoid(z["f"]) * c + sigmoid(z["i"]) * tanh(z["g"])
        if self.cell == "carried":
            c_new = self.norm(c_new)
        shown = self.norm(c_new) if self.cell == "shown" else c_new
        return sigmoid(z["o"]) * tanh(shown), c_new

    def _gru(self, name: str, p: Parameters, x: Array, h: Array) -> State:
        a, after = self._inputs(p, x), "b_hn" in p
        u = self._recurrence(p, h)
        letters = ("r", "z", "n") if self.span == "pass" and after else ("r", "z")
        gates = self._sum(_only(a, letters), _only(u, letters), p, late=("n",))
        r, z = sigmoid(gates["r"]), sigmoid(gates["z"])
        if "n" in gates:  # one norm over all gates: reset acts on what comes out
            n_in, n_rec = self._ends(a, u, p)
            n = tanh(n_in + p.b_n + r * (n_rec + p.b_hn))
        else:
            n = tanh(self._candidate(a["n"], (r * h) @ p.U_n, u["n"], r, p, after=after))
        return (state_takes_new(z, n, h) if name == "gru-takes-new" else state_keeps_old(z, n, h),)

    def _ends(
        self, a: Mapping[str, Array], u: Mapping[str, Array], p: Parameters
    ) -> tuple[Array, Array]:
        """Return W x and U h of the candidate, each normalised with those of the gates."""
        into = a if self.place == "recurrence" else self._over(a)
        back = u if self.place == "input" else self._over(u)
        return into["n"], back["n"]

    def _candidate(
        self, a: Array, before: Array, u: Array, r: Array, p: Parameters, *, after: bool
    ) -> Array:
        norm, b = self.norm, p.b_n
        if after:
            inner = {
                "apart": lambda: norm(a) + b + r * (norm(u) + p.b_hn),
                "apart, bias in W x": lambda: norm(a + b) + r * norm(u + p.b_hn),
                "apart, bias in U h": lambda: norm(a) + b + r * norm(u + p.b_hn),
                "sum": lambda: norm(a + r * u) + b + r * p.b_hn,
                "all": lambda: norm(a + b + r * (u + p.b_hn)),
                "input": lambda: norm(a) + b + r * (u + p.b_hn),
                "recurrence": lambda: a + b + r * (norm(u) + p.b_hn),
                "": lambda: a + b + r * (u + p.b_hn),
            }
            return inner[self.place]()
        outer = {
            "apart": lambda: norm(a) + norm(before) + b,
            "apart, bias in W x": lambda: norm(a + b) + norm(before),
            "apart, bias in U h": lambda: norm(a) + norm(before + b),
            "sum": lambda: norm(a + before) + b,
            "all": lambda: norm(a + before + b),
            "input": lambda: norm(a) + before + b,
            "recurrence": lambda: a + norm(before) + b,
            "": lambda: a + before + b,
        }
        return outer[self.place]()

    def _inputs(self, p: Parameters, x: Array) -> dict[str, Array]:
        return {k: x @ getattr(p, f"W_{k}") for k in p.shapes["W"].gates}

    def _recurrence(self, p: Parameters, h: Array) -> dict[str, Array]:
        return {k: h @ getattr(p, f"U_{k}") for k in p.shapes["U"].gates}

    def _sum(
        self,
        a: Mapping[str, Array],
        u: Mapping[str, Array],
        p: Parameters,
        late: Sequence[str] = (),
    ) -> dict[str, Array]:
        """Return the pre-activations of gates from W x, U h and the biases."""
        b = {k: getattr(p, f"b_{k}") for k in a}
        over = self._over
        rules: dict[str, Callable[[], Mapping[str, Array]]] = {
            "apart": lambda: _add(over(a), over(u), b),
            "apart, bias in W x": lambda: _add(over(_add(a, b)), over(u)),
            "apart, bias in U h": lambda: _add(over(a), over(_add(u, b))),
            "sum": lambda: _add(over(_add(a, u)), b),
            "all": lambda: over(_add(a, u, b)),
            "input": lambda: _add(over(a), u, b),
            "recurrence": lambda: _add(a, over(u), b),
            "": lambda: _add(a, u, b),
        }
        return dict(rules[self.place]())

    def _over(self, parts: Mapping[str, Array]) -> dict[str, Array]:
        """Normalise each gate's numbers, or those of all gates together."""
        if self.span == "gate":
            return {k: self.norm(z) for k, z in parts.items()}
        together = self.norm(np.concatenate(list(parts.values()), axis=-1))
        width = together.shape[-1] // len(parts)
        return {k: together[:, j * width : (j + 1) * width] for j, k in enumerate(parts)}

    def change(self, layer: ReplaceableLayer) -> None:
        """Make a right layer one that normalises."""

        def step(at: At, p: Parameters, x: Array, old: State) -> State:
            return self.step(layer.cell, p, x, old)

        layer.step = step

    def statement(self, title: str) -> str:
        """What is normalised, in a sentence."""
        article = "an" if title[0] in "LR" else "a"
        parts = []
        if self.place:
            parts.append(f"{PLACES[self.place]}, {SPANS[self.span]}, {self.norm.words}")
        if self.cell:
            parts.append(CELLS[self.cell] + ("" if self.place else f", {self.norm.words}"))
        return f"It is {article} {title} with layer norm: {'; '.join(parts)}."


def _add(*parts: Mapping[str, Array]) -> dict[str, Array]:
    first, *rest = parts
    total = dict(first)
    for part in rest:
        total = {k: z + part[k] for k, z in total.items()}
    return total


def _only(parts: Mapping[str, Array], letters: Sequence[str]) -> dict[str, Array]:
    return {k: parts[k] for k in letters}


def _structures(cell: Cell) -> Iterator[Structure]:
    gru, lstm = "n" in cell.gates, cell.states == ("h", "c")
    spans = ("gate", "pass", "gates") if gru else ("gate", "pass")[: len(cell.gates)]
    cells = tuple(CELLS) if lstm else ("",)
    for place, span, where, kind in product(
        PLACES, spans, cells, ("variance", "deviation", "square")
    ):
        if (place or where) and (place or span == "gate"):
            yield Structure(place, span, where, Norm(kind))


def structure(experiment: StepExperiment, step: Step) -> Structure | None:
    """Return what is normalised so that one step comes out as it did, or None."""
    cell = experiment.cell
    if cell.name not in KNOWN:
        return None
    for near in _structures(cell):
        if _off(near, cell, step) > NEAR:
            continue
        for epsilon in EPSILONS:
            exact = Structure(near.place, near.span, near.cell, Norm(near.norm.kind, epsilon))
            if _off(exact, cell, step) <= experiment.exact:
                return exact
    return None


KNOWN = ("rnn", "rnn-relu", "lstm", "gru", "gru-takes-new", "gru-keeps-old")


def _off(structure: Structure, cell: Cell, step: Step) -> float:
    new = structure.step(cell, step.p, step.x, step.old)
    return max(distance(a, b) for a, b in zip(step.new, new, strict=True))


def hypothesis(structure: Structure, cell: str, effect: str) -> Hypothesis:
    """Return the normalisation as a hypothesis; ``effect`` is what was measured of it."""
    title = cell_named(cell).title
    fix = (f"nothing, if layer norm is meant; a plain {title} adds W x, U h and the biases as "
           "they are")  # fmt: skip
    return Hypothesis(
        ("layer norm",),
        tuple(filter(None, (structure.statement(title), effect))),
        (structure.change,),
        (fix,),
        ("forward",),
    )
