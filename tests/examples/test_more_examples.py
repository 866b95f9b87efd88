"""The framework examples, reduced: each trains both networks and prints the table; resuming changes nothing."""

import importlib.util
import json
import re
import wave

import numpy as np
import pytest

from examples import ROOT, run_alone, run_here

SMALL = ["train.steps=12", "train.hidden=4", "train.batch_size=16", "robustness.chips=4", "robustness.every_steps=12"]


def rows_of(tmp_path, script, *extra, overrides=(), run=run_here):
    table = tmp_path / "table.json"
    logdir = f"tensorboard.logdir={tmp_path / 'log'}"
    ran = run(script, *extra, "--json", table, overrides=[*overrides, logdir])
    assert ran.returncode == 0, ran.stderr
    assert "warn" not in ran.stderr.lower(), ran.stderr
    assert re.search(r"│ 0\.\d+ +│ standard", ran.stdout)
    return json.loads(table.read_text())["rows"]


LONG = [pytest.param(script, marks=pytest.mark.long) for script in ("digits_linen.py", "digits_optax.py")]


@pytest.mark.parametrize("script", ["digits_nnx.py", *LONG])
def test_digits(tmp_path, script):
    rows = rows_of(tmp_path, script, overrides=SMALL)
    assert [(row["network"], row["sigma"]) for row in rows] == [
        (network, sigma) for network in ("standard", "mismatch") for sigma in (0.0, 0.1, 0.2, 0.3, 0.4)
    ]
    nominal = {row["network"]: row["mean"] for row in rows if row["sigma"] == 0}
    assert all(0 < mean <= 1 for mean in nominal.values())
    spread = {row["network"]: row["mean"] - row["worst"] for row in rows if row["sigma"] == 0.4}
    assert all(found > 0 for found in spread.values())


@pytest.mark.long
def test_calibration_of_each_chip(tmp_path):
    """Reduced; the whole run, of some half a minute, gives the table in examples/README.md."""
    table = tmp_path / "table.json"
    settings = ["train.steps=400", "train.hidden=16", "robustness.chips=6", f"tensorboard.logdir={tmp_path / 'log'}"]
    ran = run_here("digits_calibration.py", "--json", table, overrides=settings)
    assert ran.returncode == 0, ran.stderr
    means = {(row["network"], row["fitted"]): row["mean"] for row in json.loads(table.read_text())["rows"]}
    assert len(means) == 6
    assert means["standard", "biases"] > means["standard", "-"] + 0.05
    assert means["mismatch", "biases"] > means["mismatch", "-"]
    assert (tmp_path / "log" / "standard, biases" / "after calibration").is_dir()


@pytest.mark.long
def test_a_transformer_with_kernels_alone_on_crossbars(tmp_path):
    """Reduced; the whole run, of one and a half minutes, gives the table in docs/guides/transformer.md."""
    settings = ["--steps", "20", "--chips", "2", "--only", "kernels alone", "--json", tmp_path / "table.json"]
    ran = run_here("sorting_transformer.py", *settings)
    assert ran.returncode == 0, ran.stderr
    assert "warn" not in ran.stderr.lower()
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [row["compensated"] for row in rows] == [False, True]
    assert all(0 < row[time] < 1 for row in rows for time in ("25 s", "1 day", "1 year"))


