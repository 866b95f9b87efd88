"""A training step of a dense network with dynamic mismatch on every weight, against the plain step.

python tests/benchmarks/dense_step.py [--allocator=system]
"""

from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax
from side_by_side import interleaved, keep_memory, report

import limpet

NETWORKS = [((1024, 2048, 2048, 2048, 10), 128), ((1024, 2048, 2048, 2048, 10), 32), ((784, 512, 512, 10), 128)]
OPTIMIZERS = {"Adam": optax.adam(1e-3), "SGD": optax.sgd(1e-3)}
STEPS, ROUNDS = 5, 15
GENERATORS = {"limpet.fast": limpet.fast, "threefry": "threefry2x32", "rbg": "rbg"}


def loss(params: dict[str, jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
    *hidden, last = params.values()
    for kernel in hidden:
        x = jax.nn.relu(x @ kernel)
    return optax.softmax_cross_entropy_with_integer_labels(x @ last, y).mean()


def training(sizes: tuple[int, ...], batch: int, optimizer: Any, gradient: str | None, generator: Any) -> Any:
    """A function that runs one step and keeps its state; None for a gradient is the plain step."""
    keys = jax.random.split(jax.random.key(0), len(sizes) + 1)
    params = {
        f"layer_{index}": jax.random.normal(keys[index], shape) / shape[0] ** 0.5
        for index, shape in enumerate(pairwise(sizes))
    }
    x = jax.random.normal(keys[-2], (batch, sizes[0]))
    y = jax.random.randint(keys[-1], (batch,), 0, sizes[-1])
    prototype = dict.fromkeys(params, True)
    mismatch = limpet.Mismatch(prototype, limpet.Gaussian(0.1), gradient or "through")  # pyright: ignore[reportArgumentType]

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, number: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        def deviated_loss(params: Any) -> jax.Array:
            if gradient is not None:
                key = jax.random.fold_in(jax.random.key(0, impl=generator), number)
                params = mismatch(key, params)
            return loss(params, x, y)

        value, grads = jax.value_and_grad(deviated_loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    state = [params, optimizer.init(params), jnp.int32(0)]
    compiled = step.lower(*state, x, y).compile()

    def run() -> None:
        for _ in range(STEPS):
            state[0], state[1], _ = compiled(*state, x, y)
        state[2] = state[2] + 1
        jax.block_until_ready(state)

    run.temporary = compiled.memory_analysis().temp_size_in_bytes  # pyright: ignore[reportFunctionMemberAccess]
    run.parameters = 4 * sum(kernel.size for kernel in params.values())  # pyright: ignore[reportFunctionMemberAccess]
    return run


def main() -> None:
    keep_memory()
    for sizes, batch in NETWORKS:
        for name, optimizer in OPTIMIZERS.items():
            print(f"{'-'.join(map(str, sizes))}, batch {batch}, {name}; {STEPS} steps")
            for label, generator in GENERATORS.items():
                for gradient in ("straight_through", "through"):
                    plain = training(sizes, batch, optimizer, None, None)
                    deviated = training(sizes, batch, optimizer, gradient, generator)
                    variant = f"{label}, {gradient}"
                    report(interleaved({"plain": plain, variant: deviated}, ROUNDS), "plain")
                    extra = (deviated.temporary - plain.temporary) / plain.parameters
                    print(f"{'':45}temporary memory: {extra:+.2f} times the parameters")


if __name__ == "__main__":
    main()
