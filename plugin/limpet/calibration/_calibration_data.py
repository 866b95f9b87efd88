"""What chips are calibrated on: batches of one shape, which are not what the network is measured on."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import MetricError, warn_user
from ..measure._measurement import require_filled

MOST_ROWS = 200_000
"""Data sets of more examples are not searched for examples that they share."""
FEW = 20
"""A column of at most so many different numbers holds labels or levels, which are alike by chance."""
BY_CHANCE = 0.01
"""Examples are compared where fewer than so many of them are expected to be alike by chance."""


def stacked_batches(batches: Iterable[Any], steps: int) -> Any:
    """Batches as one pytree of arrays with a leading axis more; of more than `steps`, so many.

    Raises:
        MetricError: there is none, one is empty, holds no array, or they differ in structure or shapes.
    """
    if isinstance(batches, str | bytes) or not isinstance(batches, Iterable):
        raise MetricError(
            f"batches = {type(batches).__name__}: give the batches to calibrate on, such as [(inputs, labels)]"
        )
    taken = [require_filled(batch) for batch in islice(iter(batches), steps)]
    if not taken:
        raise MetricError("batches: there is none, so there is nothing to calibrate on")
    forms = [(jax.tree.structure(batch), [np.shape(leaf) for leaf in jax.tree.leaves(batch)]) for batch in taken]
    if not forms[0][1]:
        raise MetricError("batches: the first holds no array; give the batches in a list, such as [(inputs, labels)]")
    for place, form in enumerate(forms):
        if form != forms[0]:
            raise MetricError(
                f"batches[{place}] has arrays of shape {', '.join(map(str, form[1]))}, where the first has "
                f"{', '.join(map(str, forms[0][1]))}: all are to be of one shape, so that one program serves them; "
                f"leave a smaller last one out"
            )
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *taken)


def sample_count(stacked: Any) -> int:
    """How many different examples stacked batches hold; of more than `MOST_ROWS`, how many examples."""
    tables = list(_tables(jax.tree.map(_joined, stacked)).values())
    count = len(tables[0]) if tables else 0
    return count if count > MOST_ROWS else len(set(_keys(tables)))


def require_held_out(batch: Any, stacked: Any) -> None:
    """Refuse to measure chips on the very examples that they are calibrated on.

    Two examples are the same if their numbers are, in every array that both data sets have: arrays are matched by how
    many numbers an example has there, and compared in the coarser of their types. So inputs in double precision are
    those in single precision, and labels may be whole numbers here and one-hot there. Where all that can be compared
    takes few values, as labels do, examples may be alike by chance, and nothing is said.

    Raises:
        MetricError: every example of `batch` is among those to calibrate on. (Of some of them there is a warning.)
    """
    pairs = _matched(_tables(batch), _tables(jax.tree.map(_joined, stacked)))
    if not pairs:
        return
    mine, theirs = (list(side) for side in zip(*pairs, strict=True))
    count = len(mine[0])
    if max(count, len(theirs[0])) > MOST_ROWS:
        return
    among = {key: row for row, key in enumerate(_keys(theirs))}
    rows = list(among.values())
    if _may_be_alike_by_chance(count, [table[rows] for table in theirs]):
        return
    shared = sum(key in among for key in _keys(mine))
    if shared == count:
        raise MetricError(
            f"batch: all of its {count} examples are among those of batches: what chips are calibrated on says "
            f"nothing of how they do on other data; measure them on examples that were held out"
        )
    if shared:
        warn_user(
            f"batch: {shared} of its {count} examples are among those of batches, on which chips are calibrated: "
            f"they will look better than they are; hold out what they are measured on"
        )


def _joined(leaf: np.ndarray) -> np.ndarray:
    """An array of stacked batches, batch after batch; of batches of scalars, as it is."""
    return leaf.reshape(-1, *leaf.shape[2:]) if leaf.ndim > 1 else leaf


def _tables(batch: Any) -> dict[str, np.ndarray]:
    """The numbers of each example by the path of the array that holds them, shape (examples, numbers).

    Arrays that do not count examples along their first axis, as the widest one does, and what holds no numbers are left
    out.
    """
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(batch) if np.ndim(leaf)}
    arrays = {path: np.asarray(leaf) for path, leaf in leaves.items() if _holds_numbers(leaf)}
    if not arrays:
        return {}
    count = len(max(arrays.values(), key=np.size))
    return {path: array.reshape(count, -1) for path, array in arrays.items() if len(array) == count and array.size}


def _matched(own: dict[str, np.ndarray], used: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The tables of both that have as many numbers an example, each in the coarser of their types.

    Of several, those belong together that have most examples in common, or else the same path.
    """
    found = []
    for path, table in own.items():
        for other in (other for other in used if used[other].shape[1] == table.shape[1]):
            pair = _in_one_type(table, used[other])
            among = set(_keys(pair[1:]))
            found.append((sum(key in among for key in _keys(pair[:1])), path == other, path, other, pair))
    chosen, taken = [], set()
    for *_, path, other, pair in sorted(found, key=lambda one: one[:2], reverse=True):
        if not taken & {("own", path), ("used", other)}:
            taken |= {("own", path), ("used", other)}
            chosen.append(pair)
    return chosen


def _holds_numbers(leaf: Any) -> bool:
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.number, jnp.bool_))


def _in_one_type(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both tables in the coarser of their types, so that numbers that were rounded are equal to those that were not."""
    floats = [table.dtype for table in (one, other) if jnp.issubdtype(table.dtype, jnp.inexact)]
    dtype = max(floats, key=lambda dtype: float(jnp.finfo(dtype).eps)) if floats else np.dtype(np.int64)
    zero = np.zeros((), dtype)
    return one.astype(dtype) + zero, other.astype(dtype) + zero  # -0.0 becomes 0.0


def _may_be_alike_by_chance(count: int, tables: Sequence[np.ndarray]) -> bool:
    """Whether some of so many examples could be alike by chance to those of tables, judging by their columns."""
    examples = len(tables[0])
    most = count * examples / BY_CHANCE
    possible = 1.0
    for column in (column for table in tables for column in table.T):
        values = np.unique(column)
        if len(values) <= min(FEW, examples // 2):
            possible *= len(values)
        elif not np.iscomplexobj(values) and (np.floor(values) == values).all():
            possible *= float(values[-1]) - float(values[0]) + 1
        else:
            return False
        if possible >= most:
            return False
    return True


def _keys(tables: Sequence[np.ndarray]) -> list[int]:
    """A number for each example, equal where all of its numbers are."""
    return [hash(tuple(row.tobytes() for row in rows)) for rows in zip(*tables, strict=True)]
