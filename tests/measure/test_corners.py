"""Corners: chips by name that replay, and the same chips under several conditions."""

import logging
from dataclasses import replace
from importlib import import_module

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from flax import nnx

import limpet

mpl.use("Agg")
corners_module = import_module("limpet.measure._corners")  # the package's name is the function's

PARAMS = {"w": jnp.linspace(0.5, 1.5, 12)}
WEIGHTS = jnp.linspace(1.0, 2.0, 12)
CHIP = limpet.Chain(
    (limpet.Programming(spread=0.1), limpet.Drift(exponent=0.05, spread=0.3), limpet.ReadNoise(spread=0.05))
)
HARDWARE = limpet.Hardware(crossbar=limpet.Part("w", CHIP))
PLAIN = limpet.Hardware(crossbar=limpet.Part("w", limpet.Gaussian(0.1)))
CHIPS = limpet.Chips(60, seed=3)
CONDITIONS = {
    "fresh": limpet.Condition(),
    "a year": limpet.Condition(time="1 year"),
    "twice": limpet.Condition(scale=2.0, read=4),
    "read again": limpet.Condition(0.5, "1 day", read=7),
}


def revealed(tree, _=None):
    return (tree["w"] * WEIGHTS).sum()


def mean_over(tree, batch):
    return (tree["w"] * batch).sum(axis=1).mean()


def measured(**changes):
    settings = {"conditions": CONDITIONS, "target": 15.0, "chips": CHIPS} | changes
    return limpet.corners(revealed, PARAMS, HARDWARE, **settings)


@pytest.fixture(scope="module")
def found():
    return measured()


def by_hand(rows, target, **changes):
    """A curve of chips whose values are written down."""
    values = np.array(rows, np.float64)
    conditions = tuple(limpet.Condition(1.0 + row) for row in range(len(values)))
    scales = [condition.scale for condition in conditions]
    settings = {"axis": "scale", "conditions": conditions, "target": target} | changes
    return limpet.RobustnessCurve("accuracy", scales, values, **settings)


