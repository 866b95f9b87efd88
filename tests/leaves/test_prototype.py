"""Selection by path globs."""

import jax
import jax.numpy as jnp
import pytest

import limpet

PARAMS = {
    "Dense_0": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)},
    "head": {"kernel": jnp.ones(2), "steps": jnp.arange(2), "key": jax.random.key(0)},
}


def test_last_match_wins():
    chosen = limpet.prototype(PARAMS, ("*/kernel", True), ("head/*", False))
    assert chosen == {
        "Dense_0": {"bias": False, "kernel": True},
        "head": {"kernel": False, "key": False, "steps": False},
    }
    assert limpet.prototype(PARAMS, ("head/*", False), ("*/kernel", True))["head"]["kernel"]


def test_shapes_without_values_suffice():
    shapes = jax.eval_shape(lambda: {"w": jnp.ones(3), "n": jnp.arange(3)})
    assert limpet.prototype(shapes, ("w", True)) == {"n": False, "w": True}


def test_a_rockpool_module_stands_for_its_attributes(dynapse_net):
    chosen = limpet.prototype(dynapse_net, ("*/w_rec", True))
    assert chosen["1_DynapSim"]["w_rec"] is True
    assert chosen["1_DynapSim"]["Io"] is False


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [("*/kernl", True)],
            r"rule \('\*/kernl', True\) matches no leaf; the paths are: Dense_0/bias, Dense_0/kernel",
        ),
        ([("*/KERNEL", True)], "matches no leaf"),
        ([], "nothing is selected.*Dense_0/bias"),
        ([("*", False)], "nothing is selected"),
        ([("*", True)], r"values can deviate: head/key \(key<fry>\), head/steps \(int32\); .*\('head/key', False\)"),
        ([("head/steps", True)], r"can deviate: head/steps \(int32\)"),
        ([("*/kernel", 1)], "a rule is a pair of a path glob and a bool"),
        (["*/kernel"], "a rule is a pair"),
    ],
)
def test_selections_that_cannot_be_meant(rules, message):
    with pytest.raises(limpet.PrototypeError, match=message):
        limpet.prototype(PARAMS, *rules)


class Network:
    """Of a framework that JAX knows nothing of."""

    def __repr__(self):
        return "Network()"


@pytest.mark.parametrize(
    ("tree", "named"),
    [(Network(), r"Network\(\)"), ({}, r"\{\}"), (None, "None"), (3, "3"), ({"a": [], "b": None}, "{'a': ")],
)
def test_what_has_no_leaves_is_named(tree, named, tmp_path):
    limpet.save_parameters(tmp_path / "held.npz", {"w": jnp.ones(2)})
    hardware = limpet.Hardware(weights=limpet.Part("*", limpet.Gaussian(0.1)))
    for select in (
        lambda: limpet.prototype(tree, ("*", True)),
        lambda: limpet.prototype(tree),
        lambda: hardware.on(tree),
        lambda: limpet.Hardware(weights=limpet.Part("matrices", limpet.Gaussian(0.1))).on(tree),
        lambda: limpet.robustness_curve(lambda tree, _: 1.0, tree, hardware, scales=[1]),
        lambda: limpet.MismatchCallback(tree, hardware),
        lambda: limpet.save_parameters(tmp_path / "saved.npz", tree),
        lambda: limpet.load_parameters(tree, tmp_path / "held.npz"),
    ):
        with pytest.raises(limpet.LimpetError, match=f"{named}.* has no leaves: give a tree of arrays"):
            select()


def test_functions_and_none_are_no_values():
    tree = {"w": 1.0, "activation": jnp.tanh, "missing": None}
    assert limpet.prototype(tree, ("w", True)) == {"w": True, "activation": False, "missing": None}
    with pytest.raises(limpet.PrototypeError, match="can deviate: activation"):
        limpet.prototype(tree, ("activation", True))
