"""What a curve says beside its values: metric, direction, strengths, chips and hardware."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .._errors import MetricError
from ..hardware._fingerprint import digest, summary
from ..results._direction import checked_direction
from ..results._robustness_curve import RobustnessCurve
from ._chips import Chips
from ._metric import MetricFn, function_name
from ._strengths import Strengths

Direction = bool | Mapping[str, bool] | None
"""Whether more of the metric is better: for all metrics, by name, or as their names say."""


def directions_of(
    metric_fn: MetricFn, metrics: Iterable[str], given: Direction
) -> tuple[dict[str, str], dict[str, bool]]:
    """The label of each metric, and whether more of it is better, by the name that the metric function gave it.

    Raises:
        MetricError: a direction is missing, or is given to a metric that there is not.
    """
    labels = {name: name or function_name(metric_fn) for name in metrics}
    if isinstance(given, Mapping) and (unknown := given.keys() - set(labels.values())):
        raise MetricError(
            f"higher_is_better names {', '.join(sorted(unknown))}; the metrics are {', '.join(labels.values())}"
        )
    return labels, {
        name: checked_direction(label, given.get(label) if isinstance(given, Mapping) else given)
        for name, label in labels.items()
    }


@dataclass(frozen=True)
class Description:
    """What a curve says beside its values.

    Attributes:
        metric_fn: the user's metric.
        strengths: the strengths or times that the curve goes over.
        shapes: the shapes of the network's leaves by path.
        chips: the virtual chips.
        higher_is_better: the directions of the metrics, see `Direction`.
        excluded_chips: numbers of the chips that are left out, because the network was trained on them.
    """

    metric_fn: MetricFn
    strengths: Strengths
    shapes: Mapping[str, tuple[int, ...]]
    chips: Chips
    higher_is_better: Direction
    excluded_chips: tuple[int, ...] = ()

    def require_directions(self, metrics: Iterable[str]) -> None:
        """Refuse metrics whose direction is missing, and directions of metrics that there are not; see `curves`."""
        directions_of(self.metric_fn, metrics, self.higher_is_better)

    def curves(self, values: Mapping[str, np.ndarray], read: int | None = None) -> dict[str, RobustnessCurve]:
        """The curves by metric name, from values of shape (strengths, chips) by the name that the metric gave them.

        Args:
            values: the values.
            read: the number of the read in place of that of the conditions; None for theirs.

        Raises:
            MetricError: a direction is missing, or is given to a metric that there is not.
        """
        names, better = directions_of(self.metric_fn, values, self.higher_is_better)
        recipe, rows = self.strengths.recipe, self.strengths.conditions
        return {
            label: RobustnessCurve(
                label,
                np.array(self.strengths.sigmas),
                values[name],
                self.chips.seed,
                better[name],
                self.strengths.axis,
                self.chips.antithetic,
                self.chips.generator,
                fingerprint=digest(recipe, self.shapes),
                hardware=summary(recipe, self.shapes),
                excluded_chips=self.excluded_chips,
                conditions=rows if read is None else tuple(row._replace(read=read) for row in rows),
                target=None if self.chips.precision is None else self.chips.precision.target,
            )
            for name, label in names.items()
        }
