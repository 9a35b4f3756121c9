"""What a class offers, found out by trying, once their tests are through.

A mutant of two directions says nothing about the tests of a class that has but one. So what no
test has used is tried on instances of our own; what they refuse, the class does not offer.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from .call import Call
from .planting import Planting
from .substitution import WAYS, reaches

VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"bias": True},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "dropout": 0.5},
)
"""Arguments of the constructor that show what it offers."""


def offers(planting: Planting) -> set[str]:
    """Return what calls of the class may have, of all that faults need."""
    if planting.last is None:
        return set()
    found: set[str] = set()
    with warnings.catch_warnings(), planting.last.torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        for module, D in _modules(planting.last, planting.target):
            for call in _calls(planting.last, module, D):
                found |= _offered(call)
    return found


def _modules(last: Call, target: Any) -> Iterator[tuple[Any, int]]:
    """Yield instances and the width of their inputs."""
    for arguments in VARIANTS:
        with suppress(Exception):  # a refusal of any kind is the answer
            module = target(2, 3, **arguments)
            yield module, 2
            yield copy.deepcopy(module).double(), 2
    with suppress(Exception):  # not every constructor takes two sizes; here is one that was built
        yield copy.deepcopy(last.module), last.x.shape[-1]


def _calls(last: Call, module: Any, D: int) -> Iterator[Call]:
    """Yield calls with and without lengths, with and without an initial state."""
    torch = last.torch
    dtype = next((p.dtype for p in module.parameters()), torch.get_default_dtype())
    x = torch.zeros(3, 2, D, dtype=dtype)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, [1, 3], enforce_sorted=False)
    for given in (x, packed):
        call = Call(last.kind, module, last.forward, (given,), {})
        yield call
        with suppress(Exception):
            final = call.run().final
            state = final if call.states == 2 else final[0]
            yield Call(last.kind, module, last.forward, (given, state), {})


def _offered(call: Call) -> set[str]:
    try:
        call.run()
        return call.offers()
    except Exception:
        return set()


def way(planting: Planting) -> str:
    """Return how the parameters of the last call can be replaced; "" if they cannot."""
    if planting.last is None:
        return ""
    return next((way for way in WAYS if reaches(planting.last, way)), "")
