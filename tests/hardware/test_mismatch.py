"""The recipe under every transformation; static selection; keys by path; alignment by path."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from alike import assert_alike
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec
from jaxprs import count
from jaxtyping import Array, Float, jaxtyped

import limpet

KEY = jax.random.key(7, impl=limpet.fast)
TREE = {"a": {"w": jnp.linspace(1.0, 2.0, 12).reshape(3, 4), "b": jnp.ones(4)}, "n": jnp.arange(3)}
CHOSEN = {"a": {"w": True, "b": False}, "n": False}
MISMATCH = limpet.Mismatch(CHOSEN, limpet.Gaussian(0.1))


def draws_in(function, *args) -> int:
    return count(jax.make_jaxpr(function)(*args).jaxpr, "random_bits")


def test_only_selected_leaves_move_and_others_are_the_same_objects():
    out = MISMATCH(KEY, TREE)
    assert out["a"]["b"] is TREE["a"]["b"]
    assert out["n"] is TREE["n"]
    assert not np.any(out["a"]["w"] == TREE["a"]["w"])


def test_selection_is_static_with_one_draw_for_each_selected_leaf():
    both = limpet.Mismatch({"a": {"w": True, "b": True}, "n": False}, limpet.Gaussian(0.1))
    jaxpr = jax.make_jaxpr(lambda tree: both(KEY, tree))(TREE).jaxpr
    assert draws_in(both, KEY, TREE) == 2
    assert draws_in(MISMATCH, KEY, TREE) == 1
    of_one = jax.make_jaxpr(lambda tree: MISMATCH(KEY, tree))(TREE).jaxpr
    for name in ("cond", "switch"):  # what hides paths from the compiler is there once, however many leaves
        assert count(jaxpr, name) == count(of_one, name)


@jaxtyped(typechecker=beartype)
def deviated_weights(keys: jax.Array, scales: Float[Array, " strengths"]) -> Float[Array, "strengths chips 3 4"]:
    return jax.vmap(lambda s: jax.vmap(lambda k: MISMATCH(k, TREE, s)["a"]["w"])(keys))(scales)


@pytest.mark.parametrize("generator", [limpet.fast, "threefry2x32"])
def test_a_draw_is_the_same_eager_jitted_mapped_and_scanned(generator):
    keys = jax.random.split(jax.random.key(7, impl=generator), 3)
    eager = [np.asarray(MISMATCH(key, TREE)["a"]["w"]) for key in keys]
    jitted = jax.jit(MISMATCH)
    mapped = jax.jit(jax.vmap(MISMATCH, in_axes=(0, None)))(keys, TREE)["a"]["w"]
    _, scanned = jax.lax.scan(lambda carry, key: (carry, MISMATCH(key, TREE)["a"]["w"]), 0, keys)
    listed = list(keys)
    constant = jax.jit(lambda: [MISMATCH(key, TREE)["a"]["w"] for key in listed])()
    for index, expected in enumerate(eager):
        assert_alike(jitted(keys[index], TREE)["a"]["w"], expected)
        assert_alike(mapped[index], expected)
        assert_alike(scanned[index], expected)
        assert_alike(constant[index], expected)
    np.testing.assert_allclose(deviated_weights(keys, jnp.array([0.5, 1.0]))[1], eager, rtol=1e-6)


def test_scale_is_the_same_draw_at_another_strength():
    full = MISMATCH(KEY, TREE)["a"]["w"] - TREE["a"]["w"]
    half = MISMATCH(KEY, TREE, 0.5)["a"]["w"] - TREE["a"]["w"]
    np.testing.assert_allclose(half, full / 2, rtol=1e-4, atol=1e-6)
    assert np.array_equal(MISMATCH(KEY, TREE, 0)["a"]["w"], TREE["a"]["w"])
    assert_alike(MISMATCH.with_sigma(0.2)(KEY, TREE, 0.5)["a"]["w"], MISMATCH(KEY, TREE)["a"]["w"])


def test_a_moving_scale_never_retraces():
    traces = []

    @jax.jit
    def step(tree, index):
        traces.append(index)
        return MISMATCH(jax.random.fold_in(KEY, index), tree, optax.linear_schedule(0.0, 1.0, 10)(index))

    for index in range(5):
        step(TREE, jnp.int32(index))
    assert len(traces) == 1


def test_recipes_compare_by_value_so_that_rebuilding_one_retraces_nothing():
    traces = []

    @jax.jit
    def step(mismatch, tree):
        traces.append(mismatch)
        return mismatch(KEY, tree)

    step(limpet.Mismatch(CHOSEN, limpet.Gaussian(0.1)), TREE)
    step(limpet.Mismatch(CHOSEN, limpet.Gaussian(0.1)), TREE)
    assert len(traces) == 1
    assert limpet.Mismatch(CHOSEN, limpet.Gaussian(0.2)) != MISMATCH
    assert MISMATCH != "something else"


@settings(max_examples=25, deadline=None)
@given(extra=st.dictionaries(st.text("abcxyz", min_size=1, max_size=3), st.booleans(), max_size=4))
def test_adding_leaves_elsewhere_never_changes_a_draw(extra):
    alone = limpet.Mismatch({"m": {"w": True}}, limpet.Gaussian(0.1))(KEY, {"m": {"w": jnp.ones(4)}})
    tree = {"m": {"w": jnp.ones(4)}, **{f"{name}_": jnp.ones(4) for name in extra}}
    among = limpet.Mismatch({"m": {"w": True}, **{f"{name}_": on for name, on in extra.items()}}, limpet.Gaussian(0.1))
    assert_alike(among(KEY, tree)["m"]["w"], alone["m"]["w"])


def test_leaves_draw_independently():
    # False alarm: |correlation| of 50,000 pairs beyond 5 standard errors, 6e-7 a pair. Fixed seed.
    tree = {name: jnp.ones(50_000) for name in ("a", "b", "aa", "a_b")}
    out = limpet.Mismatch(dict.fromkeys(tree, True), limpet.Gaussian(0.1))
    draws = [out(jax.random.fold_in(KEY, step), tree)[name] for step in range(2) for name in tree]
    correlations = np.corrcoef(np.asarray(draws))[np.triu_indices(8, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(50_000)


def test_gradient_through_is_the_exact_gradient():
    def loss(tree, mismatch):
        return (mismatch(KEY, tree)["a"]["w"] ** 2).sum()

    floats = {"a": TREE["a"]}
    factor = MISMATCH(KEY, floats)["a"]["w"] / floats["a"]["w"]
    through = jax.grad(loss)(floats, MISMATCH)["a"]["w"]
    np.testing.assert_allclose(through, 2 * factor**2 * floats["a"]["w"], rtol=1e-5)

    straight = limpet.Mismatch(CHOSEN, limpet.Gaussian(0.1), gradient="straight_through")
    assert np.array_equal(straight(KEY, floats)["a"]["w"], MISMATCH(KEY, floats)["a"]["w"])
    passed = jax.grad(loss)(floats, straight)["a"]["w"]
    np.testing.assert_allclose(passed, 2 * factor * floats["a"]["w"], rtol=1e-5)
    _, tangent = jax.jvp(lambda w: straight(KEY, {"a": {"w": w}})["a"]["w"], (TREE["a"]["w"],), (jnp.ones((3, 4)),))
    assert np.array_equal(tangent, np.ones((3, 4)))


def test_gradient_with_respect_to_the_scale():
    slope = jax.grad(lambda s: MISMATCH(KEY, TREE, s)["a"]["w"].sum())(1.0)
    np.testing.assert_allclose(slope, (MISMATCH(KEY, TREE)["a"]["w"] - TREE["a"]["w"]).sum(), rtol=1e-4)


def test_shard_map_over_chips():
    mesh = jax.make_mesh((2,), ("chip",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    keys = jax.random.split(KEY, 4)
    spread = jax.shard_map(
        jax.vmap(lambda key: MISMATCH(key, TREE)["a"]["w"]),
        mesh=mesh,
        in_specs=PartitionSpec("chip"),
        out_specs=PartitionSpec("chip"),
    )
    expected = jax.vmap(lambda key: MISMATCH(key, TREE)["a"]["w"])(keys)
    np.testing.assert_allclose(jax.jit(spread)(keys), expected, rtol=1e-6)


def test_in_multi_steps_every_micro_batch_draws_afresh():
    optimizer = optax.MultiSteps(optax.sgd(0.1), every_k_schedule=2)
    params = {"w": jnp.ones(3)}
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(0.5))

    @jax.jit
    def update(params, state, step):
        deviated = mismatch(jax.random.fold_in(KEY, step), params)
        updates, state = optimizer.update(jax.grad(lambda p: (p["w"] ** 2).sum())(deviated), state, params)
        return optax.apply_updates(params, updates), state, deviated["w"]

    state, seen = optimizer.init(params), []
    for step in range(4):
        params, state, drawn = update(params, state, jnp.int32(step))
        seen.append(tuple(np.asarray(drawn).tolist()))
    assert len(set(seen)) == 4
    assert not np.allclose(params["w"], 1.0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtypes_are_kept_and_drawn_in_full_precision(dtype):
    tree = {"w": jnp.ones(20_000, dtype)}
    with jax.numpy_dtype_promotion("strict"):
        out = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))(KEY, tree)["w"]
    assert out.dtype == dtype
    reference = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))(KEY, {"w": jnp.ones(20_000)})["w"]
    assert np.array_equal(out, reference.astype(dtype))


def test_float64_under_x64():
    with jax.enable_x64(True):
        out = MISMATCH(KEY, {"a": {"w": jnp.ones(3, jnp.float64), "b": jnp.ones(3, jnp.float32)}})
        assert out["a"]["w"].dtype == jnp.float64
        assert out["a"]["b"].dtype == jnp.float32


def test_numpy_leaves_are_canonicalised_and_floats_deviate():
    out = limpet.Mismatch({"w": True, "x": True}, limpet.Gaussian(0.1))(KEY, {"w": np.ones(3), "x": 2.0})
    assert out["w"].dtype == jnp.float32
    assert out["x"].dtype == jnp.float32
    assert out["x"] != 2.0


def test_what_is_no_float_passes_through_untouched():
    tree = {"w": jnp.ones(2), "i": jnp.arange(2), "t": True, "k": jax.random.key(3), "f": jnp.tanh, "none": None}
    chosen = {"w": True, "i": False, "t": False, "k": False, "f": False, "none": False}
    out = limpet.Mismatch(chosen, limpet.Gaussian(0.1))(KEY, tree)
    assert all(out[name] is tree[name] for name in ("i", "t", "k", "f", "none"))


def test_a_tree_may_be_a_part_of_what_the_prototype_describes():
    whole, part = MISMATCH(KEY, TREE), MISMATCH(KEY, {"a": {"w": TREE["a"]["w"]}})
    assert_alike(whole["a"]["w"], part["a"]["w"])


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": {"w": jnp.ones(2), "v": jnp.ones(2)}}, "not describe: a/v; the prototype describes: a/b, a/w, n"),
        ({"other": jnp.ones(2)}, "Was it built from another network"),
        ({"a": {"b": jnp.ones(2)}}, "nothing in this tree deviates; selected are: a/w; the tree has: a/b"),
        ({"a": {"w": jnp.arange(2)}}, r"can deviate: a/w \(int32\)"),
    ],
)
def test_trees_that_do_not_fit(tree, message):
    with pytest.raises(limpet.PrototypeError, match=message):
        MISMATCH(KEY, tree)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"w": False}, "nothing is selected.*: w"),
        ({}, "nothing is selected"),
        ({"w": 1}, "prototype leaf 'w' is 1: a prototype holds Python bools"),
        ({"w": jnp.array(True)}, "holds Python bools"),
    ],
)
def test_prototypes_that_cannot_be_meant(chosen, message):
    with pytest.raises(limpet.PrototypeError, match=message):
        limpet.Mismatch(chosen, limpet.Gaussian(0.1))


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0, jnp.float32(-1)])
def test_a_known_scale_is_checked(scale):
    with pytest.raises(limpet.StrengthError, match=r"scale = .*allowed is a finite number >= 0"):
        MISMATCH(KEY, TREE, scale)


def test_wrong_keys_and_scales_say_what_to_do(dynapse_net):
    with pytest.raises(limpet.StrengthError, match=r"shape \(2,\).*jax.vmap"):
        MISMATCH(KEY, TREE, jnp.ones(2))
    with pytest.raises(limpet.StrengthError, match=r"shape \(2,\).*jax.vmap"):
        jax.jit(MISMATCH)(KEY, TREE, jnp.ones(2))
    with pytest.raises(limpet.LimpetError, match="jax.vmap"):
        MISMATCH(jax.random.split(KEY, 2), TREE)
    with pytest.raises(limpet.LimpetError, match=r"key is a int: a recipe is called as mismatch"):
        partial(MISMATCH)(0, TREE)
    with pytest.raises(limpet.PrototypeError, match="pass limpet.attributes"):
        MISMATCH(KEY, dynapse_net)
    with pytest.raises(limpet.LimpetError, match="'through', 'through_value', 'straight_through'"):
        limpet.Mismatch(CHOSEN, limpet.Gaussian(0.1), gradient="stopped")  # pyright: ignore[reportArgumentType]
    assert np.all(np.isfinite(MISMATCH(jax.random.PRNGKey(0), TREE)["a"]["w"]))


def test_joined_recipes_draw_what_each_would():
    other = limpet.Mismatch({"a": {"w": False, "b": True}}, limpet.Gaussian(0.3), gradient="straight_through")
    joined = MISMATCH | other
    out = joined(KEY, TREE)
    assert_alike(out["a"]["w"], MISMATCH(KEY, TREE)["a"]["w"])
    assert_alike(out["a"]["b"], other(KEY, {"a": TREE["a"]})["a"]["b"])
    assert joined.paths == ("a/b", "a/w")
    assert (joined.sigma("a/b"), joined.sigma("n")) == (0.3, 0.0)
    assert joined.with_sigma(0.5).sigma("a/b") == joined.with_sigma(0.5).sigma("a/w") == 0.5
    assert draws_in(joined, KEY, TREE) == 2


def test_joined_recipes_must_be_disjoint():
    with pytest.raises(limpet.PrototypeError, match="leaf 'a/w' is selected twice"):
        _ = MISMATCH | limpet.Mismatch(CHOSEN, limpet.Gaussian(0.3))


def test_leaves_whose_paths_have_one_hash_are_refused():
    # crc32("plumless") == crc32("buckeroo")
    with pytest.raises(limpet.PrototypeError, match="'buckeroo' and 'plumless' have the same hash"):
        limpet.Mismatch({"plumless": True, "buckeroo": True}, limpet.Gaussian(0.1))


# What `Recipe.__call__` says of ensembles and mirror images


def test_members_of_an_ensemble_meet_one_chip_under_one_key_and_several_under_several():
    stacked = {"w": jnp.stack([jnp.full(4, float(member)) for member in (1, 2, 3)])}
    mismatch = limpet.Mismatch({"w": True}, limpet.LogNormal(sigma=0.2))
    together = jax.vmap(mismatch, in_axes=(None, 0))(KEY, stacked)["w"] / stacked["w"]
    np.testing.assert_allclose(together, np.broadcast_to(together[0], together.shape), rtol=1e-6)
    apart = jax.vmap(mismatch)(jax.random.split(KEY, 3), stacked)["w"] / stacked["w"]
    assert len({tuple(row) for row in np.asarray(apart).round(5).tolist()}) == 3


def test_a_mirror_image_may_be_asked_for_by_a_traced_flag():
    plain, mirrored = MISMATCH(KEY, TREE), MISMATCH(KEY, TREE, limpet.Condition(mirrored=True))
    np.testing.assert_allclose(plain["a"]["w"] + mirrored["a"]["w"], 2 * TREE["a"]["w"], rtol=1e-6)
    mapped = jax.vmap(lambda flag: MISMATCH(KEY, TREE, limpet.Condition(mirrored=flag))["a"]["w"])(
        jnp.array([False, True])
    )
    assert_alike(list(mapped), [plain["a"]["w"], mirrored["a"]["w"]])
    assert np.array_equal(MISMATCH(KEY, TREE, limpet.Condition(mirrored=np.bool_(False)))["a"]["w"], plain["a"]["w"])


@pytest.mark.parametrize("mirrored", [1, -1.0, "yes", jnp.array([True, False])])
def test_whether_a_draw_is_mirrored_is_one_bool(mirrored):
    with pytest.raises(limpet.LimpetError, match="mirrored = .*allowed is one bool"):
        MISMATCH(KEY, TREE, limpet.Condition(mirrored=mirrored))
