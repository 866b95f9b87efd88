"""How often chips would leave the limits of their hardware."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import LimpetError
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number, stream
from ..draws._strength import checked_strength
from ..hardware._hardware import Hardware
from ..hardware._limits import Limits
from ..hardware._mismatch import Recipe
from ..leaves._adapter import Leaves
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ._beyond_limits import beyond_on_chips, limits_of
from ._measurement import check_count


@dataclass(frozen=True)
class LeafLimits:
    """How often the values of one leaf would leave its limits.

    Attributes:
        limits: of the leaf.
        share: of all values on all chips, how many would be beyond the limits.
        chips: on how many chips a value would be.
        smallest: of all values, without limits; NaN where a value is.
        largest: likewise.
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
        leaves: by path, for each leaf that has limits.
        chips: how many virtual chips were drawn.
        chips_beyond: on how many of them a value of any leaf would be beyond its limits.
        seed: of the chips.
        scale: of the deviations.
    """

    leaves: Mapping[str, LeafLimits]
    chips: int
    chips_beyond: int
    seed: int
    scale: float

    def __str__(self) -> str:
        header = ("leaf", "beyond", "chips", "smallest", "largest", "limits")
        rows = [
            (path, f"{of.share:.2%}", f"{of.chips}", f"{of.smallest:.3g}", f"{of.largest:.3g}", of.limits.label()[7:])
            for path, of in self.leaves.items()
        ]
        widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header) - 1)]
        lines = [
            f"{self.chips_beyond} of {self.chips} virtual chips of seed {self.seed} would leave their limits at scale "
            f"{self.scale:g}"
        ]
        for name, *numbers, limits in (header, *rows):
            cells = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))
            lines.append(f"{name:<{widths[0]}}  {'  '.join(cells)}  {limits}")
        return "\n".join(lines)


def limits_report(
    mismatch: Recipe | Hardware,
    model: Any,
    *,
    chips: int = 100,
    seed: int = 0,
    scale: float = 1.0,
    generator: Generator = DEFAULT_GENERATOR,
) -> LimitsReport:
    """Count how many values would be beyond the limits of their leaves, whatever the limits' policies are.

    Args:
        mismatch: the recipe or the hardware.
        model: whose values deviate: a Rockpool JAX module, a Flax nnx module, or a tree of nominal values.
        chips: how many virtual chips are drawn.
        seed: of the chips.
        scale: factor on every deviation.
        generator: what chips are drawn with.

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
    recipe = mismatch.on(model) if isinstance(mismatch, Hardware) else mismatch
    if not isinstance(recipe, Recipe):
        raise LimpetError(f"mismatch = {mismatch!r}: give limpet.Hardware(...) or a recipe, hardware.on(model)")
    count, seed = check_count("chips", chips), checked_number(seed, "seed")
    scale, generator = checked_strength(scale, "scale"), checked_generator(generator)
    limits = limits_of(recipe)
    if not limits:
        raise LimpetError(
            f"no leaf has limits; give them to a part of the hardware, limpet.Part(leaves, deviation, "
            f"limpet.Limits(low, high)). What deviates: {listing(recipe.paths)}"
        )
    leaves = adapter_of(model).leaves(model)
    values = {path: jnp.asarray(leaves[path]) for path in limits if path in leaves and np.size(leaves[path])}
    counted = _counted(recipe, values, stream(seed, "chip", generator), scale, range(count))
    rows = {
        path: LeafLimits(
            limits[path],
            float(beyond.sum() / (count * values[path].size)),
            int((beyond > 0).sum()),
            float(smallest.min()),
            float(largest.max()),
        )
        for path, (beyond, smallest, largest) in ((path, counted[path]) for path in values)
    }
    on_any = sum((beyond for beyond, *_ in counted.values()), np.zeros(count, int))
    return LimitsReport(rows, count, int((on_any > 0).sum()), seed, scale)


def require_within(
    recipe: Recipe, tree: Any, scales: Iterable[float], chips: int, seed: int, generator: Generator, antithetic: bool
) -> None:
    """Refuse to measure chips whose values are beyond limits that say so (policy "error").

    Args:
        recipe: who deviates, and how.
        tree: nominal values, or a module.
        scales: at which chips are measured.
        chips: how many of them.
        seed: of the chips.
        generator: of the chips.
        antithetic: whether every second chip is the mirror image of the one before.

    Raises:
        LimpetError: names the leaf, the first such chip, and the scale.
    """
    strict = {path: limits for path, limits in limits_of(recipe).items() if limits.policy == "error"}
    leaves = adapter_of(tree).leaves(tree) if strict else {}
    values = {path: jnp.asarray(leaves[path]) for path in strict if path in leaves and np.size(leaves[path])}
    if not values:
        return
    key = stream(seed, "chip", generator)
    for scale in scales:
        for mirrored in (False, True) if antithetic else (False,):
            numbers = range(chips // 2 if antithetic else chips)
            for path, (beyond, smallest, largest) in _counted(recipe, values, key, scale, numbers, mirrored).items():
                if beyond.any():
                    chip = int(np.argmax(beyond > 0))
                    raise LimpetError(
                        f"leaf '{path}': {beyond[chip]} of {values[path].size} values of chip {chip}"
                        f"{', mirrored,' if mirrored else ''} are beyond their {strict[path].label()} at scale "
                        f"{scale:g}; they go from {smallest[chip]:.6g} to {largest[chip]:.6g}. Measure at smaller "
                        f"strengths, or take policy 'clip' or 'truncate'; limpet.limits_report counts such chips"
                    )


def _counted(
    recipe: Recipe, values: Leaves, key: jax.Array, scale: float, numbers: range, mirrored: bool = False
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """By path, of each chip: how many values are beyond their limits, the smallest and the largest one."""
    case = {"scale": jnp.asarray(scale, jnp.result_type(float))}
    counts = beyond_on_chips(recipe, values, key, case, jnp.asarray(numbers, jnp.uint32), mirrored)
    return jax.tree.map(np.asarray, counts)
