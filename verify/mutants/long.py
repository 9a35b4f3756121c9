"""Faults that only long, wide or large inputs show (W)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..subjects.protocol import Cotangents, Pulled
from .catalogue import mutant
from .gradient import after_step_vjp
from .parts import PLAIN, changed, reads
from .replaceable_layer import At, ReplaceableLayer

TILE = 32
WIDE = 64
LATE = 1000


@mutant(
    "W01",
    statement="The hidden state is reset to 0 at step 32.",
    cells=PLAIN,
    killed_by=("transition",),
    fix="carry h across step 32 as across any other: look for chunks of 32 steps that start "
    "from zeros",
)
def recurrence_restarts(layer: ReplaceableLayer) -> None:
    right = layer.step

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        return right(at, p, x, (0 * state[0], *state[1:]) if at.t == TILE else state)

    layer.step = step


@mutant(
    "W02",
    statement="Units from number 64 on do not take part in the recurrence.",
    cells=PLAIN,
    killed_by=("wide",),
    fix="sum h U over all units: look for a tile or block size of 64 that cuts the state off",
)
def wide_states_cut_off(layer: ReplaceableLayer) -> None:
    def cut(p: Parameters) -> Parameters:
        kept = (np.arange(p.U.shape[1]) < WIDE).astype(p.U.dtype)
        return changed(p, U=p.U * kept[None, :, None])

    reads(layer, cut)


@mutant(
    "W03",
    statement="No gradient passes a step whose number is a multiple of 32.",
    cells=PLAIN,
    killed_by=("gradient-window",),
    fix="carry dh (and dc) across multiples of 32 steps: look for a detach or chunks on the "
    "way back",
)
def backpropagation_truncated(layer: ReplaceableLayer) -> None:
    def spoil(at: At, dp: Parameters, dx: Array, d_old: State) -> tuple[Parameters, Array, State]:
        return dp, dx, tuple(0 * d for d in d_old) if at.t and at.t % TILE == 0 else d_old

    after_step_vjp(layer, spoil)


@mutant(
    "W04",
    statement="The bias is no longer added from step 1000 on.",
    cells=PLAIN,
    killed_by=("transition",),
    fix="add the bias at every step: look for a branch, counter or table that ends at step 1000",
)
def wrong_from_step_1000(layer: ReplaceableLayer) -> None:
    right = layer.step
    layer.step = lambda at, p, x, state: right(
        at, changed(p, b=0 * p.b) if at.t >= LATE else p, x, state
    )


@mutant(
    "W05",
    statement="The gradient of U is 0 from unit 64 on.",
    cells=PLAIN,
    killed_by=("wide",),
    fix="compute the gradient of U for all units: look for a tile or launch size that ends at "
    "unit 64",
)
def gradient_of_wide_weights_cut_off(layer: ReplaceableLayer) -> None:
    right = layer.give_gradients

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        kept = np.arange(layer.case.H) < WIDE
        named = {
            name: np.where(kept, d, np.zeros_like(d)) if name[0] == "U" else d
            for name, d in pulled.parameters.items()
        }
        return right(replace(pulled, parameters=named), given)

    layer.give_gradients = give


@mutant(
    "W06",
    statement="In layers of more than 32 units, the units after the last complete tile of 32 "
    "ignore the input.",
    cells=PLAIN,
    killed_by=("wide",),
    fix="handle the remainder of H by 32: units after the last whole tile need x W, too",
)
def remainder_of_a_tile_not_computed(layer: ReplaceableLayer) -> None:
    def cut(p: Parameters) -> Parameters:
        H = p.W.shape[2]
        whole = H - H % TILE if H > TILE else H
        return changed(p, W=p.W * (np.arange(H) < whole).astype(p.W.dtype))

    reads(layer, cut)


@mutant(
    "W07",
    statement="In sequences of more than 100 steps, the gradient of x at the first step is 0.",
    cells=PLAIN,
    killed_by=("gradient-window",),
    fix="compute dx of the first step in long sequences, too: look for a loop that ends at t = 1",
)
def gradients_of_x_lost_early(layer: ReplaceableLayer) -> None:
    right = layer.give_gradients

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        if len(pulled.x) <= 100:
            return right(pulled, given)
        lost = np.concatenate([0 * pulled.x[:1], pulled.x[1:]])
        return right(replace(pulled, x=lost), given)

    layer.give_gradients = give
