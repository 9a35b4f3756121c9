"""The time and the misses of ``torch.autograd.gradcheck``, beside gatewise's gradient checks.

``python -m gatewise.bench.scores.gradcheck [--json]`` times, in one run on one thread, for a
``torch.nn.LSTM`` in float64: gradcheck, slow and fast, with all inputs and outputs, and one case
of the check ``gradient`` at the same sizes. Then it runs gradcheck on every gradient mutant of the
catalogue, with all inputs and outputs, and in its usual use: the gradient of x, for y.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from timeit import timeit
from typing import Any

import click
import numpy as np

from ...verify.cases.case import Case
from ...verify.checks import check_named
from ...verify.execution.judge import Budget, hold
from ...verify.mutants import Mutant, mutant_subject, mutants
from ...verify.numbers.ledger import Mismatch
from ...verify.subjects import subject_named
from ...verify.subjects.called import Called, SubjectCrashed, under_test
from ...verify.subjects.inputs import draw_inputs
from ...verify.subjects.protocol import Inputs
from ...verify.subjects.torch_module import import_torch
from . import score

TIMED = Case(10, 2, 8, 32)
SMALL = Case(5, 3, 2, 4)
"""The case of mutants: gradcheck's cost grows with the squared number of entries."""


@dataclass(frozen=True)
class Missed:
    """One gradient mutant, and whether gradcheck detects it."""

    mutant: str
    statement: str
    all_seen: bool
    typical_seen: bool
    gatewise_seen: bool


def costs() -> dict[str, float]:
    """Return seconds: gradcheck slow and fast, and one case of the check ``gradient``."""
    import torch

    torch.set_num_threads(1)
    layer = torch.nn.LSTM(TIMED.D, TIMED.H, dtype=torch.float64)
    tensors = [torch.randn(TIMED.T, TIMED.B, TIMED.D), *(torch.randn(1, TIMED.B, TIMED.H),) * 2]
    leaves = [t.double().clone().requires_grad_() for t in tensors]
    names = [name for name, _ in layer.named_parameters()]
    leaves += [p.detach().clone().requires_grad_() for p in layer.parameters()]

    def run(x: Any, h: Any, c: Any, *parameters: Any) -> Any:
        by_name = dict(zip(names, parameters, strict=True))
        y, (h, c) = torch.func.functional_call(layer, by_name, (x, (h, c)))
        return y, h, c

    subject, check = subject_named("torch:LSTM"), check_named("gradient")
    hold(subject, check, "float64", budget=Budget(2))  # imports and first calls
    calls: dict[str, Callable[[], object]] = {
        "gradcheck, slow": lambda: torch.autograd.gradcheck(run, leaves),
        "gradcheck, fast": lambda: torch.autograd.gradcheck(run, leaves, fast_mode=True),
        "gatewise gradient, one case": lambda: hold(subject, check, "float64", case=TIMED),
        "gatewise gradient, standard": lambda: hold(subject, check, "float64"),
    }
    return {name: timeit(call, number=1) for name, call in calls.items()}


def misses() -> Iterator[Missed]:
    """Yield gradcheck's result on every gradient mutant, in its first cell."""
    for mutant in mutants():
        if not mutant.id.startswith("G") or mutant.isolated:
            continue
        subject = mutant_subject(mutant, mutant.cells[0])
        verdicts = (
            hold(subject, check_named(check), mutant.dtypes[0], shrink=False)
            for check in mutant.killed_by
        )
        yield Missed(
            mutant.id,
            mutant.statement,
            _is_detected(mutant, everything=True),
            _is_detected(mutant, everything=False),
            any(v.status == "failed" for v in verdicts),
        )


def _is_detected(mutant: Mutant, *, everything: bool) -> bool:
    """Return whether gradcheck detects a mutant, as an autograd Function."""
    import torch

    subject = mutant_subject(mutant, mutant.cells[0])
    inputs = draw_inputs(subject, SMALL)
    arrays = [inputs.x, *(inputs.state or ()), *inputs.parameters.values()]
    leaves = [torch.tensor(a, requires_grad=everything or k == 0) for k, a in enumerate(arrays)]
    function = _as_function(under_test(subject).build(SMALL), inputs, only_y=not everything)
    try:
        return not torch.autograd.gradcheck(function, leaves, raise_exception=False)
    except (Mismatch, SubjectCrashed):
        return True


def _as_function(called: Called, like: Inputs, *, only_y: bool) -> Callable[..., Any]:
    """Return a torch function of x, the states and the parameters that runs and pulls back."""
    torch = import_torch()
    base: Any = torch.autograd.Function
    count = len(like.state or ())

    def read(tensors: Any) -> Inputs:
        x, *rest = (t.detach().numpy() for t in tensors)
        named = dict(zip(like.parameters, rest[count:], strict=True))
        return Inputs(named, x, tuple(rest[:count]), None)

    class Layer(base):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            ctx.save_for_backward(*tensors)
            result = called.forward(read(tensors))
            return tuple(torch.tensor(np.array(a)) for a in (result.y, *result.final))

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            dy, *dfinal = (d.numpy() for d in cotangents)
            pulled = called.gradient(read(ctx.saved_tensors), (dy, tuple(dfinal)))
            arrays = [pulled.x, *pulled.initial, *(pulled.parameters[n] for n in like.parameters)]
            return tuple(torch.tensor(np.array(a)) for a in arrays)

    def run(*tensors: Any) -> Any:
        apply: Callable[..., Any] = Layer.apply
        outputs = apply(*tensors)
        return outputs[0] if only_y else outputs

    return run


def _mark(detected: bool) -> str:
    return "seen" if detected else "MISSED"


COLUMNS: score.Columns = {
    "mutant": lambda m: m.mutant,
    "what is wrong": lambda m: m.statement,
    "gradcheck, x and y": lambda m: _mark(m.typical_seen),
    "gradcheck, everything": lambda m: _mark(m.all_seen),
    "gatewise": lambda m: _mark(m.gatewise_seen),
}


@click.command()
@score.json_option
def main(as_json: bool) -> None:
    """Measure and print."""
    seconds, judgements = costs(), list(misses())
    if as_json:
        score.print_json(seconds=seconds, mutants=judgements)
        return
    base = seconds["gatewise gradient, one case"]
    for name, duration in seconds.items():
        click.echo(f"{name}: {duration:.3f} s, {duration / base:.1f} times one case")
    score.print_table("Gradient mutants", COLUMNS, judgements)


if __name__ == "__main__":
    main()
