"""`limpet report`: write one HTML file with the robustness curves of every run under a log directory, or saved ones.

examples:
  limpet report runs/dynapse
  limpet report runs/dynapse -o report.html
  limpet report standard.npz mismatch.npz --target 0.9 -o report.html
"""

import argparse
from typing import Any

from ._command import add_command, named
from ._output import show


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "report", __doc__, run, json=False)
    parser.add_argument(
        "sources",
        metavar="RUNS",
        type=named,
        nargs="+",
        help="what `tensorboard --logdir` is given, or a curve saved as .npz; may be several",
    )
    parser.add_argument("--target", type=float, help="target of the yield, for metrics of which none was logged")
    parser.add_argument(
        "-o", "--output", type=named, default="report.html", help="the file to write (default: report.html)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write a report."""
    from ..tensorboard import write_report

    write_report(arguments.sources, arguments.output, arguments.target)
    show(f"report: {arguments.output}")
    return 0
