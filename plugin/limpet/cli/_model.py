"""The network that a command is given: by the name of a Python object, or as a saved tree."""

import argparse
import difflib
import functools
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from limpet import LimpetError

MODEL_HELP = (
    "MODULE:NAME or path/script.py:NAME, imported from the current folder or the script's too: a Rockpool or Flax nnx "
    "module, a tree of arrays, or a function that returns one (of no argument, or of the configuration)"
)
TREE_HELP = "parameters saved as .npz, whose keys are leaf paths such as dense/kernel"


def configured(arguments: argparse.Namespace) -> Any:
    """The configuration that a command is given, with its overrides.

    A class that it names as module:Class is imported. The current folder is no place for that unless the command line
    names it by --import-from: what lies there may be a stranger's, as the configuration may.

    Raises:
        ConfigError: it cannot be read, or does not hold.
    """
    from ..config._load_config import load_config

    with user_code(*arguments.import_from):
        return load_config(arguments.config, *arguments.overrides)


def load_model(spec: str, config: Any) -> Any:
    """The network or tree that MODULE:NAME stands for.

    Args:
        spec: the name of a Python object, as MODULE:NAME or path/script.py:NAME.
        config: the configuration, for a function that takes it.

    Raises:
        LimpetError: it cannot be imported, fails, or gives something else.
    """
    value = load_object(spec, config)
    require_network(spec, value)
    return value


def load_object(spec: str, config: Any) -> Any:
    """What MODULE:NAME stands for; of a function, what it gives. Arguments and errors as of `load_model`."""
    folder, module_name, name = place_of(spec)
    from limpet.rockpool import quietly

    with user_code(folder), quietly():
        value = _named(spec, module_name, name)
        if inspect.isroutine(value) or isinstance(value, type | functools.partial):
            return _called(spec, value, config)
    return value


def load_task(spec: str, config: Any, needed: Sequence[str]) -> dict[str, Any]:
    """The network that MODULE:NAME gives with functions and data, by name.

    Args:
        spec: the name of a Python object, as MODULE:NAME or path/script.py:NAME.
        config: the configuration, for a function that takes it.
        needed: the names that have to be there; "tree" is that of the network.

    Raises:
        LimpetError: it cannot be imported, fails, or gives something else.
    """
    task = load_object(spec, config)
    if not isinstance(task, Mapping):
        raise LimpetError(f"{spec}: gave {type(task).__name__}; needed is a dict of {', '.join(needed)}")
    if missing := [name for name in needed if name not in task]:
        raise LimpetError(f"{spec}: gave no {', '.join(missing)}; needed are {', '.join(needed)}")
    require_network(spec, task["tree"])
    return dict(task)


def load_measured(arguments: argparse.Namespace, config: Any, optional: Sequence[str] = ()) -> dict[str, Any]:
    """What a command measures: the tree, with the parameters that it is given, the metric, and the batch, by name.

    Args:
        arguments: the command's arguments, with `task` and `params`.
        config: the configuration.
        optional: the names of what the task may give beside.

    Raises:
        LimpetError: as of `load_task`; the task gives something else, or the parameters do not fit.
    """
    from limpet import load_parameters

    needed = ("tree", "metric_fn", "batch")
    task = load_task(arguments.task, config, needed)
    if unknown := [str(name) for name in task if name not in (*needed, *optional)]:
        raise LimpetError(f"{arguments.task}: gave {', '.join(unknown)}; allowed are {', '.join((*needed, *optional))}")
    if arguments.params is not None:
        task["tree"] = load_parameters(task["tree"], arguments.params)
    return task


def direction_of(config: Any, what: str) -> bool | None:
    """Whether more of the metric is better, as a configuration says it; None where it does not.

    Args:
        config: the configuration.
        what: the thing that is of one metric, in words.

    Raises:
        LimpetError: the configuration says it of several metrics.
    """
    better = config.robustness.higher_is_better
    if isinstance(better, Mapping):
        raise LimpetError(f"robustness.higher_is_better: {what} of one metric; give true or false")
    return better


def place_of(spec: str) -> tuple[Path, str, str]:
    """The folder from which MODULE:NAME or path/script.py:NAME is imported, the module's name, and the object's.

    Raises:
        LimpetError: it names neither, there is no such script, or its name is that of a module that is in use.
    """
    module_name, colon, name = spec.partition(":")
    if not colon or not module_name or not name:
        raise LimpetError(f"{spec}: expected MODULE:NAME, such as nets:build")
    if not module_name.endswith(".py"):
        if {"/", "\\"} & set(module_name):
            raise LimpetError(f"{spec}: a script is named with its ending, such as {module_name}.py:{name}")
        return Path.cwd(), module_name, name
    script = Path(module_name)
    if not script.is_file():
        raise LimpetError(f"{spec}: there is no file {module_name}")
    imported = getattr(sys.modules.get(script.stem), "__file__", str(script.resolve()))
    if imported is None or Path(imported).resolve() != script.resolve():
        raise LimpetError(f"{spec}: '{script.stem}' is also the name of a module that is in use; rename the script")
    return script.resolve().parent, script.stem, name  # `python path/script.py` imports from its folder, too


def _named(spec: str, module_name: str, name: str) -> Any:
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:
        raise LimpetError(f"{spec}: '{module_name}' cannot be imported: {_brief(error)}") from error
    try:
        return attrgetter(name)(module)
    except AttributeError:
        names = [public for public in vars(module) if not public.startswith("_")]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise LimpetError(f"{spec}: '{module_name}' has no '{name}'{hint}") from None


def _called(spec: str, function: Any, config: Any) -> Any:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        raise LimpetError(f"{spec}: needed is a function written in Python") from None
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        names = ", ".join(p.name for p in required)
        raise LimpetError(f"{spec}: takes {names}; allowed is a function of no argument, or of the configuration")
    try:
        return function(config) if required else function()
    except (Exception, SystemExit) as error:
        raise LimpetError(f"{spec}: failed: {_brief(error)}") from error


def require_network(spec: str, value: Any) -> None:
    """Refuse what is no network.

    Raises:
        LimpetError: it is none.
    """
    from limpet.leaves import adapter_of, is_real

    try:
        leaves = adapter_of(value).leaves(value)
    except LimpetError as error:
        raise LimpetError(f"{spec}: {error}") from None
    if "" in leaves or not any(is_real(leaf) for leaf in leaves.values()):  # "" is the path of what is no tree
        raise LimpetError(
            f"{spec}: is of type {type(value).__name__}; needed is a Rockpool module or a tree of arrays, such as "
            f"the parameters that a Flax module's init returns"
        )


@contextmanager
def user_code(*folders: str | Path) -> Iterator[None]:
    """Lets modules of some folders be imported, and keeps what they print out of JSON."""
    added = [str(Path(folder).resolve()) for folder in folders]
    sys.path[:0] = added
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def _brief(error: BaseException) -> str:
    """An error of the user's own code in one line: kind, message, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith("<frozen") and frame.filename != __file__]
    own = [frame for frame in own if "importlib" not in frame.filename]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    message = " ".join(str(error).split())
    shortened = message if len(message) <= 300 else f"{message[:300]}..."
    return f"{type(error).__name__}: {shortened}{where}"
