"""Layer norm: are pre-activations, or the cell state, normalised, and which of them together?

Ba, Kiros & Hinton 2016 for W x and U h apart; others normalise their sum, each gate alone, or
divide by the root mean square without taking the mean away (Zhang & Sennrich 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ....reference.cell import Cell, State
from ....reference.cells import cell_named
from ....reference.cells.gru import state_keeps_old, state_takes_new
from ....reference.functions import Array, relu, sigmoid, tanh
from ....reference.parameters import Parameters
from ...mutants.replaceable_layer import At, ReplaceableLayer
from ...numbers.tape import Pull, custom
from ..hypotheses import Hypothesis
from .pre_activations import measured
from .step import Step, StepExperiment, distance

EPSILONS = (0.0, 1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
NEAR = 2e-2
"""A structure is worth a closer look if it is as near with an ε of 1e-5: numbers are near 1."""

PLACES = {
    "apart": "W x and U h are normalised apart, and biases are added after",
    "apart, bias in W x": "W x with the biases, and U h, are normalised apart",
    "apart, bias in U h": "W x, and U h with the biases, are normalised apart",
    "apart, a bias in each": "W x and U h, each with its own bias, are normalised apart",
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
    of the root), ``square`` (root mean square 1); then multiplied by ``gain``.
    """

    kind: str = "variance"
    epsilon: float = 1e-5
    gain: float = 1.0

    @property
    def words(self) -> str:
        """What comes out, in words."""
        eps = f"ε = {self.epsilon:g}" if self.epsilon else "no ε"
        gain = f", times {self.gain:g}" if self.gain != 1 else ""
        return self._kind(eps) + gain

    def _kind(self, eps: str) -> str:
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
            s, falls = self.gain * s, self.gain * falls
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
    cell_norm: Norm = Norm()

    def step(self, cell: Cell, p: Parameters, x: Array, old: State) -> State:
        """Return the new states."""
        if cell.states == ("h", "c"):
            return self._lstm(p, x, old)
        if "n" in cell.gates:
            return self._gru(cell.name, p, x, old[0])
        z = self._sum(self.inputs(p, x), self.recurrence(p, old[0]), p)["a"]
        return (relu(z) if "relu" in cell.name else tanh(z),)

    def _lstm(self, p: Parameters, x: Array, old: State) -> State:
        h, c = old
        z = self._sum(self.inputs(p, x), self.recurrence(p, h), p)
        c_new = sigmoid(z["f"]) * c + sigmoid(z["i"]) * tanh(z["g"])
        if self.cell == "carried":
            c_new = self.cell_norm(c_new)
        shown = self.cell_norm(c_new) if self.cell == "shown" else c_new
        return sigmoid(z["o"]) * tanh(shown), c_new

    def _gru(self, name: str, p: Parameters, x: Array, h: Array) -> State:
        a, after = self.inputs(p, x), "b_hn" in p
        u = self.recurrence(p, h)
        letters = ("r", "z", "n") if self.span == "pass" and after else ("r", "z")
        gates = self._sum(_only(a, letters), _only(u, letters), p)
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
        into = a if self.place == "recurrence" else self.over(a)
        back = u if self.place == "input" else self.over(u)
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
                "apart, a bias in each": lambda: norm(a + b) + r * norm(u + p.b_hn),
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
            "apart, a bias in each": lambda: norm(a + b / 2) + norm(before + b / 2),
            "sum": lambda: norm(a + before) + b,
            "all": lambda: norm(a + before + b),
            "input": lambda: norm(a) + before + b,
            "recurrence": lambda: a + norm(before) + b,
            "": lambda: a + before + b,
        }
        return outer[self.place]()

    def inputs(self, p: Parameters, x: Array) -> dict[str, Array]:
        """Return W x of every gate."""
        return {k: x @ getattr(p, f"W_{k}") for k in p.shapes["W"].gates}

    def recurrence(self, p: Parameters, h: Array) -> dict[str, Array]:
        """Return U h of every gate."""
        return {k: h @ getattr(p, f"U_{k}") for k in p.shapes["U"].gates}

    def _sum(
        self,
        a: Mapping[str, Array],
        u: Mapping[str, Array],
        p: Parameters,
    ) -> dict[str, Array]:
        """Return the pre-activations of gates from W x, U h and the biases."""
        b = {k: getattr(p, f"b_{k}") for k in a}
        over, half = self.over, {k: bias / 2 for k, bias in b.items()}
        rules: dict[str, Callable[[], Mapping[str, Array]]] = {
            "apart": lambda: _add(over(a), over(u), b),
            "apart, bias in W x": lambda: _add(over(_add(a, b)), over(u)),
            "apart, bias in U h": lambda: _add(over(a), over(_add(u, b))),
            "apart, a bias in each": lambda: _add(over(_add(a, half)), over(_add(u, half))),
            "sum": lambda: _add(over(_add(a, u)), b),
            "all": lambda: over(_add(a, u, b)),
            "input": lambda: _add(over(a), u, b),
            "recurrence": lambda: _add(a, over(u), b),
            "": lambda: _add(a, u, b),
        }
        return dict(rules[self.place]())

    def over(self, parts: Mapping[str, Array]) -> dict[str, Array]:
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
            parts.append(f"{CELLS[self.cell]}, {self.cell_norm.words}")
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
            yield Structure(place, span, where, Norm(kind), Norm(kind))


