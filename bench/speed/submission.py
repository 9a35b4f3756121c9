"""The time of a submission to a benchmark's problem, beside torch's own module, in turns.

Both run on one thread in a process of their own, at the benchmark's sizes, with the very numbers of
``kernel-size``, so that a submission gains nothing by being quick on other numbers.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, cast

from ...verify.checks.kernels import inside
from ...verify.subjects import subject_named
from ...verify.subjects.kernel import Kernel, kernel
from ...verify.subjects.kernel_embedding import embedded
from ...verify.subjects.kernel_problems import StateSpace, benchmark_sizes, leaves
from ...verify.subjects.torch_module import one_thread
from ..run import UnsupportedError
from ..timing.comparison import compare
from ..timing.measurement import Effort
from .process import SpeedProcess

EFFORT = Effort(seconds=0.5, patience=30.0, half_width=0.03)
"""The effort of the measurement; patience counts for each."""

LIMIT = 300.0
"""The time limit in seconds."""

WORDS = "median of the submission's time as a multiple of torch's own module, 95 % interval"


def measured(name: str, like: str, forbid: str = "", device: str = "cpu") -> dict[str, Any]:
    """Return the ratio of a submission's time to torch's, and an interval; runs it here.

    Calls on a device end when it has done what it was asked.
    """
    import torch

    from ..kernels.state_spaces import Chunks
    from ..kernels.submissions import Wrapper, submission

    subject = cast("Kernel", subject_named(name, like, forbid, device=device))
    problem = subject.problem
    case = next(benchmark_sizes(problem))
    small = inside(problem, case)
    within = embedded(problem, case, small)
    drawn = within.leaves(leaves(problem, small), leaves(problem, case))
    model = submission(Chunks if isinstance(problem, StateSpace) else Wrapper, problem)
    reference = kernel(model, "torch's own module", like, device=device)
    call, torchs = (layer.build(case).ready(drawn) for layer in (subject, reference))
    with one_thread(torch):
        result = compare(call, torchs, EFFORT)
    return {
        "ratio": result.ratio,
        "low": result.low,
        "high": result.high,
        "pairs": result.pairs,
        "status": result.status,
        "seconds": result.a.median,
        "torch_seconds": result.b.median,
        "sizes": {"T": case.T, "B": case.B, "D": case.D, "H": case.H, "layers": case.layers},
        "scaled_down": problem.scaled,
        "threads": 1,
        "device": device,
        "what": WORDS,
    }


def in_process(name: str, like: str, forbid: str = "", device: str = "cpu") -> dict[str, Any]:
    """Return the same from a process of its own, or under ``problem`` the reason of a failure."""
    with closing(SpeedProcess(threads=1, memory=0, timeout=LIMIT)) as process:
        try:
            return process.plain("submission", name=name, like=like, forbid=forbid, device=device)
        except UnsupportedError as reason:
            return {"problem": str(reason)}
