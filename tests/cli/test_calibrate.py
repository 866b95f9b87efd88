"""`limpet calibrate`: virtual and measured chips, files, two runs for the tab, refusals."""

import json

import numpy as np
import pytest

import limpet
from limpet.cli import main
from limpet.results._calibration import Calibration
from limpet.tensorboard import logged_runs

CONFIG = """
hardware: {kernels: {leaves: '*/kernel', sigma: 0.3}}
training: {}
robustness: {scales: [1.0], chips: 4, target: 0.3, higher_is_better: false}
"""
TASKS = """
import jax.numpy as jnp
x = jnp.linspace(-1, 1, 40).reshape(20, 2)
def error(tree, batch):
    return ((batch @ tree["dense"]["kernel"] + tree["dense"]["bias"] - 1) ** 2).mean()
def task(config):
    tree = {"dense": {"kernel": jnp.ones((2, 1)), "bias": jnp.full(1, 0.5)}}
    return {"tree": tree, "loss_fn": error, "metric_fn": error, "batches": [x[::2]], "batch": x[1::2], "steps": 20}
def unknown():
    return task(None) | {"chips": 3}
def missing():
    return {"tree": {"w": x}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")  # one, because a module of one name is imported once
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "calibration_tasks.py").write_text(TASKS)
    np.savez(folder / "A3.npz", **{"dense/kernel": np.array([[1.2], [0.9]])})
    return folder


@pytest.fixture
def folder(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def calibrate(*extra, task="task"):
    return main(["calibrate", f"calibration_tasks.py:{task}", "--config", "config.yaml", *extra])


def test_virtual_chips_are_calibrated_written_and_logged(folder, capsys):
    outputs = ["-o", "all.npz", "--chips-to", "loaded", "--logdir", "runs"]
    assert calibrate(*outputs) == 0
    out = capsys.readouterr().out
    assert "error on 4 virtual chips of seed 0 (lower is better), calibrated on 10 examples for 20 steps" in out
    assert "yield at 0.3, sigma 0.3: " in out
    assert "each chip is given 1 values: 1 in dense/bias" in out
    calibration = Calibration.load("all.npz")
    loaded = limpet.load_parameters({"dense": {"bias": np.zeros(1, np.float32)}}, "loaded/chip_3.npz")
    np.testing.assert_array_equal(loaded["dense"]["bias"], calibration.chip(3)["dense/bias"])
    logged = logged_runs(folder / "runs")
    assert sorted(logged) == ["after calibration", "before calibration"]
    np.testing.assert_array_equal(logged["after calibration"].final("error")[1].values, calibration.after.values)
    assert main(["compare", "runs/before calibration", "runs/after calibration"]) == 0
    assert "the same 4 virtual chips" in capsys.readouterr().out
    assert calibrate("--steps", "3", "--gains", "*/kernel", "--json", "robustness.chips=2") == 0
    [result] = json.loads(capsys.readouterr().out)
    assert (result["chips"], result["steps"], sorted(result["given"])) == (2, 3, ["dense/bias", "dense/kernel/gain"])
    assert result["rows"][0]["yield"]["target"] == 0.3


def test_measured_chips_are_calibrated(folder, capsys):
    assert calibrate("--measured", "A3.npz") == 0
    assert "error on 1 measured chip (lower is better), calibrated on 10 examples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "task", "message"),
    [
        ([], "unknown", "gave chips; allowed are tree, loss_fn, metric_fn, batches, batch, trainable"),
        ([], "missing", "gave no loss_fn, metric_fn, batches, batch; needed are"),
        ([], "x", "gave ArrayImpl; needed is a dict of tree"),
        (["-o", "out.txt"], "task", "-o out.txt: give a name that ends in .npz"),
        (["--measured", "A3.npz", "--logdir", "runs"], "task", "--logdir: measured chips have no curve"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, capsys, extra, task, message):
    assert calibrate(*extra, task=task) == 2
    assert message in capsys.readouterr().err
