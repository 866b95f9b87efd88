"""Comparisons are of the same chips, or are refused."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import limpet

CURVE = limpet.RobustnessCurve(
    "accuracy", [0.1], [[0.9, 0.8, 0.7, 0.6]], fingerprint="aa", hardware="gaussian, sigma 1 on w (3)"
)


def test_curves_of_other_hardware_are_refused_by_saying_what_each_is():
    other = replace(CURVE, fingerprint="bb", hardware="log-normal, sigma 1 on w (3)")
    with pytest.raises(limpet.MetricError, match=r"differ in hardware.*gaussian, sigma 1 on w \(3\) and log-normal"):
        limpet.compare(CURVE, other)
    limpet.compare(CURVE, replace(other, fingerprint="", hardware=""))  # of an old file, which does not say


def test_a_network_of_another_shape_or_with_other_leaves_is_other_hardware():
    def total(tree, _):
        return sum(leaf.sum() for leaf in tree.values())

    def curve(tree, deviation):
        mismatch = limpet.Mismatch(dict.fromkeys(tree, True), deviation)
        return limpet.robustness_curve(total, tree, mismatch, sigmas=[0.1], chips=2)

    first = curve({"w": jnp.ones(3)}, limpet.Gaussian(0.1))
    limpet.compare(first, curve({"w": jnp.zeros(3) + 2}, limpet.Gaussian(0.3)))  # over sigma, the same chips
    for tree, deviation in (
        ({"w": jnp.ones(4)}, limpet.Gaussian(0.1)),
        ({"w": jnp.ones(3), "v": jnp.ones(3)}, limpet.Gaussian(0.1)),
        ({"w": jnp.ones(3)}, limpet.LogNormal(0.1)),
    ):
        with pytest.raises(limpet.MetricError, match="differ in hardware"):
            limpet.compare(first, curve(tree, deviation))


def test_other_metrics_are_refused():
    with pytest.raises(limpet.MetricError, match="differ in metric: accuracy and recall"):
        limpet.compare(CURVE, replace(CURVE, metric="recall"))


def test_chips_are_paired_by_their_numbers():
    """One network was trained on chip 1, which its curve leaves out."""
    trained = replace(CURVE, values=np.array([[0.95, 0.75, 0.65, 0.55]]), excluded_chips=(1,))  # chips 0, 2, 3, 4
    comparison = limpet.compare(CURVE, trained)
    np.testing.assert_allclose(comparison.difference, [np.mean([0.95 - 0.9, 0.75 - 0.7, 0.65 - 0.6])])
    assert comparison.worse[0].fraction == 0
    with pytest.raises(limpet.MetricError, match="antithetic chips cannot be left out"):
        replace(trained, antithetic=True)


def test_times_are_said_in_words_and_taken_in_words():
    first = limpet.RobustnessCurve("accuracy", [1.0, 86400.0], [[0.9, 0.8], [0.7, 0.6]], axis="time")
    text = str(limpet.compare(first, first))
    assert "time " in text
    assert "1 day" in text
    assert first.at("1 day").values.tolist() == [[0.7, 0.6]]
    with pytest.raises(limpet.MetricError, match="sigma = '1 day': allowed is a number"):
        limpet.RobustnessCurve("accuracy", [1.0], [[0.9, 0.8]]).at("1 day")
