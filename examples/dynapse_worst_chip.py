"""Find the virtual chip on which a network does worst, look at it, and fine-tune the network to it.

Trains the network of dynapse_frozen_noise.py without mismatch, measures it on virtual chips, takes the worst one, says
which of its deviations cost most, and trains on for 50 steps on that very chip, as one would on a real one.

    python examples/dynapse_worst_chip.py --config configs/dynapse.yaml --sigma 0.15
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from rich.console import Console

import limpet
from dynapse_frozen_noise import ExampleConfig, FrozenNoise, build_network, build_optimizer, loss_and_accuracy


def descend(loss_fn: Any, params: Any, batches: Any, learning_rate: float, steps: int) -> Any:
    """A plain training loop: `loss_fn(params, batch)`."""
    optimizer = build_optimizer(learning_rate, steps)
    state = optimizer.init(params)

    @jax.jit
    def update(params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(loss_fn)(params, batch), state, params)
        return optax.apply_updates(params, updates), state

    for _, batch in zip(range(steps), batches, strict=False):
        params, state = update(params, state, batch)
    return params


def run(arguments: argparse.Namespace, console: Console) -> None:
    config = limpet.load_config(arguments.config, *arguments.set, model=ExampleConfig)
    settings, seed = config.train, config.seed
    data, net = FrozenNoise(settings, seed), build_network(settings, seed)
    loss_fn, accuracy = loss_and_accuracy(net, settings.classes)
    batches, test_set = data.batches(seed), data.test_set(seed)
    params = jax.tree.map(jnp.float32, net.parameters())
    params = descend(loss_fn, params, batches, settings.learning_rate, settings.steps)

    mismatch = config.hardware.on(net).with_sigma(arguments.sigma)
    trained = limpet.attributes(net.set_attributes(params))
    chips = config.robustness.chips
    curve = limpet.robustness_curve(
        accuracy, trained, mismatch, sigmas=[arguments.sigma], chips=limpet.Chips(chips, seed=seed), batch=test_set
    )
    worst = curve.worst_chip(arguments.sigma)
    console.print(f"mean accuracy on {chips} chips at sigma {arguments.sigma:g}: {curve.mean()[0]:.3f}")
    console.print(f"chip {worst} of seed {seed} does worst: {curve.worst()[0]:.3f}")

    # The chip follows from its name. Its deviations stay what they are while the weights they multiply are trained.
    on_chip = limpet.Injection(net, mismatch, seed=seed, chip=worst)

    few = limpet.Chips(min(chips, 10), seed=seed)
    sensitive = limpet.sensitivity(accuracy, trained, mismatch, chips=few, batch=test_set, gradient_of=loss_fn)
    console.print(f"\nwhat mismatch of sigma {arguments.sigma:g} costs in accuracy, by leaf (the first five)")
    console.print("\n".join(str(sensitive).splitlines()[:6]), highlight=False, markup=False)

    tuned = descend(
        lambda params, batch: loss_fn(on_chip.inject(params, step=0), batch),
        params,
        batches,
        arguments.learning_rate,
        arguments.steps,
    )
    before, after = (float(jax.jit(accuracy)(on_chip.inject(weights, step=0), test_set)) for weights in (params, tuned))
    console.print(
        f"\naccuracy on chip {worst} before and after {arguments.steps} steps on it: {before:.3f}, {after:.3f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/dynapse.yaml"), help="YAML or TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a configuration key")
    parser.add_argument("--sigma", type=float, default=0.15, help="relative standard deviation of the chips")
    parser.add_argument("--steps", type=int, default=50, help="of fine-tuning")
    parser.add_argument("--learning-rate", type=float, default=0.01, help="of fine-tuning")
    try:
        run(parser.parse_args(), Console(soft_wrap=True))
    except limpet.LimpetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
