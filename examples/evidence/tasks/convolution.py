"""Convolutions as a crossbar does them: a matrix of (inputs under the window, outputs), applied to every window.

As products of matrices they are also what is fast on a processor where every chip has kernels of its own, since a
convolution whose kernels differ along a mapped axis becomes a grouped one.
"""

import jax
import jax.numpy as jnp


def windows(images: jax.Array, size: int, stride: int = 1) -> jax.Array:
    """What lies under the window at each place: (batch, rows, columns, size * size * channels)."""
    height, width = images.shape[1] - size + 1, images.shape[2] - size + 1
    shifted = [images[:, y : y + height : stride, x : x + width : stride] for y in range(size) for x in range(size)]
    return jnp.concatenate(shifted, axis=-1)


def pooled(images: jax.Array) -> jax.Array:
    """The largest of each 2 by 2 values."""
    batch, height, width, channels = images.shape
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
