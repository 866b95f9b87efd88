"""Orbax: a run that may be killed at any time, and goes on from its last checkpoint when it is started again.

Kill it (Ctrl-C, or kill -9) and run the same command again: parameters and logs end up as if nothing had happened.

    python examples/resume_orbax.py --config configs/digits.yaml --checkpoints runs/checkpoints
"""

import argparse
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp

import limpet
from comparison import Train, run_example
from digits import NETWORKS, Batch, Digits, DigitsConfig
from digits_optax import accuracy, initialised, loss_fn

EVERY = 200  # steps between checkpoints


def train(config: DigitsConfig, data: Digits, checkpoints: Path, tick: Callable[[], None]) -> limpet.RobustnessCurve:
    settings = config.train
    optimizer = optax.adam(settings.learning_rate)
    params = initialised(config.seed, settings.hidden)
    state = {"params": params, "optimizer": optimizer.init(params)}

    with ocp.CheckpointManager(checkpoints.absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=2)) as manager:
        run = None
        if (latest := manager.latest_step()) is not None:
            kinds = ocp.args.Composite(state=ocp.args.StandardRestore(state), run=ocp.args.JsonRestore())
            restored = manager.restore(latest, args=kinds)
            state, run = restored["state"], restored["run"]
        # Limpet, line 1 of 3: what deviates on a chip, what training redraws, what is measured, where the run was.
        callback = limpet.MismatchCallback(params, config, metric_fn=accuracy, eval_batch=data.test_set, resume=run)

        @jax.jit
        def update(state: Any, step: jax.Array, batch: Batch) -> tuple[Any, jax.Array]:
            # Line 2 of 3: the draw follows from the step alone, so a resumed run repeats it.
            loss, grads = jax.value_and_grad(lambda p: loss_fn(callback.inject(p, step), batch))(state["params"])
            updates, after = optimizer.update(grads, state["optimizer"], state["params"])
            return {"params": optax.apply_updates(state["params"], updates), "optimizer": after}, loss

        with callback:
            batches = islice(data.batches(config.seed, settings.batch_size), callback.first_step, None)
            for step, batch in zip(range(callback.first_step, settings.steps), batches, strict=False):
                state, loss = update(state, jnp.int32(step), batch)
                callback(step, state["params"], {"loss": loss})
                if step % EVERY == EVERY - 1 or step == settings.steps - 1:
                    # Line 3 of 3: the log is on disk before the checkpoint that counts on it.
                    run = callback.checkpoint(step)
                    kinds = ocp.args.Composite(state=ocp.args.StandardSave(state), run=ocp.args.JsonSave(run))
                    manager.save(step, args=kinds)
                tick()
            return callback.evaluate(settings.steps, state["params"])["accuracy"]


def prepare(config: DigitsConfig, arguments: argparse.Namespace) -> Train:
    data = Digits(config.seed)
    return lambda variant, tick: train(variant, data, arguments.checkpoints / variant.tensorboard.logdir.name, tick)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/checkpoints"), help="folder of the checkpoints")


if __name__ == "__main__":
    sys.exit(run_example(__doc__, "configs/digits.yaml", DigitsConfig, NETWORKS, prepare, add_arguments))
