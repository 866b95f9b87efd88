"""Chips that are the same: the promise of `limpet` about values that different programs draw."""

import jax
import jax.numpy as jnp
import numpy as np


def assert_alike(found, expected, units=2):
    """Leaf by leaf the same types, and values within `units` in the last place of the leaf's largest expected value."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True)
    for (path, one), other in pairs:
        name = jax.tree_util.keystr(path)
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
        if not jnp.issubdtype(other.dtype, jnp.floating):
            assert np.array_equal(one, other), name
        elif other.size:
            one, largest = np.asarray(one, np.float64), np.abs(np.asarray(other, np.float64)).max()
            unit = float(jnp.finfo(other.dtype).eps) * largest
            np.testing.assert_allclose(one, np.asarray(other, np.float64), rtol=0, atol=units * unit, err_msg=name)
