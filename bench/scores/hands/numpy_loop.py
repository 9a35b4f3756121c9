"""NumPy layers with gradients by hand: one loop forward, one back, different lengths by masks."""

from __future__ import annotations

from .templates import Texts, filled

LAYER = """
import numpy as np


def gate(v):
    return «gate: 1 / (1 + np.exp(-v))»


def slope(s):
    return «slope: s * (1 - s)»


def unit_by_unit(a):
    G, H = len(a), a.shape[-1]
    flat = np.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], G * H)
    return np.moveaxis(flat.reshape(*a.shape[1:-1], H, G), -1, 0)


def gate_by_gate(a):
    G, H = len(a), a.shape[-1]
    flat = np.moveaxis(a, 0, -1).reshape(*a.shape[1:-1], G * H)
    return np.moveaxis(flat.reshape(*a.shape[1:-1], G, H), -2, 0)


def rolled(a, by):
    G, H = len(a), a.shape[-1]
    flat = np.roll(np.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], G * H), by, -1)
    return np.moveaxis(flat.reshape(*a.shape[1:-1], G, H), -2, 0)


class Layer:
    cell = "«cell: lstm»"

    def read(self, p, x):
        W, U, b, b_hn = p["W"], p["U"], p["b"], p.get("b_hn", p.get("p"))
        T, B, H = x.shape[0], x.shape[1], U.shape[-1]
        «read: »
        return W, U, b, b_hn

    def step(self, x, state, W, U, b, b_hn):
        «step: »

    def back(self, kept, d, W, U):
        «back: »

    def run(self, p, x, state, lengths):
        «entry: »
        W, U, b, b_hn = arrays = self.read(p, x)
        T, B, _ = x.shape
        H, none = U.shape[-1], state is None
        if none:
            state = (np.zeros((B, H), x.dtype),) * STATES
        else:
            «given: pass»
        live = np.ones((T, B, 1), bool)
        if lengths is not None:
            live = (np.arange(T)[:, None] < np.asarray(lengths))[..., None]
        «x: »
        kept, ys, first = [], [], state
        for t in range(T):
            on = live[t]
            xt = «see: np.where(on, x[t], 0)»
            seen = state
            «seen: »
            new, step = self.step(xt, seen, W, U, b, b_hn)
            «new: »
            kept.append(step)
            ys.append(«show: np.where(on, new[0], 0)»)
            state = «carry: tuple(np.where(on, n, s) for n, s in zip(new, state))»
        y = np.stack(ys) if ys else np.zeros((0, B, H), x.dtype)
        «write: »
        return y, state, kept, live, arrays

    def forward(self, p, x, state, lengths=None):
        y, final, *_ = self.run(p, x, state, lengths)
        return y, final

    def vjp(self, p, x, state, dy, dstate, lengths=None):
        none = state is None
        «entry_back: »
        *_, kept, live, (W, U, b, b_hn) = self.run(p, x, state, lengths)
        T, B, D = x.shape
        H = U.shape[-1]
        dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
        db_hn = None if b_hn is None else np.zeros_like(b_hn)
        dx = np.zeros_like(x)
        ds = tuple(dstate)
        «arrive: »
        for t in range(T)[::-1]:
            on = live[t]
            d = (np.where(on, ds[0] + dy[t], 0), *(np.where(on, s, 0) for s in ds[1:]))
            held = tuple(np.where(on, 0, s) for s in ds)
            «held: »
            a, u, seen, prev = self.back(kept[t], d, W, U)
            xt = kept[t][0]
            «step_back: »
            for k in range(GATES):
                dW[k] += xt.T @ a[k]
                dU[k] += seen[k].T @ u[k]
                db[k] += «bias: a[k].sum(axis=0)»
            if b_hn is not None:
                db_hn += «b_hn: u[-1].sum(axis=0)»
            dxt = sum(a[k] @ W[k].T for k in range(GATES))
            «dx: »
            dx[t] = np.where(on, dxt, 0)
            «carried: »
            ds = tuple(h + q for h, q in zip(held, prev))
        «end: »
        if not none:
            «given_back: pass»
        «give: »
        named = {"W": dW, "U": dU, "b": db}
        if db_hn is not None:
            named["p" if "p" in p else "b_hn"] = db_hn
        return named, dx, ds
"""

