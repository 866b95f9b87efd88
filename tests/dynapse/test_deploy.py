"""From a trained network to DYNAP-SE2, beside Rockpool's own tools."""

import dataclasses
import json
import logging
import warnings
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.cli import main

with warnings.catch_warnings():  # Rockpool reports every back end that is not installed
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from rockpool.devices.dynapse import DynapSim, autoencoder_quantization, dynapsim_net_from_spec, mapper
    from rockpool.devices.dynapse.hardware.config.allocator import WeightAllocator
    from rockpool.devices.dynapse.lookup import scale_factor_se2
    from rockpool.devices.dynapse.parameters.biasgen import analog_to_digital
    from rockpool.devices.dynapse.quantization import WeightHandler
    from rockpool.nn.combinators import Residual, Sequential
    from rockpool.nn.modules import LIFJax, LinearJax
    from rockpool.typehints import DRCError
logging.disable(logging.NOTSET)

INPUTS, NEURONS = 5, 6


def network(inputs=INPUTS, neurons=NEURONS, **options):
    random = np.random.default_rng(0)
    own = {"Itau_mem": random.uniform(2e-12, 2e-11, neurons).astype(np.float32)} | options
    return Sequential(
        LinearJax((inputs, neurons), random.normal(size=(inputs, neurons)), has_bias=False),
        DynapSim((neurons, neurons), has_rec=True, w_rec=random.normal(size=(neurons, neurons)), **own),
    )


@cache
def net():
    return network()


@cache
def one():
    return limpet.dynapse.deploy(net())


@cache
def two():
    return limpet.dynapse.deploy(net(), cores=2)


RASTER = (np.random.default_rng(1).random((1, 60, INPUTS)) < 0.4).astype(np.float32)


def output(net):
    _, _, recorded = net.reset_state()(jnp.asarray(RASTER), record=True)
    return np.asarray(recorded["1_DynapSim"]["isyn"])


def rate(tree, batch):
    spikes, _, _ = net().set_attributes(tree).reset_state()(batch)
    return spikes.mean()


@pytest.fixture(scope="module")
def mapped_by_rockpool():
    return mapper(net().as_graph(), n_cluster=2)


def test_currents_of_a_core_are_those_of_rockpool_s_mapper(mapped_by_rockpool):
    wanted = {(current.name, current.core): current.wanted for current in two().report.currents}
    for name in ("Itau_mem", "Ispkthr", "Igain_syn", "Iw_ahp"):
        for core in (0, 1):
            assert wanted[name, core] == pytest.approx(mapped_by_rockpool[name][core], rel=1e-6)
    assert np.array_equal(two().core_map, mapped_by_rockpool["core_map"])


@pytest.mark.long
def test_rockpool_s_quantisation_is_taken_as_it_is(mapped_by_rockpool):
    np.random.seed(0)
    theirs: Any = autoencoder_quantization(
        2,
        mapped_by_rockpool["core_map"],
        np.asarray(mapped_by_rockpool["weights_in"]),
        np.asarray(mapped_by_rockpool["weights_rec"]),
        float(mapped_by_rockpool["Iscale"]),
    )
    np.random.seed(0)  # the autoencoder starts from NumPy's global generator
    ours = limpet.dynapse.deploy(net(), cores=2, quantizer="autoencoder")
    assert np.array_equal(ours.specification()["weights_rec"][1], theirs["weights_rec"][1])
    assert np.array_equal(ours.specification()["sign_in"][0], theirs["sign_in"][0] * (theirs["weights_in"][0] > 0))
    wanted = {(current.name, current.core): current.wanted for current in ours.report.currents}
    assert wanted["Iw_2", 1] == pytest.approx(float(theirs["Iw_2"][1]), rel=1e-5)
    assert np.abs(output(two().net) - output(net())).mean() <= np.abs(output(ours.net) - output(net())).mean()


def test_masks_and_currents_make_the_deployed_weights():
    for deployment in (one(), two()):
        spec, leaves = deployment.specification(), limpet.attributes(deployment.net)
        for end, weight in (("in", leaves["0_LinearJax"]["weight"]), ("rec", leaves["1_DynapSim"]["w_rec"])):
            restored = sum(
                WeightHandler.restore_weight_matrix(
                    4, np.array([spec[f"Iw_{bit}"][core] for bit in range(4)]), masks, signs
                )
                for core, (masks, signs) in enumerate(zip(spec[f"weights_{end}"], spec[f"sign_{end}"], strict=True))
            )
            np.testing.assert_allclose(restored / spec["Iscale"], weight, rtol=1e-5)


