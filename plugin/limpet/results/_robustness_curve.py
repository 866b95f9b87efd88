"""The robustness curve: a metric over sigma, with its spread over virtual chips. NumPy and SciPy only."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _checked
from .._errors import MetricError
from ..draws._generator import DEFAULT_GENERATOR, DRAWS_VERSION, MAX_SEED, Generator
from ._condition import Condition
from ._corner import Corner, place_among
from ._direction import checked_direction
from ._duration import place_of, seconds
from ._npz_file import described_of, write_described
from ._quantile import quantiles
from ._yield import (
    SIX_DIGITS,
    Yield,
    bounds_of,
    checked_confidence,
    checked_target,
    independent,
    mean_interval,
    quantile_interval,
    yield_of,
)

ARRAYS = ("sigmas", "values")
"""The fields that are arrays."""
Axis = Literal["sigma", "scale", "time"]
"""Over what a curve goes."""
Estimate = Literal["mean", "yield"] | float
"""What an interval is of: the mean, the yield at a target, or a quantile."""


@dataclass(frozen=True, eq=False, repr=False)
class RobustnessCurve:
    """A metric over sigma, for each of the same virtual chips; prints as a short table.

    A chip whose metric is NaN or infinite has failed: it is left out of `mean` and `std`, counted in `failed`, and
    counts as worse than every other in `quantile`, `worst` and `yield_at`.

    Attributes:
        metric: the name of the metric.
        sigmas: the strengths, shape (strengths,): relative standard deviations; or what `axis` says.
        values: the metric of each chip, shape (strengths, chips); a column is the same chip in every row.
        seed: the number that names the chips; `limpet.freeze(..., seed=seed, chip=c, condition=curve.condition_at(s))`
            rebuilds chip c as it is at the strength s.
        higher_is_better: True for an accuracy, False for a loss. It must be given for a metric whose name speaks of a
            loss or an error.
        axis: "sigma"; "scale" where leaves deviate at different sigmas; "time" where the same chips were measured at
            several times, in seconds since they were programmed.
        antithetic: columns 2k and 2k + 1 are virtual chip k and its mirror image.
        generator: the generator with which the chips were drawn.
        draws_version: the value of `limpet.DRAWS_VERSION` when the curve was measured.
        fingerprint: a hash of the hardware: which leaves deviate, their shapes, and their deviations. Only curves of
            one fingerprint are of the same chips. Empty where it is not known.
        hardware: the hardware in words.
        excluded_chips: numbers of chips that were not measured, because the network was trained on them.
        conditions: the `limpet.Condition` of each strength, on the hardware as it is described; empty where it is not
            known.
        target: the value that a chip is to reach, for the yield in the printed table; None where none is known. See
            `with_target`.

    Raises:
        MetricError: the shapes do not fit, there is no chip, or half a pair of antithetic ones, or the direction is
            missing.

    Examples:
        >>> curve = RobustnessCurve("accuracy", [0.0, 0.1], [[0.9, 0.9, 0.9, 0.9], [0.9, 0.8, 0.7, 0.6]])
        >>> print(curve)
        accuracy on 4 virtual chips of seed 0 (higher is better)
        sigma      mean  5th percentile     worst  no number
            0       0.9             0.9       0.9          0
          0.1      0.75           0.615       0.6          0
        >>> print(curve.with_target(0.7))
        accuracy on 4 virtual chips of seed 0 (higher is better), yield at 0.7
        sigma      mean  5th percentile     worst     yield  no number
            0       0.9             0.9       0.9         1          0
          0.1      0.75           0.615       0.6      0.75          0
    """

    metric: str
    sigmas: NDArray[np.float64]
    values: NDArray[np.float64]
    seed: int = 0
    higher_is_better: bool = cast(bool, None)
    axis: Axis = "sigma"
    antithetic: bool = False
    generator: Generator = DEFAULT_GENERATOR
    draws_version: int = DRAWS_VERSION
    fingerprint: str = ""
    hardware: str = ""
    excluded_chips: tuple[int, ...] = ()
    conditions: tuple[Condition, ...] = ()
    target: float | None = None

    def __post_init__(self) -> None:
        metric = _checked.text("metric", self.metric, MetricError)
        of = f"curve of {_checked.shown(metric)}: "
        sigmas, values = (_numbers(f"{of}{name}", getattr(self, name)) for name in ("sigmas", "values"))
        if sigmas.ndim != 1 or values.ndim != 2 or len(values) != len(sigmas) or not values.size:
            raise MetricError(
                f"{of}sigmas of shape (strengths,) and values of shape (strengths, chips), neither empty, are needed; "
                f"got {sigmas.shape} and {values.shape}"
            )
        if not (np.isfinite(sigmas) & (sigmas >= 0)).all():
            raise MetricError(f"{of}sigmas = {_checked.shown(sigmas.tolist())}: allowed are finite numbers >= 0")
        for name in ("generator", "fingerprint", "hardware"):
            _checked.text(f"{of}{name}", getattr(self, name), MetricError)
        for name in ("seed", "draws_version"):
            _checked.whole(f"{of}{name}", getattr(self, name), error=MetricError)
        _checked.one_of(f"{of}axis", self.axis, get_args(Axis), MetricError)
        _checked.flag(f"{of}antithetic", self.antithetic, MetricError)
        chips = [_checked.whole(f"{of}excluded_chips", chip, 0, MAX_SEED, MetricError) for chip in self.excluded_chips]
        if self.axis == "time" and not sigmas.all():
            raise MetricError(f"{of}times = {_checked.shown(sigmas.tolist())}: allowed are seconds above 0")
        if self.antithetic and values.shape[1] % 2:
            raise MetricError(f"{of}antithetic chips come in pairs, got {values.shape[1]}")
        if self.antithetic and chips:
            raise MetricError(f"{of}antithetic chips cannot be left out, a pair would be parted")
        conditions = tuple(_condition(f"{of}conditions[{row}]", given) for row, given in enumerate(self.conditions))
        if conditions and len(conditions) != len(sigmas):
            raise MetricError(f"{of}{len(conditions)} conditions, where there are {len(sigmas)} strengths")
        if self.target is not None:
            object.__setattr__(self, "target", checked_target(self.target))
        object.__setattr__(self, "conditions", conditions)
        object.__setattr__(self, "sigmas", sigmas)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "higher_is_better", checked_direction(metric, self.higher_is_better))
        object.__setattr__(self, "excluded_chips", tuple(sorted(chips)))

    @property
    def chips(self) -> int:
        """Number of virtual chips."""
        return self.values.shape[1]

    @property
    def chip_numbers(self) -> NDArray[np.int64]:
        """The number of the virtual chip in each column, shape (chips,); of antithetic chips, that of the column."""
        numbers = np.arange(self.chips + len(self.excluded_chips))
        return numbers[~np.isin(numbers, self.excluded_chips)][: self.chips]

    @property
    def failed(self) -> NDArray[np.int64]:
        """Number of chips at each sigma whose metric is NaN or infinite, shape (strengths,)."""
        return (~np.isfinite(self.values)).sum(axis=1)

    @property
    def deviates(self) -> NDArray[np.bool_]:
        """Whether anything deviates at each strength, shape (strengths,): not at 0, where all chips are alike."""
        if self.conditions:
            return np.array([condition.scale != 0 for condition in self.conditions])
        return self.sigmas != 0

    def row(self, sigma: float | str) -> int:
        """Which row of the curve is at a strength: the one of that very strength, else of that strength to six digits.

        Of a curve over times it may be a text, "1 day".

        Raises:
            MetricError: the curve has no such strength, or several that are no more like it than one another; says
                which it has.
        """
        if isinstance(sigma, str):
            if self.axis != "time":
                raise MetricError(f"{self.axis} = {sigma!r}: allowed is a number; the curve is not over times")
            sigma = seconds(sigma)
        exact = np.flatnonzero(self.sigmas == sigma)
        if exact.size:  # a strength that was measured twice has the same values twice
            return int(exact[0])
        near = np.flatnonzero(np.abs(self.sigmas - sigma) <= SIX_DIGITS * abs(sigma))
        if not near.size or np.ptp(self.sigmas[near]):
            held = ", ".join(f"{value:.12g}" for value in self.sigmas)
            why = f"is {near.size} of the strengths to six digits: give all digits" if near.size else "was not measured"
            raise MetricError(f"{self.axis} = {sigma:.12g}: {why}; the curve of '{self.metric}' has {held}")
        return int(near[0])

    def place(self, sigma: float) -> str:
        """A strength, or a time, as tables and charts call it."""
        return place_of(self.axis, sigma)

    def at(self, sigma: float | str) -> Self:
        """The curve at one of its strengths alone.

        Raises:
            MetricError: the curve has no such strength; says which it has.
        """
        row = self.row(sigma)
        kept = slice(row, row + 1)
        return replace(
            self, sigmas=self.sigmas[kept], values=self.values[kept], conditions=tuple(self.conditions[kept])
        )

    def with_target(self, target: float | None) -> Self:
        """The same curve with a target, so that its printed table has the yield; see `yield_at` for the interval.

        Raises:
            MetricError: `target` is no finite number.
        """
        return replace(self, target=target)

    def condition_at(self, sigma: float | str) -> Condition:
        """The condition of the chips at one strength, under which `limpet.freeze` rebuilds one of them.

        Where leaves deviate at different sigmas, and the curve goes over relative standard deviations, it is the
        condition of `recipe.with_sigma(1.0)`.

        Raises:
            MetricError: the curve has no such strength, or was measured by a version that did not write conditions.
        """
        row = self.row(sigma)
        if not self.conditions:
            raise MetricError(
                f"the curve of '{self.metric}' does not say under which conditions its chips were measured: it was "
                f"written by hand, or by an older version; measure it again"
            )
        return self.conditions[row]

    def mean(self) -> NDArray[np.float64]:
        """Mean over the chips that did not fail, shape (strengths,); NaN where all failed."""
        return self._over_finite(np.mean)

    def std(self) -> NDArray[np.float64]:
        """Standard deviation over the chips that did not fail, shape (strengths,); NaN where all failed."""
        return self._over_finite(np.std)

    def quantile(self, q: float) -> NDArray[np.float64]:
        """The quantile `q` (0 to 1) of the metric over chips, shape (strengths,), failed chips counted as worst.

        Between two chips it is interpolated; between a chip and one that failed it is infinite.

        Raises:
            MetricError: `q` is no number from 0 to 1.
        """
        return quantiles(self._sign * self._goodness(), q)

    def worst(self) -> NDArray[np.float64]:
        """The metric of the worst chip at each sigma, shape (strengths,); infinite where a chip failed."""
        return self._sign * self._goodness().min(axis=1)

    def worst_chip(self, sigma: float | str) -> int:
        """The number of the chip that did worst at a strength; `limpet.freeze` rebuilds it, see `condition_at`.

        Raises:
            MetricError: the curve has no such sigma, or its chips are antithetic (a mirror image has no number).
        """
        self._require_numbers()
        return int(self.chip_numbers[self._goodness()[self.row(sigma)].argmin()])

    def corner(self, which: str | float, sigma: float | str | None = None) -> Corner:
        """A chip by where it stands among the others at a strength, which replays: `limpet.freeze` takes it as it is.

        With n chips, the corner at the quantile q is the one that ceil(q n) chips do not exceed, of q above 1/2 the one
        that ceil((1 - q) n) chips reach; of equal chips, the first. k standard deviations from the median, a normal
        metric has the quantile Phi(-k), and so has this one, whatever its distribution.

        Args:
            which: "worst"; a quantile of the metric, 0.05 for the 5th percentile; or deviations from its median such as
                "3 sigma", towards worse values, and "-3 sigma", towards better ones.
            sigma: the strength (or time), which may be left out where the curve has one.

        Raises:
            MetricError: there is no such corner or strength, fewer than one chip is expected as far out, the curve does
                not know its conditions, or its chips are antithetic.

        Examples:
            >>> import jax.numpy as jnp, limpet
            >>> params = {"w": jnp.ones(100)}
            >>> hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
            >>> def mean(tree, _):
            ...     return tree["w"].mean()
            >>> curve = limpet.robustness_curve(mean, params, hardware, scales=[1], chips=200)
            >>> slow = curve.corner("2 sigma")
            >>> frozen = limpet.freeze(params, hardware, chip=slow)
            >>> bool(jnp.allclose(mean(frozen, None), slow.value)), 0.97 < slow.value < 0.99
            (True, True)
        """
        name, place = place_among(which, self.chips, self.higher_is_better)
        self._require_numbers()
        if sigma is None and len(self.sigmas) > 1:
            held = ", ".join(map(self.place, self.sigmas))
            raise MetricError(f"corner '{name}': the curve has several strengths, say at which: {held}")
        row = 0 if sigma is None else self.row(sigma)
        column = int(np.argsort(self._goodness()[row], kind="stable")[place])
        return Corner(
            name,
            int(self.chip_numbers[column]),
            self.seed,
            self.generator,
            self.condition_at(self.sigmas[row]),
            self.metric,
            float(self.values[row, column]),
            self.fingerprint,
        )

    def area(self) -> float:
        """The area under the mean over the strengths, divided by their range: the mean metric over strengths.

        Strengths may be in any order; for a single one, its mean. Over times, it is the mean over their logarithm.
        """
        order = np.argsort(self.sigmas, kind="stable")
        sigmas, means = self.sigmas[order], self.mean()[order]
        if self.axis == "time":
            sigmas = np.log(sigmas)
        span = sigmas[-1] - sigmas[0]
        return float(np.trapezoid(means, sigmas) / span) if span else float(means.mean())

    def passing(self, targets: ArrayLike) -> NDArray[np.int64]:
        """How many chips reach each of several targets, shape (strengths, targets).

        Args:
            targets: a chip passes at this value or better; to six digits, because metrics are computed in single
                precision, and exactly where the values at a strength and the target are whole numbers.
        """
        goals = self._sign * np.asarray(targets, np.float64)
        rows = np.sort(self._goodness(), axis=1)
        return np.stack([len(row) - np.searchsorted(row, goals - slack_of(row, goals)) for row in rows])

    def reaches(self, target: float) -> NDArray[np.bool_]:
        """Which chips reach a target, shape (strengths, chips); see `passing`.

        Raises:
            MetricError: `target` is no finite number.
        """
        goal = np.array([self._sign * checked_target(target)])
        return np.stack([row >= goal - slack_of(row, goal) for row in self._goodness()])

    def yield_at(
        self, target: float, confidence: float = 0.95, method: Literal["exact", "wilson"] = "exact"
    ) -> list[Yield]:
        """The fraction of chips that reach `target` at each strength, with its interval.

        Antithetic pairs count as one chip in the interval, which is therefore on the safe side.

        Args:
            target: the value that a chip is to reach; see `passing`.
            confidence: the confidence of the interval.
            method: "exact" (Clopper and Pearson, 1934: covers at least as often as it says) or "wilson" (Wilson, 1927:
                narrower, covers as often on average).

        Raises:
            MetricError: `target` is no finite number, `confidence` none between 0 and 1, or there is no such method.
        """
        target, confidence = checked_target(target), checked_confidence(confidence)
        if method not in ("exact", "wilson"):
            raise MetricError(f"method = {method!r}: allowed are 'exact' and 'wilson'")
        counts = self.passing([target])[:, 0].tolist()
        return [yield_of(count, self.chips, confidence, method, self.antithetic) for count in counts]

    def interval(
        self,
        of: Estimate = "mean",
        *,
        confidence: float = 0.95,
        method: Literal["t", "bootstrap"] = "t",
        target: float | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the value for all chips of this kind lies, judging by those drawn.

        The interval of a mean supposes that chips are like those drawn. It is Student's t, which is widened on the side
        of a tail, so that it covers as often as it says where a few of the chips drawn are far off. Where all chips
        drawn are alike, though something deviates, it is as wide as unseen chips allow: of n chips, up to 3.7 / n of
        all chips may be unlike every one of them (64 chips: 5.6%). These count with the worst and the best value that
        the metric can have: 0 and 1 of a rate, that is where more is better and all values lie from 0 to 1; of any
        other metric no bound is known, and the ends are infinite. At strength 0 all chips are alike: the width is 0.

        Yields and quantiles need no such supposition: their intervals hold for any chips.

        Args:
            of: "mean", "yield" (at `target`), or a quantile between 0 and 1.
            confidence: the confidence of the interval.
            method: for the mean: "t", as above, or "bootstrap" (percentiles of 2,000 resamples; fixed seed), which has
                no such widening.
            target: the target of the yield.

        Returns:
            Lower and upper ends, each of shape (strengths,). For the mean over the chips that did not fail (antithetic
            pairs count as one); infinite where there are too few chips. For a quantile, the order statistics that
            enclose it (distribution-free; of antithetic pairs, as far apart as those of half as many chips).

        Raises:
            MetricError: `of` is none of these, a yield has no target, or `confidence` is not between 0 and 1.
        """
        confidence = checked_confidence(confidence)
        if target is not None and of != "yield":
            raise MetricError(f"target = {target!r} is for the interval of the yield, not of {of!r}")
        if of == "mean":
            bounds = bounds_of(self.higher_is_better, self.values)
            ends = [
                mean_interval(
                    row, confidence, method, bounds if deviates else None, SIX_DIGITS * np.abs(row).max(initial=0.0)
                )
                for row, deviates in zip(independent(self.values, self.antithetic), self.deviates, strict=True)
            ]
        elif of == "yield":
            if target is None:
                raise MetricError("the interval of a yield needs a target")
            ends = [(found.low, found.high) for found in self.yield_at(target, confidence)]
        elif isinstance(of, float) and 0 < of < 1:
            return quantile_interval(self._sign * self._goodness(), of, confidence, self.antithetic)
        else:
            raise MetricError(f"of = {of!r}: allowed are 'mean', 'yield' and a quantile between 0 and 1")
        low, high = np.array(ends, np.float64).T
        return low, high

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python values, for JSON and the like; `RobustnessCurve.from_dict` takes it back."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: plain[name].tolist() for name in ARRAYS}
        lists = {"excluded_chips": list(self.excluded_chips), "conditions": list(map(list, self.conditions))}
        if self.target is None:  # what older versions cannot read is not written without need
            del plain["target"]
        return plain | arrays | lists

    @classmethod
    def from_dict(cls, described: Any) -> Self:
        """The curve that `to_dict` described, which may have gone through anybody's file.

        Raises:
            MetricError: it is no mapping, or holds what a curve cannot have.
        """
        if not isinstance(described, Mapping):
            raise MetricError(f"its description is {_checked.shown(described)}, where a mapping is needed")
        known = [field.name for field in fields(cls)]
        if strays := [name for name in described if name not in known]:
            raise MetricError(f"its description holds {_checked.shown(strays[0])}, which a curve has not")
        if missing := [name for name in ("metric", "sigmas", "values") if name not in described]:
            raise MetricError(f"its description names no {missing[0]}")
        return cls(**described)

    def save(self, path: str | Path) -> None:
        """Write the curve as .npz (no pickle). A file that is there is replaced once the new one is whole."""
        write_described(path, self.to_dict(), ARRAYS)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MetricError: the file is missing, damaged, or holds no curve.
        """
        try:
            return cls.from_dict(described_of(path))
        except (ValueError, TypeError, RecursionError) as error:
            raise MetricError(f"{path}: holds no robustness curve ({error})") from None

    def plot(self, ax: Any = None, label: str | None = None) -> Any:
        """Draw mean (line), 5th to 95th percentile (band) and worst chip (dotted) with matplotlib; returns the axes.

        Args:
            ax: matplotlib axes to draw on, so that several networks share one picture. None for pyplot's current ones
                where nothing is drawn yet, else for a new figure, which `plt.savefig` saves.
            label: name in the legend; "mean" if None.
        """
        from ._curve_plot import plotted

        return plotted(self, ax, label)

    def __str__(self) -> str:
        excluded = f", without {', '.join(map(str, self.excluded_chips))}" if self.excluded_chips else ""
        better = "higher" if self.higher_is_better else "lower"
        reached = "" if self.target is None else f", yield at {self.target:g}"
        shares = [f"  {found.fraction:8.4g}" for found in ([] if self.target is None else self.yield_at(self.target))]
        percentile = "5th percentile" if self.higher_is_better else "95th percentile"
        yields = f"  {'yield':>8}" if shares else ""
        places = list(map(self.place, self.sigmas))
        width = max(5, *map(len, places))
        lines = [
            f"{self.metric} on {self.chips} virtual chips of seed {self.seed}{excluded} ({better} is better){reached}",
            f"{self.axis:{width}}  {'mean':>8} {percentile:>15}  {'worst':>8}{yields}  no number",
        ]
        tail = self.quantile(0.05 if self.higher_is_better else 0.95)
        rows = zip(places, self.mean(), tail, self.worst(), shares or [""] * len(places), self.failed, strict=True)
        lines += [
            f"{place:>{width}}  {mean:8.4g}  {quantile:14.4g}  {worst:8.4g}{share}  {failed:9d}"
            for place, mean, quantile, worst, share, failed in rows
        ]
        if self.chips > 1 and self.sigmas.any() and np.ptp(self.values) == 0:
            lines.append(
                "No chip differs from another at any strength: is anything random, and does the metric depend on it?"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        strengths = ", ".join(map(self.place, self.sigmas))
        return f"RobustnessCurve({self.metric!r}, {self.axis} {strengths}, {self.chips} chips of seed {self.seed})"

    @property
    def _sign(self) -> int:
        return 1 if self.higher_is_better else -1

    def _goodness(self) -> NDArray[np.float64]:
        """The values such that more is better, and failed chips are the worst."""
        return np.where(np.isfinite(self.values), self._sign * self.values, -np.inf)

    def _require_numbers(self) -> None:
        if self.antithetic:
            raise MetricError("antithetic chips have no numbers of their own: measure without antithetic=True")

    def _over_finite(self, statistic: Any) -> NDArray[np.float64]:
        finite = [row[np.isfinite(row)] for row in self.values]
        return np.array([statistic(row) if row.size else np.nan for row in finite])


def _numbers(name: str, given: ArrayLike) -> NDArray[np.float64]:
    """A copy in double precision of an array of real numbers."""
    try:
        array = np.asarray(given)
        if array.dtype.kind in "biufV":  # V: types of JAX such as bfloat16
            return np.array(array, np.float64)
    except (TypeError, ValueError):
        pass  # rows of several lengths, say
    raise MetricError(f"{name} = {_checked.shown(given)}: allowed are real numbers")


def _condition(name: str, given: Any) -> Condition:
    """A condition of plain numbers, from one or from a row of its fields."""
    if not isinstance(given, list | tuple) or len(given) != len(Condition._fields):
        raise MetricError(f"{name} = {_checked.shown(given)}: allowed is a row of {', '.join(Condition._fields)}")
    scale, time, read, mirrored = given
    return Condition(
        _checked.number(f"{name}.scale", scale, 0, error=MetricError),
        None if time is None else _checked.number(f"{name}.time", time, 0, above=True, error=MetricError),
        _checked.whole(f"{name}.read", read, 0, MAX_SEED, MetricError),
        _checked.flag(f"{name}.mirrored", mirrored, MetricError),
    )


def slack_of(values: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much a chip may miss each target: metrics are computed in float32, in which 90 of 100 is a little less
    than 0.9. It is a share of the target, whatever its magnitude. Whole numbers are counts, and exact; those beyond 32
    bits are none, because every number of single precision is whole there."""
    slack = SIX_DIGITS * np.abs(targets)
    counts = (np.floor(values) == values) & ((np.abs(values) < 2.0**32) | ~np.isfinite(values))
    return np.where(np.floor(targets) == targets, 0.0, slack) if counts.all() else slack
