"""Strengths that differ from place to place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alike import assert_alike
from members import MEMBERS

import limpet
from limpet import Array, Graded

KEY = jax.random.key(4)
W = jax.random.normal(jax.random.key(1), (3, 4))
FACTORS = (1.0, 0.0, 2.5)
NO_ARRAY = Array()
COMMON = ("shared", "spatial", "synapse-branches", "own", "graded")
"""Members that draw something which several values have in common, or are graded themselves."""


def drawn(deviation, tree=W, array=NO_ARRAY, **condition):
    recipe = limpet.Mismatch({"w": True}, deviation, array=array)
    return recipe(KEY, {"w": tree}, limpet.Condition(**{"time": 1e3, **condition}))["w"]


def test_each_row_deviates_as_at_the_strength_of_its_factor():
    """For every deviation: a row of a graded matrix is that row of the whole matrix drawn at that strength."""
    members = {name: member for name, member in MEMBERS.items() if name not in COMMON and "memory" not in name}
    keys = {name: jax.random.fold_in(KEY, place) for place, name in enumerate(members)}

    @jax.jit
    def by_member(scale, factors):
        found = {}
        for name, member in members.items():
            draw = limpet.Draw(keys[name], KEY, time=jnp.float32(1e3))
            found[name] = member.deviate(draw, W, scale * factors)
        return found

    ones = jnp.ones(())
    graded = by_member(jnp.float32(1), jnp.array(FACTORS)[:, None] * jnp.ones_like(W))
    for row, factor in enumerate(FACTORS):
        alone = by_member(jnp.float32(factor), ones)
        for name in members:
            assert_alike({name: graded[name][row]}, {name: alone[name][row]}, units=8)


def test_factors_of_rows_columns_and_devices_multiply():
    noise = limpet.Additive(spread=0.1)
    table = ((1.0, 2.0, 0.5, 0.0), (3.0, 1.0, 1.0, 1.0), (1.0, 1.0, 4.0, 2.0))
    found = drawn(Graded(noise, rows=FACTORS, columns=(1.0, 2.0, 0.0, 3.0), devices=table)) - W
    expected = (drawn(noise) - W) * np.outer(FACTORS, (1.0, 2.0, 0.0, 3.0)) * np.array(table)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [(1.0, 0.5), (1.0, 0.5, 9.0)])
def test_every_array_has_the_factors_of_a_physical_one(rows):
    """Given for as many rows as the largest array has, or for those of a physical one, of which the first are used."""
    leaf = jnp.ones((2, 5, 3))
    array, noise = Array(stack=0, rows=3), limpet.Gaussian(sigma=0.1)
    if len(rows) == 2:  # the larger of 2 arrays has 3 rows
        with pytest.raises(limpet.LimpetError, match=r"Graded\.rows: factors for 2 rows; a leaf of shape \(2, 5, 3\)"):
            drawn(Graded(noise, rows=rows), leaf, array)
        return
    found = drawn(Graded(noise, rows=rows), leaf, array) - 1
    expected = (drawn(noise, leaf) - 1) * np.array([1.0, 0.5, 9.0, 1.0, 0.5])[:, None]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    half_used = drawn(Graded(noise, columns=(1.0, 2.0, 3.0, 4.0)), leaf, Array(stack=0, columns=4)) - 1
    np.testing.assert_allclose(half_used, (drawn(noise, leaf) - 1) * np.array([1.0, 2.0, 3.0]), rtol=2e-5, atol=1e-6)


def test_transistors_of_several_sizes_deviate_by_their_areas():
    widths, lengths = np.array([[1.0, 4.0], [0.5, 2.0]]), np.array([[1.0, 1.0], [0.5, 0.25]])
    sigmas = limpet.pelgrom(5.0, widths, lengths)
    graded = Graded(limpet.Gaussian(sigma=sigmas[0, 0]), devices=sigmas / sigmas[0, 0])
    chips = jax.vmap(limpet.Mismatch({"w": True}, graded), (0, None))
    values = np.asarray(chips(jax.random.split(KEY, 20_000), {"w": jnp.ones((2, 2))})["w"])
    np.testing.assert_allclose(values.std(axis=0), sigmas, rtol=5 / np.sqrt(2 * 20_000))  # 5 sigma each


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give the factors of rows, columns or devices"),
        ({"rows": (1.0, -0.5)}, r"Graded\.rows = \(1\.0, -0\.5\): allowed are finite numbers >= 0"),
        ({"columns": (1.0, float("nan"))}, r"Graded\.columns = .*allowed are finite numbers"),
        ({"devices": (1.0, 2.0)}, r"Graded\.devices = .*in a row for each row of the array"),
        ({"rows": "wide"}, r"Graded\.rows = 'wide'"),
        ({"rows": (1.0,), "deviation": limpet.Quantize(bits=4)}, "its strength does not matter"),
        ({"rows": (1.0,), "deviation": limpet.Shared(limpet.Gaussian(0.1), across="chip")}, "has no strength of each"),
        (
            {
                "rows": (1.0,),
                "deviation": limpet.Chain((limpet.Gaussian(0.1), limpet.Spatial(limpet.Gaussian(0.1), length=2.0))),
            },
            "what several values have in common",
        ),
    ],
)
def test_what_cannot_be_graded(arguments, message):
    with pytest.raises(limpet.LimpetError, match=message):
        Graded(**{"deviation": limpet.Gaussian(0.1), **arguments})


@pytest.mark.parametrize(
    "within",
    [
        lambda device: limpet.Chain((device, limpet.ReadNoise(spread=0.1, of="largest"))),
        lambda device: limpet.Chain((limpet.LogNormal(sigma=0.1), device, limpet.Drift(0.05, 0.01))),
        lambda device: limpet.Crossbar(device),
        lambda device: limpet.Crossbar(limpet.Chain((device, limpet.ReadNoise(spread=0.1))), smallest=0.1),
    ],
)
@pytest.mark.parametrize("reference", ["array", 0.4])
def test_a_graded_device_is_that_device_in_a_chain_and_in_a_crossbar(within, reference):
    """It draws its numbers, programs what it does, and errs by a fraction of the same largest conductance."""
    device = limpet.Programming(spread=(0.02, 0.1, -0.05), relative_to=reference)
    np.testing.assert_array_equal(drawn(within(Graded(device, rows=(1.0,)))), drawn(within(device)))


def test_a_level_that_is_switched_off_is_so_within_a_grading():
    graded = Graded(limpet.Gaussian(0.1), rows=FACTORS)
    off = limpet.Mismatch({"w": True}, graded).without("device")
    np.testing.assert_array_equal(off(KEY, {"w": W})["w"], W)
