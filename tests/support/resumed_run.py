"""A run that test_resume.py kills and starts again: `python resumed_run.py FOLDER STEPS PAUSE`."""

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


def main(folder: Path, steps: int, pause: float) -> None:
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

        print("started", flush=True)
        with callback:
            todo = range(callback.first_step, steps)
            for step, x in zip(todo, islice(batches(), callback.first_step, None), strict=False):
                state, loss = update(state, jnp.int32(step), x)
                callback(step, state["params"], {"loss": loss})
                if step % 4 == 3 or step == steps - 1:
                    run = callback.checkpoint(step)
                    kinds = ocp.args.Composite(state=ocp.args.StandardSave(state), run=ocp.args.JsonSave(run))
                    manager.save(step, args=kinds)
                time.sleep(pause)
    np.save(folder / "w.npy", state["params"]["w"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
