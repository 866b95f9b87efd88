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


def test_the_law_is_found_where_it_holds():
    """Shares that follow the law to the last chip: the extrapolation is the law's, and so are the coefficients."""
    a, b, c, chips = -2.5, 1.5, 4.0, 1_000_000
    ratios = SIGMAS / 0.1
    counts = np.round(chips * np.exp(a + b * np.log(ratios) - c / ratios**2)).astype(int)
    curve = curve_of(np.arange(chips) < counts[:, None])
    found = limpet.scaled_sigma(curve, 0.5, 0.1)
    assert found.coefficients == pytest.approx((a, b, c), rel=0.02)
    assert found.failure == pytest.approx(math.exp(a - c), rel=0.02)
    low, high = found.interval()
    assert low < found.failure < high < 1.5 * low
    assert found.interval(0.5)[0] > low
    assert found.yield_at() == limpet.Yield(1 - found.failure, 1 - high, 1 - low, 0.95)


@pytest.mark.parametrize("distance", [3.0, 3.7])
def test_a_gaussian_tail(distance):
    found = limpet.scaled_sigma(gaussian(distance, 20_000), 0.5, 0.1)
    low, high = found.interval(0.999)
    assert low < stats.norm.sf(distance) < 1.3 * high  # of which the law is 10 to 25% short
    assert high < 100 * low


def test_strengths_of_any_unit_and_order():
    curve = gaussian(3.0, 20_000)
    shuffled = np.array([3, 0, 5, 1, 2, 4, 4])  # one was measured twice
    other = curve_of(1 - curve.values[shuffled], 1e-6 * SIGMAS[shuffled])
    assert limpet.scaled_sigma(other, 0.5, 1e-7).failure == pytest.approx(limpet.scaled_sigma(curve, 0.5, 0.1).failure)


def test_it_prints_what_it_was_fitted_to():
    found = limpet.scaled_sigma(gaussian(3.0, 20_000), 0.5, 0.1)
    lines = str(found).splitlines()
    low, high = found.interval()
    expected = f"{found.failure:.2g} of all chips ({low:.2g} to {high:.2g}), if the law holds"
    assert lines[0] == f"accuracy misses 0.5 at sigma 0.1: {expected}"
    assert [float(line.split()[0]) for line in lines[2:]] == list(found.strengths)
    for line in lines[2:]:
        _, seen, fitted = map(float, line.split())
        assert fitted == pytest.approx(seen, rel=0.2)
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
        (stepwise(20_000), 0.1, r"the law does not fit how many chips miss 0.5 at its strengths .p = "),
        (curve_of(np.random.default_rng(0).random((6, 500)) < 0.1), 0.1, r"cannot tell whether failures become rarer"),
        (gaussian(3.5, 900, sigmas=SIGMAS * 1.6), 0.05, r"which says nothing|cannot tell"),
        (curve_of(np.zeros((2, 3)), [1.0, 9.0], axis="time"), 1.0, r"it goes over time"),
        (curve_of(np.zeros((2, 4)), [0.1, 0.2], antithetic=True), 0.1, r"its chips are antithetic"),
    ],
)
def test_a_curve_that_cannot_tell(curve, to, message):
    with pytest.raises(limpet.MetricError, match=message):
        limpet.scaled_sigma(curve, 0.5, to)
