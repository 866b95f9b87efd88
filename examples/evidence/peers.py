"""Digits trained by Limpet, by Rockpool's adversarial_loss and by aihwkit-lightning, on one core and the same chips.

Each is trained for 1/4, 1/2, 1, 2 and 4 seconds, compilation left out, from the same initial weights with the same
data, batches of 64, Adam of 1e-3 and a cosine. Chips are off by relative noise, for which aihwkit-lightning has none
and is trained with additive noise, of a strength chosen on validation examples and chips; or by additive noise of 0.15
of each tensor's largest weight, for which Rockpool has none.

taskset -c 0 python examples/evidence/peers.py --lightning ../aihw/bin/python

where the interpreter is that of an environment with aihwkit-lightning; without it the others are trained.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import CHIP_SEEDS, Results, interval, of_curve, rows_of
from tasks import TASKS, Task
from tasks._task import cross_entropy
from ways import WAYS, Objective

import limpet
from training import Training

HARDWARE = {"relative": "relative:0.5", "additive": "additive:0.15"}
NOISES = (0.05, 0.1, 0.15, 0.2)
"""Of which aihwkit-lightning's is chosen for relative noise."""

COLUMNS = ("steps", "nominal", "mean", "5th percentile", "worst")


def rockpool_adversarial(task: Task, sigma: float) -> Objective:
    """Rockpool's own loss, with settings as Limpet's `adversarial` has. Its noise falls on biases as well."""
    from limpet.leaves.rockpool import quietly

    with quietly():
        from rockpool.nn.combinators import Sequential
        from rockpool.nn.modules import InstantJax, LinearJax
        from rockpool.training import adversarial_jax

        shapes = [layer["kernel"].shape for layer in task.model.values()]
        modules: list[Any] = []
        for shape in shapes:
            modules += [LinearJax(shape, has_bias=True), InstantJax(shape[1], jax.nn.relu)]
        net = Sequential(*modules[:-1])
    whole, loss = net.parameters(), cast(Any, adversarial_jax.adversarial_loss)  # whose annotations are NumPy's
    names = [name for name, leaves in whole.items() if "weight" in leaves]

    def task_loss(target: Any, outputs: Any) -> jax.Array:
        return cross_entropy(outputs[:, 0], target)

    def divergence(reference: Any, outputs: Any) -> jax.Array:
        return limpet.objectives.kl_divergence(reference[:, 0], outputs[:, 0])

    def objective(network: Any, key: jax.Array, batch: Any, progress: Any) -> jax.Array:
        layers = network.values()
        tree = whole | {
            name: {"weight": layer["kernel"], "bias": layer["bias"]} for name, layer in zip(names, layers, strict=True)
        }
        own = jax.random.key(jax.random.bits(key))  # the generator that its users have
        return loss(
            tree, net, batch[0][:, None], batch[1], task_loss, divergence, own, noisy_forward_std=sigma,
            mismatch_level=0.1, beta_robustness=0.1, attack_steps=3,
        )  # fmt: skip

    return objective


class Loop:
    """As `Training`, as a Python loop over steps that are compiled, as tutorials have it."""

    def __init__(self, objective: Objective, task: Task) -> None:
        (images, labels), _ = task.shown("test")

        @jax.jit
        def step(params: Any, state: Any, key: jax.Array, number: jax.Array, steps: jax.Array) -> Any:
            own = jax.random.fold_in(key, number)
            chosen = jax.random.randint(jax.random.fold_in(own, 0), (task.batch,), 0, len(images))
            batch, progress = (images[chosen], labels[chosen]), number / steps
            grads = jax.grad(objective)(params, jax.random.fold_in(own, 1), batch, progress)
            directions, state = task.direction.update(grads, state, params)
            now = task.rate * (1 + jnp.cos(jnp.pi * progress)) / 2
            return jax.tree.map(lambda leaf, to: leaf - now * to, params, directions), state

        self._step, self._task, self._seconds_per_step = step, task, 0.0

    def run(self, seed: int, steps: int) -> Any:
        params, _ = self._task.initialised(seed)
        state, key = self._task.direction.init(params), jax.random.key(seed, impl=limpet.fast)
        for number in range(steps):
            params, state = self._step(params, state, key, jnp.int32(number), jnp.float32(steps))
        return jax.block_until_ready(params)

    def steps_in(self, seconds: float) -> int:
        if not self._seconds_per_step:
            self.run(0, 2)
            started = time.process_time()
            self.run(0, 1000)
            self._seconds_per_step = (time.process_time() - started) / 1000
        return max(1, round(seconds / self._seconds_per_step))


