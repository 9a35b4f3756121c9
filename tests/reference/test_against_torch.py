"""The reference against PyTorch: autograd on plain tensor operations, and torch's own layers."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import plain_torch
from gatewise.reference.cells import cells
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.numbers.arithmetic import FLOAT64
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.ledger import Ledger
from gatewise.verify.proofs.material import cell_material, forward, gradients
from gatewise.verify.subjects import subjects
from judgements import verdict_is

CASES = st.builds(
    Case, T=st.integers(1, 5), B=st.integers(1, 3), D=st.integers(1, 4), H=st.integers(1, 4),
    scale=st.sampled_from(["unit", "tiny", "large"]), seed=st.integers(0, 2**16),
)  # fmt: skip


def by_autograd(cell, m):
    """Run the plain torch step over time and pull the cotangents back by autograd."""
    name = cell.name.replace("-", "_")
    assert hasattr(plain_torch, name), f"write the witness {name}() in tests/doubles/plain_torch.py"
    step = getattr(plain_torch, name)
    leaves = {k: torch.from_numpy(a.copy()).requires_grad_() for k, a in m.arguments().items()}
    state = tuple(leaves[f"state {k}"] for k in range(len(m.state)))
    outputs = []
    for x in leaves["x"]:
        if "readout" in cell.traits:
            output, *state = step(leaves, x, *state)
        else:
            output, *_ = state = step(leaves, x, *state)
        outputs.append(output)
    y = torch.stack(outputs)
    cotangents = [torch.from_numpy(d) for d in (m.dy, *m.dfinal)]
    pulled = torch.autograd.grad([y, *state], list(leaves.values()), cotangents, allow_unused=True)
    zeros = [torch.zeros_like(leaf) for leaf in leaves.values()]
    named = {k: (z if d is None else d).numpy()
             for k, d, z in zip(leaves, pulled, zeros, strict=True)}  # fmt: skip
    return [a.detach().numpy() for a in (y, *state)], named


@pytest.mark.parametrize("cell", cells().values(), ids=lambda cell: cell.name)
def test_autograd_on_plain_tensors(cell):
    @settings(max_examples=15)
    @given(CASES)
    def agrees(case):
        m = cell_material(cell, case)
        bounded = m.map(lambda array: Bounded.exact(array, FLOAT64))
        outputs, pulled = by_autograd(cell, m)
        ledger = Ledger()
        for k, want in enumerate(forward(cell, bounded)):
            ledger.compare(f"output {k}", outputs[k], want)
        for name, want in gradients(cell, bounded).items():
            ledger.compare(f"gradient of {name}", pulled[name], want)
        ledger.assert_within()

    agrees()


CHECKS = {
    check.id: check for check in subject_checks()
    if not check.problems and "quantised" not in check.needs
}  # fmt: skip
WHOLE = ("torch:LSTM", "torch:GRU", "torch:RNN")
OTHERS = ("torch:RNN-relu", "torch:RNNCell", "torch:LSTMCell", "torch:GRUCell")
BASIC = ("smoke", "forward", "gradient", "transition", "carry")
NOT_OFFERED = ("zero-length", "no-steps")


def held(subject, check, dtype):
    return hold(subjects()[subject], CHECKS[check], dtype, budget=Budget(4, 2), seed_value=7)


OFFERED = [
    (subject, check)
    for subject in WHOLE
    for check in CHECKS
    if check not in NOT_OFFERED and CHECKS[check].concerns(subjects()[subject])
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("subject", "check"), OFFERED)
def test_torch_layers(subject, dtype, check):
    verdict = held(subject, check, dtype)

    if (subject, check, dtype) == ("torch:LSTM", "jvp", "float32") and "mkldnn" in verdict.message:
        pytest.skip("oneDNN's LSTM has no forward mode")
    assert verdict.status == "passed", verdict.message
    most = 1 if check == "extreme" else 0.5  # weights of 1e4 leave no bound on most gradients
    assert verdict.blind_cases <= most * verdict.cases


@pytest.mark.parametrize("check", BASIC)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("subject", OTHERS)
def test_cells_and_relu(subject, dtype, check):
    verdict_is(held(subject, check, dtype), "passed")


@pytest.mark.parametrize("check", NOT_OFFERED)
@pytest.mark.parametrize("subject", WHOLE)
def test_what_torch_does_not_offer(subject, check):
    assert held(subject, check, "float64").status == "not supported"


def test_what_loops_over_cells_do_not_offer():
    cell = subjects()["torch:GRUCell"]
    missing = {name for name, check in CHECKS.items() if cell.options.missing(check.needs)}

    assert missing == {
        "batch-first", "unbatched", "jvp", "kept-state", "partial-state", "padding", "zero-length",
        "direction", "no-steps", "modes", "dropout", "packed", "left-padding",
    }  # fmt: skip
    assert held(cell.name, "dropout", "float64").message == (
        "the subject does not offer dropout, more than one layer"
    )


@functools.cache
def drawn_options():
    """Return which options the drawn cases really have."""
    seen = []
    subject = subjects()["torch:LSTM"]
    given(CHECKS["forward"].cases(subject, "float64"))(lambda case: seen.append(case))()
    return seen


OPTIONS = {
    "stacked": lambda c: c.layers == 2,
    "bidirectional": lambda c: c.bidirectional,
    "no bias": lambda c: not c.bias,
    "packed": lambda c: c.lengths,
    "default state": lambda c: not c.state,
    "proj_size": lambda c: c.P,
    "all of them": lambda c: c.P and c.bidirectional and c.layers == 2,
    "order of Jacobians": lambda c: c.T >= 3 and c.H >= 2,
    "distinct sizes": lambda c: len({c.T, c.B, c.D, c.H}) == 4,
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_drawn(option):
    assert any(OPTIONS[option](case) for case in drawn_options())


def test_inputs_are_random_distinct_and_not_zero():
    case = Case(4, 3, 3, 3, seed=5)
    parts = [case.normal(part, (4, 3, 3)) for part in ("x", "weight_ih_l0", "weight_hh_l0")]
    flat = np.concatenate([part.ravel() for part in parts])

    assert len(np.unique(flat)) == flat.size
    assert (flat != 0).all()
