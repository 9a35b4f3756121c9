"""Every single edit of a program: of a statement, of a group of statements, of the loop."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

import numpy as np

from ....reference.cells import cell_named
from ....reference.parameters import Sizes
from .expression import Scope, factors, name, product, renamed, terms, total, variants
from .program import Order, Program, Statement, expression, last_first, named, program_of, rebuilt
from .texts import TEXTS
from .wording import shown, subject_of

Place = tuple[str, int]
"""Section and number of a statement."""

SAMPLE = Sizes(5, 4, 3)
"""Sizes by whose shapes names are told apart."""


@dataclass(frozen=True)
class Edit:
    """An edit of a program: the new statements, or the new order; what it is in words."""

    where: str
    words: str
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
        (section, k), new = self.changed[0]
        return _line(new), _line(program.of(section)[k])

    def statement(self, program: Program) -> str:
        """Return what is wrong in a sentence."""
        is_so, should = self.formulas(program)
        example = "for example " if len(self.changed) > 1 else ""
        formulas = f": {example}{is_so}, should be {should}" if is_so else ""
        return f"In {self.where}, {self.words}{formulas}."

    def fix(self, program: Program) -> str:
        """Return what to do."""
        _, should = self.formulas(program)
        return f"compute {should}" if should else f"in {self.where}, see that not: {self.words}"


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
    shapes = {
        n: a.shape for n, a in (run.steps[0] | here).items() if isinstance(a, np.ndarray)
    }
    return Names(shapes, tuple(n for n in run.steps[0] if n in shapes))


def forward_edits(program: Program) -> Iterator[Edit]:
    """Yield every single edit of the step."""
    seen = names_of(program.cell)
    available = [n for n in seen.forward if n in named_before(program)]
    for k, s in enumerate(program.forward):
        scope = Scope(seen.alike(available), seen.square)
        yield from _statement_edits(("forward", k), s, scope, seen, available)
        available.append(s.target)
    values = [n for n in seen.forward if len(seen.shapes[n]) == 2 and n[:2] not in ("W_", "U_")]
    yield from _exchanged(program, "forward", values, seen)


def named_before(program: Program) -> set[str]:
    """Return the names that a step has before its first statement."""
    return set(names_of(program.cell).forward) - {s.target for s in program.forward}


def backward_edits(program: Program) -> Iterator[Edit]:
    """Yield every single edit of the way back: of its start, step, end and loop."""
    seen = names_of(program.cell)
    saved = [n for n in seen.forward if n not in seen.shapes or n[1:2] != "_" or n[0] == "a"]
    saved = [*(n for n in seen.forward if _is_saved(n)), "dy"]
    states = cell_named(program.cell).states
    carried = [f"d{s}_next" for s in states]
    matrices = [n for n in seen.forward if not _is_saved(n)]
    available = [*saved, *carried, *matrices]
    sums: dict[str, ast.expr] = {}
    for k, s in enumerate(program.back):
        scope = Scope(
            seen.alike(available), seen.square, dict(sums), frozenset(saved), frozenset(carried)
        )
        yield from _statement_edits(("back", k), s, scope, seen, available)
        if not s.slot:
            available.append(s.target)
            if len(terms(s.value)) > 1:
                sums[s.target] = s.value
    yield from _slope_edits(program)
    computed = [*saved, *carried, *(s.target for s in program.back if not s.slot)]
    yield from _exchanged(program, "back", computed, seen)
    yield from _group_edits(program)
    yield from _end_edits(program, seen, [*computed])
    yield from _loop_edits()


def _is_saved(n: str) -> bool:
    """Whether a name of the forward step is a value of that step, and no parameter."""
    return not (n[:2] in ("W_", "U_", "b_", "p_") or n == "R")


def _statement_edits(
    place: Place, s: Statement, scope: Scope, seen: Names, available: Sequence[str]
) -> Iterator[Edit]:
    where = subject_of(s.target)

    def edit(value: ast.expr, words: str, rank: int, *, adds: bool = s.adds) -> Edit:
        new = replace(s, value=value, adds=adds)
        return Edit(where, words, rank, ((place, new),))

    for v in variants(s.value, scope):
        yield edit(v.value, v.words, v.rank)
    if s.slot:
        yield edit(
            s.value, "each step overwrites what later steps gave instead of adding to it", 0,
            adds=False,
        )  # fmt: skip
    for value, words, rank in _scaled(s, back=place[0] == "back"):
        yield edit(value, words, rank)
    shape = seen.shapes.get(s.target)
    for n in sorted(scope.alike.get(s.target, ())) if shape else ():
        for one in _factors_of(n):
            yield edit(product([s.value, one]), f"there is a factor {shown(one)} too many", 2)
            if len(terms(s.value)) > 1:
                for k, (sign, part) in enumerate(terms(s.value)):
                    new = list(terms(s.value))
                    new[k] = (sign, product([part, one]))
                    words = f"there is a factor {shown(one)} too many in {shown(part)}"
                    yield edit(total(new), words, 2)
        for sign in (1, -1):
            words = f"there is a term {'-' if sign < 0 else ''}{shown(n)} too many"
            yield edit(total([*terms(s.value), (sign, name(n))]), words, 2)
    yield from _renamed_in(place, s, scope, seen, available)


def _renamed_in(
    place: Place, s: Statement, scope: Scope, seen: Names, available: Sequence[str]
) -> Iterator[Edit]:
    """Yield names that stand in another's place wherever the statement reads it, and exchanged."""
    where = subject_of(s.target)
    counts = [n.id for n in ast.walk(s.value) if isinstance(n, ast.Name)]
    for n in sorted(set(counts)):
        for other in scope.alike.get(n, ()):
            words = f"{shown(other)} stands in the place of {shown(n)}"
            if counts.count(n) > 1:
                new = s.with_value(renamed(s.value, {n: other}))
                yield Edit(where, words, 1, ((place, new),))
            if other in counts and n < other:
                new = s.with_value(renamed(s.value, {n: other, other: n}))
                words = f"{shown(n)} and {shown(other)} are exchanged"
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


