"""Ranges of inputs and bounds of outputs, found on what each product sees."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from .._checked import number, one_of, shown
from .._errors import LimpetError
from ..analog._convert import converted, value_of_code
from ..analog._converter import Converter
from ..analog._product import Product
from ..arrays._array import Layout
from ..draws._generator import DEFAULT_GENERATOR
from ..hardware._checked_recipe import checked_recipe
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._paths import listing
from ._observing import Watch, chip_and_condition, run_watched

Method = Literal["percentile", "least squares"]
"""How a largest value is found: that below which so many of all values are; or that of the least error."""

MOST_KEPT = 2**18
"""So many values of each array are kept, a random sample of all of them."""
TRIED = 100
"""So many largest values are tried for the least squared error, evenly spaced up to the largest of all."""
BOUNDLESS = 1e6
"""A bound that no output reaches: each is at most the number of rows."""


def input_ranges(
    fn: Callable[..., Any],
    tree: Any,
    mismatch: Recipe | Hardware,
    batches: Iterable[Any],
    *,
    method: Method = "percentile",
    percentile: float = 99.9,
    chip: int | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Find the ranges of input converters whose range is "learned", on what each of them sees.

    The function is run on the batches with the hardware's products, where the range of each converter in question is
    the largest input of the batch. Of each array, the absolute values of all inputs are kept (of more than 2**18, a
    random sample of so many).

    Args:
        fn: the function, `fn(tree, batch)`, which computes the network; what it gives does not matter.
        tree: nominal values: a tree, or a Flax nnx module.
        mismatch: the hardware, or a recipe.
        batches: the batches of inputs, a list or another iterable.
        method: "percentile", or "least squares": the range, of a hundred evenly spaced ones up to the largest input,
            whose rounded and clipped inputs have the least squared error.
        percentile: the percentage of absolute inputs that is within the range, from 0 to 100. Where that range would be
            0, because most inputs are, it is the largest input.
        chip: the number of the chip that computes; None for the nominal network, without deviations and noise.
        seed: the seed of the chip.

    Returns:
        The ranges by leaf path, arrays of shape (matrices, row tiles): what `limpet.Hardware.with_ranges` keeps, and
        where learning starts. Of a leaf whose arrays are driven from their columns as well, one number. An array that
        saw nothing but 0 has the largest range of its leaf.

    Raises:
        LimpetError: no converter of the hardware has the range "learned", no product of a leaf was computed, all its
            inputs were 0, or an argument is none of those allowed.
        PrototypeError: hardware and tree do not fit.

    Examples:
        >>> import limpet
        >>> params, batches = {"w": jnp.ones((4, 2))}, [jnp.linspace(-1.0, 1.0, 400).reshape(100, 4)]
        >>> dac = limpet.Converter(bits=8, range="learned")
        >>> part = limpet.Part("w", product=limpet.Product(dac), array=limpet.Array(rows=2))
        >>> hardware = limpet.Hardware(crossbar=part)
        >>> ranges = limpet.input_ranges(lambda p, x: x @ p["w"], params, hardware, batches, percentile=90)
        >>> ranges["w"].round(2)
        array([[0.9, 0.9]], dtype=float32)
        >>> hardware = hardware.with_ranges(ranges)
    """
    recipe = checked_recipe(mismatch, tree)
    if not recipe.learned:
        raise LimpetError(
            "mismatch: no converter of inputs has the range 'learned'; say inputs=limpet.Converter(bits=8, "
            "range='learned') for those whose ranges are to be found"
        )
    find = _finder(method, percentile)

    def instead(path: str, product: Product) -> Product:
        if not product.learned:
            return product
        assert product.inputs is not None
        return replace(product, inputs=replace(product.inputs, range="batch", decay=Converter.decay))

    samples: defaultdict[str, dict[Any, _Sample]] = defaultdict(dict)
    layouts: dict[str, Layout] = {}
    driven: defaultdict[str, set[Layout]] = defaultdict(set)

    def taken(path: str, _: int, layout: Layout, product: Product, event: str, values: dict[str, np.ndarray]) -> None:
        driven[path].add(layout)
        layouts[path] = layout
        x, matrix = np.asarray(values["x"], np.float32), np.asarray(values["matrix"])
        for row, held in zip(matrix.reshape(-1), x.reshape(matrix.size, -1), strict=True):
            samples[path].setdefault((layout, int(row), int(values["tile"])), _Sample()).add(held)

    _run(fn, tree, recipe, batches, Watch(taken, ["inputs"], instead), chip, seed)
    found: dict[str, np.ndarray] = {}
    for path in _seen(recipe.learned, samples):
        rule = recipe.rules[path]
        assert rule is not None
        assert rule.product is not None
        assert rule.product.inputs is not None
        converter = rule.product.inputs
        shape = (layouts[path].matrices, len(layouts[path].row_tiles)) if len(driven[path]) == 1 else ()
        ranges = np.zeros(shape, np.float32)
        if shape:
            for (_, *place), sample in samples[path].items():
                ranges[tuple(place)] = find(sample.values, converter)
        else:
            ranges[()] = find(np.concatenate([sample.values for sample in samples[path].values()]), converter)
        found[path] = _filled(path, ranges)
    return found


