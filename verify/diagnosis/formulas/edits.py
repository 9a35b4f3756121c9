"""Every single edit of a program: of a statement, of a group of statements, of the loop."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, combinations
from itertools import product as product_of

import numpy as np

from ....reference.cells import cell_named
from ....reference.parameters import Sizes
from .activations import ACTIVATIONS, OF_ROWS
from .expression import SHIFTS, Scope, factors, name, product, renamed, terms, total, variants
from .phrases import Words, beyond, gate, said, shown, subject_of
from .program import Order, Program, Statement, expression, last_first, named, program_of, rebuilt
from .texts import TEXTS

Place = tuple[str, int]
"""Section and number of a statement."""

LOOP = "visit every step once, the last first, and keep dx_t at the place of step t"

SAMPLE = Sizes(5, 4, 3)
"""Sizes by whose shapes names are told apart."""


@dataclass(frozen=True)
class Edit:
    """An edit of a program: the new statements, or the new order; what it is in words."""

    where: str
    words: Words
    rank: int
    changed: tuple[tuple[Place, Statement], ...] = ()
    order: Order | None = None
    x_at: Callable[[int, int], int] | None = None

    def of(self, program: Program) -> Program:
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
        """Return the first changed statement as it is, and as it should be."""
        if not self.changed:
            return "", ""
        aside = spare(program)
        read = [c for c in self.changed if c[1].target not in aside]
        (section, k), new = (read or self.changed)[0]
        return _line(new), _line(program.of(section)[k])

    def statement(self, program: Program) -> str:
        """Return what is wrong in a sentence."""
        is_so, should = self.formulas(program)
        example = "for example " if len(self.changed) > 1 else ""
        formulas = f": {example}{is_so}, should be {should}" if is_so else ""
        return f"In {self.where}, {said(self.words)}{formulas}."

    def fix(self, program: Program) -> str:
        """Return what to do."""
        _, should = self.formulas(program)
        return f"compute {should}" if should else LOOP


def _line(s: Statement) -> str:
    sign = "+=" if s.adds else "="
    return f"{shown(s.target)} {sign} {shown(s.value)}"


@dataclass(frozen=True)
class Names:
    """Names of a program by shape, and those whose transpose has the same shape."""

    shapes: Mapping[str, tuple[int, ...]]
    forward: tuple[str, ...]

    @property
    def square(self) -> frozenset[str]:
        """Matrices of the parameters that are square."""
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
    """Return the shapes of everything that a cell's program reads or computes."""
    program, known = program_of(cell), cell_named(cell)
    assert program  # noqa: S101 - who asks has a program
    rng, B = np.random.default_rng(0), 2
    p = known.random_parameters(rng, SAMPLE)
    state = tuple(rng.standard_normal((B, width)) for width in known.widths(SAMPLE))
    run = program.run(named(p), known.random_input(rng, 1, B, SAMPLE), state)
    here = run.values_back(np.ones_like(run.y), run.final)
    shapes = {n: a.shape for n, a in (run.steps[0] | here).items() if isinstance(a, np.ndarray)}
    return Names(shapes, tuple(n for n in run.steps[0] if n in shapes))


def forward_edits(program: Program) -> Iterator[Edit]:
    """Yield every single edit of the step."""
    for k in range(len(program.forward)):
        yield from statement_edits(program.cell, "forward", k)


def grouped_forward_edits(program: Program) -> Iterator[Edit]:
    """Yield names that stand in another's place all over the step."""
    seen = names_of(program.cell)
    values = [n for n in seen.forward if len(seen.shapes[n]) == 2 and _is_saved(n)]
    yield from _exchanged(program, "forward", values, seen)
    yield from _activated(program)
    yield from _of_rows(program)
    yield from _reset_elsewhere(program)


