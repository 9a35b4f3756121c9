"""What a subject is named for has to run: the profiler's names, and the verdict without them."""

from dataclasses import dataclass, replace
from datetime import date
from types import SimpleNamespace

import pytest
import torch

from gatewise.bench.cost.shape import Shape
from gatewise.bench.speed import cuda
from gatewise.bench.speed.contender import FallbackError
from gatewise.bench.speed.problem import Problem
from gatewise.bench.speed.torch_layers import TorchPrepared, built_for, prove
from gatewise.reports import summary, tables
from gatewise.reports.page import render
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named, sizes
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.recordings.record import record_case
from gatewise.verify.recordings.replayed import RecordedKernels
from gatewise.verify.runs import run as run_files
from gatewise.verify.runs.deviations import KNOWN, Deviation
from gatewise.verify.runs.run import Planned
from gatewise.verify.runs.verdict import Verdict
from gatewise.verify.subjects import profiler as profiling
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks import torch_backends as torch_elsewhere
from gatewise.verify.subjects.frameworks.torch_backends import CUDNN, OWN_KERNELS, CudaLayer
from gatewise.verify.subjects.inputs import draw_cotangents, draw_inputs
from gatewise.verify.subjects.profiler import Route, Watch
from gatewise.verify.subjects.torch_parameters import TorchMap
from judgements import verdict_is

ONEDNN = Route("oneDNN", ("aten::mkldnn_rnn_layer",), ("aten::mkldnn_rnn_layer_backward",))
"""What PyTorch computes a float32 LSTM by on the CPU, and no other layer or dtype."""

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="PyTorch is built without oneDNN"
)


@dataclass(frozen=True)
class Here(CudaLayer):
    """The GPU's subject, on the CPU."""

    def version(self):
        return torch.__version__


def here(name="LSTM", route=ONEDNN, **more):
    like = subject_named(f"cudnn:{name}")
    made = Here(**{f: getattr(like, f) for f in (
        "name", "kind", "convention", "options", "nonlinearity", "dtypes")},
        watch=Watch(route), device="cpu")  # fmt: skip
    return replace(made, **more)


def held(subject, check="gradient", dtype="float32", **more):
    return hold(subject, check_named(check), dtype, budget=BUDGETS["quick"], **more)


@needs_onednn
def test_what_ran_is_told():
    verdict = held(here(), case=Case(3, 2, 4, 5, dtype="float32"))
    assert verdict.status == "passed", verdict.message
    assert "oneDNN in 1 of 1 profiled calls: " in verdict.ran
    assert "aten::mkldnn_rnn_layer_backward" in verdict.ran


@needs_onednn
def test_something_else_is_a_fallback():
    """float64 does not go through oneDNN: right numbers say nothing of it."""
    verdict = held(here(), dtype="float64", case=Case(3, 2, 4, 5))
    assert verdict.status == "fallback"
    assert verdict.message == "aten::mkldnn_rnn_layer did not run"
    assert "oneDNN in 0 of 1 profiled calls: aten::lstm" in verdict.ran


@needs_onednn
def test_wrong_numbers_stay_wrong():
    class Swapped(TorchMap):
        def to_reference(self, named):
            return super().to_reference(named | {"weight_hh_l0": named["weight_hh_l0"][::-1]})

    class Off(Here):
        def parameter_map(self, case):
            return Swapped(self.convention, case)

    like = here()
    off = Off(**{f: getattr(like, f) for f in like.__dataclass_fields__})
    verdict = held(off, "forward", dtype="float64", shrink=False)

    assert verdict.status == "failed"
    assert "oneDNN in 0 of" in verdict.ran


@needs_onednn
def test_every_kind_of_call_is_looked_at_once(monkeypatch):
    """To look takes longer than to compute."""
    subject = here()
    looked = []
    real = torch.profiler.profile
    monkeypatch.setattr(torch.profiler, "profile",
                        lambda **given: looked.append(given) or real(**given))  # fmt: skip
    for case in (Case(3, 2, 4, 5, dtype="float32"), Case(5, 3, 4, 6, dtype="float32"),
                 Case(3, 2, 4, 5, layers=2, dtype="float32"),
                 Case(3, 2, 4, 129, dtype="float32")):  # fmt: skip
        subject.build(case).forward(draw_inputs(subject, case))
    assert len(looked) == 3
    case = Case(3, 2, 4, 5, dtype="float32")
    subject.build(case).gradients(draw_inputs(subject, case), [draw_cotangents(subject, case)])
    assert len(looked) == 4
    subject.watch.begin()
    assert subject.watch.summary == ""


def event(name, device="CPU"):
    return SimpleNamespace(name=name, device_type=f"DeviceType.{device}")


