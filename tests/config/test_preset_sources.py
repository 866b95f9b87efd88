"""Every preset against its source, computed a second time: in NumPy, float64, and the source's own units.

The formulas below are written from the files and publications that the presets name, and share no code with Limpet.
Each preset is compared at the ends of its range and between, and, where it knows time, at three times or more.

False alarms: means, standard deviations and distributions of two samples of 50,000 are compared at 5 standard errors,
or at a p-value of 6e-7, which is the same: 3e-4 for all of the some 500 comparisons. Seeds are fixed.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import limpet
from limpet.config._preset import preset_names

COUNT, ALARM = 50_000, 6e-7
LEVELS = np.array([-1.0, -0.5, 0.0, 0.3, 1.0])
DAY, YEAR = 86400.0, 365 * 86400.0
Device = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def pair(largest: float, smallest: float, device: Device) -> Device:
    """Weights as the difference of two conductances, of which one is the smallest."""

    def weights(w, time, rng):
        span = largest - smallest
        plus, minus = (device(smallest + span * np.maximum(sign * w, 0), time, rng) for sign in (1, -1))
        return (plus - minus) / span

    return weights


def phase_change(largest, programming, exponent, exponent_spread, noise, start, read_time) -> Device:
    """aihwkit's phenomenological models; conductances in microsiemens, laws of the fraction of the largest one."""

    def device(g, time, rng):
        a = np.maximum(g / largest, 1e-7)
        held = np.maximum(g + np.polyval(programming[::-1], g / largest) * rng.normal(size=g.shape), 0)
        nu = np.abs(exponent(a) + exponent_spread(a) * rng.normal(size=g.shape))
        drifted = held * ((time + start) / start) ** -nu
        gathered = np.sqrt(np.log((time + start + read_time) / (2 * read_time)))
        with np.errstate(divide="ignore"):
            return np.maximum(drifted * (1 + noise(held / largest) * gathered * rng.normal(size=g.shape)), 0)

    return pair(largest, 0.0, device)


def logarithm(slope, offset, low, high):
    return lambda a: np.clip(slope * np.log(a) + offset, low, high)


def either(edge, below, above):
    return lambda a: np.where(a < edge, below(a), np.polyval(above[::-1], a))


NANDAKUMAR = phase_change(
    25.0,
    [0.26348, 1.9650, -1.1731],
    logarithm(-0.0155, 0.0244, 0.049, 0.1),
    logarithm(-0.0125, -0.0059, 0.008, 0.045),
    lambda a: np.minimum(0.0088 / np.maximum(a**0.65, 1e-3), 0.2),
    start=20.0,
    read_time=250e-9,
)
HERMES_EXPONENT = either(0.0945, logarithm(-0.0387, -0.0182, 0.0720, 0.13), [0.0736, -0.0126, -0.0436])
HERMES = {
    2: phase_change(
        20.7,
        [0.16603222, 4.71806468, -8.48101252, 4.68961419],
        HERMES_EXPONENT,
        either(0.3055, logarithm(-0.0117, -0.0057, 0.0091, 0.04), [0.0073, 0.0093, -0.0118]),
        either(0.16, logarithm(-0.0117, -0.0069, 0.015, 0.04), [0.0123, 0.0211, -0.0280, 0.0069]),
        start=300.0,
        read_time=512e-9,
    ),
    1: phase_change(
        10.35,
        [0.15781817, 2.32443916, -2.16310839, 0.68841818],
        HERMES_EXPONENT,
        either(0.3039, logarithm(-0.0120, -0.0023, 0.0124, 0.04), [0.0104, 0.0116, -0.0165]),
        either(0.1591, logarithm(-0.0078, 0.0038, 0.0179, 0.04), [0.0088, 0.0768, -0.1352, 0.0664]),
        start=200.0,
        read_time=512e-9,
    ),
}


def programmed(spread) -> Device:
    """Conductances off by a spread that depends on them, never below 0."""
    return lambda g, time, rng: np.maximum(g + np.maximum(spread(g), 0) * rng.normal(size=g.shape), 0)


WAN = {
    "1s": [0.348, 16.030, -43.853, 45.393, -16.815],
    "1day": [0.701, 22.086, -50.773, 47.095, -16.458],
    "2days": [0.782, 20.274, -43.507, 37.062, -11.934],
}


def cmo(acceptance) -> Device:
    """aihwkit's ReRamCMONoiseModel without read noise: one device of 9 to 88.2 uS a weight."""

    def weights(w, time, rng):
        g = 9 + 79.2 * (w + 1) / 2
        g = g + np.polyval(acceptance[::-1], g) * rng.normal(size=g.shape)
        if time > 0:
            spread = 0.04201137 * math.log(time) + 0.41183342
            g = g - 0.08900206 * math.log(time) + spread * rng.normal(size=g.shape)
            g = np.clip(g, 9, 88.2)
        return (g - 9) / 79.2 * 2 - 1

    return weights


