"""Chips that walks came to, and the one program that evaluates them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..draws._keys import stream
from ..draws._walk import key_under, weights_of
from ..draws._walked_chip import WalkedChip
from ..hardware._mismatch import Recipe
from ..results._condition import Condition
from ._chips import Chips
from ._measurement import Chip, Measurement, gathered, on_device
from ._metric import UNNAMED, ScalarMetric, of_one_number
from ._monte_carlo import Prepared, ahead
from ._strengths import Strengths

MARGIN = "margin"
"""The name under which the program gives a margin beside the metric."""

Advance = Callable[[int], None]


class WalkedChips(NamedTuple):
    """Some walked chips, one in each row; a pytree of arrays whose leading axis counts them.

    Attributes:
        numbers: the number of the chip at which each walk began, then those of the fresh chips of its steps, then
            zeros; shape (chips, parts).
        lengths: 1 for the beginning, then the lengths of the steps, then zeros; of the same shape.
        depth: how many of these parts are used, shape (chips,).
        roots: the chip of the first level from which each descends.
        values: the metric of each.
        scores: the metric, or the margin, such that less is nearer to failing; what is no number is -inf.
        fails: whether each misses the target.
    """

    numbers: NDArray[np.uint32]
    lengths: NDArray[np.float64]
    depth: NDArray[np.int64]
    roots: NDArray[np.int64]
    values: NDArray[np.float64]
    scores: NDArray[np.float64]
    fails: NDArray[np.bool_]

    def within(self, bound: float) -> NDArray[np.bool_]:
        """Which are as bad as a bound, or fail."""
        return self.fails | (self.scores <= bound)

    def name(self, row: int, chips: Chips) -> WalkedChip:
        """The name of the chip in a row."""
        taken = slice(1, int(self.depth[row]))
        steps = zip(self.numbers[row, taken].tolist(), self.lengths[row, taken].tolist(), strict=True)
        return WalkedChip(chips.seed, int(self.numbers[row, 0]), tuple(steps), chips.generator)


class _Names(NamedTuple):
    """The operands of a round: the data of the key of all walks, and numbers and weights of each chip's parts."""

    stream: jax.Array
    numbers: Any
    weights: Any


@dataclass(frozen=True)
class Evaluation:
    """The program that evaluates walked chips. Their names are operands, so that it is compiled once.

    Attributes:
        measurement: the measurement, whose extra operand names hold.
        prepared: the program.
        batch: the batch, on the device.
        width: the number of chips of a level.
        parts: the number of parts that a name may have.
    """

    measurement: Measurement
    prepared: Prepared
    batch: Any
    width: int
    parts: int

    @classmethod
    def of(
        cls,
        metric_fn: ScalarMetric,
        margin_fn: ScalarMetric | None,
        tree: Any,
        recipe: Recipe,
        condition: Condition,
        chips: Chips,
        width: int,
        parts: int,
        batch: Any,
    ) -> "Evaluation":
        """Compile the program, or find what was compiled for one like it; see `Measurement.prepare`."""
        one, margin = of_one_number(metric_fn, "a tail is that of one metric"), margin_fn
        if margin is not None:
            margin = of_one_number(margin, "a margin is one")

        @wraps(metric_fn, assigned=("__name__",), updated=())
        def measured(tree: Any, batch: Any) -> Any:
            return one(tree, batch) if margin is None else {UNNAMED: one(tree, batch), MARGIN: margin(tree, batch)}

        def on_chip(metric: Callable[[Any], Any], chip: Chip, tree: Any, case: Condition, names: _Names) -> Any:
            key = key_under(names.stream, names.numbers[chip.number], names.weights[chip.number], chips.generator)
            return metric(recipe(key, tree, case))

        none = np.zeros((width, parts))
        walks = jax.random.key_data(stream(chips.seed, "walk", chips.generator))
        names = _Names(walks, jnp.asarray(none, jnp.uint32), jnp.asarray(none, jnp.float32))
        measurement = Measurement(measured, recipe.paths, on_chip, chips, names, recipe=recipe)
        scale = float(np.asarray(condition.scale))
        cases = Strengths.of(recipe, None, [scale], None, condition._replace(scale=1.0)).cases()
        batch = on_device(batch)
        return cls(measurement, measurement.prepare(tree, batch, cases), batch, width, parts)

    def __call__(
        self, numbers: NDArray[np.uint32], lengths: NDArray[np.float64], advance: Advance
    ) -> dict[str, NDArray[np.float64]]:
        """What the metric is on some chips, and the margin; see `WalkedChips`.

        Raises:
            KeyboardInterrupt: after Ctrl-C, because half a step leads nowhere.
        """
        rounds = [
            self._round(numbers[first : first + self.width], lengths[first : first + self.width], advance)
            for first in range(0, len(numbers), self.width)
        ]
        return {name: np.concatenate([found[name] for found in rounds]) for name in rounds[0]}

    def _round(self, numbers: Any, lengths: Any, advance: Advance) -> dict[str, NDArray[np.float64]]:
        count = len(numbers)
        beside = ((0, self.width - count), (0, 0))
        names = self.measurement.extra._replace(
            numbers=jnp.asarray(np.pad(numbers, beside)), weights=jnp.asarray(np.pad(weights_of(lengths), beside))
        )
        prepared = replace(self.measurement, extra=names).of(self.prepared, self.batch)
        found = gathered(ahead(prepared.rounds(0, count)), advance)
        if not found or found[UNNAMED].shape[1] < count:
            raise KeyboardInterrupt
        return {name: values[0].astype(np.float64) for name, values in found.items()}
