"""A torch-like LSTM that is wrong in training alone, where dropout masks its outputs."""

import torch


class LSTM(torch.nn.LSTM):
    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        if self.training and self.dropout:
            y = 1.5 * y
        return y, final