SONOS_SHIFT = {  # nA, by powers of the current in nA
    0: [0.0],
    1: [1.72684e-01, 5.72552e-02, -6.85715e-04, 3.50271e-06, -9.37682e-09, 1.40575e-11, -1.19803e-14, 5.41293e-18,
        -8.85448e-22, -1.66869e-25, 5.95180e-29],
    2: [2.50712e-01, 6.62195e-02, -6.83218e-04, 2.99442e-06, -6.78255e-09, 7.70482e-12, -3.04983e-15, -2.15919e-18,
        2.94617e-21, -1.23359e-24, 1.85329e-28],
    3: [-1.75300e-02, 9.76883e-02, -9.63791e-04, 4.55551e-06, -1.22391e-08, 1.93786e-11, -1.85899e-14, 1.07659e-17,
        -3.58211e-21, 5.96785e-25, -3.30410e-29],
    4: [4.03338e-02, 1.03111e-01, -1.04740e-03, 4.83961e-06, -1.28132e-08, 1.99484e-11, -1.85139e-14, 1.00008e-17,
        -2.84944e-21, 3.01008e-25, 1.18747e-29],
    5: [3.19927e-01, 1.06596e-01, -1.04054e-03, 4.50290e-06, -1.10352e-08, 1.56477e-11, -1.27592e-14, 5.45513e-18,
        -7.26841e-22, -2.43893e-25, 7.14608e-29],
}  # fmt: skip
SONOS_SPREAD = {
    0: (19.88665, 176.3115),
    1: (25.59102, 186.85544),
    2: (28.72753, 193.56834),
    3: (31.04318, 198.90332),
    4: (33.76214, 204.77023),
    5: (34.57909, 207.34309),
}


def sonos(day) -> Device:
    """CrossSim's SONOS at a largest current of 1,600 nA; above 1,800 nA it refuses days after the first."""
    height, width = SONOS_SPREAD[day]

    def device(current, time, rng):
        current = current + np.polyval(SONOS_SHIFT[day][::-1], current)
        current = programmed(lambda i: height * (1 - np.exp(-i / width)))(current, time, rng)
        return programmed(lambda i: 12.58037 * (1 - np.exp(-i / 215.36557)))(current, time, rng)

    return pair(1600.0, 0.0, device)


def relative(factor) -> Device:
    return lambda w, time, rng: w * factor(rng.normal(size=w.shape))


def brainscales2(w, time, rng):
    return np.round(w * 63) / 63 * (1 + 0.07 * rng.normal(size=w.shape))


CASES: list[tuple[str, dict, Device, tuple[float, ...]]] = [
    ("pcm-nandakumar2019", {}, NANDAKUMAR, (0.0, DAY, YEAR)),
    ("pcm-hermes", {}, HERMES[2], (0.0, DAY, YEAR)),
    ("pcm-hermes", {"devices": 1}, HERMES[1], (0.0, DAY, YEAR)),
    (
        "pcm-joshi2020",
        {},
        pair(25.0, 0.25, programmed(lambda g: -0.00178767 * g**2 + 0.07585724 * g + 0.28638599)),
        (0.0,),
    ),
    *(
        (
            "reram-wan2022",
            {"after": after},
            pair(40.0, 0.0, programmed(lambda g, c=c: np.polyval(c[::-1], g / 40))),
            (0.0,),
        )
        for after, c in WAN.items()
    ),
    ("reram-cmo", {}, cmo([0.00081107, 0.00106879]), (0.0, 1.0, DAY, YEAR)),
    ("reram-cmo", {"acceptance": "2%"}, cmo([0.0112185391, 0.01129027418]), (0.0, DAY)),
    ("rram-milo2021", {}, pair(225.0, 50.0, programmed(lambda g: -0.009107 * g + 4.782321)), (0.0,)),
    *(("sonos-agrawal2022", {"day": day}, sonos(day), (0.0,)) for day in (0, 1, 5)),
    ("rockpool-30", {}, relative(lambda n: 1 + 0.3 / 3 * n), (0.0,)),
    ("dynapse-virtual", {}, relative(lambda n: np.maximum(1 + 0.2 * n, 0.1)), (0.0,)),
    ("teili-dpi", {}, relative(lambda n: np.maximum(1 + 0.2 * n, 0)), (0.0,)),
    ("brainscales2", {}, brainscales2, (0.0,)),
    # Of whole chips, the weights: `tests/products/test_presets.py` has what their arrays compute.
    ("pcm-rasch2023", {"drift_compensation": False}, NANDAKUMAR, (0.0, DAY)),
    ("hermes-core", {}, HERMES[2], (DAY,)),
    ("sonos-xiao2022", {"day": 1}, sonos(1), (0.0,)),
    ("afm-buchel2025", {}, lambda w, time, rng: w + 0.03 * rng.normal(size=w.shape), (0.0,)),
    ("brainscales2-mock", {}, lambda w, time, rng: np.round(w * 63) / 63, (0.0,)),
]


