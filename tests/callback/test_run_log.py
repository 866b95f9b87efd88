"""What cannot be logged is refused at once; a log directory that fails is told once, and hides no other error."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from event_files import scalars

import limpet

PARAMS = {"w": np.ones(3, np.float32)}


def metric(tree, _):
    return tree["w"].sum()


def callback_of(logdir, **plain):
    hardware = limpet.Hardware(all=limpet.Part("*", limpet.Gaussian(sigma=0.1)))
    plain = {"flush_steps": 1, "logdir": logdir, **plain}
    return limpet.MismatchCallback(PARAMS, hardware, audit=False, **plain)


class OfUnhashableNames(Mapping):
    def __getitem__(self, name):
        return 1.0

    def __iter__(self):
        return iter([["loss"]])

    def __len__(self):
        return 1


REFUSED = [
    ({"loss": 1.0, "text": "0.5"}, r"metrics\['text'\] = '0.5': allowed is one number"),
    ({"loss": None}, r"metrics\['loss'\] = None"),
    ({"loss": 1j}, r"metrics\['loss'\] = 1j"),
    ({"loss": np.complex64(1)}, "'loss'"),
    ({"loss": jnp.array(1j)}, "'loss'"),
    ({"loss": np.array("x")}, "'loss'"),
    ({"loss": np.array(None)}, "'loss'"),
    ({"loss": np.zeros(3)}, r"metrics\['loss'\] = array\(\[0., 0., 0.\]\)"),
    ({"loss": [1.0]}, "'loss'"),
    ({"loss": 10**400}, "'loss'"),
    ({"loss": 10**5000}, "thousands of digits"),
    ({"loss": jax.random.key(0)}, "'loss'"),
    ({3: 1.0}, "the name 3 is a int; allowed are readable texts"),
    ({None: 1.0}, "the name None is a NoneType"),
    (OfUnhashableNames(), r"the name \['loss'\] is a list"),
    ({"": 1.0}, "the name '' cannot be shown"),
    ({" ": 1.0}, "the name ' ' cannot be shown"),
    ({"a\nb": 1.0}, r"the name 'a\\nb' cannot be shown"),
    ({"\ud800": 1.0}, "cannot be shown"),
    ({"loss": 1.0, "train/loss": 2.0}, "another metric is logged as 'train/loss'"),
    ({"mismatch/sigma_dynamic": 1.0}, "the strength in force"),
    ({"robustness_mean/loss/sigma=0": 1.0}, "what begins 'robustness_mean/' is written by Limpet"),
    ({"_hparams_/session_start_info": 1.0}, "what begins '_hparams_/'"),
    ([1.0], "metrics is a list"),
]


def test_a_metric_that_cannot_be_logged_is_refused_before_anything_is_taken(tmp_path):
    with callback_of(tmp_path, flush_steps=100) as callback:
        for metrics, message in REFUSED:
            with pytest.raises(limpet.MetricError, match=message) as refused:
                callback(0, PARAMS, metrics)
            assert "\n" not in str(refused.value)
        allowed = [1, True, np.float16(1), np.bool_(True), jnp.bfloat16(1), np.int8(1), 1e300]
        for step, value in enumerate(allowed):
            callback(step, PARAMS, {"loss": value, "valid/µ loss (%)": value})
    logged = scalars(tmp_path)
    assert logged["train/loss"] == logged["valid/µ loss (%)"] == dict.fromkeys(range(6), 1.0) | {6: np.inf}
    assert not [tag for tag in logged if tag.startswith(("train/text", "robustness"))]


def test_values_that_are_not_there_are_named(tmp_path):
    with callback_of(tmp_path) as callback:
        gone = jnp.ones(())
        gone.delete()
        with pytest.raises(limpet.MetricError, match="'loss'.* was donated"):
            callback(0, PARAMS, {"loss": gone})
        with pytest.raises(limpet.MetricError, match="'loss'.* is traced by JAX"):
            jax.jit(lambda loss: callback(0, PARAMS, {"loss": loss}))(1.0)


def test_a_directory_that_vanished_is_an_error_once(tmp_path):
    callback = callback_of(tmp_path / "run")
    with callback:
        callback(0, PARAMS, {"loss": 1.0})
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(limpet.LogdirError, match="removed.* nothing is logged from step 1 on") as refused:
            callback(1, PARAMS, {"loss": 1.0})
        assert "set tensorboard.on_error to warn" in str(refused.value)
        assert "\n" not in str(refused.value)
        callback(2, PARAMS, {"loss": 1.0})
    assert not (tmp_path / "run").exists()


def test_training_goes_on_without_a_log_if_asked_to(tmp_path):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with callback_of(tmp_path / "run", on_error="warn", scales=[0], chips=2, metric_fn=metric) as callback:
            callback(0, PARAMS, {"loss": 1.0})
            shutil.rmtree(tmp_path / "run")
            for step in range(1, 5):
                callback(step, PARAMS, {"loss": 1.0})
            assert callback.evaluate(5, PARAMS)["metric"].values.shape == (1, 2)
            assert callback.checkpoint(5)["step"] == 5
    (message,) = [str(warning.message) for warning in told]
    assert "removed, and what it held with it); " in message
    # Step 0 and its evaluation are written by another thread: where that is late, their directory is gone as well.
    assert re.search(
        r"nothing is logged from step [01] on(, nor the evaluation of step 0)?\. Training goes on$", message
    ), message


def test_a_directory_that_cannot_be_made_is_a_warning_if_asked_for(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(limpet.LogdirError, match="cannot be written"), callback_of(tmp_path / "file"):
        pytest.fail("training began")
    with pytest.warns(UserWarning, match="nothing is logged. Training goes on") as told:
        with callback_of(tmp_path / "file", on_error="warn") as callback:
            callback(0, PARAMS, {"loss": 1.0})
    assert len(told) == 1


def test_it_is_told_which_evaluations_are_lost(tmp_path):
    with callback_of(tmp_path / "run", on_error="warn", scales=[0], chips=2, metric_fn=metric) as callback:
        callback(7, PARAMS, {"loss": 1.0})
        shutil.rmtree(tmp_path / "run")
        with pytest.warns(UserWarning, match="nothing is logged from the evaluation of step 7 on"):
            callback.evaluate(7, PARAMS)


def test_what_fails_at_the_end_does_not_hide_why_training_failed(tmp_path):
    def train():
        with callback_of(tmp_path / "run", flush_steps=100) as callback:
            callback(3, PARAMS, {"loss": 1.0})
            shutil.rmtree(tmp_path / "run")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as failed:
        train()
    (note,) = failed.value.__notes__
    assert note.startswith("The log could not be ended either: LogdirError: tensorboard.logdir")
    assert "nothing is logged from step 3 on" in note
    with pytest.raises(limpet.LogdirError, match="removed"), callback_of(tmp_path / "other"):
        shutil.rmtree(tmp_path / "other")


FULL = """
import json, resource, sys, warnings
import numpy as np
from test_run_log import PARAMS, callback_of
import limpet