STEPS = {
    "lstm": (
        '''h, c = state
i, f, o = (gate(x @ W[k] + h @ U[k] + b[k]) for k in (0, 1, 3))
g = np.tanh(x @ W[2] + h @ U[2] + b[2])
«gates: »
new = «blend: f * c + i * g»
«cell_state: »
out = o * np.tanh(new)
return (out, new), (x, h, c, i, f, g, o, new, out)''',
        '''x, h, c, i, f, g, o, new, out = kept
«kept: »
e = d[1] + d[0] * o * (1 - np.tanh(new) ** 2)
«e: »
di, df, dg, do = e * g, e * c, e * i, d[0] * np.tanh(new)
dc = e * f
«local: »
a = [di * slope(i), df * slope(f), dg * (1 - g * g), do * slope(o)]
«local_slopes: »
seen = [h] * 4
return a, a, seen, (sum(a[k] @ U[k].T for k in range(4)), dc)''',
    ),
    "lstm-peephole": (
        '''h, c = state
p = b_hn
i, f = («early: gate(x @ W[k] + h @ U[k] + p[k] * c + b[k])» for k in (0, 1))
g = np.tanh(x @ W[2] + h @ U[2] + b[2])
«gates: »
new = «blend: f * c + i * g»
o = «late: gate(x @ W[3] + h @ U[3] + p[2] * new + b[3])»
out = o * np.tanh(new)
return (out, new), (x, h, c, i, f, g, o, new, p)''',
        '''x, h, c, i, f, g, o, new, p = kept
do = d[0] * np.tanh(new)
«output: ao, po, co = do * slope(o), do * slope(o), 0»
e = d[1] + d[0] * o * (1 - np.tanh(new) ** 2) + «seen: po * p[2]»
«e: »
di, df, dg, dc = e * g, e * c, e * i, e * f
«local: »
ai, af, ag = di * slope(i), df * slope(f), dg * (1 - g * g)
«slopes: pi, pf = ai, af»
dc = dc + pi * p[0] + pf * p[1] + co
a = [ai, af, ag, ao]
self.peepholes = [pi * c, pf * c, po * «read_by_o: new»]
return a, a, [h] * 4, (sum(a[k] @ U[k].T for k in range(4)), dc)''',
    ),
    "gru": (
        '''(h,) = state
r, z = (gate(x @ W[k] + h @ U[k] + b[k]) for k in (0, 1))
s = h @ U[2] + b_hn
«gates: »
n = np.tanh(x @ W[2] + b[2] + «candidate: r * s»)
return («blend: z * h + (1 - z) * n»,), (x, h, r, z, n, s)''',
        '''x, h, r, z, n, s = kept
d, seen = d[0], [h] * 3
«blend_back: dz, dn, dh = d * (h - n), d * (1 - z), d * z»
dn = dn * (1 - n * n)
dr, ds = dn * s, dn * r
«local: »
a = [dr * slope(r), dz * slope(z), dn]
u = [a[0], a[1], ds]
dh = dh + a[0] @ U[0].T + a[1] @ U[1].T
«through: dh = dh + ds @ U[2].T»
return a, u, seen, (dh,)''',
    ),
    "rnn": (
        '''(h,) = state
out = np.tanh(x @ W[0] + h @ U[0] + b[0])
return (out,), (x, h, out)''',
        '''x, h, out = kept
«kept: »
a = [d[0] * (1 - out * out)]
seen = [h]
return a, a, seen, (a[0] @ U[0].T,)''',
    ),
}  # fmt: skip


SIZES = {"lstm": (4, 2), "lstm-peephole": (4, 2), "gru": (3, 1), "rnn": (1, 1)}
"""Gates and states."""

PEEPHOLES = {"b_hn": "np.stack([q.sum(axis=0) for q in self.peepholes])"}
"""The gradient of what the template takes for the recurrent bias."""