def trainings(task: Task, hardware: str) -> dict[str, Any]:
    recipe = task.hardware(HARDWARE[hardware]).on(task.model)
    noise, attacked = WAYS["forward noise"](task, recipe), WAYS["adversarial"](task, recipe)
    found: dict[str, Any] = {
        "Limpet, forward noise": lambda: Training(noise, task, "test", task.rate),
    }
    if hardware == "relative":
        found["Limpet, forward noise, Python loop"] = lambda: Loop(noise, task)
        found["Limpet, adversarial"] = lambda: Training(attacked, task, "test", task.rate)
        theirs = rockpool_adversarial(task, 0.5)
        found["Rockpool, adversarial_loss, Python loop"] = lambda: Loop(theirs, task)
        found["Rockpool, adversarial_loss, one compiled loop"] = lambda: Training(theirs, task, "test", task.rate)
    return found


def measured(network: Any, task: Task, hardware: str, split: str) -> dict[str, Any]:
    _, test = task.shown(split)
    curve = limpet.robustness_curve(
        task.accuracy, network, task.hardware(HARDWARE[hardware]).on(task.model), scales=[1], batch=test,
        chips=limpet.Chips(100, seed=CHIP_SEEDS[split], progress=False),
    )  # fmt: skip
    return {"nominal": float(task.accuracy(network, test)), "chips": {"as it is": of_curve(curve, task.target)}}


