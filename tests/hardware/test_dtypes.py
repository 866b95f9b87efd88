"""Types too coarse for a deviation, infinite values, and types that cannot deviate: right, refused or said."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.hardware._dtypes import FINEST

KEY = limpet.virtual_chip(0, 0)
DTYPES = ["bfloat16", "float16", "float8_e4m3fn"]


def realised(dtype: str, sigma: float) -> float:
    """The standard deviation of deviated values, relative to what was asked, near where numbers lie furthest apart."""
    value = 1.125
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma))(KEY, {"w": jnp.full(100_000, value, dtype)})
    return float(np.asarray(drawn["w"], np.float64).std() / (value * sigma))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sigma_that_is_too_small_for_its_type_is_said(dtype):
    finest = FINEST * float(jnp.finfo(dtype).eps)
    tree = {"w": jnp.ones(3, dtype)}
    with pytest.warns(UserWarning, match=rf"too far apart to be off by sigma: w \({dtype}, sigma .*keep .* in float32"):
        limpet.Mismatch({"w": True}, limpet.Gaussian(0.99 * finest))(KEY, tree)
    limpet.Mismatch({"w": True}, limpet.Gaussian(1.01 * finest))(KEY, tree)  # warnings are errors
    limpet.Mismatch({"w": True}, limpet.Gaussian(0.0))(KEY, tree)


COARSE = {
    "additive": (limpet.Additive(0.001), 1.0),
    "programming": (limpet.Programming(spread=(0.0005, 0.0005)), 1.0),
    "read noise": (limpet.ReadNoise(spread=0.001), 1.0),
    "a chain": (limpet.Chain((limpet.Gaussian(0.0008), limpet.Additive(0.0006))), 1.0),
    "a crossbar": (limpet.Crossbar(limpet.Programming(spread=0.0009), smallest=0.1), 1.0),
    "noise to train with": (limpet.RightCensoredGaussian(0.001), 1.0),
    "a small scale": (limpet.Gaussian(0.1), 0.01),
}


@pytest.mark.parametrize("name", COARSE)
def test_a_spread_that_is_too_small_for_its_type_is_said_of_every_deviation(name):
    """Most values of a bfloat16 leaf would stay as they are; those of float32 deviate."""
    deviation, scale = COARSE[name]
    recipe = limpet.Mismatch({"w": True}, deviation)
    tree = {"w": jnp.linspace(0.6, 1.0, 100)}
    assert (recipe(KEY, tree, scale)["w"] != tree["w"]).mean() > 0.9  # warnings are errors
    narrow = {"w": tree["w"].astype("bfloat16")}
    with pytest.warns(UserWarning, match=r"too far apart to be off by sigma: w \(bfloat16, sigma 0\.001"):
        drawn = recipe(KEY, narrow, scale)["w"]
    assert (drawn == narrow["w"]).mean() > 0.8
    if scale == 1:  # within a traced function, another scale is not known
        with pytest.warns(UserWarning, match=r"w \(bfloat16, sigma 0\.001"):
            jax.eval_shape(lambda tree: recipe(KEY, tree), narrow)


@pytest.mark.parametrize("preset", ["pcm-nandakumar2019", "rram-milo2021"])
def test_presets_are_coarse_enough_for_bfloat16(preset):
    jax.eval_shape(lambda tree: limpet.preset(preset).on(tree)(KEY, tree), {"w": jnp.ones((2, 3), "bfloat16")})


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_said_has_the_sigma_that_was_asked_for(dtype):
    """To 5%; five standard errors of 100,000 values are 1.1% more (6e-7). A fifth of the least sigma is far off."""
    finest = FINEST * float(jnp.finfo(dtype).eps)
    assert abs(realised(dtype, finest) - 1) < 0.05 + 0.011
    assert realised(dtype, finest / 5) < 0.8


def test_infinite_values_are_refused_where_they_are_known():
    tree = {"w": jnp.array([1.0, jnp.inf]), "b": jnp.ones(2)}
    hardware = limpet.Hardware(all=limpet.Part("*", limpet.Gaussian(0.1)))
    with pytest.raises(limpet.PrototypeError, match=r"w: infinite values cannot be off by a fraction .*\('w', False\)"):
        hardware.on(tree)
    recipe = limpet.Mismatch({"w": True, "b": True}, limpet.Gaussian(0.1))
    with pytest.raises(limpet.PrototypeError, match="w: infinite values"):
        recipe(KEY, tree, 0.0)
    hardware.on(jax.eval_shape(lambda: tree))  # no values, so none to refuse


def test_types_that_cannot_deviate_are_refused():
    tree = {"w": jnp.ones(2, "float4_e2m1fn")}
    with pytest.raises(limpet.PrototypeError, match="leaf 'w' is of dtype float4_e2m1fn: allowed .* 8 bits or more"):
        limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))(KEY, tree)


def test_leaves_of_more_values_than_a_counter_has_are_drawn_row_by_row():
    """Counters have 32 bits. A vector that has more values would repeat them."""
    recipe = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))
    large = {"w": jax.ShapeDtypeStruct((3, 2**31), jnp.float32)}
    jaxpr = jax.make_jaxpr(lambda tree: recipe(KEY, tree))(large)
    assert jaxpr.out_avals[0].shape == (3, 2**31)
    with pytest.raises(limpet.PrototypeError, match=r"leaf 'w' of shape \(4294967297,\)"):
        jax.eval_shape(lambda tree: recipe(KEY, tree), {"w": jax.ShapeDtypeStruct((2**32 + 1,), jnp.float32)})


def test_infinite_values_are_refused_where_spreads_are_relative_to_the_largest():
    leaf = {"w": jnp.array([1.0, jnp.inf])}
    with pytest.raises(limpet.PrototypeError, match="w: infinite values"):
        limpet.Mismatch({"w": True}, limpet.Additive(spread=0.1))(jax.random.key(0), leaf)
