"""Batch statistics taken anew on each chip: the cheapest calibration, without gradients."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from .._errors import LimpetError
from ..draws._generator import DEFAULT_GENERATOR, Generator
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ..measure._description import Direction
from ..measure._metric import MetricFn, function_name
from ..measure._programs import SameObject, alike, captured
from ..results._calibration import Calibration
from ..results._robustness_curve import RobustnessCurve
from ._calibrated_chips import calibrated_chips
from ._chip_fit import Given, TreeOf


@dataclass(frozen=True, eq=False)
class StatisticsFit:
    """Calibration by forward passes; see `Procedure`."""

    update_fn: Callable[[Any, Any], Any]

    @property
    def key(self) -> Hashable:
        return "statistics", alike(self.update_fn), tuple(map(SameObject, captured(self.update_fn)))

    def initial(self, given: Given) -> Any:
        return ()

    def step(self, tree_of: TreeOf, given: Given, state: Any, batch: Any) -> tuple[Given, Any]:
        tree = tree_of(given)
        before = adapter_of(tree).leaves(tree)
        updated = self.update_fn(tree, batch)
        adapter = adapter_of(tree)
        if not adapter.stateful:
            if jax.tree.structure(updated) != jax.tree.structure(tree):
                raise LimpetError(
                    f"update_fn '{function_name(self.update_fn)}' gave {type(updated).__name__}: of "
                    f"{adapter.name} it gives the same tree again, with its statistics updated"
                )
            tree = updated
        leaves = adapter.leaves(tree)
        if all(leaves[path] is before[path] for path in given):  # what was written is another traced value
            raise LimpetError(
                f"update_fn '{function_name(self.update_fn)}' wrote none of {listing(given)}, so that every chip would "
                f"stay as it is: is the network in evaluation mode? Begin with model.train(), or hand over train=True"
            )
        return {path: jnp.asarray(leaves[path], value.dtype) for path, value in given.items()}, state


def calibrate_statistics(
    update_fn: Callable[[Any, Any], Any],
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    metric_fn: MetricFn,
    batches: Iterable[Any],
    batch: Any,
    statistics: Sequence[str] = ("*/mean", "*/var"),
    steps: int = 100,
    chips: int = 100,
    sigmas: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    times: Sequence[float | str] | None = None,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    mesh: Mesh | None = None,
    progress: bool | None = None,
    higher_is_better: Direction = None,
    resume: Any = None,
) -> Calibration[RobustnessCurve] | dict[str, Calibration[RobustnessCurve]]:
    """Take the statistics of batch normalisation anew on each of many virtual chips, and measure before and after.

    Mismatch moves the mean and the variance of what a layer gives; the statistics that training left are then wrong for
    each chip in its own way. Forward passes over a few examples, without labels, mend that. The normalisation is
    digital, and a chip needs nothing else for it.

    Args:
        update_fn: `update_fn(tree, batch)`, one forward pass in training mode. Of a tree (Flax Linen's variables) it
            gives the same tree with its statistics updated; of a Flax nnx module it writes them, and what it gives is
            not looked at. Statistics that move by a momentum of m keep m**steps of what they were.
        tree: see `limpet.calibrate`.
        mismatch: likewise.
        metric_fn: likewise.
        batches: likewise.
        batch: likewise.
        statistics: path globs of the statistics.
        steps: how many forward passes each chip does.
        chips: see `limpet.calibrate`.
        sigmas: likewise.
        scales: likewise.
        times: likewise.
        seed: likewise.
        generator: likewise.
        mesh: likewise.
        progress: likewise.
        higher_is_better: likewise.
        resume: likewise.

    Returns:
        A `Calibration`, whose `given` holds the statistics; a dict of them by name where the metric gives a dict.

    Raises:
        LimpetError: `update_fn` gives another tree, or writes none of the statistics; and as of `limpet.calibrate`.

    Reference: V. Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature
    Communications 11:2473 (2020).

    Examples:
        >>> import limpet
        >>> x = jax.random.normal(jax.random.key(0), (200, 4))
        >>> variables = {"kernel": jnp.ones(4), "norm": {"mean": jnp.zeros(()), "var": jnp.ones(()) * 4}}
        >>> def update(variables, x):
        ...     outputs = x @ variables["kernel"]
        ...     return {**variables, "norm": {"mean": outputs.mean(), "var": outputs.var()}}
        >>> def spread_error(variables, x):
        ...     return jnp.abs((x @ variables["kernel"] / jnp.sqrt(variables["norm"]["var"])).std() - 1)
        >>> hardware = limpet.Hardware(crossbar=limpet.Part("kernel", limpet.Gaussian(sigma=0.3)))
        >>> calibration = limpet.calibrate_statistics(
        ...     update,
        ...     variables,
        ...     hardware,
        ...     metric_fn=spread_error,
        ...     batches=[x[:100]],
        ...     batch=x[100:],
        ...     steps=1,
        ...     chips=20,
        ...     scales=[1],
        ...     higher_is_better=False,
        ... )
        >>> bool(calibration.after.mean()[0] < calibration.before.mean()[0])
        True
    """
    return calibrated_chips(
        StatisticsFit(update_fn),
        tree,
        mismatch,
        metric_fn=metric_fn,
        batches=batches,
        batch=batch,
        trainable=statistics,
        gains=(),
        steps=steps,
        chips=chips,
        sigmas=sigmas,
        scales=scales,
        times=times,
        seed=seed,
        generator=generator,
        mesh=mesh,
        progress=progress,
        higher_is_better=higher_is_better,
        resume=resume,
    )
