"""Edits of several statements at once, which code often writes in one line, and of the loop."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from itertools import product as product_of

from ....reference.cells import cell_named
from ....reference.cells.lstm_layer_norm import EPSILON
from .activations import ACTIVATIONS, OF_ROWS
from .edits import (
    OVERWRITTEN,
    Edit,
    Place,
    carried,
    computed,
    is_saved,
    names_of,
    partial_sums,
    replacements,
    saved,
    scaled,
    spare,
    statement_edits,
)
from .expression import ROWS, SHIFTS, call, factors, name, product, terms, total, with_names
from .phrases import beyond, gate, notation, subject_of
from .program import (
    DEVIATIONS,
    Order,
    Program,
    Statement,
    expression,
    last_first,
    right_program,
)
from .texts_of_families import ALL

Member = tuple[int, Statement]
"""A statement of a section, with its number."""


def grouped_forward_edits(program: Program) -> Iterator[Edit]:
    """Yield edits of several statements of the step at once."""
    names = names_of(program.cell)
    values = [n for n in names.forward if len(names.shapes[n]) == 2 and is_saved(n)]
    step = [*enumerate(program.forward)]
    yield from _exchanged(program, "forward", {"the whole step": step}, values)
    yield from _activated(program)
    yield from _shared(program)
    yield from _read_otherwise(program)
    yield from _normalised_otherwise(program)
    yield from _row_readings(program)
    yield from _reset_elsewhere(program)
    yield from _after_activations(program)


def backward_edits(program: Program, targets: Collection[str]) -> Iterator[Edit]:
    """Yield all single edits of the backward pass: of these targets, and of the loop."""
    yield from _loop_edits()
    for section in ("start", "back", "end"):
        for k, s in enumerate(program.section(section)):
            if s.target in targets and s.target not in spare(program):
                yield from statement_edits(program.cell, section, k)
    yield from _slope_edits(program)


def grouped_backward_edits(program: Program) -> Iterator[Edit]:
    """Yield edits of several statements of the backward pass at once."""
    cell = program.cell
    values = [*saved(cell), *carried(cell), *computed(program.back)]
    groups = {where: members for where, members in _groups(program).items() if len(members) > 1}
    yield from _in_every(groups)
    yield from _shifted(program, groups)
    yield from _gates_left_out(program)
    yield from _exchanged_ends(program)
    yield from _exchanged(program, "back", groups, values)


def _changed(
    section: str, members: Sequence[Member], value: Callable[[Statement], ast.expr]
) -> tuple[tuple[Place, Statement], ...]:
    """Return statements with a function applied to their values."""
    return tuple(((section, k), s.with_value(value(s))) for k, s in members)


def _with_names(
    section: str, members: Sequence[Member], values: Mapping[str, ast.expr]
) -> tuple[tuple[Place, Statement], ...]:
    """Return the statements that read some names, with expressions in their place."""
    read = [(k, s) for k, s in members if s.names & values.keys()]
    return _changed(section, read, lambda s: with_names(s.value, values))


def _renamed(
    section: str, members: Sequence[Member], names: Mapping[str, str]
) -> tuple[tuple[Place, Statement], ...]:
    """Return the statements that read some names, with other names, not their targets, instead."""
    others = [(k, s) for k, s in members if s.target not in names.values()]
    return _with_names(section, others, {n: name(replacement) for n, replacement in names.items()})


def _where(members: Sequence[Member]) -> str:
    """Return the words for the targets of several statements."""
    return " and ".join(subject_of(s.target) for _, s in members)


def _reset_elsewhere(program: Program) -> Iterator[Edit]:
    """Yield a reset gate of a GRU that acts on the other side of the product."""
    lines = program.lines
    if not {"r", "a_n"} <= lines.keys():
        return
    new = {"a_n": "x @ W_n + r * (h_old @ U_n) + b_n"}
    side = "after"
    if "q" in lines:
        new, side = {"q": "(r * h_old) @ U_n + b_hn", "a_n": "x @ W_n + b_n + q"}, "before"
    changed = _changed("forward", [lines[n] for n in new], lambda s: expression(new[s.target]))
    text = f"the reset gate acts {side} the product with the recurrent weights"
    yield Edit(subject_of("a_n"), (text,), 0, changed)


def _activated(program: Program) -> Iterator[Edit]:
    """Yield another activation in several statements of the step."""
    others = {name: words for name, (_, words) in ACTIVATIONS.items()} | {"relu": "ReLU"}
    for function, other_gate in (("sigmoid", "tanh"), ("tanh", "sigmoid")):
        members = [(k, s) for k, s in enumerate(program.forward) if function in s.names]
        for size, (replacement, words) in product_of(
            range(2, len(members) + 1), (others | {other_gate: other_gate}).items()
        ):
            for chosen in combinations(members, size):
                where = _where(chosen)
                text = f"{words} stands in the place of {function}"
                yield Edit(where, (text,), 2, _renamed("forward", chosen, {function: replacement}))


def _after_activations(program: Program) -> Iterator[Edit]:
    """Yield a term of a pre-activation that is added after the activation."""
    for k, s in enumerate(program.forward):
        match s.value:
            case ast.Call(ast.Name(function), [ast.Name(before)]) if before in program.lines:
                number, summed = program.lines[before]
            case _:
                continue
        parts = terms(summed.value)
        for n, (sign, part) in enumerate(parts) if len(parts) > 1 else ():
            rest = total([*parts[:n], *parts[n + 1 :]])
            changed = (
                (("forward", k), s.with_value(total([(1, s.value), (sign, part)]))),
                (("forward", number), summed.with_value(rest)),
            )
            words = (part, f" is added after {function}, not before it")
            yield Edit(subject_of(s.target), words, 1, changed)


def _shared(program: Program) -> Iterator[Edit]:
    """Yield gates that share a softmax, instead of a sigmoid each."""
    gates = [(k, s) for k, s in enumerate(program.forward) if "sigmoid" in s.names]
    for size in range(2, len(gates) + 1):
        for chosen in combinations(gates, size):
            changed = _changed("forward", chosen, partial(_share, [s.target for _, s in chosen]))
            where = _where(chosen)
            text = "they share a softmax, and add up to 1, instead of having a sigmoid each"
            yield Edit(where, (text,), 1, changed)


def _share(gates: Sequence[str], s: Statement) -> ast.expr:
    """Return a gate's share of a softmax."""
    others = [f"exp(a_{gate} - a_{s.target})" for gate in gates if gate != s.target]
    return expression(f"1 / (1 + {' + '.join(others)})")