def evidence(name, monkeypatch):
    """A script of the evidence, which imports from its own folder and from the examples'."""
    for folder in ("examples", "examples/evidence"):
        monkeypatch.syspath_prepend(ROOT / folder)
    spec = importlib.util.spec_from_file_location(f"evidence_{name}", ROOT / f"examples/evidence/{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.mark.long
def test_evidence_is_resumed_and_not_mixed(tmp_path, monkeypatch, capsys):
    """Reduced; the whole run gives the tables in examples/evidence/README.md."""
    script = evidence("objectives", monkeypatch)
    settings = [*"--task digits-small --seconds 0 --steps 50 --seeds 1 --chips 4".split(), "--out", str(tmp_path)]
    settings += ["--only", "worst half of 8"]
    assert script.main(settings) == 0
    held = json.loads((tmp_path / "results.json").read_text())
    assert list(held["rows"]) == ["worst half of 8/0"]
    assert set(held["rows"]["worst half of 8/0"]["chips"]) == {"as it is", "biases"}
    assert (tmp_path / "results.png").stat().st_size > 1000
    held["rows"]["worst half of 8/0"]["nominal"] = 0.123  # as if it had been measured
    (tmp_path / "results.json").write_text(json.dumps(held))
    assert script.main(settings) == 0
    assert "| worst half of 8 | 50 | 12.3 |" in capsys.readouterr().out
    assert script.main([*settings, "--chips", "5"]) == 2
    assert script.main(["--task", "spoken-digits", "--out", str(tmp_path / "other")]) == 2
    assert "recordings" in capsys.readouterr().err


@pytest.mark.long
def test_evidence_of_products_in_the_loop(tmp_path, monkeypatch, capsys):
    """Reduced; the whole run gives the table in examples/evidence/README.md."""
    script = evidence("converters", monkeypatch)
    settings = "--task digits-small --seconds 0.01 --seeds 1 --chips 2".split()
    assert script.main([*settings, "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert list(rows) == [f"{name}/0" for name in script.TRAINED]
    assert all(set(row["chips"]) == {"as said", "found"} for row in rows.values())
    assert "| with products |" in capsys.readouterr().out
    assert script.main([*settings, "--bits", "4", "--out", str(tmp_path)]) == 2
    assert "other settings" in capsys.readouterr().err


def test_evidence_keeps_batch_statistics(monkeypatch):
    """What a forward pass under mismatch writes in a module is found again in the network that was trained."""
    script = evidence("training", monkeypatch)
    task = importlib.import_module("tasks").TASKS["digits-cnn"](None)
    recipe = task.hardware("relative:0.1").on(task.model)
    objective = importlib.import_module("ways").WAYS["forward noise"](task, recipe)
    training = script.Training(objective, task, "test", task.rate)
    network = training.run(0, 30)
    assert np.abs(network.norm_1.mean.get_value()).min() > 0, "where they began"


@pytest.mark.long
def test_phase_change_memory_over_time(tmp_path):
    """Four networks at two times; the reduced run shows that it runs, configs/pcm.yaml what comes of it."""
    table = tmp_path / "table.json"
    settings = [
        *SMALL,
        "training.dynamic.gradient=straight_through",
        "robustness.times=[1 s, 1 day]",
        f"tensorboard.logdir={tmp_path / 'log'}",
    ]
    ran = run_here("digits_pcm.py", "--json", table, overrides=settings)
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(table.read_text())["rows"]
    assert {(row["at"], row["time"]) for row in rows} == {("1 s", 1.0), ("1 day", 86400.0)}
    means = {(row["network"], row["at"]): row["mean"] for row in rows}
    assert len(means) == 8
    # The same training, and after a second little to compensate: an example more or less.
    assert means["trained", "1 s"] == pytest.approx(means["trained, compensated", "1 s"], abs=0.005)
    assert "1 day" in ran.stdout


@pytest.mark.long
def test_many_devices_train_as_many_chips(tmp_path):
    eight = rows_of(tmp_path, "many_devices.py", overrides=SMALL)
    two = rows_of(tmp_path, "many_devices.py", "--cpu-devices", "2", overrides=SMALL, run=run_alone)
    # The standard network is the same on eight devices as on two; the other met eight chips at a step, not two.
    for network, same in (("standard", True), ("mismatch", False)):
        means = [[row["mean"] for row in found if row["network"] == network] for found in (eight, two)]
        assert np.allclose(*means, atol=1e-3) == same


@pytest.mark.long
def test_resume_goes_on_where_it_was(tmp_path):
    folder = tmp_path / "checkpoints"
    shorter = [*SMALL, "train.steps=6"]
    rows_of(tmp_path, "resume_orbax.py", "--checkpoints", folder, overrides=shorter)
    resumed = rows_of(tmp_path, "resume_orbax.py", "--checkpoints", folder, overrides=SMALL)
    (tmp_path / "anew").mkdir()
    at_once = rows_of(tmp_path / "anew", "resume_orbax.py", "--checkpoints", tmp_path / "other", overrides=SMALL)
    assert resumed == at_once
    # A checkpoint of another configuration is refused.
    ran = run_here(
        "resume_orbax.py", "--checkpoints", folder, overrides=[*SMALL, f"tensorboard.logdir={tmp_path}", "seed=1"]
    )
    assert ran.returncode == 2
    assert ran.stderr.strip().endswith("seed was 0 and is 1; resume with the same")


@pytest.fixture
def recordings(tmp_path):
    """Ten tones by one speaker, six recordings of each, in the data set's own form."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for digit in range(10):
        for index in range(0, 12, 2):
            seconds = np.arange(3000) / 8000
            sound = np.sin(2 * np.pi * (200 + 150 * digit) * seconds) + 0.1 * generator.normal(size=3000)
            with wave.open(str(folder / f"{digit}_jackson_{index}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", "NONE"))
                file.writeframes((8000 * sound).astype(np.int16).tobytes())
    return folder


REDUCED = ["train.steps=40", "train.neurons=8", "train.batch_size=8", "robustness.chips=4", "robustness.every_steps=40"]


@pytest.mark.long
def test_spoken_digits(tmp_path, recordings):
    rows = rows_of(tmp_path, "spoken_digits_rockpool.py", "--data", recordings, overrides=REDUCED)
    assert {row["network"] for row in rows} == {"standard", "mismatch"}
    assert all(row["mean"] > 0.3 for row in rows if row["sigma"] == 0)  # of ten pure tones


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_missing_recordings_say_how_to_get_them(tmp_path, name):
    (tmp_path / "empty").mkdir()
    ran = run_here("spoken_digits_rockpool.py", "--data", tmp_path / name)
    assert ran.returncode == 2
    assert "give the recordings/ folder of a clone of" in ran.stderr
    assert "Traceback" not in ran.stderr
