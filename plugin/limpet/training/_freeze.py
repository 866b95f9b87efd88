"""Frozen mismatch: one virtual chip, drawn before compilation."""

from typing import Any, Protocol

from .._errors import LimpetError
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number, chip_key
from ..hardware._mismatch import Recipe
from ..leaves import flax_nnx as _nnx
from ..leaves import rockpool as _rockpool


class FrozenConfig(Protocol):
    """What a configuration says of frozen mismatch (`config.frozen`)."""

    @property
    def seed(self) -> int | None: ...

    @property
    def chip(self) -> Any: ...

    def recipe(self, model: Any) -> Recipe: ...


class ChipConfig(Protocol):
    """A whole configuration."""

    @property
    def generator(self) -> Generator: ...

    @property
    def frozen(self) -> FrozenConfig | None: ...


def freeze(
    model: Any,
    mismatch: Recipe | FrozenConfig | ChipConfig | None,
    seed: int | None = None,
    chip: int | None = None,
    generator: Generator | None = None,
) -> Any:
    """Build one virtual chip: the model with that chip's frozen values, which `jit` then holds as constants.

    The chip follows from (seed, chip) and the leaf paths alone, and is the one that a robustness curve of that seed
    shows under that number. Draws start from nominal values: freezing a Rockpool network that is frozen already gives
    the other chip, not one chip on top of another. (A plain tree cannot tell; keep its nominal values.)

    Args:
        model: a Rockpool JAX module, a Flax nnx module, or any pytree that the recipe describes.
        mismatch: a recipe; or a configuration, or its `frozen` section, which then also names seed and chip. Where
            that asks for fresh chips, or for no frozen mismatch (None), the model is returned as it is: fresh chips
            are drawn by `MismatchCallback.inject` at every step.
        seed: overrides the configuration's; default 0.
        chip: overrides the configuration's; default 0.
        generator: overrides the configuration's; default "fast".

    Returns:
        A new network, or a new tree; the argument is not changed.

    Raises:
        LimpetError: seed or chip is no integer from 0 to 2**32 - 1, or there is no such generator.
        PrototypeError: recipe and model do not fit.

    Example:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"kernel": jnp.ones(3), "bias": jnp.ones(3)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("bias", True)), limpet.Gaussian(sigma=0.1))
        >>> chip = freeze(params, mismatch, seed=0, chip=17)
        >>> chip["kernel"] is params["kernel"], bool((chip["bias"] == params["bias"]).any())
        (True, False)
    """
    section: Any = getattr(mismatch, "frozen", mismatch)
    if section is None:
        return model
    if isinstance(section, Recipe):
        recipe, default_seed, default_chip = section, 0, 0
    elif hasattr(section, "recipe") and hasattr(section, "chip"):
        if section.chip == "fresh" and chip is None:
            return model
        recipe, default_seed, default_chip = section.recipe(model), section.seed or 0, section.chip
    else:
        raise LimpetError(
            f"mismatch = {mismatch!r}: allowed are a recipe, such as limpet.Mismatch(prototype, limpet.Gaussian(0.1)), "
            f"a configuration, its `frozen` section, and None"
        )
    key = chip_key(
        checked_number(default_seed if seed is None else seed, "seed"),
        checked_number(default_chip if chip is None else chip, "chip"),
        checked_generator(generator or getattr(mismatch, "generator", DEFAULT_GENERATOR)),
    )
    if _rockpool.is_module(model):
        return _rockpool.frozen_copy(model, lambda nominal: recipe(key, nominal))
    return recipe(key, _nnx.copy(model) if _nnx.is_module(model) else model)