def _reset_elsewhere(program: Program) -> Iterator[Edit]:
    """Yield that the reset gate of a GRU acts on the other side of the product."""
    lines = {s.target: k for k, s in enumerate(program.forward)}
    if "r" not in lines:
        return
    new = {"a_n": "x @ W_n + r * (h_old @ U_n) + b_n"}
    side = "after"
    if "q" in lines:
        new, side = {"q": "(r * h_old) @ U_n + b_hn", "a_n": "x @ W_n + b_n + q"}, "before"
    changed = tuple(
        (("forward", lines[n]), program.forward[lines[n]].with_value(expression(text)))
        for n, text in new.items()
    )
    text = f"the reset gate acts {side} the product with the recurrent weights"
    yield Edit(subject_of("a_n"), (text,), 0, changed)


def _activated(program: Program) -> Iterator[Edit]:
    """Yield another activation in several statements of the step."""
    others = {name: words for name, (_, words) in ACTIVATIONS.items()} | {"relu": "ReLU"}
    for function in ("sigmoid", "tanh"):
        members = [k for k, s in enumerate(program.forward) if function in s.names]
        other_gate = {"sigmoid": "tanh", "tanh": "sigmoid"}[function]
        for size, (other, words) in product_of(
            range(2, len(members) + 1), (others | {other_gate: other_gate}).items()
        ):
            for chosen in combinations(members, size):
                changed = tuple(_renamed("forward", program.forward, chosen, {function: other}))
                of = " and ".join(subject_of(program.forward[k].target) for k in chosen)
                yield Edit(of, (f"{words} stands in the place of {function}",), 2, changed)


def _of_rows(program: Program) -> Iterator[Edit]:
    """Yield what is read of other rows: in one statement, in all pre-activations, in the step."""
    numbers = range(len(program.forward))
    before = [k for k in numbers if program.forward[k].target.startswith("a_")]
    before += [k for k in numbers if program.forward[k].target == "q"]
    groups = {subject_of(program.forward[k].target): [k] for k in numbers}
    groups |= {"the pre-activations": before, "the whole step": [*numbers]}
    names = ["x", *(f"{s}_old" for s in cell_named(program.cell).states)]
    sets = [[n] for n in names] + ([names[1:]] if len(names) > 2 else [])
    for (where, members), read, (function, (_, words)) in product_of(
        groups.items(), sets, OF_ROWS.items()
    ):
        changed = tuple(
            (("forward", k), s.with_value(rebuilt(s.value, partial(_called, function, read),
                                                  calls=False)))
            for k in members
            for s in [program.forward[k]]
            if s.names & set(read)
        )  # fmt: skip
        if changed:
            of = " and ".join(shown(n) for n in read)
            yield Edit(where, (f"{words} stands in the place of {of}",), 1, changed)
    for k in numbers:
        s = program.forward[k]
        for function, (_, words) in OF_ROWS.items() if s.target.endswith("_new") else ():
            new = s.with_value(ast.Call(name(function), [s.value], []))
            text = f"{words} stands in the place of each row's"
            yield Edit(subject_of(s.target), (text,), 2, ((("forward", k), new),))


def _called(function: str, read: Collection[str], n: ast.Name) -> ast.expr:
    return ast.Call(name(function), [n], []) if n.id in read else n


@cache
def statement_edits(cell: str, section: str, number: int) -> tuple[Edit, ...]:
    """Return every single edit of one statement of a cell's program, the simplest first."""
    program = program_of(cell)
    assert program  # noqa: S101 - who asks has a program
    s = program.of(section)[number]
    edits = _statement_edits((section, number), s, _scope(program, section, number))
    return tuple(sorted(edits, key=lambda e: e.rank))


@cache
def combined_edits(cell: str, number: int) -> tuple[Edit, ...]:
    """Return two simple edits of one statement of the step, as one."""
    program = program_of(cell)
    assert program  # noqa: S101 - who asks has a program
    s, place = program.forward[number], ("forward", number)
    scope = _scope(program, *place)
    found: dict[str, Edit] = {}
    for first in statement_edits(cell, "forward", number):
        ((_, once),) = first.changed
        for second in _statement_edits(place, once, scope) if first.rank <= SIMPLE else ():
            if second.rank <= SIMPLE:
                text = ast.unparse(second.changed[0][1].value)
                words = (*first.words, ", and ", *second.words)
                found.setdefault(text, Edit(first.where, words, 3, second.changed))
    found.pop(ast.unparse(s.value), None)
    return tuple(found.values())


