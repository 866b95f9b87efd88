"""Where the leaves of each framework's layers sit, and which of them products contract."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import LIFJax, LinearJax

import limpet
from limpet.leaves._adapters import adapter_of
from limpet.leaves._arrays import arrays_of, checked_arrays
from limpet.leaves._prototype import contracted_paths, matrices

KEY = jax.random.key(0)


def shapes(**leaves):
    """A tree of zeros; `a__kernel=(3, 4)` stands for `{"a": {"kernel": zeros}}`."""
    return limpet.leaves.nested({path.replace("__", "/"): jnp.zeros(shape) for path, shape in leaves.items()})


def said(model):
    """Stack, outputs and groups of each leaf of a model that is real, by path."""
    arrays, leaves = adapter_of(model).arrays(model), adapter_of(model).leaves(model)
    layouts = {path: arrays.get(path, limpet.Array()).layout(np.shape(leaves[path])) for path in leaves}
    return {path: (layout.stack, layout.outputs, layout.groups) for path, layout in layouts.items()}


def printed(model):
    """How many arrays of what size each leaf is that a product contracts."""
    arrays, leaves = adapter_of(model).arrays(model), adapter_of(model).leaves(model)
    return {path: str(arrays.get(path, limpet.Array()).layout(leaves[path].shape)) for path in contracted_paths(model)}


LAYERS = 11

# Flax nnx: what a class of layer says of its variables, as (stack, outputs, groups). What is not named under `kernels`
# is no part of a product.

NNX = {
    "Linear": (
        partial(nnx.Linear, 3, 4),
        {"kernel": ((), (1,), 1), "bias": ((), (0,), 1)},
        {"kernel": "1 array of 3 x 4"},
    ),
    "Linear, square": (partial(nnx.Linear, 6, 6), {"kernel": ((), (1,), 1)}, {"kernel": "1 array of 6 x 6"}),
    "LinearGeneral": (
        partial(nnx.LinearGeneral, 8, (2, 5)),
        {"kernel": ((), (1, 2), 1), "bias": ((), (0, 1), 1)},
        {"kernel": "1 array of 8 x 10"},
    ),
    "LinearGeneral of two axes": (
        partial(nnx.LinearGeneral, (2, 3), (4, 5), axis=(1, -1)),
        {"kernel": ((), (2, 3), 1), "bias": ((), (0, 1), 1)},
        {"kernel": "1 array of 6 x 20"},
    ),
    "LinearGeneral of a batch": (
        partial(nnx.LinearGeneral, 3, 4, batch_axis={0: 7}),
        {"kernel": ((0,), (2,), 1), "bias": ((0,), (1,), 1)},
        {"kernel": "7 arrays of 3 x 4"},
    ),
    "Einsum of heads": (
        partial(nnx.Einsum, "nta,hab->nthb", (8, 2, 4), (8, 4)),
        {"kernel": ((), (0, 2), 1), "bias": ((), (0, 1), 1)},
        {"kernel": "1 array of 2 x 32"},
    ),
    "Einsum with a batch": (
        partial(nnx.Einsum, "bhd, hde -> bhe", (6, 3, 4)),
        {"kernel": ((0,), (2,), 1)},
        {"kernel": "6 arrays of 3 x 4"},
    ),
    "Einsum, outputs first": (
        partial(nnx.Einsum, "...i,oi->...o", (5, 3)),
        {"kernel": ((), (0,), 1)},
        {"kernel": "1 array of 3 x 5"},
    ),
    "Conv": (
        partial(nnx.Conv, 3, 8, (5, 5)),
        {"kernel": ((), (3,), 1), "bias": ((), (0,), 1)},
        {"kernel": "1 array of 75 x 8"},
    ),
    "Conv in one dimension": (partial(nnx.Conv, 4, 4, 4), {"kernel": ((), (2,), 1)}, {"kernel": "1 array of 16 x 4"}),
    "Conv in groups": (
        partial(nnx.Conv, 4, 6, (3, 3), feature_group_count=2),
        {"kernel": ((), (3,), 2)},
        {"kernel": "2 arrays of 18 x 3"},
    ),
    "Conv of each channel": (
        partial(nnx.Conv, 6, 6, (3,), feature_group_count=6),
        {"kernel": ((), (2,), 6)},
        {"kernel": "6 arrays of 3 x 1"},
    ),
    "ConvTranspose": (
        partial(nnx.ConvTranspose, 4, 6, (3,)),
        {"kernel": ((), (2,), 1)},
        {"kernel": "1 array of 12 x 6"},
    ),
    "ConvTranspose, transposed": (
        partial(nnx.ConvTranspose, 4, 6, (3,), transpose_kernel=True),
        {"kernel": ((), (1,), 1), "bias": ((), (0,), 1)},
        {"kernel": "1 array of 12 x 6"},
    ),
    "MultiHeadAttention": (
        partial(nnx.MultiHeadAttention, 4, 24, normalize_qk=True),
        {
            "query/kernel": ((), (1, 2), 1),
            "query/bias": ((), (0, 1), 1),
            "out/kernel": ((), (2,), 1),
            "out/bias": ((), (0,), 1),
            "query_ln/scale": ((), (0,), 1),
        },
        {f"{layer}/kernel": "1 array of 24 x 24" for layer in ("key", "out", "query", "value")},
    ),
    "LoRALinear": (
        partial(nnx.LoRALinear, 6, 8, lora_rank=2),
        {"kernel": ((), (1,), 1), "lora/lora_a": ((), (1,), 1), "lora/lora_b": ((), (1,), 1)},
        {"kernel": "1 array of 6 x 8", "lora/lora_a": "1 array of 6 x 2", "lora/lora_b": "1 array of 2 x 8"},
    ),
    "OptimizedLSTMCell": (
        partial(nnx.OptimizedLSTMCell, 3, 5),
        {"dense_h/kernel": ((), (1,), 1)},
        {"dense_h/kernel": "1 array of 5 x 20", "dense_i/kernel": "1 array of 3 x 20"},
    ),
    "GRUCell": (
        partial(nnx.GRUCell, 4, 4),
        {"dense_h/kernel": ((), (1,), 1)},
        {"dense_h/kernel": "1 array of 4 x 12", "dense_i/kernel": "1 array of 4 x 12"},
    ),
    "SimpleCell": (
        partial(nnx.SimpleCell, 3, 5),
        {"dense_h/kernel": ((), (1,), 1)},
        {"dense_h/kernel": "1 array of 5 x 5", "dense_i/kernel": "1 array of 3 x 5"},
    ),
    "Embed": (partial(nnx.Embed, 9, 4), {"embedding": ((), (0,), 1)}, {}),
    "LayerNorm": (partial(nnx.LayerNorm, 4), {"scale": ((), (0,), 1), "bias": ((), (0,), 1)}, {}),
    "GroupNorm": (partial(nnx.GroupNorm, 8, 2), {"scale": ((), (0,), 1)}, {}),
    "BatchNorm": (partial(nnx.BatchNorm, 4), {"scale": ((), (0,), 1), "mean": ((), (0,), 1)}, {}),
    "RMSNorm": (partial(nnx.RMSNorm, 4), {"scale": ((), (0,), 1)}, {}),
    "WeightNorm": (
        lambda rngs: nnx.WeightNorm(nnx.Linear(3, 4, rngs=rngs), rngs=rngs),
        {"layer_instance/kernel": ((), (1,), 1)},
        {"layer_instance/kernel": "1 array of 3 x 4"},
    ),
}


class Holder(nnx.Module):
    """A network that holds one layer."""

    def __init__(self, build, rngs):
        self.layer = build(rngs=rngs)


def nnx_shapes(build):
    return nnx.eval_shape(lambda: build(nnx.Rngs(0)))


def stacked(build, axis=0, by=nnx.vmap):
    """Eleven layers of a kind in one, along an axis."""
    return nnx.split_rngs(splits=LAYERS)(by(build, in_axes=(0,), out_axes=axis))


def below_layer(expected):
    return {f"layer/{path}": value for path, value in expected.items()}


def with_axis(axes, at):
    """Axes of a leaf that gets one more axis."""
    return tuple(axis + (axis >= at) for axis in axes)


@pytest.mark.parametrize("kind", NNX)
def test_each_class_of_nnx_layer_says_where_its_variables_sit(kind):
    build, expected, kernels = NNX[kind]
    model = nnx_shapes(partial(Holder, build))
    assert said(model).items() >= below_layer(expected).items()
    if kernels:
        assert printed(model) == below_layer(kernels)
    else:
        with pytest.raises(limpet.PrototypeError, match="'matrices' selects what products contract.*there is none"):
            matrices(model)


SEVERAL = ("Linear", "LinearGeneral of a batch", "Conv in groups", "MultiHeadAttention", "Embed")


@pytest.mark.parametrize(
    ("kind", "axis", "by"),
    [(kind, 0, nnx.vmap) for kind in NNX]
    + [(kind, axis, by) for kind in SEVERAL for axis, by in [(0, nnx.scan), (1, nnx.vmap)]],
)
def test_stacked_nnx_layers_sit_on_arrays_of_their_own(kind, axis, by):
    build, expected, kernels = NNX[kind]
    model = nnx_shapes(stacked(partial(Holder, build), axis, by))
    found = said(model)
    for path, (stack, outputs, groups) in below_layer(expected).items():
        whole = tuple(sorted((axis, *with_axis(stack, axis)))), with_axis(outputs, axis), groups
        assert found[path] == whole
    single = {path: text.split(" ", 1)[0] for path, text in kernels.items()}
    assert set(contracted_paths(model)) == set(below_layer(single))
    for path, text in printed(model).items():
        one = kernels[path.removeprefix("layer/")]
        assert text == f"{LAYERS * int(one.split()[0])} arrays of {one.partition(' of ')[2]}"


def test_where_several_axes_may_be_the_layers_it_is_the_first():
    found = said(nnx_shapes(stacked(partial(Holder, partial(nnx.Linear, 11, 11)))))
    assert found == {"layer/kernel": ((0,), (2,), 1), "layer/bias": ((0,), (1,), 1)}


def test_layers_in_stacks_of_stacks():
    model = nnx_shapes(lambda rngs: stacked(stacked(partial(Holder, partial(nnx.Linear, 3, 4))))(rngs))
    assert printed(model) == {"layer/kernel": "121 arrays of 3 x 4"}


class Own(nnx.Module):
    """A block with a matrix, a gain and positions of its own, beside a layer."""

    def __init__(self, rngs):
        self.w = nnx.Param(jnp.zeros((4, 6)))
        self.gain = nnx.Param(jnp.zeros(4))
        self.pos_embedding = nnx.Param(jnp.zeros((1, 7, 4)))
        self.linear = nnx.Linear(4, 4, rngs=rngs)


class Deep(nnx.Module):
    """Stacked blocks below a head."""

    def __init__(self, rngs):
        self.blocks = stacked(Own)(rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)
        self.w = nnx.Param(jnp.zeros((11, 4)))


def test_variables_of_a_module_of_the_users_own_are_stacked_as_what_is_beside_them():
    assert printed(nnx_shapes(Own)) == {"linear/kernel": "1 array of 4 x 4", "w": "1 array of 4 x 6"}
    assert printed(nnx_shapes(Deep)) == {
        "blocks/linear/kernel": "11 arrays of 4 x 4",
        "blocks/w": "11 arrays of 4 x 6",
        "head/kernel": "1 array of 4 x 2",
        "w": "1 array of 11 x 4",
    }


class Subclass(nnx.Linear):
    """A layer of the user's own."""


