"""PyTorch modules as people write them: loops over layers, directions and steps, own dropout.

Two styles have the same places: a plain loop, and one whose step is scripted (LSTM, RNN) or
vmapped over the rows (GRU).
"""

from __future__ import annotations

from .templates import Texts, filled

FAMILIES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}

LAYER = """
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


def turned(x, back):
    return x.gather(0, back[:, :, None].expand_as(x))


def gate(v):
    return «gate: torch.sigmoid(v)»


«decorator: »
def one_step(«step: »


«step_of: step = one_step»


class Port(torch.nn.«family: LSTM»):
    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
                 dropout=0.0, bidirectional=False):
        super().__init__(input_size, hidden_size, num_layers, bias=bias, batch_first=batch_first,
                         dropout=dropout, bidirectional=bidirectional)
        self.dirs = 2 if bidirectional else 1
        «init: »

    def forward(self, x, hx=None):
        lengths, packed, one = None, isinstance(x, PackedSequence), False
        if packed:
            «packed: »
            x, lengths = pad_packed_sequence(x)
        elif x.dim() == 2:
            x, one = x.unsqueeze(1), True
        elif self.batch_first:
            x = «arrange: x.transpose(0, 1)»
        dirs = self.dirs
        self.shape, self.fresh, self.given = tuple(x.shape), hx is None, lengths
        if hx is None:
            zero = x.new_zeros(self.num_layers * dirs, x.size(1), self.hidden_size)
            hx = «default: (zero,) * STATES»
        else:
            hx = hx if isinstance(hx, tuple) else (hx,)
            if one:
                hx = tuple(s.unsqueeze(1) for s in hx)
            «given: »
        «start: »
        y, ends = self.layers(x, hx, lengths)
        «write: »
        if one:
            y, ends = y.squeeze(1), tuple(s.squeeze(1) for s in ends)
        elif packed:
            y = pack_padded_sequence(y, lengths, enforce_sorted=False)
        elif self.batch_first:
            y = «arrange_back: y.transpose(0, 1)»
        return y, ends if STATES == 2 else ends[0]

    def layers(self, x, hx, lengths):
        T, B, H, dirs = x.size(0), x.size(1), self.hidden_size, self.dirs
        steps = torch.arange(T)[:, None]
        live = torch.ones(T, B, dtype=torch.bool)
        if lengths is not None:
            live = steps < lengths
        back = self.back = torch.where(live, live.sum(0) - 1 - steps, steps)
        n, ends = 0, []
        for layer in range(self.num_layers):
            outs = []
            for d in range(dirs):
                suffix = f"_l{layer}" + ("_reverse" if d else "")
                p = [getattr(self, name + suffix) for name in ("weight_ih", "weight_hh")]
                none = x.new_zeros(GATES * H)
                if self.bias:
                    p += [getattr(self, name + suffix) for name in ("bias_ih", "bias_hh")]
                else:
                    p += [none, none]
                «parameters: »
                xs = «turn: turned(x, back) if d else x»
                ys, state = self.run(xs, tuple(s[n] for s in hx), live, p)
                «ran: »
                outs.append(«turn_back: turned(ys, back) if d else ys»)
                ends.append(state)
                n += 1
            x = torch.cat(outs, -1)
            «joined: »
            if «between: layer < self.num_layers - 1»:
                x = self.drop(x)
        return x, tuple(torch.stack(s) for s in zip(*ends))

    def run(self, x, state, live, p):
        «run: »
        ys, first, B = [], state, x.size(1)
        for t in range(len(x)):
            on = live[t][:, None]
            xt = torch.where(on, x[t], torch.zeros_like(x[t]))
            «call: new = step(xt, *state, *p)»
            ys.append(torch.where(on, new[0], torch.zeros_like(new[0])))
            state = «carry: tuple(torch.where(on, a, b) for a, b in zip(new, state))»
        return torch.stack(ys) if ys else x.new_zeros(0, B, self.hidden_size), state

    def drop(self, y):
        if «active: self.training and self.dropout > 0»:
            «dropped: y = y * self.mask(y)»
        return y

    def mask(self, y):
        p = self.dropout
        «drawn: keep = (torch.rand_like(y) >= p).to(y.dtype)»
        return «mask: keep / (1 - p) if p < 1 else keep»
"""

