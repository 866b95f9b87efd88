"""One adapter a framework: which one a model needs, and that each does what `Adapter` says."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from nnx_network import Net

import limpet
from limpet.leaves._adapters import ADAPTERS, NAMED_SELECTIONS, adapter_of, never_read, unboxed
from limpet.leaves._paths import leaves_by_path
from limpet.leaves.equinox import Equinox
from limpet.leaves.flax_nnx import FlaxNnx, FlaxNnxState
from limpet.leaves.rockpool import Rockpool
from limpet.leaves.tree import PlainTree, nested

TREE = {"body": {"kernel": jnp.ones((3, 2)), "steps": jnp.arange(2)}, "head": [jnp.ones(2), None]}


class Dense(linen.Module):
    """A Linen module: not a model itself, its variables are one."""

    @linen.compact
    def __call__(self, x):
        return linen.Dense(2)(x)


@pytest.fixture(scope="module")
def nnx_net():
    return Net(nnx.Rngs(0))


class Dropped(eqx.Module):
    """An Equinox module with leaves of every kind."""

    mlp: eqx.nn.MLP
    dropout: eqx.nn.Dropout

    def __init__(self):
        self.mlp, self.dropout = eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)), eqx.nn.Dropout(0.5)


@pytest.fixture(params=["Rockpool", "nnx", "tree", "Linen", "Equinox"])
def model(request, dynapse_net, nnx_net):
    if request.param == "Linen":
        return Dense().init(jax.random.key(0), jnp.ones((1, 3)))
    return {"Rockpool": dynapse_net, "nnx": nnx_net, "tree": TREE, "Equinox": Dropped()}[request.param]


def values_of(adapter, tree):
    """A tree's values as it hands them to a function that changes them."""
    seen = {}
    adapter.with_values(tree, lambda leaves: seen.update(leaves) or leaves)
    return seen


def test_each_model_has_its_adapter(dynapse_net, nnx_net):
    assert isinstance(adapter_of(dynapse_net), Rockpool)
    assert isinstance(adapter_of(nnx_net), FlaxNnx)
    assert isinstance(adapter_of(nnx.state(nnx_net)), FlaxNnxState)
    assert isinstance(adapter_of(Dropped()), Equinox)
    for tree in (TREE, dynapse_net.parameters(), jnp.ones(3), 1.0, None, []):
        assert type(adapter_of(tree)) is PlainTree
    assert isinstance(ADAPTERS[-1], PlainTree)
    assert NAMED_SELECTIONS == ("matrices", "dynapse-weights", "dynapse-frozen")


def test_leaves_have_paths_and_the_globbed_ones_are_among_them(model):
    adapter = adapter_of(model)
    leaves, globbed = adapter.leaves(model), adapter.globbed(model)
    assert globbed
    assert set(globbed) <= set(leaves)
    assert all(isinstance(path, str) for path in leaves)


def test_rules_select_among_the_arrays_of_an_equinox_module():
    model = Dropped()
    weights = [f"mlp/layers/{layer}/weight" for layer in (0, 1)]
    assert {"mlp/activation", "dropout/p"} <= set(adapter_of(model).leaves(model))
    assert limpet.Mismatch(limpet.prototype(model, ("*", True)), limpet.Gaussian(0.1)).paths == tuple(
        path for path in adapter_of(model).leaves(model) if path.endswith(("weight", "bias"))
    )
    hardware = limpet.Hardware(crossbar=limpet.Part("*/weight", limpet.Gaussian(0.1)))
    assert list(hardware.on(model).paths) == weights
    chip = hardware.on(model)(limpet.virtual_chip(0, 17), model)
    assert type(chip) is Dropped
    assert chip.mlp.activation is model.mlp.activation
    assert eqx.tree_equal(chip, limpet.freeze(model, hardware, seed=0, chip=17))


def test_a_prototype_has_the_paths_of_the_leaves(model):
    adapter = adapter_of(model)
    chosen = {path: index == 0 for index, path in enumerate(adapter.leaves(model))}
    assert leaves_by_path(adapter.prototype(model, chosen))[0] == chosen


def test_the_nominal_tree_has_every_leaf(model):
    adapter = adapter_of(model)
    tree = adapter.nominal(model)
    values = values_of(adapter_of(tree), tree)
    for path, leaf in adapter.leaves(model).items():
        assert np.array_equal(values[path], leaf)


def test_changed_values_are_new_and_all_others_the_same_objects(model):
    tree = adapter_of(model).nominal(model)
    adapter = adapter_of(tree)
    first, *others = (path for path, leaf in adapter.leaves(tree).items() if np.size(leaf))
    before = values_of(adapter, tree)
    changed = adapter.with_values(tree, lambda leaves: leaves | {first: leaves[first] + 1})
    after = values_of(adapter, changed)
    assert np.array_equal(after[first], before[first] + 1)
    assert all(after[path] is before[path] for path in others)
    assert np.array_equal(values_of(adapter, tree)[first], before[first])
    assert type(changed) is type(tree)


def test_a_frozen_model_is_a_model_of_its_own(model):
    adapter = adapter_of(model)
    path = next(iter(adapter.globbed(model)))
    before = np.array(adapter.leaves(model)[path])
    chip = adapter.frozen(model, lambda leaves: leaves | {path: leaves[path] * 2})
    assert isinstance(adapter_of(chip), type(adapter))
    assert np.array_equal(adapter.leaves(model)[path], before)
    # A Rockpool module remembers what its chip deviates from; the others hold the chip's values alone.
    remembered = before if isinstance(adapter, Rockpool) else before * 2
    assert np.array_equal(adapter.leaves(chip)[path], remembered)


