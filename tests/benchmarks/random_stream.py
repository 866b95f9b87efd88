"""Random words of limpet.fast on standard output, for a battery of tests.

python tests/benchmarks/random_stream.py ORDER | dieharder -a -g 200

ORDER is `one_key`: the words of one key, one after another; `keys`, `steps`, `chips` or `leaves`: those of 1024
neighbouring keys, training steps, virtual chips or leaves in turn: word 0 of each, then word 1 of each, and so on; or
`weak`: a known-bad control, the hash with a single round.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import limpet
from limpet import _fast_bits
from limpet._random import chip_key, leaf_key, path_hash, step_key

STREAMS, BLOCK = 1024, 2**22


def neighbours(order: str) -> jax.Array:
    """The keys whose words are put out in turn."""
    numbers = jnp.arange(STREAMS)
    if order == "keys":
        return jax.vmap(lambda number: jax.random.key(number, impl=limpet.fast))(numbers)
    if order == "steps":
        return jax.vmap(lambda number: leaf_key(step_key(0, number), path_hash("layer/kernel")))(numbers)
    if order == "chips":
        return jax.vmap(lambda number: leaf_key(chip_key(0, number), path_hash("layer/kernel")))(numbers)
    paths = jnp.array([path_hash(f"layer_{number}/kernel") for number in range(STREAMS)], jnp.uint32)
    return jax.vmap(lambda hashed: leaf_key(step_key(0, 0), hashed))(paths)


@jax.jit
def words(keys: Any, first: jax.Array) -> jax.Array:
    """The next words of each key, those of one place side by side."""
    counters = first + jnp.arange(BLOCK // len(keys), dtype=jnp.uint32)
    data = jax.random.key_data(keys)
    return _fast_bits._word(counters[:, None], data[:, 0], data[:, 1])


def weak_words(first: jax.Array) -> np.ndarray:
    """One round: multiply, and fold the upper half onto the lower."""
    product = (np.arange(BLOCK, dtype=np.uint32) + np.uint32(first)) * np.uint32(_fast_bits.FACTORS[0])
    return product ^ (product >> np.uint32(16))


def main() -> None:
    order = sys.argv[1]
    keys = jax.random.key(0, impl=limpet.fast)[None] if order == "one_key" else neighbours(order)
    first = 0
    try:
        while True:
            found = weak_words(jnp.uint32(first)) if order == "weak" else words(keys, jnp.uint32(first))
            sys.stdout.buffer.write(np.asarray(found).tobytes())
            first = (first + BLOCK // len(keys)) % 2**32
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    main()
