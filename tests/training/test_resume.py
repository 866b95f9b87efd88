"""A run that is killed, at any time and however often, ends up as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import resumed_run
from loaders import fast, slow

import limpet
from limpet.tensorboard import logged_runs

SCRIPT = Path(__file__).parents[1] / "support" / "resumed_run.py"
KILLS = int(os.environ.get("LIMPET_KILLS", "3"))
"""By `.ci/run` 5, by hand more: `LIMPET_KILLS=50 python -m pytest -m "" tests/training/test_resume.py`."""
SEED = int(os.environ.get("LIMPET_KILLS_SEED", "0"))
STEPS = 4 * KILLS + 20
AT_MOST = 7
"""So many steps does a run that is killed do at most: a checkpoint is made every 4, so that it gets 4 steps further."""
MOMENTS = {"started": 0.6, "evaluating": 0.2, "step": 0.03, "saving": 0.1, "saved": 0.02}
"""After which line a run is killed, and within how many seconds from there."""
ANY_TIME = 2.0
"""Some are killed within so many seconds from their start, whatever they do."""


def start(folder, at_most=0, clock=0.0):
    command = [sys.executable, str(SCRIPT), str(folder), str(STEPS), str(at_most), str(clock)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(folder, clock=0.0):
    process = start(folder, clock=clock)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return np.load(folder / "w.npy")


def kill(folder, chance, line, by, clock):
    """Start the run, and kill it a little after it has told a line; the step at which it had started, if that is known.

    Without a line it is killed at any time.
    """
    process = start(folder, AT_MOST, clock)
    first = None
    while line is not None:
        told = process.stdout.readline()
        assert told, f"no line that begins {line!r} was told: {process.stderr.read()}"
        word, step = told.split()
        first = int(step) if word == "started" else first
        if told.startswith(line):
            break
    time.sleep(chance.uniform(0, ANY_TIME if line is None else MOMENTS[line.split()[0]]))
    for _ in range(12):
        process.send_signal(by)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=5)
            break
        # An interrupt that falls into a callback of Python's garbage collector (JAX has one) is lost: it comes again.
    assert process.returncode is not None
    assert not (folder / "w.npy").exists(), "the run ended before it was killed"
    return first


def kills(chance):
    """After which line, by which signal and by how much set back its clock, each run is killed: all at random, but for
    the first three, of which two are killed before the first checkpoint, and the third after it."""
    signals = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
    for number in range(KILLS):
        line = None if number % 8 == 5 else chance.choice(list(MOMENTS))
        line = ["started", "step 1", "saved"][number] if number < 3 else line
        clock = -chance.choice([1, 60, 3600, 1e7]) if number % 5 == 4 else 0.0
        # An interrupt does not reach a script of a background job before it has asked for it.
        yield line, signals[number % 3] if line is not None else signal.SIGTERM, clock


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*is read up to where it is damaged or cut short")
def test_kills_change_nothing(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    resumed_run.main(undisturbed, STEPS, 0)
    expected = np.load(undisturbed / "w.npy")
    chance = random.Random(SEED)
    starts = [kill(killed, chance, *how) for how in kills(chance)]
    known = [first for first in starts[3:] if first is not None]
    assert starts[:3] == [0, 0, 0]
    assert all(first > 0 for first in known)  # resumed from a checkpoint, or this would test nothing
    assert len(known) >= KILLS - 4 - KILLS // 8
    assert np.array_equal(finished(killed, clock=-5), expected)
    for load in (slow, fast):
        one, other = load(undisturbed / "log"), load(killed / "log")
        assert [step for step, _ in one["train/loss"]] == list(range(STEPS))
        groups = {"train", "mismatch", "robustness_mean", "virtual_chips", "limpet"}
        assert groups <= {tag.split("/")[0] for tag in one}
        assert one.keys() == other.keys()
        for tag, series in one.items():
            assert other[tag] == series, (load, tag)
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
    config = limpet.Config.model_validate(BASE | {"tensorboard": {"logdir": tmp_path / "other"}})
    wider = {"w": jnp.ones(4)}
    with pytest.raises(limpet.ConfigError, match=r"fingerprint was \"\w+\" and is \"\w+\""):
        limpet.MismatchCallback(wider, config, metric_fn=lambda tree, _: tree["w"].sum(), resume=saved)


def test_a_run_goes_on_only_where_it_lies(tmp_path):
    with callback_of(tmp_path / "run") as callback:
        callback.evaluate(0, {"w": jnp.ones(3)})
        saved = callback.checkpoint(0)
    with pytest.warns(UserWarning, match="held an earlier run"), callback_of(tmp_path / "run", seed=1) as another:
        another.evaluate(0, {"w": jnp.ones(3)})
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    message = "holds another run than the one that goes on, which was set aside, into '.*run.1'; name the directory"
    with pytest.raises(limpet.LogdirError, match=message), callback_of(tmp_path / "run", saved):
        pytest.fail("the run went on in the directory of another one")
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    # It goes on where it was set aside, or in a directory of its own, and there again before another checkpoint.
    for directory in ("run.1", "empty", "empty", "run.1"):
        with callback_of(tmp_path / directory, saved) as callback:
            callback.evaluate(1, {"w": jnp.ones(3)})
            assert callback.checkpoint(1)["run"] == saved["run"]
    held = {name: next(iter(run.curves.values())) for name, run in logged_runs(tmp_path).items()}
    assert {name: (list(curves), {curve.seed for curve in curves.values()}) for name, curves in held.items()} == {
        "run": ([0], {1}),
        "run.1": ([0, 1], {0}),
        "empty": ([1], {0}),
    }


@pytest.mark.parametrize("resume", [{}, {"step": "x"}, 5, {"config": {}}, {"step": 1, "run": [2]}])
def test_what_is_no_checkpoint_is_refused(tmp_path, resume):
    with pytest.raises(limpet.ConfigError, match=r"resume = .*give what callback.checkpoint returned"):
        callback_of(tmp_path, resume)
