"""The formulas of a convention: as plain text, as LaTeX, and a summary in one line.

Vectors are rows, so ``x_t`` is (1, D); brackets give the gate's part of a stored array in NumPy's
notation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .convention import LAYOUTS, RECURRENT_BIAS, Convention

TITLES = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
COUNTS = {0: "no bias", 1: "one bias", 2: "two biases"}

HARD = {"hard sigmoid 0.2": "0.2 s + 0.5", "hard sigmoid 1/6": "s/6 + 0.5"}
"""The lines that the hard sigmoids clip to [0, 1]."""


@dataclass(frozen=True)
class Style:
    """The symbols of one notation."""

    activations: dict[str, str]
    product: str
    transposed: str
    part: str
    prime: str
    minus: str
    clip: str


PLAIN = Style(
    {"sigmoid": "σ", "tanh": "tanh", "relu": "relu", "identity": ""}
    | dict.fromkeys(HARD, "hσ"),
    " ⊙ ", "ᵀ", "[{}]", "′", " − ", "clip({}, 0, 1)",
)  # fmt: skip
LATEX = Style(
    {"sigmoid": r"\sigma", "tanh": r"\tanh", "relu": r"\operatorname{relu}", "identity": ""}
    | dict.fromkeys(HARD, r"\operatorname{h\sigma}"),
    r" \odot ", r"^{\top}", "_{{[{}]}}", "'", " - ", r"\min(1, \max(0, {}))",
)  # fmt: skip


def plain(convention: Convention) -> tuple[str, ...]:
    """Return the equations of one step and the names of the arrays, a line each."""
    named = [f"{symbol} = {name} {shape}" for symbol, name, shape in _legend(convention)]
    return (*_equations(convention, PLAIN), f"with {', '.join(named)}")


def latex(convention: Convention) -> tuple[str, ...]:
    """Return the equations of one step, LaTeX each."""
    return tuple(_equations(convention, LATEX))


def summary(convention: Convention) -> str:
    """Return a convention in one line: ``LSTM, gates i f g o, [4H, D], two biases``.

    Usual values are left out.
    """
    c = convention
    parts = [TITLES[c.family]]
    if c.family != "rnn":
        parts.append(f"gates {' '.join(c.order)}")
    if c.recurrent_order not in ("", c.order):
        parts.append(f"in U {' '.join(c.recurrent_order)}")
    parts.append(weight_shape(c.layout, len(c.order), "D"))
    if c.recurrent_layout not in ("", c.layout):
        parts.append(f"U {weight_shape(c.recurrent_layout, len(c.order), 'H')}")
    parts.append(_biases(c))
    return ", ".join([*parts, *_unusual(c)])


def _biases(c: Convention) -> str:
    if c.family == "gru" and len(c.bias) == 1 and RECURRENT_BIAS in c.bias[0]:
        return "one bias with b_hn"
    if c.family == "gru" and len(c.bias) == 2 and c.bias[1] == RECURRENT_BIAS:
        return "one bias and b_hn"
    return COUNTS.get(len(c.bias), f"{len(c.bias)} biases")


def _unusual(c: Convention) -> Iterator[str]:
    if c.forget_offset and not c.coupled:
        yield f"f {'+' if c.forget_offset > 0 else '−'} {abs(c.forget_offset):g}"
    if c.family == "gru":
        yield f"reset {c.reset} the product"
        yield "z keeps the old" if c.update == "keep" else "z takes the new"
    if c.family != "rnn" and c.gate != "sigmoid":
        yield f"gates by {c.gate}"
    if c.candidate != "tanh":
        yield f"candidate by {c.candidate}"
    if c.family == "lstm" and c.output != "tanh":
        yield f"output by {c.output}"
    if c.peepholes:
        peephole_state = f", o sees the {c.output_peephole} c" if "o" in c.peepholes else ""
        yield f"peepholes {' '.join(c.peepholes)}{peephole_state}"
    if c.coupled:
        yield "f = 1 − i"
    if c.projected:
        yield "projected"


def weight_shape(layout: str, gates: int, width: str) -> str:
    """Return the shape of stored weights in letters, ``[4H, D]``; U's ``width`` is H."""
    arrangement = LAYOUTS[layout]
    axes = list(arrangement.stored((width, "H")))
    if arrangement.axis is None:
        return f"[{', '.join([str(gates), *axes])}]"
    if layout == "joint":
        axes[0] = "D+H"
    several = gates > 1 and not layout.startswith("separate")
    axes[arrangement.axis] = f"{gates if several else ''}{axes[arrangement.axis]}"
    tail = (
        " unit by unit"
        if arrangement.interleaved
        else " a gate"
        if layout.startswith("separate")
        else ""
    )
    return f"[{', '.join(axes)}]{tail}"


