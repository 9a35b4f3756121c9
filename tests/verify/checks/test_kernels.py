"""Submissions to a benchmark's problems: honest ones pass, and each cheat is seen."""

import subprocess
import sys
import threading
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from gatewise.bench.kernels.cheats import CHEATS, restore
from gatewise.bench.kernels.submissions import HONEST, Loop, submission
from gatewise.verify.checks import check_named, kernel_oracle, subject_checks
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.runs.conclusion import conclusion
from gatewise.verify.runs.findings import findings
from gatewise.verify.runs.submission import submission_json
from gatewise.verify.subjects.kernel import Kernel, kernel
from gatewise.verify.subjects.kernel_embedding import Embedding
from gatewise.verify.subjects.kernel_problems import (
    PROBLEMS,
    leaves,
    long_runs,
    remembering,
    sizes,
    small_case,
)
from gatewise.verify.subjects.loader import UnknownSubject
from judgements import verdict_is

NUMBERS = sorted(PROBLEMS)
FEW = ("kernel-output", "kernel-gradient", "kernel-calls")


def narrow(problem, count=3):
    """The first small cases of a problem, none at the benchmark's widths."""
    return [case for case in sizes(problem) if case.H < 16][:count]


def held(subject, check, case=None, budget="quick", dtype="float32"):
    verdict = hold(subject, check_named(check), dtype, budget=BUDGETS[budget], case=case)
    restore()
    return verdict


def of(kind, number, **options):
    return kernel(submission(kind, PROBLEMS[number]), kind.__name__, f"kernelbench:{number}",
                  **options)  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_the_oracle_is_torch(number):
    problem = PROBLEMS[number]
    case = replace(narrow(problem)[0], dtype="float64")
    subject, drawn = of(HONEST["torch's own layer"], number), leaves(problem, case)
    cotangent = case.normal("d", problem.output_shape(case))
    want, gradients = kernel_oracle.pulled(problem, case, drawn, cotangent, kernel_oracle.plain)
    made = subject.build(case)

    assert np.abs(made.output(drawn) - want).max() < 1e-13
    assert gradients.keys() == drawn.keys()
    for name, d in made.pulled(drawn, cotangent).items():
        assert np.abs(d - gradients[name]).max() < 1e-13 * max(1, np.abs(d).max()), name
    assert np.abs(want - kernel_oracle.output(problem, case, drawn, kernel_oracle.plain)).max() == 0


@pytest.mark.parametrize("kind", HONEST.values(), ids=HONEST)
@pytest.mark.parametrize("number", NUMBERS)
def test_an_honest_submission_passes(number, kind):
    subject = of(kind, number)
    case = narrow(PROBLEMS[number])[0]
    verdicts = [held(subject, check, case) for check in ("smoke", *FEW)]

    assert [v.message for v in verdicts if v.status != "passed"] == []
    assert all(v.worst_ratio < 1 for v in verdicts)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_its_own_arithmetic_a_half_is_right(dtype):
    """And it is not in float32: products of halves are a cheat there."""
    case = replace(PROBLEMS[35].case(2, 2, 3, 4, 1, seed=2), dtype=dtype)
    assert held(of(Loop, 35), "kernel-output", case, dtype=dtype).status == "passed"
    half = next(c.kind for c in CHEATS if "half precision" in c.name)
    assert held(of(half, 35), "kernel-output", replace(case, dtype="float32")).status == "failed"


SEEN_ELSEWHERE = {
    "only the last 16 steps are read": "kernel-steps",
    "the state of an output's step is that of the last 32 steps": "kernel-steps",
    "small outputs are taken for 0": "kernel-output",
    "only at the benchmark's own sizes the last 16 steps are read": "kernel-size",
}
"""Cheats that narrow cases of a few steps do not see, and the check that does."""

NARROW = [c for c in CHEATS if c.name not in SEEN_ELSEWHERE]


@pytest.mark.parametrize("number", NUMBERS)
def test_each_cheat_is_seen(number):
    problem = PROBLEMS[number]
    cases = narrow(problem)
    subjects = {c.name: of(c.kind, number) for c in NARROW if c.fits(problem)}
    assert [
        name
        for name, subject in subjects.items()
        if not any(held(subject, check, case).wrong for check in FEW for case in cases)
    ] == []


