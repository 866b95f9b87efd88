"""Two hundred leaves of 64x64: what mismatch adds to the step's compilation and to its run time.

python tests/benchmarks/many_leaves.py [--allocator=system] [--vectors=512]
python tests/benchmarks/many_leaves.py --leaves=2000        # once each, without threefry
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from side_by_side import interleaved, report, settle_environment

import limpet

GIVEN = [int(argument.partition("=")[2]) for argument in sys.argv if argument.startswith("--leaves=")]
LEAVES = GIVEN[0] if GIVEN else 200
SIDE, BATCH, COMPILATIONS, ROUNDS = (64, 32, 3, 100) if LEAVES <= 200 else (8, 8, 1, 20)


def training(gradient: str | None, generator: Any) -> tuple[Callable[[], Any], float]:
    """One step of gradient descent, and how long it took to trace and compile; None is the plain step."""
    tree = {f"layer_{i:03d}": jax.random.normal(jax.random.key(i), (SIDE, SIDE)) / SIDE**0.5 for i in range(LEAVES)}
    prototype = dict.fromkeys(tree, True)
    mismatch = limpet.Mismatch(prototype, limpet.Gaussian(0.1), gradient or "through")  # pyright: ignore[reportArgumentType]

    def loss(tree: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        for kernel in tree.values():
            x = jnp.tanh(x @ kernel)
        return (x**2).mean()

    def step(tree: Any, number: jax.Array, x: jax.Array) -> Any:
        def deviated(tree: Any) -> jax.Array:
            key = jax.random.fold_in(jax.random.key(0, impl=generator), number)
            return loss(tree if gradient is None else mismatch(key, tree), x)

        return jax.tree.map(lambda kernel, slope: kernel - 1e-3 * slope, tree, jax.grad(deviated)(tree))

    x = jax.random.normal(jax.random.key(LEAVES), (BATCH, SIDE))
    jax.clear_caches()
    start = time.perf_counter()
    compiled = jax.jit(step).lower(tree, jnp.int32(0), x).compile()
    return lambda: compiled(tree, jnp.int32(1), x), time.perf_counter() - start


def main() -> None:
    settle_environment()
    variants = {"plain": (None, limpet.fast)} | {
        f"{name}, {gradient}": (gradient, generator)
        for name, generator in (("limpet.fast", limpet.fast), ("threefry", "threefry2x32"))[: 2 if LEAVES <= 200 else 1]
        for gradient in ("straight_through", "through")
    }
    runs: dict[str, Any] = {}
    compilations: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(COMPILATIONS):
        for name, variant in variants.items():
            runs[name], took = training(*variant)
            compilations[name].append(took)
    print(f"{LEAVES} leaves of {SIDE}x{SIDE}, batch {BATCH}: seconds to trace and compile, median of {COMPILATIONS}")
    added = {}
    for name, took in compilations.items():
        added[name] = statistics.median(took) - statistics.median(compilations["plain"])
        print(
            f"  {name:40} {statistics.median(took):6.2f} ({min(took):.2f} to {max(took):.2f}), added {added[name]:.2f}"
        )
    for gradient in ("straight_through", "through") if LEAVES <= 200 else ():
        ratio = added[f"limpet.fast, {gradient}"] / added[f"threefry, {gradient}"]
        print(f"  added by limpet.fast over added by threefry, {gradient}: {ratio:.3f}")
    print("one step")
    report(interleaved(runs, ROUNDS), "plain")


if __name__ == "__main__":
    main()