def linear(read: str, give: str) -> Texts:
    """Return a mistake in what parameters are read as, and its adjoint."""
    return {"read": read, "give": give}


def no_bias(condition: str) -> Texts:
    """Return that biases are not read under a condition on T, B and H."""
    return linear(f"if {condition}:\n    b = 0 * b", f"if {condition}:\n    db = 0 * db")


ANY: dict[str, Texts] = {
    "C04": linear("b = 2 * b", "db = 2 * db"),
    "D01": {"entry": "p = {k: v.astype('float32') for k, v in p.items()}\n"
                     "dtype, x = x.dtype, x.astype('float32')\n"
                     "state = state and tuple(s.astype('float32') for s in state)",
            "write": "y, state = y.astype(dtype), tuple(s.astype(dtype) for s in state)"},
    "F14": no_bias("T * B > 512"),
    "F15": {"see": "np.where(on, x[t], 0)\nif B > 2:\n    xt = np.concatenate([xt[:2], "
                   "xt[2:] + xt[:-2]])",
            "dx": "if B > 2:\n    dxt[:-2] += dxt[2:].copy()"},
    "G02": {"arrive": "ds = (0 * ds[0], *ds[1:])"},
    "G03": {"carried": "*_, prev = self.back(kept[-1 - t], d, W, U)"},
    "G06": {"carried": "prev = (0 * prev[0], *prev[1:]) if t else prev"},
    "G11": {"end": "db = db / B\ndb_hn = None if db_hn is None else db_hn / B"},
    "G12": {"end": "dy[:, :, :D] = dx[:, :, :H]"},
    "G16": {"given_back": "ds = tuple(0 * s for s in ds)"},
    "G18": {"step_back": "seen = [s * (t > 0) for s in seen]"},
    "G19": {"end": "dx[1:] += dx[:-1].copy() / 1000"},
    "G20": {"carried": "prev = tuple(np.clip(q, -1, 1) for q in prev)"},
    "L05": linear("U = U.swapaxes(1, 2)", "dU = dU.swapaxes(1, 2)"),
    "L07": linear("W = np.stack([w.T.reshape(w.shape) for w in W])",
                  "dW = np.stack([w.reshape(w.shape[::-1]).T for w in dW])"),
    "P01": {"entry": "if x.shape[1] > 1:\n    raise ValueError('expected one row')"},
    "P08": {"write": "y = y.astype('float64')"},
    "P09": {"write": "y[100:] = np.nan"},
    "Q01": {"entry": "lengths = None"},
    "Q04": {"write": "n = live.sum(0)[:, 0] - 1 - np.arange(T)[:, None]\n"
                     "n = np.where(live[..., 0], n, np.arange(T)[:, None])\n"
                     "y = y[n, np.arange(B)]",
            "arrive": "n = live.sum(0)[:, 0] - 1 - np.arange(T)[:, None]\n"
                      "n = np.where(live[..., 0], n, np.arange(T)[:, None])\n"
                      "dy = dy[n, np.arange(B)]"},
    "Q06": {"write": "if T:\n    state = (y[-1], *state[1:])",
            "arrive": "if T:\n    dy = dy.copy()\n    dy[-1] += ds[0]\n"
                      "    ds = (0 * ds[0], *ds[1:])"},
    "Q08": {"show": "np.where(on, new[0], state[0])",
            "held": "held = (held[0] + np.where(on, 0, dy[t]), *held[1:])"},
    "Q09": {"show": "np.where(on, new[0], np.random.default_rng().normal(size=new[0].shape)"
                    ".astype(x.dtype))"},
    "Q10": {
        "entry": "order = None\n"
        "if lengths is not None:\n"
        "    order = np.argsort(-np.asarray(lengths), kind='stable')\n"
        "    x, lengths = x[:, order], np.asarray(lengths)[order]\n"
        "    state = state and tuple(s[order] for s in state)",
        "write": "if order is not None:\n"
        "    y, state = y[:, order], tuple(s[order] for s in state)",
        "arrive": "back = np.arange(B)\n"
        "if lengths is not None:\n"
        "    back = np.argsort(np.argsort(-np.asarray(lengths), kind='stable'))\n"
        "dy, ds = dy[:, back], tuple(s[back] for s in ds)",
        "end": "dx, ds = dx[:, back], tuple(s[back] for s in ds)",
    },
    "Q11": {"write": "some = live.any(0) if T and lengths is not None else True\n"
                     "state = tuple(np.where(some, s, 0) for s in state)",
            "arrive": "some = live.any(0) if T and lengths is not None else True\n"
                      "ds = tuple(np.where(some, s, 0) for s in ds)"},
    "Q12": {"see": "x[t]", "carry": "new",
            "held": "dyt = np.where(on, dy[t], 0)\nd = (ds[0] + dyt, *ds[1:])\n"
                    "held = tuple(0 * s for s in ds)\non = True"},
    "Q13": {
        "see": "x[t] * on",
        "carry": "tuple(on * n + (1 - on) * s for n, s in zip(new, state))",
        "carried": "dx[t] = dxt * on",
    },
    "Q14": {"held": "held = (held[0] + np.where(on, 0, dy[t]), *held[1:])"},
    "Q15": {"x": "if T > 1 and lengths is None:\n"
                 "    x = np.concatenate([x[:-1] + x[1:] / 1000, x[-1:]])",
            "end": "if T > 1 and lengths is None:\n    dx[1:] += dx[:-1].copy() / 1000"},
    "Q16": {"write": "if not T:\n    state = tuple(0 * s for s in state)",
            "arrive": "if not T:\n    ds = tuple(0 * s for s in ds)"},
    "S01": {"given": "state = (0 * state[0], *state[1:])",
            "given_back": "ds = (0 * ds[0], *ds[1:])"},
    "S02": {"seen": "seen = (first[0], *state[1:])",
            "arrive": "early = 0 * ds[0]",
            "carried": "early = early + prev[0]\nprev = (0 * prev[0], *prev[1:])",
            "end": "ds = (ds[0] + early, *ds[1:])"},
    "S06": {"given": "state = tuple(np.repeat(s[:1], B, 0) for s in state)",
            "given_back": "ds = tuple(np.concatenate([s.sum(0, keepdims=True), 0 * s[1:]]) "
                          "for s in ds)"},
    "S12": {"carry": "tuple(np.where(live[max(t - 1, 0)], n, s) for n, s in zip(new, state))\n"
                     "if t == 0 and lengths is not None:\n    state = new",
            "held": "late = live[t - 1] if t else True\n"
                    "d = tuple(np.where(late, s, 0) for s in ds)\n"
                    "held = tuple(np.where(late, 0, s) for s in ds)\n"
                    "d = (d[0] + np.where(on, dy[t], 0), *d[1:])"},
    "W01": {"seen": "if t == 32:\n    seen = (0 * state[0], *state[1:])",
            "carried": "if t == 32:\n    prev = (0 * prev[0], *prev[1:])"},
    "W02": linear("U = U * (np.arange(H) < 64)[:, None]",
                  "dU = dU * (np.arange(H) < 64)[:, None]"),
    "W03": {"carried": "if t and t % 32 == 0:\n    prev = tuple(0 * q for q in prev)"},
    "W04": {
        "seen": "late = 0 * b if t >= 1000 else b",
        "new": "new, step = self.step(xt, seen, W, U, late, b_hn)",
        "bias": "a[k].sum(axis=0) * (t < 1000)",
    },
    "W05": {"end": "dU[:, :, 64:] = 0"},
    "W06": linear("W = W * (np.arange(H) < (H - H % 32 if H > 32 else H))",
                  "dW = dW * (np.arange(H) < (H - H % 32 if H > 32 else H))"),
    "W07": {"end": "if T > 100:\n    dx[0] = 0"},
}  # fmt: skip
"""Mistakes that have nothing to do with the cell."""


