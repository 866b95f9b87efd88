"""Equality with Rockpool, the oracle: same selections, same values."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rockpool.devices import dynapse as oracle
from rockpool.devices.dynapse import DynapSim
from rockpool.nn.combinators import FFwdStack, Residual, Sequential
from rockpool.nn.modules import LIF, ExpSynJax, InstantJax, LIFJax, LIFODEJax, LinearJax, RateJax
from rockpool.transform.mismatch import mismatch_generator as oracle_generator

import limpet
from limpet.leaves._paths import leaves_by_path
from limpet.leaves.rockpool import dynapse_limits

MODULES = {
    "bare DynapSim": lambda: DynapSim((2, 2), has_rec=True),
    "feed-forward DynapSim": lambda: DynapSim(2),
    "linear": lambda: LinearJax((2, 3)),
    "linear without bias": lambda: LinearJax((2, 3), has_bias=False),
    "nested": lambda: Sequential(Sequential(LinearJax((2, 2)), DynapSim((2, 2), has_rec=True)), LinearJax((2, 1))),
    "residual": lambda: Residual(LinearJax((2, 2)), DynapSim((2, 2))),
    "stack": lambda: FFwdStack(LIFJax((2, 2)), ExpSynJax(2)),
    "identical twice": lambda: Sequential(DynapSim((2, 2)), DynapSim((2, 2))),
    "LIF": lambda: LIFJax((2, 2), has_rec=True),
    "synapse": lambda: ExpSynJax(2),
    "LIF ODE": lambda: LIFODEJax((2, 2)),
}


class OwnDynapSim(DynapSim):
    """A user's subclass, which Rockpool's prototypes do not recognise."""


@pytest.mark.parametrize("name", MODULES)
def test_prototypes_equal_rockpools(name):
    module = MODULES[name]()
    assert limpet.frozen_mismatch_prototype(module) == oracle.frozen_mismatch_prototype(module)
    assert limpet.dynamic_mismatch_prototype(module) == oracle.dynamic_mismatch_prototype(module)


def test_the_frozen_prototype_of_a_dynapsim_has_24_leaves():
    chosen = limpet.frozen_mismatch_prototype(DynapSim((2, 2), has_rec=True))
    assert sum(chosen.values()) == 24
    assert not any(chosen[name] for name in ("Iscale", "dt", "w_rec"))


def test_subclasses_count_as_their_base():
    base, own = DynapSim((2, 2), has_rec=True), OwnDynapSim((2, 2), has_rec=True)
    assert limpet.frozen_mismatch_prototype(own) == limpet.frozen_mismatch_prototype(base)
    assert limpet.dynamic_mismatch_prototype(own)["w_rec"]
    assert not any(oracle.frozen_mismatch_prototype(own).values())  # the trap


@pytest.mark.parametrize("module", [RateJax((2, 2)), InstantJax(2), Sequential(RateJax(2), LinearJax((2, 2)))])
def test_modules_with_functions_work(module):
    with pytest.raises(TypeError):
        oracle.frozen_mismatch_prototype(module)
    assert not any(jax.tree.leaves(limpet.frozen_mismatch_prototype(module)))
    assert set(limpet.attributes(module)) == set(module.parameters()) | set(module.simulation_parameters())


def test_none_parameters_work():
    module = LinearJax((2, 2), has_bias=True)
    module.bias = None
    assert limpet.dynamic_mismatch_prototype(module) == {"weight": True, "bias": False}
    mismatch = limpet.Mismatch(limpet.dynamic_mismatch_prototype(module), limpet.Gaussian(0.1))
    assert mismatch(jax.random.key(0), limpet.attributes(module))["bias"] is None


def test_an_empty_prototype_is_refused_before_it_can_train():
    with pytest.raises(limpet.PrototypeError, match=r"nothing is selected.*w_rec"):
        limpet.Mismatch(limpet.dynamic_mismatch_prototype(MODULES["LIF"]()), limpet.Gaussian(0.1))


def test_a_prototype_of_another_network_is_refused(dynapse_net):
    other = limpet.dynamic_mismatch_prototype(Sequential(LinearJax((3, 4)), LIFJax(4), DynapSim((4, 4))))
    with pytest.raises(limpet.PrototypeError, match="1_DynapSim/w_rec"):
        limpet.Mismatch(other, limpet.Gaussian(0.1))(jax.random.key(0), dynapse_net.parameters())
    with pytest.raises(limpet.PrototypeError, match="build the prototype from this module"):
        limpet.mismatch_generator(other)(dynapse_net, jax.random.PRNGKey(0))


def test_attributes_are_what_set_attributes_takes(dynapse_net):
    tree = limpet.attributes(dynapse_net)
    assert set(tree["1_DynapSim"]) == {*dynapse_net.parameters()["1_DynapSim"]} | {
        *dynapse_net.simulation_parameters()["1_DynapSim"]
    }
    again = limpet.attributes(dynapse_net.set_attributes(tree))
    assert jax.tree.all(jax.tree.map(np.array_equal, tree, again))


def test_only_jax_modules():
    with pytest.raises(limpet.PrototypeError, match="LIF is a Rockpool module without JAX"):
        limpet.attributes(LIF(2))
    with pytest.raises(limpet.PrototypeError, match="expected a Rockpool JAX module, got dict"):
        limpet.attributes({})


@pytest.mark.parametrize("key", [jax.random.PRNGKey(5), jax.random.key(6)])
@pytest.mark.parametrize("kind", ["frozen", "dynamic"])
def test_the_generator_is_rockpools_bit_for_bit_under_jit(dynapse_net, kind, key):
    chosen = getattr(limpet, f"{kind}_mismatch_prototype")(dynapse_net)
    own, theirs = limpet.mismatch_generator(chosen, 0.2, 2.0), oracle_generator(chosen, 0.2, 2.0)
    expected = jax.jit(lambda key: theirs(dynapse_net, key))(key)
    found = jax.jit(lambda key: own(dynapse_net, key))(key)
    assert jax.tree.structure(expected) == jax.tree.structure(found)
    assert jax.tree.all(jax.tree.map(np.array_equal, expected, found))
    eager = own(dynapse_net, key)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.allclose(a, b, rtol=3e-7, atol=0)), expected, eager))


def test_the_generator_refuses_what_rockpools_accepts(dynapse_net):
    with pytest.raises(limpet.StrengthError, match="percent_deviation = nan"):
        limpet.mismatch_generator(limpet.dynamic_mismatch_prototype(dynapse_net), float("nan"))


def test_limits_are_those_of_rockpools_bias_generator(dynapse_net):
    """The four dendrites of a synapse have currents of one range; the simulator's floor is the leakage Io."""
    from rockpool.devices.dynapse.lookup import paramgen_se2, scale_factor_se2, sim2device_se2

    generated = {kind: np.array([*table.values()]) for kind, table in paramgen_se2.items()}
    leakage = float(limpet.attributes(dynapse_net)["1_DynapSim"]["Io"][0])
    limits = dynapse_limits(dynapse_net)
    for path, (low, high) in limits.items():
        name = path.removeprefix("1_DynapSim/")
        if not name.startswith("I") or name == "Io":
            assert (low, high) == (0.0, None)
            continue
        for dendrite in ("ampa", "gaba", "nmda", "shunt") if name.endswith("_syn") else (None,):
            device = sim2device_se2[name.replace("syn", dendrite) if dendrite else name]
            currents = generated[device[-1]] * scale_factor_se2[device]
            floor = leakage if name.startswith(("Itau", "Igain")) else 0.0
            np.testing.assert_allclose([low, high], [max(currents.min(), floor), currents.max()], rtol=1e-4)
    frozen, _ = leaves_by_path(limpet.frozen_mismatch_prototype(dynapse_net))
    assert set(limits) == {path for path, chosen in frozen.items() if chosen}


