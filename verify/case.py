"""What Hypothesis draws: sizes, options and a seed; the numbers come from the seed.

Hypothesis shrinks what it draws, so a case is a handful of small integers and flags. Its arrays
are left to NumPy: drawn entry by entry most of them would repeat (Hypothesis fills), and repeated
entries cannot tell gates, rows or directions apart. Every array is random, non-zero and distinct.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..reference.functions import Array
from ..reference.parameters import Sizes

SCALES = {"unit": 1.0, "tiny": 2.0**-20, "large": 8.0}
"""Factors on weights and states: ordinary, nearly linear, saturating gates."""


@dataclass(frozen=True)
class Case:
    """One input to a layer, complete: the same case is the same numbers everywhere.

    ``T, B, D, H, P``: steps, batch, widths of input, state and projection (0: none).
    ``lengths`` draws one length a row; ``state`` passes a random initial state.
    """

    T: int
    B: int
    D: int
    H: int
    P: int = 0
    layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    lengths: bool = False
    state: bool = True
    scale: str = "unit"
    dtype: str = "float64"
    seed: int = 0

    @property
    def sizes(self) -> Sizes:
        """The widths as the reference takes them."""
        return Sizes(self.D, self.H, self.P or None)

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.bidirectional else 1

    def normal(self, part: str, shape: Sequence[int], scale: float = 1.0) -> Array:
        """Draw N(0, scale²) numbers of the case's dtype; every ``part`` is its own stream."""
        numbers = self.generator(part).standard_normal(tuple(shape)) * scale
        return numbers.astype(self.dtype)

    def generator(self, part: str) -> np.random.Generator:
        """Return the random generator of one part of the case."""
        return np.random.default_rng([self.seed, *part.encode()])

    def row_lengths(self) -> Array | None:
        """Return lengths (B,) from 1 to T, the longest being T; None without lengths."""
        if not self.lengths:
            return None
        drawn = self.generator("lengths").integers(1, self.T + 1, self.B)
        drawn[self.generator("longest").integers(self.B)] = self.T
        return drawn

    def to_json(self) -> str:
        """Return the case as one line of JSON, defaults left out."""
        full = asdict(self)
        default = asdict(Case(0, 0, 0, 0))
        kept = {k: v for k, v in full.items() if k in "TBDH" or v != default[k]}
        return json.dumps(kept)

    @classmethod
    def from_json(cls, text: str) -> Case:
        """Read what to_json wrote; a ValueError says what is wrong with other text."""
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"case: expected JSON, got {text!r} ({error})") from error
        return cls(**_checked(given))


def _checked(given: Any) -> dict[str, Any]:
    types = {f.name: f.type for f in fields(Case)}
    if not isinstance(given, dict):
        raise ValueError(f"case: expected an object, got {given!r}")
    if missing := sorted(set("TBDH") - given.keys()):
        raise ValueError(f"case: {', '.join(missing)} missing; T, B, D and H are needed")
    if unknown := sorted(given.keys() - types.keys()):
        raise ValueError(f"case: {', '.join(unknown)} unknown; there are {', '.join(types)}")
    for name, value in given.items():
        if type(value).__name__ != types[name]:
            raise ValueError(f"case: {name}: expected {types[name]}, got {value!r}")
        if name in ("T", "B", "D", "H", "layers") and not 1 <= value <= 4096:
            raise ValueError(f"case: {name}: expected 1 to 4096, got {value}")
    if not 0 <= given.get("P", 0) < given["H"] or given.get("seed", 0) < 0:
        raise ValueError("case: expected 0 <= P < H and seed >= 0")
    if given.get("scale", "unit") not in SCALES:
        raise ValueError(f"case: scale: expected one of {', '.join(SCALES)}")
    if given.get("dtype", "float64") not in ("float32", "float64"):
        raise ValueError("case: dtype: expected float32 or float64")
    return given


@dataclass(frozen=True)
class Options:
    """Which options a subject offers; cases use only those."""

    layers: bool = True
    bidirectional: bool = True
    bias: bool = True
    lengths: bool = True
    projection: bool = False
    default_state: bool = True

    def lacking(self, case: Case) -> tuple[str, ...]:
        """Return the options that a case uses and that are not offered."""
        used = {
            "layers": case.layers > 1,
            "bidirectional": case.bidirectional,
            "bias": not case.bias,
            "lengths": case.lengths,
            "projection": case.P > 0,
            "default_state": not case.state,
        }
        return tuple(name for name, is_used in used.items() if is_used and not getattr(self, name))


def cases(
    options: Options, dtype: str, *, steps: tuple[int, int] = (1, 6)
) -> st.SearchStrategy[Case]:
    """Draw cases of small, mutually different sizes, and sometimes of coinciding ones.

    T >= 3 and H >= 2 in most of them: shorter or narrower ones cannot tell the order of Jacobians.
    """
    size = st.integers(1, 5)
    drawn = st.builds(
        Case,
        T=st.integers(*steps),
        B=size,
        D=size,
        H=size,
        layers=st.integers(1, 2) if options.layers else st.just(1),
        bidirectional=st.booleans() if options.bidirectional else st.just(False),
        bias=st.booleans() if options.bias else st.just(True),
        lengths=st.booleans() if options.lengths else st.just(False),
        state=st.booleans() if options.default_state else st.just(True),
        scale=st.sampled_from(sorted(SCALES, reverse=True)),
        dtype=st.just(dtype),
        seed=st.integers(0, 2**16 - 1),
    )
    if options.projection:
        return st.tuples(drawn, st.integers(0, 3)).map(_with_projection)
    return drawn


def _with_projection(drawn: tuple[Case, int]) -> Case:
    case, width = drawn
    return replace(case, P=width if width < case.H else 0)