def test_every_synapse_gets_a_place_in_the_memory_that_rockpool_allocates():
    spec = one().specification()
    allocator = WeightAllocator(
        spec["weights_in"][0], spec["weights_rec"][0], spec["sign_in"][0], spec["sign_rec"][0], spec["core_map"]
    )
    entries = [entry for entries in allocator.CAM_content().values() for entry in entries]
    assert sum(any(entry.weight) for entry in entries) == one().report.stages[-1].synapses > 0


def test_a_full_neuron_is_more_than_rockpool_s_allocator_places():
    for kept in (64, 63):
        spec = limpet.dynapse.deploy(network(inputs=70, neurons=3), prune=kept).specification()
        place = partial(
            WeightAllocator.matrix_to_synapse,
            np.concatenate([spec["weights_in"][0], spec["weights_rec"][0]]),
            np.concatenate([spec["sign_in"][0], spec["sign_rec"][0]]),
            range(73),
        )
        if kept == 63:
            assert all(len(entries) <= 63 for entries in place().values())
        else:
            with pytest.raises(DRCError, match="Maximum synapse limit"):
                place()


@pytest.mark.parametrize("given", [[0.31171768, 0.57407794, 0.74416891], [2e-9], [0.5, 0.25, 0.5, 0.0]])
def test_few_weights_are_held_exactly_and_at_once(given):
    weights = np.array(given).reshape(-1, 1)
    net = Sequential(LinearJax(weights.shape, weights, has_bias=False), DynapSim((1, 1)))
    quantised = limpet.dynapse.deploy(net).report.stages[-2]
    assert quantised.name == "quantised"
    assert quantised.weight_error < 1e-6


def test_the_configuration_needs_samna():
    with pytest.raises(limpet.LimpetError, match="samna is not installed"):
        two().configuration()


def test_the_configuration_that_samna_would_take_is_built_and_compared(samna_s_classes):
    built = two().configuration()["config"].chips[0].cores
    assert built[1].parameters["SOIF_LEAK_N"].coarse_value is not None
    other = dataclasses.replace(two(), quantized=two().quantized._replace(currents=two().quantized.currents * 2))
    with pytest.raises(limpet.DeploymentError, match="SYAM_W0_P of core 0: samna's configuration has coarse and fine"):
        other.configuration()


def test_the_deployed_network_is_the_one_that_rockpool_builds_from_the_specification():
    spec = two().specification()
    leaves = limpet.attributes(two().net)
    theirs = dynapsim_net_from_spec(
        **{name: value for name, value in spec.items() if not name.startswith(("weights", "sign", "Iw_"))},
        Iw_ahp=spec["Iw_ahp"],
        weights_in=leaves["0_LinearJax"]["weight"],
        weights_rec=leaves["1_DynapSim"]["w_rec"],
    )
    # It reads Iw_ahp and does not hand it on.
    theirs = theirs.set_attributes({"1_DynapSim": {"Iw_ahp": leaves["1_DynapSim"]["Iw_ahp"]}})
    np.testing.assert_allclose(output(theirs), output(two().net), rtol=1e-5)


def test_codes_are_those_of_rockpool():
    random = np.random.default_rng(2)
    for name, device in {"Itau_mem": "SOIF_LEAK_N", "Iw_3": "SYAM_W3_P", "Idc": "SOIF_DC_P"}.items():
        currents = 10.0 ** random.uniform(-13.5, -5.5, 40)
        codes, given = limpet.dynapse.bias_codes(name, currents)
        theirs = [analog_to_digital(current, scale_factor_se2[device], device[-1]) for current in currents]
        assert codes.tolist() == [[int(coarse), int(fine)] for coarse, fine in theirs]
        assert (given == limpet.dynapse.bias_currents(name)[codes[:, 0], codes[:, 1]]).all()


@pytest.mark.parametrize(
    ("neurons", "cores", "sizes"), [(256, None, [256]), (10, 3, [4, 3, 3]), (257, None, [129, 128])]
)
def test_no_neuron_is_without_a_core(neurons, cores, sizes):
    """Rockpool's mapper takes two cores for 256 neurons, and of 10 in 3 cores gives the last one core 3."""
    from limpet.dynapse._mapping import mapped

    net = DynapSim((neurons, neurons), has_rec=True, w_rec=np.eye(neurons))
    assert np.bincount(mapped(net, cores).core_map).tolist() == sizes


