"""What the audit of a loop costs: when a step is traced, and when it runs.

    python tests/benchmarks/audit_price.py

Two updates by Adam in turn, one of a callback with the audit and one of a callback without; a small step, where
dispatching counts, and one of many leaves, where tracing does.
"""

import tempfile
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from side_by_side import interleaved, report, settle_environment

import limpet

NETWORKS = {"64-128-10, batch 32": ([(64, 128), (128, 10)], 200), "200 leaves of 64x64": ([(64, 64)] * 200, 3)}
ROUNDS = 15


def updated(shapes: list[tuple[int, int]], audit: bool) -> tuple[Any, Any, float]:
    """A compiled update, its first state, and the processor seconds that tracing it took."""
    params = {f"w{i}": jax.random.normal(jax.random.key(i), shape) / 8 for i, shape in enumerate(shapes)}
    hardware = limpet.Hardware(weights=limpet.Part("*", limpet.Gaussian(sigma=0.1)))
    callback = limpet.MismatchCallback(params, hardware, logdir=tempfile.mkdtemp(), audit=audit)
    optimizer = optax.adam(1e-3)

    def loss(tree: Any, x: jax.Array) -> jax.Array:
        for kernel in tree.values():
            x = jnp.tanh(x @ kernel)
        return (x**2).mean()

    @jax.jit
    def update(state: Any, step: jax.Array, x: jax.Array) -> Any:
        params, opt_state = state
        grads = jax.grad(lambda p: loss(callback.inject(p, step), x))(params)
        changes, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, changes), opt_state

    state, x = (params, optimizer.init(params)), jnp.ones((32, shapes[0][0]))
    start = time.process_time()
    update.trace(state, jnp.int32(0), x)
    return update, state, time.process_time() - start


def train(update: Any, state: Any, x: jax.Array, steps: int) -> Any:
    for step in range(steps):
        state = update(state, jnp.int32(step), x)
    return state


def main() -> None:
    settle_environment()
    for name, (shapes, steps) in NETWORKS.items():
        x, runs, tracing = jnp.ones((32, shapes[0][0])), {}, {"without": [], "with": []}
        for _ in range(3):
            for audit in ("without", "with"):
                update, state, seconds = updated(shapes, audit == "with")
                tracing[audit].append(seconds)

                runs[audit] = partial(train, update, state, x, steps)
        print(f"{name}: tracing {min(tracing['without']):.3f} s, with the audit {min(tracing['with']):.3f} s")
        report(interleaved(runs, ROUNDS), "without")


if __name__ == "__main__":
    main()
