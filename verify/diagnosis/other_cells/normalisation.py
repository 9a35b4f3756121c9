"""Layer norm of pre-activations or of the cell state.

Ba, Kiros & Hinton (2016) normalise W x and U h apart; others normalise their sum, each gate alone,
or divide by the root mean square without subtracting the mean (Zhang & Sennrich 2019).
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
from ...mutants.replaceable_layer import ReplaceableLayer
from ...numbers.tape import Pull, custom
from ..hypotheses import Hypothesis
from .pre_activations import measured
from .step import Step, StepExperiment, distance

EPSILONS = (0.0, 1e-16, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
NEAR = 2e-2
"""The distance, with an ε of 1e-5 and numbers near 1, up to which other ε are tried."""

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
    """A normalisation along the last axis.

    ``kind``: ``variance`` (mean 0, variance 1), ``deviation`` (the same by n - 1, with ε outside
    of the root), ``square`` (root mean square 1); then multiplied by ``gain``.
    """

    kind: str = "variance"
    epsilon: float = 1e-5
    gain: float = 1.0

    @property
    def words(self) -> str:
        """The normalised numbers in words."""
        eps = f"ε = {self.epsilon:g}" if self.epsilon else "no ε"
        words = {
            "variance": f"to mean 0 and variance 1 ({eps})",
            "deviation": f"to mean 0 and standard deviation 1, by n − 1 ({eps} outside the root)",
            "square": f"to a root mean square of 1 ({eps}), the mean stays",
        }[self.kind]
        return f"{words}, times {self.gain:g}" if self.gain != 1 else words

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


Rule = Callable[[Callable[[Array], Array], Array, Array, Array, Array, Array], Array]
"""A function of the norm, W x, U h, the bias of each, and the factor of U h (the reset gate, or 1)
that returns a pre-activation."""

RULES: dict[str, Rule] = {
    "apart": lambda norm, a, u, b, c, r: norm(a) + b + r * (norm(u) + c),
    "apart, bias in W x": lambda norm, a, u, b, c, r: norm(a + b) + r * norm(u + c),
    "apart, bias in U h": lambda norm, a, u, b, c, r: norm(a) + b + r * norm(u + c),
    "apart, a bias in each": lambda norm, a, u, b, c, r: norm(a + b) + r * norm(u + c),
    "sum": lambda norm, a, u, b, c, r: norm(a + r * u) + b + r * c,
    "all": lambda norm, a, u, b, c, r: norm(a + b + r * (u + c)),
    "input": lambda norm, a, u, b, c, r: norm(a) + b + r * (u + c),
    "recurrence": lambda norm, a, u, b, c, r: a + b + r * (norm(u) + c),
    "": lambda norm, a, u, b, c, r: a + b + r * (u + c),
}
"""The pre-activation for each place."""

SHARES = {"apart, bias in U h": (0.0, 1.0), "apart, a bias in each": (0.5, 0.5)}
"""The shares of W x and U h in a common bias, by place; for other places all belongs to W x."""


@dataclass(frozen=True)
class Structure:
    """The normalised numbers of a step: a key of PLACES, of SPANS, and of CELLS."""

    place: str
    span: str
    cell: str
    norm: Norm
    cell_norm: Norm = Norm()

    def step(self, cell: Cell, p: Parameters, x: Array, old: State) -> State:
        """Return the new states."""
        if "n" in cell.gates:
            return self._gru(cell.name, p, x, old[0])
        z = self._sums(cell.gates, p, x, old[0])
        if cell.states == ("h",):
            return (relu(z["a"]) if "relu" in cell.name else tanh(z["a"]),)
        c_new = sigmoid(z["f"]) * old[1] + sigmoid(z["i"]) * tanh(z["g"])
        if self.cell == "carried":
            c_new = self.cell_norm(c_new)
        shown = self.cell_norm(c_new) if self.cell == "shown" else c_new
        return sigmoid(z["o"]) * tanh(shown), c_new

    def _gru(self, name: str, p: Parameters, x: Array, h: Array) -> State:
        after, a, u = "b_hn" in p, x @ p.W_n, h @ p.U_n
        together = self.span == "pass" and after
        gates = self._sums(("r", "z", "n") if together else ("r", "z"), p, x, h)
        r, z = sigmoid(gates["r"]), sigmoid(gates["z"])
        if together:  # one norm over all gates: reset acts on its result
            into, back = products(p, "W", x), products(p, "U", h)
            a = a if self.place == "recurrence" else self.over(into)["n"]
            u = u if self.place == "input" else self.over(back)["n"]
            n = a + p.b_n + r * (u + p.b_hn)
        elif after:
            n = RULES[self.place](self.norm, a, u, p.b_n, p.b_hn, r)
        else:
            n = self._sum(self.norm, a, (r * h) @ p.U_n, p.b_n)
        state = state_takes_new if name == "gru-takes-new" else state_keeps_old
        return (state(z, tanh(n), h),)

    def _sum(self, norm: Callable[[Array], Array], a: Array, u: Array, b: Array) -> Array:
        """Return a pre-activation with one bias."""
        of_x, of_h = SHARES.get(self.place, (1.0, 0.0))
        return RULES[self.place](norm, a, u, of_x * b, of_h * b, 1.0)

    def _sums(self, letters: Sequence[str], p: Parameters, x: Array, h: Array) -> dict[str, Array]:
        """Return the pre-activations of gates that are normalised together."""
        a, u, b = (
            np.concatenate([parts[k] for k in letters], axis=-1)
            for parts in (
                products(p, "W", x), products(p, "U", h), {k: getattr(p, f"b_{k}") for k in letters}
            )
        )  # fmt: skip

        def norm(z: Array) -> Array:
            return np.concatenate([*self.over(_split_by_gates(z, letters)).values()], axis=-1)

        return _split_by_gates(self._sum(norm, a, u, b), letters)

    def over(self, parts: Mapping[str, Array]) -> dict[str, Array]:
        """Normalise each gate's numbers, or those of all gates together."""
        if self.span == "gate":
            return {k: self.norm(z) for k, z in parts.items()}
        return _split_by_gates(self.norm(np.concatenate([*parts.values()], axis=-1)), [*parts])

    def change(self, layer: ReplaceableLayer) -> None:
        """Change a right layer to normalise so."""
        layer.step = lambda at, p, x, old: self.step(layer.cell, p, x, old)

    def statement(self, title: str) -> str:
        """Return a sentence that describes the normalisation."""
        article = "an" if title[0] in "LR" else "a"
        parts = []
        if self.place:
            parts.append(f"{PLACES[self.place]}, {SPANS[self.span]}, {self.norm.words}")
        if self.cell:
            parts.append(f"{CELLS[self.cell]}, {self.cell_norm.words}")
        return f"It is {article} {title} with layer norm: {'; '.join(parts)}."


