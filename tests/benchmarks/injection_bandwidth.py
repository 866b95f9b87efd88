"""Injecting mismatch into ten million values, against copying them.

python tests/benchmarks/injection_bandwidth.py
"""

import logging
import warnings
from typing import Any

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from rockpool.transform.mismatch import mismatch_generator  # noqa: E402
from side_by_side import interleaved, keep_memory, report  # noqa: E402

import limpet  # noqa: E402

SHAPE, ROUNDS = (5000, 2000), 25


def main() -> None:
    keep_memory()
    tree = {"w": jax.random.normal(jax.random.key(0), SHAPE)}
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))
    runs: dict[str, Any] = {}
    # A plain `w + 0` would hand back the argument's own memory.
    copy = jax.jit(lambda tree, factor: tree["w"] * factor)
    runs["copy"] = lambda: copy(tree, jnp.float32(1))
    for name, generator in (("limpet.fast", limpet.fast), ("threefry", "threefry2x32"), ("rbg", "rbg")):
        key = jax.random.key(1, impl=generator)
        draw = jax.jit(mismatch)
        runs[name] = lambda key=key, draw=draw: draw(key, tree)
    regenerate = jax.jit(mismatch_generator({"w": True}, 0.30, 3.0))
    raw = jax.random.PRNGKey(1)
    runs["Rockpool's generator, jitted"] = lambda: regenerate(tree, raw)
    print(f"{SHAPE[0] * SHAPE[1] / 1e6:.0f} million values")
    report(interleaved(runs, ROUNDS), "copy")


if __name__ == "__main__":
    main()
