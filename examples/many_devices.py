"""Many devices: a batch sharded over a mesh, parameters sharded too, a chip for each replica at every step.

Runs on the accelerators there are, or on virtual CPU devices:

    python examples/many_devices.py --config configs/digits.yaml --cpu-devices 8
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import jax
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import limpet
from comparison import Train, run_example
from digits import NETWORKS, Batch, Digits, DigitsConfig
from digits_optax import accuracy, initialised, loss_fn, plain_loss


def train(config: DigitsConfig, data: Digits, mesh: Mesh, tick: Callable[[], None]) -> limpet.RobustnessCurve:
    settings = config.train
    by_batch = NamedSharding(mesh, PartitionSpec("data"))
    params = initialised(config.seed, settings.hidden)

    def placed(leaf: jax.Array) -> jax.Array:
        """Each device holds its part of a kernel's rows, where they can be divided; the draw is made where they lie."""
        divided = leaf.shape[0] % mesh.size == 0
        return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec("data") if divided else PartitionSpec()))

    params = jax.tree.map(placed, params)
    # Limpet, line 1 of 3: the loss, each device's part of the batch on a chip of its own.
    noisy_loss, mismatch = plain_loss, config.hardware.on(params)
    if config.training and config.training.dynamic:
        scale = config.training.dynamic.scale
        noisy_loss = limpet.with_mismatch(
            loss_fn, mismatch, condition=scale, draws="per_replica", mesh=mesh, axis="data"
        )
    # Line 2 of 3: the optimizer's state counts the steps and holds the key.
    optimizer = optax.chain(limpet.track_mismatch(config.seed), optax.adam(settings.learning_rate))
    state = optimizer.init(params)

    @jax.jit
    def update(params: Any, state: Any, batch: Batch) -> tuple[Any, Any]:
        # Line 3 of 3: the draws of this step.
        grads = jax.grad(noisy_loss)(params, limpet.mismatch_key(state), batch)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    size = settings.batch_size // mesh.size * mesh.size
    for _, batch in zip(range(settings.steps), data.batches(config.seed, size), strict=False):
        params, state = update(params, state, jax.device_put(batch, by_batch))
        tick()
    return limpet.robustness_curve(
        accuracy,
        jax.device_put(params, NamedSharding(mesh, PartitionSpec())),
        mismatch,
        scales=config.robustness.scales,
        # The virtual chips are shared out too.
        chips=limpet.Chips(config.robustness.chips, seed=config.chip_seed, mesh=mesh, progress=False),
        batch=data.test_set,
    )


def prepare(config: DigitsConfig, arguments: argparse.Namespace) -> Train:
    if arguments.cpu_devices:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", arguments.cpu_devices)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    if config.train.batch_size < mesh.size:
        raise limpet.ConfigError(f"train.batch_size = {config.train.batch_size}: {mesh.size} devices need as many")
    print(f"{mesh.size} devices ({jax.devices()[0].platform}), so {mesh.size} chips at every step")
    data = Digits(config.seed)
    return lambda variant, tick: train(variant, data, mesh, tick)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cpu-devices", type=int, default=0, metavar="N", help="use N virtual CPU devices")


if __name__ == "__main__":
    sys.exit(run_example(__doc__, "configs/digits.yaml", DigitsConfig, NETWORKS, prepare, add_arguments))
