"""An LSTM written by hand in PyTorch, with torch's constructor, parameter names and call.

Plain loops over layers, directions and time; no dropout, no projection, no packed sequences.
"""

import torch
from torch.nn.functional import linear


class LSTM(torch.nn.Module):
    def __init__(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
        bidirectional=False,
    ):  # fmt: skip
        super().__init__()
        self.hidden_size, self.num_layers, self.bias = hidden_size, num_layers, bias
        self.batch_first, self.directions = batch_first, 2 if bidirectional else 1
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self.directions
            for suffix in self.suffixes(layer):
                shapes = {"weight_ih": (width,), "weight_hh": (hidden_size,)}
                shapes |= {"bias_ih": (), "bias_hh": ()} if bias else {}
                for name, axes in shapes.items():
                    numbers = torch.randn(4 * hidden_size, *axes)
                    self.register_parameter(name + suffix, torch.nn.Parameter(numbers))

    def suffixes(self, layer):
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]

    def forward(self, x, hx=None):
        x = x.transpose(0, 1) if self.batch_first else x
        if hx is None:
            shape = (self.num_layers * self.directions, x.shape[1], self.hidden_size)
            hx = x.new_zeros(shape), x.new_zeros(shape)
        finals = []
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(self.suffixes(layer)):
                h, c = (s[layer * self.directions + direction] for s in hx)
                steps = []
                for x_t in x.flip(0) if direction else x:
                    h, c = self.step(x_t, h, c, suffix)
                    steps.append(h)
                y = torch.stack(steps)
                outputs.append(y.flip(0) if direction else y)
                finals.append((h, c))
            x = torch.cat(outputs, dim=2)
        final = tuple(torch.stack(states) for states in zip(*finals, strict=True))
        return (x.transpose(0, 1) if self.batch_first else x), final

    def step(self, x, h, c, suffix):
        i, f, g, o = self.gates(x, h, suffix).chunk(4, dim=1)
        c = self.sigmoid(f) * c + self.sigmoid(i) * torch.tanh(g)
        return self.sigmoid(o) * torch.tanh(c), c

    def part(self, name, suffix):
        return getattr(self, name + suffix) if self.bias or "weight" in name else None

    def gates(self, x, h, suffix):
        of_x = linear(x, self.part("weight_ih", suffix), self.part("bias_ih", suffix))
        return of_x + linear(h, self.part("weight_hh", suffix), self.part("bias_hh", suffix))

    def sigmoid(self, v):
        return torch.sigmoid(v)


class SigmoidByTanh(LSTM):
    """Other roundings: σ(v) = (1 + tanh(v / 2)) / 2."""

    def sigmoid(self, v):
        return (torch.tanh(v / 2) + 1) / 2


class OneProduct(LSTM):
    """Other sums: [x, h] times one matrix, one bias."""

    def gates(self, x, h, suffix):
        weights = [self.part(name, suffix) for name in ("weight_ih", "weight_hh")]
        bias = self.part("bias_ih", suffix) + self.part("bias_hh", suffix) if self.bias else None
        return linear(torch.cat([x, h], dim=1), torch.cat(weights, dim=1), bias)


class IgnoresBidirectional(LSTM):
    def __init__(self, *sizes, bidirectional=False, **others):
        super().__init__(*sizes, **others)


class IgnoresNumLayers(LSTM):
    def __init__(self, *sizes, num_layers=1, **others):
        super().__init__(*sizes, **others)


class AlwaysHasABias(LSTM):
    def __init__(self, *sizes, bias=True, **others):
        super().__init__(*sizes, **others)


class OtherNames(LSTM):
    """Right, but its weights are called otherwise."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        for name, parameter in list(self.named_parameters()):
            delattr(self, name)
            self.register_parameter(name.replace("weight", "kernel"), parameter)

    def part(self, name, suffix):
        return super().part(name.replace("weight", "kernel"), suffix)


class SwapsGates(LSTM):
    """Its parameters stand in the order f, i, g, o."""

    def gates(self, x, h, suffix):
        i, f, *others = super().gates(x, h, suffix).chunk(4, dim=1)
        return torch.cat([f, i, *others], dim=1)


class DropsTheBackwardState(LSTM):
    """Its backward direction starts in zeros, whatever state was given."""

    def forward(self, x, hx=None):
        if hx is not None and self.directions == 2:
            kept = torch.arange(hx[0].shape[0])[:, None, None] % 2 == 0
            hx = tuple(torch.where(kept, s, 0) for s in hx)
        return super().forward(x, hx)
