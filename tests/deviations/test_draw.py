"""All the randomness of a leaf: streams by name, what a chip's leaves share, the mirror image."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import limpet
from limpet.draws._keys import leaf_key, path_hash

COUNT = 50_000


def draw_of(path: str = "w", chip: int = 0, sign: float | None = None) -> limpet.Draw:
    key = limpet.virtual_chip(0, chip)
    return limpet.Draw(leaf_key(key, path_hash(path)), key, None if sign is None else jnp.float32(sign))


def different(first, second) -> bool:
    """Whether two draws have nothing in common. False alarm: a correlation beyond 5 standard errors, 6e-7."""
    correlation = np.corrcoef(first.normal((COUNT,)), second.normal((COUNT,)))[0, 1]
    return abs(correlation) < 5 / COUNT**0.5


def test_streams_are_independent_and_have_names():
    draw = draw_of()
    streams = [draw, draw.stream("a"), draw.stream("b"), draw.stream("a").stream("a"), draw_of("v"), draw_of(chip=1)]
    streams += [draw.shared("a"), draw.shared("b"), draw.shared("a").stream("a"), draw_of(chip=1).shared("a")]
    assert all(different(one, other) for i, one in enumerate(streams) for other in streams[:i])
    assert np.array_equal(draw.stream("a").normal((3,)), draw_of().stream("a").normal((3,)))


def test_what_leaves_share_is_the_same_for_each_of_them_and_no_leaf_s_own():
    one, other = draw_of("one"), draw_of("other")
    assert np.array_equal(one.shared("die").normal((3,)), other.shared("die").normal((3,)))
    assert not np.array_equal(one.shared("die").normal((3,)), one.stream("die").normal((3,)))
    named_alike = draw_of("die")  # a leaf of that name
    assert not np.array_equal(one.shared("die").normal((3,)), named_alike.normal((3,)))


@dataclass(frozen=True)
class Die(limpet.Deviation):
    """A factor that all devices of one chip have in common."""

    sigma: float

    def deviate(self, draw, value, strength):
        return value * (1 + self.sigma * strength * draw.shared("die").normal((), strength))


def test_a_shared_deviation_moves_all_leaves_of_a_chip_by_one_factor():
    tree = {"a": jnp.ones(3), "b": {"c": jnp.full((2, 2), 2.0)}}
    mismatch = limpet.Mismatch(jax.tree.map(lambda _: True, tree), Die(0.1))
    chips = jax.vmap(lambda chip: mismatch(limpet.virtual_chip(0, chip), tree))(jnp.arange(4))
    factors = np.concatenate([chips["a"], chips["b"]["c"].reshape(4, -1) / 2], axis=1)
    assert (np.ptp(factors, axis=1) < 1e-6).all()
    assert len(np.unique(factors[:, 0])) == 4
    alone = limpet.Mismatch({"a": True}, Die(0.1))(limpet.virtual_chip(0, 2), {"a": jnp.ones(3)})
    assert np.array_equal(alone["a"], chips["a"][2])


@pytest.mark.parametrize("wide", [False, True])
def test_uniform_numbers_are_uniform_and_never_0_or_1(wide):
    with jax.enable_x64(wide):
        dtype = jnp.float64 if wide else jnp.float32
        draw, mirrored = draw_of(), draw_of(sign=-1.0)
        numbers = draw.uniform((COUNT,), dtype)
        assert numbers.dtype == dtype
        assert stats.kstest(np.asarray(numbers, np.float64), "uniform").pvalue > 1e-4
        assert 0 < numbers.min() < numbers.max() < 1
        assert np.array_equal(mirrored.uniform((COUNT,), dtype), 1 - numbers)
        assert np.array_equal(draw_of(sign=1.0).uniform((COUNT,), dtype), numbers)


@pytest.mark.parametrize("word", [0, 2**32 - 1])
def test_the_outermost_uniform_numbers_are_inside(word, monkeypatch):
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: jnp.full(shape, word, dtype))
    for wide in (False, True):
        with jax.enable_x64(wide):
            assert 0 < float(draw_of().uniform((), jnp.float64 if wide else jnp.float32)) < 1


@pytest.mark.parametrize("generator", ["fast", "threefry2x32"])
def test_the_mirror_image_has_the_opposite_numbers(generator):
    key = limpet.virtual_chip(0, 0, generator)
    draw, mirrored = (limpet.Draw(key, key, sign) for sign in (None, jnp.float32(-1)))
    for one, other in (
        (draw, mirrored),
        (draw.stream("a"), mirrored.stream("a")),
        (draw.shared("a"), mirrored.shared("a")),
    ):
        assert np.array_equal(one.normal((50,)), -other.normal((50,)))
        assert np.array_equal(one.truncated_normal((50,)), -other.truncated_normal((50,)))
        value = jnp.linspace(-1, 1, 50)
        assert np.array_equal(one.times_normal(value, jnp.float32(0.1)), -other.times_normal(value, jnp.float32(0.1)))


def test_normal_numbers_have_the_dtype_of_their_sigma():
    with jax.enable_x64(True):
        for dtype in ("float32", "float64"):
            sigma = jnp.asarray(2.0, dtype)
            for numbers in (draw_of().normal((COUNT,), sigma), draw_of().truncated_normal((COUNT,), sigma)):
                assert numbers.dtype == dtype
                assert abs(float(numbers.std()) / 2 - 1) < 5 / (2 * COUNT) ** 0.5
