"""
Document D2, "RNNs, GRUs, and LSTMs".

Vectors are rows: ``x_t * U + H_{t-1} * W``.  An input matrix U is [D][H], a state
matrix W is [H][H], a sequence ``xs`` is [T][D], an initial state is [H].  The document
prints no biases; each function takes optional ones, [H] per gate, that default to
zero.  The returned lists hold the states of t = 1..T, without the initial one.
"""

from .scalar import Biases, Matrix, Scalar, Vector, Weights, bias_or_zero, dot, mpf, sigmoid, tanh


def _column(M: Matrix, j: int) -> Vector:
    return [row[j] for row in M]


def rnn(xs: list[Vector], H_0: Vector, C: Matrix, b: Vector | None = None) -> list[Vector]:
    """
    D2, E04: one parameter matrix C on two inputs, the current x_t and the last output.

    H_t = tanh([x_t, H_{t-1}] * C); the tanh is not printed.  C [D + H][H], with the
    rows that belong to x_t first, b [H]; returns [H_1 .. H_T].
    """
    biases = None if b is None else {"C": b}
    H, states = H_0, []
    for x in xs:
        xh = [*x, *H]
        H = [tanh(dot(xh, _column(C, j)) + bias_or_zero(biases, "C", j)) for j in range(len(H_0))]
        states.append(H)
    return states


def gru(
    xs: list[Vector], H_0: Vector, U: Weights, W: Weights, b: Biases | None = None
) -> list[Vector]:
    """
    D2, E20, E21, E22, E23b with the keys r, u, g; returns [H_1 .. H_T].

    r_t, u_t = σ(x_t * U + H_{t-1} * W), Ĥ_t = tanh(x_t * U_g + (r_t ∘ H_{t-1}) * W_g),
    and the update gate keeps the old: H_t = u_t ∘ H_{t-1} + (1 - u_t) ∘ Ĥ_t.
    U[key] [D][H], W[key] [H][H]; U_q, W_q of the second printing are U_g, W_g.
    """
    n = len(H_0)

    def affine(gate: str, x: Vector, h: Vector, j: int) -> Scalar:
        s = dot(x, _column(U[gate], j)) + dot(h, _column(W[gate], j))
        return s + bias_or_zero(b, gate, j)

    H, states = H_0, []
    for x in xs:
        r = [sigmoid(affine("r", x, H, j)) for j in range(n)]
        rH = [r[j] * H[j] for j in range(n)]
        H_t = []
        for j in range(n):
            u = sigmoid(affine("u", x, H, j))
            H_hat = tanh(affine("g", x, rH, j))
            H_t.append(u * H[j] + (1 - u) * H_hat)
        H = H_t
        states.append(H)
    return states


def lstm(
    xs: list[Vector], H_0: Vector, C_0: Vector, U: Weights, W: Weights, b: Biases | None = None
) -> tuple[list[Vector], list[Vector]]:
    """
    D2, E13 to E18 with the keys f, i, c, o; returns ([H_1 .. H_T], [C_1 .. C_T]).

    f_t, i_t, o_t = σ(x_t * U + H_{t-1} * W), N_t = tanh(x_t * U_c + H_{t-1} * W_c),
    C_t = f_t * C_{t-1} + i_t * N_t, H_t = o_t * tanh(C_t).
    U[key] [D][H], W[key] [H][H].
    """

    def affine(gate: str, x: Vector, h: Vector, j: int) -> Scalar:
        s = dot(x, _column(U[gate], j)) + dot(h, _column(W[gate], j))
        return s + bias_or_zero(b, gate, j)

    H, C = H_0, C_0
    all_H, all_C = [], []
    for x in xs:
        H_t, C_t = [], []
        for j in range(len(C_0)):
            f = sigmoid(affine("f", x, H, j))
            i = sigmoid(affine("i", x, H, j))
            N = tanh(affine("c", x, H, j))
            C_t.append(f * C[j] + i * N)
            o = sigmoid(affine("o", x, H, j))
            H_t.append(o * tanh(C_t[j]))
        H, C = H_t, C_t
        all_H.append(H)
        all_C.append(C)
    return all_H, all_C


def one_hot(sentence: str) -> tuple[list[str], Matrix]:
    """
    D2, E31, N4: one row per word of the sentence, as D2 prints them.

    Words that differ in case are different words; the n-th distinct word has its 1 at
    index n and index 0 stays unused, so the width is one more than the number of
    distinct words.  Returns (words [T], rows [T][width]).
    """
    words = sentence.split()
    index: dict[str, int] = {}
    for word in words:
        if word not in index:
            index[word] = len(index) + 1
    width = len(index) + 1
    rows = []
    for word in words:
        rows.append([mpf(1) if k == index[word] else mpf(0) for k in range(width)])
    return words, rows


def embed(rows: Matrix, E: Matrix) -> Matrix:
    """D2, E31: each one-hot row times E; rows [T][width], E [width][D] -> [T][D]."""
    D = len(E[0])
    return [[dot(row, _column(E, j)) for j in range(D)] for row in rows]
