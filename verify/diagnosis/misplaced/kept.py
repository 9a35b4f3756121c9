"""Some arrays of the first call that are kept, as in a packed or transposed copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product

import numpy as np

from ....reference.arrays import Floats
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...mutants.replaceable_layer import ReadPart, ReplaceableLayer
from ...numbers.tape import instead, plain
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis
from .slots import arrays_of_role

ROLES = ("W", "U", "b")


def kept_arrays(subject: Subject) -> Iterator[Hypothesis]:
    """Yield hypotheses that some arrays of the first call are read in all later ones."""
    parameters = subject.parameter_map(Case(2, 2, 3, 4, dtype=subject.dtypes[0]))
    roles = {role: arrays_of_role(parameters, role) for role in ROLES}
    present = [role for role in ROLES if roles[role]]
    for size, followed in product(range(1, len(present)), (True, False)):
        clause = "" if followed else ", and it gets no gradient then"
        for chosen in combinations(present, size):
            names = " and ".join(name for role in chosen for name in roles[role])
            yield Hypothesis(
                (f"{names} of the first call{clause}",),
                (f"Of the first call, {names} is kept: later changes of it have no effect{clause}."
                 ,),
                (partial(_keep, chosen, followed),),
                ("read the array at every call: look for a packed, cast or transposed copy that is "
                 "never renewed",), ("reweight",),
            )  # fmt: skip


def _keep(roles: Sequence[str], followed: bool, layer: ReplaceableLayer) -> None:
    def read(right: ReadPart, named: Mapping[str, Floats]) -> Sequence[Parameters]:
        kept = {name: array for name, array in named.items() if name.startswith(tuple(roles))}
        fresh = {name for name in kept if name not in layer.memory}
        for name, array in kept.items():
            layer.memory.setdefault(name, np.array(plain(array)))

        def read_from(name: str, array: Array) -> Array:
            share = float(followed or name in fresh)
            return instead(array, layer.memory[name], lambda d: share * d)

        return right({**named, **{name: read_from(name, a) for name, a in kept.items()}})

    layer.wrap("read_parameters", read)
