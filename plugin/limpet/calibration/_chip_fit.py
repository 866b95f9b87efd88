"""One chip, calibrated: what the functions that calibrate chips have in common, under the engine that measures them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._errors import LimpetError
from ..hardware._measured_chip import MeasuredChip
from ..hardware._mismatch import Recipe
from ..leaves._adapter import Leaves
from ..leaves._adapters import adapter_of
from ..measure._measurement import Chip
from ..results._condition import Condition

Given = dict[str, jax.Array]
"""What a chip is given, by leaf path; gains under the path of the leaf with `/gain` behind it."""
TreeOf = Callable[[Given], Any]
"""From what a chip is given to the tree that stands for the network on that chip, sharing no state with another."""

GAIN = "/gain"
BEFORE, AFTER, GIVEN = "before ", "after ", "given "
"""What the names of a chip's results begin with."""


class Procedure(Protocol):
    """How one chip is calibrated: a `limpet.GradientFit` or a `limpet.StatisticsFit`."""

    @property
    def batches(self) -> Iterable[Any]:
        """The data to calibrate on."""
        ...

    @property
    def steps(self) -> int:
        """The number of steps."""
        ...

    @property
    def trainable(self) -> Sequence[str]:
        """Path globs of the leaves that a chip is given anew."""
        ...

    @property
    def gains(self) -> Sequence[str]:
        """Path globs of weights whose outputs get a gain."""
        ...

    @property
    def levels(self) -> Mapping[str, ArrayLike] | None:
        """The only values that a chip can be given, by path glob."""
        ...

    def step(self, tree_of: TreeOf, given: Given, state: Any, batch: Any) -> tuple[Given, Any]:
        """What a chip is given after one step more.

        Args:
            tree_of: the network on this chip.
            given: the values that the chip is given so far.
            state: the state of the fit.
            batch: the batch of this step.
        """
        ...

    def initial(self, given: Given) -> Any:
        """The state before the first step, arrays."""
        ...


class ChipValues(Protocol):
    """What chips make of a network's values."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the leaves that deviate."""
        ...

    @property
    def noisy_reads(self) -> bool:
        """Whether each read of a chip gives other values."""
        ...

    def on_chip(self, chip: Chip, condition: Condition, measured: Leaves) -> Callable[[Leaves], Leaves]:
        """From nominal values by leaf path to those on a chip, for all leaves or some."""
        ...

    def behind_gains(self, chip: Chip, condition: Condition, nominal: Leaves, held: Leaves, gains: Leaves) -> Leaves:
        """What a chip computes with: its values, and digital gains behind its outputs."""
        ...

    def limited(self, path: str, value: jax.Array) -> jax.Array:
        """The nearest values that a chip can be given for a leaf."""
        ...


@dataclass(frozen=True)
class VirtualValues:
    """What virtual chips make of values: a recipe's draws."""

    recipe: Recipe

    @property
    def paths(self) -> tuple[str, ...]:
        return self.recipe.paths

    @property
    def noisy_reads(self) -> bool:
        return self.recipe.noisy_reads

    def on_chip(self, chip: Chip, condition: Condition, measured: Leaves) -> Callable[[Leaves], Leaves]:
        def drawn(leaves: Leaves) -> Leaves:
            deviating = any(path in leaves for path in self.paths)
            if not deviating:
                return leaves
            return self.recipe.weights_on_leaves(chip.key, leaves, chip.under(condition).checked())

        return drawn

    def behind_gains(self, chip: Chip, condition: Condition, nominal: Leaves, held: Leaves, gains: Leaves) -> Leaves:
        rules = self.recipe.rules
        exact = [path for path in gains if not ((rule := rules[path]) and rule.product and not rule.product.ideal)]
        held = held | {path: held[path] * gains[path] for path in exact}
        if not self.recipe.has_products:
            return held
        return self.recipe.with_products(chip.key, nominal, held, chip.under(condition).checked(), gains)

    def limited(self, path: str, value: jax.Array) -> jax.Array:
        rule = self.recipe.rules.get(path)
        return value if rule is None or rule.limits is None else jnp.clip(value, *rule.limits.ends(value.dtype))


@dataclass(frozen=True)
class MeasuredValues:
    """What measured chips make of values.

    Attributes:
        paths: the paths of the leaves that were measured on one of them.
        factors: the paths of those that chips are given anew: there, what was measured is a factor.
    """

    paths: tuple[str, ...]
    factors: tuple[str, ...]

    @property
    def noisy_reads(self) -> bool:
        return False

    def on_chip(self, chip: Chip, condition: Condition, measured: Leaves) -> Callable[[Leaves], Leaves]:
        own = {path: values[chip.number] for path, values in measured.items()}

        def held(leaves: Leaves) -> Leaves:
            return leaves | {
                path: leaves[path] * value if path in self.factors else value
                for path, value in own.items()
                if path in leaves
            }

        return held

    def behind_gains(self, chip: Chip, condition: Condition, nominal: Leaves, held: Leaves, gains: Leaves) -> Leaves:
        return held | {path: held[path] * gain for path, gain in gains.items()}

    def limited(self, path: str, value: jax.Array) -> jax.Array:
        return value


