"""
Document D0, "LSTM and GRU: Handling Vanishing Gradients".

Vectors are columns and the gates read one concatenated vector, state first:
``W_f [a^{t-1}, x^t] + b_f``.  Every matrix is therefore [H][H + D], a bias is [H], a
sequence ``xs`` is [T][D], and an initial state is [H].  The returned lists hold the
states of t = 1..T, without the initial one.
"""

from .scalar import (
    Biases,
    Matrix,
    Scalar,
    Vector,
    Weights,
    bias_or_zero,
    dot,
    mp,
    mpf,
    sigmoid,
    tanh,
)

# The worked forget gate (N1), as printed.
N1_A = ("2.9", "0.5", "0.7")
N1_W_F = (("1.0", "0.4", "0.7"), ("-0.6", "-0.5", "-0.2"))
N1_B_F = ("0.0", "0.0")
N1_PRINTED_PREACTIVATION = ("3.59", "-2.13")
N1_PRINTED_GATE = ("0.7941", "0.1062")  # the first is not σ(3.59)


def rnn(xs: list[Vector], a_0: Vector, W_a: Matrix, b_a: Vector | None = None) -> list[Vector]:
    """
    D0, E04: a^t = tanh(W_a [a^{t-1}, x^t] + b_a), with b_a = 0 "for convenience".

    W_a [H][H + D], b_a [H]; returns [a^1 .. a^T].
    """
    H = len(a_0)
    b = None if b_a is None else {"a": b_a}
    a, states = a_0, []
    for x in xs:
        ax = [*a, *x]
        a = [tanh(dot(W_a[j], ax) + bias_or_zero(b, "a", j)) for j in range(H)]
        states.append(a)
    return states


def lstm(
    xs: list[Vector], a_0: Vector, c_0: Vector, W: Weights, b: Biases
) -> tuple[list[Vector], list[Vector]]:
    """
    D0, E13 to E18 with the keys f, i, g, o; returns ([a^1 .. a^T], [c^1 .. c^T]).

    f, i, o = σ(W [a^{t-1}, x^t] + b), g = tanh(W_g [a^{t-1}, x^t] + b_g),
    c^t = f * c^{t-1} + i * g, a^t = o * tanh(c^t).  W[key] [H][H + D], b[key] [H].
    """
    H = len(c_0)
    a, c = a_0, c_0
    all_a, all_c = [], []
    for x in xs:
        ax = [*a, *x]
        a_t, c_t = [], []
        for j in range(H):
            f = sigmoid(dot(W["f"][j], ax) + b["f"][j])
            i = sigmoid(dot(W["i"][j], ax) + b["i"][j])
            g = tanh(dot(W["g"][j], ax) + b["g"][j])
            o = sigmoid(dot(W["o"][j], ax) + b["o"][j])
            c_t.append(f * c[j] + i * g)
            a_t.append(o * tanh(c_t[j]))
        a, c = a_t, c_t
        all_a.append(a)
        all_c.append(c)
    return all_a, all_c


def gru(xs: list[Vector], c_0: Vector, W: Weights, b: Biases | None = None) -> list[Vector]:
    """
    D0, E20, E21, E22, E23a with the keys i, r, c; returns [c^1 .. c^T] (a^t = c^t).

    The reset gate acts before the product, c̃^t = tanh(W_c [r * c^{t-1}, x^t] + b_c),
    and the update gate takes the new: c^t = i * c̃^t + (1 - i) * c^{t-1}.
    W[key] [H][H + D], b[key] [H]; the document prints it without and with biases.
    """
    H = len(c_0)
    c, states = c_0, []
    for x in xs:
        cx = [*c, *x]
        r = [sigmoid(dot(W["r"][j], cx) + bias_or_zero(b, "r", j)) for j in range(H)]
        rcx = [*(r[j] * c[j] for j in range(H)), *x]
        c_t = []
        for j in range(H):
            i = sigmoid(dot(W["i"][j], cx) + bias_or_zero(b, "i", j))
            c_tilde = tanh(dot(W["c"][j], rcx) + bias_or_zero(b, "c", j))
            c_t.append(i * c_tilde + (1 - i) * c[j])
        c = c_t
        states.append(c)
    return states


def forget_gate_example() -> tuple[Vector, Vector]:
    """
    D0, N1: the printed f = σ(W_f [a] + b_f), in which no x occurs.

    Returns (pre-activation, gate), each [2], computed from the printed decimals.
    """
    a = [mpf(v) for v in N1_A]
    s = []
    for row, bias in zip(N1_W_F, N1_B_F, strict=True):
        s.append(dot([mpf(w) for w in row], a) + mpf(bias))
    return s, [sigmoid(s_j) for s_j in s]


def tanh_factors(
    a_0: Vector, xs: list[Vector], W_a: Matrix, b_a: Vector | None = None
) -> list[Vector]:
    """D0, E08: the braces {1 - tanh²(W_a [a^{t-1}, x^t])}, t = 1..T, as [T][H]."""
    H = len(a_0)
    b = None if b_a is None else {"a": b_a}
    before = [a_0, *rnn(xs, a_0, W_a, b_a)]
    factors = []
    for t, x in enumerate(xs):
        ax = [*before[t], *x]
        factors.append([1 - tanh(dot(W_a[j], ax) + bias_or_zero(b, "a", j)) ** 2 for j in range(H)])
    return factors


def chain_ordered(
    dL_da: Vector, a_0: Vector, xs: list[Vector], W_a: Matrix, b_a: Vector | None = None
) -> Vector:
    """
    D0, E08 as it holds for every H: ∂L/∂a^0 = (∂L/∂a^T) J_T ... J_2 J_1 (T = 4 in D0).

    J_t = diag(1 - tanh²(W_a [a^{t-1}, x^t])) W_aa, where W_aa is the block of W_a that
    acts on the state.  dL_da [H] is ∂L/∂a^T with earlier losses left out; returns [H].
    """
    H = len(a_0)
    product = _identity(H)
    for factor in tanh_factors(a_0, xs, W_a, b_a):
        J = [[factor[j] * W_a[j][k] for k in range(H)] for j in range(H)]
        product = _times(J, product)
    return _row_times(dL_da, product)


def chain_as_printed(
    dL_da: Vector, a_0: Vector, xs: list[Vector], W_a: Matrix, b_a: Vector | None = None
) -> Vector:
    """
    D0, E08 to the letter: (∂L/∂a^4) {..} {..} {..} {..} (W_a)^4, all braces first (N2).

    W_a is read as its state block W_aa (the only reading in which the power exists)
    and the braces as diagonal matrices.  Right for H = 1; for H > 1 the factors do not
    commute.  Arguments and result as for `chain_ordered`.
    """
    H = len(a_0)
    W_aa = [[W_a[j][k] for k in range(H)] for j in range(H)]
    scaled, power = [mp.convert(d) for d in dL_da], _identity(H)
    for factor in tanh_factors(a_0, xs, W_a, b_a):
        scaled = [scaled[j] * factor[j] for j in range(H)]
        power = _times(W_aa, power)
    return _row_times(scaled, power)


def _identity(H: int) -> Matrix:
    return [[mpf(1) if j == k else mpf(0) for k in range(H)] for j in range(H)]


def _times(A: Matrix, B: Matrix) -> Matrix:
    H = len(A)
    return [[dot(A[j], [B[m][k] for m in range(H)]) for k in range(H)] for j in range(H)]


def _row_times(row: Vector, A: Matrix) -> list[Scalar]:
    return [dot(row, [A[j][k] for j in range(len(row))]) for k in range(len(row))]