class Otherwise(nnx.Linear):
    """A layer that holds something else than its base does."""

    def __init__(self, rngs):
        self.kernel = nnx.Param(jnp.zeros((2, 3, 4)))


def test_a_subclass_is_a_layer_as_its_base():
    assert printed(nnx_shapes(Otherwise)) == {"kernel": "1 array of 6 x 4"}
    assert printed(nnx_shapes(stacked(lambda rngs: Subclass(3, 4, rngs=rngs)))) == {"kernel": "11 arrays of 3 x 4"}


class Tied(nnx.Module):
    """Two layers that share their weights, and an embedding whose table is another layer's kernel."""

    def __init__(self, rngs):
        self.second, self.first = nnx.Linear(4, 4, rngs=rngs), nnx.Linear(4, 4, rngs=rngs)
        self.second.kernel = self.first.kernel
        self.embed, self.head = nnx.Embed(9, 4, rngs=rngs), nnx.Linear(9, 4, rngs=rngs)
        self.head.kernel = self.embed.embedding


def test_what_two_layers_share_belongs_to_the_one_that_contracts_it():
    assert printed(nnx_shapes(Tied)) == {"embed/embedding": "1 array of 9 x 4", "first/kernel": "1 array of 4 x 4"}


# Flax Linen's variables, and states: names and shapes


