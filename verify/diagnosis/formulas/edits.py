"""Single edits of a program's statements."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product as product_of

import numpy as np

from ....reference.cells import cell_named
from ....reference.parameters import Sizes
from .expression import (
    GATES,
    Scope,
    Variant,
    call,
    complement,
    factors,
    name,
    product,
    renamed,
    term_places,
    terms,
    total,
    variants,
    with_names,
)
from .phrases import Words, notation, sentence, subject_of
from .program import Order, Program, Statement, expression, named, right_program

Place = tuple[str, int]
"""Section and number of a statement."""

LOOP = "visit every step once, the last first, and keep dx_t at the place of step t"

OVERWRITTEN = "each step overwrites what later steps gave instead of adding to it"

SAMPLE = Sizes(5, 4, 3)
"""Sizes that distinguish names by their shapes."""


@dataclass(frozen=True)
class Edit:
    """An edit of a program: the new statements, or the new order, with a description in words."""

    where: str
    words: Words
    rank: int
    changed: tuple[tuple[Place, Statement], ...] = ()
    order: Order | None = None
    x_at: Callable[[int, int], int] | None = None

    def applied_to(self, program: Program) -> Program:
        """Return the edited program."""
        for section in ("forward", "start", "back", "end"):
            new = {place[1]: s for place, s in self.changed if place[0] == section}
            if new:
                program = program.with_statements(section, new)
        if self.order:
            program = replace(program, order=self.order)
        return replace(program, x_at=self.x_at) if self.x_at else program

    @property
    def targets(self) -> frozenset[str]:
        """The names whose statements it changes; empty if it changes the loop."""
        return frozenset(s.target for _, s in self.changed)

    def formulas(self, program: Program) -> tuple[str, str]:
        """Return the first changed statement as it is, and as it should be, for users."""
        if not self.changed:
            return "", ""
        aside = spare(program)
        read = [c for c in self.changed if c[1].target not in aside]
        (section, k), new = (read or self.changed)[0]
        return _line(new), _line(program.section(section)[k])

    def statement(self, program: Program) -> str:
        """Return a sentence that says what is wrong."""
        is_so, should = self.formulas(program)
        example = "for example " if len(self.changed) > 1 else ""
        formulas = f": {example}{is_so}, should be {should}" if is_so else ""
        return f"In {self.where}, {sentence(self.words)}{formulas}."

    def fix(self, program: Program) -> str:
        """Return the remedy."""
        _, should = self.formulas(program)
        return f"compute {should}" if should else LOOP


def _line(s: Statement) -> str:
    sign = "+=" if s.adds else "="
    return f"{notation(s.target)} {sign} {notation(s.value)}"


@dataclass(frozen=True)
class Names:
    """The shapes of the names of a program, and the names that its step reads or computes."""

    shapes: Mapping[str, tuple[int, ...]]
    forward: tuple[str, ...]

    @property
    def square(self) -> frozenset[str]:
        """The square matrices of the parameters."""
        return frozenset(
            n for n, s in self.shapes.items() if n[:2] in ("U_", "W_") and s[0] == s[1]
        )

    def alike(self, among: Sequence[str]) -> dict[str, list[str]]:
        """Return for each name the others of its shape."""
        return {
            n: [m for m in among if m != n and self.shapes.get(m) == self.shapes[n]]
            for n in self.shapes
        }


@cache
def names_of(cell: str) -> Names:
    """Return the shapes of all names that a cell's program reads or computes."""
    program, cell_of_name = right_program(cell), cell_named(cell)
    rng, B = np.random.default_rng(0), 2
    p = cell_of_name.random_parameters(rng, SAMPLE)
    state = tuple(rng.standard_normal((B, width)) for width in cell_of_name.widths(SAMPLE))
    run = program.run(named(p), cell_of_name.random_input(rng, 1, B, SAMPLE), state)
    values_back = run.values_back(np.ones_like(run.y), run.final)
    shapes = {
        n: a.shape for n, a in (run.steps[0] | values_back).items() if isinstance(a, np.ndarray)
    }
    return Names(shapes, tuple(n for n in run.steps[0] if n in shapes))


