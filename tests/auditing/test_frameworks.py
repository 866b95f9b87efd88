"""What frameworks say of where leaves sit, held against what their modules do with them."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import limpet
from limpet.leaves.rockpool import imported, quietly

X, IMAGES = jnp.ones((2, 5, 8)), jnp.ones((2, 6, 6, 4))
TOKENS = jnp.ones((2, 5), int)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(8, 12, rngs=rngs), nnx.Linear(12, 8, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.down(nnx.gelu(self.up(x)))


class Transformer(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(11, 8, rngs=rngs)
        self.positions = nnx.Param(jnp.ones((5, 8)))
        self.blocks = nnx.vmap(Block)(rngs.split(3))
        self.head = nnx.Linear(8, 11, rngs=rngs)

    def __call__(self, tokens):
        x = self.embedding(tokens) + self.positions
        through = nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        return self.head(through(x, self.blocks))


class Layer(nn.Module):
    biases: bool = True

    @nn.compact
    def __call__(self, x, _):
        x = x + nn.MultiHeadDotProductAttention(2, use_bias=self.biases)(nn.LayerNorm()(x))
        return nn.Dense(8, use_bias=self.biases)(nn.gelu(nn.Dense(12, use_bias=self.biases)(x))), None


def linen_stack(axis, biases):
    return nn.scan(Layer, variable_axes={"params": axis}, split_rngs={"params": True}, length=3)(biases)


class Tied(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(11, 8, rngs=rngs)

    def __call__(self, tokens):
        return self.embedding.attend(self.embedding(tokens))


def recurrent(cell):
    return lambda rngs: nnx.RNN(cell(8, 6, rngs=rngs), rngs=rngs)


def nnx_case(build, x):
    return lambda: (build(nnx.Rngs(0)), lambda model, x: model(x), x)


def linen_case(module, x, *args):
    def build():
        variables = module.init(jax.random.key(0), x, *args)
        return variables, lambda variables, x: module.apply(variables, x, *args), x

    return build


def equinox_case(build, x):
    return lambda: (build(key=jax.random.key(0)), lambda model, x: jax.vmap(model)(x), x)


def rockpool_case(build, x):
    def made():
        with quietly():
            net = build(imported("rockpool.nn.modules"), imported("rockpool.devices.dynapse"))
        return net, lambda tree, x: net.set_attributes(tree)(x)[0], x

    return made


class SelfAttention(eqx.Module):
    attention: eqx.nn.MultiheadAttention

    def __init__(self, key):
        self.attention = eqx.nn.MultiheadAttention(2, 8, key=key, inference=True)

    def __call__(self, x):
        return self.attention(x, x, x)


class EquinoxCell(eqx.Module):
    cell: eqx.nn.GRUCell

    def __init__(self, key):
        self.cell = eqx.nn.GRUCell(8, 6, key=key)

    def __call__(self, x):
        return self.cell(x, jnp.ones(6))


MODELS = {
    "nnx transformer": nnx_case(Transformer, TOKENS),
    "nnx tied embedding": nnx_case(Tied, TOKENS),
    "nnx Conv": nnx_case(lambda rngs: nnx.Conv(4, 6, (3, 3), rngs=rngs), IMAGES),
    "nnx Conv in groups": nnx_case(lambda rngs: nnx.Conv(4, 6, (3, 3), feature_group_count=2, rngs=rngs), IMAGES),
    "nnx Conv by channel": nnx_case(lambda rngs: nnx.Conv(4, 8, (3, 3), feature_group_count=4, rngs=rngs), IMAGES),
    "nnx ConvTranspose": nnx_case(lambda rngs: nnx.ConvTranspose(4, 6, (3, 3), rngs=rngs), IMAGES),
    "nnx ConvTranspose, turned": nnx_case(
        lambda rngs: nnx.ConvTranspose(4, 6, (3, 3), transpose_kernel=True, rngs=rngs), IMAGES
    ),
    "nnx LinearGeneral of a batch": nnx_case(lambda rngs: nnx.LinearGeneral(8, 3, batch_axis={0: 2}, rngs=rngs), X),
    "nnx LinearGeneral": nnx_case(lambda rngs: nnx.LinearGeneral((5, 8), (3, 2), axis=(-2, -1), rngs=rngs), X),
    "nnx Einsum": nnx_case(lambda rngs: nnx.Einsum("bld,dhk->blhk", (8, 2, 3), (2, 3), rngs=rngs), X),
    "nnx Einsum of a batch": nnx_case(lambda rngs: nnx.Einsum("bld,bdk->blk", (2, 8, 3), rngs=rngs), X),
    "nnx Einsum, outputs first": nnx_case(lambda rngs: nnx.Einsum("...d,kd->...k", (3, 8), rngs=rngs), X),
    "nnx LoRA": nnx_case(lambda rngs: nnx.LoRA(8, 2, 6, rngs=rngs), X),
    "nnx LSTM": nnx_case(recurrent(nnx.LSTMCell), X),
    "nnx OptimizedLSTM": nnx_case(recurrent(nnx.OptimizedLSTMCell), X),
    "nnx GRU": nnx_case(recurrent(nnx.GRUCell), X),
    "nnx SimpleCell": nnx_case(recurrent(nnx.SimpleCell), X),
    "Linen Dense": linen_case(nn.Dense(6), X),
    "Linen DenseGeneral": linen_case(nn.DenseGeneral((2, 3)), X),
    "Linen Conv": linen_case(nn.Conv(6, (3, 3)), IMAGES),
    "Linen stack": linen_case(linen_stack(0, True), X, None),
    "Linen stack without biases": linen_case(linen_stack(0, False), X, None),
    "Linen stack along the second axis": linen_case(linen_stack(1, True), X, None),
    "Linen LSTM": linen_case(nn.RNN(nn.OptimizedLSTMCell(6)), X),
    "Equinox Linear": equinox_case(lambda key: eqx.nn.Linear(8, 6, key=key), X[0]),
    "Equinox Conv2d": equinox_case(lambda key: eqx.nn.Conv2d(6, 4, 3, key=key), IMAGES),
    "Equinox ConvTranspose1d": equinox_case(lambda key: eqx.nn.ConvTranspose1d(5, 4, 3, key=key), X),
    "Equinox GRU": equinox_case(EquinoxCell, X[0]),
    "Equinox MLP": equinox_case(lambda key: eqx.nn.MLP(8, 6, 12, 2, key=key), X[0]),
    "Equinox attention": equinox_case(SelfAttention, X),
    "Rockpool LinearJax": rockpool_case(lambda nn, _: nn.LinearJax((8, 6)), X),
    "Rockpool DynapSim": rockpool_case(lambda _, dynapse: dynapse.DynapSim((4, 4), has_rec=True), jnp.ones((1, 7, 4))),
}


@pytest.mark.filterwarnings("ignore:.*all neurons of such a layer deviate alike")
@pytest.mark.parametrize("name", MODELS)
def test_what_a_framework_says_is_what_its_modules_do(name):
    model, function, x = MODELS[name]()
    everything = limpet.Hardware(all=limpet.Part("*", limpet.Gaussian(sigma=0.1)))
    seen = limpet.layout(function, model, x, hardware=everything)
    contracted = {leaf.path: leaf for leaf in seen.leaves if leaf.array is not None}
    assert contracted
    assert not [leaf.path for leaf in contracted.values() if leaf.said is not None]
    if name != "nnx tied embedding":  # a table that is looked up, too, is selected by name
        matrices = limpet.Hardware(matrices=limpet.Part("matrices", limpet.Gaussian(sigma=0.1)))
        assert set(matrices.on(model).paths) == contracted.keys()
