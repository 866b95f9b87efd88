"""What a jitted step closes over: draws by step, on one chip or afresh, at a time, and joined."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import limpet
from limpet.auditing._listening import OPEN

ROOT = str(Path(limpet.__file__).parent)
TREE = {"w": jnp.linspace(0.5, 1.5, 64), "b": jnp.ones(16)}
NOISY = limpet.Chain((limpet.Gaussian(sigma=0.1), limpet.ReadNoise(spread=0.05)))
DRIFT = limpet.Drift(exponent=0.05, spread=0.02)
HARDWARE = limpet.Hardware(weights=limpet.Part("w", NOISY), biases=limpet.Part("b", limpet.Gaussian(sigma=0.2)))


def w(injection, step, **given):
    return np.asarray(injection.inject(TREE, step, **given)["w"])


def test_joined_injections_draw_what_each_draws():
    fresh = limpet.Injection(TREE, HARDWARE, parts=["weights"], seed=3)
    chip = limpet.Injection(TREE, HARDWARE, parts=["biases"], seed=4, chip=17)
    joined = fresh | chip
    both = joined.inject(TREE, 5)
    assert np.array_equal(both["w"], fresh.inject(TREE, 5)["w"])
    assert np.array_equal(both["b"], chip.inject(TREE, 5)["b"])
    assert joined.paths == ("w", "b")
    assert set(joined.hardware_paths) == set(fresh.hardware_paths) == {"w", "b"}
    assert set(joined.strengths()) == {"mismatch/scale_dynamic"}


def test_what_cannot_be_joined_is_refused():
    one = limpet.Injection(TREE, HARDWARE, parts=["weights"])
    with pytest.raises(limpet.PrototypeError, match="leaf 'w' is selected by 'dynamic' and by 'frozen'"):
        one | limpet.Injection(TREE, HARDWARE, parts=["weights"], chip=3)
    with pytest.raises(limpet.LimpetError, match="joined over one model"):
        one | limpet.Injection({**TREE}, HARDWARE, parts=["biases"])
    nothing = limpet.Injection(TREE, HARDWARE, parts=())
    assert nothing.inject(TREE, 0) is TREE
    assert (nothing | one).paths == ("w",)


def test_one_chip_with_read_noise_is_read_anew_at_every_step():
    """Its devices stay: what the steps have in common is the chip without read noise."""
    injection = limpet.Injection(TREE, HARDWARE, parts=["weights"], chip=17)
    reads = np.stack([w(injection, step) for step in range(40)])
    key, recipe = limpet.virtual_chip(0, 17), HARDWARE.on(TREE)
    for step in (0, 7):
        assert np.array_equal(reads[step], recipe(key, TREE, limpet.Condition(read=step))["w"])
    assert not (reads[0] == reads[1]).any()
    assert not (w(injection, 3, draw=1) == w(injection, 3, draw=2)).any()
    device = limpet.Injection(TREE, limpet.Hardware(w=limpet.Part("w", limpet.Gaussian(sigma=0.1))), chip=17)
    assert np.array_equal(w(device, 0), w(device, 1))


def test_a_configured_chip_with_read_noise_is_read_anew_at_every_step(tmp_path):
    """The same through a configuration, the callback and a compiled step, for drifting hardware at a time."""
    config = limpet.Config.model_validate(
        {
            "seed": 5,
            "hardware": limpet.Hardware(weights=limpet.Part("w", limpet.Chain((DRIFT, limpet.ReadNoise(spread=0.05))))),
            "training": {"frozen": {"chip": 17, "time": "1 day"}},
            "tensorboard": {"logdir": str(tmp_path)},
        }
    )
    callback = limpet.MismatchCallback(TREE, config, audit=False)
    step_fn = jax.jit(callback.inject)
    first, second = (np.asarray(step_fn(TREE, jnp.int32(step))["w"]) for step in (0, 1))
    assert not (first == second).any()
    chip = config.recipe(TREE)(limpet.virtual_chip(5, 17), TREE, limpet.Condition(time=86400.0, read=1))
    np.testing.assert_allclose(second, chip["w"], rtol=1e-6)
    frozen = config.freeze(TREE)
    np.testing.assert_allclose(first, frozen["w"], rtol=1e-6)  # the read that freeze takes is the first


HARDWARE_THAT_DRIFTS = limpet.Hardware(weights=limpet.Part("w", DRIFT))


@pytest.mark.parametrize(
    ("time", "at"),
    [("1 day", lambda step: 86400.0), (3600, lambda step: 3600.0), (lambda step: 100.0 * (step + 1), None)],
)
def test_training_at_a_time_meets_the_recipe_at_that_time(time, at):
    injection = limpet.Injection(TREE, HARDWARE_THAT_DRIFTS, chip=3, time=time)
    recipe, key = HARDWARE_THAT_DRIFTS.on(TREE), limpet.virtual_chip(0, 3)
    for step in (0, 9):
        expected = recipe(key, TREE, limpet.Condition(time=(at or time)(step), read=step))["w"]
        np.testing.assert_allclose(jax.jit(injection.inject)(TREE, jnp.int32(step))["w"], expected, rtol=1e-6)


def test_times_are_drawn_log_uniformly_from_the_step():
    """A Kolmogorov-Smirnov test over 400 steps; it would fail for 1e-4 of all seeds."""
    times = limpet.LogUniform("25 s", "1 year")
    without_spread = limpet.Hardware(weights=limpet.Part("w", limpet.Drift(exponent=0.05, spread=0.0)))
    injection = limpet.Injection(TREE, without_spread, chip=3, time=times)
    left = jax.jit(jax.vmap(lambda step: injection.inject(TREE, step)["w"][0]))(jnp.arange(400)) / TREE["w"][0]
    met = 20 * (np.asarray(left, float) ** (-1 / 0.05) - 1)  # limpet.Drift's formula, solved for the time
    law = stats.loguniform(times.low, times.high)
    assert stats.kstest(met, law.cdf).pvalue > 1e-4
    assert np.array_equal(w(injection, 8), w(injection, 8))
    fresh = limpet.Injection(TREE, without_spread, time=times)
    assert not np.array_equal(w(fresh, 8, draw=0), w(fresh, 8, draw=1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"time": "1 day"}, "time = '1 day': no deviation of this hardware changes with time"),
        ({"chip": 1.5}, "chip = 1.5: allowed is a whole number"),
        ({"schedule": 0.5}, "schedule = 0.5: allowed is a function from step to factor"),
        ({"seed": -1}, "seed = -1: allowed is a whole number"),
    ],
)
def test_what_an_injection_cannot_be(given, said):
    with pytest.raises(limpet.LimpetError, match=said):
        limpet.Injection(TREE, HARDWARE, **given)


@pytest.mark.parametrize(("low", "high"), [("1 day", "1 h"), (0, 10), (5, 5)])
def test_times_that_do_not_rise(low, high):
    with pytest.raises(limpet.LimpetError, match="LogUniform"):
        limpet.LogUniform(low, high)


def test_a_time_that_nothing_would_read_is_refused_by_the_configuration():
    sections = {"hardware": {"w": {"leaves": "w", "sigma": 0.1}}, "training": {"dynamic": {"time": "1 day"}}}
    with pytest.raises(ValueError, match="no deviation of the parts that are drawn changes with time"):
        limpet.Config.model_validate(sections)
    drifting = {"w": {"leaves": "w", "deviation": {"kind": "drift", "exponent": 0.05, "spread": 0.0}}}
    config = limpet.Config.model_validate(
        {"hardware": drifting, "training": {"dynamic": {"time": {"low": "25 s", "high": "1 year"}}}}
    )
    assert config.training.dynamic.time == limpet.LogUniform("25 s", "1 year")
    assert config.model_dump()["training"]["dynamic"]["time"] == {"low": 25.0, "high": 31536000.0}
    assert "25 s to 1 year" in config.describe()


def test_one_inject_passes_few_files(tmp_path):
    """Traced in Python: the files of Limpet whose functions run, and how often one calls into another."""
    hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
    params = {"w": jnp.ones(7)}
    callback = limpet.MismatchCallback(params, hardware, logdir=str(tmp_path))

    @jax.jit
    def update(params, step):
        return jax.grad(lambda p: (callback.inject(p, step)["w"] ** 2).sum())(params)

    update(params, 0)
    callback(0, params, {})
    callback.injection.audit.done = True  # the audit has files of its own
    OPEN.clear()
    jax.clear_caches()  # so that the leaf's draw is traced as well
    files, open_calls, moves = set(), [], 0

    def watch(frame, event, _):
        nonlocal moves
        file = frame.f_code.co_filename
        if not file.startswith(ROOT) or "/auditing/" in file:
            return
        if event == "call":
            files.add(file)
            moves += bool(open_calls and open_calls[-1] != file)
            open_calls.append(file)
        elif event == "return" and open_calls:
            open_calls.pop()

    sys.setprofile(watch)
    try:
        jax.make_jaxpr(callback.inject)(params, 3)
    finally:
        sys.setprofile(None)
    assert len(files) <= 16, files
    assert moves <= 40
