"""
Cells and operations which the documents name without printing their equations.

Vectors are rows, ``x W + h U + b``: an input matrix W[key] is [D][H], a state matrix
U[key] is [H][H], a bias b[key] is [H], a sequence ``xs`` is [T][D], an initial state
is [H].  `attention` follows its paper and has columns.  The returned lists hold the
states of t = 1..T, without the initial one.  Skip RNNs are in ``others_skip``.
"""

from .d3 import softmax
from .scalar import Biases, Matrix, Scalar, Vector, Weights, dot, mp, mpf, sigmoid, tanh


def column(M: Matrix, j: int) -> Vector:
    """Column ``j`` of a matrix, as a list."""
    return [row[j] for row in M]


def affine(key: str, j: int, x: Vector, h: Vector, W: Weights, U: Weights, b: Biases) -> Scalar:
    """Unit ``j`` of x W[key] + h U[key] + b[key]."""
    return dot(x, column(W[key], j)) + dot(h, column(U[key], j)) + b[key][j]


def relu_rnn(xs: list[Vector], h_0: Vector, W: Matrix, U: Matrix, b: Vector) -> list[Vector]:
    """h_t = max(0, x_t W + h_{t-1} U + b); W [D][H], U [H][H], b [H]; [h_1 .. h_T]."""
    h, states = h_0, []
    for x in xs:
        h_t = []
        for j in range(len(h_0)):
            s = dot(x, column(W, j)) + dot(h, column(U, j)) + b[j]
            h_t.append(s if s > 0 else mpf(0))
        h = h_t
        states.append(h)
    return states


def gru_reset_after(
    xs: list[Vector], h_0: Vector, W: Weights, U: Weights, b_i: Biases, b_h: Biases
) -> list[Vector]:
    """
    E24 with the keys r, z, n; returns [h_1 .. h_T].

    n_t = tanh(x W_n + b_in + r_t ⊙ (h_{t-1} U_n + b_hn)); r_t, z_t = σ(x W + b_i +
    h_{t-1} U + b_h); the update keeps the old, h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}.
    W[key] [D][H], U[key] [H][H], b_i[key] and b_h[key] [H].
    """
    h, states = h_0, []
    for x in xs:
        h_t = []
        for j in range(len(h_0)):
            r = sigmoid(affine("r", j, x, h, W, U, b_i) + b_h["r"][j])
            z = sigmoid(affine("z", j, x, h, W, U, b_i) + b_h["z"][j])
            from_state = dot(h, column(U["n"], j)) + b_h["n"][j]
            n = tanh(dot(x, column(W["n"], j)) + b_i["n"][j] + r * from_state)
            h_t.append((1 - z) * n + z * h[j])
        h = h_t
        states.append(h)
    return states


def lstm_coupled(
    xs: list[Vector], h_0: Vector, c_0: Vector, W: Weights, U: Weights, b: Biases
) -> tuple[list[Vector], list[Vector]]:
    """
    Coupled input and forget gate, f_t = 1 - i_t; ([h_1 .. h_T], [c_1 .. c_T]).

    Keys i, g, o: c_t = (1 - i_t) ⊙ c_{t-1} + i_t ⊙ g_t, h_t = o_t ⊙ tanh(c_t).
    W[key] [D][H], U[key] [H][H], b[key] [H].
    """
    h, c = h_0, c_0
    all_h, all_c = [], []
    for x in xs:
        h_t, c_t = [], []
        for j in range(len(c_0)):
            i = sigmoid(affine("i", j, x, h, W, U, b))
            f = 1 - i
            g = tanh(affine("g", j, x, h, W, U, b))
            o = sigmoid(affine("o", j, x, h, W, U, b))
            c_t.append(f * c[j] + i * g)
            h_t.append(o * tanh(c_t[j]))
        h, c = h_t, c_t
        all_h.append(h)
        all_c.append(c)
    return all_h, all_c


def lstm_projected(
    xs: list[Vector], h_0: Vector, c_0: Vector, W: Weights, U: Weights, b: Biases, P: Matrix
) -> tuple[list[Vector], list[Vector]]:
    """
    LSTM with a projection, h_t = (o_t ⊙ tanh(c_t)) P; ([h_1 .. h_T], [c_1 .. c_T]).

    The gates f, i, g, o read the projected h_{t-1}.  R is its width: h_0 [R], c_0 [H],
    W[key] [D][H], U[key] [R][H], b[key] [H], P [H][R].
    """
    h, c = h_0, c_0
    all_h, all_c = [], []
    for x in xs:
        m_t, c_t = [], []
        for j in range(len(c_0)):
            f = sigmoid(affine("f", j, x, h, W, U, b))
            i = sigmoid(affine("i", j, x, h, W, U, b))
            g = tanh(affine("g", j, x, h, W, U, b))
            o = sigmoid(affine("o", j, x, h, W, U, b))
            c_t.append(f * c[j] + i * g)
            m_t.append(o * tanh(c_t[j]))
        h, c = [dot(m_t, column(P, k)) for k in range(len(h_0))], c_t
        all_h.append(h)
        all_c.append(c)
    return all_h, all_c


