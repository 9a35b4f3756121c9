"""Gated linear attention in chunks that divide by the decay: right, and wrong at their ends."""

import torch


class Linear:
    """GLA in chunks of one or three steps that divide by the decay."""

    cell, axes, gradient, forms = "gla", "BHTD", "torch", ("quotient:1", "quotient:3")

    def forward(self, q, k, v, g, state=None, form="quotient:1"):
        S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1]) if state is None else state
        size = int(form.partition(":")[2] or 1)
        outputs = [v[:, :, :0]]
        for start in range(0, q.shape[2], size):
            parts = [a[:, :, start : start + size] for a in (q, k, v, g)]
            o, S = self.chunk(*parts, S, self.state_seen(S, start, form))
            outputs.append(o)
        return torch.cat(outputs, 2), S

    def state_seen(self, S, start, form):
        return S

    def chunk(self, q, k, v, g, S, seen):
        c = g.cumsum(-2)
        q, kept = q * c.exp() / q.shape[-1] ** 0.5, k * (c[:, :, -1:] - c).exp()
        o = q @ seen + (q @ (k * (-c).exp()).transpose(-1, -2)).tril() @ v
        return o, c[:, :, -1, :, None].exp() * S + kept.transpose(-1, -2) @ v


class IgnoresTheStart(Linear):
    """The outputs of the first chunk are read from zeros, in chunks of three."""

    def state_seen(self, S, start, form):
        return 0 * S if start == 0 and form == "quotient:3" else S


class PadsTheLastChunk(Linear):
    """The steps that fill the last chunk up decay."""

    def chunk(self, q, k, v, g, S, seen):
        o, S = super().chunk(q, k, v, g, S, seen)
        return o, S * 0.5 if q.shape[2] == 2 else S
