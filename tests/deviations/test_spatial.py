"""Correlations between sites, against the formula.

False alarms: the sample correlation r of n pairs has the standard error (1 - r^2) / sqrt(n); bounds are 5 of them
(6e-7 for each of some 10). Seeds are fixed.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.deviations._spatial import _correlation, _embedding, _factor

KEY = jax.random.key(5, impl=limpet.fast)
CHIPS = 1_500


def logarithms(deviation, shape, chips=CHIPS):
    """Of the factors of many chips: shape (chips, *shape)."""
    mismatch = limpet.Mismatch({"w": True}, deviation)
    keys = jax.random.split(KEY, chips)
    drawn = jax.jit(lambda keys: jax.lax.map(lambda key: mismatch(key, {"w": jnp.ones(shape)})["w"], keys))(keys)
    return np.log(np.asarray(drawn, np.float64))


def require_correlation(first, second, expected):
    seen = np.corrcoef(first, second)[0, 1]
    assert abs(seen - expected) < 5 * (1 - expected**2) / math.sqrt(len(first)), (seen, expected)


@pytest.mark.parametrize("nugget", [0.0, 0.4])
def test_correlations_on_a_grid(nugget):
    field = limpet.Spatial(limpet.LogNormal(sigma_ln=0.1), length=2.0, nugget=nugget, grid=(5, 6))
    logs = logarithms(field, (30,))
    assert abs(logs.std() / 0.1 - 1) < 5 * math.sqrt(1 / (2 * CHIPS))  # sites resemble each other: count chips alone
    for row, column in ((0, 1), (1, 0), (1, 1), (3, 4)):
        expected = (1 - nugget) * math.exp(-math.hypot(row, column) / 2)
        require_correlation(logs[:, 0], logs[:, 6 * row + column], expected)


def test_correlations_of_sites_with_positions():
    places = ((0.0, 0.0), (3.0, 4.0), (0.0, 0.5))
    logs = logarithms(limpet.Spatial(limpet.LogNormal(sigma_ln=0.1), length=5.0, positions=places), (2, 3))
    require_correlation(logs[:, 0, 0], logs[:, 0, 1], math.exp(-1))
    require_correlation(logs[:, 0, 0], logs[:, 0, 2], math.exp(-0.1))
    np.testing.assert_array_equal(logs[:, 0], logs[:, 1])  # what lies at one site has its factor in common


def test_correlations_on_a_large_grid():
    field = limpet.Spatial(limpet.LogNormal(sigma_ln=0.1), length=3.0, nugget=0.1, sites="devices")
    logs = logarithms(field, (45, 46), chips=400)
    assert abs(logs.std() / 0.1 - 1) < 5 * math.sqrt(1 / (2 * 400))
    for row, column in ((0, 1), (1, 0), (2, 2)):
        expected = 0.9 * math.exp(-math.hypot(row, column) / 3)
        require_correlation(logs[:, 3, 3], logs[:, 3 + row, 3 + column], expected)
        require_correlation(logs[:, 44, 45], logs[:, 44 - row, 45 - column], expected)
    require_correlation(logs[:, 0, 0], logs[:, 44, 45], 0.0)  # the ends of the grid do not meet


def test_the_factor_and_the_embedding_have_the_covariance_asked_for():
    places = tuple((float(row), float(column)) for row in range(20) for column in range(25))
    factor = _factor(places, 10.0, 0.0)
    distance = np.hypot(*(np.array(places)[:, None] - np.array(places)[None]).transpose(2, 0, 1))
    assert np.abs(factor @ factor.T - np.exp(-distance / 10)).max() < 5e-3
    for grid in ((45, 46), (1, 5_000)):
        root = _embedding(grid, 8.0, 0.2)
        covariance = np.fft.ifft2(root.astype(np.float64) ** 2).real[: grid[0], : grid[1]]
        rows, columns = np.ogrid[: grid[0], : grid[1]]
        expected = _correlation(np.hypot(rows, columns), 8.0, 0.2)
        np.testing.assert_allclose(covariance, expected, atol=2e-5)


def test_a_large_field_is_the_same_however_it_is_drawn():
    """Within 2 units in the last place of the leaf's largest value."""
    mismatch = limpet.Mismatch({"w": True}, limpet.Spatial(limpet.Gaussian(0.1), length=3.0, grid=(45, 46)))
    tree, keys = {"w": jnp.ones(45 * 46)}, jax.random.split(KEY, 3)
    eager = mismatch(keys[1], tree)["w"]
    apart = 2 * np.spacing(np.abs(eager).max())
    np.testing.assert_allclose(eager, jax.jit(mismatch)(keys[1], tree)["w"], rtol=0, atol=apart)
    np.testing.assert_allclose(eager, jax.jit(jax.vmap(mismatch, (0, None)))(keys, tree)["w"][1], rtol=0, atol=apart)
    slope = jax.jit(jax.grad(lambda scale: mismatch(keys[1], tree, scale)["w"].sum()))(1.0)
    np.testing.assert_allclose(slope, (np.asarray(eager, np.float64) - 1).sum(), rtol=1e-3)
    mirrored = mismatch(keys[1], tree, limpet.Condition(mirrored=True))["w"]
    np.testing.assert_allclose(eager + mirrored, 2.0, rtol=3e-7)


