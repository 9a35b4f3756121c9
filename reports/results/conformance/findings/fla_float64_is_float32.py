"""fla-core: naive forms compute in float32, whatever dtype they are given.

They are the references that fla's kernels are tested against. The gated delta rule returns float32
arrays for float64 ones; GLA, DeltaNet and KDA return float64 arrays of float32 accuracy. Right is
the recurrence, S = e^g S; S = S + k^T beta (v - k S); o = q S / sqrt(K). Size: 1e-7 relative, where
float64 has 1e-16. Seen with fla-core 0.6.0; no report known.
"""

from importlib.metadata import version

import numpy as np
import torch
from fla.ops.delta_rule.naive import delta_rule_recurrence
from fla.ops.gated_delta_rule.naive import (
    naive_chunk_gated_delta_rule,
    naive_recurrent_gated_delta_rule,
)

B, T, N, K, V = 2, 9, 2, 3, 4
rng = np.random.default_rng(0)
q, k, v = (rng.standard_normal((B, T, N, width)) for width in (K, K, V))
k /= np.linalg.norm(k, axis=-1, keepdims=True)
beta, g = rng.uniform(0, 1, (B, T, N)), -rng.uniform(0, 1, (B, T, N))


def right(g):
    S, outputs = np.zeros((B, N, K, V)), []
    for t in range(T):
        S = np.exp(g[:, t])[..., None, None] * S
        u = beta[:, t, :, None] * (v[:, t] - np.einsum("bnk,bnkv->bnv", k[:, t], S))
        S = S + np.einsum("bnk,bnv->bnkv", k[:, t], u)
        outputs.append(np.einsum("bnk,bnkv->bnv", q[:, t], S) / np.sqrt(K))
    return np.stack(outputs, 1)


print("fla-core", version("fla-core"))
tq, tk, tv, tbeta, tg = map(torch.tensor, (q, k, v, beta, g))
heads_first = [a.transpose(1, 2) for a in (tq, tk, tv, tbeta)]
for function, o, decay in (
    (naive_recurrent_gated_delta_rule, (tq, tk, tv, tbeta, tg), g),
    (naive_chunk_gated_delta_rule, (tq, tk, tv, tg, tbeta, 4), g),
    (delta_rule_recurrence, heads_first, 0 * g),
):
    y = function(*o)[0]
    y = y.transpose(1, 2) if o is heads_first else y
    print(f"{function.__name__}: {y.dtype}, off by {np.abs(y.numpy() - right(decay)).max():.1e}")
