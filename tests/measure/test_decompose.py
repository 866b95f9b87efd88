"""Where variance comes from: shares that are known, and chips that are mixed of two.

False alarms: a share may be off by 5 of the standard errors that its interval says (half of it over 1.96), some 1e-6
each for estimates that are nearly normal; bootstrap finds the standard error of so many pairs to some percent. Seeds
are fixed.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.measure import _programs

SIGMAS = (0.1, 0.2, 0.3, 0.15, 0.05, 0.25)
SIX = {f"w{place}": jnp.ones(()) for place in range(6)}
SIX_PARTS = limpet.Hardware(
    {f"part {place}": limpet.Part(f"w{place}", limpet.Gaussian(sigma=sigma)) for place, sigma in enumerate(SIGMAS)}
)
DIE = limpet.Shared(limpet.Gaussian(sigma=0.05), across="chip")
LEVELS = limpet.Chain((DIE, limpet.Gaussian(sigma=0.2), limpet.ReadNoise(spread=0.1)))
TWO = {"a": jnp.ones(16), "b": jnp.ones(16)}
TWO_PARTS = limpet.Hardware(left=limpet.Part("a", LEVELS), right=limpet.Part("b", LEVELS))


def total(tree, _):
    return sum(leaf.mean() for leaf in jax.tree.leaves(tree))


def require_near(found, wanted, largest_error=np.inf):
    """All shares of a decomposition of something additive, where first-order and total ones are the same."""
    shares = found.shares()
    assert shares.keys() == wanted.keys()
    for source, value in wanted.items():
        share = shares[source]
        for got, (low, high) in ((share.first_order, share.first_order_interval), (share.total, share.total_interval)):
            error = (high - low) / 2 / 1.96
            assert abs(got - value) < 5 * error, (source, got, value, error)
            assert error < largest_error


# Shares that are known


def test_six_sources_that_add_up_to_5_percent_at_20_times_the_evaluations_of_a_curve_of_five_strengths():
    found = limpet.decompose(total, SIX, SIX_PARTS, by="part", chips=1250)
    assert found.evaluations == 20 * 5 * 100
    squares = np.array(SIGMAS) ** 2
    wanted = dict(zip(SIX_PARTS.parts, squares / squares.sum(), strict=True))
    require_near(found, wanted, largest_error=0.05 / 1.96)
    assert abs(found.interactions) < 0.1


def test_a_product_of_two_is_all_interaction():
    def metric(tree, _):
        return (tree["w0"] - 1) * (tree["w1"] - 1)

    hardware = limpet.Hardware({name: SIX_PARTS.parts[name] for name in ("part 0", "part 1")})
    found = limpet.decompose(metric, {"w0": jnp.ones(()), "w1": jnp.ones(())}, hardware, by="part", chips=4000)
    for share in found.shares().values():
        assert share.first_order == pytest.approx(0, abs=0.15)
        assert share.total == pytest.approx(1, abs=0.15)
    assert found.interactions == pytest.approx(1, abs=0.2)


def test_a_source_without_effect_has_nothing():
    def metric(tree, _):
        return tree["w0"] + 0 * tree["w1"]

    hardware = limpet.Hardware({name: SIX_PARTS.parts[name] for name in ("part 0", "part 1")})
    tree = {"w0": jnp.ones(()), "w1": jnp.ones(())}
    shares = limpet.decompose(metric, tree, hardware, by="part", chips=100).shares()
    assert shares["part 1"] == (0, 0, (0, 0), (0, 0))
    assert shares["part 0"][:2] == pytest.approx((1, 1))


COMMON, DEVICE, READ = (2 * 0.05) ** 2, 0.2**2 / 16, 0.1**2 / 16  # the last two of each leaf


@pytest.mark.parametrize(
    ("by", "variances"),
    [
        ("level", {"chip": COMMON, "device": 2 * DEVICE, "read": 2 * READ}),
        ("part", {"chip, in common": COMMON, "left": DEVICE + READ, "right": DEVICE + READ}),
        ("leaf", {"chip, in common": COMMON, "a": DEVICE + READ, "b": DEVICE + READ}),
        (
            ("level", "part"),
            {
                "chip, in common": COMMON,
                "left, device": DEVICE,
                "left, read": READ,
                "right, device": DEVICE,
                "right, read": READ,
            },
        ),
    ],
)
def test_levels_within_parts_and_leaves(by, variances):
    """What leaves have in common is a source of its own: it is no leaf's."""
    found = limpet.decompose(total, TWO, TWO_PARTS, by=by, chips=1000)
    require_near(found, {source: variance / sum(variances.values()) for source, variance in variances.items()})


def test_what_all_leaves_of_a_part_have_in_common_is_that_parts():
    hardware = limpet.Hardware(all=limpet.Part("*", LEVELS))
    assert limpet.decompose(total, TWO, hardware, by="part", chips=2).sources == ("all",)
    assert limpet.decompose(total, TWO, hardware, by=("part", "level"), chips=2).sources == (
        "all, chip",
        "all, device",
        "all, read",
    )


