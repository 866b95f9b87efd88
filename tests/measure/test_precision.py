"""Drawing until an interval is narrow enough: what it stops at, and what it says where it cannot."""

import jax.numpy as jnp
import numpy as np
import pytest

import limpet

PARAMS = {"w": jnp.ones(1)}
MISMATCH = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))


def value(tree, _):
    return tree["w"].sum()


def rarely_bad(tree, _):
    """1.0, and 0.1 on one chip in a hundred."""
    return jnp.where(tree["w"][0] < 1 - 0.1 * 2.326, 0.1, 1.0)


def rarely_large(tree, _):
    """17, and 100 on one chip in ten thousand."""
    return jnp.where(tree["w"][0] < 1 - 0.1 * 3.7, 100.0, 17.0)


def mostly_failing(tree, _):
    """A number on some 30% of the chips."""
    return jnp.where(tree["w"][0] > 1.05, tree["w"][0], jnp.nan)


def measured(metric, sigmas=(0.1,), **precision):
    return limpet.robustness_curve(metric, PARAMS, MISMATCH, sigmas=sigmas, chips=limpet.Precision(**precision))


@pytest.mark.parametrize(
    ("metric", "precision", "message"),
    [
        (value, {"half_width": 1e-6, "at_most": 100}, r"the mean of 'value' is 0.01\d* at sigma 0.1"),
        (value, {"half_width": 0.01, "of": "yield", "target": 1.0, "at_most": 96}, "the yield of 'value' is 0.1"),
        (value, {"half_width": 0.5, "of": 0.01, "at_most": 80}, "the quantile 0.01 of 'value' is inf"),
        (rarely_bad, {"half_width": 0.001, "at_most": 64}, "the mean of 'rarely_bad' is 0.0"),
        (rarely_large, {"half_width": 0.001, "at_most": 64}, "'rarely_large' is inf at sigma 0.1 .all chips drawn are"),
    ],
)
def test_a_budget_that_ran_out_is_told(metric, precision, message):
    with pytest.warns(UserWarning, match=f"at most allowed, half the interval of .*{message}.*raise at_most"):
        assert measured(metric, **precision).chips == precision["at_most"]


def test_a_quantile_that_is_no_number_is_told_and_costs_no_further_chips():
    with pytest.warns(UserWarning, match=r"at sigma 0.1, 0.2 so many chips fail that the quantile 0.05 .* no number"):
        curve = measured(mostly_failing, sigmas=[0.1, 0.2], half_width=0.1, of=0.05, at_most=5000)
    assert curve.chips == 64
    assert curve.interval(0.05)[1].tolist() == [-np.inf, -np.inf]


def test_a_mean_of_chips_that_all_fail_is_told_and_costs_no_further_chips():
    with pytest.warns(UserWarning, match="at sigma 0.1 so many chips fail that the mean of 'metric' is no number"):
        curve = measured(lambda tree, _: tree["w"].sum() * jnp.nan, half_width=0.1, at_most=5000)
    assert curve.chips == 64


def test_chips_that_are_all_alike_are_no_reason_to_stop():
    """With 64 chips of 1.0, one in eighteen may be another: half the interval is 0.028."""
    curve = measured(rarely_bad, half_width=0.01)
    assert curve.chips >= 256
    low, high = curve.interval()
    assert low[0] <= 1 - 0.9 * 0.01 <= high[0]
    assert (high - low)[0] / 2 <= 0.01
    assert measured(rarely_bad, sigmas=[0.0], half_width=1e-9).chips == 64  # where nothing deviates, all are alike


def test_a_curve_that_was_drawn_for_a_yield_knows_its_target():
    assert measured(value, half_width=0.2, of="yield", target=0.9).target == 0.9
    assert measured(value, half_width=0.2).target is None
