"""Deviations given that the result lies in a range: their distribution, and what is the same however they are drawn.

False alarms: Kolmogorov-Smirnov at p < 1e-4. Seeds are fixed.
"""

import math
from functools import reduce
from operator import or_

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alike import assert_alike
from scipy import stats

import limpet

KEY = jax.random.key(5, impl=limpet.fast)
COUNT = 100_000


MEMBERS = {
    "gaussian": (limpet.Gaussian(sigma=0.5), 1.0, 2.5),
    "gaussian above": (limpet.Gaussian(sigma=0.5), 1.5, None),
    "log-normal": (limpet.LogNormal(sigma_ln=0.6), 1.5, 4.0),
    "log-normal that keeps the mean": (limpet.LogNormal(sigma_ln=0.6, preserve="mean"), 0.0, 2.0),
    "negative": (limpet.Gaussian(sigma=0.5), -2.5, -1.0),
    "negative log-normal": (limpet.LogNormal(sigma_ln=0.6), -4.0, -1.5),
}
MISMATCHES = [
    limpet.Mismatch({name: True}, deviation, limits=limpet.Limits(low, high, "truncate"))
    for name, (deviation, low, high) in MEMBERS.items()
]
ALL, SOME = reduce(or_, MISMATCHES), MISMATCHES[0] | MISMATCHES[3] | MISMATCHES[5]


def nominal(name):
    return -2.0 if name.startswith("negative") else 2.0


@pytest.fixture(scope="module")
def chip():
    return jax.jit(ALL)(KEY, {name: jnp.full(COUNT, nominal(name)) for name in MEMBERS})


def cdf(name):
    """The distribution function of the conditional distribution, from SciPy's unconditional one."""
    deviation, low, high = MEMBERS[name]
    if isinstance(deviation, limpet.Gaussian):
        whole = stats.norm(nominal(name), 2 * deviation.sigma).cdf
    else:
        s = math.sqrt(math.log1p(deviation.sigma**2))
        above = stats.lognorm(s, scale=2 * (math.exp(-(s**2) / 2) if deviation.preserve == "mean" else 1))
        whole = (lambda value: above.sf(-value)) if name.startswith("negative") else above.cdf
    below, above_it = (whole(end) if end is not None else 1.0 for end in (low, high))
    return lambda value: (whole(value) - below) / (above_it - below)


@pytest.mark.parametrize("name", MEMBERS)
def test_the_distribution_is_conditioned_on_the_range(chip, name):
    _, low, high = MEMBERS[name]
    values = np.asarray(chip[name], np.float64)
    assert values.min() >= (low if low is not None else -np.inf)
    assert values.max() <= (high if high is not None else np.inf)
    assert stats.kstest(values, cdf(name)).pvalue > 1e-4
    assert len(np.unique(values)) > COUNT / 3  # they do not pile up at the limits


def test_draws_are_the_same_in_every_program_and_gradients_finite():
    tree = {name: nominal(name) * jnp.linspace(0.3, 2.0, 41) for name in SOME.paths}
    keys = jax.random.split(KEY, 2)
    eager = SOME(keys[1], tree, 1.5)
    batched = jax.jit(jax.vmap(SOME, (0, None, None)))(keys, tree, 1.5)

    def total(tree, scale):
        chip = SOME(keys[1], tree, scale)
        return sum(leaf.sum() for leaf in chip.values()), chip

    gradient = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))
    (by_value, by_scale), inside = gradient(tree, 1.5)
    for name in SOME.paths:
        assert_alike(batched[name][1], eager[name])
        assert_alike(inside[name], eager[name])
        assert np.isfinite(by_value[name]).all(), name
    assert np.isfinite(by_scale)
    (by_value, by_scale), still = gradient(tree, 0.0)
    assert np.isfinite(by_scale)
    for name in SOME.paths:
        _, low, high = MEMBERS[name]
        np.testing.assert_array_equal(still[name], np.clip(tree[name], np.float32(low), high), err_msg=name)
        assert np.isfinite(by_value[name]).all(), name


def test_values_that_are_next_to_nothing_beside_a_limit_have_gradients():
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(0.5), limits=limpet.Limits(-1.0, 1.0, "truncate"))
    tree = {"w": jnp.array([0.0, 1e-37, -1e-30, 1e-7, -1e-5, 0.5])}
    drawn, slopes = jax.value_and_grad(lambda tree: mismatch(KEY, tree)["w"].sum())(tree)
    assert np.isfinite(drawn)
    assert np.isfinite(slopes["w"]).all()
    chip = mismatch(KEY, tree)["w"]
    assert (np.abs(chip[1:] / tree["w"][1:] - 1) < 2.5).all()


def test_a_value_far_beyond_is_held_at_the_limit():
    limits = limpet.Limits(1.0, 2.0, "truncate")
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.01), limits=limits)
    assert mismatch(KEY, {"w": jnp.array([0.1, 0.0, 1.5, 5.0, -5.0])})["w"].tolist()[::3] == [1.0, 2.0]


@pytest.mark.parametrize(
    "deviation", [limpet.Uniform(0.1), limpet.Chain((limpet.Gaussian(0.1),)), limpet.Additive(0.1)]
)
def test_other_distributions_cannot_be_conditioned(deviation):
    limits = limpet.Limits(0.0, None, "truncate")
    for build in (limpet.Part, limpet.Mismatch):
        with pytest.raises(limpet.LimpetError, match="'truncate' need a distribution that is known.*Gaussian or"):
            build({"w": True}, deviation, limits=limits)
