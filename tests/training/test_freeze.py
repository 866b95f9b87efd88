"""One virtual chip: named by (seed, chip) alone, drawn from nominal values, constant in the compiled step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxprs import count

import limpet


@pytest.fixture(scope="module")
def frozen(dynapse_net):
    return limpet.Mismatch(limpet.frozen_mismatch_prototype(dynapse_net), limpet.Gaussian(0.1))


def same(a, b) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, limpet.attributes(a), limpet.attributes(b)))


def test_a_chip_is_a_new_network_with_every_frozen_value_off(dynapse_net, frozen):
    before = limpet.attributes(dynapse_net)["1_DynapSim"]
    chip = limpet.freeze(dynapse_net, frozen, seed=0, chip=17)
    after = limpet.attributes(chip)["1_DynapSim"]
    assert before is not after
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {
        path.partition("/")[2] for path in frozen.paths
    }
    assert np.array_equal(before["Io"], limpet.attributes(dynapse_net)["1_DynapSim"]["Io"])


def test_a_chip_follows_from_its_name(dynapse_net, frozen):
    chip = limpet.freeze(dynapse_net, frozen, seed=3, chip=17)
    assert same(chip, limpet.freeze(dynapse_net, frozen, seed=3, chip=17))
    assert not same(chip, limpet.freeze(dynapse_net, frozen, seed=3, chip=18))
    assert not same(chip, limpet.freeze(dynapse_net, frozen, seed=4, chip=17))


def test_freezing_twice_does_not_compound(dynapse_net, frozen):
    net = dynapse_net
    for chip in range(5):
        net = limpet.freeze(net, frozen, chip=chip)
        net = net.set_attributes(net.parameters()).reset_state()
    assert same(net, limpet.freeze(dynapse_net, frozen, chip=4))


def test_a_value_set_after_freezing_is_nominal(dynapse_net, frozen):
    chip = limpet.freeze(dynapse_net, frozen, chip=0)
    changed = chip.set_attributes({"1_DynapSim": {"Io": jnp.full(4, 1e-12)}})
    deviated = limpet.attributes(limpet.freeze(changed, frozen.with_sigma(0), chip=1))["1_DynapSim"]
    assert np.array_equal(deviated["Io"], np.full(4, 1e-12, np.float32))
    assert np.array_equal(deviated["Ut"], limpet.attributes(dynapse_net)["1_DynapSim"]["Ut"])


def test_two_recipes_freeze_side_by_side(dynapse_net, frozen):
    weights = limpet.Mismatch(limpet.dynamic_mismatch_prototype(dynapse_net), limpet.Gaussian(0.1))
    both = limpet.freeze(limpet.freeze(dynapse_net, frozen, chip=2), weights, chip=2)
    assert same(both, limpet.freeze(dynapse_net, frozen | weights, chip=2))
    assert same(limpet.freeze(both, frozen | weights, chip=3), limpet.freeze(dynapse_net, frozen | weights, chip=3))


def test_the_training_step_of_a_frozen_chip_draws_nothing_for_it(dynapse_net, frozen):
    net = limpet.freeze(dynapse_net, frozen)
    dynamic = limpet.Mismatch(limpet.dynamic_mismatch_prototype(net), limpet.Gaussian(0.1))

    def loss(params, key):
        out, _, _ = net.set_attributes(dynamic(key, params)).reset_state()(jnp.ones((1, 3, 3)))
        return out.sum()

    jaxpr = jax.make_jaxpr(jax.value_and_grad(loss))(dynapse_net.parameters(), jax.random.key(0)).jaxpr
    assert count(jaxpr, "random_bits") == 2  # weight and w_rec


def test_plain_trees_freeze_too():
    tree = {"w": jnp.ones(3), "b": jnp.ones(3)}
    mismatch = limpet.Mismatch({"w": False, "b": True}, limpet.Gaussian(0.1))
    chip = limpet.freeze(tree, mismatch, chip=1)
    assert chip["w"] is tree["w"]
    assert not np.array_equal(chip["b"], tree["b"])


def configured(chip, **changes):
    sections = {
        "seed": 3,
        "hardware": {
            "weights": {"leaves": "dynapse-weights", "sigma": 0.2},
            "currents": {"leaves": "dynapse-frozen", "sigma": 0.1},
        },
        "training": {"frozen": {"parts": ["currents"], "chip": chip}},
    }
    return limpet.Config.model_validate(sections | changes)


def test_configurations_name_the_chip(dynapse_net, frozen):
    config = configured(17)
    chip = limpet.freeze(dynapse_net, frozen, seed=3, chip=17)
    assert same(config.freeze(dynapse_net), chip)
    assert same(config.freeze(dynapse_net, 5, seed=1), limpet.freeze(dynapse_net, frozen, seed=1, chip=5))
    doubled = limpet.freeze(dynapse_net, frozen.with_sigma(0.2), seed=3, chip=17)
    assert same(config.freeze(dynapse_net, condition=2.0), doubled)
    generated = configured(17, generator="threefry2x32")
    threefry = limpet.freeze(dynapse_net, frozen, seed=3, chip=17, generator="threefry2x32")
    assert same(generated.freeze(dynapse_net), threefry)
    assert not same(threefry, chip)


def test_hardware_freezes_all_its_parts(dynapse_net, frozen):
    weights = limpet.Mismatch(limpet.dynamic_mismatch_prototype(dynapse_net), limpet.Gaussian(0.2))
    assert same(limpet.freeze(dynapse_net, configured(1).hardware), limpet.freeze(dynapse_net, frozen | weights))


def test_a_configuration_without_a_chip_freezes_nothing_silently(dynapse_net):
    with pytest.raises(limpet.LimpetError, match=r"training.frozen.chip = 'fresh': every step draws another"):
        configured("fresh").freeze(dynapse_net)
    with pytest.raises(limpet.LimpetError, match="training.frozen: the configuration has none"):
        configured(1, training={}).freeze(dynapse_net)
    assert not same(configured("fresh").freeze(dynapse_net, 2), dynapse_net)


@pytest.mark.parametrize("wrong", [{"sigma": 0.1}, 0.1, "fresh"])
def test_what_is_no_recipe_is_refused(dynapse_net, wrong):
    with pytest.raises(limpet.LimpetError, match="allowed are the hardware, and a recipe such as"):
        limpet.freeze(dynapse_net, wrong)


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("chip", 2**32), ("chip", 1.5), ("chip", "1")])
def test_numbers_that_name_no_chip(dynapse_net, frozen, name, value):
    with pytest.raises(limpet.LimpetError, match=rf"{name} = .*allowed is a whole number from 0 to 4294967295"):
        limpet.freeze(dynapse_net, frozen, **{name: value})


@pytest.mark.parametrize("time", ["1 day", "1 year"])
def test_the_worst_chip_of_a_curve_over_times_is_frozen_as_the_curve_met_it(time):
    tree = {"w": jnp.linspace(0.1, 1.0, 50)}
    hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Drift(exponent=0.06, spread=0.03)))
    times = ["25 s", "1 day", "1 year"]
    curve = limpet.robustness_curve(
        lambda tree, _: tree["w"].sum(), tree, hardware, times=times, chips=20, higher_is_better=True
    )
    seconds = {"1 day": 86400.0, "1 year": 31536000.0}[time]
    worst = curve.at(seconds).worst_chip(seconds)
    chip = limpet.freeze(tree, hardware, chip=worst, condition=limpet.Condition(time=time))
    assert float(chip["w"].sum()) == pytest.approx(float(curve.at(seconds).worst()[0]), rel=1e-5)


def test_a_configuration_is_told_to_freeze_by_itself(dynapse_net):
    with pytest.raises(limpet.LimpetError, match="a configuration freezes what it names itself"):
        limpet.freeze(dynapse_net, configured(3))
