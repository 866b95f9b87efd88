"""Intervals against SciPy's; paired comparison; curves on disk."""

import json

import numpy as np
import pytest
from scipy import stats

import limpet


def curve(values, **kwargs):
    return limpet.RobustnessCurve("accuracy", [0.1], [values], **kwargs)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_chips_that_pass_are_counted_for_many_targets_as_for_one(higher_is_better):
    values = np.random.default_rng(0).integers(0, 100, (3, 50)) / np.float32(100)
    values[1, :4] = np.nan, np.inf, -np.inf, 0.9
    measured = limpet.RobustnessCurve("accuracy", [0.0, 0.1, 0.2], values, higher_is_better=higher_is_better)
    targets = np.array([-1.0, 0.0, 0.5, 0.9, 0.9000001, 2.0])
    slack = 1e-6 * np.abs(targets)
    finite = np.isfinite(values)[..., None]
    reach = values[..., None] >= targets - slack if higher_is_better else values[..., None] <= targets + slack
    np.testing.assert_array_equal(measured.passing(targets), (finite & reach).sum(axis=1))
    assert [round(50 * reached.fraction) for reached in measured.yield_at(0.9)] == measured.passing([0.9])[
        :, 0
    ].tolist()


@pytest.mark.parametrize("count", [0, 1, 37, 99, 100])
def test_an_exact_yield_is_that_of_scipys_binomial_test(count):
    found = curve([1.0] * count + [0.0] * (100 - count)).yield_at(0.5)[0]
    expected = stats.binomtest(count, 100).proportion_ci(0.95)
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high), rtol=1e-6)


def test_the_yield_of_antithetic_pairs_claims_no_more_than_half_as_many_chips():
    values = [0.9] * 15 + [0.1] * 5
    found = curve(values, antithetic=True).yield_at(0.5)[0]
    low, high = (curve([0.9] * passed + [0.1] * (10 - passed)).yield_at(0.5)[0] for passed in (7, 8))
    assert (found.fraction, found.low, found.high) == (0.75, low.low, high.high)


def test_antithetic_pairs_count_once():
    generator = np.random.default_rng(3)
    one = 0.05 * generator.standard_normal(40)
    pairs = np.stack([0.8 + one, 0.8 - one + 0.01 * generator.standard_normal(40)], axis=1).ravel()
    low, high = curve(pairs, antithetic=True).interval()
    means = pairs.reshape(-1, 2).mean(axis=1)
    np.testing.assert_array_equal([low, high], curve(means).interval())
    half = stats.t.ppf(0.975, 39) * means.std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose([low[0], high[0]], [means.mean() - half, means.mean() + half], atol=0.05 * half)


def test_degenerate_intervals_are_documented_ones():
    assert curve([0.5]).interval() == (-np.inf, np.inf)
    assert limpet.RobustnessCurve("accuracy", [0.0], [[0.5] * 4]).interval() == (0.5, 0.5)  # nothing deviates
    low, high = curve([0.5, float("nan"), 0.7]).interval(0.5)
    assert low[0] == -np.inf
    assert high[0] == np.inf
    for of, message in ((1.5, "allowed are 'mean', 'yield'"), ("yield", "needs a target"), ("median", "allowed are")):
        with pytest.raises(limpet.MetricError, match=message):
            curve([0.5, 0.6]).interval(of)
    with pytest.raises(limpet.MetricError, match="allowed are 't' and 'bootstrap'"):
        curve([0.5, 0.6]).interval(method="z")


def test_chips_that_are_all_alike_say_how_rare_others_are_and_no_more():
    """Of n chips none is among a share u of all with the odds (1 - u)^n; those count with the bounds of a rate."""
    share = 1 - 0.025 ** (1 / 64)
    for value in (1.0, 0.25):
        (low,), (high,) = curve([value] * 64).interval()
        np.testing.assert_allclose([low, high], [value - share * value, value + share * (1 - value)])
    rounded = np.linspace(0.9, 0.9 * (1 + 9e-7), 64)  # alike to six digits
    np.testing.assert_allclose(curve(rounded).interval(), curve([0.9] * 64).interval(), rtol=1e-5)
    for unbounded in (curve([17.0] * 64), curve([0.5] * 64, higher_is_better=False), curve([-0.5] * 64)):
        assert unbounded.interval() == (-np.inf, np.inf)
    found = limpet.compare(curve([0.9] * 64), curve([0.8] * 64))
    np.testing.assert_allclose([found.low[0], found.high[0]], [-0.1 - 0.9 * share, -0.1 + 1.1 * share])
    np.testing.assert_allclose(found.unseen, share)
    one, other = (limpet.RobustnessCurve("accuracy", [0.0], [[value] * 64]) for value in (0.9, 0.8))
    nominal = limpet.compare(one, other)
    np.testing.assert_allclose([nominal.low[0], nominal.high[0]], [-0.1, -0.1])


