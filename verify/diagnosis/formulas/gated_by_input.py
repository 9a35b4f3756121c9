"""Slips in the step of a cell that is given its gates: its formulas, edited one by one.

Arrays have all axes of the state here, of length 1 where they do not vary, so that products go
entry by entry; ``sum_k`` sums over the keys, ``root_k`` is the root of their width.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import product as product_of
from typing import Any

import numpy as np

from ....reference import functions
from ....reference.arrays import Floats
from ....reference.cell import State
from ....reference.functions import Array, switch, zeros
from ....reference.gated_by_input import Arrays, GatedByInput
from ....reference.parameters import Parameters, Sizes
from ...mutants import Change
from ...mutants.gated_by_input import parts_of, sees
from ...mutants.replaceable_layer import ReplaceableLayer
from ...numbers.tape import instead, plain
from ...subjects.given_arrays import gated_by_input
from ..hypotheses import Hypothesis
from ..search import Explainer, Search
from .edits import Edit, edits_of, replacements
from .expression import Scope, name, product, term_places, with_names
from .measurement import STEPS, Measurement, runs, small_case
from .one_step import RAISED
from .phrases import Words, subject_of
from .program import FUNCTIONS, Program, expression, statement
from .relations import MOST, hypothesis

READ = "y = sum_k(q * S_new) / root_k"
DECAY = "kept = exp(g) * S_old"
CORRECTED = f"{DECAY}; u = beta * (v - sum_k(k * kept)); S_new = kept + k * u; {READ}"
SPACE = """
    kept = exp(dt * A) * {0}_old; {0}_new = kept + dt * x * B; y = sum_k(C * {0}_new) + D * x
"""
GATES = """
    m_new = larger(log_sigmoid({0}f) + m_old, {0}i)
    i_gate = exp({0}i - m_new); f_gate = exp(log_sigmoid({0}f) + m_old - m_new)
"""
TEXTS = {
    "retnet": f"kept = gamma * S_old; S_new = kept + k * v; {READ}",
    "gla": f"{DECAY}; S_new = kept + k * v; {READ}",
    "deltanet": f"u = beta * (v - sum_k(k * S_old)); S_new = S_old + k * u; {READ}",
    "gated-delta": CORRECTED,
    "kda": CORRECTED,
    "ssd": SPACE.format("S"),
    "selective": SPACE.format("h"),
    "rwkv6": "S_new = exp(w) * S_old + k * v; y = sum_k(r * (S_old + u * k * v))",
    "rwkv7": """
        kept = exp(w) * S_old - a * kappa * sum_k(kappa * S_old)
        S_new = kept + k * v; y = sum_k(r * S_new)
    """,
    "mlstm": f"""{GATES.format("")}
        C_new = f_gate * C_old + i_gate * k * v; n_new = f_gate * n_old + i_gate * k
        y = sum_k(q / root_k * C_new) / larger(size(sum_k(q / root_k * n_new)), exp(-m_new))
    """,
    "slstm": f"""
        a_i = i + h_old @ R_i; a_f = f + h_old @ R_f; a_z = z + h_old @ R_z; a_o = o + h_old @ R_o
        {GATES.format("a_")}
        c_new = f_gate * c_old + i_gate * tanh(a_z); n_new = f_gate * n_old + i_gate
        h_new = sigmoid(a_o) * c_new / n_new; y = h_new
    """,
}
"""The steps, in the order of reading; statements end with a line, or with a semicolon."""

FORMS = (
    "exp({})", "-exp({})", "exp(-{})", "sigmoid({})", "softplus({})", "log({})", "log_sigmoid({})",
    "tanh({})", "relu({})", "{} ** 2", "1 - {}", "-{}", "{} / root_k", "{} * root_k",
)  # fmt: skip
"""Functions of an array that may stand for it, as if an earlier layer had applied them, or not."""

FACTORS: dict[str, Callable[[Floats], Floats | float]] = {
    "is 0": lambda a: 0.0,
    "has the wrong sign": lambda a: -1.0,
    "is doubled": lambda a: 2.0,
    "is halved": lambda a: 0.5,
    "is that of its exponential": lambda a: np.exp(-a),
}
"""Factors by which the gradient of an array may be wrong as a whole, by their statements."""


@dataclass(frozen=True)
class GivenStep:
    """A cell's step by a program, and what it reads out."""

    cell: GatedByInput
    program: Program

    def __call__(self, p: Parameters, given: Arrays, state: State) -> tuple[State, Array]:
        """Return the new states and the output, with their own axes."""
        sizes = self.cell.sizes_of(state)
        arrays = _arrays(self.cell, sizes, p, given)
        rows = len(state[0])
        wide = tuple(
            s.reshape(rows, *_wide(self.cell, sizes, axes))
            for s, axes in zip(state, self.cell.state_axes.values(), strict=True)
        )
        new, values = self.program.step(arrays, arrays.get("x", state[0]), wide)
        shapes = self.cell.state_shapes(sizes)
        states = tuple(s.reshape(rows, *shape) for s, shape in zip(new, shapes, strict=True))
        return states, values["y"].reshape(rows, *self.cell.shape(self.cell.output_axes, sizes))


