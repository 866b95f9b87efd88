"""What values have in common: who shares a factor, that levels add up, and that a level can be switched off.

False alarms: moments at 5 standard errors (6e-7). Seeds are fixed.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.deviations._levels import levels_of, without

KEY = jax.random.key(5, impl=limpet.fast)
FACTOR = limpet.LogNormal(sigma=0.3)


def drawn(deviation, key=KEY, condition=1.0, **leaves):
    """One draw of some leaves, all of which deviate alike."""
    return limpet.Mismatch(dict.fromkeys(leaves, True), deviation)(key, leaves, condition)


def test_all_leaves_of_a_chip_share_one_factor():
    chip = drawn(limpet.Shared(FACTOR, across="chip"), a=jnp.full((2, 3), 2.0), b=jnp.full(4, -1.0), c=jnp.ones(()))
    factor = float(chip["c"])
    assert factor != 1
    np.testing.assert_array_equal(chip["a"], np.full((2, 3), 2 * np.float32(factor)))
    np.testing.assert_array_equal(chip["b"], np.full(4, -np.float32(factor)))
    other = drawn(limpet.Shared(FACTOR, across="chip"), key=jax.random.key(6, impl=limpet.fast), c=jnp.ones(()))
    assert float(other["c"]) != factor


def test_levels_of_other_names_are_independent():
    names = [limpet.Shared(FACTOR, across="chip", name=name) for name in ("", "lot", "wafer")]
    assert len({float(drawn(level, c=jnp.ones(()))["c"]) for level in names}) == 3


@pytest.mark.parametrize(
    ("across", "array", "shape"),
    [
        ("column", {}, (1, 1, 2)),
        ("row", {}, (3, 4, 1)),
        ("array", {}, (1, 1, 1)),
        ("column", {"stack": 0}, (3, 1, 2)),
        ("row", {"stack": 0}, (3, 4, 1)),
        ("array", {"stack": (0, 2), "outputs": 1}, (3, 1, 2)),
        ("column", {"outputs": (0, -2)}, (3, 4, 1)),
        ("column", {"outputs": (0, -2), "stack": 2}, (3, 4, 2)),
    ],
)
def test_values_of_an_array_a_column_or_a_row_have_a_factor_in_common(across, array, shape):
    level = limpet.Shared(FACTOR, across=across)
    recipe = limpet.Mismatch({"a": True}, level, array=limpet.Array(**array))
    chip = np.asarray(recipe(KEY, {"a": jnp.ones((3, 4, 2))})["a"])
    kept = chip[tuple(slice(size) for size in shape)]
    np.testing.assert_array_equal(chip, np.broadcast_to(kept, chip.shape))
    assert len(np.unique(kept)) == kept.size


def test_neurons_of_a_core_share_a_factor_in_all_leaves_of_a_name():
    cores = np.array([0.0, 0.0, 3.0, 1.0])  # as Rockpool's mapper gives them
    chip = drawn(limpet.Shared(FACTOR, groups=cores, name="core"), a=jnp.ones(4), b=jnp.ones((2, 4)))
    a, b = np.asarray(chip["a"]), np.asarray(chip["b"])
    assert a[0] == a[1]
    assert len(set(a.tolist())) == 3
    np.testing.assert_array_equal(b, np.broadcast_to(a, (2, 4)))
    # The factor of core 1 does not depend on which neurons lie on which cores.
    rows = drawn(limpet.Shared(FACTOR, groups=(1, 0), axis=0, name="core"), c=jnp.ones((2, 3)))["c"]
    np.testing.assert_array_equal(rows, np.stack([np.full(3, a[3]), np.full(3, a[0])]))
    own = drawn(limpet.Shared(FACTOR, groups=(0, 0, 3, 1)), a=jnp.ones(4), d=jnp.ones(4))
    assert not np.array_equal(own["a"], own["d"])


def test_levels_add_up_in_variance():
    """Squares of sigma_ln add: over chips and devices together, and within a chip without the chip's own."""
    die, device = limpet.LogNormal(sigma_ln=0.2), limpet.LogNormal(sigma_ln=0.1)
    levels = limpet.Chain((limpet.Shared(die, across="chip"), device))
    mismatch = limpet.Mismatch({"w": True}, levels)
    chips, devices = 4_000, 25
    keys = jax.random.split(KEY, chips)
    logs = np.log(np.asarray(jax.jit(jax.vmap(mismatch, (0, None)))(keys, {"w": jnp.ones(devices)})["w"], np.float64))
    within = logs.var(axis=1, ddof=1).mean()
    assert abs(within / 0.01 - 1) < 5 * math.sqrt(2 / (chips * (devices - 1)))
    between = logs.mean(axis=1).var(ddof=1)  # of means of 25 devices
    assert abs(between / (0.04 + 0.01 / devices) - 1) < 5 * math.sqrt(2 / chips)
    assert abs(logs[:, 0].var(ddof=1) / 0.05 - 1) < 5 * math.sqrt(2 / chips)