def _scaled(s: Statement, *, back: bool) -> Iterator[tuple[ast.expr, str, int]]:
    """Yield a statement's value times what has nothing to do with the step's formula."""
    minus = ast.UnaryOp(ast.USub(), s.value)
    yield minus, "the sign is wrong", 1
    yield product([ast.Constant(2), s.value]), "it is doubled", 2
    yield product([ast.Constant(0.5), s.value]), "it is halved", 2
    yield product([ast.Constant(0), s.value]), "it is left out", 1
    if not back:
        return
    for size, words in (("B", "the number of rows"), ("T", "the number of steps")):
        yield ast.BinOp(s.value, ast.Div(), name(size)), f"it is divided by {words}", 1
    yield ast.Call(name("clip"), [s.value], []), "it is clipped to the range from -1 to 1", 1
    for end in ("first", "last"):
        other = total([(1, ast.Constant(1)), (-1, name(end))])
        yield product([other, s.value]), f"the {end} step is left out", 1
        yield product([name(end), s.value]), f"the {end} step alone counts", 2


def _slope_edits(program: Program) -> Iterator[Edit]:
    """Yield slopes of activations that are another function, in one gate and in all."""
    text = TEXTS[program.cell]
    for values, others in ((text.sigmoids, SIGMOID_SLOPES), (text.tangents, TANH_SLOPES)):
        for other, words in others:
            each = [_with_slope(program, v, other, tanh=values is text.tangents) for v in values]
            for count in {1, len(values)}:
                for chosen in combinations(range(len(values)), count):
                    changed = tuple(c for k in chosen for c in each[k])
                    if not changed:
                        continue
                    of = " and ".join(shown(values[k]) for k in chosen)
                    where = f"the slope of the activation of {of}"
                    kind = "1 - tanh^2" if values is text.tangents else "sigma * (1 - sigma)"
                    said = f"{words} stands in the place of the slope ({kind} of the value)"
                    yield Edit(where, said, 1, changed)


