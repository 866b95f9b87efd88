"""Examples run as commands: in this process, or in one of their own, which takes seconds to start."""

import io
import os
import runpy
import subprocess
import sys
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[2]
Ran = subprocess.CompletedProcess[str]


def command(script, *arguments, overrides=()):
    """The words of a command."""
    settings = [part for override in overrides for part in ("--set", override)]
    return [sys.executable, str(ROOT / "examples" / script), *settings, *map(str, arguments)]


def run_here(script, *arguments, overrides=()) -> Ran:
    """What the command prints and returns, run in this process. Warnings are printed, as they are to a user."""
    _, path, *rest = words = command(script, *arguments, overrides=overrides)
    out, err = io.StringIO(), io.StringIO()
    with (
        chdir(ROOT),
        mock.patch.object(sys, "argv", [path, *rest]),
        mock.patch.object(sys, "path", [str(ROOT / "examples"), *sys.path]),
        redirect_stdout(out),
        redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        warnings.showwarning = _printed
        try:
            runpy.run_path(path, run_name="__main__")
            code = 0
        except SystemExit as exit:
            code = exit.code
    return Ran(words, code, out.getvalue(), err.getvalue())


def _printed(message, category, filename, lineno, file=None, line=None):
    print(f"{filename}:{lineno}: {category.__name__}: {message}", file=sys.stderr)


def run_alone(script, *arguments, overrides=(), timeout=300) -> Ran:
    """What the command prints and returns, run in a process of its own."""
    words = command(script, *arguments, overrides=overrides)
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=os.environ)
