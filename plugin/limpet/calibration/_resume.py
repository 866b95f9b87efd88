"""Going on with a calibration: only where it is one of the very same things, told by what they hold."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checked import shown
from .._errors import LimpetError
from ..measure._description import Description
from ..measure._monte_carlo import Prepared
from ..results._calibration import Calibration
from ._chip_fit import AFTER, BEFORE, GIVEN

Values = dict[str, np.ndarray]
"""Results by name, shape (strengths, chips, *shape of one chip's)."""

_WORDS = {
    "program": "what is done to a chip: loss, update function, optimizer, metric, hardware or numbers that they read, "
    "or the versions of JAX, optax or Limpet",
    "captured": "arrays that the loss, the optimizer or the metric read beside their arguments",
    "network": "the values of the network",
    "batches": "the batches to calibrate on",
    "batch": "the batch to measure on",
}


def origin_of(prepared: Prepared, tree: Any, batches: Any, batch: Any) -> dict[str, str]:
    """Hashes of all that a calibration follows from, by name, equal in every process."""
    arrays = {"captured": prepared.trace.captured, "network": tree, "batches": batches, "batch": batch}
    return {"program": prepared.trace.content.digest} | {name: _hash(values) for name, values in arrays.items()}


def held_by(
    resume: Any, describe: Description, origin: Mapping[str, str], steps: int, samples: int, given: frozenset[str]
) -> Values:
    """The values of chips that are calibrated already.

    Args:
        resume: the user's own argument: a calibration, a dict of them by metric, or None.
        describe: the description of this calibration's curves.
        origin: the hashes of this calibration, see `origin_of`.
        steps: the number of steps of this one.
        samples: the number of examples of this one.
        given: the names of the results that say what chips are given.

    Raises:
        LimpetError: `resume` is no calibration, or one of something else.
    """
    if resume is None:
        return {}
    named = resume if isinstance(resume, Mapping) else {"": resume}
    if not named or not all(isinstance(calibration, Calibration) for calibration in named.values()):
        raise LimpetError(f"resume = {shown(resume)}: give what an earlier call of calibrate gave")
    values: Values = {}
    for name, calibration in named.items():
        like = describe.curves({name: np.asarray(calibration.before.values)})
        own, other = next(iter(like.values())).to_dict(), calibration.before.to_dict()
        own |= {"steps": steps, "samples": samples, "given": sorted(given)}
        other |= {"steps": calibration.steps, "samples": calibration.samples}
        other |= {"given": sorted(f"{GIVEN}{path}" for path in calibration.given)}
        if changed := [key for key in own if own[key] != other[key] and key != "values"]:
            raise LimpetError(
                f"resume: differs in {changed[0]}: {other[changed[0]]!r}, where this one has {own[changed[0]]!r}; only "
                f"a calibration of the same things can go on"
            )
        if not calibration.origin:
            raise LimpetError(
                "resume: it was written by an older version, which did not say of which network and data it is, so "
                "that it cannot go on; calibrate all chips anew"
            )
        if changed := [key for key in _WORDS if origin[key] != calibration.origin.get(key)]:
            raise LimpetError(
                f"resume: differs in {_WORDS[changed[0]]}; only a calibration of the same things can go on, so "
                f"calibrate all chips anew"
            )
        values |= {f"{BEFORE}{name}": calibration.before.values, f"{AFTER}{name}": calibration.after.values}
        values |= {f"{GIVEN}{path}": array for path, array in calibration.given.items()}
    return values


def _hash(values: Any) -> str:
    found = hashlib.blake2b(digest_size=16)
    for path, leaf in jax.tree.leaves_with_path(values):
        if jnp.issubdtype(getattr(leaf, "dtype", bool), jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.ascontiguousarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()
