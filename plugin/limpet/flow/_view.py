"""Views: values of a leaf that were moved, repeated, picked out or scaled, and where each axis of the leaf is."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple


class Leaf(NamedTuple):
    """A leaf whose values are followed through a program.

    Attributes:
        path: the path of the leaf.
        shape: the shape of the leaf.
        mark: what tells leaves of one path apart, such as the notes of the probe by which it entered the program.
    """

    path: str
    shape: tuple[int, ...]
    mark: Any = None


class Strand(NamedTuple):
    """What one axis of a value, or a factor of its size, counts.

    Attributes:
        axes: the axes of the leaf that it counts, as a rule one; none where values are only repeated along it. Several
            where it cannot be told which.
        size: its size.
        stride: how many steps along the leaf's axis one step along it is; None where that is not known.
    """

    axes: tuple[int, ...]
    size: int
    stride: int | None = None


Axis = tuple[Strand, ...]
"""What one axis of a value counts, the slowest strand first."""

Step = tuple[Strand, str]
"""A strand along which a program goes step by step, and how: SCANNED or PICKED."""
SCANNED, PICKED = "scanned", "picked"


@dataclass(frozen=True)
class View:
    """A value that holds values of one leaf, or of several leaves of one kind which were joined.

    Attributes:
        leaves: the leaves, as a rule one.
        axes: what each axis of the value counts.
        stepped: strands of the leaf that the value has no more, because a scan goes along them or an index picks from
            them, in this order.
        changed: the names of the operations that changed values one by one, in order; "scaled" stands for a factor that
            all values have in common. Where it is empty, the values are the leaf's own.
        data: whether it was computed from data, too, as by a mask that is drawn.
    """

    leaves: tuple[Leaf, ...]
    axes: tuple[Axis, ...]
    stepped: tuple[Step, ...] = ()
    changed: tuple[str, ...] = ()
    data: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return tuple(map(_size, self.axes))

    @property
    def repeated(self) -> bool:
        """Whether some values of the leaf stand in it more than once."""
        return any(strand.size > 1 and not strand.axes for axis in self.axes for strand in axis)

    @property
    def rank(self) -> int:
        """Along how many axes it goes along the leaf."""
        return sum(any(strand.axes for strand in axis) for axis in self.axes)

    @property
    def count(self) -> int:
        """How many values of the leaf it holds."""
        return math.prod(strand.size for axis in self.axes for strand in axis if strand.axes)

    def changing(self, name: str, data: bool = False) -> "View":
        """The view after an operation that changes values one by one."""
        changed = self.changed if name in self.changed else (*self.changed, name)
        return replace(self, changed=changed, data=self.data or data)

    def resized(self, shape: Sequence[int]) -> "View":
        """The view of a value of another shape whose axes are the same, with fewer values along them or other ones."""
        axes = tuple(_resized(axis, size) for axis, size in zip(self.axes, shape, strict=True))
        return self if axes == self.axes else replace(self, axes=axes)

    def placed(self, places: Sequence[int | None], shape: Sequence[int]) -> "View":
        """The view after an operation that puts its axes into other places.

        Args:
            places: for each axis of the result, the axis of this view; None for a new one.
            shape: the shape of the result.
        """
        lost = [axis for place, axis in enumerate(self.axes) if place not in places]
        axes = []
        for place, size in zip(places, shape, strict=True):
            axis = (Strand((), size),) if place is None else self.axes[place]
            if place is not None and size > 1 == _size(axis):  # one value, repeated
                lost.append(axis)
                axis = (Strand((), size),)
            axes.append(_resized(axis, size))
        return replace(self, axes=tuple(axes), stepped=(*self.stepped, *self._steps(lost, PICKED)))

    def widened(self, along: int) -> "View":
        """The view with a new axis of one value, before it is joined along that."""
        return replace(self, axes=(*self.axes[:along], (Strand((), 1),), *self.axes[along:]))

    def tiled(self, times: Sequence[int]) -> "View":
        """The view after an operation that repeats it so many times along each axis."""
        pairs = zip(times, self.axes, strict=True)
        return replace(self, axes=tuple((Strand((), time), *axis) if time > 1 else axis for time, axis in pairs))

    def reshaped(self, shape: Sequence[int]) -> "View":
        """The view after a reshape."""
        strands = [strand for axis in self.axes for strand in axis]
        lost = [(strand,) for strand in strands if strand.size == 1]
        axes = _regrouped([strand for strand in strands if strand.size != 1], shape)
        return replace(self, axes=axes, stepped=(*self.stepped, *self._steps(lost, PICKED)))

    def row(self) -> "View":
        """The view of one row, where a loop goes along the first axis."""
        return replace(self, axes=self.axes[1:], stepped=(*self.stepped, *self._steps(self.axes[:1], SCANNED)))

    def stacked(self, rows: Iterable["View"], length: int) -> "View":
        """The view of all rows that a loop gives, where each is this one.

        Args:
            rows: the views along whose rows the loop went: those of the same leaf have their first axis again.
            length: the number of rows.
        """
        for whole in rows:
            taken = whole.row().stepped
            if whole.leaves == self.leaves and taken != whole.stepped and self.stepped[: len(taken)] == taken:
                kept = whole.stepped + self.stepped[len(taken) :]
                return replace(self, axes=(whole.axes[0], *self.axes), stepped=kept)
        return replace(self, axes=((Strand((), length),), *self.axes))

    def _steps(self, axes: Iterable[Axis], how: str) -> Iterable[Step]:
        """The steps along axes that the value has no more, where the leaf has several values along them."""
        shape = self.leaves[0].shape
        return [(strand, how) for axis in axes for strand in axis if any(shape[of] > 1 for of in strand.axes)]


def view_of(leaf: Leaf, shape: Sequence[int]) -> View | None:
    """The view of a whole leaf.

    Args:
        leaf: the leaf.
        shape: the shape of the value, which has further axes where `jax.vmap` draws the leaf several times.

    Returns:
        The view; None where the shape is not one of the leaf's.
    """
    own, more = [(Strand((axis,), size, 1),) for axis, size in enumerate(leaf.shape)], len(shape) - len(leaf.shape)
    if more < 0:
        return None
    at = next((at for at in range(len(own) + 1) if (*shape[:at], *shape[at + more :]) == leaf.shape), 0)
    new = [(Strand((), size),) for size in shape[at : at + more]]
    return View((leaf,), (*own[:at], *new, *own[at:])).resized(shape)


def joined(views: Sequence[View], along: int, size: int) -> View | None:
    """The view of values that are joined along an axis; None where they are no views of one kind."""
    first = views[0]
    kinds = [[[strand.axes for strand in axis] for axis in view.axes] for view in views]
    if any(kind != kinds[0] for kind in kinds) or any(view.stepped != first.stepped for view in views):
        return None
    leaves = tuple(dict.fromkeys(leaf for view in views for leaf in view.leaves))
    changed = tuple(dict.fromkeys(name for view in views for name in view.changed))
    data = any(view.data for view in views)
    axes = list(first.axes)
    if len(leaves) > 1:
        changed = tuple(dict.fromkeys((*changed, "joined")))
    axes[along] = _resized(axes[along], size)
    return replace(first, leaves=leaves, axes=tuple(axes), changed=changed, data=data)


def _size(axis: Axis) -> int:
    return math.prod(strand.size for strand in axis)


def _mixed(strands: Iterable[Strand], size: int) -> Axis:
    """An axis of which only is known what it counts among others."""
    return (Strand(tuple(sorted({axis for strand in strands for axis in strand.axes})), size),)


def _resized(axis: Axis, size: int) -> Axis:
    """An axis of another size, from which values were picked or to which some were added."""
    if _size(axis) == size:
        return axis
    outer, *rest = axis or (Strand((), size),)
    inner = math.prod(strand.size for strand in rest)
    if inner and size % inner == 0:
        return (outer._replace(size=size // inner), *rest)
    return _mixed(axis, size)


def _regrouped(strands: list[Strand], shape: Sequence[int]) -> tuple[Axis, ...]:
    """Strands, put together and divided so that their sizes give a shape."""
    if 0 in shape:
        return tuple(_mixed(strands, size) for size in shape)
    axes, waiting = [], strands[::-1]
    for place, size in enumerate(shape):
        taken, missing = [], size
        while missing > 1 and waiting:
            strand = waiting.pop()
            if missing % strand.size == 0:
                missing //= strand.size
                taken.append(strand)
            elif strand.size % missing == 0:
                inner, stride = strand.size // missing, strand.stride
                taken.append(strand._replace(size=missing, stride=None if stride is None else stride * inner))
                waiting.append(strand._replace(size=inner))
                missing = 1
            else:
                waiting.append(strand)
                break
        if missing > 1:  # the leaf's axes do not end where the new ones do
            remain = [*taken, *waiting]
            return (*axes, *(_mixed(remain, size) for size in shape[place:]))
        axes.append(tuple(taken))
    return tuple(axes)
