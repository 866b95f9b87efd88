"""The callback in a training loop: draws, audit, logs, evaluations."""

import logging
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from event_files import scalars
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import limpet
from limpet.tensorboard import logged_runs

PARAMS = {"w": jnp.linspace(0.5, 1.5, 8), "b": jnp.zeros(8)}
X = jnp.arange(8.0)


def loss_fn(params, x):
    return ((params["w"] * x + params["b"] - x) ** 2).mean()


def configured(logdir, **changes):
    sections = {
        "hardware": {"weights": {"leaves": "w", "sigma": 0.1}},
        "training": {"dynamic": {"schedule": {"kind": "linear", "steps": 4}}},
        "robustness": {"scales": [0.0, 2.0], "chips": 10, "every_steps": 4, "target": 0.5, "higher_is_better": False},
        "tensorboard": {"logdir": logdir, "flush_steps": 3},
    }
    return limpet.Config.model_validate(sections | changes)


STEADY = {"dynamic": {}}
BOTH = {"weights": {"leaves": "w", "sigma": 0.1}, "biases": {"leaves": "b", "sigma": 0.1}}


def frozen(**section):
    """Weights at every step, and biases as a section says."""
    return {"dynamic": {"parts": ["weights"]}, "frozen": {"parts": ["biases"], **section}}


def updater(callback, loss=loss_fn):
    @jax.jit
    def update(params, step, x):
        value, grads = jax.value_and_grad(lambda p: loss(callback.inject(p, step), x))(params)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads), value

    return update


def train(callback, steps, loss=loss_fn, params=PARAMS):
    update = updater(callback, loss)
    for step in range(steps):
        params, value = update(params, jnp.int32(step), X)
        callback(step, params, {"loss": value})
    return params


def test_a_run_logs_metrics_strength_and_curves(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        params = train(callback, 10)
    logged = scalars(tmp_path)
    assert list(logged["train/loss"]) == list(range(10))
    np.testing.assert_allclose(list(logged["mismatch/sigma_dynamic"].values()), [0, 0.025, 0.05, 0.075] + [0.1] * 6)
    assert list(logged["robustness_mean/loss_fn/sigma=0.2"]) == [0, 4, 8]
    for group in ("robustness_mean", "robustness_std", "robustness_worst", "robustness_p5", "virtual_chips_failed"):
        assert len(logged[f"{group}/loss_fn/sigma=0"]) == 3
    assert callback.curves["loss_fn"].values.shape == (2, 10)
    assert not np.array_equal(params["w"], PARAMS["w"])
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["tensors"]
    assert "limpet/config" in tags
    assert "robustness/loss_fn" in tags


def test_an_evaluation_is_the_robustness_curve_of_nominal_parameters(tmp_path):
    callback = limpet.MismatchCallback(PARAMS, configured(tmp_path, seed=5), metric_fn=loss_fn, eval_batch=X)
    with callback:
        curve = callback.evaluate(3, PARAMS)["loss_fn"]
    recipe = limpet.Mismatch({"w": True, "b": False}, limpet.Gaussian(1))
    expected = limpet.robustness_curve(
        loss_fn, PARAMS, recipe, sigmas=[0.0, 0.2], chips=limpet.Chips(10, seed=5), batch=X, higher_is_better=False
    )
    np.testing.assert_allclose(curve.values, expected.values, rtol=1e-6)
    logged = scalars(tmp_path)
    np.testing.assert_allclose(logged["robustness_mean/loss_fn/sigma=0.2"][3], curve.mean()[1], rtol=1e-6)
    np.testing.assert_allclose(logged["robustness_worst/loss_fn/sigma=0.2"][3], curve.worst()[1], rtol=1e-6)
    np.testing.assert_allclose(logged["robustness_p95/loss_fn/sigma=0.2"][3], curve.quantile(0.95)[1], rtol=1e-6)
    np.testing.assert_allclose(logged["robustness_std/loss_fn/sigma=0.2"][3], curve.std()[1], rtol=1e-6)
    assert logged["virtual_chips_failed/loss_fn/sigma=0.2"][3] == 0
    assert logged["robustness_yield/loss_fn/sigma=0"][3] == curve.yield_at(0.5)[0].fraction


def test_draws_follow_from_seed_and_step_alone(tmp_path):
    config = configured(tmp_path, training=STEADY)
    one, two = (limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X) for _ in range(2))
    eager = one.inject(PARAMS, 7)["w"]
    assert np.array_equal(eager, jax.jit(two.inject)(PARAMS, jnp.int32(7))["w"])
    assert not np.array_equal(eager, one.inject(PARAMS, 8)["w"])
    other = limpet.MismatchCallback(PARAMS, configured(tmp_path, seed=1, training=STEADY), metric_fn=loss_fn)
    assert not np.array_equal(eager, other.inject(PARAMS, 7)["w"])
    # a training step never sees one of the chips that the network is measured on
    chip = limpet.freeze(PARAMS, limpet.Mismatch({"w": True, "b": False}, limpet.Gaussian(0.1)), chip=7)
    assert not np.array_equal(eager, chip["w"])
    assert not list(tmp_path.iterdir())  # nothing was entered or logged, so no file was opened


