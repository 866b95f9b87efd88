"""What the examples share: networks that differ in training alone, compared on the same virtual chips."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import limpet

Curves = limpet.RobustnessCurve | Mapping[str, limpet.RobustnessCurve]
Train = Callable[[Any, Callable[[], None]], Curves]
"""`train(config, tick)` trains one network, calls `tick` at every step, and gives the curve of its accuracy; or several
curves, by what is put behind the network's name, of which the first is in the picture."""


def run_example(
    description: str | None,
    default_config: str,
    model: type[limpet.Config],
    networks: Mapping[str, Sequence[str]],
    prepare: Callable[[Any, argparse.Namespace], Train],
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> int:
    """Train each network and print the table: the `main` of an example.

    Args:
        description: of the command line.
        default_config: path of the configuration file.
        model: of the configuration.
        networks: by name of a network, the overrides that make its configuration out of the file's.
        prepare: from configuration and arguments to the function that trains one network.
        add_arguments: to the parser.

    Returns:
        The exit code: 0, 2 for bad input, 130 for Ctrl-C.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path(default_config), help="YAML or TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a configuration key")
    parser.add_argument("--json", type=Path, help="write the table there")
    add_arguments(parser)
    arguments = parser.parse_args()
    try:
        _run(arguments, model, networks, prepare)
    except limpet.LimpetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what was logged so far is in the log directory", file=sys.stderr)
        return 130
    return 0


def _run(arguments: argparse.Namespace, model: Any, networks: Mapping[str, Sequence[str]], prepare: Any) -> None:
    console = Console()
    config = limpet.load_config(arguments.config, *arguments.set, model=model)
    if arguments.json is not None:
        _require_writable(arguments.json)
    targets = config.robustness.target
    target = targets.get("accuracy") if isinstance(targets, dict) else targets
    target = 0.9 if target is None else target
    console.print(config.describe(), highlight=False, markup=False, soft_wrap=True)
    train: Train = prepare(config, arguments)
    curves: dict[str, limpet.RobustnessCurve] = {}
    pictured: dict[str, limpet.RobustnessCurve] = {}
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description:>9}"), *columns, console=console) as progress:
        for name, variant in variants(arguments, config, networks).items():
            task = progress.add_task(name, total=config.train.steps)
            result = train(variant, lambda task=task: progress.advance(task))
            by_ending = {"": result} if isinstance(result, limpet.RobustnessCurve) else result
            curves |= {f"{name}{ending}": curve for ending, curve in by_ending.items()}
            pictured[name] = next(iter(by_ending.values()))
    rows = [row for name, curve in curves.items() for row in rows_of(name, curve, target)]
    console.print(table_of(rows, config.robustness.chips, target))
    picture = save_picture(pictured, config.tensorboard.logdir / "robustness.png")
    console.print(f"picture: {picture}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"tensorboard --logdir {config.tensorboard.logdir}", highlight=False, markup=False, soft_wrap=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


def _require_writable(path: Path) -> None:
    """Before minutes of training, not after them."""
    try:
        path.open("a").close()
    except OSError as error:
        raise limpet.LimpetError(f"--json {path}: cannot be written ({error.strerror})") from None


def variants(
    arguments: argparse.Namespace, config: limpet.Config, networks: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The networks' configurations: they differ in training alone, so that all are measured on the same virtual chips.

    Each network logs to a run of its own.
    """
    return {
        name: limpet.load_config(
            arguments.config,
            *arguments.set,
            *overrides,
            f"tensorboard.logdir={json.dumps(str(config.tensorboard.logdir / name))}",
            model=type(config),
        )
        for name, overrides in networks.items()
    }


def rows_of(name: str, curve: limpet.RobustnessCurve, target: float) -> list[dict[str, Any]]:
    """A row of numbers for each sigma, or each time."""
    return [
        {
            "network": name,
            curve.axis: sigma,
            "at": _place(curve, sigma),
            "mean": mean,
            "p5": p5,
            "worst": worst,
            "yield": found.fraction,
        }
        for sigma, mean, p5, worst, found in zip(
            curve.sigmas.tolist(),
            curve.mean().tolist(),
            curve.quantile(0.05).tolist(),
            curve.worst().tolist(),
            curve.yield_at(target),
            strict=True,
        )
    ]


def _place(curve: limpet.RobustnessCurve, sigma: float) -> str:
    return curve.place(sigma) if curve.axis == "time" else f"{sigma:.2f}"


def table_of(rows: list[dict[str, Any]], chips: int, target: float) -> Table:
    """The rows of all networks, those of one sigma, or one time, together."""
    table = Table(title=f"Test accuracy (%) on {chips} virtual chips", title_style="bold")
    for column in ("time" if "time" in rows[0] else "sigma", "network"):
        table.add_column(column, no_wrap=True)
    for column in ("mean", "5th percentile", "worst chip", f"yield at {target:.0%}"):
        table.add_column(column, justify="right")
    for place in dict.fromkeys(row["at"] for row in rows):
        for index, row in enumerate(row for row in rows if row["at"] == place):
            numbers = [f"{100 * row[key]:.1f}" for key in ("mean", "p5", "worst", "yield")]
            table.add_row(place if index == 0 else "", row["network"], *numbers)
        table.add_section()
    return table


def save_picture(curves: Mapping[str, limpet.RobustnessCurve], path: Path) -> Path:
    """All curves in one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=120)
    axes = figure.add_subplot()
    for name, curve in curves.items():
        curve.plot(axes, label=name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
