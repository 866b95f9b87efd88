"""`limpet fit`: fit the hardware to measured chips: distributions, and what chips and cores have in common.

The table has the columns chip, core, neuron, parameter, nominal and measured,
separated by commas, semicolons or tabs. Units stand in a column `unit`, or
behind a name: `measured [pA]`. Other columns are not used.

The configuration holds a part for each parameter, with the distribution that
fits best. Which leaves it is, is guessed from its name: look at them.

examples:
  limpet fit measurements.csv
  limpet fit measurements.csv -o hardware.yaml --report bench.html
  limpet check hardware.yaml --model nets:build
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from limpet import LimpetError

from ._command import add_command, named
from ._output import show, table, write_json


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "fit", __doc__, run)
    parser.add_argument("measurements", metavar="MEASUREMENTS.csv", type=named, help="a bench's table")
    parser.add_argument("-o", "--output", metavar="HARDWARE.yaml", type=named, help="the configuration to write")
    parser.add_argument("--report", metavar="PAGE.html", type=named, help="an HTML file with pictures to write")


def run(arguments: argparse.Namespace) -> int:
    """Fit one table."""
    from limpet import fit_measurements
    from limpet.files import write_text

    for option, path in (("-o", arguments.output), ("--report", arguments.report)):
        if path is not None and Path(path).resolve() == Path(arguments.measurements).resolve():
            raise LimpetError(f"{option} {path}: would overwrite the measurements; name another file")
    if arguments.output is not None and Path(arguments.output).suffix not in (".yaml", ".yml"):
        raise LimpetError(f"-o {arguments.output}: give a name that ends in .yaml")
    fit = fit_measurements(arguments.measurements)
    if fit.measurements.ignored:
        print(f"columns that are not used: {', '.join(fit.measurements.ignored)}", file=sys.stderr)
    if arguments.output is not None:
        write_text(arguments.output, fit.configuration())
    if arguments.report is not None:
        fit.write_page(arguments.report)
    if arguments.json:
        write_json(_plain(fit))
        return 0
    _show(fit)
    for what, path in (("configuration", arguments.output), ("report", arguments.report)):
        if path is not None:
            show(f"{what}: {path}")
    return 0


def _show(fit: Any) -> None:
    from rich.text import Text

    from ..bench._configuration import off_center

    found, measured = list(fit.parameters.values()), fit.measurements
    chips = len(measured.chips)
    show(Text(f"{measured.source}: {len(measured.line):,} values on {chips} chip{'s' * (chips != 1)}", "bold"))
    rows = [
        [
            *parameter.row(),
            _next_best(parameter),
            Text(f"{parameter.p_value:.2g}", "yellow" if parameter.p_value < 0.05 else ""),
        ]
        for parameter in found
    ]
    columns = {"parameter": "left", "values": "right", "nominal": "right", "center": "right"}
    show("", table(columns | {"deviation": "left", "next by AIC": "left", "p": "right"}, rows))
    rows = [[parameter.name, *(_told(component) for component in parameter.components)] for parameter in found]
    show("sigma by level (95% interval)", table(dict.fromkeys(("parameter", "chip", "core", "neuron"), "left"), rows))
    notes = {
        f"{component.level} not told: {component.note}": None
        for parameter in found
        for component in parameter.components
        if not component.told
    }
    show(*notes)
    for parameter in found:
        if parameter.off_center:
            show(f"{parameter.name}: {off_center(parameter)}")
        if parameter.p_value < 0.05:
            show(f"{parameter.name}: p = {parameter.p_value:.2g}, so not even the best distribution fits well")


def _told(component: Any) -> str:
    return str(component) if component.told else "not told"


def _next_best(parameter: Any) -> str:
    other = next(candidate for candidate in parameter.candidates if candidate is not parameter.best)
    return f"{other.kind} {other.aic - parameter.best.aic:+.1f}"


def _plain(fit: Any) -> dict[str, Any]:
    from dataclasses import asdict

    from limpet.deviations import described

    return {
        "measurements": fit.measurements.source,
        "not_used": list(fit.measurements.ignored),
        "chips": fit.measurements.chips,
        "parameters": {
            name: {
                "values": len(found.factors),
                "nominal": found.nominal,
                "unit": found.unit,
                "center": found.best.center,
                "deviation": described(found.deviation),
                "aic": found.aic,
                "distance": found.distance,
                "p_value": found.p_value,
                "components": {component.level: asdict(component) for component in found.components},
            }
            for name, found in fit.parameters.items()
        },
        "hardware": fit.hardware().described(),
    }