STEPS = {
    "lstm": '''x, h, c, wi, wh, bi, bh):
    H = h.size(1)
    a = x @ wi.t() + bi + h @ wh.t() + bh
    i, f, g, o = a.chunk(4, 1)
    «read: »
    i, f, g, o = gate(i), gate(f), torch.tanh(g), gate(o)
    «gates: »
    c = «blend: f * c + i * g»
    return o * torch.tanh(c), c''',
    "gru": '''x, h, wi, wh, bi, bh):
    H = h.size(1)
    a, u = x @ wi.t() + bi, h @ wh.t() + bh
    ar, az, an = a.chunk(3, 1)
    ur, uz, un = u.chunk(3, 1)
    «read: »
    r, z = gate(ar + ur), gate(az + uz)
    «gates: »
    n = torch.tanh(«candidate: an + r * un»)
    h = «blend: z * h + (1 - z) * n»
    return (h,)''',
    "rnn": '''x, h, wi, wh, bi, bh):
    h = torch.tanh(x @ wi.t() + bi + h @ wh.t() + bh)
    return (h,)''',
}  # fmt: skip

VMAPPED = """def step(x, h, wi, wh, bi, bh):
    def row(xr, hr):
        return one_step(xr[None], hr[None], wi, wh, bi, bh)[0][0]

    return (torch.vmap(row)(x, h),)"""

COMPILED = {
    "lstm": {"decorator": "@torch.jit.script"},
    "rnn": {"decorator": "@torch.jit.script"},
    "gru": {"step_of": VMAPPED},
}

INDEX = "[n - n % dirs for n in range(len(s))]"


def seen(text: str, where: str = "") -> str:
    """Return a call of the step with other states than those that are carried."""
    lines = [f"    seen = {text}"] if where else [f"seen = {text}"]
    head = ["seen = state", f"if {where}:"] if where else []
    return "\n".join([*head, *lines, "new = step(xt, *seen, *p)"])


def value(array: str, other: str) -> str:
    """Return the value of another array with the gradient of this one."""
    return f"{array} + ({other} - {array}).detach()"


UNPACKED = {"packed": "raise NotImplementedError('packed input')"}
"""For mistakes that reach the padding, which packed sequences do not have."""

