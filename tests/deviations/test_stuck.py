"""Devices that no longer change: the same ones, in the same way, at every strength; and within a crossbar's range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet

KEY = jax.random.key(0)
WEIGHTS = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, 50_000), jnp.float32).at[0].set(1.0)


def drawn(deviation, scale=1.0, weights=WEIGHTS):
    return limpet.Mismatch({"w": True}, deviation)(KEY, {"w": weights}, scale)["w"]


@pytest.mark.parametrize("shares", [(0.05, 0.1, 0.05), (0.3, 0.01, 0.0)])
def test_a_device_is_stuck_in_the_same_way_at_every_larger_strength(shares):
    stuck = limpet.Stuck(*shares)
    before, held = np.zeros(len(WEIGHTS), bool), np.asarray(WEIGHTS)
    for scale in (0.3, 1.0, 1.7, 2.5):
        chip = np.asarray(drawn(stuck, scale))
        changed = chip != np.asarray(WEIGHTS)
        np.testing.assert_array_equal(chip[before], held[before])
        # Five standard errors of the share of each kind: 6e-7 for each.
        for share, found in (
            (sum(shares), changed),
            (shares[0], chip == 0),
            (shares[1], np.abs(chip) == 1),
        ):
            expected = min(share * scale, share / sum(shares))
            assert abs(found.mean() - expected) < 5 * (expected / len(WEIGHTS)) ** 0.5 + 1e-4
        before, held = changed, chip


@pytest.mark.parametrize(("mapping", "smallest"), [("pair", 0.1), ("single", 0.4)])
def test_devices_of_a_crossbar_are_stuck_within_its_range(mapping, smallest):
    """A device that is stuck at zero holds the smallest conductance, so that no weight lies beyond the largest one."""
    ends = drawn(limpet.Crossbar(limpet.Stuck(0.5, 0.5), mapping, smallest))
    levels = {-1.0, 1.0} if mapping == "single" else {-1.0, 0.0, 1.0}
    assert {*np.unique(np.round(ends, 5) + 0.0)} == levels
    anywhere = drawn(limpet.Crossbar(limpet.Stuck(at_random=1.0), mapping, smallest))
    assert float(np.abs(anywhere).max()) <= 1 + 1e-6
    if mapping == "single":  # evenly over the whole range: five standard errors of a uniform number's mean square
        assert abs(float((anywhere**2).mean()) - 1 / 3) < 5 * 0.3 / len(WEIGHTS) ** 0.5


@pytest.mark.parametrize(
    ("mapping", "smallest", "half"), [("pair", 0.0, 4), ("pair", 0.1, 4), ("single", 0.1, 4), ("single", 0.25, 8)]
)
def test_levels_of_a_crossbar_lie_between_its_smallest_and_its_largest_conductance(mapping, smallest, half):
    weights = jnp.linspace(-1, 1, 4 * half + 1)
    chip = drawn(limpet.Crossbar(limpet.Quantize(levels=2 * half + 1), mapping, smallest), 0.0, weights)
    steps = 1 / half if mapping == "pair" else 2 / half
    np.testing.assert_allclose(chip / steps, np.round(chip / steps), atol=1e-5)
    np.testing.assert_allclose(np.abs(chip[jnp.array([0, -1])]), 1, atol=1e-6)
    np.testing.assert_allclose(chip[2 * half], 0, atol=1e-6)
    assert float(jnp.abs(chip - weights).max()) < steps / 2 + 1e-6


def test_levels_that_a_device_left_downwards_are_the_lowest():
    device = limpet.Chain((limpet.Programming(spread=0.3), limpet.Quantize(levels=5)))
    chip = drawn(limpet.Crossbar(device, "single", 0.25))
    assert {*np.unique(np.round(chip, 4) + 0.0)} == {-1.0, 0.0, 1.0}


def test_connections_that_are_dropped_are_devices_stuck_at_zero():
    dropped, stuck = (
        drawn(limpet.Crossbar(device, smallest=0.2)) for device in (limpet.DropConnect(0.3), limpet.Stuck(at_zero=0.3))
    )
    np.testing.assert_allclose(dropped, stuck, atol=1e-6)
