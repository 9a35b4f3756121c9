"""Two conventions: equal, the same up to a map of parameters, or different functions.

A map may lead one way only: every LSTM with one bias can be written with two, and every GRU without
b_hn with one, but not the other way round. Where there is no map for all parameters, a condition
says for which parameters there is one. ``translation.py`` carries out the map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from .convention import RECURRENT_BIAS, Convention
from .formula import summary, weight_shape

EQUAL, MAPPED, ONE_WAY, DIFFERENT = "equal", "equal up to a map", "one way", "different functions"

CALL = ("time", "states", "padding", "empty_row", "merge")
"""Fields that describe the call of a layer; identification leaves them out."""

IDENTIFIED = tuple(f.name for f in fields(Convention) if f.name not in CALL)

ALIKE = {
    "interleaved": "out-in",
    "beside out-in": "out-in",
    "separate out-in": "out-in",
    "stacked in-out": "in-out",
    "separate in-out": "in-out",
}
"""Layouts that are the same for a single gate."""

ACTIVATIONS = ("gate", "candidate", "output")


@dataclass(frozen=True)
class Way:
    """Whether layers of one convention can be written in another.

    ``conditions`` must all hold for the parameters; ``never`` is the reason if no parameters can
    be written in the other convention.
    """

    conditions: tuple[str, ...] = ()
    never: str = ""

    @property
    def always(self) -> bool:
        """Whether all parameters can be written in the other convention."""
        return not self.conditions and not self.never

    def __str__(self) -> str:
        if self.never:
            return f"never: {self.never}"
        return f"when {' and '.join(self.conditions)}" if self.conditions else "always"


@dataclass(frozen=True)
class Comparison:
    """The relation of two conventions, with the ``steps`` of the map from first to second."""

    kind: str
    forward: Way
    backward: Way
    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == EQUAL:
            return EQUAL
        lines = [self.kind, *(f"  {step}" for step in self.steps)]
        if self.kind != MAPPED:
            lines += [f"  there {self.forward}", f"  back {self.backward}"]
        return "\n".join(lines)


def differing(a: Convention, b: Convention) -> tuple[str, ...]:
    """Return the fields, other than those of the call, in which two conventions differ."""
    return tuple(name for name in _plain(a).differences(_plain(b)) if name in IDENTIFIED)


def identity(c: Convention) -> tuple[object, ...]:
    """Return the fields in which two conventions agree if they differ in their calls alone."""
    plain = _plain(c)
    return tuple(getattr(plain, name) for name in IDENTIFIED)


def _plain(c: Convention) -> Convention:
    """Return the same convention, with fields that have no influence at their defaults."""
    layout, recurrent = c.layout, c.recurrent_layout or c.layout
    if c.family == "rnn":
        layout, recurrent = ALIKE.get(layout, layout), ALIKE.get(recurrent, recurrent)
    bias = c.bias
    if layout.startswith("separate") and len(bias) == 1 and RECURRENT_BIAS in bias[0]:
        bias = (bias[0].replace(RECURRENT_BIAS, ""), RECURRENT_BIAS)
    plain = replace(
        c,
        layout=layout,
        recurrent_layout="" if recurrent == layout else recurrent,
        recurrent_order="" if c.recurrent_order == c.order else c.recurrent_order,
        bias=bias,
        output_peephole=c.output_peephole if "o" in c.peepholes else "new",
    )
    if c.family != "gru":
        plain = replace(plain, reset="after", update="keep")
    if c.family != "lstm":
        plain = replace(plain, output="tanh", forget_offset=0.0)
    return replace(plain, gate="sigmoid") if c.family == "rnn" else plain


def compare(a: Convention, b: Convention) -> Comparison:
    """Return how two conventions are related, apart from their calls."""
    if not differing(a, b):
        return Comparison(EQUAL, Way(), Way())
    forward, backward = _way(a, b), _way(b, a)
    possible = not forward.never or not backward.never
    steps = tuple(_steps(a, b)) if possible else ()
    if forward.always and backward.always:
        kind = MAPPED
    else:
        kind = ONE_WAY if forward.always or backward.always else DIFFERENT
    return Comparison(kind, forward, backward, steps)


def _way(a: Convention, b: Convention) -> Way:
    never = next(_obstacles(a, b), "")
    return Way((), never) if never else Way(tuple(dict.fromkeys(_conditions(a, b))))


def _obstacles(a: Convention, b: Convention) -> Iterator[str]:
    """Yield the reasons why no parameters of ``a`` can be written in ``b``."""
    if a.family != b.family:
        yield f"{summary(a)} is another family than {summary(b)}"
        return
    for name in ACTIVATIONS:
        first, second = getattr(a, name), getattr(b, name)
        concerned = {"gate": a.family != "rnn", "output": a.family == "lstm"}.get(name, True)
        if concerned and first != second:
            yield f"{name} activation {first} here, {second} there: {_where_equal(first, second)}"
    if a.projected != b.projected:
        yield "one of them projects its hidden state: equal only where P = H and R is the identity"
    of_a, of_b = _constants(a), _constants(b)
    fixed = "f" in of_a and "f" in of_b and not (a.coupled and b.coupled)
    if fixed and of_a["f"] != of_b["f"]:
        yield "f's sum has another constant, and neither has a bias for it"
    of_both_gates = of_b if a.coupled else of_a
    if a.coupled != b.coupled and "i" in of_both_gates and of_both_gates.get("f"):
        yield "f's sum has a constant that -i's has not"


def _where_equal(first: str, second: str) -> str:
    if "hard" in first or "hard" in second:
        return "equal in the middle, at 0, and else at most at single points"
    return "equal at one point alone" if "sigmoid" in (first, second) else "equal at 0 alone"


def _constants(c: Convention) -> dict[str, float]:
    """Return the biases that are no parameters but constants: 0, or b_f the forget offset."""
    letters = c.letters + c.recurrent_bias
    constants = {g: 0.0 for g in letters if g not in "".join(c.bias)}
    if c.coupled:
        return constants | ({"f": 0.0} if "i" in constants else {})
    return constants | ({"f": c.forget_offset} if "f" in constants else {})


def _conditions(a: Convention, b: Convention) -> Iterator[str]:
    """Yield the conditions on parameters of ``a`` under which ``b`` can compute the same."""
    if a.family == "gru" and a.reset != b.reset:
        yield "U_n is diagonal"
        if RECURRENT_BIAS in "".join(a.bias):
            yield "b_hn = 0"
    if b.coupled and not a.coupled:
        yield from _coupling(a)
    for letter in a.peepholes:
        coupling = letter == "f" and b.coupled
        doubled = letter == "i" and a.coupled and not b.coupled and "f" not in b.peepholes
        if (letter not in b.peepholes and not coupling) or doubled:
            yield f"p_{letter} = 0"
    if "o" in a.peepholes and "o" in b.peepholes and a.output_peephole != b.output_peephole:
        yield "p_o = 0"
    yield from _homeless(a, b)


def _coupling(a: Convention) -> Iterator[str]:
    yield "W_f = -W_i"
    yield "U_f = -U_i"
    offset = f" - {a.forget_offset:g}" if a.forget_offset else ""
    constants = _constants(a)
    if "i" not in constants or "f" not in constants or constants["f"]:
        yield f"b_f = -b_i{offset}"
    if set(a.peepholes) & set("if"):
        yield "p_f = -p_i"


def _homeless(a: Convention, b: Convention) -> Iterator[str]:
    """Yield the conditions on biases of ``a`` that are constants in ``b``."""
    of_a, of_b = _constants(a), _constants(b)
    for letter, value in of_b.items():
        if letter == RECURRENT_BIAS or (letter == "f" and (a.coupled or b.coupled)):
            continue
        if letter not in of_a:
            shift = value - (a.forget_offset if letter == "f" else 0.0)
            yield f"b_{letter} = {shift:g}"
    if RECURRENT_BIAS in "".join(a.bias) and RECURRENT_BIAS not in "".join(b.bias):
        yield "b_hn = 0"
    if a.coupled and not b.coupled and "f" in of_b and ("i" not in of_a or of_b["f"]):
        yield f"b_i = {-of_b['f'] + 0.0:g}"


def _steps(a: Convention, b: Convention) -> Iterator[str]:
    """Yield the steps of the map from ``a`` to ``b``, a sentence each."""
    upper, lower = a.recurrent_order or a.order, b.recurrent_order or b.order
    if a.coupled != b.coupled:
        yield "W_f, U_f and b_f are those of i, negated" if a.coupled else "f's parameters go"
    if a.order != b.order and a.coupled == b.coupled:
        yield f"the gates are permuted, {' '.join(a.order)} to {' '.join(b.order)}"
    if (upper, lower) != (a.order, b.order) and upper != lower and a.coupled == b.coupled:
        yield f"those in U are permuted, {' '.join(upper)} to {' '.join(lower)}"
    yield from _layout_steps(a, b)
    if a.family == "gru" and a.update != b.update:
        yield "W_z, U_z and b_z are negated"
    yield from _bias_steps(a, b)
    if a.forget_offset != b.forget_offset and not (a.coupled or b.coupled):
        yield f"b_f changes by {a.forget_offset - b.forget_offset:+g}"
    if set(a.peepholes) != set(b.peepholes):
        new = [f"p_{g}" for g in b.peepholes if g not in a.peepholes]
        gone = [f"p_{g}" for g in a.peepholes if g not in b.peepholes]
        yield f"{', '.join(new)} = 0" if new else f"{', '.join(gone)} must be 0"
    elif a.peepholes != b.peepholes:
        yield f"the peepholes are permuted, {' '.join(a.peepholes)} to {' '.join(b.peepholes)}"


def _layout_steps(a: Convention, b: Convention) -> Iterator[str]:
    pairs = {
        "W": (a.layout, b.layout, "D"),
        "U": (a.recurrent_layout or a.layout, b.recurrent_layout or b.layout, "H"),
    }
    for array, (before, after, width) in pairs.items():
        if before == after:
            continue
        shapes = [weight_shape(k, len(a.order), width) for k in (before, after)]
        turned = before.endswith("out-in") != after.endswith("out-in")
        verb = "is transposed" if turned and "interleaved" not in (before, after) else "is laid out"
        yield f"{array} {verb}, {shapes[0]} to {shapes[1]}"


def _bias_steps(a: Convention, b: Convention) -> Iterator[str]:
    of_a, of_b = "".join(a.bias), "".join(b.bias)
    added = [g for g in dict.fromkeys(of_a) if of_a.count(g) > of_b.count(g) > 0]
    split = [g for g in dict.fromkeys(of_b) if of_b.count(g) > of_a.count(g) > 0]
    new = [g for g in dict.fromkeys(of_b) if g not in of_a]
    if added:
        yield f"the two biases of {' '.join(added)} are added up"
    if split:
        yield f"the bias of {' '.join(split)} is halved between two arrays"
    if new and not of_a:
        yield "biases are 0, or the constants that were added"
    elif RECURRENT_BIAS in new:
        yield "b_hn is 0"
    if not (added or split or new) and [*map(set, a.bias)] == [*map(set, b.bias)]:
        for before, after in zip(a.bias, b.bias, strict=True):
            if before != after and (before, after) != (a.order, b.order):
                yield f"a bias is permuted, {' '.join(before)} to {' '.join(after)}"
