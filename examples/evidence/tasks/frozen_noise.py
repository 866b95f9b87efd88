"""Frozen-noise patterns in a recurrent DynapSim network, whose weights and currents are the chip's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import limpet
from dynapse_frozen_noise import FrozenNoise, TrainConfig, build_network

from ._task import COSTLY, Batch, Task, cross_entropy
from .spoken import as_arrays, overlaid

EXAMPLES = {"training_set": 3000, "validation_set": 300, "test_set": 300}
SETTINGS = TrainConfig(
    steps=1,
    batch_size=32,
    learning_rate=0.03,
    neurons_per_class=4,
    test_patterns=1,
    classes=10,
    channels=60,
    timesteps=100,
    spike_probability=0.05,
    deleted=0.2,
    added=0.01,
)
"""Those of configs/dynapse.yaml but for fewer neurons a class; numbers of steps and of patterns are the task's."""


def relative(sigma: float) -> limpet.Hardware:
    return limpet.Hardware(
        weights=limpet.Part("dynapse-weights", limpet.Gaussian(sigma=sigma)),
        currents=limpet.Part("dynapse-frozen", limpet.Gaussian(sigma=sigma)),
    )


def frozen_noise() -> Task:
    patterns, generator = FrozenNoise(SETTINGS, 0), np.random.default_rng([0, 3])
    sets: dict[str, Any] = {
        name: tuple(jnp.asarray(part) for part in patterns.sample(generator, count)) for name, count in EXAMPLES.items()
    }
    net = build_network(SETTINGS, 0)
    whole = as_arrays(limpet.attributes(net))

    def initialised(seed: int) -> tuple[Any, Any]:
        return as_arrays(build_network(SETTINGS, seed).parameters()), whole

    def loss_fn(tree: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        spikes, _, _ = net.set_attributes(tree).reset_state()(batch[0])
        logits = spikes.sum(axis=1).reshape(len(spikes), SETTINGS.classes, -1).mean(axis=-1)
        return cross_entropy(logits, batch[1]), logits

    def accuracy(tree: Any, batch: Batch) -> jax.Array:
        return (loss_fn(tree, batch)[1].argmax(axis=-1) == batch[1]).mean()

    # As of examples/dynapse_frozen_noise.py: gradients are about 1e-7, and on some chips of any size.
    direction = optax.chain(optax.normalize_by_update_norm(), optax.scale_by_adam(eps=1e-16))
    return Task(
        title="Frozen noise, a recurrent DynapSim of 40 neurons",
        **sets,
        initialised=initialised,
        joined=lambda params, kept: overlaid(kept, params),
        loss_fn=loss_fn,
        accuracy=accuracy,
        model=net,
        relative=relative,
        sigma=0.2,
        seconds=10.0,
        rate=0.03,  # of 0.01 and 0.03, by forward noise on the validation set
        batch=32,
        seeds=3,
        target=0.9,
        ways=COSTLY,
        direction=optax.apply_if_finite(direction, max_consecutive_errors=100),
    )