class Block(linen.Module):
    """A block as one scans over it: norm, attention, a bias-free layer and one with a bias."""

    biases: bool = True

    @linen.compact
    def __call__(self, x, _):
        x = linen.LayerNorm(use_bias=self.biases)(x)
        x = linen.MultiHeadDotProductAttention(2, use_bias=self.biases)(x, x)
        x = linen.Dense(10, use_bias=False)(x)
        return linen.Dense(6, use_bias=self.biases)(x), None


class Scanned(linen.Module):
    """Such blocks, scanned, between an embedding with positions and a head."""

    biases: bool = True
    axis: int = 0

    @linen.compact
    def __call__(self, tokens):
        x = linen.Embed(11, 6)(tokens)
        x = x + self.param("pos_embedding", linen.initializers.zeros, (1, 7, 6))
        block = linen.scan(Block, variable_axes={"params": self.axis}, split_rngs={"params": True}, length=5)
        x, _ = block(self.biases)(x, None)
        return linen.Dense(3, name="head")(linen.LayerNorm()(x))


def linen_shapes(module, *args):
    return jax.eval_shape(module.init, KEY, *args)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_scanned_transformer_of_linen(biases, axis):
    variables = linen_shapes(Scanned(biases, axis), jnp.zeros((2, 7), int))
    block, attention = "params/ScanBlock_0", "params/ScanBlock_0/MultiHeadDotProductAttention_0"
    assert printed(variables) == {
        f"{block}/Dense_0/kernel": "5 arrays of 6 x 10",
        f"{block}/Dense_1/kernel": "5 arrays of 10 x 6",
        **{f"{attention}/{layer}/kernel": "5 arrays of 6 x 6" for layer in ("key", "out", "query", "value")},
        "params/head/kernel": "1 array of 6 x 3",
    }
    arrays = adapter_of(variables).arrays(variables)
    assert {array.stack for path, array in arrays.items() if path.startswith(block)} == {(axis,)}
    assert arrays[f"{attention}/query/kernel"].outputs == (2, 3)
    assert arrays[f"{attention}/out/kernel"].outputs == (3,)


