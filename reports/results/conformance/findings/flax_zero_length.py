"""Flax: a row of length 0 ends in the state of the last step, not in its initial state.

``flax.linen.RNN`` and ``flax.nnx.RNN`` take the state at index ``length - 1``, which is -1 and
wraps around. Size: as far as the padding takes the state. Seen with flax 0.12.8; no report known.
"""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

LENGTHS = jnp.array([0, 5])
x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
start = jnp.full((2, 4), 0.25)
linen = nn.RNN(nn.GRUCell(4), return_carry=True)
variables = linen.init(jax.random.key(0), x)
layer = nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)), return_carry=True)


def linen_final(**more):
    return linen.apply(variables, x, initial_carry=start, **more)[0]


def nnx_final(**more):
    return layer(x, initial_carry=start, **more)[0]


print("flax", flax.__version__, "jax", jax.__version__)
for name, final in (("linen", linen_final), ("nnx", nnx_final)):
    print(f"{name}: initial state {start[0]}, length 0 ends in {final(seq_lengths=LENGTHS)[0]}, "
          f"all 5 steps end in {final()[0]}")  # fmt: skip
