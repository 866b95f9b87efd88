"""Limits: what each policy does with a value beyond them, and what they are part of."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alike import assert_alike

import limpet
from limpet.hardware._fingerprint import digest, summary

KEY = jax.random.key(5, impl=limpet.fast)
WIDE = limpet.Gaussian(sigma=0.8)
TREE = {"w": jnp.full(200, 2.0), "b": jnp.ones(3)}


def mismatch(low=None, high=None, policy="clip", deviation=WIDE, gradient="through"):
    return limpet.Mismatch({"w": True, "b": False}, deviation, gradient, limpet.Limits(low, high, policy))


FREE = limpet.Mismatch({"w": True, "b": False}, WIDE)


def test_clipped_values_are_the_limit_and_let_no_gradient_pass():
    free, clipped = FREE(KEY, TREE)["w"], mismatch(1.0, 3.0)(KEY, TREE)["w"]
    assert_alike(clipped, np.clip(free, 1.0, 3.0))
    assert 0 < (clipped == 1.0).sum() < 200

    def total(tree, recipe):
        return recipe(KEY, tree)["w"].sum()

    slopes = jax.grad(total)(TREE, mismatch(1.0, 3.0))["w"]
    beyond = (free < 1) | (free > 3)
    np.testing.assert_array_equal(slopes, np.where(beyond, 0, jax.grad(total)(TREE, FREE)["w"]))
    straight = jax.grad(total)(TREE, mismatch(1.0, 3.0, gradient="straight_through"))["w"]
    np.testing.assert_array_equal(straight, np.ones(200))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_positive_stays_positive(dtype):
    clipped = mismatch(low=0.0)(KEY, {"w": TREE["w"].astype(dtype)})["w"]
    assert clipped.dtype == dtype
    assert float(clipped.min()) == float(jnp.finfo(dtype).tiny) > 0


def test_limits_that_report_change_nothing():
    np.testing.assert_array_equal(mismatch(1.0, 3.0, "report")(KEY, TREE)["w"], FREE(KEY, TREE)["w"])


def test_limits_that_refuse_do_so_where_values_are_known():
    strict = mismatch(1.0, 3.0, "error")
    message = r"leaf 'w': \d+ of 200 values of this chip are beyond the limits \(1 to 3\); they go from -.* to .*clip"
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.freeze(TREE, strict, chip=3)
    within = mismatch(-100.0, 100.0, "error")
    np.testing.assert_array_equal(within(KEY, TREE)["w"], FREE(KEY, TREE)["w"])
    np.testing.assert_array_equal(jax.jit(strict)(KEY, TREE)["w"], jax.jit(FREE)(KEY, TREE)["w"])


def test_limits_are_part_of_what_hardware_is():
    hardware = [
        limpet.Hardware(w=limpet.Part("w", WIDE, limits))
        for limits in (
            None,
            limpet.Limits(1.0),
            limpet.Limits(1.0, policy="truncate"),
            limpet.Limits(1.0, policy="report"),
        )
    ]
    shapes = {"w": (200,)}
    assert len({*hardware}) == 4
    assert len({one.on(TREE) for one in hardware}) == 4
    # What only reports leaves chips as they are: curves are of the same chips.
    assert len({digest(one.on(TREE), shapes) for one in hardware}) == 3
    assert digest(hardware[0].on(TREE), shapes) == digest(hardware[3].on(TREE), shapes)
    assert "limits 1 to none (clip) on w" in summary(hardware[1].on(TREE), shapes)
    assert "limits 1 to none (clip) on w" in repr(hardware[1])
    assert hardware[1].described()["w"]["limits"] == {"low": 1.0, "policy": "clip"}
    assert "limits" not in hardware[0].described()["w"]
    for one in hardware:
        again = limpet.Hardware.of(one.on(TREE)).on(TREE)
        assert again == one.on(TREE)
        assert again.with_sigma(0.8) == again
    assert hardware[1].on(TREE).unlimited() == hardware[0].on(TREE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give low, high or both; or a table"),
        ({"low": 1.0, "table": "dynapse"}, "give low, high or both; or a table"),
        ({"low": 2.0, "high": 1.0}, "low = 2 is not below high = 1"),
        ({"low": math.nan}, r"Limits\.low = nan: allowed is a finite number"),
        ({"high": "3"}, r"Limits\.high = '3'"),
        ({"low": True}, r"Limits\.low = True"),
        ({"low": 0.0, "policy": "cut"}, r"Limits\.policy = 'cut': allowed are 'truncate', 'clip', .* and 'error'"),
        ({"table": "loihi"}, r"Limits\.table = 'loihi': allowed is 'dynapse'"),
    ],
)
def test_what_cannot_be_limits(arguments, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.Limits(**arguments)


def test_limits_in_their_place():
    with pytest.raises(limpet.LimpetError, match=r"limits = \(0, 1\): give limpet.Limits"):
        limpet.Part("w", WIDE, (0, 1))  # pyright: ignore[reportArgumentType]
    table = limpet.Limits(table="dynapse")
    with pytest.raises(limpet.LimpetError, match="give limits that name one to a limpet.Part"):
        limpet.Mismatch({"w": True}, WIDE, limits=table)
    with pytest.raises(limpet.LimpetError, match=r"hardware\.w\.limits: table = 'dynapse' has the limits of a"):
        limpet.Hardware(w=limpet.Part("w", WIDE, table)).on(TREE)


def not_finite(net):
    """A function from a deviation, limits and scales to two counts for each scale: of 100 chips, those on which the
    output is not finite, and those on which the gradient is not."""
    tree, parameters = limpet.attributes(net), net.parameters()
    inputs = jnp.asarray(np.random.RandomState(0).rand(1, 20, 3) < 0.3, jnp.float32) * 30
    keys = jax.vmap(lambda chip: limpet.virtual_chip(seed=0, chip=chip))(jnp.arange(100))

    def on_chip(chip):
        def loss(parameters):
            held = {name: {**chip[name], **own} for name, own in parameters.items()}
            output, _, record = net.set_attributes(held)(inputs, record=True)
            membrane = record["1_DynapSim"]["imem"]
            return output.sum() + (membrane * 1e9).mean(), jnp.isfinite(membrane).all() & jnp.isfinite(output).all()

        gradient, finite = jax.grad(loss, has_aux=True)(parameters)
        return finite, jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)]).all()

    simulated = jax.jit(jax.vmap(on_chip))

    def counted(deviation, limits, scales):
        recipe = limpet.Hardware(chip=limpet.Part("dynapse-frozen", deviation, limits)).on(net)
        drawn = jax.jit(jax.vmap(recipe, (0, None, None)))
        counts = [simulated(drawn(keys, tree, scale)) for scale in scales]
        return [(int((~finite).sum()), int((~smooth).sum())) for finite, smooth in counts]

    return counted


@pytest.mark.long
def test_chips_within_their_limits_compute_numbers(dynapse_net):
    """A Gaussian of such a sigma makes currents and capacitances negative, with which the simulator computes NaN."""
    counted, scales = not_finite(dynapse_net), [0.33, 0.67]
    truncated = limpet.Limits(table="dynapse", policy="truncate")
    assert counted(limpet.Gaussian(1.0), truncated, scales) == [(0, 0), (0, 0)]
    assert counted(limpet.LogNormal(1.0), None, scales) == [(0, 0), (0, 0)]
    few, many = counted(limpet.Gaussian(1.0), None, scales)
    assert few[0] >= 1
    assert min(many) > 40
