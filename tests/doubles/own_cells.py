"""Cells as people write them: a call is one step."""

import torch
from torch import nn


class Derived(nn.LSTMCell):
    """torch.nn's own, with its forward written out."""

    def forward(self, x, hx=None):
        h, c = hx if hx is not None else [x.new_zeros(*x.shape[:-1], self.hidden_size)] * 2
        sums = nn.functional.linear(x, self.weight_ih, self.bias_ih)
        sums = sums + nn.functional.linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = sums.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class BiasIsAsked(nn.GRUCell):
    """Its constructor wants to be told whether there is a bias."""

    def __init__(self, input_size, hidden_size, bias):
        super().__init__(input_size, hidden_size, bias)


class OneBias(nn.Module):
    """An LSTM whose arrays have torch's names, in another order and with one bias."""

    kind = "LSTMCell"

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.randn(input_size, 4 * hidden_size))
        self.weight_hh = nn.Parameter(torch.randn(hidden_size, 4 * hidden_size))
        self.bias = nn.Parameter(torch.randn(4 * hidden_size))

    def forward(self, x, state):
        h, c = state
        f, i, o, g = (x @ self.weight_ih + h @ self.weight_hh + self.bias).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return [o.sigmoid() * c.tanh(), c]


class FourLinears(nn.Module):
    """An LSTM with a Linear for each gate, and no forward: ``step`` returns y, (h, c)."""

    kind = "LSTMCell"

    def __init__(self, input_size, hidden_size):
        super().__init__()
        for gate in ("forget", "input", "output", "candidate"):
            setattr(self, gate, nn.Linear(input_size + hidden_size, hidden_size))

    def step(self, x, state):
        h, c = state
        both = torch.cat([x, h], -1)
        f, i, o = (self.get_submodule(g)(both).sigmoid() for g in ("forget", "input", "output"))
        c = f * c + i * self.candidate(both).tanh()
        return self.output_of(o, c), (self.output_of(o, c), c)

    def output_of(self, o, c):
        return o * c.tanh()


class Spread(FourLinears):
    """Each state is an argument of its own, and comes back beside the output."""

    def forward(self, x, h_prev, c_prev):
        y, (h, c) = self.step(x, (h_prev, c_prev))
        return y, h, c


class TwoLinears(nn.Module):
    """A GRU that makes its own initial state."""

    kind = "GRUCell"

    def __init__(self, input_size, hidden_size, bias=True):
        super().__init__()
        self.x2h = nn.Linear(input_size, 3 * hidden_size, bias=bias)
        self.h2h = nn.Linear(hidden_size, 3 * hidden_size, bias=bias)

    def forward(self, x, h=None):
        h = x.new_zeros(len(x), self.h2h.in_features) if h is None else h
        (xr, xz, xn), (hr, hz, hn) = self.x2h(x).chunk(3, 1), self.h2h(h).chunk(3, 1)
        r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
        n = (xn + r * hn).tanh()
        return n + z * (h - n)


class Elman(nn.Module):
    kind = "RNNCell"

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.i2h = nn.Linear(input_size, hidden_size)
        self.h2h = nn.Linear(hidden_size, hidden_size)

    def forward(self, x, h):
        h = (self.i2h(x) + self.h2h(h)).tanh()
        return h, h


class OutputWithoutTanh(FourLinears):
    """Wrong: h = o c."""

    def output_of(self, o, c):
        return o * c


class OutputIsNotTheState(Elman):
    """Wrong: what it returns as its output is not h."""

    def forward(self, x, h):
        h, _ = super().forward(x, h)
        return 2 * h, h


class TwoOutputs(Elman):
    """No cell of these: a step returns more than an output and its states."""

    def forward(self, x, h):
        return h, h, h


class Peepholes(nn.Module):
    """An LSTM whose gates see c by one array, o the new one."""

    kind = "LSTMCell"

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x2h = nn.Linear(input_size, 4 * hidden_size)
        self.h2h = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.peephole = nn.Parameter(torch.randn(3 * hidden_size))

    def forward(self, x, state):
        h, c = state
        i, f, g, o = (self.x2h(x) + self.h2h(h)).chunk(4, -1)
        of_i, of_f, of_o = self.peephole.chunk(3)
        new = (f + of_f * c).sigmoid() * c + (i + of_i * c).sigmoid() * g.tanh()
        return (o + of_o * self.seen(c, new)).sigmoid() * self.squashed(new), new

    def seen(self, old, new):
        return new

    def squashed(self, c):
        return c.tanh()


class PeepholesPerGate(Peepholes):
    """The same with an array for each gate; o sees the old c."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        del self.peephole
        for gate in "ifo":
            setattr(self, f"W_c{gate}", nn.Parameter(torch.randn(hidden_size)))

    @property
    def peephole(self):
        return torch.cat([self.W_ci, self.W_cf, self.W_co])

    def seen(self, old, new):
        return old


class PeepholesWithoutTanh(Peepholes):
    """Wrong: h = o c."""

    def squashed(self, c):
        return c
