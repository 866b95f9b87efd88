"""What is compiled is kept: by metric function, recipe and shapes, without keeping anything alive."""

import functools
import gc
import logging
import resource
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import limpet
from limpet.measure._measurement import PROGRAMS

MISMATCH = limpet.Mismatch({"w": True, "rest": False}, limpet.Gaussian(0.1))
X = jnp.ones(6)


def tree(seed):
    return {"w": jax.random.normal(jax.random.key(seed), (6,)), "rest": jnp.float32(seed)}


def counted():
    """A metric, and how often it was traced."""
    traces = []

    def metric(tree, x):
        traces.append(tree)
        return (tree["w"] * x).sum() + tree["rest"]

    return metric, traces


def curve(metric, params=None, **changes):
    settings = {"sigmas": [0.0, 0.1], "chips": 20, "batch": X}
    return limpet.robustness_curve(metric, tree(0) if params is None else params, MISMATCH, **(settings | changes))


def test_the_first_call_traces_once_and_later_ones_compile_nothing(caplog):
    metric, traces = counted()
    first = curve(metric)
    assert len(traces) == 1
    changes = [
        {},
        {"params": tree(1)},
        {"sigmas": [0.2, 0.3]},
        {"sigmas": None, "scales": [1.0, 3.0]},
        {"chips": 7},
        {"chips": 300},
        {"seed": 9},
        {"batch": 2 * X},
    ]
    with caplog.at_level(logging.WARNING, logger="jax"), jax.log_compiles():
        curves = [curve(metric, **change) for change in changes]
    compiled = [record for record in caplog.records if "compilation of jit(values)" in record.getMessage()]
    # Over scales the recipe is another one (with its own sigma in place of 1): one more program, and the only one.
    assert len(compiled) == 1
    assert len(traces) == 2
    assert np.array_equal(curves[0].values, first.values)
    assert np.array_equal(curves[4].values, first.values[:, :7])
    np.testing.assert_allclose(curves[1].values[0], (tree(1)["w"].sum() + 1), rtol=1e-6)
    assert not np.array_equal(curves[6].values, first.values)


def test_other_shapes_recipes_and_settings_are_other_programs():
    metric, traces = counted()
    curve(metric)
    curve(metric, batch=jnp.ones((2, 6)))
    curve(metric, sigmas=[0.1])
    curve(metric, antithetic=True)
    curve(metric, generator="threefry2x32")
    other = limpet.Mismatch({"w": True, "rest": False}, limpet.LogNormal(0.1))
    limpet.robustness_curve(metric, tree(0), other, sigmas=[0.0, 0.1], chips=20, batch=X)
    assert len(traces) == 6


def test_a_callback_and_a_curve_share_a_program(tmp_path):
    metric, traces = counted()
    hardware = limpet.Hardware.of(MISMATCH)
    callback = limpet.MismatchCallback(
        tree(0), hardware, metric_fn=metric, eval_batch=X, robustness={"scales": [0, 1], "chips": 20},
        tensorboard={"logdir": tmp_path},
    )  # fmt: skip
    with callback:
        callback.evaluate(0, tree(0))
        callback.evaluate(1, tree(1))
        expected = limpet.robustness_curve(metric, tree(1), hardware, scales=[0, 1], chips=20, batch=X)
    assert len(traces) == 1
    assert np.array_equal(callback.curves["metric"].values, expected.values)
    assert callback.curves["metric"].fingerprint == expected.fingerprint


def test_a_module_of_the_same_shape_compiles_nothing():
    traces = []

    def mean(model, x):
        traces.append(model)
        return model(x).mean()

    for seed in range(2):
        model = nnx.Linear(3, 2, rngs=nnx.Rngs(seed))
        mismatch = limpet.Mismatch(limpet.prototype(model, ("kernel", True)), limpet.Gaussian(0.1))
        measured = limpet.robustness_curve(mean, model, mismatch, sigmas=[0.0], chips=2, batch=jnp.ones((4, 3)))
        np.testing.assert_allclose(measured.values[0, 0], model(jnp.ones((4, 3))).mean(), rtol=1e-5)
    assert len(traces) == 1


offset = jnp.float32(0.0)


def with_offset(tree, x):
    return tree["w"].sum() + offset


def test_what_a_metric_captures_anew_is_not_served_from_before(monkeypatch):
    """As an example of what would be silently wrong: the test set in a global variable that is assigned anew."""
    before = curve(with_offset)
    monkeypatch.setitem(globals(), "offset", jnp.float32(5.0))
    np.testing.assert_allclose(curve(with_offset).values, before.values + 5, rtol=1e-5)

    def shifted(shift):
        return lambda tree, x: tree["w"].sum() + shift

    one = shifted(jnp.float32(1.0))
    np.testing.assert_allclose(curve(one).values, before.values + 1, rtol=1e-5)
    assert one.__closure__
    one.__closure__[0].cell_contents = jnp.float32(2.0)
    np.testing.assert_allclose(curve(one).values, before.values + 2, rtol=1e-5)

    def scaled(tree, x, factor):
        return tree["w"].sum() * factor

    for factor in (1.0, 3.0):
        values = curve(functools.partial(scaled, factor=factor)).values
        np.testing.assert_allclose(values, before.values * factor, rtol=1e-5)


class Judge:
    def __init__(self, factor):
        self.factor = factor

    def score(self, tree, x):
        return tree["w"].sum() * self.factor


def test_methods_are_told_apart_by_their_objects():
    one, two = Judge(1.0), Judge(2.0)
    first = curve(one.score)
    kept = len(PROGRAMS)
    assert np.array_equal(curve(one.score).values, first.values)
    assert len(PROGRAMS) == kept
    np.testing.assert_allclose(curve(two.score).values, 2 * first.values, rtol=1e-6)


def test_nothing_outlives_its_metric_function():
    gc.collect()
    kept = len(PROGRAMS)
    network = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    alive = weakref.ref(network)

    def evaluate(network):
        mismatch = limpet.Mismatch(limpet.prototype(network, ("kernel", True)), limpet.Gaussian(0.1))
        limpet.robustness_curve(
            lambda model, x: model(x).mean() + 0 * network.bias.get_value().sum(), network, mismatch, sigmas=[0.1],
            chips=2, batch=jnp.ones((1, 3)),
        )  # fmt: skip

    evaluate(network)
    del network
    gc.collect()
    assert alive() is None
    assert len(PROGRAMS) == kept


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fresh_lambdas_leave_memory_flat():
    def measured(count):
        for _ in range(count):
            curve(lambda tree, x: tree["w"].sum() * 2.0, chips=2)
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    measured(5)
    before, kept = measured(1), len(PROGRAMS)
    after = measured(15)
    assert len(PROGRAMS) == kept
    assert after - before < 20 * 1024  # kilobytes; by hand: 200 calls, tests/benchmarks/monte_carlo.py
