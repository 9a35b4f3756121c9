"""What is stored in a coarser dtype is seen by the numbers that come back."""

from types import SimpleNamespace

import numpy as np

from gatewise.verify.diagnosis.arithmetic.storage import rounded, storage


def test_what_is_pushed_forward_hides_no_storage():
    numbers = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    calls = [SimpleNamespace(tangents=None), SimpleNamespace(tangents=object())]
    seen = {(0, 0, "y"): rounded(numbers, "bfloat16"), (1, 0, "y"): numbers}
    found = storage([SimpleNamespace(calls=calls, seen=seen)], "float32")

    assert (found.dtype, found.outputs) == ("bfloat16", True)
    seen = {(0, 0, "y"): numbers}
    assert storage([SimpleNamespace(calls=calls, seen=seen)], "float32") is None