def time_gate(t: Scalar, tau: Scalar, s: Scalar, r_on: Scalar, alpha: Scalar) -> Scalar:
    """
    E28: the openness k of one unit at time t.

    φ = ((t - s) mod τ) / τ in [0, 1); k = 2φ / r_on below r_on / 2, 2 - 2φ / r_on
    below r_on, α φ beyond.
    """
    t, tau, s = mp.convert(t), mp.convert(tau), mp.convert(s)
    r_on = mp.convert(r_on)
    elapsed = t - s
    phi = (elapsed - tau * mp.floor(elapsed / tau)) / tau
    if phi < r_on / 2:
        return 2 * phi / r_on
    if phi < r_on:
        return 2 - 2 * phi / r_on
    return alpha * phi


def phased_lstm(
    xs: list[Vector],
    times: Vector,
    h_0: Vector,
    c_0: Vector,
    W: Weights,
    U: Weights,
    p: Biases,
    b: Biases,
    tau: Vector,
    s: Vector,
    r_on: Vector,
    alpha: Scalar,
) -> tuple[list[Vector], list[Vector]]:
    """
    E28: a peephole LSTM behind a time gate; ([h_1 .. h_T], [c_1 .. c_T]).

    Keys f, i, g, o.  f, i see c_{t-1} and o sees the candidate c̃_t = f ⊙ c_{t-1} +
    i ⊙ g; c_t = k ⊙ c̃_t + (1 - k) ⊙ c_{t-1}; h̃_t = o ⊙ tanh(c̃_t);
    h_t = k ⊙ h̃_t + (1 - k) ⊙ h_{t-1}.  times [T]; W[key] [D][H], U[key] [H][H],
    b[key] [H]; p[key] [H] for f, i, o; tau, s, r_on [H]; alpha a scalar.
    """
    h, c = h_0, c_0
    all_h, all_c = [], []
    for x, t in zip(xs, times, strict=True):
        h_t, c_t = [], []
        for j in range(len(c_0)):
            f = sigmoid(affine("f", j, x, h, W, U, b) + p["f"][j] * c[j])
            i = sigmoid(affine("i", j, x, h, W, U, b) + p["i"][j] * c[j])
            g = tanh(affine("g", j, x, h, W, U, b))
            c_tilde = f * c[j] + i * g
            o = sigmoid(affine("o", j, x, h, W, U, b) + p["o"][j] * c_tilde)
            h_tilde = o * tanh(c_tilde)
            k = time_gate(t, tau[j], s[j], r_on[j], alpha)
            c_t.append(k * c_tilde + (1 - k) * c[j])
            h_t.append(k * h_tilde + (1 - k) * h[j])
        h, c = h_t, c_t
        all_h.append(h)
        all_c.append(c)
    return all_h, all_c


def attention(
    s: Vector, hs: list[Vector], W: Matrix, U: Matrix, v: Vector
) -> tuple[Vector, Vector, Vector]:
    """
    E33: e_j = v · tanh(W s + U h_j), α = softmax(e), context = Σ_j α_j h_j.

    Column vectors: s [S] the decoder state, hs [J][H] the encoder states, W [A][S],
    U [A][H], v [A].  Returns (context [H], α [J], e [J]).
    """
    e = []
    for h in hs:
        hidden = [tanh(dot(W[a], s) + dot(U[a], h)) for a in range(len(v))]
        e.append(dot(v, hidden))
    alpha = softmax(e)
    context = [dot(alpha, column(hs, k)) for k in range(len(hs[0]))]
    return context, alpha, e


def clip_by_value(gradients: list[Vector], limit: Scalar) -> list[Vector]:
    """E30: each component into [-limit, limit]; ValueError on NaN and infinity."""
    high = mp.convert(limit)
    return [[max(-high, min(high, g)) for g in v] for v in _finite(gradients)]


def clip_by_global_norm(gradients: list[Vector], limit: Scalar) -> list[Vector]:
    """
    E30: all of them times limit / norm where their joint 2-norm exceeds the limit.

    gradients is a list of vectors of any lengths; ValueError on NaN and infinity.
    """
    finite = _finite(gradients)
    squares = mpf(0)
    for vector in finite:
        squares += dot(vector, vector)
    norm = mp.sqrt(squares)
    scale = limit / norm if norm > limit else mpf(1)
    return [[g * scale for g in vector] for vector in finite]


def _finite(gradients: list[Vector]) -> list[Vector]:
    converted = [[mp.convert(g) for g in vector] for vector in gradients]
    for vector in converted:
        for g in vector:
            if not mp.isfinite(g):
                msg = f"gradients must be finite to be clipped; got {g}"
                raise ValueError(msg)
    return converted
