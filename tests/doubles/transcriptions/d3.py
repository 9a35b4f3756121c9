"""
Document D3, "Recurrent Neural Network (RNN) and Long Short Term Memory (LSTM)".

Vectors are columns: ``W_xh x_t + W_hh h_{t-1} + b_h``.  A matrix is [out][in], a
sequence ``xs`` is [T][D], an initial state is [H], C is the number of classes.  The
returned lists hold the values of t = 1..T, without the initial one.  The document's
backpropagation through time is in ``d3_bptt``.
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


def softmax(s: Vector) -> Vector:
    """D3, E03: f(s_k) = e^{s_k} / Σ_{k'} e^{s_k'}; s [C] -> [C]."""
    denominator = mpf(0)
    for s_k in s:
        denominator += mp.exp(s_k)
    return [mp.exp(s_k) / denominator for s_k in s]


def rnn(xs: list[Vector], h_0: Vector, W_xh: Matrix, W_hh: Matrix, b_h: Vector) -> list[Vector]:
    """
    D3, E04: h_t = tanh(W_xh x_t + W_hh h_{t-1} + b_h); returns [h_1 .. h_T].

    W_xh [H][D], W_hh [H][H], b_h [H].
    """
    h, states = h_0, []
    for x in xs:
        h = [tanh(dot(W_xh[j], x) + dot(W_hh[j], h) + b_h[j]) for j in range(len(h_0))]
        states.append(h)
    return states


def rnn_outputs(hs: list[Vector], W_hz: Matrix, b_z: Vector) -> list[Vector]:
    """
    D3, E05: z_t = softmax(W_hz h_t + b_z) -> [T][C].

    hs [T][H], W_hz [C][H], b_z [C].
    """
    return [softmax([dot(W_hz[c], h) + b_z[c] for c in range(len(b_z))]) for h in hs]


def sequence_probability(zs: list[Vector], classes: list[int]) -> Scalar:
    """D3, E05: P(y_1..y_T | x_1..x_T) = Π_t p(y_t), p(y_t = c) = z_{t,c}; zs [T][C]."""
    p = mpf(1)
    for z, c in zip(zs, classes, strict=True):
        p *= z[c]
    return p


def rnn_s(xs: list[Vector], s_0: Vector, U: Matrix, W: Matrix) -> list[Vector]:
    """D3, E04: s_t = tanh(U x_t + W s_{t-1}); U [H][D], W [H][H]; [s_1 .. s_T]."""
    s, states = s_0, []
    for x in xs:
        s = [tanh(dot(U[j], x) + dot(W[j], s)) for j in range(len(s_0))]
        states.append(s)
    return states


def predictions(states: list[Vector], V: Matrix) -> list[Vector]:
    """D3, E05: ŷ_t = softmax(V s_t); states [T][H], V [C][H] -> [T][C]."""
    return [softmax([dot(row, s) for row in V]) for s in states]


def loss_at(y: Vector, y_hat: Vector) -> Scalar:
    """D3, E06: E_t = -y_t log ŷ_t, summed over the classes; y and y_hat [C]."""
    E_t = mpf(0)
    for y_c, y_hat_c in zip(y, y_hat, strict=True):
        E_t -= y_c * mp.log(y_hat_c)
    return E_t


def total_loss(ys: list[Vector], y_hats: list[Vector]) -> Scalar:
    """D3, E06: E = Σ_t E_t; ys and y_hats [T][C]."""
    E = mpf(0)
    for y, y_hat in zip(ys, y_hats, strict=True):
        E += loss_at(y, y_hat)
    return E


def deep_rnn(
    xs: list[Vector], h_0s: list[Vector], layers: list[tuple[Matrix, Matrix, Vector]]
) -> list[list[Vector]]:
    """
    D3, E27, "RNN can be deep also": layer l reads the outputs of layer l - 1.

    h_0s [L][H_l]; layers holds (W_xh, W_hh, b_h) per layer.  Returns the states of
    every layer, [L][T][H_l].
    """
    below, all_layers = xs, []
    for h_0, (W_xh, W_hh, b_h) in zip(h_0s, layers, strict=True):
        below = rnn(below, h_0, W_xh, W_hh, b_h)
        all_layers.append(below)
    return all_layers


def lstm(
    xs: list[Vector], h_0: Vector, c_0: Vector, W_h: Weights, W_x: Weights, b: Biases | None = None
) -> tuple[list[Vector], list[Vector]]:
    """
    D3, E15σ with E13, E14, E17, and E16, E18 filled in; ([h_1 .. h_T], [c_1 .. c_T]).

    The candidate is printed with σ instead of tanh: u_t = σ(W_h h_{t-1} + W_x x_t);
    f_t, i_t likewise and c_t = f_t ⊙ c_{t-1} + i_t ⊙ u_t.  The pictures with
    o_t = σ(W_ho h_{t-1} + W_xo x_t) and h_t = o_t ⊙ tanh(c_t) are lost.
    W_h[key] [H][H], W_x[key] [H][D], optional b[key] [H] for the keys u, f, i, o.
    """

    def gate(key: str, x: Vector, h: Vector, j: int) -> Scalar:
        s = dot(W_h[key][j], h) + dot(W_x[key][j], x)
        return sigmoid(s + bias_or_zero(b, key, j))

    h, c = h_0, c_0
    all_h, all_c = [], []
    for x in xs:
        h_t, c_t = [], []
        for j in range(len(c_0)):
            u = gate("u", x, h, j)
            f = gate("f", x, h, j)
            i = gate("i", x, h, j)
            c_t.append(f * c[j] + i * u)
            o = gate("o", x, h, j)
            h_t.append(o * tanh(c_t[j]))
        h, c = h_t, c_t
        all_h.append(h)
        all_c.append(c)
    return all_h, all_c
