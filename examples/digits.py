"""scikit-learn's 8x8 digits, and the settings that the three digits examples share."""

from collections.abc import Iterator
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field
from sklearn.datasets import load_digits

import limpet

Batch = tuple[jax.Array, jax.Array]
CLASSES = 10
PIXELS = 64


class TrainConfig(limpet.Section):
    """The `train` section of configs/digits.yaml."""

    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    hidden: Annotated[int, Field(ge=1)]


class DigitsConfig(limpet.Config):
    """Limpet's configuration, with the examples' own section checked as strictly."""

    train: TrainConfig = Field(...)


class Digits:
    """Images (batch, 64) from 0 to 1 and labels (batch,): three quarters to train on, one quarter to test."""

    def __init__(self, seed: int) -> None:
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng([seed, 0]).permutation(len(labels))
        self._images = (images[order] / 16).astype(np.float32)
        self._labels = labels[order].astype(np.int32)
        self._train = len(labels) * 3 // 4

    @property
    def test_set(self) -> Batch:
        return jnp.asarray(self._images[self._train :]), jnp.asarray(self._labels[self._train :])

    @property
    def training_set(self) -> Batch:
        return jnp.asarray(self._images[: self._train]), jnp.asarray(self._labels[: self._train])

    def batches(self, seed: int, size: int) -> Iterator[Batch]:
        generator = np.random.default_rng([seed, 1])
        while True:
            chosen = generator.integers(0, self._train, size)
            yield jnp.asarray(self._images[chosen]), jnp.asarray(self._labels[chosen])


NETWORKS: dict[str, tuple[str, ...]] = {"standard": ("training={}",), "mismatch": ()}
"""The networks compared, by the overrides that make their configurations; `training: {}` is without mismatch."""
