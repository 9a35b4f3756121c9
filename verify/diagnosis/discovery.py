"""What one stage of a diagnosis finds out: explanations, and what else was measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..runs.diagnosis import Explanation


@dataclass
class Discovery:
    """Explanations that compute the same as the layer, and notes in sentences.

    ``likeness`` says what makes it another cell than the one that it claims to be, "" if nothing.
    ``residual`` is how far off the explanations are in so many ``experiments``, in units of what
    rounding explains.
    """

    explanations: list[Explanation] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    likeness: str = ""
    residual: float = 0.0
    experiments: int = 0

    @property
    def message(self) -> str:
        """What to say where nothing explains the layer, "" if it is like no other cell."""
        if not self.likeness:
            return ""
        return f"No known mistake computes this; it looks like another cell: {self.likeness}"
