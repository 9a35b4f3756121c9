"""``--device``: where modules and functions of torch's are held. A double stands for a GPU here."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest
import torch
from torch import nn

import gatewise
import hand_written
from commands import invoke, refused
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.execution.session import Request
from gatewise.verify.execution.tasks import reproduce
from gatewise.verify.subjects import adapted, differentiated, kernel, torch_module
from gatewise.verify.subjects.called import with_care
from gatewise.verify.subjects.forbidden import NotItsOwn, forbidden
from gatewise.verify.subjects.inputs import draw_inputs
from gatewise.verify.subjects.loader import UnknownSubject
from gatewise.verify.subjects.protocol import SubjectUnavailable
from judgements import verdict_is

GPU = "cuda:7"


class Moved(nn.Module):
    """It says where it was moved."""

    moved: ClassVar = []

    def to(self, *where):
        self.moved.append(where)
        return self if where == (GPU,) else super().to(*where)


class Layer(Moved, hand_written.LSTM):
    """It is moved, too."""


class Problem33(Moved):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)

    def forward(self, x, initial_hidden):
        return self.h2o(self.i2h(torch.cat([x, initial_hidden], 1)).tanh())


class Retention:
    """RetNet, differentiated by torch."""

    cell, gradient = "retnet", "torch"

    def forward(self, q, k, v, state=None):
        K, V, N = k.shape[-1], v.shape[-1], v.shape[2]
        S = v.new_zeros(*v.shape[1:3], K, V) if state is None else state
        gamma = 1 - torch.exp2(-5 - torch.arange(N, dtype=q.dtype))
        outputs = [v[:0]]
        for q_t, k_t, v_t in zip(q, k, v, strict=True):
            S = gamma[:, None, None] * S + k_t[..., None] * v_t[..., None, :]
            outputs.append(torch.einsum("bnk,bnkv->bnv", q_t, S)[None] / K**0.5)
        return torch.cat(outputs), S


@gatewise.subject("rnn", gradient="torch")
def by_torch(x, h0, w_ih, w_hh, b_ih, b_hh):
    h, y = h0, []
    for x_t in x:
        h = (x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh).tanh()
        y.append(h)
    return torch.stack(y), h


class ByHand:
    """On NumPy's arrays."""

    cell = "rnn"

    def forward(self, params, x, state):
        return x, state


@pytest.fixture
def gpu(monkeypatch):
    """Tensors are made for a GPU, and lie on the CPU: their arrays are listed by device."""
    made = []

    def tensor_of(torch, array, device="cpu"):
        made.append((device, array.shape))
        return plain(torch, array)

    plain = torch_module.tensor_of
    for module in (torch_module, kernel, differentiated):
        monkeypatch.setattr(module, "tensor_of", tensor_of)
        monkeypatch.setattr(module, "precise", lambda *a: nullcontext())
    monkeypatch.setattr("gatewise.verify.subjects.torch_like.precise", lambda *a: nullcontext())
    monkeypatch.setattr(torch_module, "require_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the GPU of {device}")
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.zeros(2))
    Moved.moved.clear()
    return made


SUBJECTS = {
    Layer: "torch.nn.LSTM", Problem33: "kernelbench:33", Retention: None, by_torch: None
}  # fmt: skip


@pytest.mark.parametrize("value", SUBJECTS, ids=lambda value: value.__name__)
def test_everything_goes_to_the_device(value, gpu):
    """Modules are moved; whatever is called is given tensors there, and so are cotangents."""
    problem, module = value is Problem33, SUBJECTS[value]
    subject = adapted(value, "hand:it", module, device=GPU)
    gpu.clear()
    Moved.moved.clear()
    for check in ("kernel-gradient", "kernel-calls") if problem else ("gradient",):
        verdict_is(hold(subject, check_named(check), "float32", budget=Budget(1, 1)), "passed")

    assert f"CUDA None, cuDNN None, the GPU of {GPU}" in subject.version()
    assert bool(module) is ((GPU,) in Moved.moved)
    assert len(gpu) > 5
    assert {device for device, _ in gpu} == {GPU}


def test_what_a_device_is_set_to(gpu, monkeypatch):
    """PyTorch's own default for cuDNN is TF32; it is switched off around a call, and back on."""
    monkeypatch.undo()
    seen = []

    class Seen(hand_written.LSTM):
        def forward(self, *given):
            seen.append(torch.backends.cudnn.allow_tf32)
            return super().forward(*given)

    case = Case(2, 2, 3, 4, dtype="float32")
    here = adapted(Seen, "hand:it", "torch.nn.LSTM")
    inputs = draw_inputs(here, case)
    there = replace(here.torch_module(here.module(torch, case), case),
                    setting=partial(torch_module.precise, torch, case, "cuda"))  # fmt: skip
    for built in (here.build(case), there):
        seen.clear()
        built.forward(inputs)
        assert seen == [built is not there]
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("value", [ByHand, lambda x, h, p: x], ids=["a class", "a function"])
def test_what_is_not_torchs_is_refused(value):
    with pytest.raises(UnknownSubject, match="--device is for modules and functions of PyTorch's"):
        adapted(value, "hand:it", None if value is ByHand else "kernelbench:35", device="cuda")


@pytest.mark.parametrize("name", ["torch:LSTM", "mutant:G01", "process:cat", "model.onnx#n"])
def test_what_has_a_place_of_its_own_is_refused(name):
    with pytest.raises(UnknownSubject, match=f"subject '{name}': --device is for modules"):
        Request.parse([name], device="cuda")


@pytest.mark.parametrize("device", ["meta", "gpu", "cuda:", "cuda:one", "cpu:0"])
def test_nonsense_is_refused(device):
    done = invoke("verify it.py:It --device", device)
    refused(done, 2, f"--device {device}: expected cpu, cuda")


def test_without_the_device_nothing_is_claimed():
    with pytest.raises(SubjectUnavailable, match="PyTorch has no device cuda:99 here: "):
        adapted(Layer, "hand:it", "torch.nn.LSTM", device="cuda:99")


def test_a_run_keeps_its_device(tmp_path):
    """The worker is asked for it, the header has it, and a failure's command says it."""
    named = Request.parse(["it.py:It"], like="torch.nn.LSTM", device="cuda:1").named
    assert [each.device for each in named] == ["cuda:1"]
    assert "--device cuda:1 --check forward" in reproduce(named[0], "forward", "{}")

    (tmp_path / "it.py").write_text("import torch\n\n\nclass It(torch.nn.LSTM):\n    pass\n")
    done = invoke("verify --device cuda:99 --dtype float64 --check smoke --runs",
                  tmp_path / "runs", f"{tmp_path / 'it.py'}:It")  # fmt: skip
    (folder,) = (tmp_path / "runs").iterdir()
    request = Request.resumed(folder)

    assert done.exit_code == 3
    assert "PyTorch has no device cuda:99 here: " in " ".join(done.stdout.split())
    assert (request.device, request.memory) == ("cuda:99", 0)


def test_what_is_forbidden_is_so_on_the_device():
    """Operators are refused where the device computes them, too; on the CPU alone by default."""
    made = forbidden(["aten::tanh"], GPU)
    has = partial(torch._C._dispatch_has_kernel_for_dispatch_key, "aten::tanh")
    registered = []

    def run():
        registered.append(has("CUDA"))
        torch.ones(1).tanh()

    with pytest.raises(NotItsOwn, match="it runs aten::tanh"):
        with_care(lambda: _refused(made, run))
    assert registered == [True]
    assert torch.ones(1).tanh() < 1


def _refused(made, run):
    with made.refused():
        run()
