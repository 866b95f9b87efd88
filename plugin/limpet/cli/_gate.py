"""`limpet gate`: pass or fail runs, by whether enough chips reach a target at one strength, or at one time.

A gate is judged by the yield's interval (Clopper-Pearson): passed if its lower end reaches the asked yield, failed if
its upper end does not. Between the two the chips measured are too few to tell, whatever they happen to show.

exit codes:
  0 passed: the whole interval of the yield reaches what is asked for
  1 failed: the whole interval is below it
  2 bad input, said in one line; nothing was judged
  3 too few chips to tell: what is asked for lies within the interval

--file names a .yaml file of several gates, a list of mappings whose keys are the
options: run, metric, step, sigma or scale or time, target, yield, confidence. RUN
stands for those that name no run. One that failed counts more than one that too
few chips were measured for.

examples:
  limpet gate runs/dynapse/mismatch --metric accuracy --sigma 0.1 --target 0.9 --yield 0.95
  limpet gate curve.npz --sigma 0.15 --target 0.9 --yield 0.9 --confidence 0.99 --json
  limpet gate runs/pcm/trained --time "1 day" --target 0.9 --yield 0.9
  limpet gate --file gates.yaml --junit gates.xml
"""

import argparse
import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn
from xml.etree import ElementTree

from limpet import LimpetError, MetricError, RobustnessCurve, Yield
from limpet.checks import number, shown
from limpet.files import path_of, write_text
from limpet.results import seconds, words

from ._command import add_command, named
from ._output import show, write_json
from ._runs import RUN_HELP, EvaluatedCurve, add_choice, at_step, chosen_metric, confidence, fraction, read_curves

PASSED, FAILED, TOO_FEW = "passed", "failed", "too few chips"
CODES = {PASSED: 0, FAILED: 1, TOO_FEW: 3}
"""The exit code of each outcome."""
WORDS = {PASSED: "PASS", FAILED: "FAIL", TOO_FEW: "TOO FEW CHIPS"}
PLACES = ("sigma", "scale", "time")
KEYS = ("run", "metric", "step", *PLACES, "target", "yield", "confidence")
"""The keys of a gate in a file: the options of the command."""


@dataclass(frozen=True)
class Judged:
    """A gate and what came of it.

    Attributes:
        evaluated: the curve, and where it comes from.
        at_place: the curve at the one strength or time that is judged.
        target: the value that a chip must reach.
        asked: the fraction of chips that must.
        found: the fraction that does, with its interval.
    """

    evaluated: EvaluatedCurve
    at_place: RobustnessCurve
    target: float
    asked: float
    found: Yield

    @property
    def outcome(self) -> str:
        """Whether it is passed, failed, or too few chips were measured to tell."""
        return outcome_of(self.found, self.asked)

    @property
    def passing(self) -> int:
        """The number of chips that reach the target."""
        return round(self.found.fraction * self.at_place.chips)

    @property
    def goal(self) -> str:
        """What a chip must reach, and where."""
        curve = self.at_place
        place = curve.place(float(curve.sigmas[0]))
        return f"{curve.metric} {'>=' if curve.higher_is_better else '<='} {self.target:g} at {curve.axis} {place}"

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        curve, found = self.at_place, self.found
        return {
            "passed": self.outcome == PASSED,
            "outcome": self.outcome,
            **self.evaluated.as_dict(),
            "metric": curve.metric,
            "higher_is_better": curve.higher_is_better,
            "axis": curve.axis,
            "sigma": float(curve.sigmas[0]),
            "target": self.target,
            "chips": curve.chips,
            "chips_passed": self.passing,
            "chips_failed": int(curve.failed[0]),
            "yield": found.fraction,
            "low": found.low,
            "high": found.high,
            "confidence": found.confidence,
            "asked_yield": self.asked,
        }

    def __str__(self) -> str:
        found = self.found
        return (
            f"{WORDS[self.outcome]}: {self.passing} of {self.at_place.chips} chips have {self.goal}, a yield of "
            f"{found.fraction:.4g} ({100 * found.confidence:g}% interval {found.low:.4f} to {found.high:.4f}); "
            f"{self._why()} ({self.evaluated})"
        )

    def _why(self) -> str:
        asked, found = f"{self.asked:g}", self.found
        if self.outcome == PASSED:
            return f"its lower end reaches {asked}"
        if self.outcome == FAILED:
            return f"its upper end is below {asked}"
        if found.fraction == 1:
            needed = _chips_needed(self.asked, found.confidence)
            why = f"its lower end is below {asked}"
            return f"{why}, and {self.at_place.chips} chips cannot show more: measure {needed} at least"
        return f"{asked} lies within it: more chips might tell"


