"""The metrics of a step as a user hands them over; what cannot be logged is refused at the call that has it."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from limpet import MetricError
from limpet.checks import shown
from limpet.leaves import is_traced

RESERVED = ("limpet", "robustness", "virtual_chips", "virtual_chips_failed", "_hparams_")
"""The groups of tags under which Limpet and TensorBoard write themselves; with them, all that begin `robustness_`."""
NAMES = "allowed are readable texts, such as 'loss' or 'valid/loss'"


def checked_metrics(metrics: Any, numbers: np.ndarray, taken: Collection[str]) -> dict[str, Any]:
    """The metrics of some steps, by the tag under which they are logged.

    Args:
        metrics: the metrics by name; each one number, or an array of shape (steps,).
        numbers: the numbers of the steps, shape (steps,).
        taken: the tags under which something else is logged already.

    Raises:
        MetricError: they are no mapping, or one cannot be logged; names it.
    """
    if not isinstance(metrics, Mapping):
        raise MetricError(f"metrics is a {type(metrics).__name__}: allowed are numbers by name, {{'loss': loss}}")
    by_tag: dict[str, Any] = {}
    for name, value in metrics.items():
        tag = _tag_of(name)
        if tag in by_tag:
            raise MetricError(f"metrics[{name!r}]: another metric is logged as {tag!r} already; rename one")
        if tag in taken:
            raise MetricError(f"metrics[{name!r}]: Limpet logs the strength in force as {tag!r}; rename the metric")
        _require_numbers(name, value, numbers)
        by_tag[tag] = value
    return by_tag


def _tag_of(name: Any) -> str:
    if not isinstance(name, str):
        raise MetricError(f"metrics: the name {shown(name)} is a {type(name).__name__}; {NAMES}")
    if not name.strip() or not name.isprintable():
        raise MetricError(f"metrics: the name {shown(name)} cannot be shown; {NAMES}")
    if "/" not in name:
        return f"train/{name}"
    group = name.split("/")[0]
    if group in RESERVED or group.startswith("robustness_"):
        raise MetricError(f"metrics[{name!r}]: what begins '{group}/' is written by Limpet; rename the metric")
    return name


def _require_numbers(name: str, value: Any, numbers: np.ndarray) -> None:
    steps = len(numbers)
    allowed = f"one number, or an array of shape {numbers.shape}"
    if steps == 1:
        allowed = "one number (or call callback(steps, ...) with the numbers of several steps)"
    if is_traced(value):
        raise MetricError(f"metrics['{name}'] is traced by JAX: call the callback outside of jit, scan and the like")
    if isinstance(value, jax.Array) and value.is_deleted():
        raise MetricError(f"metrics['{name}'] was donated to a compiled function: hand over one that is still there")
    if not _is_real(value) or np.shape(value) not in ((), numbers.shape):
        raise MetricError(f"metrics['{name}'] = {shown(value)}: allowed is {allowed}")


def _is_real(value: Any) -> bool:
    """Whether something is a number, or an array of numbers, that a chart can show."""
    if isinstance(value, int | float):
        try:
            float(value)
        except OverflowError:
            return False
        return True
    if not isinstance(value, np.generic | np.ndarray | jax.Array):
        return False
    return jnp.issubdtype(value.dtype, np.bool_) or (
        jnp.issubdtype(value.dtype, np.number) and not jnp.issubdtype(value.dtype, np.complexfloating)
    )
