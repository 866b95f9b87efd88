"""Marks: what stands on a deviated leaf whose arrays compute a product, until `limpet.products` reads it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._errors import LimpetError
from .._jax import is_tracing, marking_primitive
from ..arrays._array import Array
from ..draws._apart import apart
from ..draws._keys import path_hash
from ..results._condition import Condition
from ._product import Product

MARK = "limpet_product"


@dataclass(frozen=True)
class Note:
    """What is known of a marked leaf when it is marked.

    Attributes:
        path: the path of the leaf.
        shape: the shape of the leaf.
        product: what its arrays compute.
        array: where it sits.
        shares: how often each of the `Chip.cells` counts.
        reference: how often the largest weight is taken off, digitally; see `limpet.Crossbar.reference`.
    """

    path: str
    shape: tuple[int, ...]
    product: Product
    array: Array
    shares: tuple[float, ...] = ()
    reference: float = 0.0


class Chip(NamedTuple):
    """The arrays of one leaf on one chip.

    Attributes:
        nominal: the nominal weights, of which the largest is taken.
        key: the leaf's own random key, shape ().
        chip_key: the key of the whole draw, shape ().
        fresh_key: the random key of what is new at each product of this read of the leaf, shape ().
        condition: the condition under which the chip is looked at, a checked one.
        ranges: the largest input of each array, shape (matrices, row tiles) or (), where it is learned or was found.
        gains: digital factors on outputs, behind the converters, of a shape that broadcasts to the leaf's.
        cells: where the devices of a weight are columns of their own, what each column of them holds, of the leaf's
            shape each; see `limpet.Crossbar.cells`.
    """

    nominal: jax.Array
    key: jax.Array
    chip_key: jax.Array
    fresh_key: jax.Array
    condition: Condition
    ranges: jax.Array | None = None
    gains: jax.Array | None = None
    cells: tuple[jax.Array, ...] = ()


def fresh_keys(keys: jax.Array, read: ArrayLike) -> jax.Array:
    """The keys of what is new at each product, for the keys of some leaves and the number of the read.

    They stand apart, or each of the many loops that draw of them would derive them anew.
    """
    streams = jax.vmap(jax.random.fold_in, (0, None))(keys, jnp.uint32(path_hash("limpet: new at each product")))
    data = apart(jax.random.key_data(jax.vmap(jax.random.fold_in, (0, None))(streams, read)))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(keys))


def marked(value: jax.Array, chip: Chip, note: Note) -> jax.Array:
    """A deviated leaf with a mark on it.

    Raises:
        LimpetError: no function is being traced, so that nobody could read it.
    """
    if not is_tracing():
        raise _refused(note)
    beside, structure = jax.tree.flatten(chip)
    return _mark.bind(value, *beside, note=note, structure=structure)


def _refused(note: Note, **_: Any) -> LimpetError:
    return LimpetError(
        f"leaf '{note.path}' has a product ({note.product.label()}), and the function that computes with it is not "
        f"within limpet.products, so that its products would be exact ones. Wrap what both draws and computes:\n"
        f"    jax.value_and_grad(limpet.products(lambda p: loss_fn(callback.inject(p, step), batch)))(params)\n"
        f"callback.loss, limpet.with_mismatch, objectives and curves do that by themselves; limpet.on_chip is a "
        f"function on one chip. For weights alone, draw of hardware.without_products()"
    )


_mark = marking_primitive(MARK, _refused)
