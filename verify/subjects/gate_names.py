"""The gates that the names of parameters name: ``x_r.weight``, ``Wxi``, ``fgt_gate``."""

from __future__ import annotations

import re

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "lstm": {
        "i": ("i", "input", "inp", "in"), "f": ("f", "forget", "remember"),
        "o": ("o", "output", "out"),
        "g": ("g", "c", "cell", "candidate", "cand", "modulation"),
    },
    "gru": {
        "r": ("r", "reset"), "z": ("z", "u", "update"),
        "n": ("n", "h", "c", "g", "new", "candidate", "cand", "hat", "tilde"),
    },
    "rnn": {"a": ()},
}  # fmt: skip
"""The words by which parameters name gates."""

WEAK = ("input", "inp", "in", "i", "h", "c", "output", "out")
"""Words that may also name a parameter's factor (x, h); used if no other word names a gate."""

SIDES = ("h", "hh", "hidden", "recurrent", "rec", "state", "u")
"""Words in the names of recurrent biases."""


def tokens(name: str) -> list[str]:
    """Return the words of a parameter's name in lower case: ``x_r.weight`` has x and r."""
    stem = re.sub(r"\.(weight|bias|kernel)$", "", name)
    words = (t.lower() for t in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", stem))
    return [re.sub(r"(?<=.)gates?$", "", t) for t in words]  # inputgate, fgate


def _abbreviates(token: str, word: str) -> bool:
    """Whether a token is a word without some of its letters: upd, rst, fgt."""
    letters = iter(word)
    short = 2 < len(token) < len(word) and token[0] == word[0]
    return short and all(letter in letters for letter in token)


def gate_of(kind: str, name: str) -> str:
    """Return the letter of the gate in a parameter's name; "" if it names none or several."""
    if kind == "rnn":
        return "a"
    words = {word: letter for letter, synonyms in WORDS[kind].items() for word in synonyms}
    strong, weak = set(), []
    parts = tokens(name)
    for token in parts[1:] if len(parts) > 1 and parts[0] in "wub" else parts:
        if token in words:
            weak.append(words[token]) if token in WEAK else strong.add(words[token])
        elif re.fullmatch(r"[wub]?[xhiu]?[a-z]", token) and token[-1] in words:
            strong.add(words[token[-1]])  # xi, wxi, bhf
        elif re.fullmatch(r"[a-z][xh]", token) and token[0] in words:
            strong.add(words[token[0]])  # fx, fh
        elif len(meant := {words[w] for w in words if _abbreviates(token, w)}) == 1:
            strong |= meant
    if len(strong) == 1:
        return strong.pop()
    return weak[-1] if weak and not strong else ""
