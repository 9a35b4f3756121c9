"""Layers as people write them: parameters of their own names, torch's constructor and call."""

import torch
from torch import nn


class Stepwise(nn.Module):
    """A layer that is a step in a loop; subclasses have the parameters and the step."""

    kind = "GRU"
    first = False

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.make(input_size, hidden_size)

    def forward(self, x, state=None):
        x = x.transpose(0, 1) if self.first else x
        if state is None:
            zeros = x.new_zeros(1, x.shape[1], self.hidden_size)
            state = (zeros, zeros) if self.kind == "LSTM" else zeros
        state = tuple(s[0] for s in state) if self.kind == "LSTM" else (state[0],)
        ys = []
        for x_t in x:
            state = self.step(x_t, *state)
            ys.append(state[0])
        y = torch.stack(ys)
        y = y.transpose(0, 1) if self.first else y
        final = tuple(s[None] for s in state)
        return y, final if self.kind == "LSTM" else final[0]


class LinearPerGate(Stepwise):
    """A GRU with a Linear for each gate of the input, and one of the state; reset before."""

    bias = True

    def make(self, D, H):
        for gate in "rzn":
            setattr(self, f"x_{gate}", nn.Linear(D, H, bias=self.bias))
            setattr(self, f"h_{gate}", nn.Linear(H, H, bias=self.bias))

    def candidate(self, x, h, r):
        return torch.tanh(self.x_n(x) + self.h_n(r * h))

    def step(self, x, h):
        r = torch.sigmoid(self.x_r(x) + self.h_r(h))
        z = torch.sigmoid(self.x_z(x) + self.h_z(h))
        n = self.candidate(x, h, r)
        return ((1 - z) * n + z * h,)


class WithoutBias(LinearPerGate):
    bias = False


class ResetAfter(LinearPerGate):
    def candidate(self, x, h, r):
        return torch.tanh(self.x_n(x) + r * self.h_n(h))


