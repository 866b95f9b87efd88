"""Several layers of neurons on DYNAP-SE2, beside Rockpool's mapper and its simulation of what it merges."""

import logging
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.dynapse._mapping import _core_map, mapped

with warnings.catch_warnings():  # Rockpool reports every back end that is not installed
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from rockpool.devices.dynapse import DynapSim, dynapsim_net_from_spec, mapper
    from rockpool.devices.dynapse.quantization import WeightHandler
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LinearJax
logging.disable(logging.NOTSET)


def weights(inputs, neurons, bias=False):
    random = np.random.default_rng(inputs + 10 * neurons)
    return LinearJax((inputs, neurons), 3 * random.random((inputs, neurons)) - 0.8, has_bias=bias)


def neurons(count, recurrent=False, **options):
    random = np.random.default_rng(count)
    own = {"has_rec": True, "w_rec": random.normal(size=(count, count))} if recurrent else {}
    return DynapSim((count, count), **own, **options)


def own_currents(count, scale=1.0):
    return {"Itau_mem": np.random.default_rng(count).uniform(4e-12, 6e-12, count).astype(np.float32) * scale}


@cache
def both():
    return Sequential(weights(2, 3), neurons(3, True, **own_currents(3)), weights(3, 4), neurons(4, True, Ispkthr=5e-8))


@cache
def first():
    return Sequential(neurons(3, True), weights(3, 4), neurons(4))


@cache
def second():
    return Sequential(weights(2, 3), neurons(3), weights(3, 3), neurons(3, True, **own_currents(3, 10.0)))


@cache
def three():
    return Sequential(
        weights(2, 3),
        neurons(3, True),
        weights(3, 4),
        neurons(4, Ispkthr=5e-8),
        weights(4, 2),
        neurons(2, True, Ispkthr=2e-8),
    )


@cache
def deployed():
    return limpet.dynapse.deploy(both())


@pytest.mark.parametrize("net", [both, second, three])
def test_weights_stand_where_rockpool_s_mapper_puts_them(net):
    theirs: Any = mapper(net().as_graph())
    ours = mapped(net(), None)
    np.testing.assert_array_equal(ours.matrix[: ours.inputs], theirs["weights_in"])
    np.testing.assert_array_equal(ours.matrix[ours.inputs :], theirs["weights_rec"])
    assert ours.scale == theirs["Iscale"]
    for name, values in ours.trained_currents.items():
        np.testing.assert_array_equal(values, theirs["unclustered"][name])


def test_currents_of_a_core_are_those_of_rockpool_s_mapper():
    theirs: Any = mapper(second().as_graph(), n_cluster=2)
    ours = mapped(second(), 2)
    assert np.array_equal(ours.core_map, theirs["core_map"])
    for name, values in ours.currents.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-6)


def layer_by_layer(tree, net, raster):
    """Spikes and synaptic currents of each layer, where each link takes one time step."""
    spikes = raster
    for number, layer in enumerate(net.modules().values()):
        if isinstance(layer, LinearJax):
            spikes = spikes @ tree[f"{number}_LinearJax"]["weight"]
            continue
        spikes, _, recorded = layer.set_attributes(tree[f"{number}_DynapSim"]).reset_state()(spikes, record=True)
        yield recorded
        spikes = jnp.pad(spikes, ((0, 0), (1, 0), (0, 0)))[:, :-1]


def restored(spec, end):
    """The weights that Rockpool makes of masks, signs and branch currents, or None where there are none."""
    if spec[f"weights_{end}"] is None:
        return None
    by_core = [np.array(branches) for branches in zip(*(spec[f"Iw_{bit}"] for bit in range(4)), strict=True)]
    held = zip(by_core, spec[f"weights_{end}"], spec[f"sign_{end}"], strict=True)
    return sum(WeightHandler.restore_weight_matrix(4, *of_core) for of_core in held) / spec["Iscale"]


