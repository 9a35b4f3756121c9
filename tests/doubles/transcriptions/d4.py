"""
Document D4, "LSTM and variants".

Vectors are columns: ``U · x_t + W · s_{t-1}``.  U is [H][D], W is [H][H], a sequence
``xs`` is [T][D], an initial state is [H].  In the LSTM s_t is the cell state and m_t
the output.  The returned lists hold the states of t = 1..T, without the initial one.
"""

from collections.abc import Callable

from .d3 import softmax
from .scalar import Biases, Matrix, Scalar, Vector, Weights, bias_or_zero, dot, sigmoid, tanh


def rnn(xs: list[Vector], s_0: Vector, U: Matrix, W: Matrix) -> list[Vector]:
    """D4, E04: s_t = tanh(U · x_t + W · s_{t-1}); U [H][D], W [H][H]; [s_1 .. s_T]."""
    s, states = s_0, []
    for x in xs:
        s = [tanh(dot(U[j], x) + dot(W[j], s)) for j in range(len(s_0))]
        states.append(s)
    return states


def rnn_outputs(states: list[Vector], V: Matrix) -> list[Vector]:
    """D4, E05: y_t = softmax(V · s_t); states [T][H], V [C][H] -> [T][C]."""
    return [softmax([dot(row, s) for row in V]) for s in states]


def lstm(
    xs: list[Vector], m_0: Vector, s_0: Vector, U: Weights, W: Weights, b: Biases | None = None
) -> tuple[list[Vector], list[Vector]]:
    """
    D4, E13 to E18 with the keys f, i, g, o; returns ([m_1 .. m_T], [s_1 .. s_T]).

    s_t = s_{t-1} ⊙ f_t + g_t ⊙ i_t and m_t = tanh(s_t) ⊙ o_t as printed.  The gates
    stood in pictures: f, i, o = σ(U · x_t + W · m_{t-1} + b), g = tanh(the same).
    U[key] [H][D], W[key] [H][H], b[key] [H], zero if left out.
    """

    def affine(key: str, x: Vector, m: Vector, j: int) -> Scalar:
        return dot(U[key][j], x) + dot(W[key][j], m) + bias_or_zero(b, key, j)

    m, s = m_0, s_0
    all_m, all_s = [], []
    for x in xs:
        m_t, s_t = [], []
        for j in range(len(s_0)):
            f = sigmoid(affine("f", x, m, j))
            i = sigmoid(affine("i", x, m, j))
            g = tanh(affine("g", x, m, j))
            o = sigmoid(affine("o", x, m, j))
            s_t.append(s[j] * f + g * i)
            m_t.append(tanh(s_t[j]) * o)
        m, s = m_t, s_t
        all_m.append(m)
        all_s.append(s)
    return all_m, all_s


def lstm_peephole(
    xs: list[Vector],
    m_0: Vector,
    s_0: Vector,
    U: Weights,
    W: Weights,
    p: Biases,
    b: Biases | None = None,
    *,
    output_sees_current: bool,
) -> tuple[list[Vector], list[Vector]]:
    """
    D4, E25: "gates have access also to the previous cell states", in either reading.

    `lstm` with p_f ⊙ s_{t-1} and p_i ⊙ s_{t-1} added under the σ of f and i.  The
    output gate gets p_o ⊙ s_t (``output_sees_current=True``, the usual cell) or
    p_o ⊙ s_{t-1} (``False``, D4 to the letter).  p[key] [H] for the keys f, i, o.
    """

    def affine(key: str, x: Vector, m: Vector, j: int) -> Scalar:
        return dot(U[key][j], x) + dot(W[key][j], m) + bias_or_zero(b, key, j)

    m, s = m_0, s_0
    all_m, all_s = [], []
    for x in xs:
        m_t, s_t = [], []
        for j in range(len(s_0)):
            f = sigmoid(affine("f", x, m, j) + p["f"][j] * s[j])
            i = sigmoid(affine("i", x, m, j) + p["i"][j] * s[j])
            g = tanh(affine("g", x, m, j))
            s_t.append(s[j] * f + g * i)
            seen = s_t[j] if output_sees_current else s[j]
            o = sigmoid(affine("o", x, m, j) + p["o"][j] * seen)
            m_t.append(tanh(s_t[j]) * o)
        m, s = m_t, s_t
        all_m.append(m)
        all_s.append(s)
    return all_m, all_s


def bidirectional(
    xs: list[Vector],
    forward: Callable[[list[Vector]], list[Vector]],
    backward: Callable[[list[Vector]], list[Vector]],
) -> list[Vector]:
    """
    D4, E26: a forward and a backward pass over one sequence, outputs concatenated.

    Each callable maps a sequence to its outputs, [T][D] -> [T][H]; ``backward`` is
    handed x_T .. x_1.  Returns [T][H_forward + H_backward]: row t holds the forward
    output at t, then the output of the backward pass when it stood at t.
    """
    T = len(xs)
    ahead = forward(xs)
    back = backward([xs[t] for t in range(T - 1, -1, -1)])
    return [[*ahead[t], *back[T - 1 - t]] for t in range(T)]
