"""The truncated Gaussian: sigma is that of what comes out, and nothing lies beyond the bound.

False alarms: Kolmogorov-Smirnov at p < 1e-4, moments at 5 standard errors (6e-7). Seeds are fixed.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import limpet
from limpet.draws._truncated_normal import bend_for, cut_for

COUNT = 200_000


@pytest.mark.parametrize(
    ("bound", "generator"),
    [*((bound, limpet.fast) for bound in (1.7321, 1.8, 2.0, 2.5, 3.0, 4.0, 8.0)), (2.0, "threefry2x32")],
)
def test_the_distribution(bound, generator):
    mismatch = limpet.Mismatch({"w": True}, limpet.TruncatedGaussian(sigma=0.1, bound=bound))
    deviated = mismatch(jax.random.key(1, impl=generator), {"w": jnp.full(COUNT, -3.0)})["w"]
    number = (np.asarray(deviated, np.float64) / -3 - 1) / 0.1
    cut, spread = cut_for(bound)
    truncated = stats.truncnorm(-cut, cut, scale=1 / spread)
    assert truncated.std() == pytest.approx(1, abs=2e-4)  # near sqrt(3) SciPy loses digits
    assert truncated.support()[1] == pytest.approx(bound, rel=1e-9)
    assert stats.kstest(number, truncated.cdf).pvalue > 1e-4
    assert np.abs(number).max() <= bound * (1 + 2e-5)  # what float32 leaves of 1 + 0.1 * number
    error = math.sqrt((stats.kurtosis(number, fisher=False) - 1) / (4 * COUNT))
    assert abs(number.std() - 1) < 5 * error
    assert abs(number.mean()) < 5 / math.sqrt(COUNT)


@pytest.mark.parametrize("bound", np.linspace(1.75, 8, 26).round(3).tolist())
def test_every_bound_is_bent_near_to_its_distribution(bound):
    """The distance is exact: over evenly spaced ranks of the bell, not of draws."""
    from limpet.draws._truncated_normal import _bell_distribution

    place, mass = _bell_distribution()
    coefficients = np.array(bend_for(bound))
    number = np.clip(place[:, None] ** (2 * np.arange(len(coefficients)) + 1) @ coefficients, -bound, bound)
    cut, spread = cut_for(bound)
    order = np.argsort(number, kind="stable")
    below = stats.truncnorm.cdf(number[order] * spread, -cut, cut)
    assert np.abs(below - np.cumsum(mass[order]) + mass[order] / 2).max() < 1.1e-3
    assert (mass * number**2).sum() == pytest.approx(1, abs=1e-5)
    assert mass[np.abs(number) == bound].sum() < 2e-3  # clipped


def test_the_coefficients_do_not_depend_on_the_machine():
    assert all(float(f"{coefficient:.7g}") == coefficient for coefficient in bend_for(3.0))
    np.testing.assert_allclose(bend_for(3.0), (3.369361, 0.3725803, 0.4195839, -0.267147, -1.039791), rtol=1e-6)


@pytest.mark.parametrize("bound", [0.0, 1.0, 1.732, math.sqrt(3), 8.1, 100.0])
def test_bounds_that_cannot_be(bound):
    with pytest.raises(limpet.StrengthError, match=r"bound = .*above sqrt\(3\) = 1\.7321, up to 8"):
        limpet.TruncatedGaussian(sigma=0.1, bound=bound)


def test_no_weight_changes_its_sign_below_a_full_deviation():
    mismatch = limpet.Mismatch({"w": True}, limpet.TruncatedGaussian(sigma=0.25, bound=3.9))
    tree = {"w": jnp.full(COUNT, 2.0)}
    key = jax.random.key(0, impl=limpet.fast)
    assert float(mismatch(key, tree)["w"].min()) > 0
    assert float(limpet.Mismatch({"w": True}, limpet.Gaussian(0.33))(key, tree)["w"].min()) < 0
