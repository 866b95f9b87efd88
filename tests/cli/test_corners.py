"""`limpet corners`: a table, a gate on the yield under all conditions, files, refusals."""

import json

import numpy as np
import pytest

import limpet
from limpet.cli import main

CONFIG = """
seed: 3
hardware: {weights: {leaves: w, deviation: [{kind: gaussian, sigma: 0.1}, {kind: drift, exponent: 0.01, spread: 0.0}]}}
training: {}
robustness: {scales: [1.0], chips: 4, target: 0.9}
"""
CORNERS = "conditions: {fresh: {}, a day: {time: 1 day}, twice: {scale: 2}}\n"
TASKS = """
import jax.numpy as jnp
def mean(tree, batch):
    return tree["w"].mean()
def task():
    return {"tree": {"w": jnp.ones(9)}, "metric_fn": mean, "batch": None}
def unknown():
    return task() | {"loss_fn": mean}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corners")  # one, because a module of one name is imported once
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "corners.yaml").write_text(CORNERS)
    (folder / "corner_tasks.py").write_text(TASKS)
    return folder


@pytest.fixture
def folder(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def corners(*extra, task="task", file="corners.yaml"):
    arguments = ["--config", "config.yaml", "--corners", file, "--chips", "200"]
    return main(["corners", f"corner_tasks.py:{task}", *arguments, *extra])


def test_it_prints_and_writes_what_it_measured(folder, capsys):
    assert corners("-o", "corners.npz") == 0
    found = limpet.Corners.load("corners.npz")
    assert capsys.readouterr().out == f"{found}\n"
    assert (found.curve.seed, found.target, found.curve.chips) == (3, 0.9, 200)
    assert found.names == ("fresh", "a day", "twice")
    worst = found.at("a day").corner("worst")  # which `limpet chips` rebuilds
    np.savez("ones.npz", w=np.ones(9, np.float32))
    chip = ["--chip", str(worst.chip), "--time", "1 day", "-o", "chip.npz"]
    assert main(["chips", "ones.npz", "--config", "config.yaml", *chip]) == 0
    assert np.load("chip.npz")["w"].mean() == pytest.approx(worst.value, rel=2e-6)


def test_it_is_a_gate_by_the_interval_of_all(folder, capsys):
    assert corners("--json") == 0
    answer = json.loads(capsys.readouterr().out)
    low, high = answer["low"], answer["high"]
    assert low < answer["yield"] < high
    assert answer["yield"] == min(row["yield"] for row in answer["conditions"].values())  # the same chips are low
    for asked, code, outcome in ((low, 0, "passed"), (answer["yield"], 3, "too few chips"), (high + 1e-9, 1, "failed")):
        assert corners("--json", "--yield", repr(asked)) == code
        assert json.loads(capsys.readouterr().out)["outcome"] == outcome
    assert corners("--yield", "0.99") == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("FAIL: the yield under all conditions lies between 0.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conditions: {a: {tme: 1 day}}", "conditions: a: 'tme' is no key of a condition; did you mean time? allowed"),
        ("conditions: {a: {scale: big}}", "conditions: a: scale = 'big': allowed is a number"),
        ("conditions: {a: {scale: -1}}", "conditions: a: scale = -1"),
        ("conditions: {a: {time: 1 fortnight}}", "conditions: a: time = '1 fortnight'"),
        ("conditions: {a: {read: 1.5}}", "conditions: a: read = 1.5"),
        ("conditions: {a: 2}", "conditions: a: is 2; needed is a mapping of scale, time, read"),
        ("conditions: {1: {}}", "conditions: 1: a name is a text"),
        ("conditions: {}", "needed is 'conditions'"),
        ("conditions: {a: {}}\nchips: 3", "needed is 'conditions'"),
        ("a: {}", "needed is 'conditions'"),
        ("- a", "needed is 'conditions'"),
        ("conditions: {a: {", "cannot be parsed"),
        ("conditions: {a: {read: 1}}", "conditions['a'].read = 1: reads of this hardware are all alike"),
    ],
)
def test_bad_files_are_told_in_one_line(folder, capsys, text, said):
    (folder / "bad.yaml").write_text(text)
    assert corners(file="bad.yaml") == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_file_may_be_json(folder, capsys):
    (folder / "corners.json").write_text(json.dumps({"conditions": {"fresh": {}, "a day": {"time": 86400}}}))
    assert corners(file="corners.json") == 0
    assert "a day" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "task", "file", "said"),
    [
        ([], "unknown", "corners.yaml", "gave loss_fn; allowed are tree, metric_fn, batch"),
        ([], "task", "none.yaml", "none.yaml: there is no such file"),
        ([], "task", "corners.txt", "corners.txt: a configuration is a .yaml, .yml or .json file"),
        (["robustness.target=null"], "task", "corners.yaml", "--target: give the value that a chip is to reach"),
        (["-o", "corners.json"], "task", "corners.yaml", "-o corners.json: give a name that ends in .npz"),
        (["--chips", "0"], "task", "corners.yaml", "chips = 0"),
        (["--yield", "1"], "task", "corners.yaml", "1: allowed is a number between 0 and 1"),
    ],
)
def test_what_is_refused(folder, capsys, extra, task, file, said):
    assert corners(*extra, task=task, file=file) == 2
    assert said in capsys.readouterr().err