class Layers(linen.Module):
    """Layers of several kinds, unstacked."""

    @linen.compact
    def __call__(self, x):
        linen.Conv(8, (3, 3), name="conv")(x)
        linen.ConvTranspose(8, (3,), transpose_kernel=True, name="up")(x[0])
        linen.DenseGeneral((4, 6), name="heads")(x)
        linen.DenseGeneral(5, axis=(-2, -1), name="merged")(x)
        linen.BatchNorm(False, name="norm")(x)
        linen.OptimizedLSTMCell(6, name="cell")(linen.OptimizedLSTMCell(6).initialize_carry(KEY, (2, 3)), x[0, 0, :2])


def test_layers_of_linen():
    variables = linen_shapes(Layers(), jnp.zeros((2, 5, 5, 3)))
    found = printed(variables)
    cell = {path for path in found if path.startswith("params/cell")}
    assert {found.pop(path) for path in cell} == {"1 array of 3 x 6", "1 array of 6 x 6"}
    assert found == {
        "params/conv/kernel": "1 array of 27 x 8",
        "params/heads/kernel": "1 array of 3 x 24",
        "params/merged/kernel": "1 array of 15 x 5",
        "params/up/kernel": "1 array of 9 x 8",
    }


@pytest.mark.parametrize(
    ("leaves", "expected"),
    [
        ({"a__kernel": (12, 64, 256), "a__bias": (12, 256)}, {"a/kernel": "12 arrays of 64 x 256"}),
        ({"a__kernel": (12, 12, 12), "a__bias": (12, 12)}, {"a/kernel": "12 arrays of 12 x 12"}),
        ({"a__kernel": (96, 4, 24), "a__bias": (4, 24)}, {"a/kernel": "1 array of 96 x 96"}),
        ({"a__kernel": (2, 96, 4, 24), "a__bias": (2, 4, 24)}, {"a/kernel": "2 arrays of 96 x 96"}),
        ({"a__kernel": (2, 3, 8, 9), "a__bias": (2, 3, 9)}, {"a/kernel": "6 arrays of 8 x 9"}),
        ({"a__kernel": (7, 5, 7), "a__bias": (7, 5)}, {"a/kernel": "5 arrays of 7 x 7"}),
        ({"a__w": (12, 64, 256), "a__b": (12, 256)}, {"a/w": "12 arrays of 64 x 256"}),
        ({"kernel": (12, 64, 256), "bias": (12, 256)}, {"kernel": "12 arrays of 64 x 256"}),
        # Attention with heads, without biases; and layers of the same names that have no heads.
        (
            {f"{of}__kernel": (8, 8, 8) for of in ("query", "key", "value", "out")},
            {f"{of}/kernel": "1 array of 8 x 64" for of in ("query", "key", "value")}
            | {"out/kernel": "1 array of 64 x 8"},
        ),
        (
            {
                f"{of}__{name}": shape
                for of in ("query", "out")
                for name, shape in {"kernel": (5, 8, 8), "bias": (5, 8)}.items()
            },
            {f"{of}/kernel": "5 arrays of 8 x 8" for of in ("query", "out")},
        ),
        # Nothing tells: the last axis is outputs, and there is no stack.
        ({"a__kernel": (12, 64, 256)}, {"a/kernel": "1 array of 768 x 256"}),
        ({"w1": (3, 4), "w2": (2, 3, 4), "x": (4,)}, {"w1": "1 array of 3 x 4", "w2": "1 array of 6 x 4"}),
        # A scale with two axes tells of layers, where every matrix beside it has an axis more.
        (
            {"blocks__ln__scale": (12, 64), "blocks__wq": (12, 64, 256), "head__w": (64, 9)},
            {"blocks/wq": "12 arrays of 64 x 256", "head/w": "1 array of 64 x 9"},
        ),
        # A leaf named `b` is a bias beside `w`, and a matrix beside `a`.
        ({"a": (12, 4), "b": (4, 12)}, {"a": "1 array of 12 x 4", "b": "1 array of 4 x 12"}),
        (
            {"w": (12, 6), "a": (12, 2), "b": (2, 6)},
            {"w": "1 array of 12 x 6", "a": "1 array of 12 x 2", "b": "1 array of 2 x 6"},
        ),
        ({"W": (12, 5, 6), "b": (12, 6)}, {"W": "1 array of 60 x 6"}),
        ({"pos_proj": (4, 12)}, {"pos_proj": "1 array of 4 x 12"}),
        ({"w1": (64, 256), "scale": (1, 256)}, {"w1": "1 array of 64 x 256"}),
    ],
)
def test_names_and_shapes_tell_of_layers(leaves, expected):
    assert printed(shapes(**leaves)) == expected


