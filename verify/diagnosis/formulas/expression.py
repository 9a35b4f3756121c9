"""Every single edit of an expression: what a slip of the hand makes of a formula."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from .program import rebuilt
from .wording import beyond, shown

Term = tuple[int, ast.expr]
"""A sign and what stands behind it."""

SHIFTS = tuple(f"{way}_{end}" for way in ("prev", "next") for end in ("zero", "wrap", "edge"))


@dataclass(frozen=True)
class Variant:
    """An edited expression, what the edit is in words, and how far-fetched: 0 is the simplest."""

    value: ast.expr
    words: str
    rank: int


@dataclass(frozen=True)
class Scope:
    """What an expression may read.

    ``alike`` are the other names of each name's shape, ``square`` matrices whose transpose has
    their shape, ``sums`` the definitions of names that are sums, ``saved`` the names that every
    step has its own of, ``carried`` those that come from the later step.
    """

    alike: Mapping[str, Sequence[str]] = field(default_factory=dict)
    square: frozenset[str] = frozenset()
    sums: Mapping[str, ast.expr] = field(default_factory=dict)
    saved: frozenset[str] = frozenset()
    carried: frozenset[str] = frozenset()

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
    if not parts:
        return ast.Constant(1)
    result = parts[0]
    for part in parts[1:]:
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
            yield Variant(node.value, f"{shown(node.value)} is not transposed", 1)
        for v in variants(node.value, scope):
            yield replace(v, value=ast.Attribute(v.value, "T", ast.Load()))
    elif isinstance(node, ast.Name):
        yield from _name(node, scope)
    elif isinstance(node, ast.Constant):
        yield Variant(ast.Constant(2), f"2 stands in the place of {node.value}", 3)


def _product(parts: Sequence[ast.expr], scope: Scope) -> Iterator[Variant]:
    for k, part in enumerate(parts):
        rest = [*parts[:k], *parts[k + 1 :]]
        yield Variant(product(rest), f"the factor {_bracketed(part)} is missing", 0)
        yield Variant(
            product([*parts[: k + 1], *parts[k:]]), f"the factor {_bracketed(part)} is there twice", 1
        )
        yield Variant(
            ast.BinOp(product(rest), ast.Div(), part), f"{_bracketed(part)} divides", 3
        )
        for v in variants(part, scope):
            yield replace(v, value=product([*parts[:k], v.value, *parts[k + 1 :]]))
        yield from _misplaced(rest, part, terms(part))
        if isinstance(part, ast.Name) and part.id in scope.sums:
            yield from _misplaced(rest, part, terms(scope.sums[part.id]))
            for v in variants(scope.sums[part.id], scope.narrow):
                words = f"{v.words} in the {shown(part)} that is read here"
                yield Variant(product([*parts[:k], v.value, *parts[k + 1 :]]), words, v.rank + 1)
    for k in range(1, len(parts)):
        left, right = product(parts[:k]), product(parts[k:])
        yield Variant(total([(1, left), (1, right)]), "+ stands in the place of a *", 4)
        yield Variant(total([(1, left), (-1, right)]), "- stands in the place of a *", 4)


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
    reached = " and ".join(shown(parts[k][1]) for k in sorted(on))
    missed = " and ".join(shown(t) for k, (_, t) in enumerate(parts) if k not in on)
    words = (
        f"parentheses are missing: {shown(product(inner))} multiplies {reached} and not {missed}, "
        f"the other part of {_bracketed(whole)}"
    )
    return Variant(product([*outer, total(new)]), words, 2)


def _sum(parts: Sequence[Term], scope: Scope) -> Iterator[Variant]:
    for k, (sign, part) in enumerate(parts):
        rest = [*parts[:k], *parts[k + 1 :]]
        yield Variant(total(rest), f"the term {_signed(sign, part)} is missing", 0)
        if len(rest) == 1 and rest[0][0] < 0:
            words = f"{shown(rest[0][1])} stands in the place of {shown(total(parts))}"
            yield Variant(rest[0][1], words, 0)
        flipped = [*parts[:k], (-sign, part), *parts[k + 1 :]]
        yield Variant(total(flipped), f"the term {_signed(sign, part)} has the other sign", 1)
        doubled = [*parts, (sign, part)]
        yield Variant(total(doubled), f"the term {_signed(sign, part)} is added twice", 1)
        for v in variants(part, scope):
            yield replace(v, value=total([*parts[:k], (sign, v.value), *parts[k + 1 :]]))
        if isinstance(part, ast.Name) and part.id in scope.sums:
            for v in variants(scope.sums[part.id], scope.narrow):
                words = f"{v.words} in the {shown(part)} that is read here"
                new = [*parts[:k], (sign, v.value), *parts[k + 1 :]]
                yield Variant(total(new), words, v.rank + 1)
    if any(sign < 0 for sign, _ in parts):
        new = [(-sign, part) for sign, part in parts]
        yield Variant(total(new), f"{_bracketed(total(parts))} has the other sign", 1)
    if len(parts) == 2:
        words = "* stands in the place of a + or -"
        yield Variant(product([part for _, part in parts]), words, 4)


def _matrix_product(node: ast.BinOp, scope: Scope) -> Iterator[Variant]:
    if isinstance(node.right, ast.Name) and node.right.id in scope.square:
        turned = ast.Attribute(node.right, "T", ast.Load())
        yield Variant(
            ast.BinOp(node.left, node.op, turned), f"{shown(node.right)} is transposed", 1
        )
    for v in variants(node.left, scope):
        yield replace(v, value=ast.BinOp(v.value, node.op, node.right))
    for v in variants(node.right, scope):
        yield replace(v, value=ast.BinOp(node.left, node.op, v.value))


def _power(node: ast.BinOp, scope: Scope) -> Iterator[Variant]:
    yield Variant(node.left, f"the square of {shown(node.left)} is not taken", 0)
    for power in (3, 4):
        raised = ast.BinOp(node.left, ast.Pow(), ast.Constant(power))
        yield Variant(raised, f"{shown(raised)} stands in the place of {shown(node)}", 3)
    doubled = product([ast.Constant(2), node.left])
    yield Variant(doubled, f"{shown(doubled)} stands in the place of {shown(node)}", 2)
    for v in variants(node.left, scope):
        yield replace(v, value=ast.BinOp(v.value, node.op, node.right))


def _call(node: ast.Call, scope: Scope) -> Iterator[Variant]:
    (argument,), function = node.args, node.func
    assert isinstance(function, ast.Name)  # noqa: S101 - programs have no methods
    if function.id == "rows":
        yield Variant(_called("mean_rows", argument), "rows are averaged, not summed", 0)
        yield Variant(_called("first_row", argument), "the first row alone is counted", 1)
        yield Variant(_called("last_row", argument), "the last row alone is counted", 1)
    else:
        if function.id != "positive":
            yield Variant(argument, f"{function.id} is not applied to {shown(argument)}", 0)
            words = f"{function.id} is applied twice to {shown(argument)}"
            yield Variant(_called(function.id, node), words, 1)
        for other in {"tanh", "sigmoid", "relu", "positive"} - {function.id}:
            words = f"{other} stands in the place of {function.id}"
            yield Variant(_called(other, argument), words, 2)
    for v in variants(argument, scope):
        yield replace(v, value=_called(function.id, v.value))


def _called(function: str, argument: ast.expr) -> ast.expr:
    return ast.Call(name(function), [argument], [])


def _name(node: ast.Name, scope: Scope) -> Iterator[Variant]:
    for other in scope.alike.get(node.id, ()):
        words = f"{shown(other)} stands in the place of {shown(node)}"
        yield Variant(name(other), words, 1)
    if node.id in scope.carried:
        yield Variant(
            product([name("last"), node]),
            f"{shown(node)} counts at the last step only: what later steps pass back is left out",
            1,
        )
        yield Variant(
            product([total([(1, ast.Constant(1)), (-1, name("last"))]), node]),
            f"{shown(node)} is left out at the last step: the gradient of the final state is not "
            "read",
            1,
        )
    if node.id in scope.saved:
        for shift in SHIFTS:
            other_step = name(f"{node.id}__{shift}")
            words = (
                f"{shown(other_step)} stands in the place of {shown(node)}{beyond(other_step)}"
            )
            yield Variant(other_step, words, 2)
    if len(node.id) == 1 and node.id in "ifgorzn" and scope.alike:
        turned = total([(1, ast.Constant(1)), (-1, node)])
        yield Variant(turned, f"{shown(turned)} stands in the place of {shown(node)}", 1)


def _bracketed(node: ast.expr) -> str:
    return f"({shown(node)})" if len(terms(node)) > 1 else shown(node)


def _signed(sign: int, node: ast.expr) -> str:
    return shown(node) if sign > 0 else f"-{_bracketed(node)}"