def _read_otherwise(program: Program) -> Iterator[Edit]:
    """Yield other values, even later ones, in the place of a state in some pre-activations."""
    members = [(k, s) for k, s in enumerate(program.forward) if s.target[:2] in ("a_", "q")]
    olds = [f"{s}_old" for s in cell_named(program.cell).states]
    gates = [s.target for s in program.forward if len(s.target) == 1 and s.target != "q"]
    forms = [*gates, *olds, "c_new", "tanh(c_old)", "tanh(c_new)"]
    forms += [f"{g} * {old}" for g in gates for old in olds]
    for old in olds:  # in the middle of its update
        parts = terms(program.lines[old.replace("_old", "_new")][1].value)
        added = [ast.unparse(part) for _, part in parts if len(parts) > 1]
        forms += [*added, *(f"{old} + {part}" for part in added if old not in part)]
    ways = [{n: f} for n in (*olds, "c_new") for f in forms if f != n]
    for way in (*ways, {"c_old": "tanh(c_old)", "c_new": "tanh(c_new)"}):
        values = {n: expression(f) for n, f in way.items()}
        read = [(k, s) for k, s in members if s.names & way.keys()]
        words: list[str | ast.expr] = []
        for n, e in values.items():
            words += [" and " if words else "", e, " stands in the place of ", name(n)]
        for size in range(1, len(read) + 1):
            for chosen in combinations(read, size):
                where = _where(chosen)
                yield Edit(where, tuple(words), 2, _with_names("forward", chosen, values))


