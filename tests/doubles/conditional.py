"""Layers that raise, or return another dtype or shape, under one condition each."""

import numpy as np
import torch

import hand_written
import plain_numpy


class Under(hand_written.LSTM):
    """A right LSTM that indexes past the end of its input where ``condition`` holds."""

    def forward(self, x, hx=None):
        if self.condition(x, hx):
            x = x[len(x)]
        return super().forward(x, hx)


def under(name, condition):
    """Return such a layer of this name."""
    return type(name, (Under,), {"condition": condition})


OneStep = under("OneStep", lambda self, x, hx: len(x) == 1)
TwoLayers = under("TwoLayers", lambda self, x, hx: self.num_layers > 1)
GivenState = under("GivenState", lambda self, x, hx: hx is not None and x.shape[1] > 2)
SinglePrecision = under(
    "SinglePrecision", lambda self, x, hx: x.dtype == torch.float32 and len(x) > 1
)
SquareWeights = under("SquareWeights", lambda self, x, hx: x.shape[2] == self.hidden_size)
ManySteps = under("ManySteps", lambda self, x, hx: len(x) > 4)


class OneStepOrOneRow(hand_written.LSTM):
    """It raises for one step, and elsewhere for one row."""

    def forward(self, x, hx=None):
        if len(x) == 1:
            x = x[len(x)]
        if x.shape[1] == 1:
            x = x[:, 1]
        return super().forward(x, hx)


class CellInFloat32(hand_written.LSTM):
    """The final states come back in the default dtype where a state was given."""

    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        return y, final if hx is None else tuple(s.float() for s in final)


class RowsFirst(hand_written.LSTM):
    def forward(self, x, hx=None):
        y, (h, c) = super().forward(x, hx)
        return y, (h.transpose(0, 1), c)


class OneRowAndSwapped(hand_written.SwapsGates):
    """It raises for one row, and takes one gate for another for more."""

    def forward(self, x, hx=None):
        if x.shape[1] == 1:
            x = x.squeeze()[len(x)]
        return super().forward(x, hx)


class OneRowBackward(plain_numpy.LSTM):
    """Its backward loses the axis of rows where there is one row."""

    def vjp(self, params, x, state, dy, dstate, lengths=None):
        np.einsum("tbd,tbh->dh", np.squeeze(x) if x.shape[1] == 1 else x, dy)
        return super().vjp(params, x, state, dy, dstate, lengths)
