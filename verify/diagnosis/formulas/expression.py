"""Single edits of an expression, as by a slip in writing a formula."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from typing import TypeAlias, TypeVar

from .activations import ACTIVATIONS
from .phrases import Words, beyond
from .program import rebuilt

T = TypeVar("T")

Term: TypeAlias = tuple[int, ast.expr]
"""A sign and an expression."""

Place: TypeAlias = tuple[ast.expr, Callable[[ast.expr], ast.expr]]
"""A part of an expression, and a function that replaces it in the expression."""

GATES = frozenset("ifgorzn")
"""The names of gates."""

SHIFTS = (
    *(f"{way}_{end}" for way in ("prev", "next") for end in ("zero", "wrap", "edge")),
    "mirror_wrap",
)


@dataclass(frozen=True)
class Variant:
    """An edited expression, the edit in words, and its rank: 0 for the likeliest."""

    value: ast.expr
    words: Words
    rank: int


@dataclass(frozen=True)
class Scope:
    """The names that an expression may read.

    ``alike`` are the other names of each name's shape, ``square`` the square matrices, ``sums`` the
    definitions of names that are sums, ``saved`` the names of values of each step, ``carried`` the
    names of gradients from the later step. Any activation may stand ``in_forward_step``.
    """

    alike: Mapping[str, Sequence[str]] = field(default_factory=dict)
    square: frozenset[str] = frozenset()
    sums: Mapping[str, ast.expr] = field(default_factory=dict)
    saved: frozenset[str] = frozenset()
    carried: frozenset[str] = frozenset()
    in_forward_step: bool = False

    @property
    def narrow(self) -> Scope:
        """The scope without other names, for edits of a definition where it is used once."""
        return replace(self, alike={}, sums={}, saved=frozenset())


def name(text: str) -> ast.expr:
    """Return a name as an expression."""
    return ast.Name(text, ast.Load())


def call(function: str, argument: ast.expr) -> ast.expr:
    """Return a call of a function of one argument."""
    return ast.Call(name(function), [argument], [])


def complement(node: ast.expr) -> ast.expr:
    """Return 1 minus an expression."""
    return total([(1, ast.Constant(1)), (-1, node)])


def swapped(items: Sequence[T], k: int, *others: T) -> list[T]:
    """Return items with one replaced by others."""
    return [*items[:k], *others, *items[k + 1 :]]


def runs(items: Sequence[T]) -> Iterator[tuple[Sequence[T], Sequence[T], Sequence[T]]]:
    """Yield runs of several neighbouring items, but not all, with those before and after."""
    for size in range(2, len(items)):
        for k in range(len(items) - size + 1):
            yield items[:k], items[k : k + size], items[k + size :]


def factors(node: ast.expr) -> list[ast.expr]:
    """Return the factors of a product; another expression is its only factor."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*factors(node.left), *factors(node.right)]
    return [node]


def product(parts: Sequence[ast.expr]) -> ast.expr:
    """Return the product of factors; 1 for none."""
    relevant = [p for p in parts if not (isinstance(p, ast.Constant) and p.value == 1)]
    if not relevant:
        return ast.Constant(1)
    result = relevant[0]
    for part in relevant[1:]:
        result = ast.BinOp(result, ast.Mult(), part)
    return result


