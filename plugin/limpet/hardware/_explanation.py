"""How well an assumed hardware explains a measured chip."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .._checked import listing
from .._errors import PrototypeError
from ..draws._keys import virtual_chip
from ..results._condition import Condition
from ._mismatch import Recipe

VIRTUAL_CHIPS = 200
"""Among so many a value is ranked where its deviation has no density."""


@dataclass(frozen=True)
class LeafExplanation:
    """How well one leaf's deviation explains what was measured.

    Attributes:
        path: the path of the leaf.
        assumed: the deviation and its limits, in words.
        count: how many values were compared; those of nominal value 0 have no measured / nominal, and are left out
            where a deviation has a density.
        spread: the root mean square of measured / nominal - 1; NaN where no nominal value is other than 0.
        sigma: the assumed relative standard deviation; NaN where the deviation has none.
        log_likelihood: the log-likelihood of measured / nominal, for each value on average; NaN where there is no
            density, and -infinity where a value cannot be.
        expected: the log-likelihood that there would be on average if the assumption held.
        distance: the Kolmogorov-Smirnov distance between measured and assumed values.
        p_value: the probability with which values of the assumed distribution are so far from it.
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


@dataclass(frozen=True)
class Explanation:
    """How well an assumed hardware explains a measured chip: `print` it.

    Attributes:
        chip: the chip's name.
        leaves: an explanation for each leaf that was measured and deviates, by path.
        unmeasured: the paths of leaves that deviate and were not measured.
    """

    chip: str
    leaves: Mapping[str, LeafExplanation]
    unmeasured: tuple[str, ...]

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
        return "\n".join(lines)


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
    found = {}
    for path, law in laws.items():
        nominal, value = (np.asarray(array, np.float64).ravel() for array in (leaves[path], measured[path]))
        there = nominal != 0
        factors = value[there] / nominal[there]
        spread = float(np.sqrt(((factors - 1) ** 2).mean())) if factors.size else math.nan
        sigma = recipe.sigma(path)
        sigma = math.nan if sigma is None else sigma * scale
        if law is None:
            numbers = (value.size, spread, sigma, math.nan, math.nan, *_of_ranks(value, drawn[path]))
        elif not factors.size:
            raise PrototypeError(f"leaf '{path}': all nominal values are 0, and deviate by a fraction of that")
        else:
            likelihood = float(law.logpdf(factors).mean())
            numbers = (factors.size, spread, sigma, likelihood, -float(law.entropy()), *_of_values(factors, law.cdf))
        found[path] = LeafExplanation(path, rules[path].label, *numbers)
    return Explanation(chip, found, tuple(path for path in recipe.paths if path not in measured))


def _virtual(
    recipe: Recipe, leaves: Mapping[str, Any], paths: list[str], condition: Condition
) -> dict[str, NDArray[np.float64]]:
    """The values of some leaves on virtual chips under a condition, shape (chips, values) by path."""
    if not paths:
        return {}
    held = {path: jnp.asarray(leaves[path]) for path in paths}
    keys = jax.vmap(lambda chip: virtual_chip(0, chip))(jnp.arange(VIRTUAL_CHIPS))
    values = _on_chips(recipe, keys, held, condition)
    return {path: np.asarray(value, np.float64).reshape(VIRTUAL_CHIPS, -1) for path, value in values.items()}


@partial(jax.jit, static_argnums=0)
def _on_chips(recipe: Recipe, keys: jax.Array, leaves: Mapping[str, Any], condition: Condition) -> dict[str, Any]:
    return jax.vmap(lambda key: recipe.on_leaves(key, dict(leaves), condition))(keys)


def _of_ranks(value: NDArray[np.float64], drawn: NDArray[np.float64]) -> tuple[float, float]:
    """The test of each value's rank among its own virtual ones; ties and gaps between ranks are filled by chance."""
    below, equal = (drawn < value).sum(axis=0), (drawn == value).sum(axis=0)
    chance = np.random.default_rng(0).uniform(size=value.size)
    return _of_values((below + chance * (equal + 1)) / (len(drawn) + 1), lambda rank: rank)


def _of_values(values: NDArray[np.float64], cumulative: Any) -> tuple[float, float]:
    from scipy import stats

    result = stats.kstest(values, cumulative)
    return float(result.statistic), float(result.pvalue)


def _number(value: float, layout: str) -> str:
    """A number; "-" where there is none, in as many columns."""
    width = int(layout.partition(".")[0])
    return f"{'-':>{width}}" if math.isnan(value) else f"{value:{layout}}"
