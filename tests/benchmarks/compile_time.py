"""Processor seconds to trace and compile the exact gradient of a network under mismatch, by kind and number of leaves.

    python tests/benchmarks/compile_time.py                                  # the kinds below, leaves of 64x64
    python tests/benchmarks/compile_time.py --size 256 --leaves 6 24 --kinds additive
    python tests/benchmarks/compile_time.py --beside ../other/plugin         # another checkout, in turn

Each measurement is a process of its own. `pcm` is the preset pcm-nandakumar2019 with drift compensation, a day old
where the checkout knows the time of training.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

KINDS = ("plain", "gaussian", "additive", "pcm")


def measured(kind: str, leaves: int, size: int) -> None:
    """Print the processor seconds of tracing and compiling one gradient."""
    import jax
    import jax.numpy as jnp

    import limpet

    params = {f"layer{i:04d}": {"kernel": jnp.full((size, size), 0.1)} for i in range(leaves)}
    deviations = {"gaussian": limpet.Gaussian(0.1), "additive": limpet.Additive(0.1)}
    inject: Any = lambda params, step: params  # noqa: E731
    if kind == "pcm":
        hardware = limpet.preset("pcm-nandakumar2019", drift_compensation=True)
        timed = {"time": 86400.0} if "time" in limpet.Injection.__init__.__annotations__ else {}
        inject = limpet.Injection(params, hardware, **timed).inject
    elif kind != "plain":
        inject = limpet.Injection(params, limpet.Hardware(w=limpet.Part("*/kernel", deviations[kind]))).inject

    def loss(params: Any, step: int, x: jax.Array) -> jax.Array:
        for layer in inject(params, step).values():
            x = jnp.tanh(x @ layer["kernel"])
        return (x**2).mean()

    jax.block_until_ready(jnp.ones(3) * 2)  # what JAX itself does once
    start = time.process_time()
    jax.jit(jax.value_and_grad(loss)).lower(params, 0, jnp.ones((8, size))).compile()
    print(f"{time.process_time() - start:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--leaves", nargs="+", type=int, default=[1, 6, 50, 200])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path, help="folder `plugin` of another checkout")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measured(options.kinds[0], options.leaves[0], options.size)
        return
    here = Path(__file__).parents[2] / "plugin"
    checkouts = {"this": here} | ({"other": options.beside} if options.beside else {})
    print(f"leaves of {options.size}x{options.size}, processor seconds, least of {options.rounds}")
    for kind in options.kinds:
        for leaves in options.leaves:
            least = dict.fromkeys(checkouts, float("inf"))
            for _ in range(options.rounds):
                for name, plugin in checkouts.items():
                    command = [sys.executable, __file__, "--one", "--kinds", kind, "--leaves", str(leaves)]
                    ran = subprocess.run(
                        [*command, "--size", str(options.size)],
                        env={**os.environ, "PYTHONPATH": str(plugin), "JAX_PLATFORMS": "cpu"},
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    least[name] = min(least[name], float(ran.stdout))
            print(f"{kind:9} {leaves:5d} leaves  " + "  ".join(f"{name} {took:.2f}" for name, took in least.items()))


if __name__ == "__main__":
    main()
