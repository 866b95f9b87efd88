"""Batch statistics taken anew on each chip: the cheapest calibration, without gradients."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax
import jax.numpy as jnp

from .._checked import whole
from .._errors import LimpetError, MetricError
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ..measure._metric import function_name
from ._chip_fit import Given, TreeOf


@dataclass(frozen=True, eq=False)
class StatisticsFit:
    """The statistics of batch normalisation, taken anew on each chip; what `limpet.calibrate` takes.

    Mismatch moves the mean and the variance of what a layer gives; the statistics that training left are then wrong for
    each chip in its own way. Forward passes over a few examples, without labels, mend that. The normalisation is
    digital, and a chip needs nothing else for it.

    Attributes:
        update_fn: one forward pass in training mode, `update_fn(tree, batch)`. Of a tree (Flax Linen's variables) it
            gives the same tree with its statistics updated; of a Flax nnx module it writes them, and what it gives is
            not looked at. Statistics that move by a momentum of m keep m**steps of what they were.
        batches: the data that statistics are taken of: batches of one shape; see `limpet.GradientFit`.
        statistics: path globs of the statistics.
        steps: the number of forward passes that each chip does.

    Raises:
        MetricError: `steps` is no whole number from 1 on.

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
        >>> calibration = limpet.calibrate(
        ...     StatisticsFit(update, [x[:100]], steps=1),
        ...     variables,
        ...     hardware,
        ...     metric_fn=spread_error,
        ...     batch=x[100:],
        ...     chips=20,
        ...     scales=[1],
        ...     higher_is_better=False,
        ... )
        >>> bool(calibration.after.mean()[0] < calibration.before.mean()[0])
        True
    """

    update_fn: Callable[[Any, Any], Any]
    batches: Iterable[Any]
    _: KW_ONLY
    statistics: Sequence[str] = ("*/mean", "*/var")
    steps: int = 100

    @property
    def gains(self) -> Sequence[str]:
        """No outputs get a gain."""
        return ()

    @property
    def levels(self) -> None:
        """Statistics are held in floating point: any value can be set."""

    def __post_init__(self) -> None:
        whole("steps", self.steps, 1, error=MetricError)

    @property
    def trainable(self) -> Sequence[str]:
        """The path globs of the statistics, which are what chips are given anew."""
        return self.statistics

    def initial(self, given: Given) -> Any:
        """The state before the first step; see `limpet.calibration._chip_fit.Procedure`."""
        return ()

    def step(self, tree_of: TreeOf, given: Given, state: Any, batch: Any) -> tuple[Given, Any]:
        """What a chip is given after one step more; see `limpet.calibration._chip_fit.Procedure`."""
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