def test_nothing_retraces_or_recompiles_while_the_strength_moves(tmp_path, caplog):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        update = updater(callback)
        params = PARAMS
        for step in range(9):
            params, value = update(params, jnp.int32(step), X)
            callback(step, params, {"loss": value})
            if step == 4:  # one evaluation, one flush and one step have been compiled
                caplog.set_level(logging.WARNING, logger="jax")
                jax.config.update("jax_log_compiles", True)
        callback.evaluate(9, params)
        jax.config.update("jax_log_compiles", False)
    assert not [record for record in caplog.records if "Compiling" in record.getMessage()]
    assert update._cache_size() == 1


def test_a_step_number_must_be_an_integer(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn) as callback:
        with pytest.raises(limpet.LimpetError, match=r"step = 1.5: allowed is an integer"):
            callback.inject(PARAMS, 1.5)


def erased(params, x):
    return loss_fn({**params, "w": PARAMS["w"]}, x)


def test_the_first_step_audits_the_loss(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        with pytest.raises(limpet.MismatchNotApplied, match="the draw of w does not reach the loss"):
            train(callback, 1, loss=erased)


def test_a_loop_that_forgets_inject_is_told(tmp_path):
    """At once, and by an error at the end; steps may have been meant to train without mismatch first."""
    callback = limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X)
    callback(0, PARAMS)  # a baseline evaluation before training is fine
    with pytest.warns(RuntimeWarning, match=r"a training step was logged, but callback.inject was never called"):
        callback(1, PARAMS, {"loss": loss_fn(PARAMS, X)})
    callback(2, PARAMS, {"loss": loss_fn(PARAMS, X)})
    with pytest.raises(limpet.MismatchNotApplied, match=r"the run is over, but callback.inject was never called"):
        callback.close()
    assert list(scalars(tmp_path)["train/loss"]) == [1, 2]


def test_a_metric_that_ignores_the_chip_is_an_error(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=erased, eval_batch=X) as callback:
        with pytest.raises(limpet.MismatchNotApplied, match="'erased' does not depend on the draw of w"):
            callback.evaluate(0, PARAMS)