class _Entry(argparse.ArgumentParser):
    """Reads one gate, and raises what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise LimpetError(message)


def outcome_of(found: Yield, asked: float) -> str:
    """Whether a yield passes: by its interval, whose lower end must reach what is asked for."""
    if found.low >= asked:
        return PASSED
    return FAILED if found.high < asked else TOO_FEW


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "gate", __doc__, run)
    _add_gate(parser)
    parser.add_argument("--file", metavar="GATES.yaml", type=named, help="a file of several gates; see below")
    parser.add_argument("--junit", metavar="FILE.xml", type=named, help="an XML file to write, as JUnit has it")


def run(arguments: argparse.Namespace) -> int:
    """Judge one gate, or those of a file."""
    gates = {"": _whole(arguments)} if arguments.file is None else _gates(arguments)
    curves_of, judged = cache(read_curves), []
    for place, gate in gates.items():
        with _told(place):
            judged.append(_judged(gate, curves_of))
    outcomes = {gate.outcome for gate in judged}
    outcome = next(one for one in (FAILED, TOO_FEW, PASSED) if one in outcomes)
    if arguments.junit is not None:
        write_text(arguments.junit, _junit(judged))
    if arguments.json and arguments.file is None:
        write_json(judged[0].as_dict())
    elif arguments.json:
        described = [gate.as_dict() for gate in judged]
        write_json({"passed": outcome == PASSED, "outcome": outcome, "gates": described})
    else:
        show(*map(str, judged))
    return CODES[outcome]


def _add_gate(parser: argparse.ArgumentParser) -> None:
    """Add what describes one gate; what is missing, `_whole` says."""
    parser.add_argument("path", metavar="RUN", type=named, nargs="?", help=RUN_HELP)
    add_choice(parser)
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--sigma", type=float, help="relative standard deviation, one of those measured")
    place.add_argument("--scale", type=float, help="multiple of what the hardware says, of a curve over scales")
    place.add_argument("--time", type=str, help="time since programming, of a curve over times: seconds, or '1 day'")
    parser.add_argument("--target", type=float, help="value that a chip must reach; the one logged if left out")
    parser.add_argument("--yield", dest="asked", type=fraction, help="fraction of chips that must, such as 0.95")
    parser.add_argument("--confidence", type=confidence, help="of the yield's interval (default: 0.95)")


def _whole(gate: argparse.Namespace) -> argparse.Namespace:
    """A gate that lacks nothing.

    Raises:
        LimpetError: it lacks something.
    """
    missing = ["RUN"] * (gate.path is None)
    missing += ["one of --sigma, --scale and --time"] * all(getattr(gate, place) is None for place in PLACES)
    missing += ["--yield"] * (gate.asked is None)
    if missing:
        raise LimpetError(f"the following arguments are required: {', '.join(missing)}")
    return gate


def _gates(arguments: argparse.Namespace) -> dict[str, argparse.Namespace]:
    """The gates of a file, by where they stand.

    Raises:
        LimpetError: one cannot be read, or lacks something.
    """
    from ..config._parsed_text import read_values

    file = arguments.file
    parser = _Entry(add_help=False, allow_abbrev=False)
    _add_gate(parser)
    given = [f"--{key}" for key in KEYS[1:] if getattr(arguments, "asked" if key == "yield" else key) is not None]
    if given:
        raise LimpetError(f"{', '.join(given)}: with --file, each gate says in the file what it asks for")
    entries = read_values(path_of(file), (".yaml", ".yml"))
    if not isinstance(entries, list) or not entries:
        raise LimpetError(f"{file}: holds {shown(entries)}; needed is a list of gates, mappings of {', '.join(KEYS)}")
    gates = {}
    for count, entry in enumerate(entries, 1):
        place = f"{file}: gate {count}: "
        with _told(place):
            gate = parser.parse_args(_options(entry))
            gate.path = gate.path or arguments.path
            gates[place] = _whole(gate)
    return gates


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Say of what is wrong with a gate where that stands."""
    try:
        yield
    except LimpetError as error:
        raise LimpetError(f"{place}{error}") from None