def test_a_loaded_model_has_other_nominal_values(model):
    adapter = adapter_of(model)
    path = next(iter(adapter.globbed(model)))
    before = np.array(adapter.leaves(model)[path])
    loaded = adapter.loaded(model, {path: before + 1})
    assert isinstance(adapter_of(loaded), type(adapter))
    np.testing.assert_allclose(adapter.leaves(loaded)[path], before + 1, rtol=1e-6)  # Rockpool's were float64
    assert np.array_equal(adapter.leaves(model)[path], before)


def test_a_frozen_nnx_module_shares_no_state(nnx_net):
    chip = FlaxNnx().frozen(nnx_net, lambda leaves: leaves)
    mean = np.array(nnx_net.norm.mean[...])
    chip(jnp.ones((4, 6)))
    assert np.array_equal(nnx_net.norm.mean[...], mean)


# Parameters that belong to a model


def test_parameters_of_a_rockpool_network_are_completed(dynapse_net):
    adapter = Rockpool()
    params = {"0_LinearJax": {"weight": jnp.full((3, 4), 9.0)}}
    whole = adapter.completed(dynapse_net, params)
    assert np.array_equal(whole["0_LinearJax"]["weight"], params["0_LinearJax"]["weight"])
    assert whole["1_DynapSim"].keys() == limpet.attributes(dynapse_net)["1_DynapSim"].keys()
    stray = adapter.completed(dynapse_net, {"no": {"such": 1.0}})
    assert stray["no"] == {"such": 1.0}  # to be refused by the recipe, which names it


def test_other_parameters_are_whole_as_they_are(nnx_net):
    assert PlainTree().completed(TREE, TREE) is TREE
    assert FlaxNnx().completed(nnx_net, nnx_net) is nnx_net


@pytest.mark.parametrize("params", [lambda net: net, lambda net: jnp.ones(3), lambda net: None])
def test_what_is_no_parameters_of_a_rockpool_network(params, dynapse_net):
    with pytest.raises(limpet.LimpetError, match=r"got .*, but parameters are needed.*net\.parameters\(\)"):
        Rockpool().require_like(dynapse_net, params(dynapse_net))
    Rockpool().require_like(dynapse_net, dynapse_net.parameters())


@pytest.mark.parametrize("params", [nnx.state, lambda net: nnx.split(net)[1], lambda net: {"w": 1.0}])
def test_what_is_no_nnx_module(params, nnx_net):
    with pytest.raises(limpet.LimpetError, match=r"an nnx module is needed.*not nnx\.state\(model\) or nnx\.split"):
        FlaxNnx().require_like(nnx_net, params(nnx_net))
    FlaxNnx().require_like(nnx_net, nnx_net)


@pytest.mark.parametrize("params", [Dense(), jnp.tanh, jnp.ones(3)])
def test_what_is_no_tree(params):
    with pytest.raises(limpet.LimpetError, match=r"which is no tree of arrays: .*variables = model\.init"):
        PlainTree().require_like(TREE, params)
    PlainTree().require_like(TREE, TREE)


@pytest.mark.parametrize("model", ["Rockpool", "nnx", "tree"], indirect=True)
def test_a_whole_tree_lacks_nothing_that_was_selected(model):
    adapter = adapter_of(model)
    if isinstance(adapter, FlaxNnx):
        with pytest.raises(limpet.PrototypeError, match="the module has no nothing/here, which was selected"):
            adapter.require_selected(model, ["head/kernel", "nothing/here"])
        adapter.require_selected(model, ["head/kernel"])
    else:  # parts of a tree may be drawn
        adapter.require_selected(adapter.nominal(model), ["nothing/here"])


def test_a_rockpool_module_is_no_tree(dynapse_net):
    with pytest.raises(limpet.PrototypeError, match=r"got the module .*limpet\.attributes\(net\).*limpet\.freeze"):
        Rockpool().with_values(dynapse_net, lambda leaves: leaves)


# What a function writes, and what is never read


def test_what_a_function_writes_in_a_module_is_named(nnx_net):
    result, written = FlaxNnx().written_by(nnx_net, lambda net: net(jnp.ones((4, 6))).shape)
    assert result == (4, 3)
    assert {path.rpartition("/")[0] for path in written} >= {"norm", "dropout/rngs"}
    nnx_net.eval()
    assert FlaxNnx().written_by(nnx_net, lambda net: net(jnp.ones((4, 6))).shape)[1] == []
    nnx_net.train()
    assert PlainTree().written_by(TREE, lambda tree: 3) == (3, [])


def test_leaves_that_a_simulator_never_reads_are_known():
    assert never_read("1_DynapSim/If_nmda")
    assert not never_read("1_DynapSim/Itau_mem")
    assert not never_read("If_nmda/kernel")


def test_variables_are_unboxed(nnx_net):
    assert unboxed(nnx_net.gain) is nnx_net.gain.get_value()
    assert unboxed(3.0) == 3.0


def test_paths_become_nested_dicts():
    assert nested({"a/b/c": 1, "a/d": 2, "e": 3}) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    assert leaves_by_path(nested({"a/b": 1, "c": 2}))[0] == {"a/b": 1, "c": 2}
