"""Frozen mismatch: one virtual chip, drawn before compilation."""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from .._errors import LimpetError, warn_user
from .._jax import is_traced
from ..config._config import Config
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number, chip_key
from ..draws._strength import checked_strength
from ..hardware._condition import Condition
from ..hardware._hardware import Hardware
from ..hardware._measured_chip import MeasuredChip
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing

_MADE: dict[int, weakref.ref[Any]] = {}
"""Arrays that `freeze` made, by their place, for as long as they live: training must start from nominal values."""


def freeze(
    model: Any,
    mismatch: Recipe | Hardware | Config | None = None,
    seed: int | None = None,
    chip: int | MeasuredChip | None = None,
    generator: Generator | None = None,
    *,
    scale: float | None = None,
) -> Any:
    """Build one virtual chip: the model with that chip's values, which `jit` then holds as constants.

    The chip follows from (seed, chip) and the leaf paths alone, and is the one that a robustness curve of that seed
    shows under that number, at that scale. Draws start from nominal values: freezing a Rockpool network that is frozen
    already gives the other chip, not one chip on top of another. (A plain tree cannot tell; keep its nominal values.)

    A `MismatchCallback` needs no frozen model: it draws the chip that its configuration names.

    Args:
        model: a Rockpool JAX module, a Flax nnx module, or any pytree that the recipe describes.
        mismatch: a recipe or the hardware, of which all parts are frozen; or a whole configuration, of which the parts
            of `training.frozen` are, with its seed, chip, scale and generator. A measured chip needs none; where one is
            given, leaves that deviate on it and were not measured are said.
        seed: overrides the configuration's; default 0.
        chip: overrides the configuration's; default 0. Or a `limpet.MeasuredChip`, whose values are then taken; it has
            no seed, generator and scale.
        generator: overrides the configuration's; default "fast".
        scale: overrides the configuration's; default 1.

    Returns:
        A new network, or a new tree; the argument is not changed.

    Raises:
        LimpetError: seed or chip is no integer from 0 to 2**32 - 1, there is no such generator, `mismatch` is none of
            these, the configuration names no chip, or a measured chip is given a seed, generator or scale.
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
        return _frozen_as_measured(model, mismatch, chip, {"seed": seed, "generator": generator, "scale": scale})
    if isinstance(mismatch, Config):
        frozen = mismatch.training and mismatch.training.frozen
        if not frozen:
            raise LimpetError("training.frozen: the configuration has none, so there is no chip to freeze")
        if frozen.chip == "fresh" and chip is None:
            raise LimpetError(
                "training.frozen.chip = 'fresh': the callback draws a fresh chip at every step, so there is none to "
                "freeze; name one by chip="
            )
        recipe = mismatch.hardware.on(model, only=mismatch.frozen_parts)
        defaults = mismatch.frozen_seed, frozen.chip, mismatch.generator, frozen.scale
    else:
        recipe, defaults = mismatch.on(model) if isinstance(mismatch, Hardware) else mismatch, (0, 0, None, 1.0)
    recipe = _checked(recipe)
    seed = checked_number(defaults[0] if seed is None else seed, "seed")
    chip = checked_number(defaults[1] if chip is None else chip, "chip")
    generator = checked_generator(generator or defaults[2] or DEFAULT_GENERATOR)
    strength = jnp.asarray(checked_strength(defaults[3] if scale is None else scale, "scale"), jnp.result_type(float))
    key, adapter = chip_key(seed, chip, generator), adapter_of(model)
    adapter.require_selected(model, recipe.paths)
    frozen_model = adapter.frozen(model, lambda leaves: recipe.on_leaves(key, leaves, Condition(strength).checked()))
    _remember(frozen_model, model, recipe.paths)
    return frozen_model


def _frozen_as_measured(model: Any, mismatch: Any, chip: MeasuredChip, others: Mapping[str, Any]) -> Any:
    if given := [name for name, value in others.items() if value is not None]:
        raise LimpetError(
            f"{given[0]} = {others[given[0]]!r}: chip {chip.name} was measured, and has no {given[0]}; leave it out"
        )
    adapter = adapter_of(model)
    measured = chip.measured(adapter.leaves(model))
    if mismatch is not None:
        hardware = mismatch.hardware if isinstance(mismatch, Config) else mismatch
        recipe = _checked(hardware.on(model) if isinstance(hardware, Hardware) else hardware)
        if missing := [path for path in recipe.paths if path not in measured]:
            warn_user(
                f"chip {chip.name}: {listing(missing, limit=10)} deviate on this hardware and were not measured: they "
                f"stay nominal"
            )
    frozen_model = adapter.frozen(model, chip.on_leaves)
    _remember(frozen_model, model, measured)
    return frozen_model


def _checked(recipe: Any) -> Recipe:
    if not isinstance(recipe, Recipe):
        raise LimpetError(
            f"mismatch = {recipe!r}: allowed are a recipe, such as limpet.Mismatch(prototype, limpet.Gaussian(0.1)), "
            f"the hardware, and a whole configuration"
        )
    return recipe


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
            f"second time: hand over the nominal model; the callback draws the chip that training.frozen names"
        )


def _remember(chip: Any, model: Any, paths: Iterable[str]) -> None:
    """Note which arrays are a chip's. Of a Rockpool module there are none: it remembers its nominal values itself."""
    values, nominal = adapter_of(chip).leaves(chip), adapter_of(model).leaves(model)
    for path in paths:
        leaf = values.get(path)
        if isinstance(leaf, jax.Array) and not is_traced(leaf) and leaf is not nominal.get(path):
            place = id(leaf)
            _MADE[place] = weakref.ref(leaf, lambda _, place=place, made=_MADE: made.pop(place, None))


def _was_made(leaf: Any) -> bool:
    reference = _MADE.get(id(leaf))
    return reference is not None and reference() is leaf
