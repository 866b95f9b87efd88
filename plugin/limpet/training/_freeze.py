"""Frozen mismatch: one virtual chip, drawn before compilation."""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import jax
from jax.typing import ArrayLike

from .._checked import shown, whole
from .._errors import LimpetError
from .._jax import is_traced
from ..draws._generator import DEFAULT_GENERATOR, MAX_SEED, Generator, checked_generator
from ..draws._keys import chip_key
from ..draws._walked_chip import WalkedChip
from ..hardware._fingerprint import digest, shapes_of
from ..hardware._hardware import Hardware
from ..hardware._measured_chip import MeasuredChip
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ..results._condition import Condition, condition_of
from ..results._corner import Corner

_MADE: dict[int, weakref.ref[Any]] = {}
"""Arrays that `freeze` made, by their place, for as long as they live: training must start from nominal values."""


def freeze(
    model: Any,
    mismatch: Recipe | Hardware | None = None,
    *,
    chip: int | MeasuredChip | WalkedChip | Corner = 0,
    seed: int | None = None,
    generator: Generator | None = None,
    condition: Condition | ArrayLike | None = None,
) -> Any:
    """Build one virtual chip: the model with that chip's values, which `jit` then holds as constants.

    The chip follows from (seed, chip) and the leaf paths alone, and is the one that a robustness curve of that seed
    shows under that number, under the same condition. Draws start from nominal values: freezing a Rockpool network that
    is frozen already gives the other chip, not one chip on top of another. (A plain tree cannot tell; keep its nominal
    values.)

    A configuration has a method of its own, `config.freeze(model)`, which takes parts, seed, chip and scale from
    `training.frozen`. A `MismatchCallback` needs no frozen model: it draws the chip that its configuration names.

    Args:
        model: a Rockpool JAX module, a Flax nnx module, or any pytree that the recipe describes.
        mismatch: a recipe, or the hardware, of which all parts are frozen. A measured chip needs none; where one is
            given, leaves that deviate on it and were not measured are said.
        chip: the number of the chip; or a `limpet.MeasuredChip`, whose values are then taken, and which has no seed,
            generator and condition; or a `limpet.WalkedChip`, which has a condition alone; or a `limpet.Corner`, which
            holds seed, generator and condition.
        seed: the seed of the chip; 0 if left out.
        generator: the generator of the chip; "fast" if left out.
        condition: the condition under which the chip is looked at: `limpet.Condition(time="1 year")` for the chip that
            a curve over times shows after a year; or a number, the factor on every deviation. 1 if left out.

    Returns:
        A new network, or a new tree; the argument is not changed.

    Raises:
        LimpetError: seed or chip is no integer from 0 to 2**32 - 1, there is no such generator or condition, `mismatch`
            is neither, or a measured chip is given a seed, generator or condition.
        PrototypeError: recipe and model do not fit.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"kernel": jnp.ones(3), "bias": jnp.ones(3)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("bias", True)), limpet.Gaussian(sigma=0.1))
        >>> chip = freeze(params, mismatch, seed=0, chip=17)
        >>> chip["kernel"] is params["kernel"], bool((chip["bias"] == params["bias"]).any())
        (True, False)
    """
    if isinstance(chip, MeasuredChip):
        others = {"seed": seed, "generator": generator, "condition": condition}
        return _frozen_as_measured(model, mismatch, chip, others)
    recipe = _checked(mismatch, model)
    if recipe.has_products:
        raise LimpetError(
            "mismatch: this hardware has products, which are no values of the model but act where it is computed: "
            "limpet.on_chip(fn, mismatch, chip=...) is a function on one chip, weights, converters and all; or freeze "
            "the weights alone, of hardware.without_products()"
        )
    if isinstance(chip, WalkedChip):
        _require_none_of({"seed": seed, "generator": generator}, f"chip {chip} names its own walk")
        key = chip.key
    elif isinstance(chip, Corner):
        others = {"seed": seed, "generator": generator, "condition": condition}
        _require_none_of(others, f"the corner '{chip.name}' names seed, generator and condition itself")
        chip.require_of(digest(recipe, shapes_of(adapter_of(model).nominal(model))))
        key, condition = chip_key(chip.seed, chip.chip, chip.generator), chip.condition
    else:
        seed, chip = whole("seed", 0 if seed is None else seed, 0, MAX_SEED), whole("chip", chip, 0, MAX_SEED)
        key = chip_key(seed, chip, checked_generator(generator or DEFAULT_GENERATOR))
    checked, adapter = condition_of(1.0 if condition is None else condition), adapter_of(model)
    adapter.require_selected(model, recipe.paths)
    frozen_model = adapter.frozen(model, lambda leaves: recipe.on_leaves(key, leaves, checked))
    _remember(frozen_model, model, recipe.paths)
    return frozen_model


def _frozen_as_measured(model: Any, mismatch: Any, chip: MeasuredChip, others: Mapping[str, Any]) -> Any:
    _require_none_of(others, f"chip {chip.name} was measured")
    adapter = adapter_of(model)
    measured = chip.measured(adapter.leaves(model))
    if mismatch is not None:
        chip.warn_of_unmeasured(_checked(mismatch, model), adapter.leaves(model))
    frozen_model = adapter.frozen(model, chip.on_leaves)
    _remember(frozen_model, model, measured)
    return frozen_model


def _require_none_of(others: Mapping[str, Any], why: str) -> None:
    if given := [name for name, value in others.items() if value is not None]:
        raise LimpetError(f"{given[0]} = {others[given[0]]!r}: {why}, and has no {given[0]} beside; leave it out")


def _checked(mismatch: Any, model: Any) -> Recipe:
    if isinstance(mismatch, Hardware):
        return mismatch.on(model)
    if isinstance(mismatch, Recipe):
        return mismatch
    own = "; a configuration freezes what it names itself: config.freeze(model)" if hasattr(mismatch, "freeze") else ""
    raise LimpetError(
        f"mismatch = {shown(mismatch)}: allowed are the hardware, and a recipe such as limpet.Mismatch(prototype, "
        f"limpet.Gaussian(0.1)){own}"
    )


def require_nominal(model: Any, recipe: Recipe) -> None:
    """Refuse a model whose values are a chip's already, where it cannot be looked through: draws would compound.

    Raises:
        LimpetError: names the leaves.
    """
    leaves = adapter_of(model).leaves(model)
    made = [path for path in recipe.paths if path in leaves and _was_made(leaves[path])]
    if made:
        raise LimpetError(
            f"{listing(made)}: these values are a virtual chip's already, made by limpet.freeze, and would deviate a "
            f"second time: hand over the nominal model, and name the chip by chip= or training.frozen"
        )


def _remember(chip: Any, model: Any, paths: Iterable[str]) -> None:
    """Remember which arrays belong to a chip. Rockpool modules need no entry: they keep their nominal values."""
    values, nominal = adapter_of(chip).leaves(chip), adapter_of(model).leaves(model)
    for path in paths:
        leaf = values.get(path)
        if isinstance(leaf, jax.Array) and not is_traced(leaf) and leaf is not nominal.get(path):
            place = id(leaf)
            _MADE[place] = weakref.ref(leaf, lambda _, place=place, made=_MADE: made.pop(place, None))


def _was_made(leaf: Any) -> bool:
    reference = _MADE.get(id(leaf))
    return reference is not None and reference() is leaf
