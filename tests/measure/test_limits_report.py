"""What is counted of values beyond limits, and that chips beyond strict ones are not measured."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import limpet

PARAMS = {"w": jnp.full(500, 2.0), "b": jnp.full(4, -1.0), "c": jnp.ones(3)}


def hardware(policy, sigma=0.5):
    return limpet.Hardware(
        weights=limpet.Part("w", limpet.Gaussian(sigma), limpet.Limits(0.5, 4.0, policy)),
        biases=limpet.Part("b", limpet.LogNormal(sigma), limpet.Limits(high=0.0, policy="report")),
        others=limpet.Part("c", limpet.Gaussian(sigma)),
    )


@pytest.mark.parametrize("policy", ["clip", "truncate", "report", "error"])
def test_values_are_counted_whatever_the_policy_is(policy):
    """False alarm: 6e-7, 5 standard errors of a share of 20,000 values."""
    report = limpet.limits_report(hardware(policy), PARAMS, chips=limpet.Chips(40, seed=3))
    assert list(report.leaves) == ["b", "w"]
    weights = report.leaves["w"]
    expected = stats.norm.sf(2.0) + stats.norm.cdf(-1.5)
    assert abs(weights.share - expected) < 5 * math.sqrt(expected / 20_000)
    assert weights.chips == report.chips_beyond == report.chips == 40
    assert weights.smallest < 0.5
    assert weights.largest > 4.0
    assert (report.leaves["b"].share, report.leaves["b"].chips) == (0.0, 0)
    free = limpet.Mismatch({"w": True}, limpet.Gaussian(0.5))
    chips = [free(limpet.virtual_chip(3, chip), {"w": PARAMS["w"]})["w"] for chip in range(40)]
    np.testing.assert_allclose([weights.smallest, weights.largest], [np.min(chips), np.max(chips)])


def test_the_report_prints_as_a_table():
    lines = str(limpet.limits_report(hardware("clip"), PARAMS, chips=5, condition=0.01)).splitlines()
    assert lines[0] == "0 of 5 virtual chips of seed 0 would leave their limits at scale 0.01"
    assert lines[1].split() == ["leaf", "beyond", "chips", "smallest", "largest", "limits"]
    assert lines[2].split()[:3] == ["b", "0.00%", "0"]
    assert lines[2].endswith("none to 0 (report)")
    assert lines[3].endswith("0.5 to 4 (clip)")


def test_a_module_is_reported_on_by_its_table(dynapse_net):
    part = limpet.Part("dynapse-frozen", limpet.Gaussian(0.33), limpet.Limits(table="dynapse"))
    report = limpet.limits_report(limpet.Hardware(chip=part), dynapse_net, chips=10)
    assert len(report.leaves) == 24
    assert report.leaves["1_DynapSim/If_nmda"].share > 0.4  # its default is below what the chip can hold


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chips": 0}, "chips"),
        ({"condition": -1.0}, "scale = -1"),
        ({"mismatch": limpet.Hardware(w=limpet.Part("w", limpet.Gaussian(0.1)))}, "no leaf has limits.*deviates: w"),
        ({"mismatch": 3}, "mismatch = 3: give"),
    ],
)
def test_what_cannot_be_reported(arguments, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.limits_report(**{"mismatch": hardware("clip"), "model": PARAMS, "chips": 2, **arguments})


def mean(tree, _):
    return tree["w"].mean() + tree["b"].mean() + tree["c"].mean()


def total(tree, _):
    return tree["w"].sum()


@pytest.mark.parametrize("antithetic", [False, True])
def test_chips_beyond_strict_limits_are_not_measured(antithetic):
    def curve(scales):
        chips = limpet.Chips(4, antithetic=antithetic)
        return limpet.robustness_curve(mean, PARAMS, hardware("error"), scales=scales, chips=chips)

    assert curve([0, 0.1]).values.shape == (2, 4)
    message = r"leaf 'w': \d+ of 500 values of chip 0 are beyond their limits 0\.5 to 4 \(error\) at scale 1; they go"
    with pytest.raises(limpet.LimpetError, match=message):
        curve([0.1, 1.0])


def test_a_mirror_image_beyond_is_found():
    """Of a pair of chips, one is above and the other below: only the second is beyond."""
    common = limpet.Shared(limpet.Gaussian(0.5), across="chip")
    hardware = limpet.Hardware(w=limpet.Part("w", common, limpet.Limits(high=1.0, policy="error")))
    params = {"w": jnp.ones(1)}
    chips = [limpet.virtual_chip(seed, chip=0) for seed in range(8)]
    seed = next(seed for seed, chip in enumerate(chips) if limpet.Mismatch({"w": True}, common)(chip, params)["w"] < 1)
    with pytest.raises(limpet.LimpetError, match="of chip 0, mirrored, are beyond"):
        limpet.robustness_curve(
            total, params, hardware, scales=[1.0], chips=limpet.Chips(2, seed=seed, antithetic=True)
        )
