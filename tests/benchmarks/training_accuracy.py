"""Does the generator change what training achieves? Accuracy on virtual chips after training with each, 5 seeds.

python tests/benchmarks/training_accuracy.py
"""

from functools import partial
from itertools import pairwise
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats
from sklearn.datasets import load_digits

import limpet
from limpet.draws._generator import Generator
from limpet.draws._keys import step_key

SEEDS, STEPS, BATCH, SIGMA, CHIPS = 5, 1500, 128, 0.8, 500
SIZES = (64, 128, 128, 10)  # one layer large enough that its rows and columns are hashed
SHAPES = {f"layer_{index}": shape for index, shape in enumerate(pairwise(SIZES))}


def logits(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    *hidden, last = params.values()
    for kernel in hidden:
        x = jax.nn.relu(x @ kernel)
    return x @ last


def accuracy(params: dict[str, jax.Array], batch: Any) -> jax.Array:
    return (logits(params, batch[0]).argmax(axis=-1) == batch[1]).mean()


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    images = images / 16.0
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:1400], order[1400:]
    data = jnp.asarray(images[train]), jnp.asarray(labels[train])
    held_out = jnp.asarray(images[test]), jnp.asarray(labels[test])
    mismatch = limpet.Mismatch(dict.fromkeys(SHAPES, True), limpet.Gaussian(SIGMA))
    optimizer = optax.adam(3e-3)

    @partial(jax.jit, static_argnames="generator")
    def trained(seed: jax.Array, generator: Generator | None) -> Any:
        key = jax.random.key(seed)
        batches, *initial = jax.random.split(key, 1 + len(SHAPES))
        params = {
            name: jax.random.normal(key, shape) / shape[0] ** 0.5
            for key, (name, shape) in zip(initial, SHAPES.items(), strict=True)
        }

        def step(carry: Any, number: jax.Array) -> Any:
            params, state = carry
            chosen = jax.random.randint(jax.random.fold_in(batches, number), (BATCH,), 0, len(train))

            def loss(params: Any) -> jax.Array:
                if generator is not None:
                    draw = jax.random.fold_in(step_key(0, number, generator), seed)
                    params = mismatch(draw, params)
                found = logits(params, data[0][chosen])
                return optax.softmax_cross_entropy_with_integer_labels(found, data[1][chosen]).mean()

            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(STEPS))
        return params

    means: dict[str, list[float]] = {}
    for generator in (None, *get_args(Generator)):
        curves = [
            limpet.robustness_curve(
                accuracy,
                trained(jnp.int32(seed), generator),
                mismatch,
                sigmas=[0.0, SIGMA],
                chips=limpet.Chips(CHIPS, seed=1000, progress=False),
                batch=held_out,
            )
            for seed in range(SEEDS)
        ]
        name = generator or "no mismatch"
        means[name] = [float(curve.mean()[1]) for curve in curves]
        nominal = np.mean([curve.mean()[0] for curve in curves])
        low = np.mean([curve.quantile(0.05)[1] for curve in curves])
        print(f"{name:14} nominal {nominal:.4f}; at sigma {SIGMA}: mean {np.mean(means[name]):.4f} ", end="")
        print(f"(seeds {', '.join(f'{mean:.4f}' for mean in means[name])}), 5th percentile {low:.4f}")
    difference = np.subtract(*(means[name] for name in get_args(Generator)))
    half = stats.t.ppf(0.975, SEEDS - 1) * difference.std(ddof=1) / SEEDS**0.5
    print(f"fast less threefry: {difference.mean():+.4f}, 95% interval {difference.mean() - half:+.4f} to ", end="")
    print(f"{difference.mean() + half:+.4f}")


if __name__ == "__main__":
    main()