LEVELS = limpet.Chain(
    (
        limpet.Shared(limpet.LogNormal(sigma=0.05), across="chip"),
        limpet.Shared(limpet.Gaussian(sigma=0.05), across="column"),
        limpet.LogNormal(sigma=0.1),
        limpet.Shared(limpet.LogNormal(sigma=0.05), across="row", name="row"),
        limpet.LogNormal(sigma=0.1),
    )
)


def test_a_level_is_switched_off_and_nothing_else_changes():
    """Each level alone is what is left without all others, and the product of all is the whole."""
    tree = {"w": jnp.ones((3, 4))}
    hardware = limpet.Hardware(weights=limpet.Part("w", LEVELS), others=limpet.Part("b", limpet.Gaussian(0.1)))
    whole = {**tree, "b": jnp.ones(2)}
    assert levels_of(LEVELS) == {"chip", "shared", "device", "row"}
    alone = {}
    for level in levels_of(LEVELS):
        others = levels_of(LEVELS) - {level}
        on_tree = limpet.Mismatch({"w": True}, LEVELS).without(*others)
        alone[level] = np.asarray(on_tree(KEY, tree)["w"])
        recipe = hardware.on(whole)
        assert recipe.without(*others) == hardware.without(*others).on(whole)
        assert list(recipe.without(level).parts) == ["weights", "others"]
        assert (recipe.without(level)(KEY, whole)["b"] == recipe(KEY, whole)["b"]).all() == (level != "device")
    members = [limpet.Mismatch({"w": True}, LEVELS)(KEY, tree)["w"], np.prod([*alone.values()], axis=0)]
    np.testing.assert_allclose(*members, rtol=1e-6)
    # To the last bit: what follows the level that is off is multiplied by the same factors.
    no_chip = limpet.Mismatch({"w": True}, LEVELS).without("chip", "shared")(KEY, tree)["w"]
    rest = limpet.Mismatch({"w": True}, LEVELS).without("chip", "shared", "row")(KEY, tree)["w"]
    assert not np.array_equal(no_chip, rest)
    gone = limpet.Chain((limpet.LogNormal(sigma=0.1), LEVELS.members[3], limpet.LogNormal(sigma=0.1)))
    np.testing.assert_array_equal(no_chip, limpet.Mismatch({"w": True}, gone)(KEY, tree)["w"])


def test_what_is_off_stays_another_hardware():
    whole = limpet.Mismatch({"w": True}, LEVELS)
    assert whole.without("chip") != whole
    assert whole.without("chip").without("row") == whole.without("row", "chip")
    crossbar = limpet.Crossbar(LEVELS.members[2])
    assert without(crossbar, ["device"]) == limpet.Crossbar(limpet.Off(LEVELS.members[2]))
    with pytest.raises(limpet.LimpetError, match=r"drawn at 'die'; the levels are chip, device, row, shared"):
        whole.without("die")
    with pytest.raises(limpet.LimpetError, match=r"no level is named; the levels are device"):
        limpet.Hardware(a=limpet.Part("w", limpet.Gaussian(0.1))).without()