def structure(experiment: StepExperiment, step: Step) -> Structure | None:
    """Return what is normalised so that one step comes out as it did, or None."""
    cell = experiment.cell
    if cell.name not in KNOWN:
        return None
    if (gained := gains(experiment)) and gained.single:
        norm = replace(gained.structure.norm, gain=gained.single)
        exact = replace(gained.structure, norm=norm)
        if _off(exact, cell, step) <= experiment.exact:
            return exact
    for near in _structures(cell):
        if _off(near, cell, step) > NEAR:
            continue
        for norm, cell_norm in _norms(near):
            exact = replace(near, norm=norm, cell_norm=cell_norm)
            if _off(exact, cell, step) <= experiment.exact:
                return exact
    return None


def _norms(near: Structure) -> Iterator[tuple[Norm, Norm]]:
    """Yield norms with every ε; that of the cell state may be another."""
    kind = near.norm.kind
    for one, other in product(EPSILONS if near.place else EPSILONS[:1],
                              EPSILONS if near.cell else EPSILONS[:1]):  # fmt: skip
        yield Norm(kind, one), Norm(kind, other)


GAINED = ("apart", "sum", "input", "recurrence")
"""Places in which a gain of each unit can be measured: biases are added after."""

SAME = 1e-6
"""Relative spread of gains that are all one number."""

KNOWN = ("rnn", "rnn-relu", "lstm", "gru", "gru-takes-new", "gru-keeps-old")


def _off(structure: Structure, cell: Cell, step: Step) -> float:
    new = structure.step(cell, step.p, step.x, step.old)
    return max(distance(a, b) for a, b in zip(step.new, new, strict=True))


@dataclass(frozen=True)
class Gains:
    """A normalisation, and the factor of every unit of the gates whose pre-activations it fits."""

    structure: Structure
    factors: Mapping[str, Array]

    @property
    def single(self) -> float | None:
        """The factor of all units, if there is one that is not 1."""
        every = np.concatenate([np.ravel(a) for a in self.factors.values()])
        mean = float(f"{np.median(every):.4g}")
        same = np.ptp(every) <= SAME * max(abs(mean), 1e-6) and mean not in (0.0, 1.0)
        return mean if same else None

    @property
    def words(self) -> str:
        """What was found, in a sentence."""
        every = np.concatenate([np.ravel(a) for a in self.factors.values()])
        inner = self.structure
        return (
            f"{PLACES[inner.place]}, {SPANS[inner.span]}, {inner.norm.words}, with gains from "
            f"{every.min():.3g} to {every.max():.3g}: that fits the pre-activations of "
            f"{', '.join(self.factors)} of a step."
        )


def gains(experiment: StepExperiment) -> Gains | None:
    """Return the normalisation with a gain for each unit that fits measured pre-activations."""
    seen = {k: s for k, s in measured(experiment).items() if k != "n"}
    if not seen or "n" in experiment.cell.gates:
        return None
    for near in _structures(experiment.cell):
        if near.cell or near.place not in GAINED:
            continue
        if _gains(near, seen, experiment, NEAR / 10) is None:
            continue
        for epsilon in EPSILONS:
            exact = replace(near, norm=Norm(near.norm.kind, epsilon))
            factors = _gains(exact, seen, experiment, 64 * experiment.exact)
            if factors is not None:
                return Gains(exact, factors)
    return None


def _gains(
    structure: Structure, seen: Mapping[str, Array], e: StepExperiment, slack: float
) -> dict[str, Array] | None:
    """Return the gains with which a normalisation is as near to pre-activations as ``slack``."""
    a, u = structure.inputs(e.p, e.x), structure.recurrence(e.p, e.old[0])
    over = structure.over
    terms = {
        "apart": lambda: [over(a), over(u)],
        "sum": lambda: [over(_add(a, u))],
        "input": lambda: [over(a), u],
        "recurrence": lambda: [over(u), a],
    }[structure.place]()
    factors = {}
    for gate, s in seen.items():
        columns = [term[gate] for term in terms]
        units = []
        for unit in range(s.shape[1]):
            known = np.isfinite(s[:, unit])
            if known.sum() <= len(columns) + 2:
                return None
            matrix = np.stack([*(c[known, unit] for c in columns), np.ones(known.sum())], axis=1)
            fitted = np.linalg.lstsq(matrix, s[known, unit], rcond=None)[0]
            if not np.abs(matrix @ fitted - s[known, unit]).max() <= slack:
                return None
            units.append(fitted[: 2 if structure.place == "apart" else 1])
        factors[gate] = np.array(units)
    return factors


def hypothesis(structure: Structure, cell: str) -> Hypothesis:
    """Return the normalisation as a hypothesis."""
    title = cell_named(cell).title
    fix = (f"nothing, if layer norm is meant; a plain {title} adds W x, U h and the biases as "
           "they are")  # fmt: skip
    return Hypothesis(
        ("layer norm",),
        (structure.statement(title),),
        (structure.change,),
        (fix,),
        ("forward",),
    )
