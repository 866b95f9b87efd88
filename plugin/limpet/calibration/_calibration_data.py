"""What chips are calibrated on: batches of one shape, which are not what the network is measured on."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import jax
import numpy as np

from .._errors import MetricError, warn_user
from ..measure._measurement import require_filled

MOST_ROWS = 200_000
"""Data sets of more examples are not searched for examples that they share."""


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
    rows = _rows(stacked)
    return len(rows) if len(rows) > MOST_ROWS else len({row.tobytes() for row in rows})


def require_held_out(batch: Any, stacked: Any) -> None:
    """Refuse to measure chips on the very examples that they are calibrated on.

    Examples are compared in the array that has the most numbers for one. So labels, which are alike in any case, are
    not, where there are inputs.

    Raises:
        MetricError: every example of `batch` is among those to calibrate on. (Of some of them there is a warning.)
    """
    if not jax.tree.leaves(batch):
        return
    own, used = np.asarray(_widest(batch)), _rows(stacked)
    if not own.ndim or own.shape[1:] != used.shape[1:] or own.dtype != used.dtype:
        return
    if own.ndim == 1 and not np.array_equal(np.unique(own), np.unique(used)):
        return  # single numbers may be alike by chance
    if max(len(own), len(used)) > MOST_ROWS or own.dtype.hasobject:
        return
    seen = {row.tobytes() for row in used}
    shared = sum(row.tobytes() in seen for row in own)
    if shared == len(own):
        raise MetricError(
            f"batch: all of its {len(own)} examples are among those of batches: what chips are calibrated on says "
            f"nothing of how they do on other data; measure them on examples that were held out"
        )
    if shared:
        warn_user(
            f"batch: {shared} of its {len(own)} examples are among those of batches, on which chips are calibrated: "
            f"they will look better than they are; hold out what they are measured on"
        )


def _rows(stacked: Any) -> np.ndarray:
    """The examples of stacked batches, in the array that has the most numbers; of batches of scalars, the batches."""
    widest = np.asarray(_widest(stacked))
    return widest.reshape(-1, *widest.shape[2:]) if widest.ndim > 1 else widest


def _widest(tree: Any) -> Any:
    """The array that has the most numbers, the first of several."""
    return max(jax.tree.leaves(tree), key=np.size)
