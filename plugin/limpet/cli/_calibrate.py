r"""`limpet calibrate`: fit a few digital parameters to each chip; measure the chips before and after.

TASK is a function, of no argument or of the configuration, that returns the
arguments of limpet.GradientFit and limpet.calibrate as a dict: tree, loss_fn,
metric_fn, batches, batch; and, where they differ from the defaults, trainable,
gains, levels, steps and optimizer. Hardware, strengths, chips and targets are the
configuration's.

With --measured chips from files are calibrated in place of virtual ones: an
.npz of values by leaf path, or a bench's table that holds one chip.

-o writes all of it; --chips-to writes a file for each chip, of what is loaded
onto it, by leaf path; --logdir writes two runs for the Robustness tab.

examples:
  limpet calibrate examples/digits_calibration.py:task \
      --config configs/digits_calibration.yaml -o calibration.npz --logdir runs/calibrated
  limpet calibrate nets:task --config config.yaml --measured A3.npz --chips-to loaded
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limpet import LimpetError
from limpet.checks import warn_user

from ._command import add_command, add_config, add_params, named
from ._model import configured, load_task, place_of, user_code
from ._output import show, write_json

_REQUIRED = ("tree", "loss_fn", "metric_fn", "batches", "batch")
_OPTIONAL = ("trainable", "gains", "levels", "steps", "optimizer")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "calibrate", __doc__, run)
    parser.add_argument("task", metavar="TASK", type=named, help="MODULE:NAME or path/script.py:NAME; see below")
    add_config(parser)
    add_params(parser)
    parser.add_argument("--steps", type=int, help="of each chip's fit")
    parser.add_argument("--trainable", metavar="GLOB", action="append", help="leaves given anew; may be repeated")
    parser.add_argument("--gains", metavar="GLOB", action="append", help="weights whose outputs get a gain; likewise")
    parser.add_argument(
        "--measured", metavar="FILE", type=named, action="append", help="a measured chip; may be repeated"
    )
    parser.add_argument("-o", "--output", metavar="OUT.npz", type=named, help="the .npz to write")
    parser.add_argument("--chips-to", metavar="DIRECTORY", type=named, help="a directory for an .npz of each chip")
    parser.add_argument("--logdir", type=named, help="a TensorBoard log directory for the curves before and after")


def run(arguments: argparse.Namespace) -> int:
    """Calibrate chips."""
    from limpet import load_parameters

    if arguments.output is not None and Path(arguments.output).suffix != ".npz":
        raise LimpetError(f"-o {arguments.output}: give a name that ends in .npz")
    if arguments.measured and arguments.logdir is not None:
        raise LimpetError("--logdir: measured chips have no curve over strength, so that there is nothing to log")
    config = configured(arguments)
    task = _task(arguments, config)
    if arguments.params is not None:
        task["tree"] = load_parameters(task["tree"], arguments.params)
    folder, *_ = place_of(arguments.task)
    with user_code(folder):
        calibrations = _measured(arguments, config, task) if arguments.measured else _virtual(arguments, config, task)
    first = next(iter(calibrations.values()))
    if arguments.output is not None:
        _save(arguments.output, calibrations)
    if arguments.chips_to is not None:
        _write_chips(Path(arguments.chips_to), first)
    if arguments.logdir is not None:
        from ..tensorboard import write_calibration

        write_calibration(arguments.logdir, calibrations, target=config.robustness.target)
    targets = {} if arguments.measured else _targets(config, calibrations)
    if arguments.json:
        write_json([_as_dict(calibration, targets.get(name)) for name, calibration in calibrations.items()])
        return 0
    for name, calibration in calibrations.items():
        show(str(calibration))
        if (target := targets.get(name)) is not None:
            curve = calibration.before
            for sigma, difference in zip(curve.sigmas, calibration.yields(target), strict=True):
                show(f"yield at {target:g}, {curve.axis} {curve.place(sigma)}: {difference}")
    sizes = {path: int(values[0, 0].size) for path, values in first.given.items()}
    show(f"each chip is given {sum(sizes.values())} values: {', '.join(f'{n} in {path}' for path, n in sizes.items())}")
    return 0


def _task(arguments: argparse.Namespace, config: Any) -> dict[str, Any]:
    """The arguments that the user's function gives, those of the command line in their place."""
    task = load_task(arguments.task, config, _REQUIRED)
    if unknown := [str(name) for name in task if name not in (*_REQUIRED, *_OPTIONAL)]:
        raise LimpetError(
            f"{arguments.task}: gave {', '.join(unknown)}; allowed are {', '.join(_REQUIRED + _OPTIONAL)}"
        )
    given = {name: getattr(arguments, name) for name in ("steps", "trainable", "gains")}
    return {**task, **{name: value for name, value in given.items() if value is not None}}


