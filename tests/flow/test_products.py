"""What a traced program does with leaves: which axes its products sum over, which count arrays, how often."""

import jax
import jax.numpy as jnp
import pytest
from leaf_uses import uses_in
from networks import CASES, W, X, kernel, matrix

import limpet
from limpet._jax import Function
from limpet.flow._probe import ProbeNotes
from limpet.flow._products import CONTRACTED, PRODUCT, uses_of
from limpet.leaves._adapters import adapter_of
from limpet.leaves._probed import probed
from limpet.leaves.rockpool import imported, quietly


def found(function, tree, *args):
    """What is made of each leaf, in order: of a product (stack, inputs, outputs, groups, calls), else in words."""
    uses = {}
    for use in uses_in(function, tree, *args):
        said = use.how
        if use.how == PRODUCT:
            layout = use.array.layout(use.leaf.shape)
            said = layout.stack, layout.inputs, layout.outputs, layout.groups, use.calls
            assert not use.unclear
        uses.setdefault(use.leaf.path, []).append(said)
    return {path: list(dict.fromkeys(of)) for path, of in uses.items()}


def products(function, tree, *args):
    """What is first contracted of each leaf."""
    uses = found(function, tree, *args)
    contracted = {
        path: [use for use in said if isinstance(use, tuple) or use == CONTRACTED] for path, said in uses.items()
    }
    return {path: said[0] for path, said in contracted.items() if said}


@pytest.mark.parametrize("case", CASES)
def test_uses_of_leaves(case):
    function, tree, args, expected = CASES[case]
    assert found(function, tree, *args) == expected


NOT_DIFFERENTIATED = ("a loop of as many turns as it takes", "not at all", "as it is", "several devices")


@pytest.mark.parametrize("case", [case for case in CASES if case not in NOT_DIFFERENTIATED])
def test_in_gradients_the_first_product_of_a_leaf_is_that_of_the_forward_pass(case):
    function, tree, args, _ = CASES[case]

    def gradient(tree, *args):
        leaves, structure = adapter_of(tree).flattened(tree)

        def loss(leaves):
            given = jax.tree.leaves(function(structure.unflatten(leaves.values()), *args))
            return sum(jnp.sum(value.astype(float) ** 2) for value in given)

        return jax.grad(loss)(leaves)

    assert products(gradient, tree, *args) == products(function, tree, *args)


def test_axes_of_which_a_part_counts_something_else_are_said_to_be_unclear():
    """A matrix that is divided into other rows and columns than its own; one that is picked apart along its inputs."""
    (use,) = uses_in(lambda p, x: x @ p["w"].reshape(4, 12), kernel(8, 6), jnp.ones((5, 4)))
    assert (use.unclear, use.array.outputs) == ({0}, (1,))
    (use,) = uses_in(lambda p, x: jnp.einsum("bgi,gio->bgo", x, p["w"].reshape(2, 4, 6)), W, jnp.ones((5, 2, 4)))
    assert (use.unclear, use.array.outputs) == ({0}, (1,))


def test_what_is_drawn_several_times_has_the_axes_of_the_leaf():
    """Draws that `jax.vmap` makes, along whatever axis, have one axis more."""
    for axis in (0, 1, 2):

        def drawn(tree, keys, axis=axis):
            def one(key):
                tree_of = {"w": tree["w"] + jax.random.normal(key, (8, 6))}
                return probed(tree_of, ["w"], ProbeNotes())["w"]

            many = jax.vmap(one, out_axes=axis)(keys)
            return jax.vmap(lambda w: X @ w, in_axes=axis)(many)

        traced = Function(jax.make_jaxpr(drawn)(W, jax.random.split(jax.random.key(0), 3)))
        (use,) = uses_of(traced)
        assert use.leaf[:2] == ("w", (8, 6))
        assert (use.array.stack, use.array.outputs, use.calls) == ((), (1,), 1)


def test_a_rockpool_network_of_input_and_recurrent_weights():
    with quietly():
        linear, dynapse = imported("rockpool.nn.modules"), imported("rockpool.devices.dynapse")
        net = imported("rockpool.nn.combinators").Sequential(
            linear.LinearJax((3, 4)), dynapse.DynapSim((4, 4), has_rec=True)
        )
    uses = found(lambda tree, x: net.set_attributes(tree)(x)[0], limpet.attributes(net), jnp.ones((1, 7, 3)))
    assert uses.pop("0_LinearJax/weight") == matrix()
    assert uses.pop("1_DynapSim/w_rec") == matrix(calls=7)
    assert uses.pop("1_DynapSim/Iw_ahp") == ["multiplied by values"]
    assert not any(isinstance(use, tuple) for said in uses.values() for use in said)
