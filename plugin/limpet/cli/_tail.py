r"""`limpet tail`: find how probable it is that a chip misses a target, however rarely one does.

TASK is a function, of no argument or of the configuration, that returns a dict of
tree, metric_fn and batch, as limpet.tail_yield takes them, and perhaps margin_fn.
Hardware, seed, generator and, where they are not given, target and direction of
the metric are the configuration's.

With --yield it is a gate: passed if the lower end of the yield's interval reaches
what is asked for, failed if its upper end does not.

-o writes all of it as .json, with the name of each chip that fails; --worst
writes the values of the one that does worst, by leaf path.

exit codes:
  0 done, or passed; 1 failed: the whole interval is below what is asked for
  2 bad input, said in one line; 3 too few chips to tell

examples:
  limpet tail nets:task --config configs/digits_calibration.yaml --target 0.8 --failure 1e-6
  limpet tail nets:task --config config.yaml --target 0.9 --chips 4000 --check 20000 \
      --yield 0.9999 -o tail.json --worst worst.npz
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limpet import LimpetError, TailYield, Yield
from limpet.checks import number

from ._command import add_command, add_config, add_params, named
from ._gate import CODES, WORDS, outcome_of
from ._model import configured, direction_of, load_measured, place_of, user_code
from ._output import show, write_json
from ._runs import confidence, fraction


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "tail", __doc__, run)
    parser.add_argument("task", metavar="TASK", type=named, help="MODULE:NAME or path/script.py:NAME; see below")
    add_config(parser)
    add_params(parser)
    parser.add_argument("--target", type=float, help="the value that a chip is to reach (default: robustness.target)")
    parser.add_argument(
        "--failure", type=float, default=1e-4, help="the smallest probability of failure that matters (default: 1e-4)"
    )
    parser.add_argument("--chips", type=int, default=1000, help="the chips of each level (default: 1000)")
    parser.add_argument("--seed", type=int, help="of the walk; that of the configuration's chips if left out")
    parser.add_argument("--check", type=int, default=0, metavar="CHIPS", help="independent chips to compare with")
    parser.add_argument("--scale", type=float, help="factor on every deviation (default: 1, the hardware as it is)")
    parser.add_argument("--time", help="time since programming: seconds, or '1 day' (default: as the hardware says)")
    parser.add_argument("--yield", dest="asked", type=fraction, metavar="YIELD", help="the yield that is asked for")
    parser.add_argument("--confidence", type=confidence, default=0.95, help="of the interval (default: 0.95)")
    parser.add_argument("-o", "--output", metavar="OUT.json", type=named, help="the .json to write")
    parser.add_argument("--worst", metavar="OUT.npz", type=named, help="the .npz of the worst chip to write")


def run(arguments: argparse.Namespace) -> int:
    """Find a tail."""
    from limpet import Chips, Condition, tail_yield
    from limpet.results import seconds

    for option, name, ending in (("-o", arguments.output, ".json"), ("--worst", arguments.worst, ".npz")):
        if name is not None and Path(name).suffix != ending:
            raise LimpetError(f"{option} {name}: give a name that ends in {ending}")
    config = configured(arguments)
    task = load_measured(arguments, config, ("margin_fn",))
    scale = 1.0 if arguments.scale is None else number("--scale", arguments.scale, 0, 1000)
    condition = Condition(scale, None if arguments.time is None else seconds(arguments.time, "--time"))
    seed = config.chip_seed if arguments.seed is None else arguments.seed
    folder, *_ = place_of(arguments.task)
    with user_code(folder):
        found = tail_yield(
            **task,
            mismatch=config.hardware,
            target=target_of(arguments, config),
            failure=arguments.failure,
            condition=condition,
            chips=Chips(arguments.chips, seed, config.generator),
            check=arguments.check,
            higher_is_better=direction_of(config, "a tail is"),
        )
    if arguments.output is not None:
        found.save(arguments.output)
    if arguments.worst is not None:
        _write_worst(arguments.worst, found, config, task["tree"])
    chance = found.yield_at(arguments.confidence)
    outcome = None if arguments.asked is None else outcome_of(chance, arguments.asked)
    if arguments.json:
        write_json(_as_dict(found, chance, outcome))
    else:
        show(str(found))
        if outcome is not None:
            show(
                f"{WORDS[outcome]}: the yield lies between {chance.low:.8g} and {chance.high:.8g} at "
                f"{100 * chance.confidence:g}%, and {arguments.asked:g} is asked for"
            )
    return 0 if outcome is None else CODES[outcome]


def target_of(arguments: argparse.Namespace, config: Any) -> float:
    """The value that a chip is to reach: the one given, or the configuration's.

    Raises:
        LimpetError: there is none.
    """
    if arguments.target is not None:
        return arguments.target
    target = config.robustness.target
    if target is None or isinstance(target, Mapping):
        raise LimpetError("--target: give the value that a chip is to reach; the configuration's robustness names none")
    return target


def _write_worst(output: str, found: TailYield, config: Any, tree: Any) -> None:
    from limpet import save_parameters
    from limpet.leaves import adapter_of

    if not found.chips:
        raise LimpetError(f"--worst {output}: no chip misses the target, so that there is none to write")
    drawn = config.recipe(tree)(found.chips[0].key, adapter_of(tree).nominal(tree), found.condition)
    mark = {"walk": str(found.chips[0]), "generator": found.generator, "draws_version": found.draws_version}
    save_parameters(output, drawn, mark | {"fingerprint": found.fingerprint, "scale": found.condition.scale})


def _as_dict(found: TailYield, chance: Yield, outcome: str | None) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "failure": found.failure,
        "low": 1 - chance.high,
        "high": 1 - chance.low,
        "confidence": chance.confidence,
        "relative_error": found.relative_error,
        "effective_ancestors": found.effective_ancestors,
        "plain_chips": found.plain_chips,
        "worst": str(found.chips[0]) if found.chips else None,
        **{name: value for name, value in found.to_dict().items() if name not in ("ancestors", "chips", "values")},
    }
