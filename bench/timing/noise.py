"""The noise floor: by how much a call differs from itself, here and now."""

from __future__ import annotations

from .comparing import compare
from .effort import STANDARD, Effort
from .sampling import WALL, Call, Clock

REPEATS = 3


def noise_floor(
    call: Call,
    effort: Effort = STANDARD,
    *,
    twin: Call | None = None,
    seed: int = 0,
    clock: Clock = WALL,
) -> float:
    """Return the largest share by which ``call`` may seem to differ from itself (an A/A test).

    It is the end furthest from 1 of the ratio's intervals in three comparisons. ``twin`` is the
    same work built once more, in other memory, for whoever wants that to count as noise.
    """
    again = twin or call
    return max(compare(call, again, effort, seed + k, clock=clock).furthest for k in range(REPEATS))
