"""A run that is killed, at any time and however often, ends up as one that was not."""

import random
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import limpet
from limpet.tensorboard import logged_runs

SCRIPT = Path(__file__).parents[1] / "support" / "resumed_run.py"
KILLS, STEPS = 20, 60


def start(folder, pause):
    command = [sys.executable, str(SCRIPT), str(folder), str(STEPS), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(folder):
    process = start(folder, 0)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return np.load(folder / "w.npy")


def logged(folder):
    """Every number of TensorBoard's own reading of the log, as (step, bits), by tag."""
    events = EventAccumulator(str(folder / "log"), size_guidance={"tensors": 0}).Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        if not tag.startswith(("train/", "mismatch/", "robustness_", "virtual_chips", "limpet/curve")):
            continue
        found[tag] = [(event.step, event.tensor_proto.SerializeToString()) for event in events.Tensors(tag)]
    return found


@pytest.mark.filterwarnings("ignore:.*is read up to where it is damaged or cut short")
def test_twenty_kills_change_nothing(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    expected = finished(undisturbed)
    killed = tmp_path / "killed"
    chance = random.Random(0)
    for _ in range(KILLS):
        process = start(killed, 0.05)
        assert process.stdout.readline() == "started\n", process.stderr.read()
        # From before the first step to the midst of a checkpoint some steps on.
        time.sleep(chance.uniform(0, 0.6))
        process.kill()
        process.communicate()
        assert not (killed / "w.npy").exists(), "the run ended before it was killed: make it slower"
    assert np.array_equal(finished(killed), expected)
    one, other = logged(undisturbed), logged(killed)
    assert one.keys() == other.keys()
    for tag, series in one.items():
        assert other[tag] == series, tag
    assert [step for step, _ in one["train/loss"]] == list(range(STEPS))
    curves = [logged_runs(folder)["log"].curves["loss_fn"] for folder in (undisturbed, killed)]
    assert list(curves[0]) == list(curves[1]) == list(range(0, STEPS, 5))
    for step, curve in curves[0].items():
        assert np.array_equal(curve.values, curves[1][step].values)


BASE = {
    "hardware": {"weights": {"leaves": "w", "sigma": 0.1}},
    "training": {"dynamic": {}},
    "robustness": {"scales": [0.0], "chips": 2},
}


def callback_of(tmp_path, resume=None, **changes):
    config = limpet.Config.model_validate(BASE | {"tensorboard": {"logdir": tmp_path}} | changes)
    params = {"w": jnp.ones(3)}
    return limpet.MismatchCallback(params, config, metric_fn=lambda tree, _: tree["w"].sum(), resume=resume)


def test_a_checkpoint_of_another_configuration_names_what_differs(tmp_path):
    with callback_of(tmp_path / "first") as callback:
        saved = callback.checkpoint(7)
    assert callback_of(tmp_path / "same", saved, train={"steps": 5}).first_step == 8
    with pytest.raises(
        limpet.ConfigError, match=r"hardware.weights.deviation.sigma was 0.1 and is 0.2; seed was 0 and is 1; resume"
    ):
        callback_of(tmp_path / "other", saved, seed=1, hardware={"weights": {"leaves": "w", "sigma": 0.2}})
    assert not (tmp_path / "other").exists()
    with pytest.raises(limpet.ConfigError, match=r"hardware.weights.leaves.\* was not there and is true"):
        callback_of(tmp_path / "other", saved, hardware={"weights": {"leaves": "*", "sigma": 0.1}})
    with pytest.raises(limpet.ConfigError, match=r"fingerprint was \"\w+\" and is \"\w+\""):
        config = limpet.Config.model_validate(BASE | {"tensorboard": {"logdir": tmp_path / "other"}})
        limpet.MismatchCallback({"w": jnp.ones(4)}, config, metric_fn=lambda tree, _: tree["w"].sum(), resume=saved)
    with pytest.raises(limpet.ConfigError, match="draws_version was 1 and is 3"):
        callback_of(tmp_path / "other", saved | {"draws_version": 1})


@pytest.mark.parametrize("resume", [{}, {"step": "x"}, 5, {"config": {}}])
def test_what_is_no_checkpoint_is_refused(tmp_path, resume):
    with pytest.raises(limpet.ConfigError, match=r"resume = .*give what callback.checkpoint returned"):
        callback_of(tmp_path, resume)