def _legend(c: Convention) -> Iterator[tuple[str, str, str]]:
    """Yield the symbol of every array, its name and its shape."""
    gates = len(c.order)
    if c.layout == "joint":
        yield "W", "weight", weight_shape(c.layout, gates, "D")
    else:
        yield "W", f"weight_ih{_tail(c.layout)}", weight_shape(c.layout, gates, "D")
        width = "P" if c.projected else "H"
        layout = c.recurrent_layout or c.layout
        yield "U", f"weight_hh{_tail(layout)}", weight_shape(layout, gates, width)
    for number, (name, letters) in enumerate(zip(c.bias_names, c.bias, strict=True)):
        tail = "" if letters == RECURRENT_BIAS else _tail(c.layout)
        yield "b" + "′" * number, name + tail, _vector_shape(c, len(letters))
    if c.peepholes:
        yield "p", f"peephole{_tail(c.layout)}", _vector_shape(c, len(c.peepholes))
    if c.projected:
        yield "R", "weight_hr", "[P, H]" if c.projection_turned else "[H, P]"


def _tail(layout: str) -> str:
    """Return the ending of names of arrays that hold one gate each."""
    return "_*" if layout.startswith("separate") else ""


def _vector_shape(c: Convention, count: int) -> str:
    if LAYOUTS[c.layout].axis is None and count > 1:
        return f"[{count}, H]"
    if c.layout.startswith("separate") and count > 1:
        return "[H] a gate"
    return f"[{count if count > 1 else ''}H]"


def _equations(c: Convention, s: Style) -> Iterator[str]:
    gate, candidate = s.activations[c.gate], s.activations[c.candidate]
    if c.family == "rnn":
        yield f"h_t = {candidate}({_sum(c, s, 'a')})"
    elif c.family == "gru":
        for letter in "rz":
            yield f"{letter}_t = {gate}({_sum(c, s, letter)})"
        yield f"n_t = {candidate}({_gru_candidate(c, s)})"
        old, new = f"h_{{t-1}}{s.product}", f"n_t{s.product}"
        shares = ("z_t", f"(1{s.minus}z_t)") if c.update == "keep" else (f"(1{s.minus}z_t)", "z_t")
        yield f"h_t = {old}{shares[0]} + {new}{shares[1]}"
    else:
        for letter in "ifg":
            if letter in c.letters:
                function = candidate if letter == "g" else gate
                yield f"{letter}_t = {function}({_sum(c, s, letter)})"
            else:
                yield f"f_t = 1{s.minus}i_t"
        last = [f"o_t = {gate}({_sum(c, s, 'o')})"]
        last.append(f"c_t = f_t{s.product}c_{{t-1}} + i_t{s.product}g_t")
        sees_new = "o" in c.peepholes and c.output_peephole == "new"
        yield from reversed(last) if sees_new else last
        output = s.activations[c.output]
        h = f"o_t{s.product}{f'{output}(c_t)' if output else 'c_t'}"
        yield f"h_t = ({h}) {_projection(c, s)}" if c.projected else f"h_t = {h}"
    if c.family != "rnn" and c.gate in HARD:
        yield f"{gate}(s) = {s.clip.format(HARD[c.gate])}"


