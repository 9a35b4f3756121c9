"""Options that a subject may offer. A check that needs others is *not supported*."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .case import Case
from .layouts import LEFT_PADDED, PACKED, RAGGED

LONGEST = 300
"""Characters of what a subject says that are quoted."""

WORDS = {
    "layers": "more than one layer",
    "bidirectional": "two directions",
    "bias": "leaving out the bias",
    "lengths": "sequences of different lengths",
    "zero_length": "a sequence of length 0 in a batch",
    "no_steps": "input of no steps",
    "projection": "a projected hidden state",
    "state": "an initial state",
    "default_state": "leaving out the initial state",
    "partial_state": "one of several initial states without the others",
    "kept_state": "a state that is kept between calls",
    "packed": "sequences packed one after another (cu_seqlens)",
    "left_padding": "padding in front of sequences (a mask)",
    "left_padding_state": "padding in front of sequences that go on from a state",
    "reorders": "putting the rows of its states in another order",
    "gradient": "gradients",
    "jvp": "forward-mode derivatives",
    "batch_first": "input with the batch first",
    "unbatched": "input without a batch axis",
    "dropout": "dropout",
    "final_states": "all its final states",
    "named_parameters": "parameters under torch's names",
    "algorithms": "algorithms that change with the sizes",
    "equations": "equations for its numbers",
    "problem": "a problem of a benchmark",
    "forbidden": "anything that is forbidden",
    "quantised": "a quantised arithmetic",
}
"""Every option in the words of reports."""


@dataclass(frozen=True)
class Options:
    """The options that a subject offers; cases use only these.

    ``program`` is the form in which it computes, "" for steps, ``forms`` are those that it has.
    Without ``final_states`` the first alone is returned; zeros stand for the others, and are not
    judged. ``reasons`` are pairs (option, the subject's message when it was tried).
    """

    layers: bool = True
    bidirectional: bool = True
    bias: bool = True
    lengths: bool = True
    zero_length: bool = False
    no_steps: bool = False
    projection: bool = False
    state: bool = True
    default_state: bool = True
    partial_state: bool = False
    kept_state: bool = False
    packed: bool = False
    left_padding: bool = False
    left_padding_state: bool = False
    reorders: bool = False
    gradient: bool = True
    jvp: bool = False
    batch_first: bool = False
    unbatched: bool = False
    dropout: bool = False
    final_states: bool = True
    named_parameters: bool = False
    algorithms: bool = False
    equations: bool = True
    problem: bool = False
    forbidden: bool = False
    quantised: bool = False
    program: str = ""
    forms: tuple[str, ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()

    def lacking(self, case: Case) -> tuple[str, ...]:
        """Return the options that a case uses and the subject does not offer."""
        used = {
            "layers": case.layers > 1,
            "bidirectional": case.bidirectional,
            "bias": not case.bias,
            "lengths": case.lengths and case.layout not in RAGGED,
            "zero_length": case.lengths and case.zero_length,
            "no_steps": case.T == 0,
            "projection": case.P > 0,
            "state": case.state,
            "default_state": not case.state,
            "batch_first": case.layout == "batch-first",
            "unbatched": case.layout == "unbatched",
            "packed": case.layout == PACKED,
            "left_padding": case.layout == LEFT_PADDED,
            "left_padding_state": case.layout == LEFT_PADDED and case.state,
            "dropout": case.dropout > 0,
        }
        return self.missing(tuple(name for name, is_used in used.items() if is_used))

    def missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the needed options that the subject does not offer."""
        return tuple(name for name in names if not getattr(self, name))

    def why(self, missing: tuple[str, ...]) -> str:
        """Return a sentence about missing options, with the subject's reasons."""
        reasons = {name: " ".join(reason.split())[:LONGEST] for name, reason in self.reasons}
        missing = ("equations",) if "equations" in missing else missing  # which implies the others
        words = [WORDS[m] + (f" ({reasons[m]})" if m in reasons else "") for m in missing]
        return f"the subject does not offer {', '.join(words)}"


class Offering(Protocol):
    """A subject, or its description, which is known without calling it."""

    @property
    def options(self) -> Options:
        """The options that it offers."""
