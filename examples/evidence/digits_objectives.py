"""Which way of training helps how much, at equal time, with each chip calibrated or not.

Digits, a network of 64-64-64-10 on a crossbar that is off by 70%. Every network is trained for the same number of
seconds, compilation left out, and measured on the same 100 chips, of a seed that training never saw. A run that was
interrupted goes on where it was: what is in the JSON file is not done again.

python examples/evidence/digits_objectives.py --out runs/evidence/equal-time             # 5 seeds, some 8 minutes
python examples/evidence/digits_objectives.py --out runs/evidence/equal-steps --seconds 0 --steps 4000
python examples/evidence/digits_objectives.py --out runs/evidence/pcm --hardware pcm-joshi2020
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).parents[1]))

import limpet
from digits import Batch, Digits
from digits_calibration import accuracy, initialised, logits
from limpet import objectives

SIGMA, CHIP_SEED, RATE, BATCH, HIDDEN = 0.7, 1_000, 1e-3, 64, 64


def loss_fn(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
    outputs = logits(params, batch[0])
    return optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]).mean(), outputs


def loss_alone(params: Any, batch: Batch) -> jax.Array:
    return loss_fn(params, batch)[0]


Objective = Callable[[Any, jax.Array, Any, jax.Array], jax.Array]
"""`f(params, key, batch, progress)`: the loss, progress going from 0 to 1 over training."""


def of(make: Callable[..., Any], loss: Any = loss_fn, **settings: Any) -> Callable[[Any], Objective]:
    """A network's objective, from the recipe of its hardware."""
    return lambda mismatch: lambda params, key, batch, progress: make(loss, mismatch, **settings)(params, key, batch)


def ramped(mismatch: Any) -> Objective:
    """Forward noise whose strength rises from 0 over the first half of training."""
    return lambda params, key, batch, progress: limpet.with_mismatch(
        loss_alone, mismatch, scale=jnp.minimum(1.0, 2 * progress)
    )(params, key, batch)


NETWORKS: dict[str, Callable[[Any], Objective]] = {
    "standard": lambda mismatch: lambda params, key, batch, progress: loss_alone(params, batch),
    "forward noise": of(limpet.with_mismatch, loss_alone),
    "forward noise, 1.5 sigma": of(limpet.with_mismatch, loss_alone, scale=1.5),
    "forward noise, ramped": ramped,
    "varied, 0.5 to 1.5 sigma": of(objectives.varied, low=0.5, high=1.5),
    "a chip for each example": of(limpet.with_mismatch, loss_alone, draws="per_example"),
    "mean of 8": of(limpet.with_mismatch, loss_alone, draws=8),
    "4 antithetic pairs": of(objectives.antithetic, pairs=4),
    "worst half of 8": of(objectives.cvar, draws=8, share=0.5),
    "worst of 8": of(objectives.worst_of, draws=8),
    "consistency of 8": of(objectives.consistency, draws=8),
    "adversarial": of(objectives.adversarial, zeta=0.1, weight=0.1, steps=3),
    "right-censored, adversarial": of(objectives.a_trice, spread=SIGMA, bound=1.0, zeta=0.1, weight=0.1, steps=3),
    "weight perturbation": of(objectives.weight_perturbation, radius=0.02),
    "adaptive SAM": of(objectives.adaptive_sam, radius=0.05),
}
"""Settings are those of the publications, or of Limpet; none was chosen on the chips measured here."""


class Training:
    """One network's training: compiled once for all seeds and numbers of steps."""

    def __init__(self, name: str, mismatch: Any, data: Digits) -> None:
        images, labels = data.training_set
        objective, adam = NETWORKS[name](mismatch), optax.scale_by_adam()

        @jax.jit
        def trained(params: Any, key: jax.Array, steps: jax.Array) -> Any:
            def step(number: jax.Array, carry: Any) -> Any:
                params, state = carry
                own = jax.random.fold_in(key, number)
                chosen = jax.random.randint(jax.random.fold_in(own, 0), (BATCH,), 0, len(images))
                batch, progress = (images[chosen], labels[chosen]), number / steps
                grads = jax.grad(objective)(params, jax.random.fold_in(own, 1), batch, progress)
                directions, state = adam.update(grads, state, params)
                rate = RATE * (1 + jnp.cos(jnp.pi * progress)) / 2
                return jax.tree.map(lambda leaf, direction: leaf - rate * direction, params, directions), state

            return jax.lax.fori_loop(0, steps, step, (params, adam.init(params)))[0]

        self._trained = trained
        self.seconds_per_step = 0.0

    def run(self, seed: int, steps: int) -> Any:
        params = initialised(seed, HIDDEN)
        return jax.block_until_ready(self._trained(params, jax.random.key(seed, impl=limpet.fast), jnp.int32(steps)))

    def steps_in(self, seconds: float) -> int:
        """How many steps fit into some seconds, by trial; compilation is left out."""
        if not self.seconds_per_step:
            self.run(0, 1)
            count = 100
            while True:
                started = time.perf_counter()
                self.run(0, count)
                taken = time.perf_counter() - started
                if taken > 0.2:
                    break
                count *= 4
            self.seconds_per_step = taken / count
        return max(1, round(seconds / self.seconds_per_step))


