"""What the comparisons with the documents share: a drawn case in the documents' shapes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gatewise.reference.cells import cell_named
from gatewise.reference.equation import equations
from gatewise.verify.cases.case import Case
from gatewise.verify.numbers.arithmetic import FLOAT64
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.ledger import Ledger
from gatewise.verify.proofs.material import cell_material, forward
from transcriptions.scalar import mp

LABELS = {e.name: e.label for e in equations()}
CASES = st.builds(
    Case, T=st.integers(1, 4), B=st.just(1), D=st.integers(1, 3), H=st.integers(1, 3),
    scale=st.sampled_from(["unit", "large"]), seed=st.integers(0, 2**16),
)  # fmt: skip


def exact(array):
    return Bounded.exact(array, FLOAT64)


def floats(nested):
    """Nested lists of mpf as an array."""
    return np.array(mp.matrix(nested).tolist() if not isinstance(nested, list) else nested, float)


class Drawn:
    """One case of one cell, in the shapes the documents use."""

    def __init__(self, name, case):
        self.cell = cell_named(name)
        self.m = cell_material(self.cell, case)
        self.xs = self.m.x[:, 0].tolist()
        self.states = [s[0].tolist() for s in self.m.state]
        self.gates = self.cell.gates

    def rows(self, array, keys=None):
        """W[key] for row vectors, [in][out], under the document's keys."""
        return {key: self.m.p[array][k].tolist() for k, key in enumerate(keys or self.gates)}

    def columns(self, array, keys=None):
        """The same for column vectors, [out][in]."""
        return {key: self.m.p[array][k].T.tolist() for k, key in enumerate(keys or self.gates)}

    def joined(self, keys=None):
        """[H][H + D], state first, under the document's keys."""
        U, W = self.m.p["U"], self.m.p["W"]
        return {key: np.concatenate([U[k], W[k]]).T.tolist()
                for k, key in enumerate(keys or self.gates)}  # fmt: skip

    def compare(self, *states):
        """Hold a transcription's states over time against y and the final states."""
        ledger, names = Ledger(), ", ".join(LABELS[name] for name in self.cell.equations)
        y, *final = forward(self.cell, self.m.map(exact))
        got = [floats(s) for s in states]
        ledger.compare(f"{names}: y", got[0][:, None], y)
        for k, array in enumerate(got):
            ledger.compare(f"{names}: final state {k}", array[-1:], final[k])
        ledger.assert_within()


def transcribed(function):
    """Turn a function of a case into a test that draws it, and computes with 40 digits."""

    @given(case=CASES)
    def test(case):
        with mp.workdps(40):
            function(case)

    test.__name__, test.__doc__ = function.__name__, function.__doc__
    return test
