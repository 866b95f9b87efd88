"""Scaled sigma: the law's own coefficients come back, a Gaussian tail is met, and a curve that cannot tell says so.

False alarms: an interval of 99.9% holds the wanted value but once in a thousand, and the law's own error is allowed
for. Seeds are fixed.
"""

import math

import numpy as np
import pytest
from scipy import stats

import limpet

SIGMAS = np.array([0.125, 0.15, 0.175, 0.2, 0.25, 0.3])


def curve_of(fails, sigmas=SIGMAS, **fields):
    """A curve whose chips pass with 1 and fail with 0."""
    return limpet.RobustnessCurve("accuracy", sigmas, 1.0 - np.asarray(fails, float), **fields)


def gaussian(distance, chips, seed=0, sigmas=SIGMAS):
    """Chips that fail where a normal number, scaled by sigma / 0.1, lies beyond a distance: the same one at all."""
    numbers = np.random.default_rng(seed).standard_normal(chips)
    return curve_of(numbers * sigmas[:, None] / 0.1 > distance, sigmas)


FIRST, SECOND = "a + b log s - c / s^2", "u / s + v s"


def following(shares, chips=1_000_000):
    """A curve whose shares of failing chips are these, to the last chip."""
    return curve_of(np.arange(chips) < np.round(chips * np.asarray(shares))[:, None])


def test_each_law_is_found_where_it_holds():
    ratios = SIGMAS / 0.1
    found = limpet.scaled_sigma(following(np.exp(-2.5 + 1.5 * np.log(ratios) - 4.0 / ratios**2)), 0.5, 0.1)
    assert found.laws[FIRST] == pytest.approx(math.exp(-6.5), rel=0.02)
    low, high = found.interval()
    assert low < found.laws[FIRST] < high < 2 * low
    assert found.interval(0.5)[0] > low
    assert found.yield_at() == limpet.Yield(1 - found.failure, 1 - high, 1 - low, 0.95)
    found = limpet.scaled_sigma(following([*stats.norm.sf(3.0 / ratios - 0.2 * ratios)[:4], 1.0, 1.0]), 0.5, 0.1)
    assert found.laws[SECOND] == pytest.approx(stats.norm.sf(2.8), rel=0.02)
    assert found.failure == pytest.approx(math.sqrt(math.prod(found.laws.values())))


@pytest.mark.parametrize("distance", [3.0, 3.7])
def test_a_gaussian_tail(distance):
    found = limpet.scaled_sigma(gaussian(distance, 20_000), 0.5, 0.1)
    low, high = found.interval(0.999)
    assert low < stats.norm.sf(distance) < high < 100 * low


def test_strengths_of_any_unit_and_order():
    curve = gaussian(3.0, 20_000)
    shuffled = np.array([3, 0, 5, 1, 2, 4, 4])  # one was measured twice
    other = curve_of(1 - curve.values[shuffled], 1e-6 * SIGMAS[shuffled])
    assert limpet.scaled_sigma(other, 0.5, 1e-7).failure == pytest.approx(limpet.scaled_sigma(curve, 0.5, 0.1).failure)


def test_it_prints_what_it_was_fitted_to():
    found = limpet.scaled_sigma(gaussian(3.0, 20_000), 0.5, 0.1)
    lines = str(found).splitlines()
    low, high = found.interval()
    expected = f"{found.failure:.2g} of all chips ({low:.2g} to {high:.2g}), if one of the laws holds"
    assert lines[0] == f"accuracy misses 0.5 at sigma 0.1: {expected}"
    assert [float(line.split()[0]) for line in lines[2:]] == [0.1, *found.strengths]
    assert [float(text) for text in lines[2].split()[1:]] == pytest.approx(list(found.laws.values()), rel=0.01)
    for line in lines[3:]:
        _, seen, *fitted = map(float, line.split())
        assert fitted == pytest.approx([seen, seen], rel=0.2)
    assert repr(found) == f"ScaledSigma('accuracy', sigma 0.1, failure {found.failure:.3g})"


def stepwise(chips):
    """Few chips fail up to a strength, and many from there on: no law has such a step."""
    return curve_of(np.arange(chips) < chips * np.array([0.005, 0.01, 0.015, 0.2, 0.21, 0.22])[:, None])


@pytest.mark.parametrize(
    ("curve", "to", "message"),
    [
        (gaussian(3.0, 100), 0.1, r"at 2 of its strengths at least 10 chips .* 100 at 0.125.* and 4 such strengths"),
        (gaussian(5.0, 2000), 0.1, r"at \d of its strengths"),
        (gaussian(3.0, 20_000), 0.4, r"to = 0.4: it lies above the strengths measured"),
        (gaussian(3.0, 20_000), 0.0, r"to = 0.0: allowed is a number above 0|to = 0"),
        (stepwise(20_000), 0.1, r"no law fits how many chips miss 0.5 at its strengths .p = "),
        (curve_of(np.random.default_rng(0).random((6, 500)) < 0.1), 0.1, r"cannot tell whether failures become rarer"),
        (gaussian(3.5, 900, sigmas=SIGMAS * 1.6), 0.05, r"which says nothing|cannot tell"),
        (curve_of(np.zeros((2, 3)), [1.0, 9.0], axis="time"), 1.0, r"it goes over time"),
        (curve_of(np.zeros((2, 4)), [0.1, 0.2], antithetic=True), 0.1, r"its chips are antithetic"),
    ],
)
def test_a_curve_that_cannot_tell(curve, to, message):
    with pytest.raises(limpet.MetricError, match=message):
        limpet.scaled_sigma(curve, 0.5, to)
