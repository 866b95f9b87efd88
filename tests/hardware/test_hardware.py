"""Hardware: named parts, selected in every form, laid over models of every framework."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from nnx_network import Conductance, Net

import limpet

KEY = jax.random.key(7, impl=limpet.fast)
GAUSSIAN, LOG_NORMAL = limpet.Gaussian(0.1), limpet.LogNormal(sigma=0.2)
PARAMS = {
    "body": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)},
    "head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "steps": jnp.arange(2)},
}
HARDWARE = limpet.Hardware(
    weights=limpet.Part("*/kernel", GAUSSIAN),
    currents=limpet.Part("*/bias", LOG_NORMAL),
)
KERNELS = ("body/kernel", "head/kernel")
PROTOTYPE = limpet.prototype(PARAMS, ("*/kernel", True))


# The forms that leaves take


@pytest.mark.parametrize(
    ("leaves", "selected"),
    [
        ("*/kernel", KERNELS),
        (["body/*"], ("body/bias", "body/kernel")),
        (("body/kernel", "head/kernel"), KERNELS),
        ({"*/kernel": True, "head/*": False}, ("body/kernel",)),
        ([("*/kernel", True), ("head/*", False)], ("body/kernel",)),
        ([["*/kernel", True], ["head/*", False]], ("body/kernel",)),  # as YAML gives pairs
        (["*/kernel", ("head/*", False)], ("body/kernel",)),
        (PROTOTYPE, KERNELS),
        (jax.tree.map(np.bool_, PROTOTYPE), KERNELS),
        (limpet.Part(PROTOTYPE, GAUSSIAN).leaves, KERNELS),
    ],
    ids=repr,
)
def test_leaves_of_a_tree(leaves, selected):
    assert limpet.Hardware(part=limpet.Part(leaves, GAUSSIAN)).on(PARAMS).paths == selected


def test_a_flat_prototype_selects_the_same_as_rules():
    flat = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
    prototype = limpet.prototype(flat, ("kernel", True))
    assert limpet.Hardware(part=limpet.Part(prototype, GAUSSIAN)).on(flat).paths == ("kernel",)


def test_a_tree_of_shapes_is_enough():
    shapes = jax.eval_shape(lambda: PARAMS)
    assert HARDWARE.on(shapes) == HARDWARE.on(PARAMS)


@pytest.mark.parametrize(
    ("leaves", "selected"),
    [
        ("*/kernel", ("blocks/0/kernel", "head/kernel", "hidden/kernel")),
        (nnx.PathContains("kernel"), ("blocks/0/kernel", "head/kernel", "hidden/kernel")),
        (Conductance, ("gain",)),
        (
            [(nnx.Param, True), ("*/bias", False), ("norm/*", False)],
            ("blocks/0/kernel", "head/kernel", "hidden/kernel"),
        ),
        (lambda path, variable: "head" in path, ("head/bias", "head/kernel")),
    ],
)
def test_leaves_of_an_nnx_module(leaves, selected):
    net = Net(nnx.Rngs(0))
    hardware = limpet.Hardware(part=limpet.Part(leaves, GAUSSIAN))
    assert hardware.on(net).paths == selected
    by_prototype = limpet.Part(hardware.parts["part"].prototype(net), GAUSSIAN)
    assert limpet.Hardware(part=by_prototype).on(net) == hardware.on(net)


def test_named_selections_of_a_rockpool_network(dynapse_net):
    hardware = limpet.Hardware(
        weights=limpet.Part("dynapse-weights", GAUSSIAN), currents=limpet.Part("dynapse-frozen", LOG_NORMAL)
    )
    mismatch = hardware.on(dynapse_net)
    by_hand = limpet.Mismatch(limpet.dynamic_mismatch_prototype(dynapse_net), GAUSSIAN) | limpet.Mismatch(
        limpet.frozen_mismatch_prototype(dynapse_net), LOG_NORMAL
    )
    assert mismatch == by_hand
    assert mismatch.parts["weights"].paths == ("0_LinearJax/weight", "1_DynapSim/w_rec")
    assert len(mismatch.parts["currents"].paths) == 24
    chip = mismatch(KEY, limpet.attributes(dynapse_net))
    assert chip["1_DynapSim"]["Itau_mem"].shape == (4,)
    assert hardware.on(limpet.freeze(dynapse_net, mismatch, chip=0)) == mismatch


@pytest.mark.parametrize("model", [PARAMS, Net(nnx.Rngs(0))], ids=["tree", "nnx"])
def test_named_selections_of_other_models_say_what_to_give(model):
    hardware = limpet.Hardware(weights=limpet.Part("dynapse-weights", GAUSSIAN))
    message = r"hardware\.weights\.leaves: 'dynapse-weights' selects leaves of a Rockpool module, got .*globs.*/kernel"
    with pytest.raises(limpet.PrototypeError, match=message):
        hardware.on(model)


# What is refused


@pytest.mark.parametrize(
    "leaves",
    [
        None,
        3,
        0.5,
        True,
        [],
        {},
        (),
        ("*/kernel", True),
        [3],
        [("*/kernel", 1)],
        {"*/kernel": "yes"},
        PARAMS,
        jnp.ones(2),
    ],
    ids=lambda leaves: repr(leaves)[:30],
)
def test_leaves_that_cannot_be_meant(leaves):
    message = r"leaves = .*allowed are path globs such as '\*/kernel', rules.*tree of bools"
    with pytest.raises(limpet.PrototypeError, match=message) as refused:
        limpet.Part(leaves, GAUSSIAN)
    assert len(str(refused.value)) < 350


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ("*/kernl", r"hardware\.part\.leaves: rule \('\*/kernl', True\) matches no leaf; the paths are: body/bias"),
        ({"*/kernel": False}, "all rules say false, so that nothing would deviate"),
        ("head/steps", r"hardware\.part\.leaves: .*can deviate: head/steps \(int32\)"),
        (nnx.Param, r"hardware\.part\.leaves: rule .*a rule is a pair of a path glob and a bool"),
        ({"body": {"kernel": True}}, r"leaves that the prototype does not describe: body/bias, head/bias"),
        (
            {**PROTOTYPE, "tail": {"kernel": True}},
            r"selects leaves that the model has not: tail/kernel; the model has: body/b",
        ),
    ],
)
def test_leaves_that_do_not_fit_a_model(leaves, message):
    with pytest.raises(limpet.PrototypeError, match=message):
        limpet.Hardware(part=limpet.Part(leaves, GAUSSIAN)).on(PARAMS)


def test_a_prototype_may_describe_unselected_leaves_that_the_model_has_not():
    more = {**PROTOTYPE, "tail": {"kernel": False}}
    assert limpet.Hardware(part=limpet.Part(more, GAUSSIAN)).on(PARAMS).paths == KERNELS


def test_weights_behind_converters_need_not_deviate():
    product = limpet.Product(inputs=limpet.Converter(bits=8, range="dynamic"))
    part = limpet.Part("*/kernel", product=product)
    assert part == limpet.Part("*/kernel", limpet.Exact(), product=product)
    assert limpet.Hardware(w=part).without_products() == limpet.Hardware(w=limpet.Part("*/kernel", limpet.Exact()))


@pytest.mark.parametrize("deviation", [None, 0.1, limpet.Gaussian, "gaussian"])
def test_a_part_needs_a_deviation(deviation):
    with pytest.raises(limpet.LimpetError, match="give a deviation such as limpet.Gaussian"):
        limpet.Part("*/kernel", deviation)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, r"hardware has no parts: give one or more, such as weights=limpet.Part"),
        (None, "hardware has no parts"),
        ({"weights": GAUSSIAN}, r"part 'weights' = Gaussian\(sigma=0.1\): give limpet.Part"),
        ({"weights": "*/kernel"}, "part 'weights' = .*give limpet.Part"),
        ({3: limpet.Part("*/kernel", GAUSSIAN)}, "part 3 = "),
    ],
)
def test_hardware_that_has_no_parts(parts, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.Hardware(parts)


def test_parts_must_be_disjoint_and_are_named():
    hardware = limpet.Hardware(weights=limpet.Part("*/kernel", GAUSSIAN), head=limpet.Part("head/[bk]*", LOG_NORMAL))
    message = r"leaf 'head/kernel' is selected by 'weights' and by 'head': .*disjoint; .*limpet\.Chain"
    with pytest.raises(limpet.PrototypeError, match=message):
        hardware.on(PARAMS)
    assert hardware.on(PARAMS, only=["head"]).paths == ("head/bias", "head/kernel")


@pytest.mark.parametrize(
    ("only", "message"),
    [
        (["weight"], r"there is no part 'weight'; the parts are (weights, currents|currents, weights)"),
        (["weights", "x", "y"], "there is no part 'x', 'y'"),
        ([], "(give a list of names|no part is named)"),
        ("weights", "(give a list of names of parts|give a list)"),
    ],
)
def test_names_of_parts_that_there_are_not(only, message):
    with pytest.raises(limpet.LimpetError, match=message):
        HARDWARE.on(PARAMS, only=only)
    with pytest.raises(limpet.LimpetError, match=message):
        HARDWARE.on(PARAMS)(KEY, PARAMS, only=only)


def test_a_recipe_by_hand_has_no_parts():
    by_hand = limpet.Mismatch(PROTOTYPE, GAUSSIAN)
    assert by_hand.parts == {}
    with pytest.raises(limpet.LimpetError, match=r"there is no part 'weights'; the parts are \(none\)"):
        by_hand(KEY, PARAMS, only=["weights"])


# Draws


def test_some_parts_draw_what_all_would():
    mismatch = HARDWARE.on(PARAMS)
    whole = mismatch(KEY, PARAMS, 0.5)
    for some in (
        mismatch(KEY, PARAMS, 0.5, only=["currents"]),
        HARDWARE.on(PARAMS, only=["currents"])(KEY, PARAMS, 0.5),
    ):
        for name in ("body", "head"):
            assert np.array_equal(some[name]["bias"], whole[name]["bias"])
            assert some[name]["kernel"] is PARAMS[name]["kernel"]
    condition = limpet.Condition(0.5, mirrored=True)
    mirrored = mismatch(KEY, PARAMS, condition, only=["currents"])
    assert np.array_equal(mirrored["body"]["bias"], mismatch(KEY, PARAMS, condition)["body"]["bias"])
    assert mismatch.only("weights", "currents") == mismatch
    assert mismatch.only("currents") == HARDWARE.on(PARAMS, only=("currents",))


def test_parts_draw_what_recipes_by_hand_would():
    by_hand = limpet.Mismatch(PROTOTYPE, GAUSSIAN) | limpet.Mismatch(
        limpet.prototype(PARAMS, ("*/bias", True)), LOG_NORMAL
    )
    mismatch = HARDWARE.on(PARAMS)
    assert mismatch == by_hand
    assert hash(mismatch) == hash(by_hand)
    assert jax.tree.all(jax.tree.map(np.array_equal, mismatch(KEY, PARAMS), by_hand(KEY, PARAMS)))


def test_hardware_joined_keeps_the_names_of_its_parts():
    weights, currents = (limpet.Hardware({name: part}).on(PARAMS) for name, part in HARDWARE.parts.items())
    joined = weights | currents
    assert joined == HARDWARE.on(PARAMS)
    assert list(joined.parts) == ["weights", "currents"]
    assert joined.only("currents") == currents


def test_each_leaf_has_the_sigma_of_its_part():
    mismatch = HARDWARE.on(PARAMS)
    assert [mismatch.sigma(f"body/{name}") for name in ("kernel", "bias")] == [0.1, 0.2]
    assert mismatch.sigma("head/steps") == 0.0
    assert mismatch.shared_sigma is None
    assert mismatch.with_sigma(0.3).shared_sigma == 0.3
    assert mismatch.with_sigma(0.3).parts.keys() == mismatch.parts.keys()
    gradient = HARDWARE.on(PARAMS, gradient="straight_through")
    assert gradient != mismatch
    assert (
        jax.grad(lambda p: gradient(KEY, {"body": p})["body"]["kernel"].sum())(PARAMS["body"])["kernel"].tolist()
        == [[1.0, 1.0]] * 3
    )


# Values


def test_hardware_compares_by_its_parts():
    again = limpet.Hardware(
        {"currents": limpet.Part(["*/bias"], limpet.LogNormal(sigma=0.2)), "weights": limpet.Part("*/kernel", GAUSSIAN)}
    )
    assert again == HARDWARE
    assert hash(again) == hash(HARDWARE)
    assert limpet.Hardware(HARDWARE.parts) == HARDWARE
    for other in (
        limpet.Hardware(weights=HARDWARE.parts["weights"]),
        limpet.Hardware(HARDWARE.parts, weights=limpet.Part("*/kernel", limpet.Gaussian(0.2))),
        limpet.Hardware(HARDWARE.parts, weights=limpet.Part("head/kernel", GAUSSIAN)),
        "hardware",
    ):
        assert other != HARDWARE
    prototypes = [limpet.Part(tree, GAUSSIAN) for tree in (PROTOTYPE, jax.tree.map(np.bool_, PROTOTYPE))]
    assert prototypes[0] == prototypes[1]
    assert hash(prototypes[0]) == hash(prototypes[1])
    assert prototypes[0] != limpet.Part(limpet.prototype(PARAMS, ("head/kernel", True)), GAUSSIAN)


def test_parts_cannot_be_changed_from_outside():
    HARDWARE.parts.clear()
    given = dict(HARDWARE.parts)
    hardware = limpet.Hardware(given)
    given.clear()
    assert hardware == HARDWARE


def test_hardware_is_described_as_a_configuration_writes_it():
    assert HARDWARE.described() == {
        "weights": {"leaves": {"*/kernel": True}, "deviation": {"kind": "gaussian", "sigma": 0.1}},
        "currents": {
            "leaves": {"*/bias": True},
            "deviation": {"kind": "log-normal", "sigma": 0.2, "preserve": "median"},
        },
    }
    assert limpet.Hardware(w=limpet.Part("dynapse-weights", GAUSSIAN)).described()["w"]["leaves"] == "dynapse-weights"
    by_prototype = limpet.Hardware(w=limpet.Part(PROTOTYPE, GAUSSIAN)).described()["w"]["leaves"]
    assert by_prototype == {
        "body/bias": False,
        "body/kernel": True,
        "head/bias": False,
        "head/kernel": True,
        "head/steps": False,
    }
    assert limpet.Hardware(w=limpet.Part(by_prototype, GAUSSIAN)).on(PARAMS).paths == KERNELS


def test_hardware_is_shown_in_a_line():
    assert repr(HARDWARE) == (
        "Hardware(weights: gaussian, sigma 0.1 on */kernel; currents: log-normal, sigma 0.2 on */bias)"
    )
    shown = repr(
        limpet.Hardware(w=limpet.Part(PROTOTYPE, GAUSSIAN), b=limpet.Part({"*/bias": True, "head/*": False}, GAUSSIAN))
    )
    assert "prototype of body/kernel, head/kernel" in shown
    assert "on */bias, not head/*" in shown


# Hardware of a recipe


def test_the_hardware_of_a_recipe_by_hand():
    weights = limpet.Mismatch(PROTOTYPE, GAUSSIAN)
    currents = limpet.Mismatch(limpet.prototype(PARAMS, ("*/bias", True)), LOG_NORMAL)
    assert list(limpet.Hardware.of(weights).parts) == ["part_0"]
    for recipe in (weights, weights | currents, (weights.with_sigma(0.3) | currents), HARDWARE.on(PARAMS)):
        assert limpet.Hardware.of(recipe).on(PARAMS) == recipe


def test_the_hardware_of_a_joined_recipe_has_a_part_for_each_member():
    selections = [
        limpet.prototype(PARAMS, (path, True)) for path in ("body/kernel", "body/bias", "head/kernel", "head/bias")
    ]
    one, two, three, four = (limpet.Mismatch(chosen, GAUSSIAN) for chosen in selections)
    assert list(limpet.Hardware.of(one | two | three | four).parts) == ["part_0", "part_1", "part_2", "part_3"]
    assert list(limpet.Hardware.of((one | two) | (three | four)).parts) == ["part_0", "part_1", "part_2", "part_3"]
    assert list(limpet.Hardware.of(HARDWARE.on(PARAMS)).parts) == ["weights", "currents"]
    mixed = limpet.Hardware(part_0=limpet.Part("body/kernel", GAUSSIAN)).on(PARAMS) | two | three
    assert limpet.Hardware.of(mixed).on(PARAMS) == mixed
    assert len(limpet.Hardware.of(mixed).parts) == 3