def forward_edits(program: Program) -> Iterator[Edit]:
    """Yield every single edit of the step."""
    for k in range(len(program.forward)):
        yield from statement_edits(program.cell, "forward", k)


@cache
def statement_edits(cell: str, section: str, number: int) -> tuple[Edit, ...]:
    """Return every single edit of one statement of a cell's program, the simplest first."""
    program = right_program(cell)
    s = program.section(section)[number]
    edits = edits_of((section, number), s, _scope(program, section, number))
    return tuple(sorted(edits, key=lambda e: e.rank))


@cache
def combined_edits(cell: str, number: int) -> tuple[Edit, ...]:
    """Return combinations of two simple edits of one statement of the step."""
    program = right_program(cell)
    s, place = program.forward[number], ("forward", number)
    scope = _scope(program, *place)
    edits: dict[str, Edit] = {}
    for first in statement_edits(cell, "forward", number):
        ((_, edited),) = first.changed
        for second in edits_of(place, edited, scope) if first.rank <= SIMPLE else ():
            if second.rank <= SIMPLE:
                text = ast.unparse(second.changed[0][1].value)
                words = (*first.words, ", and ", *second.words)
                edits.setdefault(text, Edit(first.where, words, 3, second.changed))
    edits.pop(ast.unparse(s.value), None)
    return tuple(edits.values())


SIMPLE = 1
"""The highest rank of edits of which two are combined in one statement."""


def _scope(program: Program, section: str, number: int) -> Scope:
    """Return the names that a statement may read: those computed before it."""
    names, states = names_of(program.cell), cell_named(program.cell).states
    if section == "forward":
        inputs = set(names.forward) - {s.target for s in program.forward}
        before = inputs | {s.target for s in program.forward[:number]}
        alike = names.alike([n for n in names.forward if n in before])
        return Scope(alike, names.square, in_forward_step=True)
    finals = [f"d{s}_final" for s in states]
    wide = {f"d{s}_final": names.shapes[f"{s}_new"] for s in states}
    all_names = Names({**names.shapes, **wide}, names.forward)
    if section == "start":
        return Scope(all_names.alike(finals))
    saved_names, later = saved(program.cell), carried(program.cell)
    if section == "end":
        return Scope(all_names.alike([*saved_names, *later, *computed(program.back), *finals]))
    parameters = [n for n in names.forward if not is_saved(n)]
    available = [*saved_names, *later, *parameters, *computed(program.back[:number])]
    earlier = (*program.forward, *program.back[:number])
    sums = {s.target: s.value for s in earlier if len(terms(s.value)) > 1}
    return Scope(
        names.alike(available), names.square, sums, frozenset(saved_names), frozenset(later)
    )


def spare(program: Program) -> frozenset[str]:
    """Return the names that the right backward step computes and does not read."""
    read = frozenset().union(*(s.names for s in program.back))
    return frozenset({*computed(program.back)} - read - {"dx", "dh_old", "dc_old"})


def saved(cell: str) -> list[str]:
    """Return the names of values of each step that the backward pass reads, dy last."""
    return [*(n for n in names_of(cell).forward if is_saved(n)), "dy"]


def carried(cell: str) -> list[str]:
    """Return the names of the gradients that a step receives from the later one."""
    return [f"d{s}_next" for s in cell_named(cell).states]


def computed(statements: Sequence[Statement]) -> list[str]:
    """Return the targets of statements, except slots."""
    return [s.target for s in statements if not s.slot]


def is_saved(n: str) -> bool:
    """Whether a name of the forward step is a value, not a parameter."""
    parameter = n.startswith(("W_", "U_", "b_", "p_", "gx_", "gh_", "gain_", "shift_"))
    return not (parameter or n == "R")


def edits_of(place: Place, s: Statement, scope: Scope) -> Iterator[Edit]:
    """Yield every single edit of a statement, given what it may read."""
    where = subject_of(s.target)
    for v in _variants(place[0], s, scope):
        yield Edit(where, v.words, v.rank, ((place, s.with_value(v.value)),))
    if s.slot:
        yield Edit(where, (OVERWRITTEN,), 0, ((place, replace(s, adds=False)),))


