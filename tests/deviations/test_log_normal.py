"""The log-normal: what its strengths mean, and its distribution.

False alarms: Kolmogorov-Smirnov at p < 1e-4, moments at 5 standard errors (6e-7). Seeds are fixed.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import limpet
from limpet.deviations._log_normal import sigma_of_logarithm
from limpet.deviations._power_of_two import power_of_two

KEY = jax.random.key(5, impl=limpet.fast)
COUNT = 200_000


@jax.jit
def exponential_of(normal, sigma):
    return power_of_two(normal * (sigma / math.log(2)))


@pytest.mark.parametrize(
    ("millivolts", "logarithm", "variation"),
    [
        (2, 0.056, 0.056),
        (3.9, 0.110, 0.110),
        (5.05, 0.142, 0.143),
        (7.02, 0.198, 0.200),
        (10, 0.282, 0.288),
        (15, 0.423, 0.443),
        (25, 0.705, 0.802),
    ],
)
def test_sigma_follows_from_a_transistor_s_threshold(millivolts, logarithm, variation):
    """s = kappa sigma_Vth / U_T and sigma = sqrt(exp(s^2) - 1), for kappa = 0.705 and U_T = 25 mV."""
    by_threshold = limpet.LogNormal(sigma_vth=millivolts * 1e-3)
    assert by_threshold.sigma == pytest.approx(variation, abs=5e-4)
    assert by_threshold.sigma == pytest.approx(limpet.LogNormal(sigma_ln=0.705 * millivolts / 25).sigma, rel=1e-12)
    assert limpet.LogNormal(sigma_ln=logarithm).sigma == pytest.approx(variation, abs=1e-3)


@pytest.mark.parametrize(
    ("variation", "millivolts"), [(0.05, 1.77), (0.1, 3.54), (0.15, 5.29), (0.2, 7.02), (0.3, 10.41)]
)
def test_the_threshold_follows_from_sigma(variation, millivolts):
    assert limpet.LogNormal(sigma_vth=millivolts * 1e-3).sigma == pytest.approx(variation, abs=3e-4)


def test_gate_coupling_and_temperature_go_with_the_threshold():
    deviation = limpet.LogNormal(sigma_vth=5e-3, kappa=0.6, thermal_voltage=30e-3)
    assert deviation.sigma == pytest.approx(math.sqrt(math.expm1(0.1**2)), rel=1e-12)
    assert deviation == limpet.LogNormal(sigma=deviation.sigma)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "give one of sigma, sigma_ln and sigma_vth, got none"),
        ({"sigma": 0.1, "sigma_ln": 0.1}, "got sigma and sigma_ln"),
        ({"sigma": 0.1, "kappa": 0.7}, "kappa and thermal_voltage go with sigma_vth"),
        ({"sigma_ln": 0.1, "thermal_voltage": 0.025}, "go with sigma_vth"),
        ({"sigma_vth": -1e-3}, r"LogNormal\.sigma_vth = -0\.001: allowed is a finite number >= 0"),
        ({"sigma_ln": math.nan}, r"LogNormal\.sigma_ln = nan"),
        ({"sigma_vth": 1e-3, "kappa": 0.0}, r"LogNormal\.kappa = 0\.0: allowed is a finite number > 0"),
        ({"sigma_vth": 1e-3, "thermal_voltage": math.inf}, r"LogNormal\.thermal_voltage = inf"),
        ({"sigma_vth": 5.05}, r"LogNormal\.sigma_vth = 5\.05: the logarithm would be off by 142.*both in volts\?"),
        ({"sigma_ln": 6}, "the logarithm would be off by 6"),
        ({"sigma": 1e300}, r"LogNormal\.sigma = 1e\+300: the logarithm would be off by"),
        ({"sigma": 0.1, "preserve": "mode"}, r"LogNormal\.preserve = 'mode': allowed are 'median' and 'mean'"),
    ],
)
def test_strengths_that_cannot_be_meant(parameters, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.LogNormal(**parameters)


@pytest.mark.parametrize(
    ("deviation", "sigma_ln", "generator"),
    [
        (limpet.LogNormal(sigma=0.3), math.sqrt(math.log1p(0.09)), limpet.fast),
        (limpet.LogNormal(sigma=0.3), math.sqrt(math.log1p(0.09)), "threefry2x32"),
        (limpet.LogNormal(sigma_ln=0.7), 0.7, limpet.fast),
        (limpet.LogNormal(sigma_vth=7.02e-3), 0.705 * 7.02e-3 / 25e-3, limpet.fast),
        (limpet.LogNormal(sigma_ln=2.5), 2.5, limpet.fast),
    ],
)
@pytest.mark.parametrize("preserve", ["median", "mean"])
def test_the_distribution(deviation, sigma_ln, preserve, generator):
    deviation = limpet.LogNormal(sigma=deviation.sigma, preserve=preserve)
    mismatch = limpet.Mismatch({"w": True}, deviation)
    key = jax.random.key(5, impl=generator)
    factor = np.asarray(mismatch(key, {"w": jnp.full(COUNT, -3.0)})["w"], np.float64) / -3
    median = 1.0 if preserve == "median" else math.exp(-(sigma_ln**2) / 2)
    assert stats.kstest(factor, stats.lognorm(s=sigma_ln, scale=median).cdf).pvalue > 1e-4
    logarithm = np.log(factor)
    assert abs(logarithm.mean() - math.log(median)) < 5 * sigma_ln / math.sqrt(COUNT)
    assert abs(logarithm.std() / sigma_ln - 1) < 5 / math.sqrt(2 * COUNT)
    if preserve == "mean" and sigma_ln < 1:
        assert abs(factor.mean() - 1) < 5 * deviation.sigma / math.sqrt(COUNT)
    if preserve == "median":
        assert abs((factor < 1).mean() - 0.5) < 5 * 0.5 / math.sqrt(COUNT)


def test_a_current_never_changes_its_sign():
    mismatch = limpet.Mismatch({"w": True}, limpet.LogNormal(sigma_ln=5.0))
    drawn = mismatch(KEY, {"w": jnp.full(COUNT, 2e-12)})["w"]
    assert float(drawn.min()) > 0
    assert bool(jnp.isfinite(drawn).all())


def test_scale_multiplies_the_relative_standard_deviation():
    once = limpet.Mismatch({"w": True}, limpet.LogNormal(sigma=0.6))
    half = limpet.Mismatch({"w": True}, limpet.LogNormal(sigma=0.3))
    tree = {"w": jnp.ones(50)}
    np.testing.assert_allclose(once(KEY, tree, 0.5)["w"], half(KEY, tree)["w"], rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 1e-25, 1e-8, 1e-5, 0.3, 40.0, 1e15])
def test_sigma_of_the_logarithm_keeps_its_precision(sigma):
    """In float32, where sigma^2 is lost below and above; and it has a slope at 0."""
    expected = math.sqrt(math.log1p(sigma**2)) if sigma > 1e-7 else sigma
    value, slope = jax.value_and_grad(sigma_of_logarithm)(jnp.float32(sigma))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    exact = sigma / ((1 + sigma**2) * expected) if sigma > 1e-7 else 1.0
    np.testing.assert_allclose(slope, exact, rtol=1e-4)
    assert np.isfinite(sigma_of_logarithm(jnp.float32(1e38)))


def test_powers_of_two_are_precise_where_they_are_compiled():
    exponents = np.linspace(-125, 126, 50_001, dtype=np.float32)
    exact = np.exp2(exponents.astype(np.float64))
    for computed in (power_of_two(jnp.asarray(exponents)), jax.jit(power_of_two)(exponents)):
        assert np.abs(np.asarray(computed, np.float64) / exact - 1).max() < 2e-7
    assert np.array_equal(power_of_two(jnp.arange(-126.0, 128.0)), np.exp2(np.arange(-126.0, 128.0)).astype("float32"))
    # In one kernel with what precedes it: XLA simplifies sums and differences of constants.
    normal = np.linspace(-5, 5, 10_001, dtype=np.float32)
    np.testing.assert_allclose(exponential_of(normal, 0.3), np.exp(0.3 * normal.astype(np.float64)), rtol=1e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(power_of_two(jnp.float64(0.1)), 2**0.1, rtol=1e-15)
