"""Networks written in many ways, and what each makes of its leaves."""

from fractions import Fraction

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from limpet.flow._products import CONTRACTED


def matrix(stack=(), inputs=(0,), outputs=(1,), groups=1, calls=1):
    return [(stack, inputs, outputs, groups, calls)]


def kernel(*shape):
    return {"w": jnp.ones(shape)}


def apply(model, *args):
    return model(*args)


X = jnp.ones((5, 8))
W, STACK = kernel(8, 6), kernel(12, 8, 8)
LAYERS = {"w": jnp.ones((12, 8, 8)), "b": jnp.ones((12, 8))}
LORA = {"w": jnp.ones((8, 6)), "a": jnp.ones((8, 2)), "b": jnp.ones((2, 6))}
RECURRENT = {"w": jnp.ones((8, 8)), "u": jnp.ones((8, 8)), "b": jnp.ones(8), "h": jnp.ones(8)}
RNGS = nnx.Rngs(0)


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return jnp.tanh(nn.Dense(8)(x)), None


class Cell(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, x):
        return jnp.tanh(self.linear(x))


LINEN_STACK = nn.scan(nn.remat(Layer), variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()
NNX_STACK = nnx.vmap(Cell)(nnx.Rngs(0).split(4))
LSTM = nn.RNN(nn.OptimizedLSTMCell(4))
ATTENTION = nnx.MultiHeadAttention(num_heads=2, in_features=8, rngs=RNGS)


def through_nnx_stack(model, x):
    return nnx.scan(lambda x, cell: cell(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, model)


def recurrent(p, x):
    return jax.lax.scan(lambda h, row: (jnp.tanh(h @ p["w"] + row @ p["u"] + p["b"]), None), p["h"], x)[0]


def grouped(x, w):
    return jax.lax.conv_general_dilated(x, w, (1,), "SAME", None, None, ("NHC", "HIO", "NHC"), 2)


@jax.custom_jvp
def own_gradient(x, w):
    return x @ w


own_gradient.defjvp(lambda primals, tangents: (own_gradient(*primals), tangents[0] @ primals[1]))


@jax.custom_vjp
def own_backward(x, w):
    return x @ w


own_backward.defvjp(lambda x, w: (x @ w, w), lambda w, g: (g @ w.T, w))

# By name: a function of a tree and inputs, the tree, the inputs, and by leaf path, in order, what becomes of it: of a
# product (stack, inputs, outputs, groups, calls), else in words.
CASES = {
    "nnx.Linear": (apply, nnx.Linear(8, 6, rngs=RNGS), [X], {"kernel": matrix(), "bias": ["added"]}),
    "nnx.Linear in bfloat16": (
        apply,
        nnx.Linear(8, 6, rngs=RNGS, dtype=jnp.bfloat16),
        [X],
        {"kernel": matrix(), "bias": ["added"]},
    ),
    "nnx.Conv": (
        apply,
        nnx.Conv(4, 6, (3, 3), rngs=RNGS),
        [jnp.ones((2, 9, 9, 4))],
        {"kernel": matrix((), (0, 1, 2), (3,)), "bias": ["added"]},
    ),
    "nnx.Conv in groups along one axis": (
        apply,
        nnx.Conv(4, 6, 3, feature_group_count=2, rngs=RNGS),
        [jnp.ones((2, 9, 4))],
        {"kernel": matrix((), (0, 1), (2,), 2), "bias": ["added"]},
    ),
    "a convolution of each channel alone, over examples": (
        lambda model, x: jax.vmap(model)(x),
        nnx.Conv(4, 4, 3, feature_group_count=4, use_bias=False, rngs=RNGS),
        [jnp.ones((3, 2, 9, 4))],
        {"kernel": matrix((), (0, 1), (2,), 4)},
    ),
    "convolutions that are mapped with their inputs": (
        lambda p, x: jax.vmap(grouped)(x, p["w"]),
        kernel(3, 3, 2, 6),
        [jnp.ones((3, 2, 9, 4))],
        {"w": matrix((0,), (1, 2), (3,), 2)},
    ),
    "convolutions that are mapped over one input": (
        lambda p, x: jax.vmap(grouped, (None, 0))(x, p["w"]),
        kernel(3, 3, 2, 6),
        [jnp.ones((2, 9, 4))],
        {"w": matrix((), (1, 2), (0, 3), 2)},
    ),
    "attention": (
        lambda model, x: model(x, decode=False),
        ATTENTION,
        [jnp.ones((2, 5, 8))],
        {
            **{f"{name}/kernel": matrix((), (0,), (1, 2)) for name in ("query", "key", "value")},
            **{f"{name}/bias": ["added"] for name in ("query", "key", "value", "out")},
            "out/kernel": matrix((), (0, 1), (2,)),
        },
    ),
    "an embedding that is looked up": (
        lambda model, x: jnp.tanh(model(x)),
        nnx.Embed(11, 8, rngs=RNGS),
        [jnp.ones((2, 5), int)],
        {"embedding": ["gathered"]},
    ),
    "an embedding that gives the outputs, too": (
        lambda model, x: model.attend(2.0 * model(x)),
        nnx.Embed(11, 8, rngs=RNGS),
        [jnp.ones((2, 5), int)],
        {"embedding": ["gathered", ((), (1,), (0,), 1, 1)]},
    ),
    "positions and scales": (
        lambda p, x: (3 * p["e"][x] + p["positions"][:5]) * p["s"] @ p["w"],
        {"e": jnp.ones((11, 8)), "positions": jnp.ones((9, 8)), "s": jnp.ones(8), "w": jnp.ones((8, 6))},
        [jnp.ones((2, 5), int)],
        {"e": ["gathered"], "positions": ["added"], "s": ["multiplied by values"], "w": matrix()},
    ),
    "Linen Dense": (
        lambda p, x: nn.Dense(6).apply(p, x),
        {"params": {"kernel": jnp.ones((8, 6)), "bias": jnp.ones(6)}},
        [X],
        {"params/kernel": matrix(), "params/bias": ["added"]},
    ),
    "a Linen stack with remat": (
        lambda p, x: LINEN_STACK.apply(p, x, None)[0],
        {"params": {"Dense_0": {"kernel": jnp.ones((3, 8, 8)), "bias": jnp.ones((3, 8))}}},
        [X],
        {"params/Dense_0/kernel": matrix((0,), (1,), (2,)), "params/Dense_0/bias": ["added"]},
    ),
    "an nnx stack": (
        through_nnx_stack,
        NNX_STACK,
        [X],
        {"linear/kernel": matrix((0,), (1,), (2,)), "linear/bias": ["added"]},
    ),
    "a scan over layers": (
        lambda p, x: jax.lax.scan(lambda h, q: (jnp.tanh(h @ q["w"] + q["b"]), None), x, p)[0],
        LAYERS,
        [X],
        {"w": matrix((0,), (1,), (2,)), "b": ["added"]},
    ),
    "jax.checkpoint": (
        lambda p, x: jax.checkpoint(lambda w: jnp.tanh(x @ w))(p["w"]),
        W,
        [X],
        {"w": matrix()},
    ),
    "a recurrent network": (
        recurrent,
        RECURRENT,
        [X],
        {"w": matrix(calls=5), "u": matrix(calls=5), "b": ["added"], "h": ["one of several values"]},
    ),
    "recurrent layers": (
        lambda p, x: jax.lax.scan(lambda x, q: (recurrent(q, x) + x, None), x, p)[0],
        {"w": jnp.ones((3, 8, 8)), "u": jnp.ones((3, 8, 8)), "b": jnp.ones((3, 8)), "h": jnp.ones((3, 8))},
        [X],
        {
            "w": matrix((0,), (1,), (2,), calls=5),
            "u": matrix((0,), (1,), (2,), calls=5),
            "b": ["added"],
            "h": ["one of several values"],
        },
    ),
    "Linen's LSTM, which joins kernels": (
        LSTM.apply,
        jax.eval_shape(LSTM.init, jax.random.key(0), jnp.ones((2, 7, 8))),
        [jnp.ones((2, 7, 8))],
        {
            **{f"params/cell/i{gate}/kernel": matrix(calls=7) for gate in "ifgo"},
            **{f"params/cell/h{gate}/kernel": matrix(calls=7) for gate in "ifgo"},
            **{f"params/cell/h{gate}/bias": ["added"] for gate in "ifgo"},
        },
    ),
    "a loop that picks its layer": (
        lambda p, x: jax.lax.fori_loop(0, 12, lambda i, h: h @ p["w"][i], x),
        STACK,
        [X],
        {"w": matrix((0,), (1,), (2,))},
    ),
    "a loop of as many turns as it takes": (
        lambda p, x: jax.lax.while_loop(lambda h: h.sum() < 9, lambda h: h @ p["w"], x),
        kernel(8, 8),
        [X],
        {"w": matrix(calls=None)},
    ),
    "a Python loop over layers": (
        lambda p, x: p["w"][1] @ (p["w"][0] @ x.T),
        kernel(2, 8, 8),
        [X],
        {"w": matrix((0,), (2,), (1,), calls=Fraction(1, 2))},
    ),
    "a condition": (
        lambda p, x: jax.lax.cond(x.sum() > 0, lambda: x @ p["w"], lambda: x @ p["v"]),
        {"w": jnp.ones((8, 6)), "v": jnp.ones((8, 6))},
        [X],
        {"v": matrix(), "w": matrix()},
    ),
    "a condition that chooses a weight": (
        lambda p, x: x @ jax.lax.cond(x.sum() > 0, lambda: p["w"], lambda: p["v"]),
        {"w": jnp.ones((8, 6)), "v": jnp.ones((8, 6))},
        [X],
        {"v": ["one of several values"], "w": ["one of several values"]},
    ),
    "examples mapped": (lambda p, x: jax.vmap(lambda x: x @ p["w"])(x), W, [X], {"w": matrix()}),
    "weights mapped with their inputs": (
        lambda p, x: jax.vmap(lambda w, x: w @ x)(p["w"], x),
        kernel(5, 6, 8),
        [X],
        {"w": matrix((0,), (2,), (1,))},
    ),
    "weights mapped over one input": (
        lambda p, x: jax.vmap(lambda w: x @ w)(p["w"]),
        kernel(3, 8, 6),
        [X],
        {"w": matrix((), (1,), (0, 2))},
    ),
    "experts": (
        lambda p, x: jnp.einsum("ebd,edf->ebf", x, p["w"]),
        kernel(3, 8, 6),
        [jnp.ones((3, 5, 8))],
        {"w": matrix((0,), (1,), (2,))},
    ),
    "experts that tokens choose": (
        lambda p, x: jax.lax.ragged_dot(x, p["w"], jnp.array([2, 3, 0])),
        kernel(3, 8, 6),
        [X],
        {"w": matrix((0,), (1,), (2,))},
    ),
    "experts that are looked up": (
        lambda p, x, chosen: jnp.einsum("bd,bdf->bf", x, p["w"][chosen]),
        kernel(3, 8, 6),
        [X, jnp.zeros(5, int)],
        {"w": matrix((0,), (1,), (2,), calls=None)},
    ),
    "blocks": (
        lambda p, x: jnp.einsum("bgi,igo->bgo", x.reshape(5, 4, 2), p["w"].reshape(2, 4, 3)),
        kernel(2, 12),
        [X],
        {"w": matrix(groups=4)},
    ),
    "rows, one after another": (
        lambda p, x: jax.lax.map(lambda row: row @ x[0], p["w"]),
        kernel(6, 8),
        [X],
        {"w": matrix((), (1,), (0,))},
    ),
    "reshaped, cast and transposed": (
        lambda p, x: x @ p["w"].astype(jnp.bfloat16).reshape(3, 2, 2, 4).transpose(2, 3, 0, 1).reshape(8, 6),
        kernel(6, 8),
        [X],
        {"w": matrix((), (1,), (0,))},
    ),
    "heads in one matrix": (
        lambda p, x: jnp.einsum("bd,dhk->bhk", x, p["w"].reshape(8, 2, 3)),
        W,
        [X],
        {"w": matrix()},
    ),
    "halves of one matrix": (
        lambda p, x: [x @ half for half in jnp.split(p["w"], 2, axis=1)],
        W,
        [X],
        {"w": matrix(calls=Fraction(1, 2))},
    ),
    "rows put together again": (
        lambda p, x: x @ jax.lax.scan(lambda _, w: (None, w.astype(jnp.bfloat16)), None, p["w"])[1].reshape(8, 6),
        kernel(2, 4, 6),
        [X],
        {"w": matrix((), (0, 1), (2,))},
    ),
    "scaled by numbers": (lambda p, x: x @ (-p["w"] * x[0, 0] / 3), W, [X], {"w": matrix()}),
    "scaled by column": (
        lambda p, x: x @ (p["w"] * p["s"]),
        {**W, "s": jnp.ones(6)},
        [X],
        {"s": ["multiplied by values"], "w": matrix()},
    ),
    "a mask": (
        lambda p, x: x @ jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, (8, 6)), p["w"], 0),
        W,
        [X],
        {"w": matrix()},
    ),
    "layers taken apart": (
        lambda p, x: [x := jnp.tanh(x @ w) for w in jnp.unstack(p["w"], axis=1)][-1],
        kernel(8, 3, 8),
        [X],
        {"w": matrix((1,), (0,), (2,), calls=Fraction(1, 3))},
    ),
    "layers put together": (
        lambda p, x: jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, jnp.stack([p["w"], p["u"]]))[0],
        {"w": jnp.ones((8, 8)), "u": jnp.ones((8, 8))},
        [X],
        {"w": matrix(), "u": matrix()},
    ),
    "tiled": (lambda p, x: jnp.tile(x, 2) @ jnp.tile(p["w"], (2, 1)), W, [X], {"w": matrix()}),
    "tiled along a new axis": (lambda p, x: x @ jnp.tile(p["w"], (3, 1, 1)), W, [X], {"w": matrix()}),
    "multiplied and added up": (lambda p, x: (x[0][:, None] * p["w"]).sum(0), W, [X], {"w": ["multiplied by values"]}),
    "quantised": (
        lambda p, x: x @ jnp.round(jnp.clip(p["w"] / jnp.abs(p["w"]).max(), -1, 1) * 127),
        W,
        [X],
        {"w": ["reduced", *matrix()]},
    ),
    "normalised": (
        lambda p, x: x @ (p["g"] * p["w"] / jnp.linalg.norm(p["w"], axis=0)),
        {**W, "g": jnp.ones(6)},
        [X],
        {"g": ["multiplied by values"], "w": ["reduced", *matrix()]},
    ),
    "used twice": (lambda p, x: x @ p["w"] @ p["w"], kernel(8, 8), [X], {"w": matrix()}),
    "used transposed, too": (lambda p, x: x @ p["w"] @ p["w"].T, W, [X], {"w": [*matrix(), *matrix((), (1,), (0,))]}),
    "low rank beside a matrix": (
        lambda p, x: x @ p["w"] + (x @ p["a"]) @ p["b"],
        LORA,
        [X],
        {"w": matrix(), "a": matrix(), "b": matrix()},
    ),
    "low rank, merged": (
        lambda p, x: x @ (p["w"] + p["a"] @ p["b"]),
        LORA,
        [X],
        {"w": matrix(), "a": [CONTRACTED], "b": [CONTRACTED]},
    ),
    "a product of two leaves": (
        lambda p, x: x @ (p["a"] @ p["b"]),
        {"a": jnp.ones((8, 2)), "b": jnp.ones((2, 6))},
        [X],
        {"a": [CONTRACTED], "b": [CONTRACTED]},
    ),
    "latent queries": (
        lambda p, x: jax.vmap(lambda x: jnp.tanh(jnp.concatenate([p["q"], x[None]]) @ p["w"]))(x),
        {"q": jnp.ones((2, 8)), "w": jnp.ones((8, 6))},
        [X],
        {"q": ["joined with other values"], "w": matrix()},
    ),
    "an outer product": (lambda p, x: jnp.outer(x[0], p["w"]), kernel(3), [X], {"w": ["multiplied by values"]}),
    "a gradient of its own": (lambda p, x: own_gradient(x, p["w"]), W, [X], {"w": matrix()}),
    "a backward pass of its own": (lambda p, x: own_backward(x, p["w"]), W, [X], {"w": matrix()}),
    "as it is": (lambda p, x: p["w"].T, W, [X], {"w": ["given as a result"]}),
    "not at all": (lambda p, x: x, W, [X], {}),
    "several devices": (
        lambda p, x: jax.shard_map(
            lambda w, x: x @ w.reshape(4, 2, 3).reshape(8, 3),
            mesh=Mesh(jax.devices()[:2], "d"),
            in_specs=(PartitionSpec(None, "d"), PartitionSpec()),
            out_specs=PartitionSpec(None, "d"),
        )(p["w"], x),
        W,
        [X],
        {"w": matrix(calls=Fraction(1, 2))},
    ),
}
