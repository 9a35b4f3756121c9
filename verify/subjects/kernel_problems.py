"""KernelBench's recurrent problems: the arguments and the result of a submission.

A submission is a class ``ModelNew`` with the constructor and the call of the problem's own model.
Facts of ScalingIntelligence/KernelBench at 423217d9fda91e0c2d67e4a43bf62f96f6d104f1, level 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.linear import Linear
from ..cases.case import Case
from ..conventions.parameter_map import ConventionMap, ExplicitMap, ParameterMap
from .loader import UnknownSubject
from .torch_parameters import CONVENTIONS

BENCH = "kernelbench:"
"""The prefix of a problem's name: ``kernelbench:35``."""

WIDEST, SCALED = 1024, 256
"""Problems wider than the first are scaled to the second: weights of 16384 units take 2 GB."""

LSTM_ARGUMENTS = ("input_size", "hidden_size", "num_layers", "output_size", "dropout")
GRU_ARGUMENTS = ("input_size", "hidden_size", "num_layers", "bias", "batch_first")
RNN_ARGUMENTS = ("input_size", "hidden_size", "output_size")


@dataclass(frozen=True)
class Problem:
    """One problem: its recurrence, its sizes, and the result that it returns.

    ``kind`` is torch's layer, ``module`` its name in the model (``lstm.weight_ih_l0``), ``head``
    the name of the linear layer after it, if any. ``returns`` is ``outputs``, ``last`` (the last
    step's), ``h`` or ``c`` (the final states). ``layout`` is that of its input: ``time-first``,
    ``batch-first``, or ``one step`` (B, D). ``T, B, D, H, layers, O`` are the benchmark's sizes.
    """

    number: int
    title: str
    kind: str
    module: str
    arguments: tuple[str, ...]
    returns: str
    T: int
    B: int
    D: int
    H: int
    layers: int = 1
    O: int = 0  # noqa: E741 - the width of its outputs
    head: str = ""
    bidirectional: bool = False
    layout: str = "time-first"

    @property
    def name(self) -> str:
        """The name that users type."""
        return f"{BENCH}{self.number}"

    @property
    def cell(self) -> str:
        """The reference's cell."""
        return str(CONVENTIONS[self.kind].cell)

    @property
    def states(self) -> tuple[str, ...]:
        """The names of its initial states."""
        return tuple(f"{state}0" for state in CONVENTIONS[self.kind].states)

    @property
    def gates(self) -> str:
        """The letters of its gates, in torch's order."""
        return CONVENTIONS[self.kind].order

    @property
    def unread(self) -> tuple[str, ...]:
        """The parameters that do not influence the result."""
        return ()

    @property
    def own_case(self) -> Case:
        """A case of the benchmark's sizes; widths beyond ``WIDEST`` are scaled down."""
        D, H = (SCALED if width > WIDEST else width for width in (self.D, self.H))
        return self.case(self.T, self.B, D, H, self.layers)

    @property
    def scaled(self) -> bool:
        """Whether the benchmark's sizes are too large to be run."""
        return max(self.D, self.H) > WIDEST

    def case(self, T: int, B: int, D: int, H: int, layers: int = 1, seed: int = 0) -> Case:
        """Return a case of this problem, with one step or one layer if the problem has one."""
        return Case(
            T if self.layout != "one step" else 1, B, D, H,
            layers=layers if self.layers > 1 else 1,
            bidirectional=self.bidirectional, dtype="float32", seed=seed,
        )  # fmt: skip

    def width(self, case: Case) -> int:
        """Return the width of the head's output: the benchmark's at its sizes, else a few."""
        benchmark = self.own_case
        if (case.D, case.H) == (benchmark.D, benchmark.H):
            return min(self.O, SCALED // 2)
        return 2 + case.seed % 3

    def init_arguments(self, case: Case) -> tuple[object, ...]:
        """Return the constructor's arguments, in order."""
        values: dict[str, object] = {
            "input_size": case.D,
            "hidden_size": case.H,
            "num_layers": case.layers,
            "output_size": self.width(case),
            "dropout": 0.0,
            "bias": True,
            "batch_first": False,
        }
        return tuple(values[name] for name in self.arguments)

    def output_shape(self, case: Case) -> tuple[int, ...]:
        """Return the shape of what it returns."""
        wide = self.width(case) if self.head else case.H * case.directions
        shapes = {
            "outputs": (case.T, case.B, wide),
            "last": (case.B, wide),
            "h": (case.layers * case.directions, case.B, case.H),
        }
        return shapes[self.returns if self.returns != "c" else "h"]

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the map of the recurrence's arrays, by torch's names."""
        return ConventionMap(CONVENTIONS[self.kind], case)

    def shapes(self, case: Case) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter by its name in the problem's model."""
        if self.module == "i2h":
            named = {"i2h.weight": (case.H, case.D + case.H), "i2h.bias": (case.H,)}
        else:
            layer_shapes = self.parameter_map(case).shapes()
            named = {f"{self.module}.{name}": shape for name, shape in layer_shapes.items()}
        if self.head:
            read = case.H * case.directions
            named[f"{self.head}.weight"] = (self.width(case), read)
            named[f"{self.head}.bias"] = (self.width(case),)
        return named

    def recurrent(self, case: Case, leaves: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return the arrays of the recurrence by torch's names; of any number system."""
        if self.module != "i2h":
            start = f"{self.module}."
            return {n.removeprefix(start): a for n, a in leaves.items() if n.startswith(start)}
        weight, bias = leaves["i2h.weight"], leaves["i2h.bias"]
        return {
            "weight_ih_l0": weight[:, : case.D],
            "weight_hh_l0": weight[:, case.D :],
            "bias_ih_l0": bias,
            "bias_hh_l0": 0 * bias,
        }

    def of_recurrent(self, gradient: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return the gradients of the recurrence's arrays by the names in the model."""
        if self.module != "i2h":
            return {f"{self.module}.{name}": array for name, array in gradient.items()}
        both = [gradient["weight_ih_l0"], gradient["weight_hh_l0"]]
        return {
            "i2h.weight": np.concatenate(both, axis=1),
            "i2h.bias": gradient["bias_ih_l0"],
        }


def _lstm(
    number: int, title: str, returns: str, *, head: str = "", bidirectional: bool = False
) -> Problem:
    return Problem(
        number, title, "lstm", "lstm", LSTM_ARGUMENTS, returns, 512, 10, 128, 256, layers=6,
        O=10, head=head, bidirectional=bidirectional, layout="batch-first",
    )  # fmt: skip


def _gru(number: int, title: str, returns: str, *, bidirectional: bool = False) -> Problem:
    return Problem(
        number, title, "gru", "gru", GRU_ARGUMENTS, returns, 512, 10, 128, 256, layers=6,
        bidirectional=bidirectional,
    )  # fmt: skip


PROBLEMS = {
    problem.number: problem
    for problem in (
        Problem(33, "VanillaRNN", "rnn", "i2h", RNN_ARGUMENTS, "last", 1, 256, 16384, 16384,
                O=8192, head="h2o", layout="one step"),
        Problem(34, "VanillaRNNHidden", "rnn", "i2h", RNN_ARGUMENTS, "outputs", 256, 8, 1024, 256,
                O=128, head="h2o"),
        _lstm(35, "LSTM", "last", head="fc"),
        _lstm(36, "LSTMHn", "h"),
        _lstm(37, "LSTMCn", "c"),
        _lstm(38, "LSTMBidirectional", "last", head="fc", bidirectional=True),
        _gru(39, "GRU", "outputs"),
        _gru(40, "GRUHidden", "h"),
        _gru(41, "GRUBidirectional", "outputs", bidirectional=True),
        _gru(42, "GRUBidirectionalHidden", "h", bidirectional=True),
    )
}  # fmt: skip
"""The problems by their numbers in level 3."""


@dataclass(frozen=True)
class StateSpace(Problem):
    """Mamba-2's recurrence without its step sizes: S = e^A S + x^T B, y = S C, for every head.

    A (B, T, heads) are logarithms of decays of either sign, B and C (B, T, heads, K): parameters of
    the model, as long as its input x (B, T, heads, V). K is D of a case, V its H; ``heads`` are the
    benchmark's at its widths and two elsewhere. ``returns`` is ``outputs`` or ``state``.
    """

    @property
    def cell(self) -> str:
        """The reference's cell that computes it: with one decay for all keys, and q = √K C."""
        return "gla"

    @property
    def states(self) -> tuple[str, ...]:
        """None: the benchmark starts from zeros."""
        return ()

    @property
    def scaled(self) -> bool:
        """True: it is run with fewer rows."""
        return True

    @property
    def unread(self) -> tuple[str, ...]:
        """C, if the state is returned."""
        return ("C",) if self.returns == "state" else ()

    def heads(self, case: Case) -> int:
        """Return the number of heads of a case."""
        return HEADS if (case.D, case.H) == (self.D, self.H) else 2

    def block(self, case: Case) -> int:
        """Return the length of chunks, an argument of the model: a divisor of T."""
        if case.T % CHUNK == 0:
            return CHUNK
        return next((case.T // n for n in (3, 2) if case.T % n == 0), case.T)

    def init_arguments(self, case: Case) -> tuple[object, ...]:
        """Return the constructor's arguments, in order."""
        return case.B, case.T, self.heads(case), case.H, case.D, self.block(case)

    def output_shape(self, case: Case) -> tuple[int, ...]:
        """Return the shape of what it returns: rows first."""
        N = self.heads(case)
        outputs = (case.B, case.T, N, case.H)
        return outputs if self.returns == "outputs" else (case.B, N, case.H, case.D)

    def parameter_map(self, case: Case) -> ExplicitMap:
        """Return the map of the cell's own parameters, of which there are none."""
        return ExplicitMap(self.cell, case)

    def shapes(self, case: Case) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter of the model."""
        gates = (case.B, case.T, self.heads(case))
        return {"A": gates, "B": (*gates, case.D), "C": (*gates, case.D)}

    def leaves(self, case: Case) -> dict[str, Floats]:
        """Draw x (T, B, heads, V) and the parameters.

        In a long run decays are so weak that every step influences the end; at the benchmark's
        width of keys they are the benchmark's, N(0, 1).
        """
        rng, N = case.generator("x"), self.heads(case)
        x = rng.uniform(0.5, 1.5, (case.T, case.B, N, case.H))  # no input is small
        drawn = {"x": case.simplified("x", x * rng.choice([-1, 1], x.shape))}
        spread = 1.0 if case.D == self.D else 0.5 if case.T <= LONG else 1.0 / LONG
        for name, shape in self.shapes(case).items():
            array = case.normal(name, shape, spread if name == "A" else 1.0)
            drawn[name] = case.simplified(name, array)
        return drawn

    def linear(self, leaves: Mapping[str, Any]) -> Linear:
        """Return the recurrence of the leaves, in any number system that can exchange axes."""
        x = leaves["x"]
        A, B, C = (np.swapaxes(leaves[name], 0, 1) for name in "ABC")
        S = np.zeros((x.shape[1], x.shape[2], B.shape[-1], x.shape[-1]))
        return Linear(A[..., None], B, x, C, None, S)


HEADS, CHUNK = 8, 64
"""The number of heads of the benchmark's state spaces, and its length of chunks."""

STATE_SPACES = {
    number: StateSpace(number, title, "state-space", "", (), returns, 128, 16, 16, 64,
                       layout="batch-first")
    for number, title, returns in (
        (48, "Mamba2ReturnY", "outputs"), (49, "Mamba2ReturnFinalState", "state"),
    )
}  # fmt: skip
"""The state spaces by their numbers in level 3, with 16 of the benchmark's 2048 rows."""


def problem_numbered(number: int) -> Problem:
    """Return the problem with a number; KeyError if there is none."""
    return PROBLEMS[number] if number in PROBLEMS else STATE_SPACES[number]


def problem_named(name: str) -> Problem:
    """Return the problem of a name, ``kernelbench:35``; UnknownSubject says which there are."""
    number, numbers = name.removeprefix(BENCH), [*PROBLEMS, *STATE_SPACES]
    if not number.isdecimal() or int(number) not in numbers:
        names = ", ".join(f"{BENCH}{k}" for k in numbers)
        raise UnknownSubject(f"--like {name}: expected one of {names}")
    return problem_numbered(int(number))


# Layers with weights as constructors draw them forget within some 20 steps: a submission that reads
# the last 16 of 512 steps deviates by 5e-5. Here every row has one strong entry and the others
# together are weak, so that signals pass through wide and deep layers as well as errors do. In a
# long run one layer remembers all steps, and the others forget.

STRONG = 1.3
"""The approximate size of the strong entry of a row of weights."""

WEAK = 0.3
"""The standard deviation of the other entries of a row, times their number: none is 0."""

LONG = 8
"""Runs of more steps are long."""

CANDIDATES = "gna"
"""The gates that carry the signal; the others scale it."""

MODULATION = 0.5
"""The factor of the weights of the other gates; half of it in a long run."""

FAINT = 0.08
"""The factor of the weights by which a step adds to the memory of a long run."""


def remembering(case: Case) -> int:
    """Return the index of the layer that remembers a long run."""
    return case.seed % case.layers


def leaves(problem: Problem, case: Case) -> dict[str, Floats]:
    """Draw x (T, B, D), the initial states (layers * directions, B, H), and all parameters."""
    if isinstance(problem, StateSpace):
        return problem.leaves(case)
    rng = case.generator("x")
    x = rng.uniform(0.5, 1.5, (case.T, case.B, case.D))  # no input is small
    drawn = {"x": case.simplified("x", x * rng.choice([-1, 1], x.shape))}
    passes = case.layers * case.directions
    for name in problem.states:
        drawn[name] = case.normal(name, (passes, case.B, case.H), 0.5)
    for name, shape in problem.shapes(case).items():
        array = _vector if len(shape) == 1 else _weight
        drawn[name] = case.simplified(name, array(problem, case, name, shape))
    return drawn


def _weight(problem: Problem, case: Case, name: str, shape: tuple[int, ...]) -> Floats:
    rng = case.generator(name)
    if name.startswith(f"{problem.head}."):
        return _rows(rng, shape)
    if problem.module == "i2h":
        return np.concatenate(_long_or_short(rng, case), axis=1)
    remembers = _remembers(case, name)
    blocks = []
    for gate in problem.gates:
        block = _rows(rng, (case.H, shape[1]))
        if gate not in CANDIDATES:
            block = block * (MODULATION / 2 if case.T > LONG else MODULATION)
        elif remembers and problem.kind == "lstm":
            block = block * FAINT  # what is added in each of many steps
        blocks.append(_recurrent(case, block) if "weight_hh" in name else block)
    return np.concatenate(blocks)


def _long_or_short(rng: np.random.Generator, case: Case) -> list[Floats]:
    """Draw W and U of a plain layer; in a long run it is nearly linear and nearly keeps h."""
    first, second = _rows(rng, (case.H, case.D)), _rows(rng, (case.H, case.H))
    if case.T <= LONG:
        return [first, _recurrent(case, second)]
    strong = np.abs(second) > STRONG / 2
    recurrent = np.sign(second) * (1 - 1 / case.T)
    return [first * FAINT / 4, np.where(strong, recurrent, second / case.T)]


def _remembers(case: Case, name: str) -> bool:
    """Whether an array belongs to the layer that remembers a long run."""
    return case.T > LONG and f"_l{remembering(case)}_" in f"{name}_"


def _rows(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw rows with one strong entry each, spread evenly over the columns."""
    weights: Floats = rng.standard_normal(shape) * (WEAK / shape[1])
    columns = np.concatenate([rng.permutation(shape[1]) for _ in range(-(-shape[0] // shape[1]))])
    strong = STRONG * rng.uniform(0.8, 1.2, shape[0]) * rng.choice([-1, 1], shape[0])
    weights[np.arange(shape[0]), columns[: shape[0]]] = strong
    return weights


def _recurrent(case: Case, weight: Floats) -> Floats:
    """Scale recurrent weights down so far that errors do not grow."""
    return weight / (8 if case.T > LONG else 2)


def _vector(problem: Problem, case: Case, name: str, shape: tuple[int, ...]) -> Floats:
    """Draw a bias; the first bias of a gate opens or shuts it."""
    drawn: Floats = case.generator(name).standard_normal(shape) * 0.3
    if name == "i2h.bias" and case.T > LONG:
        return drawn / case.T
    if "bias" not in name or problem.kind == "rnn" or name.startswith(f"{problem.head}."):
        return drawn
    remembers = _remembers(case, name)
    gates = dict(zip(problem.gates, np.split(drawn, len(problem.gates)), strict=True))
    if remembers and problem.kind == "lstm":
        gates["g"] = gates["g"] / case.T  # it is added in every step
    offsets = _offsets(case, problem.kind, remembers=remembers) if "bias_ih" in name else {}
    return np.concatenate([array + offsets.get(gate, 0.0) for gate, array in gates.items()])


def _offsets(case: Case, kind: str, *, remembers: bool) -> dict[str, float]:
    """Return offsets for the biases of gates."""
    keep = float(np.log(case.T))
    if kind == "lstm":
        if remembers:
            return {"f": keep, "i": -1.0, "o": 1.0}
        return {"f": -1.0 if case.T > LONG else 0.0, "i": 1.0, "o": 1.0}
    return {"z": keep} if remembers else {"z": -1.0 if case.T > LONG else 0.0}


def small_case(problem: Problem, seed: int) -> Case:
    """Return a case of small, mutually different sizes, drawn by the seed."""
    T, B, D, H = np.random.default_rng(seed).permutation(np.arange(2, 8))[:4].tolist()
    return problem.case(T, B, D, H, 1 + seed % 3, seed=seed)


def sizes(problem: Problem) -> Iterator[Case]:
    """Yield cases of small, different sizes, and the benchmark's widths in a few steps.

    The third is wider than the blocks in which a kernel computes, 16 to 1024, and no multiple.
    """
    benchmark = problem.own_case
    yield problem.case(5, 3, 4, 6, 2, seed=1)
    yield problem.case(3, benchmark.B, benchmark.D, benchmark.H, benchmark.layers, seed=2)
    yield problem.case(2, 17, 37, 67, 1, seed=6)
    yield problem.case(3, 4, 2, 5, 3, seed=3)
    yield problem.case(1, 2, 5, 3, 1, seed=4)
    yield problem.case(6, 1, 7, 4, 2, seed=5)


def long_runs(problem: Problem) -> Iterator[Case]:
    """Yield narrow cases of many steps, in each of which one layer remembers all steps.

    The effect of a single step exceeds the rounding of all others in few layers, or fewer steps.
    """
    if problem.layout == "one step":
        yield problem.case(1, 5, 3, 8, seed=6)
        return
    yield problem.case(problem.T, 2, 3, 8, 1, seed=6)
    if problem.layers > 1:
        yield problem.case(problem.T // 8, 3, 4, 8, problem.layers, seed=problem.layers)
        yield problem.case(problem.T // 8, 3, 4, 8, problem.layers, seed=problem.layers + 3)
        yield problem.case(problem.T, 2, 3, 8, 2, seed=7)


def benchmark_sizes(problem: Problem) -> Iterator[Case]:
    """Yield the case of the benchmark's sizes, with another seed."""
    yield replace(problem.own_case, seed=8 * problem.layers)
