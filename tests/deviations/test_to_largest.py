"""What a spread may be relative to, and arguments of crossbar deviations that would do nothing, or everything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.deviations._to_largest import largest_of

W = jnp.array([[1.0, -2.0], [0.5, 4.0]])


def drawn(deviation, **condition):
    return limpet.Mismatch({"w": True}, deviation)(jax.random.key(0), {"w": W}, limpet.Condition(**condition))["w"]


@pytest.mark.parametrize("kind", [limpet.Additive, limpet.Programming])
def test_the_reference_is_the_tensor_the_channel_or_a_number(kind):
    noise = {
        reference: (drawn(kind(spread=0.1, relative_to=reference)) - W) / (drawn(kind(spread=0.1, relative_to=1.0)) - W)
        for reference in ("tensor", "channel", 2.0)
    }
    for reference, largest in {"tensor": 4.0, "channel": np.array([1.0, 4.0]), 2.0: 2.0}.items():
        np.testing.assert_allclose(noise[reference], np.broadcast_to(largest, (2, 2)), rtol=1e-4)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: limpet.Additive(0.1, relative_to=0), r"relative_to = 0: allowed is a finite number > 0"),
        (lambda: limpet.Quantize(bits=4, relative_to=0.0), r"relative_to = 0.0: allowed is a finite number > 0"),
        (lambda: limpet.Additive(0.1, relative_to="row"), "relative_to = 'row': allowed are 'tensor', 'channel'"),
        (lambda: limpet.Additive(0.1, channel_axis=1.5), "channel_axis = 1.5: allowed is a whole number"),
        (lambda: drawn(limpet.Additive(0.1, relative_to="channel", channel_axis=2)), "shape .2, 2. has no such axis"),
        (lambda: limpet.Stuck(), "at_zero . at_largest . at_random = 0.0: allowed is more than 0"),
        (lambda: limpet.Stuck(at_zero=0.7, at_largest=0.7), "= 1.4: allowed is more than 0, and at most 1"),
        (lambda: limpet.Quantize(levels=4), "levels = 4: allowed is an odd number"),
        (lambda: limpet.Quantize(), "give either levels or bits"),
        (lambda: limpet.Programming(spread="much"), "spread = 'much': allowed are a number, the coefficients"),
        (lambda: limpet.Drift(0.05, 0.01, start=0), "start = 0: allowed is a finite number > 0"),
        (lambda: drawn(limpet.Drift(0.05, 0.01), time=-1.0), "time = -1.0"),
        (lambda: drawn(limpet.ReadNoise(0.1), read=-1), "read = -1"),
    ],
)
def test_what_cannot_be_meant_is_refused(ask, message):
    with pytest.raises(limpet.LimpetError, match=message):
        ask()


@pytest.mark.parametrize("axes", [(0, 1), (0,), (1,)])
@pytest.mark.parametrize("values", [[[1.0, -2.0], [0.5, 0.1]], [[2.0, -2.0], [2.0, 0.1]], [[2.0, 1.0], [-2.0, -2.0]]])
def test_the_gradient_of_the_largest_value_is_shared_by_those_that_have_it(values, axes):
    def plain(values):
        return (jnp.abs(values).max(axis=axes) * jnp.arange(1.0, 3.0)).sum()

    def ours(values):
        return (largest_of(values, axes) * jnp.arange(1.0, 3.0)).sum()

    values = jnp.array(values)
    np.testing.assert_allclose(jax.grad(ours)(values), jax.grad(plain)(values))


def test_a_crossbar_reads_a_device_that_is_switched_off_in_conductances_too():
    """The largest conductance is 1, also where the leaf's largest weight is held by the other device of the pair."""
    rounded = limpet.Quantize(bits=3)
    off = limpet.Crossbar(limpet.Off(limpet.Chain((rounded, limpet.Programming(spread=(0.1,))))))
    assert off.device.deviation.members[0].relative_to == off.device.deviation.members[1].relative_to == 1.0
    weights = {"w": jnp.array([0.3, 0.8, -1.0])}
    drawn = [
        limpet.Mismatch({"w": True}, crossbar)(jax.random.key(0), weights)["w"]
        for crossbar in (off, limpet.Crossbar(rounded))
    ]
    np.testing.assert_allclose(*drawn, rtol=1e-6)
