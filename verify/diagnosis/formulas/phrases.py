"""Formulas and names in words for users."""

from __future__ import annotations

import ast
import re
from typing import TypeAlias

Words: TypeAlias = tuple["str | ast.expr", ...]
"""A sentence with formulas, which are put into words when it is printed."""

GATES = {
    "i": "the input gate",
    "f": "the forget gate",
    "g": "the candidate g",
    "o": "the output gate",
    "r": "the reset gate",
    "z": "the update gate",
    "n": "the candidate n",
    "a": "the state",
}

ENDS = {
    "zero": "0 where there is no such step",
    "wrap": "the other end's where there is no such step",
    "edge": "the nearest step's where there is none",
}

FUNCTIONS = {
    "rows": "sum_rows",
    "positive": "step",
    "first_row": "row_0",
    "last_row": "row_last",
    "row_first": "row_0",
}


def notation(value: ast.expr | str) -> str:
    """Return a formula in the notation of reports: c_{t-1}, g^2, W_i^T."""
    text = value if isinstance(value, str) else ast.unparse(value)
    text = re.sub(r"\b(\w+?)__(prev|next|mirror)_(zero|wrap|edge)\b", _shifted, text)
    text = re.sub(r"\b([A-Za-z])_old\b", r"\1_{t-1}", text)
    text = re.sub(r"\b([A-Za-z])_new\b", r"\1_t", text).replace("root_k", "√K")
    text = re.sub(r"\btanh_c\b", "tanh(c_t)", text)
    text = re.sub(r"\bd([ch])_old\b", r"d\1_{t-1}", text)
    text = re.sub(r"\b(x|dy)\b(?![_\[])", r"\1_t", text)
    text = re.sub(r"\b(\w+)\(", lambda m: FUNCTIONS.get(m[1], m[1]) + "(", text)
    return re.sub(r" \*\* (\d)", r"^\1", text).replace(".T", "^T")


def _shifted(match: re.Match[str]) -> str:
    """Return c_{t-1} for the c_new of the step before."""
    name, offset = match[1], 1 if match[2] == "next" else -1
    state, _, when = name.partition("_")
    if match[2] == "mirror":
        return f"{state if when in ('old', 'new') else name}_{{T-1-t}}"
    if when == "old":
        name, offset = state, offset - 1
    elif when == "new":
        name = state
    return f"{name}_{{t{offset:+d}}}" if offset else f"{name}_t"


def sentence(words: Words) -> str:
    """Return a sentence with its formulas, sums in parentheses."""
    return "".join(part if isinstance(part, str) else _factor(part) for part in words)


def _factor(value: ast.expr) -> str:
    is_sum = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add | ast.Sub)
    return f"({notation(value)})" if is_sum else notation(value)


def beyond(name: str, shift: str) -> str:
    """Return the words for the value read at a step that does not exist."""
    return "" if shift.startswith("mirror") else f" ({ENDS[shift.partition('_')[2]]})"


def gate(letter: str) -> str:
    """Return a gate's name in words."""
    return GATES.get(letter, letter)


def subject_of(target: str) -> str:
    """Return the words for a statement's target."""
    named = {
        "dx": "the gradient of x_t",
        "dh": "the gradient of h_t",
        "dm": "the gradient of the state before the projection",
        "dc": "the gradient of c_t",
        **{f"d{g}": f"the gradient of {words} before its slope" for g, words in GATES.items()},
        "dq": "the gradient of the candidate's recurrent product",
        "drh": "the gradient of r * h_{t-1}, on the way to the reset gate and the path h",
        "dh_old": "the gradient that a step passes back to h_{t-1}",
        "dc_old": "the gradient that a step passes back to c_{t-1}",
        "dh_next": "the gradient of h from which the way back starts",
        "dc_next": "the gradient of c from which the way back starts",
        "d0_h": "the gradient of the initial h",
        "d0_c": "the gradient of the initial c",
        "h_new": "the new state h_t",
        "c_new": "the new cell state c_t",
        "q": "the candidate's recurrent product",
        "y": "the output y_t",
        "kept": "the decayed state",
        "dev_x": "the normalisation of x W",
        "dev_h": "the normalisation of h U",
        "dev_c": "the normalisation of c",
        "u": "the correction",
        "S_new": "the new state S_t",
        "C_new": "the new memory C_t",
        "n_new": "the new normaliser n_t",
        "m_new": "the new stabiliser m_t",
        "i_gate": "the input gate",
        "f_gate": "the forget gate",
        "m": "the state before the projection",
        "dR": "the gradient of the projection R",
        "db_hn": "the gradient of b_hn, the candidate's recurrent bias",
    }
    if target in named:
        return named[target]
    array, _, letter = target.partition("_")
    if array == "da":
        return "the gradient of the pre-activation" if letter == "a" else (
            f"the gradient of {gate(letter)}"
        )  # fmt: skip
    if array == "a":
        return f"the pre-activation of {gate(letter)}"
    if target.startswith("d"):
        return f"the gradient of {array[1:]} of {gate(letter)}"
    return gate(target)
