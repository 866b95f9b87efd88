"""Does it matter for which distribution of currents one trains? Gaussian against log-normal, on either kind of chip.

The network of examples/dynapse_frozen_noise.py in a smaller size, trained on a fresh chip at every step. Weights are
Gaussian, currents of one of the two distributions. Then it is measured on virtual chips of either, at that sigma.

python tests/benchmarks/dynapse_distributions.py
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import limpet
from dynapse_frozen_noise import FrozenNoise, TrainConfig, build_network, build_optimizer, loss_and_accuracy
from limpet.leaves._adapters import adapter_of

KINDS: Mapping[str, limpet.Deviation] = {"Gaussian": limpet.Gaussian(sigma=0.1), "log-normal": limpet.LogNormal(0.1)}
SIGMAS = (0.1, 0.2)
SETTINGS = {
    "batch_size": 32,
    "learning_rate": 0.03,
    "neurons_per_class": 5,
    "test_patterns": 200,
    "classes": 10,
    "channels": 40,
    "timesteps": 60,
    "spike_probability": 0.05,
    "deleted": 0.2,
    "added": 0.01,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--chips", type=int, default=100)
    options = parser.parse_args()
    settings = TrainConfig.model_validate(SETTINGS | {"steps": options.steps})
    net = build_network(settings, 0)
    loss_fn, accuracy = loss_and_accuracy(net, settings.classes)
    optimizer = build_optimizer(settings.learning_rate, settings.steps)
    chips = {
        kind: limpet.Hardware(
            weights=limpet.Part("dynapse-weights", limpet.Gaussian(sigma=0.1)),
            currents=limpet.Part("dynapse-frozen", currents),
        )
        for kind, currents in KINDS.items()
    }
    recipes = {kind: hardware.on(net) for kind, hardware in chips.items()}
    updates = {kind: jax.jit(update_of(recipe, net, loss_fn, optimizer)) for kind, recipe in recipes.items()}
    found: dict[tuple[str, float, str], list[tuple[float, float, float]]] = {}
    for seed in range(options.seeds):
        data = FrozenNoise(settings, seed)
        initial = jax.tree.map(jnp.float32, build_network(settings, seed).parameters())
        trainings = [("no mismatch", 0.0), *((kind, sigma) for sigma in SIGMAS for kind in KINDS)]
        for trained_on, sigma in trainings:
            update = updates[trained_on if sigma else "Gaussian"]
            params, state = initial, optimizer.init(initial)
            batches = zip(range(settings.steps), data.batches(seed), strict=False)
            for step, batch in batches:
                params, state = update(params, state, seed, step, sigma / 0.1, batch)
            for kind, recipe in recipes.items():
                tree = adapter_of(net).completed(net, params)
                curve = limpet.robustness_curve(
                    accuracy, tree, recipe, scales=[1.0, 2.0], chips=options.chips, batch=data.test_set(seed)
                )
                for measured_at in SIGMAS if not sigma else (sigma,):
                    row = curve.at(measured_at if curve.axis == "sigma" else measured_at / 0.1)
                    numbers = float(row.mean()[0]), float(row.quantile(0.05)[0]), float(row.worst()[0])
                    found.setdefault((trained_on, measured_at, kind), []).append(numbers)
                    print(seed, trained_on, measured_at, kind, *(f"{number:.3f}" for number in numbers), flush=True)
    print(f"\nmean (5th percentile, worst) accuracy in %, of {options.chips} chips; means over {options.seeds} seeds")
    for (trained_on, sigma, kind), numbers in found.items():
        mean, low, worst = 100 * np.mean(numbers, axis=0)
        each = ", ".join(f"{100 * number:.1f}" for number, *_ in numbers)
        print(f"sigma {sigma:g}, trained on {trained_on:12} measured on {kind:11}", end="")
        print(f"{mean:6.1f} ({low:.1f}, {worst:.1f}); mean by seed: {each}")


def update_of(recipe: limpet.Recipe, net: Any, loss_fn: Any, optimizer: Any) -> Any:
    """A training step on a fresh chip."""

    def update(params: Any, state: Any, seed: Any, step: Any, scale: Any, batch: Any) -> tuple[Any, Any]:
        key = jax.random.fold_in(jax.random.key(seed, impl=limpet.fast), step)

        def loss(params: Any) -> jax.Array:
            return loss_fn(recipe(key, adapter_of(net).completed(net, params), scale), batch)

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    return update


if __name__ == "__main__":
    main()