class Named(linen.Module):
    """A layer whose kernel's axes have names, without bias or norm."""

    @linen.compact
    def __call__(self, x, _):
        init = linen.with_partitioning(linen.initializers.zeros, ("embed", "mlp"))
        return linen.Dense(6, use_bias=False, kernel_init=init)(x), None


@pytest.mark.parametrize("axis", [0, 1])
def test_names_of_axes_tell_of_layers(axis):
    scanned = linen.scan(
        Named,
        variable_axes={"params": axis},
        split_rngs={"params": True},
        length=5,
        metadata_params={linen.PARTITION_NAME: "layers"},
    )
    variables = linen_shapes(scanned(), jnp.zeros((2, 6)), None)
    assert printed(variables) == {"params/Dense_0/kernel": "5 arrays of 6 x 6"}
    assert adapter_of(variables).arrays(variables)["params/Dense_0/kernel"].stack == (axis,)


def test_a_state_is_read_as_variables_of_linen_are():
    state = nnx.state(nnx_shapes(stacked(partial(Holder, partial(nnx.MultiHeadAttention, 4, 24)))))
    assert printed(state) == {f"layer/{of}/kernel": "11 arrays of 24 x 24" for of in ("key", "out", "query", "value")}


@pytest.mark.parametrize(
    "path",
    [
        "params/Dense_0/bias",
        "params/norm/scale",
        "params/posembed_input/pos_embedding",
        "params/position_embeddings",
        "params/positions",
        "params/w_scale",
        "params/cls",
        "embed/embedding",
        "params/relpos/relative_position_bias",
        "batch_stats/spectral/u",
        "cache/attention/cached_key",
    ],
)
def test_names_of_what_no_product_contracts(path):
    tree = limpet.leaves.nested({path: jnp.ones((3, 4)), "params/w": jnp.ones((3, 4))})
    assert contracted_paths(tree) == ["params/w"]


