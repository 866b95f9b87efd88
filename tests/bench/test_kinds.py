"""Kinds of tables that labs publish, each simulated from known numbers: the fit finds them and warns where it should.

The numbers are those of public tables: ring oscillators of FPGAs, bias voltages of neuromorphic chips, conductances of
resistive memories and leakage of transistors. Seeds are fixed; an estimate is 5 standard errors off in 1e-6 of all
seeds, unless a test says otherwise.
"""

import jax
import numpy as np
import pytest

import limpet

RNG = np.random.default_rng
ONE_CHIP = pytest.mark.filterwarnings("ignore:.*all values are of one chip")


def places(*sizes):
    """The numbers of chip, core, device and of what comes below them, each an array of the shape `sizes`."""
    return np.indices(sizes)


def levels(generator, *spreads_and_sizes):
    """Normal numbers that all that lies below them shares: pairs of a spread and the shape of its numbers."""
    return sum(generator.normal(0, spread, shape) for spread, shape in spreads_and_sizes)


def fitted(measured, nominal, **further):
    """The fit of a table of the shape (chips, cores, devices, ...); further columns broadcast to that shape."""
    columns = dict(zip(("chip", "core", "device"), places(*np.shape(measured)), strict=False))
    columns |= {"nominal": nominal, "measured": measured} | further
    flat = {name: np.broadcast_to(values, np.shape(measured)).ravel() for name, values in columns.items()}
    return limpet.fit_measurements(flat).parameters["value"]


def spreads_of(found):
    return {component.level: component.sigma for component in found.components}


def test_ring_oscillators():
    """60 chips x 8 x 16, read three times: a reading is off by a three hundredth of what chips differ by."""
    chip, reading = (60, 8, 16, 3), places(60, 8, 16, 3)[3]
    spreads = {"chip": 0.06, "core": 0.004, "device": 0.0065, "reading": 0.0002}
    shapes = [chip[: level + 1] + (1,) * (3 - level) for level in range(4)]
    found = fitted(1 + levels(RNG(0), *zip(spreads.values(), shapes, strict=True)), 1.0, reading=reading)
    degrees = {"chip": 59, "core": 420, "device": 7200, "reading": 15360}
    assert found.kind == "gaussian"
    for level, sigma in spreads_of(found).items():
        assert sigma == pytest.approx(spreads[level], rel=5 / (2 * degrees[level]) ** 0.5)
    assert found.gain == pytest.approx(1, abs=5 * 0.06 / 60**0.5)
    assert found.p_value > 0.001


def test_ring_oscillators_that_are_slower_at_the_edge_of_every_chip():
    generator = RNG(1)
    shapes = ((0.06, (40, 1, 1)), (0.005, (40, 4, 32)), (0.004, (1, 4, 32)))
    with pytest.warns(match="off alike on every chip, by 0.00"):
        found = fitted(1 + levels(generator, *shapes), 1.0)
    assert spreads_of(found)["device"] == pytest.approx((0.005**2 + 0.004**2) ** 0.5, rel=0.15)


def test_bias_voltages():
    """40 chips x 2 x 20, set to four values: a gain of each chip, an error in volts of each output."""
    generator, set_to = RNG(2), np.array([0.4, 0.8, 1.2, 1.6])
    gains = 0.99 * (1 + levels(generator, (0.03, (40, 1, 1, 1)), (0.003, (40, 2, 1, 1))))
    errors = generator.normal(0, 0.01, (40, 2, 20, 1)) + generator.normal(0, 0.004, (40, 2, 20, 4))
    found = fitted(gains * set_to + 0.022 + errors, set_to)
    assert (found.kind, found.law.offset) == ("additive", True)
    assert found.gain == pytest.approx(0.99, abs=5 * 0.03 / 40**0.5)
    assert found.offset * 1.6 == pytest.approx(0.022, abs=5 * 0.01 / 1600**0.5)
    spreads, expected = spreads_of(found), {"chip": 0.03, "core": 0.003, "device": 0.01 / 1.6, "setting": 0.004 / 1.6}
    degrees = {"chip": 39, "core": 20, "device": 1520, "setting": 4800}  # of cores, outputs take half of the 40
    for level, sigma in expected.items():
        assert spreads[level] == pytest.approx(sigma, rel=5 / (2 * degrees[level]) ** 0.5)


