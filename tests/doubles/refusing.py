"""Layers with torch.nn.LSTM's own constructor, each of which does not do something of it."""

import torch

import hand_written


class Deep(torch.nn.LSTM):
    """Torch's own forward, behind what a subclass refuses."""

    def forward(self, x, hx=None):
        self.refuse(x, hx)
        return super().forward(x, hx)

    def refuse(self, x, hx):
        raise NotImplementedError


class Raises(Deep):
    def refuse(self, x, hx):
        if self.proj_size:
            raise NotImplementedError("proj_size")
        if self.num_layers > 1:
            raise ValueError("one layer only")
        assert not self.bidirectional
        if not isinstance(x, torch.Tensor):
            raise TypeError("no packed input")


class Everything(Deep):
    """It offers nothing at all."""


class OneRow(Deep):
    """It refuses a state for one row, and nothing else: no option says so."""

    def refuse(self, x, hx):
        if isinstance(x, torch.Tensor) and x.dim() == 3 and x.size(1) == 1 and hx is not None:
            raise NotImplementedError("a state for one row")


class Trips(Deep):
    """It takes two directions, and indexes past the end of them."""

    def refuse(self, x, hx):
        return self.all_weights[9] if self.bidirectional else None


class NeverThoughtOfIt(Deep):
    """It inherits an argument that it never names, and cannot do."""

    def refuse(self, x, hx):
        if self.weight_hh_l0.shape[1] != self.hidden_size:
            raise ValueError("sizes do not match")


class ChecksItself(Deep):
    """It finds its own numbers wrong in two directions: that is no refusal of the option."""

    def refuse(self, x, hx):
        if self.bidirectional:
            raise ValueError("sizes do not match")


class TripsOverLengths(Deep):
    """It knows a PackedSequence, and mistakes its parts."""

    def refuse(self, x, hx):
        if isinstance(x, torch.nn.utils.rnn.PackedSequence):
            return x.data[len(x.batch_sizes) + x.data.shape[0]]
        return None


class BackwardRaises(hand_written.LSTM):
    """Right outputs; the backward pass finds a saved tensor changed in place."""

    def step(self, x, h, c, suffix):
        i, f, g, o = self.gates(x, h, suffix).chunk(4, dim=1)
        c = self.sigmoid(f) * c + self.sigmoid(i) * torch.tanh(g)
        squashed = torch.tanh(c)
        h = self.sigmoid(o) * squashed
        squashed.mul_(1)
        return h, c


class NoBackward(hand_written.LSTM):
    """For inference: its backward says that it is not there."""

    def step(self, x, h, c, suffix):
        h, c = super().step(x, h, c, suffix)
        return Inference.apply(h), Inference.apply(c)


class Inference(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, d):
        raise NotImplementedError("inference only")

    @staticmethod
    def jvp(ctx, t):
        return t.clone()