SIGMOID_SLOPES = (
    ("1", "1"),
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


def _slope_replaced(
    value: ast.expr, gone: Sequence[str], new: ast.expr
) -> ast.expr | None:
    """Return a sum of products with some factors replaced; None if there are none such."""
    parts, hit = terms(value), False
    result = []
    for sign, part in parts:
        texts = [ast.unparse(f) for f in factors(part)]
        if texts[-len(gone) :] == list(gone) and len(texts) > len(gone):
            part, hit = product([*factors(part)[: -len(gone)], new]), True
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
    by_array["the gradients of W and U"] = weights
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
                ways = [({n: other}, f"{shown(other)} stands in the place of {shown(n)}")]
                if n < other and other in read:
                    both = {n: other, other: n}
                    ways.append((both, f"{shown(n)} and {shown(other)} are exchanged"))
                for mapping, words in ways:
                    changed = tuple(_renamed(section, statements, members, mapping))
                    if len(changed) > 1:
                        yield Edit(where, words, 2, changed)


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
        scaled = [list(_scaled(s, back=True)) for s in some]
        for ways in zip(*scaled, strict=True):
            changed = tuple(
                (("back", k), s.with_value(value))
                for k, s, (value, _, _) in zip(members, some, ways, strict=True)
            )
            yield Edit(where, ways[0][1], ways[0][2] + 1, changed)
        if all(s.slot for s in some):
            changed = tuple(
                (("back", k), replace(s, adds=False)) for k, s in zip(members, some, strict=True)
            )
            words = "each step overwrites what later steps gave instead of adding to it"
            yield Edit(where, words, 0, changed)
        called = [(k, s) for k, s in zip(members, some, strict=True) if "rows" in s.names]
        for other, words in ROWS:
            changed = tuple(
                (("back", k), s.with_value(renamed(s.value, {"rows": other}))) for k, s in called
            )
            if len(changed) > 1:
                yield Edit(where, words, 1, changed)
    yield from _shifted(program)
    yield from _gates_left_out(program)


ROWS = (
    ("mean_rows", "rows are averaged, not summed"),
    ("first_row", "the first row alone is counted"),
    ("last_row", "the last row alone is counted"),
)


def _shifted(program: Program) -> Iterator[Edit]:
    """Yield values of another step in a group of statements."""
    saved = [n for n in names_of(program.cell).forward if _is_saved(n)]
    for where, members in _groups(program).items():
        for n in saved:
            for shift in ("prev_zero", "prev_wrap", "prev_edge", "next_zero", "next_wrap", "next_edge"):
                changed = tuple(_renamed("back", program.back, members, {n: f"{n}__{shift}"}))
                if len(changed) > 1:
                    words = f"{shown(f'{n}__{shift}')} stands in the place of {shown(n)}"
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
                yield Edit(where, f"{shown(d)} is left out", 1, tuple(changed))


def _end_edits(program: Program, seen: Names, values: Sequence[str]) -> Iterator[Edit]:
    states = cell_named(program.cell).states
    finals = [f"d{s}_final" for s in states]
    wide = {f"d{s}_final": seen.shapes[f"{s}_new"] for s in states}
    alike = Names({**seen.shapes, **wide}, seen.forward)
    for section, among in (("start", finals), ("end", values)):
        scope = Scope(alike.alike(among))
        statements = program.of(section)
        for k, s in enumerate(statements):
            yield from _statement_edits((section, k), s, scope, seen, among)
            for value, words, rank in _scaled(s, back=False):
                yield Edit(subject_of(s.target), words, rank, (((section, k), s.with_value(value)),))
        if len(states) == 2 and len(set(wide.values())) == 1:
            one, two = statements
            changed = (
                ((section, 0), one.with_value(two.value)), ((section, 1), two.with_value(one.value))
            )  # fmt: skip
            which = "final" if section == "start" else "initial"
            yield Edit(f"the gradients of the {which} states", "h and c are exchanged", 1, changed)


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
        yield Edit(where, words, 0, order=order)
    places: tuple[tuple[str, Callable[[int, int], int]], ...] = (
        ("dx_t is kept in reversed order", lambda t, T: T - 1 - t),
        ("dx_t is kept at the place of step t - 1", lambda t, T: t - 1),
        ("dx_t is kept at the place of step t + 1", lambda t, T: t + 1),
        ("dx_t is kept at the place of step t - 1, the first at the last", lambda t, T: (t - 1) % T),
        ("dx_t is kept at the place of step t + 1, the last at the first", lambda t, T: (t + 1) % T),
    )
    for words, x_at in places:
        yield Edit(where, words, 1, x_at=x_at)
