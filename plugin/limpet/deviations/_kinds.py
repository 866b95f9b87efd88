"""Deviations by name: as configurations, fingerprints and the command line speak of them."""

import inspect
from dataclasses import fields
from functools import reduce
from importlib import import_module
from typing import Any

import numpy as np

from .._errors import LimpetError
from ._additive import Additive
from ._binary_branches import BinaryBranches
from ._chain import Chain
from ._crossbar import Crossbar
from ._deviation import Deviation
from ._drift import Drift
from ._drop_connect import DropConnect
from ._empirical import Empirical
from ._exact import Exact
from ._gaussian import Gaussian
from ._graded import Graded
from ._law import Law, described_law
from ._log_normal import LogNormal
from ._off import Off
from ._programming import Programming
from ._quantize import Quantize
from ._read_noise import ReadNoise
from ._relaxation import Relaxation
from ._right_censored_gaussian import RightCensoredGaussian
from ._shared import Shared, in_runs
from ._spatial import Spatial
from ._stuck import Stuck
from ._student_t import StudentT
from ._synapse_branches import SynapseBranches
from ._systematic import Systematic
from ._truncated_gaussian import TruncatedGaussian
from ._uniform import Uniform

DEVIATIONS: dict[str, type[Deviation]] = {
    "additive": Additive,
    "binary-branches": BinaryBranches,
    "crossbar": Crossbar,
    "drift": Drift,
    "drop-connect": DropConnect,
    "empirical": Empirical,
    "exact": Exact,
    "gaussian": Gaussian,
    "graded": Graded,
    "log-normal": LogNormal,
    "off": Off,
    "programming": Programming,
    "quantize": Quantize,
    "read-noise": ReadNoise,
    "relaxation": Relaxation,
    "right-censored-gaussian": RightCensoredGaussian,
    "shared": Shared,
    "spatial": Spatial,
    "student-t": StudentT,
    "stuck": Stuck,
    "synapse-branches": SynapseBranches,
    "systematic": Systematic,
    "truncated-gaussian": TruncatedGaussian,
    "uniform": Uniform,
}
"""Every deviation by the name that a configuration gives it. `tests/deviations` tests each of them."""


def deviation_class(kind: str) -> type[Deviation]:
    """The class that a name stands for.

    Args:
        kind: a name in the registry; or, for a deviation of one's own, `module:Class` or `module.Class`, imported from
            where Python looks for modules.

    Raises:
        LimpetError: there is no such name, it cannot be imported, or it names something else.

    Examples:
        >>> deviation_class("log-normal").__name__
        'LogNormal'
    """
    if kind in DEVIATIONS:
        return DEVIATIONS[kind]
    module, _, name = kind.partition(":") if ":" in kind else kind.rpartition(".")
    if not module:
        allowed = f"{', '.join(DEVIATIONS)}, and a class of your own as module:Class"
        raise _refused(kind, f"is no deviation: allowed are {allowed}")
    try:
        imported: Any = reduce(getattr, name.split("."), import_module(module))
    except Exception as error:
        reason = f"cannot be imported ({type(error).__name__}: {error})"
        if isinstance(error, ModuleNotFoundError):
            reason += "; install it, put its folder on PYTHONPATH, or give that to a command by --import-from"
        raise _refused(kind, reason) from None
    if not (isinstance(imported, type) and issubclass(imported, Deviation)) or inspect.isabstract(imported):
        raise _refused(kind, f"is {imported!r}, not a class derived from limpet.Deviation with a method deviate")
    return imported


def _refused(kind: str, reason: str) -> LimpetError:
    return LimpetError(f"{kind!r}: {reason}", "kind", reason)


def kind_of(deviation: Deviation) -> str:
    """The name by which `deviation_class` finds the class of a deviation."""
    names = {member: name for name, member in DEVIATIONS.items()}
    cls = type(deviation)
    return names.get(cls, f"{cls.__module__}:{cls.__qualname__}")


def described(deviation: Deviation) -> Any:
    """A deviation as plain values, as a configuration writes it: kind and parameters; a list for a chain.

    Examples:
        >>> described(Gaussian(sigma=0.1))
        {'kind': 'gaussian', 'sigma': 0.1}
    """
    if isinstance(deviation, Chain):
        return [described(member) for member in deviation.members]
    return {"kind": kind_of(deviation)} | {name: _plain(value) for name, value in _parameters(deviation).items()}


def label(deviation: Deviation) -> str:
    """A deviation in a few words, for tables and messages; parameters that are as by default are left out.

    Examples:
        >>> label(LogNormal(sigma=0.1))
        'log-normal, sigma 0.1'
    """
    if isinstance(deviation, Chain):
        return ", then ".join(label(member) for member in deviation.members)
    defaults = {field.name: field.default for field in fields(deviation)}  # pyright: ignore[reportArgumentType]
    words = [
        f"{name.replace('_', ' ')} {_words(value)}"
        for name, value in _parameters(deviation).items()
        if value != defaults[name]
    ]
    return ", ".join([kind_of(deviation), *words])


def _parameters(deviation: Deviation) -> dict[str, Any]:
    """The parameters of a deviation by name; numbers of groups are written in runs."""
    parameters = {field.name: getattr(deviation, field.name) for field in fields(deviation)}  # pyright: ignore[reportArgumentType]
    return parameters | {"groups": in_runs(deviation.groups)} if isinstance(deviation, Shared) else parameters


def _words(value: Any) -> str:
    if isinstance(value, Deviation):
        return f"[{label(value)}]"
    if isinstance(value, Law):
        plain = described_law(value)
        return " ".join(map(_words, plain.values())) if isinstance(plain, dict) else _words(plain)
    if isinstance(value, tuple | list):
        return f"{len(value)} numbers" if len(value) > 8 else f"[{', '.join(map(_words, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(_plain(value))


def _plain(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    if isinstance(value, Deviation):
        return described(value)
    if isinstance(value, Law):
        return described_law(value)
    if isinstance(value, tuple | list | frozenset):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    if inspect.isroutine(value) and "<" not in value.__qualname__:  # its repr would hold an address in memory
        return f"{value.__module__}:{value.__qualname__}"
    return value if isinstance(value, bool | int | float | str | None) else repr(value)
