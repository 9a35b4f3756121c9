"""States and outputs that are mixtures: zoneout, residual connections, scaled outputs.

A step's new states and output are compared with sums of terms of the equations: the old and the new
state, before and after mixing, the input, a constant. The fewest terms whose sum with constant
factors equals the measured numbers are the relation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ....reference.arrays import Array
from ....reference.cell import Cell, State
from ....reference.functions import relu, sigmoid, tanh, zeros
from ....reference.parameters import Parameters
from ....reference.sequence import only
from ...mutants.replaceable_layer import At, ReplaceableLayer
from ...numbers.tape import rows
from ..hypotheses import Hypothesis
from .step import Step, StepExperiment

MOST_TERMS = 3
"""The most terms of a sum."""

DIGITS = 4
"""The digits to which a fitted factor is rounded, if that still fits."""

Terms = Mapping[str, Array]


@dataclass(frozen=True)
class Sum:
    """Terms by name, and the constant factor of each."""

    factors: tuple[tuple[str, float], ...]

    def of(self, terms: Terms) -> Array:
        """Return the sum, without terms of another width than the state's."""
        width = terms["1"].shape[-1]
        parts = [f * terms[name] for name, f in self.factors if terms[name].shape[-1] == width]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    @property
    def names(self) -> tuple[str, ...]:
        """The terms."""
        return tuple(name for name, _ in self.factors)

    def factor(self, name: str) -> float:
        """Return the factor of a term, 0 if it is not in the sum."""
        return dict(self.factors).get(name, 0.0)

    @property
    def words(self) -> str:
        """The sum as a formula."""
        text = " + ".join(name if f == 1 else _product(name, f) for name, f in self.factors)
        return text.replace("+ -", "− ")


def _product(name: str, factor: float) -> str:
    number = f"{factor:.4g}"
    return number if name == "1" else f"{number} {name}"


OLD, NEW, RIGHT = "the old {}", "the new {}", "the {} of the equations"


def hidden_terms(x: Array, old: State, right: State, new_c: Array | None) -> dict[str, Array]:
    """Return the possible terms of a new hidden state."""
    h, h_new = old[0], right[0]
    terms = {RIGHT.format("h"): h_new, OLD.format("h"): h}
    if new_c is not None:
        c_new = right[1]
        o = h_new / tanh(c_new)
        terms |= {
            "o tanh(c')": o * tanh(new_c),
            "o c'": o * new_c,
            "o c of the equations": o * c_new,
            "o σ(c')": o * sigmoid(new_c),
            "o": o,
            "the new c": new_c,
        }
    return terms | {"x": x, "1": zeros(h, h.shape) + 1} | _activated(h_new)


def cell_terms(x: Array, old: State, right: State) -> dict[str, Array]:
    """Return the possible terms of a new cell state."""
    h, c = old
    return {
        RIGHT.format("c"): right[1], OLD.format("c"): c, OLD.format("h"): h, "x": x,
        "1": zeros(h, h.shape) + 1, "tanh(c of the equations)": tanh(right[1]),
    }  # fmt: skip


def output_terms(x: Array, old: State, right: State, new: State) -> dict[str, Array]:
    """Return the possible terms of an output."""
    terms = {NEW.format("h"): new[0], RIGHT.format("h"): right[0], OLD.format("h"): old[0], "x": x}
    if len(new) > 1:
        terms |= {NEW.format("c"): new[1], OLD.format("c"): old[1], "tanh(c')": tanh(new[1])}
    return terms | {"1": zeros(old[0], old[0].shape) + 1} | _activated(new[0])


def _activated(h: Array) -> dict[str, Array]:
    return {f"{name}(h)": f(h) for name, f in (("tanh", tanh), ("σ", sigmoid), ("relu", relu))}


def fitted(target: Array, terms: Terms, exact: float) -> Sum | None:
    """Return the fewest terms whose sum with constant factors equals an array, or None."""
    target = np.asarray(target, np.float64)
    finite = {n: a for n, a in terms.items() if np.isfinite(a).all()}
    usable = [n for n, a in finite.items() if a.shape == target.shape and np.any(a)]
    if not np.isfinite(target).all():
        return None
    columns = {n: np.asarray(terms[n], np.float64).ravel() for n in usable}
    size = max(1.0, float(np.abs(target).max(initial=0.0)))
    for count in range(1, MOST_TERMS + 1):
        for names in combinations(usable, count):
            matrix = np.stack([columns[n] for n in names], axis=1)
            factors = np.linalg.lstsq(matrix, target.ravel(), rcond=None)[0]
            if np.abs(matrix @ factors - target.ravel()).max() > exact * size:
                continue
            rounded = np.array([float(f"{f:.{DIGITS}g}") for f in factors])
            if np.abs(matrix @ rounded - target.ravel()).max() <= exact * size:
                factors = rounded
            return Sum(tuple(zip(names, map(float, factors), strict=True)))
    return None


