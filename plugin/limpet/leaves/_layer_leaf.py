"""What the class of a layer says of one of its leaves, and where an array of such a leaf sits."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..arrays._array import Array


@dataclass(frozen=True)
class LayerLeaf:
    """One leaf of a layer, as the layer's class has it before layers are stacked.

    Attributes:
        shape: the shape in one layer; None for an axis whose length the layer does not say.
        outputs: the axes of that shape that count columns.
        stack: the axes of that shape that count separate matrices.
        groups: the number of blocks along the outputs whose inputs are their own.
        product: whether a product contracts the leaf.
    """

    shape: tuple[int | None, ...]
    outputs: tuple[int, ...] = (-1,)
    stack: tuple[int, ...] = ()
    groups: int = 1
    product: bool = True

    def array(self, shape: Sequence[int]) -> Array | None:
        """Where the values of such a leaf sit, whose shape has an axis more for each stack of layers.

        Returns:
            None where the shape is not that of such a leaf.

        Examples:
            >>> LayerLeaf(shape=(64, 256)).array((64, 12, 256))
            Array(stack=(1,), outputs=(2,), groups=1)
        """
        added = _added_axes(self.shape, shape)
        if added is None:
            return None
        own = [axis for axis in range(len(shape)) if axis not in added]
        stack = tuple(sorted((*added, *(own[axis] for axis in self.stack))))
        return Array(stack=stack, outputs=tuple(sorted(own[axis] for axis in self.outputs)), groups=self.groups)


def digital(*shape: int | None) -> LayerLeaf:
    """A leaf that no product contracts, such as a bias: one array whose values are all outputs."""
    return LayerLeaf(shape, outputs=tuple(range(len(shape))), product=False)


def leaves_said(
    say: Callable[[Any], Mapping[str, LayerLeaf]], layer: Any
) -> Iterator[tuple[str, Any, LayerLeaf, Array]]:
    """What a layer's class says of those leaves that are as it says: name, value, what is said, where it sits.

    Args:
        say: what the class says, by name, of a layer of it.
        layer: the layer.
    """
    try:
        said = say(layer)
    except AttributeError:  # a subclass that was made in another way, and so holds something else
        return
    for name, leaf in said.items():
        value = getattr(layer, name, None)
        shape = getattr(value, "shape", None)
        if shape is not None and (array := leaf.array(shape)) is not None:
            yield name, value, leaf, array


def _added_axes(inner: Sequence[int | None], shape: Sequence[int]) -> tuple[int, ...] | None:
    """The axes of a shape without which it is another one: the first ones, where several would do; None for none."""
    if len(shape) < len(inner):
        return None

    def fits(added: Iterable[int]) -> bool:
        rest = [size for axis, size in enumerate(shape) if axis not in added]
        return all(known in (None, size) for known, size in zip(inner, rest, strict=True))

    return next(filter(fits, combinations(range(len(shape)), len(shape) - len(inner))), None)