@pytest.mark.parametrize("number", [34, 35, 40])
def test_a_long_memory_is_held(number):
    cheat = next(c for c in CHEATS if c.name == "only the last 16 steps are read")
    case = next(iter(long_runs(PROBLEMS[number])))
    assert held(of(Loop, number), "kernel-steps", case).status == "passed"
    assert held(of(cheat.kind, number), "kernel-steps", case).status == "failed"


@pytest.mark.parametrize("number", [35, 36, 37, 40])
def test_each_single_step_of_a_long_run_is_seen(number):
    """Leaving out the input of one step moves the output beyond its bound, of 512 each."""
    problem = PROBLEMS[number]
    case = next(iter(long_runs(problem)))
    drawn = leaves(problem, case)
    want = kernel_oracle.output(problem, case, drawn, kernel_oracle.bounded(case))
    effects = np.zeros((case.T, *want.shape))
    for place in np.ndindex(*want.shape):
        cotangent = np.zeros(want.shape)
        cotangent[place] = 1
        _, d = kernel_oracle.pulled(problem, case, drawn, cotangent, kernel_oracle.plain)
        effects[(slice(None), *place)] = np.abs(d["x"] * drawn["x"]).sum((1, 2))
    share = effects / want.bound

    assert case.T == 512
    assert share.reshape(case.T, -1).max(1).min() > 2


def test_by_default_weights_forget():
    """Which is why weights are drawn otherwise: torch's own see 16 steps."""
    problem = PROBLEMS[35]
    case = problem.case(64, 2, 8, 16, 6)
    drawn = leaves(problem, case)
    torch.manual_seed(0)
    module = submission(Loop, problem)(*problem.init_arguments(case)).double()
    default = drawn | {n: p.detach().numpy() for n, p in module.named_parameters()}
    late = {"x": np.where(np.arange(64)[:, None, None] < 48, 0, drawn["x"])}

    def effect(named):
        both = [
            kernel_oracle.output(problem, case, given, kernel_oracle.plain)
            for given in (named, named | late)
        ]
        return np.abs(both[0] - both[1]).max()

    assert effect(default) < 1e-4
    assert effect(drawn) > 1e-3


@pytest.mark.parametrize("number", [34, 35, 38, 41, 42])
def test_a_small_problem_stands_in_a_large_one(number):
    problem = PROBLEMS[number]
    large = problem.case(4, 3, 9, 12, 2, seed=4)
    small = replace(large, D=3, H=5, seed=7)
    embedding, own = Embedding(problem, large, small), leaves(problem, small)
    whole = embedding.leaves(own, leaves(problem, large))
    got = kernel_oracle.output(problem, large, whole, kernel_oracle.plain)
    want = kernel_oracle.output(problem, small, own, kernel_oracle.plain)

    assert {n: a.shape for n, a in whole.items()} == {
        n: a.shape for n, a in leaves(problem, large).items()
    }
    assert np.abs(embedding.output(got) - want).max() < 1e-13


def test_a_cheat_at_the_benchmarks_sizes_alone_is_seen(monkeypatch):
    """Here at smaller ones, so that it does not take long."""
    problem = replace(PROBLEMS[35], T=40, D=20, H=24, layers=2)
    monkeypatch.setitem(PROBLEMS, 35, problem)
    cheat = next(c for c in CHEATS if c.name.startswith("only at the benchmark's"))

    assert held(of(Loop, 35), "kernel-size").status == "passed"
    assert held(of(cheat.kind, 35), "kernel-output").status == "passed"
    assert held(of(cheat.kind, 35), "kernel-size").status == "failed"


def test_what_is_forbidden_is_seen():
    wrapper, loop = HONEST["torch's own layer"], Loop
    said = {
        kind: held(of(wrapper, 35, forbid=(kind,)), "kernel-own-work").message
        for kind in ("torch.nn.LSTM", "aten::lstm")
    }
    assert said == {
        "torch.nn.LSTM": "own work: it contains torch.nn.LSTM (its lstm); "
        "a wrapper is not a kernel",
        "aten::lstm": "own work: it runs aten::lstm; a wrapper is not a kernel",
    }
    assert held(of(loop, 35, forbid=("aten::lstm",)), "kernel-own-work").status == "passed"


