"""A run that test_resume.py kills and starts again: `python resumed_run.py FOLDER STEPS AT_MOST CLOCK`.

It tells where it is, a line for each thing that it does. After AT_MOST steps it waits to be killed. Its clock is off by
CLOCK seconds.
"""

import signal
import sys
import time
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

import limpet

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6)


def loss_fn(params, x):
    return (jnp.tanh(x @ params["w"]) ** 2).mean()


def batches():
    generator = np.random.default_rng(0)
    while True:
        yield X + generator.normal(size=X.shape).astype(np.float32)


def tell(*words: object) -> None:
    print(*words, flush=True)


def main(folder: Path, steps: int, at_most: int) -> None:
    config = limpet.Config.model_validate(
        {
            "hardware": {"weights": {"leaves": "w", "sigma": 0.1}},
            "training": {"dynamic": {}},
            "robustness": {"scales": [0.0, 1.0], "chips": 4, "every_steps": 5, "higher_is_better": False},
            "tensorboard": {"logdir": folder / "log", "flush_steps": 3},
        }
    )
    optimizer = optax.adam(1e-2)
    params = {"w": jnp.ones((6, 3))}
    state = {"params": params, "optimizer": optimizer.init(params)}
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    with ocp.CheckpointManager(folder / "checkpoints", options=options) as manager:
        run = None
        if (latest := manager.latest_step()) is not None:
            kinds = ocp.args.Composite(state=ocp.args.StandardRestore(state), run=ocp.args.JsonRestore())
            restored = manager.restore(latest, args=kinds)
            state, run = restored["state"], restored["run"]
        callback = limpet.MismatchCallback(params, config, metric_fn=loss_fn, eval_batch=X, resume=run)

        @jax.jit
        def update(state, step, x):
            loss, grads = jax.value_and_grad(lambda p: loss_fn(callback.inject(p, step), x))(state["params"])
            updates, after = optimizer.update(grads, state["optimizer"], state["params"])
            return {"params": optax.apply_updates(state["params"], updates), "optimizer": after}, loss

        tell("started", callback.first_step)
        with callback:
            todo = range(callback.first_step, steps)
            for step, x in zip(todo, islice(batches(), callback.first_step, None), strict=False):
                state, loss = update(state, jnp.int32(step), x)
                if step % 5 == 0:
                    tell("evaluating", step)
                callback(step, state["params"], {"loss": loss})
                tell("step", step)
                if step % 4 == 3 or step == steps - 1:
                    tell("saving", step)
                    run = callback.checkpoint(step)
                    kinds = ocp.args.Composite(state=ocp.args.StandardSave(state), run=ocp.args.JsonSave(run))
                    manager.save(step, args=kinds)
                    tell("saved", step)
                if step - callback.first_step == at_most - 1:
                    time.sleep(600)
    np.save(folder / "w.npy", state["params"]["w"])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    clock, offset = time.time, float(sys.argv[4])
    time.time = lambda: clock() + offset
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
