"""Typical mistakes as single edits of a backward pass's source, and the place of each.

``edits`` reads the functions whose name contains ``backward``, or else ``vjp``,
and of these the statements with a comment ``# at:`` that names their gate, path or array. An
edit changes the syntax tree; the caller tests whether it runs and changes results.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

TERM, FACTOR, FUNCTION = "term dropped", "factor dropped", "function dropped"
NAME, STATE = "name exchanged", "state of another step"
SIGN, TIME, BOUNDS = "sign changed", "time index changed", "loop bounds changed"
PARENTHESIS, SUM, TRANSPOSE = "parenthesis misplaced", "sum overwritten", "transpose dropped"

KINDS = (TERM, FACTOR, FUNCTION, NAME, STATE, SIGN, TIME, BOUNDS, PARENTHESIS, SUM, TRANSPOSE)

AFTER = re.compile(r"_?(prev|next|new|old)t?$")
"""The part of a name that tells apart the same state at two steps."""

CLOCK = "t"
"""The variable of the step."""


@dataclass(frozen=True)
class Edit:
    """One edit: its kind, the statement before and after, the wrong places, the whole source.

    ``places`` are words for the same place: ``gate f``, ``path c``, ``W``, ``x``, ``time``.
    """

    number: int
    kind: str
    line: int
    before: str
    after: str
    places: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.kind}: {self.before}  →  {self.after}"


@dataclass(frozen=True)
class _Slot:
    """A place of an expression in the tree."""

    owner: Any
    key: str | int

    def get(self) -> Any:
        return self.owner[self.key] if isinstance(self.key, int) else getattr(self.owner, self.key)

    def put(self, node: Any) -> None:
        if isinstance(self.key, int):
            self.owner[self.key] = node
        else:
            setattr(self.owner, self.key, node)


def edits(source: str) -> list[Edit]:
    """Return every edit of a module's backward pass, in the order of lines."""
    tree, lines, results = ast.parse(source), source.splitlines(), list[Edit]()
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    backward = [f for f in functions if "backward" in f.name]
    for function in backward or [f for f in functions if f.name == "vjp"]:
        names = _arrays(function, lines)
        for statement in _statements(function):
            groups = _groups(statement, lines)
            if not groups:
                continue
            before = _text_of(statement)
            for slot, kind, new in _alternatives(statement, names):
                old, places = slot.get(), _places(statement, slot, groups)
                slot.put(new)
                after = _text_of(statement)
                slot.put(old)
                if kind == SUM:
                    after = before.replace(" += ", " = ", 1)
                if after != before:
                    text = _replace_statement(lines, statement, after)
                    place = len(results), kind, statement.lineno
                    results.append(Edit(*place, before, after, places, text))
    return results


def _replace_statement(lines: Sequence[str], statement: Any, after: str) -> str:
    """Return the source with a statement, or a loop's header, replaced."""
    header = isinstance(statement, ast.For)
    end = statement.lineno if header else statement.end_lineno
    before, rest = lines[: statement.lineno - 1], lines[end:]
    return "\n".join([*before, " " * statement.col_offset + after, *rest, ""])


def _statements(function: ast.FunctionDef) -> Iterator[ast.stmt]:
    """Yield a function's statements, nested ones included."""
    yield from (node for node in ast.walk(function) if isinstance(node, ast.stmt))


def _groups(statement: ast.stmt, lines: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the places in a statement's comment, one group per entry of a list."""
    if not isinstance(statement, ast.Assign | ast.AugAssign | ast.For):
        return []
    last = statement.lineno if isinstance(statement, ast.For) else statement.end_lineno
    for line in lines[statement.lineno - 1 : last]:
        if "# at: " in line:
            groups = line.partition("# at: ")[2].split("|")
            return [tuple(word.strip() for word in group.split(",")) for group in groups]
    return []


def _places(statement: Any, slot: _Slot, groups: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the group of the list's entry with an edit, or all groups."""
    for node in ast.walk(statement.value) if len(groups) > 1 else ():
        entries = getattr(node, "elts", ())
        if len(entries) != len(groups):
            continue
        for k, (entry, group) in enumerate(zip(entries, groups, strict=True)):
            inside = (slot.owner is entries and slot.key == k) or any(
                slot.owner is part or slot.owner is getattr(part, "args", None)
                for part in ast.walk(entry)
            )
            if inside:
                return group
    return tuple(dict.fromkeys(word for group in groups for word in group))


def _text_of(statement: Any) -> str:
    if isinstance(statement, ast.For):
        return f"for {ast.unparse(statement.target)} in {ast.unparse(statement.iter)}:"
    return ast.unparse(statement)


def _arrays(function: ast.FunctionDef, lines: Sequence[str]) -> tuple[str, ...]:
    """Return the names in a function's computations."""
    nodes = (
        slot.get() for statement in _statements(function)
        if _groups(statement, lines) and not isinstance(statement, ast.For)
        for slot in _slots(statement)
    )  # fmt: skip
    return tuple(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)))