SIMPLE = 1
"""Rank of edits that two of are tried in one statement."""


def _scope(program: Program, section: str, number: int) -> Scope:
    """Return what a statement may read: what is there before it."""
    seen, states = names_of(program.cell), cell_named(program.cell).states
    if section == "forward":
        given = set(seen.forward) - {s.target for s in program.forward}
        before = given | {s.target for s in program.forward[:number]}
        return Scope(
            seen.alike([n for n in seen.forward if n in before]), seen.square, ahead=True
        )  # fmt: skip
    finals = [f"d{s}_final" for s in states]
    wide = {f"d{s}_final": seen.shapes[f"{s}_new"] for s in states}
    alike = Names({**seen.shapes, **wide}, seen.forward)
    if section == "start":
        return Scope(alike.alike(finals))
    saved = [*(n for n in seen.forward if _is_saved(n)), "dy"]
    carried = [f"d{s}_next" for s in states]
    if section == "end":
        return Scope(alike.alike([*saved, *carried, *_computed(program.back), *finals]))
    parameters = [n for n in seen.forward if not _is_saved(n)]
    available = [*saved, *carried, *parameters, *_computed(program.back[:number])]
    sums = {s.target: s.value for s in program.back[:number] if len(terms(s.value)) > 1}
    return Scope(seen.alike(available), seen.square, sums, frozenset(saved), frozenset(carried))


def _computed(statements: Sequence[Statement]) -> list[str]:
    return [s.target for s in statements if not s.slot]


def backward_edits(program: Program, targets: Collection[str]) -> Iterator[Edit]:
    """Yield every single edit of the way back: of statements of the targets, and of the loop."""
    yield from _loop_edits()
    for section in ("start", "back", "end"):
        for k, s in enumerate(program.of(section)):
            if s.target in targets and s.target not in spare(program):
                yield from statement_edits(program.cell, section, k)
    yield from _slope_edits(program)


def grouped_backward_edits(program: Program) -> Iterator[Edit]:
    """Yield edits of several statements at once, as where a program has them in one line."""
    seen, states = names_of(program.cell), cell_named(program.cell).states
    saved = [*(n for n in seen.forward if _is_saved(n)), "dy"]
    carried = [f"d{s}_next" for s in states]
    yield from _group_edits(program)
    yield from _exchanged_ends(program)
    yield from _exchanged(program, "back", [*saved, *carried, *_computed(program.back)], seen)


def spare(program: Program) -> frozenset[str]:
    """Return what the right way back computes and does not read."""
    read = frozenset().union(*(s.names for s in program.back))
    computed = {s.target for s in program.back if not s.slot}
    return frozenset(computed - read - {"dx", "dh_old", "dc_old"})


def _is_saved(n: str) -> bool:
    """Whether a name of the forward step is a value of that step, and no parameter."""
    return not (n[:2] in ("W_", "U_", "b_", "p_") or n == "R")


def _statement_edits(place: Place, s: Statement, scope: Scope) -> Iterator[Edit]:
    where = subject_of(s.target)

    def edit(value: ast.expr, words: Words, rank: int, *, adds: bool = s.adds) -> Edit:
        new = replace(s, value=value, adds=adds)
        return Edit(where, words, rank, ((place, new),))

    for v in variants(s.value, scope):
        yield edit(v.value, v.words, v.rank)
    if s.slot:
        yield edit(
            s.value, ("each step overwrites what later steps gave instead of adding to it",), 0,
            adds=False,
        )  # fmt: skip
    others = [_scaled(s, back=place[0] == "back", ends=not s.slot)]
    others += [_partial_sums(s)] if s.slot else []
    others += [_constants(s)] if place[0] == "forward" and s.target.startswith("a_") else []
    for value, words, rank in chain(*others):
        yield edit(value, words, rank)
    alike = scope.alike.get(s.target, ())
    for n in alike:
        words = (name(n), " stands in the place of ", s.value)
        yield edit(name(n), words, 2)
        if len(terms(s.value)) > 1:
            for k, (sign, part) in enumerate(terms(s.value)):
                new = [*terms(s.value)]
                new[k] = (sign, name(n))
                words = (name(n), " stands in the place of ", part)
                yield edit(total(new), words, 2)
    yield from _prefixes(place, s, alike)
    yield from _gathered(place, s)
    for n in alike:
        for one in _factors_of(n):
            yield edit(product([s.value, one]), ("there is a factor ", one, " too many"), 2)
            if len(terms(s.value)) > 1:
                for k, (sign, part) in enumerate(terms(s.value)):
                    new = list(terms(s.value))
                    new[k] = (sign, product([part, one]))
                    words = ("there is a factor ", one, " too many in ", part)
                    yield edit(total(new), words, 2)
        for sign in (1, -1):
            words = ("there is a term ", "-" if sign < 0 else "", name(n), " too many")
            yield edit(total([*terms(s.value), (sign, name(n))]), words, 2)
    yield from _renamed_in(place, s, scope)