def _normalised_otherwise(program: Program) -> Iterator[Edit]:
    """Yield other sums, gains and biases of a step whose products are normalised."""
    lines = program.lines
    gates = [n[3:] for n in lines if n.startswith("nx_")]
    both = [f"px_{k} + ph_{k}" for k in gates]
    apart = "(p{0}_{1} - mean_of(p{0}_{1})) / deviation_of(p{0}_{1})"
    ways: list[tuple[str, dict[str, str]]] = [
        (
            f"{words} of each gate is normalised by itself, not that of all gates together",
            {f"n{name}_{k}": apart.format(name, k) for name in names for k in gates},
        )
        for words, names in (
            ("the product", "xh"), ("the product with W", "x"), ("the product with U", "h")
        )
    ]  # fmt: skip
    for gain in ("gx", "gh"):
        for scope in ("all gates together", "each gate"):
            together = scope.endswith("together") and ", ".join(both)
            ways.append((
                f"the sum of both products, of {scope}, is normalised, with {gain}, "
                "not each of them",
                {f"a_{k}": f"{gain}_{k} * ({b} - mean_of({together or b})) "
                           f"/ deviation_of({together or b}) + b_{k}"
                 for k, b in zip(gates, both, strict=True)},
            ))  # fmt: skip
    ways += [
        ("the gains gx and gh are exchanged",
         {f"a_{k}": f"gh_{k} * nx_{k} + gx_{k} * nh_{k} + b_{k}" for k in gates}),
        ("the bias is added before the product with W is normalised",
         {f"px_{k}": f"x @ W_{k} + b_{k}" for k in gates}
         | {f"a_{k}": f"gx_{k} * nx_{k} + gh_{k} * nh_{k}" for k in gates}),
        ("the bias is added before the product with U is normalised",
         {f"ph_{k}": f"h_old @ U_{k} + b_{k}" for k in gates}
         | {f"a_{k}": f"gx_{k} * nx_{k} + gh_{k} * nh_{k}" for k in gates}),
    ]  # fmt: skip
    deviations = [(k, s) for k, s in enumerate(program.forward) if "deviation_of" in s.names]
    for other, (_, words) in DEVIATIONS.items() if deviations else ():
        for members in (deviations, *([each] for each in deviations)):
            where = _where(members)
            changed = _renamed("forward", members, {"deviation_of": other})
            yield Edit(where, (words,), 1, changed)
    ways += _over_rows(gates)
    for words, new in ways if gates else ():
        values = {n: expression(text) for n, text in new.items()}
        named = [lines[n] for n in new]
        changed = tuple((("forward", k), s.with_value(values[s.target])) for k, s in named)
        yield Edit("the pre-activations", (words,), 1, changed)


