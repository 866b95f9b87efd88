"""How often chips would leave the limits of their hardware."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import LimpetError
from ..hardware._hardware import Hardware
from ..hardware._limits import Limits
from ..hardware._mismatch import Recipe
from ..leaves._adapter import Leaves
from ..leaves._paths import listing
from ..results._condition import UNCHANGED, Condition, condition_label, known_condition
from ._beyond_limits import beyond_on_chips, limited_values, limits_of
from ._chips import HUNDRED, Chips, counted_chips


@dataclass(frozen=True)
class LeafLimits:
    """How often the values of one leaf would leave its limits.

    Attributes:
        limits: the limits of the leaf.
        share: the fraction of all values on all chips that would be beyond the limits.
        chips: the number of chips on which a value would be.
        smallest: the smallest of all values, without limits; NaN where a value is.
        largest: the largest of all values, without limits; NaN where a value is.
    """

    limits: Limits
    share: float
    chips: int
    smallest: float
    largest: float


@dataclass(frozen=True)
class LimitsReport:
    """What `limpet.limits_report` counts; prints as a table.

    Attributes:
        leaves: the counts of each leaf that has limits, by path.
        chips: the number of virtual chips that were drawn.
        chips_beyond: the number of those on which a value of any leaf would be beyond its limits.
        seed: the seed of the chips.
        condition: the condition of the chips.
    """

    leaves: Mapping[str, LeafLimits]
    chips: int
    chips_beyond: int
    seed: int
    condition: Condition

    def __str__(self) -> str:
        header = ("leaf", "beyond", "chips", "smallest", "largest", "limits")
        rows = [
            (path, f"{of.share:.2%}", f"{of.chips}", f"{of.smallest:.3g}", f"{of.largest:.3g}", of.limits.label()[7:])
            for path, of in self.leaves.items()
        ]
        widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header) - 1)]
        lines = [
            f"{self.chips_beyond} of {self.chips} virtual chips of seed {self.seed} would leave their limits at "
            f"{condition_label(self.condition)}"
        ]
        for name, *numbers, limits in (header, *rows):
            cells = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))
            lines.append(f"{name:<{widths[0]}}  {'  '.join(cells)}  {limits}")
        return "\n".join(lines)


def limits_report(
    mismatch: Recipe | Hardware,
    model: Any,
    *,
    chips: int | Chips = HUNDRED,
    condition: Condition | float = UNCHANGED,
) -> LimitsReport:
    """Count how many values would be beyond the limits of their leaves, whatever the limits' policies are.

    Args:
        mismatch: the recipe or the hardware.
        model: the network whose values deviate: a Rockpool JAX module, a Flax nnx module, or a tree of nominal values.
        chips: the virtual chips that are drawn: their number, or `limpet.Chips`.
        condition: the condition of the chips: a `limpet.Condition`, or a number, which is the scale.

    Raises:
        LimpetError: no leaf has limits, or an argument is not one of those allowed.
        PrototypeError: recipe and tree do not fit.

    Examples:
        >>> import limpet
        >>> currents = limpet.Part("current", limpet.Gaussian(sigma=0.5), limpet.Limits(low=0.0))
        >>> network = {"current": jnp.full(1000, 2.0)}
        >>> report = limits_report(limpet.Hardware(currents=currents), network, chips=10)
        >>> print(report)
        10 of 10 virtual chips of seed 0 would leave their limits at scale 1
        leaf     beyond  chips  smallest  largest  limits
        current   2.31%     10     -1.74     6.07  0 to none (clip)
    """
    chips, condition = counted_chips(chips, "limits_report"), known_condition(condition)
    recipe = mismatch.on(model) if isinstance(mismatch, Hardware) else mismatch
    if not isinstance(recipe, Recipe):
        raise LimpetError(f"mismatch = {mismatch!r}: give limpet.Hardware(...) or a recipe, hardware.on(model)")
    limits = limits_of(recipe)
    if not limits:
        raise LimpetError(
            f"no leaf has limits; give them to a part of the hardware, limpet.Part(leaves, deviation, "
            f"limpet.Limits(low, high)). What deviates: {listing(recipe.paths)}"
        )
    values = limited_values(limits, model)
    counted = [counts for _, counts in _counted(recipe, values, chips, condition)]
    columns = {
        path: tuple(np.stack(part) for part in zip(*(of[path] for of in counted), strict=True)) for path in values
    }
    rows = {
        path: LeafLimits(
            limits[path],
            float(beyond.sum() / (chips.most * values[path].size)),
            int((beyond > 0).sum()),
            float(smallest.min()),
            float(largest.max()),
        )
        for path, (beyond, smallest, largest) in columns.items()
    }
    on_any = np.any([beyond > 0 for beyond, *_ in columns.values()], axis=0)
    return LimitsReport(rows, chips.most, int(on_any.sum()), chips.seed, condition)


def require_within(recipe: Recipe, tree: Any, conditions: Iterable[Condition], chips: Chips) -> None:
    """Refuse to measure chips whose values are beyond limits that say so (policy "error").

    Args:
        recipe: who deviates, and how.
        tree: the nominal values, or a module.
        conditions: the conditions under which chips are measured.
        chips: the virtual chips.

    Raises:
        LimpetError: names the leaf, the first such chip, and the condition.
    """
    strict = {path: limits for path, limits in limits_of(recipe).items() if limits.policy == "error"}
    values = limited_values(strict, tree)
    for condition in conditions if values else ():
        for mirrored, counted in _counted(recipe, values, chips, condition):
            for path, (beyond, smallest, largest) in counted.items():
                if beyond.any():
                    chip = int(np.argmax(beyond > 0))
                    raise LimpetError(
                        f"leaf '{path}': {beyond[chip]} of {values[path].size} values of chip {chip}"
                        f"{', mirrored,' if mirrored else ''} are beyond their {strict[path].label()} at "
                        f"{condition_label(condition)}; they go from {smallest[chip]:.6g} to {largest[chip]:.6g}. "
                        f"Measure at smaller strengths, or take policy 'clip' or 'truncate'; limpet.limits_report "
                        f"counts such chips"
                    )


def _counted(
    recipe: Recipe, values: Leaves, chips: Chips, condition: Condition
) -> Iterator[tuple[bool, dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]]:
    """Of the chips, and of their mirror images where there are such, by path: see `beyond_on_chips`."""
    numbers = jnp.arange(chips.most // 2 if chips.antithetic else chips.most, dtype=jnp.uint32)
    for mirrored in (False, True) if chips.antithetic else (False,):
        seen = condition._replace(mirrored=bool(condition.mirrored) != mirrored)
        yield mirrored, jax.tree.map(np.asarray, beyond_on_chips(recipe, values, chips.key, seen, numbers))