def _options(entry: Any) -> list[str]:
    """A gate of a file as the command line writes it."""
    if not isinstance(entry, Mapping):
        raise LimpetError(f"is {shown(entry)}; needed is a mapping of {', '.join(KEYS)}")
    for key, value in entry.items():
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise LimpetError(f"{shown(key)} is no key of a gate; {hint}allowed are {', '.join(KEYS)}")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise LimpetError(f"{key} = {shown(value)}: allowed is a number or a text")
    options = [f"--{key}={value}" for key, value in entry.items() if key != "run"]
    return [*options, "--", str(entry["run"])] if "run" in entry else options


def _judged(gate: argparse.Namespace, curves_of: Callable[[str], Any]) -> Judged:
    curves = curves_of(gate.path)
    metric = chosen_metric(gate.metric, {gate.path: curves})
    evaluated = at_step(curves[metric], gate.step)
    target = _target(gate.target, evaluated)
    at_place = _at_place(evaluated, {axis: getattr(gate, axis) for axis in PLACES})
    (found,) = at_place.yield_at(target, 0.95 if gate.confidence is None else gate.confidence)
    return Judged(evaluated, at_place, target, gate.asked, found)


def _target(asked: float | None, evaluated: EvaluatedCurve) -> float:
    target = evaluated.target if asked is None else asked
    if target is None:
        raise MetricError(f"{evaluated.source}: no target of {evaluated.curve.metric} was logged; give --target")
    return number("--target", target, error=MetricError)


def _at_place(evaluated: EvaluatedCurve, given: Mapping[str, Any]) -> RobustnessCurve:
    """The curve where it is judged.

    Args:
        evaluated: the curve that is judged, and where it comes from.
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


def _chips_needed(asked: float, confidence: float) -> int:
    """How many chips it takes at least: if all n pass, the lower end is ((1 - confidence) / 2) ** (1 / n)."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log(asked))


def _junit(judged: Sequence[Judged]) -> str:
    """The gates as a suite of tests in JUnit's XML: a failure for one that failed, an error for too few chips."""
    counts = {outcome: sum(gate.outcome == outcome for gate in judged) for outcome in CODES}
    numbers = {"tests": len(judged), "failures": counts[FAILED], "errors": counts[TOO_FEW], "skipped": 0}
    described = {"name": "limpet gate", **{name: str(count) for name, count in numbers.items()}}
    suite = ElementTree.Element("testsuite", described)
    for gate in judged:
        name = f"{gate.goal} on {gate.asked:g} of all chips"
        case = ElementTree.SubElement(suite, "testcase", classname=_plain(gate.evaluated.source), name=_plain(name))
        if gate.outcome != PASSED:
            kind = "failure" if gate.outcome == FAILED else "error"
            ElementTree.SubElement(case, kind, type=gate.outcome, message=_plain(str(gate)))
        ElementTree.SubElement(case, "system-out").text = _plain(str(gate))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


def _plain(text: str) -> str:
    """A text of the characters that XML allows: names of files and metrics may hold others."""
    return re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
