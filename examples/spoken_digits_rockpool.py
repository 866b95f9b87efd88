"""Rockpool: spoken digits through a filter bank and a layer of LIF neurons, with and without mismatch in training.

python examples/spoken_digits_rockpool.py --data recordings/
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import Field

import limpet
from comparison import Train, run_example
from spoken_digits import CHANNELS, FRAME, HOW_TO_GET_IT, RATE, Examples, load

Batch = tuple[jax.Array, jax.Array]
CLASSES = 10


class TrainConfig(limpet.Section):
    """The `train` section of configs/spoken_digits.yaml."""

    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    neurons: Annotated[int, Field(ge=1)]


class SpokenConfig(limpet.Config):
    """Limpet's configuration, with this script's own section checked as strictly."""

    train: TrainConfig = Field(...)


def build_network(neurons: int, seed: int) -> Any:
    """Filter bank to LIF neurons to readout. Time constants are per neuron, as on a chip."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)  # Rockpool warns of optional packages when it is imported
        from rockpool.nn.combinators import Sequential
        from rockpool.nn.modules import LIFJax, LinearJax

        logging.disable(logging.NOTSET)
        np.random.seed(seed)  # Rockpool initialises from NumPy's global generator
        hidden = LIFJax(neurons, tau_mem=np.full(neurons, 0.1), tau_syn=np.full(neurons, 0.05), dt=FRAME / RATE)
        return Sequential(
            LinearJax((CHANNELS, neurons), has_bias=False), hidden, LinearJax((neurons, CLASSES), has_bias=False)
        )


def loss_and_accuracy(net: Any) -> tuple[Callable[[Any, Batch], jax.Array], Callable[[Any, Batch], jax.Array]]:
    def logits(tree: Any, frames: jax.Array) -> jax.Array:
        out, _, _ = net.set_attributes(tree).reset_state()(frames)
        return out.mean(axis=1)

    def loss_fn(tree: Any, batch: Batch) -> jax.Array:
        frames, labels = batch
        return optax.softmax_cross_entropy_with_integer_labels(logits(tree, frames), labels).mean()

    def accuracy(tree: Any, batch: Batch) -> jax.Array:
        frames, labels = batch
        return (logits(tree, frames).argmax(axis=-1) == labels).mean()

    return loss_fn, accuracy


def batches(examples: Examples, seed: int, size: int) -> Iterator[Batch]:
    features, labels = examples
    generator = np.random.default_rng([seed, 1])
    while True:
        chosen = generator.integers(0, len(labels), size)
        yield jnp.asarray(features[chosen]), jnp.asarray(labels[chosen])


def train(net: Any, config: SpokenConfig, data: tuple[Examples, Examples], tick: Any) -> limpet.RobustnessCurve:
    settings = config.train
    examples, test = data
    loss_fn, accuracy = loss_and_accuracy(net)
    # Limpet, line 1 of 3: what deviates on a chip, what training redraws, what is measured.
    callback = limpet.MismatchCallback(net, config, metric_fn=accuracy, eval_batch=(test[0], test[1]))

    schedule = optax.cosine_decay_schedule(settings.learning_rate, settings.steps, alpha=0.1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    params = jax.tree.map(jnp.float32, net.parameters("weights"))  # time constants and thresholds are the chip's
    state = optimizer.init(params)

    @jax.jit
    def update(params: Any, state: Any, step: jax.Array, batch: Batch) -> tuple[Any, Any, jax.Array]:
        # Line 2 of 3: the loss sees deviated values, the optimizer keeps nominal ones.
        loss, grads = jax.value_and_grad(lambda p: loss_fn(callback.inject(p, step), batch))(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    with callback:
        stream = batches(examples, config.seed, settings.batch_size)
        for step, batch in zip(range(settings.steps), stream, strict=False):
            params, state, loss = update(params, state, jnp.int32(step), batch)
            callback(step, params, {"loss": loss})  # line 3 of 3: logs, and evaluates when it is due
            tick()
        return callback.evaluate(settings.steps, params)["accuracy"]


def prepare(config: SpokenConfig, arguments: argparse.Namespace) -> Train:
    data = load(arguments.data)
    net = build_network(config.train.neurons, config.seed)
    return lambda variant, tick: train(net, variant, data, tick)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help=HOW_TO_GET_IT)


NETWORKS: dict[str, tuple[str, ...]] = {"standard": ("training={}",), "mismatch": ()}

if __name__ == "__main__":
    sys.exit(run_example(__doc__, "configs/spoken_digits.yaml", SpokenConfig, NETWORKS, prepare, add_arguments))
