"""optax without a framework, and without a step counter: the optimizer's state names each step's draw.

python examples/digits_optax.py --config configs/digits.yaml
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
from digits import CLASSES, NETWORKS, PIXELS, Batch, Digits, DigitsConfig


def initialised(seed: int, hidden: int) -> dict[str, Any]:
    first, second = jax.random.split(jax.random.key(seed))
    return {
        "hidden": {"kernel": jax.random.normal(first, (PIXELS, hidden)) / PIXELS**0.5, "bias": jnp.zeros(hidden)},
        "out": {"kernel": jax.random.normal(second, (hidden, CLASSES)) / hidden**0.5, "bias": jnp.zeros(CLASSES)},
    }


def logits(params: Any, images: jax.Array) -> jax.Array:
    found = jax.nn.relu(images @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return found @ params["out"]["kernel"] + params["out"]["bias"]


def loss_fn(params: Any, batch: Batch) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, batch[0]), batch[1]).mean()


def plain_loss(params: Any, key: jax.Array, batch: Batch) -> jax.Array:
    """What the standard network is trained with."""
    return loss_fn(params, batch)


def accuracy(params: Any, batch: Batch) -> jax.Array:
    return (logits(params, batch[0]).argmax(axis=-1) == batch[1]).mean()


def train(config: DigitsConfig, data: Digits, tick: Callable[[], None]) -> limpet.RobustnessCurve:
    settings = config.train
    params = initialised(config.seed, settings.hidden)
    # Limpet, line 1 of 3: the loss on a drawn chip, a function of (params, key, batch).
    noisy_loss, mismatch = plain_loss, config.hardware.on(params)
    if config.training and config.training.dynamic:
        noisy_loss = limpet.with_mismatch(loss_fn, mismatch, condition=config.training.dynamic.scale)
    # Line 2 of 3: the optimizer's state counts the steps and holds the key.
    optimizer = optax.chain(limpet.track_mismatch(config.seed), optax.adam(settings.learning_rate))
    state = optimizer.init(params)

    @jax.jit
    def update(params: Any, state: Any, batch: Batch) -> tuple[Any, Any]:
        # Line 3 of 3: the draw of this step.
        grads = jax.grad(noisy_loss)(params, limpet.mismatch_key(state), batch)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for _, batch in zip(range(settings.steps), data.batches(config.seed, settings.batch_size), strict=False):
        params, state = update(params, state, batch)
        tick()
    return limpet.robustness_curve(
        accuracy,
        params,
        mismatch,
        scales=config.robustness.scales,
        chips=limpet.Chips(config.robustness.chips, seed=config.chip_seed, progress=False),
        batch=data.test_set,
    )


def prepare(config: DigitsConfig, arguments: argparse.Namespace) -> Train:
    data = Digits(config.seed)
    return lambda variant, tick: train(variant, data, tick)


if __name__ == "__main__":
    sys.exit(run_example(__doc__, "configs/digits.yaml", DigitsConfig, NETWORKS, prepare))
