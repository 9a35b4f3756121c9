"""
Document D3: backpropagation through time, index by index.

The network is s_t = tanh(U x_t + W s_{t-1}), ŷ_t = softmax(V s_t),
E_t = -y_t log ŷ_t, with U [H][D], W [H][H], V [C][H], inputs xs = x_1 .. x_T as
[T][D], targets ys [T][C], and a given s_0 [H].  Time indices t and k are the
document's, 1..T; in ``s`` (a list [T + 1][H]) index 0 is s_0.
"""

from .d3 import predictions, rnn_s
from .scalar import Matrix, Scalar, Vector, mpf

Tensor3 = list[list[list[Scalar]]]


def output_weight_gradient(y_hat: Vector, y: Vector, s: Vector) -> Matrix:
    """
    D3, E09: ∂E_3/∂V = (ŷ_3 - y_3) ⊗ s_3 -> [C][H].

    y_hat and y [C], s [H], all of one t.
    """
    return [[(y_hat[c] - y[c]) * s[j] for j in range(len(s))] for c in range(len(y))]


def dE_ds(y_hat: Vector, y: Vector, V: Matrix) -> Vector:
    """
    D3, E11: ∂E_t/∂ŷ_t ∂ŷ_t/∂s_t at one t -> [H].

    ∂E/∂ŷ_c = -y_c / ŷ_c and ∂ŷ_c/∂s_j = Σ_d ŷ_c (1[c = d] - ŷ_d) V_dj.
    """
    C, H = len(V), len(V[0])
    gradient = []
    for j in range(H):
        total = mpf(0)
        for c in range(C):
            dy_hat_c = mpf(0)
            for d in range(C):
                dy_hat_c += y_hat[c] * ((1 if c == d else 0) - y_hat[d]) * V[d][j]
            total += -y[c] / y_hat[c] * dy_hat_c
        gradient.append(total)
    return gradient


def ds_ds(s: list[Vector], t: int, k: int, W: Matrix) -> Matrix:
    """
    D3, E11: ∂s_t/∂s_k = Π_{j=k+1..t} ∂s_j/∂s_{j-1}, later ones left -> [H][H].

    ∂s_j/∂s_{j-1} = diag(1 - s_j²) W (E07); the empty product, t = k, is the identity.
    """
    H = len(W)
    product = [[mpf(1) if a == b else mpf(0) for b in range(H)] for a in range(H)]
    for step in range(k + 1, t + 1):
        following = []
        for a in range(H):
            row = []
            for b in range(H):
                total = mpf(0)
                for m in range(H):
                    total += (1 - s[step][a] ** 2) * W[a][m] * product[m][b]
                row.append(total)
            following.append(row)
        product = following
    return product


def ds_dW_immediate(s: list[Vector], k: int) -> Tensor3:
    """
    D3, E11: the immediate ∂s_k/∂W, s_{k-1} held fixed -> [a][p][q].

    ∂s_{k,a}/∂W_pq = 1[a = p] (1 - s_{k,a}²) s_{k-1,q}; zero for k = 0, as s_0 is given.
    """
    H = len(s[0])
    result = [[[mpf(0) for _ in range(H)] for _ in range(H)] for _ in range(H)]
    if k > 0:
        for a in range(H):
            for q in range(H):
                result[a][a][q] = (1 - s[k][a] ** 2) * s[k - 1][q]
    return result


def ds_dW_total(s: list[Vector], k: int, W: Matrix) -> Tensor3:
    """
    D3, against E11: the total ∂s_k/∂W, through every earlier state -> [a][p][q].

    Inside E11's sum this reading of the symbol counts every path more than once.
    """
    H = len(W)
    total = ds_dW_immediate(s, 0)
    for step in range(1, k + 1):
        following = ds_dW_immediate(s, step)
        for a in range(H):
            for p in range(H):
                for q in range(H):
                    for m in range(H):
                        slope = (1 - s[step][a] ** 2) * W[a][m]
                        following[a][p][q] += slope * total[m][p][q]
        total = following
    return total


