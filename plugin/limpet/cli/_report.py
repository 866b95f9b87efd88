"""`limpet report`: write one HTML file with the robustness curves of every run under a log directory.

examples:
  limpet report runs/dynapse
  limpet report runs/dynapse -o report.html
"""

import argparse
from typing import Any

from ._command import add_command
from ._output import show


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "report", __doc__, run, json=False)
    parser.add_argument("logdir", metavar="LOGDIR", help="what `tensorboard --logdir` is given")
    parser.add_argument("-o", "--output", default="report.html", help="the file to write (default: report.html)")


def run(arguments: argparse.Namespace) -> int:
    """Write a report."""
    from ..tensorboard import write_report

    write_report(arguments.logdir, arguments.output)
    show(f"report: {arguments.output}")
    return 0
