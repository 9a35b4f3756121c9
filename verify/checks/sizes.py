"""Sizes and scales at which implementations break: coinciding, wide, extreme."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from hypothesis import strategies as st

from ..cases.case import SUBNORMAL, Case
from ..cases.strategies import SEEDS, cases, coinciding, flag, integers
from ..numbers.arithmetic import HALVES
from ..subjects.protocol import Subject
from .against_reference import BACK, outputs_and_gradients
from .check import SubjectCheck

WIDTHS = (33, 65, 129)
"""Hidden widths just past the tiles of kernels."""

ALGORITHMS = (
    (127, 8, 5), (128, 8, 128), (129, 7, 5), (192, 16, 64), (193, 3, 5), (256, 8, 256),
    (257, 2, 5), (384, 8, 3), (385, 5, 3), (1024, 8, 128), (1024, 3, 5),
)  # fmt: skip
"""Widths H of the state, rows B and inputs D near the limits of PyTorch's rules for cuDNN's
persistent kernels (``aten/src/ATen/native/cudnn/RNN.cpp``); B and D are multiples of 8, 16 and 128,
or not."""

SCALES = ("saturating", "huge", SUBNORMAL)


def wide_cases(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield cases past the tiles: many hidden units, many inputs, many rows.

    In halves, cases have one step: over more, bounds on such long sums are too wide.
    """
    steps = 1 if dtype in HALVES else 3
    plain = Case(steps, 2, 5, 4, dtype=dtype, state=subject.options.state)
    for number, width in enumerate(WIDTHS):
        yield replace(plain, H=width, seed=number)
    yield replace(plain, D=70, seed=10)
    yield replace(plain, T=1 if steps == 1 else 4, B=140, D=2, seed=11)
    if subject.options.bidirectional and subject.options.layers:
        yield replace(plain, H=65, layers=2, bidirectional=True, seed=12)


def draw_wide(subject: Subject, dtype: str) -> st.SearchStrategy[Case]:
    """Draw wide cases of few steps."""
    return st.builds(
        Case,
        T=st.just(1) if dtype in HALVES else st.integers(2, 3),
        B=st.integers(2, 4),
        D=st.integers(1, 40),
        H=integers(20, 140),
        bias=flag(subject.options.bias, without=True),
        state=st.just(subject.options.state),
        dtype=st.just(dtype),
        seed=SEEDS,
    )


def algorithm_cases(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield cases on both sides of the sizes at which PyTorch changes cuDNN's algorithm.

    They have one step, for which bounds in float32 are sharp at every width, and two.
    """
    plain = Case(2, 2, 5, 4, dtype=dtype, state=subject.options.state)
    for number, (H, B, D) in enumerate(ALGORITHMS):
        for T in (1, 2):
            yield replace(plain, T=T, H=H, B=B, D=D, seed=number)
    if subject.options.lengths:
        yield replace(plain, T=3, H=128, B=8, lengths=True, seed=20)
    if subject.options.bidirectional and subject.options.layers:
        yield replace(plain, H=128, B=8, layers=2, bidirectional=True, seed=21)


def extreme_cases(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield one case for each extreme scale."""
    for number, scale in enumerate(SCALES):
        plain = Case(4, 2, 3, 5, dtype=dtype, state=subject.options.state)
        yield replace(plain, scale=scale, seed=number)


CHECKS = (
    SubjectCheck(
        "shapes",
        "Values and gradients are right where sizes coincide or are 1: T = B, D = H, B = H, all "
        "equal, T = 1, B = 1, H = 1, D = 1.",
        outputs_and_gradients,
        cases=lambda subject, dtype: st.sampled_from(list(coinciding(subject, dtype))),
        equations=BACK,
        needs=("equations",),
        forced=coinciding,
        share=0.1,
    ),
    SubjectCheck(
        "wide",
        "Values and gradients are right past the tiles of kernels: more than 32, 64 and 128 "
        "hidden units, many inputs, many rows.",
        outputs_and_gradients,
        cases=draw_wide,
        equations=BACK,
        needs=("equations",),
        forced=wide_cases,
        share=0.1,
    ),
    SubjectCheck(
        "algorithms",
        "Values and gradients are right on both sides of the sizes at which a GPU's library "
        "takes another algorithm.",
        outputs_and_gradients,
        cases=lambda subject, dtype: st.sampled_from(list(algorithm_cases(subject, dtype))),
        equations=BACK,
        needs=("equations",),
        concerned=lambda subject: subject.options.algorithms,
        forced=algorithm_cases,
        share=0.05,
        shrinks=False,
    ),
    SubjectCheck(
        "extreme",
        "Values and gradients are finite and right where gates saturate (weights of 50 and 1e4) "
        "and where weights are subnormal numbers.",
        outputs_and_gradients,
        cases=partial(cases, scales=SCALES),
        equations=BACK,
        needs=("equations",),
        forced=extreme_cases,
        share=0.2,
    ),
)
