"""Which parameter of somebody's layer is what: by torch.nn's names, else by shape and order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
NAMED = re.compile(r"(?:^|\.)(weight|bias)_(ih|hh)_l(\d+)(_reverse)?$")
ROLES = {
    ("weight", "ih"): "W", ("weight", "hh"): "U", ("bias", "ih"): "b", ("bias", "hh"): "bu",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Part:
    """One parameter: W, U, the input's bias b or the recurrent one bu, and of which pass.

    Gates stand block after block along ``axis``, H entries each.
    """

    tensor: Any
    role: str
    level: int
    direction: int
    gates: int
    axis: int = 0

    @property
    def hidden(self) -> int:
        """The number of hidden units."""
        return int(self.tensor.shape[self.axis]) // self.gates

    def blocks(self, tensor: Any) -> list[Any]:
        """Return one tensor a gate."""
        return list(tensor.split(self.hidden, self.axis))


def parts(module: Any, kind: str) -> tuple[Part, ...]:
    """Return what could be recognised; nothing, rather than a guess that does not add up."""
    named = list(module.named_parameters())
    return _by_name(named, kind) or _by_shape(module, [p for _, p in named], kind)


def _by_name(named: Sequence[tuple[str, Any]], kind: str) -> tuple[Part, ...]:
    found = []
    for name, tensor in named:
        if match := NAMED.search(name):
            what, where, level, reverse = match.groups()
            role, direction = ROLES[what, where], int(bool(reverse))
            found.append(Part(tensor, role, int(level), direction, GATES[kind]))
    whole = all(part.tensor.shape[0] % part.gates == 0 for part in found)
    return tuple(found) if whole and {"W", "U"} <= {part.role for part in found} else ()


def _by_shape(module: Any, tensors: Sequence[Any], kind: str) -> tuple[Part, ...]:
    """Recognise (G H, D) or (D, G H), (G H, H) or (H, G H), and (G H,), pass after pass."""
    gates = GATES[kind]
    H = _hidden(module, tensors, gates)
    matrices = [t for t in tensors if t.ndim == 2 and gates * H in t.shape]
    biases = [t for t in tensors if tuple(t.shape) == (gates * H,)]
    passes, odd = divmod(len(matrices), 2)
    if not H or not passes or odd or len(biases) not in (0, passes, 2 * passes):
        return ()
    directions = 2 if getattr(module, "bidirectional", False) else 1
    found = []
    for k in range(passes):
        at = divmod(k, directions)
        pair = matrices[2 * k : 2 * k + 2]
        if not _may_be_recurrent(pair[1], H, gates):  # W has other sizes than U, unless D is H
            pair.reverse()
        if not _may_be_recurrent(pair[1], H, gates):
            return ()
        axes = [0 if m.shape[0] == gates * H else 1 for m in pair]
        own = biases[k * len(biases) // passes : (k + 1) * len(biases) // passes]
        found += [Part(pair[0], "W", *at, gates, axes[0]), Part(pair[1], "U", *at, gates, axes[1])]
        found += [Part(b, role, *at, gates) for b, role in zip(own, ("b", "bu"), strict=False)]
    return tuple(found)


def _hidden(module: Any, tensors: Sequence[Any], gates: int) -> int:
    stated = getattr(module, "hidden_size", None)
    if isinstance(stated, int):
        return stated
    square = (m for m in tensors if m.ndim == 2 and max(m.shape) == gates * min(m.shape))
    return next((int(min(m.shape)) for m in square), 0)


def _may_be_recurrent(matrix: Any, H: int, gates: int) -> bool:
    return tuple(matrix.shape) in ((gates * H, H), (H, gates * H))
