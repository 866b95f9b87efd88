"""What is said of a metric does not depend on the unit that it is given in: from 1e-30 to 1e30."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet

UNITS = [1e-30, 1e-12, 1e-3, 1.0, 1e9, 1e30]
VALUES = np.random.default_rng(0).gamma(2.0, 1.0, (3, 80)).round(3) + 1.001
SIGMAS = np.array([0.0, 0.1, 0.2])


def curve(unit, values=VALUES, **options):
    return limpet.RobustnessCurve("current", SIGMAS[: len(values)], unit * values, **options)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_yields_and_intervals_are_those_of_another_unit(unit, higher_is_better):
    one, plain = (curve(factor, higher_is_better=higher_is_better) for factor in (unit, 1.0))
    for target in (1.5, 2.731, 30.0, -1.0):
        assert one.yield_at(unit * target) == plain.yield_at(target)
    for of in ("mean", 0.05, 0.5):
        np.testing.assert_allclose(one.interval(of), unit * np.array(plain.interval(of)), rtol=1e-9)
    other = curve(unit, VALUES[:, ::-1] * 1.01, higher_is_better=higher_is_better)
    found = limpet.compare(one, other)
    expected = limpet.compare(plain, curve(1.0, VALUES[:, ::-1] * 1.01, higher_is_better=higher_is_better))
    np.testing.assert_allclose([found.low, found.high], unit * np.array([expected.low, expected.high]), rtol=1e-9)
    assert limpet.Precision(unit * 0.3).reached_by(one) == limpet.Precision(0.3).reached_by(plain)
    assert one.worst_chip(0.1) == plain.worst_chip(0.1)


def test_no_chip_reaches_a_target_that_it_misses_a_hundredfold():
    currents = limpet.RobustnessCurve("current", [0.1], [[5e-12, 4e-12, 9e-10]], higher_is_better=False)
    assert currents.yield_at(1e-12)[0].fraction == 0
    assert currents.yield_at(4e-12)[0].fraction == pytest.approx(1 / 3)
    assert limpet.RobustnessCurve("gain", [0.1], [[-1e-10, 1e-10]]).yield_at(0.0)[0].fraction == 0.5


@pytest.mark.parametrize("unit", UNITS)
def test_a_target_is_reached_to_six_digits_whatever_its_magnitude(unit):
    values = np.array([[1 - 1e-8, 1 - 1e-4, 1.0]]) * 1.2345
    assert curve(unit, values).yield_at(unit * 1.2345)[0].fraction == pytest.approx(2 / 3)
    assert curve(unit, values, higher_is_better=False).yield_at(unit * 1.2345 * (1 - 1e-4))[0].fraction == (
        pytest.approx(1 / 3)
    )


@pytest.mark.parametrize("unit", UNITS)
def test_a_strength_is_found_to_six_digits_whatever_its_magnitude(unit):
    one = limpet.RobustnessCurve("current", unit * np.array([1.0, 2.0]), VALUES[:2])
    assert one.row(unit * 2.0000001) == 1
    with pytest.raises(limpet.MetricError, match="was not measured"):
        one.row(unit * 1.5)
    with pytest.raises(limpet.MetricError, match="was not measured"):
        one.row(0.0)


@pytest.mark.parametrize("unit", UNITS)
def test_costs_are_told_in_any_unit(unit):
    def measured(unit):
        alone, without = unit * VALUES[:2], unit * VALUES[1:]
        return limpet.Sensitivity(("a", "b"), unit, unit * VALUES[0], alone, without, np.ones(2), False)

    one, plain = measured(unit), measured(1.0)
    np.testing.assert_allclose(one.cost_interval(), unit * np.array(plain.cost_interval()), rtol=1e-9)
    np.testing.assert_allclose(one.saved_interval(), unit * np.array(plain.saved_interval()), rtol=1e-9)


MISMATCH = limpet.Mismatch({"a": True, "b": True}, limpet.Gaussian(0.1))
KEY = jax.random.key(0)
WEIGHTS = {"a": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array([3.0, 0.25])}


@jax.jit
def perturbed(params, in_loss, in_weight, key):
    """The losses of both objectives that move weights by their norms, brought back to unit 1."""

    def loss(params):
        return in_loss * sum(((value / in_weight - 0.1) ** 2).sum() for value in params.values())

    made = (limpet.objectives.weight_perturbation, limpet.objectives.adaptive_sam)
    return jnp.stack([one(loss, MISMATCH, radius=0.1)(params, key) for one in made]) / in_loss


@pytest.mark.parametrize("of_loss", [1e-25, 1e-9, 1.0, 1e25])
@pytest.mark.parametrize("of_weights", [1e-12, 1.0, 1e12])
def test_weights_are_moved_by_the_same_share_whatever_the_units_of_loss_and_weights(of_loss, of_weights):
    """Squares of small gradients are 0 in single precision, those of large ones infinite."""
    found = perturbed({path: of_weights * value for path, value in WEIGHTS.items()}, of_loss, of_weights, KEY)
    np.testing.assert_allclose(found, perturbed(WEIGHTS, 1.0, 1.0, KEY), rtol=1e-4)


def test_a_small_share_of_the_worst_chips_is_no_loss_of_0():
    def loss(params):
        return params["a"].sum() ** 2 + params["b"].sum()

    worst = limpet.objectives.worst_of(loss, MISMATCH, draws=4)(WEIGHTS, KEY)
    for share in (1e-12, 1e-6, 0.2, 0.25):
        found = limpet.objectives.cvar(loss, MISMATCH, draws=4, share=share)(WEIGHTS, KEY)
        np.testing.assert_allclose(found, worst, rtol=1e-6)
