"""The default generator and its normal numbers: ordinary keys, sound statistics, and draws that stay what they are.

Bounds on statistics are stated with each test; seeds are fixed, so a test that passes keeps passing.
"""

import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy import stats

import limpet
from limpet.draws import _fast as _fast_bits
from limpet.draws._keys import chip_key, leaf_key, path_hash, step_key
from limpet.draws._normal import WEIGHTS, times_normal
from limpet.draws._shard import undivided

KEY = jax.random.key(0, impl=limpet.fast)


def standard_normal(key, shape):
    return times_normal(key, jnp.ones(shape), 1.0)


def normals(key, count):
    return np.asarray(standard_normal(key, (count,)), np.float64)


@pytest.fixture(scope="module")
def ten_million():
    return np.sort(normals(KEY, 10**7))


@pytest.mark.long
def test_the_numbers_are_normal(ten_million):
    x, count = ten_million, len(ten_million)
    ranks = np.arange(count + 1) / count
    below = stats.norm.cdf(x)
    assert max((below - ranks[:-1]).max(), (ranks[1:] - below).max()) <= 2e-3
    assert abs(x.mean()) < 5 / count**0.5
    assert abs(x.var() - 1) < 5 * (2 / count) ** 0.5
    assert abs(stats.kurtosis(x)) <= 0.02
    assert abs(stats.skew(x)) < 5 * (6 / count) ** 0.5
    for bound, allowed in ((3, 0.05), (4, 0.20)):
        for tail in ((x > bound), (x < -bound)):
            assert abs(tail.mean() / stats.norm.sf(bound) - 1) < allowed + 5 / (count * stats.norm.sf(bound)) ** 0.5


def streams():
    """Pairs of streams that are neighbours in some sense, by name."""
    path = path_hash("layer/kernel")
    yield "keys", KEY, jax.random.key(1, impl=limpet.fast)
    yield "split", *jax.random.split(KEY)
    yield "steps", *(leaf_key(step_key(0, step), path) for step in (7, 8))
    yield "chips", *(leaf_key(chip_key(0, chip), path) for chip in (0, 1))
    yield "step and chip", *(leaf_key(key(0, 3), path) for key in (step_key, chip_key))
    yield "leaves", *(leaf_key(step_key(0, 0), path_hash(f"layer_{layer}/kernel")) for layer in (0, 1))
    yield "seeds", *(leaf_key(step_key(seed, 0), path) for seed in (0, 1))


@pytest.mark.parametrize(("first", "second"), [pair[1:] for pair in streams()], ids=[pair[0] for pair in streams()])
def test_neighbouring_streams_are_uncorrelated(first, second):
    # 23 correlations of 2^18 values for each pair, bound at 5 standard errors: false alarms 1e-5 a pair.
    one, other = normals(first, 2**18), normals(second, 2**18)
    bound = 5 / len(one) ** 0.5
    for shift in range(8):
        assert abs(np.mean(one * np.roll(other, shift))) < bound
        assert abs(np.mean((one**2 - 1) * (np.roll(other, shift) ** 2 - 1))) < 2 * bound
        assert shift == 0 or abs(np.mean(one * np.roll(one, shift))) < bound
    assert len(np.intersect1d(*(np.asarray(jax.random.bits(key, (2**10,))) for key in (first, second)))) < 3


def test_every_bit_is_fair():
    words = np.asarray(jax.random.bits(KEY, (2**18,)))
    ones = np.array([((words >> np.uint32(bit)) & 1).mean() for bit in range(32)])
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / len(words) ** 0.5
    flipped = words[:-1] ^ words[1:]  # from one counter to the next
    ones = np.array([((flipped >> np.uint32(bit)) & 1).mean() for bit in range(32)])
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / len(words) ** 0.5


def test_derived_keys_do_not_collide():
    steps = jax.random.key_data(jax.vmap(lambda step: step_key(0, step))(jnp.arange(20_000)))
    chips = jax.random.key_data(jax.vmap(lambda chip: chip_key(0, chip))(jnp.arange(20_000)))
    split = jax.random.key_data(jax.random.split(KEY, 20_000))
    seeds = jax.random.key_data(jax.vmap(lambda seed: jax.random.key(seed, impl=limpet.fast))(jnp.arange(20_000)))
    data = np.concatenate([steps, chips, split, seeds])
    assert len(np.unique(data.view(np.uint64))) == len(data)


