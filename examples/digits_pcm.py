"""Digits on phase-change memory: accuracy over time since programming, with drift compensated and without.

python examples/digits_pcm.py --config configs/pcm.yaml
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import limpet
from comparison import Train, run_example
from digits import Batch, Digits, DigitsConfig
from digits_optax import accuracy, initialised, loss_fn

NETWORKS: dict[str, tuple[str, ...]] = {
    f"{name}{said}": (*training, *compensation)
    for name, training in {"standard": ("training={}",), "trained": ()}.items()
    for said, compensation in {"": (), ", compensated": ("hardware.drift_compensation=true",)}.items()
}
"""Two networks, each on hardware that leaves drift as it is and on hardware that scales outputs as drift goes on."""


def train(config: DigitsConfig, data: Digits, tick: Callable[[], None]) -> limpet.RobustnessCurve:
    settings = config.train
    params = initialised(config.seed, settings.hidden)
    optimizer = optax.adam(settings.learning_rate)
    state = optimizer.init(params)
    # Limpet, line 1 of 3: what the configuration says, on this network.
    callback = limpet.MismatchCallback(params, config, metric_fn=accuracy, eval_batch=data.test_set)

    @jax.jit
    def update(params: Any, state: Any, step: jax.Array, batch: Batch) -> tuple[Any, Any, jax.Array]:
        # Line 2 of 3: the draw of this step.
        loss, grads = jax.value_and_grad(lambda params: loss_fn(callback.inject(params, step), batch))(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    with callback:
        batches = data.batches(config.seed, settings.batch_size)
        for step, batch in zip(range(settings.steps), batches, strict=False):
            params, state, loss = update(params, state, jnp.int32(step), batch)
            # Line 3 of 3: logs and evaluations.
            callback(step, params, {"loss": loss})
            tick()
        return callback.evaluate(settings.steps, params)["accuracy"]


def prepare(config: DigitsConfig, arguments: argparse.Namespace) -> Train:
    data = Digits(config.seed)
    return lambda variant, tick: train(variant, data, tick)


if __name__ == "__main__":
    sys.exit(run_example(__doc__, "configs/pcm.yaml", DigitsConfig, NETWORKS, prepare))
