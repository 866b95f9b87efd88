"""Draws within `jax.shard_map`: each device draws its own part of the chip, or the draw is refused."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alike import assert_alike
from jax.sharding import NamedSharding, PartitionSpec

import limpet

MESH = jax.make_mesh((4, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
ROWS, WHOLE = PartitionSpec("a"), PartitionSpec()
KEY = limpet.virtual_chip(0, 17)


@dataclass(frozen=True)
class OfTheLargest(limpet.Deviation):
    """A deviation that looks at the whole leaf, and has a number in common with other leaves."""

    sigma: float

    def deviate(self, draw, value, strength):
        largest = jnp.abs(value).max()
        return value + self.sigma * strength * largest * (draw.normal(value.shape) + draw.shared("die").normal(()))


@dataclass(frozen=True)
class InCommon(limpet.Deviation):
    """A deviation of each value by itself, whose numbers all leaves of one shape have in common."""

    sigma: float

    @property
    def elementwise(self):
        return True

    def deviate(self, draw, value, strength):
        return value * (1 + self.sigma * strength * draw.shared("die").normal(value.shape))


DEVIATIONS = {
    "gaussian": limpet.Gaussian(0.3),
    "log-normal": limpet.LogNormal(sigma=0.3),
    "chain": limpet.Chain((limpet.TruncatedGaussian(0.1), limpet.LogNormal(sigma=0.1))),
    "largest": OfTheLargest(0.3),
    "in common": InCommon(0.3),
}
SHAPES = {"vector": (64,), "matrix": (144, 256), "scalar": ()}
LEAVES = {name: jnp.cos(jnp.arange(np.prod(shape))).reshape(shape) for name, shape in SHAPES.items()}
TREE = dict.fromkeys(DEVIATIONS, LEAVES)
LEAF_SPECS = {"vector": PartitionSpec("b"), "matrix": PartitionSpec(None, ("b", "a")), "scalar": WHOLE}
SPECS = dict.fromkeys(DEVIATIONS, LEAF_SPECS)
MISMATCH = reduce(or_, (limpet.Mismatch({name: dict.fromkeys(LEAVES, True)}, DEVIATIONS[name]) for name in DEVIATIONS))
W = {"w": jnp.linspace(1.0, 2.0, 32).reshape(8, 4)}
ONE = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))
over_devices = partial(jax.shard_map, mesh=MESH)


@pytest.mark.long
def test_each_device_draws_its_own_part_of_the_chip():
    expected = MISMATCH(KEY, TREE, 1.5)
    divided = over_devices(lambda tree: MISMATCH(KEY, tree, 1.5, sharding=SPECS), in_specs=(SPECS,), out_specs=SPECS)
    assert_alike(jax.jit(divided)(TREE), expected)
    spread = jax.tree.map(lambda leaf, spec: jax.device_put(leaf, NamedSharding(MESH, spec)), TREE, SPECS)
    assert_alike(jax.jit(MISMATCH)(KEY, spread, 1.5), expected)


def test_a_part_is_drawn_without_the_rest():
    drawn = over_devices(lambda tree: ONE(KEY, tree, sharding=ROWS), in_specs=ROWS, out_specs=ROWS)
    assert "all_gather" not in str(jax.make_jaxpr(drawn)(W))


def test_other_generators_draw_the_same_parts():
    key = limpet.virtual_chip(0, 17, "threefry2x32")
    drawn = over_devices(lambda tree: ONE(key, tree, sharding=ROWS), in_specs=ROWS, out_specs=ROWS)
    assert_alike(jax.jit(drawn)(W), ONE(key, W))


def test_gradients_are_those_of_the_whole_leaf():
    def total(tree, sharding=None):
        return (ONE(KEY, tree, sharding=sharding)["w"] ** 2).sum()

    drawn = over_devices(lambda tree: jax.grad(total)(tree, ROWS), in_specs=ROWS, out_specs=ROWS)
    np.testing.assert_allclose(jax.jit(drawn)(W)["w"], jax.grad(total)(W)["w"], rtol=1e-6)


def test_a_training_step_draws_its_own_part():
    injection = limpet.Injection(W, ONE)
    drawn = over_devices(
        lambda tree, step: injection.inject(tree, step, sharding=ROWS), in_specs=(ROWS, WHOLE), out_specs=ROWS
    )
    assert_alike(jax.jit(drawn)(W, 7), injection.inject(W, 7))


def test_replicated_leaves_need_nothing():
    assert_alike(over_devices(lambda tree: ONE(KEY, tree), in_specs=WHOLE, out_specs=WHOLE)(W), ONE(KEY, W))
    told = over_devices(lambda tree: ONE(KEY, tree, sharding=WHOLE), in_specs=WHOLE, out_specs=WHOLE, check_vma=False)
    assert_alike(told(W), ONE(KEY, W))


@pytest.mark.parametrize(
    ("sharding", "message"),
    [
        (None, "leaf 'w' differs between the devices along the axes a .*all parts would deviate alike: give sharding="),
        (PartitionSpec("c"), r"sharding of 'w' = .*: c is no axis of a shard_map around the draw; the axes are a, b"),
        (PartitionSpec("a", None, "b"), "sharding of 'w' = .*: the leaf has 2 axes"),
        ({"v": ROWS}, "sharding: none is given for leaf 'w'; given are: v"),
        ({"w": 3}, "sharding of 'w' = 3: allowed are PartitionSpecs"),
    ],
)
def test_parts_that_would_deviate_alike_are_refused(sharding, message):
    drawn = over_devices(lambda tree: ONE(KEY, tree, sharding=sharding), in_specs=ROWS, out_specs=ROWS)
    with pytest.raises(limpet.LimpetError, match=message):
        drawn(W)


def test_outside_of_a_shard_map_there_are_no_parts():
    with pytest.raises(limpet.LimpetError, match="a is no axis of a shard_map around the draw"):
        ONE(KEY, W, sharding=ROWS)


def test_where_jax_does_not_know_whether_leaves_are_parts_a_warning_says_so():
    drawn = over_devices(lambda tree: ONE(KEY, tree), in_specs=ROWS, out_specs=ROWS, check_vma=False)
    with pytest.warns(UserWarning, match="check_vma=False.*cannot be seen.*give sharding="):
        drawn(W)


def collectives(compiled: str) -> tuple[Counter[str], int]:
    """The operations of a compiled program that hand values between devices, but for sums and maxima, by kind and type;
    and how many values the sums and maxima give."""
    moved, reduced = Counter[str](), 0
    for types, kind in re.findall(
        r" = (\S+|\(.*?\)) (all-gather|all-to-all|collective-permute|all-reduce)\(", compiled
    ):
        if kind == "all-reduce":
            shapes = re.findall(r"\[([\d,]*)\]", types)
            reduced += sum(math.prod(int(size) for size in shape.split(",") if size) for shape in shapes)
        else:
            moved[f"{kind} {types}"] += 1
    return moved, reduced


@pytest.mark.parametrize("per", ["array", "column"])
def test_the_largest_values_of_divided_arrays_are_all_that_devices_tell_each_other(per):
    """No weight is moved for what is relative to its array's largest, and none for its exact gradient."""
    arrays = {
        "rows": (limpet.Array(), PartitionSpec("a"), (512, 256)),
        "columns": (limpet.Array(), PartitionSpec(None, "a"), (256, 512)),
        "stack": (limpet.Array(stack=0), PartitionSpec(None, "a"), (3, 64, 64)),
        "tiles": (limpet.Array(rows=128, columns=128), PartitionSpec("a"), (512, 256)),
        "uneven": (limpet.Array(rows=200, columns=100), PartitionSpec("a", "b"), (512, 256)),
    }
    recipe = limpet.Mismatch(
        dict.fromkeys(arrays, True),
        limpet.Programming(spread=(0.01, 0.08, -0.05), relative_to=per),
        array={name: array for name, (array, _, _) in arrays.items()},
    )
    shardings = {name: NamedSharding(MESH, spec) for name, (_, spec, _) in arrays.items()}
    tree = {
        name: jax.ShapeDtypeStruct(shape, "float32", sharding=shardings[name]) for name, (*_, shape) in arrays.items()
    }

    def compiled(draw):
        def loss(tree):
            drawn = draw(tree)
            return sum((jnp.ones((2, leaf.shape[-2])) @ leaf).sum() for leaf in drawn.values())

        return jax.jit(jax.grad(loss), out_shardings=shardings).lower(tree).compile().as_text()

    (plain, summed), (moved, reduced) = map(collectives, map(compiled, (lambda tree: tree, partial(recipe, KEY))))
    assert moved == plain
    matrices = sum(math.prod(shape) for *_, shape in arrays.values())
    assert 0 < reduced - summed < matrices / (20 if per == "array" else 5)
