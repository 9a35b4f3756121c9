"""What is concluded from times: slopes, regimes, shares, verdicts; from times that were made up."""

import math

import numpy as np
import pytest

from gatewise.bench.cost.shape import Shape
from gatewise.bench.speed import analysis, ceilings, rows
from gatewise.bench.speed.contender import BACKWARD, DATA, FORWARD, TRAINING
from gatewise.bench.speed.problem import Problem
from gatewise.reports.sections.speed_figures import edges
from made_runs import bench_run

GATE = {"ratio": 0.1, "outputs": 1e-7, "gradients": None, "steps": 5, "later": 0, "blind": []}


def timing(median, seed=0, n=40, spread=0.01):
    samples = median * np.exp(spread * np.random.default_rng(seed).standard_normal(n))
    return {
        "samples": samples.tolist(), "away": [0.0] * n, "median": median, "low": 0.99 * median,
        "high": 1.01 * median, "least": float(samples.min()), "iqr": 0.01 * median,
        "first_call": median, "loops": 1, "warm_up": 3, "status": "OK",
    }  # fmt: skip


def entry(subject, median, of=FORWARD, seed=0, **more):
    made = {"subject": subject, "of": of, "status": "OK", "gate": GATE, "peak": 1000}
    return made | {"timing": timing(median, seed)} | more


def group(entries, cell="lstm", **sizes):
    shape = Shape(**{"T": 50, "B": 16, "D": 64, "H": 64} | sizes)
    problem = Problem(cell, shape, "float32")
    return {
        "id": f"{cell} {shape}", "status": "OK", "cell": cell, "shape": vars(shape),
        "dtype": "float32", "threads": 1, "entries": entries, "ceiling": {FORWARD: 1e-4},
        "work": ceilings.work(problem), "seconds": 1.0,
    }  # fmt: skip


def run(*found, floor=0.0, **settings):
    noise = {"id": rows.NOISE, "status": "OK", "floor": floor, "by": {}}
    return bench_run("speed", noise, *found, settings=settings, planned=())


def test_what_follows_from_a_time():
    (row,) = analysis.analysed(run(group([entry("numpy:lstm", 2e-3)])))
    flop = 2 * 4 * 64 * 128 * 16 * 50
    assert row.us_per_step == pytest.approx(40)
    assert row.gflops == pytest.approx(flop / 2e-3 / 1e9)
    assert row.recurrent_gflops == pytest.approx(row.gflops / 2)
    assert row.share == pytest.approx(0.05)
    assert row.memory == pytest.approx(1000 / (4 * (50 * 16 * 64 + 2 * 16 * 64)))


@pytest.mark.parametrize(("law", "regime"), [
    (lambda B, H: 1.0, analysis.LATENCY),
    (lambda B, H: H * H, analysis.MEMORY),
    (lambda B, H: B * H * H, analysis.PRODUCT),
    (lambda B, H: B * H, analysis.ELEMENTS),
    (lambda B, H: math.sqrt(B) * H, analysis.BETWEEN),
])  # fmt: skip
def test_regimes(law, regime):
    found = analysis.analysed(run(*(
        group([entry("numpy:lstm", 1e-6 * law(B, H))], B=B, H=H, D=H)
        for B in (1, 16) for H in (64, 256)
    )))  # fmt: skip
    assert {row.regime for row in found} == {regime}


def test_slopes_need_a_neighbour_that_differs_in_one_size_alone():
    """Another T is no neighbour in B."""
    found = analysis.analysed(run(
        group([entry("numpy:lstm", 1e-3)], B=1, T=50),
        group([entry("numpy:lstm", 3e-3)], B=4, T=50),
        group([entry("numpy:lstm", 1e-3)], B=8, T=10),
    ))  # fmt: skip
    assert found[0].by_rows == found[1].by_rows == pytest.approx(math.log(3) / math.log(4))
    assert (found[2].by_rows, found[0].by_width, found[0].regime) == (None, None, "")


def test_verdicts():
    """Half as fast is SLOWER, the same is SAME, and nothing smaller than the noise is different."""
    entries = [entry("numpy:lstm", 2e-3), entry("torch:LSTMCell", 1e-3, seed=1),
               entry("torch-native:LSTM", 1e-3, seed=2)]  # fmt: skip
    slow, same, base = analysis.analysed(run(group(entries)))
    assert (slow.baseline, slow.comparison.verdict) == ("torch-native:LSTM", "SLOWER")
    assert slow.comparison.ratio == pytest.approx(2, rel=0.02)
    assert same.comparison.verdict == "SAME"
    assert base.comparison is None
    noisy, *_ = analysis.analysed(run(group(entries), floor=1.5))
    assert noisy.comparison.verdict not in ("FASTER", "SLOWER")


def test_a_named_baseline_and_what_has_no_time():
    entries = [entry("numpy:lstm", 2e-3), entry("torch-native:LSTM", 1e-3, seed=1),
               entry("torch:LSTMCell", 1e-3, status="WRONG", timing=None)]  # fmt: skip
    found = analysis.analysed(run(group(entries), baseline="numpy:lstm"))
    assert [row.baseline for row in found] == ["", "numpy:lstm", ""]
    assert found[1].comparison.verdict == "FASTER"
    assert found[2].us_per_step is None


def test_many_comparisons_are_paid_for():
    groups = [
        group([entry("numpy:lstm", 1.003e-3, seed=k), entry("torch-native:LSTM", 1e-3, seed=99)],
              B=k + 1)
        for k in range(6)
    ]  # fmt: skip
    alone = analysis.analysed(run(groups[0]))[0].comparison.p
    together = analysis.analysed(run(*groups))[0].comparison.p
    assert together > alone


def test_products_of_a_pass_are_its_flop():
    """Whatever is measured as a ceiling has as many operations as the cost model counts."""
    small, square = Shape(T=6, B=3, D=5, H=7), Shape(4, 2, 8, 8, layers=2, directions=2)
    of_cells = {"lstm": small, "gru": square, "lstm-phased": small, "skip-gru": square}
    for cell, shape in of_cells.items():
        problem = Problem(cell, shape, "float32")
        for of in (FORWARD, BACKWARD, DATA, TRAINING):
            flop = sum(2 * math.prod(mkn) * n for mkn, n in ceilings.products(problem, of).items())
            assert flop == ceilings.work(problem)[of]["flop"], (cell, of)


def test_ceilings_are_measured():
    found = ceilings.machine(("float32",))
    assert {name.split()[0] for name in found} == {"product", "copy", "empty"}
    assert all(value > 0 for value in found.values())


@pytest.mark.parametrize(
    ("cell", "forward", "backward"),
    [("rnn-relu", (384, 1024), (256, 1024)), ("lstm", (192, 1024), (128, 1024)),
     ("gru", (192, 1024), (128, 1024)), ("skip-lstm", (), ())],
)  # fmt: skip
def test_the_widths_at_which_cudnn_is_asked_for_another_algorithm(cell, forward, backward):
    """As PyTorch's source has them; those backward are narrower."""
    assert (edges(cell), edges(cell, backward=True)) == (forward, backward)
