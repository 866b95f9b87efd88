"""A training step whose products are analog, against the plain step: three networks, SGD, side by side.

python tests/benchmarks/product_step.py [--only=mlp,rnn,attention] [--like=noise] [--allocator=system]

Weights do not deviate here, so that what products cost is seen alone. Steps are measured in turn in one run; trace and
compilation once, each in its turn.
"""

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from side_by_side import interleaved, report, settle_environment

import limpet

FIXED = limpet.Converter(bits=8, range=3.0)
DYNAMIC = limpet.Converter(bits=8, range="dynamic")
OUTPUTS, NOISY = limpet.Converter(bits=8, bound=12.0), limpet.Converter(bits=8, bound=12.0, noise=0.04)
PRODUCTS = {
    "ideal": limpet.Product(),
    "converters, fixed ranges": limpet.Product(FIXED, OUTPUTS),
    "and output noise": limpet.Product(FIXED, NOISY),
    "and 4 row tiles": limpet.Product(FIXED, NOISY),
    "converters, dynamic ranges": limpet.Product(DYNAMIC, OUTPUTS),
    "dynamic, and output noise": limpet.Product(DYNAMIC, NOISY),
    "dynamic, and 4 row tiles": limpet.Product(DYNAMIC, NOISY),
    "gains and offsets": limpet.Product(FIXED, limpet.Converter(bits=8, bound=12.0, gain=0.02, offset=0.01)),
    "read noise of weights": limpet.Product(FIXED, NOISY, read_noise=0.0175),
}


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def mlp() -> tuple[Any, Callable[[Any], jax.Array]]:
    sizes = (784, 512, 512, 10)
    params = {
        f"w{place}": normal(place, rows, columns) / rows**0.5 for place, (rows, columns) in enumerate(pairwise(sizes))
    }
    x, labels = normal(9, 256, sizes[0]), jnp.arange(256) % 10

    def loss(params: Any) -> jax.Array:
        hidden = jax.nn.relu(jax.nn.relu(x @ params["w0"]) @ params["w1"])
        return -jax.nn.log_softmax(hidden @ params["w2"])[jnp.arange(256), labels].mean()

    return params, loss


def rnn() -> tuple[Any, Callable[[Any], jax.Array]]:
    params = {"w": normal(0, 128, 128) / 128**0.5, "u": normal(1, 128, 128) / 128**0.5}
    rows, start = normal(2, 50, 64, 128), jnp.zeros((64, 128))

    def loss(params: Any) -> jax.Array:
        def turn(held: jax.Array, row: jax.Array) -> tuple[jax.Array, None]:
            return jnp.tanh(held @ params["w"] + row @ params["u"]), None

        return (jax.lax.scan(turn, start, rows)[0] ** 2).mean()

    return params, loss


def attention() -> tuple[Any, Callable[[Any], jax.Array]]:
    shapes = {"query": (128, 4, 32), "key": (128, 4, 32), "value": (128, 4, 32), "out": (4, 32, 128)}
    params = {
        f"{layer}/{name}": normal(8 * layer + place, *shape) / 128**0.5
        for layer in range(4)
        for place, (name, shape) in enumerate(shapes.items())
    }
    x = normal(99, 8, 64, 128)

    def loss(params: Any) -> jax.Array:
        held = x
        for layer in range(4):
            query, key, value = (
                jnp.einsum("btd,dhk->bthk", held, params[f"{layer}/{name}"]) for name in ("query", "key", "value")
            )
            mixed = jax.nn.dot_product_attention(query, key, value)
            held = held + jnp.einsum("bthk,hkd->btd", mixed, params[f"{layer}/out"])
        return (held**2).mean()

    return params, loss


ARRAYS = {
    "*query": limpet.Array(outputs=(1, 2)),
    "*key": limpet.Array(outputs=(1, 2)),
    "*value": limpet.Array(outputs=(1, 2)),
}
NETWORKS = {"mlp": (mlp, 4, {"*": 196}), "rnn": (rnn, 4, {"*": 32}), "attention": (attention, 2, {"*": 32})}


def training(network: str, name: str | None) -> tuple[Callable[[], None], float, float]:
    """Steps as a function that keeps their state; the seconds that tracing and compiling took."""
    make, steps, tiles = NETWORKS[network]
    params, loss = make()
    recipe = None
    if name is not None:
        rows = tiles["*"] if "tiles" in name else None
        arrays = {"*": limpet.Array(rows=rows)}
        if network == "attention":
            arrays |= {glob: limpet.Array(outputs=(1, 2), rows=rows) for glob in ARRAYS}
        part = limpet.Part("*", limpet.deviations.Exact(), array=arrays, product=PRODUCTS[name])
        recipe = limpet.Hardware(weights=part).on(params)

    def step(state: Any) -> Any:
        params, number = state

        def drawn(params: Any) -> jax.Array:
            assert recipe is not None
            return loss(recipe(jax.random.fold_in(jax.random.key(0, impl=limpet.fast), number), params))

        slopes = jax.grad(loss if recipe is None else limpet.products(drawn))(params)
        return jax.tree.map(lambda value, slope: value - 1e-3 * slope, params, slopes), number + 1

    state = [(params, jnp.int32(0))]
    start = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=0).lower(state[0])
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()

    def run() -> None:
        for _ in range(steps):
            state[0] = compiled(state[0])
        jax.block_until_ready(state)

    return run, traced - start, done - traced


def main() -> None:
    settle_environment()
    only = [name for flag in sys.argv if flag.startswith("--only=") for name in flag[7:].split(",")]
    products = [name for name in PRODUCTS if any(flag[7:] in name for flag in sys.argv if flag.startswith("--like="))]
    for network in only or NETWORKS:
        training(network, None)  # what is compiled first pays for much that the others share
        training(network, next(iter(PRODUCTS)))
        made = {name or "plain": training(network, name) for name in (None, *(products or PRODUCTS))}
        print(f"{network}: {NETWORKS[network][1]} steps")
        report(interleaved({name: run for name, (run, *_) in made.items()}, 15), "plain")
        plain = sum(made["plain"][1:])
        for name, (_, traced, compiled) in made.items():
            both = traced + compiled
            print(f"  {name:40} traced in {traced:.2f} s, compiled in {compiled:.2f} s: {both / plain:.2f} of plain")


if __name__ == "__main__":
    main()
