"""A GRU in PyTorch with a Linear for each product. One line is wrong: gatewise says which."""

import torch
from torch import nn


class GRU(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.reset_x = nn.Linear(input_size, hidden_size)
        self.reset_h = nn.Linear(hidden_size, hidden_size)
        self.update_x = nn.Linear(input_size, hidden_size)
        self.update_h = nn.Linear(hidden_size, hidden_size)
        self.new_x = nn.Linear(input_size, hidden_size)
        self.new_h = nn.Linear(hidden_size, hidden_size)

    def forward(self, x, h=None):
        """Take x (T, B, D) and h (1, B, H); return y (T, B, H) and the last h (1, B, H)."""
        h = x.new_zeros(x.shape[1], self.hidden_size) if h is None else h[0]
        y = []
        for x_t in x:
            r = torch.sigmoid(self.reset_x(x_t) + self.reset_h(h))
            z = torch.sigmoid(self.update_x(x_t) + self.update_h(h))
            n = torch.tanh(self.new_x(x_t) + r * self.new_h(h))
            h = z * h + (1 - r) * n
            y.append(h)
        return torch.stack(y), h[None]