@ONE_CHIP
def test_memory_cells_that_drift_and_some_that_are_stuck():
    """4 cores x 200 cells of 16 levels, read at five times; the spread is one of conductance, not of ratios."""
    generator, times = RNG(3), np.array([20.0, 1e2, 1e3, 1e4, 1e5])
    levels_of = np.linspace(1 / 16, 1, 16)[places(1, 4, 200, 1)[2] % 16] * 40e-6
    programmed = levels_of + generator.normal(0, 0.02 * 40e-6, (1, 4, 200, 1))
    programmed = np.maximum(programmed, 0.01 * 40e-6)
    exponents = generator.normal(0.03, 0.01, (1, 4, 200, 1))
    measured = programmed * ((times + 20) / 20) ** -exponents
    measured[0, :, 100] = 0
    with pytest.warns(match="measured is 0; are these devices dead"):
        found = fitted(measured, levels_of, time=times)
    assert found.stuck == {"at_zero": 4}
    assert found.in_time.law == "drift"
    assert found.in_time.mean == (pytest.approx(0.03, abs=5 * 0.01 / 796**0.5),)
    assert found.in_time.sigma == pytest.approx(0.01, rel=5 / (2 * 796) ** 0.5)
    assert found.kind == "additive"
    assert spreads_of(found)["device"] == pytest.approx(0.02, rel=5 / (2 * 796) ** 0.5)
    assert spreads_of(found)["time"] < 0.001  # beyond drift, there is nothing


@ONE_CHIP
def test_cells_written_into_a_window():
    """Cells are verified to lie within 3% of their target, so all that is left is uniform."""
    found = fitted(RNG(4).uniform(0.97, 1.03, (1, 1, 1200)) * 40e-6, 40e-6)
    assert found.kind == "uniform"
    assert spreads_of(found)["device"] == pytest.approx(0.03 / 3**0.5, rel=0.06)


def test_leakage():
    """A factor of two between transistors, and of 1.2 between chips; the set value is what the design says."""
    logs = levels(RNG(5), (0.2, (24, 1, 1)), (0.6, (24, 4, 16)))
    found = fitted(1.3e-9 * np.exp(logs), 1e-9)
    assert found.kind == "log-normal"
    assert found.gain == pytest.approx(1.3, rel=5 * 0.2 / 24**0.5)
    assert found.deviation.sigma == pytest.approx(0.6, rel=5 / (2 * 1440) ** 0.5)
    tree = {"leak": np.ones(20_000, np.float32)}
    drawn = limpet.Hardware(leak=limpet.Part("*", found.deviation)).on(tree)(jax.random.key(0), tree)["leak"]
    assert float(drawn.min()) > 0


def test_a_core_whose_only_device_is_dead_leaves_the_others_as_they_are():
    """The dead device is the only one of its core, and no other core has a device alone."""
    measured = 1 + levels(RNG(6), (0.05, (4, 5, 1)), (0.02, (4, 5, 12)))
    chip, core, device = (axis.ravel() for axis in places(*measured.shape))
    columns = {"chip": chip, "core": core, "device": device, "nominal": np.ones(240), "measured": measured.ravel()}
    whole = limpet.fit_measurements(columns).parameters["value"]
    more = {"chip": 0, "core": 9, "device": 0, "nominal": 1.0, "measured": 1e-5}
    columns = {name: np.append(values, more[name]) for name, values in columns.items()}
    found = limpet.fit_measurements(columns).parameters["value"]
    assert found.stuck == {"at_zero": 1}
    assert (found.kind, spreads_of(found)) == (whole.kind, pytest.approx(spreads_of(whole)))


def test_readings_at_several_set_values():
    """20 chips x 2 x 8, two set values, two readings: noise of readings is one of the scale, deviations are factors."""
    generator, set_to = RNG(7), np.array([0.25, 1.0])[:, None]
    factors = 1 + levels(generator, (0.05, (20, 1, 1, 1, 1)), (0.03, (20, 2, 8, 1, 1)))
    measured = factors * set_to + generator.normal(0, 0.002, (20, 2, 8, 2, 2))
    found = fitted(measured, set_to, reading=places(20, 2, 8, 2, 2)[4])
    assert found.kind == "gaussian"
    assert spreads_of(found)["device"] == pytest.approx(0.03, rel=5 / 600**0.5)
    assert spreads_of(found)["reading"] == pytest.approx(0.002, rel=0.2)


@ONE_CHIP
@pytest.mark.filterwarnings("ignore:.*what devices are off by anew|.*no law fits")
def test_cells_that_relax_before_the_first_second():
    """Relaxation begins at one second, so that the hardware says too much of the time before; one cell is late."""
    generator, times = RNG(8), np.tile([0.0, 0.01, 1.0, 1e2, 1e4], (1, 2, 300, 1))
    times[0, 0, 7, 1] = 0.1
    steps = generator.normal(0, 1, times.shape) * [0.005, 0.02, 0.03, 0.02, 0.02]
    with pytest.warns(match="0 s after they were set, values spread by 0.010"):
        found = fitted(0.5 + steps.cumsum(axis=-1), 0.5, time=times)
    assert [at.time for at in found.by_time] == [0, 0.01, 1, 1e2, 1e4]
    assert found.by_time[0].sigma == pytest.approx(0.005 / 0.5, rel=5 / (2 * 600) ** 0.5)
