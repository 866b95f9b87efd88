"""Random keys that follow from (seed, step or chip, leaf path) alone.

The base key is rebuilt from the integer seed wherever it is needed and never stored, so it can be neither donated
with an optimizer state nor restored wrongly from a checkpoint. The generator is named explicitly: a user's
`jax_default_prng_impl` must not change which chip is chip 17.
"""

import operator
import zlib
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._errors import LimpetError
from .._jax import is_traced, threefry_partitionable
from ._fast import fast, seed_data
from ._generator import DEFAULT_GENERATOR, MAX_SEED, Generator, checked_generator


def path_hash(path: str) -> int:
    """A 32-bit number that stands for a leaf path in every process (Python's own `hash` is salted per process).

    Examples:
        >>> path_hash("1_DynapSim/w_rec")
        1910942088
    """
    return zlib.crc32(path.encode())


def step_key(seed: int, step: ArrayLike, generator: Generator = DEFAULT_GENERATOR) -> jax.Array:
    """The key of one training step; `step` may be traced. Shape ()."""
    return jax.random.fold_in(stream(seed, "step", generator), step)


def chip_key(seed: int, chip: ArrayLike, generator: Generator = DEFAULT_GENERATOR) -> jax.Array:
    """The key of one virtual chip; `chip` may be traced. Shape ().

    Chips and steps are separate streams: a network trained on a fresh chip at each of its first 100 steps has not
    seen virtual chips 0-99, on which it is measured.
    """
    return jax.random.fold_in(stream(seed, "chip", generator), chip)


def leaf_key(key: jax.Array, hashed_path: ArrayLike) -> jax.Array:
    """The key of one leaf within a draw. It depends on no other leaf: adding leaves elsewhere never changes a draw."""
    return jax.random.fold_in(key, hashed_path)


def stream(seed: int, name: str, generator: Generator) -> jax.Array:
    """The key of all steps ("step"), all chips ("chip") or another stream of a seed. Shape ()."""
    return jax.random.fold_in(_seeded(seed, generator), jnp.uint32(path_hash(name)))


def _seeded(seed: int, generator: Generator) -> jax.Array:
    """What `jax.random.key(seed)` gives: without what the setting `jax_random_seed_offset` would add to the seed."""
    data = seed_data(jnp.uint32(seed)) if generator == "fast" else jnp.array([0, seed], jnp.uint32)
    return typed_key(data, generator)


def typed_key(data: jax.Array, generator: Generator) -> jax.Array:
    """The key whose data these are."""
    return jax.random.wrap_key_data(data, impl=_implementation(generator))


def _implementation(generator: Generator) -> Hashable:
    if generator == "fast":
        return fast
    if not threefry_partitionable():
        raise LimpetError(
            f"the setting jax_threefry_partitionable (JAX_THREEFRY_PARTITIONABLE) is off: the generator {generator!r} "
            f"would then draw other chips under the same numbers; leave it on, as it is by default, or take the "
            f"generator 'fast'"
        )
    return generator


def virtual_chip(seed: int, chip: ArrayLike, generator: Generator = DEFAULT_GENERATOR) -> jax.Array:
    """The random key of one virtual chip: `mismatch(limpet.virtual_chip(seed, chip), tree)` is that chip.

    It is the same that `limpet.freeze` builds, and that a robustness curve of that seed shows under that number.

    Args:
        seed: an integer from 0 to 2**32 - 1.
        chip: the chip's number, likewise; may be traced.
        generator: "fast" or "threefry2x32"; another one, another chip.

    Raises:
        LimpetError: seed or chip is no such integer, or there is no such generator.

    Examples:
        >>> import limpet
        >>> limpet.virtual_chip(seed=0, chip=17).shape
        ()
    """
    number = chip if is_traced(chip) else checked_number(chip, "chip")
    return chip_key(checked_number(seed, "seed"), number, checked_generator(generator))


def checked_number(number: Any, name: str) -> int:
    """A seed or the number of a chip as an int, or a `LimpetError` that names it."""
    try:
        checked = operator.index(number)
    except TypeError:
        checked = -1
    if isinstance(number, bool) or not 0 <= checked <= MAX_SEED:
        raise LimpetError(f"{name} = {number!r}: allowed is an integer from 0 to {MAX_SEED}")
    return checked