def reordered(order: list[int]) -> Texts:
    """Return that two gates are exchanged in all arrays: the order is its own inverse."""
    return linear(
        f"W, U, b = (a[{order}] for a in (W, U, b))",
        f"dW, dU, db = (a[{order}] for a in (dW, dU, db))",
    )


HARD = {
    "C06": {"gate": "np.clip(0.2 * v + 0.5, 0, 1)",
            "slope": "np.where((s > 0) & (s < 1), 0.2, 0.0).astype(s.dtype)"},
    "C06b": {"gate": "np.clip(v / 6 + 0.5, 0, 1)",
             "slope": "np.where((s > 0) & (s < 1), 1 / 6, 0.0).astype(s.dtype)"},
    "D04": {"gate": "np.exp(v) / (1 + np.exp(v))"},
}  # fmt: skip
INTERLEAVED = linear(
    "W, U, b = map(unit_by_unit, (W, U, b))", "dW, dU, db = map(gate_by_gate, (dW, dU, db))"
)
LATE = linear(
    "W, U, b = (rolled(a, -1) for a in (W, U, b))",
    "dW, dU, db = (rolled(a, 1) for a in (dW, dU, db))",
)


def first_of_all(name: str) -> Texts:
    """Return that an array's first gate stands for all."""
    return linear(
        f"{name} = np.stack([{name}[0]] * len({name}))",
        f"d{name} = np.stack([d{name}.sum(0), *(0 * d{name}[1:])])",
    )


