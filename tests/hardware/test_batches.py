"""Leaves of one shape are drawn together: the same chip, and little to compile for each further leaf."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alike import assert_alike

import limpet
from limpet.hardware import _leaf_draw

CROSSBAR = limpet.Crossbar(limpet.Chain((limpet.Programming(0.05), limpet.Drift(0.05, 0.01))), drift_compensation=True)
DAY = limpet.Condition(time="1 day")
CHIP = limpet.virtual_chip(0, 3)


def network(leaves: int, shape: tuple[int, ...] = (4, 6)) -> dict[str, dict[str, jax.Array]]:
    values = np.cos(np.arange(leaves * np.prod(shape), dtype=np.float32)).reshape(leaves, *shape)
    return {f"layer_{number}": {"kernel": jnp.asarray(value)} for number, value in enumerate(values)}


def drawn(params, deviation, **options):
    hardware = limpet.Hardware(all=limpet.Part("*/kernel", deviation, **options))
    return lambda params: hardware.on(params)(CHIP, params, DAY)


@pytest.mark.parametrize(
    ("deviation", "leaves"),
    [
        (limpet.Gaussian(0.3), 9),
        (limpet.LogNormal(sigma=0.3), 9),
        (CROSSBAR, 3),
        (limpet.Chain((limpet.Quantize(bits=4), limpet.Programming(0.05))), 3),
    ],
)
def test_leaves_drawn_together_are_those_drawn_alone(deviation, leaves):
    params = network(leaves)
    draw = drawn(params, deviation)
    together = jax.jit(draw)(params)
    assert_alike(together, draw(params))
    first, second = together["layer_0"]["kernel"], together["layer_1"]["kernel"]
    assert not np.array_equal(first - params["layer_0"]["kernel"], second - params["layer_1"]["kernel"])


def test_gradients_through_leaves_drawn_together_are_those_through_one():
    params = network(3)

    def loss(params):
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(drawn(params, CROSSBAR)(params)))

    together = jax.jit(jax.grad(loss))(params)
    for name, layer in params.items():
        alone = jax.jit(jax.grad(loss))({name: layer})
        np.testing.assert_allclose(together[name]["kernel"], alone[name]["kernel"], rtol=2e-4, atol=2e-5)


def test_limits_hold_for_leaves_drawn_together():
    params = network(9)
    draw = drawn(params, limpet.Gaussian(1.0), limits=limpet.Limits(low=-0.5, high=0.5))
    assert all(float(jnp.abs(leaf).max()) == 0.5 for leaf in jax.tree.leaves(jax.jit(draw)(params)))


def test_a_large_batch_is_drawn_in_parts(monkeypatch):
    params = network(5)
    draw = drawn(params, CROSSBAR)
    expected = draw(params)
    monkeypatch.setattr(_leaf_draw, "MOST_BATCHED", 50)  # two leaves of 24 values
    assert_alike(jax.jit(draw)(params), expected)


@pytest.mark.parametrize(("deviation", "most"), [(limpet.Gaussian(0.1), 60), (CROSSBAR, 60)])
def test_a_further_leaf_of_a_shape_brings_few_operations(deviation, most):
    """Counted in the program that is handed to XLA, without tracing time: a Gaussian drawn alone brings some 150."""

    def operations(leaves: int) -> int:
        params = network(leaves)

        def loss(params):
            return sum((leaf**2).sum() for leaf in jax.tree.leaves(drawn(params, deviation)(params)))

        return jax.jit(jax.grad(loss)).lower(params).as_text().count(" = ")

    assert (operations(30) - operations(10)) / 20 < most


def test_tracing_one_shape_twice_traces_a_deviation_once():
    traced = []

    @dataclass(frozen=True)
    class Counted(limpet.Deviation):
        sigma: float

        def deviate(self, draw, value, strength):
            traced.append(value.shape)
            return value * (1 + self.sigma * strength * draw.normal(value.shape, strength))

    params = network(20)
    jax.jit(drawn(params, Counted(0.1))).lower(params)
    assert len(traced) == 1
