"""Arrays with gaps in memory are the caller's, too."""

import numpy as np

from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.subjects.explicit import explicit
from plain_numpy import LSTM


class Zeroes(LSTM):
    """Right, but for what becomes of arguments that are not contiguous."""

    def forward(self, params, x, state, lengths=None):
        result = super().forward(params, x, state, lengths)
        if not x.flags.c_contiguous and x.flags.writeable:
            x[...] = 0
        return result


def test_writing_into_strided_input_is_seen():
    """Contiguous arguments, which ``purity`` passes, are left alone: only ``strided`` sees it."""
    verdicts = {
        name: hold(
            explicit(Zeroes, "zeroes"), check_named(name), "float64", budget=BUDGETS["quick"]
        )
        for name in ("forward", "purity", "strided")
    }

    assert {name: v.status for name, v in verdicts.items()} == {
        "forward": "passed", "purity": "passed", "strided": "failed",
    }  # fmt: skip
    assert "the call wrote into strided x" in verdicts["strided"].message
    assert np.isfinite(verdicts["forward"].worst_ratio)