@pytest.mark.parametrize(("net", "inputs"), [(first, 3), (three, 2)])
def test_rockpool_s_simulation_of_the_specification_is_the_deployed_network_one_step_later_at_each_layer(net, inputs):
    deployment = limpet.dynapse.deploy(net())
    spec, tree = deployment.specification(), deployment.tree
    merged = {f"weights_{end}": restored(spec, end) for end in ("in", "rec")}
    theirs = dynapsim_net_from_spec(**{name: value for name, value in spec.items() if name[:4] != "sign"} | merged)
    # Rockpool reads Iw_ahp and does not hand it on.
    given = np.array(spec["Iw_ahp"], np.float32)[spec["core_map"]]
    chain = merged["weights_in"] is not None
    theirs = theirs.set_attributes({"1_DynapSim": {"Iw_ahp": given}} if chain else {"Iw_ahp": given})
    # Where there are no weights of inputs, the first layer's neurons are driven by hand.
    raster = 2 * jnp.float32(np.random.default_rng(1).random((1, 300, inputs)) < 0.6)
    wide = raster if chain else jnp.pad(raster, ((0, 0), (0, 0), (0, len(given) - inputs)))

    @jax.jit
    def simulated(raster, wide):
        recorded = theirs.reset_state()(wide, record=True)[2]
        return recorded["1_DynapSim"] if chain else recorded, list(layer_by_layer(tree, net(), raster))

    recorded, layers = simulated(raster, wide)
    start = 0
    for layer in layers:
        own = slice(start, start + layer["spikes"].shape[-1])
        assert layer["spikes"].sum() > 3
        np.testing.assert_array_equal(recorded["spikes"][..., own], layer["spikes"])
        np.testing.assert_allclose(recorded["isyn"][..., own], layer["isyn"], rtol=2e-4)
        start = own.stop
    assert start == len(spec["core_map"])


def test_the_deployed_network_has_the_layers_of_the_trained_one():
    assert jax.tree.map(jnp.shape, limpet.attributes(deployed().net)) == jax.tree.map(
        jnp.shape, limpet.attributes(both())
    )
    assert deployed().core_maps == {"1_DynapSim": (0, 0, 0), "3_DynapSim": (1, 1, 1, 1)}
    assert (
        "7 neurons with 2 inputs: the network fits on DYNAP-SE2 (2 cores, 1_DynapSim on 0, 3_DynapSim on 1, at most"
        in str(deployed().report)
    )
    for layer, threshold in (("1_DynapSim", 1e-7), ("3_DynapSim", 5e-8)):
        np.testing.assert_allclose(deployed().tree[layer]["Ispkthr"], threshold, rtol=0.02)
    w_rec, given = both().attributes_named("w_rec"), deployed().tree
    for layer in ("1_DynapSim", "3_DynapSim"):
        np.testing.assert_allclose(given[layer]["w_rec"], w_rec[layer]["w_rec"], atol=0.3)


@pytest.mark.parametrize(
    ("sizes", "cores", "map_of"),
    [
        ((3, 4), None, "0001111"),
        ((2, 4), 1, "000000"),
        ((2, 4), 3, "001122"),
        ((6, 2), 4, "00112233"),
        ((2, 2, 2, 2), 2, "00001111"),
        ((2, 2, 2, 2, 2), None, "0" * 10),
        ((300, 2), None, "0" * 150 + "1" * 150 + "22"),
        ((300, 300, 300), None, "0" * 225 + "1" * 225 + "2" * 225 + "3" * 225),
    ],
)
def test_each_layer_has_cores_of_its_own_where_there_are_enough(sizes, cores, map_of):
    assert "".join(map(str, _core_map(sizes, cores))) == map_of


def test_pruning_counts_what_a_neuron_hears_of_all_layers():
    deployment = limpet.dynapse.deploy(both(), prune=3)
    held = deployment.tree["2_LinearJax"]["weight"], deployment.tree["3_DynapSim"]["w_rec"]
    trained = np.concatenate([both().modules()["2_LinearJax"].weight, both().modules()["3_DynapSim"].w_rec])
    for neuron in range(4):
        kept = np.flatnonzero(np.concatenate(held)[:, neuron])
        assert set(kept) == set(np.argsort(-np.abs(trained[:, neuron]))[:3])
    assert deployment.report.fan_in == 3