def terms(node: ast.expr) -> list[Term]:
    """Return the terms of a sum; another expression is its only term."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        sign = 1 if isinstance(node.op, ast.Add) else -1
        return [*terms(node.left), *((sign * s, n) for s, n in terms(node.right))]
    return [(1, node)]


def total(parts: Sequence[Term]) -> ast.expr:
    """Return the sum of terms."""
    sign, result = parts[0]
    if sign < 0:
        result = ast.UnaryOp(ast.USub(), result)
    for sign, part in parts[1:]:
        result = ast.BinOp(result, ast.Add() if sign > 0 else ast.Sub(), part)
    return result


def with_names(node: ast.expr, values: Mapping[str, ast.expr]) -> ast.expr:
    """Return an expression with names replaced by expressions."""
    return rebuilt(node, lambda n: values.get(n.id, n), calls=False)


def renamed(node: ast.expr, names: Mapping[str, str]) -> ast.expr:
    """Return an expression with names replaced by names."""
    return with_names(node, {n: name(replacement) for n, replacement in names.items()})


def term_places(node: ast.expr) -> Iterator[Place]:
    """Yield the terms of a sum; another expression is its only term."""
    parts = terms(node)
    yield from ((part, partial(_term, parts, k)) for k, (_, part) in enumerate(parts))


def _factor(parts: Sequence[ast.expr], k: int, new: ast.expr) -> ast.expr:
    return product(swapped(parts, k, new))


def _argument(function: ast.expr, parts: Sequence[ast.expr], k: int, new: ast.expr) -> ast.expr:
    return ast.Call(function, swapped(parts, k, new), [])


def _term(parts: Sequence[Term], k: int, new: ast.expr) -> ast.expr:
    return total(swapped(parts, k, (parts[k][0], new)))


def places(node: ast.expr) -> Iterator[Place]:
    """Yield the parts of an expression."""
    match node:
        case ast.BinOp(_, ast.Mult()):
            parts = factors(node)
            for k, part in enumerate(parts):
                yield part, partial(_factor, parts, k)
        case ast.BinOp(_, ast.Add() | ast.Sub()):
            yield from term_places(node)
        case ast.BinOp(left, ast.MatMult(), right):
            yield left, lambda new: ast.BinOp(new, ast.MatMult(), right)
            yield right, lambda new: ast.BinOp(left, ast.MatMult(), new)
        case ast.BinOp(left, ast.Div(), right):
            yield left, lambda new: ast.BinOp(new, ast.Div(), right)
            yield right, lambda new: ast.BinOp(left, ast.Div(), new)
        case ast.BinOp(left, op, right):
            yield left, lambda new: ast.BinOp(new, op, right)
        case ast.Call(function, arguments):
            for k, argument in enumerate(arguments):
                yield argument, partial(_argument, function, arguments, k)
        case ast.Attribute(value, attribute):
            yield value, lambda new: ast.Attribute(new, attribute, ast.Load())


def variants(node: ast.expr, scope: Scope) -> Iterator[Variant]:
    """Yield all single edits of an expression and of its parts."""
    match node:
        case ast.BinOp(_, ast.Mult()):
            yield from _product(factors(node))
        case ast.BinOp(_, ast.Add() | ast.Sub()):
            yield from _sum(terms(node))
        case ast.BinOp(left, ast.MatMult() as op, ast.Name(id) as right) if id in scope.square:
            turned = ast.BinOp(left, op, ast.Attribute(right, "T", ast.Load()))
            yield Variant(turned, (right, " is transposed"), 1)
            yield from _taken_out(left, right)
        case ast.BinOp(left, ast.Div(), right):
            yield Variant(left, ("the division by ", right, " is missing"), 0)
        case ast.BinOp(_, ast.Pow()):
            yield from _power(node, scope)
        case ast.Call(ast.Name(function), arguments):
            yield from _call(node, function, arguments, scope)
        case ast.Attribute(ast.Name(id) as value) if id in scope.square:
            yield Variant(value, (value, " is not transposed"), 1)
        case ast.Name():
            yield from _name(node, scope)
        case ast.Constant():
            yield Variant(ast.Constant(2), ("2 stands in the place of ", node), 3)
    for part, put in places(node):
        yield from (replace(v, value=put(v.value)) for v in variants(part, scope))
    for part, put in places(node) if scope.sums else ():
        if isinstance(part, ast.Name) and part.id in scope.sums:
            yield from _defined(node, part, put, scope)


def _defined(
    node: ast.expr, part: ast.Name, put: Callable[[ast.expr], ast.expr], scope: Scope
) -> Iterator[Variant]:
    """Yield edits of the sum that a name stands for, if it is a factor or a term."""
    definition = scope.sums[part.id]
    if len(factors(node)) > 1:
        rest = [factor for factor in factors(node) if factor is not part]
        yield from _misplaced(rest, part, terms(definition))
        yield from _distributed(rest, terms(definition), scope)
    elif len(terms(node)) > 1:
        for v in variants(definition, scope.narrow):
            words = (*v.words, " in the ", part, " that is read here")
            yield Variant(put(v.value), words, v.rank + 1)


def _product(parts: Sequence[ast.expr]) -> Iterator[Variant]:
    for k, part in enumerate(parts):
        rest = swapped(parts, k)
        yield Variant(product(rest), ("the factor ", part, " is missing"), 0)
        twice = product(swapped(parts, k, part, part))
        yield Variant(twice, ("the factor ", part, " is there twice"), 1)
        yield Variant(ast.BinOp(product(rest), ast.Div(), part), (part, " divides"), 3)
        yield from _misplaced(rest, part, terms(part))
    for before, gone, after in runs(parts):
        words = ("the factors ", product(gone), " are missing")
        yield Variant(product([*before, *after]), words, 2)
    for k in range(1, len(parts)):
        left, right = product(parts[:k]), product(parts[k:])
        yield Variant(total([(1, left), (1, right)]), ("+ stands in the place of a *",), 4)
        yield Variant(total([(1, left), (-1, right)]), ("- stands in the place of a *",), 4)


def _taken_out(left: ast.expr, matrix: ast.expr) -> Iterator[Variant]:
    """Yield a product with a square matrix in which a factor acts after it, not before."""
    parts = factors(left)
    for k, part in enumerate(parts) if len(parts) > 1 else ():
        rest = product(swapped(parts, k))
        after = product([part, ast.BinOp(rest, ast.MatMult(), matrix)])
        words = (part, " multiplies the product with ", matrix, ", not ", rest, " before it")
        yield Variant(after, words, 1)


def _distributed(
    rest: Sequence[ast.expr], parts: Sequence[Term], scope: Scope
) -> Iterator[Variant]:
    """Yield edits of one term of a factor that is a sum, after multiplying out."""
    products = [(sign, product([*factors(part), *rest])) for sign, part in parts]
    yield from _changed_terms(products)
    for part, put in term_places(total(products)):
        for v in variants(part, replace(scope, sums={})):
            yield Variant(put(v.value), (*v.words, " in the term ", part), v.rank + 1)


def _changed_terms(parts: Sequence[Term], rank: int = 1) -> Iterator[Variant]:
    """Yield sums in which a term is missing, or has the other sign."""
    for k, (sign, part) in enumerate(parts):
        words = ("the term ", *_signed(sign, part))
        yield Variant(total(swapped(parts, k)), (*words, " is missing"), rank)
        flipped = total(swapped(parts, k, (-sign, part)))
        yield Variant(flipped, (*words, " has the other sign"), rank + 1)


def _misplaced(
    rest: Sequence[ast.expr], sum_expression: ast.expr, parts: Sequence[Term]
) -> Iterator[Variant]:
    """Yield products in which some factors multiply only some terms: missing parentheses."""
    if len(parts) < 2:
        return
    indices = set(range(len(parts)))
    for size in range(1, len(rest) + 1):
        for chosen in combinations(range(len(rest)), size):
            inner = [rest[k] for k in chosen]
            outer = [f for k, f in enumerate(rest) if k not in chosen]
            for k in range(len(parts)):
                yield _partly(outer, inner, sum_expression, parts, {k})
                if len(parts) > 2:
                    yield _partly(outer, inner, sum_expression, parts, indices - {k})


def _partly(
    outer: Sequence[ast.expr],
    inner: Sequence[ast.expr],
    sum_expression: ast.expr,
    parts: Sequence[Term],
    on: set[int],
) -> Variant:
    """Return outer * (sum of terms), where the factors ``inner`` multiply only some terms."""
    new = [(s, product([t, *inner]) if k in on else t) for k, (s, t) in enumerate(parts)]
    reached = total([(1, parts[k][1]) for k in sorted(on)])
    missed = total([(1, t) for k, (_, t) in enumerate(parts) if k not in on])
    words = (
        "parentheses are missing: ", product(inner), " multiplies ", reached, " and not ", missed,
        ", the other part of ", sum_expression,
    )  # fmt: skip
    return Variant(product([*outer, total(new)]), words, 2)


def _sum(parts: Sequence[Term]) -> Iterator[Variant]:
    yield from _changed_terms(parts, rank=0)
    for k, (sign, part) in enumerate(parts):
        rest = swapped(parts, k)
        if len(rest) == 1 and rest[0][0] < 0:
            yield Variant(rest[0][1], (rest[0][1], " stands in the place of ", total(parts)), 0)
        words = ("the term ", *_signed(sign, part), " is added twice")
        yield Variant(total([*parts, (sign, part)]), words, 1)
    for before, gone, after in runs(parts):
        words = ("the terms ", total(gone))
        yield Variant(total([*before, *after]), (*words, " are missing"), 2)
        turned = total([*before, *_negated(gone), *after])
        yield Variant(turned, (*words, " have the other sign"), 2)
    if any(sign < 0 for sign, _ in parts):
        yield Variant(total(_negated(parts)), (total(parts), " has the other sign"), 1)
    if len(parts) == 2:
        times = product([part for _, part in parts])
        yield Variant(times, ("* stands in the place of a + or -",), 4)


def _power(node: ast.BinOp, scope: Scope) -> Iterator[Variant]:
    root = isinstance(node.right, ast.Constant) and node.right.value == 1 / 2
    operation = "root" if root else "square"
    yield Variant(node.left, (f"the {operation} of ", node.left, " is not taken"), 0)
    for power in (3, 4):
        raised = ast.BinOp(node.left, ast.Pow(), ast.Constant(power))
        yield Variant(raised, (raised, " stands in the place of ", node), 3)
    doubled = product([ast.Constant(2), node.left])
    yield Variant(doubled, (doubled, " stands in the place of ", node), 2)
    for v in variants(node.left, scope):
        words = (*v.words, " in one factor of ", node)
        yield Variant(product([v.value, node.left]), words, v.rank + 1)


ROWS: tuple[tuple[str, Words, int], ...] = (
    ("mean_rows", ("rows are averaged, not summed",), 0),
    ("first_row", ("the first row alone is counted",), 1),
    ("last_row", ("the last row alone is counted",), 1),
)
"""Functions in the place of a sum over rows, with words and rank."""


def _call(
    node: ast.Call, function: str, arguments: Sequence[ast.expr], scope: Scope
) -> Iterator[Variant]:
    argument = arguments[0]
    if len(arguments) > 1:
        for part in arguments:
            yield Variant(part, (part, " stands in the place of ", node), 1)
        return
    if function == "rows":
        yield from (
            Variant(call(replacement, argument), words, rank) for replacement, words, rank in ROWS
        )
        return
    if function != "positive":
        yield Variant(argument, (f"{function} is not applied to ", argument), 0)
        words = (f"{function} is applied twice to ", argument)
        yield Variant(call(function, node), words, 1)
    others = {name: words for name, (_, words) in ACTIVATIONS.items() if scope.in_forward_step}
    others |= {name: name for name in ("tanh", "sigmoid", "relu", "positive")}
    for replacement in sorted(others.keys() - {function}):
        text = f"{others[replacement]} stands in the place of {function}"
        yield Variant(call(replacement, argument), (text,), 2)
    if function == "sigmoid" and scope.in_forward_step:
        yield from _complements(argument, scope)


def _complements(argument: ast.expr, scope: Scope) -> Iterator[Variant]:
    """Yield a gate as 1 minus itself, or minus another gate."""
    own_name = argument.id if isinstance(argument, ast.Name) else ""
    for gate_name in (own_name, *(n for n in scope.alike.get(own_name, ()) if n.startswith("a_"))):
        letter = gate_name.removeprefix("a_")
        words = f"it is 1 - {letter}" + (
            ", of another gate" if gate_name != own_name else ": turned round"
        )
        yield Variant(complement(call("sigmoid", name(gate_name))), (words,), 1)


def _name(node: ast.Name, scope: Scope) -> Iterator[Variant]:
    alike = scope.alike.get(node.id, ())
    for replacement in alike:
        yield Variant(name(replacement), (name(replacement), " stands in the place of ", node), 1)
    if node.id in scope.carried:
        words = (node, " counts at the last step only: what later steps pass back is left out")
        yield Variant(product([name("last"), node]), words, 1)
        words = (node, " is left out at the last step: the gradient of the final state is not read")
        yield Variant(product([complement(name("last")), node]), words, 1)
    if node.id in scope.saved:
        for shift in SHIFTS:
            other_step = name(f"{node.id}__{shift}")
            so: Words = (other_step, " stands in the place of ", node, beyond(node.id, shift))
            yield Variant(other_step, so, 2)
    if scope.in_forward_step and (node.id.endswith("_old") or node.id in GATES):
        for function in ("tanh", "sigmoid", "relu"):
            squashed = call(function, node)
            yield Variant(squashed, (squashed, " stands in the place of ", node), 2)
    if node.id in GATES and scope.alike:
        ranks = {node.id: 1} | {n: 3 for n in alike if scope.in_forward_step and n in GATES}
        for replacement, rank in ranks.items():
            turned = complement(name(replacement))
            yield Variant(turned, (turned, " stands in the place of ", node), rank)


def _negated(parts: Sequence[Term]) -> list[Term]:
    return [(-sign, part) for sign, part in parts]


def _signed(sign: int, node: ast.expr) -> Words:
    return (node,) if sign > 0 else ("-", node)
