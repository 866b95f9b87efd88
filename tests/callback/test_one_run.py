"""A callback is for one run: steps rise, one thread calls it, and what it was handed is what it logs and measures."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from event_files import scalars

import limpet
from limpet.measure._measurement import divided

PARAMS = {"w": np.linspace(0.5, 1.5, 8, dtype=np.float32)}
HARDWARE = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))


def metric(tree, batch):
    return tree["w"].sum() * batch.mean()


def callback_of(logdir, **plain):
    plain = {"scales": [0, 1], "chips": 4, "every_steps": 1000, "flush_steps": 1000, "logdir": logdir, **plain}
    return limpet.MismatchCallback(
        PARAMS, HARDWARE, metric_fn=metric, eval_batch=np.ones(3, np.float32), audit=False, **plain
    )


def logged(callback, steps):
    for step in steps:
        callback(step, PARAMS, {"loss": float(np.max(step))})


FORWARD = "a run only goes forward, and this one is at step {}.*build another callback, with a logdir of its own"


@pytest.mark.parametrize(
    ("before", "step", "at"),
    [([0, 1, 2], 0, 2), ([5], 5, 5), ([[0, 1], [2, 3]], [3, 4], 3), ([10, 20], 15, 20), ([7], np.int8(3), 7)],
)
def test_a_step_that_does_not_rise_is_refused_and_nothing_of_it_is_logged(before, step, at, tmp_path):
    """Another seed, or a notebook's cell that is run again: one run's log would hold two."""
    with callback_of(tmp_path) as callback:
        logged(callback, before)
        with pytest.raises(limpet.LimpetError, match=FORWARD.format(at)):
            callback(step, PARAMS, {"loss": 100.0})
        with pytest.raises(limpet.LimpetError, match=FORWARD.format(at)):
            callback.evaluate(at - 1, PARAMS)
        logged(callback, [at + 5])
    assert 100.0 not in scalars(tmp_path)["train/loss"].values()
    assert list(scalars(tmp_path)["train/loss"])[-1] == at + 5


@pytest.mark.parametrize("steps", [[0, 10, 0], [100, 100], [3, 7, 7]])
def test_evaluations_alone_go_forward_as_well(steps, tmp_path):
    *before, last = steps
    with callback_of(tmp_path) as callback:
        for step in before:
            callback.evaluate(step, PARAMS)
        with pytest.raises(limpet.LimpetError, match=FORWARD.format(before[-1])):
            callback.evaluate(last, PARAMS)


def test_orders_of_calls_that_are_fine(tmp_path):
    """Measured before training, at a step that was just logged (and measured), after the last, and when resumed."""
    with callback_of(tmp_path, every_steps=5) as callback:
        callback.evaluate(0, PARAMS)
        logged(callback, range(6))  # measures at 0 and 5 by itself
        callback.evaluate(5, PARAMS)
        callback.evaluate(jnp.int32(6), PARAMS)
        logged(callback, [6, [7, 8], 9])
        saved = callback.checkpoint(9)
        callback.evaluate(10, PARAMS)
    assert list(scalars(tmp_path)["train/loss"]) == list(range(10))
    with callback_of(tmp_path, every_steps=5, resume=saved) as callback:
        with pytest.raises(limpet.LimpetError, match=FORWARD.format(9)):
            logged(callback, [0])
        callback.evaluate(9, PARAMS)
        logged(callback, [10])


@pytest.mark.parametrize("step", [-5, -1, 2.5, "3", None, True])
def test_a_run_goes_on_at_a_step_that_there_can_be(step, tmp_path):
    with callback_of(tmp_path) as callback:
        saved = callback.checkpoint(3)
        for refused in (callback.checkpoint, lambda step: callback.evaluate(step, PARAMS)):
            with pytest.raises(limpet.LimpetError, match=r"step = .*allowed is a whole number from 0 on"):
                refused(step)
    with pytest.raises(
        limpet.ConfigError, match=r"give what callback.checkpoint returned .*step = .*allowed is a whole"
    ):
        callback_of(tmp_path / "other", resume={**saved, "step": step})
    if step is not None:
        with pytest.raises(limpet.LogdirError, match="resume = .*: allowed is a whole number from 0 on"):
            limpet.tensorboard.start_run(tmp_path / "third", resume=step)
    assert not (tmp_path / "third").exists()


def test_threads_have_a_callback_each(tmp_path):
    """Calls of two threads at the same time are refused in words; one after the other they are fine."""
    entered, leave = threading.Event(), threading.Event()

    class Slow(dict):
        def items(self):
            entered.set()
            leave.wait(20)
            return super().items()

    with callback_of(tmp_path) as callback:
        thread = threading.Thread(target=callback, args=(0, PARAMS, Slow(loss=0.0)))
        thread.start()
        entered.wait(20)
        for call in (
            lambda: callback(1, PARAMS, {"loss": 1.0}),
            lambda: callback.evaluate(1, PARAMS),
            lambda: callback.checkpoint(1),
        ):
            with pytest.raises(
                limpet.LimpetError, match="another thread is calling this callback.* for each thread, with"
            ):
                call()
        leave.set()
        thread.join()
        callback(1, PARAMS, {"loss": 1.0})
    assert scalars(tmp_path)["train/loss"] == {0: 0.0, 1: 1.0}


def test_many_threads_at_once_lose_nothing_and_break_nothing(tmp_path):
    said, logged_steps, lock, steps = [], [], threading.Lock(), iter(range(400))

    def work():
        while True:
            with lock:
                step = next(steps, None)
            if step is None:
                return
            try:
                callback(step, PARAMS, {"loss": float(step)})
                logged_steps.append(step)
            except limpet.LimpetError as error:
                said.append(str(error))

    with callback_of(tmp_path, flush_steps=3) as callback:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all("another thread" in message or "only goes forward" in message for message in said)
    assert sorted(logged_steps) == list(scalars(tmp_path)["train/loss"])


@pytest.mark.parametrize("flush_steps", [1000, 6])
def test_what_is_logged_is_copied(flush_steps, tmp_path):
    """Buffers of NumPy's that are filled anew while what they held waits to be written."""
    losses, steps, rate = np.zeros(4), np.arange(4), np.zeros(())
    with callback_of(tmp_path, flush_steps=flush_steps) as callback:
        for epoch in range(3):
            losses[:], steps[:], rate[...] = epoch, np.arange(4 * epoch, 4 * epoch + 4), epoch * 10
            callback(steps, PARAMS, {"loss": losses, "rate": rate})
        losses[:], steps[:], rate[...] = -1, -1, -1
    assert scalars(tmp_path)["train/loss"] == {step: step // 4 for step in range(12)}
    assert scalars(tmp_path)["train/rate"] == {step: step // 4 * 10 for step in range(12)}


def test_what_is_measured_is_copied(tmp_path):
    """The batch of a callback, and the network, which are changed while chips are still measured."""
    params, batch = {"w": PARAMS["w"].copy()}, np.ones(64, np.float32)
    callback = limpet.MismatchCallback(
        params, HARDWARE, metric_fn=metric, eval_batch=batch, scales=[0], chips=4, every_steps=1,
        audit=False, logdir=tmp_path,
    )  # fmt: skip
    batch[:] = 7.0
    with callback:
        for epoch in range(3):
            params["w"][:] = PARAMS["w"] * (epoch + 1)
            callback(epoch, params)
            params["w"][:] = -1.0
    means = scalars(tmp_path)["robustness_mean/metric/sigma=0"]
    np.testing.assert_allclose(list(means.values()), [8.0, 16.0, 24.0], rtol=1e-5)


def test_a_network_of_numpy_is_no_longer_looked_at_once_its_measurement_was_prepared():
    """JAX may take an array of this alignment as it lies, and computes while the program goes on and changes it."""
    whole = np.zeros(64, np.float32)
    start = -(whole.ctypes.data // 4) % 16
    network = {"w": whole[start : start + 8]}
    assert network["w"].ctypes.data % 64 == 0
    operand, _ = divided(network)
    network["w"][:] = 1.0
    assert not operand["w"].any()


def test_results_keep_what_they_were_given():
    values = np.ones((1, 3))
    curve = limpet.RobustnessCurve("accuracy", [0.1], values)
    chip = limpet.MeasuredChip("A3", values={"w": values[0]}, factors={"b": values})
    given = limpet.Calibration(curve, curve, {"w": values[None]}, 1, 1)
    values[:] = 5.0
    assert curve.values.tolist() == [[1.0, 1.0, 1.0]]
    assert (chip.values["w"].tolist(), chip.factors["b"].tolist()) == ([1.0, 1.0, 1.0], [[1.0, 1.0, 1.0]])
    assert given.given["w"].tolist() == [[[1.0, 1.0, 1.0]]]


def root(tree, batch):
    """NaN on chips whose first weight falls, infinite where the second rises by a tenth."""
    falls, rises = tree["w"][0] < PARAMS["w"][0], tree["w"][1] > 1.1 * PARAMS["w"][1]
    return batch.mean() * jnp.sqrt(jnp.where(falls, -1.0, tree["w"][0])) / jnp.where(rises, 0.0, 1.0)


@pytest.mark.parametrize("setting", ["jax_debug_nans", "jax_debug_infs"])
def test_chips_that_fail_are_counted_also_where_jax_stops_at_nan(setting, tmp_path):
    """The setting is for the training step, which still stops."""
    jax.config.update(setting, True)
    try:
        with limpet.MismatchCallback(
            PARAMS, HARDWARE, metric_fn=root, eval_batch=np.ones(3), scales=[1], chips=16, logdir=tmp_path, audit=False
        ) as callback:
            failed = callback.evaluate(0, PARAMS)["root"].failed
        assert 0 < failed[0] < 16
        weak = limpet.sensitivity(root, PARAMS, HARDWARE, chips=16, batch=np.ones(3), higher_is_better=True)
        assert 0 < weak.failed[0] < 16
        fit = limpet.GradientFit(
            lambda tree, batch: root(tree, batch) ** 2, batches=[np.ones(3)], trainable=["w"], steps=2
        )
        calibrated = limpet.calibrate(
            fit, PARAMS, HARDWARE, metric_fn=root, batch=np.arange(2, 5.0), chips=16, scales=[1], higher_is_better=True
        )
        assert 0 < calibrated.before.failed[0] < 16
        with pytest.raises(FloatingPointError):
            jax.jit(jnp.log)(jnp.float32(-1.0 if setting == "jax_debug_nans" else 0.0))
    finally:
        jax.config.update(setting, False)


def test_parameters_that_were_donated_are_named(tmp_path):
    step = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf + 1, params), donate_argnums=0)
    params = {"w": jnp.ones(8)}
    batch = jnp.ones(3)
    step(params)
    with callback_of(tmp_path) as callback:
        with pytest.raises(limpet.LimpetError, match=r"w: was donated to a compiled function .*hand over what that"):
            callback.evaluate(0, params)
        with pytest.raises(limpet.LimpetError, match=r"w: was donated"):
            callback(0, params)
        number = jnp.int32(3)
        step(number)
        for call in (lambda: callback(number, PARAMS), lambda: callback.evaluate(number, PARAMS)):
            with pytest.raises(limpet.LimpetError, match="step was donated to a compiled function: hand over the numb"):
                call()
    with pytest.raises(limpet.LimpetError, match=r"w: was donated"):
        limpet.robustness_curve(metric, params, HARDWARE, scales=[1], chips=2, batch=batch)
    with pytest.raises(limpet.LimpetError, match=r"w: was donated"):
        limpet.save_parameters(tmp_path / "a.npz", params)
    step(batch)
    with pytest.raises(limpet.LimpetError, match=r"an array of the batch: was donated"):
        limpet.robustness_curve(metric, PARAMS, HARDWARE, scales=[1], chips=2, batch={"x": batch})
