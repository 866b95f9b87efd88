"""Sensitivity: against a function whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import limpet

PARAMS = {"strong": jnp.ones(10), "weak": jnp.ones(10), "unused": jnp.ones(10), "still": jnp.ones(3)}
MISMATCH = limpet.Mismatch({"strong": True, "weak": True, "unused": True, "still": False}, limpet.Gaussian(0.1))


def error(tree, scale):
    return scale * (3 * tree["strong"].sum() + tree["weak"].sum() - 40) ** 2 + 3 * tree["strong"].sum()


@pytest.fixture(scope="module")
def found():
    return limpet.sensitivity(error, PARAMS, MISMATCH, chips=2000, batch=jnp.float32(1.0), higher_is_better=False)


def test_cost_and_saving_are_the_known_ones(found):
    # E[(3 a + b)^2] with variances 10 * 0.01 each: 0.9 from the strong leaf, 0.1 from the weak one; 5 standard errors.
    at = dict(zip(found.groups, range(3), strict=True))
    assert abs(found.cost()[at["strong"]] - 0.9) < 5 * np.sqrt(2 * 0.9**2 / 2000) + 5 * np.sqrt(0.9 / 2000)
    assert abs(found.cost()[at["weak"]] - 0.1) < 5 * np.sqrt(2 * 0.1**2 / 2000)
    assert found.cost()[at["unused"]] == 0
    assert found.saved()[at["unused"]] == 0
    assert found.saved()[at["strong"]] > 0.5
    assert [row[0] for row in found.ranking()] == ["strong", "weak", "unused"]
    assert str(found).splitlines()[0].split() == ["group", "cost", "saved", "first", "order", "no", "number"]
    assert str(found).splitlines()[1].startswith("strong")


def test_costs_and_savings_have_intervals(found):
    """95% intervals of means over 2,000 chips; the true costs are 0.9 and 0.1."""
    at = dict(zip(found.groups, range(3), strict=True))
    low, high = found.cost_interval()
    standard_error = found.alone.std(axis=1, ddof=1) / np.sqrt(2000)
    for name, cost in (("strong", 0.9), ("weak", 0.1)):
        assert low[at[name]] < cost < high[at[name]]
        assert high[at[name]] - low[at[name]] == pytest.approx(2 * 1.961 * standard_error[at[name]], rel=0.05)
        row = next(line for line in str(found).splitlines() if line.startswith(name))
        assert f"({low[at[name]]:.3g} to {high[at[name]]:.3g})" in row
    wider = found.cost_interval(confidence=0.99)
    assert wider[0][at["weak"]] < low[at["weak"]] < high[at["weak"]] < wider[1][at["weak"]]
    saved = np.array(found.saved_interval())
    assert (saved[0] <= found.saved()).all()
    assert (saved[1] >= found.saved()).all()


def test_a_chip_and_its_mirror_image_count_once_in_intervals():
    """What depends on the square of a deviation is the same on both."""
    values = np.repeat(np.random.default_rng(0).normal(1.0, 0.1, 50), 2)
    both, once = (
        limpet.Sensitivity(("a",), 0.9, part, part[None], part[None] / 2, np.ones(1), False, antithetic=paired)
        for part, paired in ((values, True), (values[::2], False))
    )
    np.testing.assert_allclose(both.cost_interval(), once.cost_interval())
    np.testing.assert_allclose(both.saved_interval(), once.saved_interval())
    found = limpet.sensitivity(
        error, PARAMS, MISMATCH, chips=limpet.Chips(10, antithetic=True), batch=1.0, higher_is_better=False
    )
    assert found.antithetic


def test_a_group_that_costs_nothing_on_any_chip_has_the_interval_of_unseen_chips():
    """Of a rate, which is bounded; of a loss no bound is known, and the table leaves the interval out."""
    rate = limpet.Sensitivity(
        ("a",), 0.9, np.full(64, 0.8), np.full((1, 64), 0.9), np.full((1, 64), 0.8), np.ones(1), True
    )
    share = 1 - 0.025 ** (1 / 64)
    np.testing.assert_allclose(np.ravel(rate.cost_interval()), [-0.1 * share, 0.9 * share])
    np.testing.assert_allclose(np.ravel(rate.saved_interval()), [-share, share])
    loss = limpet.Sensitivity(
        ("a",), 0.9, np.full(64, 0.8), np.full((1, 64), 0.9), np.full((1, 64), 0.8), np.ones(1), False
    )
    assert np.ravel(loss.cost_interval()).tolist() == [-np.inf, np.inf]
    assert str(loss).splitlines()[1].split() == ["a", "0", "0", "1", "0"]


def test_the_first_order_estimate_is_gradient_times_deviation(found):
    # d error / d strong = 3 at the nominal point; ten values of standard deviation 0.1
    np.testing.assert_allclose(found.first_order, [3 * 0.1 * np.sqrt(10), 0, 0], rtol=0.1, atol=1e-6)


def test_each_chip_is_the_virtual_chip_of_that_number(found):
    chip = limpet.freeze(PARAMS, MISMATCH, chip=7)
    np.testing.assert_allclose(found.everything[7], error(chip, 1.0), rtol=1e-4)
    alone = {**PARAMS, "weak": chip["weak"]}
    np.testing.assert_allclose(found.alone[found.groups.index("weak"), 7], error(alone, 1.0), rtol=1e-4)
    np.testing.assert_allclose(found.nominal, error(PARAMS, 1.0), rtol=1e-6)


def test_groups_and_another_sigma():
    grouped = limpet.sensitivity(
        error,
        PARAMS,
        MISMATCH,
        sigma=0.2,
        chips=50,
        batch=1.0,
        groups={"both": ["*o*g", "weak"]},
        higher_is_better=False,
    )
    assert grouped.groups == ("both", "unused")
    assert {line.split()[0] for line in str(grouped).splitlines()} == {"group", "both", "unused"}
    np.testing.assert_allclose(grouped.alone[0], grouped.everything, rtol=1e-6)
    np.testing.assert_allclose(grouped.without[0], grouped.nominal, rtol=1e-6)


def test_a_counting_metric_takes_its_gradient_from_a_loss():
    counted = limpet.sensitivity(
        lambda tree, x: (error(tree, x) < 31).astype(jnp.float32),
        PARAMS,
        MISMATCH,
        chips=20,
        batch=1.0,
        gradient_of=error,
        higher_is_better=True,
    )
    assert counted.first_order[counted.groups.index("strong")] > 0.5


@pytest.mark.long
def test_a_dynapsim_ranks_its_currents(dynapse_net):
    x = (jax.random.uniform(jax.random.key(0), (1, 20, 3)) < 0.5).astype(jnp.float32)

    def current(tree, x):
        _, state, _ = dynapse_net.set_attributes(tree).reset_state()(x)
        return state["1_DynapSim"]["isyn"].mean() * 1e9

    tree = jax.tree.map(jnp.float32, limpet.attributes(dynapse_net))
    frozen = limpet.Mismatch(limpet.frozen_mismatch_prototype(dynapse_net), limpet.Gaussian(0.1))
    found = limpet.sensitivity(current, tree, frozen, chips=16, batch=x)
    costs = dict(zip(found.groups, np.abs(found.alone - found.nominal).mean(axis=1), strict=True))
    assert len(costs) == 24
    assert costs["1_DynapSim/If_nmda"] == 0
    assert costs["1_DynapSim/Itau_syn"] > 0
    assert len(found.plot(Figure().add_subplot()).get_yticklabels()) == 24


def test_failing_chips_come_first_and_spoil_no_other_row():
    params = {"fatal": jnp.ones(1), "costly": jnp.ones(1)}
    mismatch = limpet.Mismatch(dict.fromkeys(params, True), limpet.Gaussian(0.6))

    def metric(tree, _):
        return jnp.log(tree["fatal"]).sum() * 0 - ((tree["costly"] - 1) ** 2).sum()

    found = limpet.sensitivity(metric, params, mismatch, chips=200)
    assert [row[0] for row in found.ranking()] == ["fatal", "costly"]
    failed = dict(zip(found.groups, found.failed, strict=True))
    assert failed["costly"] == 0
    assert failed["fatal"] > 0
    assert np.isfinite([row[1:3] for row in found.ranking()]).all()
    assert str(found).splitlines()[1].split()[-1] == str(failed["fatal"])
    found.plot(Figure().add_subplot())


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"groups": {"a": ["nothing"]}}, limpet.PrototypeError, r"groups\['a'\]: 'nothing' matches no leaf"),
        ({"groups": {"a": ["still"]}}, limpet.PrototypeError, "those are: strong, unused, weak"),
        ({"groups": {"a": ["weak"], "b": ["*"]}}, limpet.PrototypeError, "leaf 'weak' is in the groups 'a' and 'b'"),
        ({"chips": 0}, limpet.MetricError, "chips = 0: allowed"),
    ],
)
def test_bad_input(changes, kind, message):
    with pytest.raises(kind, match=message):
        limpet.sensitivity(error, PARAMS, MISMATCH, **({"chips": 2, "batch": 1.0, "higher_is_better": False} | changes))
    with pytest.raises(limpet.MetricError, match="gives a, b, where one number is needed"):
        limpet.sensitivity(lambda tree, _: {"a": 0.0, "b": 1.0}, PARAMS, MISMATCH, chips=2)
