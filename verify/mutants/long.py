"""Mistakes that show only for long, wide or large inputs (W)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...reference.arrays import Array
from ...reference.parameters import Parameters
from .catalogue import mutant
from .gradient import after_step_vjp, gives, gives_named
from .parts import changed, reads

TILE = 32
WIDE = 64
LATE = 1000


def below(limit: int, like: Array) -> Array:
    """Return 1 for units below ``limit``, 0 for the others, (H,)."""
    return (np.arange(like.shape[-1]) < limit).astype(like.dtype)


def whole_tiles(p: Parameters) -> int:
    """Return the number of units in whole tiles, or all units if there is only one tile."""
    H: int = p.W.shape[2]
    return H - H % TILE if H > TILE else H


mutant(
    "W01",
    "The hidden state is reset to 0 at step 32.",
    ("transition",),
    fix="carry h across step 32 as across any other: look for chunks of 32 steps that start from "
    "zeros",
    part="step",
    change=lambda layer, original, at, p, x, state: original(
        at, p, x, (0 * state[0], *state[1:]) if at.t == TILE else state
    ),
)

mutant(
    "W02",
    "Units from number 64 on do not take part in the recurrence.",
    ("wide",),
    fix="sum h U over all units: look for a tile or block size of 64 that cuts the state off",
    change=lambda layer: reads(layer, lambda p: changed(p, U=p.U * below(WIDE, p.U)[:, None])),
)

mutant(
    "W03",
    "No gradient passes a step whose number is a multiple of 32.",
    ("gradient-window",),
    fix="carry dh (and dc) across multiples of 32 steps: look for a detach or chunks on the way "
    "back",
    change=lambda layer: after_step_vjp(
        layer,
        lambda at, dp, dx, d: (dp, dx, d if at.t % TILE or not at.t else tuple(0 * s for s in d)),
    ),
)

mutant(
    "W04",
    "The bias is no longer added from step 1000 on.",
    ("transition",),
    fix="add the bias at every step: look for a branch, counter or table that ends at step 1000",
    part="step",
    change=lambda layer, original, at, p, x, state: original(
        at, changed(p, b=0 * p.b) if at.t >= LATE else p, x, state
    ),
)

mutant(
    "W05",
    "The gradient of U is 0 from unit 64 on.",
    ("wide",),
    fix="compute the gradient of U for all units: look for a tile or launch size that ends at unit "
    "64",
    change=lambda layer: gives_named(
        layer, lambda name, d: np.where(below(WIDE, d), d, 0) if name[0] == "U" else d
    ),
)

mutant(
    "W06",
    "In layers of more than 32 units, the units after the last complete tile of 32 ignore the "
    "input.",
    ("wide",),
    fix="handle the remainder of H by 32: units after the last whole tile need x W, too",
    change=lambda layer: reads(layer, lambda p: changed(p, W=p.W * below(whole_tiles(p), p.W))),
)

mutant(
    "W07",
    "In sequences of more than 100 steps, the gradient of x at the first step is 0.",
    ("gradient-window",),
    fix="compute dx of the first step in long sequences, too: look for a loop that ends at t = 1",
    change=lambda layer: gives(
        layer,
        lambda p: p if len(p.x) <= 100 else replace(p, x=np.concatenate([0 * p.x[:1], p.x[1:]])),
    ),
)
