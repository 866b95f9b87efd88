"""What a spread may be relative to, and arguments of crossbar deviations that would do nothing, or everything."""

from dataclasses import replace
from functools import reduce
from operator import or_

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
def test_the_reference_is_the_array_the_column_the_leaf_or_a_number(kind):
    noise = {
        reference: (drawn(kind(spread=0.1, relative_to=reference)) - W) / (drawn(kind(spread=0.1, relative_to=8.0)) - W)
        for reference in ("array", "column", "tensor", 5.0)
    }
    for reference, largest in {"array": 4.0, "column": np.array([1.0, 4.0]), "tensor": 4.0, 5.0: 5.0}.items():
        np.testing.assert_allclose(8 * noise[reference], np.broadcast_to(largest, (2, 2)), rtol=1e-4)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: limpet.Additive(0.1, relative_to=0), r"relative_to = 0: allowed is a finite number > 0"),
        (lambda: limpet.Quantize(bits=4, relative_to=0.0), r"relative_to = 0.0: allowed is a finite number > 0"),
        (lambda: limpet.Additive(0.1, relative_to="row"), "relative_to = 'row': allowed are 'array', 'column'"),
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


@pytest.mark.parametrize(
    ("axes", "array", "per"),
    [((0, 1), {}, "array"), ((0,), {}, "column"), ((1,), {"outputs": 0}, "column"), ((1,), {"stack": 0}, "array")],
)
@pytest.mark.parametrize("values", [[[1.0, -2.0], [0.5, 0.1]], [[2.0, -2.0], [2.0, 0.1]], [[2.0, 1.0], [-2.0, -2.0]]])
def test_the_gradient_of_the_largest_value_is_shared_by_those_that_have_it(values, axes, array, per):
    layout = limpet.Array(**array).layout((2, len(values[0])))

    def plain(values):
        return (jnp.abs(values).max(axis=axes) * jnp.arange(1.0, 3.0)).sum()

    def ours(values):
        return (largest_of(values, layout, per).ravel() * jnp.arange(1.0, 3.0)).sum()

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


PROGRAMMING = limpet.Programming(spread=(0.01, 0.08, -0.05))
HOLDING = {
    "programming": limpet.Programming(spread=(0.01, 0.08, -0.05), relative_to=1.0),
    "drift": limpet.Drift(exponent=(0.1, -0.05), spread=0.01),
    "read noise": limpet.ReadNoise(spread=(0.2, -0.1)),
    "relaxation": limpet.Relaxation(mean=(0.0, -0.01), spread=0.02),
    "stuck": limpet.Stuck(at_largest=0.3, at_random=0.3),
    "crossbar": limpet.Crossbar(PROGRAMMING, smallest=0.1),
    "quantize": limpet.Quantize(levels=9),
    "binary branches": limpet.BinaryBranches(spread=0.1),
    "systematic": limpet.Systematic(gain=0.7, offset=0.1),
    "systematic gain": limpet.Systematic(gain=0.7),
    "chain": limpet.Chain((limpet.Drift(exponent=(0.1, -0.05), spread=0.01, relative_to=1.0), limpet.ReadNoise(0.05))),
    "programmed": limpet.Chain((limpet.Programming(spread=(0.05, -0.04), relative_to=1.0), limpet.ReadNoise(0.05))),
}


@pytest.mark.parametrize("name", HOLDING)
def test_a_weight_beyond_the_number_that_is_the_largest_is_held_at_it(name):
    """Its law is that of the largest value, not one that is carried on beyond its range."""
    device = HOLDING[name]
    if not isinstance(device, limpet.Chain):
        device = replace(device, relative_to=1.0)
    condition = limpet.Condition(time=1000.0)
    within, beyond = (
        limpet.Mismatch({"w": True}, device)(jax.random.key(0), {"w": jnp.array(weights)}, condition)["w"]
        for weights in ([0.5, 1.0, 1.0, -1.0, 0.0], [0.5, 1.5, 7.0, -30.0, 0.0])
    )
    np.testing.assert_array_equal(within, beyond)


def test_a_number_does_not_bind_noise_that_is_only_measured_by_it():
    beyond = limpet.Additive(spread=0.01, relative_to=1.0)
    assert abs(float(drawn(beyond)[1, 1]) - 4) < 0.1


@pytest.mark.parametrize("weights", [[0.1, 0.6, -0.2, 1.0], [3.0, 0.4, -0.1, 0.0]])
@pytest.mark.parametrize(
    "kind",
    [
        lambda **to: limpet.Quantize(levels=3, **to),
        lambda **to: limpet.Crossbar(PROGRAMMING, **to),
    ],
)
def test_a_vector_is_one_column(kind, weights):
    of_column, of_tensor = (
        limpet.Mismatch({"w": True}, kind(relative_to=to))(jax.random.key(0), {"w": jnp.array(weights)})["w"]
        for to in ("column", "tensor")
    )
    np.testing.assert_array_equal(of_column, of_tensor)
    assert not np.array_equal(of_column, weights)


SIZES = {"smallest normal": 1.2e-38, "tiny": 1e-30, "huge": 1e30}
MEMBERS = {
    "quantize": limpet.Quantize(bits=8),
    "quantize to a number": limpet.Quantize(levels=3),
    "crossbar": limpet.Crossbar(PROGRAMMING),
    "crossbar of levels": limpet.Crossbar(limpet.Quantize(bits=16), mapping="single", smallest=0.2),
    "additive": limpet.Additive(0.1),
    "programming": PROGRAMMING,
    "stuck": limpet.Stuck(at_largest=0.3, at_random=0.3),
    "binary branches": limpet.BinaryBranches(0.1),
    "drift": limpet.Drift((0.1, -0.05), 0.01),
    "systematic": limpet.Systematic(gain=0.7, offset=0.1),
}


WEIGHTS = jnp.array([1.0, -0.55, 0.3, 0.0])


@jax.jit
def drawn_and_gradient(unit):
    """Of each member's own leaf, in some unit."""
    recipe = reduce(or_, (limpet.Mismatch({name: True}, member) for name, member in MEMBERS.items()))
    tree = dict.fromkeys(MEMBERS, WEIGHTS * unit)
    chip, back = jax.vjp(lambda tree: recipe(jax.random.key(0), tree, limpet.Condition(time=100.0)), tree)
    return chip, back(jax.tree.map(jnp.ones_like, chip))[0]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_relative_to_the_largest_value_does_not_depend_on_its_unit(size):
    """Values and gradients are those of the unit 1. Of the smallest numbers they are finite, the largest is right."""
    unit = np.float32(SIZES[size])
    chip, gradient = drawn_and_gradient(unit)
    expected, expected_gradient = drawn_and_gradient(np.float32(1))
    for name in MEMBERS:
        assert np.isfinite(chip[name]).all(), name
        assert np.isfinite(gradient[name]).all(), name
        if size != "smallest normal":  # below it float32 has few digits, which processors take for 0
            np.testing.assert_allclose(chip[name] / unit, expected[name], rtol=1e-5, err_msg=name)
            np.testing.assert_allclose(gradient[name], expected_gradient[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert chip["quantize"][0] == unit