def test_mismatch_falls_on_branches_and_is_none_at_strength_0():
    hardware = two().hardware(spread=0.2, core_spread=0.1)
    recipe, key = hardware.on(two().net), limpet.virtual_chip(seed=0, chip=3)
    nominal = recipe(key, two().tree, 0.0)
    for layer, name in (("0_LinearJax", "weight"), ("1_DynapSim", "w_rec")):
        np.testing.assert_array_equal(nominal[layer][name], two().tree[layer][name])
    chip = recipe(key, two().tree)
    held = np.asarray(two().tree["1_DynapSim"]["w_rec"])
    moved = np.asarray(chip["1_DynapSim"]["w_rec"])
    assert ((moved == 0) == (held == 0)).all()
    assert (np.sign(moved) == np.sign(held)).all()
    assert 0.02 < np.std(moved[held != 0] / held[held != 0]) < 0.4


def test_limits_of_weights_and_nan_among_them_are_kept():
    limits = limpet.Limits(low=-0.5, high=0.5)
    hardware = limpet.Hardware(weights=limpet.Part("dynapse-weights", limpet.Gaussian(0.1), limits))
    assert one().hardware(hardware).parts["weights"].limits == limits
    branches = one().hardware(hardware).parts["weights"].deviation
    held = limpet.Mismatch({"w": True}, branches)
    with jax.debug_nans(False):
        chip = jax.jit(lambda w: held(limpet.virtual_chip(0, 0), {"w": w}))(jnp.full((1, NEURONS), jnp.nan))["w"]
    assert jnp.isnan(chip).all()


@pytest.mark.long
def test_costs_are_measured_in_one_call():
    hardware = limpet.Hardware(all=limpet.Part(["*/weight", "*/w_rec", "*/Itau_mem"], limpet.Gaussian(0.1)))
    costs = two().costs(rate, hardware, chips=3, batch=RASTER)
    clean, under_mismatch = costs.rows()
    assert clean["mismatch"] == 0
    assert clean["both"] == pytest.approx(clean["quantisation"])
    assert under_mismatch["both"] == pytest.approx(clean["trained"] - under_mismatch["deployed"], abs=1e-6)
    assert "quantisation costs  mismatch costs  both cost" in str(costs)
    assert set(two().hardware(hardware).parts) == {"all", "synapses"}