def products(p: Parameters, array: str, x: Array) -> dict[str, Array]:
    """Return the product of x, or h, with the weights of every gate."""
    return {k: x @ getattr(p, f"{array}_{k}") for k in p.shapes[array].gates}


def _split_by_gates(z: Array, letters: Sequence[str]) -> dict[str, Array]:
    """Split numbers by gates, which stand side by side."""
    width = z.shape[-1] // len(letters)
    return {k: z[:, j * width : (j + 1) * width] for j, k in enumerate(letters)}


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
    """Return the normalisation that explains one step, or None."""
    cell = experiment.cell
    if cell.name not in KNOWN:
        return None
    if (gained := gains(experiment)) and gained.single:
        norm = replace(gained.structure.norm, gain=gained.single)
        exact = replace(gained.structure, norm=norm)
        if _deviation(exact, cell, step) <= experiment.exact:
            return exact
    for near in _structures(cell):
        if _deviation(near, cell, step) > NEAR:
            continue
        for norm, cell_norm in _norms(near):
            exact = replace(near, norm=norm, cell_norm=cell_norm)
            if _deviation(exact, cell, step) <= experiment.exact:
                return exact
    return None


def _norms(near: Structure) -> Iterator[tuple[Norm, Norm]]:
    """Yield norms with every ε, which may differ for the cell state."""
    kind = near.norm.kind
    for epsilon, epsilon_of_cell in product(EPSILONS if near.place else EPSILONS[:1],
                              EPSILONS if near.cell else EPSILONS[:1]):  # fmt: skip
        yield Norm(kind, epsilon), Norm(kind, epsilon_of_cell)


