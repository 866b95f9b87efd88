"""The main example, reduced; and what it says to bad input: one message, exit code 2, no traceback."""

import json
import re
import signal
import subprocess
import time

import pytest
from event_files import scalars

from examples import ROOT, command, run_alone, run_here

REDUCED = (
    "train.steps=6 train.neurons_per_class=1 train.classes=3 train.channels=5 train.timesteps=6 train.batch_size=4 "
    "train.test_patterns=4 robustness.chips=4 robustness.every_steps=8 robustness.scales=[0,1.5]"
).split()


def run(*overrides, config=ROOT / "configs/dynapse.yaml", extra=(), script="dynapse_frozen_noise.py", way=run_here):
    return way(script, "--config", config, *extra, overrides=overrides)


def refused(*args, **kwargs):
    """What the script says to arguments that it refuses."""
    ran = run(*args, **kwargs)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    return ran.stderr


def test_it_trains_evaluates_and_reports(tmp_path):
    ran = run(*REDUCED, f"tensorboard.logdir={tmp_path}", extra=("--json", str(tmp_path / "table.json")))
    assert ran.returncode == 0, ran.stderr
    assert "warn" not in ran.stderr.lower()
    assert re.search(r"0\.15 +│ standard", ran.stdout)
    assert f"tensorboard --logdir {tmp_path}" in ran.stdout
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [(row["network"], row["sigma"]) for row in rows] == [
        (f"{network}{ending}", sigma)
        for network in ("standard", "dynamic", "mismatch")
        for ending in ("", ", deployed")
        for sigma in (0.0, 0.15)
    ]
    assert all(set(row) == {"network", "sigma", "at", "mean", "p5", "worst", "yield"} for row in rows)
    for row in rows:
        if row["network"].endswith("deployed"):
            continue
        logged = scalars(tmp_path / row["network"])
        assert abs(logged[f"robustness_mean/accuracy/sigma={row['sigma']:g}"][6] - row["mean"]) < 1e-6
        assert list(logged["train/loss"]) == list(range(6))
    assert (tmp_path / "robustness.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hardware.weights.sgima=0.1"], "hardware.weights.sgima: unknown key; did you mean 'sigma'?"),
        (["train.stpes=5"], "train.stpes: unknown key; did you mean 'steps'?"),
        (["hardware.weights.sigma=-0.1"], "hardware.weights.sigma = -0.1"),
        (["hardware.currents.sigma=.nan"], "hardware.currents.sigma = nan"),
        (["hardware.weights.leaves='*/kernel'"], "hardware.weights.leaves: rule ('*/kernel', True) matches no leaf"),
        (["hardware.weights.leaves={'2_LIFJax/w_rec': true}"], "matches no leaf; the paths are: 0_LinearJax/weight"),
        (["training.dynamic.scale=-1"], "training.dynamic.scale = -1"),
        (["tensorboard.logdir=/dev/null/runs"], "tensorboard.logdir = '/dev/null/runs"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(overrides, message, tmp_path):
    assert message in refused(*REDUCED, f"tensorboard.logdir={tmp_path}", *overrides)


def test_missing_and_unwritable_files(tmp_path):
    assert refused(config=tmp_path / "missing.yaml") == f"error: {tmp_path}/missing.yaml: there is no such file\n"
    told = refused(*REDUCED, f"tensorboard.logdir={tmp_path}", extra=("--json", "/dev/null/table.json"))
    assert "--json /dev/null/table.json: cannot be written" in told
    ran = run(*REDUCED, "train.stpes=5", way=run_alone)
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)


@pytest.mark.long
def test_the_worst_chip_is_found_and_trained(tmp_path):
    ran = run(*REDUCED, extra=("--steps", "3"), script="dynapse_worst_chip.py")
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"chip \d of seed 0 does worst: \d", ran.stdout)
    assert re.search(r"accuracy on chip \d before and after 3 steps on it: \d\.\d+, \d\.\d+", ran.stdout)
    assert "1_DynapSim/" in ran.stdout


@pytest.fixture
def interruptible():
    """Children hear Ctrl-C even where the tests themselves do not: those that a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(process: subprocess.Popen[str]) -> str:
    """What a process writes to stderr that is interrupted; again, where JAX collected garbage meanwhile, in which it
    swallows what is raised."""
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=20)[1]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("six interrupts did not end the process")


@pytest.mark.long
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_loses_nothing_that_was_logged(tmp_path):
    """All examples share what listens to it; this one compiles quickly."""
    endless = (
        "train.steps=1000000 train.hidden=4 train.batch_size=16 robustness.chips=2 tensorboard.flush_steps=50".split()
    )
    process = subprocess.Popen(
        command("digits_linen.py", overrides=[*endless, f"tensorboard.logdir={tmp_path}"]),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
        if sum(file.read_bytes().count(b"train/loss") for file in tmp_path.glob("standard/*")) > 100:
            break
    try:
        stderr = interrupted(process)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert stderr.count("Traceback") == stderr.count("Exception ignored"), stderr  # those that JAX swallowed
    steps = list(scalars(tmp_path / "standard")["train/loss"])
    assert steps == list(range(len(steps)))
    assert len(steps) > 100
