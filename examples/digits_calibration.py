"""Digits on a very imprecise crossbar: three networks, as they are and with their biases fitted to each chip.

python examples/digits_calibration.py --config configs/digits_calibration.yaml
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from pydantic import Field
from rich.console import Console
from rich.table import Table

import limpet
from digits import CLASSES, PIXELS, Batch, Digits


class TrainConfig(limpet.Section):
    """The `train` section of configs/digits_calibration.yaml."""

    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    hidden: Annotated[int, Field(ge=1)]
    calibration_steps: Annotated[int, Field(ge=1)]
    calibration_rate: Annotated[float, Field(gt=0)]
    calibration_samples: Annotated[int, Field(ge=1)]


class CalibrationConfig(limpet.Config):
    """Limpet's configuration, with the example's own section checked as strictly."""

    train: TrainConfig = Field(...)


def initialised(seed: int, hidden: int) -> dict[str, Any]:
    sizes = (PIXELS, hidden, hidden, CLASSES)
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    return {
        f"dense_{layer}": {"kernel": jax.random.normal(key, (rows, columns)) / rows**0.5, "bias": jnp.zeros(columns)}
        for layer, (key, rows, columns) in enumerate(zip(keys, sizes, sizes[1:], strict=False))
    }


def logits(params: Any, images: jax.Array) -> jax.Array:
    *hidden, last = (params[f"dense_{layer}"] for layer in range(len(params)))
    for layer in hidden:
        images = jax.nn.relu(images @ layer["kernel"] + layer["bias"])
    return images @ last["kernel"] + last["bias"]


def loss_fn(params: Any, batch: Batch) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, batch[0]), batch[1]).mean()


def accuracy(params: Any, batch: Batch) -> jax.Array:
    return (logits(params, batch[0]).argmax(axis=-1) == batch[1]).mean()


def trained(config: CalibrationConfig, data: Digits, parts: str = "drawn") -> dict[str, Any]:
    """The parameters of a network trained under the configuration's mismatch, or without any ("nominal")."""
    settings, params = config.train, initialised(config.seed, config.train.hidden)
    injection = config.injection(params)
    optimizer = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, settings.steps))
    images, labels = data.training_set

    @jax.jit
    def train(params: Any) -> Any:
        def step(carry: Any, number: jax.Array) -> Any:
            params, state = carry
            chosen = jax.random.fold_in(jax.random.key(config.seed), number)
            chosen = jax.random.randint(chosen, (settings.batch_size,), 0, len(images))

            def loss(params: Any) -> jax.Array:
                drawn = injection.inject(params, number) if parts == "drawn" else params
                return loss_fn(drawn, (images[chosen], labels[chosen]))

            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(settings.steps))[0][0]

    return train(params)


def calibration_batches(config: CalibrationConfig, data: Digits) -> list[Batch]:
    """Batches of the first training examples, in turns: what each chip is shown."""
    settings, (images, labels) = config.train, data.training_set
    count = min(settings.calibration_samples, len(images))
    size = min(settings.batch_size, count)
    return [
        (images[:count][first : first + size], labels[:count][first : first + size])
        for first in range(0, count - size + 1, size)
    ]


def calibrated(config: CalibrationConfig, data: Digits, params: Any, **settings: Any) -> Any:
    fit = limpet.GradientFit(
        loss_fn,
        calibration_batches(config, data),
        steps=config.train.calibration_steps,
        optimizer=optax.adam(config.train.calibration_rate),
        **settings,
    )
    return limpet.calibrate(
        fit,
        params,
        config.hardware,
        metric_fn=accuracy,
        batch=data.test_set,
        scales=config.robustness.scales,
        chips=limpet.Chips(config.robustness.chips, seed=config.chip_seed),
    )


def task(config: limpet.Config) -> dict[str, Any]:
    """For `limpet calibrate examples/digits_calibration.py:task --config configs/digits_calibration.yaml`."""
    checked = CalibrationConfig.model_validate(config.model_dump())
    data = Digits(checked.seed)
    return {
        "tree": trained(checked, data),
        "loss_fn": loss_fn,
        "metric_fn": accuracy,
        "batches": calibration_batches(checked, data),
        "batch": data.test_set,
        "steps": checked.train.calibration_steps,
        "optimizer": optax.adam(checked.train.calibration_rate),
    }


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{value[0]:+.0%} to {value[1]:+.0%}"
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "standard, biases": ("nominal", {}),
    "standard, biases + gains": ("nominal", {"gains": ["*/kernel"]}),
    "mismatch, biases": ("drawn", {}),
    "mismatch, biases + gains": ("drawn", {"gains": ["*/kernel"]}),
}
"""By name: what training draws, and what is fitted beside the biases."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/digits_calibration.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a configuration key")
    parser.add_argument("--json", type=Path, help="write the table there")
    arguments = parser.parse_args()
    try:
        config = limpet.load_config(arguments.config, *arguments.set, model=CalibrationConfig)
    except limpet.LimpetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    data, rows = Digits(config.seed), []
    networks = {how: trained(config, data, how) for how in ("nominal", "drawn")}
    target = config.robustness.target if isinstance(config.robustness.target, float) else 0.95
    for name, (how, settings) in NETWORKS.items():
        started = time.perf_counter()
        calibration = calibrated(config, data, networks[how], **settings)
        seconds = time.perf_counter() - started
        limpet.tensorboard.write_calibration(config.tensorboard.logdir / name, calibration, target=target)
        yields = calibration.yields(target)
        for row, sigma in enumerate(calibration.before.sigmas):
            for when, curve in (("as it is", calibration.before), ("calibrated", calibration.after)):
                rows.append(
                    {
                        "network": name.split(",")[0],
                        "fitted": "-" if when == "as it is" else name.split(", ")[1],
                        "sigma": float(sigma),
                        "nominal": float(accuracy(networks[how], data.test_set)),
                        "mean": float(curve.mean()[row]),
                        "p5": float(curve.quantile(0.05)[row]),
                        "worst": float(curve.worst()[row]),
                        "yield": yields[row].after.fraction if when == "calibrated" else yields[row].before.fraction,
                        "gained": (yields[row].low, yields[row].high) if when == "calibrated" else None,
                        "seconds": seconds if when == "calibrated" else None,
                    }
                )
    table = Table(title=f"Digits, accuracy on {config.robustness.chips} chips; chips at {target:g}, and how many more")
    columns = ("network", "fitted", "mean", "p5", "worst", "yield", "gained", "seconds")
    for column in columns:
        table.add_column(column)
    shown = [row for index, row in enumerate(rows) if row not in rows[:index]]
    for row in shown:
        table.add_row(*(_cell(row[column]) for column in columns))
    console = Console()
    console.print(table)
    console.print(f"tensorboard --logdir {config.tensorboard.logdir}", highlight=False, markup=False, soft_wrap=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"rows": shown}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
