"""Evaluation on the hardware's virtual chips during training."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ..draws._generator import Generator
from ..hardware._fingerprint import shapes_of
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..results._beyond_limits import BeyondLimits
from ..results._robustness_curve import RobustnessCurve
from ._beyond_limits import BeyondLimitsCounter
from ._description import Description, Direction
from ._measurement import checked_batch, checked_recipe
from ._metric import MetricFn
from ._monte_carlo import ahead, fetch
from ._robustness_curve import curve_measurement
from ._strengths import Strengths


class Started(NamedTuple):
    """An evaluation that may still be running.

    Attributes:
        rounds: metrics by name, round by round.
        beyond: for each strength, how many values of each chip are beyond their limits, by leaf.
    """

    rounds: list[dict[str, jax.Array]]
    beyond: list[dict[str, jax.Array]]


class Evaluator:
    """Measures a network on virtual chips, again and again, without making training wait.

    Args:
        model: the Rockpool module, the nnx module or the tree that is trained.
        metric_fn: `metric_fn(tree, batch)`.
        eval_batch: handed to the metric; a pytree of arrays.
        recipe: everything that deviates on a chip.
        over: what curves go over: `{"scales": ...}`, multiples of what the hardware says, or `{"times": ...}`.
        chips: how many chips.
        seed: of the chips.
        generator: of the chips.
        higher_is_better: True, False, by metric name, or None; see `limpet.robustness_curve`.
        trained_on: the number of a chip of this seed that training meets, which is left out; None if there is none.
    """

    def __init__(
        self,
        model: Any,
        metric_fn: MetricFn,
        eval_batch: Any,
        recipe: Recipe,
        over: Mapping[str, tuple[float, ...]],
        *,
        chips: int,
        seed: int,
        generator: Generator,
        higher_is_better: Direction,
        trained_on: int | None = None,
    ) -> None:
        self._model = model
        self._batch = jax.device_put(checked_batch(eval_batch))  # once, not at every evaluation
        self._strengths = Strengths.of(recipe, None, over.get("scales"), over.get("times"))
        self._measurement = curve_measurement(metric_fn, self._strengths.recipe, seed, generator)
        self._chips = chips
        self._excluded = () if trained_on is None or trained_on >= chips else (trained_on,)
        shapes = shapes_of(adapter_of(model).nominal(model))
        self._describe = Description(
            metric_fn, self._strengths, shapes, seed, generator, False, higher_is_better, self._excluded
        )
        measured = [chip for chip in range(chips + len(self._excluded)) if chip not in self._excluded]
        self._beyond = BeyondLimitsCounter(self._strengths, measured, seed, generator, shapes)

    def start(self, params: Any) -> Started:
        """Begin an evaluation; nothing waits for the device.

        Args:
            params: nominal parameters, as the optimizer holds them; or the nnx module.

        Raises:
            PrototypeError: they lack leaves that deviate.
            MetricError: the metric gives no scalar, or its direction is missing.
            MismatchNotApplied: the metric does not depend on the draw.
        """
        adapter = adapter_of(self._model)
        adapter.require_like(self._model, params)
        tree = adapter.completed(self._model, params)
        checked_recipe(self._measurement.recipe, tree)
        prepared = self._measurement.prepare(tree, self._batch, self._strengths.cases)
        self._describe.require_directions(prepared.metrics)
        rounds = list(ahead(prepared.rounds(0, self._chips + len(self._excluded))))
        return Started(rounds, self._beyond.start(tree))

    def beyond_limits(self, started: Started) -> BeyondLimits | None:
        """How many values were beyond their limits; waits for the device. None where the hardware has no limits."""
        return self._beyond.finish([fetch(counts) for counts in started.beyond])

    def curves(self, started: Started) -> dict[str, RobustnessCurve]:
        """The curves of an evaluation, by metric name; waits for the device."""
        finished = [fetch(values) for values in started.rounds]
        values = {name: np.concatenate([part[name] for part in finished], axis=1) for name in finished[0]}
        return self._describe.curves({name: np.delete(array, self._excluded, axis=1) for name, array in values.items()})
