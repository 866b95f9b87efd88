"""What the devices of all chips have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import limpet

KEY = jax.random.key(3)
W = jnp.array([[2.0, -1.0, 0.2], [0.0, -0.1, 0.5]])
LOW = limpet.Systematic(gain=0.7)


def drawn(*members, weights=W, **condition):
    deviation = members[0] if len(members) == 1 else limpet.Chain(members)
    return limpet.Mismatch({"w": True}, deviation)(KEY, {"w": weights}, limpet.Condition(**condition))["w"]


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(
    ("relative_to", "largest"), [("array", 2.0), ("tensor", 2.0), ("column", np.array([2.0, 1.0, 0.5])), (2.5, 2.5)]
)
@pytest.mark.parametrize("offset", [0.1, -0.1])
def test_it_is_its_formula_at_every_strength(scale, relative_to, largest, offset):
    found = drawn(limpet.Systematic(0.7, offset, relative_to=relative_to), scale=scale)
    signs = np.where(W < 0, -1, 1)  # a weight of 0 has none, and counts as positive
    np.testing.assert_allclose(found, signs * np.maximum(0.7 * np.abs(W) + offset * largest, 0), rtol=1e-6, atol=1e-7)


def test_a_weight_of_0_stays_0_without_an_offset():
    np.testing.assert_array_equal(drawn(LOW), np.float32(0.7) * W)
    assert drawn(limpet.Systematic(offset=-0.2))[1, 0] == 0
    assert drawn(limpet.Systematic(offset=0.2))[1, 0] == pytest.approx(0.4)


@pytest.mark.parametrize("offset", [0.1, -0.2])
def test_gradients_at_0_and_where_a_value_is_held_at_0(offset):
    deviation = limpet.Systematic(0.5, offset, relative_to=2.0)
    slopes = jax.grad(lambda w: drawn(deviation, weights=w).sum())(W)
    np.testing.assert_allclose(slopes, np.where(0.5 * np.abs(W) + offset * 2 > 0, 0.5, 0.0))


@pytest.mark.parametrize(
    "behind",
    [
        limpet.LogNormal(sigma=0.3),
        limpet.Shared(limpet.LogNormal(sigma=0.3), across="chip"),
        limpet.Programming(spread=(0.05, 0.1)),
        limpet.Crossbar(limpet.Programming(spread=(0.05, 0.1))),
    ],
)
def test_what_follows_it_acts_on_what_devices_really_have(behind):
    np.testing.assert_allclose(
        drawn(LOW, behind), drawn(limpet.Chain((behind,)), weights=0.7 * W), rtol=1e-5, atol=1e-7
    )


def test_drift_and_the_largest_value_are_of_what_was_to_be_held():
    drift = limpet.Drift(exponent=(0.2, -0.15), spread=0.0)
    expected = (1020.0 / 20.0) ** -(0.2 - 0.15 * np.abs(W) / 2)
    np.testing.assert_allclose(drawn(LOW, drift, time=1000.0), 0.7 * W * expected, rtol=1e-4)
    noise = drawn(LOW, limpet.Additive(0.1)) - drawn(LOW)
    np.testing.assert_allclose(noise, drawn(limpet.Chain((limpet.Additive(0.1),))) - W, atol=1e-6)


def test_it_is_no_level_of_variation():
    hardware = limpet.Hardware(p=limpet.Part("w", limpet.Chain((LOW, limpet.LogNormal(sigma=0.3)))))
    exact = hardware.without("device").on({"w": W})(KEY, {"w": W})["w"]
    np.testing.assert_allclose(exact, 0.7 * W, rtol=1e-6)
    with pytest.raises(limpet.LimpetError, match="nothing is drawn at 'systematic'; the levels are device"):
        hardware.without("systematic")
    assert not LOW.random
    assert not limpet.Shared(LOW, across="chip").random


def test_where_it_is_a_factor_alone():
    relative = [limpet.Systematic(1.2), limpet.Systematic(1.2, 0.1), limpet.Systematic(1.2, relative_to=2.0)]
    assert [member.relative for member in relative] == [True, False, False]
    assert [member.elementwise for member in relative] == [True, False, True]
    assert [member.arranged for member in relative] == [False, True, False]
    die = limpet.Shared(limpet.Chain((LOW, limpet.LogNormal(sigma=0.3))), across="chip")
    factors = drawn(die, weights=jnp.ones(3))
    assert (factors == factors[0]).all()
    with pytest.raises(limpet.LimpetError, match=r"Shared\.deviation = .*depends on the values"):
        limpet.Shared(limpet.Systematic(offset=0.1), across="chip")
    with pytest.raises(limpet.LimpetError, match=r"Graded\.deviation = .*its strength does not matter"):
        limpet.Graded(LOW, rows=(0.5,))


@pytest.mark.parametrize(
    "law",
    [
        limpet.Gaussian(sigma=0.1),
        limpet.LogNormal(sigma=0.3),
        limpet.LogNormal(sigma=0.3, preserve="mean"),
        limpet.StudentT(sigma=0.2, degrees=5.0),
        limpet.TruncatedGaussian(sigma=0.1, bound=2.0),
        limpet.Uniform(sigma=0.1),
    ],
)
def test_the_law_behind_a_gain_is_known(law):
    alone = law.distribution(1.5)
    for members in ((LOW, law), (law, LOW), (LOW, law, limpet.Systematic(1 / 0.7))):
        gain, both = 0.7 if len(members) == 2 else 1.0, limpet.Chain(members).distribution(1.5)
        at = np.linspace(0.3, 2.0, 50)
        np.testing.assert_allclose(both.cdf(gain * at), alone.cdf(at), rtol=1e-9)
        np.testing.assert_allclose(both.pdf(gain * at) * gain, alone.pdf(at), rtol=1e-9)


def test_the_law_is_that_of_the_draws():
    """A Kolmogorov-Smirnov test, which would fail for 1e-4 of all seeds."""
    both = limpet.Chain((LOW, limpet.Gaussian(sigma=0.1)))
    factors = drawn(both, weights=jnp.full(20_000, -2.0)) / -2.0
    assert stats.kstest(factors, both.distribution().cdf).pvalue > 1e-4
    chip = limpet.MeasuredChip("A", factors={"w": np.asarray(factors)})
    explained = chip.explained_by(limpet.Hardware(p=limpet.Part("w", both)), {"w": jnp.ones(20_000)}).leaves["w"]
    assert explained.p_value > 1e-4
    assert explained.log_likelihood == pytest.approx(both.distribution().logpdf(factors).mean())


@pytest.mark.parametrize(
    "members",
    [
        (LOW,),
        (LOW, limpet.Systematic(gain=1.2)),
        (limpet.Gaussian(0.1), limpet.Gaussian(0.1)),
        (limpet.Systematic(offset=0.1), limpet.Gaussian(0.1)),
        (limpet.Systematic(0.7, relative_to=1.0), limpet.Gaussian(0.1)),
        (LOW, limpet.Shared(limpet.Gaussian(0.1), across="chip")),
        (LOW, limpet.Programming(0.1)),
    ],
)
def test_no_law_is_known_of_other_chains(members):
    assert limpet.Chain(members).distribution() is None


def test_a_configuration_holds_it(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "hardware: {w: {leaves: w, deviation: [{kind: systematic, gain: 0.7}, {kind: gaussian, sigma: 0.1}]}}"
    )
    config = limpet.load_config(path)
    assert config.hardware.parts["w"].deviation == limpet.Chain((LOW, limpet.Gaussian(sigma=0.1)))
    assert "systematic, gain 0.7" in config.describe()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, r"Systematic: nothing deviates at gain = 1 and offset = 0: give a gain .*limpet\.Exact"),
        ({"gain": 0.0}, r"Systematic\.gain = 0\.0: allowed is a finite number > 0"),
        ({"gain": -1.0}, r"Systematic\.gain = -1\.0: allowed is"),
        ({"offset": np.inf}, r"Systematic\.offset = inf: allowed is a finite number"),
        ({"gain": 0.5, "relative_to": "row"}, r"Systematic\.relative_to = 'row': allowed are 'array'"),
    ],
)
def test_what_is_none_is_refused(given, said):
    with pytest.raises(limpet.LimpetError, match=said):
        limpet.Systematic(**given)
