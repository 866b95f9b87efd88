"""Injecting mismatch into ten million values, against copying them.

python tests/benchmarks/injection_bandwidth.py [--allocator=system] [--vectors=512]
"""

import logging
import warnings
from typing import Any

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from rockpool.nn.modules import LinearJax  # noqa: E402
from rockpool.transform.mismatch import mismatch_generator  # noqa: E402
from side_by_side import interleaved, report, settle_environment  # noqa: E402

import limpet  # noqa: E402

SHAPE, ROUNDS = (5000, 2000), 25


def main() -> None:
    settle_environment()
    tree = {"w": jax.random.normal(jax.random.key(0), SHAPE)}
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))
    runs: dict[str, Any] = {}
    # A plain `w + 0` would hand back the argument's own memory.
    copy = jax.jit(lambda tree, factor: tree["w"] * factor)
    for name, generator in (("limpet.fast", limpet.fast), ("threefry", "threefry2x32"), ("rbg", "rbg")):
        key = jax.random.key(1, impl=generator)
        draw = jax.jit(mismatch)
        runs[name] = lambda key=key, draw=draw: draw(key, tree)
    # Rockpool's generator wants a module; a layer without bias of as many weights.
    layer = LinearJax(SHAPE, has_bias=False)
    regenerate = mismatch_generator({"weight": True}, 0.30, 3.0)
    rockpool = jax.jit(lambda weight, key: regenerate(layer.set_attributes({"weight": weight}), key)["weight"])
    runs["Rockpool's generator, jitted"] = lambda: rockpool(tree["w"], jax.random.PRNGKey(1))
    print(f"{SHAPE[0] * SHAPE[1] / 1e6:.0f} million values")
    for name, run in runs.items():  # each with the copy alone: what another one frees would speed or slow it
        report(interleaved({"copy": lambda: copy(tree, jnp.float32(1)), name: run}, ROUNDS), "copy")


if __name__ == "__main__":
    main()