@dataclass(frozen=True)
class Mixture:
    """Each new state and the output as a sum of terms of the equations."""

    states: tuple[Sum, ...]
    output: Sum

    def new(self, x: Array, old: State, right: State) -> tuple[State, Array]:
        """Return the new states and the output."""
        if len(old) > 1:
            c = self.states[1].of(cell_terms(x, old, right))
            new: State = (self.states[0].of(hidden_terms(x, old, right, c)), c)
        else:
            new = (self.states[0].of(hidden_terms(x, old, right, None)),)
        return new, self.output.of(output_terms(x, old, right, new))

    def change(self, layer: ReplaceableLayer) -> None:
        """Change a right layer to mix its states so."""

        def unroll(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
            state, outputs = at.start, [zeros(at.start[0], (0, *at.start[0].shape))]
            for t, x_t in enumerate(rows(x)):
                at = at._replace(t=t)
                read = layer.see(at, x_t)
                new, y = self.new(read, state, layer.step(at, p, read, state))
                outputs.append(only(at.active, y)[None])
                state = layer.carry(at, new, state)
            return np.concatenate(outputs), state

        layer.unroll = unroll

    @property
    def plain(self) -> bool:
        """Whether states and output are those of the equations."""
        right = [RIGHT.format(s) for s in ("h", "c")]
        states = all(s.factors == ((n, 1.0),) for s, n in zip(self.states, right, strict=False))
        return states and self.output.factors == ((NEW.format("h"), 1.0),)


def mixture(experiment: StepExperiment, step: Step) -> Mixture | None:
    """Return the mixture that one step computes; None for the plain equations or no mixture."""
    right, cell = experiment.right(), experiment.cell
    if cell.states not in (("h",), ("h", "c")):
        return None
    c_sum = None
    if cell.states == ("h", "c"):
        c_sum = fitted(step.new[1], cell_terms(step.x, step.old, right), experiment.exact)
        if c_sum is None:
            return None
    new_c = step.new[1] if c_sum else None
    h_sum = fitted(step.new[0], hidden_terms(step.x, step.old, right, new_c), experiment.exact)
    y_sum = fitted(step.y, output_terms(step.x, step.old, right, step.new), experiment.exact)
    if h_sum is None or y_sum is None:
        return None
    result = Mixture((h_sum, c_sum) if c_sum else (h_sum,), y_sum)
    return None if result.plain else result


def rates(mixture: Mixture, states: Sequence[str]) -> tuple[float | None, ...]:
    """Return the share of the old state in each state, None for states without zoneout."""
    shares: list[float | None] = []
    for name, total in zip(states, mixture.states, strict=True):
        old, new = total.factor(OLD.format(name)), total.factor(RIGHT.format(name))
        mixed = {OLD.format(name), RIGHT.format(name)} >= set(total.names)
        shares.append(old if mixed and 0 <= old < 1 and abs(old + new - 1) < 1e-6 else None)
    return tuple(shares)


def statements(mixture: Mixture, cell: Cell, *, random: bool) -> Iterator[str]:
    """Yield sentences that describe the mixture; ``random``: whether training is."""
    shares = rates(mixture, cell.states)
    family = cell.title
    yield from _output_statements(mixture.output)
    if None not in shares and any(shares):
        parts = [
            f"{s} is {z:.4g} of the old and {1 - z:.4g} of the new one"
            for s, z in zip(cell.states, shares, strict=True) if z
        ]  # fmt: skip
        unmixed = [s for s, z in zip(cell.states, shares, strict=True) if not z]
        rest = f"; {', '.join(unmixed)} is not mixed" if unmixed else ""
        shown = f"{', '.join(parts)}{rest}"
        if random:
            article = "an" if family[0] in "LR" else "a"
            yield f"It is {article} {family} with zoneout: in evaluation the carried {shown}."
        else:
            yield f"The carried {shown}: zoneout as evaluation has it, or a leaky state."
    else:
        for name, total in zip(cell.states, mixture.states, strict=True):
            if total.factors not in (((RIGHT.format(name), 1.0),), (("o tanh(c')", 1.0),)):
                yield f"The new {name} is {total.words}."


def _output_statements(output: Sum) -> Iterator[str]:
    if output.factors == ((NEW.format("h"), 1.0),):
        return
    if output.factors == ((RIGHT.format("h"), 1.0),):
        yield "Outputs are the state before mixing, not the one that is carried."
        return
    skip = output.factors in (
        ((NEW.format("h"), 1.0), ("x", 1.0)),
        ((RIGHT.format("h"), 1.0), ("x", 1.0)),
    )
    residual = " (a residual connection, where both are of one width)" if skip else ""
    yield f"The output is {output.words}{residual}."


def consistent(mixture: Mixture, states: Sequence[str]) -> bool:
    """Whether a mixture is zoneout whose outputs are the states that it carries."""
    shares = rates(mixture, states)
    return None not in shares and mixture.output.factors == ((NEW.format("h"), 1.0),)


def hypothesis(mixture: Mixture, cell: Cell, *, random: bool) -> Hypothesis:
    """Return the mixture as a hypothesis; ``random``: whether training is."""
    zoneout = None not in rates(mixture, cell.states)
    return Hypothesis(
        ("zoneout" if zoneout and any(rates(mixture, cell.states)) else "mixture",),
        tuple(statements(mixture, cell, random=random)),
        (mixture.change,),
        tuple(_fixes(mixture, cell, zoneout=zoneout)),
        ("forward",),
    )


def _fixes(mixture: Mixture, cell: Cell, *, zoneout: bool) -> Iterator[str]:
    if zoneout and any(rates(mixture, cell.states)):
        if consistent(mixture, cell.states):
            yield f"nothing, if zoneout is meant; a plain {cell.title} carries the new state alone"
        else:
            yield "return the state that is carried to the next step, after mixing"
        return
    if mixture.output.factors != ((NEW.format("h"), 1.0),):
        yield "return the hidden state that is carried, h', as the output"
    if any(s.factors != ((RIGHT.format(n), 1.0),)
           for n, s in zip(cell.states, mixture.states, strict=True)):  # fmt: skip
        yield "carry the state of the equations"
