"""The user's metric: what it may give, and what is said where it gives something else."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import LimpetError, MetricError
from ..leaves._adapters import adapter_of

Scalar = jax.Array | np.ndarray | np.generic | float
ScalarMetric = Callable[[Any, Any], Scalar]
"""A metric that gives one number for one chip: `metric_fn(tree, batch)`."""
NamedMetrics = Callable[[Any, Any], Mapping[str, Scalar]]
"""A metric that gives several numbers by name."""
MetricFn = ScalarMetric | NamedMetrics
"""The user's own metric: `metric_fn(tree, batch)` gives a scalar, or a dict of named scalars."""

UNNAMED = ""
"""Stands for the name of a metric that came without one; a curve calls it by its function's name."""


def function_name(metric_fn: Any, otherwise: str = "metric") -> str:
    """What a metric without a name of its own is called: as its function is.

    Args:
        metric_fn: the function.
        otherwise: the name of a function that has none.
    """
    name = getattr(metric_fn, "__name__", None) or getattr(getattr(metric_fn, "func", None), "__name__", otherwise)
    return otherwise if name == "<lambda>" else name


def of_one_number(metric_fn: MetricFn, otherwise: str) -> ScalarMetric:
    """The same metric, which is refused where it gives several numbers by name.

    Args:
        metric_fn: the user's metric.
        otherwise: the advice that is given in that case.
    """

    @wraps(metric_fn, assigned=("__name__",), updated=())
    def metric(tree: Any, batch: Any) -> Scalar:
        result = metric_fn(tree, batch)
        if isinstance(result, Mapping):
            raise MetricError(
                f"metric_fn '{function_name(metric_fn)}' gives {', '.join(map(str, result)) or 'an empty dict'}, where "
                f"one number is needed: {otherwise}"
            )
        return result

    return metric


def named_scalars(metric_fn: MetricFn, tree: Any, batch: Any) -> dict[str, jax.Array]:
    """Call the metric, and take what it gives as scalars by name.

    Raises:
        MetricError: it gives no scalar and no dict of scalars, cannot be traced, or fails because there is no batch.
    """
    try:
        result = metric_fn(tree, batch)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise MetricError(
            f"metric_fn '{function_name(metric_fn)}' asks for the value of a traced array, as float(x), x.item(), "
            f"np.asarray(x) and `if x` do: it is compiled for many chips at once, so write it with jax.numpy "
            f"({_first_line(error)})"
        ) from None
    except (TypeError, AttributeError, IndexError) as error:
        if isinstance(error, LimpetError):
            raise
        if hint := adapter_of(tree).not_a_module:
            name = function_name(metric_fn)
            raise MetricError(f"metric_fn '{name}' failed ({_first_line(error)}): {hint}") from error
        if batch is not None:
            raise
        raise MetricError(
            f"metric_fn '{function_name(metric_fn)}' failed with batch = None ({_first_line(error)}): if it needs "
            f"data, give batch=(inputs, labels)"
        ) from error
    named = dict(result) if isinstance(result, Mapping) else {UNNAMED: result}
    if not named:
        raise MetricError("the metric function gave an empty dict: it gives a scalar or a dict of scalars")
    for name, value in named.items():
        label = f"metric '{name or function_name(metric_fn)}'"
        if isinstance(value, tuple | list):
            raise MetricError(
                f"{label} gave a {type(value).__name__} of {len(value)}: it gives one number for one chip; give "
                f"several as a dict, such as {{'loss': ..., 'accuracy': ...}}"
            )
        if not isinstance(value, jax.Array | np.ndarray | np.generic | float | int) or np.shape(value):
            shape = np.shape(value) if hasattr(value, "shape") else type(value).__name__
            raise MetricError(
                f"{label} has shape {shape}: a metric function gives one number for one chip, such as the mean over "
                f"examples, or a dict of such"
            )
    return {name: _real(value, f"metric '{name or function_name(metric_fn)}'") for name, value in named.items()}


def _real(value: Any, label: str) -> jax.Array:
    """A metric as a real number, whole numbers as such: single precision would round those beyond 2**24."""
    dtype = jnp.result_type(value)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise MetricError(f"{label} is complex: a metric function gives real numbers, such as jnp.abs of it")
    if not jnp.issubdtype(dtype, jnp.integer):
        return jnp.asarray(value, jnp.result_type(float))
    try:
        return jnp.asarray(value)
    except OverflowError:
        raise MetricError(
            f"{label} = {value}: beyond whole numbers of 32 bits; give float(...), or enable x64"
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
