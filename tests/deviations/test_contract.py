"""What every deviation keeps, tested over the registry: whoever adds a deviation adds one file and its name there.

Members stand in `support/members.py`. Everything is drawn as one tree with a leaf for each member, so that each way of
drawing compiles once.

Bounds on statistics are stated with each test; seeds are fixed, so a test that passes keeps passing.
"""

import dataclasses
import json
import math
from dataclasses import fields
from functools import cache, partial, reduce
from operator import or_
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alike import assert_alike
from hypothesis import given, settings
from hypothesis import strategies as st
from members import MEMBERS, Own
from scipy import stats

import limpet
from limpet.deviations._kinds import DEVIATIONS, described, deviation_class, label
from limpet.hardware._leaf_draw import Gradient

QUANTISED = ("quantize", "binary-branches", "synapse-branches", "quantised, then programmed")
"""Members that round: their gradient is not that of what they give."""
ROUNDED = (*QUANTISED, "phase-change memory")
"""Members whose differences over a small step are not their derivatives: drift is compensated in whole steps."""
WITH_FIXED_PART = (
    *QUANTISED,
    "drift",
    "relaxation",
    "phase-change memory",
    "programmed with a shift",
    "systematic",
    "a common gain",
)
"""Members that change values at strength 0 as well, each in the same way on every chip."""
NOT_RANDOM = ("exact", "off", "quantize", "systematic")
"""Members that draw nothing: all their chips are the same, and `random` says so."""
SEVERAL_NUMBERS = (
    "off",
    "chain",
    "own",
    "binary-branches",
    "crossbar",
    "phase-change memory",
    "empirical",
    "exact",
    "quantised, then programmed",
    "stuck",
    "drop-connect",
    "quantize",
    "right-censored-gaussian",
    "synapse-branches",
    "systematic",
)
"""Members that draw several numbers for a value, or none, or to which the size of a number means nothing."""


ONE_NUMBER_A_VALUE = [name for name in MEMBERS if name not in SEVERAL_NUMBERS]
WITH_SIGMA = [name for name in MEMBERS if getattr(MEMBERS[name], "sigma", None) and name != "own"]
SETTABLE = [name for name in WITH_SIGMA if "sigma" in {field.name for field in fields(MEMBERS[name])}]
GENERATORS = {"fast": limpet.fast, "threefry2x32": "threefry2x32"}
KEY = jax.random.key(11, impl=limpet.fast)
TIME = 1000.0
"""Seconds since programming, at which all members are drawn."""
SHAPES = [(), (0,), (3, 5), (130, 129)]
DTYPES = ["float32", "bfloat16"]
each_member = pytest.mark.parametrize("name", MEMBERS)


def recipe(gradient: Gradient = "through", names: Any = MEMBERS) -> limpet.Recipe:
    """All members at once, each on the leaf of its name."""
    return reduce(or_, (limpet.Mismatch({name: True}, MEMBERS[name], gradient) for name in names))


ALL = recipe()
PRIMITIVE = ("gaussian", "truncated-gaussian", "uniform", "additive", "chain", "own")
"""Members that between them draw in every way there is. What takes long to compile is tried on these."""
DIFFERENTIATED = (
    *DEVIATIONS,
    "log-normal that keeps the mean",
    "chain",
    "own",
    "phase-change memory",
    "additive by column",
    "programmed with a shift",
)


