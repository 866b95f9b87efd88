"""The errors by which Limpet refuses input.

Every message names the leaf path or the configuration key, the value, what is allowed and what to do.
All derive from `LimpetError`, so a program can turn any of them into one line and an exit code.
"""

import sys
import warnings
from pathlib import Path

__all__ = [
    "ConfigError",
    "DeploymentError",
    "LimpetError",
    "LogdirError",
    "MetricError",
    "MismatchNotApplied",
    "PrototypeError",
    "StrengthError",
]


class LimpetError(ValueError):
    """Base of every error that Limpet raises about what it was given.

    Attributes:
        argument: the name of the argument that is refused, such as "Gaussian.sigma"; empty where it is not about one.
        reason: what is allowed, or what to do: the message without the argument and its value.
    """

    def __init__(self, message: str = "", argument: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.argument, self.reason = argument, reason or message


class PrototypeError(LimpetError):
    """A selection of leaves that makes no sense: empty, stray, or of leaves that cannot deviate."""


class StrengthError(LimpetError):
    """A strength (sigma, percent deviation, scale) that is not a finite number >= 0."""


class ConfigError(LimpetError):
    """A configuration that cannot be read or does not hold; lists every problem at once, by key path."""


class DeploymentError(LimpetError):
    """A network that a chip cannot hold, or not as it is."""


class MetricError(LimpetError):
    """A metric function, or a logged metric, that does not give one number."""


class LogdirError(LimpetError):
    """A log directory that cannot be written."""


class MismatchNotApplied(LimpetError):
    """A selected leaf whose draw never reaches the loss: training would silently see the nominal value."""


# Tracebacks name a class by its module: users should read the name by which they catch it.
for _name in __all__:
    globals()[_name].__module__ = "limpet"

_PACKAGE = str(Path(__file__).parent)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and name the line of the user's program that led to it, however deep inside Limpet it was noticed.

    Args:
        message: what is wrong, and what to do.
        category: the class of the warning.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