def _constants(s: Statement) -> Iterator[tuple[ast.expr, Words, int]]:
    """Yield a constant that is added, as to a forget gate."""
    for sign, words in ((1, "added to"), (-1, "subtracted from")):
        yield total([*terms(s.value), (sign, ast.Constant(1))]), (f"1 is {words} it",), 2


def _prefixes(place: Place, s: Statement, alike: Sequence[str]) -> Iterator[Edit]:
    """Yield another name in the place of the first factors of a term, which may have had one."""
    parts = terms(s.value)
    for k, (sign, part) in enumerate(parts):
        these = factors(part)
        for size in range(2, len(these)):
            for n in alike:
                new = [*parts]
                new[k] = (sign, product([name(n), *these[size:]]))
                words = (name(n), " stands in the place of ", product(these[:size]))
                edited = s.with_value(total(new))
                yield Edit(subject_of(s.target), words, 2, ((place, edited),))


def _gathered(place: Place, s: Statement) -> Iterator[Edit]:
    """Yield a term's factor around the whole sum, as a parenthesis in the wrong place has it."""
    parts = terms(s.value)
    for k, (sign, part) in enumerate(parts):
        these = factors(part)
        if len(parts) < 2 or len(these) < 2:
            continue
        for n, factor in enumerate(these):
            if isinstance(factor, ast.Constant):
                continue
            rest = product([*these[:n], *these[n + 1 :]])
            sum_ = total([*parts[:k], (sign, rest), *parts[k + 1 :]])
            words = ("the factor ", factor, " of ", part, " multiplies the whole sum")
            edited = s.with_value(product([factor, sum_]))
            yield Edit(subject_of(s.target), words, 2, ((place, edited),))


def _renamed_in(place: Place, s: Statement, scope: Scope) -> Iterator[Edit]:
    """Yield names that stand in another's place wherever the statement reads it, and exchanged."""
    where = subject_of(s.target)
    counts = [n.id for n in ast.walk(s.value) if isinstance(n, ast.Name)]
    for n in sorted(set(counts)):
        for other in scope.alike.get(n, ()):
            words: Words = (name(other), " stands in the place of ", name(n))
            if counts.count(n) > 1:
                new = s.with_value(renamed(s.value, {n: other}))
                yield Edit(where, words, 1, ((place, new),))
            if other in counts and n < other:
                new = s.with_value(renamed(s.value, {n: other, other: n}))
                words = (name(n), " and ", name(other), " are exchanged")
                yield Edit(where, words, 1, ((place, new),))


def _factors_of(n: str) -> Iterator[ast.expr]:
    yield name(n)
    if len(n) == 1 and n in "ifgorzn":
        yield expression(f"(1 - {n})")
        yield expression(f"({n} * (1 - {n}))")
        yield expression(f"(1 - {n} ** 2)")
    if n in ("c_new", "h_new", "c_old", "a_g", "a_n"):
        yield expression(f"tanh({n})")
        yield expression(f"(1 - {n} ** 2)")
        yield expression(f"(1 - tanh({n}) ** 2)")


