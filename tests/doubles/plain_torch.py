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


def ssd(p, x, S):
    n, v, k = S.shape[1:]
    u, dt, B, C = parts(x, (n, v), (n,), (k,), (k,))
    S = (dt * p["A"]).exp()[..., None, None] * S + torch.einsum("bn,bnv,bk->bnvk", dt, u, B)
    return (torch.einsum("bnvk,bk->bnv", S, C) + p["D"][:, None] * u).flatten(1), S


def selective(p, x, h):
    v, k = h.shape[1:]
    u, dt, B, C = parts(x, (v,), (v,), (k,), (k,))
    h = (dt[..., None] * p["A"]).exp() * h + torch.einsum("bv,bv,bk->bvk", dt, u, B)
    return torch.einsum("bvk,bk->bv", h, C) + p["D"] * u, h


def mlstm(p, x, C, n, m):
    heads, k, v = C.shape[1:]
    q, key, value, i, f = parts(x, (heads, k), (heads, k), (heads, v), (heads,), (heads,))
    kept = torch.nn.functional.logsigmoid(f) + m
    m = torch.maximum(kept, i)
    f, i = (kept - m).exp(), (i - m).exp()
    C = f[..., None, None] * C + torch.einsum("bn,bnk,bnv->bnkv", i, key, value)
    n = f[..., None] * n + i[..., None] * key
    q = q / k**0.5
    below = torch.maximum(torch.einsum("bnk,bnk->bn", q, n).abs(), (-m).exp())
    return (torch.einsum("bnk,bnkv->bnv", q, C) / below[..., None]).flatten(1), C, n, m


def slstm(p, x, h, c, n, m):
    heads, v = h.shape[1:]
    given = parts(x, *[(heads, v)] * 4)
    i, f, g, o = (a + torch.einsum("bnv,nvw->bnw", h, p["R"][k]) for k, a in enumerate(given))
    kept = torch.nn.functional.logsigmoid(f) + m
    m = torch.maximum(kept, i)
    f, i = (kept - m).exp(), (i - m).exp()
    c, n = f * c + i * tanh(g), f * n + i
    h = sigma(o) * c / n
    return h.flatten(1), h, c, n, m


def rwkv6(p, x, S):
    n, k, v = S.shape[1:]
    r, key, value, w = parts(x, (n, k), (n, k), (n, v), (n, k))
    kv = torch.einsum("bnk,bnv->bnkv", key, value)
    o = torch.einsum("bnk,bnkv->bnv", r, S + p["u"][..., None] * kv)
    return o.flatten(1), w.exp()[..., None] * S + kv


def rwkv7(p, x, S):
    """Equation 17 of the paper as it stands, with its (V, K) state, transposed at both ends."""
    n, k, v = S.shape[1:]
    r, w, key, value, kappa, a = parts(x, (n, k), (n, k), (n, k), (n, v), (n, k), (n, k))
    G = torch.diag_embed(w.exp()) - torch.einsum("bni,bnj->bnij", kappa, a * kappa)
    S = S.transpose(-1, -2) @ G + torch.einsum("bnv,bnk->bnvk", value, key)
    return torch.einsum("bnvk,bnk->bnv", S, r).flatten(1), S.transpose(-1, -2)
