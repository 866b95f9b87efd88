r"""`limpet deploy`: map, quantise and round a Rockpool network for DYNAP-SE2, and say what becomes of it.

The network is mapped to cores, its weights become sums of each core's four
branch currents, and bias currents what the bias generator can give. Exit code
0 if the network fits on the chip, 1 if it does not, 2 for bad input.

OUT.npz holds what the chip is set to, by leaf path, as limpet.load_parameters
reads it.

examples:
  limpet deploy nets:build --params trained.npz
  limpet deploy examples/dynapse_frozen_noise.py:network \
      --config configs/dynapse.yaml --params trained.npz --prune \
      -o deployed.npz --report deployment.html
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from limpet import DeploymentError, LimpetError

from ._command import add_command, add_config, add_params, named
from ._model import MODEL_HELP, configured, load_model
from ._output import show, table, write_json


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "deploy", __doc__, run)
    parser.add_argument("network", metavar="MODEL", type=named, help=MODEL_HELP)
    add_config(parser, required=False)
    add_params(parser)
    parser.add_argument("--cores", type=int, help="how many cores to use (default: as few as hold the neurons)")
    parser.add_argument(
        "--prune",
        metavar="N",
        type=int,
        nargs="?",
        const=True,
        default=False,
        help="keep the 64 (or N) largest weights of each neuron",
    )
    parser.add_argument(
        "--quantizer",
        choices=("least-squares", "autoencoder"),
        default="least-squares",
        help="how branch currents are chosen",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT.npz", type=named, help="the .npz to write: weights and currents as deployed"
    )
    parser.add_argument("--report", metavar="PAGE.html", type=named, help="an HTML file to write")


def run(arguments: argparse.Namespace) -> int:
    """Deploy one network."""
    from limpet import load_parameters, save_parameters

    from ..dynapse._deploy import deploy

    if arguments.overrides and arguments.config is None:
        raise LimpetError(f"{arguments.overrides[0]}: overrides the configuration, which is missing; give --config")
    if arguments.output is not None and Path(arguments.output).suffix != ".npz":
        raise LimpetError(f"-o {arguments.output}: give a name that ends in .npz")
    for option, path in (("-o", arguments.output), ("--report", arguments.report)):
        if path is not None and arguments.params and Path(path).resolve() == Path(arguments.params).resolve():
            raise LimpetError(f"{option} {path}: would overwrite the trained parameters; name another file")
    config = None if arguments.config is None else configured(arguments)
    net = load_model(arguments.network, config)
    if arguments.params is not None:
        net = load_parameters(net, arguments.params)
    try:
        deployment = deploy(net, cores=arguments.cores, quantizer=arguments.quantizer, prune=arguments.prune)
    except DeploymentError as error:
        if arguments.json:
            write_json({"fits": False, "problems": [str(error)]})
        else:
            print(f"limpet deploy: does not fit: {error}", file=sys.stderr)
        return 1
    report = deployment.report
    if arguments.output is not None:
        Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
        save_parameters(arguments.output, deployment.network.by_path())
    if arguments.report is not None:
        report.write_page(arguments.report)
    if arguments.json:
        write_json(report.plain())
    else:
        _show(report, arguments)
    return 0 if report.fits else 1


def _show(report: Any, arguments: argparse.Namespace) -> None:
    from rich.text import Text

    show(Text(report.headline(), "bold green" if report.fits else "bold red"))
    show(*(Text(problem, "red") for problem in report.problems))
    for headers, rows in (report.stage_table(), report.current_table()):
        show("", table({header: "left" if index == 0 else "right" for index, header in enumerate(headers)}, rows))
    show(*(Text(warning, "yellow") for warning in report.warnings))
    if arguments.params is None:
        show(f"weights are untrained, as {arguments.network} builds them; give trained ones by --params")
    for what, path in (("deployed network", arguments.output), ("report", arguments.report)):
        if path is not None:
            show(f"{what}: {path}")