def values(shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Nominal values between -2 and 2; 0 is among them where there are several."""
    count = math.prod(shape)
    return jnp.asarray((np.arange(count) % 17 - 8).reshape(shape) / 4 if count > 1 else np.ones(shape), dtype)


@cache
def tree_of_all_shapes() -> dict[str, Any]:
    """Every shape in float32, and a matrix in the narrower dtypes; the same for each member."""
    leaves = {f"float32 {shape}": values(shape) for shape in SHAPES}
    leaves |= {"bfloat16 (3, 5)": values((3, 5), "bfloat16")}
    return dict.fromkeys(MEMBERS, leaves)


@cache
def drawn_in_all_shapes():
    """A compiled draw of every member in every shape and dtype; scale and mirrored may change."""
    tree = tree_of_all_shapes()
    mismatches = [
        limpet.Mismatch({name: jax.tree.map(lambda _: True, tree[name])}, member) for name, member in MEMBERS.items()
    ]
    mismatch = reduce(or_, mismatches)
    return jax.jit(lambda scale, mirrored: mismatch(KEY, tree, limpet.Condition(scale, TIME, mirrored=mirrored)))


# Shapes, dtypes, strengths


@pytest.mark.parametrize("mirrored", [False, True])
def test_strength_0_gives_the_nominal_values(mirrored):
    drawn = drawn_in_all_shapes()(0.0, mirrored)
    for name, leaves in tree_of_all_shapes().items():
        for leaf, nominal in leaves.items():
            if name not in WITH_FIXED_PART:
                assert np.array_equal(drawn[name][leaf], nominal), (name, leaf)


def test_at_strength_0_nothing_is_random():
    tree = {name: values((130, 3)) for name in WITH_FIXED_PART}
    drawn = jax.jit(lambda key: recipe(names=WITH_FIXED_PART)(key, tree, limpet.Condition(0.0, TIME)))
    first, second = drawn(KEY), drawn(jax.random.key(12, impl=limpet.fast))
    for name in WITH_FIXED_PART:
        assert np.array_equal(first[name], second[name]), name
        assert not np.array_equal(first[name], tree[name]), name


@settings(max_examples=20)
@given(scale=st.floats(0, 100, width=32), mirrored=st.booleans())
def test_every_strength_keeps_shape_and_dtype_and_is_finite(scale, mirrored):
    drawn = drawn_in_all_shapes()(scale, mirrored)
    for name, leaves in tree_of_all_shapes().items():
        for leaf, nominal in leaves.items():
            assert (drawn[name][leaf].shape, drawn[name][leaf].dtype) == (nominal.shape, nominal.dtype), (name, leaf)
            assert bool(jnp.isfinite(drawn[name][leaf]).all()), (name, leaf)


@settings(max_examples=5)
@given(
    shape=st.lists(st.integers(0, 300), max_size=4).map(tuple), dtype=st.sampled_from([*DTYPES, "float16", "float64"])
)
def test_every_shape_and_dtype_is_kept(shape, dtype):
    with jax.enable_x64(dtype == "float64"):
        leaf = jax.ShapeDtypeStruct(shape, dtype)
        drawn = jax.eval_shape(lambda tree: ALL(KEY, tree), dict.fromkeys(MEMBERS, leaf))
    assert all((drawn[name].shape, drawn[name].dtype) == (shape, dtype) for name in MEMBERS)


def test_narrow_leaves_are_drawn_in_float32_and_rounded():
    drawn = drawn_in_all_shapes()(1.0, False)
    for name, member in MEMBERS.items():
        for dtype in DTYPES:
            path = f"{dtype} (3, 5)"
            wide = tree_of_all_shapes()[name][path].astype("float32")
            expected = limpet.Mismatch({name: {path: True}}, member)(
                KEY, {name: {path: wide}}, limpet.Condition(time=TIME)
            )[name][path]
            # Two programs differ in the last place of float32, so that a value may be rounded to the other side.
            assert_alike(drawn[name][path], expected.astype(dtype), units=1)
            assert (drawn[name][path] == expected.astype(dtype)).mean() > 0.8, (name, path)


# Sameness


def in_every_way(generator: str) -> dict[str, list[dict[str, np.ndarray]]]:
    """Two draws of every member, made in every way, or the first one where the key is a constant; each compiles all
    members at once."""
    keys = jax.random.split(jax.random.key(7, impl=GENERATORS[generator]), 2)
    members = MEMBERS if generator == "fast" else PRIMITIVE
    tree, drawn_all = {name: values((5, 26)) for name in members}, recipe(names=members)
    scale = limpet.Condition(jnp.float32(1.5), TIME)

    def loss(tree, key):
        drawn = drawn_all(key, tree, scale)
        return sum(leaf.sum() for leaf in drawn.values()), drawn

    def each(stacked):
        return [jax.tree.map(lambda leaf, number=number: leaf[number], stacked) for number in range(2)]

    jitted = jax.jit(drawn_all)
    ways = {
        "eager": [drawn_all(key, tree, limpet.Condition(1.5, TIME)) for key in keys],
        "jit": [jitted(key, tree, scale) for key in keys],
        "vmap over keys": each(jax.jit(jax.vmap(drawn_all, in_axes=(0, None, None)))(keys, tree, scale)),
        "constant": [jax.jit(lambda: drawn_all(keys[0], tree, limpet.Condition(1.5, TIME)))()],
    }
    if generator == "fast":  # the other generator takes long to compile
        gradients = jax.jit(jax.grad(loss, has_aux=True))
        ways |= {
            "inside grad": [gradients(tree, key)[1] for key in keys],
        }
    return jax.tree.map(np.asarray, ways)


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_draw_is_the_same_however_it_is_made(generator):
    ways = in_every_way(generator)
    for name in ways["eager"][0]:
        for way, draws in ways.items():
            for draw, eager in zip(draws, ways["eager"], strict=False):
                assert_alike({(name, way): draw[name]}, {(name, way): eager[name]})
        first, second = ways["eager"]
        assert np.array_equal(first[name], second[name]) == (name in NOT_RANDOM) != MEMBERS[name].random, name


def test_a_draw_does_not_depend_on_other_leaves():
    tree = {name: values((3, 5)) for name in MEMBERS}
    together = ALL(KEY, tree)
    for name, member in MEMBERS.items():
        alone = limpet.Mismatch({name: True}, member)(KEY, {name: tree[name]})
        assert_alike(together[name], alone[name])


# Statistics

COUNT = 200_000


@cache
def large(scale: float, mirrored: bool = False) -> dict[str, np.ndarray]:
    """Many draws of each member about the nominal value 2, as multiples of it."""
    drawn = _large(scale, mirrored)
    return {name: np.asarray(leaf, np.float64) / 2 for name, leaf in drawn.items()}


@jax.jit
def _large(scale, mirrored):
    return ALL(KEY, {name: jnp.full(COUNT, 2.0) for name in MEMBERS}, limpet.Condition(scale, TIME, mirrored=mirrored))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", WITH_SIGMA)
def test_sigma_is_the_relative_standard_deviation(name, scale):
    """False alarms: 6e-7 each. 5 standard errors, for the kurtosis k that is seen: sqrt((k - 1) / 4 count)."""
    relative = large(scale)[name]
    error = math.sqrt((stats.kurtosis(relative, fisher=False) - 1) / (4 * COUNT))
    assert abs(relative.std() / relative.mean() / (MEMBERS[name].sigma * scale) - 1) < 5 * error


@pytest.mark.parametrize("name", ONE_NUMBER_A_VALUE)
def test_the_mirror_image_has_the_opposite_numbers(name):
    """Deviations grow with their random number: where the draw is highest, its mirror image is lowest."""
    drawn, mirrored = large(1.0)[name], large(1.0, True)[name]
    in_order = mirrored[np.lexsort((-mirrored, drawn))]  # what is held at the end of a range is equal on one side
    assert (np.diff(in_order) <= 1e-6).all()
    assert not np.array_equal(drawn, mirrored)


@pytest.mark.parametrize("name", ["gaussian", "truncated-gaussian", "truncated at two sigma"])
def test_a_symmetric_pair_is_nominal_on_average(name):
    np.testing.assert_allclose(large(1.0)[name] + large(1.0, True)[name], 2.0, rtol=3e-7)


def test_a_log_normal_pair_is_nominal_in_the_geometric_mean():
    pair = {name: large(1.0)[name] * large(1.0, True)[name] for name in MEMBERS}
    np.testing.assert_allclose(pair["log-normal"], 1.0, rtol=1e-6)
    # exp(sn - s^2/2) exp(-sn - s^2/2) = exp(-s^2) = 1 / (1 + sigma^2)
    np.testing.assert_allclose(pair["log-normal that keeps the mean"], 1 / 1.01, rtol=1e-6)


@pytest.mark.parametrize("name", ["chain", "own"])
def test_the_mirror_image_of_several_numbers_is_as_likely_as_the_draw(name):
    """What a chain and a shared stream draw is mirrored too: the correlation is that of opposite numbers."""
    assert np.corrcoef(large(1.0)[name], large(1.0, True)[name])[0, 1] < -0.95


# Gradients


THROUGH, STRAIGHT = recipe(names=DIFFERENTIATED), recipe("straight_through", DIFFERENTIATED)
STEP = 1e-5


def drawn_at(tree, scale):
    return THROUGH(KEY, tree, limpet.Condition(scale, TIME))


def slopes() -> dict[str, dict[str, np.ndarray]]:
    """Derivatives by the values and by the scale; in float64, also the differences that approach them."""
    found = {}
    for dtype in ("float64", "float32"):
        with jax.enable_x64(dtype == "float64"):
            # Off the symmetry of the values: where two are the largest with opposite signs, there is no derivative.
            tree = {name: values((4, 9), dtype) + jnp.asarray(0.01, dtype) for name in DIFFERENTIATED}
            zero, unit = jnp.zeros((), dtype), jax.tree.map(jnp.ones_like, tree)
            derivative = jax.jit(lambda scale, t, s, tree=tree: jax.jvp(drawn_at, (tree, scale), (t, s))[1])
            at = jnp.asarray(0.7, dtype)
            found[f"{dtype}, by value"] = derivative(at, unit, zero)
            found[f"{dtype}, by scale"] = derivative(at, jax.tree.map(jnp.zeros_like, tree), zero + 1)
            found[f"{dtype}, by scale at 0"] = derivative(zero, jax.tree.map(jnp.zeros_like, tree), zero + 1)
            if dtype == "float64":
                draw = jax.jit(drawn_at)
                above, below = (draw(jax.tree.map(lambda v, d=d: v + d, tree), at) for d in (STEP, -STEP))
                found["differences, by value"] = _slope(above, below)
                found["differences, by scale"] = _slope(draw(tree, 0.7 + STEP), draw(tree, 0.7 - STEP))
            else:
                for way, recipe in (("reverse", THROUGH), ("straight through", STRAIGHT)):
                    total = partial(_total, recipe=recipe, scale=at)
                    found[way], found[f"{way}, draw"] = jax.jit(jax.grad(total, has_aux=True))(tree)
    return jax.tree.map(np.asarray, found)


def _total(tree, recipe, scale):
    drawn = recipe(KEY, tree, limpet.Condition(scale, TIME))
    return sum(leaf.sum() for leaf in drawn.values()), drawn


def _slope(above, below):
    return jax.tree.map(lambda high, low: (high - low) / (2 * STEP), above, below)


def test_gradients():
    """Through the draw, they are those of the formula; straight through, they are 1."""
    found = slopes()
    for name in DIFFERENTIATED:
        for by in ("by value", "by scale"):
            exact = found[f"float64, {by}"][name]
            if name not in ROUNDED:
                differences = found[f"differences, {by}"][name]
                np.testing.assert_allclose(exact, differences, rtol=1e-6, atol=1e-8, err_msg=name)
            np.testing.assert_allclose(found[f"float32, {by}"][name], exact, rtol=2e-4, atol=1e-5, err_msg=name)
        reverse, forward = found["reverse"][name], found["float32, by value"][name]
        if MEMBERS[name].elementwise or name == "own":
            np.testing.assert_allclose(reverse, forward, rtol=1e-6, err_msg=name)
        # Where a value depends on others, such as the largest one, the two are sums of rows and of columns.
        np.testing.assert_allclose(reverse.sum(), forward.sum(), rtol=1e-4, err_msg=name)
        assert np.isfinite(found["float32, by scale at 0"][name]).all(), name
        assert np.array_equal(found["straight through"][name], np.ones((4, 9))), name
        assert_alike({name: found["straight through, draw"][name]}, {name: found["reverse, draw"][name]})


# Parameters


@each_member
def test_deviations_are_equal_by_their_parameters(name):
    deviation = MEMBERS[name]
    again = dataclasses.replace(deviation)
    assert again == deviation
    assert hash(again) == hash(deviation)
    assert limpet.Mismatch({"w": True}, again) == limpet.Mismatch({"w": True}, deviation)
    for field in fields(deviation):  # pyright: ignore[reportArgumentType]
        if isinstance(value := getattr(deviation, field.name), float):
            other = dataclasses.replace(deviation, **{field.name: value * 1.25 or 0.25})
            assert other != deviation
            assert limpet.Mismatch({"w": True}, other) != limpet.Mismatch({"w": True}, deviation)


REFUSED = [math.nan, -0.1, math.inf, "0.1", True, np.ones(2), np.ones(2, "float32"), 1j, [0.1]]


@pytest.mark.parametrize("value", REFUSED, ids=repr)
@pytest.mark.parametrize("kind", DEVIATIONS)
def test_what_is_no_strength_is_refused_under_its_name(kind, value):
    deviation = MEMBERS[kind]
    names = [f.name for f in fields(deviation) if isinstance(getattr(deviation, f.name), float)]  # pyright: ignore
    for name in names:
        if (kind, name) == ("systematic", "offset") and value is REFUSED[1]:
            continue  # an offset may be below 0
        with pytest.raises(
            limpet.StrengthError, match=rf"^{type(deviation).__name__}\.{name} = .*allowed is"
        ) as refused:
            dataclasses.replace(deviation, **{name: value})
        assert repr(value) in str(refused.value)


@each_member
def test_a_traced_parameter_says_what_to_do(name):
    deviation = MEMBERS[name]
    if name == "own" or not hasattr(deviation, "sigma"):
        return
    with pytest.raises(limpet.StrengthError, match="pass what moves as `scale`"):
        jax.jit(lambda sigma: dataclasses.replace(deviation, sigma=sigma).sigma)(0.1)


@each_member
def test_plain_values_give_the_deviation_back(name):
    def built(plain: Any) -> limpet.Deviation:
        if isinstance(plain, list):
            return limpet.Chain(tuple(map(built, plain)))
        parameters = dict(plain)
        kind = parameters.pop("kind")
        for inner in parameters.keys() & {"device", "deviation"}:
            parameters[inner] = built(parameters[inner])
        return (Own if kind.endswith(":Own") else deviation_class(kind))(**parameters)

    plain = described(MEMBERS[name])
    assert built(json.loads(json.dumps(plain))) == MEMBERS[name]


@each_member
def test_a_label_is_a_few_words(name):
    words = label(MEMBERS[name])
    assert words.isprintable()
    assert len(words) < 300
    assert not set("<>{}=()@") & set(words.replace("test_contract:Own", ""))


def test_with_sigma_changes_sigma_alone():
    for name in SETTABLE:
        other = MEMBERS[name].with_sigma(0.3)
        assert other.sigma == 0.3
        assert dataclasses.replace(other, sigma=MEMBERS[name].sigma) == MEMBERS[name]
    with pytest.raises(limpet.StrengthError, match=r"Chain.*no relative standard deviation that could be set to 0.3"):
        MEMBERS["chain"].with_sigma(0.3)