@dataclass(frozen=True)
class ChipFit:
    """The calibration of one chip, as `Measurement.on_chip` has it.

    A chip whose reads are noisy is fitted at reads that move on from step to step, and measured before and after at the
    read of its condition, which no step has met.

    Attributes:
        fit: the way in which the chip is fitted.
        values: the values that the chip makes of nominal ones.
        trainable: the paths of the leaves that it is given anew.
        gains: the axes that count inputs, by path of each leaf whose outputs get a gain.
        levels: the values between which the chip chooses, increasing, by path of a leaf that it is given anew.
    """

    fit: Procedure
    values: ChipValues
    trainable: tuple[str, ...]
    gains: Mapping[str, tuple[int, ...]]
    levels: Mapping[str, tuple[float, ...]]

    @property
    def beside(self) -> frozenset[str]:
        """The names of results that are no metrics."""
        return frozenset(f"{GIVEN}{path}" for path in (*self.trainable, *(f"{path}{GAIN}" for path in self.gains)))

    def __call__(
        self, metric: Callable[[Any], dict[str, jax.Array]], chip: Chip, tree: Any, case: Condition, extra: Any
    ) -> Given:
        batches, steps, measured = extra
        nominal = adapter_of(tree).leaves(tree)
        whole, structure = adapter_of(tree).flattened(tree)

        def network_at(condition: Condition) -> TreeOf:
            on_chip = self.values.on_chip(chip, condition, measured)
            held = on_chip(nominal)  # once: what is not given anew stays as it is

            def tree_of(given: Given) -> Any:
                values = held | on_chip({path: given[path] for path in self.trainable})
                gains = {path: jnp.expand_dims(given[f"{path}{GAIN}"], inputs) for path, inputs in self.gains.items()}
                said = nominal | {path: given[path] for path in self.trainable}
                values = self.values.behind_gains(chip, condition, said, values, gains)
                return structure.unflatten([values.get(path, leaf) for path, leaf in whole.items()])

            return tree_of

        tree_of = network_at(case)

        def limited(given: Given) -> Given:
            return given | {path: self.values.limited(path, given[path]) for path in self.trainable}

        def settable(given: Given) -> Given:
            return given | {path: nearest(given[path], levels) for path, levels in self.levels.items()}

        def step(number: jax.Array, fit: tuple[Given, Any]) -> tuple[Given, Any]:
            batch = jax.tree.map(lambda stacked: stacked[number % len(stacked)], batches)
            read = case.read + jnp.uint32(1) + number.astype(jnp.uint32)
            seen = network_at(case._replace(read=read)) if self.values.noisy_reads else tree_of
            given, state = self.fit.step(seen, *fit, batch)
            return limited(given), state

        given = {path: jnp.asarray(nominal[path]) for path in self.trainable}
        for path, inputs in self.gains.items():
            outputs = tuple(size for axis, size in enumerate(nominal[path].shape) if axis not in inputs)
            given[f"{path}{GAIN}"] = jnp.ones_like(nominal[path], shape=outputs)
        given = limited(given)
        before = metric(tree_of(settable(given)))
        fitted, _ = jax.lax.fori_loop(0, steps, step, (given, self.fit.initial(given)))
        fitted = settable(fitted)
        after = metric(tree_of(fitted))
        results = {f"{BEFORE}{name}": value for name, value in before.items()}
        results |= {f"{AFTER}{name}": value for name, value in after.items()}
        return results | {f"{GIVEN}{path}": value for path, value in fitted.items()}


def nearest(values: jax.Array, levels: Sequence[float]) -> jax.Array:
    """The nearest of some increasing levels to each value."""
    known = jnp.asarray(levels, values.dtype)
    above = jnp.clip(jnp.searchsorted(known, values), 1, len(levels) - 1)
    low, high = known[above - 1], known[above]
    return jnp.where(values - low <= high - values, low, high)


def stacked_values(chips: Sequence[MeasuredChip], leaves: Leaves, trainable: Sequence[str]) -> dict[str, jax.Array]:
    """What measured chips hold, by path, stacked along a leading axis; of leaves to be given anew, factors.

    Raises:
        LimpetError: a chip holds values for a leaf that is to be given anew.
        PrototypeError: a chip does not fit the network.
    """
    # Of a leaf of ones, a chip that has factors holds these.
    units = leaves | {path: jnp.ones_like(leaves[path]) for path in trainable}
    measured = [chip.measured(units) for chip in chips]
    stacked = {}
    for path in (path for path in leaves if any(path in values for values in measured)):
        absent = units[path]
        rows = [jnp.asarray(values.get(path, absent), jnp.result_type(absent)) for values in measured]
        if path in trainable:
            rows = [_factor(chip, path, row, leaves[path]) for chip, row in zip(chips, rows, strict=True)]
        stacked[path] = jnp.stack(rows)
    return stacked


def _factor(chip: MeasuredChip, path: str, held: jax.Array, nominal: Any) -> jax.Array:
    if path not in chip.values:
        return held
    if not bool((held == nominal).all()):
        raise LimpetError(
            f"chip {chip.name}: holds values for leaf '{path}', which is to be given anew: they say where its devices "
            f"are when they are set to the nominal values, not where they would be when set to others; give factors, "
            f"MeasuredChip(name, factors={{'{path}': measured / nominal}}), or leave it out of trainable"
        )
    return jnp.ones_like(held)
