r"""`limpet check`: validate a configuration, and show what it resolves to.

Given a network, or its saved parameters, it also shows which leaves deviate,
as parts of the hardware, on which arrays they sit, and what training meets of
them.

TASK is a function, of no argument or of the configuration, that returns a dict
of tree, metric_fn and batch, as for limpet calibrate. Given one, it also shows
which arrays the metric makes of each leaf, or what else it does with it.

examples:
  limpet check configs/dynapse.yaml
  limpet check configs/dynapse.yaml hardware.weights.sigma=0.2 training={}
  limpet check configs/dynapse.yaml --model examples/dynapse_frozen_noise.py:network
  limpet check config.yaml --tree params.npz --json
  limpet check configs/digits_calibration.yaml \
      --task examples/digits_calibration.py:task
"""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ._command import add_command, add_import_from, named
from ._model import MODEL_HELP, TREE_HELP, configured, load_model, load_task, place_of, user_code
from ._output import show, table, write_json

if TYPE_CHECKING:
    from ._leaves import LeafOverview


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "check", __doc__, run)
    parser.add_argument("config", metavar="CONFIG", type=named, help="a .yaml, .yml or .toml file")
    parser.add_argument(
        "overrides", metavar="KEY=VALUE", nargs="*", default=[], help="overrides, such as hardware.weights.sigma=0.2"
    )
    add_import_from(parser)
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--model", type=named, help=MODEL_HELP)
    network.add_argument("--tree", type=named, help=TREE_HELP)
    network.add_argument("--task", type=named, help="MODULE:NAME or path/script.py:NAME; see below")


def run(arguments: argparse.Namespace) -> int:
    """Check one configuration."""
    config = configured(arguments)
    given = (arguments.model, arguments.tree, arguments.task)
    name: str | None = next((name for name in given if name is not None), None)
    leaves = None if name is None else _leaves(arguments, config)
    if arguments.json:
        write_json(
            {
                "config": arguments.config,
                "overrides": arguments.overrides,
                "resolved": config.model_dump(),
                "training": _redrawn(config),
                "measured": _measured(config),
                "leaves": None if leaves is None else [asdict(leaf) for leaf in leaves],
            }
        )
        return 0
    _show_overview(arguments, config)
    if leaves is None or name is None:
        show("", "Give --model, --tree or --task to see which leaves deviate.")
    else:
        _show_leaves(name, leaves)
    return 0


def _leaves(arguments: argparse.Namespace, config: Any) -> "list[LeafOverview]":
    from ._leaves import leaf_overviews

    if arguments.model is not None:
        return leaf_overviews(config, load_model(arguments.model, config))
    if arguments.tree is not None:
        from limpet import stored_parameters

        return leaf_overviews(config, stored_parameters(arguments.tree))
    task = load_task(arguments.task, config, ("tree", "metric_fn", "batch"))
    folder, *_ = place_of(arguments.task)
    with user_code(folder):
        return leaf_overviews(config, task["tree"], (task["metric_fn"], task["batch"]))


def _redrawn(config: Any) -> dict[str, Any]:
    """Which parts training redraws, and of which chip."""
    return {
        "dynamic": list(config.dynamic_parts),
        "frozen": list(config.frozen_parts),
        "nominal": list(config.nominal_parts),
        "chip": "fresh" if config.fresh_chips else config.training_chip and config.training_chip[1],
        "chip_seed": config.frozen_seed if config.frozen_parts else None,
    }


def _measured(config: Any) -> dict[str, Any]:
    """Which virtual chips a network is measured on."""
    from ..config._overview import left_out_chip

    return {
        "parts": list(config.hardware.parts),
        **{name: list(values) for name, values in config.robustness.over.items()},
        "chips": config.robustness.chips,
        "seed": config.chip_seed,
        "left_out": left_out_chip(config),
    }


def _show_overview(arguments: argparse.Namespace, config: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from ..config._overview import overview

    with_overrides = f" with {' '.join(arguments.overrides)}" if arguments.overrides else ""
    grid = Table.grid(padding=(0, 2))
    for section, lines in overview(config).items():
        for index, (label, text) in enumerate(lines):
            grid.add_row(Text(section if index == 0 else "", "bold cyan"), Text(label, "dim"), Text(text))
    show(Text(f"{arguments.config}{with_overrides}: valid", "bold green"), "", grid)


def _show_leaves(name: str, leaves: "list[LeafOverview]") -> None:
    from rich.text import Text

    from limpet.checks import listing

    deviating = [leaf for leaf in leaves if leaf.part is not None]
    rest = [leaf.path for leaf in leaves if leaf.part is None]
    used = any(leaf.used for leaf in leaves)
    rows = [
        [
            f"{leaf.path}{' *' if leaf.unread else ''}",
            "x".join(map(str, leaf.shape)) or "scalar" if leaf.shape is not None else "-",
            leaf.arrays or "-",
            *([leaf.used or "-"] if used else []),
            leaf.dtype,
            leaf.part,
            Text(leaf.training, _STYLES.get(leaf.training, "")),
        ]
        for leaf in deviating
    ]
    headers = ["leaf", "shape", "arrays", *(["used as"] if used else []), "dtype", "part", "training"]
    columns = {header: "right" if header == "shape" else "left" for header in headers}
    show("", Text(f"{len(deviating)} of {len(leaves)} leaves of {name} deviate", "bold"), table(columns, rows))
    if any(leaf.unread for leaf in deviating):
        show("* registered by the network, but its simulation never reads it")
    if rest:
        stay = "stays as it is" if len(rest) == 1 else "stay as they are"
        show(f"{len(rest)} {stay}: {listing(rest)}")


_STYLES = {"dynamic": "magenta", "fresh chip": "blue"}
