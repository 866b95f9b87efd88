"""What goes along a chain: what the devices were to hold, and what they held right after programming."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet

KEY = jax.random.key(0)
WEIGHTS = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, 20_000), jnp.float32).at[0].set(1.0)
PROGRAMMING = limpet.Programming(spread=(0.05, 0.1))
FIRST = {
    "programming": PROGRAMMING,
    "gaussian": limpet.Gaussian(0.3),
    "additive": limpet.Additive(0.2),
    "die": limpet.Shared(limpet.LogNormal(sigma=0.3), across="chip"),
    "crossbar": limpet.Crossbar(PROGRAMMING),
    "several": limpet.Chain((limpet.LogNormal(sigma=0.2), PROGRAMMING)),
}


def drawn(*members, weights=WEIGHTS, **condition):
    recipe = limpet.Mismatch({"w": True}, limpet.Chain(members))
    return recipe(KEY, {"w": weights}, limpet.Condition(**condition))["w"]


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("largest", [1.0, 2.5])
def test_a_device_that_is_stuck_at_the_largest_holds_what_was_to_be_programmed(first, largest):
    weights = WEIGHTS * largest
    moved = drawn(FIRST[first], weights=weights)
    chip = drawn(FIRST[first], limpet.Stuck(at_largest=0.1), weights=weights)
    changed = ~np.isclose(chip, moved, rtol=0, atol=1e-5 * largest)  # two programs, alike to the last places
    assert 0.08 < changed.mean() < 0.12
    np.testing.assert_allclose(np.abs(chip[changed]), largest, rtol=1e-6)
    np.testing.assert_array_equal(np.sign(chip[changed]), np.sign(weights[changed]))


def test_a_device_that_is_stuck_after_rounding_holds_a_level():
    chip = drawn(limpet.Quantize(levels=5), limpet.Gaussian(0.2), limpet.Stuck(at_largest=1.0))
    np.testing.assert_allclose(np.abs(chip), 1.0, rtol=1e-6)


@pytest.mark.parametrize("first", ["gaussian", "additive", "die"])
def test_drift_depends_on_what_was_to_be_held(first):
    """As it does after a `Programming`: the exponent of a device does not change with what befalls it."""
    exponent = limpet.Drift(exponent=(0.2, -0.15), spread=0.0)
    before, after = drawn(FIRST[first]), drawn(FIRST[first], exponent, time=1000.0)
    expected = (1020.0 / 20.0) ** -(0.2 - 0.15 * np.abs(WEIGHTS))
    np.testing.assert_allclose(after / before, expected, rtol=1e-4)


def test_noise_is_relative_to_the_largest_of_what_was_to_be_held():
    """A die whose weights are all larger by a third has no more noise for it."""
    die = FIRST["die"]
    gain = drawn(die) / WEIGHTS
    assert abs(float(gain[0]) - 1) > 0.05
    noise = drawn(die, limpet.Additive(0.1)) - drawn(die)
    alone = drawn(limpet.Additive(0.1)) - WEIGHTS
    np.testing.assert_allclose(noise, alone, atol=1e-6)


def test_read_noise_depends_on_what_was_held_before_time_passed():
    """A device that is stuck at 0.3 of the largest is read with the noise of 0.3, also after a year."""
    noise = limpet.ReadNoise(spread={"kind": "split", "at": 0.5, "below": 0.0, "above": 0.5})
    stuck = limpet.Stuck(at_random=1.0)
    held = drawn(stuck)
    chip = drawn(stuck, limpet.Drift(exponent=2.0, spread=0.0), noise, time=1e6)
    drifted = drawn(stuck, limpet.Drift(exponent=2.0, spread=0.0), time=1e6)
    is_noisy = np.asarray(chip != drifted)
    np.testing.assert_array_equal(is_noisy, np.abs(held) >= 0.5)


def test_rounding_in_the_middle_of_a_chain_begins_anew():
    """Levels are those of the values that are rounded, and what comes after them is relative to these."""
    chip = drawn(FIRST["die"], limpet.Quantize(levels=5))
    gain = drawn(FIRST["die"])[0] / WEIGHTS[0]
    assert {*np.unique(np.round(np.abs(chip / gain), 4))} == {0.0, 0.5, 1.0}
    stuck = drawn(FIRST["die"], limpet.Quantize(levels=5), limpet.Stuck(at_largest=1.0))
    np.testing.assert_allclose(np.abs(stuck), gain, rtol=1e-5)
