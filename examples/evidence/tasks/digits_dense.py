"""scikit-learn's digits in a dense network of two hidden layers, whose kernels are on a crossbar."""

from typing import Any

import jax

import limpet
from digits import Digits
from digits_calibration import accuracy, initialised, logits

from ._task import ALL, USUAL, Batch, Task, by_gradients, cross_entropy

VALIDATION = 347
"""Of the 1,347 examples of the training set."""


def loss_fn(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
    outputs = logits(params, batch[0])
    return cross_entropy(outputs, batch[1]), outputs


def loss_alone(params: Any, batch: Batch) -> jax.Array:
    return loss_fn(params, batch)[0]


def relative(sigma: float) -> limpet.Hardware:
    return limpet.Hardware(crossbar=limpet.Part("*/kernel", limpet.Gaussian(sigma=sigma)))


def digits(hidden: int) -> Task:
    data = Digits(0)
    images, labels = data.training_set
    return Task(
        title=f"Digits, 64-{hidden}-{hidden}-10",
        training_set=(images[:-VALIDATION], labels[:-VALIDATION]),
        validation_set=(images[-VALIDATION:], labels[-VALIDATION:]),
        test_set=data.test_set,
        initialised=lambda seed: (initialised(seed, hidden), {}),
        loss_fn=loss_fn,
        accuracy=accuracy,
        model=initialised(0, hidden),
        relative=relative,
        sigma=0.7,
        seconds=4.0,
        ways=ALL if hidden == 64 else USUAL,
        calibrations={"biases": by_gradients(loss_alone, accuracy)},
    )
