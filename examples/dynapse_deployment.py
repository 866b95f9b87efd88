"""From a trained DynapSim network to DYNAP-SE2: what deployment costs, and which training it gains by.

A tight network, one neuron for each of four classes, read out by its mean synaptic current, is trained five ways for
the same number of steps: without mismatch; under mismatch of Gaussian weights; under mismatch of weights that are made
of four branch currents inside the step; and the first two for a part of the steps, then fine-tuned as deployed. All are
deployed, and measured on chips whose branch currents and bias currents deviate.

    python examples/dynapse_deployment.py --config configs/dynapse.yaml --seeds 0 1 2
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import limpet
from dynapse_frozen_noise import ExampleConfig, FrozenNoise, build_network, build_optimizer

TIGHT = ("train.classes=4", "train.neurons_per_class=1", "train.steps=1000", "train.learning_rate=0.02")
TUNING = 300, 0.005
"""Steps of fine-tuning, and its learning rate."""
SCALES = (0.0, 1.0, 2.0, 3.0)
CHIP_SEED = 77  # of chips that no training saw


class Task:
    """One network, its data, and a plain training loop."""

    def __init__(self, config: ExampleConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.data, self.net = FrozenNoise(config.train, seed), build_network(config.train, seed)
        rasters, labels = self.data.sample(np.random.default_rng([seed, 7]), 200)
        self.test_set = jnp.asarray(rasters), jnp.asarray(labels)

    def logits(self, tree: Any, rasters: jax.Array) -> jax.Array:
        _, _, recorded = self.net.set_attributes(tree).reset_state()(rasters, record=True)
        return recorded["1_DynapSim"]["isyn"].mean(axis=1) * 1e9

    def loss(self, tree: Any, batch: Any) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(self.logits(tree, batch[0]), batch[1]).mean()

    def accuracy(self, tree: Any, batch: Any) -> jax.Array:
        return (self.logits(tree, batch[0]).argmax(axis=-1) == batch[1]).mean()

    def train(self, net: Any, hardware: limpet.Hardware | None, steps: int, rate: float) -> Any:
        """Parameters after some steps, under fresh mismatch of 2.5 times the hardware's; weights that are 0 stay 0."""
        params = jax.tree.map(jnp.float32, net.parameters())
        connected = jax.tree.map(lambda weights: (weights != 0).astype(jnp.float32), params)
        optimizer = build_optimizer(rate, steps)
        state = optimizer.init(params)
        injection = None if hardware is None else limpet.Injection(net, hardware, scale=2.5, seed=self.seed)

        @jax.jit
        def update(params: Any, state: Any, step: jax.Array, batch: Any) -> tuple[Any, Any]:
            def loss(params: Any) -> jax.Array:
                return self.loss(params if injection is None else injection.inject(params, step), batch)

            grads = jax.tree.map(jnp.multiply, jax.grad(loss)(params), connected)
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, jax.tree.map(jnp.multiply, updates, connected)), state

        for step, batch in zip(range(steps), self.data.batches(self.seed), strict=False):
            params, state = update(params, state, jnp.int32(step), batch)
        return params

    def tuned(self, deployment: limpet.dynapse.Deployment) -> limpet.dynapse.Deployment:
        """Fine-tuned as deployed: inside the step, weights are rounded to sums of the core's branch currents."""
        steps, rate = TUNING
        params = self.train(deployment.net, deployment.hardware(self.config.hardware), steps, rate)
        return limpet.dynapse.deploy(deployment.net, params, branch_currents=deployment.branch_currents)

    def deployments(self) -> dict[str, limpet.dynapse.Deployment]:
        """The network as deployed, by how it was trained."""
        steps, rate, hardware = self.config.train.steps, self.config.train.learning_rate, self.config.hardware
        branches = limpet.Part("dynapse-weights", limpet.BinaryBranches(spread=0.1))
        in_the_step = limpet.Hardware({**hardware.parts, "weights": branches})

        def deployed(hardware: limpet.Hardware | None, steps: int) -> limpet.dynapse.Deployment:
            return limpet.dynapse.deploy(self.net, self.train(self.net, hardware, steps, rate))

        return {
            "standard": deployed(None, steps),
            "standard, then tuned": self.tuned(deployed(None, steps - TUNING[0])),
            "mismatch": deployed(hardware, steps),
            "mismatch, then tuned": self.tuned(deployed(hardware, steps - TUNING[0])),
            "branches in the step": deployed(in_the_step, steps),
        }


def run(arguments: argparse.Namespace, console: Console) -> None:
    config = limpet.load_config(arguments.config, *TIGHT, *arguments.set, model=ExampleConfig)
    table = Table(title=f"Test accuracy (%) as deployed, {config.robustness.chips} chips: mean (5th percentile)")
    for column in ("seed", "trained", *(f"sigma {0.1 * scale:g}" for scale in SCALES)):
        table.add_column(column, justify="left" if column == "trained" else "right", no_wrap=True)
    for seed in arguments.seeds:
        task = Task(config, seed)
        for name, deployment in task.deployments().items():
            curve = deployment.curve(
                task.accuracy,
                config.hardware,
                scales=SCALES,
                chips=limpet.Chips(config.robustness.chips, seed=CHIP_SEED, progress=False),
                batch=task.test_set,
            )
            cells = zip(curve.mean(), curve.quantile(0.05), strict=True)
            table.add_row(f"{seed}", name, *(f"{100 * mean:.1f} ({100 * low:.0f})" for mean, low in cells))
        table.add_section()
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/dynapse.yaml"), help="YAML or TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a configuration key")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
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
