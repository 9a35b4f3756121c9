"""transformers: the gated delta rule, Mamba-2 and Mamba compute float64 in float32 on the CPU.

The paths in PyTorch, which stand in for kernels, cast to float32 and back, so results are float64
arrays of float32 accuracy, also of a model in float64. Right is the recurrence. Size: 1e-7
relative, where float64 has 1e-16. Seen with transformers 5.24.0; no report known.
"""

import inspect

import numpy as np
import torch
import transformers
from transformers.models.mamba2 import modeling_mamba2
from transformers.models.qwen3_next import modeling_qwen3_next

B, T, N, K, V = 2, 9, 2, 3, 4
rng = np.random.default_rng(0)
q, k, v = (rng.standard_normal((B, T, N, width)) for width in (K, K, V))
beta, g = rng.uniform(0, 1, (B, T, N)), -rng.uniform(0, 1, (B, T, N))
x, dt = rng.standard_normal((B, T, N, V)), rng.uniform(0, 1, (B, T, N))
Bs, Cs = rng.standard_normal((2, B, T, K))
A, D = -rng.uniform(0, 1, N), rng.standard_normal(N)


def delta():
    S, outputs = np.zeros((B, N, K, V)), []
    for t in range(T):
        S = np.exp(g[:, t])[..., None, None] * S
        u = beta[:, t, :, None] * (v[:, t] - np.einsum("bnk,bnkv->bnv", k[:, t], S))
        S = S + np.einsum("bnk,bnv->bnkv", k[:, t], u)
        outputs.append(np.einsum("bnk,bnkv->bnv", q[:, t], S) / np.sqrt(K))
    return np.stack(outputs, 1)


def ssd():
    S, outputs = np.zeros((B, N, V, K)), []
    for t in range(T):
        S = np.exp(dt[:, t] * A)[..., None, None] * S
        S = S + np.einsum("bn,bnv,bk->bnvk", dt[:, t], x[:, t], Bs[:, t])
        outputs.append(np.einsum("bnvk,bk->bnv", S, Cs[:, t]) + D[:, None] * x[:, t])
    return np.stack(outputs, 1)


def own(function):
    """Return the path in PyTorch, where another package's kernel is installed, too."""
    return inspect.unwrap(function)


print("transformers", transformers.__version__)
arrays = map(torch.tensor, (q, k, v, g, beta))
y = own(modeling_qwen3_next.torch_recurrent_gated_delta_rule)(*arrays)[0]
print(
    f"torch_recurrent_gated_delta_rule: {y.dtype}, off by {np.abs(y.numpy() - delta()).max():.1e}"
)
arrays = map(torch.tensor, (x, dt, A, Bs[:, :, None], Cs[:, :, None]))
y = own(modeling_mamba2.mamba2_chunk_scan)(*arrays, 4, D=torch.tensor(D))
y = y[0] if isinstance(y, tuple) else y
print(f"mamba2_chunk_scan: {y.dtype}, off by {np.abs(y.numpy() - ssd()).max():.1e}")