def _variants(section: str, s: Statement, scope: Scope) -> Iterator[Variant]:
    """Yield all single edits of a statement's value."""
    yield from variants(s.value, scope)
    yield from scaled(s, back=section == "back", ends=not s.slot)
    if s.slot:
        yield from partial_sums(s)
    if section == "forward" and s.target.startswith("a_"):
        for sign, words in ((1, "added to"), (-1, "subtracted from")):  # as to a forget gate
            more = total([*terms(s.value), (sign, ast.Constant(1))])
            yield Variant(more, (f"1 is {words} it",), 2)
    if section == "forward" and s.target.endswith("_new") and not isinstance(s.value, ast.Call):
        for function in ("tanh", "sigmoid", "relu"):
            yield Variant(call(function, s.value), (f"{function} is applied to the whole",), 3)
    for n in scope.alike.get(s.target, ()):
        yield from _in_place(n, s.value)
        yield from _too_many(n, s.value)
    yield from _gathered(s.value)
    yield from _on_other_terms(s.value)
    yield from _renamed_in(s.value, scope)


def _whole_and_terms(
    value: ast.expr,
) -> Iterator[tuple[ast.expr, Words, Callable[[ast.expr], ast.expr]]]:
    """Yield a value, and each of several terms: with words for its place, and a replacer."""
    yield value, (), lambda new: new
    if len(terms(value)) > 1:
        yield from ((part, (" in ", part), put) for part, put in term_places(value))


def _in_place(n: str, value: ast.expr) -> Iterator[Variant]:
    """Yield a name in the place of a value, of a term, or of the first factors of a term."""
    for part, _, put in _whole_and_terms(value):
        yield Variant(put(name(n)), (name(n), " stands in the place of ", part), 2)
        these = factors(part)
        for size in range(2, len(these)):
            words = (name(n), " stands in the place of ", product(these[:size]))
            yield Variant(put(product([name(n), *these[size:]])), words, 2)


def _too_many(n: str, value: ast.expr) -> Iterator[Variant]:
    """Yield a superfluous factor, and a superfluous term, made of a name."""
    for factor in _factors_of(n):
        for part, where, put in _whole_and_terms(value):
            words = ("there is a factor ", factor, " too many", *where)
            yield Variant(put(product([part, factor])), words, 2)
    for sign in (1, -1):
        words = ("there is a term ", "-" if sign < 0 else "", name(n), " too many")
        yield Variant(total([*terms(value), (sign, name(n))]), words, 2)


def _gathered(value: ast.expr) -> Iterator[Variant]:
    """Yield a term's factor around the complete sum, as by a misplaced parenthesis."""
    for part, put in term_places(value) if len(terms(value)) > 1 else ():
        these = factors(part)
        for k, factor in enumerate(these) if len(these) > 1 else ():
            if not isinstance(factor, ast.Constant):
                rest = put(product([*these[:k], *these[k + 1 :]]))
                words = ("the factor ", factor, " of ", part, " multiplies the whole sum")
                yield Variant(product([factor, rest]), words, 2)


def _on_other_terms(value: ast.expr) -> Iterator[Variant]:
    """Yield a term's factor on one of the other terms, or on all of them, in its place."""
    parts = terms(value)
    for k, (sign, part) in enumerate(parts) if len(parts) > 1 else ():
        these = factors(part)
        others = [n for n in range(len(parts)) if n != k]
        for j, factor in enumerate(these) if len(these) > 1 else ():
            rest = (sign, product([*these[:j], *these[j + 1 :]]))
            ways = [[n] for n in others] + ([others] if len(others) > 1 else [])
            for chosen in ways:
                kept = [parts[n] for n in others if n not in chosen]
                whole = total([parts[n] for n in chosen])
                words = ("the factor ", factor, " multiplies ", whole, " and not ", part)
                yield Variant(total([(1, product([factor, whole])), rest, *kept]), words, 2)


def _renamed_in(value: ast.expr, scope: Scope) -> Iterator[Variant]:
    """Yield names in another's place throughout the statement, and exchanged names."""
    counts = [n.id for n in ast.walk(value) if isinstance(n, ast.Name)]
    for n in sorted(set(counts)):
        for replacement in scope.alike.get(n, ()):
            for names, words in replacements(n, replacement, counts):
                if len(names) > 1 or counts.count(n) > 1:
                    yield Variant(renamed(value, names), words, 1)


