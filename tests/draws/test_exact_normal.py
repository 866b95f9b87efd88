"""Normal numbers of what several values have in common are right in the tails.

False alarms: how many numbers lie beyond a bound is binomial, and may be where 5e-7 of that distribution is, on either
side: 1e-6 each. Seeds are fixed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import limpet
from limpet.draws._exact_normal import exact_normal, normal_of

KEY = jax.random.key(11, impl=limpet.fast)


def require_as_many_as_normal(beyond, numbers, bound):
    """A count of numbers beyond a bound on either side, against what it is of a normal distribution."""
    low, high = stats.binom.interval(1 - 1e-6, numbers, 2 * stats.norm.sf(bound))
    assert low <= beyond <= high, (bound, beyond, low, high)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_numbers_are_the_quantiles_of_their_words(dtype):
    words = np.concatenate([2 ** np.arange(32), 2 ** np.arange(32) - 1, 2**32 - 2 ** np.arange(32)]).astype(np.uint32)
    words = np.concatenate([words, np.random.default_rng(0).integers(0, 2**32, 100_000, np.uint32)])
    tail = (np.minimum(words, ~words) + 0.5) / 2.0**32
    with jax.enable_x64(dtype == jnp.float64):
        found = np.asarray(jax.jit(normal_of, static_argnums=1)(words, dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.where(words < 2**31, 1, -1) * stats.norm.ppf(tail), atol=4e-6)


def test_factors_of_chips_have_the_tails_of_a_normal_distribution():
    chips, sigma = 10**7, 0.1
    level = limpet.Mismatch({"w": True}, limpet.Shared(limpet.Gaussian(sigma=sigma), across="chip"))

    @jax.jit
    def beyond(bounds):
        def of_chip(chip):
            number = (level(jax.random.fold_in(KEY, chip), {"w": jnp.ones(1)})["w"][0] - 1) / sigma
            return jnp.abs(number) > bounds

        return jax.lax.map(lambda tile: jax.vmap(of_chip)(tile).sum(axis=0), jnp.arange(chips).reshape(100, -1)).sum(0)

    bounds = np.array([3.0, 4.5, 5.0])
    for bound, count in zip(bounds, beyond(bounds), strict=True):
        require_as_many_as_normal(count, chips, bound)


@pytest.mark.long
def test_numbers_go_on_where_fast_ones_end():
    numbers, bounds = 4 * 10**7, np.array([4.0, 4.94, 5.0, 5.5])

    @jax.jit
    def beyond(key):
        drawn = jnp.abs(exact_normal(key, (10**6,), jnp.float32))
        return jnp.stack([(drawn > bound).sum() for bound in bounds])

    counts = jax.jit(lambda: jax.lax.map(beyond, jax.random.split(KEY, numbers // 10**6)).sum(axis=0))()
    for bound, count in zip(bounds, counts, strict=True):
        require_as_many_as_normal(count, numbers, bound)


def test_what_is_drawn_exactly():
    """Single numbers, and what several values share; not the devices of a leaf."""
    draw = limpet.Draw(KEY, KEY)
    exact = jax.random.bits(KEY, (), jnp.uint32)
    np.testing.assert_array_equal(draw.normal(()), normal_of(exact, jnp.float32))
    one = jnp.ones(())
    np.testing.assert_array_equal(draw.times_normal(one, one), normal_of(exact, jnp.float32))
    for shared in (draw.shared("die"), draw.exactly(), draw.exactly().stream("a"), draw.exactly().of_read()):
        np.testing.assert_array_equal(shared.normal((3,)), exact_normal(shared.key, (3,), jnp.float32))
    assert (draw.normal((3,)) != exact_normal(KEY, (3,), jnp.float32)).all()


@pytest.mark.parametrize(
    "deviation",
    [
        limpet.Shared(limpet.Gaussian(sigma=0.1), across="column"),
        limpet.Shared(limpet.Gaussian(sigma=0.1), across="row", name="word line"),
        limpet.Shared(limpet.Gaussian(sigma=0.1), groups=(0, 1, 2)),
        limpet.Spatial(limpet.Gaussian(sigma=0.1), length=1e-6),  # of no correlation
    ],
)
def test_factors_of_groups_are_exact(deviation, monkeypatch):
    tree = {"w": jnp.ones((3, 3))}
    with jax.disable_jit():  # so that nothing compiled is found for the same deviation
        exact = limpet.Mismatch({"w": True}, deviation)(KEY, tree)["w"]
        monkeypatch.setattr(limpet.Draw, "exactly", lambda draw: draw)
        fast = limpet.Mismatch({"w": True}, deviation)(KEY, tree)["w"]
    assert (exact != fast).all()
