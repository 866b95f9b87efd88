"""A small Flax nnx network with all kinds of variables: parameters, batch statistics, random state, an own kind."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import limpet


class Conductance(nnx.Variable):
    """A kind of variable of the user's own."""


class Net(nnx.Module):
    def __init__(self, rngs, extra=False):
        self.hidden = nnx.Linear(6, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(8, 8, rngs=rngs)])
        self.gain = Conductance(jnp.ones(8))
        self.head = nnx.Linear(8, 3, rngs=rngs) if not extra else nnx.LoRALinear(8, 3, lora_rank=2, rngs=rngs)

    def __call__(self, x):
        x = self.dropout(nnx.relu(self.norm(self.hidden(x)))) * self.gain[...]
        for block in self.blocks:
            x = nnx.relu(block(x))
        return self.head(x)


X = jax.random.normal(jax.random.key(1), (16, 6))
Y = jax.random.randint(jax.random.key(2), (16,), 0, 3)
KEY = jax.random.key(3, impl=limpet.fast)


def cross_entropy(net, batch=(X, Y)):
    return optax.softmax_cross_entropy_with_integer_labels(net(batch[0]), batch[1]).mean()


def on(net, *rules, **options):
    return limpet.Mismatch(limpet.prototype(net, *rules), limpet.Gaussian(0.1), **options)
