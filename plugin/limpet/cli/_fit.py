"""`limpet fit`: fit the hardware to measured chips: distributions, and what chips and cores have in common.

The table is a .csv, .tsv, .txt, .parquet or .xlsx file (FILE.xlsx#SHEET). Its
columns are chip, device, measured and nominal, and perhaps core, parameter,
time, reading and unit; --column says what they are called otherwise. Units
stand in the column `unit`, or behind a title: `measured [pA]`. Other columns
are not used.

A label may stand in several columns (--column device=row,col). So may the
measured values: --column nominal="10 uS,20 uS" where their titles are what
devices were set to (and so with time, reading, and parameter).

The configuration holds a part for each parameter: what a chip and a core have
in common, what each device deviates by, gain, drift, stuck devices, read noise.
Which leaves it is, is guessed from its name: look at them.

examples:
  limpet fit measurements.csv
  limpet fit measurements.csv -o hardware.yaml --report bench.html
  limpet fit dies.xlsx --column chip=die --column device=row,col --nominal "2 pA"
  limpet fit wide.csv --nominal leak="2 pA" --nominal gain=Vset
  limpet check hardware.yaml --model nets:build
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limpet import LimpetError
from limpet.checks import shown

from ._command import add_command, named
from ._output import show, table, write_json


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "fit", __doc__, run)
    parser.add_argument("measurements", metavar="MEASUREMENTS.csv", type=named, help="a bench's table")
    parser.add_argument(
        "--column",
        metavar="WORD=TITLE",
        action="append",
        default=[],
        help="the title of a column: of chip, core, device, parameter, nominal, measured, unit, time or reading; "
        "several are separated by commas, and none (time=) leaves the column out",
    )
    parser.add_argument(
        "--nominal",
        metavar="[PARAMETER=]VALUE",
        action="append",
        default=[],
        help="the value that devices were set to, such as '2 pA', or the title of its column",
    )
    parser.add_argument(
        "--no-header", action="store_true", help="the file has no titles; --column names places, counted from 1"
    )
    parser.add_argument(
        "--readings", action="store_true", help="rows that agree in all but the measured value are repeated readings"
    )
    parser.add_argument("-o", "--output", metavar="HARDWARE.yaml", type=named, help="the configuration to write")
    parser.add_argument(
        "--levels", metavar="LEVELS", help="what devices share in the configuration: chip, core, chip,core or none"
    )
    parser.add_argument("--robust", action="store_true", help="leave rows out that are far off")
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
    levels = None if arguments.levels is None else [] if arguments.levels == "none" else arguments.levels.split(",")
    fit = fit_measurements(
        arguments.measurements,
        columns=_columns(arguments.column, arguments.no_header),
        nominal=_nominal(arguments.nominal),
        readings=arguments.readings,
        robust=arguments.robust,
    )
    if fit.measurements.ignored:
        print(f"columns that are not used: {', '.join(fit.measurements.ignored)}", file=sys.stderr)
    if arguments.output is not None:
        write_text(arguments.output, fit.configuration(levels=levels))
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


def _columns(options: Sequence[str], headerless: bool) -> dict[str, Any]:
    """The titles (or places) of columns, by the word that `--column` gives them to."""
    columns: dict[str, Any] = {}
    for option in options:
        word, equals, text = option.partition("=")
        if not equals:
            raise LimpetError(f"--column {shown(option)}: give it as WORD=TITLE, such as chip=die")
        if word in columns:
            raise LimpetError(f"--column {shown(option)}: {word} is given twice; separate several titles by commas")
        titles = next(csv.reader([" ".join(text.split())], skipinitialspace=True), [])
        if headerless and (wrong := [title for title in titles if not title.isdecimal()]):
            raise LimpetError(f"--column {shown(option)}: with --no-header, allowed are places, as 1; got {wrong[0]!r}")
        found = [int(title) for title in titles] if headerless else titles
        columns[word] = found if len(found) > 1 else found[0] if found else None
    if headerless and not columns:
        raise LimpetError("--no-header: say by --column which columns these are, as --column chip=1")
    return columns


def _nominal(options: Sequence[str]) -> str | dict[str, str] | None:
    """What devices were set to, of all parameters or by name."""
    named = {name: value for name, equals, value in (option.rpartition("=") for option in options) if equals}
    if len(options) > max(len(named), not named):
        raise LimpetError("--nominal: give one value of all parameters, or PARAMETER=VALUE once for each of them")
    return named or (options[0] if options else None)


def _show(fit: Any) -> None:
    from rich.text import Text

    from limpet.deviations import label

    from ..bench._components import LEVELS
    from ..bench._configuration import beside, off_center, stuck_devices

    found, measured = list(fit.parameters.values()), fit.measurements
    chips = len(measured.chips)
    show(Text(f"{measured.source}: {len(measured.line):,} values on {chips} chip{'s' * (chips != 1)}", "bold"))
    rows = [[*beside(parameter), _goodness(parameter)] for parameter in found]
    columns = {"parameter": "left", "values": "right", "set to": "right", "gain": "right"}
    show("", table(columns | {"law of a device": "left", "next by evidence": "left", "p": "right"}, rows))
    levels = [level for level in LEVELS if any(parameter.component(level) for parameter in found)]
    rows = [[parameter.name, *(_told(parameter.component(level)) for level in levels)] for parameter in found]
    show("sigma by level (95% interval)", table(dict.fromkeys(("parameter", *levels), "left"), rows))
    notes = [
        f"{component.level} not told: {component.note}"
        for parameter in found
        for component in parameter.components
        if not component.told
    ]
    for parameter in found:
        told = [off_center(parameter)] if parameter.off_center else []
        told += [stuck_devices(parameter)] if parameter.stuck else []
        told += [f"{parameter.outliers}: far off, and left out"] if parameter.outliers and parameter.left_out else []
        told += [label(later)] if (later := parameter.in_time.deviation) else []
        told += [label(parameter.read_noise)] if parameter.read_noise else []
        notes += [f"{parameter.name}: {text}" for text in told]
    show(*dict.fromkeys(notes))


def _goodness(parameter: Any) -> Any:
    """The p-value, or the distance from the law where that is near enough whatever p says."""
    from rich.text import Text

    if parameter.doubtful or parameter.p_value >= 0.01:
        return Text(f"{parameter.p_value:.2g}", "yellow" * parameter.doubtful)
    return Text(f"{parameter.distance:.3f} off")


def _told(component: Any) -> str:
    return "" if component is None else str(component) if component.told else "not told"


def _plain(fit: Any) -> dict[str, Any]:
    from dataclasses import asdict

    from limpet.deviations import described

    from ..bench._configuration import doubts

    return {
        "measurements": fit.measurements.source,
        "not_used": list(fit.measurements.ignored),
        "chips": fit.measurements.chips,
        "parameters": {
            name: {
                "values": len(found.rows.line),
                "nominal": found.nominal,
                "largest": found.largest,
                "unit": found.unit,
                "gain": found.gain,
                "gain_error": found.gain_error,
                "offset": found.offset,
                "deviation": described(found.deviation),
                "evidence": found.evidence,
                "distance": found.distance,
                "p_value": found.p_value,
                "components": {component.level: asdict(component) for component in found.components if component.told},
                "in_time": found.in_time.deviation and described(found.in_time.deviation),
                "read_noise": found.read_noise and described(found.read_noise),
                "stuck": found.stuck,
                "devices": found.devices,
                "outliers": found.outliers,
                "by_set_value": [asdict(at) for at in found.by_set_value],
                "doubts": doubts(found),
            }
            for name, found in fit.parameters.items()
        },
        "hardware": fit.hardware().described(),
    }
