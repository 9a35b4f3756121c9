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


def of_input(p, k, x):
    return x @ p["W"][k] + p["b"][k]


def mgu(p, x, h):
    f = sigma(z(p, 0, x, h))
    n = tanh(x @ p["W"][1] + (f * h) @ p["U"][1] + p["b"][1])
    return (h + f * (n - h),)


def positive(s):
    return torch.where(s >= 0, s + 0.5, sigma(s))


def mingru(p, x, h, candidate=lambda s: s):
    return (torch.lerp(h, candidate(of_input(p, 1, x)), sigma(of_input(p, 0, x))),)


def mingru_positive(p, x, h):
    return mingru(p, x, h, positive)


def minlstm(p, x, h, candidate=lambda s: s):
    f, i = sigma(of_input(p, 0, x)), sigma(of_input(p, 1, x))
    return ((f * h + i * candidate(of_input(p, 2, x))) / (f + i),)


def minlstm_positive(p, x, h):
    return minlstm(p, x, h, positive)


def indrnn(p, x, h):
    return (torch.relu(of_input(p, 0, x) + p["u"][0] * h),)


def indrnn_tanh(p, x, h):
    return (tanh(of_input(p, 0, x) + p["u"][0] * h),)


def sru(p, x, h, c):
    n, f, r, s = (x @ p["W"][k] for k in range(4))
    f, r = (sigma(a + p["v"][k] * c + p["b"][k]) for k, a in enumerate((f, r)))
    c = n + f * (c - n)
    return s + r * (c - s), c


def qrnn_f(p, x, h):
    return (torch.lerp(tanh(of_input(p, 0, x)), h, sigma(of_input(p, 1, x))),)


def qrnn_fo(p, x, h, c):
    (c,) = qrnn_f(p, x, c)
    return sigma(of_input(p, 2, x)) * c, c


def qrnn_ifo(p, x, h, c):
    z, (i, f, o) = tanh(of_input(p, 0, x)), (sigma(of_input(p, k, x)) for k in (1, 2, 3))
    c = f * c + i * z
    return o * c, c


def qrnn_fo_2(p, x, h, c, z1, f1, o1):
    z, f, o = (x @ p["W"][k] + p["b"][k] + past for k, past in enumerate((z1, f1, o1)))
    c = torch.lerp(tanh(z), c, sigma(f))
    return sigma(o) * c, c, *(x @ p["W"][k] for k in (3, 4, 5))


def norm(v):
    return torch.nn.functional.layer_norm(v, v.shape[-1:])


def lstm_layer_norm(p, x, h, c, carried=False):
    of_x, of_h = (norm(torch.cat(list(v @ p[k]), dim=1)) for k, v in (("W", x), ("U", h)))
    i, f, g, o = (of_x * p["gx"].flatten() + of_h * p["gh"].flatten() + p["b"].flatten()).chunk(
        4, dim=1
    )
    c = sigma(f) * c + sigma(i) * tanh(g)
    shown = norm(c) * p["gain_c"] + p["shift_c"]
    return sigma(o) * tanh(shown), shown if carried else c


def lstm_layer_norm_carried(p, x, h, c):
    return lstm_layer_norm(p, x, h, c, carried=True)


def zoneout_lstm(p, x, h, c):
    h_new, c_new = lstm(p, x, h, c)
    return h_new + (h - h_new) / 16, (c + c_new) / 2


def zoneout_gru(p, x, h):
    return ((h + 7 * gru(p, x, h)[0]) / 8,)


def rg_lru(p, x, h):
    r, i, u = (of_input(p, k, x) for k in range(3))
    log_a = -8 * sigma(r) * torch.nn.functional.softplus(p["Lambda"])
    return (torch.exp(log_a) * h + torch.sqrt(-torch.expm1(2 * log_a)) * sigma(i) * u,)


def lru(p, u, re, im):
    eigenvalues = torch.exp(torch.complex(-p["nu"].exp(), p["theta"].exp()))
    B, C = torch.complex(*p["B"]), torch.complex(*p["C"])
    x = eigenvalues * torch.complex(re, im) + p["gamma"].exp() * (u.to(B.dtype) @ B)
    return (x @ C).real + u @ p["D"], x.real, x.imag


def cfc(p, x, h):
    g, k, a, b = (z(p, j, x, h) for j in range(4))
    return (torch.lerp(tanh(g), tanh(k), sigma(a + b)),)
