"""Random keys that follow from (seed, step or chip, leaf path) alone.

The base key is rebuilt from the integer seed wherever it is needed and never stored, so it can be neither donated
with an optimizer state nor restored wrongly from a checkpoint. The generator is named explicitly: a user's
`jax_default_prng_impl` must not change which chip is chip 17.
"""

import zlib

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

GENERATOR = "threefry2x32"
MAX_SEED = 2**32 - 1


def path_hash(path: str) -> int:
    """A 32-bit number that stands for a leaf path in every process (Python's own `hash` is salted per process).

    Example:
        >>> path_hash("1_DynapSim/w_rec")
        1910942088
    """
    return zlib.crc32(path.encode())


def step_key(seed: int, step: ArrayLike) -> jax.Array:
    """The key of one training step; `step` may be traced. Shape ()."""
    return jax.random.fold_in(_stream(seed, "step"), step)


def chip_key(seed: int, chip: ArrayLike) -> jax.Array:
    """The key of one virtual chip, public as `limpet.virtual_chip`; `chip` may be traced. Shape ().

    `mismatch(limpet.virtual_chip(seed, chip), tree)` is that chip: the same that `limpet.freeze` builds, and that a
    robustness curve of that seed shows under that number.

    Chips and steps are separate streams: a network trained on a fresh chip at each of its first 100 steps has not
    seen virtual chips 0-99, on which it is measured.
    """
    return jax.random.fold_in(_stream(seed, "chip"), chip)


def leaf_key(key: jax.Array, hashed_path: ArrayLike) -> jax.Array:
    """The key of one leaf within a draw. It depends on no other leaf: adding leaves elsewhere never changes a draw."""
    return jax.random.fold_in(key, hashed_path)


def _stream(seed: int, name: str) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed, impl=GENERATOR), jnp.uint32(path_hash(name)))


virtual_chip = chip_key
