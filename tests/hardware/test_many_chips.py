"""Chips stay apart and stay what they are: a million of them, many threads at once, another width of vectors."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet

TREE = {"w": jnp.linspace(-1.0, 1.0, 3000).reshape(50, 60), "v": jnp.ones(7)}
MISMATCH = limpet.Mismatch({"w": True, "v": True}, limpet.LogNormal(sigma=0.2))

PROGRAM = """
import hashlib, jax, numpy as np, limpet
values = np.linspace(-1.0, 1.0, 18200, dtype=np.float32)  # NumPy's: those of JAX differ with the width of vectors
tree = {"w": values.reshape(130, 140), "v": values[:7]}
for deviation in (limpet.Gaussian(0.2), limpet.LogNormal(sigma=0.2), limpet.TruncatedGaussian(0.2)):
    mismatch = limpet.Mismatch({"w": True, "v": True}, deviation)
    chip = jax.device_get(jax.jit(mismatch)(limpet.virtual_chip(0, 17), tree))
    print(hashlib.sha256(chip["w"].tobytes() + chip["v"].tobytes()).hexdigest())
"""


@pytest.mark.parametrize("generator", ["fast", "threefry2x32"])
def test_a_million_chips_have_a_million_keys(generator):
    numbers = np.concatenate([np.arange(10**6, dtype=np.uint32), np.uint32([2**31, 2**32 - 2, 2**32 - 1])])
    keys = jax.jit(jax.vmap(lambda number: jax.random.key_data(limpet.virtual_chip(3, number, generator))))(numbers)
    words = np.asarray(keys, np.uint64)
    assert len(np.unique(words[:, 0] << 32 | words[:, 1])) == len(numbers)


def test_many_threads_draw_what_one_draws():
    jitted = jax.jit(MISMATCH)

    def chip(number):
        draw = jitted if number % 2 else MISMATCH
        return jax.device_get(draw(limpet.virtual_chip(0, number), TREE))

    one = [chip(number) for number in range(48)]
    with ThreadPoolExecutor(24) as threads:
        many = list(threads.map(chip, range(48)))
    for alone, together in zip(one, many, strict=True):
        assert all(np.array_equal(alone[name], together[name]) for name in TREE)


@pytest.mark.long
def test_vectors_of_512_bits_change_no_bit():
    def digest(flags):
        environment = {**os.environ, "XLA_FLAGS": flags}
        ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    assert digest("--xla_cpu_prefer_vector_width=512") == digest("")