def test_the_test_set_is_told_apart_from_chips():
    """Of w times the mean of x: w is off by 10%, and the mean by its standard error."""
    x = jnp.asarray(np.random.default_rng(0).normal(1.0, 1.5, 200), jnp.float32)

    def metric(tree, batch):
        return tree["w0"] * (batch[0] * batch[1]).mean()

    hardware, tree = limpet.Hardware(w=limpet.Part("*", limpet.Gaussian(0.1))), {"w0": jnp.ones(())}
    found = limpet.decompose(metric, tree, hardware, by="part", chips=1000, batch=(x, jnp.float32(2.0)), test_set=True)
    of_chips, of_examples = (0.1 * x.mean()) ** 2, x.var() / 200
    whole = of_chips + of_examples + 0.01 * of_examples
    require_near(found, {"w": float(of_chips / whole), "test set": float(of_examples / whole)})
    assert "over chips and test sets of 200 examples" in str(found)
    for batch in (None, jnp.float32(1.0), (x, x[:3])):
        with pytest.raises(limpet.MetricError, match="test_set"):
            limpet.decompose(metric, tree, hardware, batch=batch, test_set=True)


# Chips that are mixed of two


def value_of(tree):
    return pytest.approx(float(total(tree, None)), rel=1e-6)


def test_pairs_are_of_virtual_chips_and_are_the_same_in_every_call():
    few = limpet.decompose(total, TWO, TWO_PARTS, by="leaf", chips=5)
    more = limpet.decompose(total, TWO, TWO_PARTS, by="level", chips=7)
    curve = limpet.robustness_curve(total, TWO, TWO_PARTS, scales=[1], chips=10, higher_is_better=True)
    for decomposed in (few, more):
        both = np.stack([decomposed.first, decomposed.second], axis=1).ravel()[:10]
        np.testing.assert_allclose(both, curve.values[0], rtol=1e-6)


def test_a_leaf_from_the_other_chip_is_that_chips_leaf():
    hardware = limpet.Hardware(
        left=limpet.Part("a", limpet.Gaussian(0.1), limits=limpet.Limits(0.9, 1.1, "truncate")),
        right=limpet.Part("b", limpet.Chain((limpet.Quantize(bits=4), limpet.LogNormal(0.1)))),
    )
    found = limpet.decompose(total, TWO, hardware, by="leaf", chips=4)
    chips = [limpet.freeze(TWO, hardware, chip=chip) for chip in range(8)]
    for pair in range(4):
        first, second = chips[2 * pair : 2 * pair + 2]
        assert found.mixed[found.sources.index("a"), pair] == value_of(first | {"a": second["a"]})
        assert found.mixed[found.sources.index("b"), pair] == value_of(first | {"b": second["b"]})


def test_a_level_from_the_other_chip_is_that_chips_level():
    deviation = limpet.Chain((DIE, limpet.Graded(limpet.Gaussian(0.2), columns=(1.0,) * 15 + (2.0,))))
    hardware = limpet.Hardware(all=limpet.Part("*", deviation))
    recipe = hardware.on(TWO)
    found = limpet.decompose(total, TWO, hardware, by="level", chips=3)
    keys = [limpet.virtual_chip(0, chip) for chip in range(6)]
    dies = [recipe.without("device")(key, TWO) for key in keys]
    devices = [recipe.without("chip")(key, TWO) for key in keys]
    for pair in range(3):
        for level, die, device in (("chip", 1, 0), ("device", 0, 1)):
            mixed = jax.tree.map(jnp.multiply, dies[2 * pair + die], devices[2 * pair + device])
            assert found.mixed[found.sources.index(level), pair] == value_of(mixed)


def test_one_program_serves_all_sources_and_seeds():
    before = len(_programs._KEPT)
    jax.clear_caches()
    for seed in (0, 1):
        limpet.decompose(lambda tree, _: 3 * total(tree, None), TWO, TWO_PARTS, chips=limpet.Chips(2, seed=seed))
    assert len(_programs._KEPT) <= before + 1


def test_the_generator_and_the_condition_are_those_that_are_asked_for():
    chips = limpet.Chips(50, seed=3, generator="threefry2x32")
    condition = limpet.Condition(scale=0.5, read=7)
    found = limpet.decompose(total, TWO, TWO_PARTS, by="level", chips=chips, condition=condition)
    key = limpet.virtual_chip(3, 4, "threefry2x32")
    assert found.first[2] == value_of(TWO_PARTS.on(TWO)(key, TWO, condition))
    assert found.condition == condition


def test_synapses_of_a_core():
    branches = limpet.SynapseBranches(spread=0.2, currents=((0.1, 0.2, 0.4, 0.8),), core_spread=0.1)
    hardware = limpet.Hardware(synapses=limpet.Part("*", branches))
    found = limpet.decompose(total, {"a": jnp.full((8, 4), 0.7), "b": jnp.full((4, 8), 0.7)}, hardware, chips=300)
    assert found.sources == ("synapses, core", "synapses, device")
    assert found.shares()["synapses, core"].total > 0.5
    assert 1 - found.interactions == pytest.approx(1, abs=0.2)