def _slots(node: Any) -> Iterator[_Slot]:
    """Yield the places of all expressions that compute values, but not indices or functions."""
    skipped = {ast.Subscript: ("slice",), ast.Call: ("func", "keywords")}
    for name, value in ast.iter_fields(node):
        if name in ("targets", "target", "body", "orelse") or name in skipped.get(type(node), ()):
            continue
        if isinstance(value, ast.expr):
            yield _Slot(node, name)
            yield from _slots(value)
        elif isinstance(value, list):
            for k, entry in enumerate(value):
                if isinstance(entry, ast.expr):
                    yield _Slot(value, k)
                    yield from _slots(entry)
    method = node.func if isinstance(node, ast.Call) else None
    if isinstance(method, ast.Attribute) and ast.unparse(method.value) != "np":
        yield _Slot(method, "value")  # a of a.sum(), but not np of np.tanh()
        yield from _slots(method.value)


Alternative = tuple[_Slot, str, Any]


def _alternatives(statement: Any, names: Sequence[str]) -> Iterator[Alternative]:
    if isinstance(statement, ast.For):
        slot = _Slot(statement, "iter")
        yield from ((slot, BOUNDS, _parse(text)) for text in _other_loops(ast.unparse(slot.get())))
        return
    if isinstance(statement, ast.AugAssign):
        yield _Slot(statement, "op"), SIGN, ast.Sub()
    for slot in list(_slots(statement)):
        node = slot.get()
        if isinstance(node, ast.BinOp):
            yield from ((slot, kind, new) for kind, new in _binary(node))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.tanh":
            yield slot, FUNCTION, node.args[0]
        if isinstance(node, ast.Attribute) and node.attr == "T":
            yield slot, TRANSPOSE, node.value
        if isinstance(node, ast.Name):
            for name in names:
                kind = STATE if AFTER.sub("", name) == AFTER.sub("", node.id) else NAME
                yield slot, kind, ast.Name(name, ast.Load())
    yield from _other_steps(statement)
    if isinstance(statement, ast.AugAssign):
        yield _Slot(statement, "op"), SUM, ast.Sub()  # any: the text is made from the statement's


def _binary(node: ast.BinOp) -> Iterator[tuple[str, Any]]:
    left, right, op = node.left, node.right, node.op
    if isinstance(op, ast.Add):
        yield from ((TERM, left), (TERM, right), (SIGN, ast.BinOp(left, ast.Sub(), right)))
    if isinstance(op, ast.Sub):
        yield from ((TERM, left), (TERM, ast.UnaryOp(ast.USub(), right)))
        yield SIGN, ast.BinOp(left, ast.Add(), right)
        yield SIGN, ast.BinOp(right, ast.Sub(), left)
    if isinstance(op, ast.Mult):
        yield from ((FACTOR, left), (FACTOR, right))
        if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add | ast.Sub):
            late = ast.BinOp(left.right, ast.Mult(), right)
            yield PARENTHESIS, ast.BinOp(left.left, left.op, late)
        if isinstance(right, ast.BinOp) and isinstance(right.op, ast.Add | ast.Sub):
            early = ast.BinOp(left, ast.Mult(), right.left)
            yield PARENTHESIS, ast.BinOp(early, right.op, right.right)
    if isinstance(op, ast.Pow):
        yield FACTOR, left


def _other_steps(statement: Any) -> Iterator[Alternative]:
    """Yield other indices of time, in reads and in writes."""
    for node in ast.walk(statement):
        if not isinstance(node, ast.Subscript):
            continue
        slots = [_Slot(node, "slice")]
        if isinstance(node.slice, ast.Tuple):
            slots = [_Slot(node.slice.elts, k) for k in range(len(node.slice.elts))]
        for slot in slots:
            text = ast.unparse(slot.get())
            others = {CLOCK: (f"{CLOCK} - 1", f"{CLOCK} + 1", f"-1 - {CLOCK}"),
                      f"{CLOCK} - 1": (CLOCK,)}  # fmt: skip
            for index in others.get(text, ()):
                yield slot, STATE if text != CLOCK else TIME, _parse(index)


LOOPS = {
    "reversed(range(END))":
        ("range(END)", "reversed(range(1, END))", "reversed(range(END - 1))"),
    "range(END)[::-1]": ("range(END)", "range(1, END)[::-1]", "range(END - 1)[::-1]"),
    "range(END - 1, -1, -1)":
        ("range(END)", "range(END - 1, 0, -1)", "range(END - 2, -1, -1)"),
}  # fmt: skip
"""Backward loops over steps up to END, and wrong versions of them."""


def _other_loops(text: str) -> Iterator[str]:
    """Yield loops over other steps, or in another order."""
    for loop, others in LOOPS.items():
        if end := re.fullmatch(re.escape(loop).replace("END", "(.*)"), text):
            yield from (header.replace("END", end[1]) for header in others)


def _parse(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