# Equinox: outputs come first

EQUINOX = {
    "Linear": (partial(eqx.nn.Linear, 3, 4), {"weight": "1 array of 3 x 4"}),
    "Linear, square": (partial(eqx.nn.Linear, 6, 6), {"weight": "1 array of 6 x 6"}),
    "Linear of a scalar": (partial(eqx.nn.Linear, "scalar", 4), {"weight": "1 array of 1 x 4"}),
    "Conv": (partial(eqx.nn.Conv2d, 4, 6, 3, groups=2), {"weight": "2 arrays of 18 x 3"}),
    "ConvTranspose": (partial(eqx.nn.ConvTranspose1d, 4, 6, 3), {"weight": "1 array of 12 x 6"}),
    "MultiheadAttention": (
        partial(eqx.nn.MultiheadAttention, 2, 6, use_query_bias=True),
        {f"{of}_proj/weight": "1 array of 6 x 6" for of in ("query", "key", "value", "output")},
    ),
    "GRUCell": (
        partial(eqx.nn.GRUCell, 3, 4),
        {"weight_ih": "1 array of 3 x 12", "weight_hh": "1 array of 4 x 12"},
    ),
    "LSTMCell": (
        partial(eqx.nn.LSTMCell, 3, 4),
        {"weight_ih": "1 array of 3 x 16", "weight_hh": "1 array of 4 x 16"},
    ),
    "Embedding": (partial(eqx.nn.Embedding, 9, 4), {}),
    "LayerNorm": (lambda key: eqx.nn.LayerNorm((3, 4)), {}),
    "WeightNorm": (lambda key: eqx.nn.WeightNorm(eqx.nn.Linear(3, 4, key=key)), {"layer/weight": "1 array of 3 x 4"}),
}


class Outputs(eqx.Module):
    """A layer of the user's own, as Equinox's documentation writes one."""

    weight: jax.Array
    bias: jax.Array

    def __init__(self, inputs, outputs, key):
        self.weight, self.bias = jnp.zeros((outputs, inputs)), jnp.zeros(outputs)


