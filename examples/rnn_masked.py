"""An RNN that masks steps beyond a row's length by a product: NaN in the padding spreads."""

import numpy as np


class RNN:
    cell, weights, axes, state = "rnn", "torch", "BTD", "h"

    def forward(self, x, h0, weight_ih, weight_hh, bias_ih, bias_hh, lengths=None):
        h = np.zeros((len(x), len(weight_hh)), x.dtype) if h0 is None else h0
        y = []
        for t in range(x.shape[1]):
            new = np.tanh(x[:, t] @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh)
            inside = np.ones((len(x), 1)) if lengths is None else (lengths > t)[:, None]
            h = (inside * new + (1 - inside) * h).astype(x.dtype)
            y.append(h * inside)
        return np.stack(y, axis=1).astype(x.dtype), h