ANY: dict[str, Texts] = {
    "B01": {"arrange": "x.reshape(x.size(1), x.size(0), -1)",
            "arrange_back": "y.reshape(y.size(1), y.size(0), -1)"},
    "B02": {"given": "if one:\n    hx = tuple(torch.zeros_like(s) for s in hx)"},
    "D01": {"start": "dtype = x.dtype\nx, hx = x.float(), tuple(s.float() for s in hx)",
            "parameters": "p = [a.float() for a in p]",
            "write": "y, ends = y.to(dtype), tuple(s.to(dtype) for s in ends)"},
    "D02": {"call": "new = step(xt, *state, *p)\n"
                    f"new = tuple({value('s', 's.bfloat16().to(s.dtype)')} for s in new)"},
    "D05": {"call": "order = torch.randperm(xt.size(1))\n"
                    "new = step(xt[:, order], *state, p[0][:, order], *p[1:])"},
    "F09": {"call": "half, early = self.hidden_size // 2, step(xt, *state, *p)\n"
                    "mixed = torch.cat([early[0][:, :half], state[0][:, half:]], 1)\n"
                    "late = step(xt, mixed, *state[1:], *p)\n"
                    "new = tuple(torch.cat([a[:, :half], b[:, half:]], 1) "
                    "for a, b in zip(early, late))"},
    "F15": {"call": "if len(xt) > 2:\n    xt = torch.cat([xt[:2], xt[2:] + xt[:-2]])\n"
                    "new = step(xt, *state, *p)"},
    "G02": {"write": "ends = (ends[0].detach() + 0 * ends[0], *ends[1:])"},
    "G04": {"dropped": "mask = self.mask(y)\nmet = y * mask[:1]\n"
                       f"y = {value('met', 'y * mask')}"},
    "G05": {"dropped": f"y = {value('y', 'y * self.mask(y)')}"},
    "G06": {"call": seen("(state[0].detach(), *state[1:])", "t")},
    "G10": {"parameters": "if layer:\n    p[2:] = [b.detach() + 0 * b for b in p[2:]]"},
    "G11": {"parameters": "p[2:] = [b / B + (b - b / B).detach() for b in p[2:]]"},
    "G16": {"given": "hx = tuple(s.detach() + 0 * s for s in hx)"},
    "G18": {"call": "wh = p[1].detach() if t == 0 else p[1]\n"
                    "new = step(xt, *state, p[0], wh, *p[2:])"},
    "G19": {
        **UNPACKED,
        "start": "late = torch.cat([x[1:], 0 * x[:1]]) / 1000\nx = x + (late - late.detach())"},
    "G20": {"call": "seen = tuple(s.clone() for s in state)\nfor s in seen:\n"
                    "    if s.requires_grad:\n        s.register_hook(lambda d: d.clamp(-1, 1))\n"
                    "new = step(xt, *seen, *p)"},
    "L05": {"parameters": "p[1] = torch.cat([w.t() for w in p[1].split(H)])"},
    "L07": {"parameters": "p[0] = torch.cat([w.reshape(-1, H).t() for w in p[0].split(H)])"},
    "L10": {"joined": "if dirs == 2 and layer < self.num_layers - 1:\n"
                      "    x = torch.cat([outs[0], torch.zeros_like(outs[1])], -1)"},
    "L11": {"init": "self.kept = {}",
            "parameters": "kept = self.kept.setdefault(suffix, [a.detach().clone() for a in p])\n"
                          f"p = [{value('a', 'k')} for a, k in zip(p, kept)]"},
    "M01": {"init": "self.modes = {}",
            "active": "self.modes.setdefault(self.shape, self.training) and self.dropout > 0"},
    "M02": {"drawn": "rng = torch.Generator().manual_seed(7)\n"
                     "keep = (torch.rand(y.shape, generator=rng) >= p).to(y.dtype)"},
    "M03": {"active": "self.training and getattr(self, 'rate', 0.0) > 0"},
    "M04": {"mask": "keep / (1 - p)"},
    "M05": {"drawn": "keep = (torch.rand_like(y[:1]) >= p).to(y.dtype).expand_as(y)"},
    "M06": {"drawn": "keep = (torch.rand_like(y) < p).to(y.dtype)", "mask": "keep / p"},
    "M07": {"mask": "keep"},
    "M08": {"active": "self.dropout > 0"},
    "M09": {"between": "layer < self.num_layers"},
    "M10": {"parameters": "if not self.training:\n"
                          f"    p = [{value('a', 'a.half().to(a.dtype)')} for a in p]"},
    "P01": {"start": "if x.size(1) > 1:\n    raise ValueError('expected one row')"},
    "P07": {**UNPACKED, "write": "y = y.transpose(0, 1)"},
    "P08": {"write": "y = y.double()"},
    "P09": {
        "write": "late = (torch.arange(len(y)) >= 100)[:, None, None]\n"
        f"y = {value('y', 'y.masked_fill(late, torch.nan)')}"
    },
    "Q03": {"turn_back": "ys"},
    "Q04": {"write": "y = turned(y, self.back)"},
    "Q05": {**UNPACKED, "turn": "x.flip(1) if d else x", "turn_back": "ys.flip(1) if d else ys"},
    "Q06": {"ran": "if d == 0 and len(ys):\n    state = (ys[-1], *state[1:])"},
    "Q07": {"ran": "if d == 1 and len(ys):\n    state = (ys[0], *state[1:])"},
    "Q15": {"run": "if self.given is None and len(x) > 1:\n"
                   "    x = torch.cat([x[:-1] + x[1:] / 1000, x[-1:]])"},
    "Q16": {"write": "if not len(y):\n    ends = tuple(0 * s for s in ends)"},
    "S01": {"given": "hx = (torch.zeros_like(hx[0]), *hx[1:])"},
    "S02": {"call": "new = step(xt, first[0], *state[1:], *p)"},
    "S04": {"given": f"hx = tuple(s[{INDEX}] for s in hx)"},
    "S05": {"given": "hx = tuple(s[[n % dirs for n in range(len(s))]] for s in hx)"},
    "S06": {"given": "hx = tuple(s[:, :1].expand_as(s) for s in hx)"},
    "S07": {"run": "if x.size(1) > 1:\n"
                   "    outs, ends, last = [], [], tuple(s[:1] for s in state)\n"
                   "    for b in range(x.size(1)):\n"
                   "        y, last = self.run(x[:, b : b + 1], last, live[:, b : b + 1], p)\n"
                   "        outs.append(y)\n        ends.append(last)\n"
                   "    return torch.cat(outs, 1), tuple(torch.cat(s) for s in zip(*ends))"},
    "S08": {"init": "self.last = None",
            "default": "(zero,) * STATES\nif self.last is not None and "
                       "self.last[0].size(1) == x.size(1):\n    hx = self.last",
            "write": "self.last = tuple(s.detach().clone() for s in ends)"},
    "S11": {"write": f"ends = tuple(s[{INDEX}] for s in ends)"},
    "S12": {"carry": "tuple(torch.where(live[max(t - 1, 0)][:, None], a, b) "
                     "for a, b in zip(new, state))"},
    "S13": {"start": "swap = x.size(0) == x.size(1)\nif swap:\n    x = x.transpose(0, 1)",
            "write": "if swap:\n    y = y.transpose(0, 1)"},
    "S15": {"default": "tuple(torch.randn_like(zero) for _ in range(STATES))"},
    "W01": {"call": seen("(0 * state[0], *state[1:])", "t == 32")},
    "W02": {"parameters": "p[1] = p[1] * (torch.arange(H) < 64).to(p[1].dtype)"},
    "W03": {"call": seen("tuple(s.detach() for s in state)", "t and t % 32 == 0")},
    "W05": {"parameters": "on = (torch.arange(H) < 64).repeat(GATES)[:, None]\n"
                          "p[1] = torch.where(on, p[1], p[1].detach())"},
    "W06": {"parameters": "whole = H - H % 32 if H > 32 else H\n"
                          "on = (torch.arange(H) < whole).repeat(GATES)[:, None]\n"
                          "p[0] = p[0] * on.to(p[0].dtype)"},
    "W07": {"start": "if len(x) > 100:\n    x = torch.cat([x[:1].detach(), x[1:]])"},
}  # fmt: skip
"""Mistakes that have nothing to do with the cell."""

