"""The quantile of a metric over chips, some of which may have failed. NumPy only."""

import numpy as np
from numpy.typing import NDArray

from .._errors import MetricError


def quantiles(values: NDArray[np.float64], q: float) -> NDArray[np.float64]:
    """The quantile `q` of each row, between two values by linear interpolation.

    Failed chips are infinities, at the bad end. Between a number and an infinity lies the infinity: the chip has done
    as badly as a chip can. Away from them a quantile is what it would be if those chips were merely the worst. A row
    is judged by its own values alone, so that a statistic is the same in whatever table or chart it stands.

    Args:
        values: shape (rows, chips); no NaN.
        q: a number between 0 and 1.

    Raises:
        MetricError: `q` is no number between 0 and 1.

    Examples:
        >>> quantiles(np.array([[1.0, 2.0, 3.0], [-np.inf, 2.0, 3.0]]), 0.25).tolist()
        [1.5, -inf]
        >>> quantiles(np.array([[-np.inf, 2.0, 3.0]]), 0.75).tolist()
        [2.5]
    """
    if isinstance(q, bool) or not isinstance(q, int | float | np.number) or not 0 <= q <= 1:
        raise MetricError(f"quantile {q!r}: allowed is a number from 0 to 1, 0.05 for the 5th percentile")
    finite = np.isfinite(values)
    if finite.all():
        return np.quantile(values, q, axis=1)
    return np.array([_of_row(row, q, usable) for row, usable in zip(values, finite, strict=True)])


def _of_row(row: NDArray[np.float64], q: float, finite: NDArray[np.bool_]) -> float:
    # NumPy would take the difference of two infinities. Ranks are the same with the nearest number in their place.
    numbers = np.clip(row, row[finite].min(), row[finite].max()) if finite.any() else row
    ordered, place = np.sort(row), q * (len(row) - 1)
    for neighbour in (ordered[int(np.floor(place))], ordered[int(np.ceil(place))]):
        if not np.isfinite(neighbour):
            return float(neighbour)
    return float(np.quantile(numbers, q))