@pytest.mark.parametrize(
    ("name", "parameters", "source", "times"),
    CASES,
    ids=[" ".join([name, *map(str, p.values())]) for name, p, *_ in CASES],
)
def test_a_preset_deviates_as_its_source_does(name, parameters, source, times):
    hardware = limpet.preset(name, **parameters)
    hardware = limpet.Hardware(
        {part: limpet.Part("w", held.deviation) for part, held in hardware.parts.items() if part == "weights"}
    )
    nominal = np.repeat(LEVELS[:, None], COUNT, axis=1)
    tree, rng = {"w": jnp.asarray(nominal, jnp.float32)}, np.random.default_rng(1)
    recipe = hardware.on(tree)
    for time in times:
        drawn = recipe(limpet.virtual_chip(0, 1), tree, limpet.Condition(time=time))["w"]
        for level, ours, theirs in zip(LEVELS, np.asarray(drawn, np.float64), source(nominal, time, rng), strict=True):
            where = f"{name} {parameters} at weight {level}, {time} s"
            assert_same_law(ours, theirs, where)


def assert_same_law(ours: np.ndarray, theirs: np.ndarray, where: str) -> None:
    if theirs.std() < 1e-12:
        np.testing.assert_allclose(ours, theirs.mean(), rtol=1e-6, atol=1e-7, err_msg=where)
        return
    error = math.hypot(ours.std(), theirs.std()) / math.sqrt(COUNT)
    assert abs(ours.mean() - theirs.mean()) < 5 * error + 1e-7, where
    of_spread = math.sqrt((stats.kurtosis(theirs, fisher=False) - 1) / (2 * COUNT))
    assert abs(ours.std() / theirs.std() - 1) < 5 * of_spread + 1e-4, where
    # Values are compared to 1e-6: float32 has no finer ones, and what is clipped to 0 is 0 to either side.
    assert stats.ks_2samp(ours.round(6), theirs.round(6), method="asymp").pvalue > ALARM, where


def effective(a_vt, width, length):
    return a_vt / math.sqrt(width * length)


def gf180(a_vt):
    return lambda width, length: effective(0.7071 * a_vt, width + 0.1, length - 0.15)


def threshold_and_offset(vth0, voff):
    return lambda width, length: math.hypot(effective(vth0, width, length), effective(voff, width, length))


THRESHOLDS = {  # mV; the ends of the ranges of width and length in um, and 1 x 1
    ("subthreshold-gf180", "n"): (gf180(7.148), (0.22, 100), (0.28, 50)),
    ("subthreshold-gf180", "p"): (gf180(6.66), (0.22, 100), (0.28, 50)),
    ("subthreshold-ihp130", "n"): (lambda *area: effective(3.9, *area), (0.15, 10), (0.13, 10)),
    ("subthreshold-ihp130", "p"): (lambda *area: effective(2.2, *area), (0.15, 10), (0.13, 10)),
    ("subthreshold-sky130", "n"): (threshold_and_offset(3.356, 7), (0.36, 7), (0.15, 20)),
    ("subthreshold-sky130", "p"): (threshold_and_offset(8.856, 15), (0.36, 7), (0.5, 20)),
    ("subthreshold-sky130", "p-short"): (threshold_and_offset(10.356, 15), (0.36, 7), (0.15, 0.25)),
}


@pytest.mark.parametrize(("name", "polarity"), THRESHOLDS)
def test_currents_below_threshold_spread_as_the_design_kit_has_it(name, polarity):
    millivolts, widths, lengths = THRESHOLDS[name, polarity]
    for width in (*widths, 1.0):
        for length in lengths:
            hardware = limpet.preset(name, width=width, length=length, polarity=polarity)
            logarithm = 0.705 * millivolts(width, length) / 25
            sigma = math.sqrt(math.expm1(logarithm**2))
            assert hardware.parts["currents"].deviation.sigma == pytest.approx(sigma, rel=2e-5)
    for width, length in ((widths[0] * 0.99, lengths[1]), (widths[1], lengths[1] * 1.01), (1.0, lengths[0] * 0.99)):
        with pytest.raises(limpet.LimpetError, match=r"(width|length) = .*: allowed is a number from"):
            limpet.preset(name, width=width, length=length, polarity=polarity)


@pytest.mark.parametrize("day", SONOS_SHIFT)
def test_the_mean_shift_of_charge_traps_is_the_source_s_polynomial(day):
    device = limpet.preset("sonos-agrawal2022", day=day).parts["weights"].deviation.device.members[0]
    current = np.linspace(0, 1600, 101)
    shift = 1600 * np.asarray(device.mean(jnp.asarray(current / 1600, jnp.float32)), np.float64)
    np.testing.assert_allclose(shift, np.polyval(SONOS_SHIFT[day][::-1], current), atol=2e-4)
    spread = 1600 * np.asarray(device.spread(jnp.asarray(current / 1600, jnp.float32)), np.float64)
    height, width = SONOS_SPREAD[day]
    np.testing.assert_allclose(spread, height * (1 - np.exp(-current / width)), rtol=1e-5, atol=1e-5)


def test_every_preset_is_compared_with_its_source():
    assert {name for name, *_ in CASES} | {name for name, _ in THRESHOLDS} == set(preset_names())
