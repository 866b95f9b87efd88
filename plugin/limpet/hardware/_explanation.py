"""How well an assumed hardware explains a measured chip."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from .._checked import listing
from .._errors import PrototypeError
from ..deviations._levels import independent
from ..draws._generator import DEFAULT_GENERATOR
from ..draws._keys import stream
from ..results._condition import Condition
from ._mismatch import Recipe

VIRTUAL_CHIPS = 999
"""Among so many a chip is ranked where no density says how its values are distributed together: p is 0.001 at least."""

MOST_VALUES = 2**12
"""Of a leaf of more values, so many drawn by lot are compared with virtual chips'."""

SAME = 2.0**-21
"""By so small a fraction values of two programs may differ: some units in the last place of float32."""

MOST_DRAWN = 2**24
"""The values that are drawn at once: 64 MiB in float32."""


@dataclass(frozen=True)
class AmongChips:
    """A number of the measured chip among those of virtual chips.

    Attributes:
        value: the measured chip's number.
        low: the number below which 2.5% of virtual chips are.
        high: the number above which 2.5% are.
        p_value: the share of chips, the measured one among them, that are as far out on either side.
    """

    value: float
    low: float
    high: float
    p_value: float

    def __str__(self) -> str:
        ends = f"{self.low:.3g} to {self.high:.3g}"
        return f"{self.value:6.3g}  {ends:>16}  {self.p_value:7.2g}"


@dataclass(frozen=True)
class LeafExplanation:
    """How well one leaf's deviation explains what was measured.

    Attributes:
        path: the path of the leaf.
        assumed: the deviation and its limits, in words.
        count: how many values were compared; those of nominal value 0 have no measured / nominal, and are left out
            where a deviation has a density or devices have something in common.
        spread: the root mean square of measured / nominal - 1; NaN where no nominal value is other than 0.
        sigma: the assumed relative standard deviation; NaN where the deviation has none.
        log_likelihood: the log-likelihood of measured / nominal, for each value on average; NaN where there is no
            density, and -infinity where a value cannot be.
        expected: the log-likelihood that there would be on average if the assumption held.
        distance: the Kolmogorov-Smirnov distance between measured and assumed values; where devices have something in
            common, that between what is left without it.
        p_value: the probability with which values of the assumed hardware are so far from it. Where devices have
            something in common, the share of chips that are as far out, the measured one among them, by what lies
            farthest out of `common`, `rest` and `distance`.
        common: what the devices have in common among that of virtual chips: the median of measured / nominal (of
            measured, where all nominal values are 0). None where values are independent.
        rest: how the devices spread about that: the standard deviation of what is left of measured / nominal, divided
            by the median (of measured less the median, where all nominal values are 0).
    """

    path: str
    assumed: str
    count: int
    spread: float
    sigma: float
    log_likelihood: float
    expected: float
    distance: float
    p_value: float
    common: AmongChips | None = None
    rest: AmongChips | None = None


@dataclass(frozen=True)
class Explanation:
    """How well an assumed hardware explains a measured chip: `print` it.

    Attributes:
        chip: the chip's name.
        leaves: an explanation for each leaf that was measured and deviates, by path.
        unmeasured: the paths of leaves that deviate and were not measured.
        common: the median of measured / nominal over all leaves whose devices have something in common, among that of
            virtual chips; None where there is no such leaf.
    """

    chip: str
    leaves: Mapping[str, LeafExplanation]
    unmeasured: tuple[str, ...]
    common: AmongChips | None = None

    def __str__(self) -> str:
        width = max(4, *map(len, self.leaves))
        lines = [
            f"chip {self.chip} beside the assumed hardware",
            f"{'leaf':{width}}  values  spread  assumed  log-likelihood  expected  KS distance        p  deviation",
        ]
        for leaf in self.leaves.values():
            numbers = f"{leaf.count:6}  {_number(leaf.spread, '6.3g')}  {_number(leaf.sigma, '7.3g')}"
            likelihood = f"{_number(leaf.log_likelihood, '14.3f')}  {_number(leaf.expected, '8.3f')}"
            test = f"{leaf.distance:11.3f}  {leaf.p_value:7.2g}"
            lines.append(f"{leaf.path:{width}}  {numbers}  {likelihood}  {test}  {leaf.assumed}")
        if self.unmeasured:
            lines.append(f"not measured: {listing(self.unmeasured, limit=10)}")
        return "\n".join([*lines, *self._in_common(width)])

    def _in_common(self, width: int) -> list[str]:
        """The lines that say what devices have in common."""
        if self.common is None:
            return []
        found = [leaf for leaf in self.leaves.values() if leaf.common is not None]
        title = "the median of measured / nominal, which devices have in common, and their spread about it"
        lines = [
            f"{title}, beside {VIRTUAL_CHIPS} virtual chips",
            f"{'leaf':{width}}  median  {'95% of them':>16}        p  spread  {'95% of them':>16}        p",
        ]
        lines += [f"{leaf.path:{width}}  {leaf.common}  {leaf.rest}" for leaf in found]
        return [*lines, f"{'all':{width}}  {self.common}"] if len(found) > 1 else lines


