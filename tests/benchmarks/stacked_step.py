"""A training step of a stacked transformer with noise relative to each layer's largest weight, against the plain step.

python tests/benchmarks/stacked_step.py [--allocator=system]

Twelve layers stand stacked in leaves of (12, inputs, outputs), 9.4 million values, and are gone through by `lax.scan`,
as `nnx.scan` does it. Additive noise is relative to the largest weight of each layer, the whole leaf, and each column;
the gradient passes straight through, or exactly. Steps are measured in turn in one run, trace and compilation once.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import optax
from side_by_side import interleaved, report, settle_environment

import limpet
from limpet.hardware._leaf_draw import Gradient

LAYERS, WIDTH, HEADS, TOKENS, BATCH = 12, 256, 4, 64, 8
SHAPES = {"query": (WIDTH, HEADS, WIDTH // HEADS), "key": (WIDTH, HEADS, WIDTH // HEADS)}
SHAPES |= {"value": SHAPES["query"], "out": (HEADS, WIDTH // HEADS, WIDTH)}
SHAPES |= {"up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH)}
ARRAYS = {
    "*": limpet.Array(stack=0),
    "query": limpet.Array(stack=0, outputs=(2, 3)),
    "key": limpet.Array(stack=0, outputs=(2, 3)),
    "value": limpet.Array(stack=0, outputs=(2, 3)),
}
OPTIMIZER = optax.adam(1e-3)


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    def block(x: jax.Array, layer: Any) -> tuple[jax.Array, None]:
        normed = jax.nn.standardize(x)
        query, key, value = (jnp.einsum("btd,dhk->bthk", normed, layer[name]) for name in ("query", "key", "value"))
        x = x + jnp.einsum("bthk,hkd->btd", jax.nn.dot_product_attention(query, key, value), layer["out"])
        return x + jax.nn.gelu(jax.nn.standardize(x) @ layer["up"]) @ layer["down"], None

    return ((jax.lax.scan(block, x, params)[0] - y) ** 2).mean()


def training(relative_to: Any, gradient: Gradient) -> tuple[Any, float]:
    """Steps as a function that keeps their state, and the seconds that tracing and compiling took."""
    keys = jax.random.split(jax.random.key(0), len(SHAPES) + 2)
    params = {
        name: jax.random.normal(key, (LAYERS, *shape)) / WIDTH**0.5
        for key, (name, shape) in zip(keys, SHAPES.items(), strict=False)
    }
    x, y = (jax.random.normal(key, (BATCH, TOKENS, WIDTH)) for key in keys[-2:])
    recipe = None
    if relative_to is not None:
        part = limpet.Part("*", limpet.Additive(0.05, relative_to=relative_to), array=ARRAYS)
        recipe = limpet.Hardware(weights=part).on(params, gradient=gradient)

    def step(state: Any) -> Any:
        params, moments, number = state

        def deviated_loss(params: Any) -> jax.Array:
            key = jax.random.fold_in(jax.random.key(0, impl=limpet.fast), number)
            return loss(params if recipe is None else recipe(key, params), x, y)

        updates, moments = OPTIMIZER.update(jax.grad(deviated_loss)(params), moments, params)
        return optax.apply_updates(params, updates), moments, number + 1

    state = [(params, OPTIMIZER.init(params), jnp.int32(0))]
    start = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(state[0]).compile()
    took = time.perf_counter() - start

    def run() -> None:
        for _ in range(3):
            state[0] = compiled(state[0])
        jax.block_until_ready(state)

    return run, took


def main() -> None:
    settle_environment()
    training(None, "through")  # what is compiled first pays for much that the others share
    training("array", "through")
    for gradient in ("straight_through", "through"):
        ways = {"plain": None, "array": "array", "tensor": "tensor", "column": "column"}
        made = {name: training(relative_to, gradient) for name, relative_to in ways.items()}
        print(f"{LAYERS} layers of width {WIDTH}, {BATCH} x {TOKENS} tokens, Adam, {gradient}; 3 steps")
        report(interleaved({name: run for name, (run, _) in made.items()}, 9), "plain")
        for name, (_, took) in made.items():
            print(f"  {name:40} traced and compiled in {took:.2f} s, {took / made['plain'][1]:.2f} of plain")


if __name__ == "__main__":
    main()
