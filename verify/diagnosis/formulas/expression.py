"""Every single edit of an expression: what a slip of the hand makes of a formula."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from .activations import ACTIVATIONS
from .phrases import Words, beyond
from .program import rebuilt

Term = tuple[int, ast.expr]
"""A sign and what stands behind it."""

SHIFTS = (
    *(f"{way}_{end}" for way in ("prev", "next") for end in ("zero", "wrap", "edge")),
    "mirror_wrap",
)


@dataclass(frozen=True)
class Variant:
    """An edited expression, what the edit is in words, and how far-fetched: 0 is the simplest."""

    value: ast.expr
    words: Words
    rank: int


@dataclass(frozen=True)
class Scope:
    """What an expression may read.

    ``alike`` are the other names of each name's shape, ``square`` matrices whose transpose has
    their shape, ``sums`` the definitions of names that are sums, ``saved`` the names that every
    step has its own of, ``carried`` those that come from the later step; ``ahead``: it is one of
    the step itself, whose activations may be any.
    """

    alike: Mapping[str, Sequence[str]] = field(default_factory=dict)
    square: frozenset[str] = frozenset()
    sums: Mapping[str, ast.expr] = field(default_factory=dict)
    saved: frozenset[str] = frozenset()
    carried: frozenset[str] = frozenset()
    ahead: bool = False

    @property
    def narrow(self) -> Scope:
        """Without other names: for the edits of a definition where it is used once."""
        return replace(self, alike={}, sums={}, saved=frozenset())


def name(text: str) -> ast.expr:
    """Return a name as an expression."""
    return ast.Name(text, ast.Load())


def factors(node: ast.expr) -> list[ast.expr]:
    """Return the factors of a product, one for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*factors(node.left), *factors(node.right)]
    return [node]


def product(parts: Sequence[ast.expr]) -> ast.expr:
    """Return the product of factors; 1 of none."""
    kept = [p for p in parts if not (isinstance(p, ast.Constant) and p.value == 1)]
    if not kept:
        return ast.Constant(1)
    result = kept[0]
    for part in kept[1:]:
        result = ast.BinOp(result, ast.Mult(), part)
    return result


def terms(node: ast.expr) -> list[Term]:
    """Return the terms of a sum, one for anything else."""
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


def renamed(node: ast.expr, names: Mapping[str, str]) -> ast.expr:
    """Return an expression with names exchanged."""
    return rebuilt(node, lambda n: name(names.get(n.id, n.id)), calls=False)


def variants(node: ast.expr, scope: Scope) -> Iterator[Variant]:
    """Yield every single edit of an expression."""
    if len(factors(node)) > 1:
        yield from _product(factors(node), scope)
    elif len(terms(node)) > 1:
        yield from _sum(terms(node), scope)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield from _matrix_product(node, scope)
    elif isinstance(node, ast.BinOp):
        yield from _power(node, scope)
    elif isinstance(node, ast.Call):
        yield from _call(node, scope)
    elif isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id in scope.square:
            yield Variant(node.value, (node.value, " is not transposed"), 1)
        for v in variants(node.value, scope):
            yield replace(v, value=ast.Attribute(v.value, "T", ast.Load()))
    elif isinstance(node, ast.Name):
        yield from _name(node, scope)
    elif isinstance(node, ast.Constant):
        yield Variant(ast.Constant(2), ("2 stands in the place of ", node), 3)


def _product(parts: Sequence[ast.expr], scope: Scope) -> Iterator[Variant]:
    for k, part in enumerate(parts):
        rest = [*parts[:k], *parts[k + 1 :]]
        yield Variant(product(rest), ("the factor ", part, " is missing"), 0)
        yield Variant(
            product([*parts[: k + 1], *parts[k:]]), ("the factor ", part, " is there twice"), 1
        )
        yield Variant(ast.BinOp(product(rest), ast.Div(), part), (part, " divides"), 3)
        for v in variants(part, scope):
            yield replace(v, value=product([*parts[:k], v.value, *parts[k + 1 :]]))
        yield from _misplaced(rest, part, terms(part))
        if isinstance(part, ast.Name) and part.id in scope.sums:
            yield from _misplaced(rest, part, terms(scope.sums[part.id]))
            yield from _distributed(rest, terms(scope.sums[part.id]), scope)
    yield from _gaps(parts)
    for k in range(1, len(parts)):
        left, right = product(parts[:k]), product(parts[k:])
        yield Variant(total([(1, left), (1, right)]), ("+ stands in the place of a *",), 4)
        yield Variant(total([(1, left), (-1, right)]), ("- stands in the place of a *",), 4)


