"""A chip is the same in every program that draws it: values within 2 units in the last place of the leaf's largest.

All leaves are one tree, so that each way of drawing compiles once.
"""

from functools import cache, reduce
from operator import or_

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alike import assert_alike
from jax.sharding import PartitionSpec

import limpet

DEVIATIONS = {
    "gaussian": limpet.Gaussian(0.3),
    "log-normal": limpet.LogNormal(sigma=0.3),
    "chain": limpet.Chain((limpet.TruncatedGaussian(0.1), limpet.LogNormal(sigma=0.1, preserve="mean"))),
}
# Around 64 values XLA ceases to evaluate at compile time; at 128 rows and columns a leaf is drawn as a matrix.
SHAPES = {
    "gaussian": [(), (1,), (65,), (3, 3, 8, 16), (128, 130)],
    "log-normal": [(), (65,), (128, 130)],
    "chain": [(), (1,), (129,)],
}
CHIP, SCALE = 17, 1.25


def nominal(shape: tuple[int, ...], dtype: str) -> jax.Array:
    values = np.cos(1.7 * np.arange(np.prod(shape)) + len(shape))
    # Zeros, numbers too small for a full mantissa and large ones, where there are several.
    if values.size > 8:
        values[:4] = [0.0, -0.0, 1e-41, -3e4]
    return jnp.asarray(values.reshape(shape), dtype)


@cache
def tree() -> dict[str, dict[str, jax.Array]]:
    leaves = {name: {f"float32 {shape}": nominal(shape, "float32") for shape in SHAPES[name]} for name in SHAPES}
    leaves["gaussian"] |= {dtype: nominal((65,), dtype) for dtype in ("bfloat16", "float16")} | {"0": jnp.zeros(9)}
    return leaves


@cache
def mismatch() -> limpet.Recipe:
    return reduce(
        or_,
        (limpet.Mismatch({name: jax.tree.map(lambda _: True, tree()[name])}, DEVIATIONS[name]) for name in DEVIATIONS),
    )


def drawn(chip, params, scale):
    return mismatch()(limpet.virtual_chip(3, chip), params, scale)


@cache
def eager():
    return drawn(CHIP, tree(), SCALE)


def differences(chip, params):
    return jax.tree.map(jnp.subtract, chip, params)


def with_a_gradient(draw):
    def loss(params, chip):
        chip = draw(chip, params, SCALE)
        return sum((leaf.astype(jnp.float32) ** 2).sum() for leaf in jax.tree.leaves(chip)), chip

    return jax.jit(jax.grad(loss, has_aux=True))(tree(), jnp.uint32(CHIP))[1]


def mapped(function, axes, *args):
    return jax.tree.map(lambda leaf: leaf[1], jax.jit(jax.vmap(function, axes))(*args))


def spread_over_devices():
    mesh = jax.make_mesh((2,), ("chip",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    spread = jax.shard_map(
        lambda chips, params: jax.tree.map(lambda leaf: leaf[None], drawn(chips[0], params, SCALE)),
        mesh=mesh,
        in_specs=(PartitionSpec("chip"), PartitionSpec()),
        out_specs=PartitionSpec("chip"),
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf)[1], jax.jit(spread)(CHIPS, tree()))


CHIPS = jnp.arange(CHIP - 1, CHIP + 1, dtype=jnp.uint32)

WAYS = {
    "jit": lambda: jax.jit(drawn)(jnp.uint32(CHIP), tree(), SCALE),
    "donated": lambda: jax.jit(drawn, donate_argnums=1)(CHIP, jax.tree.map(jnp.copy, tree()), SCALE),
    "chip known when compiled": lambda: jax.jit(lambda params, scale: drawn(CHIP, params, scale))(tree(), SCALE),
    "chip and scale known": lambda: jax.jit(lambda params: drawn(CHIP, params, SCALE))(tree()),
    "all known": lambda: jax.jit(lambda: drawn(CHIP, tree(), SCALE))(),
    "beside its differences from known values": lambda: jax.jit(
        lambda chip: (drawn(chip, tree(), SCALE), differences(drawn(chip, tree(), SCALE), tree()))
    )(CHIP)[0],
    "inside grad": lambda: with_a_gradient(drawn),
    "recomputed": lambda: with_a_gradient(jax.checkpoint(drawn, static_argnums=2)),
    "scan": lambda: jax.tree.map(
        lambda leaf: leaf[1],
        jax.jit(lambda params: jax.lax.scan(lambda _, chip: (None, drawn(chip, params, SCALE)), None, CHIPS)[1])(
            tree()
        ),
    ),
    "fori_loop": lambda: jax.jit(
        lambda params: jax.lax.fori_loop(CHIP - 1, CHIP + 1, lambda chip, _: drawn(chip, params, SCALE), params)
    )(tree()),
    "cond": lambda: jax.jit(
        lambda wanted, params: jax.lax.cond(wanted, lambda: drawn(CHIP, params, SCALE), lambda: params)
    )(True, tree()),
    "vmap over chips": lambda: mapped(drawn, (0, None, None), CHIPS, tree(), SCALE),
    "vmap over scales": lambda: mapped(drawn, (None, None, 0), CHIP, tree(), jnp.array([0.5, SCALE])),
    "shard_map": spread_over_devices,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_chip_is_the_same(way):
    assert_alike(WAYS[way](), eager())


WORDS = {
    "eager": lambda keys: jnp.stack([jax.random.bits(key, (128, 130)) for key in keys]),
    "jit": jax.jit(lambda keys: jnp.stack([jax.random.bits(key, (128, 130)) for key in keys])),
    "vmap": jax.jit(jax.vmap(lambda key: jax.random.bits(key, (128, 130)))),
    "loop": jax.jit(lambda keys: jax.lax.map(lambda key: jax.random.bits(key, (128, 130)), keys)),
    "known when compiled": lambda keys: jax.jit(jax.vmap(lambda key: jax.random.bits(key, (128, 130))))(keys),
}


@pytest.mark.parametrize("way", WORDS)
def test_random_words_are_equal_to_the_last_bit(way):
    keys = jax.random.split(limpet.virtual_chip(3, CHIP), 2)
    assert np.array_equal(WORDS[way](keys), WORDS["eager"](keys))


def test_a_step_of_a_python_loop_and_a_traced_one_are_one_draw():
    injection = limpet.Injection(tree(), mismatch(), scale=SCALE)
    traced = jax.jit(lambda params, step: injection.inject(params, step))(tree(), 5)
    assert_alike(jax.jit(lambda params: injection.inject(params, 5))(tree()), traced)


def test_float64():
    with jax.enable_x64(True):
        params = {name: nominal(shape, "float64") for name, shape in (("a", (1,)), ("b", (65,)), ("c", (128, 130)))}
        wide = limpet.Mismatch(dict.fromkeys(params, True), DEVIATIONS["chain"])
        expected = wide(limpet.virtual_chip(3, CHIP), params)
        assert_alike(jax.jit(wide)(limpet.virtual_chip(3, CHIP), params), expected)
        assert_alike(jax.jit(lambda: wide(limpet.virtual_chip(3, CHIP), params))(), expected)


def test_the_other_generator():
    params = {"w": nominal((65,), "float32")}
    one = limpet.Mismatch({"w": True}, limpet.Gaussian(0.3))
    expected = one(limpet.virtual_chip(3, CHIP, "threefry2x32"), params)
    assert_alike(jax.jit(lambda: one(limpet.virtual_chip(3, CHIP, "threefry2x32"), params))(), expected)
