"""Paired yields: Newcombe's own example, and coverage."""

import numpy as np
import pytest

import limpet
from limpet.results._yield_difference import paired_interval


def test_the_intervals_are_those_of_the_paper():
    """Newcombe (1998), table II, method 10; by symmetry with signs reversed."""
    np.testing.assert_allclose(paired_interval(36, 12, 2, 0, 0.95), (0.0569, 0.3404), atol=5e-5)
    np.testing.assert_allclose(paired_interval(36, 2, 12, 0, 0.95), (-0.3404, -0.0569), atol=5e-5)


def test_the_interval_covers_the_difference_as_often_as_it_says():
    """2,000 pairs of curves of 60 chips whose outcomes depend on one another, true difference .25; the share covered is
    at least .93 with a false alarm below 1e-6 if it is .95."""
    generator = np.random.default_rng(0)
    outcomes = generator.multinomial(60, [0.5, 0.3, 0.05, 0.15], size=2000)
    covered = [low <= 0.25 <= high for low, high in (paired_interval(*map(int, row), 0.95) for row in outcomes)]
    assert 0.93 < np.mean(covered) < 0.98


def test_other_chips_are_refused():
    curve = limpet.RobustnessCurve("accuracy", [0.1], [[0.9, 0.8]])
    with pytest.raises(limpet.MetricError, match="the curves differ in seed"):
        limpet.yield_difference(curve, limpet.RobustnessCurve("accuracy", [0.1], [[0.9, 0.8]], seed=1), 0.9)
    with pytest.raises(limpet.MetricError, match="the curves differ in chips: 2 and 1"):
        limpet.yield_difference(curve, limpet.RobustnessCurve("accuracy", [0.1], [[0.9]]), 0.9)
    [same] = limpet.yield_difference(curve, curve, 0.85)
    assert (same.difference, same.gained, same.lost) == (0, 0, 0)
