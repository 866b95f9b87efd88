"""Analog products in networks written in many ways: the ideal product to the last bit, converters' gains by column."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import CASES

import limpet
from limpet.analog._mark import Chip
from limpet.analog._tables import tables_of
from limpet.draws._keys import leaf_key, path_hash
from limpet.leaves._adapters import adapter_of
from limpet.results._condition import UNCHANGED

CHIP = limpet.virtual_chip(seed=0, chip=3)
REFUSED = {
    "layers put together": "joined",
    "experts that are looked up": "picks",
    "scaled by column": "mul",
    "a mask": "select_n",
    "quantised": "round",
    "normalised": "mul, div",
    "low rank, merged": "computed with",
    "a gradient of its own": "derivative of its own",
    "a backward pass of its own": "derivative of its own",
}
TRANSPOSED = ("used transposed, too", "an embedding that gives the outputs, too")
"""Driven from its columns, an array has other converters."""
COARSE = ("nnx.Linear in bfloat16", "reshaped, cast and transposed", "rows put together again")
"""Their weights are rounded to bfloat16."""
NOT_DIFFERENTIATED = ("a loop of as many turns as it takes",)


def contracted(case):
    """The arrays of each leaf that a product contracts, by path, as its first product has them."""
    *_, expected = CASES[case]
    found = {path: [use for use in said if isinstance(use, tuple)] for path, said in expected.items()}
    arrays = {
        path: limpet.Array(stack=uses[0][0], outputs=uses[0][2], groups=uses[0][3])
        for path, uses in found.items()
        if uses
    }
    return arrays


ANALOG = [case for case in CASES if contracted(case) and case not in REFUSED]


def network(case, product):
    """The network as a function of its real leaves, plain and with products, the leaves, and its recipe."""
    function, tree, args, _ = CASES[case]
    arrays = contracted(case)
    shapes, structure = adapter_of(tree).flattened(tree)
    real = [path for path, leaf in shapes.items() if jnp.issubdtype(leaf.dtype, jnp.floating)]
    leaves = {
        path: 0.5 * jax.random.normal(jax.random.key(place), shapes[path].shape, shapes[path].dtype)
        for place, path in enumerate(real)
    }
    args = [
        jax.random.normal(jax.random.key(99), arg.shape) if jnp.issubdtype(arg.dtype, jnp.floating) else arg
        for arg in args
    ]
    part = limpet.Part(dict.fromkeys(arrays, True), limpet.deviations.Exact(), array=arrays, product=product)
    recipe = limpet.Hardware(weights=part).on(structure.unflatten({**shapes, **leaves}.values()))

    def outputs(leaves, draw):
        model = structure.unflatten({**shapes, **leaves}.values())
        given = jax.tree.leaves(function(recipe(CHIP, model) if draw else model, *args))
        return sum(jnp.sum(jnp.sin(value.astype(float))) for value in given), given

    def plain(leaves):
        return outputs(leaves, draw=False)

    return plain, limpet.products(lambda leaves: outputs(leaves, draw=True)), leaves, recipe


def computed(case, function, leaves):
    """Outputs, and gradients where there are any."""
    if case in NOT_DIFFERENTIATED:
        return jax.jit(function)(leaves)
    return jax.jit(jax.value_and_grad(function, has_aux=True))(leaves)


LISTED = (
    "nnx.Linear in bfloat16",
    "nnx.Conv in groups along one axis",
    "convolutions that are mapped with their inputs",
    "attention",
    "an embedding that gives the outputs, too",
    "a Linen stack with remat",
    "an nnx stack",
    "Linen's LSTM, which joins kernels",
    "a loop that picks its layer",
    "a loop of as many turns as it takes",
    "a condition",
    "weights mapped over one input",
    "experts that tokens choose",
    "reshaped, cast and transposed",
    "used transposed, too",
    "low rank beside a matrix",
    "several devices",
)
"""One of each kind: an ideal product is computed by the operation that stood there."""


@pytest.mark.long
@pytest.mark.parametrize("case", LISTED)
def test_the_ideal_product_is_the_plain_one_to_the_last_bit_in_outputs_and_gradients(case):
    plain, analog, leaves, _ = network(case, limpet.Product())
    jax.tree.map(np.testing.assert_array_equal, computed(case, analog, leaves), computed(case, plain, leaves))


@pytest.mark.parametrize("case", [case for case in ANALOG if case != "experts that tokens choose"])
def test_a_gain_of_a_column_is_that_of_the_leaf_s_column_however_the_network_gets_at_it(case):
    """The same network, whose weights hold the gains of their columns, gives the same outputs."""
    product = limpet.Product(outputs=limpet.Converter(gain=limpet.LogNormal(0.5)))
    plain, analog, leaves, recipe = network(case, product)
    held = dict(leaves)
    for path in recipe.paths:
        layout = recipe.rules[path].array.layout(leaves[path].shape)
        key = leaf_key(CHIP, path_hash(path))
        chip = Chip(leaves[path], key, CHIP, key, UNCHANGED.checked())
        gains = tables_of(chip, product, layout, "").gain
        assert gains is not None
        of_columns = gains[0].reshape(layout.matrices, 1, layout.columns)
        of_values = jnp.broadcast_to(of_columns, (layout.matrices, layout.rows, layout.columns))
        held[path] = (leaves[path] * layout.leaf(of_values.reshape(layout.block_shape))).astype(leaves[path].dtype)
    (_, found), (_, expected) = jax.jit(analog)(leaves), jax.jit(plain)(held)
    for one, other in zip(found, expected, strict=True):
        tolerance = (0.03 if case in COARSE else 1e-4) * max(1, float(jnp.abs(other.astype(float)).max()))
        close = np.allclose(one.astype(float), other.astype(float), rtol=0, atol=tolerance)
        assert close == (case not in TRANSPOSED)


@pytest.mark.parametrize("case", REFUSED)
def test_products_that_no_array_computes_are_refused(case):
    _, analog, leaves, _ = network(case, limpet.Product())
    with pytest.raises(limpet.LimpetError, match=REFUSED[case]):
        jax.eval_shape(analog, leaves)
