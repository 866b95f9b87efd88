"""`limpet decompose`: shares, files, refusals."""

import json

import numpy as np
import pytest

import limpet
from limpet.cli import main

CONFIG = """
seed: 3
hardware: {left: {leaves: a, sigma: 0.1}, right: {leaves: b, sigma: 0.3}}
training: {}
"""
TASKS = """
import jax.numpy as jnp
def mean(tree, batch):
    return ((tree["a"] + tree["b"]).mean() * batch).mean()
def task():
    return {"tree": {"a": jnp.ones(9), "b": jnp.ones(9)}, "metric_fn": mean, "batch": jnp.arange(5.0)}
def unknown():
    return task() | {"loss_fn": mean}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shares")  # one, because a module of one name is imported once
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "share_tasks.py").write_text(TASKS)
    np.savez(folder / "no_left.npz", a=np.zeros(9, np.float32), b=np.ones(9, np.float32))
    return folder


@pytest.fixture
def folder(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def decompose(*extra, task="task"):
    return main(["decompose", f"share_tasks.py:{task}", "--config", "config.yaml", "--pairs", "50", *extra])


def test_it_prints_and_writes_what_it_found(folder, capsys):
    assert decompose("--by", "part", "-o", "shares.json", "-o", "shares.png") == 0
    found = limpet.Decomposition.load("shares.json")
    assert capsys.readouterr().out == f"{found}\n"
    assert (found.seed, found.sources, found.evaluations) == (3, ("left", "right"), 200)
    assert found.ranking()[0][0] == "right"
    assert (folder / "shares.png").read_bytes().startswith(b"\x89PNG")


def test_as_json_with_other_parameters_and_the_test_set(folder, capsys):
    assert decompose("--json", "--params", "no_left.npz", "--seed", "5", "--scale", "0.5", "--test-set") == 0
    found = json.loads(capsys.readouterr().out)
    shares = {row["source"]: row for row in found["shares"]}
    assert shares.keys() == {"left, device", "right, device", "test set"}
    assert shares["left, device"]["total"] == 0 < shares["right, device"]["total"]
    assert (found["seed"], found["test_set"], found["condition"][0], found["evaluations"]) == (5, 5, 0.5, 250)


@pytest.mark.parametrize(
    ("extra", "task", "words"),
    [
        (["-o", "shares.txt"], "task", "ends in .json, or in .svg, .png, .pdf"),
        ([], "unknown", "gave loss_fn; allowed are tree, metric_fn, batch"),
        (["--by", "layer"], "task", "invalid choice: 'layer'"),
        (["--time", "soon"], "task", "--time"),
    ],
)
def test_refusals(folder, capsys, extra, task, words):
    assert decompose(*extra, task=task) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