def fused(self, x, states):
    """The recurrence by torch's own operator, of parameters that are nobody's module."""
    flat = [*self.lstm.parameters()]
    y, *final = torch._VF.lstm(x, states, flat, True, self.levels, 0.0, False, False, False)
    return y, tuple(final)


def in_a_thread(self, x, states):
    results = []

    @torch.no_grad()
    def run():
        results.append(fused(self, x, states))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


def unless_profiled(self, x, states):
    return (Loop.run if torch.autograd._profiler_enabled() else fused)(self, x, states)


def if_it_may(self, x, states):
    try:
        return fused(self, x, states)
    except Exception:
        return Loop.run(self, x, states)


def step_by_step(self, x, states):
    (h,), (c,), y = *states, []
    for x_t in x:
        h, c = torch.lstm_cell(x_t, (h, c), *self.lstm.parameters())
        y.append(h)
    return torch.stack(y), (h[None], c[None])


def composed(self, x, states):
    """What the operator is composed of, past the dispatcher."""
    key, flat = torch._C.DispatchKey.CompositeImplicitAutograd, [*self.lstm.parameters()]
    with torch.backends.mkldnn.flags(enabled=False):
        y, *final = torch.ops.aten.lstm.input._op_dk(
            key, x, states, flat, True, self.levels, 0.0, False, False, False
        )
    return y, tuple(final)


def rewritten(self, x, states):
    """By the LSTM that torch.ao has, in Python."""
    layer = torch.nn.LSTM(x.shape[-1], self.H, self.levels).to(x.dtype)
    for own, kept in zip(layer.parameters(), self.lstm.parameters(), strict=True):
        own.data = kept.data
    layer.qconfig = None
    return torch.ao.nn.quantizable.LSTM.from_float(layer)(x, states)


def of_one_layer(run):
    """A submission that holds parameters in no module of torch's, and computes them like this."""

    class Wrapper(Loop):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            holder = torch.nn.Module()
            for name, parameter in self.lstm.named_parameters():
                holder.register_parameter(name, parameter)
            self.lstm = holder

    Wrapper.run = run
    return Wrapper


def test_a_module_that_is_hidden_is_seen_where_it_runs():
    def run(self, x, states):
        hidden = [torch.nn.LSTM(x.shape[-1], self.H, self.levels)]
        for own, kept in zip(hidden[0].parameters(), self.lstm.parameters(), strict=True):
            own.data = kept.data
        return hidden[0](x, states)

    verdict = held(of(of_one_layer(run), 35, forbid=("torch.nn.LSTM",)), "kernel-own-work")
    assert verdict.message == "own work: it runs torch.nn.LSTM; a wrapper is not a kernel"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "run", [fused, in_a_thread, unless_profiled, if_it_may, step_by_step, composed, rewritten]
)
def test_a_wrapper_that_hides_is_seen(run):
    """Whichever way it calls torch's operators; without --forbid it computes what it should."""
    case = PROBLEMS[35].case(3, 2, 3, 4, 1)
    wrapper = of_one_layer(run)

    free = held(of(wrapper, 35), "kernel-output", case)
    seen = held(of(wrapper, 35, forbid=("torch.nn.LSTM",)), "kernel-own-work", case)

    assert free.status == "passed"
    named = "torch.nn.LSTM;" if run is rewritten else "torch.nn.LSTM's aten::lstm"
    assert seen.message.startswith(f"own work: it runs {named}")


