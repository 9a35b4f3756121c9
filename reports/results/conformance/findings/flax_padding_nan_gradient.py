"""Flax: NaN in the padding makes every gradient NaN, though outputs and final states are right.

``flax.linen.RNN`` and ``flax.nnx.RNN`` say that padding is ignored. They select the final state
after having run on, so its gradient is 0 times the derivative at a NaN. Size: every gradient is
lost as soon as one padded number is not finite. Seen with flax 0.12.8; no report known.
"""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

LENGTHS = jnp.array([3, 5])
x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
spoilt = x.copy()
spoilt[0, 3:] = np.nan

linen = nn.RNN(nn.LSTMCell(4), return_carry=True)
variables = linen.init(jax.random.key(0), x)
layer = nnx.RNN(nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0)), return_carry=True)


def linen_loss(variables, x):
    (_, h), _ = linen.apply(variables, x, seq_lengths=LENGTHS)
    return h.sum()


def nnx_loss(layer, x):
    (_, h), _ = layer(x, seq_lengths=LENGTHS)
    return h.sum()


print("flax", flax.__version__, "jax", jax.__version__)
for name, loss, grad, model in (
    ("linen", linen_loss, jax.grad, variables),
    ("nnx", nnx_loss, nnx.grad, layer),
):
    for what, given in (("numbers", x), ("NaN", spoilt)):
        leaves = jax.tree.leaves(grad(loss)(model, given))
        finite = all(bool(np.isfinite(leaf).all()) for leaf in leaves)
        print(f"{name}, {what} in the padding: sum of h {loss(model, given):.6f}, "
              f"gradients finite: {finite}")  # fmt: skip