def train(logdir, on_error):
    # The limit is of a file, and beyond it a write fails as it does on a full disk: in the midst of a record.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    told = []
    with callback_of(logdir, on_error=on_error) as callback:
        for step in range(500):
            try:
                callback(step, PARAMS, {"loss": float(step)})
            except limpet.LogdirError as error:
                told.append(str(error))
    return told

warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as warned:
    answers = [train(sys.argv[1], "raise")] + [[str(w.message) for w in warned]]
with warnings.catch_warnings(record=True) as warned:
    answers += [train(sys.argv[2], "warn")] + [[str(w.message) for w in warned]]
print(json.dumps(answers))
"""


def test_a_disk_that_is_full(tmp_path):
    pytest.importorskip("resource")
    paths = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", FULL, str(tmp_path / "raise"), str(tmp_path / "warn")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | paths, check=False)
    assert done.returncode == 0, done.stderr
    raised, beside, none, warned = json.loads(done.stdout)
    assert beside == none == []
    for logdir, told in (("raise", raised), ("warn", warned)):
        (message,) = told
        assert "cannot be written (File too large); name a directory" in message
        steps = list(scalars(tmp_path / logdir)["train/loss"])
        assert f"nothing is logged from step {len(steps)} on" in message
        assert steps == list(range(len(steps)))
        assert len(steps) > 20
