"""Limpet: device mismatch for JAX training loops.

Networks for analog and mixed-signal chips are trained under the mismatch of the hardware they will run on, frozen
onto virtual chips, and measured on hundreds of them. See the README for the three lines that do it.

Names are loaded when they are first used (PEP 562): `import limpet` is silent and imports no JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._audit import AuditReport as AuditReport
    from ._audit import audit as audit
    from ._callback import MismatchCallback as MismatchCallback
    from ._chip import freeze as freeze
    from ._compare import Comparison as Comparison
    from ._compare import compare as compare
    from ._config import Config as Config
    from ._config_file import load_config as load_config
    from ._curve import RobustnessCurve as RobustnessCurve
    from ._deviation import Deviation as Deviation
    from ._deviation import Gaussian as Gaussian
    from ._errors import ConfigError as ConfigError
    from ._errors import LimpetError as LimpetError
    from ._errors import LogdirError as LogdirError
    from ._errors import MetricError as MetricError
    from ._errors import MismatchNotApplied as MismatchNotApplied
    from ._errors import PrototypeError as PrototypeError
    from ._errors import StrengthError as StrengthError
    from ._fast_bits import fast as fast
    from ._generator import DRAWS_VERSION as DRAWS_VERSION
    from ._interval import Yield as Yield
    from ._leaf_costs import Sensitivity as Sensitivity
    from ._mismatch import Mismatch as Mismatch
    from ._prototype import prototype as prototype
    from ._random import virtual_chip as virtual_chip
    from ._robustness import robustness_curve as robustness_curve
    from ._rockpool import attributes as attributes
    from ._rockpool import dynamic_mismatch_prototype as dynamic_mismatch_prototype
    from ._rockpool import frozen_mismatch_prototype as frozen_mismatch_prototype
    from ._rockpool import mismatch_generator as mismatch_generator
    from ._section import Section as Section
    from ._sensitivity import sensitivity as sensitivity
    from ._track_mismatch import mismatch_key as mismatch_key
    from ._track_mismatch import track_mismatch as track_mismatch
    from ._with_mismatch import with_mismatch as with_mismatch

_EXPORTS = {
    "_audit": ("AuditReport", "audit"),
    "_callback": ("MismatchCallback",),
    "_chip": ("freeze",),
    "_compare": ("Comparison", "compare"),
    "_config": ("Config",),
    "_config_file": ("load_config",),
    "_curve": ("RobustnessCurve",),
    "_deviation": ("Deviation", "Gaussian"),
    "_errors": (
        "ConfigError",
        "LimpetError",
        "LogdirError",
        "MetricError",
        "MismatchNotApplied",
        "PrototypeError",
        "StrengthError",
    ),
    "_fast_bits": ("fast",),
    "_generator": ("DRAWS_VERSION",),
    "_interval": ("Yield",),
    "_leaf_costs": ("Sensitivity",),
    "_mismatch": ("Mismatch",),
    "_prototype": ("prototype",),
    "_random": ("virtual_chip",),
    "_robustness": ("robustness_curve",),
    "_rockpool": ("attributes", "dynamic_mismatch_prototype", "frozen_mismatch_prototype", "mismatch_generator"),
    "_section": ("Section",),
    "_sensitivity": ("sensitivity",),
    "_track_mismatch": ("mismatch_key", "track_mismatch"),
    "_with_mismatch": ("with_mismatch",),
}
_HOME = {name: room for room, names in _EXPORTS.items() for name in names}

__version__ = "0.1.0"
__all__ = [*_HOME, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'limpet' has no attribute '{name}'")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