def test_looking_at_a_draw_first_does_not_fool_the_audit(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        callback.inject(PARAMS, 0)
        with pytest.raises(limpet.MismatchNotApplied, match="the draw of w does not reach the loss"):
            train(callback, 1, loss=erased)


def test_loops_outside_jit_are_told_that_nothing_is_audited(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        value, _ = jax.value_and_grad(lambda p: loss_fn(callback.inject(p, 0), X))(PARAMS)
        with pytest.warns(RuntimeWarning, match=r"outside jax.jit.*limpet.audit"):
            callback(0, PARAMS, {"loss": value})


@pytest.mark.parametrize("value", [jnp.ones(2), "good", None])
def test_metrics_are_scalars(tmp_path, value):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        with pytest.raises(limpet.MetricError, match=r"metrics\['loss'\]"):
            callback(0, PARAMS, {"loss": value})


def test_what_was_logged_survives_an_interrupt(tmp_path):
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
            train(callback, 5)
            raise KeyboardInterrupt
    logged = scalars(tmp_path)
    assert list(logged["train/loss"]) == list(range(5))
    assert list(logged["robustness_mean/loss_fn/sigma=0"]) == [0, 4]


def test_directories_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    callback = limpet.MismatchCallback(PARAMS, configured(tmp_path / "file/run"), metric_fn=loss_fn)
    with pytest.raises(limpet.LogdirError, match=r"tensorboard.logdir = .*file/run'?: cannot be"):
        callback.__enter__()


def test_evaluations_need_a_metric(tmp_path):
    with pytest.raises(limpet.ConfigError, match="no metric_fn"):
        limpet.MismatchCallback(PARAMS, configured(tmp_path))


def test_training_that_diverged_is_told_once(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        with pytest.warns(RuntimeWarning, match="'loss' has been NaN or infinite since step 0") as caught:
            train(callback, 25, params={**PARAMS, "b": jnp.full(8, jnp.nan)})
    assert len(caught) == 1


def test_curves_do_not_change_because_of_other_chips_at_other_evaluations(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        first = callback.evaluate(0, PARAMS)["loss_fn"].values
        assert np.array_equal(callback.evaluate(1, PARAMS)["loss_fn"].values, first)


def test_each_evaluation_reads_the_chips_anew(tmp_path):
    """Hardware with read noise: the read is the step's, as `limpet.robustness_curve` takes it by `condition=`."""
    noisy = limpet.Chain((limpet.Gaussian(sigma=0.1), limpet.ReadNoise(spread=0.05)))
    hardware = limpet.Hardware(weights=limpet.Part("w", noisy))
    arguments = {"scales": [0, 1], "chips": 8, "higher_is_better": False}
    callback = limpet.MismatchCallback(
        PARAMS, hardware, metric_fn=loss_fn, eval_batch=X, logdir=str(tmp_path), audit=False, **arguments
    )
    with callback:
        at_0, at_7 = (callback.evaluate(step, PARAMS)["loss_fn"].values for step in (0, 7))
    assert not (at_0[1] == at_7[1]).any()
    curve = limpet.robustness_curve(loss_fn, PARAMS, hardware, batch=X, condition=limpet.Condition(read=7), **arguments)
    np.testing.assert_allclose(at_7, curve.values, rtol=1e-6)


def test_the_audit_needs_no_metrics(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        with pytest.raises(limpet.MismatchNotApplied, match="the draw of w"):
            updater(callback, erased)(PARAMS, jnp.int32(0), X)
    with limpet.MismatchCallback(PARAMS, configured(tmp_path / "other"), metric_fn=loss_fn, eval_batch=X) as callback:
        callback(0, PARAMS)
        with pytest.warns(RuntimeWarning, match="never called"):
            callback(1, PARAMS)
        with pytest.raises(limpet.MismatchNotApplied, match="never called"):
            callback.close()


@pytest.mark.parametrize("change", [{"w": {"leaves": "w", "sigma": 2.0}}, {"w": {"leaves": "w", "sigma": 0.0}}])
def test_a_step_that_still_uses_the_callback_before_is_told(tmp_path, change):
    """A notebook whose cell with the callback was run again, but not the one with the jitted update."""
    first = limpet.MismatchCallback(PARAMS, configured(tmp_path / "a"), metric_fn=loss_fn, eval_batch=X)
    update = updater(first)
    with first:
        for step in range(2):
            params, value = update(PARAMS, jnp.int32(step), X)
            first(step, params, {"loss": value})
    config = configured(tmp_path / "b", hardware=change)
    second = limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X)
    with pytest.warns(RuntimeWarning, match="compiled with that one still uses it, its hardware and its strength"):
        second(0, *update(PARAMS, jnp.int32(0), X)[:1], {"loss": 1.0})
    with pytest.raises(limpet.MismatchNotApplied, match="Define the update again, for this callback"):
        second.close()


def test_unsigned_and_negative_steps(tmp_path):
    schedule = {"kind": "linear", "begin": 100, "steps": 100}
    config = configured(tmp_path, training={"dynamic": {"schedule": schedule}})
    with limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn) as callback:
        assert np.array_equal(callback.inject(PARAMS, jnp.uint32(0))["w"], PARAMS["w"])
        with pytest.raises(limpet.LimpetError, match=r"step = -1: allowed is an integer >= 0"):
            callback.inject(PARAMS, -1)


def test_one_chip_is_a_constant_factor_on_what_is_trained(tmp_path):
    """The chip that a configuration names is drawn by the callback: nothing has to be frozen before."""
    params = {"w": jnp.ones(8), "b": jnp.ones(8)}
    config = configured(tmp_path, hardware=BOTH, training=frozen(chip=3, scale=2.0), seed=4)
    with limpet.MismatchCallback(params, config, metric_fn=loss_fn, eval_batch=X) as callback:
        first, second = callback.inject(params, 0), callback.inject(params, 1)
        chip = config.freeze(params)
        assert np.array_equal(first["b"], second["b"])
        assert np.array_equal(first["b"], chip["b"])
        assert not np.array_equal(first["b"], params["b"])
        assert not np.array_equal(first["w"], second["w"])
        doubled = callback.inject({**params, "b": 2 * params["b"]}, 0)
        np.testing.assert_allclose(doubled["b"], 2 * chip["b"], rtol=1e-6)
        gradient = jax.grad(lambda p: callback.inject(p, 0)["b"].sum())(params)["b"]
        np.testing.assert_allclose(gradient, chip["b"], rtol=1e-6)
    with pytest.raises(
        limpet.LimpetError, match=r"b: these values are a virtual chip's already, made by limpet.freeze"
    ):
        limpet.MismatchCallback(chip, config, metric_fn=loss_fn, eval_batch=X)


def test_the_chip_that_training_meets_is_not_among_the_unseen_ones(tmp_path):
    config = configured(tmp_path, hardware=BOTH, training=frozen(chip=3))
    with limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X) as callback:
        curve = callback.evaluate(0, PARAMS)["loss_fn"]
    everything = limpet.robustness_curve(
        loss_fn, PARAMS, config.hardware, scales=[0.0, 2.0], chips=11, batch=X, higher_is_better=False
    )
    assert curve.excluded_chips == (3,)
    assert curve.chip_numbers.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert np.array_equal(curve.values, np.delete(everything.values, 3, axis=1))
    assert curve.worst_chip(0.2) == curve.chip_numbers[curve.values[1].argmax()]
    assert "without 3" in str(curve)
    for changes in (
        {"training": frozen(chip=10)},
        {"training": frozen(chip=40)},
        {"training": frozen(chip=3, seed=9)},
        {"training": frozen(chip="fresh")},
    ):
        config = configured(tmp_path / "other", hardware=BOTH, **changes)
        callback = limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X)
        assert callback._evaluator._excluded == ()


def test_values_beyond_limits_are_counted_on_the_chips_of_the_curve(tmp_path):
    params = {"w": jnp.linspace(0.5, 1.5, 8), "b": jnp.ones(4)}
    hardware = limpet.Hardware(
        weights=limpet.Part("w", limpet.Gaussian(0.5), limpet.Limits(0.2, 1.6)),
        biases=limpet.Part("b", limpet.Gaussian(0.5)),
    )

    def metric(tree, batch):
        return (tree["w"] * batch).sum() + tree["b"].sum()

    def logged(name, hardware, training):
        callback = limpet.MismatchCallback(
            params,
            hardware,
            metric_fn=metric,
            eval_batch=X,
            training=training,
            scales=[2.0, 0.0],
            chips=20,
            logdir=tmp_path / name,
        )
        with callback:
            callback.evaluate(7, jax.device_put(params, jax.devices()[1]))
        return logged_runs(tmp_path / name)["."].beyond_limits

    beyond = logged("all", hardware, {})[7]
    report = limpet.limits_report(hardware, params, chips=20, condition=2.0)
    assert (beyond.leaves, beyond.limits, beyond.chips) == (("w",), ("0.2 to 1.6 (clip)",), 20)
    assert beyond.sigmas.tolist() == [1.0, 0.0]
    np.testing.assert_allclose(beyond.share[:, 0], [report.leaves["w"].share, 0])
    assert beyond.chips_beyond[:, 0].tolist() == [report.leaves["w"].chips, 0]
    assert 0 < report.leaves["w"].share < 1
    frozen_on_one = {"frozen": {"parts": ["weights", "biases"], "scale": 1.0, "chip": 3}}
    without_it = logged("one", hardware, frozen_on_one)[7]
    more = limpet.limits_report(hardware, params, chips=21, condition=2.0)
    recipe = hardware.on(params).unlimited()
    chip = recipe(limpet.virtual_chip(0, 3), params, 2.0)["w"]
    of_chip = int(((chip < 0.2) | (chip > 1.6)).sum())
    np.testing.assert_allclose(without_it.share[0, 0] * 160, more.leaves["w"].share * 168 - of_chip)
    assert logged("none", limpet.Hardware(all=limpet.Part("*", limpet.Gaussian(0.5))), {}) == {}


def test_fresh_chips_have_a_seed_of_their_own(tmp_path):
    params = {"w": jnp.ones(8), "b": jnp.ones(8)}
    trees = []
    for seed in (0, 1):
        config = configured(tmp_path, hardware=BOTH, training=frozen(chip="fresh", seed=seed))
        trees.append(limpet.MismatchCallback(params, config, metric_fn=loss_fn).inject(params, 5))
    assert np.array_equal(trees[0]["w"], trees[1]["w"])
    assert not np.array_equal(trees[0]["b"], trees[1]["b"])


def test_parameters_may_move_to_other_devices_between_evaluations(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        before = callback.evaluate(0, PARAMS)["loss_fn"]
        mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        after = callback.evaluate(1, jax.device_put(PARAMS, sharding))["loss_fn"]
        np.testing.assert_allclose(after.values, before.values, rtol=1e-6)


def test_metrics_of_a_donated_state_are_kept(tmp_path):
    @jax.jit
    def step(count):
        return count + 1

    donating = jax.jit(lambda count: count + 1, donate_argnums=0)
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        updater(callback)(PARAMS, jnp.int32(0), X)
        count = step(jnp.int32(0))
        for number in range(4):
            callback(number, PARAMS, {"count": count})
            count = donating(count)
    assert scalars(tmp_path)["train/count"] == {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}


def test_an_interrupt_while_writing_loses_no_evaluation(tmp_path, monkeypatch):
    from limpet.tensorboard import CurveWriter

    written = CurveWriter.curve
    attempts = []

    def interrupted(self, *args):
        attempts.append(args)
        if len(attempts) == 1:
            raise KeyboardInterrupt
        written(self, *args)

    monkeypatch.setattr(CurveWriter, "curve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
            callback.evaluate(0, PARAMS)
    assert list(scalars(tmp_path)["robustness_mean/loss_fn/sigma=0"]) == [0]


def test_several_metrics_each_with_its_direction_and_target(tmp_path):
    robustness = {
        "scales": [2.0],
        "chips": 10,
        "target": {"score": -0.5},
        "higher_is_better": {"loss": False},
    }

    def both(params, x):
        return {"loss": loss_fn(params, x), "score": -loss_fn(params, x)}

    config = configured(tmp_path, robustness=robustness)
    with limpet.MismatchCallback(PARAMS, config, metric_fn=both, eval_batch=X) as callback:
        curves = callback.evaluate(0, PARAMS)
    assert curves["loss"].worst()[0] == curves["loss"].values.max()
    assert curves["score"].worst()[0] == curves["score"].values.min()
    logged = scalars(tmp_path)
    assert "robustness_yield/score/sigma=0.2" in logged
    assert "robustness_yield/loss/sigma=0.2" not in logged
    with pytest.raises(limpet.MetricError, match="higher_is_better names lss"):
        limpet.robustness_curves(
            both, PARAMS, limpet.Mismatch({"w": True, "b": False}, limpet.Gaussian(1)), sigmas=[0.1], chips=2, batch=X,
            higher_is_better={"lss": False},
        )  # fmt: skip


def test_a_target_of_a_metric_that_there_is_not_is_refused(tmp_path):
    robustness = {"scales": [1.0], "chips": 2, "target": {"acuracy": 0.9}, "higher_is_better": False}
    with limpet.MismatchCallback(
        PARAMS, configured(tmp_path, robustness=robustness), metric_fn=loss_fn, eval_batch=X
    ) as (callback):
        with pytest.raises(limpet.MetricError, match="robustness.target names acuracy; the metrics are loss_fn"):
            callback.evaluate(0, PARAMS)
        callback._log._evaluations.clear()  # so that it is not written again when the callback closes


def test_a_closed_callback_says_so(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        pass
    callback.close()
    for use in (lambda: callback.evaluate(0, PARAMS), lambda: callback(0, PARAMS), callback.__enter__):
        with pytest.raises(limpet.LimpetError, match="this callback is closed"):
            use()


def test_a_configuration_must_be_loaded_first():
    with pytest.raises(limpet.ConfigError, match=r"config = 'x.yaml': give what limpet.load_config returns"):
        limpet.MismatchCallback(PARAMS, "x.yaml")


def test_hardware_and_plain_arguments_need_no_file(tmp_path):
    hardware = limpet.Hardware(weights=limpet.Part("w", limpet.LogNormal(0.1)))
    recipe = hardware.on(PARAMS)
    for index, given in enumerate((hardware, recipe, limpet.Mismatch({"w": True, "b": False}, limpet.LogNormal(0.1)))):
        callback = limpet.MismatchCallback(
            PARAMS,
            given,
            seed=3,
            metric_fn=loss_fn,
            eval_batch=X,
            robustness={"scales": [1.0], "chips": 3, "higher_is_better": False, "every_steps": 2},
            tensorboard={"logdir": tmp_path / str(index)},
        )
        with callback:
            train(callback, 3)
            assert np.array_equal(
                callback.inject(PARAMS, 5)["w"], limpet.Injection(PARAMS, hardware, seed=3).inject(PARAMS, 5)["w"]
            )
        assert callback.curves["loss_fn"].sigmas.tolist() == [0.1]
    with pytest.raises(limpet.ConfigError, match=r"robustness.chps: unknown key; did you mean 'chips'\?"):
        limpet.MismatchCallback(PARAMS, hardware, robustness={"chps": 3}, metric_fn=loss_fn)
    plain = {"scales": [1.0], "chips": 3, "higher_is_better": False, "logdir": tmp_path / "plain", "seed": 3}
    callback = limpet.MismatchCallback(PARAMS, hardware, metric_fn=loss_fn, eval_batch=X, **plain)
    assert callback.logdir == tmp_path / "plain"
    assert repr(callback).endswith("plain', draws w)")
    with callback:
        assert callback.evaluate(0, PARAMS)["loss_fn"].chips == 3
    with pytest.raises(limpet.ConfigError, match="chips: stands in robustness= as well; give it once"):
        limpet.MismatchCallback(PARAMS, hardware, metric_fn=loss_fn, chips=3, robustness={"chips": 4})
    with pytest.raises(limpet.ConfigError, match=r"robustness.chips = -3"):
        limpet.MismatchCallback(PARAMS, hardware, metric_fn=loss_fn, chips=-3)
    with pytest.raises(limpet.ConfigError, match="seed: stands in the configuration already"):
        limpet.MismatchCallback(PARAMS, configured(tmp_path), seed=3, metric_fn=loss_fn)


def test_a_configuration_that_does_not_say_what_is_redrawn_is_refused(tmp_path):
    config = limpet.Config.model_validate({"hardware": {"weights": {"leaves": "w", "sigma": 0.1}}})
    with pytest.raises(limpet.ConfigError, match=r"training: is missing.*training: \{\} to train without mismatch"):
        limpet.MismatchCallback(PARAMS, config)


def test_a_step_captured_by_closure_is_an_error_at_the_next_step(tmp_path):
    config = configured(tmp_path, training=STEADY)
    with limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X) as callback:
        step = 0

        @jax.jit
        def update(params, x):
            return jax.value_and_grad(lambda p: loss_fn(callback.inject(p, step), x))(params)

        jax.jit(callback.inject)(PARAMS, jnp.int32(0))  # a look at a draw, whose step is an argument, changes nothing
        value, _ = update(PARAMS, X)
        callback(0, PARAMS, {"loss": value})
        step = 1
        value, _ = update(PARAMS, X)
        with pytest.raises(limpet.MismatchNotApplied, match=r"traced with step = 0, a constant.*pass the step"):
            callback(1, PARAMS, {"loss": value})


def test_static_step_numbers_retrace_and_are_no_error(tmp_path, recwarn):
    with limpet.MismatchCallback(
        PARAMS, configured(tmp_path, training=STEADY), metric_fn=loss_fn, eval_batch=X
    ) as callback:

        def loss(params, step):
            return loss_fn(callback.inject(params, step), X)

        update = jax.jit(jax.value_and_grad(loss), static_argnums=1)
        for step in range(3):
            callback(step, PARAMS, {"loss": update(PARAMS, step)[0]})
    (warning,) = recwarn
    assert "traced anew for step 1" in str(warning.message)


def test_a_jitted_look_at_a_draw_does_not_stand_for_training(tmp_path):
    callback = limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X)
    jax.jit(callback.inject)(PARAMS, jnp.int32(0))
    jax.jit(lambda p: loss_fn(callback.inject(p, 0), X))(PARAMS)
    callback(0, PARAMS, {"loss": loss_fn(PARAMS, X)})  # roll-outs and validations may come first
    with pytest.warns(RuntimeWarning, match="no gradient was taken through what it gave so far"):
        callback(1, jax.tree.map(lambda p: p + 1, PARAMS), {"loss": 1.0})
    with pytest.raises(limpet.MismatchNotApplied, match="no gradient was taken through what it gave: "):
        callback.close()
    free = configured(tmp_path / "free")
    with limpet.MismatchCallback(PARAMS, free, metric_fn=loss_fn, eval_batch=X, audit=False) as callback:
        callback(0, PARAMS, {"loss": loss_fn(PARAMS, X)})


def test_the_audit_leaves_nothing_in_the_compiled_step(tmp_path):
    """So that a step costs what it costs without."""
    compiled = []
    for audit in (True, False):
        callback = limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X, audit=audit)
        update = jax.jit(lambda p, step, x, c=callback: jax.grad(lambda p: loss_fn(c.inject(p, step), x))(p))
        assert ("limpet_probe" in str(update.trace(PARAMS, 0, X).jaxpr)) == audit
        text = update.lower(PARAMS, 0, X).as_text()
        compiled.append(re.sub(r"@(\w+?)_\d+\b", r"@\1", text))  # JAX numbers functions of one name
    assert compiled[0] == compiled[1]


@pytest.mark.parametrize("named", [True, False])
def test_a_loop_that_is_one_scan_an_epoch(tmp_path, named):
    """Metrics at their steps, and an evaluation whenever a multiple was passed."""
    config = configured(tmp_path, robustness={"scales": [1.0], "chips": 3, "every_steps": 7, "higher_is_better": False})
    with limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X) as callback:

        @jax.jit
        def epoch(params, steps):
            def update(params, step):
                loss, grads = jax.value_and_grad(lambda p: loss_fn(callback.inject(p, step), X))(params)
                return jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads), loss

            return jax.lax.scan(update, params, steps)

        params = PARAMS
        for start in range(0, 20, 5):
            steps = jnp.arange(start, start + 5)
            params, losses = epoch(params, steps)
            callback(steps if named else list(range(start, start + 5)), params, {"loss": losses, "epoch": start // 5})
    logged = scalars(tmp_path)
    assert list(logged["train/loss"]) == list(range(20))
    assert logged["train/epoch"][7] == 1.0
    assert list(logged["robustness_mean/loss_fn/sigma=0.1"]) == [4, 9, 14]
    np.testing.assert_allclose(list(logged["mismatch/sigma_dynamic"].values())[:5], [0, 0.025, 0.05, 0.075, 0.1])


def test_calls_once_an_epoch_are_evaluated_when_a_multiple_was_passed(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        update = updater(callback)
        update(PARAMS, jnp.int32(0), X)
        for step in (2, 5, 7, 9):  # multiples of 4 are passed on the way to 2 (0), 5 and 9
            callback(step, PARAMS)
    assert list(scalars(tmp_path)["robustness_mean/loss_fn/sigma=0"]) == [2, 5, 9]


def test_a_run_without_any_evaluation_is_told(tmp_path):
    robustness = {"scales": [1.0], "chips": 2, "every_steps": 500, "higher_is_better": False}
    saved = {}
    with limpet.MismatchCallback(
        PARAMS, configured(tmp_path, robustness=robustness), metric_fn=loss_fn, eval_batch=X
    ) as (callback):
        train(callback, 3)
        saved = callback.checkpoint(2)
    callback = limpet.MismatchCallback(
        PARAMS, configured(tmp_path, robustness=robustness), metric_fn=loss_fn, eval_batch=X, resume=saved
    )
    update = updater(callback)
    for step in (3, 4):
        callback(step, PARAMS, {"loss": update(PARAMS, jnp.int32(step), X)[1]})
    with pytest.warns(UserWarning, match="no evaluation was made: 2 calls .* robustness.every_steps = 500"):
        callback.close()


@pytest.mark.parametrize("step", [1.5, -1, [3, 2], np.uint8([3, 2]), np.uint32([5, 5]), [], "3", jnp.ones((2, 2), int)])
def test_step_numbers_that_cannot_be_logged(tmp_path, step):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn) as callback:
        with pytest.raises(limpet.LimpetError, match=r"(?s)step = .*allowed is an integer >= 0, or the rising numbers"):
            callback(step, PARAMS)


def test_metrics_of_several_steps_have_their_number(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn) as callback:
        with pytest.raises(limpet.MetricError, match=r"metrics\['loss'\] = .*one number, or an array of shape \(3,\)"):
            callback([0, 1, 2], PARAMS, {"loss": jnp.ones(2)})


def test_a_directory_that_holds_a_run_is_set_aside(tmp_path):
    for _ in range(2):
        callback = limpet.MismatchCallback(PARAMS, configured(tmp_path / "run"), metric_fn=loss_fn, eval_batch=X)
        if (tmp_path / "run").exists():
            with pytest.warns(UserWarning, match=r"held an earlier run, which is now in .*run\.1"):
                callback.__enter__()
        with callback:
            train(callback, 2)
    assert list(scalars(tmp_path / "run")["train/loss"]) == [0, 1]
    assert list(scalars(tmp_path / "run.1")["train/loss"]) == [0, 1]


def test_own_deviations_reach_draws_audit_and_curves(tmp_path):
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Offset(limpet.Deviation):
        volts: float

        def deviate(self, draw, value, strength):
            return value + self.volts * strength * draw.normal(value.shape, strength * 0 + 1)

    hardware = limpet.Hardware(biases=limpet.Part("b", Offset(0.5)))
    report = limpet.audit(loss_fn, PARAMS, hardware, X)
    assert report.leaves[0].sigma_asked is None
    assert "  -  " in str(report)
    callback = limpet.MismatchCallback(
        PARAMS, hardware, metric_fn=loss_fn, eval_batch=X, tensorboard={"logdir": tmp_path},
        robustness={"scales": [0.0, 1.0], "chips": 3, "higher_is_better": False, "every_steps": 2},
    )  # fmt: skip
    with callback:
        train(callback, 3)
    curve = callback.curves["loss_fn"]
    assert (curve.axis, curve.sigmas.tolist()) == ("scale", [0.0, 1.0])
    assert "Offset" in curve.hardware
    assert "mismatch/scale_dynamic" in scalars(tmp_path)


class TestRockpool:
    """A DynapSim network with fresh chips, and with one."""

    @staticmethod
    def logits(net, tree, x):
        spikes, _, _ = net.set_attributes(tree).reset_state()(x)
        return spikes.sum()

    def configured(self, logdir, chip, **changes):
        return limpet.Config.model_validate(
            {
                "hardware": {
                    "weights": {"leaves": "dynapse-weights", "sigma": 0.1},
                    "currents": {"leaves": "dynapse-frozen", "sigma": 0.2},
                },
                "training": {"dynamic": {"parts": ["weights"]}, "frozen": {"chip": chip}},
                "robustness": {"scales": [0.0, 1.0], "chips": 3, "every_steps": 2},
                "tensorboard": {"logdir": logdir},
            }
            | changes
        )

    def test_fresh_chips_deviate_parameters_and_simulation_parameters(self, tmp_path, dynapse_net):
        x = jnp.ones((1, 4, 3))

        def spikes(tree, x):
            return self.logits(dynapse_net, tree, x)

        config = self.configured(tmp_path, "fresh")
        optimizer = optax.adam(0.01, eps=1e-16)
        params = jax.tree.map(jnp.float32, dynapse_net.parameters())
        with limpet.MismatchCallback(dynapse_net, config, metric_fn=spikes, eval_batch=x) as callback:
            tree = callback.inject(params, 3)
            again = callback.inject(params, 4)
            nominal = limpet.attributes(dynapse_net)
            moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), tree, nominal)
            assert sum(jax.tree.leaves(moved)) == 26
            assert not moved["1_DynapSim"]["dt"]
            assert not np.array_equal(tree["1_DynapSim"]["Io"], again["1_DynapSim"]["Io"])

            @jax.jit
            def update(params, state, step):
                loss, grads = jax.value_and_grad(lambda p: spikes(callback.inject(p, step), x))(params)
                updates, state = optimizer.update(grads, state, params)
                return optax.apply_updates(params, updates), state, loss

            state = optimizer.init(params)
            for step in range(3):
                params, state, loss = update(params, state, jnp.int32(step))
                callback(step, params, {"loss": loss})
        assert set(scalars(tmp_path)) >= {"mismatch/sigma_dynamic", "mismatch/sigma_frozen", "train/loss"}
        assert callback.curves["spikes"].values.shape == (2, 3)

    @pytest.mark.long
    def test_one_chip_however_asked_for(self, tmp_path, dynapse_net):
        """The callback's, `freeze`'s by configuration, by recipe and by section's seed, and the curve's, under either
        generator: the first version gave another chip where the generator was not the default."""
        x = jnp.ones((1, 4, 3))

        def everything(tree, _):
            leaves = jax.tree.leaves({name: tree[name] for name in ("0_LinearJax", "1_DynapSim")})
            return tree["1_DynapSim"]["Ispkthr"][0] * 1e9 + 0 * sum(leaf.sum() for leaf in leaves)

        for generator in ("fast", "threefry2x32"):
            config = self.configured(
                tmp_path / generator, 1, generator=generator, robustness={"scales": [1.0], "seed": 7}
            )
            net = config.freeze(dynapse_net)
            expected = limpet.attributes(net)["1_DynapSim"]
            recipe = config.hardware.on(dynapse_net, only=["currents"])
            again = limpet.freeze(dynapse_net, recipe, seed=0, chip=1, generator=generator)
            drawn = recipe(limpet.virtual_chip(0, 1, generator), limpet.attributes(dynapse_net))["1_DynapSim"]
            callbacks = [
                limpet.MismatchCallback(model, config, metric_fn=everything, eval_batch=x)
                for model in (dynapse_net, net)
            ]
            trees = [callback.inject(dynapse_net.parameters(), 0)["1_DynapSim"] for callback in callbacks]
            curve = limpet.robustness_curve(
                everything,
                limpet.attributes(dynapse_net),
                config.hardware.on(dynapse_net),
                scales=[1.0],
                chips=limpet.Chips(2, generator=generator),
                batch=x,
            )
            for name in ("Io", "Ispkthr", "Itau_mem"):
                assert np.array_equal(limpet.attributes(again)["1_DynapSim"][name], expected[name])
                assert np.array_equal(drawn[name], expected[name])
                assert all(np.array_equal(tree[name], expected[name]) for tree in trees)
            assert np.float32(curve.values[0, 1]) == np.float32(expected["Ispkthr"][0] * 1e9)

    def test_a_standard_run_is_measured_on_the_same_chips_without_copying_anything(self, tmp_path, dynapse_net):
        def currents(tree, _):
            return (
                sum(jnp.sum(leaf) for leaf in jax.tree.leaves(tree["1_DynapSim"])) + tree["0_LinearJax"]["weight"].sum()
            )

        curves = []
        for name, training in (("mismatch", None), ("standard", {})):
            changes = {} if training is None else {"training": training}
            config = self.configured(tmp_path / name, "fresh", **changes)
            with limpet.MismatchCallback(dynapse_net, config, metric_fn=currents) as callback:
                params = dynapse_net.parameters()
                if training == {}:
                    assert callback.inject(params, 0) is params
                curves.append(callback.evaluate(0, params)["currents"])
        assert np.array_equal(curves[0].values, curves[1].values)
        assert curves[0].fingerprint == curves[1].fingerprint
        limpet.compare(*curves)

    def test_parameters_of_another_network_are_refused(self, tmp_path, dynapse_net):
        config = self.configured(tmp_path, "fresh")
        callback = limpet.MismatchCallback(dynapse_net, config, metric_fn=lambda tree, _: 0.0)
        with pytest.raises(limpet.PrototypeError, match="2_LIFJax/w_rec"):
            callback.inject({"2_LIFJax": {"w_rec": jnp.ones(3)}}, 0)
        with pytest.raises(limpet.LimpetError, match=r"but parameters are needed.*net.parameters\(\)"):
            callback.inject(dynapse_net, 0)


