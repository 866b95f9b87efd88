"""The tasks of the evidence, by name; each is built when it is asked for, since some take seconds or need files."""

from collections.abc import Callable
from pathlib import Path

from ._task import Task

Data = Path | None
"""Where recordings lie, for the tasks that cannot bring their own."""


def _digits(data: Data) -> Task:
    from .digits_dense import digits

    return digits(hidden=64)


def _digits_small(data: Data) -> Task:
    from .digits_dense import digits

    return digits(hidden=32)


def _digits_cnn(data: Data) -> Task:
    from .digits_cnn import digits_cnn

    return digits_cnn()


def _mnist_cnn(data: Data) -> Task:
    from .mnist_cnn import mnist_cnn

    return mnist_cnn()


def _spoken_digits(data: Data) -> Task:
    from .spoken import spoken

    return spoken(data)


def _dynapse(data: Data) -> Task:
    from .frozen_noise import frozen_noise

    return frozen_noise()


TASKS: dict[str, Callable[[Data], Task]] = {
    "digits": _digits,
    "digits-small": _digits_small,
    "digits-cnn": _digits_cnn,
    "mnist-cnn": _mnist_cnn,
    "spoken-digits": _spoken_digits,
    "dynapse": _dynapse,
}

__all__ = ["TASKS", "Task"]
