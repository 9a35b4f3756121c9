"""
Document D1, "Long Short Term Memory": the LSTMCELL listing (P1).

Vectors are columns, ``combine`` is a concatenation with the hidden state first, and
every layer's matrix is [H][H + D].  The listing's ``prev_ht + input`` is kept as it is
printed: on two Python lists ``+`` concatenates, which is what it has to mean.
"""

from collections.abc import Callable

from .scalar import Biases, Scalar, Vector, Weights, dot, sigmoid, tanh

Cell = Callable[[Vector, Vector, Vector], tuple[Vector, Vector]]


def make_LSTMCELL(W: Weights, b: Biases) -> Cell:
    """
    D1, E13 to E18: the listing's function with its four layers closed over.

    W[name] [H][H + D] and b[name] [H] for the names forget, candidate, input, output.
    Returns LSTMCELL(prev_ct [H], prev_ht [H], input [D]) -> (ht [H], Ct [H]).
    """

    def layer(name: str, squash: Callable[[Scalar], Scalar], combine: Vector) -> Vector:
        H = len(W[name])
        return [squash(dot(W[name][j], combine) + b[name][j]) for j in range(H)]

    def LSTMCELL(prev_ct: Vector, prev_ht: Vector, input: Vector) -> tuple[Vector, Vector]:
        combine = prev_ht + input
        ft = layer("forget", sigmoid, combine)
        candidate = layer("candidate", tanh, combine)
        it = layer("input", sigmoid, combine)
        H = len(prev_ct)
        Ct = [prev_ct[j] * ft[j] + candidate[j] * it[j] for j in range(H)]
        ot = layer("output", sigmoid, combine)
        ht = [ot[j] * tanh(Ct[j]) for j in range(H)]
        return ht, Ct

    return LSTMCELL


def loop_as_printed(
    inputs: list[Vector], ct: Vector, ht: Vector, W: Weights, b: Biases
) -> tuple[list[Vector], list[Vector]]:
    """
    D1, P1 as printed: ``ct, ht = LSTMCELL(ct, ht, input)`` swaps the two states.

    inputs [T][D], ct and ht [H] (zeros in the document), W and b as for
    `make_LSTMCELL`.  Returns ([ht], [ct]) after each step under the names the loop
    gives them, so that its ``ct`` is the cell's hidden state.
    """
    LSTMCELL = make_LSTMCELL(W, b)
    all_ht, all_ct = [], []
    for input in inputs:
        ct, ht = LSTMCELL(ct, ht, input)
        all_ht.append(ht)
        all_ct.append(ct)
    return all_ht, all_ct


def loop_corrected(
    inputs: list[Vector], ct: Vector, ht: Vector, W: Weights, b: Biases
) -> tuple[list[Vector], list[Vector]]:
    """
    D1, P1 with the unpacking in the order of the return: ``ht, ct = LSTMCELL(...)``.

    Arguments as for `loop_as_printed`; returns ([h_1 .. h_T], [C_1 .. C_T]).
    """
    LSTMCELL = make_LSTMCELL(W, b)
    all_ht, all_ct = [], []
    for input in inputs:
        ht, ct = LSTMCELL(ct, ht, input)
        all_ht.append(ht)
        all_ct.append(ct)
    return all_ht, all_ct
