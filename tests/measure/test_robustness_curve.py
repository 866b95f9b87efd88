"""Monte Carlo over virtual chips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from virtual_chips import measured_on

import limpet

PARAMS = {"w": jnp.linspace(0.5, 1.5, 50), "activation": jnp.tanh}
MISMATCH = limpet.Mismatch({"w": True, "activation": False}, limpet.Gaussian(0.3))
BATCH = jnp.arange(50.0)


def projection(tree, batch):
    return (tree["w"] * batch).sum()


def measure(**changes):
    settings = {"sigmas": [0.0, 0.1, 0.2], "chips": 20, "batch": BATCH} | changes
    return limpet.robustness_curve(projection, PARAMS, MISMATCH, **measured_on(settings))


def test_the_curve_is_that_of_the_chips_frozen_one_by_one():
    curve = measure(seed=3)
    for row, sigma in enumerate(curve.sigmas):
        for chip in (0, 7, 19):
            tree = limpet.freeze(PARAMS, MISMATCH.with_sigma(float(sigma)), seed=3, chip=chip)
            np.testing.assert_allclose(curve.values[row, chip], projection(tree, BATCH), rtol=1e-6)


def test_a_chip_in_the_curve_is_the_frozen_chip_to_the_last_bit():
    curve = limpet.robustness_curve(lambda tree, _: tree["w"][7], PARAMS, MISMATCH, sigmas=[0.1, 0.3], chips=30)
    frozen = [limpet.freeze(PARAMS, MISMATCH, chip=chip)["w"][7] for chip in range(30)]
    assert np.array_equal(curve.values[1].astype(np.float32), np.array(frozen))


def test_chips_are_the_same_at_every_strength_and_in_every_call():
    curve = measure()
    nominal = curve.values[0, 0]
    assert np.all(curve.values[0] == nominal)
    np.testing.assert_allclose(curve.values[2] - nominal, 2 * (curve.values[1] - nominal), rtol=1e-3, atol=1e-2)
    assert np.array_equal(measure().values, curve.values)
    assert np.array_equal(measure(sigmas=[0.2, 0.1]).values, curve.values[[2, 1]])
    assert np.array_equal(measure(chips=7).values, curve.values[:, :7])
    assert not np.array_equal(measure(seed=1).values[1], curve.values[1])


def test_the_spread_is_the_known_one():
    # Standard deviation of a sum of independent deviations; 2,000 chips, 5 standard errors (false alarm 6e-7).
    curve = measure(sigmas=[0.1], chips=2000)
    expected = 0.1 * np.sqrt(np.sum(np.asarray(PARAMS["w"] * BATCH, np.float64) ** 2))
    assert abs(curve.std()[0] / expected - 1) < 5 / np.sqrt(2 * 2000)


def test_several_metrics_are_several_curves():
    curves = limpet.robustness_curves(
        lambda tree, _: {"low": tree["w"].min(), "high": tree["w"].max()}, PARAMS, MISMATCH, sigmas=[0.1], chips=4
    )
    assert {name: (curve.metric, curve.values.shape) for name, curve in curves.items()} == {
        "low": ("low", (1, 4)),
        "high": ("high", (1, 4)),
    }


def test_one_metric_is_one_curve_named_after_its_function():
    assert measure().metric == "projection"


def test_failing_chips_are_reported():
    curve = limpet.robustness_curve(
        lambda tree, _: jnp.log(tree["w"] - 1).sum() * 0 + 1, {"w": jnp.ones(1)},
        limpet.Mismatch({"w": True}, limpet.Gaussian(0.1)), sigmas=[0.1], chips=50,
    )  # fmt: skip
    assert 10 < curve.failed[0] < 40
    assert curve.mean()[0] == 1.0


def test_rounds_and_strengths_do_not_retrace():
    traces = []

    def metric(tree, batch):
        traces.append(batch)
        return projection(tree, batch)

    limpet.robustness_curve(metric, PARAMS, MISMATCH, sigmas=[0.0, 0.1, 0.2], chips=500, batch=BATCH)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigmas": []}, "sigmas: at least 1 is needed, got 0"),
        ({"chips": 0}, "chips = 0: allowed is a whole number from 1 on"),
        ({"sigmas": [0.1, -0.2]}, r"sigmas\[1\] = -0.2: allowed is a finite number >= 0"),
        ({"sigmas": [float("nan")]}, r"sigmas\[0\] = nan"),
    ],
)
def test_bad_numbers(changes, message):
    with pytest.raises(limpet.LimpetError, match=message):
        measure(**changes)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (lambda tree, _: tree["w"], r"metric 'metric' has shape \(50,\): a metric function gives one number"),
        (lambda tree, _: {"a": tree["w"]}, r"metric 'a' has shape \(50,\)"),
        (lambda tree, _: {}, "gave an empty dict"),
        (lambda tree, _: "good", "has shape str"),
        (lambda tree, _: 1j * tree["w"].sum(), "metric 'metric' is complex"),
        (lambda tree, _: 2**40, "metric 'metric' = 1099511627776: beyond whole numbers of 32 bits"),
    ],
)
def test_bad_metrics(metric, message):
    with pytest.raises(limpet.MetricError, match=message):
        limpet.robustness_curves(metric, PARAMS, MISMATCH, sigmas=[0.1], chips=2)


def test_integer_and_boolean_metrics_count():
    curve = limpet.robustness_curve(lambda tree, _: tree["w"][0] > 0.5, PARAMS, MISMATCH, sigmas=[0.1], chips=50)
    assert set(np.unique(curve.values)) == {0.0, 1.0}
    assert jax.numpy.isclose(curve.mean()[0], 0.5, atol=0.3)


def test_print_is_a_short_table():
    lines = str(measure()).splitlines()
    assert len(lines) == 5
    assert lines[0] == "projection on 20 virtual chips of seed 0 (higher is better)"
    assert len(repr(measure())) < 120


@pytest.mark.parametrize("name", ["loss", "test_error", "crossEntropy", "mse", "val_nll"])
def test_the_direction_of_a_loss_must_be_said(name):
    def metric(tree, _):
        return tree["w"].sum()

    metric.__name__ = name
    with pytest.raises(limpet.MetricError, match=f"metric '{name}' says .* give higher_is_better=False"):
        limpet.robustness_curve(metric, PARAMS, MISMATCH, sigmas=[0.1], chips=2)
    given = limpet.robustness_curve(metric, PARAMS, MISMATCH, sigmas=[0.1], chips=9, higher_is_better=False)
    assert given.worst()[0] == given.values.max()
    named = limpet.robustness_curves(
        lambda tree, _: {name: tree["w"].sum(), "good": tree["w"].sum()}, PARAMS, MISMATCH, sigmas=[0.1], chips=2,
        higher_is_better={name: False},
    )  # fmt: skip
    assert (named[name].higher_is_better, named["good"].higher_is_better) == (False, True)
    with pytest.raises(limpet.MetricError, match=f"metric '{name}' says"):
        limpet.RobustnessCurve(name, [0.1], [[1.0]])


def test_a_part_of_the_tree_is_refused_by_naming_what_it_lacks():
    mismatch = limpet.Mismatch({"w": True, "v": True}, limpet.Gaussian(0.1))
    with pytest.raises(limpet.PrototypeError, match="the tree lacks v, which deviate.*count as perfect"):
        limpet.robustness_curve(lambda tree, _: tree["w"].sum(), {"w": jnp.ones(3)}, mismatch, sigmas=[0.1], chips=2)


def test_a_metric_that_ignores_the_draw_is_refused_and_one_that_ignores_a_part_is_told():
    both = limpet.Mismatch({"w": True, "v": True}, limpet.Gaussian(0.1))
    params = {"w": jnp.ones(3), "v": jnp.ones(3)}

    def stale(tree, _):
        return params["w"].sum()

    with pytest.raises(limpet.MismatchNotApplied, match="'stale' does not depend on the draw of v, w"):
        limpet.robustness_curve(stale, params, both, sigmas=[0.1], chips=2)
    with pytest.warns(UserWarning, match="does not depend on the draw of v"):
        limpet.robustness_curve(lambda tree, _: tree["w"].sum(), params, both, sigmas=[0.1], chips=2)


@pytest.mark.parametrize(
    ("mismatch", "message"),
    [
        ({"w": True, "activation": False}, "a prototype alone says which leaves deviate, but not how"),
        (limpet.Gaussian(0.1), "give the hardware or a recipe"),
        (0.1, "give the hardware or a recipe"),
    ],
)
def test_what_is_no_recipe_is_refused(mismatch, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.robustness_curve(projection, PARAMS, mismatch, sigmas=[0.1], chips=2, batch=BATCH)


def test_hardware_is_laid_over_the_tree():
    hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(0.3)))
    curve = limpet.robustness_curve(projection, PARAMS, hardware, scales=[1.0], chips=20, batch=BATCH)
    assert curve.sigmas.tolist() == [0.3]
    np.testing.assert_allclose(curve.values[0], measure(sigmas=[0.3]).values[0], rtol=1e-5)
    assert curve.fingerprint == measure().fingerprint
    assert "w (50)" in curve.hardware


def test_metrics_that_cannot_be_compiled_or_lack_a_batch_are_told_so():
    def to_python(tree, _):
        return float(tree["w"].sum())

    with pytest.raises(limpet.MetricError, match="'to_python' asks for the value of a traced array, as float"):
        limpet.robustness_curve(to_python, PARAMS, MISMATCH, sigmas=[0.1], chips=2)

    def branching(tree, _):
        return tree["w"].sum() if tree["w"].sum() > 0 else 0.0

    with pytest.raises(limpet.MetricError, match="asks for the value of a traced array"):
        limpet.robustness_curve(branching, PARAMS, MISMATCH, sigmas=[0.1], chips=2)

    def needs_batch(tree, batch):
        inputs, _ = batch
        return (tree["w"] * inputs).sum()

    with pytest.raises(limpet.MetricError, match=r"failed with batch = None .*give batch=\(inputs, labels\)"):
        limpet.robustness_curve(needs_batch, PARAMS, MISMATCH, sigmas=[0.1], chips=2)
    with pytest.raises(limpet.MetricError, match="gave a tuple of 2: it gives one number"):
        limpet.robustness_curve(lambda tree, _: (tree["w"].sum(), 1.0), PARAMS, MISMATCH, sigmas=[0.1], chips=2)


def test_models_where_trees_belong(dynapse_net):
    from flax import linen

    frozen = limpet.Mismatch(limpet.frozen_mismatch_prototype(dynapse_net), limpet.Gaussian(0.1))
    with pytest.raises(limpet.LimpetError, match=r"got the module \w+: .*limpet.attributes\(net\)"):
        limpet.robustness_curve(lambda tree, _: 0.0, dynapse_net, frozen, sigmas=[0.1], chips=2)
    with pytest.raises(limpet.LimpetError, match="got Dense, which is no tree of arrays: .*model.init"):
        limpet.robustness_curve(lambda tree, _: 0.0, linen.Dense(3), MISMATCH, sigmas=[0.1], chips=2)


def test_a_state_where_the_module_belongs_says_so():
    from flax import nnx

    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    graph, state = nnx.split(model)
    mismatch = limpet.Mismatch(limpet.prototype(state, ("kernel", True)), limpet.Gaussian(0.1))

    def mean(model, x):
        return model(x).mean()

    with pytest.raises(limpet.MetricError, match=r"'mean' failed .*given an nnx.State.*hand over the module itself"):
        limpet.robustness_curve(mean, state, mismatch, sigmas=[0.1], chips=2, batch=jnp.ones((1, 3)))
    merged = limpet.robustness_curve(
        lambda state, x: nnx.merge(graph, state)(x).mean(), state, mismatch, sigmas=[0.1], chips=2,
        batch=jnp.ones((1, 3)),
    )  # fmt: skip
    assert merged.chips == 2


def test_a_module_in_training_mode_is_told_what_the_metric_wrote():
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
            self.norm = nnx.BatchNorm(4, rngs=nnx.Rngs(0))
            self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.dropout(self.norm(self.linear(x)))

    model, x = Net(), jax.random.normal(jax.random.key(0), (8, 3))
    mismatch = limpet.Mismatch(limpet.prototype(model, ("linear/kernel", True)), limpet.Gaussian(0.1))

    def mean(model, x):
        return model(x).mean()

    def evaluated(model, x):
        model.eval()
        return model(x).mean()

    with pytest.warns(UserWarning, match=r"'mean' wrote .*norm/mean, norm/var: the module is in training mode"):
        limpet.robustness_curve(mean, model, mismatch, sigmas=[0.1], chips=2, batch=x)
    limpet.robustness_curve(evaluated, model, mismatch, sigmas=[0.1], chips=2, batch=x)  # warnings are errors


def test_warnings_name_the_users_own_line():
    both = limpet.Mismatch({"w": True, "v": True}, limpet.Gaussian(0.1))
    with pytest.warns(UserWarning, match="does not depend on the draw of v") as caught:
        limpet.robustness_curve(
            lambda tree, _: tree["w"].sum(), {"w": jnp.ones(3), "v": jnp.ones(3)}, both, sigmas=[0.1], chips=2
        )
    assert caught[0].filename == __file__


def test_a_curve_on_which_no_chip_differs_says_so():
    flat = limpet.RobustnessCurve("accuracy", [0.0, 0.1], [[0.5, 0.5], [0.5, 0.5]])
    assert "No chip differs from another at any strength" in str(flat)
    assert "No chip differs" not in str(measure())


def test_a_metric_that_is_compiled_by_nnx_is_not_taken_for_one_in_training_mode():
    from flax import nnx

    model = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
    mismatch = limpet.Mismatch(limpet.prototype(model, ("scale", True)), limpet.Gaussian(0.1))

    @nnx.jit
    def mean(model, x):
        model.eval()
        return model(x).mean()

    x = jnp.arange(6.0).reshape(2, 3)
    assert limpet.robustness_curve(mean, model, mismatch, sigmas=[0.1], chips=2, batch=x).chips == 2


def test_curves_over_time_need_hardware_that_knows_time():
    """A curve over time of plain mismatch would be flat, and look perfect."""
    params, names = {"w": jnp.ones((4, 4))}, ("gaussian", "read noise", "drift", "in a chain of a crossbar")
    drift = limpet.Drift(exponent=0.05, spread=0.01)
    deviations = (
        limpet.Gaussian(0.1),
        limpet.ReadNoise(spread=0.1),
        drift,
        limpet.Chain((limpet.Quantize(bits=4), limpet.Crossbar(limpet.Chain((limpet.Programming(spread=0.1), drift))))),
    )

    def mean(tree, _):
        return tree["w"].mean()

    for name, deviation in zip(names, deviations, strict=True):
        recipe = limpet.Mismatch({"w": True}, deviation)
        if not deviation.timed:
            with pytest.raises(limpet.MetricError, match="times: no deviation of this hardware changes with time"):
                limpet.robustness_curve(mean, params, recipe, times=["1 s"], chips=2)
            continue
        curve = limpet.robustness_curve(mean, params, recipe, times=["1 min", "1 year"], chips=2)
        assert (curve.values[0] > curve.values[1]).all(), name
        again = recipe(limpet.virtual_chip(0, 1), params, limpet.Condition(time=365 * 86400.0))
        np.testing.assert_allclose(curve.values[1, 1], again["w"].mean(), rtol=1e-5)
    assert [deviation.timed for deviation in deviations] == [False, False, True, True]
    with pytest.raises(limpet.MetricError, match="allowed is a number of seconds above 0"):
        limpet.robustness_curve(mean, params, limpet.Mismatch({"w": True}, drift), times=[0], chips=2)