def _virtual(arguments: argparse.Namespace, config: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    from limpet import Chips, calibrations

    chips, trained_on = config.robustness.chips, config.measured_training_chip
    if trained_on is not None and trained_on < chips:
        warn_user(f"chip {trained_on} is among those calibrated, and training has met it")
    return calibrations(
        **_arguments(task),
        mismatch=config.hardware,
        chips=Chips(chips, config.chip_seed, config.generator),
        higher_is_better=config.robustness.higher_is_better,
        **config.robustness.over,
    )


def _measured(arguments: argparse.Namespace, config: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    from limpet import MeasuredChip, bench_chip, calibrate_chips

    chips = [MeasuredChip.of(path) if path.endswith(".npz") else bench_chip(path) for path in arguments.measured]
    better = config.robustness.higher_is_better
    given = calibrate_chips(**_arguments(task), measured_chips=chips, higher_is_better=better)
    return {given.before.metric: given}


def _arguments(task: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `limpet.calibrate` in a task: what says how a chip is fitted goes into a fit."""
    from limpet import GradientFit

    of_fit = {name: value for name, value in task.items() if name in ("loss_fn", "batches", *_OPTIONAL)}
    rest = {name: value for name, value in task.items() if name not in of_fit}
    return rest | {"fit": GradientFit(**of_fit)}


def _targets(config: Any, calibrations: Mapping[str, Any]) -> dict[str, float]:
    targets = config.robustness.target
    by_name = dict(targets) if isinstance(targets, Mapping) else dict.fromkeys(calibrations, targets)
    return {name: target for name, target in by_name.items() if target is not None}


def _save(output: str, calibrations: Mapping[str, Any]) -> None:
    path = Path(output)
    for name, calibration in calibrations.items():
        calibration.save(path if len(calibrations) == 1 else path.with_name(f"{path.stem}_{name}.npz"))


def _write_chips(directory: Path, calibration: Any) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    before = calibration.before
    if hasattr(before, "sigmas"):
        for sigma in before.sigmas:
            at = f"_{before.axis}_{sigma:g}" if len(before.sigmas) > 1 else ""
            for chip in before.chip_numbers:
                calibration.save_chip(directory / f"chip_{chip}{at}.npz", int(chip), float(sigma))
    else:
        for chip in before.chips:
            calibration.save_chip(directory / f"{chip}.npz", chip)


def _as_dict(calibration: Any, target: float | None) -> dict[str, Any]:
    before, after = calibration.before, calibration.after
    described = {"metric": before.metric, "steps": calibration.steps, "samples": calibration.samples}
    described |= {"given": {path: list(values.shape[2:]) for path, values in calibration.given.items()}}
    if not hasattr(before, "sigmas"):
        chips = zip(before.chips, before.values.tolist(), after.values.tolist(), strict=True)
        return described | {"chips": [dict(zip(("chip", "before", "after"), row, strict=True)) for row in chips]}
    rows = []
    for row, sigma in enumerate(before.sigmas.tolist()):
        entry: dict[str, Any] = {before.axis: sigma}
        for when, curve in (("before", before), ("after", after)):
            tail = curve.quantile(0.05 if curve.higher_is_better else 0.95)
            entry[when] = {
                "mean": float(curve.mean()[row]),
                "tail": float(tail[row]),
                "worst": float(curve.worst()[row]),
                "failed": int(curve.failed[row]),
            }
        if target is not None:
            change = calibration.yields(target)[row]
            entry["yield"] = {
                "target": target,
                "before": change.before.fraction,
                "after": change.after.fraction,
                "difference": change.difference,
                "low": change.low,
                "high": change.high,
            }
        rows.append(entry)
    return described | {"chips": before.chips, "seed": before.seed, "rows": rows}