@pytest.mark.parametrize("which", ["worst", 0.05, 0.5, 0.95, "1.5 sigma", "-1 sigma"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_a_corner_replays(found, name, which):
    corner = found.at(name).corner(which)
    frozen = limpet.freeze(PARAMS, HARDWARE, chip=corner)
    numbers = {"chip": corner.chip, "seed": corner.seed, "condition": corner.condition}
    np.testing.assert_array_equal(frozen["w"], limpet.freeze(PARAMS, HARDWARE, **numbers)["w"])
    np.testing.assert_allclose(revealed(frozen), corner.value, rtol=2e-6)
    np.testing.assert_allclose(limpet.on_chip(revealed, HARDWARE, chip=corner)(PARAMS), corner.value, rtol=2e-6)


def test_corners_stand_where_their_names_say():
    shuffled = np.random.default_rng(0).permutation(1000) / 10  # .0 to 99.9
    for better, worst_first in ((True, np.arange(1000)), (False, np.arange(1000)[::-1])):
        curve = by_hand([shuffled], 0.5, higher_is_better=better)
        places = {
            "worst": 0,
            0.001 if better else 0.999: 0,
            0.05 if better else 0.95: 49,
            0.5: 499,  # of an even number of chips, the worse of the two in the middle
            0.95 if better else 0.05: 950,
            "1 sigma": 158,  # Phi(-1) = .158655
            "-1 sigma": 841,
            "3 sigma": 1,  # Phi(-3) = .00135
            "-3 sigma": 998,
            "0 sigma": 499,
        }
        for which, place in places.items():
            corner = curve.corner(which)
            assert corner.value == worst_first[place] / 10, which
            assert shuffled[corner.chip] == corner.value


def test_a_chip_that_failed_is_the_worst_and_one_of_equal_chips_the_first():
    curve = by_hand([[0.9, 0.8, np.nan, 0.8]], 0.5)
    assert curve.corner("worst").chip == curve.worst_chip(1.0) == 2
    assert np.isnan(curve.corner("worst").value)
    assert curve.corner(0.5).chip == 1
    without = by_hand([[0.9, 0.8, 0.7]], 0.5, excluded_chips=(1,))
    assert without.corner("worst").chip == 3


@pytest.mark.parametrize(
    ("which", "sigma", "changes", "said"),
    [
        ("best", None, {}, "corner 'best': allowed are 'worst', a quantile"),
        (0.0, None, {}, "corner 0.0: allowed"),
        (True, None, {}, "corner True: allowed"),
        (0.1, None, {}, r"corner '10%': one chip in 10 is as far out, which 4 chips do not show.*limpet.tail_yield"),
        ("6 sigma", None, {}, r"'6 sigma': one chip in 1.014e\+09 is as far out"),
        ("60 sigma", None, {}, r"'60 sigma': one chip in inf is as far out"),
        ("worst", 3.0, {}, "scale = 3: was not measured"),
        ("worst", None, {"antithetic": True}, "antithetic chips have no numbers"),
        ("worst", None, {"conditions": ()}, "does not say under which conditions"),
    ],
)
def test_corners_that_there_are_not(which, sigma, changes, said):
    with pytest.raises(limpet.MetricError, match=said):
        by_hand([[0.9, 0.8, 0.7, 0.6]], 0.5, **changes).corner(which, sigma)


def test_a_curve_of_several_strengths_is_asked_at_one():
    curve = limpet.robustness_curve(revealed, PARAMS, PLAIN, sigmas=[0.05, 0.2], chips=CHIPS)
    with pytest.raises(limpet.MetricError, match=r"say at which: 0.05, 0.2"):
        curve.corner("worst")
    corner = curve.corner("worst", 0.2)
    assert (corner.chip, corner.condition.scale) == (curve.worst_chip(0.2), 2.0)
    np.testing.assert_allclose(revealed(limpet.freeze(PARAMS, PLAIN, chip=corner)), corner.value, rtol=2e-6)
    assert str(corner).startswith(f"worst: chip {corner.chip} of seed 3 at scale 2, revealed ")


@pytest.mark.parametrize("beside", [{"seed": 3}, {"generator": "threefry2x32"}, {"condition": 1.0}])
def test_a_corner_names_its_chip_alone(found, beside):
    corner = found.at("fresh").corner("worst")
    with pytest.raises(limpet.LimpetError, match="the corner 'worst'"):
        limpet.freeze(PARAMS, HARDWARE, chip=corner, **beside)
    with pytest.raises(limpet.LimpetError, match="the corner 'worst' holds its own"):
        limpet.on_chip(revealed, HARDWARE, chip=corner, **beside)


def test_a_corner_is_of_the_hardware_that_was_measured(found):
    corner = found.at("fresh").corner("worst")
    with pytest.raises(limpet.MetricError, match="found on hardware of fingerprint"):
        limpet.freeze(PARAMS, PLAIN, chip=corner)
    with pytest.raises(limpet.MetricError, match="found on hardware of fingerprint"):
        limpet.on_chip(revealed, PLAIN, chip=corner)(PARAMS)


def test_chips_are_the_same_under_every_condition(found):
    recipe = HARDWARE.on(PARAMS)
    for name, condition in CONDITIONS.items():
        expected = [revealed(recipe(limpet.virtual_chip(3, chip), PARAMS, condition)) for chip in range(CHIPS.most)]
        np.testing.assert_allclose(found.at(name).values[0], expected, rtol=1e-5)
        rest = condition._replace(scale=1.0)
        alone = limpet.robustness_curve(
            revealed, PARAMS, HARDWARE, scales=[condition.scale], condition=rest, chips=CHIPS
        )
        np.testing.assert_allclose(found.at(name).values, alone.values, rtol=2e-6)
        assert found.at(name).fingerprint == alone.fingerprint
        assert found.conditions[name] == alone.conditions[0]


def test_two_programs_measure_all_conditions_and_a_second_call_compiles_none(found, caplog):
    with caplog.at_level(logging.WARNING, logger="jax"), jax.log_compiles():
        again = measured(chips=limpet.Chips(60, seed=4), target=14.0)
        assert not [record for record in caplog.records if "compilation of jit(values)" in record.getMessage()]
        assert again.curve.seed == 4
        measured(
            conditions={f"{count}": 1.0 + count for count in range(5)}
        )  # five without a time: one of another shape
    assert sum("compilation of jit(values)" in record.getMessage() for record in caplog.records) == 1


def test_the_joint_yield_is_that_of_chips_which_pass_everywhere():
    """90 of 100 pass each: 90 pass both where the same fail, 80 where others do."""
    good, same, others = np.ones(100), np.ones(100), np.ones(100)
    good[:10], same[:10], others[10:20] = 0.5, 0.4, 0.5
    for second, joint in ((same, 0.9), (others, 0.8)):
        found = limpet.Corners(("one", "two"), by_hand([good, second], 0.7))
        assert {name: share.fraction for name, share in found.yields().items()} == {"one": 0.9, "two": 0.9}
        assert found.joint_yield() == limpet.results.yield_of(round(100 * joint), 100, 0.95, "exact")
        assert found.joint_yield(0.99).low < found.joint_yield().low
        assert found.reaches().all(axis=0).sum() == 100 * joint


def test_the_joint_interval_covers():
    """Two conditions with much in common; 2,000 times 40 chips. False alarm: 95% - 4 standard errors, 3e-5."""
    random = np.random.default_rng(1)
    both = random.normal(size=(2000, 1, 40)) + 0.5 * random.normal(size=(2000, 2, 40))
    passing = random.normal(size=(400_000, 1)) + 0.5 * random.normal(size=(400_000, 2))
    truth = (passing > -1).all(axis=1).mean()
    shares = [limpet.Corners(("a", "b"), by_hand(rows, -1.0)).joint_yield() for rows in both]
    covered = np.mean([share.low <= truth <= share.high for share in shares])
    assert covered > 0.95 - 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_failed_chips_and_losses_in_the_row_of_all():
    values = [[0.2, 0.1, np.nan, 0.3], [0.1, 0.6, 0.2, 0.2]]
    found = limpet.Corners(("one", "two"), by_hand(values, 0.35, higher_is_better=False))
    np.testing.assert_array_equal(found.worst_values(), [0.2, 0.6, np.nan, 0.3])
    assert str(found).splitlines()[-1].split() == "all of them 0.3667 inf 2 0.5 0.06759 to 0.9324 1".split()
    assert found.with_target(0.7).joint_yield().fraction == 0.75


def test_it_is_saved_printed_and_drawn(found, tmp_path):
    found.save(tmp_path / "corners.npz")
    again = limpet.Corners.load(tmp_path / "corners.npz")
    assert str(again) == str(found)
    assert again.conditions == found.conditions
    assert np.array_equal(again.curve.values, found.curve.values)
    assert [line.split("  ")[0] for line in str(found).splitlines()[2:]] == [*CONDITIONS, "all of them"]
    axes = found.plot()
    assert [label.get_text().split("\n")[0] for label in axes.get_yticklabels()] == [*CONDITIONS, "all of them"]
    found.curve.save(tmp_path / "curve.npz")
    for file, said in (("curve.npz", "names no conditions"), ("none.npz", "there is no such file")):
        with pytest.raises(limpet.MetricError, match=rf"{file}: holds no corners \(.*{said}"):
            limpet.Corners.load(tmp_path / file)
    with pytest.raises(limpet.MetricError, match="holds no robustness curve"):
        limpet.RobustnessCurve.load(tmp_path / "corners.npz")
    with pytest.raises(limpet.MetricError, match="there is no condition 'warm'; there are fresh, a year"):
        found.at("warm")


def test_batches_are_averaged():
    x = jnp.ones((6, 12)) * jnp.arange(1.0, 7.0)[:, None]
    settings = {"conditions": {"fresh": 1, "twice": 2}, "target": 1.0, "chips": 8}
    whole = limpet.corners(mean_over, PARAMS, PLAIN, **settings, batch=x)
    parts = limpet.corners(mean_over, PARAMS, PLAIN, **settings, batches=[x[:4], x[4:]])
    np.testing.assert_allclose(parts.curve.values, whole.curve.values, rtol=1e-5)
    with pytest.raises(limpet.MetricError, match="gone over more than once"):
        limpet.corners(mean_over, PARAMS, PLAIN, **settings, batches=iter([x]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conditions": {}}, "conditions: there is none"),
        ({"conditions": [limpet.Condition()]}, "allowed is a dict of limpet.Condition by name"),
        ({"conditions": {"": 1.0}}, "conditions: '' is no name"),
        ({"conditions": {"all of them": 1.0}}, "'all of them' is no name"),
        ({"conditions": {"a": "1 year"}}, r"conditions\['a'\] = '1 year': give limpet.Condition"),
        ({"conditions": {"a": -1.0}}, "scale = -1"),
        ({"conditions": {"a": limpet.Condition(mirrored=True)}}, r"conditions\['a'\].mirrored: a mirror image"),
        ({"mismatch": PLAIN, "conditions": {"a": limpet.Condition(time=5.0)}}, r"\['a'\].time = 5: no deviation"),
        ({"mismatch": PLAIN, "conditions": {"a": limpet.Condition(read=1)}}, r"\['a'\].read = 1: reads of this"),
        ({"target": None}, "target = None: allowed is a finite number"),
        ({"chips": limpet.Chips(4, antithetic=True)}, "chips.antithetic: corners name chips"),
        ({"chips": limpet.Precision(0.1)}, "corners takes a number of chips"),
    ],
)
def test_what_cannot_be_meant(changes, said):
    settings = {"mismatch": HARDWARE, "conditions": CONDITIONS, "target": 15.0, "chips": 4} | changes
    with pytest.raises(limpet.LimpetError, match=said):
        limpet.corners(revealed, PARAMS, **settings)


def test_corners_made_by_hand_are_checked():
    curve = by_hand([[0.9, 0.8], [0.7, 0.6]], 0.5)
    for names, held, said in (
        (("a",), curve, "1 names of conditions, where the curve has 2"),
        (("a", "a"), curve, "a stands there twice"),
        (("a", "b"), curve.with_target(None), "has no target"),
        (("a", "b"), by_hand([[0.9, 0.8], [0.7, 0.6]], 0.5, conditions=()), "does not say its conditions"),
        (("a", "b"), by_hand([[0.9, 0.8], [0.7, 0.6]], 0.5, antithetic=True), "antithetic chips have no numbers"),
        (("a", "b"), None, "curve = None: allowed is a limpet.RobustnessCurve"),
    ):
        with pytest.raises(limpet.MetricError, match=said):
            limpet.Corners(names, held)


def test_an_interrupt_keeps_the_chips_that_all_conditions_have(found, monkeypatch):
    over = corners_module.curves_over

    def interrupted(strengths, metric_fn, tree, chips, *rest):
        fewer = chips if strengths.drawn[0].time is None else replace(chips, count=40)
        return over(strengths, metric_fn, tree, fewer, *rest)

    monkeypatch.setattr(corners_module, "curves_over", interrupted)
    again = measured()
    assert again.curve.chips == 40
    np.testing.assert_array_equal(again.curve.values, found.curve.values[:, :40])


def test_a_corner_of_a_module_replays_in_a_compiled_function():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    hardware = limpet.Hardware(
        weights=limpet.Part(
            "kernel", limpet.Gaussian(0.1), product=limpet.Product(outputs=limpet.Converter(6, bound=4))
        )
    )
    x = jnp.ones((1, 3))

    def output(model, x):
        return model(x).sum()

    corner = limpet.robustness_curve(output, model, hardware, scales=[2], batch=x, chips=20).corner(0.1)
    on_corner = jax.jit(limpet.on_chip(output, hardware, chip=corner))
    np.testing.assert_allclose(on_corner(model, x), corner.value, rtol=2e-6)
    weights = hardware.without_products()
    corner = limpet.robustness_curve(output, model, weights, scales=[2], batch=x, chips=20).corner(0.1)
    np.testing.assert_allclose(output(limpet.freeze(model, weights, chip=corner), x), corner.value, rtol=2e-6)
