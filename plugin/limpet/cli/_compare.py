"""`limpet compare`: what changes from run A to run B on the same virtual chips, chip by chip.

On one hardware, chip c is the same chip in both runs, so differences are taken chip by chip, and the interval
(Student's t) is of their mean. "worse" is the fraction of chips that do worse in B, with its exact interval
(Clopper-Pearson). Runs that were measured on different hardware have no chip in common, and are refused.

examples:
  limpet compare runs/dynapse/standard runs/dynapse/mismatch
  limpet compare before.npz after.npz --json
"""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limpet import Comparison, RobustnessCurve, compare
from limpet.results import are_same_chips, common_chips

from ._command import add_command, named
from ._output import number_format, show, table, write_json
from ._runs import RUN_HELP, EvaluatedCurve, add_choice, at_step, chosen_metric, confidence, read_curves


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "compare", __doc__, run)
    parser.add_argument("path_a", metavar="RUN_A", type=named, help=RUN_HELP)
    parser.add_argument("path_b", metavar="RUN_B", type=named, help="another")
    add_choice(parser)
    parser.add_argument("--confidence", type=confidence, default=0.95, help="of the intervals (default: 0.95)")


def run(arguments: argparse.Namespace) -> int:
    """Compare two runs."""
    first_curves, second_curves = read_curves(arguments.path_a), read_curves(arguments.path_b)
    metric = chosen_metric(arguments.metric, {arguments.path_a: first_curves, arguments.path_b: second_curves})
    first, second = (at_step(curves[metric], arguments.step) for curves in (first_curves, second_curves))
    comparison = compare(first.curve, second.curve, arguments.confidence)
    numbers = common_chips(first.curve, second.curve)
    curve_a, curve_b = _of_chips(first.curve, numbers), _of_chips(second.curve, numbers)
    if arguments.json:
        write_json(
            {
                "metric": curve_a.metric,
                "higher_is_better": curve_a.higher_is_better,
                "axis": curve_a.axis,
                "chips": curve_a.chips,
                "same_chips": are_same_chips(curve_a, curve_b),
                "seed": curve_a.seed,
                "confidence": comparison.confidence,
                "a": first.as_dict(),
                "b": second.as_dict(),
                "rows": _rows(comparison, curve_a, curve_b),
            }
        )
    else:
        _show(first, second, comparison, curve_a, curve_b)
    return 0


def _of_chips(curve: RobustnessCurve, numbers: NDArray[np.int64]) -> RobustnessCurve:
    """The curve of the chips that are compared: a mean over others would not differ by the difference shown."""
    return replace(curve, values=curve.values[:, np.isin(curve.chip_numbers, numbers)])


def _rows(comparison: Comparison, curve_a: RobustnessCurve, curve_b: RobustnessCurve) -> list[dict[str, Any]]:
    """What is said of each strength."""
    columns = {
        "sigma": comparison.sigmas,
        "mean_a": curve_a.mean(),
        "mean_b": curve_b.mean(),
        "difference": comparison.difference,
        "low": comparison.low,
        "high": comparison.high,
        "failed_a": curve_a.failed,
        "failed_b": curve_b.failed,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [
        dict(zip(columns, row, strict=True))
        | {"worse": {"fraction": worse.fraction, "low": worse.low, "high": worse.high}}
        for row, worse in zip(rows, comparison.worse, strict=True)
    ]


def _show(
    first: EvaluatedCurve,
    second: EvaluatedCurve,
    comparison: Comparison,
    curve_a: RobustnessCurve,
    curve_b: RobustnessCurve,
) -> None:
    from rich.text import Text

    percent = f"{100 * comparison.confidence:g}%"
    number = number_format([*curve_a.mean(), *curve_b.mean()])
    better, worse = ("green", "red") if curve_a.higher_is_better else ("red", "green")
    rows = [
        [
            curve_a.place(row["sigma"]),
            number(row["mean_a"]),
            number(row["mean_b"]),
            Text(_signed(number, row["difference"]), better if row["low"] > 0 else worse if row["high"] < 0 else ""),
            f"[{_signed(number, row['low'])}, {_signed(number, row['high'])}]",
            f"{100 * row['worse']['fraction']:.1f}%",
            f"[{100 * row['worse']['low']:.1f}%, {100 * row['worse']['high']:.1f}%]",
        ]
        for row in _rows(comparison, curve_a, curve_b)
    ]
    headers = [curve_a.axis, "mean A", "mean B", "B - A", f"{percent} interval", "chips worse", f"{percent} interval "]
    notes = [
        f"{side}: {int(failed.sum())} evaluations failed (NaN or infinite) and are left out of the means"
        for side, failed in (("A", curve_a.failed), ("B", curve_b.failed))
        if failed.any()
    ]
    show(
        f"{curve_a.metric} ({'higher' if curve_a.higher_is_better else 'lower'} is better) of "
        f"{_chips_in_words(first.curve, second.curve)}",
        f"A: {first}",
        f"B: {second}",
        table(dict.fromkeys(headers, "right"), rows),
        *notes,
        *_doubts(first.curve, second.curve),
    )


def _chips_in_words(first: RobustnessCurve, second: RobustnessCurve) -> str:
    count = len(common_chips(first, second))
    chips = f"{count} virtual chips of seed {first.seed}"
    if not are_same_chips(first, second):
        return f"{chips}, taken in pairs of one number"
    both_hold_all = count == first.chips == second.chips
    return f"the same {chips}" if both_hold_all else f"the {chips} that both hold"


def _doubts(first: RobustnessCurve, second: RobustnessCurve) -> list[str]:
    """Why it is not known that the chips are the same; nothing where it is."""
    silent = [side for side, curve in (("A", first), ("B", second)) if not curve.fingerprint]
    if not silent:
        return []
    return [
        f"The hardware of {' and '.join(silent)} is not recorded: the pairs are of the same chips only if both "
        f"networks were measured on one hardware. Measure anew to be sure."
    ]


def _signed(number: Any, value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"
