"""A metric on measured chips, beside virtual ones."""

from collections.abc import Sequence
from typing import Any, overload

import jax
import numpy as np

from .._errors import LimpetError
from ..draws._generator import DEFAULT_GENERATOR, Generator
from ..hardware._hardware import Hardware
from ..hardware._measured_chip import MeasuredChip
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..results._chip_metrics import ChipMetrics
from ..results._robustness_curve import RobustnessCurve
from ._description import Direction, directions_of
from ._measurement import checked_batch, checked_recipe, divided
from ._metric import UNNAMED, MetricFn, NamedMetrics, ScalarMetric, named_scalars
from ._robustness_curve import robustness_curve


@overload
def measure_chips(
    metric_fn: ScalarMetric,
    tree: Any,
    chips: Sequence[MeasuredChip],
    mismatch: Recipe | Hardware | None = ...,
    *,
    virtual: int | None = ...,
    seed: int = ...,
    generator: Generator = ...,
    batch: Any = ...,
    higher_is_better: Direction = ...,
) -> ChipMetrics: ...
@overload
def measure_chips(
    metric_fn: NamedMetrics,
    tree: Any,
    chips: Sequence[MeasuredChip],
    mismatch: Recipe | Hardware | None = ...,
    *,
    virtual: int | None = ...,
    seed: int = ...,
    generator: Generator = ...,
    batch: Any = ...,
    higher_is_better: Direction = ...,
) -> dict[str, ChipMetrics]: ...
def measure_chips(
    metric_fn: MetricFn,
    tree: Any,
    chips: Sequence[MeasuredChip],
    mismatch: Recipe | Hardware | None = None,
    *,
    virtual: int | None = None,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    batch: Any = None,
    higher_is_better: Direction = None,
) -> ChipMetrics | dict[str, ChipMetrics]:
    """Measure a network on chips from a bench, beside virtual chips of the hardware that was assumed.

    A measured chip is as strongly off as it is: it has no scale, and so no place on a curve over strength. It stands
    beside the virtual chips at scale 1, the hardware as it was said to be.

    Args:
        metric_fn: `metric_fn(tree, batch)`, jittable, giving a scalar or a dict of scalars.
        tree: the whole tree of nominal values, or a Flax nnx module.
        chips: the measured ones.
        mismatch: the hardware that was assumed, or its recipe; None for measured chips alone.
        virtual: how many virtual chips to measure; None for 100 where `mismatch` is given.
        seed: of the virtual chips.
        generator: what they are drawn with.
        batch: handed to `metric_fn`; a pytree of arrays.
        higher_is_better: see `limpet.robustness_curve`.

    Returns:
        A table; a dict of them by name where the metric gives a dict.

    Raises:
        LimpetError: `chips` holds none, two of one name, or what is no `MeasuredChip`; `virtual` is given without
            `mismatch`.
        PrototypeError: a chip does not fit the tree.
        MetricError: as of `limpet.robustness_curve`.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"dense": {"bias": jnp.ones(4)}}
        >>> chip = limpet.MeasuredChip("A3", {"dense/bias": np.array([0.9, 1.0, 1.1, 1.3])})
        >>> hardware = limpet.Hardware(biases=limpet.Part("*/bias", limpet.Gaussian(sigma=0.1)))
        >>> def error(tree, _):
        ...     return ((tree["dense"]["bias"] - 1) ** 2).mean()
        >>> print(measure_chips(error, params, [chip], hardware, virtual=200, higher_is_better=False))
        error on 1 measured chip, beside 200 virtual ones of seed 0 (lower is better)
        chip                 error  virtual chips no better
        nominal                  0
        A3                  0.0275                       4%
        virtual, mean     0.00999...
        virtual, worst     0.0439...
    """
    names = checked_names(chips)
    if virtual is not None and mismatch is None:
        raise LimpetError(f"virtual = {virtual}: virtual chips are of a hardware; give it, or leave this out")
    adapter = adapter_of(tree)
    adapter.require_tree(tree)
    batch = jax.device_put(checked_batch(batch))
    recipe = None if mismatch is None else checked_recipe(mismatch, tree)
    trees = [tree, *(chip.on(tree) for chip in chips)]
    _, rebuild, _ = divided(tree)

    @jax.jit
    def measured(operand: dict[str, jax.Array], batch: Any) -> dict[str, jax.Array]:
        on_chip = rebuild(operand)  # within the trace: the state of an nnx module from outside could not be written
        return adapter.written_by(on_chip, lambda tree: named_scalars(metric_fn, tree, batch))[0]

    results = [jax.device_get(measured(divided(on_chip)[0], batch)) for on_chip in trees]
    labels, better = directions_of(metric_fn, results[0], higher_is_better)
    curves: dict[str, RobustnessCurve] = {}
    if recipe is not None:
        found = robustness_curve(
            metric_fn,
            tree,
            recipe,
            scales=[1.0],
            chips=100 if virtual is None else virtual,
            seed=seed,
            generator=generator,
            batch=batch,
            higher_is_better=higher_is_better,
        )
        curves = found if isinstance(found, dict) else {UNNAMED: found}
    tables = {
        name: ChipMetrics(
            labels[name],
            names,
            np.array([result[name] for result in results[1:]], np.float64),
            float(results[0][name]),
            better[name],
            curves.get(name),
        )
        for name in results[0]
    }
    return tables.get(UNNAMED, tables)


def checked_names(chips: Sequence[MeasuredChip]) -> tuple[str, ...]:
    """The names of measured chips.

    Raises:
        LimpetError: there is no chip, two have one name, or one is no `MeasuredChip`.
    """
    if isinstance(chips, MeasuredChip) or not isinstance(chips, Sequence) or not chips:
        raise LimpetError(f"chips = {chips!r}: give a list of limpet.MeasuredChip")
    for place, chip in enumerate(chips):
        if not isinstance(chip, MeasuredChip):
            raise LimpetError(
                f"chips[{place}] = {chip!r}: allowed is a limpet.MeasuredChip; virtual chips are measured beside them "
                f"where the hardware is given, and alone by limpet.robustness_curve"
            )
    names = tuple(chip.name for chip in chips)
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise LimpetError(f"chips: {', '.join(repeated)} stands there twice; give each a name of its own")
    return names