def test_a_programmed_device_that_is_off_still_drifts_from_what_was_written():
    programming, drift = limpet.Programming(spread=0.1), limpet.Drift(exponent=0.05, spread=0.01)
    off, asked = limpet.Chain((limpet.Off(programming), drift)), {"condition": limpet.Condition(time=1e4)}
    weights = jnp.linspace(0.1, 1, 9)
    np.testing.assert_array_equal(
        drawn(off, **asked, w=weights)["w"], drawn(limpet.Chain((drift,)), **asked, w=weights)["w"]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "say which values share a factor by either across or groups"),
        ({"across": "chip", "groups": (0,)}, "by either across or groups"),
        ({"across": "die"}, r"Shared\.across = 'die': allowed are 'chip', 'array', 'row' and 'column'"),
        ({"groups": (0.5,)}, r"Shared\.groups = \(0\.5,\): allowed are whole numbers"),
        ({"groups": 3}, r"Shared\.groups = 3: allowed are whole numbers, and runs .* in a tuple"),
        ({"groups": ("2 off 0",)}, r"Shared\.groups = \('2 off 0',\): allowed are .* runs such as '128 of 0'"),
        ({"groups": ("0 of 1",)}, r"Shared\.groups = .*: '0 of 1' would be no place"),
        ({"groups": (0, "16777216 of 1")}, r"would be no place, or more than 16,777,216 with all others"),
        ({"groups": ("2 of 70000",)}, r"Shared\.groups = 70000: allowed is a whole number from 0 to 65535"),
        ({"groups": (0, -1)}, r"Shared\.groups = -1: allowed is a whole number from 0 to 65535"),
        ({"groups": (True,)}, r"Shared\.groups = \(True,\)"),
        ({"groups": (0,), "axis": 0.5}, r"Shared\.axis = 0\.5"),
        ({"across": "column", "axis": 1}, r"Shared\.axis = 1: it goes with groups"),
        ({"across": "chip", "name": "device"}, r"Shared\.name = 'device': allowed is a text other than"),
        ({"across": "chip", "name": 3}, r"Shared\.name = 3"),
    ],
)
def test_what_cannot_be_shared(arguments, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.Shared(FACTOR, **arguments)


@pytest.mark.parametrize(
    "deviation",
    [limpet.Additive(spread=0.1), limpet.Quantize(bits=4), limpet.Chain((FACTOR, limpet.Stuck(at_zero=0.1)))],
)
def test_what_is_no_factor_cannot_be_shared(deviation):
    with pytest.raises(limpet.LimpetError, match=r"Shared\.deviation = .*a relative deviation is needed"):
        limpet.Shared(deviation, across="chip")
    with pytest.raises(limpet.LimpetError, match=r"Shared\.deviation = 0\.1: give a deviation"):
        limpet.Shared(0.1, across="chip")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("deviation", [limpet.Graded(FACTOR, rows=(1.0, 2.0)), limpet.Shared(FACTOR, across="row")])
def test_what_depends_on_the_place_on_an_array_cannot_be_shared(deviation):
    with pytest.raises(limpet.LimpetError, match=r"Shared\.deviation = .* sits on no array"):
        limpet.Shared(deviation, across="column")


def test_a_leaf_without_values_has_no_factor():
    nothing = limpet.Shared(FACTOR, across="row")
    assert drawn(nothing, a=jnp.ones((0, 4)), b=jnp.ones((4, 0)))["a"].shape == (0, 4)


def test_levels_of_one_name_in_a_chain_would_draw_the_same_numbers():
    with pytest.raises(limpet.LimpetError, match=r"two of them are named 'chip'"):
        limpet.Chain((limpet.Shared(FACTOR, across="chip"), limpet.Shared(FACTOR, across="chip")))
    limpet.Chain((limpet.Shared(FACTOR, across="column"), limpet.Shared(FACTOR, across="row")))


def test_leaves_that_do_not_fit():
    with pytest.raises(limpet.LimpetError, match=r"Shared\.axis = 1: a leaf of shape \(3,\) has no axis 1"):
        drawn(limpet.Shared(FACTOR, groups=(0, 1, 1), axis=1), a=jnp.ones(3))
    with pytest.raises(limpet.LimpetError, match=r"Shared\.groups: 2 of them for a leaf of shape \(3,\), .* 3 places"):
        drawn(limpet.Shared(FACTOR, groups=(0, 1)), a=jnp.ones(3))


def test_columns_that_do_not_work():
    dead = limpet.Shared(limpet.DropConnect(fraction=0.3), across="column")
    chip = np.asarray(drawn(dead, a=jnp.ones((3, 2_000)))["a"])
    assert set(np.unique(chip)) == {0.0, 1.0}
    assert (chip == chip[0]).all()
    assert abs((chip[0] == 0).mean() - 0.3) < 5 * math.sqrt(0.21 / 2_000)


CORES = limpet.SynapseBranches(0.2, currents=((0.1, 0.2, 0.4), (0.1, 0.2, 0.4)), cores=(0, 0, 1, 1), core_spread=0.3)


def test_what_a_core_has_in_common_is_no_level_of_devices():
    """Without "device" the synapses of a core deviate alike, without "core" independently of one another."""
    weights = {"w_rec": jnp.full((50, 4), 0.4)}
    chips = {
        levels: np.asarray(limpet.Mismatch({"w_rec": True}, CORES).without(*levels)(KEY, weights)["w_rec"])
        for levels in (("device",), ("core",), ("device", "core"))
    }
    cores = chips["device",]
    np.testing.assert_array_equal(cores[:, [0, 2]], cores[:, [1, 3]])
    assert len(np.unique(cores)) == 2
    assert len(np.unique(chips["core",])) == 200
    np.testing.assert_allclose(chips["device", "core"], 0.4)
    both = limpet.Mismatch({"w_rec": True}, CORES)(KEY, weights)["w_rec"]
    np.testing.assert_allclose(cores / 0.4 * chips["core",], both, rtol=1e-5)


@pytest.mark.parametrize("kind", [limpet.Chain, lambda members: limpet.Crossbar(limpet.Chain(members))])
def test_levels_are_found_wherever_they_are_held(kind):
    assert levels_of(kind((CORES, limpet.Gaussian(0.1)))) == {"core", "device"}
    assert levels_of(without(kind((CORES, limpet.Gaussian(0.1))), ["device"])) == {"core"}
    assert levels_of(limpet.SynapseBranches(0.2, currents=((0.1, 0.2),))) == {"device"}
    with pytest.raises(limpet.LimpetError, match="nothing is drawn at 'chip'; the levels are core, device"):
        limpet.Hardware(w=limpet.Part("w", CORES)).without("chip")


def test_tails_are_as_heavy_as_the_documentation_says():
    """Beyond 4 sigma: one value in 280 with 5 degrees, one in 16,000 of a Gaussian."""
    for deviation, one_in in ((limpet.StudentT(1.0, degrees=5), 280), (limpet.Gaussian(1.0), 15_800)):
        law = deviation.distribution()
        assert 1 / (law.sf(5.0) + law.cdf(-3.0)) == pytest.approx(one_in, rel=0.005)
    words = " ".join(limpet.StudentT.__doc__.split())
    assert "With 5 degrees, one value in 280 is off by more than 4 sigma, where a Gaussian has one in 16,000" in words