def measured(params: Any, hardware: limpet.Hardware, data: Digits, chips: int) -> dict[str, Any]:
    """A network on chips, as it is and with biases fitted to each."""
    images, labels = data.training_set
    calibration = limpet.calibrate(
        loss_alone, params, hardware, metric_fn=accuracy, batch=data.test_set, chips=chips, seed=CHIP_SEED, scales=[1],
        batches=[(images[first : first + 64], labels[first : first + 64]) for first in range(0, 1280, 64)],
    )  # fmt: skip
    row: dict[str, Any] = {"nominal": float(accuracy(params, data.test_set))}
    for when, curve in (("before", calibration.before), ("after", calibration.after)):
        row[when] = {
            "mean": float(curve.mean()[0]),
            "p5": float(curve.quantile(0.05)[0]),
            "worst": float(curve.worst()[0]),
            "yield at 0.95": curve.yield_at(0.95)[0].fraction,
        }
    return row


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Means over seeds, and half the width of their 95% interval."""
    lines = [
        "| trained | steps | nominal | mean | 5th percentile | worst | calibrated: mean | 5th percentile | worst |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in NETWORKS:
        runs = [row for key, row in rows.items() if key.rpartition("/")[0] == name]
        if not runs:
            continue
        cells = [_interval([row["nominal"] for row in runs])]
        cells += [
            _interval([row[when][what] for row in runs])
            for when in ("before", "after")
            for what in ("mean", "p5", "worst")
        ]
        steps = np.mean([row["steps"] for row in runs])
        lines.append(f"| {name} | {steps:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(values: list[float]) -> str:
    from scipy.stats import t

    percent = 100 * np.array(values)
    if len(percent) < 2:
        return f"{percent.mean():.1f}"
    half = t.ppf(0.975, len(percent) - 1) * percent.std(ddof=1) / len(percent) ** 0.5
    return f"{percent.mean():.1f} ± {half:.1f}"


def picture(rows: dict[str, dict[str, Any]], path: Path) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in NETWORKS if any(key.rpartition("/")[0] == name for key in rows)]
    figure, axes = plt.subplots(figsize=(8, 0.35 * len(names) + 1.2), layout="constrained")
    for when, marker, label in (("before", "o", "as it is"), ("after", "s", "biases fitted to each chip")):
        for what, filled in (("mean", True), ("worst", False)):
            values = [
                [row[when][what] for key, row in rows.items() if key.rpartition("/")[0] == name] for name in names
            ]
            axes.plot(
                [100 * np.mean(values_of_network) for values_of_network in values],
                range(len(names)),
                marker,
                color="tab:blue" if when == "before" else "tab:green",
                fillstyle="full" if filled else "none",
                label=f"{label}, {what}",
            )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    others = [row["before"]["worst"] for key, row in rows.items() if not key.startswith("standard/")]
    axes.set_xlim(left=100 * min(others) - 2 if others else None)  # the standard network's may lie far to the left
    axes.set_xlabel("accuracy on 100 chips, %")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/evidence/equal-time"), help="directory of JSON and picture"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each training; 0 for --steps")
    parser.add_argument("--steps", type=int, default=4000, help="of each training, where --seconds is 0")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--chips", type=int, default=100)
    parser.add_argument("--hardware", default="relative", help="a preset's name, in place of relative noise")
    parser.add_argument("--only", action="append", choices=list(NETWORKS), help="a network; may be repeated")
    arguments = parser.parse_args(argv)
    settings = {"seconds": arguments.seconds, "steps": arguments.steps, "chips": arguments.chips}
    settings |= {"hardware": f"relative, sigma {SIGMA}" if arguments.hardware == "relative" else arguments.hardware}
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "results.json"
    held = json.loads(file.read_text()) if file.exists() else {"settings": settings, "rows": {}}
    if held["settings"] != settings:
        print(f"error: {file} holds results of other settings, {held['settings']}; name another --out", file=sys.stderr)
        return 2
    data, rows = Digits(0), held["rows"]
    hardware = limpet.Hardware(crossbar=limpet.Part("*/kernel", limpet.Gaussian(sigma=SIGMA)))
    if arguments.hardware != "relative":
        hardware = limpet.preset(arguments.hardware)
    mismatch = hardware.on(initialised(0, HIDDEN))
    for name in arguments.only or NETWORKS:
        training: Training | None = None
        for seed in range(arguments.seeds):
            if f"{name}/{seed}" in rows:
                continue
            training = training or Training(name, mismatch, data)
            steps = training.steps_in(arguments.seconds) if arguments.seconds else arguments.steps
            started = time.perf_counter()
            params = training.run(seed, steps)
            row = {"steps": steps, "seconds": time.perf_counter() - started}
            rows[f"{name}/{seed}"] = row | measured(params, hardware, data, arguments.chips)
            part = file.with_suffix(".part")
            part.write_text(json.dumps(held, indent=1) + "\n")
            part.replace(file)  # a run that is killed leaves the old file or the new one
    print(table(rows))
    picture(rows, arguments.out / "results.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
