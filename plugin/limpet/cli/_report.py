"""`limpet report`: one HTML file that shows all runs of a log directory."""

import argparse
from typing import Any

from ._output import show

EXAMPLES = """\
examples:
  limpet report runs/dynapse
  limpet report runs/dynapse -o report.html
"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "report",
        help="an HTML file that shows the robustness of all runs",
        description="Write one HTML file with the robustness curves of every run under a log directory.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("logdir", metavar="LOGDIR", help="what `tensorboard --logdir` is given")
    parser.add_argument("-o", "--output", default="report.html", help="the file to write (default: report.html)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write a report."""
    from ..tensorboard import write_report

    write_report(arguments.logdir, arguments.output)
    show(f"report: {arguments.output}")
    return 0
