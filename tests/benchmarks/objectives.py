"""What an objective costs: compilation and time of a training step, over those of a plain step.

python tests/benchmarks/objectives.py --width 64 --batch 64
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import limpet
from limpet import objectives


def network(width: int) -> dict[str, Any]:
    sizes = (64, width, width, 10)
    keys = jax.random.split(jax.random.key(0), len(sizes))
    return {
        f"dense_{layer}": {"kernel": jax.random.normal(key, (rows, columns)) / rows**0.5, "bias": jnp.zeros(columns)}
        for layer, (key, rows, columns) in enumerate(zip(keys, sizes, sizes[1:], strict=False))
    }


def loss_fn(params: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
    *hidden, last = params.values()
    values = batch[0]
    for layer in hidden:
        values = jax.nn.relu(values @ layer["kernel"] + layer["bias"])
    logits = values @ last["kernel"] + last["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean(), logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    params = network(arguments.width)
    images = jax.random.uniform(jax.random.key(1), (arguments.batch, 64))
    batch = images, jax.random.randint(jax.random.key(2), (arguments.batch,), 0, 10)
    mismatch = limpet.Hardware(crossbar=limpet.Part("*/kernel", limpet.Gaussian(sigma=0.1))).on(params)
    losses: dict[str, Callable[..., jax.Array]] = {
        "plain": lambda params, key, batch: loss_fn(params, batch)[0],
        "one draw": limpet.with_mismatch(lambda params, batch: loss_fn(params, batch)[0], mismatch),
        "mean of 8": limpet.with_mismatch(lambda params, batch: loss_fn(params, batch)[0], mismatch, draws=8),
        "4 antithetic pairs": objectives.antithetic(loss_fn, mismatch, pairs=4),
        "cvar, half of 8": objectives.cvar(loss_fn, mismatch),
        "consistency of 8": objectives.consistency(loss_fn, mismatch),
        "distillation": objectives.distillation(loss_fn, mismatch, params),
        "adversarial, 10 steps": objectives.adversarial(loss_fn, mismatch),
        "adversarial, 10 steps, no noise": objectives.adversarial(loss_fn, mismatch, noise=False),
        "adversarial, 3 steps": objectives.adversarial(loss_fn, mismatch, steps=3),
        "weight perturbation": objectives.weight_perturbation(loss_fn, mismatch),
        "adaptive SAM": objectives.adaptive_sam(loss_fn, mismatch),
    }
    optimizer = optax.adam(1e-3)
    compiled, seconds, times = {}, {}, {name: [] for name in losses}
    for name, loss in losses.items():

        def update(params: Any, state: Any, key: jax.Array, loss: Any = loss) -> tuple[Any, Any]:
            grads = jax.grad(loss)(params, key, batch)
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        def steps(params: Any, count: int, update: Any = update) -> Any:
            def body(number: jax.Array, carry: Any) -> Any:
                return update(*carry, jax.random.fold_in(jax.random.key(0, impl=limpet.fast), number))

            return jax.lax.fori_loop(0, count, body, (params, optimizer.init(params)))[0]

        trials = []
        for _ in range(3):
            jax.clear_caches()
            started = time.perf_counter()
            jax.jit(update).lower(params, optimizer.init(params), jax.random.key(0, impl=limpet.fast)).compile()
            trials.append(time.perf_counter() - started)
        seconds[name] = min(trials)
        compiled[name] = jax.jit(steps).lower(params, 1).compile()
    for _ in range(arguments.turns):
        for name, program in compiled.items():
            started = time.perf_counter()
            jax.block_until_ready(program(params, jnp.int32(100)))
            times[name].append((time.perf_counter() - started) / 100)
    print(f"{'':32} compile [s]  ratio  step [ms]  ratio")
    for name in losses:
        step, plain = min(times[name]), min(times["plain"])
        ratio = seconds[name] / seconds["plain"]
        print(f"{name:32} {seconds[name]:11.2f}  {ratio:5.2f}  {1e3 * step:9.3f}  {step / plain:5.2f}")


if __name__ == "__main__":
    main()
