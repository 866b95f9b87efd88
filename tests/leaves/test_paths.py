"""One canonical path string for a leaf, whatever the framework."""

import jax.numpy as jnp
import pytest
from flax import nnx

from limpet import PrototypeError
from limpet.leaves._paths import leaves_by_path, listing


def test_rockpool_paths(dynapse_net):
    leaves, _ = leaves_by_path(dynapse_net.parameters())
    assert list(leaves) == ["0_LinearJax/weight", "1_DynapSim/w_rec"]


def test_nnx_paths_leave_out_the_box_of_a_variable():
    class Model(nnx.Module):
        def __init__(self) -> None:
            self.dense = nnx.Linear(2, 3, rngs=nnx.Rngs(0))

    leaves, structure = leaves_by_path(nnx.state(Model()))
    assert list(leaves) == ["dense/bias", "dense/kernel"]
    assert jnp.array_equal(structure.unflatten(leaves.values())["dense"]["kernel"][...], leaves["dense/kernel"])


def test_a_path_names_one_leaf():
    with pytest.raises(PrototypeError, match="share the path 'a/b'"):
        leaves_by_path({"a/b": 1.0, "a": {"b": 2.0}})


def test_listing_is_bounded():
    text = listing(map(str, range(1000)))
    assert text.endswith("(960 more)")
    assert len(text) < 300
