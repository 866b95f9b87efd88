"""Flax nnx: a classifier of digits with BatchNorm and dropout, trained with and without mismatch on its kernels.

python examples/digits_nnx.py --config configs/digits.yaml
"""

import argparse
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import limpet
from comparison import Train, run_example
from digits import CLASSES, NETWORKS, PIXELS, Batch, Digits, DigitsConfig


class Classifier(nnx.Module):
    def __init__(self, hidden: int, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(PIXELS, hidden, rngs=rngs)
        self.norm = nnx.BatchNorm(hidden, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.out = nnx.Linear(hidden, CLASSES, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.out(self.dropout(nnx.relu(self.norm(self.hidden(images)))))


def loss_fn(model: Classifier, batch: Batch) -> jax.Array:
    images, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


def accuracy(model: Classifier, batch: Batch) -> jax.Array:
    images, labels = batch
    model.eval()
    return (model(images).argmax(axis=-1) == labels).mean()


def train(config: DigitsConfig, data: Digits, tick: Callable[[], None]) -> limpet.RobustnessCurve:
    settings = config.train
    model = Classifier(settings.hidden, nnx.Rngs(config.seed))
    optimizer = nnx.Optimizer(model, optax.adam(settings.learning_rate), wrt=nnx.Param)

    # Limpet, line 1 of 3: what deviates on a chip, what training redraws, what is measured.
    callback = limpet.MismatchCallback(model, config, metric_fn=accuracy, eval_batch=data.test_set)

    @nnx.jit
    def update(model: Classifier, optimizer: nnx.Optimizer, step: jax.Array, batch: Batch) -> jax.Array:
        # Line 2 of 3: the loss sees deviated kernels; batch statistics and dropout counters flow back to `model`.
        loss, grads = nnx.value_and_grad(lambda model: loss_fn(callback.inject(model, step), batch))(model)
        optimizer.update(model, grads)
        return loss

    with callback:
        batches = data.batches(config.seed, settings.batch_size)
        for step, batch in zip(range(settings.steps), batches, strict=False):
            loss = update(model, optimizer, jnp.int32(step), batch)
            callback(step, model, {"loss": loss})  # line 3 of 3: logs, and evaluates when it is due
            tick()
        return callback.evaluate(settings.steps, model)["accuracy"]


def prepare(config: DigitsConfig, arguments: argparse.Namespace) -> Train:
    data = Digits(config.seed)
    return lambda variant, tick: train(variant, data, tick)


if __name__ == "__main__":
    sys.exit(run_example(__doc__, "configs/digits.yaml", DigitsConfig, NETWORKS, prepare))