WEIGHTS = limpet.Hardware(weights=limpet.Part("dynapse-weights", limpet.Gaussian(0.1)))


def test_mismatch_falls_on_the_branches_of_the_core_that_layers_share():
    net = Sequential(weights(2, 3), neurons(3, True), weights(3, 4), neurons(4))
    deployment = limpet.dynapse.deploy(net, cores=1)
    recipe = deployment.hardware(WEIGHTS, spread=0.0, core_spread=0.2).on(deployment.net)
    seen = jax.jit(lambda tree, scale: recipe(limpet.virtual_chip(seed=0, chip=3), tree, scale))
    nominal, chip = seen(deployment.tree, 0.0), seen(deployment.tree, 1.0)
    changes = []
    for path in ("0_LinearJax/weight", "1_DynapSim/w_rec", "2_LinearJax/weight"):
        layer, leaf = path.split("/")
        held, moved = np.asarray(deployment.tree[layer][leaf]), np.asarray(chip[layer][leaf])
        np.testing.assert_array_equal(nominal[layer][leaf], held)
        # What a core has in common: weights of one size change by one factor, in whatever leaf they stand.
        changes.append({round(abs(float(a)), 5): float(b / a) for a, b in zip(held.flat, moved.flat, strict=True) if a})
    inputs, *others = changes
    for other in others:
        alike = set(inputs) & set(other)
        assert len(alike) >= 2
        assert all(inputs[size] == pytest.approx(other[size], rel=1e-5) for size in alike)


def test_each_layer_s_weights_have_the_branch_currents_of_its_own_core():
    parts = deployed().hardware(WEIGHTS).parts
    assert {name: ([path for path, _ in part.leaves], part.deviation.cores) for name, part in parts.items()} == {
        "weights-1_DynapSim": (["0_LinearJax/weight", "1_DynapSim/w_rec"], (0, 0, 0)),
        "weights-3_DynapSim": (["2_LinearJax/weight", "3_DynapSim/w_rec"], (1, 1, 1, 1)),
    }


def test_the_specification_is_built_into_a_configuration(samna_s_classes):
    built = deployed().configuration()
    first, second = built["config"].chips[0].cores[:2]
    # Row by row: the inputs, the first layer, the second.
    assert len(built["input_channel_map"]) == 2
    for core, count in ((first, 5), (second, 7)):
        heard = [sum(any(synapse.weight) for synapse in neuron.synapses) for neuron in core.neurons]
        assert 0 < max(heard) <= count


def binary(weights):
    return np.abs(weights).max() / 15 * 2.0 ** np.arange(4)


class Largest:
    """Four branches alike, of the largest weight."""

    def __call__(self, weights):
        return [float(np.abs(weights).max()) / 4] * 4


@pytest.mark.parametrize("quantizer", [binary, Largest()])
def test_a_function_quantises_the_weights_of_each_core(quantizer):
    report = limpet.dynapse.deploy(both(), quantizer=quantizer).report
    matrix = mapped(both(), None).matrix
    for core, own in enumerate((matrix[:, :3], matrix[:, 3:])):
        wanted = [current.wanted for current in report.currents if current.core == core and current.name[:3] == "Iw_"]
        np.testing.assert_allclose(wanted[1:], np.asarray(quantizer(own)) * 1e-8, rtol=1e-6)
    assert report.quantizer == getattr(quantizer, "__name__", "Largest")
    least = deployed().report.stages[-2].weight_error
    assert 0 < least < report.stages[-2].weight_error < 0.5


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (
            [1.0, 2.0],
            r"quantizer <lambda>, core 0: allowed are weights \(not amperes\), finite and >= 0, of shape \(4,\)",
        ),
        (None, "core 0: allowed are weights .*; got None"),
        ("four", "core 0: allowed are weights .*; got 'four'"),
        ([1.0, 2.0, np.nan, 3.0], "core 0: allowed are weights"),
        ([1.0, 2.0, -4.0, 3.0], r"core 0: allowed are weights .*; got \[1.0, 2.0, -4.0, 3.0\]"),
        (np.full(4, 1e-8), "core 0: the currents of a core add up to 4e-08, and its largest weight is .*not amperes"),
        (np.zeros(4), "core 0: the currents of a core add up to 0, and"),
    ],
)
def test_what_a_quantiser_gives_is_checked(gives, message):
    with pytest.raises(limpet.LimpetError, match=message) as error:
        limpet.dynapse.deploy(both(), quantizer=lambda weights: gives)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", [np.ones((2, 4)), np.full((2, 4), 1e-14)])
