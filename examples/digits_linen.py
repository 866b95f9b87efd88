"""Flax Linen: the same classifier in a TrainState loop with mutable batch statistics.

python examples/digits_linen.py --config configs/digits.yaml
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

import limpet
from comparison import Train, run_example
from digits import CLASSES, NETWORKS, PIXELS, Batch, Digits, DigitsConfig


class Classifier(nn.Module):
    hidden: int

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        found = nn.BatchNorm(use_running_average=not train)(nn.Dense(self.hidden)(images))
        found = nn.Dropout(0.1, deterministic=not train)(nn.relu(found))
        return nn.Dense(CLASSES)(found)


class State(TrainState):
    """With the statistics that BatchNorm gathers."""

    batch_stats: Any


def train(config: DigitsConfig, data: Digits, tick: Callable[[], None]) -> limpet.RobustnessCurve:
    settings = config.train
    model = Classifier(settings.hidden)
    variables = model.init(jax.random.key(config.seed), jnp.zeros((1, PIXELS)), train=False)
    state = State.create(
        apply_fn=model.apply,
        params=variables["params"],
        tx=optax.adam(settings.learning_rate),
        batch_stats=variables["batch_stats"],
    )

    def accuracy(variables: Any, batch: Batch) -> jax.Array:
        images, labels = batch
        return (model.apply(variables, images, train=False).argmax(axis=-1) == labels).mean()  # pyright: ignore[reportAttributeAccessIssue]

    # Limpet, line 1 of 3: what deviates on a chip, what training redraws, what is measured.
    callback = limpet.MismatchCallback(variables, config, metric_fn=accuracy, eval_batch=data.test_set)

    @jax.jit
    def update(state: State, batch: Batch) -> tuple[State, jax.Array]:
        images, labels = batch

        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            # Line 2 of 3: the loss sees deviated kernels.
            variables = callback.inject({"params": params, "batch_stats": state.batch_stats}, state.step)
            dropout = {"dropout": jax.random.fold_in(jax.random.key(config.seed), state.step)}
            logits, updated = model.apply(variables, images, train=True, rngs=dropout, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updated["batch_stats"]

        (loss, batch_stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads, batch_stats=batch_stats), loss

    with callback:
        batches = data.batches(config.seed, settings.batch_size)
        for step, batch in zip(range(settings.steps), batches, strict=False):
            state, loss = update(state, batch)
            variables = {"params": state.params, "batch_stats": state.batch_stats}
            callback(step, variables, {"loss": loss})  # line 3 of 3: logs, and evaluates when it is due
            tick()
        return callback.evaluate(settings.steps, variables)["accuracy"]


def prepare(config: DigitsConfig, arguments: argparse.Namespace) -> Train:
    data = Digits(config.seed)
    return lambda variant, tick: train(variant, data, tick)


if __name__ == "__main__":
    sys.exit(run_example(__doc__, "configs/digits.yaml", DigitsConfig, NETWORKS, prepare))
