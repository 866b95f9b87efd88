"""A measurement and a data-parallel step that one process and several are to do alike."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from virtual_chips import measured_on

import limpet
from limpet.draws._keys import step_key

LAYERS = {f"dense_{index}": jax.random.normal(jax.random.key(index), (24, 24)) / 5 for index in range(3)}
MISMATCH = limpet.Mismatch(dict.fromkeys(LAYERS, True), limpet.Gaussian(0.1))
X = jax.random.normal(jax.random.key(9), (40, 24))

PARAMS = {"kernel": jnp.linspace(-1.0, 1.0, 12).reshape(4, 3), "bias": jnp.zeros(3)}
KERNEL_MISMATCH = limpet.Mismatch({"kernel": True, "bias": False}, limpet.Gaussian(0.1))
BATCH = jax.random.normal(jax.random.key(0), (16, 4))


def loss(tree, x):
    """Sums of many terms, whose last bits show any change of their order."""
    for layer in tree.values():
        x = jnp.tanh(x @ layer)
    return -jax.nn.log_softmax(x)[:, 0].mean()


def measure(metric_fn=loss, **changes):
    settings = {"sigmas": [0.1, 0.2], "chips": 40, "batch": X, "higher_is_better": False}
    return limpet.robustness_curve(metric_fn, LAYERS, MISMATCH, **measured_on(settings | changes))


def regression(params, x):
    return (jnp.tanh(x @ params["kernel"] + params["bias"]) ** 2).mean()


def replicated_step(mesh):
    """Loss, and gradient of the kernel, of a step whose batch and parameters are sharded over "data"."""
    noisy = limpet.with_mismatch(regression, KERNEL_MISMATCH, draws="per_replica", mesh=mesh, axis="data")
    by_row, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    placed = {"kernel": jax.device_put(PARAMS["kernel"], by_row), "bias": jax.device_put(PARAMS["bias"], whole)}
    step = jax.jit(jax.value_and_grad(noisy), out_shardings=whole)
    value, grads = step(placed, step_key(0, 5), jax.device_put(BATCH, by_row))
    return np.asarray(value), np.asarray(grads["kernel"])


def find_tail(mesh=None):
    """How probable it is that a chip's loss exceeds a bound that few exceed."""
    chips = limpet.Chips(200, mesh=mesh)
    return limpet.tail_yield(
        loss, LAYERS, MISMATCH, target=3.284, failure=0.1, chips=chips, batch=X, higher_is_better=False
    )
