"""
Skip RNN, Skip LSTM and Skip GRU (E29; Campos et al. 2017), forward.

Row vectors as in ``others``.  The update probability ũ of a step decides u = round(ũ),
with 1/2 rounded to the even 0; where u = 0 the state is copied.  Then, from the new
hidden state, δ = σ(w_p · h_t + b_p) and ũ' = u δ + (1 - u) (ũ + min(δ, 1 - ũ)).
"""

from collections.abc import Callable

from .others import affine, column
from .scalar import Biases, Matrix, Scalar, Vector, Weights, dot, mp, mpf, sigmoid, tanh

State = tuple[Vector, ...]
Step = Callable[[Vector, State], State]


def skip(
    step: Step,
    xs: list[Vector],
    state_0: State,
    w_p: Vector,
    b_p: Scalar,
    u_tilde_1: Scalar = 1,
    read: int = 0,
) -> tuple[list[State], list[int], Vector]:
    """
    E29 around any cell ``step(x, state) -> state``, whose states are tuples of lists.

    ``read`` says which member of the new state δ is computed from; w_p [H], b_p a
    scalar.  Returns ([state_1 .. state_T], [u_1 .. u_T], [ũ_1 .. ũ_{T+1}]).
    """
    state, u_tilde = state_0, mp.convert(u_tilde_1)
    states, us, u_tildes = [], [], [u_tilde]
    for x in xs:
        u = 1 if u_tilde > mpf(1) / 2 else 0
        proposed = step(x, state)
        new = []
        for after, before in zip(proposed, state, strict=True):
            H = len(before)
            new.append([u * after[j] + (1 - u) * before[j] for j in range(H)])
        state = tuple(new)
        delta = sigmoid(dot(w_p, state[read]) + b_p)
        grown = u_tilde + min(delta, 1 - u_tilde)
        u_tilde = u * delta + (1 - u) * grown
        states.append(state)
        us.append(u)
        u_tildes.append(u_tilde)
    return states, us, u_tildes


def skip_rnn(
    xs: list[Vector],
    h_0: Vector,
    W: Matrix,
    U: Matrix,
    b: Vector,
    w_p: Vector,
    b_p: Scalar,
    u_tilde_1: Scalar = 1,
) -> tuple[list[Vector], list[int], Vector]:
    """
    E29 on h = tanh(x W + h U + b); W [D][H], U [H][H], b, w_p [H], b_p a scalar.

    Returns ([h_1 .. h_T], [u_1 .. u_T], [ũ_1 .. ũ_{T+1}]).
    """

    def step(x: Vector, state: State) -> State:
        (h,) = state
        h_new = []
        for j in range(len(h)):
            h_new.append(tanh(dot(x, column(W, j)) + dot(h, column(U, j)) + b[j]))
        return (h_new,)

    states, us, u_tildes = skip(step, xs, (h_0,), w_p, b_p, u_tilde_1)
    return [h for (h,) in states], us, u_tildes


def skip_gru(
    xs: list[Vector],
    h_0: Vector,
    W: Weights,
    U: Weights,
    b: Biases,
    w_p: Vector,
    b_p: Scalar,
    u_tilde_1: Scalar = 1,
) -> tuple[list[Vector], list[int], Vector]:
    """
    E29 on a GRU with the reset before the product and an update that keeps the old.

    Keys r, z, c: h = z ⊙ h_{t-1} + (1 - z) ⊙ tanh(x W_c + (r ⊙ h_{t-1}) U_c + b_c).
    W[key] [D][H], U[key] [H][H], b[key] [H]; the rest and the result as in `skip_rnn`.
    """

    def step(x: Vector, state: State) -> State:
        (h,) = state
        H = len(h)
        rh = [sigmoid(affine("r", j, x, h, W, U, b)) * h[j] for j in range(H)]
        h_new = []
        for j in range(H):
            z = sigmoid(affine("z", j, x, h, W, U, b))
            h_new.append(z * h[j] + (1 - z) * tanh(affine("c", j, x, rh, W, U, b)))
        return (h_new,)

    states, us, u_tildes = skip(step, xs, (h_0,), w_p, b_p, u_tilde_1)
    return [h for (h,) in states], us, u_tildes


def skip_lstm(
    xs: list[Vector],
    h_0: Vector,
    c_0: Vector,
    W: Weights,
    U: Weights,
    b: Biases,
    w_p: Vector,
    b_p: Scalar,
    u_tilde_1: Scalar = 1,
    *,
    delta_reads_cell: bool = False,
) -> tuple[list[Vector], list[Vector], list[int], Vector]:
    """
    E29 on the LSTM with the keys f, i, g, o; h and c are copied together.

    Shapes as in `skip_gru`.  δ is computed from h_t or, with ``delta_reads_cell``, from
    c_t, which is what the authors' published code does.
    Returns ([h_1 .. h_T], [c_1 .. c_T], [u_1 .. u_T], [ũ_1 .. ũ_{T+1}]).
    """

    def step(x: Vector, state: State) -> State:
        h, c = state
        h_new, c_new = [], []
        for j in range(len(c)):
            f = sigmoid(affine("f", j, x, h, W, U, b))
            i = sigmoid(affine("i", j, x, h, W, U, b))
            g = tanh(affine("g", j, x, h, W, U, b))
            o = sigmoid(affine("o", j, x, h, W, U, b))
            c_new.append(f * c[j] + i * g)
            h_new.append(o * tanh(c_new[j]))
        return (h_new, c_new)

    read = 1 if delta_reads_cell else 0
    states, us, u_tildes = skip(step, xs, (h_0, c_0), w_p, b_p, u_tilde_1, read)
    return [h for h, _ in states], [c for _, c in states], us, u_tildes