def _scaled(s: Statement, *, back: bool, ends: bool) -> Iterator[tuple[ast.expr, Words, int]]:
    """Yield a statement's value times what has nothing to do with the step's formula.

    With ``ends``, at one end of the sequence alone: of what rows have each.
    """
    minus = ast.UnaryOp(ast.USub(), s.value)
    yield minus, ("the sign is wrong",), 1
    yield product([ast.Constant(2), s.value]), ("it is doubled",), 2
    yield product([ast.Constant(0.5), s.value]), ("it is halved",), 2
    yield product([ast.Constant(0), s.value]), ("it is left out",), 1
    if not back:
        return
    for size, words in (("B", "the number of rows"), ("T", "the number of steps")):
        yield ast.BinOp(s.value, ast.Div(), name(size)), (f"it is divided by {words}",), 1
    yield ast.Call(name("clip"), [s.value], []), ("it is clipped to the range from -1 to 1",), 1
    for end in ("first", "last") if ends else ():
        other = total([(1, ast.Constant(1)), (-1, name(end))])
        yield product([other, s.value]), (f"the {end} step is left out",), 1
        yield product([name(end), s.value]), (f"the {end} step alone counts",), 2


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
"""By a formula that is 1 there and 0 elsewhere: steps, and rows."""


def _partial_sums(s: Statement) -> Iterator[tuple[ast.expr, Words, int]]:
    """Yield that some rows of some steps are not counted in a sum, or with another weight."""
    read = next((n for n in sorted(s.names) if n in CARRIERS or n.startswith("da_")), "")
    for (steps, when), (some, these) in product_of(STEPS.items(), SOME_ROWS.items()):
        here = " * ".join(filter(None, (steps, some)))
        ways = [
            (f"1 - 0.5 * {here}", f"{these} halved{when}", 3),
            (f"1 + {here}", f"{these} counted twice{when}", 3),
        ]
        if some:
            ways.append((f"1 - {here}", f"{these} left out{when}", 2))
        else:
            ways.append((f"1 - {here} + {here} / B", f"rows are averaged{when}, not summed", 2))
            if steps in ("first", "last"):
                ways.append((f"1 - {here}", f"the {steps} step is left out", 1))
                ways.append((here, f"the {steps} step alone counts", 2))
        if some and not steps:
            ways.append((here, f"{these} counted alone", 2))
        if some and steps:
            ways.append((here, f"{these} counted{when} alone, and nothing else is", 3))
        for weight, words, rank in ways if read and here else ():
            factor = expression(f"({weight}) * {read}")
            yield rebuilt(s.value, partial(_replaced, read, factor), calls=False), (words,), rank


def _replaced(read: str, factor: ast.expr, n: ast.Name) -> ast.expr:
    return factor if n.id == read else n


CARRIERS = ("dq", "dh")
"""Gradients that sums over rows and steps are of, beside those of pre-activations."""


def _slope_edits(program: Program) -> Iterator[Edit]:
    """Yield slopes of activations that are another function, in one gate and in all."""
    activations = TEXTS[program.cell]
    for values, others in (
        (activations.sigmoids, SIGMOID_SLOPES), (activations.tangents, TANH_SLOPES)
    ):  # fmt: skip
        for other, words in others:
            each = [
                _with_slope(program, v, other, tanh=values is activations.tangents) for v in values
            ]
            for count in {1, len(values)}:
                for chosen in combinations(range(len(values)), count):
                    changed = tuple(c for k in chosen for c in each[k])
                    if not changed:
                        continue
                    of = " and ".join(shown(values[k]) for k in chosen)
                    where = f"the slope of the activation of {of}"
                    kind = "1 - tanh^2" if values is activations.tangents else "sigma * (1 - sigma)"
                    text = f"{words} stands in the place of the slope ({kind} of the value)"
                    yield Edit(where, (text,), 1, changed)


SIGMOID_SLOPES = (
    ("1", "1"),
    ("0.25", "1/4"),
    ("y", "sigma"),
    ("(1 - y)", "1 - sigma"),
    ("y * (1 + y)", "sigma * (1 + sigma)"),
    ("y * (y - 1)", "sigma * (sigma - 1)"),
    ("(1 - y ** 2)", "1 - sigma^2, the slope of tanh,"),
    ("(1 - y) ** 2", "(1 - sigma)^2"),
    ("y ** 2", "sigma^2"),
    ("(1 - 2 * y)", "1 - 2 sigma"),
    ("sigmoid(y) * (1 - sigmoid(y))", "the slope at a value that has been through sigma already"),
    ("a * (1 - a)", "the slope's formula taken at the pre-activation"),
    ("sigmoid(a)", "sigma of the pre-activation"),
)