def _arrays(cell: GatedByInput, sizes: Sizes, p: Parameters, given: Arrays) -> dict[str, Any]:
    """Return what a program reads: functions, and arrays with all axes of the state."""
    like = next(iter(given.values()))
    width = float(sizes.D)
    arrays = FUNCTIONS | {
        "exp": np.exp, "log": np.log, "softplus": functions.softplus,
        "log_sigmoid": functions.log_sigmoid, "larger": lambda a, b: switch(a - b, b, a),
        "size": lambda a: switch(a, -a, a), "sum_k": partial(_sum_over_keys, cell),
        "root_k": np.sqrt(zeros(like, (1,)) + width),
    }  # fmt: skip
    for each in cell.inputs:
        shape = _wide(cell, sizes, each.axes)
        arrays[each.name] = given[each.name].reshape(len(like), *shape)
    for array, axes in cell.parameter_axes.items():
        if axes.startswith("4"):
            blocks = {f"{array}_{g.name}": p[array][k] for k, g in enumerate(cell.inputs)}
            arrays |= blocks
        else:
            arrays[array] = p[array].reshape(*_wide(cell, sizes, axes))
    if cell.name == "retnet":
        heads = np.arange(cell.heads, dtype=like.dtype).reshape(-1, 1, 1)
        arrays["gamma"] = (1 - 2.0 ** (-5 - heads)).astype(like.dtype)
    return arrays


def _axes(cell: GatedByInput) -> list[str]:
    """Return the axes of all arrays: those of the first state, and two at least of a head."""
    axes = next(iter(cell.state_axes.values())).split()
    return axes if "K" in axes else [axes[0], "1", *axes[1:]]


def _wide(cell: GatedByInput, sizes: Sizes, axes: str) -> tuple[int, ...]:
    """Return the shape of a row of an array: an axis that it has not is of length 1."""
    return cell.shape(" ".join(a if a in axes.split() else "1" for a in _axes(cell)), sizes)


def _sum_over_keys(cell: GatedByInput, a: Array) -> Array:
    return a.sum(axis=_axes(cell).index("K") - len(_axes(cell)), keepdims=True)


@cache
def given_program(cell: str) -> Program:
    """Return the program of a cell's step."""
    lines = TEXTS[cell].replace("\n", ";").split(";")
    return Program(cell, tuple(statement(s.strip()) for s in lines if s.strip()), (), (), ())


@cache
def given_edits(cell: str) -> tuple[Edit, ...]:
    """Return every single edit of a cell's step, the simplest first."""
    program, shapes = given_program(cell), _shapes(cell)
    alike = {n: [m for m in shapes if m != n and shapes[m] == shapes[n]] for n in shapes}
    edits: list[Edit] = []
    for k, s in enumerate(program.forward):
        later = {o.target for o in program.forward[k:]}
        known = {n: [m for m in others if m not in later] for n, others in alike.items()}
        edits += edits_of(("forward", k), s, Scope(known, in_forward_step=True))
        more = (
            *_taken_for(s.value, s.names & shapes.keys()),
            *_too_many(s.value, shapes.keys() - later),
        )
        edits += [
            Edit(subject_of(s.target), words, 3, ((("forward", k), s.with_value(value)),))
            for value, words in more
        ]
    edits += _everywhere(program, alike)
    return tuple(sorted(edits, key=lambda e: (e.rank, len(e.changed))))