def test_products_have_noise_of_each_read_and_gains_of_their_own():
    converter = limpet.Converter(bound=10.0, gain=limpet.Gaussian(0.1), noise=0.02)
    product = limpet.Product(outputs=converter)
    hardware = limpet.Hardware(arrays=limpet.Part("w", limpet.Gaussian(0.1), product=product))
    x = jnp.ones((1, 8))

    def metric(tree, x):
        return (x @ tree["w"])[0, 0]

    found = limpet.decompose(metric, {"w": jnp.full((8, 2), 0.5)}, hardware, by="level", chips=500, batch=x)
    assert found.sources == ("device", "product", "read")
    shares = found.shares()
    # 4 is off by 10% / sqrt(8) for its devices, by 10% for its gain, and by 0.02 * 0.5 * ... for noise.
    assert shares["product"].total > 0.5 > shares["device"].total > 0.02
    assert shares["read"].total > 0
    curve = limpet.robustness_curve(
        metric, {"w": jnp.full((8, 2), 0.5)}, hardware, scales=[1], chips=10, batch=x, higher_is_better=True
    )
    np.testing.assert_allclose(np.stack([found.first, found.second], 1).ravel()[:10], curve.values[0], rtol=1e-5)


# Deviations of users


@dataclass(frozen=True)
class Offset(limpet.Deviation):
    shared: bool = False

    def deviate(self, draw, value, strength):
        drawn = draw.shared("offset") if self.shared else draw
        return value + 0.1 * strength * drawn.normal(())


def test_a_class_that_draws_in_common_without_saying_so_is_refused():
    hardware = limpet.Hardware(left=limpet.Part("a", Offset()), right=limpet.Part("b", limpet.Gaussian(0.4)))
    require_near(limpet.decompose(total, TWO, hardware, by="part", chips=500), {"left": 0.5, "right": 0.5})
    hardware = limpet.Hardware(left=limpet.Part("a", Offset(True)), right=limpet.Part("b", Offset(True)))
    with pytest.raises(limpet.LimpetError, match=r"draw\.shared"):
        limpet.decompose(total, TWO, hardware, by="part", chips=2)


# What is refused, and what is left out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"by": "parts"}, "by = 'parts': allowed are 'part', 'level'"),
        ({"by": ()}, "by = "),
        ({"by": ("part", "part")}, "by = "),
        ({"chips": limpet.Chips(4, antithetic=True)}, "chips.antithetic"),
        ({"mismatch": limpet.Mismatch({"a": True, "b": True}, limpet.Gaussian(0.1))}, "a recipe by hand has no parts"),
        ({"mismatch": TWO_PARTS.without("chip", "device")}, "nothing is drawn"),
        (
            {
                "mismatch": limpet.Hardware(
                    all=limpet.Part("*", limpet.Gaussian(0.1), limits=limpet.Limits(0.9, 1.1, "error"))
                )
            },
            "limits of a, b refuse",
        ),
    ],
)
def test_refused(arguments, words):
    with pytest.raises(limpet.LimpetError, match=words):
        limpet.decompose(total, TWO, **{"mismatch": TWO_PARTS, "chips": 2} | arguments)


def test_chips_without_a_number_are_left_out():
    def metric(tree, _):
        return jnp.where(tree["a"].mean() > 1.1, jnp.nan, total(tree, None))

    with pytest.warns(UserWarning, match="pairs are left out"):
        found = limpet.decompose(metric, TWO, TWO_PARTS, by="level", chips=200)
    assert 0 < found.failed < 100
    assert "left out, where the metric is no number" in str(found)
    assert np.isfinite(found.interactions)
    with pytest.raises(limpet.MetricError, match="on no pair"):
        limpet.decompose(lambda tree, _: jnp.nan * total(tree, None), TWO, TWO_PARTS, chips=2)


@pytest.mark.long
def test_intervals_cover():
    """95% of 200 seeds, 6 shares each of one sort: below 90% or above 99% by chance once in 10^3, were all shares of a
    seed as good as one."""
    squares = np.array(SIGMAS) ** 2
    covered = []
    for seed in range(200):
        found = limpet.decompose(total, SIX, SIX_PARTS, by="part", chips=limpet.Chips(400, seed=seed))
        shares = [
            share.first_order_interval + share.total_interval + (value,)
            for share, value in zip(found.shares().values(), squares / squares.sum(), strict=True)
        ]
        covered.append([[low <= v <= high, less <= v <= more] for low, high, less, more, v in shares])
    first_order, total_ones = np.mean(covered, axis=(0, 1))
    assert 0.9 < first_order < 0.99
    assert 0.9 < total_ones < 0.99