def by_lightning(
    python: Path, task: Task, split: str, seeds: int, seconds: list[float], noise: float, clip: float = 0.0
) -> dict[str, dict[str, Any]]:
    """Networks that aihwkit-lightning trained, by `seconds/seed`, with what it took."""
    (images, labels), _ = task.shown(split)
    given = {"images": images, "labels": labels, "rate": task.rate, "batch": task.batch}
    for seed in range(seeds):
        params, _ = task.initialised(seed)
        given |= {f"{seed}/{name}/{leaf}": value for name, layer in params.items() for leaf, value in layer.items()}
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("given.npz", "trained.npz")]
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in given.items()}
        np.savez(files[0], **arrays)
        script = Path(__file__).with_name("peers_lightning.py")
        command = [str(python), str(script), *files, "--noise", str(noise), "--clip", str(clip), "--seconds"]
        ran = subprocess.run([*command, *map(str, seconds)], capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(f"error: {script.name} failed under {python}\n{ran.stderr}")
        with np.load(files[1]) as file:
            held = dict(file)
    found: dict[str, dict[str, Any]] = {}
    for path, value in held.items():
        length, seed, *rest = path.split("/")
        network = found.setdefault(f"{length}/{seed}", {"network": {}})
        if len(rest) == 1:
            network[rest[0]] = value.item()
        else:
            network["network"].setdefault(rest[0], {})[rest[1]] = jnp.asarray(value)
    return found


def tables(results: Results, lengths: list[float], target: float) -> None:
    longest = max(lengths)
    for hardware, described in HARDWARE.items():
        names = list(dict.fromkeys(key.split("|")[1] for key in results.rows if key.startswith(f"{hardware}|")))
        if not names:
            continue
        print(f"\n{described}, {longest:g} s each\n\n| trained | compiled in, s | {' | '.join(COLUMNS)} |")
        print("|---" * (len(COLUMNS) + 2) + "|")
        for name in names:
            runs = rows_of(results.rows, f"{hardware}|{name}|{longest:g}")
            cells = [f"{np.mean([row['compiled'] for row in runs]):.1f}"]
            cells += [f"{np.mean([row['steps'] for row in runs]):,.0f}", interval([row["nominal"] for row in runs])]
            cells += [interval([row["chips"]["as it is"][what] for row in runs]) for what in ("mean", "p5", "worst")]
            print(f"| {name} | {' | '.join(cells)} |")
        print("\nThe worst of 100 chips after so many seconds.\n")
        heads = " | ".join(f"{length:g} s" for length in lengths)
        print(f"| trained | {heads} | reaches {100 * target:g} in |")
        print("|---" * (len(lengths) + 2) + "|")
        for name in names:
            worst = {}
            for length in lengths:
                runs = rows_of(results.rows, f"{hardware}|{name}|{length:g}")
                worst[length] = [row["chips"]["as it is"]["worst"] for row in runs]
            reached = [f"{length:g} s" for length, values in worst.items() if np.mean(values) >= target]
            cells = [*map(interval, worst.values()), reached[0] if reached else "none of these"]
            print(f"| {name} | {' | '.join(cells)} |")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lightning", type=Path, help="an interpreter that has aihwkit-lightning")
    parser.add_argument("--lengths", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0, 4.0], help="seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target", type=float, default=0.9, help="of the worst chip, to be reached soonest")
    parser.add_argument("--out", type=Path, default=Path("runs/evidence/peers"))
    arguments = parser.parse_args(argv)
    lengths = sorted(arguments.lengths)
    task = TASKS["digits"](None)
    try:
        results = Results(arguments.out, {"hardware": HARDWARE, "chips": 100, "lengths": lengths})
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for hardware in HARDWARE:
        for name, make in trainings(task, hardware).items():
            keys = {(n, seed): f"{hardware}|{name}|{n:g}/{seed}" for n in lengths for seed in range(arguments.seeds)}
            if all(key in results.rows for key in keys.values()):
                continue
            training, started = make(), time.process_time()
            training.run(0, 2)
            compiled = time.process_time() - started
            for (length, seed), key in keys.items():
                steps, started = training.steps_in(length), time.process_time()
                network = training.run(seed, steps)
                row = {"steps": steps, "seconds": time.process_time() - started, "compiled": compiled}
                results.add(key, row | measured(network, task, hardware, "test"))
        if arguments.lightning is None:
            continue
        if hardware == "relative":
            worst = {}
            for noise in NOISES:
                (row,) = by_lightning(arguments.lightning, task, "validation", 1, [max(lengths)], noise).values()
                worst[noise] = measured(row["network"], task, hardware, "validation")["chips"]["as it is"]["worst"]
            best = max(worst, key=lambda noise: worst[noise])
            print("aihwkit-lightning, additive noise: worst validation chip", worst)
            named = {f"aihwkit-lightning, ADD_NORMAL {best:g}": (best, 0.0)}
        else:
            named = {"aihwkit-lightning, ADD_NORMAL 0.15": (0.15, 0.0)}
            named["aihwkit-lightning, ADD_NORMAL 0.15, clipped at 2.5 s.d."] = (0.15, 2.5)
        for name, settings in named.items():
            if f"{hardware}|{name}|{max(lengths):g}/0" in results.rows:
                continue
            found = by_lightning(arguments.lightning, task, "test", arguments.seeds, lengths, *settings)
            for key, row in found.items():
                kept = {"steps": row["steps"], "seconds": row["seconds"], "compiled": 0.0}
                results.add(f"{hardware}|{name}|{key}", kept | measured(row["network"], task, hardware, "test"))
    tables(results, lengths, arguments.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