@pytest.mark.parametrize("kind", EQUINOX)
@pytest.mark.parametrize("layers", [1, 5])
def test_each_class_of_equinox_layer_says_where_its_leaves_sit(kind, layers):
    build, expected = EQUINOX[kind]
    if layers > 1:
        model = eqx.filter_eval_shape(eqx.filter_vmap(lambda key: build(key=key)), jax.random.split(KEY, layers))
    else:
        model = eqx.filter_eval_shape(lambda key: build(key=key), KEY)
    whole = {
        path: f"{layers * int(text.split()[0])} array{'s' if layers * int(text.split()[0]) > 1 else ''} of "
        f"{text.partition(' of ')[2]}"
        for path, text in expected.items()
    }
    assert printed(model) == whole
    arrays = adapter_of(model).arrays(model)
    assert all(arrays[path].outputs == ((0,) if layers == 1 else (1,)) for path in expected)


def test_a_layer_of_the_users_own_in_equinox_has_outputs_first():
    assert printed(Outputs(3, 4, KEY)) == {"weight": "1 array of 3 x 4"}
    assert printed(eqx.nn.MLP(3, 3, 3, 4, scan=True, key=KEY)) == {
        "layers/0/weight": "1 array of 3 x 3",
        "layers/1/weight": "3 arrays of 3 x 3",
        "layers/2/weight": "1 array of 3 x 3",
    }


# Rockpool: what is registered as weights


def test_weights_of_rockpool_have_inputs_first(dynapse_net):
    network = Sequential(LinearJax((3, 4)), LIFJax((4, 2), has_rec=True))
    assert printed(network) == {"0_LinearJax/weight": "1 array of 3 x 4", "1_LIFJax/w_rec": "1 array of 2 x 4"}
    seen = limpet.layout(lambda tree, x: network.set_attributes(tree)(x)[0], network, jnp.zeros((1, 6, 3)))
    assert {leaf.path: str(leaf.seen) for leaf in seen.leaves if leaf.array} == printed(network)
    assert printed(dynapse_net) == {"0_LinearJax/weight": "1 array of 3 x 4", "1_DynapSim/w_rec": "1 array of 4 x 4"}


# Selections


def part(leaves):
    return limpet.Part(leaves, limpet.Gaussian(0.1))


def chosen(leaves, model):
    return [path for path, yes in limpet.leaves.leaves_by_path(part(leaves).prototype(model))[0].items() if yes]