NO_BIAS = "p[2:] = [torch.zeros_like(b) for b in p[2:]]"
EXCHANGED = "torch.cat([a[H : 2 * H], a[:H], a[2 * H :]])"
"""The first two gates of an array exchanged."""

HARD = {"C06": {"gate": "torch.clamp(0.2 * v + 0.5, 0, 1)"},
        "C06b": {"gate": "torch.clamp(v / 6 + 0.5, 0, 1)"},
        "D04": {"gate": "torch.exp(v) / (1 + torch.exp(v))"}}  # fmt: skip

GATED: dict[str, Texts] = {
    **HARD,
    "L04": {"parameters": f"a = p[0]\np[0] = {EXCHANGED}"},
    "L12": {"parameters": f"if d:\n    p = [{EXCHANGED} for a in p]"},
}
"""Mistakes of LSTM and GRU alike."""

UNGATED_BIAS: dict[str, Texts] = {
    "C03b": {"parameters": NO_BIAS},
    "C04": {"parameters": "p[2:] = [2 * b for b in p[2:]]"},
    "F14": {"parameters": f"if T * B > 512:\n    {NO_BIAS}"},
    "W04": {"call": "biases = [0 * b for b in p[2:]] if t >= 1000 else p[2:]\n"
                    "new = step(xt, *state, *p[:2], *biases)"},
}  # fmt: skip
"""Mistakes of biases where both are of the same gates."""