def test_a_difference_of_rounding_alone_is_none():
    values = np.random.default_rng(2).uniform(0.5, 0.9, 100)
    noise = np.random.default_rng(3).choice([-6e-8, 0, 6e-8], 100)
    found = limpet.compare(curve(values), curve(values + noise))
    assert found.low[0] < -0.01 < 0.01 < found.high[0]


def test_the_area_is_the_mean_over_strengths():
    assert limpet.RobustnessCurve("a", [0.2, 0.0, 0.1], [[0.0], [1.0], [0.5]]).area() == pytest.approx(0.5)
    assert curve([0.5, 0.7]).area() == pytest.approx(0.6)


def test_curves_survive_disk_and_json(tmp_path):
    values = np.array([[0.9, float("nan")], [0.7, 0.8]])
    one = limpet.RobustnessCurve("loss", [0.0, 0.1], values, 7, False, "scale", True)
    with pytest.raises(limpet.MetricError, match="come in pairs, got 1"):
        limpet.RobustnessCurve("loss", [0.0, 0.1], values[:, :1], antithetic=True)
    one.save(tmp_path / "curve.npz")
    for again in (
        limpet.RobustnessCurve.load(tmp_path / "curve.npz"),
        limpet.RobustnessCurve(**json.loads(json.dumps(one.to_dict()))),
    ):
        assert np.array_equal(again.values, one.values, equal_nan=True)
        assert {**again.to_dict(), "values": 0} == {**one.to_dict(), "values": 0}


def test_files_that_hold_no_curve(tmp_path):
    (tmp_path / "text.npz").write_text("no curve")
    np.savez(tmp_path / "other.npz", x=1)
    np.savez(tmp_path / "pickle.npz", sigmas=np.array([object()], dtype=object))
    for name in ("missing.npz", "text.npz", "other.npz", "pickle.npz"):
        with pytest.raises(limpet.MetricError, match=f"{name}: holds no robustness curve"):
            limpet.RobustnessCurve.load(tmp_path / name)


def test_worst_chips_have_numbers():
    one = limpet.RobustnessCurve("a", [0.1, 0.2], [[0.9, 0.8, 0.7], [0.5, float("nan"), 0.6]])
    assert (one.worst_chip(0.1), one.worst_chip(0.2)) == (2, 1)
    with pytest.raises(limpet.MetricError, match=r"sigma = 0.3: was not measured; the curve of .a. has 0.1, 0.2"):
        one.worst_chip(0.3)
    with pytest.raises(limpet.MetricError, match="antithetic"):
        curve([0.1, 0.2], antithetic=True).worst_chip(0.1)


class TestCompare:
    def test_pairing_narrows_the_interval(self):
        generator = np.random.default_rng(0)
        chips = 0.8 + 0.1 * generator.standard_normal(100)
        first, second = curve(chips), curve(chips + 0.01 + 0.005 * generator.standard_normal(100))
        found = limpet.compare(first, second)
        unpaired = np.ptp(first.interval()) + np.ptp(second.interval())
        assert found.low[0] < 0.01 < found.high[0]
        assert found.high[0] - found.low[0] < unpaired / 10
        assert found.worse[0].fraction == np.mean(second.values < first.values)

    def test_failing_is_worse_and_common_chips_are_compared(self):
        found = limpet.compare(curve([0.5, 0.5, float("nan"), 0.9]), curve([0.6, float("nan"), 0.7]))
        assert found.difference[0] == pytest.approx(0.1)
        assert found.worse[0].fraction == pytest.approx(1 / 3)
        lower = {"higher_is_better": False}
        assert limpet.compare(curve([0.5], **lower), curve([0.6], **lower)).worse[0].fraction == 1

    @pytest.mark.parametrize("changes", [{"seed": 1}, {"antithetic": True}, {"higher_is_better": False}])
    def test_other_chips_are_refused(self, changes):
        with pytest.raises(limpet.MetricError, match=f"differ in {next(iter(changes))}"):
            limpet.compare(curve([0.5, 0.6]), curve([0.5, 0.6], **changes))
        with pytest.raises(limpet.MetricError, match="differ in sigmas"):
            limpet.compare(curve([0.5, 0.6]), limpet.RobustnessCurve("accuracy", [0.2], [[0.5, 0.6]]))
