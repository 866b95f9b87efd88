"""Monte Carlo over virtual chips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet

PARAMS = {"w": jnp.linspace(0.5, 1.5, 50), "activation": jnp.tanh}
MISMATCH = limpet.Mismatch({"w": True, "activation": False}, limpet.Gaussian(0.3))
BATCH = jnp.arange(50.0)


def projection(tree, batch):
    return (tree["w"] * batch).sum()


def measure(**changes):
    settings = {"sigmas": [0.0, 0.1, 0.2], "chips": 20, "batch": BATCH} | changes
    return limpet.robustness_curve(projection, PARAMS, MISMATCH, **settings)


def test_the_curve_is_that_of_the_chips_frozen_one_by_one():
    curve = measure(seed=3)
    for row, sigma in enumerate(curve.sigmas):
        for chip in (0, 7, 19):
            tree = limpet.freeze(PARAMS, MISMATCH.with_sigma(float(sigma)), seed=3, chip=chip)
            np.testing.assert_allclose(curve.values[row, chip], projection(tree, BATCH), rtol=1e-6)


def test_a_chip_in_the_curve_is_the_frozen_chip_to_the_last_bit():
    curve = limpet.robustness_curve(lambda tree, _: tree["w"][7], PARAMS, MISMATCH, sigmas=[0.1, 0.3], chips=30)
    frozen = [limpet.freeze(PARAMS, MISMATCH, chip=chip)["w"][7] for chip in range(30)]
    assert np.array_equal(curve.values[1].astype(np.float32), np.array(frozen))


def test_chips_are_the_same_at_every_strength_and_in_every_call():
    curve = measure()
    nominal = curve.values[0, 0]
    assert np.all(curve.values[0] == nominal)
    np.testing.assert_allclose(curve.values[2] - nominal, 2 * (curve.values[1] - nominal), rtol=1e-3, atol=1e-2)
    assert np.array_equal(measure().values, curve.values)
    assert np.array_equal(measure(sigmas=[0.2, 0.1]).values, curve.values[[2, 1]])
    assert np.array_equal(measure(chips=7).values, curve.values[:, :7])
    assert not np.array_equal(measure(seed=1).values[1], curve.values[1])


@pytest.mark.parametrize("chunk", [1, 3, 20, 64])
def test_the_result_does_not_depend_on_the_chunk(chunk):
    assert np.array_equal(measure(chunk=chunk).values, measure(chunk=10).values)


def test_the_spread_is_the_known_one():
    # Standard deviation of a sum of independent deviations; 2,000 chips, 5 standard errors (false alarm 6e-7).
    curve = measure(sigmas=[0.1], chips=2000, chunk=500)
    expected = 0.1 * np.sqrt(np.sum(np.asarray(PARAMS["w"] * BATCH, np.float64) ** 2))
    assert abs(curve.std()[0] / expected - 1) < 5 / np.sqrt(2 * 2000)


def test_several_metrics_are_several_curves():
    curves = limpet.robustness_curve(
        lambda tree, _: {"low": tree["w"].min(), "high": tree["w"].max()}, PARAMS, MISMATCH, sigmas=[0.1], chips=4
    )
    assert isinstance(curves, dict)
    assert {name: (curve.metric, curve.values.shape) for name, curve in curves.items()} == {
        "low": ("low", (1, 4)),
        "high": ("high", (1, 4)),
    }


def test_one_metric_is_one_curve_named_after_its_function():
    assert measure().metric == "projection"


def test_failing_chips_are_reported():
    curve = limpet.robustness_curve(
        lambda tree, _: jnp.log(tree["w"] - 1).sum() * 0 + 1, {"w": jnp.ones(1)},
        limpet.Mismatch({"w": True}, limpet.Gaussian(0.1)), sigmas=[0.1], chips=50,
    )  # fmt: skip
    assert 10 < curve.failed[0] < 40
    assert curve.mean()[0] == 1.0


def test_rounds_and_strengths_do_not_retrace():
    traces = []

    def metric(tree, batch):
        traces.append(batch)
        return projection(tree, batch)

    limpet.robustness_curve(metric, PARAMS, MISMATCH, sigmas=[0.0, 0.1, 0.2], chips=500, batch=BATCH, chunk=10)
    assert len(traces) <= 2  # the second time with the width of tile that the first program's memory allows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigmas": []}, "sigmas: at least 1 is needed, got 0"),
        ({"chips": 0}, "chips: at least 1 is needed, got 0"),
        ({"chunk": 0}, "chunk: at least 1"),
        ({"sigmas": [0.1, -0.2]}, r"sigmas\[1\] = -0.2: allowed is a finite number >= 0"),
        ({"sigmas": [float("nan")]}, r"sigmas\[0\] = nan"),
    ],
)
def test_bad_numbers(changes, message):
    with pytest.raises(limpet.LimpetError, match=message):
        measure(**changes)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (lambda tree, _: tree["w"], r"metric '' has shape \(50,\): a metric function gives one number"),
        (lambda tree, _: {"a": tree["w"]}, r"metric 'a' has shape \(50,\)"),
        (lambda tree, _: {}, "gave an empty dict"),
        (lambda tree, _: "good", "has shape str"),
    ],
)
def test_bad_metrics(metric, message):
    with pytest.raises(limpet.MetricError, match=message):
        limpet.robustness_curve(metric, PARAMS, MISMATCH, sigmas=[0.1], chips=2)


def test_integer_and_boolean_metrics_count():
    curve = limpet.robustness_curve(lambda tree, _: tree["w"][0] > 0.5, PARAMS, MISMATCH, sigmas=[0.1], chips=50)
    assert set(np.unique(curve.values)) == {0.0, 1.0}
    assert jax.numpy.isclose(curve.mean()[0], 0.5, atol=0.3)