GAINED = ("apart", "sum", "input", "recurrence")
"""Places in which gains of units can be measured, since biases are added after."""

SAME = 1e-6
"""The relative spread of gains that count as equal."""

KNOWN = ("rnn", "rnn-relu", "lstm", "gru", "gru-takes-new", "gru-keeps-old")


def _deviation(structure: Structure, cell: Cell, step: Step) -> float:
    new = structure.step(cell, step.p, step.x, step.old)
    return max(distance(a, b) for a, b in zip(step.new, new, strict=True))


@dataclass(frozen=True)
class Gains:
    """A normalisation with a factor for every unit of the gates that it fits."""

    structure: Structure
    factors: Mapping[str, Array]

    @property
    def single(self) -> float | None:
        """The common factor of all units, None if there is none or it is 1."""
        factors = np.concatenate([np.ravel(a) for a in self.factors.values()])
        mean = float(f"{np.median(factors):.4g}")
        same = np.ptp(factors) <= SAME * max(abs(mean), 1e-6) and mean not in (0.0, 1.0)
        return mean if same else None

    @property
    def words(self) -> str:
        """A sentence that describes the normalisation."""
        factors = np.concatenate([np.ravel(a) for a in self.factors.values()])
        inner = self.structure
        return (
            f"{PLACES[inner.place]}, {SPANS[inner.span]}, {inner.norm.words}, with gains from "
            f"{factors.min():.3g} to {factors.max():.3g}: that fits the pre-activations of "
            f"{', '.join(self.factors)} of a step."
        )


def gains(experiment: StepExperiment) -> Gains | None:
    """Return the normalisation with a gain for each unit that fits measured pre-activations."""
    pre_activations = {k: s for k, s in measured(experiment).items() if k != "n"}
    if not pre_activations or "n" in experiment.cell.gates:
        return None
    for near in _structures(experiment.cell):
        if near.cell or near.place not in GAINED:
            continue
        if _gains(near, pre_activations, experiment, NEAR / 10) is None:
            continue
        for epsilon in EPSILONS:
            exact = replace(near, norm=Norm(near.norm.kind, epsilon))
            factors = _gains(exact, pre_activations, experiment, 64 * experiment.exact)
            if factors is not None:
                return Gains(exact, factors)
    return None


def _gains(
    structure: Structure, pre_activations: Mapping[str, Array], e: StepExperiment, slack: float
) -> dict[str, Array] | None:
    """Return the gains with which a normalisation fits pre-activations to ``slack``, or None."""
    a, u = products(e.p, "W", e.x), products(e.p, "U", e.old[0])
    over = structure.over
    terms = {
        "apart": lambda: [over(a), over(u)],
        "sum": lambda: [over({k: a[k] + u[k] for k in a})],
        "input": lambda: [over(a), u],
        "recurrence": lambda: [over(u), a],
    }[structure.place]()
    factors = {}
    for gate, s in pre_activations.items():
        columns = [term[gate] for term in terms]
        units = []
        for unit in range(s.shape[1]):
            finite = np.isfinite(s[:, unit])
            if finite.sum() <= len(columns) + 2:
                return None
            matrix = np.stack([*(c[finite, unit] for c in columns), np.ones(finite.sum())], axis=1)
            fitted = np.linalg.lstsq(matrix, s[finite, unit], rcond=None)[0]
            if not np.abs(matrix @ fitted - s[finite, unit]).max() <= slack:
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