class Later(torch.Tensor):
    """A result that is computed when its numbers are asked for."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), keywords=None):
        with torch._C.DisableTorchFunctionSubclass():
            if function is torch.Tensor.detach:
                return arguments[0].later()
            return function(*arguments, **(keywords or {}))


def test_a_wrapper_that_runs_after_its_call_is_seen():
    class Lazy(of_one_layer(fused)):
        def forward(self, *given):
            later = torch.zeros(given[0].shape[0], self.fc.out_features).as_subclass(Later)
            later.later = lambda: super(Lazy, self).forward(*given).detach()
            return later

    case = PROBLEMS[35].case(3, 2, 3, 4, 1)

    assert held(of(Lazy, 35), "kernel-output", case).status == "passed"
    verdict = held(of(Lazy, 35, forbid=("torch.nn.LSTM",)), "kernel-output", case)
    assert verdict.message.startswith("it runs torch.nn.LSTM's aten::lstm")


ALLOW = """
import gc, torch
from gatewise.verify.subjects.forbidden import Forbidden, NotItsOwn, forbidden
forbidden(["torch.nn.LSTM"]).refuse_for_good()
Forbidden._refuse = lambda *a: None
for each in gc.get_objects():
    if type(each).__name__ in ("Library", "_DispatchModule"):
        getattr(each, "_destroy", getattr(each, "reset", None))()
with forbidden(["torch.nn.LSTM"]).refused():
    pass
try:
    torch.lstm_cell(torch.ones(1, 2), [torch.ones(1, 3)] * 2, torch.ones(12, 2), torch.ones(12, 3))
except NotItsOwn as error:
    print(error)
