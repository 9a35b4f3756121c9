"""Hypothesis strategies of cases: public, and made to shrink to something readable.

Sizes are mutually different by default, since a layer that mixes up two axes of equal length
looks right; coinciding sizes are swept on purpose by the checks that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import (
    HealthCheck,
    Phase,
    Verbosity,
    currently_in_test_context,
    given,
    seed,
    settings,
    target,
)
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from .case import Case
from .options import Offering, Options
from .schedule import MOST_ROWS, Operation, text_of

SMALLEST, LARGEST = 2, 7
"""T >= 3 and H >= 2 in most cases: fewer cannot tell the order of Jacobians."""

SHORT_RANGE = 100
"""Below this, Hypothesis draws from its own random generator alone."""


def integers(least: int, most: int) -> st.SearchStrategy[int]:
    """Draw an integer that depends on the seed alone: a wide range is drawn in parts.

    In wide ranges, Hypothesis also draws constants of 100 and more from modules that no package
    installed, the user's layer among them.
    """
    parts = -(-(most - least + 1) // SHORT_RANGE)
    if parts == 1:
        return st.integers(0, most - least).map(lambda n: least + n)
    width = -(-(most - least + 1) // parts)
    return st.builds(
        lambda part, n: min(least + part * width + n, most),
        integers(0, parts - 1),
        st.integers(0, width - 1),
    )


SEEDS = integers(0, 2**16 - 1)


def one_layer(
    subject: Offering,
    dtype: str,
    *,
    T: tuple[int, int],
    B: tuple[int, int],
    D: tuple[int, int],
    H: tuple[int, int],
) -> st.SearchStrategy[Case]:
    """Draw one layer in one direction, sizes in the ranges given, with states if offered."""
    return st.builds(
        Case,
        T=st.integers(*T),
        B=st.integers(*B),
        D=st.integers(*D),
        H=st.integers(*H),
        state=st.just(subject.options.state),
        dtype=st.just(dtype),
        seed=SEEDS,
    )


def cases(
    subject: Offering,
    dtype: str,
    *,
    scales: tuple[str, ...] = ("unit", "tiny", "large"),
    state: bool | None = None,
    lengths: bool | None = None,
    depth: bool = True,
    **fixed: object,
) -> st.SearchStrategy[Case]:
    """Draw cases of small, mutually different sizes, with the options that a subject offers.

    ``state`` and ``lengths`` fix what is otherwise drawn; ``depth`` allows layers and directions;
    ``fixed`` fields replace drawn ones.
    Sequences are short enough for a bound on the whole trajectory to mean something.
    """
    options = subject.options
    strategy = st.builds(
        _with_sizes,
        st.lists(st.integers(SMALLEST, LARGEST), min_size=4, max_size=4, unique=True),
        layers=st.integers(1, 2) if depth and options.layers else st.just(1),
        bidirectional=flag(depth and options.bidirectional),
        bias=flag(options.bias, without=True),
        lengths=flag(options.lengths) if lengths is None else st.just(lengths and options.lengths),
        zero_length=flag(options.zero_length),
        state=_states(options, state),
        scale=st.sampled_from(scales),
        dtype=st.just(dtype),
        seed=SEEDS,
    )
    if options.projection:
        strategy = st.tuples(strategy, st.integers(0, 3)).map(_with_projection)
    return strategy.map(lambda case: replace(case, **fixed)) if fixed else strategy  # type: ignore[arg-type]


def flag(offered: bool, *, without: bool = False) -> st.SearchStrategy[bool]:
    """Draw a flag where the option is offered."""
    return st.booleans() if offered else st.just(without)


def coinciding(subject: Offering, dtype: str) -> Iterator[Case]:
    """Yield cases with equal sizes or sizes of 1, in which mixed-up axes look right or fail."""
    options = subject.options
    plain = Case(5, 3, 2, 4, dtype=dtype, state=options.state)
    depth = {"layers": 2 if options.layers else 1, "bidirectional": options.bidirectional}
    swept: tuple[dict[str, int], ...] = (
        {"T": 4, "B": 4, "H": 3},
        {"D": 4, "H": 4},
        {"B": 4, "H": 4},
        {"T": 4, "H": 4},
        {"T": 4, "B": 4, "D": 4, "H": 4},
        {"T": 2, "B": 2, "D": 2, "H": 2},
        {"B": 1},
        {"T": 1},
        {"H": 1},
        {"D": 1},
        {"T": 1, "B": 1, "D": 1, "H": 1},
    )
    for number, sizes in enumerate(swept):
        coincidence = replace(plain, **sizes, seed=number)  # type: ignore[arg-type]
        yield coincidence
        if any(value not in (1, False) for value in depth.values()):
            yield replace(coincidence, **depth)  # type: ignore[arg-type]


def varied(subject: Offering, dtype: str, **fixed: object) -> Iterator[Case]:
    """Yield cases in which every two options occur on and off together, and two with all on.

    Hypothesis draws variations of few cases, few of which use several options.
    """
    options = subject.options
    for number, on in enumerate((*ORTHOGONAL, *ALL_ON)):
        T, B, D, H = DISTINCT[number % len(DISTINCT)]
        chosen = dict(zip(OPTIONAL, on, strict=True))
        case = Case(
            T, B, D, H,
            P=2 if chosen["projection"] and options.projection else 0,
            layers=2 if chosen["layers"] and options.layers else 1,
            bidirectional=chosen["bidirectional"] and options.bidirectional,
            bias=chosen["bias"] or not options.bias,
            lengths=chosen["lengths"] and options.lengths,
            zero_length=chosen["zero_length"] and options.zero_length,
            state=options.state and (chosen["state"] or not options.default_state),
            dtype=dtype,
            seed=number,
        )  # fmt: skip
        yield replace(case, **fixed)  # type: ignore[arg-type]


OPTIONAL = ("lengths", "bidirectional", "layers", "state", "bias", "projection", "zero_length")
ORTHOGONAL = tuple(
    (bool(a), bool(b), bool(a ^ b), bool(c), bool(a ^ c), bool(b ^ c), bool(a ^ b ^ c))
    for a in (1, 0)
    for b in (1, 0)
    for c in (1, 0)
)
"""The eight runs of seven two-level factors (Plackett & Burman 1946)."""

ALL_ON = (tuple(name != "zero_length" for name in OPTIONAL), (True,) * len(OPTIONAL))
"""A mistake may need three options together: PaddlePaddle 3.3.1's gradients are wrong where two
directions, different lengths and an initial state meet, and right with any two of them."""

DISTINCT = ((5, 3, 2, 4), (3, 4, 5, 6), (4, 2, 6, 3), (6, 5, 3, 4))


def _with_sizes(sizes: list[int], **options: object) -> Case:
    T, B, D, H = sizes
    return Case(T, B, D, H, **options)  # type: ignore[arg-type]


def _states(options: Options, state: bool | None) -> st.SearchStrategy[bool]:
    if not options.state or not options.default_state:
        return st.just(options.state)
    return st.booleans() if state is None else st.just(state)


def _with_projection(drawn: tuple[Case, int]) -> Case:
    case, width = drawn
    return replace(case, P=width if width < case.H else 0)


LARGEST_TARGET = 1e6
"""Hypothesis steers towards large error/bound; beyond this it makes no difference."""


def for_all(
    function: Callable[[Any], None],
    strategy: SearchStrategy[Any],
    *,
    examples: int,
    seed_value: int,
    steer: bool = True,
    shrink: bool = True,
) -> None:
    """Call ``function`` on ``examples`` drawn values; raise its exception for the shrunk value.

    The same seed draws the same values; with ``steer`` later ones follow the targets of ``aim``.
    No example database: a run depends on its seed alone.
    """
    extra = [Phase.target] * steer + [Phase.shrink] * shrink
    configured = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *extra],
    )

    def run(value: Any) -> None:
        function(value)

    seed(seed_value)(configured(given(strategy)(run)))()


def aim(ratio: float) -> None:
    """Let Hypothesis look for a larger error/bound; do nothing outside of ``for_all``."""
    if currently_in_test_context():
        target(min(ratio, LARGEST_TARGET), label="error/bound")


def schedules(*, ragged: Sequence[str], longest: int) -> st.SearchStrategy[str]:
    """Draw schedules; ``ragged`` are the operations of ``RAGGED_WORDS`` that the layer offers."""
    row = st.integers(0, MOST_ROWS - 1)
    calls = [
        st.just(Operation("decode")),
        st.builds(lambda n: Operation("prefill", (n,)), st.integers(2, longest)),
    ]
    plain = [
        *calls,
        st.just(Operation("keep")),
        st.just(Operation("back")),
        st.builds(lambda r: Operation("rows", tuple(r)), st.lists(row, min_size=1, max_size=3)),
        st.builds(lambda n: Operation("join", (n,)), st.integers(1, 2)),
    ]
    steps = st.integers(1, longest)
    numbers = st.lists(steps, min_size=2, max_size=4)
    uneven = [st.builds(lambda n, w=w: Operation(w, tuple(n)), numbers) for w in ragged]
    after = st.lists(st.one_of(*plain, *uneven), max_size=7)
    return st.builds(lambda first, rest: text_of([first, *rest]), st.one_of(*calls, *uneven), after)
