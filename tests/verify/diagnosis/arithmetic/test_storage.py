"""What is stored in a coarser dtype is seen by the numbers that come back."""

from types import SimpleNamespace

import numpy as np

import plain_numpy
from gatewise.verify.diagnosis.arithmetic.storage import rounded, storage
from judgements import diagnosed


def test_what_is_pushed_forward_hides_no_storage():
    numbers = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    calls = [SimpleNamespace(tangents=None), SimpleNamespace(tangents=object())]
    seen = {(0, 0, "y"): rounded(numbers, "bfloat16"), (1, 0, "y"): numbers}
    found = storage([SimpleNamespace(calls=calls, seen=seen)], "float32")

    assert (found.dtype, found.outputs) == ("bfloat16", True)
    seen = {(0, 0, "y"): numbers}
    assert storage([SimpleNamespace(calls=calls, seen=seen)], "float32") is None


class Buffer:
    """The cell state stands in an array of float32, from the start."""

    cell = "lstm"

    def forward(self, params, x, state):
        y, shape = [], (x.shape[1], params["b"].shape[-1])
        h, c = state or (np.zeros(shape, x.dtype), np.zeros(shape, x.dtype))
        for x_t in x:
            c = rounded(c, "float32")
            _, (h, c) = plain_numpy.LSTM().forward(params, x_t[None], (h, c))
            y.append(h)
        return np.stack(y), (h, rounded(c, "float32"))


def test_a_state_that_is_stored_coarsely_from_the_start_is_named():
    assert diagnosed(Buffer, "forward", seconds=60).headline == (
        "State c is rounded to float32 after every step, and before the first."
    )
