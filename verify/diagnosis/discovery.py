"""The result of one examination of a layer: explanations and other measurements."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..runs.diagnosis import Explanation


@dataclass
class Discovery:
    """Explanations that compute the same numbers as the layer, and notes in sentences.

    ``likeness`` describes another cell that the layer resembles, "" if it resembles none.
    ``residual`` is the largest deviation of the explanations in ``experiments`` experiments, in
    units of the rounding level.
    """

    explanations: list[Explanation] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    likeness: str = ""
    residual: float = 0.0
    experiments: int = 0

    @property
    def message(self) -> str:
        """A sentence for layers without explanation, "" if it resembles no other cell."""
        if not self.likeness:
            return ""
        return f"No known mistake computes this; it looks like another cell: {self.likeness}"
