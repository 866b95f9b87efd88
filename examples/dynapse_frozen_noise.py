"""Train a DynapSim network under mismatch, and measure it on a hundred virtual chips.

Frozen-noise classification, as in the work on DYNAP-SE2: each class is a fixed random spike pattern, jittered by
deleted and added spikes. Three networks with the same start, data and number of steps are trained: `standard`;
`dynamic` (fresh weight mismatch at every step); `mismatch` (fresh weight mismatch and a fresh frozen chip at every
step). All three are then evaluated on the same virtual chips; and again as DYNAP-SE2 would hold them: `deployed`.

    python examples/dynapse_frozen_noise.py --config configs/dynapse.yaml --set seed=1 --set train.steps=400
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import Field

import limpet
from comparison import Train, run_example

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
AtLeastOne = Annotated[int, Field(ge=1)]


class TrainConfig(limpet.Section):
    """The `train` section of configs/dynapse.yaml."""

    steps: AtLeastOne
    batch_size: AtLeastOne
    learning_rate: Positive
    neurons_per_class: AtLeastOne
    test_patterns: AtLeastOne
    classes: Annotated[int, Field(ge=2)]
    channels: AtLeastOne
    timesteps: AtLeastOne
    spike_probability: Fraction
    deleted: Fraction
    added: Fraction


class ExampleConfig(limpet.Config):
    """Limpet's configuration, with this script's own section checked as strictly."""

    train: TrainConfig = Field(...)


class FrozenNoise:
    """Batches of jittered spike patterns: rasters (batch, timesteps, channels) of 0 and 1, labels (batch,)."""

    def __init__(self, config: TrainConfig, seed: int) -> None:
        self.config = config
        shape = (config.classes, config.timesteps, config.channels)
        self.patterns = np.random.default_rng([seed, 0]).random(shape) < config.spike_probability

    def sample(self, generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = generator.integers(0, self.config.classes, count)
        kept = self.patterns[labels] & (generator.random((count, *self.patterns.shape[1:])) >= self.config.deleted)
        added = generator.random(kept.shape) < self.config.added
        return (kept | added).astype(np.float32), labels.astype(np.int32)

    def batches(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        generator = np.random.default_rng([seed, 1])
        while True:
            yield self.sample(generator, self.config.batch_size)

    def test_set(self, seed: int) -> tuple[jax.Array, jax.Array]:
        rasters, labels = self.sample(np.random.default_rng([seed, 2]), self.config.test_patterns)
        return jnp.asarray(rasters), jnp.asarray(labels)


def build_network(config: TrainConfig, seed: int) -> Any:
    with warnings.catch_warnings():  # Rockpool reports every back end that is not installed
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        from rockpool.devices.dynapse import DynapSim
        from rockpool.nn.combinators import Sequential
        from rockpool.nn.modules import LinearJax
    logging.disable(logging.NOTSET)

    np.random.seed(seed)  # Rockpool initialises from NumPy's global generator
    neurons = config.classes * config.neurons_per_class
    return Sequential(LinearJax((config.channels, neurons), has_bias=False), DynapSim((neurons, neurons), has_rec=True))


def network(config: limpet.Config) -> Any:
    """The network to be trained, as `limpet check --model examples/dynapse_frozen_noise.py:network` wants it."""
    return build_network(TrainConfig.model_validate(config.train), config.seed)


def loss_and_accuracy(
    net: Any, classes: int
) -> tuple[Callable[[Any, Any], jax.Array], Callable[[Any, Any], jax.Array]]:
    """Both of (tree, batch), read out by the mean spike count of each class's neurons."""

    def logits(tree: Any, rasters: jax.Array) -> jax.Array:
        spikes, _, _ = net.set_attributes(tree).reset_state()(rasters)
        return spikes.sum(axis=1).reshape(len(rasters), classes, -1).mean(axis=-1)

    def loss_fn(tree: Any, batch: Any) -> jax.Array:
        rasters, labels = batch
        return optax.softmax_cross_entropy_with_integer_labels(logits(tree, rasters), labels).mean()

    def accuracy(tree: Any, batch: Any) -> jax.Array:
        rasters, labels = batch
        return (logits(tree, rasters).argmax(axis=-1) == labels).mean()

    return loss_fn, accuracy


def build_optimizer(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """Adam as a DynapSim under mismatch needs it.

    Its gradients are about 1e-7: Adam's usual eps of 1e-8 would swamp them. Gaussian mismatch of sigma 0.2 and more now
    and then draws a chip that hardly works, with a gradient of any size, or NaN: all are brought to one length, lest
    one freezes Adam's second moment, and NaN steps are skipped.
    """
    schedule = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.1)
    adam = optax.chain(optax.normalize_by_update_norm(), optax.adam(schedule, eps=1e-16))
    return optax.apply_if_finite(adam, max_consecutive_errors=100)


def train(
    net: Any, config: ExampleConfig, data: FrozenNoise, tick: Callable[[], None]
) -> dict[str, limpet.RobustnessCurve]:
    """The user's own loop, with Limpet's three lines; returns robustness curves, as trained and as deployed."""
    settings = config.train

    loss_fn, accuracy = loss_and_accuracy(net, settings.classes)
    # Limpet, line 1 of 3: what deviates on a chip, what training redraws, what is measured.
    callback = limpet.MismatchCallback(net, config, metric_fn=accuracy, eval_batch=data.test_set(config.seed))

    optimizer = build_optimizer(settings.learning_rate, settings.steps)
    params = jax.tree.map(jnp.float32, net.parameters())
    opt_state = optimizer.init(params)

    @jax.jit
    def update(params: Any, opt_state: Any, step: jax.Array, batch: Any) -> tuple[Any, Any, jax.Array]:
        # Line 2 of 3: the loss sees deviated values, the optimizer keeps nominal ones.
        loss, grads = jax.value_and_grad(lambda p: loss_fn(callback.inject(p, step), batch))(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    with callback:
        for step, batch in zip(range(settings.steps), data.batches(config.seed), strict=False):
            params, opt_state, loss = update(params, opt_state, jnp.int32(step), batch)
            callback(step, params, {"loss": loss})  # line 3 of 3: logs, and evaluates when it is due
            tick()
        trained = callback.evaluate(settings.steps, params)["accuracy"]
    # As DYNAP-SE2 would hold it: mismatch then falls on the branch currents of synapses.
    deployment, measured = limpet.dynapse.deploy(net, params, prune=True), config.robustness
    chips, test_set = limpet.Chips(measured.chips, seed=config.chip_seed, progress=False), data.test_set(config.seed)
    deployed = deployment.curve(accuracy, config.hardware, scales=measured.scales, chips=chips, batch=test_set)
    return {"": trained, ", deployed": deployed}


def prepare(config: ExampleConfig, arguments: argparse.Namespace) -> Train:
    """Data and network, the same for all three."""
    data = FrozenNoise(config.train, config.seed)
    net = build_network(config.train, config.seed)
    return lambda variant, tick: train(net, variant, data, tick)


NETWORKS: dict[str, tuple[str, ...]] = {
    "standard": ("training={}",),
    "dynamic": ("training.frozen=null",),
    "mismatch": (),
}

if __name__ == "__main__":
    sys.exit(run_example(__doc__, "configs/dynapse.yaml", ExampleConfig, NETWORKS, prepare))
