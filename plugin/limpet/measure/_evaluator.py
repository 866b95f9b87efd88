"""Evaluation on the hardware's virtual chips during training."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from .._checked import whole
from ..draws._generator import MAX_SEED
from ..hardware._checked_recipe import checked_recipe
from ..hardware._fingerprint import shapes_of
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..results._beyond_limits import BeyondLimits
from ..results._condition import UNCHANGED, Condition, known_condition
from ..results._robustness_curve import RobustnessCurve
from ._beyond_limits import BeyondLimitsCounter
from ._chips import HUNDRED, Chips, counted_chips
from ._description import Description, Direction
from ._measurement import on_device
from ._metric import MetricFn
from ._monte_carlo import ahead, fetch
from ._robustness_curve import curve_measurement
from ._strengths import Strengths


class Started(NamedTuple):
    """An evaluation that may still be running.

    Attributes:
        rounds: metrics by name, round by round.
        beyond: the number of values of each chip that are beyond their limits, by leaf, for each strength.
        read: the number of the read at which the chips are measured.
    """

    rounds: list[dict[str, jax.Array]]
    beyond: list[dict[str, jax.Array]]
    read: int


class Evaluator:
    """Measures a network on virtual chips, again and again, without making training wait.

    Args:
        metric_fn: the metric, `metric_fn(tree, batch)`.
        model: the Rockpool module, the nnx module or the tree that is trained.
        mismatch: the hardware, or its recipe.
        batch: the argument of the metric; a pytree of arrays.
        scales: multiples of what the hardware says, over which curves go.
        times: times since programming, over which curves go in place of scales.
        condition: the condition of the chips, of which scales or times vary one field; see `limpet.robustness_curve`.
        chips: the virtual chips: their number, or `limpet.Chips`.
        higher_is_better: True, False, by metric name, or None; see `limpet.robustness_curve`.
        trained_on: the number of a chip of this seed that training meets, which is left out; None if there is none.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(100)}
        >>> hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
        >>> evaluator = Evaluator(lambda tree, batch: tree["w"].std(), params, hardware, scales=[0, 1], chips=20)
        >>> started = evaluator.start(params)
        >>> evaluator.curves(started)["metric"].values.shape
        (2, 20)
    """

    def __init__(
        self,
        metric_fn: MetricFn,
        model: Any,
        mismatch: Recipe | Hardware,
        *,
        batch: Any = None,
        scales: Sequence[float] | None = None,
        times: Sequence[float | str] | None = None,
        condition: Condition | float = UNCHANGED,
        chips: int | Chips = HUNDRED,
        higher_is_better: Direction = None,
        trained_on: int | None = None,
    ) -> None:
        chips = counted_chips(chips, "an Evaluator")
        recipe = mismatch.on(model) if isinstance(mismatch, Hardware) else mismatch
        self._model, self._metric_fn, self._chips = model, metric_fn, chips
        self._batch = on_device(batch)  # once, not at every evaluation
        self._strengths = Strengths.of(recipe, None, scales, times, condition)
        self._read: int = known_condition(condition).read  # pyright: ignore[reportAttributeAccessIssue]
        self._excluded = () if trained_on is None or trained_on >= chips.most else (trained_on,)
        shapes = shapes_of(adapter_of(model).nominal(model))
        self._describe = Description(metric_fn, self._strengths, shapes, chips, higher_is_better, self._excluded)
        measured = [chip for chip in range(chips.most + len(self._excluded)) if chip not in self._excluded]
        self._beyond = BeyondLimitsCounter(self._strengths, measured, chips, shapes)

    def start(self, params: Any, read: int | None = None, ranges: Mapping[str, ArrayLike] | None = None) -> Started:
        """Begin an evaluation; nothing waits for the device.

        Args:
            params: the nominal parameters, as the optimizer holds them; or the nnx module.
            read: the number of the read at which chips with noisy reads are measured, so that each evaluation has a
                read of its own; None for that of the condition.
            ranges: the ranges of input converters that are trained beside the parameters, by leaf path; None for those
                that the hardware holds.

        Raises:
            PrototypeError: they lack leaves that deviate.
            MetricError: the metric gives no scalar, or its direction is missing.
            MismatchNotApplied: the metric does not depend on the draw.
        """
        adapter = adapter_of(self._model)
        adapter.require_like(self._model, params)
        tree = adapter.completed(self._model, params)
        recipe = checked_recipe(self._strengths.recipe, tree)
        measurement = curve_measurement(self._metric_fn, recipe, self._chips, ranges)
        noisy = self._strengths.recipe.noisy_reads
        read = self._read if read is None or not noisy else whole("read", read, 0, MAX_SEED)
        prepared = measurement.prepare(tree, self._batch, self._strengths.cases(read))
        self._describe.require_directions(prepared.names)
        rounds = list(ahead(prepared.rounds(0, self._chips.most + len(self._excluded))))
        return Started(rounds, self._beyond.start(tree), read)

    def beyond_limits(self, started: Started) -> BeyondLimits | None:
        """How many values were beyond their limits; waits for the device. None where the hardware has no limits."""
        return self._beyond.finish([fetch(counts) for counts in started.beyond])

    def curves(self, started: Started) -> dict[str, RobustnessCurve]:
        """The curves of an evaluation, by metric name; waits for the device."""
        finished = [fetch(values) for values in started.rounds]
        values = {name: np.concatenate([part[name] for part in finished], axis=1) for name in finished[0]}
        kept = {name: np.delete(array, self._excluded, axis=1) for name, array in values.items()}
        return self._describe.curves(kept, started.read)
