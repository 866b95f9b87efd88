"""Crossbars as aihwkit reads and fills them: drift compensation of each array, and several pairs of devices."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from members import DRIFT, PROGRAMMING, READ_NOISE

import limpet
from limpet import Array, Crossbar

MEMORY = limpet.Chain((PROGRAMMING, DRIFT, READ_NOISE))
MONTH = 30 * 86400.0


@cache
def drawing(deviation, array):
    return jax.jit(jax.vmap(limpet.Mismatch({"w": True}, deviation, array=array), (0, None, None)))


def chips(deviation, weights, time, array, count=40):
    keys = jax.random.split(jax.random.key(5), count)
    drawn = drawing(deviation, array)(keys, {"w": weights}, limpet.Condition(time=time))
    return np.asarray(drawn["w"], np.float64)


@pytest.mark.parametrize("per", ["array", "column"])
@pytest.mark.parametrize(("rows", "columns"), [(None, None), (40, 30)])
def test_drift_is_compensated_by_the_mean_absolute_output_to_one_hot_inputs(per, rows, columns):
    """Computed a second time as aihwkit does it: each array reads the identity and averages what comes out."""
    weights = jax.random.normal(jax.random.key(0), (64, 60))
    array = Array(rows=rows, columns=columns)
    devices, compensated = Crossbar(MEMORY), Crossbar(MEMORY, drift_compensation=per)
    before, now = (chips(devices, weights, time, array) for time in (0.0, MONTH))
    found = chips(compensated, weights, MONTH, array)
    tiles = [slice(0, 32), slice(32, 64)] if rows else [slice(0, 64)]
    blocks = [slice(0, 30), slice(30, 60)] if columns else [slice(0, 60)]
    for tile in tiles:
        for block in blocks:
            axes = (1, 2) if per == "array" else 1
            outputs = [np.eye(len(held[0, tile])) @ held[:, tile, block] for held in (before, now)]
            gain = np.divide(*(np.abs(read).mean(axes, keepdims=True) for read in outputs))
            np.testing.assert_allclose(found[:, tile, block], now[:, tile, block] * gain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("size", "most"), [(64, 0.006), (256, 0.0015)])
def test_the_gain_differs_little_from_chip_to_chip(size, most):
    """Of zero-mean weights, too, because no output sums over rows: with a sum over all rows it is .018 and .010."""
    weights = jax.random.normal(jax.random.key(1), (size, size))
    largest = np.unravel_index(jnp.abs(weights).argmax(), weights.shape)
    devices, compensated = (
        chips(Crossbar(MEMORY, drift_compensation=per), weights, MONTH, Array(), count=20)[:, *largest]
        for per in (False, "array")
    )
    assert (compensated / devices).std() < most


def spread_of(crossbar, value):
    weights = jnp.full((200, 200), value).at[0, 0].set(1.0)
    return float((limpet.Mismatch({"w": True}, crossbar)(jax.random.key(2), {"w": weights})["w"] - weights).std())


@pytest.mark.parametrize("count", [2, 5])
def test_errors_of_pairs_that_hold_the_same_average(count):
    """Each holds the whole fraction with an error of its own: sqrt(count) times less. 40,000 weights, 5 sigma."""
    noise = limpet.Programming(spread=0.05)
    one, several = (spread_of(Crossbar(noise, significances=(1.0,) * pairs), 0.5) for pairs in (1, count))
    assert abs(several * np.sqrt(count) / one - 1) < 5 / np.sqrt(40_000)


def test_pairs_are_given_in_the_order_in_which_they_are_filled():
    noise = limpet.Programming(spread=0.05)
    with pytest.raises(limpet.LimpetError, match=r"significances = \(3\.0, 1\.0\): the lowest is filled first"):
        Crossbar(noise, significances=(3.0, 1.0), filling="lowest first")
    assert Crossbar(noise, significances=(3.0, 1.0)).significances == (3.0, 1.0)


@pytest.mark.parametrize(("value", "held"), [(0.1, (0.4, 0.0)), (0.25, (1.0, 0.0)), (0.7, (1.0, 0.6))])
def test_the_pair_that_counts_less_is_filled_first(value, held):
    """Of significances 1 and 3: up to a quarter of the largest weight the second pair holds nothing."""
    law = {"kind": "split", "at": 0.7, "below": 0.02, "above": 0.06}
    # With conductances of 0.3 to 1, no device is at 0, where half of the noise would be cut off.
    crossbar = Crossbar(limpet.Programming(spread=law), significances=(1.0, 3.0), filling="lowest first", smallest=0.3)
    spreads = [0.06 if 0.3 + 0.7 * fraction > 0.7 else 0.02 for fraction in held]
    expected = np.hypot(*(factor / 4 * np.hypot(0.02, spread) for factor, spread in zip((1, 3), spreads, strict=True)))
    assert abs(spread_of(crossbar, value) * 0.7 / expected - 1) < 5 / np.sqrt(40_000)
