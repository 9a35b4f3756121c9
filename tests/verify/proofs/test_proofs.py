"""Every proof of the reference holds."""

import pytest

from gatewise.verify.proofs import proofs
from gatewise.verify.proofs.runner import attempt


@pytest.mark.parametrize("proof", proofs(), ids=lambda proof: proof.id)
def test_proof(proof):
    """The proof's statement holds on drawn examples, as many as show every planted error."""
    result = attempt(proof, seed=1)
    assert result.holds, result.message
