"""A metric of a network on measured chips, beside virtual ones. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._errors import MetricError
from ._robustness_curve import RobustnessCurve


@dataclass(frozen=True, eq=False)
class ChipMetrics:
    """A metric of one network on measured chips: `print` it.

    Attributes:
        metric: the name of the metric.
        chips: the names of the measured chips.
        values: the metric on each, shape (measured chips,).
        nominal: the metric of the network as it is.
        higher_is_better: whether more of it is better.
        virtual: the same metric on virtual chips of the assumed hardware, a curve at one strength; None where no
            hardware was given.
    """

    metric: str
    chips: tuple[str, ...]
    values: NDArray[np.float64]
    nominal: float
    higher_is_better: bool
    virtual: RobustnessCurve | None = None

    def __post_init__(self) -> None:
        # A copy, so that the table stays what it is when an array that was handed over is filled anew.
        object.__setattr__(self, "values", np.array(self.values, np.float64))

    def of(self, chip: str) -> float:
        """The metric on one measured chip.

        Raises:
            MetricError: there is no such chip; says which there are.
        """
        return float(self.values[self._place(chip)])

    def rank(self, chip: str) -> float:
        """The fraction of virtual chips that do no better than a measured one; where a chip failed, the failed ones.

        If the assumed hardware is right, that fraction is uniform between 0 and 1: many chips near 0 say that the real
        ones are worse than what was assumed.

        Raises:
            MetricError: there is no such chip, or there are no virtual ones.
        """
        place = self._place(chip)
        if self.virtual is None:
            raise MetricError("there are no virtual chips to rank among: give the hardware to limpet.measure_chips")
        sign = 1 if self.higher_is_better else -1
        values = np.append(self.virtual.values[0], self.values[place]) * sign
        values = np.where(np.isfinite(values), values, -np.inf)
        return float((values[:-1] <= values[-1]).mean())

    def _place(self, chip: str) -> int:
        if chip not in self.chips:
            raise MetricError(f"there is no measured chip {chip!r}; there are {', '.join(self.chips)}")
        return self.chips.index(chip)

    def __str__(self) -> str:
        better = "higher" if self.higher_is_better else "lower"
        beside = (
            "" if self.virtual is None else f", beside {self.virtual.chips} virtual ones of seed {self.virtual.seed}"
        )
        count = f"{len(self.chips)} measured chip{'s' * (len(self.chips) != 1)}"
        rows = [("nominal", f"{self.nominal:.4g}", "")]
        rows += [
            (chip, f"{value:.4g}", "" if self.virtual is None else f"{self.rank(chip):.0%}")
            for chip, value in zip(self.chips, self.values, strict=True)
        ]
        if self.virtual is not None:
            at = [("mean", self.virtual.mean()[0]), ("worst", self.virtual.worst()[0])]
            rows += [(f"virtual, {what}", f"{value:.4g}", "") for what, value in at]
        width = max(map(len, ["chip", *(name for name, *_ in rows)]))
        last = "" if self.virtual is None else "  virtual chips no better"
        lines = [f"{self.metric} on {count}{beside} ({better} is better)", f"{'chip':{width}}  {self.metric:>10}{last}"]
        lines += [f"{name:{width}}  {value:>10}{f'  {rank:>23}' if rank else ''}" for name, value, rank in rows]
        return "\n".join(lines)
