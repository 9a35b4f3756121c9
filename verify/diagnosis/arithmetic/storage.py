"""Layers that store states or outputs in a coarser dtype between right steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...mutants.dtype import to_bfloat16
from ...mutants.replaceable_layer import At, ReplaceableLayer
from ...numbers.tape import instead, plain
from ..hypotheses import Hypothesis
from ..observation import Observation

COARSER = {"float64": ("bfloat16", "float16", "float32"), "float32": ("bfloat16", "float16")}
"""The dtypes in which states may be stored, the coarsest first."""

ENOUGH = 32
"""The fewest numbers of an array from which its dtype is inferred."""


def rounded(array: Array, dtype: str) -> Array:
    """Round numbers to a coarser dtype, and return them in their own."""
    with np.errstate(all="ignore"):
        if dtype == "bfloat16":
            return np.asarray(to_bfloat16(array.astype(np.float32))).astype(array.dtype)
        return array.astype(dtype).astype(array.dtype)


@dataclass(frozen=True)
class Storage:
    """A coarser dtype, the states that are stored in it, and whether outputs are.

    ``starts``: so are the initial states, as in an array that is filled with them.
    """

    dtype: str
    states: tuple[str, ...]
    outputs: bool
    starts: bool = False

    def change(self, layer: ReplaceableLayer) -> None:
        """Change a right layer so that it rounds these states and outputs after every step."""
        step, show, names = layer.step, layer.show, layer.cell.states

        def store(s: Array) -> Array:
            return instead(s, rounded(plain(s), self.dtype))

        def all_stored(state: State) -> State:
            return tuple(
                store(s) if n in self.states else s for n, s in zip(names, state, strict=True)
            )

        def stored(at: At, p: Parameters, x: Array, old: State) -> State:
            return all_stored(step(at, p, x, all_stored(old) if self.starts else old))

        layer.step = stored
        if self.outputs and "h" not in self.states:
            layer.show = lambda at, new, old: store(show(at, new, old))

    @property
    def hypothesis(self) -> Hypothesis:
        """The storage as a mistake."""
        where = f"state {' and state '.join(self.states)}" if self.states else "every output"
        verb = "are" if len(self.states) > 1 else "is"
        return Hypothesis(
            (f"stored in {self.dtype}",),
            (
                f"{where[0].upper()}{where[1:]} {verb} rounded to {self.dtype} after every step"
                f"{', and before the first' * self.starts}.",
            ),
            (self.change,),
            (f"keep it in the dtype of x: look for a cast to {self.dtype}, a buffer or autocast",),
            ("forward",),
        )


def storage(observed: Sequence[Observation], dtype: str) -> Storage | None:
    """Return the states and outputs that are numbers of a coarser dtype, or None."""
    arrays: dict[str, list[Array]] = {}
    for observation in observed:
        for (call, _, name), array in observation.seen.items():
            if observation.calls[call].tangents is not None:  # tangents are not stored
                continue
            if name == "y" or name.startswith("final "):
                arrays.setdefault(name, []).append(array.ravel())
    by_name = {name: np.concatenate(parts) for name, parts in arrays.items()}
    for coarser in COARSER.get(dtype, ()):
        fits = [n for n, a in by_name.items() if _unchanged(a, partial(rounded, dtype=coarser))]
        states = tuple(n.removeprefix("final ") for n in fits if n != "y")
        if fits:
            return Storage(coarser, states, "y" in fits)
    return None


def _unchanged(array: Array, cast: Callable[[Array], Array]) -> bool:
    numbers = array[np.isfinite(array) & (array != 0)]
    return numbers.size >= ENOUGH and bool(np.array_equal(cast(numbers), numbers))