def _over_rows(gates: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield normalisations whose mean, or mean and deviation, are taken over the rows."""
    products = {name: [f"p{name}_{k}" for k in gates] for name in "xh"}
    sources = {f"n{name}_{k}": f"p{name}_{k}" for name in "xh" for k in gates}
    together = {n: products[n[1]] for n in sources} | {"n_c": ["c_raw"]}
    sources["n_c"] = "c_raw"
    for words, targets in {
        "the product with W": [n for n in sources if n.startswith("nx_")],
        "the product with U": [n for n in sources if n.startswith("nh_")],
        "the products": [n for n in sources if n != "n_c"],
        "the cell state": ["n_c"],
        "the products and the cell state": [*sources],
    }.items():
        for statistics, deviation in {
            "mean is": "(mean_of({squares}) + {eps}) ** 0.5",
            "mean, but not the deviation from the mean of the units, is": "deviation_of({all})",
            "mean and variance are": "(row_mean(row_centred({own}) ** 2) + {eps}) ** 0.5",
        }.items():
            yield (
                f"where {words} {'is' if len(targets) == 1 else 'are'} normalised, the "
                f"{statistics} taken over the rows, not over the units of each row",
                {n: f"row_centred({sources[n]}) / "
                    + deviation.format(
                        squares=", ".join(f"row_centred({p}) ** 2" for p in together[n]),
                        all=", ".join(together[n]), own=sources[n], eps=EPSILON,
                    ) for n in targets},
            )  # fmt: skip


def _row_readings(program: Program) -> Iterator[Edit]:
    """Yield readings of other rows: in a statement, in all pre-activations, in the step."""
    step = [*enumerate(program.forward)]
    before = [(k, s) for k, s in step if s.target.startswith("a_") or s.target == "q"]
    groups = {subject_of(s.target): [(k, s)] for k, s in step}
    groups |= {"the pre-activations": before, "the whole step": step}
    names = ["x", *(f"{s}_old" for s in cell_named(program.cell).states)]
    gates = [s.target for _, s in step if len(s.target) == 1]
    sets = [[n] for n in (*names, *gates)] + ([names[1:]] if len(names) > 2 else [])
    for (where, members), read, (function, (_, words)) in product_of(
        groups.items(), sets, OF_ROWS.items()
    ):
        values = {n: call(function, name(n)) for n in read}
        changed = _with_names("forward", members, values)
        if changed:
            read_names = " and ".join(notation(n) for n in read)
            yield Edit(where, (f"{words} stands in the place of {read_names}",), 1, changed)
    for k, s in step:
        for function, (_, words) in OF_ROWS.items() if s.target.endswith("_new") else ():
            new = s.with_value(call(function, s.value))
            text = f"{words} stands in the place of each row's"
            yield Edit(subject_of(s.target), (text,), 2, ((("forward", k), new),))


def _slope_edits(program: Program) -> Iterator[Edit]:
    """Yield other functions in the place of slopes, in one gate and in all."""
    right = right_program(program.cell)
    yield from _slopes_of_cell(program.cell) if program.back is right.back else _slopes(program)


@cache
def _slopes_of_cell(cell: str) -> tuple[Edit, ...]:
    return tuple(_slopes(right_program(cell)))


def _slopes(program: Program) -> Iterator[Edit]:
    activations = ALL[program.cell]
    for values, others, kind in (
        (activations.sigmoids, SIGMOID_SLOPES, "sigma * (1 - sigma)"),
        (activations.tangents, TANH_SLOPES, "1 - tanh^2"),
    ):
        sums = {value: [*_with_slopes(program, value)] for value in values}
        for (replacement, words), count in product_of(others, {1, len(values)}):
            for chosen in combinations(values, count):
                changed = tuple(c for v in chosen for c in _replaced(v, sums[v], replacement))
                where = f"the slope of the activation of {' and '.join(map(notation, chosen))}"
                text = f"{words} stands in the place of the slope ({kind} of the value)"
                if changed:
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


Slopes = list[tuple[int, list[ast.expr], bool]]
"""The terms of a sum: signs, factors without a slope at their end, and whether there was one."""


def _with_slopes(program: Program, value: str) -> Iterator[tuple[int, Statement, Slopes]]:
    """Yield the statements that read the slope of a value, with their numbers and terms."""
    y = _activated_value(value)
    slope = [y, f"1 - {y}"] if value in ALL[program.cell].sigmoids else [f"1 - {y} ** 2"]
    size = len(slope)
    for k, s in enumerate(program.back):
        parts = [(sign, factors(part)) for sign, part in terms(s.value)]
        hits = [len(f) > size and [*map(ast.unparse, f[-size:])] == slope for _, f in parts]
        if any(hits) and not s.slot:
            yield k, s, [
                (sign, f[:-size] if hit else f, hit)
                for (sign, f), hit in zip(parts, hits, strict=True)
            ]  # fmt: skip


def _activated_value(value: str) -> str:
    return "tanh(c_new)" if value == "c_new" else value


def _replaced(
    value: str, sums: Sequence[tuple[int, Statement, Slopes]], replacement: str
) -> Iterator[tuple[Place, Statement]]:
    """Yield the statements that read the slope of a value, with another function instead."""
    before = f"a_{value}" if len(value) == 1 else "c_new" if value == "c_new" else "a_a"
    names = {"y": expression(_activated_value(value)), "a": name(before)}
    new = with_names(expression(replacement), names)
    for k, s, parts in sums:
        changed = [(sign, product([*f, new] if hit else f)) for sign, f, hit in parts]
        yield ("back", k), s.with_value(total(changed))


def _groups(program: Program) -> dict[str, list[Member]]:
    """Return groups of backward statements that programs often write in one line."""

    def select(wanted: Callable[[Statement], bool]) -> list[Member]:
        return [(k, s) for k, s in enumerate(program.back) if wanted(s)]

    arrays = dict.fromkeys(s.target.partition("_")[0] for s in program.back if s.slot)
    slots = select(lambda s: s.slot)
    groups = {"the gradients of all gates": select(lambda s: s.target.startswith("da_"))}
    for array in arrays:
        slots_of_array = [(k, s) for k, s in slots if s.target.startswith(array)]
        groups[f"the gradients of {array[1:]}"] = slots_of_array
    weights = [(k, s) for k, s in slots if s.target[1] in "WU"]
    back = select(lambda s: s.target in ("dx", "dh_old"))
    for letter in cell_named(program.cell).gates:
        slots_of_gate = [(k, s) for k, s in slots if s.target.endswith(f"_{letter}")]
        groups[f"the gradients of W, U and b of {gate(letter)}"] = slots_of_gate
        groups[f"the gradients of W and U of {gate(letter)}"] = [
            m for m in slots_of_gate if m in weights
        ]
    return groups | {
        "the gradients of W and U": weights,
        "the gradients of b, without b_hn": select(
            lambda s: s.target.startswith("db_") and s.target != "db_hn"
        ),
        "the gradients of all parameters": slots,
        "the gradients of x_t and h_{t-1}": back,
        "the gradients of all parameters, of x_t and h_{t-1}": select(
            lambda s: s.slot or s.target in ("dx", "dh_old")
        ),
        WHOLE: [*enumerate(program.back)],
    }


WHOLE = "the whole way back"


def _exchanged(
    program: Program, section: str, groups: Mapping[str, Sequence[Member]], values: Sequence[str]
) -> Iterator[Edit]:
    """Yield names in another's place, or exchanged, in a group of statements."""
    names = names_of(program.cell)
    alike = names.alike(values)
    matrices = [n for n in names.forward if not is_saved(n)]
    alike |= {n: others for n, others in names.alike(matrices).items() if n in matrices}
    for where, members in groups.items():
        read = frozenset().union(*(s.names for _, s in members))
        for n in sorted(read):
            for replacement in alike.get(n, ()):
                for mapping, words in replacements(n, replacement, read):
                    changed = _renamed(section, members, mapping)
                    if len(changed) > 1:
                        yield Edit(where, words, 2, changed)


def _in_every(groups: Mapping[str, Sequence[Member]]) -> Iterator[Edit]:
    """Yield the same edit of the complete value in every statement of a group."""
    for where, members in groups.items():
        statements = [s for _, s in members]
        if where == WHOLE:
            continue
        sums, no_sums = all(s.slot for s in statements), not any(s.slot for s in statements)
        edits = [
            [*scaled(s, back=True, ends=no_sums), *(partial_sums(s) if sums else ())]
            for s in statements
        ]
        for ways in zip(*edits, strict=False):  # not all sums read what comes with its rows
            changed = tuple(
                (("back", k), s.with_value(way.value))
                for (k, s), way in zip(members, ways, strict=True)
            )
            yield Edit(where, ways[0].words, ways[0].rank + 1, changed)
        if sums:
            changed = tuple((("back", k), replace(s, adds=False)) for k, s in members)
            yield Edit(where, (OVERWRITTEN,), 0, changed)
        for replacement, words, _ in ROWS:
            changed = _renamed("back", members, {"rows": replacement})
            if len(changed) > 1:
                yield Edit(where, words, 1, changed)


def _shifted(program: Program, groups: Mapping[str, Sequence[Member]]) -> Iterator[Edit]:
    """Yield values of another step in a group of statements."""
    *saved_names, dy = saved(program.cell)
    for shift in SHIFTS:
        step = {"prev": "t-1", "next": "t+1", "mirror": "T-1-t"}[shift.partition("_")[0]]
        for names, exception in (
            (saved_names, ""),
            ([*saved_names, dy], ""),
            ([n for n in saved_names if n != "x"], ", but for x_t,"),
        ):
            mapping = {n: f"{n}__{shift}" for n in names}
            changed = _renamed("back", groups[WHOLE], mapping)
            text = f"what step {step} saved{exception} stands in the place of what step t saved"
            yield Edit(WHOLE, (text,), 2, changed)
    for (where, members), n, shift in product_of(groups.items(), saved_names, SHIFTS):
        shifted_name = f"{n}__{shift}"
        changed = _renamed("back", members, {n: shifted_name})
        if len(changed) > 1:
            words = (name(shifted_name), " stands in the place of ", name(n), beyond(n, shift))
            yield Edit(where, words, 3, changed)


def _gates_left_out(program: Program) -> Iterator[Edit]:
    """Yield loops over the gates that leave one out."""
    for letter in cell_named(program.cell).gates:
        d = f"da_{letter}"
        reading = [(k, s) for k, s in enumerate(program.back) if d in s.names]
        zeros = _changed("back", [(k, s) for k, s in reading if s.slot],
                         lambda s: product([ast.Constant(0), s.value]))  # fmt: skip
        sums = [
            (k, s) for k, s in reading
            if s.target in ("dx", "dh_old") and len(terms(s.value)) > 1
        ]  # fmt: skip
        back = _changed("back", sums, lambda s, d=d: total(  # type: ignore[misc]
            [t for t in terms(s.value) if d not in ast.unparse(t[1])]))  # fmt: skip
        for where, changed in (
            ("the gradients of all parameters", zeros),
            ("the gradients of x_t and h_{t-1}", back),
            ("the gradients of all parameters, of x_t and h_{t-1}", (*zeros, *back)),
        ):
            if len(changed) > 1:
                yield Edit(where, (name(d), " is left out"), 1, changed)


def _exchanged_ends(program: Program) -> Iterator[Edit]:
    """Yield exchanged cotangents of h and c, at the start or the end of the backward pass."""
    names, states = names_of(program.cell), cell_named(program.cell).states
    if len(states) != 2 or names.shapes["h_new"] != names.shapes["c_new"]:
        return
    for section, which in (("start", "final"), ("end", "initial")):
        first, second = program.section(section)
        changed = (
            ((section, 0), first.with_value(second.value)),
            ((section, 1), second.with_value(first.value)),
        )
        yield Edit(f"the gradients of the {which} states", ("h and c are exchanged",), 1, changed)


def _loop_edits() -> Iterator[Edit]:
    for words, order in ORDERS:
        yield Edit(THE_LOOP, (words,), 0, order=order)
    text = "steps are visited first to last, not last to first, and dx_t is kept in that order"
    yield Edit(THE_LOOP, (text,), 1, order=range, x_at=lambda t, T: T - 1 - t)
    for words, x_at in PLACES:
        yield Edit(THE_LOOP, (f"dx_t is kept {words}",), 1, x_at=x_at)


THE_LOOP = "the loop over the steps back"

ORDERS: tuple[tuple[str, Order], ...] = (
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
"""Orders of visited steps, as functions of their number."""

PLACES: tuple[tuple[str, Callable[[int, int], int]], ...] = (
    ("in reversed order", lambda t, T: T - 1 - t),
    ("at the place of step t - 1", lambda t, T: t - 1),
    ("at the place of step t + 1", lambda t, T: t + 1),
    ("at the place of step t - 1, the first at the last", lambda t, T: (t - 1) % T),
    ("at the place of step t + 1, the last at the first", lambda t, T: (t + 1) % T),
)
"""Places of the gradient of x_t, as functions of t and the number of steps."""
