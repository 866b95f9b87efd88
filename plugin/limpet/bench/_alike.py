"""Groups of values that are built alike, together: what is computed of them is the same but for the values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]
Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Stage:
    """The groups of one level, those that are built alike together; see `Alike`.

    Attributes:
        places: the places of the effects among the columns.
        counts: the number of groups of each type, shape (types,).
        part_type: the type one level below, of each part of each type's composition, shape (parts,).
        part_count: how many of it there are in a group.
        part_starts: where the parts of each type begin, shape (types,).
        path_type: the type of each path, shape (paths,).
        path_below: the path one level below that it goes on, shape (paths,).
        row_type: the type of each row, shape (rows,).
        row_starts: where the entries of each row begin, shape (rows,).
        entry_path: the path one level below of each entry, shape (entries,).
        entries: the sums of products of columns and values, shape (entries, columns).
    """

    places: list[int]
    counts: Numbers
    part_type: Numbers
    part_count: Numbers
    part_starts: Numbers
    path_type: Numbers
    path_below: Numbers
    row_type: Numbers
    row_starts: Numbers
    entry_path: Numbers
    entries: Values


@dataclass(frozen=True)
class Alike:
    """Values in groups of groups, those that are built alike together.

    Groups whose known columns have the same products are of one type: they differ by their values alone. What the
    values bring to a group is a sum over types of what is within it (paths), each multiplied by a matrix that depends
    on the variances alone. So of all groups of a type, the products of these sums are all that is needed; they are held
    by rows, no more than a path has numbers.

    Attributes:
        square: the sum of the squares of the values.
        products: the products of the known columns within the innermost groups, by type, shape (types, columns,
            columns).
        stages: the groups of each level, the innermost first.
        end_type: the type of each part of the whole.
        end_count: how many of it there are.
        ends: the sums of products of columns and values over the whole, by path, shape (paths, columns).
    """

    square: float
    products: Values
    stages: tuple[Stage, ...]
    end_type: Numbers
    end_count: Numbers
    ends: Values

    @classmethod
    def of(cls, known: Values, value: Values, levels: Sequence[tuple[list[int], Numbers]]) -> "Alike":
        """Values by the groups of each level.

        Args:
            known: the columns that do not depend on the values, shape (values, columns).
            value: the values, ordered so that those of a group follow one another, at every level.
            levels: the places of a level's effects among the columns, and the group of each value; the innermost first.
        """
        together: list[tuple[list[int], Numbers]] = []
        for places, own in levels:
            # Groups are numbered anew, in the order in which they stand; effects of the same groups become one level.
            groups = np.cumsum(np.r_[0, own[1:] != own[:-1]])
            if together and np.array_equal(together[-1][1], groups):
                together[-1][0].extend(places)
            else:
                together.append(([*places], groups))
        starts = _starts(together[0][1]) if together else np.zeros(1, np.intp)
        products = np.add.reduceat(known[:, :, None] * known[:, None, :], starts)
        sums = np.add.reduceat(known * value[:, None], starts)
        flat = products.reshape(len(products), -1)
        rounded = np.round(flat / np.abs(flat).max(), 12)
        _, first, kind = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
        kind = kind.ravel()
        types = [
            _Type(np.flatnonzero(kind == number), {number: 1}, sums[kind == number, None], [number])
            for number in range(len(first))
        ]
        stages = []
        for number, (places, groups) in enumerate(together):
            stages.append(_stage(places, types))
            inner = _starts(groups)
            above = together[number + 1][1][inner] if number + 1 < len(together) else np.zeros(len(inner), np.intp)
            types = _above(types, above)
        (whole,) = types
        numbers, counts = (np.array(list(part)) for part in (whole.parts, whole.parts.values()))
        return cls(float(value @ value), products[first], tuple(stages), numbers, counts, whole.sums[0])


@dataclass(frozen=True)
class _Type:
    """Groups of one level that are built alike.

    Attributes:
        groups: the numbers of the groups.
        parts: the number of groups of each type one level below that each of them holds, by that type's number.
        sums: the sums of products of columns and values, by group and path, shape (groups, paths, columns).
        below: the number of each path one level below.
    """

    groups: Numbers
    parts: dict[int, int]
    sums: Values
    below: list[int]


def _stage(places: list[int], types: Sequence[_Type]) -> Stage:
    """The types of a level as arrays."""
    rows = [_fewer(own.sums) for own in types]
    parts = [len(own.parts) for own in types]
    lengths = [len(own.below) for own in types]
    return Stage(
        places=places,
        counts=np.array([len(own.groups) for own in types]),
        part_type=np.array([part for own in types for part in own.parts]),
        part_count=np.array([count for own in types for count in own.parts.values()]),
        part_starts=np.cumsum([0, *parts[:-1]]),
        path_type=np.repeat(np.arange(len(types)), lengths),
        path_below=np.array([path for own in types for path in own.below]),
        row_type=np.repeat(np.arange(len(types)), [len(own) for own in rows]),
        row_starts=np.cumsum([0, *np.repeat(lengths, [len(own) for own in rows])[:-1]]),
        entry_path=np.concatenate([np.tile(own.below, len(row)) for own, row in zip(types, rows, strict=True)]),
        entries=np.concatenate([row.reshape(-1, row.shape[-1]) for row in rows]),
    )


def _fewer(sums: Values) -> Values:
    """Rows of the same products, at most as many as each has numbers."""
    groups, paths, columns = sums.shape
    if groups <= paths * columns:
        return sums
    return np.asarray(np.linalg.qr(sums.reshape(groups, -1), mode="r")).reshape(-1, paths, columns)


def _above(types: Sequence[_Type], above: Numbers) -> list[_Type]:
    """The types of the groups one level up.

    Args:
        types: the types of a level.
        above: the number of the group one level up, of each group of the level.
    """
    first_path = np.cumsum([0, *(len(own.below) for own in types)])
    composition: dict[int, dict[int, int]] = {}
    held: dict[int, tuple[dict[int, int], Values]] = {}
    for number, own in enumerate(types):
        parents, place, counts = np.unique(above[own.groups], return_inverse=True, return_counts=True)
        sums = np.zeros((len(parents), *own.sums.shape[1:]))
        np.add.at(sums, place, own.sums)
        held[number] = ({int(parent): at for at, parent in enumerate(parents)}, sums)
        for parent, count in zip(parents.tolist(), counts.tolist(), strict=True):
            composition.setdefault(parent, {})[number] = count
    alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for group, parts in composition.items():
        alike.setdefault(tuple(parts.items()), []).append(group)
    found = []
    for parts, groups in alike.items():
        sums = [held[number][1][[held[number][0][group] for group in groups]] for number, _ in parts]
        below = [path for number, _ in parts for path in range(first_path[number], first_path[number + 1])]
        found.append(_Type(np.array(groups), dict(parts), np.concatenate(sums, axis=1), below))
    return found


def _starts(groups: Numbers) -> Numbers:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