def test_only_a_dynapsim_has_its_limits():
    with pytest.raises(limpet.PrototypeError, match="LinearJax holds no DynapSim"):
        limpet.Hardware(w=limpet.Part("weight", limpet.Gaussian(0.1), limpet.Limits(table="dynapse"))).on(
            LinearJax((2, 2))
        )


def test_where_rockpool_is_missing_the_line_to_install_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "rockpool", None)
    for module in ("rockpool", "rockpool.no_such_module"):
        with pytest.raises(limpet.LimpetError, match=r"python -m pip install 'limpet\[rockpool\]'"):
            limpet.rockpool.imported(module)


def test_the_four_names_of_the_reference_stand_in_limpet_rockpool_as_well():
    for name in ("attributes", "dynamic_mismatch_prototype", "frozen_mismatch_prototype", "mismatch_generator"):
        assert getattr(limpet.rockpool, name) is getattr(limpet, name)


@pytest.mark.parametrize("neurons", [3, 7])
def test_one_value_for_a_whole_layer_is_named_where_it_is_selected(neurons):
    """All neurons would deviate alike, as those of no chip do."""
    net = Sequential(LinearJax((2, neurons)), LIFJax((neurons, neurons), tau_mem=0.02))
    hardware = limpet.Hardware(taus=limpet.Part({"*/tau_mem": True}, limpet.Gaussian(0.1)))
    message = rf"1_LIFJax/tau_mem \(one value for {neurons} neurons\).*such as tau_mem=jnp.full\({neurons}, value\)"
    with pytest.warns(UserWarning, match=message):
        hardware.on(net)
    with pytest.warns(UserWarning, match=message):
        limpet.prototype(net, ("*/tau_mem", True))
    each = Sequential(LinearJax((2, neurons)), LIFJax((neurons, neurons), tau_mem=jnp.full(neurons, 0.02)))
    hardware.on(each)  # warnings are errors
    limpet.prototype(net, ("*/weight", True))
    limpet.prototype(Sequential(LinearJax((2, 1)), LIFJax((1, 1), tau_mem=0.02)), ("*/tau_mem", True))
