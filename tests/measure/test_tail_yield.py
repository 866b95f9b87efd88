"""Rare failures: probabilities that are known, and the chips that fail.

False alarms: the logarithm of a probability may be off by 5 of the standard errors that the result itself says, which
are checked against those of repetition in `tests/benchmarks/tail_coverage.py`; some 1e-5 each, for tails that are a
little heavier than normal ones. Seeds are fixed.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from shared_work import find_tail

import limpet
from limpet.measure._walk import share_variance

SIZE = 50
PARAMS = {"w": jnp.ones(SIZE)}
MISMATCH = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))


def distance(tree, _):
    """A standard normal number: how many sigma the mean of all devices is off."""
    return (tree["w"] - 1).sum() / (0.1 * SIZE**0.5)


def minus_distance(tree, _):
    return -distance(tree, None)


def half_sigmas(tree, _):
    """The same as a metric of few values, 0 for whatever is above -1: half of them at most count."""
    return jnp.minimum(jnp.floor(2 * distance(tree, None)), -2)


tail = partial(limpet.tail_yield, distance, PARAMS, MISMATCH, higher_is_better=True)


def require_near(found, wanted, largest_error=0.5):
    assert 0 < found.relative_error < largest_error
    off = math.log(found.failure / wanted) / math.sqrt(math.log1p(found.relative_error**2))
    assert abs(off) < 5, (found.failure, wanted, off)


# Limit states whose probability is known


def test_a_linear_boundary_down_to_1e_7():
    found = tail(target=-5.2, failure=1e-6, chips=2000)
    require_near(found, stats.norm.sf(5.2))
    assert found.evaluations == 2000 + 6 * 1800
    assert found.plain_chips > 100 * found.evaluations
    assert [level.share for level in found.levels[:-1]] == pytest.approx([0.1] * 6, abs=0.002)
    assert all(0.3 < level.accepted < 0.6 for level in found.levels[1:])


def test_resistance_less_load():
    """R - S: scalar leaves of two parts, of means 7 and 2 and standard deviation 1; both are exact."""
    hardware = limpet.Hardware(
        r=limpet.Part("r", limpet.Gaussian(sigma=1 / 7)), s=limpet.Part("s", limpet.Gaussian(sigma=1 / 2))
    )

    def reserve(tree, _):
        return tree["r"] - tree["s"]

    params = {"r": jnp.asarray(7.0), "s": jnp.asarray(2.0)}
    found = limpet.tail_yield(reserve, params, hardware, target=0.0, chips=2000)
    require_near(found, stats.norm.sf(5 / math.sqrt(2)), 0.25)


def four_branches(first, second, xp):
    """The series system of four branches, whose regions of failure lie on four sides."""
    bent, total, apart = (first - second) ** 2 / 10, (first + second) / 2**0.5, first - second
    straight = 7 / 2**0.5
    return xp.minimum(xp.minimum(3 + bent - total, 3 + bent + total), xp.minimum(apart + straight, straight - apart))


def test_four_branches():
    params = {"x": jnp.ones(2)}

    def reserve(tree, _):
        return four_branches(*(10 * (tree["x"] - 1)), jnp)

    # Across the diagonal the branches are bounds on the sum, so that one integral is left.
    def given_difference(apart):
        if abs(apart) > 7 / 2**0.5:
            return stats.norm.pdf(apart, scale=2**0.5)
        beyond = 2 * stats.norm.sf(2**0.5 * (3 + apart**2 / 10), scale=2**0.5)
        return beyond * stats.norm.pdf(apart, scale=2**0.5)

    wanted = integrate.quad(given_difference, -20, 20, points=[-7 / 2**0.5, 7 / 2**0.5], limit=500)[0]
    assert wanted == pytest.approx(2.2e-3, rel=0.02)  # as it is quoted
    found = limpet.tail_yield(reserve, params, MISMATCH_OF_TWO, target=0.0, chips=4000, failure=1e-3)
    require_near(found, wanted, 0.15)
    failing = np.array([limpet.freeze(params, MISMATCH_OF_TWO, chip=chip)["x"] for chip in found.chips[:400:8]])
    first, second = 10 * (failing - 1).T
    sides = {(bool(a + b > 0), bool(abs(a - b) > abs(a + b)), bool(a > b)) for a, b in zip(first, second, strict=True)}
    assert len({side[:1] if not side[1] else side[1:] for side in sides}) == 4


MISMATCH_OF_TWO = limpet.Mismatch({"x": True}, limpet.Gaussian(sigma=0.1))


def test_devices_that_do_not_work():
    """How many of 200 devices are dead is binomial: what is drawn as a uniform number is walked with as well."""
    dead = limpet.Mismatch({"w": True}, limpet.DropConnect(fraction=0.02))

    def count(tree, _):
        return (tree["w"] == 0).sum()

    found = limpet.tail_yield(count, {"w": jnp.ones(200)}, dead, target=11, chips=2000, higher_is_better=False)
    require_near(found, stats.binom.sf(11, 200, 0.02), 0.3)
    assert found.values[-1] == 12


def test_a_factor_of_the_die():
    """The mean of devices that each err by 10%, on dies that err by 5%: given the die, it is normal."""
    die = limpet.Shared(limpet.Gaussian(sigma=0.05), across="chip")
    levels = limpet.Mismatch({"w": True}, limpet.Chain((die, limpet.Gaussian(sigma=0.1))))

    def mean(tree, _):
        return tree["w"].mean()

    def given_die(off):
        return stats.norm.pdf(off) * stats.norm.cdf((0.8 / (1 + 0.05 * off) - 1) / (0.1 / SIZE**0.5))

    found = limpet.tail_yield(mean, PARAMS, levels, target=0.8, chips=2000)
    require_near(found, integrate.quad(given_die, -12, 12, points=[-4, 0], limit=500)[0], 0.3)


# What a metric may be like


def test_few_values_and_lower_is_better():
    found = limpet.tail_yield(half_sigmas, PARAMS, MISMATCH, target=-7, chips=2000, higher_is_better=True)
    require_near(found, stats.norm.sf(3.5), 0.4)
    assert all(level.bound == int(level.bound) for level in found.levels[:-1])
    assert set(found.values) <= {-8.0, -9.0, -10.0, -11.0}
    below = limpet.tail_yield(minus_distance, PARAMS, MISMATCH, target=3.5, chips=2000, higher_is_better=False)
    require_near(below, stats.norm.sf(3.5), 0.3)
    assert below.values[0] == max(below.values) > 3.5


def test_a_margin_leads_and_the_metric_decides():
    """Of a metric of two values nothing leads to the failures; a margin does, also one that is not in step with it."""

    def passes(tree, _):
        return (distance(tree, None) > -4.0).astype(jnp.float32)

    def margin(tree, _):
        return jnp.exp(distance(tree, None)) + 0.01 * jnp.sin(100 * tree["w"][0])

    with pytest.warns(UserWarning, match="'passes' may have too few values to lead there; give a continuous margin_fn"):
        blind = limpet.tail_yield(passes, PARAMS, MISMATCH, target=1)
    assert not blind.reached
    assert blind.interval()[1] > stats.norm.sf(4)
    assert "below" in str(blind)
    found = limpet.tail_yield(passes, PARAMS, MISMATCH, target=1, margin_fn=margin, chips=2000)
    require_near(found, stats.norm.sf(4), 0.4)
    assert found.margin == "margin"
    assert set(found.values) == {0.0}


def test_a_chip_without_a_number_fails():
    def broken(tree, _):
        off = distance(tree, None)
        return jnp.where(off < -3.5, jnp.nan, off)

    found = limpet.tail_yield(broken, PARAMS, MISMATCH, target=-9.0, chips=2000)
    require_near(found, stats.norm.sf(3.5), 0.3)
    assert np.isnan(found.values).all()


def test_frequent_failures_are_counted():
    found = tail(target=-1.0)
    failing = round(found.failure * 1000)
    assert found.interval() == pytest.approx(
        (stats.beta.ppf(0.025, failing, 1001 - failing), stats.beta.ppf(0.975, failing + 1, 1000 - failing))
    )
    assert found.interval()[0] < stats.norm.sf(1) < found.interval()[1]
    assert (found.evaluations, len(found.levels), len(found.chips)) == (1000, 1, failing)


def test_a_target_beyond_what_matters_is_bounded():
    found = tail(target=-9.0, failure=1e-2, check=500)
    assert (found.failure, found.relative_error, found.chips) == (0.0, math.inf, ())
    low, high = found.interval()
    assert low == 0
    assert stats.norm.sf(9) < high < 1e-2
    assert found.yield_at().low == 1 - high
    assert [level.plain for level in found.levels][2:] == [0]


# The chips


def test_chips_that_fail_can_be_rebuilt():
    found = tail(target=-4.0)
    assert list(found.values) == sorted(found.values)
    assert len(set(found.chips)) == len(found.chips)
    for chip, value in list(zip(found.chips, found.values, strict=True))[:: len(found.chips) // 5]:
        again = limpet.WalkedChip(chip.seed, chip.first, chip.steps, chip.generator)
        assert float(distance(limpet.freeze(PARAMS, MISMATCH, chip=again), None)) == pytest.approx(value, abs=1e-4)
    assert max(len(chip.steps) for chip in found.chips) > 5


def test_seeds_walk_apart_and_one_walks_again():
    first, again, other = (tail(target=-3.5, chips=limpet.Chips(300, seed=seed)) for seed in (0, 0, 1))
    assert first.chips == again.chips
    assert first.levels == again.levels
    assert not {chip.first for chip in first.chips} & {chip.first for chip in other.chips} or first != other
    assert first.failure != other.failure


def test_devices_change_nothing():
    mesh = jax.make_mesh((4,), ("chip",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    alone, shared = find_tail(), find_tail(mesh)
    assert alone.chips == shared.chips
    assert max(len(chip.steps) for chip in alone.chips) > 0
    np.testing.assert_allclose(alone.values, shared.values, rtol=1e-6)


def test_conditions_and_generators():
    """At half the scale 3.5 sigma are 7 of them; another generator draws other chips."""
    assert not tail(target=-3.5, condition=0.5, failure=1e-2).reached
    other = tail(target=-3.0, chips=limpet.Chips(1000, generator="threefry2x32"))
    require_near(other, stats.norm.sf(3))
    assert other.chips[0].generator == "threefry2x32"


@pytest.mark.long
def test_noise_of_products_is_walked_with():
    """A metric whose noise is that of a converter: the read is part of the chip."""
    noisy = limpet.Product(outputs=limpet.Converter(bits=12, bound=4.0, noise=0.1))
    hardware = limpet.Hardware(w=limpet.Part("w", limpet.Gaussian(sigma=0.0), product=noisy))

    def output(params, x):
        return (x @ params["w"]).sum()

    params, x = {"w": jnp.eye(2)}, jnp.ones((1, 2))
    found = limpet.tail_yield(output, params, hardware, target=1.6, batch=x, chips=500, failure=1e-2)
    spread = limpet.robustness_curve(output, params, hardware, scales=[1], batch=x, chips=2000).std()[0]
    require_near(found, stats.norm.sf(0.4 / spread), 0.5)
    value = limpet.on_chip(output, hardware, chip=found.chips[0])(params, x)
    assert float(value) == pytest.approx(found.values[0], abs=4e-3)  # a step of the converter


# What is said


def test_a_file_holds_all_of_it(tmp_path):
    found = tail(target=-3.5, condition=limpet.Condition(read=2))
    found.save(tmp_path / "tail.json")
    again = limpet.TailYield.load(tmp_path / "tail.json")
    assert str(again) == str(found)
    assert again.chips == found.chips
    assert again.interval(0.9) == found.interval(0.9)
    assert again.to_dict().keys() == found.to_dict().keys()
    assert (again.condition, again.fingerprint, again.draws_version) == (
        found.condition,
        found.fingerprint,
        limpet.DRAWS_VERSION,
    )
    with pytest.raises(limpet.LimpetError, match=r"tail.npz: give a name that ends in .json"):
        found.save(tmp_path / "tail.npz")
    (tmp_path / "other.json").write_text('{"seed": 0}')
    (tmp_path / "text.json").write_text("no tail")
    for name in ("missing", "other", "text"):
        with pytest.raises(limpet.MetricError, match="tail"):
            limpet.TailYield.load(tmp_path / f"{name}.json")


def test_it_prints_its_levels():
    found = tail(target=-3.5, check=2000)
    lines = str(found).splitlines()
    low, high = found.interval()
    assert lines[0] == f"distance below -3.5: {found.failure:.2g} of all chips ({low:.2g} to {high:.2g})"
    assert lines[1].split() == "distance chips so bad probability step accepted of independent".split()
    assert len(lines) == len(found.levels) + 3
    assert lines[-2].split()[0] == "target"
    assert repr(found) == f"TailYield('distance', target -3.5, failure {found.failure:.3g})"
    for level in found.levels[:2]:  # independent chips agree
        reached = math.prod(one.share for one in found.levels[: found.levels.index(level) + 1])
        assert abs(level.plain / 2000 / reached - 1) < 5 * math.sqrt(1 / (2000 * reached) + 9 / 1000 * 2)


def test_variances_of_shares():
    rng = np.random.default_rng(0)
    inside = rng.random((10, 4000)) < 0.2
    assert share_variance(inside) == pytest.approx(4 / inside.size, rel=0.1)
    alike = np.repeat(rng.random((1, 4000)) < 0.2, 10, axis=0)
    assert share_variance(alike) == pytest.approx(4 / 4000, rel=0.05)
    assert share_variance(np.zeros((10, 4), bool)) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chips": 40}, r"chips = 40: at least 50 are needed"),
        ({"chips": limpet.Chips(100, antithetic=True)}, r"chips.antithetic: walks have no mirror images"),
        ({"chips": limpet.Precision(0.1)}, r"tail_yield takes a number of chips"),
        ({"failure": 0}, r"failure = 0: allowed is a number"),
        ({"failure": 1e-13}, r"failure = 1e-13: allowed is a number"),
        ({"check": -1}, r"check = -1: allowed is a whole number"),
        ({"target": math.nan}, r"target = nan: allowed is a finite number"),
        ({"margin_fn": lambda tree, _: {"a": 1.0}}, r"a margin is one"),
    ],
)
def test_what_is_not_allowed(arguments, message):
    with pytest.raises(limpet.MetricError, match=message):
        tail(**{"target": -3.0} | arguments)


def test_hardware_without_a_tail_is_refused():
    quantized = limpet.Mismatch({"w": True}, limpet.Quantize(bits=4))
    with pytest.raises(limpet.MetricError, match="nothing is drawn, so that all chips are the same"):
        limpet.tail_yield(distance, PARAMS, quantized, target=0.0)
    limits = limpet.Limits(low=0.5, policy="error")
    refused = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1), limits=limits)
    with pytest.raises(limpet.LimpetError, match=r"limits of w refuse chips beyond them .*a walk looks for"):
        limpet.tail_yield(distance, PARAMS, refused, target=0.0)
    with pytest.raises(limpet.MismatchNotApplied, match="does not depend on the draw"):
        limpet.tail_yield(lambda tree, _: jnp.ones(()), PARAMS, MISMATCH, target=0.0)
