r"""`limpet decompose`: say how much of the variance of a metric over chips comes from where.

TASK is a function, of no argument or of the configuration, that returns a dict of
tree, metric_fn and batch, as limpet.decompose takes them. Hardware, seed and
generator are the configuration's.

-o writes all values as .json, and the picture if its name ends in .svg, .png or
.pdf; give it several times for both.

exit codes:
  0 done; 2 bad input, said in one line

examples:
  limpet decompose nets:task --config config.yaml
  limpet decompose nets:task --config config.yaml --by leaf --by level --pairs 2000 \
      --test-set -o shares.json -o shares.svg
"""

import argparse
from pathlib import Path
from typing import Any

from limpet import Decomposition, LimpetError
from limpet.checks import number

from ._command import add_command, add_config, add_params, named
from ._model import configured, load_measured, place_of, user_code
from ._output import show, write_json

_PICTURES = (".svg", ".png", ".pdf")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "decompose", __doc__, run)
    parser.add_argument("task", metavar="TASK", type=named, help="MODULE:NAME or path/script.py:NAME; see below")
    add_config(parser)
    add_params(parser)
    parser.add_argument(
        "--by",
        action="append",
        choices=("part", "level", "leaf"),
        help="what sources are told apart by; may be repeated (default: part and level)",
    )
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of chips (default: 1000)")
    parser.add_argument("--seed", type=int, help="of the chips; that of the configuration if left out")
    parser.add_argument("--scale", type=float, help="factor on every deviation (default: 1, the hardware as it is)")
    parser.add_argument("--time", help="time since programming: seconds, or '1 day' (default: as the hardware says)")
    parser.add_argument("--test-set", action="store_true", help="tell what comes from the test set apart")
    parser.add_argument(
        "-o", "--output", action="append", metavar="OUT", type=named, help="the .json or picture to write"
    )


def run(arguments: argparse.Namespace) -> int:
    """Decompose a variance."""
    from limpet import Chips, Condition, decompose
    from limpet.results import seconds

    outputs = arguments.output or []
    for name in outputs:
        if Path(name).suffix not in (".json", *_PICTURES):
            raise LimpetError(f"-o {name}: give a name that ends in .json, or in {', '.join(_PICTURES)} for a picture")
    config = configured(arguments)
    task = load_measured(arguments, config)
    scale = 1.0 if arguments.scale is None else number("--scale", arguments.scale, 0, 1000)
    seed = config.chip_seed if arguments.seed is None else arguments.seed
    folder, *_ = place_of(arguments.task)
    with user_code(folder):
        found = decompose(
            **task,
            mismatch=config.hardware,
            by=arguments.by or ("part", "level"),
            condition=Condition(scale, None if arguments.time is None else seconds(arguments.time, "--time")),
            chips=Chips(arguments.pairs, seed, config.generator),
            test_set=arguments.test_set,
        )
    for name in outputs:
        _write(found, name)
    if arguments.json:
        write_json(_as_dict(found))
    else:
        show(str(found))
    return 0


def _write(found: Decomposition, name: str) -> None:
    if Path(name).suffix == ".json":
        return found.save(name)
    from matplotlib.figure import Figure

    ax = found.plot(Figure(figsize=(5, 1.2 + 0.28 * len(found.sources)), layout="constrained").add_subplot())
    ax.figure.savefig(name, dpi=160)
    return None


def _as_dict(found: Decomposition) -> dict[str, Any]:
    rows = [{"source": source, **share._asdict()} for source, share in found.ranking()]
    plain = {key: value for key, value in found.to_dict().items() if key not in ("first", "second", "mixed", "sources")}
    summary = {"mean": found.mean, "std": found.std, "interactions": found.interactions, "failed": found.failed}
    return {"shares": rows, **summary, "evaluations": found.evaluations, **plain}