def _projection(c: Convention, s: Style) -> str:
    return "R" + (s.transposed if c.projection_turned else "")


def _sum(c: Convention, s: Style, letter: str) -> str:
    """Return the sum that a gate's activation is applied to."""
    terms = [f"x_t {_weight(c, s, letter)}", f"h_{{t-1}} {_weight(c, s, letter, recurrent=True)}"]
    if letter in c.peepholes:
        state = "c_t" if letter == "o" and c.output_peephole == "new" else "c_{t-1}"
        terms.append(f"{_vector(c, s, 'p', c.peepholes, letter)}{s.product}{state}")
    terms += _bias_terms(c, s, letter)
    if letter == "f" and c.forget_offset:
        terms.append(f"{c.forget_offset:g}")
    return " + ".join(terms).replace("+ -", s.minus.strip() + " ")


def _gru_candidate(c: Convention, s: Style) -> str:
    product = _weight(c, s, "n", recurrent=True)
    outer = " + ".join([f"x_t {_weight(c, s, 'n')}", *_bias_terms(c, s, "n")])
    if c.reset == "before":
        return f"{outer} + (r_t{s.product}h_{{t-1}}) {product}"
    inner = " + ".join([f"h_{{t-1}} {product}", *_bias_terms(c, s, RECURRENT_BIAS)])
    return f"{outer} + r_t{s.product}({inner})"


def _bias_terms(c: Convention, s: Style, letter: str) -> list[str]:
    return [
        _vector(c, s, "b" + s.prime * number, letters, letter)
        for number, letters in enumerate(c.bias)
        if letter in letters
    ]


def _weight(c: Convention, s: Style, letter: str, *, recurrent: bool = False) -> str:
    """Return a gate's part of W, or of U (``recurrent``), as it enters the product."""
    order = (c.recurrent_order if recurrent else "") or c.order
    layout = (c.recurrent_layout if recurrent else "") or c.layout
    k, gates, symbol = order.index(letter), len(order), "U" if recurrent else "W"
    width = ("P" if c.projected else "H") if recurrent else "D"
    arrangement = LAYOUTS[layout]
    transpose = s.transposed if arrangement.turned else ""
    if layout.startswith("separate"):
        return f"{symbol}_{letter}{transpose}"
    if layout == "joint":
        return "W" + s.part.format(f"{'D:' if recurrent else ':D'}, {_range(k, 'H')}")
    if arrangement.axis is None:
        return symbol + s.part.format(k) + transpose
    if gates == 1:
        return symbol + transpose
    inner = (
        f"{k}::{gates}"
        if arrangement.interleaved
        else _range(k, arrangement.stored((width, "H"))[arrangement.axis])
    )
    return symbol + s.part.format(":, " * arrangement.axis + inner) + transpose


def _vector(c: Convention, s: Style, symbol: str, letters: str, letter: str) -> str:
    """Return the part of a bias or a peephole array that belongs to a gate."""
    k = letters.index(letter)
    if c.layout.startswith("separate") and letters != RECURRENT_BIAS:
        return f"{symbol}_{'hn' if letter == RECURRENT_BIAS else letter}"
    if len(letters) == 1:
        return symbol
    if LAYOUTS[c.layout].axis is None:
        return symbol + s.part.format(k)
    inner = f"{k}::{len(letters)}" if LAYOUTS[c.layout].interleaved else _range(k, "H")
    return symbol + s.part.format(inner)


def _range(k: int, width: str) -> str:
    """Return k * width : (k + 1) * width."""
    start = {0: "0", 1: width}.get(k, f"{k}{width}")
    return f"{start}:{width if k == 0 else f'{k + 1}{width}'}"
