"""Values in groups: neurons in cores in chips. Counts, means and mean squares, of which intervals are made."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._kurtosis import kurtosis

Values = NDArray[np.float64]


@dataclass(frozen=True)
class MeanSquare:
    """A sum of squares over its degrees of freedom.

    Attributes:
        value: estimates `sum(coefficient * variance of the level)`.
        degrees: the degrees of freedom, perhaps fewer than were counted, see `_effective`.
        coefficients: the coefficient of each variance, by level.
    """

    value: float
    degrees: float
    coefficients: dict[str, float]


@dataclass(frozen=True)
class Combination:
    """A variance as a sum of mean squares with factors, some of which are negative."""

    terms: tuple[tuple[float, MeanSquare], ...]

    @property
    def value(self) -> float:
        """The estimate; negative where the level varies less than the levels below it would make it."""
        return sum(factor * square.value for factor, square in self.terms)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Where the variance lies; an end may be negative.

        The modified large-sample interval: Graybill and Wang (1980), J. Am. Stat. Assoc. 75:869, with negative terms as
        in Ting et al. (1990), J. Stat. Comput. Simul. 35:135. It is exact where there is one term, and where all
        degrees of freedom but those of one term are large.
        """
        return self._end(confidence, upper=False), self._end(confidence, upper=True)

    def _end(self, confidence: float, upper: bool) -> float:
        from scipy import stats

        tail = (1 - confidence) / 2
        direction = 1.0 if upper else -1.0
        weights, total = [], 0.0
        for factor, square in self.terms:
            # How far the mean square may lie above (below) its estimate, relative to it.
            above = square.degrees / stats.chi2.ppf(tail, square.degrees) - 1
            below = 1 - square.degrees / stats.chi2.ppf(1 - tail, square.degrees)
            weight = above if (factor > 0) == upper else below
            weights.append(weight)
            total += (weight * factor * square.value) ** 2
        for place, (factor, square) in enumerate(self.terms):
            for other_place, (other_factor, other) in enumerate(self.terms):
                if factor <= 0 or other_factor >= 0:
                    continue
                point = stats.f.ppf(tail if upper else 1 - tail, square.degrees, other.degrees)
                mine, theirs = weights[place], weights[other_place]
                pair = ((point - 1) ** 2 - (mine * point) ** 2 - theirs**2) / point
                total += pair * factor * -other_factor * square.value * other.value
        return self.value + direction * float(np.sqrt(max(total, 0.0)))


@dataclass(frozen=True)
class Nested:
    """Values in groups of groups.

    Attributes:
        values: the measured factors or their logarithms, shape (values,).
        chip: number of the chip of each value, from 0 on without gaps, shape (values,).
        core: number of the core of each value, likewise; no two chips share one.
    """

    values: Values
    chip: NDArray[np.intp]
    core: NDArray[np.intp]

    @classmethod
    def of(cls, values: Values, chips: NDArray[np.str_], cores: NDArray[np.str_]) -> "Nested":
        """Values by the names of their chips and of their cores within the chips."""
        chip = np.unique(chips, return_inverse=True)[1]
        core = np.unique(np.stack([chip.astype(str), cores]), axis=1, return_inverse=True)[1]
        return cls(values, chip.ravel(), core.ravel())

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels whose variances can be told apart, the highest first."""
        chips, cores = int(self.chip.max()) + 1, int(self.core.max()) + 1
        upper = ["chip"] if chips > 1 else []
        if chips < cores < len(self.values):
            upper.append("core")
        if max(chips, cores) == len(self.values):
            upper = [] if chips == len(self.values) else upper
        return (*upper, "neuron")

    def combinations(self) -> dict[str, Combination]:
        """The variance of each level that can be told apart, of unweighted means.

        Of balanced groups these are the estimates of the analysis of variance; of others, see Hernandez, Burdick and
        Birch (1992), Biometrical Journal 34:387.
        """
        levels = self.levels
        groups = self._groups(levels)
        counts = [np.bincount(group) for group in groups]
        means = [np.bincount(group, self.values) / count for group, count in zip(groups, counts, strict=True)]
        if not groups:
            whole = np.full(len(self.values), len(self.values))
            degrees = _effective(self.values - self.values.mean(), whole)
            square = MeanSquare(float(self.values.var(ddof=1)), degrees, {"neuron": 1.0})
            return {"neuron": Combination(((1.0, square),))}
        within = self.values - means[-1][groups[-1]]
        degrees = len(self.values) - len(means[-1])
        effective = _effective(within, counts[-1][groups[-1]])
        squares = [MeanSquare(float((within**2).sum()) / degrees, effective, {"neuron": 1.0})]
        # What the mean of a group of the lowest level holds of each variance.
        holds = [{levels[len(groups) - 1]: np.ones(len(means[-1])), "neuron": 1 / counts[-1]}]
        if len(groups) == 2:
            owner = np.zeros(len(means[1]), np.intp)
            owner[groups[1]] = groups[0]
            number = np.bincount(owner)
            middle = np.bincount(owner, means[1]) / number
            free = len(owner) - len(number)
            share = 1 - 1 / number[owner]
            coefficients = {level: float((share * held).sum()) / free for level, held in holds[0].items()}
            squares.insert(0, MeanSquare(float(((means[1] - middle[owner]) ** 2).sum()) / free, free, coefficients))
            upper = {level: np.bincount(owner, held) / number**2 for level, held in holds[0].items()}
            holds.insert(0, {"chip": np.ones(len(number)), **upper})
            means[0] = middle
        top = means[0]
        coefficients = {level: float(held.mean()) for level, held in holds[0].items()}
        squares.insert(0, MeanSquare(float(top.var(ddof=1)), len(top) - 1, coefficients))
        return _solved(levels, squares)

    def _groups(self, levels: tuple[str, ...]) -> list[NDArray[np.intp]]:
        return [{"chip": self.chip, "core": self.core}[level] for level in levels if level != "neuron"]


def _effective(deviations: Values, counts: NDArray[np.intp]) -> float:
    """Degrees of freedom that a mean square of deviations from the means of groups is worth.

    The variance of the mean square is `sigma^4 (2 / degrees + kurtosis * sum(share^2) / degrees^2)`, where `degrees` is
    the sum over values of `share = 1 - 1 / count of the group`; it is set equal to `2 sigma^4 / effective degrees`.
    """
    share = 1 - 1 / counts
    degrees = float(share.sum())
    return degrees / (1 + kurtosis(deviations, counts) * float((share**2).sum()) / (2 * degrees))


def _solved(levels: tuple[str, ...], squares: list[MeanSquare]) -> dict[str, Combination]:
    """Variances as combinations of mean squares, each of which holds its own level's variance and those below."""
    matrix = np.array([[square.coefficients.get(level, 0.0) for level in levels] for square in squares])
    inverse = np.linalg.inv(matrix)
    return {
        level: Combination(
            tuple(
                (float(factor), square)
                for factor, square in zip(row, squares, strict=True)
                if abs(factor) > 1e-9  # of balanced groups, what is left of two equal terms
            )
        )
        for level, row in zip(levels, inverse, strict=True)
    }
