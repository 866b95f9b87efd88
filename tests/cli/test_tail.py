"""`limpet tail`: a probability, a gate on it, files, refusals."""

import json

import numpy as np
import pytest

import limpet
from limpet.cli import main

CONFIG = """
seed: 3
hardware: {weights: {leaves: w, sigma: 0.1}}
training: {}
robustness: {scales: [1.0], chips: 4, target: 0.9}
"""
TASKS = """
import jax.numpy as jnp
def mean(tree, batch):
    return tree["w"].mean()
def task():
    return {"tree": {"w": jnp.ones(9)}, "metric_fn": mean, "batch": None}
def led():
    return task() | {"margin_fn": lambda tree, batch: jnp.exp(tree["w"].mean())}
def unknown():
    return task() | {"loss_fn": mean}
"""
ARGUMENTS = ["--config", "config.yaml", "--chips", "200"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tails")  # one, because a module of one name is imported once
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "tail_tasks.py").write_text(TASKS)
    np.savez(folder / "low.npz", w=np.full(9, 0.95, np.float32))
    return folder


@pytest.fixture
def folder(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def tail(*extra, task="task"):
    return main(["tail", f"tail_tasks.py:{task}", *ARGUMENTS, *extra])


def test_it_prints_and_writes_what_it_found(folder, capsys):
    assert tail("-o", "tail.json", "--worst", "worst.npz") == 0
    printed = capsys.readouterr().out
    found = limpet.TailYield.load("tail.json")
    assert printed == f"{found}\n"
    assert (found.seed, found.target, found.walkers) == (3, 0.9, 200)
    worst = np.load("worst.npz")["w"]
    assert worst.mean() == pytest.approx(found.values[0])
    assert worst.mean() < 0.9
    mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
    rebuilt = limpet.freeze({"w": np.ones(9, np.float32)}, mismatch, chip=found.chips[0])["w"]
    np.testing.assert_allclose(worst, rebuilt, rtol=1e-6)


@pytest.mark.parametrize(
    ("asked", "code", "word"), [("0.9", 0, "PASS"), ("0.9999", 1, "FAIL"), ("0.9986", 3, "TOO FEW")]
)
def test_it_is_a_gate(folder, capsys, asked, code, word):
    assert tail("--yield", asked) == code  # of three sigma, .99865
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{word}")
    assert f"and {asked} is asked for" in last


def test_as_json_along_a_margin_with_other_parameters(folder, capsys):
    assert tail("--json", "--params", "low.npz", "--seed", "5", "--check", "100", "--scale", "0.5", task="led") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["low"] < found["failure"] < found["high"]
    assert (found["seed"], found["margin"], found["check"], found["outcome"]) == (5, "margin", 100, None)
    assert found["condition"][0] == 0.5


@pytest.mark.parametrize(
    ("extra", "task", "message"),
    [
        ([], "unknown", "gave loss_fn; allowed are tree, metric_fn, batch, margin_fn"),
        (["robustness.target=null"], "task", "--target: give the value that a chip is to reach"),
        (["-o", "tail.npz"], "task", "-o tail.npz: give a name that ends in .json"),
        (["--worst", "worst.json"], "task", "--worst worst.json: give a name that ends in .npz"),
        (["--chips", "20"], "task", "chips = 20: at least 50 are needed"),
        (["--yield", "1"], "task", "1: allowed is a number between 0 and 1"),
        (["--target", "-9", "--failure", "0.1", "--worst", "worst.npz"], "task", "no chip misses the target"),
    ],
)
def test_what_is_refused(folder, capsys, extra, task, message):
    assert tail(*extra, task=task) == 2
    assert message in capsys.readouterr().err
