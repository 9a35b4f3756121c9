"""Layers that drop, or draw, something at random where they should not."""

import torch
from torch.nn.functional import dropout


class Loop:
    """Torch's own parameters, and a loop over layers and steps with a place for every mask."""

    def forward(self, x, hx=None):
        x = x.transpose(0, 1) if self.batch_first else x
        if hx is None:
            hx = self.start(x)
        given = hx if isinstance(hx, tuple) else (hx,)
        finals = []
        for layer in range(self.num_layers):
            state, outputs = tuple(s[layer] for s in given), []
            weights = self.weights(*self.all_weights[layer])
            for x_t in self.inputs(x) if layer == 0 else x:
                state = self.carried(layer, self.step(x_t, self.read(state), *weights))
                outputs.append(state[0])
            x = self.outputs(layer, torch.stack(outputs))
            finals.append(state)
        final = tuple(torch.stack(states) for states in zip(*finals, strict=True))
        x = x.transpose(0, 1) if self.batch_first else x
        return x, final if len(final) > 1 else final[0]

    def start(self, x):
        zeros = x.new_zeros(self.num_layers, x.shape[1], self.hidden_size)
        return (zeros, zeros) if isinstance(self, torch.nn.LSTM) else zeros

    def weights(self, wi, wh, bi, bh):
        return wi, wh, bi, bh

    def inputs(self, x):
        return x

    def read(self, state):
        return state

    def carried(self, layer, state):
        return state

    def outputs(self, layer, y):
        between = self.training and layer < self.num_layers - 1
        return dropout(y, self.dropout) if between else y


class Arguments:
    def __init__(self, input_size, hidden_size, num_layers=1, batch_first=False, dropout=0.0):
        super().__init__(
            input_size, hidden_size, num_layers, batch_first=batch_first, dropout=dropout
        )


class LSTM(Arguments, Loop, torch.nn.LSTM):
    def step(self, x, state, wi, wh, bi, bh):
        h, c = state
        i, f, g, o = (x @ wi.T + bi + h @ wh.T + bh).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class GRU(Arguments, Loop, torch.nn.GRU):
    def step(self, x, state, wi, wh, bi, bh):
        (h,) = state
        ar, az, an = (x @ wi.T + bi).chunk(3, 1)
        hr, hz, hn = (h @ wh.T + bh).chunk(3, 1)
        z = torch.sigmoid(az + hz)
        return ((1 - z) * torch.tanh(an + torch.sigmoid(ar + hr) * hn) + z * h,)


class RNN(Arguments, Loop, torch.nn.RNN):
    def step(self, x, state, wi, wh, bi, bh):
        return (torch.tanh(x @ wi.T + bi + state[0] @ wh.T + bh),)


class RecurrentWeights(GRU):
    """A mask on weight_hh in evaluation, too."""

    def weights(self, wi, wh, bi, bh):
        return wi, dropout(wh, 0.3, training=True), bi, bh


class RecurrentWeightsInTraining(GRU):
    def weights(self, wi, wh, bi, bh):
        return wi, dropout(wh, 0.3, self.training), bi, bh


class InputWeights(RNN):
    def weights(self, wi, wh, bi, bh):
        return dropout(wi, 0.2, training=True), wh, bi, bh


class OneMaskOnInputs(LSTM):
    """One mask for all steps, and only for sequences of more than four."""

    def inputs(self, x):
        return x * dropout(torch.ones_like(x[:1]), 0.25, training=len(x) > 4)


class StateInEvaluation(RNN):
    def read(self, state):
        return (dropout(state[0], 0.5, training=True),)


class CellState(LSTM):
    def read(self, state):
        return state[0], dropout(state[1], 0.4, training=True)


class RandomStart(LSTM):
    def start(self, x):
        return tuple(torch.randn_like(s) for s in super().start(x))


class Noise(GRU):
    """Noise in proportion to weight_ih: no mask."""

    def weights(self, wi, wh, bi, bh):
        return wi * (1 + torch.randn_like(wi) / 8), wh, bi, bh


class EveryState(GRU):
    """In training dropout acts on what is carried, in the last layer, too."""

    def outputs(self, layer, y):
        return y

    def carried(self, layer, state):
        return (dropout(state[0], self.dropout, self.training), *state[1:])


class LowerStates(LSTM):
    """As EveryState, but not in the last layer."""

    def outputs(self, layer, y):
        return y

    def carried(self, layer, state):
        drops = self.training and layer < self.num_layers - 1
        return (dropout(state[0], self.dropout, drops), *state[1:])


class LastOutputs(RNN):
    """Dropout acts behind the last layer instead of between the layers."""

    def outputs(self, layer, y):
        return dropout(y, self.dropout, self.training and layer == self.num_layers - 1)