"""


def test_what_is_refused_for_good_cannot_be_allowed():
    done = subprocess.run([sys.executable, "-c", ALLOW], capture_output=True, text=True, check=True)

    assert done.stdout == "it runs torch.nn.LSTM's aten::lstm_cell; a wrapper is not a kernel\n"


def test_a_wrapper_at_some_sizes_alone_is_seen_there():
    def run(self, x, states):
        return (Loop.run if len(x) < 9 else fused)(self, x, states)

    subject = of(of_one_layer(run), 35, forbid=("aten::lstm",))
    longer = PROBLEMS[35].case(9, 2, 3, 4, 1)

    assert held(subject, "kernel-own-work").status == "passed"
    assert held(subject, "kernel-output", longer).message.startswith("it runs aten::lstm")
    assert torch.nn.LSTM(3, 4)(torch.zeros(2, 1, 3))[0].shape == (2, 1, 4)


class Unfinished(Loop):
    """Its last block of 128 entries is left out where it is not full."""

    def step(self, z, state, U, c):
        h, *others = super().step(z, state, U, c)
        full = h.numel() // 128 * 128
        return torch.where(torch.arange(h.numel()).reshape(h.shape) < (full or 128), h, 0), *others


@pytest.mark.parametrize("check", ["kernel-output", "kernel-gradient"])
def test_a_block_that_is_left_out_is_seen(check):
    assert held(of(Unfinished, 36), check, budget="standard").status == "failed"
    assert held(of(Loop, 36), check, budget="standard").status == "passed"


def test_a_class_that_torch_has_not_cannot_be_forbidden():
    with pytest.raises(UnknownSubject, match="expected a class of torch's"):
        of(Loop, 35, forbid=("torch.nn.LTSM",))


def plain(x, h0, c0, parameters):
    """Problem 36, in NumPy."""

    def sigmoid(s):
        return 1 / (1 + np.exp(-s))

    y, ends = x.swapaxes(0, 1), []
    for layer in range(len(h0)):
        h, c = h0[layer], c0[layer]
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        W, U, b, d = (parameters[f"lstm.{name}_l{layer}"] for name in names)
        outputs = []
        for x_t in y:
            i, f, g, o = np.split(x_t @ W.T + h @ U.T + b + d, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        y = np.stack(outputs)
        ends.append(h)
    return np.stack(ends)


def test_a_function_on_arrays():
    subject = kernel(plain, "plain", "kernelbench:36")
    assert isinstance(subject, Kernel)
    assert held(subject, "kernel-output").status == "passed"
    assert held(subject, "kernel-calls").status == "passed"
    assert held(subject, "kernel-gradient").status == "not supported"

    wrong = kernel(lambda x, h0, c0, p: plain(x, c0, h0, p), "wrong", "kernelbench:36")
    assert held(wrong, "kernel-output").status == "failed"


def test_parameters_that_are_nowhere_are_named():
    class Lost(Loop):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.lstm.weight_hh_l0 = torch.nn.Parameter(torch.zeros(1, 2))

    verdict = held(of(Lost, 35), "kernel-output")
    assert verdict.status == "crashed"
    assert verdict.message.startswith("parameter lstm.weight_hh_l0: expected shape (")


def test_problems_that_are_not_recurrent_are_refused_in_a_sentence():
    with pytest.raises(UnknownSubject, match="expected one of kernelbench:33, kernelbench:34"):
        kernel(Loop, "Loop", "kernelbench:7")


def test_each_case_has_its_own_numbers():
    for problem in PROBLEMS.values():
        cases = [*sizes(problem), *islice(long_runs(problem), 4)]
        cases += [small_case(problem, seed) for seed in range(5)]
        for case in cases:
            assert 0 <= remembering(case) < case.layers
            if case.H < 16:
                drawn = leaves(problem, case)
                assert all((array != 0).all() for array in drawn.values())
                assert problem.shapes(case).keys() <= drawn.keys()


def test_the_state_that_is_kept_is_held():
    """Problem 33 goes on from its own state where it is given none."""
    cheat = next(c for c in CHEATS if c.name == "it forgets its state between calls")

    assert held(of(Loop, 33), "kernel-calls").status == "passed"
    assert held(of(cheat.kind, 33), "kernel-output").status == "passed"
    verdict = held(of(cheat.kind, 33), "kernel-calls")
    assert verdict.message.startswith("output without a state, after another call[")


def test_only_submissions_are_held_to_these_checks():
    of_problems = {check.id for check in subject_checks() if check.concerns(of(Loop, 35))}
    assert of_problems == {"smoke", "kernel-output", "kernel-steps", "kernel-size",
                           "kernel-gradient", "kernel-calls"}  # fmt: skip


def test_a_submission_without_a_derivative_is_held_to_its_output():
    class Forward(Loop):
        def forward(self, x, *states):
            with torch.no_grad():
                return super().forward(x, *states)

    subject = of(Forward, 36)
    case = narrow(PROBLEMS[36])[0]
    verdict_is(held(subject, "kernel-gradient", case), "not supported",
               "its output has no derivative that torch knows of")  # fmt: skip
    assert held(subject, "kernel-output", case).status == "passed"


def test_a_submission_that_refuses_the_benchmarks_sizes_is_not_right():
    """What is refused is not judged, and a check with no case that is judged shows nothing."""

    class Refuses(Loop):
        def forward(self, x, *states):
            if x.numel() > 100:
                raise NotImplementedError("no kernel for this size")
            return super().forward(x, *states)

    subject = of(Refuses, 36)
    checks = [check.id for check in subject_checks() if check.concerns(subject)]
    verdicts = [held(subject, check) for check in checks if check != "kernel-gradient"]
    ending = conclusion(verdicts)
    said = submission_json(findings(verdicts)[0], "kernelbench:36")

    assert not any(verdict.wrong for verdict in verdicts)
    assert "kernel-size was not judged: refused: no kernel for this size" in ending.reason
    assert not ending.conforms
    assert not said["correct"]
    assert said["reason"] == ending.reason


def test_what_a_training_loop_is_told():
    verdicts = [held(of(Loop, 33), "kernel-output"), held(of(Loop, 33), "kernel-calls")]
    right = submission_json(findings(verdicts)[0], "kernelbench:33")
    cheat = next(c for c in CHEATS if c.name == "the initial states are ignored")
    wrong = submission_json(
        findings([held(of(cheat.kind, 33), "kernel-output")])[0], "kernelbench:33"
    )

    assert (right["correct"], right["reason"], right["bound"]) == (True, "", None)
    assert right["checks"] == {"kernel-output": "passed", "kernel-calls": "passed"}
    assert 0 < right["worst"]["error_over_bound"] < 1
    assert not wrong["correct"]
    assert wrong["reason"].startswith("kernel-output: output[")
    assert 0 < wrong["bound"] < 1e-3
    assert wrong["worst"]["error_over_bound"] > 100
