r"""`limpet corners`: measure the same chips under named conditions, and judge the yield under all of them.

TASK is a function, of no argument or of the configuration, that returns a dict of
tree, metric_fn and batch, as limpet.corners takes them. Hardware, seed, generator
and, where they are not given, target and direction of the metric are the
configuration's.

--corners names a .yaml or .json file of the conditions, a mapping of names to
what differs from the hardware as it is described:

  conditions:
    fresh: {}
    a year: {time: 1 year}
    strong: {scale: 1.5, time: 1 year}
    another read: {read: 1}

With --yield it is a gate: passed if the interval of the yield under all conditions
reaches what is asked for with its lower end, failed if not even with its upper one.

-o writes all of it as .npz, which limpet.Corners.load reads. `limpet chips` rebuilds
the chips in the table: --chip 17 with --scale and --time of the condition.

exit codes:
  0 done, or passed; 1 failed: the whole interval is below what is asked for
  2 bad input, said in one line; 3 too few chips to tell

examples:
  limpet corners nets:task --config config.yaml --corners corners.yaml --target 0.9
  limpet corners nets:task --config config.yaml --corners corners.yaml --chips 400 \
      --yield 0.95 -o corners.npz
"""

import argparse
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limpet import Corners, LimpetError, Yield
from limpet.checks import shown
from limpet.files import path_of

from ._command import add_command, add_config, add_params, named
from ._gate import CODES, WORDS, outcome_of
from ._model import configured, direction_of, load_measured, place_of, user_code
from ._output import show, write_json
from ._runs import confidence, fraction
from ._tail import target_of

if TYPE_CHECKING:
    from limpet import Condition

KEYS = ("scale", "time", "read")
"""The keys of a condition in a file."""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "corners", __doc__, run)
    parser.add_argument("task", metavar="TASK", type=named, help="MODULE:NAME or path/script.py:NAME; see below")
    add_config(parser)
    add_params(parser)
    parser.add_argument("--corners", metavar="FILE", type=named, required=True, help="the conditions; see below")
    parser.add_argument("--target", type=float, help="the value that a chip is to reach (default: robustness.target)")
    parser.add_argument("--chips", type=int, default=100, help="the number of chips (default: 100)")
    parser.add_argument("--seed", type=int, help="of the chips; that of the configuration's chips if left out")
    parser.add_argument("--yield", dest="asked", type=fraction, metavar="YIELD", help="the yield that is asked for")
    parser.add_argument("--confidence", type=confidence, default=0.95, help="of the gate's interval (default: 0.95)")
    parser.add_argument("-o", "--output", metavar="OUT.npz", type=named, help="the .npz to write")


def run(arguments: argparse.Namespace) -> int:
    """Measure corners."""
    from limpet import Chips, corners

    if arguments.output is not None and Path(arguments.output).suffix != ".npz":
        raise LimpetError(f"-o {arguments.output}: give a name that ends in .npz")
    conditions = conditions_of(arguments.corners)
    config = configured(arguments)
    target = target_of(arguments, config)
    task = load_measured(arguments, config)
    seed = config.chip_seed if arguments.seed is None else arguments.seed
    folder, *_ = place_of(arguments.task)
    with user_code(folder):
        found = corners(
            **task,
            mismatch=config.hardware,
            conditions=conditions,
            target=target,
            chips=Chips(arguments.chips, seed, config.generator),
            higher_is_better=direction_of(config, "corners are"),
        )
    if arguments.output is not None:
        found.save(arguments.output)
    joint = found.joint_yield(arguments.confidence)
    outcome = None if arguments.asked is None else outcome_of(joint, arguments.asked)
    if arguments.json:
        write_json(_as_dict(found, joint, arguments.asked, outcome))
    else:
        show(str(found))
        if outcome is not None:
            show(
                f"{WORDS[outcome]}: the yield under all conditions lies between {joint.low:.4f} and {joint.high:.4f} "
                f"at {100 * joint.confidence:g}%, and {arguments.asked:g} is asked for"
            )
    return 0 if outcome is None else CODES[outcome]


def conditions_of(file: str) -> "dict[str, Condition]":
    """The conditions that a file names.

    Raises:
        LimpetError: it cannot be read, or holds something else.
    """
    from limpet import Condition

    from ..config._parsed_text import read_values

    values = read_values(path_of(file), (".yaml", ".yml", ".json"))
    held = values.get("conditions") if isinstance(values, Mapping) else None
    if not isinstance(held, Mapping) or not held or len(values) > 1:
        raise LimpetError(f"{file}: holds {shown(values)}; needed is 'conditions', a mapping of names to conditions")
    conditions = {}
    for name, entry in held.items():
        place = f"{file}: conditions: {name}"
        if not isinstance(name, str):
            raise LimpetError(f"{place}: a name is a text; put it in quotation marks")
        if not isinstance(entry, Mapping):
            raise LimpetError(f"{place}: is {shown(entry)}; needed is a mapping of {', '.join(KEYS)}, perhaps {{}}")
        for key, value in entry.items():
            if key not in KEYS:
                close = difflib.get_close_matches(str(key), KEYS, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise LimpetError(
                    f"{place}: {shown(key)} is no key of a condition; {hint}allowed are {', '.join(KEYS)}"
                )
            allowed = int | float | str if key == "time" else int | float
            if isinstance(value, bool) or not isinstance(value, allowed):
                raise LimpetError(
                    f"{place}: {key} = {shown(value)}: allowed is a number{' or a text' * (key == 'time')}"
                )
        conditions[name] = Condition(**entry)
        try:
            conditions[name].checked()
        except LimpetError as error:
            raise LimpetError(f"{place}: {error}") from None
    return conditions


def _as_dict(found: Corners, joint: Yield, asked: float | None, outcome: str | None) -> dict[str, Any]:
    curve = found.curve
    rows = {}
    for name, share in found.yields(joint.confidence).items():
        row = found.at(name)
        worst = row.corner("worst")
        condition = {key: getattr(worst.condition, key) for key in KEYS}
        rows[name] = {**condition, "mean": float(row.mean()[0]), "worst": worst.value, "worst_chip": worst.chip}
        rows[name] |= _shares(share) | {"chips_failed": int(row.failed[0])}
    return {
        "outcome": outcome,
        "asked_yield": asked,
        "metric": curve.metric,
        "higher_is_better": curve.higher_is_better,
        "target": found.target,
        "chips": curve.chips,
        "seed": curve.seed,
        "generator": curve.generator,
        "fingerprint": curve.fingerprint,
        "hardware": curve.hardware,
        "confidence": joint.confidence,
        **_shares(joint),
        "conditions": rows,
    }


def _shares(found: Yield) -> dict[str, float]:
    return {"yield": found.fraction, "low": found.low, "high": found.high}
