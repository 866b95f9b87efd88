"""JAX's settings: none of them makes a chip another one, or keeps a training step from running."""

from contextlib import contextmanager
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alike import assert_alike

import limpet
from limpet.config._schedule import ConstantSchedule, CosineSchedule, LinearSchedule, PiecewiseSchedule

PARAMS = {"w": np.cos(np.arange(12, dtype=np.float32)).reshape(3, 4), "b": np.ones(4, np.float32)}
LARGE = {"w": np.ones((128, 130), np.float32)}
HARDWARE = limpet.Hardware(all=limpet.Part("*", limpet.LogNormal(sigma=0.2)))
X = np.ones((5, 3), np.float32)
SCHEDULES = (
    ConstantSchedule(),
    LinearSchedule(kind="linear", steps=10),
    CosineSchedule(kind="cosine", steps=10),
    PiecewiseSchedule(kind="piecewise", boundaries=(2,), factors=(0.5, 1.0)),
)


def metric(params, x):
    return ((x @ params["w"] + params["b"][None]) ** 2).mean()


def core() -> dict[str, Any]:
    """What is drawn, trained, measured and frozen, in small."""
    injections = [limpet.Injection(PARAMS, HARDWARE, schedule=schedule.to_optax()) for schedule in SCHEDULES]
    step = jax.jit(lambda params, number: [injection.inject(params, number)["w"] for injection in injections])
    slope = jax.jit(jax.grad(lambda params, number: metric(injections[0].inject(params, number), jnp.asarray(X))))
    slope(jax.tree.map(jnp.asarray, PARAMS), jnp.int32(3))
    curve = limpet.robustness_curve(metric, PARAMS, HARDWARE, scales=[0, 1], chips=2, batch=X, higher_is_better=False)
    return {
        "chip": HARDWARE.on(PARAMS)(limpet.virtual_chip(3, 17), PARAMS)["w"],
        "large": HARDWARE.on(LARGE)(limpet.virtual_chip(3, 17), LARGE)["w"],
        "key": jax.random.key_data(limpet.virtual_chip(3, 17, "threefry2x32")),
        "steps": np.stack(step(PARAMS, jnp.int32(3))),
        "frozen": limpet.freeze(PARAMS, HARDWARE, chip=3)["w"],
        "curve": curve.values,
    }


reference = cache(core)


@contextmanager
def set_to(**settings):
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


SETTINGS = {
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "no jit": jax.disable_jit,
    "NaNs": lambda: jax.debug_nans(True),
    "leaks": jax.checking_leaks,
    "float64": lambda: jax.enable_x64(True),
    "seed offset": lambda: set_to(jax_random_seed_offset=5),
    "generator": lambda: jax.default_prng_impl("rbg"),
    "device": lambda: jax.default_device(jax.devices()[3]),
}


@pytest.mark.parametrize(
    "name",
    [name if name in ("float64", "NaNs") else pytest.param(name, marks=pytest.mark.long) for name in SETTINGS],
)
def test_a_setting_changes_nothing(name):
    expected = reference()
    with SETTINGS[name]():
        found = core()
    for what, values in expected.items():
        assert_alike(found[what], values)


def test_a_setting_under_which_chips_would_be_others_is_refused():
    expected = reference()["frozen"]  # which needs the setting, and may not have been made yet
    with jax.threefry_partitionable(False):
        assert np.array_equal(limpet.freeze(PARAMS, HARDWARE, chip=3)["w"], expected)
        with pytest.raises(limpet.LimpetError, match="jax_threefry_partitionable .* is off: .* 'threefry2x32'"):
            limpet.virtual_chip(0, 17, "threefry2x32")


def test_chips_are_not_measured_while_a_function_is_traced():
    def measured(params):
        return limpet.robustness_curve(metric, params, HARDWARE, scales=[1], chips=2, batch=X, higher_is_better=False)

    before = measured(PARAMS).values  # compiled, so that its program is there
    for traced in (lambda params: measured(params).values, lambda _: measured(PARAMS).values):
        with pytest.raises(limpet.LimpetError, match="within a function that JAX is tracing .*measure outside"):
            jax.jit(traced)(PARAMS)
    through = jax.jit(
        lambda params: jax.pure_callback(
            lambda params: measured(params).values.astype(np.float32), jax.ShapeDtypeStruct((1, 2), jnp.float32), params
        )
    )
    assert np.array_equal(through(PARAMS), before)