def test_arguments_that_were_swapped_or_mistaken_are_named(tmp_path):
    hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(0.1)))
    with pytest.raises(limpet.LimpetError, match="step is a dict: allowed is an integer >= 0"):
        limpet.Injection(PARAMS, hardware).inject(0, PARAMS)
    with pytest.raises(limpet.LimpetError, match="schedule = 0.5: allowed is a function from step to factor"):
        limpet.Injection(PARAMS, hardware, schedule=0.5)
    with pytest.raises(limpet.LimpetError, match="key is a dict: a recipe is called as"):
        hardware.on(PARAMS)(PARAMS, jax.random.key(0))
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        with pytest.raises(limpet.MetricError, match="metrics is a float: allowed are numbers by name"):
            callback(0, PARAMS, 1.0)
    with pytest.raises(limpet.LimpetError, match=r"of a configuration, config.hardware"):
        limpet.robustness_curve(loss_fn, PARAMS, configured(tmp_path), scales=[1.0])


def test_strengths_are_asked_once_a_write_not_once_a_step(tmp_path, monkeypatch):
    """Asking is a compiled call on the thread that trains."""
    asked = []

    def counted(strength):
        return lambda steps: asked.append(len(steps)) or np.zeros(len(steps))

    monkeypatch.setattr("limpet.callback._run_log._over_steps", counted)
    config = configured(tmp_path, tensorboard={"logdir": tmp_path, "flush_steps": 100})
    with limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X) as callback:
        train(callback, 12)
    assert sum(asked) == 12
    assert len(asked) <= 5  # three evaluations write as well, and the end
