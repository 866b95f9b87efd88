"""The command line: check a configuration, rebuild and fit chips, compare runs, gate a build, write a report.

Each command is a file that adds its parser and runs it. What they import at the top is light: `--help`, `gate`,
`compare` and `report` start without JAX.
"""

import argparse
import errno
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import limpet

from . import _calibrate, _check, _chips, _compare, _corners, _decompose, _deploy, _fit, _gate, _presets, _report, _tail

EXAMPLES = """\
examples:
  limpet presets pcm-nandakumar2019
  limpet check configs/dynapse.yaml hardware.weights.sigma=0.2
  limpet compare runs/dynapse/standard runs/dynapse/mismatch
  limpet gate runs/dynapse/mismatch --sigma 0.1 --target 0.9 --yield 0.95
  limpet chips nets:build --config configs/dynapse.yaml --chip 17 -o chip.npz
  limpet fit measurements.csv -o hardware.yaml --report bench.html
  limpet deploy nets:build --params trained.npz --report deployment.html
  limpet calibrate nets:task --config configs/dynapse.yaml -o calibration.npz
  limpet tail nets:task --config config.yaml --target 0.9 --failure 1e-6
  limpet corners nets:task --config config.yaml --corners corners.yaml
  limpet decompose nets:task --config config.yaml --by leaf
  limpet report runs/dynapse -o report.html

exit codes:
  0 done; 1 a gate was failed, or a network does not fit on the chip;
  2 bad input, said in one line; 3 too few chips for a gate to tell;
  130 interrupted; 141 whoever read the output has stopped
"""


UNWRITABLE = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}
"""The errors of a stream that cannot be written; those of files name the file."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, where argparse would print the usage as well."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; those of the process if None.

    Returns:
        The exit code: 0, 1 for a gate that was failed, 2 for bad input, 3 for too few chips, 130 after Ctrl-C, 141
        where nobody reads the output any more.
    """
    # Where a stream is closed (`>&-`), Python has none, and what is meant for it must not go to the other one.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8", closefd=False))
    # Names of files are bytes, and a terminal may not know all characters: those are written as their codes.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _ran(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read the output has seen enough
        _end_streams()
        return 141
    except OSError as error:
        is_output = _end_streams() or error.errno in UNWRITABLE
        what = "the output cannot be written" if is_output else type(error).__name__
        print(f"limpet: error: {what} ({error.strerror or error})", file=sys.stderr)
        return 2


def _ran(argv: Sequence[str] | None) -> int:
    """Run a command, and say in one line what is wrong; what cannot be written to the terminal or a pipe is raised."""
    try:
        arguments = _parse(argv)
    except SystemExit as stop:  # argparse ends the process after --help and after an error
        return int(stop.code or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning
        try:
            return arguments.run(arguments)
        except limpet.LimpetError as error:
            return _refuse(arguments, str(error))
        except OSError as error:
            if not error.filename:
                raise
            return _refuse(arguments, f"{error.filename}: {error.strerror}")
        except KeyboardInterrupt:
            print(f"limpet {arguments.command}: interrupted", file=sys.stderr)
            return 130


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, from which its reference is written as well."""
    whole = _Parser(
        prog="limpet",
        description="Robustness of neural networks to the mismatch of the devices they run on.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = f"limpet {limpet.__version__}, draws version {limpet.DRAWS_VERSION}"
    whole.add_argument("--version", action="version", version=version)
    commands = whole.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in (
        _check,
        _presets,
        _compare,
        _gate,
        _chips,
        _fit,
        _deploy,
        _calibrate,
        _tail,
        _corners,
        _decompose,
        _report,
    ):
        command.add_parser(commands)
    whole.set_defaults(parsers=commands.choices)
    return whole


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    # argparse gives up on positionals that follow an option; overrides may stand anywhere.
    arguments, rest = parser().parse_known_args(argv)
    stray = [text for text in rest if text.startswith("-") or not hasattr(arguments, "overrides")]
    if stray:
        arguments.parsers[arguments.command].error(f"unrecognized arguments: {' '.join(stray)}")
    if rest:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


def _refuse(arguments: argparse.Namespace, message: str) -> int:
    print(f"limpet {arguments.command}: error: {_one_line(message)}", file=sys.stderr)
    return 2


def _end_streams() -> bool:
    """Let go of what cannot be written, and say whether there was some: at its end Python would try once more, and
    fail with a traceback."""
    failed = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            failed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return failed


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"warning: {_one_line(str(message))}", file=sys.stderr)


def _one_line(message: str) -> str:
    """A message in one line; the list of problems that a configuration's error holds is set apart by semicolons."""
    first, *others = [" ".join(line.split()) for line in message.splitlines() if line.strip()]
    return f"{first}: {'; '.join(others)}" if others else first
