"""Which arithmetic explains what is seen: the one that was claimed, or a coarser one?"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ...reference.functions import Array
from ..arithmetic import ARITHMETICS
from ..bounded import Bounded
from ..calling import layer_of, run
from ..case import Case
from ..cases import SEEDS
from ..check import Ledger, Mismatch, in_bounds
from ..naming import by_name
from ..oracle import draw_inputs, state_names
from ..subjects.protocol import Inputs, Result, Subject
from .subject_check import SubjectCheck

COARSER = {
    "float64": ("float32", "tf32", "float16", "bfloat16"),
    "float32": ("tf32", "float16", "bfloat16"),
}
"""What a layer may compute in instead of what it claims, the finest first."""


def honest_dtype(subject: Subject, case: Case) -> Ledger:
    """Hold outputs to the arithmetic of their dtype; say which coarser one explains them."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    got = run(subject, case, inputs)
    ratios = {name: _ratio(subject, case, inputs, got, name)
              for name in (case.dtype, *COARSER[case.dtype])}  # fmt: skip
    if ratios[case.dtype] > 1:
        explaining = [name for name in COARSER[case.dtype] if ratios[name] <= 1]
        if explaining:
            raise Mismatch(
                f"outputs claim {case.dtype}, but only {explaining[0]} explains them (error is "
                f"{ratios[case.dtype]:.3g} times the bound of {case.dtype}, "
                f"{ratios[explaining[0]]:.3g} times that of {explaining[0]})"
            )
    wanted = by_name(state_names(subject, case), _expected(subject, case, inputs, case.dtype))
    found = by_name(state_names(subject, case), got)
    for name, want in wanted.items():
        if ratios[case.dtype] <= 1:  # else no arithmetic explains it, and other checks say why
            ledger.compare(name, found[name], want)
    return ledger


def _ratio(subject: Subject, case: Case, inputs: Inputs, got: Result, arithmetic: str) -> float:
    states = state_names(subject, case)
    wanted = by_name(states, _expected(subject, case, inputs, arithmetic))
    found = by_name(states, got)
    return max(_worst(found[name], want) for name, want in wanted.items())


def _worst(got: Array, want: Bounded) -> float:
    ratio = in_bounds(got.astype(np.float64), want.value, want.bound)
    return float(np.max(ratio, initial=0.0))


def _expected(subject: Subject, case: Case, inputs: Inputs, arithmetic: str) -> Result:
    def given(array: Array) -> Bounded:
        """Numbers of the case's dtype, rounded to the arithmetic's when they are read."""
        u = ARITHMETICS[arithmetic].roundoff
        bound = np.abs(array) * u if arithmetic != case.dtype else 0.0
        return Bounded(array, bound, ARITHMETICS[arithmetic])

    layer = layer_of(subject, case)
    p = subject.to_reference(case, {n: given(a) for n, a in inputs.parameters.items()})
    state = None if inputs.state is None else tuple(given(s) for s in inputs.state)
    output = layer.forward(p, given(inputs.x), state, inputs.lengths)
    return Result(output.y, output.final)


def _some_steps(subject: Subject, dtype: str) -> st.SearchStrategy[Case]:
    """Draw one layer over enough steps for a coarser state to drift."""
    return st.builds(
        Case,
        T=st.integers(4, 16),
        B=st.integers(2, 3),
        D=st.integers(2, 6),
        H=st.integers(3, 12),
        state=st.just(subject.options.state),
        dtype=st.just(dtype),
        seed=SEEDS,
    )


CHECKS = (
    SubjectCheck(
        "dtype",
        "The arithmetic of the claimed dtype explains the results; no coarser one is needed.",
        (),
        _some_steps,
        honest_dtype,
        share=0.2,
    ),
)
