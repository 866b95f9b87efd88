"""Where the variance of a metric over chips comes from, as `limpet.decompose` found it. NumPy only."""

import math
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .._errors import LimpetError, MetricError
from ..draws._generator import DEFAULT_GENERATOR, DRAWS_VERSION, Generator
from ._axes import axes_for
from ._condition import UNCHANGED, Condition
from ._json_file import load_json, save_json
from ._yield import checked_confidence

RESAMPLED = 1000
"""Bootstrap samples: so many make the ends of a 95% interval right to a tenth of its width."""
AT_ONCE = 2**24
"""Numbers of a table of samples at most: 128 MiB."""
ARRAYS = ("first", "second", "mixed")


class Share(NamedTuple):
    """What one source has of the variance.

    Attributes:
        first_order: the share S of the variance that goes if the source alone is known: what it does by itself.
        total: the share T of the variance that is left if all but the source is known: what it does by itself, and
            together with others.
        first_order_interval: the interval of S, lower and upper end.
        total_interval: the interval of T.
    """

    first_order: float
    total: float
    first_order_interval: tuple[float, float]
    total_interval: tuple[float, float]


@dataclass(frozen=True, eq=False, repr=False)
class Decomposition:
    """The shares that sources of variation have in the variance of a metric over chips; prints as a table.

    Attributes:
        metric: the name of the metric.
        sources: the names of the sources.
        first: the metric of each chip A, shape (chips,).
        second: the metric of another chip B for each, of the same shape.
        mixed: the metric of the chip that takes one source from B and all else from A, shape (sources, chips).
        by: the coordinates by which sources are told apart.
        seed: the number that names the chips: A and B of row n are virtual chips 2n and 2n + 1 of that seed.
        generator: the generator of random numbers.
        draws_version: the value of `limpet.DRAWS_VERSION` when the chips were drawn.
        fingerprint: a hash of the hardware.
        hardware: the hardware in words.
        condition: the condition under which chips were measured.
        test_set: the number of examples of the test set that each chip has of its own; 0 where all have the same.
    """

    metric: str
    sources: tuple[str, ...]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    mixed: NDArray[np.float64]
    by: tuple[str, ...] = ()
    seed: int = 0
    generator: Generator = DEFAULT_GENERATOR
    draws_version: int = DRAWS_VERSION
    fingerprint: str = ""
    hardware: str = ""
    condition: Condition = UNCHANGED
    test_set: int = 0

    def __post_init__(self) -> None:
        # Copies, so that they stay what they are when an array that was handed over is filled anew.
        for name in ARRAYS:
            object.__setattr__(self, name, np.array(getattr(self, name), np.float64))

    @property
    def evaluations(self) -> int:
        """How many chips were evaluated."""
        return self.first.size * (2 + len(self.sources))

    @property
    def failed(self) -> int:
        """How many rows are left out of all that follows, because the metric of one of their chips is no number."""
        return int((~self._finite).sum())

    @property
    def mean(self) -> float:
        """The mean of the metric over chips; NaN where no row is left."""
        return float(self._pooled.mean()) if self._finite.any() else np.nan

    @property
    def std(self) -> float:
        """The standard deviation of the metric over chips; NaN where no row is left."""
        if not self._finite.any():
            return np.nan
        return float(self._pooled.std()) if np.ptp(self._pooled) else 0.0  # not what rounding a mean leaves

    def shares(self, confidence: float = 0.95) -> dict[str, Share]:
        """The shares of each source by its name; NaN where the metric is the same on all chips.

        With the metric f, A and B two chips, and C the chip that takes source i from B and all else from A,

            S_i = Cov(f(B), f(C)) / Var f,    T_i = 1 - Cov(f(A), f(C)) / Var f.

        Each covariance is estimated twice. By the correlation, which is good where it is large: A. Janon, T. Klein, A.
        Lagnoux, M. Nodet and C. Prieur (2014), "Asymptotic normality and efficiency of two Sobol index estimators",
        ESAIM: Probab. Stat. 18:342. And by E[f(B) (f(C) - f(A))], or E[f(A) (f(C) - f(B))], which is good where it is
        small: A. Saltelli and others (2010), "Variance based sensitivity analysis of model output", Comput. Phys.
        Commun. 181:259. The share is the mean of both, weighted so that its variance is least.

        Intervals are of bootstrap over rows: the middle part of the shares of 1000 samples with replacement.

        Args:
            confidence: the probability that an interval is to hold the share.

        Raises:
            MetricError: `confidence` is no number between 0 and 1.
        """
        tails = (1 - checked_confidence(confidence)) / 2
        found = {}
        for place, source in enumerate(self.sources):
            both = [shares[:, place] for shares in self._samples]
            ends = [np.quantile(shares[1:], (tails, 1 - tails)).tolist() for shares in both]
            found[source] = Share(float(both[0][0]), float(both[1][0]), tuple(ends[0]), tuple(ends[1]))
        return found

    def ranking(self) -> list[tuple[str, Share]]:
        """Sources and their shares, the largest total first."""
        return sorted(self.shares().items(), key=lambda found: -np.nan_to_num(found[1].total))

    @property
    def interactions(self) -> float:
        """The share of the variance that no source has by itself: 1 less the sum of first-order shares. It is an
        estimate, and may be a little below 0 where there are none."""
        return 1 - float(self._samples[0][0].sum())

    def plot(self, ax: Any = None) -> Any:
        """Draw first-order and total shares as bars with matplotlib, the largest on top; returns the axes.

        Lines through the ends of bars are their 95% intervals.

        Args:
            ax: matplotlib axes to draw on; None as of `limpet.RobustnessCurve.plot`.
        """
        from matplotlib import rcParams

        line = {"linewidth": 1, "ecolor": rcParams["text.color"]}  # dark on light, and light on dark
        ax = axes_for(ax, (5, 1.2 + 0.28 * len(self.sources)))
        rows = self.ranking()[::-1]
        places = np.arange(len(rows))
        for offset, label, picked in ((0.2, "first order", (0, 2)), (-0.2, "total", (1, 3))):
            values = np.nan_to_num(np.array([share[picked[0]] for _, share in rows]))
            ends = np.nan_to_num(np.array([share[picked[1]] for _, share in rows]).T)
            reach = np.abs(ends - values)
            ax.barh(places + offset, values, height=0.4, label=label, xerr=reach.tolist(), error_kw=line)
        ax.set_yticks(places, [source for source, _ in rows])
        ax.set_xlabel("share of the variance")
        ax.grid(alpha=0.3, axis="x")
        ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), fontsize="small")  # above, not on the bars
        return ax

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python values, for JSON; `Decomposition.from_dict` takes it back."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: _listed(plain[name]) for name in ARRAYS}
        listed = {name: list(plain[name]) for name in ("sources", "by", "condition")}
        return plain | arrays | listed

    @classmethod
    def from_dict(cls, described: Any) -> Self:
        """The result that `to_dict` described.

        Raises:
            MetricError: it is none.
        """
        try:
            made = {name: np.array(described[name], np.float64) for name in ARRAYS}
            tuples = {name: tuple(described[name]) for name in ("sources", "by")}
            shapes = [made[name].shape for name in ARRAYS]
            if shapes != [shapes[0], shapes[0], (len(tuples["sources"]), *shapes[0])] or len(shapes[0]) != 1:
                raise ValueError(f"arrays of shapes {shapes}")
            return cls(**{**described, **made, **tuples, "condition": Condition(*described["condition"])})
        except (KeyError, TypeError, ValueError, LimpetError) as error:
            raise MetricError(f"it describes no decomposition ({type(error).__name__}: {error})") from None

    def save(self, path: str | Path) -> None:
        """Write it as JSON. A file that is there is replaced when it is done.

        Raises:
            LimpetError: the name does not end in .json.
        """
        save_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MetricError: the file is missing, or holds no decomposition.
        """
        return load_json(path, cls.from_dict, "decomposition")

    @property
    def _finite(self) -> NDArray[np.bool_]:
        return np.array(np.isfinite([self.first, self.second, *self.mixed]).all(axis=0))

    @property
    def _pooled(self) -> NDArray[np.float64]:
        return np.concatenate([self.first[self._finite], self.second[self._finite]])

    @cached_property
    def _samples(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """First-order and total shares, each of shape (1 + samples, sources): those of all rows, then of samples."""
        kept = self._finite
        shift, size = self.mean, self.std
        sources = len(self.sources)
        if not size > 0:  # the metric is the same on all chips, or on none a number
            nothing = np.full((1 + RESAMPLED, sources), np.nan)
            return nothing, nothing
        a, b, *c = ((row[kept] - shift) / size for row in (self.first, self.second, *self.mixed))
        c = np.array(c)
        # What shares follow from: the means of these over rows.
        products = np.stack([a, b, a * a, b * b, *c, *(c * c), *(a * c), *(b * c), *[a * b] * sources], axis=1)
        rows, random = len(a), np.random.default_rng(0)
        means = [products.mean(axis=0)[None]]
        for drawn in range(0, RESAMPLED, step := max(AT_ONCE // rows, 1)):
            counts = random.multinomial(rows, np.full(rows, 1 / rows), min(step, RESAMPLED - drawn))
            means.append(counts @ products / rows)
        moments = np.concatenate(means)
        of_a, of_b, aa, bb = (moments[:, [place]] for place in range(4))
        of_c, cc, ac, bc, ab = np.split(moments[:, 4:], 5, axis=1)
        own = _closed((of_b, bb, bc), (of_a, aa), (of_c, cc), ab)
        return own, 1 - _closed((of_a, aa, ac), (of_b, bb), (of_c, cc), ab)

    def __str__(self) -> str:
        rows = self.ranking()
        cells = [
            (source, _cell(share.first_order, share.first_order_interval), _cell(share.total, share.total_interval))
            for source, share in rows
        ]
        head = ("source", "first order", "total")
        widths = [max(len(row[column]) for row in (head, *cells)) for column in range(3)]
        over = f"chips and test sets of {self.test_set} examples" if self.test_set else "chips"
        lines = [
            f"variance of {self.metric} over {over}: mean {self.mean:.4g}, standard deviation {self.std:.3g}",
            *(f"{a:{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in (head, *cells)),
        ]
        if self.std > 0:
            lines.append(f"{'interactions':{widths[0]}}  {f'{self.interactions:.2f}':>5}".rstrip())
        failed = f", {self.failed} left out, where the metric is no number" if self.failed else ""
        lines.append(
            f"{self.first.size} pairs of chips of seed {self.seed}{failed}; {self.evaluations} evaluations; "
            f"in brackets: 95% intervals"
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Decomposition({self.metric!r}, {len(self.sources)} sources, {self.first.size} pairs of chips)"


def _closed(alike: Any, apart: Any, mixed: Any, independent: Any) -> NDArray[np.float64]:
    """The share of the variance that is of what a mixed chip C has in common with one of its two chips, X.

    Both estimates are of Cov(f(X), f(C)) / Var f; see `Decomposition.shares`.

    Args:
        alike: the means of f(X), f(X)^2 and f(X) f(C), each of shape (1 + samples, sources or 1).
        apart: the means of f(Y) and f(Y)^2, of the other chip Y.
        mixed: the means of f(C) and f(C)^2.
        independent: the mean of f(X) f(Y).
    """
    (x, xx, xc), (y, yy), (c, cc) = alike, apart, mixed
    with np.errstate(invalid="ignore", divide="ignore"):  # samples of one row
        # What has one distribution has one mean and one variance.
        middle = (x + c) / 2
        correlated = (xc - middle**2) / ((xx + cc) / 2 - middle**2)
        middle = (x + y) / 2
        differing = (xc - independent - middle * (c - y)) / ((xx + yy) / 2 - middle**2)
        spread = correlated[1:] - differing[1:]
        slope = (spread * (correlated[1:] - correlated[1:].mean(axis=0))).mean(axis=0) / spread.var(axis=0)
        weight = np.clip(np.nan_to_num(1 - slope, nan=0.0, posinf=0.0, neginf=0.0), 0, 1)
    return weight * correlated + (1 - weight) * differing


def _cell(value: float, ends: tuple[float, float]) -> str:
    low, high = (round(end, 2) + 0.0 for end in ends)  # a zero without a sign
    return f"{round(value, 3) + 0.0:.3f} ({low:.2f} to {high:.2f})"


def _listed(values: NDArray[np.float64]) -> list[Any]:
    """Numbers in lists, and None for what is none, as JSON has it."""
    if values.ndim > 1:
        return [_listed(row) for row in values]
    return [value if math.isfinite(value) else None for value in values.tolist()]
