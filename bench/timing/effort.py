"""How long to measure before giving an answer, or giving up."""

from __future__ import annotations

from dataclasses import dataclass

FEWEST = 10
"""Ten pairs that all go one way have p = 0.002; fewer cannot say anything (``significance``)."""


@dataclass(frozen=True)
class Effort:
    """A stop rule: enough samples, over enough time, with a narrow enough interval, or patience.

    ``samples`` and ``seconds`` (without those of other programs) are the least that is taken. Then
    the 95 % interval of the median (of ratios: where calls are compared) has to be narrower than
    ``half_width`` of it, each way. When ``patience`` (seconds, for each call, warm-up included) or
    ``most`` samples are spent before that, the result is what it is, and its status NOISY.
    ``sample`` is the least length of a sample in seconds; a call that is shorter runs several times
    in each.
    """

    seconds: float
    patience: float
    samples: int = FEWEST
    most: int = 1000
    half_width: float = 0.01
    sample: float = 5e-4

    def __post_init__(self) -> None:
        """Refuse what could never end, or would say nothing."""
        if not 0 < self.seconds <= self.patience:
            raise ValueError(
                f"effort: seconds ({self.seconds}) must lie above 0, up to patience "
                f"({self.patience})"
            )
        if not FEWEST <= self.samples <= self.most:
            raise ValueError(
                f"effort: samples ({self.samples}) must be at least {FEWEST}, at most {self.most}"
            )
        if not (self.half_width > 0 and self.sample > 0):
            raise ValueError("effort: half_width and sample must be above 0")


QUICK = Effort(seconds=0.05, patience=0.5)
STANDARD = Effort(seconds=0.2, patience=1.0)
THOROUGH = Effort(seconds=2.0, patience=20.0, samples=30)