def _shapes(cell: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of everything that a step reads or computes, without rows."""
    known, rng, sizes = gated_by_input(cell), np.random.default_rng(0), Sizes(5, 4)
    p, (x,) = known.random_parameters(rng, sizes), known.random_input(rng, 1, 3, sizes)
    arrays = _arrays(known, sizes, p, known.split(x, sizes))
    wide = tuple(np.ones((3, *_wide(known, sizes, axes))) for axes in known.state_axes.values())
    _, values = given_program(cell).step(arrays, arrays.get("x", x), wide)
    axes = len(_axes(known))
    read = {n for s in given_program(cell).forward for n in (*s.names, s.target)}
    return {
        n: np.shape(values[n])[-axes:] for n in sorted(read)
        if np.ndim(values[n]) >= axes and not n.startswith("R_")
    }  # fmt: skip


def _taken_for(value: ast.expr, names: Iterable[str]) -> Iterator[tuple[ast.expr, Words]]:
    """Yield a value in which a function of a name stands for it."""
    for n in sorted(names):
        for form in FORMS:
            taken = expression(form.format(n))
            yield with_names(value, {n: taken}), (taken, " stands in the place of ", name(n))


def _too_many(value: ast.expr, names: Iterable[str]) -> Iterator[tuple[ast.expr, Words]]:
    """Yield a factor that a term has too many, of whatever shape."""
    for part, put in term_places(value):
        for n in names:
            words: Words = ("there is a factor ", name(n), " too many in ", part)
            yield put(product([part, name(n)])), words


def _everywhere(program: Program, alike: Mapping[str, list[str]]) -> Iterator[Edit]:
    """Yield names that are taken for others, or for functions of them, in the whole step."""
    steps = [*enumerate(program.forward)]
    read = frozenset().union(*(s.names for _, s in steps))
    ways: list[tuple[Mapping[str, ast.expr], Words]] = []
    if read >= SCALED.keys():
        ways.append((SCALED, ("the keys are divided by √K, and the queries are not",)))
    for n in sorted(read & alike.keys() - {s.target for _, s in steps}):
        ways += [
            ({m: name(taken) for m, taken in mapping.items()}, words)
            for other in alike[n]
            for mapping, words in replacements(n, other, read)
        ]
        for form in FORMS:
            taken = expression(form.format(n))
            ways.append(({n: taken}, (taken, " stands in the place of ", name(n))))
    for values, words in ways:
        changed = tuple(
            (("forward", k), s.with_value(with_names(s.value, values)))
            for k, s in steps if s.names & values.keys()
        )  # fmt: skip
        if len(changed) > 1:
            yield Edit("the whole step", words, 2, changed)


SCALED = {"k": expression("k / root_k"), "q": expression("q * root_k"), "root_k": name("root_k")}
"""The formulas of keys and queries if the keys are scaled instead of the queries."""


def slips(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield edits of the step where outputs are wrong, or wrong gradients of single arrays."""
    cell = gated_by_input(explainer.subject.cells[0])
    if not explainer.outputs_deviate:
        yield from _of_gradients(cell)
        return
    subject, count = explainer.subject, 0
    seen = runs([small_case(subject, explainer.dtype, T) for T in STEPS], subject)
    for edit in given_edits(cell.name) if seen else ():
        edited = GivenStep(cell, edit.applied_to(given_program(cell.name)))
        if count < MOST and all(_computes(edited, m) for m in seen):
            count += 1
            yield hypothesis(given_program(cell.name), edit, _change(edited), "forward")


def _computes(step: GivenStep, m: Measurement) -> bool:
    """Whether a step gives all outputs that were measured."""
    state, outputs = m.state, list[Floats]()
    try:
        with np.errstate(all="ignore"):
            for x in m.x:
                state, y = step(m.p, step.cell.split(x, m.case.sizes), state)
                outputs.append(y.reshape(len(x), -1))
    except RAISED:
        return False
    ends = zip(step.cell.states, state, strict=True)
    return m.same("y", np.stack(outputs)) and all(
        m.same(f"final {n}", np.asarray(s)) for n, s in ends
    )


def _change(step: GivenStep) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        layer.step = lambda at, p, x, state: step(p, parts_of(layer, x), state)[0]
        layer.output = lambda at, p, x, state, new: step(p, parts_of(layer, x), state)[1].reshape(
            len(x), -1
        )

    return change


def _of_gradients(cell: GatedByInput) -> Iterator[Hypothesis]:
    """Yield a gradient of one of the arrays that is another as a whole."""
    for each, (so, factor) in product_of(cell.inputs, FACTORS.items()):
        yield Hypothesis(
            (f"gradient of {each.name} {so}",), (f"The gradient of {each.name} {so}.",),
            (partial(_scaled_gradient, each.name, factor),),
            (f"return the derivative by {each.name} itself",), ("gradient",),
        )  # fmt: skip


def _scaled_gradient(
    array: str, factor: Callable[[Floats], Floats | float], layer: ReplaceableLayer
) -> None:
    def function(arrays: dict[str, Any]) -> dict[str, Any]:
        own = arrays[array]
        return {array: instead(own, plain(own), lambda d: factor(plain(own)) * d)}

    sees(layer, function)
