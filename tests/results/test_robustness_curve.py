"""The robustness curve's statistics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import limpet

NAN = float("nan")


def curve(*rows, **kwargs):
    return limpet.RobustnessCurve("accuracy", np.arange(len(rows)) / 10, np.array(rows), **kwargs)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_statistics_are_numpys(values):
    one = curve(values)
    assert one.mean()[0] == np.mean(values)
    assert one.std()[0] == np.std(values)
    assert one.quantile(0.05)[0] == np.quantile(values, 0.05)
    assert one.worst()[0] == min(values)
    assert curve(values, higher_is_better=False).worst()[0] == max(values)


def test_failed_chips_are_counted_not_averaged_away():
    one = curve([0.9, 0.8, NAN, 0.7], [0.9, np.inf, -np.inf, NAN], [NAN] * 4)
    assert one.failed.tolist() == [1, 3, 4]
    np.testing.assert_allclose(one.mean(), [0.8, 0.9, NAN])
    assert one.worst().tolist() == [-np.inf] * 3
    assert one.quantile(0.05).tolist() == [-np.inf] * 3
    assert one.quantile(0.5)[0] == 0.7
    assert [found.fraction for found in one.yield_at(0.75)] == [0.5, 0.25, 0.0]
    lower = curve([0.9, NAN], higher_is_better=False)
    assert lower.worst()[0] == np.inf
    assert lower.yield_at(1.0)[0].fraction == 0.5


def test_the_yields_interval_covers():
    # True yield 0.9, 60 chips; Clopper-Pearson covers in at least 95%: 1,000 trials, 4 standard errors below (3e-5).
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        found = curve((generator.random(60) < 0.9).astype(float)).yield_at(1.0)[0]
        covered += found.low <= 0.9 <= found.high
    assert covered >= 950 - 4 * np.sqrt(1000 * 0.95 * 0.05)
    assert curve([1.0] * 20).yield_at(1.0)[0].high == 1.0
    exact = stats.binomtest(57, 60).proportion_ci(0.9, method="exact")
    found = curve([1.0] * 57 + [0.0] * 3).yield_at(0.5, confidence=0.9)[0]
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-6)
    assert found.confidence == 0.9


@pytest.mark.parametrize(("sigmas", "values"), [([0.1], [0.5]), ([0.1], [[]]), ([], [[]]), ([0.1, 0.2], [[0.5]])])
def test_shapes_that_are_no_curve(sigmas, values):
    with pytest.raises(limpet.MetricError, match="curve of 'accuracy': sigmas of shape"):
        limpet.RobustnessCurve("accuracy", sigmas, values)


def test_a_chip_that_reaches_the_target_in_single_precision_passes():
    hundredths = np.arange(101, dtype=np.float32) / 100
    for target in (0.9, 0.95, 0.48, 0.0, 1.0):
        passed = curve(hundredths).yield_at(target)[0].fraction * 101
        assert round(passed) == 101 - round(100 * target)
        failed = curve(hundredths, higher_is_better=False).yield_at(target)[0].fraction * 101
        assert round(failed) == 1 + round(100 * target)


def test_the_plot_names_what_it_shows():
    ax = curve([0.9, 0.8], [0.7, NAN]).plot(label="standard")
    curve([0.9, 0.8], [0.85, 0.8]).plot(ax, label="robust")
    assert ax.get_xlabel() == "mismatch sigma (relative standard deviation)"
    assert ax.get_ylabel() == "accuracy"
    assert "2 virtual chips; band: 5th to 95th percentile; dotted: worst chip" in ax.get_title()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["standard", "robust"]
    assert ax.get_ylim() == (0, 1.03)
    assert curve([2.0, 3.0]).plot().get_ylim() != (0, 1.03)
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), [0.85, 0.7])
    np.testing.assert_allclose(ax.get_lines()[1].get_ydata(), [0.8, NAN])