def test_it_is_an_ordinary_key():
    assert jax.random.key_impl(KEY) == limpet.fast
    assert jax.random.wrap_key_data(jax.random.key_data(KEY), impl=limpet.fast) == KEY
    uniform = np.asarray(jax.random.uniform(KEY, (10_000,)), np.float64)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-4
    assert stats.kstest(np.asarray(jax.random.normal(KEY, (10_000,)), np.float64), "norm").pvalue > 1e-4
    assert sorted(jax.random.permutation(KEY, 100).tolist()) == list(range(100))
    for dtype in ("uint8", "uint16"):
        counts = np.bincount(np.asarray(jax.random.bits(KEY, (2**16,), dtype)) & 255, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4
    assert jax.random.split(KEY, (2, 3)).shape == (2, 3)
    assert bool((jax.random.split(KEY, (2, 3)).ravel() == jax.random.split(KEY, 6)).all())
    with jax.enable_x64(True):
        wide = np.asarray(jax.random.bits(KEY, (2**12,), "uint64"))
        assert len(np.unique(wide)) == len(wide)
        assert abs((wide >> np.uint64(63)).mean() - 0.5) < 5 * 0.5 / len(wide) ** 0.5
        seeds = [jax.random.key(seed, impl=limpet.fast) for seed in (1, 1 + 2**32)]
        assert not np.array_equal(*map(jax.random.key_data, seeds))


@pytest.mark.parametrize("shape", [(24,), (4, 6), (128, 160), (3, 3, 16, 128)])
def test_values_are_the_same_mapped(shape):
    keys = jax.random.split(KEY, 5)
    mapped = jax.vmap(lambda key: standard_normal(key, shape))(keys)
    for key, found in zip(keys, mapped, strict=True):
        assert np.array_equal(standard_normal(key, shape), found)


def test_a_vector_s_word_is_a_hash_of_the_key_and_its_place():
    data = jax.random.key_data(KEY)
    expected = _fast_bits._word(jnp.arange(42, dtype=jnp.uint32), data[0], data[1])
    assert np.array_equal(jax.random.bits(KEY, (42,)), expected)
    assert np.array_equal(jax.random.bits(KEY, (2, 3, 7)).ravel(), expected)  # too few rows to be a matrix


def test_a_matrix_s_word_follows_from_the_key_its_row_and_its_column():
    words = jax.random.bits(KEY, (128, 144))
    added, factor = _fast_bits._words_of(jax.random.key_data(KEY), undivided((128,)), _fast_bits.ROWS)
    place, mask = _fast_bits._words_of(jax.random.key_data(KEY), undivided((144,)), _fast_bits.COLUMNS)
    for row, column in ((0, 0), (3, 7), (127, 143)):
        word = ((added[row] + place[column]) ^ mask[column]) * (factor[row] | 1)
        assert words[row, column] == word ^ (word >> 13)
    # The same rows and columns, along several axes.
    assert np.array_equal(jax.random.bits(KEY, (8, 16, 144)).reshape(128, 144), words)
    assert np.array_equal(jax.random.bits(KEY, (128, 16, 3, 3)).reshape(128, 144), words)


@pytest.mark.parametrize(
    ("shape", "split"),
    [
        ((784, 512), 1),
        ((3, 3, 64, 128), 3),
        ((256, 256, 3, 3), 1),
        ((512, 8, 64), 1),
        ((64, 64), None),
        ((512, 10), None),
        ((10**6,), None),
        ((), None),
    ],
)
def test_an_array_is_divided_into_rows_and_columns(shape, split):
    assert _fast_bits._between_rows_and_columns(shape) == split


def alikeness(words):
    """By how many standard deviations rows are more alike than independent ones would be, for normals and squares."""
    x = np.asarray(_bent(words), np.float64)
    found = []
    for values in (x, x**2):
        values = values - values.mean(axis=1, keepdims=True)
        values /= np.sqrt((values**2).sum(axis=1, keepdims=True))
        squares = (values @ values.T)[np.triu_indices(len(values), 1)] ** 2 * values.shape[1]  # chi-squared, 1 degree
        found.append((squares.mean() - 1) / (2 / len(squares)) ** 0.5)
    return found


def _bent(words):
    """Normal numbers of given words."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.random, "bits", lambda key, shape, dtype: words)
        return standard_normal(KEY, words.shape)


@pytest.mark.long
def test_no_two_rows_and_no_two_columns_are_alike():
    # 32,640 pairs each of 2^15 values: a correlation of .0011 in all of them shows. False alarms: 1e-6 for each of the
    # four numbers, at 5 standard deviations. The last line is the control: words without the last shift fail.
    flat = jax.random.bits(KEY, (256, 2**15))
    tall = jax.random.bits(KEY, (2**15, 256)).T
    assert max(map(abs, alikeness(flat) + alikeness(tall))) < 5
    (added, factor), (place, mask) = (
        _fast_bits._words_of(jax.random.key_data(KEY), undivided((size,)), purpose)
        for size, purpose in ((256, _fast_bits.ROWS), (2**15, _fast_bits.COLUMNS))
    )
    unshifted = ((added[:, None] + place) ^ mask) * (factor | 1)[:, None]
    assert np.array_equal(unshifted ^ (unshifted >> 13), flat)
    assert alikeness(unshifted)[0] > 20


@pytest.mark.parametrize("shape", [(64, 32), (256, 128)])
def test_shards_draw_their_own_part_without_communication(shape):
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    kernel = jax.random.normal(jax.random.key(1), shape)
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))
    expected = jax.jit(mismatch)(KEY, {"w": kernel})["w"]
    for spec in (PartitionSpec("a"), PartitionSpec("b", "a"), PartitionSpec(None, ("a", "b"))):
        sharding = NamedSharding(mesh, spec)
        draw = jax.jit(mismatch, out_shardings=sharding).lower(KEY, {"w": jax.device_put(kernel, sharding)}).compile()
        assert not re.search("all-gather|all-reduce|all-to-all|collective-permute", draw.as_text())
        assert np.array_equal(draw(KEY, {"w": jax.device_put(kernel, sharding)})["w"], expected)


@pytest.mark.parametrize("shape", [(8, 8), (128, 160)])
def test_leaves_of_one_shape_are_compiled_once(shape):
    tree = {f"layer_{index}": jnp.ones(shape) for index in range(6)}
    mismatch = limpet.Mismatch(dict.fromkeys(tree, True), limpet.Gaussian(0.1))
    text = jax.jit(mismatch).lower(KEY, tree).compile().as_text()
    kernels = [block for block in text.split("\n\n") if f"constant({WEIGHTS})" in block]
    assert len(kernels) == 6
    assert len({re.sub(r"metadata=\{[^}]*\}|(?<=[a-z_])[.\d]+", "", kernel) for kernel in kernels}) <= 2


def test_rows_and_columns_are_hashed_once_not_at_every_place():
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))
    text = jax.jit(jax.vmap(mismatch, (0, None))).lower(jax.random.split(KEY, 3), {"w": jnp.ones((128, 160))}).compile()
    kernels = text.as_text().split("\n\n")
    assert [block for block in kernels if f"constant({WEIGHTS})" in block]
    assert not [b for b in kernels if f"constant({WEIGHTS})" in b and f"constant({_fast_bits.FACTORS[1]})" in b]


@pytest.mark.parametrize("gradient", ["through", "straight_through"])
def test_no_noise_is_kept_in_memory(gradient):
    tree = {f"layer_{index}": jax.random.normal(jax.random.key(index), (256, 256)) / 16 for index in range(4)}
    mismatch = limpet.Mismatch(dict.fromkeys(tree, True), limpet.Gaussian(0.1), gradient)

    def loss(tree, x):
        for kernel in tree.values():
            x = jnp.tanh(x @ kernel)
        return (x**2).mean()

    def temporary(loss):
        program = jax.jit(jax.grad(loss, argnums=1)).lower(KEY, tree, jnp.ones((8, 256))).compile()
        return program.memory_analysis().temp_size_in_bytes

    plain = temporary(lambda key, tree, x: loss(tree, x))
    deviated = temporary(lambda key, tree, x: loss(mismatch(key, tree), x))
    assert deviated - plain <= 1.1 * 4 * 4 * 256**2


def test_a_compiled_loop_of_steps_carries_nothing_of_the_leaf_s_size():
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))

    def step(number, tree):
        return mismatch(step_key(0, number), tree)

    tree = {"w": jnp.ones((256, 128))}
    loop = jax.jit(lambda tree: jax.lax.fori_loop(0, 10, step, tree), donate_argnums=0).lower(tree).compile()
    carried = [line for line in loop.as_text().splitlines() if " while(" in line and "f32[256,128]" in line]
    assert len(carried) == 1
    assert "u32[256,128]" not in carried[0]
    assert loop.memory_analysis().temp_size_in_bytes < tree["w"].nbytes / 4


@pytest.mark.parametrize("generator", ["fast", "threefry2x32"])
def test_draws_are_those_of_this_version(generator):
    """If this fails, chips that people have measured are gone: raise limpet.DRAWS_VERSION, and keep the old draws."""
    pinned = {
        "fast": [1.0239593, 1.0870446, 1.0506533, 0.8476990],
        "threefry2x32": [1.1092092, 1.1362981, 1.0287126, 0.8744277],
    }
    pinned_matrix = {
        "fast": [0.9009066, 1.0602494, 1.0035634, 1.1843414],
        "threefry2x32": [1.0871118, 0.885224, 0.944263, 0.896512],
    }
    words = {"fast": 1357430577, "threefry2x32": 3056110729}
    steps = {"fast": 3634085432, "threefry2x32": 3055747616}
    assert limpet.DRAWS_VERSION == 4
    chip = limpet.virtual_chip(3, 17, generator)
    assert zlib.crc32(np.asarray(jax.random.bits(chip, (200, 150))).tobytes()) == words[generator]
    assert zlib.crc32(np.asarray(jax.random.bits(step_key(3, 17, generator), (9,))).tobytes()) == steps[generator]
    np.testing.assert_allclose(MISMATCH(chip, {"w": jnp.ones(4)})["w"], pinned[generator], rtol=1e-6)
    matrix = MISMATCH(chip, {"w": jnp.ones((128, 160))})["w"]
    np.testing.assert_allclose(matrix[5, 3:7], pinned_matrix[generator], rtol=1e-6)


MISMATCH = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))


def test_a_generator_that_is_none_is_named():
    with pytest.raises(limpet.LimpetError, match="generator = 'rbg': allowed are 'fast', 'threefry2x32'"):
        limpet.virtual_chip(0, 0, "rbg")