def explanation(
    chip: str, measured: Mapping[str, Any], recipe: Recipe, leaves: Mapping[str, Any], condition: Condition
) -> Explanation:
    """How well a recipe explains measured values; see `MeasuredChip.explained_by`.

    Args:
        chip: the chip's name.
        measured: values by leaf path.
        recipe: what is assumed.
        leaves: nominal values by leaf path.
        condition: the condition under which the chip was measured, checked and known.
    """
    chosen = [path for path in recipe.paths if path in measured]
    if not chosen:
        raise PrototypeError(
            f"chip {chip}: nothing that deviates was measured; measured are {listing(measured, limit=10)}, and "
            f"{listing(recipe.paths, limit=10)} deviate"
        )
    scale = float(np.asarray(condition.scale))
    rules = {path: rule for path in chosen if (rule := recipe.rules[path]) is not None}
    laws = {path: rule.distribution(scale) for path, rule in rules.items()}
    drawn = _virtual(recipe, leaves, [path for path, law in laws.items() if law is None], condition)
    found: dict[str, LeafExplanation] = {}
    in_common: list[NDArray[np.float64]] = []
    for path, law in laws.items():
        about, deviation = (path, rules[path].label), rules[path].deviation
        nominal, value = (np.asarray(array, np.float64).ravel() for array in (leaves[path], measured[path]))
        factors = value[nominal != 0] / nominal[nominal != 0]
        spread = float(np.sqrt(((factors - 1) ** 2).mean())) if factors.size else math.nan
        sigma = recipe.sigma(path)
        sigma = math.nan if sigma is None else sigma * scale
        if law is not None:
            if not factors.size:
                raise PrototypeError(f"leaf '{path}': all nominal values are 0, and deviate by a fraction of that")
            sigma = float(law.std() / law.mean()) if math.isnan(sigma) else sigma
            likelihood = (float(law.logpdf(factors).mean()), -float(law.entropy()))
            test = _of_values(factors, law.cdf)
            found[path] = LeafExplanation(*about, factors.size, spread, sigma, *likelihood, *test)
            continue
        chips = np.vstack([value[_compared(value.size)], drawn[path]])
        if independent(deviation):
            test = _of_ranks(chips)
            found[path] = LeafExplanation(*about, chips.shape[1], spread, sigma, math.nan, math.nan, *test)
            continue
        set_values = nominal[_compared(value.size)]
        chips, median, rest = _parted(chips, set_values)
        in_common += [chips] if set_values.any() else []
        test = _among(median, rest)
        found[path] = LeafExplanation(*about, chips.shape[1], spread, sigma, math.nan, math.nan, *test)
    common = _number_among(np.median(np.hstack(in_common), axis=1)) if in_common else None
    return Explanation(chip, found, tuple(path for path in recipe.paths if path not in measured), common)