TANH_SLOPES = (
    ("1", "1"),
    ("(1 - y)", "1 - tanh"),
    ("(1 + y)", "1 + tanh"),
    ("(1 + y ** 2)", "1 + tanh^2"),
    ("(y ** 2 - 1)", "tanh^2 - 1"),
    ("y ** 2", "tanh^2"),
    ("y", "tanh"),
    ("(1 - y) ** 2", "(1 - tanh)^2"),
    ("(1 - y ** 2) ** 2", "(1 - tanh^2)^2"),
    ("y * (1 - y)", "tanh * (1 - tanh), the slope of sigma,"),
    ("(1 - 2 * y)", "1 - 2 tanh"),
    ("(1 - y ** 3)", "1 - tanh^3"),
    ("(1 - tanh(y) ** 2)", "the slope at a value that has been through tanh already"),
    ("(1 - a ** 2)", "the slope's formula taken at the value before tanh"),
    ("tanh(y)", "tanh of the value"),
)


def _with_slope(
    program: Program, value: str, other: str, *, tanh: bool
) -> list[tuple[Place, Statement]]:
    """Return the statements that read the slope of a value, with another function for it."""
    before = f"a_{value}" if len(value) == 1 else "c_new" if value == "c_new" else "a_a"
    y = "tanh(c_new)" if value == "c_new" else value
    new = _filled(other, y, before)
    if tanh:
        old = ast.unparse(expression(f"(1 - {y} ** 2)"))
        gone = [old]
    else:
        gone = [y, ast.unparse(expression(f"1 - {y}"))]
    return [
        (("back", k), s.with_value(changed))
        for k, s in enumerate(program.back)
        for changed in [_slope_replaced(s.value, gone, new)]
        if changed is not None and not s.slot
    ]


def _filled(text: str, y: str, a: str) -> ast.expr:
    names = {"y": expression(y), "a": name(a)}
    return rebuilt(expression(text), lambda n: names.get(n.id, n), calls=False)


def _slope_replaced(value: ast.expr, gone: Sequence[str], new: ast.expr) -> ast.expr | None:
    """Return a sum of products with some factors replaced; None if there are none such."""
    parts, hit = terms(value), False
    result = []
    for sign, part in parts:
        texts = [ast.unparse(f) for f in factors(part)]
        if texts[-len(gone) :] == list(gone) and len(texts) > len(gone):
            result.append((sign, product([*factors(part)[: -len(gone)], new])))
            hit = True
        else:
            result.append((sign, part))
    return total(result) if hit else None


def _groups(program: Program) -> dict[str, list[int]]:
    """Return groups of statements of the way back that programs often write as one line."""
    by_array: dict[str, list[int]] = {}
    for k, s in enumerate(program.back):
        array = s.target.partition("_")[0] if s.target != "db_hn" else "db"
        if s.slot:
            by_array.setdefault(f"the gradients of {array[1:]}", []).append(k)
        if array == "da":
            by_array.setdefault("the gradients of all gates", []).append(k)
    back = [k for k, s in enumerate(program.back) if s.target in ("dx", "dh_old")]
    slots = [k for k, s in enumerate(program.back) if s.slot]
    weights = [k for k, s in enumerate(program.back) if s.slot and s.target[1] in "WU"]
    for letter in cell_named(program.cell).gates:
        own = [k for k, s in enumerate(program.back) if s.slot and s.target.endswith(f"_{letter}")]
        by_array[f"the gradients of W, U and b of {gate(letter)}"] = own
        by_array[f"the gradients of W and U of {gate(letter)}"] = [k for k in own if k in weights]
    by_array["the gradients of W and U"] = weights
    by_array["the gradients of b, without b_hn"] = [
        k for k, s in enumerate(program.back) if s.target.startswith("db_") and s.target != "db_hn"
    ]
    by_array["the gradients of all parameters"] = slots
    by_array["the gradients of x_t and h_{t-1}"] = back
    by_array["the gradients of all parameters, of x_t and h_{t-1}"] = sorted({*slots, *back})
    by_array["the whole way back"] = list(range(len(program.back)))
    return by_array