def dE_dW_at(
    t: int,
    xs: list[Vector],
    y: Vector,
    s_0: Vector,
    U: Matrix,
    W: Matrix,
    V: Matrix,
    *,
    immediate: bool = True,
) -> Matrix:
    """
    D3, E11: ∂E_t/∂W = Σ_{k=0..t} ∂E_t/∂ŷ_t ∂ŷ_t/∂s_t ∂s_t/∂s_k ∂s_k/∂W -> [H][H].

    y [C] is y_t.  With ``immediate=False`` ∂s_k/∂W is misread as the total derivative.
    """
    H = len(W)
    s = [s_0, *rnn_s(xs, s_0, U, W)]
    y_hat = predictions([s[t]], V)[0]
    outer = dE_ds(y_hat, y, V)
    gradient = [[mpf(0) for _ in range(H)] for _ in range(H)]
    for k in range(t + 1):
        path = ds_ds(s, t, k, W)
        inner = ds_dW_immediate(s, k) if immediate else ds_dW_total(s, k, W)
        for p in range(H):
            for q in range(H):
                for a in range(H):
                    for m in range(H):
                        gradient[p][q] += outer[a] * path[a][m] * inner[m][p][q]
    return gradient


def dE_dW(
    xs: list[Vector], ys: list[Vector], s_0: Vector, U: Matrix, W: Matrix, V: Matrix
) -> Matrix:
    """D3, E10: ∂E/∂W = Σ_t ∂E_t/∂W -> [H][H]."""
    H = len(W)
    gradient = [[mpf(0) for _ in range(H)] for _ in range(H)]
    for t in range(1, len(xs) + 1):
        at_t = dE_dW_at(t, xs, ys[t - 1], s_0, U, W, V)
        for p in range(H):
            for q in range(H):
                gradient[p][q] += at_t[p][q]
    return gradient


def delta(
    k: int, t: int, xs: list[Vector], y: Vector, s_0: Vector, U: Matrix, W: Matrix, V: Matrix
) -> Vector:
    """
    D3, E12: δ_k^(t) = ∂E_t/∂z_k = ∂E_t/∂s_t ∂s_t/∂s_k ∂s_k/∂z_k -> [H]; 1 <= k <= t.

    z_k = U x_k + W s_{k-1}, so that ∂s_k/∂z_k = diag(1 - s_k²).  y [C] is y_t; the
    document prints k = 2, t = 3.
    """
    H = len(W)
    s = [s_0, *rnn_s(xs, s_0, U, W)]
    outer = dE_ds(predictions([s[t]], V)[0], y, V)
    path = ds_ds(s, t, k, W)
    result = []
    for m in range(H):
        total = mpf(0)
        for a in range(H):
            total += outer[a] * path[a][m]
        result.append(total * (1 - s[k][m] ** 2))
    return result


def gradients_by_delta(
    xs: list[Vector], ys: list[Vector], s_0: Vector, U: Matrix, W: Matrix, V: Matrix
) -> tuple[Matrix, Matrix, Matrix]:
    """
    D3, E09, E10, E12: the gradients of E with respect to U, V and W.

    ∂E/∂W = Σ_t Σ_k δ_k^(t) ⊗ s_{k-1}, ∂E/∂U = Σ_t Σ_k δ_k^(t) ⊗ x_k,
    ∂E/∂V = Σ_t (ŷ_t - y_t) ⊗ s_t.  Returns (dU [H][D], dV [C][H], dW [H][H]).
    """
    H, D, C = len(W), len(U[0]), len(V)
    s = [s_0, *rnn_s(xs, s_0, U, W)]
    y_hats = predictions(s[1:], V)
    dU = [[mpf(0)] * D for _ in range(H)]
    dV = [[mpf(0)] * H for _ in range(C)]
    dW = [[mpf(0)] * H for _ in range(H)]
    for t in range(1, len(xs) + 1):
        at_t = output_weight_gradient(y_hats[t - 1], ys[t - 1], s[t])
        for c in range(C):
            for j in range(H):
                dV[c][j] += at_t[c][j]
        for k in range(1, t + 1):
            d = delta(k, t, xs, ys[t - 1], s_0, U, W, V)
            for j in range(H):
                for q in range(H):
                    dW[j][q] += d[j] * s[k - 1][q]
                for q in range(D):
                    dU[j][q] += d[j] * xs[k - 1][q]
    return dU, dV, dW
