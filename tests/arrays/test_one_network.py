"""A network stacked and unstacked, whole and cut, in one layout or another, is the same network.

A part of a leaf that is an array of its own is drawn twice: within the leaf, and alone as a matrix of inputs x outputs.
Both are given the same random numbers, so that values are compared as equals, not as samples.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from alike import assert_alike
from members import MEMBERS

import limpet
from limpet import Array
from limpet.deviations import Draw, ToLargest

KEY = jax.random.key(3)
SHAPE = (3, 11, 8)
SCALES = {(1.0, 0.1, 0.01), (0.3, 2.0, 50.0)}


@dataclass(frozen=True)
class Given(Draw):
    """A draw of a part of a leaf, whose numbers are those of the part within the whole leaf.

    Attributes:
        shape: the shape of the leaf.
        take: what takes the part from an array of the leaf's shape.
    """

    shape: tuple[int, ...] = ()
    take: Callable[[Any], Any] = lambda leaf: leaf

    def _of(self, method: str, shape: tuple[int, ...], *rest: Any) -> jax.Array:
        own = jax.eval_shape(self.take, jax.ShapeDtypeStruct(self.shape, "float32")).shape
        whole: Any = getattr(super(), method)
        return self.take(whole(self.shape, *rest)) if shape == own else whole(shape, *rest)

    def normal(self, shape, sigma=1.0):
        return self._of("normal", shape) * sigma

    def truncated_normal(self, shape, sigma=1.0, bound=3.0):
        return self._of("truncated_normal", shape, 1.0, bound) * sigma

    def times_normal(self, value, sigma):
        return value * self.normal(value.shape, sigma)

    def uniform(self, shape, dtype=jnp.float32):
        return self._of("uniform", shape, dtype)


def stacked(scales: tuple[float, ...]) -> jax.Array:
    return jax.random.normal(jax.random.key(8), SHAPE) * jnp.array(scales)[:, None, None]


LAYOUTS: dict[str, tuple[Array, Callable[[Any], Any]]] = {
    "the second of a stack": (Array(stack=0), lambda leaf: leaf[1]),
    "the last of a stack, outputs first": (Array(stack=-1, outputs=0), lambda leaf: leaf[..., 7].T),
    "the first of uneven tiles": (Array(stack=0, rows=6, columns=3), lambda leaf: leaf[2, :6, :3]),
    "the last of uneven tiles": (Array(stack=0, rows=6, columns=3), lambda leaf: leaf[0, 6:, 6:]),
    "a group": (Array(stack=0, groups=2), lambda leaf: leaf[1, :, 4:]),
    "a tile of a group": (Array(groups=4, rows=10), lambda leaf: leaf.reshape(33, 8)[9:17, 6:]),
    "all of it, inputs in two axes": (Array(), lambda leaf: leaf.reshape(33, 8)),
    "all of it, outputs in two axes": (Array(outputs=(1, 2)), lambda leaf: leaf.reshape(3, 88)),
    "a head": (Array(stack=1, outputs=2), lambda leaf: leaf[:, 4]),
}
OWN = {name: member for name, member in MEMBERS.items() if member.arranged and name not in ("spatial", "graded")}
"""Members for which it matters where a value sits. (What values have in common is drawn in other shapes.)"""
PAIRS = limpet.Crossbar(MEMBERS["crossbar"].device, significances=(1.0, 3.0), filling="lowest first")  # pyright: ignore[reportAttributeAccessIssue]
OWN |= {"two pairs, lowest first": PAIRS}


def by_column(member: limpet.Deviation) -> limpet.Deviation:
    if isinstance(member, limpet.Chain):
        return limpet.Chain(tuple(map(by_column, member.members)))
    return replace(member, relative_to="column") if isinstance(member, ToLargest) else member


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_deviation_does_to_an_array_what_it_does_to_it_alone(name):
    array, take = LAYOUTS[name]
    columns = {f"{kind} by column": by_column(OWN[kind]) for kind in ("additive", "quantize")}
    members = {"additive": OWN["additive"], **columns}
    if name == "the last of uneven tiles":
        members |= OWN
    if name == "a tile of a group":
        members["phase-change memory by column"] = by_column(OWN["phase-change memory"])

    @jax.jit
    def drawn(leaf: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
        time, strength = jnp.float32(1e4), jnp.float32(1.0)
        whole, alone = (Given(KEY, KEY, time=time, shape=SHAPE, take=part) for part in (lambda leaf: leaf, take))
        whole = replace(whole, array=array)
        return {
            kind: (take(member.deviate(whole, leaf, strength)), member.deviate(alone, take(leaf), strength))
            for kind, member in members.items()
        }

    for scales in SCALES:
        found = drawn(stacked(scales))
        for kind, (within, alone) in found.items():
            assert_alike({kind: within}, {kind: alone}, units=8)


@pytest.mark.parametrize("name", ["pcm-hermes", "reram-cmo", "rram-milo2021", "brainscales2"])
@pytest.mark.parametrize("reference", ["array", "column"])
def test_every_preset_does_to_an_array_what_it_does_to_it_alone(name, reference):
    (part,) = limpet.preset(name, relative_to=reference).parts.values()
    array, take = LAYOUTS["the last of uneven tiles"]
    leaf = stacked((1.0, 0.1, 0.01))
    whole, alone = (
        Given(KEY, KEY, time=jnp.float32(1e3), shape=SHAPE, take=part_of) for part_of in (lambda leaf: leaf, take)
    )

    @jax.jit
    def drawn(leaf: jax.Array) -> tuple[jax.Array, jax.Array]:
        strength = jnp.float32(1.0)
        within = take(part.deviation.deviate(replace(whole, array=array), leaf, strength))
        return within, part.deviation.deviate(alone, take(leaf), strength)

    assert_alike(*drawn(leaf), units=8)


def test_a_leaf_of_which_nothing_is_said_is_one_array():
    """What the tests above compare differs where the wrong array is said."""
    leaf, additive = stacked((1.0, 0.1, 0.01)), limpet.Additive(spread=0.05)
    noise = {
        said: limpet.Mismatch({"w": True}, additive, array=Array(stack=said))(KEY, {"w": leaf})["w"] - leaf
        for said in (None, 0)
    }
    largest = jnp.abs(leaf).max((1, 2), keepdims=True)
    np.testing.assert_allclose(noise[0], noise[None] * largest / largest.max(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("shape", "outputs"), [((96, 4, 24), (1, 2)), ((5, 2, 3), (-2, -1))])
def test_heads_as_columns_of_one_array_are_the_matrix_that_they_are_one_of(shape, outputs):
    """A query kernel of three axes drifts, and is compensated, as the same weights in a matrix."""
    weights = jax.random.normal(jax.random.key(2), shape)
    memory = MEMBERS["phase-change memory"]
    year = limpet.Condition(time="1 year")
    heads = limpet.Mismatch({"w": True}, memory, array=Array(outputs=outputs))(KEY, {"w": weights}, year)["w"]
    matrix = limpet.Mismatch({"w": True}, memory)(KEY, {"w": weights.reshape(shape[0], -1)}, year)["w"]
    assert_alike(heads.reshape(shape[0], -1), matrix)


@pytest.mark.parametrize("scales", [(1.0, 0.1, 0.01), (0.02, 3.0, 0.4)])
def test_weights_of_a_stack_are_clipped_layer_by_layer(scales):
    leaf = stacked(scales)

    def clipped(params, **said):
        updates, _ = limpet.clip_weights(2.0, **said).update(jax.tree.map(jnp.zeros_like, params), (), params)
        return jax.tree.map(jnp.add, params, updates)

    for said in ({}, {"per": "column"}):
        together = clipped({"w": leaf}, array=Array(stack=0), **said)["w"]
        for layer in range(len(scales)):
            alone = clipped({"w": leaf[layer]}, **said)["w"]
            np.testing.assert_allclose(together[layer], alone, rtol=1e-5)
    array = Array(stack=0, rows=6, columns=3)
    bounds = limpet.clip_bounds({"w": leaf}, sigmas=2.0, array=array)
    tiled = limpet.clipped({"w": leaf}, bounds, array=array)["w"]
    alone = limpet.clipped({"w": leaf[1, 6:, 3:6]}, limpet.clip_bounds({"w": leaf[1, 6:, 3:6]}, sigmas=2.0))["w"]
    np.testing.assert_allclose(tiled[1, 6:, 3:6], alone, rtol=1e-5)


@pytest.mark.parametrize("kind", ["shared by column", "shared by array", "spatial"])
def test_what_an_array_has_in_common_is_its_own(kind):
    """Between layers of a stack and between tiles, factors are independent: 4,000 correlations stay within 5 sigma."""
    deviation = {
        "shared by column": limpet.Shared(limpet.LogNormal(sigma=0.1), across="column"),
        "shared by array": limpet.Shared(limpet.LogNormal(sigma=0.1), across="array"),
        "spatial": limpet.Spatial(limpet.LogNormal(sigma=0.1), length=5.0),
    }[kind]
    recipe = limpet.Mismatch({"w": True}, deviation, array=Array(stack=0, rows=2))
    keys = jax.random.split(KEY, 4_000)
    logs = np.log(jax.jit(jax.vmap(recipe, (0, None)))(keys, {"w": jnp.ones((2, 4, 2))})["w"])
    np.testing.assert_array_equal(logs[:, :, 0], logs[:, :, 1])  # rows of one tile

    def correlation(one: Any, other: Any) -> float:
        return float(np.corrcoef(one, other)[0, 1])

    bound = 5 / np.sqrt(len(keys))
    assert abs(correlation(logs[:, 0, 0, 0], logs[:, 1, 0, 0])) < bound
    assert abs(correlation(logs[:, 0, 0, 0], logs[:, 0, 2, 0])) < bound
    alike = {"shared by column": 0.0, "shared by array": 1.0, "spatial": np.exp(-1 / 5)}[kind]
    assert abs(correlation(logs[:, 0, 0, 0], logs[:, 0, 0, 1]) - alike) < bound
    named = limpet.Mismatch({"w": True}, replace(deviation, name="die"), array=Array(stack=0, rows=2))
    chip = named(KEY, {"w": jnp.ones((2, 4, 2))})["w"]
    np.testing.assert_array_equal(chip[0, :2], chip[1, 2:])


@pytest.mark.long
def test_a_trained_network_is_as_accurate_stacked_as_with_its_layers_apart():
    """Six layers whose largest weights differ: mean accuracies of 200 chips each agree within a 99.9% interval."""
    centres = jax.random.normal(jax.random.key(5), (10, 64))
    labels = jnp.arange(1000) % 10
    batch = centres[labels] + 2.5 * jax.random.normal(jax.random.key(6), (1000, 64)), labels
    keys = jax.random.split(jax.random.key(1), 8)
    scales = jnp.geomspace(0.3, 1.5, 6)[:, None, None]
    params = {
        "first": jax.random.normal(keys[0], (64, 32)) / 8,
        "layers": jnp.stack([jax.random.normal(key, (32, 32)) / 32**0.5 for key in keys[1:7]]) * scales,
        "last": jax.random.normal(keys[7], (32, 10)) / 32**0.5,
    }

    def logits(params, x):
        x = jax.nn.tanh(x @ params["first"])
        x, _ = jax.lax.scan(lambda x, layer: (x + jax.nn.tanh(x @ layer), None), x, params["layers"])
        return x @ params["last"]

    def loss(params):
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, batch[0]), batch[1]).mean()

    optimizer = optax.adam(3e-3)

    @jax.jit
    def trained(params):
        def step(_, state):
            params, moments = state
            updates, moments = optimizer.update(jax.grad(loss)(params), moments, params)
            return optax.apply_updates(params, updates), moments

        return jax.lax.fori_loop(0, 300, step, (params, optimizer.init(params)))[0]

    def joined(params):
        return params | {"layers": jnp.stack([params["layers"][str(layer)] for layer in range(6)])}

    def accuracy_of(params, batch):
        params = params if isinstance(params["layers"], jax.Array) else joined(params)
        return (logits(params, batch[0]).argmax(1) == batch[1]).mean()

    params = trained(params)
    apart = params | {"layers": {str(layer): weights for layer, weights in enumerate(params["layers"])}}
    noise = limpet.Additive(spread=0.15)
    arrays = {"stacked": Array(stack=0), "one array": Array()}
    means = {}
    for name, array in arrays.items():
        parts = {"layers": limpet.Part("layers", noise, array=array), "others": limpet.Part(["first", "last"], noise)}
        with warnings.catch_warnings():  # the wrong array is warned of
            warnings.simplefilter("ignore")
            curve = limpet.robustness_curve(
                accuracy_of, params, limpet.Hardware(parts), scales=[1], chips=200, batch=batch
            )
        means[name] = np.asarray(curve.values[0])
    curve = limpet.robustness_curve(
        accuracy_of,
        apart,
        limpet.Hardware(all=limpet.Part("*", noise)),
        scales=[1],
        chips=limpet.Chips(200, seed=1),
        batch=batch,
    )
    separate = np.asarray(curve.values[0])

    def distance(one: np.ndarray) -> float:
        """In standard errors of the difference of the means."""
        return abs(one.mean() - separate.mean()) / np.sqrt((one.var() + separate.var()) / 200)

    assert 0.5 < separate.mean() < 0.97
    assert distance(means["stacked"]) < 3.3
    assert distance(means["one array"]) > 5