def _exchanged(
    program: Program, section: str, values: Sequence[str], seen: Names
) -> Iterator[Edit]:
    """Yield names that are read in another's place, or exchanged, in a group of statements."""
    statements = program.of(section)
    groups = _groups(program) if section == "back" else {
        "the whole step": list(range(len(statements)))
    }  # fmt: skip
    alike = seen.alike(values)
    matrices = [n for n in seen.forward if not _is_saved(n)]
    alike |= {n: seen.alike(matrices)[n] for n in matrices}
    for where, members in groups.items():
        if len(members) < 2:
            continue
        read = frozenset().union(*(statements[k].names for k in members))
        for n in sorted(read):
            for other in alike.get(n, ()):
                words: Words = (name(other), " stands in the place of ", name(n))
                ways = [({n: other}, words)]
                if n < other and other in read:
                    words = (name(n), " and ", name(other), " are exchanged")
                    ways.append(({n: other, other: n}, words))
                for mapping, said_so in ways:
                    changed = tuple(_renamed(section, statements, members, mapping))
                    if len(changed) > 1:
                        yield Edit(where, said_so, 2, changed)


def _renamed(
    section: str, statements: Sequence[Statement], members: Sequence[int], names: Mapping[str, str]
) -> Iterator[tuple[Place, Statement]]:
    for k in members:
        s = statements[k]
        if s.names & names.keys() and s.target not in names.values():
            yield (section, k), s.with_value(renamed(s.value, names))


def _group_edits(program: Program) -> Iterator[Edit]:
    """Yield edits of the roots of several statements at once."""
    for where, members in _groups(program).items():
        some = [program.back[k] for k in members]
        if len(members) < 2 or where == "the whole way back":
            continue
        sums, no_sums = all(s.slot for s in some), not any(s.slot for s in some)
        scaled = [
            [*_scaled(s, back=True, ends=no_sums), *(_partial_sums(s) if sums else ())]
            for s in some
        ]
        for ways in zip(*scaled, strict=True):
            changed = tuple(
                (("back", k), s.with_value(value))
                for k, s, (value, _, _) in zip(members, some, ways, strict=True)
            )
            yield Edit(where, ways[0][1], ways[0][2] + 1, changed)
        if sums:
            changed = tuple(
                (("back", k), replace(s, adds=False)) for k, s in zip(members, some, strict=True)
            )
            text = "each step overwrites what later steps gave instead of adding to it"
            yield Edit(where, (text,), 0, changed)
        called = [(k, s) for k, s in zip(members, some, strict=True) if "rows" in s.names]
        for other, words in ROWS:
            changed = tuple(
                (("back", k), s.with_value(renamed(s.value, {"rows": other}))) for k, s in called
            )
            if len(changed) > 1:
                yield Edit(where, words, 1, changed)
    yield from _shifted(program)
    yield from _gates_left_out(program)


ROWS: tuple[tuple[str, Words], ...] = (
    ("mean_rows", ("rows are averaged, not summed",)),
    ("first_row", ("the first row alone is counted",)),
    ("last_row", ("the last row alone is counted",)),
)


def _shifted(program: Program) -> Iterator[Edit]:
    """Yield values of another step in a group of statements."""
    saved = [n for n in names_of(program.cell).forward if _is_saved(n)]
    for shift in SHIFTS:
        step = {"prev": "t-1", "next": "t+1", "mirror": "T-1-t"}[shift.partition("_")[0]]
        for names, but in (
            (saved, ""),
            ([*saved, "dy"], ""),
            ([n for n in saved if n != "x"], ", but for x_t,"),
        ):
            mapping = {n: f"{n}__{shift}" for n in names}
            changed = tuple(_renamed("back", program.back, range(len(program.back)), mapping))
            text = f"what step {step} saved{but} stands in the place of what step t saved"
            yield Edit("the whole way back", (text,), 2, changed)
    for where, members in _groups(program).items():
        for n in saved:
            for shift in SHIFTS:
                changed = tuple(_renamed("back", program.back, members, {n: f"{n}__{shift}"}))
                if len(changed) > 1:
                    words = (
                        name(f"{n}__{shift}"),
                        " stands in the place of ",
                        name(n),
                        beyond(n, shift),
                    )
                    yield Edit(where, words, 3, changed)