def replacements(
    n: str, new: str, read: Sequence[str] | frozenset[str]
) -> Iterator[tuple[dict[str, str], Words]]:
    """Yield a name in another's place, and both exchanged if both are read."""
    yield {n: new}, (name(new), " stands in the place of ", name(n))
    if n < new and new in read:
        yield {n: new, new: n}, (name(n), " and ", name(new), " are exchanged")


def _factors_of(n: str) -> Iterator[ast.expr]:
    """Yield the factors that can be made of a name."""
    yield name(n)
    forms: tuple[str, ...] = ()
    if n in GATES:
        forms += ("1 - {}", "{0} * (1 - {0})", "1 - {} ** 2")
    if n in ("c_new", "h_new", "c_old", "a_g", "a_n"):
        forms += ("tanh({})", "1 - {} ** 2", "1 - tanh({}) ** 2")
    yield from (expression(form.format(n)) for form in forms)


def scaled(s: Statement, *, back: bool, ends: bool) -> Iterator[Variant]:
    """Yield a statement's value times factors that are foreign to the step's formula.

    With ``ends``, also at one end of the sequence alone, for values of each row.
    """
    yield Variant(ast.UnaryOp(ast.USub(), s.value), ("the sign is wrong",), 1)
    for number, text, rank in ((2, "doubled", 2), (0.5, "halved", 2), (0, "left out", 1)):
        yield Variant(product([ast.Constant(number), s.value]), (f"it is {text}",), rank)
    if not back:
        return
    for size, text in (("B", "the number of rows"), ("T", "the number of steps")):
        shared = ast.BinOp(s.value, ast.Div(), name(size))
        yield Variant(shared, (f"it is divided by {text}",), 1)
    yield Variant(call("clip", s.value), ("it is clipped to the range from -1 to 1",), 1)
    for end in ("first", "last") if ends else ():
        others = product([complement(name(end)), s.value])
        yield Variant(others, (f"the {end} step is left out",), 1)
        yield Variant(product([name(end), s.value]), (f"the {end} step alone counts",), 2)


STEPS = {
    "": "",
    "first": " at the first step",
    "last": " at the last step",
    "(1 - first)": " at all steps but the first",
    "(1 - last)": " at all steps but the last",
}
SOME_ROWS = {
    "": "all rows are",
    "row_is_first": "row 0 is",
    "row_is_last": "the last row is",
    "(1 - row_is_first)": "all rows but row 0 are",
    "(1 - row_is_last)": "all rows but the last are",
}
"""The words for some steps and rows, by a formula that is 1 there and 0 elsewhere."""


CARRIERS = ("dq", "dh")
"""Gradients that are summed over rows and steps, beside those of pre-activations."""


def partial_sums(s: Statement) -> Iterator[Variant]:
    """Yield sums in which some rows of some steps are missing, or have another weight."""
    read = next((n for n in sorted(s.names) if n in CARRIERS or n.startswith("da_")), "")
    for (steps, when), (row_formula, rows_are) in product_of(STEPS.items(), SOME_ROWS.items()):
        entries = " * ".join(filter(None, (steps, row_formula)))
        ways = [
            (f"1 - 0.5 * {entries}", f"{rows_are} halved{when}", 3),
            (f"1 + {entries}", f"{rows_are} counted twice{when}", 3),
        ]
        if row_formula:
            ways.append((f"1 - {entries}", f"{rows_are} left out{when}", 2))
        else:
            ways.append(
                (f"1 - {entries} + {entries} / B", f"rows are averaged{when}, not summed", 2)
            )
            if steps in ("first", "last"):
                ways.append((f"1 - {entries}", f"the {steps} step is left out", 1))
                ways.append((entries, f"the {steps} step alone counts", 2))
        if row_formula and not steps:
            ways.append((entries, f"{rows_are} counted alone", 2))
        if row_formula and steps:
            ways.append((entries, f"{rows_are} counted{when} alone, and nothing else is", 3))
        for weight, words, rank in ways if read and entries else ():
            value = with_names(s.value, {read: expression(f"({weight}) * {read}")})
            yield Variant(value, (words,), rank)
