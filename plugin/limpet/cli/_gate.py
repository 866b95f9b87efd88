"""`limpet gate`: exit code 0 if enough chips reach a target at one strength, or at one time; else 1.

The gate is passed if the lower end of the yield's interval (Clopper-Pearson) reaches the asked yield: what the chips
measured are enough to say, not what they happen to show. Exit code 0 if passed, 1 if not, 2 for bad input.

examples:
  limpet gate runs/dynapse/mismatch --metric accuracy --sigma 0.1 --target 0.9 --yield 0.95
  limpet gate curve.npz --sigma 0.15 --target 0.9 --yield 0.9 --confidence 0.99 --json
  limpet gate runs/pcm/trained --time "1 day" --target 0.9 --yield 0.9
"""

import argparse
import math
from collections.abc import Mapping
from typing import Any

from limpet import MetricError, RobustnessCurve, Yield
from limpet.checks import number
from limpet.results import seconds, words

from ._command import add_command
from ._output import show, write_json
from ._runs import RUN_HELP, EvaluatedCurve, add_choice, at_step, chosen_metric, confidence, fraction, read_curves


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "gate", __doc__, run)
    parser.add_argument("path", metavar="RUN", help=RUN_HELP)
    add_choice(parser)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--sigma", type=float, help="relative standard deviation, one of those measured")
    place.add_argument("--scale", type=float, help="multiple of what the hardware says, of a curve over scales")
    place.add_argument("--time", type=str, help="time since programming, of a curve over times: seconds, or '1 day'")
    parser.add_argument("--target", type=float, help="value that a chip must reach; the one logged if left out")
    parser.add_argument(
        "--yield", dest="asked", type=fraction, required=True, help="fraction of chips that must, such as 0.95"
    )
    parser.add_argument("--confidence", type=confidence, default=0.95, help="of the yield's interval (default: 0.95)")


def run(arguments: argparse.Namespace) -> int:
    """Gate one run."""
    curves = read_curves(arguments.path)
    metric = chosen_metric(arguments.metric, {arguments.path: curves})
    evaluated = at_step(curves[metric], arguments.step)
    curve = evaluated.curve
    target = _target(arguments.target, evaluated)
    at_sigma = _at_place(evaluated, {axis: getattr(arguments, axis) for axis in ("sigma", "scale", "time")})
    (yield_,) = at_sigma.yield_at(target, arguments.confidence)
    passed = yield_.low >= arguments.asked
    count = round(yield_.fraction * curve.chips)
    if arguments.json:
        write_json(
            {
                "passed": passed,
                **evaluated.as_dict(),
                "metric": metric,
                "higher_is_better": curve.higher_is_better,
                "axis": curve.axis,
                "sigma": float(at_sigma.sigmas[0]),
                "target": target,
                "chips": curve.chips,
                "chips_passed": count,
                "chips_failed": int(at_sigma.failed[0]),
                "yield": yield_.fraction,
                "low": yield_.low,
                "high": yield_.high,
                "confidence": yield_.confidence,
                "asked_yield": arguments.asked,
            }
        )
        return 0 if passed else 1
    place, sense = curve.place(float(at_sigma.sigmas[0])), ">=" if curve.higher_is_better else "<="
    show(
        f"{'PASS' if passed else 'FAIL'}: {count} of {curve.chips} chips have {metric} {sense} {target:g} at "
        f"{curve.axis} {place}, a yield of {yield_.fraction:.4g} ({100 * yield_.confidence:g}% interval "
        f"{yield_.low:.4f} to {yield_.high:.4f}); {_why(yield_, arguments.asked, curve.chips)} ({evaluated})"
    )
    return 0 if passed else 1


def _target(asked: float | None, evaluated: EvaluatedCurve) -> float:
    target = evaluated.target if asked is None else asked
    if target is None:
        raise MetricError(f"{evaluated.source}: no target of {evaluated.curve.metric} was logged; give --target")
    return number("--target", target, error=MetricError)


def _at_place(evaluated: EvaluatedCurve, given: Mapping[str, Any]) -> RobustnessCurve:
    """The curve where it is judged.

    Args:
        evaluated: the curve.
        given: the place that the command line names on each axis; None but for one.

    Raises:
        MetricError: the curve goes over another axis, or was not measured there.
    """
    curve = evaluated.curve
    ((axis, asked),) = ((axis, place) for axis, place in given.items() if place is not None)
    measured = ", ".join(words(place) if curve.axis == "time" else f"{place:g}" for place in curve.sigmas.tolist())
    if axis != curve.axis:
        raise MetricError(
            f"--{axis} {asked}: {evaluated.source} goes over {curve.axis}; give --{curve.axis}, one of {measured}"
        )
    place = seconds(asked, "--time") if axis == "time" else asked
    try:
        return curve.at(place)
    except MetricError:
        raise MetricError(f"--{axis} {asked}: not measured by {evaluated.source}; measured are {measured}") from None


def _why(yield_: Yield, asked: float, chips: int) -> str:
    if yield_.low >= asked:
        return f"its lower end reaches {asked:g}"
    why = f"its lower end is below {asked:g}"
    if yield_.fraction == 1:
        return f"{why}, and {chips} chips cannot show more: measure {_chips_needed(asked, yield_.confidence)} at least"
    return f"{why}, though the yield is not: more chips might tell" if yield_.fraction >= asked else why


def _chips_needed(asked: float, confidence: float) -> int:
    """How many chips it takes at least: if all n pass, the lower end is ((1 - confidence) / 2) ** (1 / n)."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log(asked))