def _gates_left_out(program: Program) -> Iterator[Edit]:
    """Yield that a loop over the gates leaves one out."""
    for letter in cell_named(program.cell).gates:
        d = f"da_{letter}"
        slots = [(k, s) for k, s in enumerate(program.back) if s.slot and d in s.names]
        zeros = [(("back", k), s.with_value(product([ast.Constant(0), s.value]))) for k, s in slots]
        back = []
        for k, s in enumerate(program.back):
            if s.target in ("dx", "dh_old") and d in s.names and len(terms(s.value)) > 1:
                kept = [t for t in terms(s.value) if d not in ast.unparse(t[1])]
                back.append((("back", k), s.with_value(total(kept))))
        for where, changed in (
            ("the gradients of all parameters", zeros),
            ("the gradients of x_t and h_{t-1}", back),
            ("the gradients of all parameters, of x_t and h_{t-1}", [*zeros, *back]),
        ):
            if len(changed) > 1:
                yield Edit(where, (name(d), " is left out"), 1, tuple(changed))


def _exchanged_ends(program: Program) -> Iterator[Edit]:
    """Yield that the cotangents of h and c are exchanged, where the way back starts or ends."""
    seen, states = names_of(program.cell), cell_named(program.cell).states
    if len(states) != 2 or seen.shapes["h_new"] != seen.shapes["c_new"]:
        return
    for section, which in (("start", "final"), ("end", "initial")):
        one, two = program.of(section)
        changed = (
            ((section, 0), one.with_value(two.value)), ((section, 1), two.with_value(one.value))
        )  # fmt: skip
        yield Edit(f"the gradients of the {which} states", ("h and c are exchanged",), 1, changed)


def _loop_edits() -> Iterator[Edit]:
    where = "the loop over the steps back"
    orders: tuple[tuple[str, Order], ...] = (
        ("the first step is left out", lambda T: range(T - 1, 0, -1)),
        ("the last step is left out", lambda T: range(T - 2, -1, -1)),
        ("the first and the last step are left out", lambda T: range(T - 2, 0, -1)),
        ("the first two steps are left out", lambda T: range(T - 1, 1, -1)),
        ("the last two steps are left out", lambda T: range(T - 3, -1, -1)),
        ("steps are visited first to last, not last to first", range),
        ("steps are visited first to last, without the first", lambda T: range(1, T)),
        ("steps are visited first to last, without the last", lambda T: range(T - 1)),
        ("every other step is left out", lambda T: range(T - 1, -1, -2)),
        ("the last step alone is visited", lambda T: range(T - 1, max(T - 2, -1), -1)),
        ("the first step alone is visited", lambda T: range(min(T, 1))),
        ("the first step is visited twice", lambda T: [*last_first(T), *range(min(T, 1))]),
        ("the last step is visited twice", lambda T: [*last_first(T)[:1], *last_first(T)]),
    )
    for words, order in orders:
        yield Edit(where, (words,), 0, order=order)
    text = "steps are visited first to last, not last to first, and dx_t is kept in that order"
    yield Edit(where, (text,), 1, order=range, x_at=lambda t, T: T - 1 - t)
    places: tuple[tuple[str, Callable[[int, int], int]], ...] = (
        ("dx_t is kept in reversed order", lambda t, T: T - 1 - t),
        ("dx_t is kept at the place of step t - 1", lambda t, T: t - 1),
        ("dx_t is kept at the place of step t + 1", lambda t, T: t + 1),
        (
            "dx_t is kept at the place of step t - 1, the first at the last",
            lambda t, T: (t - 1) % T,
        ),
        (
            "dx_t is kept at the place of step t + 1, the last at the first",
            lambda t, T: (t + 1) % T,
        ),
    )
    for words, x_at in places:
        yield Edit(where, (words,), 1, x_at=x_at)