def _gaps(parts: Sequence[ast.expr]) -> Iterator[Variant]:
    """Yield that several neighbouring factors are missing."""
    for size in range(2, len(parts)):
        for k in range(len(parts) - size + 1):
            gone = product(parts[k : k + size])
            rest = product([*parts[:k], *parts[k + size :]])
            yield Variant(rest, ("the factors ", gone, " are missing"), 2)


def _distributed(
    rest: Sequence[ast.expr], parts: Sequence[Term], scope: Scope
) -> Iterator[Variant]:
    """Yield edits of one term of a sum that is a factor, multiplied out."""
    each = [(sign, product([*factors(part), *rest])) for sign, part in parts]
    for k, (sign, part) in enumerate(each):
        kept = [*each[:k], *each[k + 1 :]]
        yield Variant(total(kept), ("the term ", *_signed(sign, part), " is missing"), 1)
        flipped = [*each[:k], (-sign, part), *each[k + 1 :]]
        yield Variant(total(flipped), ("the term ", *_signed(sign, part), " has the other sign"), 2)
        for v in variants(part, replace(scope, sums={})):
            words = (*v.words, " in the term ", part)
            new = [*each[:k], (sign, v.value), *each[k + 1 :]]
            yield Variant(total(new), words, v.rank + 1)


def _misplaced(
    rest: Sequence[ast.expr], whole: ast.expr, parts: Sequence[Term]
) -> Iterator[Variant]:
    """Yield that some factors multiply some terms of a sum only: parentheses are missing."""
    if len(parts) < 2:
        return
    for size in range(1, len(rest) + 1):
        for chosen in combinations(range(len(rest)), size):
            inner = [rest[k] for k in chosen]
            outer = [f for k, f in enumerate(rest) if k not in chosen]
            for k, (_, part) in enumerate(parts):
                yield _partly(outer, inner, whole, parts, {k})
                if len(parts) > 2:
                    others = set(range(len(parts))) - {k}
                    yield _partly(outer, inner, whole, parts, others)
                del part


def _partly(
    outer: Sequence[ast.expr],
    inner: Sequence[ast.expr],
    whole: ast.expr,
    parts: Sequence[Term],
    on: set[int],
) -> Variant:
    """Return outer * (sum of terms), where the factors ``inner`` are on some terms alone."""
    new = [(s, product([t, *inner]) if k in on else t) for k, (s, t) in enumerate(parts)]
    reached = total([(1, parts[k][1]) for k in sorted(on)])
    missed = total([(1, t) for k, (_, t) in enumerate(parts) if k not in on])
    words = (
        "parentheses are missing: ", product(inner), " multiplies ", reached, " and not ", missed,
        ", the other part of ", whole,
    )  # fmt: skip
    return Variant(product([*outer, total(new)]), words, 2)


def _sum(parts: Sequence[Term], scope: Scope) -> Iterator[Variant]:
    for k, (sign, part) in enumerate(parts):
        rest = [*parts[:k], *parts[k + 1 :]]
        yield Variant(total(rest), ("the term ", *_signed(sign, part), " is missing"), 0)
        if len(rest) == 1 and rest[0][0] < 0:
            yield Variant(rest[0][1], (rest[0][1], " stands in the place of ", total(parts)), 0)
        flipped = [*parts[:k], (-sign, part), *parts[k + 1 :]]
        yield Variant(total(flipped), ("the term ", *_signed(sign, part), " has the other sign"), 1)
        doubled = [*parts, (sign, part)]
        yield Variant(total(doubled), ("the term ", *_signed(sign, part), " is added twice"), 1)
        for v in variants(part, scope):
            yield replace(v, value=total([*parts[:k], (sign, v.value), *parts[k + 1 :]]))
        if isinstance(part, ast.Name) and part.id in scope.sums:
            for v in variants(scope.sums[part.id], scope.narrow):
                new = [*parts[:k], (sign, v.value), *parts[k + 1 :]]
                text = (*v.words, " in the ", part, " that is read here")
                yield Variant(total(new), text, v.rank + 1)
    for size in range(2, len(parts)):
        for k in range(len(parts) - size + 1):
            gone = total(parts[k : k + size])
            kept = total([*parts[:k], *parts[k + size :]])
            yield Variant(kept, ("the terms ", gone, " are missing"), 2)
            turned = [(-s if k <= j < k + size else s, t) for j, (s, t) in enumerate(parts)]
            yield Variant(total(turned), ("the terms ", gone, " have the other sign"), 2)
    if any(sign < 0 for sign, _ in parts):
        new = [(-sign, part) for sign, part in parts]
        yield Variant(total(new), (total(parts), " has the other sign"), 1)
    if len(parts) == 2:
        times = product([part for _, part in parts])
        yield Variant(times, ("* stands in the place of a + or -",), 4)


