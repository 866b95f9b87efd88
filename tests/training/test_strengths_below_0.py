"""A strength below 0 is refused where it can be known; where it is traced it counts as 0, not as the mirror image."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import limpet
from limpet import objectives

PARAMS = {"w": jnp.array([1.0, -2.0, 0.5])}
HARDWARE = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
MISMATCH = HARDWARE.on(PARAMS)
KEY = jax.random.key(0)
FALLING = optax.linear_schedule(1.0, -1.0, 4)
"""1, 0.5, 0, -0.5, -1 at steps 0 to 4."""


def test_a_traced_scale_below_0_is_no_deviation():
    drawn = jax.jit(lambda scale: MISMATCH(KEY, PARAMS, scale)["w"])
    assert not np.array_equal(drawn(0.5), PARAMS["w"])
    for scale in (-0.5, -1e-30, 0.0):
        np.testing.assert_array_equal(drawn(scale), PARAMS["w"])
    assert np.isnan(drawn(jnp.nan)).any()
    with pytest.raises(limpet.StrengthError, match=r"scale = -0.5: allowed is a finite number >= 0"):
        MISMATCH(KEY, PARAMS, -0.5)


def test_a_scale_of_0_has_the_gradient_of_a_scale():
    slope = jax.jit(jax.grad(lambda scale: MISMATCH(KEY, PARAMS, scale)["w"][0]))
    np.testing.assert_allclose(slope(0.0), slope(0.3), rtol=1e-6)


def test_a_schedule_below_0_is_0_in_a_jitted_step_and_refused_outside():
    injection = limpet.Injection(PARAMS, HARDWARE, schedule=FALLING)
    drawn = jax.jit(lambda step: injection.inject(PARAMS, step)["w"])
    assert [bool((drawn(step) == PARAMS["w"]).all()) for step in range(5)] == [False, False, True, True, True]
    for step, factor in ((3, "-0.5"), (4, "-1")):
        with pytest.raises(limpet.StrengthError, match=f"scale = .*{factor}.*allowed is a finite"):
            injection.inject(PARAMS, step)


def test_what_is_logged_is_the_strength_that_was_in_force():
    injected = limpet.Injection(PARAMS, HARDWARE, schedule=FALLING)
    (strength,) = injected.strengths().values()
    np.testing.assert_allclose(jax.vmap(strength)(jnp.arange(5)), [0.1, 0.05, 0, 0, 0], atol=1e-9)


def loss(params):
    logits = jnp.stack([params["w"], -params["w"]])
    return -jax.nn.log_softmax(logits)[:, 0].mean(), logits


@pytest.mark.parametrize(
    "made",
    [
        lambda strength: objectives.adversarial(loss, MISMATCH, zeta=strength, initial_std=0.0, steps=1, noise=False),
        lambda strength: objectives.adversarial(loss, MISMATCH, weight=strength, steps=1, noise=False),
        lambda strength: objectives.consistency(loss, MISMATCH, weight=strength, condition=0.5),
        lambda strength: objectives.weight_perturbation(loss, MISMATCH, radius=strength, condition=0.0),
        lambda strength: objectives.adaptive_sam(loss, MISMATCH, radius=strength, condition=0.0),
        lambda strength: objectives.varied(loss, MISMATCH, low=strength, high=strength),
        lambda strength: objectives.antithetic(loss, MISMATCH, condition=strength),
        lambda strength: objectives.distillation(loss, MISMATCH, {"w": -PARAMS["w"]}, weight=strength),
    ],
    ids=["zeta", "weight", "consistency", "radius", "adaptive radius", "varied", "condition", "distillation"],
)
def test_strengths_of_objectives_below_0_count_as_0(made):
    value = jax.jit(lambda strength, key: made(strength)(PARAMS, key))
    assert value(-0.7, KEY) == value(0.0, KEY) != value(0.7, KEY)
