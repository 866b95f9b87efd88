"""The Gaussian: its strength, in Rockpool's terms too, and its distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import limpet


@pytest.mark.parametrize("sigma", [float("nan"), float("inf"), -0.1, "0.1", None, True, 1j])
def test_a_strength_that_is_none_is_refused_with_its_value(sigma):
    with pytest.raises(limpet.StrengthError, match=r"Gaussian.sigma = .*allowed is a finite number >= 0") as caught:
        limpet.Gaussian(sigma)
    assert repr(sigma) in str(caught.value)


@pytest.mark.parametrize(("percent", "rule", "name"), [(float("nan"), 3, "percent_deviation"), (0.3, 0, "sigma_rule")])
def test_percent_is_checked_too(percent, rule, name):
    with pytest.raises(limpet.StrengthError, match=name):
        limpet.Gaussian.from_percent(percent, rule)


@given(percent=st.floats(0, 5), rule=st.floats(1, 10))
def test_percent_resolves_to_sigma(percent, rule):
    assert limpet.Gaussian.from_percent(percent, rule).sigma == pytest.approx(percent / rule, rel=1e-14)
    assert limpet.Gaussian.from_percent(0.30, 3.0).sigma == 0.1  # where 0.3 / 3 is 0.09999999999999999


def test_a_percentage_is_refused():
    for deviation in (limpet.Gaussian, limpet.Uniform):
        with pytest.raises(limpet.StrengthError, match="sigma = 30: it is a fraction, 0.30 means 30%"):
            deviation(30)


def test_a_traced_strength_says_what_to_do():
    with pytest.raises(limpet.StrengthError, match="pass what moves as `scale`"):
        jax.jit(lambda sigma: limpet.Gaussian(sigma).sigma)(0.1)


def test_the_relative_deviation_is_normal():
    # False alarms: KS at p < 1e-4; moments at 5 standard errors (6e-7). Fixed seed.
    count = 200_000
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))
    deviated = mismatch(jax.random.key(1, impl=limpet.fast), {"w": jnp.full(count, -3.0)})["w"]
    relative = np.asarray(deviated, np.float64) / -3.0 - 1
    assert stats.kstest(relative / 0.1, "norm").pvalue > 1e-4
    assert abs(relative.mean()) < 5 * 0.1 / np.sqrt(count)
    assert abs(relative.std() / 0.1 - 1) < 5 / np.sqrt(2 * count)