EVENTS = {
    "cuDNN": [
        event("aten::lstm"), event("aten::_cudnn_rnn"), event("aten::_cudnn_rnn_backward"),
        event("void RNN_blockPersist_fp_LSTM<float, float, float, 128>(int, int)", "CUDA"),
        event("sm90_xmma_gemm_f32f32_f32f32_f32_tn_n", "CUDA"), event("Memset (Device)", "CUDA"),
    ],
    "own": [
        event("aten::lstm"), event("aten::_thnn_fused_lstm_cell"),
        event("void at::native::(anonymous namespace)::lstm_cell_forward<float>(int)", "CUDA"),
    ],
    "no kernel": [event("aten::lstm"), event("aten::_cudnn_rnn"),
                  event("aten::_cudnn_rnn_backward")],
    "no backward": [event("aten::_cudnn_rnn"), event("void elemWiseRNNcell<float>(int)", "CUDA")],
    "flattened alone": [event("aten::_cudnn_rnn_flatten_weight"), event("aten::lstm")],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize(("route", "events", "lacking"), [
    (CUDNN, "cuDNN", ""),
    (CUDNN, "own", "aten::_cudnn_rnn did not run"),
    (CUDNN, "no kernel", "the profiler saw no kernel on the GPU"),
    (CUDNN, "no backward", "aten::_cudnn_rnn_backward did not run"),
    (CUDNN, "nothing", "aten::_cudnn_rnn did not run"),
    (CUDNN, "flattened alone", "aten::_cudnn_rnn did not run"),
    (OWN_KERNELS, "own", ""),
    (OWN_KERNELS, "cuDNN", "aten::_cudnn_rnn ran"),
    (OWN_KERNELS, "nothing", "the profiler saw no kernel on the GPU"),
])  # fmt: skip
def test_what_the_profiler_saw(route, events, lacking):
    """Operators and kernels, as a profile on a GPU names them."""
    operators, kernels = profiling.operators_and_kernels(EVENTS[events])
    assert route.lacks(operators, kernels, backward=True) == lacking


def test_a_fallback_is_no_known_deviation():
    """A declared failure of cuDNN is not met by the failure of something else."""
    declared = Deviation("cudnn:LSTM", "forward", "why", date(2999, 1, 1))
    for lacking, status in (("aten::_cudnn_rnn did not run", "failed"), ("", KNOWN)):
        verdict = Verdict("cudnn:LSTM", "lstm", "forward", "", [], "float32", 0,
                          status="failed", lacking=lacking)  # fmt: skip
        declared.judge(verdict, date(2026, 1, 1))
        assert verdict.status == status


def test_a_recording_knows_what_ran_case_by_case():
    """What lacked in one dtype says nothing of another."""
    watched = RecordedKernels(
        {("forward", "a"): ("oneDNN in 1 of 1", ""), ("forward", "b"): ("no", "x")}
    )
    watched.begin()
    watched.replayed["forward", "a"] = None
    assert (watched.summary, watched.lacking) == ("oneDNN in 1 of 1", "")
    watched.replayed["forward", "b"] = None
    assert (watched.summary, watched.lacking) == ("no", "x")


def test_a_recorded_case_has_its_flags_and_what_ran(tmp_path):
    """As they were while the layer ran, not as they are afterwards."""
    for dtype in ("float32", "tf32"):
        case = Case(2, 2, 3, 4, dtype=dtype)
        found = record_case(here(), "smoke", case.to_json(), str(tmp_path / dtype))
        assert found["flags"]["cudnn.allow_tf32"] is (dtype == "tf32")
        assert found["flags"]["cuda.matmul.allow_tf32"] is (dtype == "tf32")
        assert "oneDNN in 1 of 1" in found["ran"]


def test_the_report_names_the_coarsest_arithmetic_that_was_needed(tmp_path):
    """What explains most results does not explain all."""
    planned = [Planned("torch:LSTM", check, "float16") for check in ("forward", "gradient")]
    run_files.start(tmp_path / "run", command="c", seed=0, budget="quick", planned=planned)
    for one, needed in zip(planned, ("float16, inside float32", "float16"), strict=True):
        run_files.append(tmp_path / "run", Verdict(
            "torch:LSTM", "lstm", one.check, "", [], "float16", 0, arithmetic=needed))  # fmt: skip
    (row,) = tables.ran(summary.entries(run_files.read(tmp_path / "run")))
    assert row.arithmetic == "float16"


def test_all_limits_on_programs_are_raised():
    config = torch._dynamo.config
    named = [name for name in torch_elsewhere.LIMITS if hasattr(config, name)]
    assert len(named) >= 2
    with torch_elsewhere.many_programs(torch):
        assert {getattr(config, name) for name in named} == {torch_elsewhere.PROGRAMS}


@needs_onednn
def test_nothing_is_timed_before_it_has_proven_to_be_what_it_is_named_for():
    """What the GPU's contenders are held to, here by oneDNN: float32 runs it, float64 does not."""
    subject, shape = subject_named("torch:LSTM"), Shape(T=3, B=2, D=4, H=5)
    for dtype in ("float32", "float64"):
        problem = Problem("lstm", shape, dtype)
        built = replace(built_for(problem, subject), watch=Watch(ONEDNN))
        prepared = TorchPrepared(problem, subject, built)
        if dtype == "float32":
            prove(prepared)
            continue
        with pytest.raises(FallbackError, match="something else ran: aten::mkldnn_rnn_layer did"):
            prove(prepared)


def test_clocks_that_are_not_told(monkeypatch):
    """nvidia-smi says [N/A] on some machines."""
    said = SimpleNamespace(stdout="1980\n[N/A]\n")
    monkeypatch.setattr(cuda.subprocess, "run", lambda *a, **k: said)
    assert cuda.clock() == [1980.0]


def test_kernels_are_named_in_short():
    watch = Watch(CUDNN)
    watch.lacks_by_kind["one"] = ""
    _, kernels = profiling.operators_and_kernels(EVENTS["cuDNN"])
    watch.names |= dict.fromkeys(map(profiling.short, sorted(kernels, reverse=True)))

    assert watch.summary == (
        "cuDNN in 1 of 1 profiled calls: RNN_blockPersist_fp_LSTM, "
        "sm90_xmma_gemm_f32f32_f32f32_f32_tn_n"
    )


def test_settings_are_put_back():
    """Also where the call raises; TF32 is on for its own dtype alone."""
    backends = torch.backends
    before = backends.cudnn.enabled, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    for dtype in ("float32", "tf32"):
        case = Case(1, 1, 1, 1, dtype=dtype)
        with torch_elsewhere.cuda_setting(torch, case, cudnn=False):
            assert not backends.cudnn.enabled
            assert backends.cudnn.allow_tf32 is (dtype == "tf32")
    after = backends.cudnn.enabled, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    assert after == before


@pytest.mark.parametrize("wrong", [False, True])
def test_algorithms_are_tried_on_both_sides(wrong):
    """A layer that is wrong past 128 units alone is seen there, and elsewhere not."""

    class Scaled(TorchMap):
        def to_reference(self, named):
            factor = 1.01 if wrong and self.case.H > 128 else 1
            return super().to_reference(named | {"weight_hh_l0": named["weight_hh_l0"] * factor})

    class Wrong(Here):
        def parameter_map(self, case):
            return Scaled(self.convention, case)

    like = here()
    subject = Wrong(**{f: getattr(like, f) for f in like.__dataclass_fields__})
    cases = [Case(1, B, D, H, dtype="float32") for H, B, D in sizes.ALGORITHMS[:3]]
    status = [held(subject, "algorithms", case=case).status for case in cases]

    assert status == ["passed", "passed", "failed" if wrong else "passed"]


def test_unflattened_weights_are_apart():
    subject = here(flattened=False)
    module = subject.build(Case(2, 2, 3, 4, dtype="float32")).module
    starts = [p.untyped_storage().data_ptr() for p in module.parameters()]

    assert len({*starts}) == len(starts)
    assert not module._weights_have_changed()  # else the next call would flatten them
    module(torch.zeros(2, 2, 3))
    assert starts == [p.untyped_storage().data_ptr() for p in module.parameters()]
    assert held(subject, "forward", case=Case(3, 2, 4, 5, dtype="float32")).worst_ratio <= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", [n for n in torch_elsewhere.NAMES if "cu" in n])
def test_without_a_gpu_nothing_is_claimed(name):
    verdict = held(subject_named(name), "smoke")
    assert (verdict.status, verdict.message) == (
        "not tested", "there is no CUDA device that PyTorch can use")  # fmt: skip


def test_a_layer_that_torch_does_not_compile_is_a_fallback():
    """``torch.compile`` leaves nn.LSTM as it is, without a word."""
    verdict = held(subject_named("torch-compile:LSTM"), "smoke")
    assert verdict.status == "fallback"
    assert "compiled code in 0 of" in verdict.ran


def test_without_a_compiler_nothing_is_compiled(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    verdict_is(held(subject_named("torch-compile:LSTMCell"), "smoke"), "not tested",
               "needs a C++ compiler")  # fmt: skip


@pytest.mark.skipif(not torch_elsewhere.has_compiler(), reason="there is no C++ compiler")
def test_a_compiled_cell_is_right():
    verdict = held(subject_named("torch-compile:LSTMCell"), "smoke")
    assert verdict.status == "passed", verdict.message
    assert "compiled code in 1 of 1 profiled calls" in verdict.ran


def test_a_page_tells_what_ran(tmp_path):
    planned = [Planned("cudnn:LSTM", "forward", dtype) for dtype in ("float32", "tf32")]
    run_files.start(tmp_path / "run", command="c", seed=0, budget="quick", planned=planned)
    for one, status in zip(planned, ("passed", "fallback"), strict=True):
        verdict = held(here(), "forward", dtype=one.dtype, case=Case(2, 2, 3, 4, dtype=one.dtype))
        verdict.status, verdict.message = status, "aten::_cudnn_rnn did not run"
        run_files.append(tmp_path / "run", verdict)
    run = run_files.read(tmp_path / "run")
    rows = summary.entries(run)
    page = render(run)

    assert summary.headline(rows).tone == "incomplete"
    assert "1 of 2 checks ran something else" in summary.headline(rows).text
    assert [(r.dtype, r.arithmetic) for r in tables.ran(rows)][:1] == [("float32", "float32")]
    assert 'id="fallback"' in page
    assert "oneDNN in 1 of 1 profiled calls" in page
