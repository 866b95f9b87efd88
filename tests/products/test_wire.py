"""The closed form of what wires take away, beside exact solutions of the circuit."""

import jax.numpy as jnp
import numpy as np
import pytest

from limpet.analog._wire import lost

from .nodal_solver import currents

DRIVEN = 15
"""Time slots: a row whose input is 7 / 15 is driven in 7 of them."""


def closed(x, w, resistance):
    x, w = jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)
    return np.asarray(lost(x, w, len(w) * resistance, jnp.matmul))


def exact(driven, w, resistance):
    """What a crossbar loses where the rows in `driven` are driven in full, and the others are not connected."""
    return driven @ w - currents(np.where(driven, 1.0, np.nan), w, resistance)


def pulses(x_codes, w, resistance, order):
    """The mean over time slots of what is lost; `order` says in which of them a row is driven first, second, ..."""
    return np.mean([exact(x_codes > order[:, slot], w, resistance) for slot in range(DRIVEN)], axis=0)


def test_solver_of_circuits_that_can_be_written_down():
    one, g = np.ones(1), np.full((1, 1), 0.5)
    np.testing.assert_allclose(currents(one, g, 3.0, row_wire=2.0), 1 / (1 / 0.5 + 2.0))
    two = np.array([[0.5], [0.25]])
    np.testing.assert_allclose(currents(np.ones(2), two, 3.0), 0.5 + 1 / (1 / 0.25 + 3.0))
    np.testing.assert_allclose(currents(np.array([np.nan, 1.0]), two, 3.0), 1 / (1 / 0.25 + 3.0))
    np.testing.assert_allclose(currents(np.ones(2), two, 3.0, row_0="farthest"), 0.25 + 1 / (1 / 0.5 + 3.0))


@pytest.mark.parametrize("rows", [64, 256, 512])
@pytest.mark.parametrize(("strength", "within"), [(0.1, 0.014), (1.0, 0.025), (2.0, 0.13)])
def test_column_that_conducts_alike(rows, strength, within):
    """With `strength` the a of the closed form: what is lost is right within 2.5% up to 1, and 13% up to 2."""
    w = np.ones((rows, 1))
    resistance = strength / rows**2
    found = closed(np.ones(rows), w, resistance)
    circuit = exact(np.ones(rows, bool), w, resistance)
    np.testing.assert_allclose(found, circuit, rtol=within)
    np.testing.assert_allclose(circuit, rows * (1 - np.tanh(strength**0.5) / strength**0.5), rtol=2 / rows)


@pytest.mark.parametrize(("rows", "within"), [(64, 0.12), (256, 0.07), (512, 0.04)])
@pytest.mark.parametrize("strength", [0.02, 0.5])
def test_pulses_at_random_times(rows, strength, within):
    """Random devices, inputs as pulses whose times have nothing to do with one another: right within 12, 7 and 4%.

    Of fixed seeds; each network's error is mostly that of its devices' places, which the closed form averages over.
    """
    rng = np.random.default_rng(rows)
    w, codes = rng.uniform(0, 1, (rows, 4)), rng.integers(0, DRIVEN + 1, rows)
    order = rng.permuted(np.tile(np.arange(DRIVEN), (rows, 1)), axis=1)
    x = codes / DRIVEN
    resistance = strength / (rows * (x @ w).max())
    np.testing.assert_allclose(closed(x, w, resistance), pulses(codes, w, resistance, order), rtol=within)


def test_pulses_that_begin_together_lose_up_to_a_third_more():
    """Their currents flow at once: of uniform inputs x, the mean of min(x, x') is 4/3 of the mean of x x'."""
    rng = np.random.default_rng(0)
    w, codes = rng.uniform(0, 1, (512, 4)), rng.integers(0, DRIVEN + 1, 512)
    together = pulses(codes, w, 1e-6, np.tile(np.arange(DRIVEN), (512, 1)))
    np.testing.assert_array_less(np.abs(together / closed(codes / DRIVEN, w, 1e-6) - 1.29), 0.05)


def test_the_row_nearest_to_the_converter_is_row_0():
    """Of equal devices, all driven, one conducts a little better: where it is far, more is lost."""
    rows, resistance = 128, 0.5 / 128**2

    def lost_more(solution, row):
        better = np.ones((rows, 1))
        better[row] += 0.1
        return (solution(np.ones(rows), better) - solution(np.ones(rows), np.ones((rows, 1))))[0]

    nearest, farthest = (lost_more(lambda x, w: closed(x, w, resistance), row) for row in (0, rows - 1))
    circuit = lambda x, w: exact(x > 0, w, resistance)  # noqa: E731
    assert lost_more(circuit, 0) < 0.1 * lost_more(circuit, rows - 1)
    assert nearest < 0.5 * farthest


def test_negative_weights_and_inputs_lose_with_their_sign():
    x, w = np.array([1.0, -1.0, 0.5]), np.array([[0.5, -0.5], [0.25, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(closed(-x, w, 0.1), -closed(x, w, 0.1), rtol=1e-6)
    np.testing.assert_allclose(closed(x, -w, 0.1), -closed(x, w, 0.1), rtol=1e-6)