class Joint(Stepwise):
    """An LSTM with one Linear of [x, h], in the order f, i, o, g."""

    kind = "LSTM"

    def make(self, D, H):
        self.gates = nn.Linear(D + H, 4 * H)

    def step(self, x, h, c):
        f, i, o, g = self.gates(self.both(x, h)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def both(self, x, h):
        return torch.cat([x, h], -1)


class StateFirst(Joint):
    def both(self, x, h):
        return torch.cat([h, x], -1)


class JointPerGate(Stepwise):
    """An LSTM with a Linear of [h, x] for every gate."""

    kind = "LSTM"

    def make(self, D, H):
        for gate in ("forget", "input", "cell", "output"):
            setattr(self, f"{gate}_gate", nn.Linear(H + D, H))

    def step(self, x, h, c):
        both = torch.cat([h, x], -1)
        f, i = self.forget_gate(both).sigmoid(), self.input_gate(both).sigmoid()
        c = self.carried(f, i, self.cell_gate(both).tanh(), c)
        return self.output_gate(both).sigmoid() * c.tanh(), c

    def carried(self, f, i, g, c):
        return f * c + i * g


class TwoLinears(Stepwise):
    """A GRU with r and z in one Linear, and the candidate in another."""

    def make(self, D, H):
        self.gates, self.candidate = nn.Linear(D + H, 2 * H), nn.Linear(D + H, H)

    def step(self, x, h):
        z, r = self.gates(torch.cat([x, h], -1)).sigmoid().chunk(2, -1)
        n = self.candidate(torch.cat([x, r * h], -1)).tanh()
        return ((1 - z) * h + z * n,)


class Packed(Stepwise):
    """An LSTM in torch's packing, but in the order g, o, i, f, with one bias."""

    kind = "LSTM"

    def make(self, D, H):
        self.kernel = nn.Parameter(torch.randn(4 * H, D))
        self.recurrent = nn.Parameter(torch.randn(4 * H, H))
        self.bias = nn.Parameter(torch.randn(4 * H))

    def step(self, x, h, c):
        g, o, i, f = (x @ self.kernel.T + h @ self.recurrent.T + self.bias).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Transposed(Stepwise):
    """An LSTM by x @ W + h @ U + b, with 1 added to f."""

    kind = "LSTM"

    def make(self, D, H):
        self.W = nn.Parameter(torch.randn(D, 4 * H))
        self.U = nn.Parameter(torch.randn(H, 4 * H))
        self.b = nn.Parameter(torch.randn(4 * H))

    def step(self, x, h, c):
        i, f, g, o = (x @ self.W + h @ self.U + self.b).chunk(4, -1)
        c = self.carried(f, i, g, c)
        return o.sigmoid() * c.tanh(), c

    def carried(self, f, i, g, c):
        return (f + 1).sigmoid() * c + i.sigmoid() * g.tanh()


class ParameterPerGate(Stepwise):
    """An LSTM with W_i, U_i, b_i for every gate."""

    kind = "LSTM"

    def make(self, D, H):
        for gate in "ifco":
            setattr(self, f"W_{gate}", nn.Parameter(torch.randn(D, H)))
            setattr(self, f"U_{gate}", nn.Parameter(torch.randn(H, H)))
            setattr(self, f"b_{gate}", nn.Parameter(torch.randn(H)))

    def sum(self, gate, x, h):
        W, U, b = (getattr(self, f"{kind}_{gate}") for kind in "WUb")
        return x @ W + h @ U + b

    def step(self, x, h, c):
        i, f, o = (self.sum(gate, x, h).sigmoid() for gate in "ifo")
        c = f * c + i * self.activation(self.sum("c", x, h))
        return self.output(o, c), c

    def activation(self, s):
        return s.tanh()

    def output(self, o, c):
        return o * c.tanh()


class Elman(Stepwise):
    kind = "RNN"

    def make(self, D, H):
        self.i2h, self.h2h = nn.Linear(D, H), nn.Linear(H, H)

    def step(self, x, h):
        return ((self.i2h(x) + self.h2h(h)).tanh(),)


class BatchFirst(Joint):
    """It says by an attribute that its batch axis is the first."""

    batch_first = first = True


class BatchFirstByDefault(Joint):
    def __init__(self, input_size, hidden_size, batch_first=True):
        super().__init__(input_size, hidden_size)
        self.first = batch_first


class SwapsInputAndForget(JointPerGate):
    """Wrong: the forget gate writes, and the input gate forgets."""

    def carried(self, f, i, g, c):
        return i * c + f * g


class SigmoidCandidate(ParameterPerGate):
    """Wrong: the candidate's activation."""

    def activation(self, s):
        return s.sigmoid()


class OutputWithoutTanh(ParameterPerGate):
    """Wrong: h = o c."""

    def output(self, o, c):
        return o * c


class ResetsNothing(LinearPerGate):
    """Wrong: r is unused."""

    def candidate(self, x, h, r):
        return torch.tanh(self.x_n(x) + self.h_n(h))


class ResetsTheInput(ResetAfter):
    """Wrong: r multiplies what comes from the input, not what comes from the state."""

    def candidate(self, x, h, r):
        return torch.tanh(r * self.x_n(x) + self.h_n(h))


class CallsAnother(ResetAfter):
    """Wrong: the update gate's Linear makes the candidate, too."""

    def candidate(self, x, h, r):
        return torch.tanh(self.x_z(x) + r * self.h_n(h))


class SigmoidGRU(LinearPerGate):
    """Wrong: the candidate's activation."""

    def candidate(self, x, h, r):
        return torch.sigmoid(self.x_n(x) + self.h_n(r * h))


class ResetsTheOldStateToo(LinearPerGate):
    """Wrong: what z keeps has been reset."""

    def step(self, x, h):
        r = torch.sigmoid(self.x_r(x) + self.h_r(h))
        z = torch.sigmoid(self.x_z(x) + self.h_z(h))
        return ((1 - z) * self.candidate(x, h, r) + z * r * h,)


class BatchFirstUnsaid(Joint):
    """Nothing says that its batch axis is the first."""

    first = True


class IgnoresTheState(Joint):
    """Wrong: it starts in zeros, whatever state is given."""

    def forward(self, x, state=None):
        return super().forward(x)


class WrongGradient(Packed):
    """Wrong: nothing flows back through c."""

    def step(self, x, h, c):
        return super().step(x, h, c.detach())


class WrongWithoutNames(Transposed):
    """Wrong, and packed: torch's order is all that can be taken."""

    def carried(self, f, i, g, c):
        return f.sigmoid() * c + i.sigmoid() * g.sigmoid()


class InputGateUnused(Transposed):
    """Wrong, and near to a layer that adds 1 to the forget gate."""

    def carried(self, f, i, g, c):
        return f.sigmoid() * c + g.tanh()


class Nameless(Elman):
    """Wrong, and its names say nothing of gates."""

    kind = "GRU"

    def make(self, D, H):
        for number in range(3):
            setattr(self, f"first{number}", nn.Linear(D, H))
            setattr(self, f"second{number}", nn.Linear(H, H))

    def step(self, x, h):
        return ((self.first0(x) + self.second0(h)).tanh(),)


class WithAHead(Joint):
    """Not a layer alone: an output matrix."""

    def make(self, D, H):
        super().make(D, H)
        self.head = nn.Linear(H, 7)
