"""C10-C12: the signs of exploding and of vanishing gradients while layers learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...reference.cells import cell_named
from ...reference.errors import InputError
from ...reference.functions import Array
from ...reference.gradient_clipping import clip_by_global_norm, clip_by_value, global_norm
from ...reference.output import cross_entropy_vjp
from ...reference.parameters import Parameters, Sizes
from .ledger import OPEN, Evidence, claim
from .material import with_gates
from .recall import Changed, Gradients, Model, Recall, descent, learn

HIDDEN, SEEDS, STEPS, LAG = 16, 6, 80, 50

FLAT = 0.05
"""The least decrease of a loss that counts: the noise of 20 batches is 0.01."""

LEARNED = 0.9
"""The accuracy from which a sign counts as remembered."""


def model(name: str, gain: float, task: Recall, rng: np.random.Generator) -> Model:
    """Draw a model whose recurrent weights are N(0, gain²/H); W ~ N(0, 1), biases 0."""
    shapes = cell_named(name).shapes(Sizes(2, HIDDEN))
    size = {"W": 1.0, "U": gain / np.sqrt(HIDDEN), "b": 0.0}
    arrays = {n: size[n] * rng.standard_normal(s.full) for n, s in shapes.items()}
    return Model.start(cell_named(name), Parameters(shapes, arrays), task.classes, rng)


def started(
    name: str, gain: float, seeds: Sequence[int], *, near: bool = False
) -> Iterator[tuple[Model, Recall, np.random.Generator]]:
    """Yield a model for each seed, with its task and the generator that drew it."""
    task = Recall(LAG, near)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        yield model(name, gain, task, rng), task, rng


def runs(
    name: str,
    gain: float,
    seeds: Sequence[int],
    *,
    near: bool = False,
    rate: float = 0.1,
    change: Changed = dict,
) -> list[Array]:
    """Return the losses (STEPS,) of one run per seed; NaN once they are not finite."""
    rule = descent(rate, change)
    return [learn(*start, rule, STEPS)[1] for start in started(name, gain, seeds, near=near)]


def _norms(name: str, gain: float, seeds: Sequence[int], change: Changed = dict) -> list[float]:
    """Return the norm of the first gradient for each seed."""
    return [
        float(global_norm(change(start.loss(*task.draw(rng, 32))[1])))
        for start, task, rng in started(name, gain, seeds)
    ]


def _finite(losses: list[Array]) -> int:
    return sum(bool(np.isfinite(run).all()) for run in losses)


def _fallen(losses: list[Array]) -> float:
    """Return the median decrease of the loss, from the first 20 steps to the last 20."""
    return float(np.median([run[:20].mean() - run[-20:].mean() for run in losses]))


def _not_numbers(losses: list[Array]) -> int:
    """Return the number of runs whose first loss that is not finite is NaN, not infinite."""
    ended = [run[~np.isfinite(run)] for run in losses]
    return sum(bool(np.isnan(values[0])) for values in ended if len(values))


@claim(
    "C10", "An exploding gradient shows as a loss that becomes NaN, a vanishing one as a loss that"
    " does not decrease.",
    documents=("D2",), about=("E06",), reading=OPEN,
)  # fmt: skip
def what_the_loss_shows(e: Evidence, rng: np.random.Generator) -> None:
    """Train where gradients explode, with unbounded and bounded states; and where they vanish."""
    seeds = rng.integers(2**32, size=SEEDS).tolist()
    for name, gain in (("rnn-relu", 2.0), ("rnn", 3.0)):
        norms = _norms(name, gain, seeds)
        e.number(f"{name}, gain {gain:g}: norm of the first gradient", np.median(norms))
    relu, tanh = runs("rnn-relu", 2.0, seeds), runs("rnn", 3.0, seeds)
    gone = e.number("ReLU: runs whose loss is no longer finite", SEEDS - _finite(relu))
    e.number("ReLU: of these, NaN and not infinite at first", _not_numbers(relu))
    stays = e.number("tanh: runs whose loss is no longer finite", SEEDS - _finite(tanh))
    far, near = runs("rnn", 0.5, seeds), runs("rnn", 0.5, seeds, near=True)
    slow = runs("rnn", 0.5, seeds, near=True, rate=1e-5)
    flat = e.number("gradient vanishes, only the far sign counts: loss falls by", _fallen(far))
    falls = e.number("gradient vanishes, the near sign counts too: loss falls by", _fallen(near))
    still = e.number("the same with a learning rate of 1e-5: loss falls by", _fallen(slow))
    shown = e.says("where gradients explode the loss becomes NaN", gone == stays == SEEDS,
                   f"a tanh RNN with gain 3, whose gradients are large too, keeps a finite loss in"
                   f" {SEEDS - stays:.0f} of {SEEDS} runs: its states are bounded")  # fmt: skip
    stuck = e.says("where gradients vanish the loss does not decrease",
                  abs(flat) < FLAT and falls < FLAT,
                  f"it falls by {falls:.2f} where something near can be learned")  # fmt: skip
    e.when("the states are unbounded (ReLU), for NaN; and for a flat loss nothing near can be"
           " learned",
           within=gone > SEEDS / 2 and abs(flat) < FLAT, beyond=not (shown and stuck))  # fmt: skip
    e.instead("a flat loss proves nothing: a small learning rate looks the same", still < FLAT)


@claim(
    "C11", "Exploding gradients are controlled by clipping.",
    documents=("D0", "D2"), about=("E30",), reading=OPEN,
)  # fmt: skip
def clipping_controls(e: Evidence, rng: np.random.Generator) -> None:
    """Train the ReLU RNN that explodes with and without clipping, from the same seeds."""
    seeds = rng.integers(2**32, size=SEEDS).tolist()
    kinds: dict[str, Changed] = {
        "without": dict,
        "by global norm": lambda g: clip_by_global_norm(g, 1.0),
        "by value": lambda g: clip_by_value(g, 1.0),
    }
    finite = {}
    for label, change in kinds.items():
        losses = runs("rnn-relu", 2.0, seeds, change=change)
        stay = f"clipping {label}: runs of {SEEDS} that stay finite"
        finite[label] = e.number(stay, _finite(losses))
    norms = _norms("rnn-relu", 2.0, seeds, kinds["by global norm"])
    norm = e.number("largest norm after clipping by global norm to 1", max(norms))
    share = e.number(f"RNN, W = 1.5 · orthogonal, {FAR_BACK} steps: finite entries of the gradient",
                    _far_back(rng), "share")  # fmt: skip
    clipped = finite["by global norm"] == finite["by value"] == SEEDS and norm <= 1 + 1e-12
    e.says("clipped runs stay finite where others do not", clipped and finite["without"] < SEEDS,
           "clipped runs do not stay finite, or the others do too")  # fmt: skip
    e.says("at any length", share == 1, f"over {FAR_BACK} steps the gradient itself overflows: what"
           " is not finite cannot be clipped (E30 refuses it)")  # fmt: skip
    e.when("the gradient itself is still finite",
           within=clipped and finite["without"] < SEEDS, beyond=share < 1)  # fmt: skip


FAR_BACK = 2000


def _far_back(rng: np.random.Generator) -> float:
    """Return the share of finite entries in a gradient over 2000 steps; 1 if clipping takes it.

    Without input the states are 0 and stay finite; the gradient grows by 1.5 a step.
    """
    start = model("rnn", 1.0, Recall(LAG), rng)
    p = with_gates(start.p, U={"a": 1.5 * np.linalg.qr(start.p.U_a)[0]})
    start = Model(start.cell, p, start.V, start.b)
    with np.errstate(all="ignore"):
        _, gradient = start.loss(np.zeros((FAR_BACK, 1, 2)), np.eye(2)[:1])
    try:
        clip_by_global_norm(gradient, 1.0)
    except InputError:
        entries = np.concatenate([g.ravel() for g in gradient.values()])
        return float(np.isfinite(entries).mean())
    return 1.0


@claim(
    "C12", "Manually enlarging gradients does not cure vanishing.",
    documents=("D2",), about=("E10", "E11"), reading=OPEN,
)  # fmt: skip
def enlarging(e: Evidence, rng: np.random.Generator) -> None:
    """Hold the far part of a gradient against its rounding noise; train with enlarged gradients."""
    seed = int(rng.integers(2**32))
    ratio, enlarged = (_signal_to_noise(factor, seed) for factor in (1.0, 2.0**20))
    same, below = np.array_equal(ratio, enlarged), np.flatnonzero(ratio < 1)
    lost = e.number("float32: far part below rounding noise from lag",
                    below[0] if len(below) else np.inf, "steps", "never")  # fmt: skip
    e.number("float32: signal to noise at lag 10", ratio[10])
    e.number(f"float32: signal to noise at lag {LAG - 2}", ratio[-1])
    seeds = rng.integers(2**32, size=SEEDS).tolist()
    learned = {size: _count_learners(size, seeds) for size in (0.1, 1.0)}
    for size, count in learned.items():
        e.number(f"gradient enlarged to a step of {size:g}: runs of {SEEDS} that learn", count)
    buried = same and np.isfinite(lost)
    e.says("a factor enlarges signal and rounding noise alike, and far signal is below the noise",
           buried, "the far part of the gradient stays above its rounding noise")  # fmt: skip
    e.says("layers do not learn with it, whatever the factor", not any(learned.values()),
           f"with steps as large as the weights {learned[1.0]} of {SEEDS} runs are thrown to where"
           " gradients no longer vanish, and learn")  # fmt: skip
    e.when("the enlarged step stays small against the weights",
           within=buried and learned[0.1] == 0, beyond=learned[1.0] > 0)  # fmt: skip


def _signal_to_noise(factor: float, seed: int) -> Array:
    """Return the part of dU from each lag over the float32 rounding error of dU, (LAG - 1,).

    Both are of the gradient times ``factor``.
    """
    task, rng = Recall(LAG, near=True), np.random.default_rng(seed)
    start = model("rnn", 0.5, task, rng)
    x, y = task.draw(rng, 32)
    parts = _parts(start, x, y)
    single = start.changed({n: a.astype(np.float32) for n, a in start.arrays().items()})
    rounded = single.loss(x.astype(np.float32), y.astype(np.float32))[1]["U"] * np.float32(factor)
    exact = start.changed({n: a.astype(np.float64) for n, a in single.arrays().items()})
    gradient = exact.loss(x.astype(np.float32).astype(float), y)[1]["U"] * factor
    noise = np.linalg.norm(rounded - gradient)
    return np.array([np.linalg.norm(part * factor) for part in parts]) / noise


def _parts(start: Model, x: Array, y: Array) -> list[Array]:
    """Return the share of every step in dU, the last step first."""
    run, s = start.run(x)
    dh = cross_entropy_vjp(s, y, np.full(x.shape[1], 1 / x.shape[1])) @ start.V.T
    parts = []
    for step in reversed(run.steps[2:]):
        dp, _, (dh,) = start.cell.vjp(start.p, step.x, step.state, step.gates, step.new, (dh,))
        parts.append(dp["U"])
    return parts


def _count_learners(size: float, seeds: Sequence[int]) -> int:
    """Return the number of runs that learn from gradients enlarged to steps of length ``size``."""

    def enlarged(gradient: Gradients) -> Mapping[str, Array]:
        norm = global_norm(gradient)
        return {name: g / norm for name, g in gradient.items()}

    count, rule = 0, descent(size, enlarged)
    for start, task, rng in started("rnn", 0.5, seeds):
        end, _ = learn(start, task, rng, rule, 100)
        count += end.accuracy(task, rng) >= LEARNED
    return count
