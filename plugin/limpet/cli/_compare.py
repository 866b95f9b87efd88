"""`limpet compare`: two runs on the same virtual chips."""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from ..results._comparison import Comparison, compare
from ..results._robustness_curve import RobustnessCurve
from ._output import number_format, show, table, write_json
from ._runs import RUN_HELP, EvaluatedCurve, add_choice, at_step, chosen_metric, confidence, read_curves

EXAMPLES = """\
Chip c is the same chip in both runs, so differences are taken chip by chip, and the interval (Student's t) is of
their mean. "worse" is the fraction of chips that do worse in B, with its exact interval (Clopper-Pearson).

examples:
  limpet compare runs/dynapse/standard runs/dynapse/mismatch
  limpet compare before.npz after.npz --json
"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "compare",
        help="two runs on the same virtual chips, chip by chip",
        description="What changes from run A to run B, for each strength.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path_a", metavar="RUN_A", help=RUN_HELP)
    parser.add_argument("path_b", metavar="RUN_B", help="another")
    add_choice(parser)
    parser.add_argument("--confidence", type=confidence, default=0.95, help="of the intervals (default: 0.95)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare two runs."""
    first_curves, second_curves = read_curves(arguments.path_a), read_curves(arguments.path_b)
    metric = chosen_metric(arguments.metric, {arguments.path_a: first_curves, arguments.path_b: second_curves})
    first, second = (at_step(curves[metric], arguments.step) for curves in (first_curves, second_curves))
    found = compare(first.curve, second.curve, arguments.confidence)
    chips = min(first.curve.chips, second.curve.chips)
    one, other = _first_chips(first.curve, chips), _first_chips(second.curve, chips)
    if arguments.json:
        write_json(_as_dict(first, second, found, one, other))
    else:
        _show(first, second, found, one, other)
    return 0


def _first_chips(curve: RobustnessCurve, chips: int) -> RobustnessCurve:
    """The curve of the chips that are compared: a mean over others would not differ by the difference shown."""
    return replace(curve, values=curve.values[:, :chips])


def _as_dict(
    first: EvaluatedCurve, second: EvaluatedCurve, found: Comparison, one: RobustnessCurve, other: RobustnessCurve
) -> dict[str, Any]:
    rows = zip(
        found.sigmas.tolist(),
        one.mean().tolist(),
        other.mean().tolist(),
        found.difference.tolist(),
        found.low.tolist(),
        found.high.tolist(),
        found.worse,
        one.failed.tolist(),
        other.failed.tolist(),
        strict=True,
    )
    return {
        "metric": one.metric,
        "higher_is_better": one.higher_is_better,
        "axis": one.axis,
        "chips": one.chips,
        "seed": one.seed,
        "confidence": found.confidence,
        "a": {"run": first.source, "step": first.step},
        "b": {"run": second.source, "step": second.step},
        "rows": [
            {
                "sigma": sigma,
                "mean_a": mean_a,
                "mean_b": mean_b,
                "difference": difference,
                "low": low,
                "high": high,
                "worse": {"fraction": worse.fraction, "low": worse.low, "high": worse.high},
                "failed_a": failed_a,
                "failed_b": failed_b,
            }
            for sigma, mean_a, mean_b, difference, low, high, worse, failed_a, failed_b in rows
        ],
    }


def _show(
    first: EvaluatedCurve, second: EvaluatedCurve, found: Comparison, one: RobustnessCurve, other: RobustnessCurve
) -> None:
    from rich.text import Text

    percent = f"{100 * found.confidence:g}%"
    number = number_format([*one.mean(), *other.mean()])
    gain = np.where(found.low > 0, 1, np.where(found.high < 0, -1, 0)) * (1 if one.higher_is_better else -1)
    style = {1: "green", -1: "red", 0: ""}
    rows = [
        [
            f"{sigma:g}",
            number(mean_a),
            number(mean_b),
            Text(_signed(number, difference), style[int(sign)]),
            f"[{_signed(number, low)}, {_signed(number, high)}]",
            f"{100 * worse.fraction:.1f}%",
            f"[{100 * worse.low:.1f}%, {100 * worse.high:.1f}%]",
        ]
        for sigma, mean_a, mean_b, difference, low, high, worse, sign in zip(
            found.sigmas,
            one.mean(),
            other.mean(),
            found.difference,
            found.low,
            found.high,
            found.worse,
            gain,
            strict=True,
        )
    ]
    headers = [one.axis, "mean A", "mean B", "B - A", f"{percent} interval", "chips worse", f"{percent} interval "]
    better = "higher is better" if one.higher_is_better else "lower is better"
    notes = [
        f"{side}: {int(failed.sum())} evaluations failed (NaN or infinite) and are left out of the means"
        for side, failed in (("A", one.failed), ("B", other.failed))
        if failed.any()
    ]
    both = first.curve.chips == second.curve.chips
    show(
        f"{one.metric} ({better}) of {'the same' if both else 'the first'} {one.chips} virtual chips of seed {one.seed}"
        f"{'' if both else ', which both hold'}",
        f"A: {first}",
        f"B: {second}",
        table(dict.fromkeys(headers, "right"), rows),
        *notes,
    )


def _signed(number: Any, value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"
