"""The rungs, from the ground up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...reference import fast
from ...reference.functions import Array
from ...reference.parameters import Parameters
from . import four_products, hoisted, in_place, one_product, stacked

Gradient = tuple[Parameters, Array, Array, Array]
"""Of the parameters, of x (T, B, D), of h0 and of c0 (B, H)."""


@dataclass(frozen=True)
class Rung:
    """A way to compute the cell "lstm" over a sequence.

    ``forward(p, x, h0, c0)`` returns something with y (T, B, H), h and c (B, H);
    ``backward(p, run, dy, dh, dc)`` its gradients, and leaves it as it is. ``change`` says what is
    new beside the rung below.
    """

    name: str
    change: str
    forward: Callable[[Parameters, Array, Array, Array], Any]
    backward: Callable[[Parameters, Any, Array, Array, Array], Gradient]


RUNGS = (
    Rung("four products", "as the equations are written: every gate has its own products",
         four_products.forward, four_products.backward),
    Rung("one product", "the gates side by side: one product a step",
         one_product.forward, one_product.backward),
    Rung("hoisted", "the input's product, and its gradient, once for all steps",
         hoisted.forward, hoisted.backward),
    Rung("in place", "results are written where they are kept; no step makes an array",
         in_place.forward, in_place.backward),
    Rung("stacked", "the gradients of the weights once for all steps",
         stacked.forward, stacked.backward),
    Rung("planes", "gate by gate in memory, and slopes once for all steps (reference/fast.py)",
         fast.lstm_forward, fast.lstm_backward),
)  # fmt: skip
