"""The callback in a training loop: draws, audit, logs, evaluations."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from event_files import scalars
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import limpet

PARAMS = {"w": jnp.linspace(0.5, 1.5, 8), "b": jnp.zeros(8)}
X = jnp.arange(8.0)


def loss_fn(params, x):
    return ((params["w"] * x + params["b"] - x) ** 2).mean()


def configured(logdir, **changes):
    sections = {
        "dynamic": {"sigma": 0.1, "targets": ["w"], "schedule": {"kind": "linear", "steps": 4}},
        "robustness": {"sigmas": [0.0, 0.2], "chips": 10, "every_steps": 4, "target": 0.5, "higher_is_better": False},
        "tensorboard": {"logdir": logdir, "flush_steps": 3},
    }
    return limpet.Config.model_validate(sections | changes)


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
    expected = limpet.robustness_curve(loss_fn, PARAMS, recipe, sigmas=[0.0, 0.2], chips=10, seed=5, batch=X)
    np.testing.assert_allclose(curve.values, expected.values, rtol=1e-6)
    logged = scalars(tmp_path)
    np.testing.assert_allclose(logged["robustness_mean/loss_fn/sigma=0.2"][3], curve.mean()[1], rtol=1e-6)
    np.testing.assert_allclose(logged["robustness_worst/loss_fn/sigma=0.2"][3], curve.worst()[1], rtol=1e-6)
    np.testing.assert_allclose(logged["robustness_p95/loss_fn/sigma=0.2"][3], curve.quantile(0.95)[1], rtol=1e-6)
    np.testing.assert_allclose(logged["robustness_std/loss_fn/sigma=0.2"][3], curve.std()[1], rtol=1e-6)
    assert logged["virtual_chips_failed/loss_fn/sigma=0.2"][3] == 0
    assert logged["robustness_yield/loss_fn/sigma=0"][3] == curve.yield_at(0.5)[0].fraction


def test_draws_follow_from_seed_and_step_alone(tmp_path):
    config = configured(tmp_path, dynamic={"sigma": 0.1, "targets": ["w"]})
    one, two = (limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X) for _ in range(2))
    eager = one.inject(PARAMS, 7)["w"]
    assert np.array_equal(eager, jax.jit(two.inject)(PARAMS, jnp.int32(7))["w"])
    assert not np.array_equal(eager, one.inject(PARAMS, 8)["w"])
    other = limpet.MismatchCallback(PARAMS, configured(tmp_path, seed=1), metric_fn=loss_fn, eval_batch=X)
    assert not np.array_equal(eager, other.inject(PARAMS, 7)["w"])
    # a training step never sees one of the chips that the network is measured on
    chip = limpet.freeze(PARAMS, limpet.Mismatch({"w": True, "b": False}, limpet.Gaussian(0.1)), chip=7)
    assert not np.array_equal(eager, chip["w"])
    for callback in (one, two, other):
        callback.close()


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
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        callback(0, PARAMS)  # a baseline evaluation before training is fine
        with pytest.raises(limpet.MismatchNotApplied, match=r"callback.inject was never called"):
            callback(1, PARAMS, {"loss": loss_fn(PARAMS, X)})


def test_a_metric_that_ignores_the_chip_is_an_error(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=erased, eval_batch=X) as callback:
        with pytest.raises(limpet.MismatchNotApplied, match="the draw of w"):
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
    with pytest.raises(limpet.LogdirError, match=r"tensorboard.logdir = .*file/run'?: cannot be written"):
        limpet.MismatchCallback(PARAMS, configured(tmp_path / "file/run"), metric_fn=loss_fn)


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


def test_the_audit_needs_no_metrics(tmp_path):
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        updater(callback, erased)(PARAMS, jnp.int32(0), X)
        with pytest.raises(limpet.MismatchNotApplied, match="the draw of w"):
            callback(0, PARAMS)
    with limpet.MismatchCallback(PARAMS, configured(tmp_path), metric_fn=loss_fn, eval_batch=X) as callback:
        callback(0, PARAMS)
        with pytest.raises(limpet.MismatchNotApplied, match="never called"):
            callback(1, PARAMS)


def test_one_good_function_does_not_speak_for_another(tmp_path):
    config = configured(tmp_path, dynamic={"sigma": 0.1, "targets": ["*"]})
    with limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X) as callback:
        jax.jit(lambda p: loss_fn(callback.inject(p, 0), X))(PARAMS)
        jax.eval_shape(lambda p: loss_fn(callback.inject(p, 0), X), PARAMS)  # compiled never, so no fault
        updater(callback, erased)(PARAMS, jnp.int32(0), X)
        with pytest.raises(limpet.MismatchNotApplied, match="the draw of w does not"):
            callback(0, PARAMS)


def test_unsigned_and_negative_steps(tmp_path):
    schedule = {"kind": "linear", "begin": 100, "steps": 100}
    config = configured(tmp_path, dynamic={"sigma": 0.1, "targets": ["w"], "schedule": schedule})
    with limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn) as callback:
        assert np.array_equal(callback.inject(PARAMS, jnp.uint32(0))["w"], PARAMS["w"])
        with pytest.raises(limpet.LimpetError, match=r"step = -1: allowed is an integer >= 0"):
            callback.inject(PARAMS, -1)


def test_a_fixed_chip_cannot_fall_on_what_is_trained(tmp_path):
    config = configured(tmp_path, frozen={"sigma": 0.1, "chip": 3, "targets": ["b"]})
    with limpet.MismatchCallback(PARAMS, config, metric_fn=loss_fn, eval_batch=X) as callback:
        with pytest.raises(limpet.PrototypeError, match=r"frozen.chip = 3 deviates b, which params hold as well"):
            callback.inject(PARAMS, 0)
        callback.inject({"w": PARAMS["w"]}, 0)


def test_fresh_chips_have_a_seed_of_their_own(tmp_path):
    frozen = {"sigma": 0.1, "chip": "fresh", "targets": ["b"]}
    params = {"w": jnp.ones(8), "b": jnp.ones(8)}
    trees = []
    for seed in (0, 1):
        config = configured(tmp_path, frozen=frozen | {"seed": seed})
        with limpet.MismatchCallback(params, config, metric_fn=loss_fn) as callback:
            trees.append(callback.inject(params, 5))
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
        "sigmas": [0.2],
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
        limpet.robustness_curve(
            both, PARAMS, limpet.Mismatch({"w": True, "b": False}, limpet.Gaussian(1)), sigmas=[0.1], chips=2, batch=X,
            higher_is_better={"lss": False},
        )  # fmt: skip


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


class TestRockpool:
    """A DynapSim network with fresh chips, and with one."""

    @staticmethod
    def logits(net, tree, x):
        spikes, _, _ = net.set_attributes(tree).reset_state()(x)
        return spikes.sum()

    def configured(self, logdir, chip, **changes):
        return limpet.Config.model_validate(
            {
                "dynamic": {"sigma": 0.1},
                "frozen": {"sigma": 0.2, "chip": chip},
                "robustness": {"sigmas": [0.0, 0.2], "chips": 3, "every_steps": 2},
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

    def test_one_chip_stays_in_the_network_and_evaluation_starts_from_nominal_values(self, tmp_path, dynapse_net):
        config = self.configured(tmp_path, 1)
        net = limpet.freeze(dynapse_net, config.frozen)

        def threshold(tree, _):
            return tree["1_DynapSim"]["Ispkthr"][0] * 1e9 + 0 * sum(leaf.sum() for leaf in jax.tree.leaves(tree))

        with limpet.MismatchCallback(net, config, metric_fn=threshold, eval_batch=None) as callback:
            params = net.parameters()
            tree = callback.inject(params, 0)
            assert jax.tree.structure(tree) == jax.tree.structure(params)
            curve = callback.evaluate(0, params)["threshold"]
        # at the frozen sigma, virtual chip 1 is the very chip that the network was frozen to
        np.testing.assert_allclose(
            curve.values[1, 1], limpet.attributes(net)["1_DynapSim"]["Ispkthr"][0] * 1e9, rtol=1e-6
        )
        np.testing.assert_allclose(
            curve.values[0], limpet.attributes(dynapse_net)["1_DynapSim"]["Ispkthr"][0] * 1e9, rtol=1e-6
        )

    def test_parameters_of_another_network_are_refused(self, tmp_path, dynapse_net):
        config = self.configured(tmp_path, "fresh")
        with limpet.MismatchCallback(dynapse_net, config, metric_fn=lambda tree, _: 0.0) as callback:
            with pytest.raises(limpet.PrototypeError, match="2_LIFJax/w_rec"):
                callback.inject({"2_LIFJax": {"w_rec": jnp.ones(3)}}, 0)
