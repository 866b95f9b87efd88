"""Random words of limpet.fast on standard output, for a battery of tests.

python tests/benchmarks/random_stream.py ORDER | dieharder -a -g 200

ORDER is `one_key`: a vector's words under one key, one after another; `keys`, `steps`, `chips` or `leaves`: those of
1024 neighbouring keys, training steps, virtual chips or leaves in turn: word 0 of each, then word 1 of each, and so on;
`rows` or `columns`: matrices of neighbouring training steps, 65,536 x 32 row by row or 32 x 65,536 column by column,
narrower than any that is drawn so; or `weak`, a known-bad control: the hash with a single round.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import limpet
from limpet.draws import _fast as _fast_bits
from limpet.draws._keys import chip_key, leaf_key, path_hash, step_key
from limpet.draws._shard import undivided

STREAMS, BLOCK = 1024, 2**22
MATRICES = {"rows": (2**16, 32), "columns": (32, 2**16)}


def step_leaf(number: Any) -> jax.Array:
    """The key of one leaf at a training step."""
    return leaf_key(step_key(0, number), path_hash("layer/kernel"))


def neighbours(order: str) -> jax.Array:
    """The keys whose words are put out in turn."""
    numbers = jnp.arange(STREAMS)
    if order == "one_key":
        return jax.random.key(0, impl=limpet.fast)[None]
    if order == "keys":
        return jax.vmap(lambda number: jax.random.key(number, impl=limpet.fast))(numbers)
    if order == "steps":
        return jax.vmap(step_leaf)(numbers)
    if order == "chips":
        return jax.vmap(lambda number: leaf_key(chip_key(0, number), path_hash("layer/kernel")))(numbers)
    paths = jnp.array([path_hash(f"layer_{number}/kernel") for number in range(STREAMS)], jnp.uint32)
    return jax.vmap(lambda hashed: leaf_key(step_key(0, 0), hashed))(paths)


@jax.jit
def in_turn(keys: Any, block: jax.Array) -> jax.Array:
    """The next words of each key, those of one place side by side."""
    each = BLOCK // len(keys)
    counters = block * jnp.uint32(each) + jnp.arange(each, dtype=jnp.uint32)
    data = jax.random.key_data(keys)
    return _fast_bits._word(counters[:, None], data[:, 0], data[:, 1])


@partial(jax.jit, static_argnums=0)
def matrix(order: str, block: jax.Array) -> jax.Array:
    """A matrix of words of one step, row by row or column by column."""
    rows, columns = MATRICES[order]
    words = _fast_bits._matrix(jax.random.key_data(step_leaf(block)), undivided((rows,)), undivided((columns,)))
    return words if order == "rows" else words.T


def weak(block: jax.Array) -> np.ndarray:
    """One round: multiply, and fold the upper half onto the lower."""
    product = (np.arange(BLOCK, dtype=np.uint32) + np.uint32(block) * np.uint32(BLOCK)) * np.uint32(
        _fast_bits.FACTORS[0]
    )
    return product ^ (product >> np.uint32(16))


def blocks(order: str) -> Callable[[jax.Array], Any]:
    """What gives the words of block 0, 1, ..."""
    if order == "weak":
        return weak
    return partial(matrix, order) if order in MATRICES else partial(in_turn, neighbours(order))


def main() -> None:
    words, block = blocks(sys.argv[1]), 0
    try:
        while True:
            sys.stdout.buffer.write(np.ascontiguousarray(words(jnp.uint32(block))).tobytes())
            block += 1
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    main()
