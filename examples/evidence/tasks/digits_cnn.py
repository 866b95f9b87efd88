"""scikit-learn's digits in a convolutional network of Flax nnx with batch normalisation."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import limpet
from digits import CLASSES

from ._task import FEWER, Batch, Calibrate, Task, by_gradients, cross_entropy
from .convolution import pooled, windows
from .digits_dense import digits, relative

CHANNELS = (8, 16)


class Network(nnx.Module):
    """Two convolutions, each normalised, and a readout. Kernels are analog, all else is digital."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        first, second = CHANNELS
        self.conv_0 = nnx.Linear(9, first, use_bias=False, rngs=rngs)
        self.norm_0 = nnx.BatchNorm(first, momentum=0.95, rngs=rngs)
        self.conv_1 = nnx.Linear(9 * first, second, use_bias=False, rngs=rngs)
        self.norm_1 = nnx.BatchNorm(second, momentum=0.95, rngs=rngs)
        self.out = nnx.Linear(4 * second, CLASSES, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        images = jnp.pad(images.reshape(-1, 8, 8, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
        images = pooled(nnx.relu(self.norm_0(self.conv_0(windows(images, 3)))))
        images = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        images = pooled(nnx.relu(self.norm_1(self.conv_1(windows(images, 3)))))
        return self.out(images.reshape(len(images), -1))


def loss_fn(model: Network, batch: Batch) -> tuple[jax.Array, jax.Array]:
    outputs = model(batch[0])
    return cross_entropy(outputs, batch[1]), outputs


def deployed_loss(model: Network, batch: Batch) -> jax.Array:
    model.eval()
    return loss_fn(model, batch)[0]


def accuracy(model: Network, batch: Batch) -> jax.Array:
    model.eval()
    return (model(batch[0]).argmax(axis=-1) == batch[1]).mean()


def statistics_again(**settings: Any) -> Calibrate:
    """`limpet.StatisticsFit`: forward passes on each chip, without labels or gradients."""

    def update(model: Network, batch: Batch) -> None:
        model.train()
        model(batch[0])

    def calibrate(model: Network, recipe: limpet.Recipe, batches: list[Batch], **chips: Any) -> Any:
        fit = limpet.StatisticsFit(update, batches, **settings)
        return limpet.calibrate(fit, model, recipe, metric_fn=accuracy, **chips)

    return calibrate


def digits_cnn() -> Task:
    data = digits(hidden=64)
    model = Network(nnx.Rngs(0))
    structure = nnx.split(model, nnx.Param, ...)[0]

    def initialised(seed: int) -> tuple[Any, Any]:
        _, params, kept = nnx.split(Network(nnx.Rngs(seed)), nnx.Param, ...)
        return params, kept

    return Task(
        title="Digits, convolutions of 8 and 16 channels with BatchNorm",
        training_set=data.training_set,
        validation_set=data.validation_set,
        test_set=data.test_set,
        initialised=initialised,
        joined=lambda params, kept: nnx.merge(structure, params, kept, copy=True),  # variables of the trace at hand
        kept_of=lambda model, kept: nnx.split(model, nnx.Param, ...)[2],
        loss_fn=loss_fn,
        accuracy=accuracy,
        model=model,
        relative=relative,
        sigma=0.5,
        seconds=6.0,
        rate=3e-3,  # of 1e-3, 3e-3 and 1e-2, by forward noise and calibrated chips on the validation set
        steps=2000,
        ways=FEWER,
        calibrations={
            "statistics": statistics_again(steps=60),
            "scales and biases": by_gradients(
                deployed_loss, accuracy, trainable=("norm_*/scale", "*/bias"), steps=60, optimizer=optax.adam(3e-2)
            ),
        },
    )