def _matrix_product(node: ast.BinOp, scope: Scope) -> Iterator[Variant]:
    if isinstance(node.right, ast.Name) and node.right.id in scope.square:
        turned = ast.Attribute(node.right, "T", ast.Load())
        yield Variant(ast.BinOp(node.left, node.op, turned), (node.right, " is transposed"), 1)
    for v in variants(node.left, scope):
        yield replace(v, value=ast.BinOp(v.value, node.op, node.right))
        words = (*v.words, " in one factor of ", node)
        yield Variant(product([v.value, node.left]), words, v.rank + 1)
    for v in variants(node.right, scope):
        yield replace(v, value=ast.BinOp(node.left, node.op, v.value))


def _power(node: ast.BinOp, scope: Scope) -> Iterator[Variant]:
    yield Variant(node.left, ("the square of ", node.left, " is not taken"), 0)
    for power in (3, 4):
        raised = ast.BinOp(node.left, ast.Pow(), ast.Constant(power))
        yield Variant(raised, (raised, " stands in the place of ", node), 3)
    doubled = product([ast.Constant(2), node.left])
    yield Variant(doubled, (doubled, " stands in the place of ", node), 2)
    for v in variants(node.left, scope):
        yield replace(v, value=ast.BinOp(v.value, node.op, node.right))
        words = (*v.words, " in one factor of ", node)
        yield Variant(product([v.value, node.left]), words, v.rank + 1)


def _call(node: ast.Call, scope: Scope) -> Iterator[Variant]:
    (argument,), function = node.args, node.func
    assert isinstance(function, ast.Name)  # noqa: S101 - programs have no methods
    if function.id == "rows":
        yield Variant(_called("mean_rows", argument), ("rows are averaged, not summed",), 0)
        yield Variant(_called("first_row", argument), ("the first row alone is counted",), 1)
        yield Variant(_called("last_row", argument), ("the last row alone is counted",), 1)
    else:
        if function.id != "positive":
            yield Variant(argument, (f"{function.id} is not applied to ", argument), 0)
            words = (f"{function.id} is applied twice to ", argument)
            yield Variant(_called(function.id, node), words, 1)
        others = {name: words for name, (_, words) in ACTIVATIONS.items() if scope.ahead}
        others |= {name: name for name in ("tanh", "sigmoid", "relu", "positive")}
        for other in sorted(others.keys() - {function.id}):
            text = f"{others[other]} stands in the place of {function.id}"
            yield Variant(_called(other, argument), (text,), 2)
        if function.id == "sigmoid" and scope.ahead:
            yield from _complements(argument, scope)
    for v in variants(argument, scope):
        yield replace(v, value=_called(function.id, v.value))


def _complements(argument: ast.expr, scope: Scope) -> Iterator[Variant]:
    """Yield that a gate is 1 minus itself, or minus another gate."""
    mine = argument.id if isinstance(argument, ast.Name) else ""
    for other in (mine, *(n for n in scope.alike.get(mine, ()) if n.startswith("a_"))):
        turned = total([(1, ast.Constant(1)), (-1, _called("sigmoid", name(other)))])
        letter = other.removeprefix("a_")
        words = f"it is 1 - {letter}" + (", of another gate" if other != mine else ": turned round")
        yield Variant(turned, (words,), 1)


def _called(function: str, argument: ast.expr) -> ast.expr:
    return ast.Call(name(function), [argument], [])


def _name(node: ast.Name, scope: Scope) -> Iterator[Variant]:
    for other in scope.alike.get(node.id, ()):
        yield Variant(name(other), (name(other), " stands in the place of ", node), 1)
    if node.id in scope.carried:
        yield Variant(
            product([name("last"), node]),
            (node, " counts at the last step only: what later steps pass back is left out"),
            1,
        )
        yield Variant(
            product([total([(1, ast.Constant(1)), (-1, name("last"))]), node]),
            (node, " is left out at the last step: the gradient of the final state is not read"),
            1,
        )
    if node.id in scope.saved:
        for shift in SHIFTS:
            other_step = name(f"{node.id}__{shift}")
            words = (other_step, " stands in the place of ", node, beyond(node.id, shift))
            yield Variant(other_step, words, 2)
    if len(node.id) == 1 and node.id in "ifgorzn" and scope.alike:
        turned = total([(1, ast.Constant(1)), (-1, node)])
        yield Variant(turned, (turned, " stands in the place of ", node), 1)
        for other in scope.alike.get(node.id, ()) if scope.ahead else ():
            if len(other) == 1 and other in "ifgorzn":
                turned = total([(1, ast.Constant(1)), (-1, name(other))])
                yield Variant(turned, (turned, " stands in the place of ", node), 3)


def _signed(sign: int, node: ast.expr) -> Words:
    return (node,) if sign > 0 else ("-", node)