class Net(nnx.Module):
    """An attention layer, a norm, a convolution and two linear layers, one of a class of the user's own."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(9, 8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.conv = nnx.Conv(8, 8, 3, rngs=rngs)
        self.linear, self.head = nnx.Linear(8, 8, rngs=rngs), Subclass(8, 2, rngs=rngs)


def test_a_class_of_nnx_modules_selects_what_they_contract():
    model = nnx_shapes(Net)
    assert chosen(nnx.Linear, model) == ["head/kernel", "linear/kernel"]
    assert chosen(Subclass, model) == ["head/kernel"]
    assert chosen([nnx.Linear, "conv/kernel"], model) == [
        "conv/kernel",
        "head/kernel",
        "linear/kernel",
    ]
    assert chosen({nnx.Module: True, nnx.MultiHeadAttention: False, "head/*": False}, model) == [
        "conv/kernel",
        "linear/kernel",
    ]
    assert len(chosen(nnx.MultiHeadAttention, model)) == 4
    assert part({nnx.Linear: True, "head/*": False}).leaves_label() == "Linear, not head/*"
    for kind in (nnx.LayerNorm, nnx.Embed, nnx.ConvTranspose):
        with pytest.raises(
            limpet.PrototypeError,
            match=f"{kind.__name__}.* no module of that class has a leaf that a product contracts",
        ):
            chosen(kind, model)


def test_a_class_of_modules_of_other_frameworks_selects_what_they_contract(dynapse_net):
    model = eqx.filter_eval_shape(lambda key: eqx.nn.MLP(3, 2, 4, 1, key=key), KEY)
    assert chosen(eqx.nn.Linear, model) == ["layers/0/weight", "layers/1/weight"]
    assert chosen(LinearJax, dynapse_net) == ["0_LinearJax/weight"]
    with pytest.raises(limpet.PrototypeError, match="a rule is a pair of a path glob and a bool"):
        chosen(nnx.Linear, {"w": jnp.ones((2, 2))})


def test_a_selection_of_matrices_says_why_there_is_none():
    with pytest.raises(
        limpet.PrototypeError,
        match=r"no biases, norms, embeddings or positions; there is none.*a/bias \(4, 24\), b \(3,\)",
    ):
        chosen("matrices", shapes(a__bias=(4, 24), b=(3,)))


def test_what_is_said_to_be_a_stack_is_no_axis_of_a_matrix():
    tree = shapes(w=(12, 64, 64), gains=(12, 64))
    said = limpet.Part("matrices", limpet.Gaussian(0.1), array=limpet.Array(stack=0))
    assert said.prototype(tree) == {"w": True, "gains": False}
    assert part("matrices").prototype(tree) == {"w": True, "gains": True}


def test_heads_are_arrays_of_their_own_where_one_says_so():
    """What is said of an axis goes before what the framework says of it."""
    model = nnx_shapes(stacked(partial(Holder, partial(nnx.MultiHeadAttention, 4, 24))))
    heads = limpet.Array(stack=(0, -2)), limpet.Array(stack=(0, 1))
    of_heads = {"*/query/kernel": heads[0], "*/key/kernel": heads[0], "*/out/kernel": heads[1]}
    arrays = arrays_of(model, checked_arrays(of_heads), contracted_paths(model))
    leaves = adapter_of(model).leaves(model)
    assert {path: str(array.layout(leaves[path].shape)) for path, array in arrays.items()} == {
        "layer/key/kernel": "44 arrays of 24 x 6",
        "layer/out/kernel": "44 arrays of 6 x 24",
        "layer/query/kernel": "44 arrays of 24 x 6",
        "layer/value/kernel": "11 arrays of 24 x 24",
    }


@pytest.mark.parametrize("head", ["head", "readout"])
def test_a_matrix_that_is_left_out_because_a_stack_is_said_of_all_leaves_is_named(head):
    params = {"layers": jnp.ones((3, 6, 6)), "gains": jnp.ones((3, 6)), head: jnp.ones((6, 2))}
    with pytest.warns(UserWarning, match=rf"^{head} \(6, 2\): taken for no matrix, .* says Array\(stack=\(0,\)\)"):
        matrices(params, checked_arrays(limpet.Array(stack=0)))
    with pytest.warns(UserWarning, match=rf"^{head} \(6, 2\): taken for no matrix, and left out"):
        limpet.clip_weights(2.0, array=limpet.Array(stack=0)).update(params, limpet.clip_weights().init(params), params)


def test_a_matrix_of_which_a_stack_is_said_by_path_is_left_out_without_a_word(recwarn):
    params = {"layers": jnp.ones((3, 6, 6)), "gains": jnp.ones((3, 6)), "head": jnp.ones((6, 2))}
    stacks = {"layers": limpet.Array(stack=0), "gains": limpet.Array(stack=0)}
    assert matrices(params, checked_arrays(stacks)) == {"layers": True, "gains": False, "head": True}
    assert not recwarn


def test_what_is_said_goes_before_the_framework_even_where_it_is_what_plain_leaves_are():
    """Inputs first, in an Equinox layer whose class says that outputs are: said in full, that equals what is so of a
    leaf of which nothing is said."""
    layer = eqx.nn.Linear(3, 4, use_bias=False, key=jax.random.key(0))
    said = limpet.Array(stack=(), outputs=(-1,), groups=1)
    for array, words in ((said, "1 array of 4 x 3"), (limpet.Array(), "1 array of 3 x 4")):
        recipe = limpet.Hardware(a=limpet.Part("weight", limpet.Additive(0.1), array=array)).on(layer)
        assert str(recipe.rules["weight"].array.layout((4, 3))) == words
