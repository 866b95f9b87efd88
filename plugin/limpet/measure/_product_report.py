"""What each product of a network saw and gave: whether its converters fit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from .._checked import shown
from .._errors import LimpetError
from ..analog._converter import Converter
from ..analog._product import Product
from ..arrays._array import Layout
from ..draws._generator import DEFAULT_GENERATOR, Generator
from ..hardware._checked_recipe import checked_recipe
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..results._condition import Condition, condition_label, known_condition
from ._observing import Watch, chip_and_condition, run_watched


@dataclass(frozen=True)
class SeenProduct:
    """What one product of a leaf saw and gave.

    Attributes:
        path: the path of the leaf.
        number: the number of the product among those of the leaf, from 1 on. All turns of a loop are one product.
        layout: the arrays that the leaf sits on, such as "2 arrays of 256 x 10".
        range: the smallest and the largest range of inputs; None where they have none.
        inputs_clipped: the share of inputs beyond their range, before bound management widens it; None without a range.
        input_levels: the share of the input converters' levels that were used; None where nothing is rounded.
        largest_output: the largest absolute output as a fraction of the bound; None where there is none.
        outputs_clipped: the share of outputs that were clipped; None without a bound.
        output_levels: the share of the output converters' levels that were used; None where nothing is rounded.
        noise: the root of the mean square of what noise adds to outputs of arrays, as a fraction of theirs without
            noise.
    """

    path: str
    number: int
    layout: str
    range: tuple[float, float] | None
    inputs_clipped: float | None
    input_levels: float | None
    largest_output: float | None
    outputs_clipped: float | None
    output_levels: float | None
    noise: float


@dataclass(frozen=True)
class ProductReport:
    """What `limpet.product_report` found; prints as a table.

    Attributes:
        products: what each product saw and gave, in the order of leaves.
        chip: the number of the chip.
        seed: the seed of the chip.
        condition: the condition under which it was looked at.
    """

    products: tuple[SeenProduct, ...]
    chip: int
    seed: int
    condition: Condition

    def of(self, path: str, number: int = 1) -> SeenProduct:
        """What one product of a leaf saw and gave.

        Raises:
            LimpetError: there is no such product; says which there are.
        """
        for product in self.products:
            if (product.path, product.number) == (path, number):
                return product
        there = ", ".join(f"{product.path} {product.number}" for product in self.products)
        raise LimpetError(f"there is no product {number} of leaf {path!r}; there are {there}")

    def __str__(self) -> str:
        header = ("leaf", "product", "range of inputs", "clipped", "levels", "of bound", "clipped", "levels", "noise")
        rows = [
            (
                held.path,
                f"{held.number}",
                "-" if held.range is None else _span(*held.range),
                _share(held.inputs_clipped),
                _share(held.input_levels),
                _share(held.largest_output),
                _share(held.outputs_clipped),
                _share(held.output_levels),
                _share(held.noise),
            )
            for held in self.products
        ]
        widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
        layouts = ["arrays", *(held.layout for held in self.products)]
        lines = [f"products of chip {self.chip} of seed {self.seed}, {condition_label(self.condition)}"]
        for (name, *cells), layout in zip((header, *rows), layouts, strict=True):
            aligned = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
            lines.append(f"{name:<{widths[0]}}  {'  '.join(aligned)}  {layout}")
        return "\n".join(lines)


def product_report(
    fn: Callable[..., Any],
    tree: Any,
    mismatch: Recipe | Hardware,
    batch: Any,
    *,
    chip: int = 0,
    seed: int = 0,
    generator: Generator = DEFAULT_GENERATOR,
    condition: Condition | ArrayLike = 1.0,
) -> ProductReport:
    """Find what each product of a network sees and gives on one chip: whether ranges, bounds and bits fit.

    A product within a loop is one product, all turns together; one in a branch that is not taken is not among them.

    Args:
        fn: the function, `fn(tree, batch)`, which computes the network; what it gives does not matter.
        tree: nominal values: a tree, or a Flax nnx module.
        mismatch: the hardware, or a recipe.
        batch: the batch of inputs; a pytree of arrays.
        chip: the number of the chip.
        seed: the seed of the chip.
        generator: the generator of the chip.
        condition: the condition under which it is looked at: a `limpet.Condition`, or a number, which is the scale.

    Returns:
        A table; `print` it.

    Raises:
        LimpetError: no leaf has a product other than the exact one, or an argument is none of those allowed.
        PrototypeError: hardware and tree do not fit.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params, x = {"w": jnp.linspace(-1.0, 1.0, 24).reshape(8, 3)}, jnp.linspace(-2.0, 3.0, 800).reshape(100, 8)
        >>> product = limpet.Product(
        ...     inputs=limpet.Converter(bits=6, range=2.0), outputs=limpet.Converter(bits=6, bound=6.0, noise=0.05)
        ... )
        >>> hardware = limpet.Hardware(crossbar=limpet.Part("w", product=product))
        >>> report = product_report(lambda p, x: x @ p["w"], params, hardware, x)
        >>> print(report)
        products of chip 0 of seed 0, scale 1
        leaf  product  range of inputs  clipped  levels  of bound  clipped  levels  noise  arrays
        w           1                2    20.0%  100.0%     13.0%     0.0%   14.3%  12.0%  1 array of 8 x 3
        >>> report.of("w").inputs_clipped
        0.2
    """
    if not callable(fn):
        raise LimpetError(f"fn = {shown(fn)}: give a function of a tree and a batch")
    recipe, seen = checked_recipe(mismatch, tree), dict[tuple[str, int], _Seen]()
    if all(rule is None or rule.product is None or rule.product.ideal for rule in recipe.rules.values()):
        raise LimpetError(
            "mismatch: no leaf has a product but the exact one; give product=limpet.Product(...) to a part"
        )

    def taken(
        path: str, number: int, layout: Layout, product: Product, event: str, values: dict[str, np.ndarray]
    ) -> None:
        held = seen.setdefault((path, number), _Seen(layout, product))
        getattr(held, f"take_{event}")(**{name: np.asarray(value) for name, value in values.items()})

    key, checked = chip_and_condition(chip, seed, generator, known_condition(condition))
    run_watched(fn, tree, recipe, [batch], Watch(taken, ["inputs", "codes", "outputs"]), key, checked)
    numbers: dict[str, int] = {}
    products = []
    order = {path: place for place, path in enumerate(recipe.rules)}
    for path, number in sorted(seen, key=lambda entry: (order[entry[0]], entry[1])):
        numbers[path] = numbers.get(path, 0) + 1
        products.append(seen[path, number].told(path, numbers[path]))
    return ProductReport(tuple(products), chip, seed, known_condition(condition))


class _Seen:
    """Sums over all that one product told."""

    def __init__(self, layout: Layout, product: Product) -> None:
        self._layout, self._product = layout, product
        self._range = np.inf, 0.0
        self._inputs = self._beyond = self._outputs = self._clipped = 0
        self._largest = self._noise = self._square = 0.0
        self._of_inputs, self._of_outputs = set[int](), set[int]()

    def take_inputs(self, *, x: np.ndarray, range: np.ndarray, tile: np.ndarray, matrix: np.ndarray) -> None:
        self._range = min(self._range[0], float(range.min())), max(self._range[1], float(range.max()))
        self._inputs += x.size
        self._beyond += int((np.abs(x.astype(np.float64)) > range).sum())

    def take_codes(self, *, codes: np.ndarray) -> None:
        self._of_inputs |= _codes(codes)

    def take_outputs(
        self,
        *,
        y: np.ndarray,
        quiet: np.ndarray,
        worth: np.ndarray,
        bound: np.ndarray | None = None,
        codes: np.ndarray | None = None,
        clipped: np.ndarray | None = None,
    ) -> None:
        self._outputs += y.size
        self._noise += float(np.sum(np.square((y - quiet) * worth), dtype=np.float64))
        self._square += float(np.sum(np.square(quiet * worth), dtype=np.float64))
        if bound is not None and codes is not None and clipped is not None:
            share = np.divide(np.abs(y), bound, out=np.zeros_like(y), where=bound > 0)
            self._largest = max(self._largest, float(share.max()))
            self._clipped += int(clipped.sum())
            self._of_outputs |= _codes(codes)

    def told(self, path: str, number: int) -> SeenProduct:
        inputs, outputs = self._product.inputs, self._product.outputs
        has_range, has_bound = inputs is not None and inputs.range, outputs is not None and outputs.bound
        return SeenProduct(
            path,
            number,
            str(self._layout),
            self._range if has_range else None,
            self._beyond / self._inputs if has_range else None,
            _used(self._of_inputs, inputs),
            self._largest if has_bound else None,
            self._clipped / self._outputs if has_bound else None,
            _used(self._of_outputs, outputs),
            float(np.sqrt(self._noise / self._square)) if self._square else 0.0,
        )


def _codes(values: np.ndarray) -> set[int]:
    return set(np.unique(values.astype(np.float32)).astype(int).tolist())


def _used(codes: set[int], converter: Converter | None) -> float | None:
    return None if converter is None or not converter.codes else len(codes) / converter.codes


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _span(low: float, high: float) -> str:
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