def test_metrics_of_each_stage_and_what_does_not_fit_are_reported(tmp_path):
    wide = network(inputs=70, neurons=3)

    def weight(tree, batch):
        return jnp.abs(tree["0_LinearJax"]["weight"]).sum()

    report = limpet.dynapse.deploy(wide, metric_fn=weight).report
    assert not report.fits
    assert [stage.name for stage in report.stages] == ["trained", "mapped", "quantised", "rounded"]
    assert report.stages[0].metrics["weight"] == report.stages[1].metrics["weight"] > 0
    assert "of 3 neurons have more than 64 inputs, up to" in report.problems[0]
    pruned = limpet.dynapse.deploy(wide, prune=True).report
    assert pruned.fits
    assert pruned.fan_in == 64
    assert pruned.stages[2].zeroed == 3 * (73 - 64)
    pruned.write_page(str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert "the network fits on DYNAP-SE2" in page
    assert json.loads(json.dumps(pruned.plain()))["fits"] is True


def test_training_meets_the_sums_of_branch_currents():
    recipe = one().hardware(spread=0.0).on(one().net)
    between = jax.tree.map(jnp.asarray, one().tree)
    between["1_DynapSim"]["w_rec"] += 1e-3
    key = limpet.virtual_chip(seed=0, chip=0)

    def total(w_rec):
        return recipe(key, between | {"1_DynapSim": between["1_DynapSim"] | {"w_rec": w_rec}})["1_DynapSim"][
            "w_rec"
        ].sum()

    w_rec = between["1_DynapSim"]["w_rec"]
    assert (jax.grad(total)(w_rec) == 1).all()
    assert total(w_rec) == pytest.approx(float(np.sum(one().tree["1_DynapSim"]["w_rec"])), rel=1e-5)


SQUARE = LinearJax((3, 3), has_bias=False)
LINEAR, NEURON = LinearJax((2, 3), has_bias=False), DynapSim((3, 3), has_rec=True)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: limpet.dynapse.deploy({"w": jnp.ones(3)}), "net = dict: expected a Rockpool JAX module"),
        (lambda: limpet.dynapse.deploy(Residual(SQUARE, NEURON)), "layers in a JaxResidual cannot be deployed"),
        (lambda: limpet.dynapse.deploy(LINEAR), "LinearJax: there is no DynapSim in it"),
        (lambda: limpet.dynapse.deploy(Sequential(LINEAR, LIFJax((3, 3)))), "1_LIFJax: cannot be deployed"),
        (
            lambda: limpet.dynapse.deploy(Sequential(NEURON, LinearJax((3, 2), has_bias=False))),
            "1_LinearJax: a layer behind the last neurons runs off the chip",
        ),
        (
            lambda: limpet.dynapse.deploy(Sequential(LinearJax((2, 3), has_bias=True), NEURON)),
            "0_LinearJax/bias: synapses of DYNAP-SE2 have no biases",
        ),
        (
            lambda: limpet.dynapse.deploy(NEURON.set_attributes({"w_rec": jnp.full((3, 3), jnp.nan)})),
            "w_rec: holds NaN",
        ),
        (lambda: limpet.dynapse.deploy(NEURON.set_attributes({"w_rec": jnp.zeros((3, 3))})), "no weight but 0"),
        (lambda: limpet.dynapse.deploy(DynapSim((1025, 1025))), "1025 neurons need 5 cores of 256, and a chip has 4"),
        (lambda: limpet.dynapse.deploy(NEURON, cores=5), "cores = 5: allowed is a whole number from 1 to 3"),
        (lambda: limpet.dynapse.deploy(NEURON, prune=65), "prune = 65: allowed are True, False and a whole number"),
        (lambda: limpet.dynapse.deploy(NEURON, branch_currents=[1e-9]), "branch_currents: allowed are amperes"),
        (lambda: limpet.dynapse.deploy(NEURON, cores="two"), "cores = 'two': allowed is a whole number"),
        (
            lambda: limpet.dynapse.deploy(NEURON, quantizer="best"),
            "quantizer = 'best': allowed are 'least-squares' and 'autoencoder'",
        ),
        (lambda: limpet.dynapse.deploy(NEURON, {"w": jnp.ones(3)}), "params: the network has no w"),
        (lambda: limpet.dynapse.deploy(NEURON, {"w_rec": jnp.ones(3)}), "w_rec has shape"),
        (lambda: limpet.dynapse.bias_codes("Itau", 1e-9), "name = 'Itau': allowed are 'Idc'"),
        (lambda: one().hardware(limpet.Hardware(a=limpet.Part("*/w_rec", limpet.Additive(0.1)))), "spread: missing"),
        (
            lambda: one().hardware(limpet.Hardware(a=limpet.Part("*/w_rec", product=limpet.Product()))),
            r"hardware\.a\.product: synapses of DYNAP-SE2 add currents",
        ),
        (lambda: one().costs(rate, scales=[1.0]), "give 0, for what quantisation costs alone"),
    ],
)
def test_what_cannot_be_deployed_is_said_in_a_line(ask, message):
    with pytest.raises(limpet.LimpetError, match=message) as error:
        ask()
    assert "\n" not in str(error.value)


def small_network():
    return network()


def wide_network():
    return network(inputs=70, neurons=3)


def off_chip():
    return Sequential(NEURON, LinearJax((3, 2), has_bias=False))


def test_the_command_says_by_its_exit_code_whether_the_network_fits(tmp_path, capsys):
    out = tmp_path / "deployed.npz"
    assert main(["deploy", f"{__file__}:small_network", "-o", str(out), "--report", str(tmp_path / "page.html")]) == 0
    assert "the network fits on DYNAP-SE2 (1 core" in capsys.readouterr().out
    loaded = limpet.load_parameters(network(), out)
    np.testing.assert_allclose(
        loaded.attributes_named("w_rec")["1_DynapSim"]["w_rec"], one().tree["1_DynapSim"]["w_rec"]
    )
    assert main(["deploy", f"{__file__}:wide_network", "--json"]) == 1
    assert "have more than 64 inputs" in json.loads(capsys.readouterr().out)["problems"][0]
    assert main(["deploy", f"{__file__}:off_chip"]) == 1
    assert "does not fit: 1_LinearJax: a layer behind" in capsys.readouterr().err
    assert main(["deploy", f"{__file__}:small_network", "--cores", "9"]) == 2
    assert "cores = 9: allowed is a whole number" in capsys.readouterr().err