def _virtual(
    recipe: Recipe, leaves: Mapping[str, Any], paths: list[str], condition: Condition
) -> dict[str, NDArray[np.float64]]:
    """The values of some leaves that are compared, on virtual chips under a condition, shape (chips, values) by path.

    The chips are no user's: their stream is another than that of the chips that `limpet.virtual_chip` names.
    """
    if not paths:
        return {}
    held = {path: jnp.asarray(leaves[path]) for path in paths}
    compared = {path: _compared(value.size) for path, value in held.items()}
    most = max(MOST_DRAWN // max(sum(value.size for value in held.values()), 1), 1)
    chips = [np.arange(start, min(start + most, VIRTUAL_CHIPS)) for start in range(0, VIRTUAL_CHIPS, most)]
    drawn = [_on_chips(recipe, numbers, held, compared, condition) for numbers in chips]
    return {path: np.concatenate([np.asarray(values[path], np.float64) for values in drawn]) for path in paths}


@partial(jax.jit, static_argnums=0)
def _on_chips(
    recipe: Recipe,
    chips: ArrayLike,
    leaves: Mapping[str, Any],
    compared: Mapping[str, ArrayLike],
    condition: Condition,
) -> dict[str, jax.Array]:
    own = stream(0, "beside measured chips", DEFAULT_GENERATOR)

    def on_chip(chip: jax.Array) -> dict[str, jax.Array]:
        values = recipe.weights_on_leaves(jax.random.fold_in(own, chip), dict(leaves), condition)
        return {path: jnp.ravel(value)[compared[path]] for path, value in values.items()}

    return jax.vmap(on_chip)(jnp.asarray(chips))


def _compared(size: int) -> NDArray[np.int32]:
    """The places of the values of a leaf that are compared with virtual chips'."""
    places = np.arange(size, dtype=np.int32)
    return places if size <= MOST_VALUES else np.random.default_rng(0).choice(places, MOST_VALUES, replace=False)


def _parted(
    chips: NDArray[np.float64], nominal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Measured / nominal, what it has in common on each chip, and what is left of it.

    Args:
        chips: values, shape (chips, values).
        nominal: the nominal values. Where all are 0, there are shifts in place of factors.
    """
    if not nominal.any():
        median = np.median(chips, axis=1)
        return chips, median, chips - median[:, None]
    chips = chips[:, nominal != 0] / nominal[nominal != 0]
    median = np.median(chips, axis=1)
    # Rounded, so that what is equal but for rounding in float32 is equal.
    return chips, median, np.round(chips / np.where(median == 0, 1, median)[:, None], 6)


def _among(median: NDArray[np.float64], rest: NDArray[np.float64]) -> tuple[float, float, AmongChips, AmongChips]:
    """The measured chip among virtual ones: distance and p-value, what is in common, and the spread about it.

    Each number is ranked among those of all chips, the measured one among them, and so is the smallest of a chip's
    ranks (of equal ones, by the next). If the measured chip is one of them, each order of them is as likely, so that
    p-values are exact, however the devices of a chip depend on each other.

    Args:
        median: what devices have in common, shape (chips,), of the measured one first.
        rest: what is left of each value, shape (chips, values).
    """
    from scipy import stats

    spread = rest.std(axis=1)
    places = (stats.rankdata(rest, axis=0) - 0.5) / len(rest)
    places.sort(axis=1)
    steps = np.arange(rest.shape[1] + 1) / rest.shape[1]
    distance = np.maximum((steps[1:] - places).max(axis=1), (places - steps[:-1]).max(axis=1))
    ranks = np.sort([_as_far(_outwards(median)), _as_far(_outwards(spread)), _as_far(-distance)], axis=0)
    order = ranks.astype(np.int64).T @ (len(rest) + 1) ** np.arange(2, -1, -1)
    p_value = float(_as_far(order)[0] / len(rest))
    return float(distance[0]), p_value, _number_among(median), _number_among(spread)


def _number_among(numbers: NDArray[np.float64]) -> AmongChips:
    """The first of some numbers, which is the measured chip's, among the others."""
    low, high = np.quantile(numbers[1:], (0.025, 0.975))
    p_value = _as_far(_outwards(numbers))[0] / len(numbers)
    return AmongChips(float(numbers[0]), float(low), float(high), float(p_value))


def _outwards(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many of some numbers are as far out as each of them, on its own side: few where it is far out."""
    from scipy import stats

    return np.minimum(stats.rankdata(numbers, "max"), stats.rankdata(-numbers, "max"))


def _as_far(numbers: NDArray[Any]) -> NDArray[np.float64]:
    """How many of some numbers are no larger than each of them."""
    from scipy import stats

    return stats.rankdata(numbers, "max")


def _of_ranks(chips: NDArray[np.float64]) -> tuple[float, float]:
    """The test of each value's rank among its own virtual ones; ties and gaps between ranks are filled by chance.

    Args:
        chips: values, shape (chips, values), of the measured chip first.
    """
    value, drawn = chips[0], chips[1:]
    equal = np.abs(drawn - value) <= SAME * np.abs(value)
    below, equal = ((drawn < value) & ~equal).sum(axis=0), equal.sum(axis=0)
    chance = np.random.default_rng(0).uniform(size=value.size)
    return _of_values((below + chance * (equal + 1)) / len(chips), lambda rank: rank)


def _of_values(values: NDArray[np.float64], cumulative: Any) -> tuple[float, float]:
    from scipy import stats

    result = stats.kstest(values, cumulative)
    return float(result.statistic), float(result.pvalue)


def _number(value: float, layout: str) -> str:
    """A number; "-" where there is none, in as many columns."""
    width = int(layout.partition(".")[0])
    return f"{'-':>{width}}" if math.isnan(value) else f"{value:{layout}}"
