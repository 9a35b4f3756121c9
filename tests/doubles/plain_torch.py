"""Recurrent steps on plain torch tensors, for autograd: written from the catalogue, cell by cell.

Nothing here comes from ``reference/``; parameters arrive as a dictionary in the explicit-gate
layout, W (G, D, H), U (G, H, H), b (G, H), with the gate orders of the catalogue's cells. A cell
that is given its gates returns its output before its states.
"""

import torch

sigma, tanh = torch.sigmoid, torch.tanh


def z(p, k, x, h):
    return x @ p["W"][k] + h @ p["U"][k] + p["b"][k]


def rnn(p, x, h):
    return (tanh(z(p, 0, x, h)),)


def rnn_relu(p, x, h):
    return (torch.relu(z(p, 0, x, h)),)


def lstm(p, x, h, c, candidate=tanh):
    i, f, o = (sigma(z(p, k, x, h)) for k in (0, 1, 3))
    c = f * c + i * candidate(z(p, 2, x, h))
    return o * tanh(c), c


def lstm_sigmoid_candidate(p, x, h, c):
    return lstm(p, x, h, c, candidate=sigma)


def lstm_coupled(p, x, h, c):
    i = sigma(z(p, 0, x, h))
    c = (1 - i) * c + i * tanh(z(p, 1, x, h))
    return sigma(z(p, 2, x, h)) * tanh(c), c


def lstm_projected(p, x, r, c):
    h, c = lstm(p, x, r, c)
    return h @ p["R"], c


def peephole(p, x, h, c, new):
    i = sigma(z(p, 0, x, h) + p["p"][0] * c)
    f = sigma(z(p, 1, x, h) + p["p"][1] * c)
    c_new = f * c + i * tanh(z(p, 2, x, h))
    o = sigma(z(p, 3, x, h) + p["p"][2] * (c_new if new else c))
    return o * tanh(c_new), c_new


def lstm_peephole(p, x, h, c):
    return peephole(p, x, h, c, new=True)


def lstm_peephole_old(p, x, h, c):
    return peephole(p, x, h, c, new=False)


def gru_candidate(p, x, rh):
    return tanh(x @ p["W"][2] + rh @ p["U"][2] + p["b"][2])


def gru_takes_new(p, x, h):
    r, u = sigma(z(p, 0, x, h)), sigma(z(p, 1, x, h))
    return (u * gru_candidate(p, x, r * h) + (1 - u) * h,)


def gru_keeps_old(p, x, h):
    r, u = sigma(z(p, 0, x, h)), sigma(z(p, 1, x, h))
    return (u * h + (1 - u) * gru_candidate(p, x, r * h),)


def gru(p, x, h):
    r, u = sigma(z(p, 0, x, h)), sigma(z(p, 1, x, h))
    n = tanh(x @ p["W"][2] + p["b"][2] + r * (h @ p["U"][2] + p["b_hn"]))
    return (u * h + (1 - u) * n,)


def lstm_phased(p, x, h, c, leak=0.001):
    phi = torch.remainder(x[:, :1] - p["s"], p["tau"]) / p["tau"]
    rising, falling = 2 * phi / p["r_on"], 2 - 2 * phi / p["r_on"]
    k = torch.where(phi < p["r_on"] / 2, rising, torch.where(phi < p["r_on"], falling, leak * phi))
    h_new, c_new = lstm_peephole(p, x[:, 1:], h, c)
    return k * h_new + (1 - k) * h, k * c_new + (1 - k) * c


def skip(plain, p, x, *state):
    *old, u_tilde = state
    # Straight-through: the rounded value, with the identity's gradient.
    u = u_tilde + ((u_tilde >= 0.5).to(u_tilde.dtype) - u_tilde).detach()
    kept = [u * n + (1 - u) * s for n, s in zip(plain(p, x, *old), old, strict=True)]
    delta = sigma(kept[0] @ p["w_p"] + p["b_p"])
    grown = u_tilde + torch.minimum(delta, 1 - u_tilde)
    return (*kept, u * delta + (1 - u) * grown)


def skip_rnn(p, x, *state):
    return skip(rnn, p, x, *state)


def skip_lstm(p, x, *state):
    return skip(lstm, p, x, *state)


def skip_gru(p, x, *state):
    return skip(gru_keeps_old, p, x, *state)


def parts(x, *shapes):
    """Take a row apart into arrays of these shapes, which stand side by side in it."""
    lengths = [torch.Size(shape).numel() for shape in shapes]
    pieces = zip(x.split(lengths, -1), shapes, strict=True)
    return [piece.reshape(len(x), *shape) for piece, shape in pieces]


def linear_attention(S, q, k, v, decay=1.0, beta=None):
    """One step of the family: einsum over heads n, keys k, values v."""
    S = decay * S
    u = v if beta is None else (v - torch.einsum("bnk,bnkv->bnv", k, S)) * beta[..., None]
    S = S + torch.einsum("bnk,bnv->bnkv", k, u)
    return torch.einsum("bnk,bnkv->bnv", q / q.shape[-1] ** 0.5, S).flatten(1), S


def retnet(p, x, S):
    n, k, v = S.shape[1:]
    gamma = 1 - torch.exp2(-5 - torch.arange(n, dtype=S.dtype))
    return linear_attention(S, *parts(x, (n, k), (n, k), (n, v)), gamma[:, None, None])


def gla(p, x, S):
    n, k, v = S.shape[1:]
    *qkv, g = parts(x, (n, k), (n, k), (n, v), (n, k))
    return linear_attention(S, *qkv, g.exp()[..., None])


def deltanet(p, x, S):
    n, k, v = S.shape[1:]
    *qkv, beta = parts(x, (n, k), (n, k), (n, v), (n,))
    return linear_attention(S, *qkv, beta=beta)


def gated_delta(p, x, S):
    n, k, v = S.shape[1:]
    *qkv, g, beta = parts(x, (n, k), (n, k), (n, v), (n,), (n,))
    return linear_attention(S, *qkv, g.exp()[..., None, None], beta)


def kda(p, x, S):
    n, k, v = S.shape[1:]
    *qkv, g, beta = parts(x, (n, k), (n, k), (n, v), (n, k), (n,))
    return linear_attention(S, *qkv, g.exp()[..., None], beta)