def test_branch_currents_in_another_unit_are_refused(given):
    with pytest.raises(limpet.LimpetError, match="branch_currents: the currents of a core add up to .* give amperes"):
        limpet.dynapse.deploy(both(), branch_currents=given)


def chain(layers: Callable[[], Any]) -> Callable[[], object]:
    """Deploys layers that are made when they are asked for, because Rockpool's take long to make."""
    return lambda: limpet.dynapse.deploy(Sequential(*layers()))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            chain(lambda: (weights(2, 3), neurons(3), weights(3, 4))),
            "2_LinearJax: a layer behind the last neurons runs off the chip",
        ),
        (
            chain(lambda: (neurons(3), weights(3, 4), neurons(4), weights(4, 2), weights(2, 1))),
            "3_LinearJax: a layer behind the last neurons",
        ),
        (
            chain(lambda: (weights(2, 3), neurons(3), neurons(3))),
            r"2_DynapSim: follows 1_DynapSim without weights between them, .* LinearJax\(\(3, 3\), jnp.eye\(3\)",
        ),
        (
            chain(lambda: (weights(2, 3), weights(3, 4), neurons(4))),
            "1_LinearJax: follows 0_LinearJax without neurons between them; multiply",
        ),
        (
            chain(lambda: (neurons(3), weights(3, 4, bias=True), neurons(4))),
            "1_LinearJax/bias: synapses of DYNAP-SE2 have no biases",
        ),
        (
            chain(lambda: (weights(2, 3), neurons(3), weights(3, 4), neurons(4, Iscale=2e-8))),
            "3_DynapSim/Iscale = 2e-08, and 1_DynapSim/Iscale = 1e-08: .* multiply the layer's weights",
        ),
        (
            chain(lambda: (neurons(3, dt=2e-3), weights(3, 4), neurons(4))),
            "2_DynapSim/dt = 0.001, and 0_DynapSim/dt = 0.002: .* train them with the same time step",
        ),
        (
            chain(lambda: (neurons(3), weights(3, 1022), neurons(1022))),
            "1025 neurons need 5 cores of 256, and a chip has 4",
        ),
        (
            chain(lambda: (neurons(3), weights(3, 3), neurons(3).set_attributes({"Idc": jnp.full(3, -1e-12)}))),
            "2_DynapSim/Idc: -1e-12 A is below 0",
        ),
        (
            lambda: limpet.dynapse.deploy(second(), cores=1),
            "1_DynapSim/Itau_mem: 5.32e-12 A on average, and core 0, which it shares with 3_DynapSim, would have .* "
            "take cores=2, so that each layer has cores of its own",
        ),
        (
            chain(lambda: (neurons(2, Iref=2e-9), *(layer for _ in range(4) for layer in (weights(2, 2), neurons(2))))),
            "0_DynapSim/Iref: .* which it shares with 2_DynapSim and .* and 8_DynapSim, .* within 20% of their mean",
        ),
    ],
)
def test_what_cannot_become_one_population_is_said_in_a_line(ask, message):
    with pytest.raises(limpet.LimpetError, match=message) as error:
        ask()
    assert "\n" not in str(error.value)