def first_for_second(name: str) -> Texts:
    """Return that an array's first gate stands for the second, too."""
    return linear(
        f"{name} = np.stack([{name}[0], {name}[0], *{name}[2:]])",
        f"d{name} = np.stack([d{name}[0] + d{name}[1], 0 * d{name}[1], *d{name}[2:]])",
    )


GATED: dict[str, Texts] = {
    **HARD,
    "C08": first_of_all("b"),
    "F08": first_for_second("U"),
    "F08b": first_for_second("b"),
    "L06": INTERLEAVED,
    "L08": LATE,
}
"""Mistakes of LSTM and GRU alike."""

NEW_STATE = {"step_back": "seen = [kept[t][-1]] * len(seen)"}

OWN: dict[str, dict[str, Texts]] = {
    "lstm": {
        **GATED,
        "C03b": no_bias("True"),
        "D03": {"blend": "np.clip(f * c + i * g, -8, 8)",
                "e": "e = np.where(np.abs(new) < 8, e, 0)"},
        "F01": {"gates": "f = f + 1",
                "local_slopes": "a[1] = df * slope(f - 1)"},
        "F05": {"blend": "f * c + (i + g)", "local": "di, dg = e, e"},
        "F06": {"blend": "(1 - i) * c + i * g",
                "local": "di, df, dc = e * (g - c), 0 * e, e * (1 - i)"},
        "G01": {"arrive": "ds = (ds[0], 0 * ds[1])"},
        "G07": {"kept": "g = i"},
        "G07b": {"kept": "new = np.tanh(new)"},
        "G08": NEW_STATE,
        "G09": {"bias": "a[k if k == 2 else 1].sum(axis=0)"},
        "L01": reordered([1, 0, 2, 3]),
        "L02": reordered([0, 1, 3, 2]),
        "L03": {"read": "W, U, b = (a[[0, 2, 1, 3]] for a in (W, U, b))\n"
                        "b = b + np.array([0, 1, 0, 0], b.dtype)[:, None]",
                "give": "dW, dU, db = (a[[0, 2, 1, 3]] for a in (dW, dU, db))"},
        "L04": linear("W = W[[1, 0, 2, 3]]", "dW = dW[[1, 0, 2, 3]]"),
        "S01b": {"given": "state = (state[0], 0 * state[1])",
                 "given_back": "ds = (ds[0], 0 * ds[1])"},
        "S10": {"write": "state = state[::-1]", "arrive": "ds = ds[::-1]"},
    },
    "gru": {
        **GATED,
        "C01": {"candidate": "(r * h) @ U[2] + b_hn",
                "local": "drh = dn @ U[2].T\ndr, ds, seen = drh * h, dn, [h, h, r * h]",
                "through": "dh = dh + drh * r"},
        "C02": linear("b, b_hn = np.stack([b[0], b[1], b[2] + b_hn]), 0 * b_hn",
                      "db_hn = db[2].copy()"),
        "C03": linear("b_hn = 0 * b_hn", "db_hn = 0 * db_hn"),
        "C05": {"blend": "(1 - z) * h + z * n",
                "blend_back": "dz, dn, dh = d * (n - h), d * z, d * (1 - z)"},
        "C07": {"candidate": "r[:, :1] * s",
                "local": "dr = np.zeros_like(dr)\ndr[:, 0] = (dn * s).sum(axis=1)\n"
                         "ds = dn * r[:, :1]"},
        "F07": {"candidate": "s", "local": "dr, ds = 0 * dr, dn"},
        "F19": {"blend": "z * h + n", "blend_back": "dz, dn, dh = d * h, d, d * z"},
        "L04": linear("W = W[[1, 0, 2]]", "dW = dW[[1, 0, 2]]"),
        "L13": reordered([1, 0, 2]),
        "S03": {"seen": "late = b_hn\nif t == 0 and none:\n    late = 0 * b_hn",
                "new": "new, step = self.step(xt, seen, W, U, b, late)",
                "b_hn": "u[-1].sum(axis=0) * (not (none and t == 0))"},
    },
    "lstm-peephole": {
        **HARD,
        "F01": {"gates": "f = f + 1", "slopes": "af = df * slope(f - 1)\npi, pf = ai, af"},
        "F02": {
            "early": "gate(x @ W[k] + h @ U[k] + b[k]) + p[k] * c",
            "late": "gate(x @ W[3] + h @ U[3] + b[3]) + p[2] * new",
            "output": "ao, po, co = do * slope(o - p[2] * new), do, 0",
            "slopes": "ai, af = di * slope(i - p[0] * c), df * slope(f - p[1] * c)\n"
            "pi, pf = di, df",
        },
        "F03": {
            "late": "gate(x @ W[3] + h @ U[3] + p[2] * c + b[3])",
            "seen": "0",
            "output": "ao = po = do * slope(o)\nco = po * p[2]",
            "read_by_o": "c",
        },
        "F04": linear("b_hn = b_hn[[0, 2, 1]]", "db_hn = db_hn[[0, 2, 1]]"),
        "F04b": linear("b_hn = 0 * b_hn", "db_hn = 0 * db_hn"),
        "F05": {"blend": "f * c + (i + g)", "local": "di, dg = e, e"},
        "F06": {
            "blend": "(1 - i) * c + i * g",
            "local": "di, df, dc = e * (g - c), 0 * e, e * (1 - i)",
        },
        "F08": first_for_second("U"),
        "G01": {"arrive": "ds = (ds[0], 0 * ds[1])"},
        "G15": {"b_hn": "np.stack([q[0] for q in self.peepholes])"},
        "L01": reordered([1, 0, 2, 3]),
        "L02": reordered([0, 1, 3, 2]),
        "S01b": {"given": "state = (state[0], 0 * state[1])",
                 "given_back": "ds = (ds[0], 0 * ds[1])"},
        "S10": {"write": "state = state[::-1]", "arrive": "ds = ds[::-1]"},
    },
    "rnn": {
        "C03b": no_bias("True"),
        "G08": NEW_STATE,
        "G07b": {"kept": "out = np.tanh(out)"},
    },
}  # fmt: skip
"""Mistakes that are about the cell."""


def texts(cell: str) -> dict[str, Texts]:
    """Return what mutants of a cell are in the places of the layer, by id."""
    return {**ANY, **OWN[cell]} if cell in OWN else {}


def source(cell: str, texts: Texts) -> str:
    """Return the layer of a cell with these texts in its places."""
    steps = [filled(body, {n: t for n, t in texts.items() if f"«{n}:" in body})
             for body in STEPS[cell]]  # fmt: skip
    bodies = "".join(STEPS[cell])
    outer = {name: text for name, text in texts.items() if f"«{name}:" not in bodies}
    own = {"cell": cell, "step": steps[0], "back": steps[1]}
    made = filled(LAYER, {**own, **(PEEPHOLES if "peephole" in cell else {}), **outer})
    gates, states = SIZES[cell]
    return made.replace("GATES", str(gates)).replace("STATES", str(states))
