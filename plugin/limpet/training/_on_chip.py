"""A function as one chip computes it."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from jax.typing import ArrayLike

from .._checked import shown
from .._errors import LimpetError
from ..analog._products import computing
from ..draws._generator import DEFAULT_GENERATOR, Generator
from ..draws._keys import virtual_chip
from ..draws._walked_chip import WalkedChip
from ..hardware._checked_recipe import checked_recipe
from ..hardware._fingerprint import digest, shapes_of
from ..hardware._hardware import Hardware
from ..hardware._measured_chip import MeasuredChip
from ..hardware._mismatch import Recipe
from ..leaves._adapters import ADAPTERS, adapter_of
from ..results._condition import Condition, condition_of
from ..results._corner import Corner


def on_chip(
    fn: Callable[..., Any],
    mismatch: Recipe | Hardware,
    *,
    chip: ArrayLike | MeasuredChip | WalkedChip | Corner = 0,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    condition: Condition | ArrayLike | None = None,
) -> Callable[..., Any]:
    """The same function as one chip computes it: with its weights, its converters, and all else of its hardware.

    `limpet.freeze` builds a model that holds the weights of a chip; this is for hardware with products as well. It is
    the chip that a robustness curve of that seed shows under that number, under the same condition, and the function
    gives what the curve's metric gives there. What is new at each product follows from the chip and from the number of
    the read: two calls under one condition give the same.

    Args:
        fn: the function, `fn(tree, *args)`, of a tree as the recipe draws it: a network, a loss, a metric.
        mismatch: the hardware, which is laid over the tree at each call; or a recipe.
        chip: the number of the chip, which may be traced; or a `limpet.MeasuredChip`: then weights are those that were
            measured, noise is as the hardware says, and gains and offsets of converters, which nobody measured, are 1
            and 0; or a `limpet.WalkedChip`, which has no seed and generator beside; or a `limpet.Corner`, which holds
            seed, generator and condition.
        seed: the seed of the chip; of a measured one, the seed of its noise.
        generator: the generator of the chip.
        condition: the condition under which the chip is looked at: `limpet.Condition(time="1 day", read=7)`; or a
            number, the factor on every deviation. 1 if left out.

    Returns:
        `f(tree, *args)` of nominal values, which may be mapped and differentiated. Compile it with `jax.jit` where it
        is called more than once: each call as it is traces it anew.

    Raises:
        LimpetError: an argument is none of these; or, when called: a product of a leaf cannot be told.
        PrototypeError: when called: hardware and tree do not fit.

    Examples:
        >>> import jax, jax.numpy as jnp, limpet
        >>> params, x = {"w": jnp.eye(3)}, jnp.ones((1, 3))
        >>> adc = limpet.Converter(bits=6, bound=2.0, noise=0.05)
        >>> hardware = limpet.Hardware(
        ...     w=limpet.Part("w", limpet.Gaussian(0.1), product=limpet.Product(outputs=adc))
        ... )
        >>> def network(params, x):
        ...     return (x @ params["w"]).sum()
        >>> curve = limpet.robustness_curve(network, params, hardware, scales=[1], batch=x, chips=20)
        >>> on_worst = jax.jit(limpet.on_chip(network, hardware, chip=curve.worst_chip(0.1)))
        >>> bool(jnp.allclose(on_worst(params, x), curve.worst()[0]))
        True
    """
    if not callable(fn):
        raise LimpetError(f"fn = {shown(fn)}: give a function, such as limpet.on_chip(lambda tree, x: ..., hardware)")
    if adapter_of(fn) is not ADAPTERS[-1]:
        raise LimpetError(
            f"fn is {adapter_of(fn).name}: give a function of it, limpet.on_chip(lambda model, x: model(x), hardware), "
            f"and hand the model to what comes back"
        )
    if not isinstance(mismatch, Recipe | Hardware):
        raise LimpetError(
            f"mismatch = {shown(mismatch)}: give the hardware, or a recipe such as hardware.on(model), which says what "
            f"deviates on the chip, and what its arrays compute"
        )
    if isinstance(chip, WalkedChip):
        if (seed, generator) != (0, DEFAULT_GENERATOR):
            raise LimpetError(f"seed, generator: the walked chip {chip} names its own; leave them out")
        key = chip.key
    elif isinstance(chip, Corner):
        if (seed, generator) != (0, DEFAULT_GENERATOR) or condition is not None:
            raise LimpetError(f"seed, generator, condition: the corner '{chip.name}' holds its own; leave them out")
        key, condition = virtual_chip(chip.seed, chip.chip, chip.generator), chip.condition
    else:
        key = chip.key(seed, generator) if isinstance(chip, MeasuredChip) else virtual_chip(seed, chip, generator)
    checked = condition_of(1.0 if condition is None else condition)

    @wraps(fn, updated=())
    def computed(tree: Any, *args: Any, **named: Any) -> Any:
        recipe = checked_recipe(mismatch, tree)
        if isinstance(chip, Corner):
            chip.require_of(digest(recipe, shapes_of(tree)))
        if isinstance(chip, MeasuredChip):
            chip.warn_of_unmeasured(recipe, adapter_of(tree).leaves(tree))

        def of_nominal(tree: Any, *args: Any, **named: Any) -> Any:
            if isinstance(chip, MeasuredChip):
                drawn = chip.with_products(recipe, key, tree, checked)
            else:
                drawn = recipe(key, tree, checked)
            return fn(drawn, *args, **named)

        return computing(of_nominal)(tree, *args, **named)

    return computed
