"""Running a function so that each of its analog products tells what it saw and gave."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from .._errors import LimpetError, MetricError
from .._jax import is_tracing
from ..analog._analog import Seen
from ..analog._product import Product
from ..analog._products import computing
from ..arrays._array import Layout
from ..draws._generator import Generator
from ..draws._keys import virtual_chip
from ..hardware._mismatch import Recipe
from ..results._condition import Condition, condition_of
from ._measurement import divided, on_device

Taken = Callable[[str, int, Layout, Product, str, dict[str, np.ndarray]], None]
"""`taken(path, number, layout, product, event, values)`: is given on the host what a product told; see `Seen`."""


class Watch:
    """Hands what products tell to the host, wherever they stand: in loops, conditions and functions run again.

    Args:
        taken: is given what they tell.
        events: the events that are wanted.
        instead: what the arrays of a leaf compute, in place of what the hardware says.
    """

    def __init__(
        self,
        taken: Taken,
        events: Iterable[str],
        instead: Callable[[str, Product], Product] = lambda path, product: product,
    ) -> None:
        self._taken, self._events, self._instead = taken, frozenset(events), instead

    def product(self, path: str, product: Product) -> Product:
        """What the arrays of a leaf compute."""
        return self._instead(path, product)

    def seen(self, path: str, number: int, layout: Layout, product: Product) -> Seen:
        """What one product tells."""

        def tell(event: str, values: dict[str, Any]) -> None:
            if event in self._events:
                jax.debug.callback(partial(self._taken, path, number, layout, product, event), values)

        return tell


def run_watched(
    fn: Callable[..., Any],
    tree: Any,
    recipe: Recipe,
    batches: Iterable[Any],
    watch: Watch,
    key: jax.Array,
    condition: Condition,
) -> None:
    """Run a function on one chip, on one batch after another, while its products are watched.

    Args:
        fn: the function, `fn(tree, batch)`.
        tree: nominal values.
        recipe: the recipe of the hardware.
        batches: the batches.
        watch: what is told what products see.
        key: the key of the chip.
        condition: the condition of the chip, a checked one.

    Raises:
        LimpetError: a function is being traced already.
        MetricError: there is no batch, or one is empty.
    """
    if is_tracing():
        raise LimpetError("products are watched within a function that JAX is tracing: call this outside of it")
    operand, rebuild = divided(tree)

    def computed(operand: dict[str, jax.Array], batch: Any) -> None:
        def on_chip(tree: Any) -> None:
            fn(recipe(key, tree, condition), batch)

        computing(on_chip, watch)(rebuild(operand))

    run, count = jax.jit(computed), 0
    for batch in batches:
        run(operand, on_device(batch))
        count += 1
    jax.effects_barrier()
    if not count:
        raise MetricError("batches: there is none, so that nothing can be seen")


def chip_and_condition(
    chip: int | None, seed: int, generator: Generator, condition: Condition | ArrayLike
) -> tuple[jax.Array, Condition]:
    """The key of a chip and the condition it is looked at under; for None, those of the nominal network."""
    checked = condition_of(condition)
    if chip is None:
        checked = checked._replace(scale=condition_of(0.0).scale)
    return virtual_chip(seed, 0 if chip is None else chip, generator), checked