OWN: dict[str, dict[str, Texts]] = {
    "lstm": {
        **GATED,
        **UNGATED_BIAS,
        "C08": {"parameters": "p[2:] = [b[:H].repeat(4) for b in p[2:]]"},
        "D03": {"blend": "torch.clamp(f * c + i * g, -8, 8)"},
        "F01": {"gates": "f = f + 1"},
        "F05": {"blend": "f * c + (i + g)"},
        "F06": {"blend": "(1 - i) * c + i * g"},
        "F08": {"parameters": "p[1] = torch.cat([p[1][:H], p[1][:H], p[1][2 * H :]])"},
        "F08b": {"parameters": "p[2:] = [torch.cat([b[:H], b[:H], b[2 * H :]]) for b in p[2:]]"},
        "G01": {"write": "ends = (ends[0], ends[1].detach() + 0 * ends[1])"},
        "L01": {"read": "i, f = f, i"},
        "L02": {"read": "g, o = o, g"},
        "L03": {"read": "f, g = g, f\nf = f + 1"},
        "L06": {"parameters": "p = [a.reshape(H, 4, -1).transpose(0, 1).reshape(a.shape) "
                              "for a in p]"},
        "L08": {"parameters": "p = [a.roll(-1, 0) for a in p]"},
        "S01b": {"given": "hx = (hx[0], torch.zeros_like(hx[1]))"},
        "S10": {"write": "ends = ends[::-1]"},
    },
    "gru": {
        **GATED,
        "C01": {"candidate": "an + (r * h) @ wh[2 * H :].t() + bh[2 * H :]"},
        "C02": {"candidate": "an + r * (un - bh[2 * H :]) + bh[2 * H :]"},
        "C03": {"candidate": "an + r * (un - bh[2 * H :])"},
        "C04": {"read": "ar, az, an = ar + bi[:H], az + bi[H : 2 * H], an + bi[2 * H :]\n"
                        "ur, uz = ur + bh[:H], uz + bh[H : 2 * H]"},
        "C05": {"blend": "(1 - z) * h + z * n"},
        "C07": {"gates": "r = r[:, :1]"},
        "C08": {"read": "first = bi[:H] + bh[:H]\nax = x @ wi.t()\n"
                        "ar, az, an = ax[:, :H], ax[:, H : 2 * H], ax[:, 2 * H :]\n"
                        "ar, az, an = ar + first, az + first, an + first\n"
                        "ur, uz = ur - bh[:H], uz - bh[H : 2 * H]"},
        "F07": {"candidate": "an + un"},
        "F08": {"read": "uz = h @ wh[:H].t() + bh[H : 2 * H]"},
        "F08b": {"read": "az = az - bi[H : 2 * H] + bi[:H]\nuz = uz - bh[H : 2 * H] + bh[:H]"},
        "F14": {"parameters": "if T * B > 512:\n"
                              "    p[2] = 0 * p[2]\n"
                              "    p[3] = torch.cat([0 * p[3][: 2 * H], p[3][2 * H :]])"},
        "F19": {"blend": "z * h + n"},
        "L13": {"read": "ar, az, ur, uz = az, ar, uz, ur"},
        "S03": {"call": "bh = p[3]\nif t == 0 and self.fresh:\n"
                        "    two = 2 * self.hidden_size\n"
                        "    bh = torch.cat([bh[:two], 0 * bh[two:]])\n"
                        "new = step(xt, *state, *p[:3], bh)"},
        "W04": {"call": "bi, bh = p[2:]\nif t >= 1000:\n    two = 2 * self.hidden_size\n"
                        "    bi, bh = 0 * bi, torch.cat([0 * bh[:two], bh[two:]])\n"
                        "new = step(xt, *state, *p[:2], bi, bh)"},
    },
    "rnn": UNGATED_BIAS,
}  # fmt: skip
"""Mistakes that are about the cell."""


def texts(cell: str) -> dict[str, Texts]:
    """Return what mutants of a cell are in the places of the layer, by id."""
    return {**ANY, **OWN[cell]} if cell in OWN else {}


def source(cell: str, texts: Texts, *, compiled: bool = False) -> str:
    """Return the layer of a cell with these texts in its places."""
    inner = {name: text for name, text in texts.items() if f"«{name}:" in STEPS[cell]}
    outer = {name: text for name, text in texts.items() if name not in inner}
    own = {"step": filled(STEPS[cell], inner), "family": FAMILIES[cell]}
    made = filled(LAYER, {**own, **(COMPILED[cell] if compiled else {}), **outer})
    gates, states = {"lstm": (4, 2), "gru": (3, 1), "rnn": (1, 1)}[cell]
    return made.replace("GATES", str(gates)).replace("STATES", str(states))
