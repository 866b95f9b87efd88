"""Chips of walks: their numbers are those of chips, a step of length b moves by b, and a name is enough to draw one.

False alarms: a Kolmogorov-Smirnov test may give p = 1e-6, a correlation may be off by 5 standard errors (6e-7). Seeds
are fixed.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from members import MEMBERS
from scipy import stats

import limpet
from limpet.draws._exact_normal import exact_normal
from limpet.draws._keys import stream
from limpet.draws._walk import key_under, normal_numbers, weights_of

SIZE = 100_000
WALK = limpet.WalkedChip(3, 17, ((1041, 0.5), (1210, 0.3), (5, 0.7)))
GENERATORS = pytest.mark.parametrize("generator", ["fast", "threefry2x32"])


def normal(chip):
    return np.asarray(normal_numbers(chip.key, (SIZE,), jnp.float32))


def begun(chip, steps):
    """The walk up to some step."""
    return limpet.WalkedChip(chip.seed, chip.first, chip.steps[:steps], chip.generator)


@GENERATORS
def test_numbers_stay_normal_and_move_by_the_length_of_each_step(generator):
    walk = limpet.WalkedChip(WALK.seed, WALK.first, WALK.steps, generator)
    places = [normal(begun(walk, steps)) for steps in range(4)]
    for place in places:
        assert stats.kstest(place, "norm").pvalue > 1e-6
    for (before, after), (_, length) in zip(pairwise(places), walk.steps, strict=True):
        kept = np.sqrt(1 - length**2)
        assert abs(np.corrcoef(before, after)[0, 1] - kept) < 5 * length**2 / np.sqrt(SIZE)
    other = normal(limpet.WalkedChip(WALK.seed, 18, (), generator))
    assert abs(np.corrcoef(other, places[0])[0, 1]) < 5 / np.sqrt(SIZE)


def test_a_walk_that_has_not_begun_is_a_chip_of_exact_numbers():
    key = jax.random.fold_in(stream(3, "walk", "fast"), 17)
    np.testing.assert_allclose(normal(begun(WALK, 0)), exact_normal(key, (SIZE,), jnp.float32), rtol=5e-7)


def test_long_steps_leave_nothing_of_what_was_before():
    far = limpet.WalkedChip(3, 17, ((1041, 0.5), (1210, 1.0)))
    fresh = limpet.WalkedChip(3, 1210)
    np.testing.assert_allclose(normal(far), normal(fresh), rtol=5e-7)
    many = limpet.WalkedChip(3, 17, tuple((1041 + number, 0.9999) for number in range(40)))  # 1e-74 of the first
    assert stats.kstest(normal(many), "norm").pvalue > 1e-6
    assert abs(np.corrcoef(normal(many), normal(limpet.WalkedChip(3, 1080)))[0, 1] - 0.9999) < 1e-5


def test_words_are_those_of_the_normal_numbers():
    key = WALK.key
    word = np.asarray(jax.random.bits(key, (SIZE,), jnp.uint32))
    share = stats.norm.cdf(normal(WALK).astype(np.float64))
    np.testing.assert_allclose((word + 0.5) / 2.0**32, share, rtol=2e-6, atol=2.0**-24)
    assert np.array_equal(jax.random.bits(key, (SIZE,), jnp.uint8), word >> 24)
    assert stats.kstest(np.asarray(jax.random.uniform(key, (SIZE,))), "uniform").pvalue > 1e-6
    with jax.enable_x64(True):
        wide = np.asarray(jax.random.bits(key, (100,), jnp.uint64))
    assert len(np.unique(wide & np.uint64(2**32 - 1))) == len(np.unique(wide >> np.uint64(32))) == 100


def test_words_of_numbers_far_out():
    """Beyond 4 sigma on either side, where single precision knows 1 - Phi but not Phi."""
    chips = [limpet.WalkedChip(0, number, ((number + 1000, 0.6),)) for number in range(20)]
    keys = jnp.stack([chip.key for chip in chips])
    word = np.asarray(jax.vmap(lambda key: jax.random.bits(key, (SIZE,), jnp.uint32))(keys), np.float64).ravel()
    number = np.asarray(jax.vmap(lambda key: normal_numbers(key, (SIZE,), jnp.float32))(keys), np.float64).ravel()
    far = np.abs(number) > 4
    assert 60 < far.sum() < 200
    beyond = np.where(number < 0, word, 2.0**32 - 1 - word)
    np.testing.assert_allclose(beyond[far] / 2**32, stats.norm.sf(np.abs(number[far])), rtol=1e-3)


def test_derived_keys_are_independent():
    key = WALK.key
    halves = jax.random.split(key)
    keys = [key, *halves, jax.random.fold_in(key, 1), jax.random.fold_in(halves[0], 1), jax.random.split(halves[1])[0]]
    numbers = np.stack([normal_numbers(one, (SIZE,), jnp.float32) for one in keys])
    between = np.corrcoef(numbers)[np.triu_indices(len(keys), 1)]
    assert np.abs(between).max() < 5.5 / np.sqrt(SIZE)


def test_a_chip_is_one_chip_however_it_is_drawn():
    tree = {"w": jnp.ones((5, 7)), "b": jnp.ones(3)}
    mismatch = limpet.Mismatch({"w": True, "b": True}, limpet.LogNormal(sigma=0.1))
    eager = mismatch(WALK.key, tree)
    lengths = np.zeros(30)
    lengths[:4] = [1, *(length for _, length in WALK.steps)]
    numbers = np.zeros(30, np.uint32)
    numbers[:4] = [WALK.first, *(fresh for fresh, _ in WALK.steps)]
    longer = key_under(jax.random.key_data(stream(3, "walk", "fast")), numbers, weights_of(lengths), "fast")
    both = jax.jit(jax.vmap(mismatch, (0, None)))(jnp.stack([longer, longer]), tree)
    for name, value in eager.items():
        np.testing.assert_allclose(both[name][1], value, rtol=5e-7)
        np.testing.assert_array_equal(limpet.freeze(tree, mismatch, chip=WALK)[name], value)


def test_every_deviation_draws_from_a_walk():
    """A step of length 1e-3 changes few values, or all of them by little; one of length 1 is to another chip."""
    value = jnp.linspace(-1, 1, 240).reshape(40, 6)
    array = limpet.Array(outputs=-1)
    members = {name: limpet.Mismatch({"w": True}, member, array=array) for name, member in MEMBERS.items()}

    @jax.jit
    def drawn(key):
        condition = limpet.Condition(time=100.0)
        return {name: member(key, {"w": value}, condition)["w"] for name, member in members.items()}

    begin, near, far = (
        drawn(limpet.WalkedChip(0, 5, steps).key) for steps in (((9, 1e-9),), ((9, 1e-3),), ((9, 1.0),))
    )
    for name, member in MEMBERS.items():
        moved = np.abs(np.asarray(near[name]) - np.asarray(begin[name]))
        assert np.median(moved) <= 2e-3, name
        assert np.isfinite(near[name]).all(), name
        assert member.random == bool((np.asarray(far[name]) != np.asarray(begin[name])).any()), name


def test_products_draw_from_a_walk():
    adc = limpet.Converter(bits=8, bound=4.0, noise=0.05)
    hardware = limpet.Hardware(w=limpet.Part("w", limpet.Gaussian(0.1), product=limpet.Product(outputs=adc)))
    params, x = {"w": jnp.eye(3)}, jnp.ones((2, 3))
    outputs = [
        limpet.on_chip(lambda params, x: x @ params["w"], hardware, chip=begun(WALK, steps))(params, x)
        for steps in (2, 2, 3)
    ]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": -1}, r"WalkedChip.first = -1: allowed is a whole number from 0"),
        ({"seed": 0.5}, r"WalkedChip.seed = 0.5: allowed is a whole number"),
        ({"generator": "rbg"}, r"generator = 'rbg'"),
        ({"steps": (3,)}, r"WalkedChip.steps: 3 is no pair of the number of a fresh chip and a length"),
        ({"steps": ((3, 0.0),)}, r"WalkedChip.steps: the length = 0.0: allowed is a number above 0, up to 1|length"),
        ({"steps": ((3, 1.5),)}, r"WalkedChip.steps: the length = 1.5"),
        ({"steps": ((-3, 0.5),)}, r"WalkedChip.steps: the fresh chip = -3"),
    ],
)
def test_names_that_are_none_are_refused(arguments, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.WalkedChip(**{"seed": 0, "first": 0} | arguments)


def test_a_walked_chip_has_its_own_seed():
    params, mismatch = {"w": jnp.ones(3)}, limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))
    with pytest.raises(
        limpet.LimpetError, match=r"seed = 1: chip 3:17\+1041\*0.5.* names its own walk, and has no seed"
    ):
        limpet.freeze(params, mismatch, chip=WALK, seed=1)
    with pytest.raises(limpet.LimpetError, match=r"seed, generator: the walked chip 3:17.* names its own"):
        limpet.on_chip(lambda params: params["w"], mismatch, chip=WALK, seed=1)
