"""The robustness curve's statistics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

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
    assert one.quantile(0.5)[0] == pytest.approx(0.75)
    assert [found.fraction for found in one.yield_at(0.75)] == [0.5, 0.25, 0.0]
    lower = curve([0.9, NAN], higher_is_better=False)
    assert lower.worst()[0] == np.inf
    assert lower.yield_at(1.0)[0].fraction == 0.5


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.integers(0, 5), st.floats(0, 1), st.booleans())
def test_a_failed_chip_is_merely_the_worst_and_changes_no_other_row(values, failed, q, higher):
    bad = -1e9 if higher else 1e9
    merely_bad = curve(values + [bad] * failed, higher_is_better=higher).quantile(q)[0]
    both = curve(values + [NAN] * failed, values + [0.5] * failed, higher_is_better=higher)
    ordered, place = sorted([*values, *[bad] * failed]), q * (len(values) + failed - 1)
    if bad in (ordered[int(np.floor(place))], ordered[int(np.ceil(place))]):
        assert both.quantile(q)[0] == np.copysign(np.inf, bad)
    else:
        assert both.quantile(q)[0] == merely_bad
    for row, sigma in enumerate(both.sigmas):
        assert both.at(sigma).quantile(q)[0] == both.quantile(q)[row]
    assert both.quantile(q)[1] == np.quantile(values + [0.5] * failed, q)


def test_rows_of_a_curve_are_judged_alone():
    """Whatever a curve says at a strength, it says of that row alone as well: tables and charts cannot disagree."""
    whole = curve([0.9, 0.8, NAN, 0.7], [0.25, 0.5, 0.75, 1.0], [1.0, 0.0, 1.0, 1.0])
    for row, sigma in enumerate(whole.sigmas):
        alone = whole.at(sigma)
        assert alone.quantile(0.3)[0] == whole.quantile(0.3)[row]
        assert alone.yield_at(1.0)[0] == whole.yield_at(1.0)[row]
        for of in ("mean", 0.3):
            assert [end[0] for end in alone.interval(of)] == [end[row] for end in whole.interval(of)]


@pytest.mark.parametrize("confidence", [95, 0, 1, -0.5, NAN, "0.95", True])
def test_a_confidence_is_between_0_and_1(confidence):
    one = curve([0.5, 0.6])
    for ask in (
        lambda: one.interval(confidence=confidence),
        lambda: one.interval(0.5, confidence=confidence),
        lambda: one.yield_at(0.5, confidence),
        lambda: limpet.compare(one, one, confidence),
    ):
        with pytest.raises(limpet.MetricError, match=r"confidence = .*: allowed is a number between 0 and 1"):
            ask()


@pytest.mark.parametrize("target", [NAN, np.inf, -np.inf, "0.9", True, 1j])
def test_a_target_is_a_finite_number(target):
    for ask in (
        lambda: curve([0.5, 0.6]).yield_at(target),
        lambda: curve([0.5, 0.6]).interval("yield", target=target),
        lambda: limpet.Precision(0.1, of="yield", target=target),
    ):
        with pytest.raises(limpet.MetricError, match=r"target = .*: allowed is a finite number"):
            ask()


def test_options_that_say_nothing_are_refused():
    one = curve([0.5, 0.6])
    with pytest.raises(limpet.MetricError, match=r"method = 'normal': allowed are 'exact' and 'wilson'"):
        one.yield_at(0.5, method="normal")
    with pytest.raises(limpet.MetricError, match="target = 0.5 is for the interval of the yield"):
        one.interval(target=0.5)
    with pytest.raises(limpet.MetricError, match="quantile 5: allowed is a number from 0 to 1"):
        one.quantile(5)
    for sigma in (NAN, np.inf, -0.1):
        with pytest.raises(limpet.MetricError, match="sigmas = .*: allowed are finite numbers >= 0"):
            limpet.RobustnessCurve("accuracy", [sigma], [[0.5]])


def test_values_are_copied_at_the_door():
    values, sigmas = np.array([[0.5, 0.6]]), np.array([0.1])
    one = limpet.RobustnessCurve("accuracy", sigmas, values)
    values[:], sigmas[:] = 0, 7
    assert (one.values.tolist(), one.sigmas.tolist()) == ([[0.5, 0.6]], [0.1])


def test_a_curve_comes_back_from_plain_values_and_nothing_else_does():
    one = curve([0.5, NAN], excluded_chips=(3,), fingerprint="a3")
    assert str(limpet.RobustnessCurve.from_dict(one.to_dict()).to_dict()) == str(one.to_dict())
    plain = one.to_dict()
    for wrong, message in (
        ([], "where a mapping is needed"),
        (plain | {"colour": 1}, "'colour', which a curve has not"),
        ({"metric": "a"}, "names no sigmas"),
        (plain | {"sigmas": ["0.1"]}, "sigmas = .*: allowed are real numbers"),
        (plain | {"seed": True}, "seed = True: allowed is a whole number"),
        (plain | {"excluded_chips": [-1]}, "excluded_chips = -1: allowed is a whole number"),
        (plain | {"higher_is_better": "no"}, "higher_is_better = 'no': allowed are True and False"),
    ):
        with pytest.raises(limpet.MetricError, match=message):
            limpet.RobustnessCurve.from_dict(wrong)


def test_whole_numbers_are_compared_exactly():
    counts = curve([2.0**25 - 1, 2.0**25])
    assert counts.yield_at(2.0**25)[0].fraction == 0.5
    assert curve([2.0**25 - 1, 2.0**25], higher_is_better=False).yield_at(2.0**25 - 1)[0].fraction == 0.5


def test_a_strength_is_found_by_its_very_value_first():
    values = [[0.9], [0.8], [0.7]]
    one = limpet.RobustnessCurve("accuracy", [0.1, 0.1000000001, 0.2], values)
    assert [one.row(sigma) for sigma in (0.1, 0.1000000001, 0.2, 0.20000001)] == [0, 1, 2, 2]
    with pytest.raises(limpet.MetricError, match="is 2 of the strengths to six digits: give all digits"):
        one.row(0.10000000005)
    assert limpet.RobustnessCurve("accuracy", [0.1, 0.1], values[:2]).row(0.1) == 0


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


def test_the_plot_shows_mean_band_and_worst_chip():
    ax = curve([0.9, 0.8], [0.7, NAN]).plot(Figure().add_subplot(), label="standard")
    assert ax.get_xlabel() == "relative standard deviation (sigma)"
    assert ax.get_ylabel() == "accuracy"
    assert ax.get_title() == "2 virtual chips"
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), [0.85, 0.7])
    np.testing.assert_allclose(ax.get_lines()[1].get_ydata(), [0.8, NAN])


def test_a_printed_curve_has_the_yield_at_the_target_and_says_that_chips_gave_no_number():
    one = curve([0.9, 0.8, 0.7], [0.0015, 0.0, NAN]).with_target(0.75)
    assert str(one).splitlines() == [
        "accuracy on 3 virtual chips of seed 0 (higher is better), yield at 0.75",
        "sigma      mean  5th percentile     worst     yield  no number",
        "    0       0.8            0.71       0.7    0.6667          0",
        "  0.1   0.00075            -inf      -inf         0          1",
    ]
    assert "yield" not in str(one.with_target(None))
    assert limpet.RobustnessCurve.from_dict(one.to_dict()).target == one.at(0.1).target == 0.75
    assert "target" not in one.with_target(None).to_dict()
    with pytest.raises(limpet.MetricError, match="target = nan: allowed is a finite number"):
        one.with_target(NAN)