def output_bounds(
    fn: Callable[..., Any],
    tree: Any,
    mismatch: Recipe | Hardware,
    batches: Iterable[Any],
    *,
    method: Method = "percentile",
    percentile: float = 99.9,
    chip: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Find the bounds of output converters, on what arrives at each of them; ranges of inputs are to be known before.

    The function is run on the batches with the hardware's products, where outputs are neither rounded nor clipped.
    Values of all arrays of a leaf are taken together, because a bound counts in what one input at its full range gives
    through one weight at its largest; see `limpet.Converter`.

    Args:
        fn: the function, `fn(tree, batch)`; see `limpet.input_ranges` for it and all other arguments.
        tree: nominal values: a tree, or a Flax nnx module.
        mismatch: the hardware, or a recipe.
        batches: the batches of inputs.
        method: "percentile" or "least squares".
        percentile: the percentage of absolute outputs that is within the bound.
        chip: the number of the chip that computes; None for the nominal network.
        seed: the seed of the chip.

    Returns:
        The bounds by leaf path: what `limpet.Hardware.with_bounds` keeps.

    Raises:
        LimpetError: no output converter of the hardware has a bound, no product of a leaf was computed, all its outputs
            were 0, or an argument is none of those allowed.
        PrototypeError: hardware and tree do not fit.

    Examples:
        >>> import limpet
        >>> params, batches = {"w": jnp.ones((4, 2))}, [jnp.full((1, 4), 0.5)]
        >>> adc = limpet.Converter(bits=8, bound=10.0)
        >>> hardware = limpet.Hardware(crossbar=limpet.Part("w", product=limpet.Product(outputs=adc)))
        >>> bounds = limpet.output_bounds(lambda p, x: x @ p["w"], params, hardware, batches)
        >>> bounds
        {'w': 2.0}
        >>> hardware = hardware.with_bounds(bounds)
    """
    recipe = checked_recipe(mismatch, tree)
    converters = {
        path: rule.product.outputs
        for path, rule in recipe.rules.items()
        if rule and rule.product and rule.product.outputs and rule.product.outputs.bound is not None
    }
    if not converters:
        raise LimpetError(
            "mismatch: no converter of outputs has a bound; say outputs=limpet.Converter(bits=8, bound=10.0), whose "
            "bound is then found"
        )
    find = _finder(method, percentile)

    def instead(path: str, product: Product) -> Product:
        if path not in converters:
            return product
        unrounded = replace(converters[path], bits=None, levels=None, signed=True, rounding="nearest", bound=BOUNDLESS)
        return replace(product, outputs=unrounded, saturates=False, bound_management=0)

    samples: defaultdict[str, _Sample] = defaultdict(_Sample)

    def taken(path: str, _: int, layout: Layout, product: Product, event: str, values: dict[str, np.ndarray]) -> None:
        if path in converters:
            y, unit = np.asarray(values["y"]), np.asarray(values["bound"]) / BOUNDLESS
            y, unit = np.broadcast_arrays(y, unit)
            samples[path].add((y[unit > 0] / unit[unit > 0]).astype(np.float32))

    _run(fn, tree, recipe, batches, Watch(taken, ["outputs"], instead), chip, seed)
    paths = _seen(converters, samples)
    return {path: float(_filled(path, np.asarray(find(samples[path].values, converters[path])))) for path in paths}


class _Sample:
    """Values, and of more than are kept a random sample."""

    def __init__(self) -> None:
        self._values, self._tags = [np.zeros(0, np.float32)], [np.zeros(0)]
        self._generator = np.random.default_rng(0)

    def add(self, values: np.ndarray) -> None:
        self._values.append(values.reshape(-1))
        self._tags.append(self._generator.random(values.size))
        if sum(map(len, self._values)) > 2 * MOST_KEPT:
            self._thin()

    @property
    def values(self) -> np.ndarray:
        self._thin()
        return self._values[0]

    def _thin(self) -> None:
        """Keep the values of the smallest tags, which are a sample of all that there were."""
        values, tags = np.concatenate(self._values), np.concatenate(self._tags)
        if len(values) > MOST_KEPT:
            kept = np.argpartition(tags, MOST_KEPT)[:MOST_KEPT]
            values, tags = values[kept], tags[kept]
        self._values, self._tags = [values], [tags]


def _finder(method: Method, percentile: float) -> Callable[[np.ndarray, Converter], float]:
    """The function that finds the largest value to convert, of values and for a converter."""
    one_of("method", method, get_args(Method))
    share = number("percentile", percentile, 0, 100, above=True)

    def by_percentile(values: np.ndarray, converter: Converter) -> float:
        # Inputs below 0 have a pass of their own; outputs below 0 are lost to unsigned converters, wherever they end.
        reached = np.maximum(values, 0) if converter.bound is not None and not converter.signed else np.abs(values)
        return float(np.percentile(reached, share)) or float(reached.max())

    def by_error(values: np.ndarray, converter: Converter) -> float:
        values = np.abs(values) if converter.bound is None and not converter.signed else values
        tried = np.abs(values).max() * np.arange(1, TRIED + 1, dtype=np.float32) / TRIED
        return float(tried[np.argmin(_errors(jnp.asarray(values), jnp.asarray(tried), converter))])

    return by_percentile if method == "percentile" else by_error


def _errors(values: jax.Array, tried: jax.Array, converter: Converter) -> jax.Array:
    def error(largest: jax.Array) -> jax.Array:
        return jnp.mean((converted(values, largest, converter) * value_of_code(largest, converter) - values) ** 2)

    return jax.lax.map(error, tried)


def _run(
    fn: Callable[..., Any],
    tree: Any,
    recipe: Recipe,
    batches: Iterable[Any],
    watch: Watch,
    chip: int | None,
    seed: int,
) -> None:
    if not callable(fn):
        raise LimpetError(f"fn = {shown(fn)}: give a function of a tree and a batch")
    if not hasattr(batches, "__iter__") or isinstance(batches, dict | str) or hasattr(batches, "ndim"):
        raise LimpetError(f"batches = {shown(batches)}: give a list of batches; of one batch, [batch]")
    run_watched(fn, tree, recipe, batches, watch, *chip_and_condition(chip, seed, DEFAULT_GENERATOR, 1.0))


def _seen(wanted: Iterable[str], samples: Any) -> list[str]:
    if lost := [path for path in wanted if path not in samples]:
        raise LimpetError(f"{listing(lost)}: fn computed no product of these leaves, so that nothing was seen of them")
    return list(wanted)


def _filled(path: str, largest: np.ndarray) -> np.ndarray:
    if not largest.max(initial=0) > 0:
        raise LimpetError(f"leaf '{path}': all that its products saw was 0, so that nothing can be found of it")
    return np.where(largest > 0, largest, largest.max()).astype(np.float32)