def test_leaves_of_one_name_have_one_field():
    named = limpet.Spatial(limpet.Gaussian(0.1), length=3.0, name="die")
    tree = {"a": jnp.ones(7), "b": jnp.full(7, 2.0)}
    chip = limpet.Mismatch({"a": True, "b": True}, named)(KEY, tree)
    np.testing.assert_array_equal(2 * chip["a"], chip["b"])
    off = limpet.Mismatch({"a": True, "b": True}, named).without("die")(KEY, tree)
    np.testing.assert_array_equal(off["b"], tree["b"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"deviation": limpet.Uniform(0.1)}, r"Spatial\.deviation = Uniform.*allowed are limpet\.Gaussian and"),
        ({"length": 0.0}, r"Spatial\.length = 0\.0: allowed is a finite number > 0"),
        ({"nugget": 1.5}, r"Spatial\.nugget = 1\.5: allowed is a number from 0 to 1"),
        ({"grid": (3,)}, r"Spatial\.grid = \(3,\): allowed are two whole numbers"),
        ({"grid": (0, 3)}, r"Spatial\.grid = \(0, 3\)"),
        ({"positions": ((0.0, 1.0, 2.0),)}, r"Spatial\.positions = .*: allowed are up to 2,000 pairs"),
        ({"positions": ((0.0, math.nan),)}, r"Spatial\.positions = .*: allowed are"),
        ({"grid": (1, 1), "positions": ((0.0, 0.0),)}, "give grid or positions, not both"),
        ({"sites": "neurons"}, r"Spatial\.sites = 'neurons': allowed are 'columns', 'rows' and 'devices'"),
        ({"name": "spatial"}, r"Spatial\.name = 'spatial'"),
    ],
)
def test_what_is_no_field(arguments, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.Spatial(**{"deviation": limpet.Gaussian(0.1), "length": 1.0, **arguments})


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"grid": (2, 3)}, (4, 5), r"Spatial\.grid: 6 sites for a leaf of shape \(4, 5\), whose arrays have 5 columns"),
        (
            {"positions": ((0.0, 1.0),), "sites": "devices"},
            (2, 2),
            r"Spatial\.positions: 1 sites .* whose arrays have 4 devices",
        ),
        ({"length": 1e5, "grid": (50, 50)}, (2500,), r"Spatial\.length = 100000: on a grid of 50 x 50 sites"),
    ],
)
def test_leaves_that_do_not_fit(arguments, shape, message):
    field = limpet.Spatial(**{"deviation": limpet.Gaussian(0.1), "length": 1.0, **arguments})
    with pytest.raises(limpet.LimpetError, match=message):
        jax.eval_shape(limpet.Mismatch({"w": True}, field), KEY, {"w": jax.ShapeDtypeStruct(shape, "float32")})
