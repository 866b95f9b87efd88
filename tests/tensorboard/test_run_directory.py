"""The directory of a run: one run in it, nothing lost, and foreign files left alone."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from loaders import fast, slow
from logged_curves import curve, log
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as SlowLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

import limpet
from limpet.cli import main
from limpet.tensorboard import CurveWriter, logged_runs, start_run
from limpet.tensorboard._event_files import events_of
from limpet.tensorboard._numbers import evaluations
from limpet.tensorboard._stock_charts import margin_layout
from limpet.tensorboard._summaries import curve_summary

FIRST_VERSION = Path(__file__).parents[1] / "data" / "first_version"
COSTS = limpet.Sensitivity(("w",), 0.9, np.ones(2), np.ones((1, 2)), np.ones((1, 2)), np.ones(1), True)


def run(logdir, steps, slope=1.0, prefix="", resume=None):
    writer = start_run(logdir, prefix=prefix, resume=resume)
    for step in steps:
        writer.scalar("train/loss", slope, step)
        writer.curve(curve(slope), step)
    writer.close()


def write_foreign(logdir, summaries=()):
    """What a user's own SummaryWriter leaves in a directory: PyTorch's writes scalars so, and starts of sessions."""
    writer = EventFileWriter(str(logdir))
    writer.add_event(Event(step=0, session_log=SessionLog(status=SessionLog.START)))
    for summary in summaries:
        writer.add_event(Event(step=0, summary=summary))
    for step in range(5):
        writer.add_event(Event(step=step, summary=Summary(value=[Summary.Value(tag="theirs", simple_value=step)])))
    writer.close()
    (path,) = [path for path in Path(logdir).iterdir() if not path.name.endswith(".limpet")]
    return path


def sessions(logdir):
    """The steps at which sessions start, by file in order."""
    steps = []
    for path in sorted(Path(logdir).glob("*tfevents*")):
        events = events_of(path, complain=pytest.fail)
        steps += [event.step for event in events if event.session_log.status == SessionLog.START]
    return steps


def foreign_steps(logdir):
    """The steps of the foreign scalar, as scripts read them and as TensorBoard's slow loader does."""
    scripts = EventAccumulator(str(logdir)).Reload()
    slow = SlowLoader(str(logdir)).Reload()
    return (
        [event.step for event in scripts.Scalars("theirs")],
        [event.step for event in slow.Tensors("theirs")],
    )


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


# --- one run in a directory


def test_a_run_in_an_empty_directory_starts_at_step_0(tmp_path):
    run(tmp_path / "new" / "run", [0, 100])
    assert sessions(tmp_path / "new" / "run") == [0]
    (path,) = (tmp_path / "new" / "run").iterdir()
    assert path.name.endswith(".limpet")


def test_an_earlier_run_is_set_aside_and_none_of_it_is_lost(tmp_path):
    logdir = tmp_path / "run"
    run(logdir, [0, 100], slope=0.1)
    (tmp_path / "run.2").mkdir()
    (tmp_path / "run.2" / "notes.txt").write_text("the user's own")
    (logdir / "notes.txt").write_text("stays")
    (logdir / "below").mkdir()
    run(logdir / "below", [7])
    kept = [contents(logdir / "below")]
    for number in (1, 3):
        before = {name: data for name, data in _files(logdir).items() if "tfevents" in name}
        with pytest.warns(UserWarning, match="earlier run") as told:
            run(logdir, [50], slope=0.5)
        aside = tmp_path / f"run.{number}"
        assert [str(warning.message).count("\n") for warning in told] == [0]
        assert f"held an earlier run, which is now in '{aside}'" in str(told[0].message)
        assert contents(aside) == before
    assert contents(logdir / "below") == kept[0]
    assert contents(tmp_path / "run.2") == {"notes.txt": b"the user's own"}
    assert (logdir / "notes.txt").exists()
    runs = logged_runs(tmp_path)
    assert {name: list(run.curves["accuracy"]) for name, run in runs.items()} == {
        "run": [50],
        "run.1": [0, 100],
        "run.3": [50],
        "run/below": [7],
    }
    np.testing.assert_array_equal(runs["run.1"].curves["accuracy"][100].values, curve(0.1).values)


def _files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_the_current_directory_may_be_a_run(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run(".", [0])
    with pytest.warns(UserWarning, match="which is now in '../here.1'"):
        run(".", [0])
    assert set(logged_runs(tmp_path)) == {"here", "here.1"}


def test_runs_of_the_first_version_are_recognised_by_what_they_hold(tmp_path):
    shutil.copytree(FIRST_VERSION, tmp_path / "run")
    with pytest.warns(UserWarning, match="held an earlier run"):
        run(tmp_path / "run", [7])
    runs = logged_runs(tmp_path)
    assert list(runs["run"].curves["accuracy"]) == [7]
    assert list(runs["run.1"].curves["accuracy"]) == [0, 100]
    assert (tmp_path / "run" / "curve.npz").exists()  # no event file


def test_a_writer_alone_adds_to_a_run(tmp_path):
    run(tmp_path, [0, 100])
    writer = CurveWriter(tmp_path)
    writer.sensitivity(COSTS, 100, "accuracy")
    writer.close()
    logged = logged_runs(tmp_path)["."]
    assert list(logged.curves["accuracy"]) == [0, 100]
    assert list(logged.sensitivities["accuracy"]) == [100]
    assert sessions(tmp_path) == [0]


def test_what_cannot_be_written_is_refused_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(limpet.LogdirError, match="file' ?: cannot be written") as refused:
        start_run(tmp_path / "file")
    assert "\n" not in str(refused.value)
    run(tmp_path / "run", [0])
    before = contents(tmp_path / "run")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("limpet.tensorboard._run_directory.shutil.move", refuse)
    with pytest.raises(
        limpet.LogdirError, match=r"cannot be set aside .*\(Permission denied\); name another directory"
    ):
        start_run(tmp_path / "run")
    assert contents(tmp_path / "run") == before


# --- going on


@pytest.mark.parametrize("begun_by", ["start_run", "writer", "first version"])
def test_what_is_resumed_over_is_dropped(begun_by, tmp_path):
    """The slow loader takes the first start of a session for no restart. (The fast one: `test_tab_hardware.py`.)"""
    if begun_by == "start_run":
        run(tmp_path, [0, 50, 100])
    elif begun_by == "writer":
        log(tmp_path, [(step, curve(1.0)) for step in (0, 50, 100)])
    else:
        shutil.copytree(FIRST_VERSION, tmp_path, dirs_exist_ok=True)
    run(tmp_path, [100, 150], slope=0.5, resume=60)
    before = [0] if begun_by == "first version" else [0, 50]
    slow = SlowLoader(str(tmp_path)).Reload().Tensors("robustness_area/accuracy")
    assert [event.step for event in slow] == [*before, 100, 150]
    curves = logged_runs(tmp_path)["."].curves["accuracy"]
    assert list(curves) == [*before, 100, 150]
    np.testing.assert_array_equal(curves[100].values, curve(0.5).values)
    assert not tmp_path.with_name(f"{tmp_path.name}.1").exists()  # nothing was set aside


def test_sensitivities_that_are_resumed_over_are_dropped(tmp_path):
    writer = start_run(tmp_path)
    for step in (10, 20):
        writer.sensitivity(COSTS, step, "accuracy")
    writer.close()
    run(tmp_path, [30], resume=15)
    assert list(logged_runs(tmp_path)["."].sensitivities["accuracy"]) == [10]


# --- in which order


def clock_of(monkeypatch, time):
    monkeypatch.setattr("time.time", lambda: time)


def assert_resumed_over(logdir, steps):
    """Each loader and Limpet's own readers show each step once, and what was logged last: a slope of half the step."""
    tag = f"robustness_area/{curve(1.0).metric}"
    for load in (slow, fast):
        shown = load(logdir)
        assert [step for step, _ in shown[tag]] == [step for step, _ in shown["train/loss"]] == steps
    curves = logged_runs(logdir)["."].curves["accuracy"]
    assert list(curves) == steps
    return curves


@pytest.mark.long
def test_a_clock_that_was_set_back_loses_nothing(tmp_path, monkeypatch, capsys):
    logdir = tmp_path / "run"
    clock_of(monkeypatch, 2e9)
    run(logdir, [0, 50, 100, 150], slope=0.1)
    clock_of(monkeypatch, 1e9)
    run(logdir, [100, 150, 200], slope=0.2, resume=60)
    run(logdir, [150, 200, 250], slope=0.3, resume=110)  # in the same second
    clock_of(monkeypatch, 1.5e9)
    run(logdir, [50, 100, 300], slope=0.9, resume=50)  # from an older checkpoint
    monkeypatch.undo()
    curves = assert_resumed_over(logdir, [0, 50, 100, 300])
    for step, slope in {0: 0.1, 50: 0.9, 100: 0.9, 300: 0.9}.items():
        np.testing.assert_array_equal(curves[step].values, curve(slope).values)
    options = ["--sigma", "0.2", "--target", "0.9", "--yield", "0.5", "--json"]
    assert main(["gate", str(logdir), *options]) == 1
    assert json.loads(capsys.readouterr().out)["step"] == 300


def test_the_order_stands_in_the_files_and_not_in_their_names(tmp_path):
    run(tmp_path, [0, 50, 100], slope=0.1)
    run(tmp_path, [50, 100], slope=0.5, resume=50)
    run(tmp_path, [100], slope=0.9, resume=75)
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        path.rename(tmp_path / f"events.out.tfevents.{9 - number:010d}.copied.limpet")
    curves = logged_runs(tmp_path)["."].curves["accuracy"]
    for step, slope in {0: 0.1, 50: 0.5, 100: 0.9}.items():
        np.testing.assert_array_equal(curves[step].values, curve(slope).values)


def test_files_without_a_number_are_read_in_order(tmp_path, monkeypatch):
    """Files by TensorBoard's writer, as Limpet's were before: the one that began the run comes first, at any time."""
    for first, slope, time in ((0, 0.1, 2e9), (50, 0.5, 1e9)):
        clock_of(monkeypatch, time)
        writer = EventFileWriter(str(tmp_path), filename_suffix=".limpet")
        for step in [first] if first == 0 else [first, first]:
            writer.add_event(Event(wall_time=time, step=step, session_log=SessionLog(status=SessionLog.START)))
        for step in (0, 50, 100):
            if step >= first:
                writer.add_event(Event(wall_time=time, step=step, summary=curve_summary(curve(slope))))
        writer.close()
    run(tmp_path, [100], slope=0.9, resume=75)
    curves = logged_runs(tmp_path)["."].curves["accuracy"]
    for step, slope in {0: 0.1, 50: 0.5, 100: 0.9}.items():
        np.testing.assert_array_equal(curves[step].values, curve(slope).values)


# --- several writers at once


def test_a_run_that_is_set_aside_while_it_is_written_goes_on_there(tmp_path):
    first = start_run(tmp_path / "run")
    first.curve(curve(0.1, seed=1), 0)
    with pytest.warns(UserWarning, match="held an earlier run"):
        second = start_run(tmp_path / "run")
    for step in (0, 50):
        second.curve(curve(0.5, seed=2), step)
        first.curve(curve(0.1, seed=1), step + 25)
    for writer in (first, second):
        writer.scalar("train/loss", 1.0, 50)
        writer.close()
    runs = logged_runs(tmp_path)
    told = {name: {step: curve.seed for step, curve in run.curves["accuracy"].items()} for name, run in runs.items()}
    assert told == {"run": {0: 2, 50: 2}, "run.1": {0: 1, 25: 1, 75: 1}}
    for name, steps in (("run", [0, 50]), ("run.1", [0, 25, 75])):
        for load in (slow, fast):
            shown = load(tmp_path / name)
            assert [step for step, _ in shown["robustness_area/accuracy"]] == steps
            assert len([tag for tag in shown if tag.startswith("limpet/curve")]) == 1


AT_ONCE = """
import sys, warnings
from limpet.tensorboard import start_run
warnings.simplefilter("ignore")
print("ready", flush=True)
sys.stdin.readline()
writer = start_run(sys.argv[1])
for step in range(100):
    writer.scalar("train/loss", float(sys.argv[2]), step)
writer.close()
"""


def test_runs_that_start_at_once_do_not_mix(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, str(tmp_path / "run"), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60) and process.returncode for process in processes] == [0, 0, 0]
    assert {path.name for path in tmp_path.iterdir()} == {"run", "run.1", "run.2"}
    shown = [slow(path)["train/loss"] for path in tmp_path.iterdir()]
    assert [[step for step, _ in series] for series in shown] == [list(range(100))] * 3
    assert sorted(len({value for _, value in series}) for series in shown) == [1, 1, 1]
    assert len({series[0][1] for series in shown}) == 3


def test_writers_beside_one_another_keep_their_metadata(tmp_path):
    """Two writers in one directory, at other strengths, of other seeds, with other directions: each said as it is."""
    first, second = start_run(tmp_path), CurveWriter(tmp_path)
    halved = limpet.RobustnessCurve("accuracy", [0.0, 0.5], np.ones((2, 40)), seed=3)
    first.curve(curve(0.1, seed=1), 0)
    second.curve(curve(0.2, seed=2), 10)
    first.curve(curve(0.3, seed=1, higher_is_better=False), 20)
    second.curve(halved, 30)
    first.curve(curve(0.4, seed=1), 40)
    for writer in (first, second):
        writer.close()
    curves = logged_runs(tmp_path)["."].curves["accuracy"]
    assert {step: (curve.seed, curve.higher_is_better) for step, curve in curves.items()} == {
        0: (1, True),
        10: (2, True),
        20: (1, False),
        30: (3, True),
        40: (1, True),
    }
    np.testing.assert_array_equal(curves[30].sigmas, [0.0, 0.5])
    drawn = evaluations(curves)
    assert drawn["steps"] == [0, 10, 40]  # one axis, one direction
    assert drawn["same_chips"] is False


# --- an interrupted write


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_is_cut_short_is_written_once_when_it_is_repeated(tmp_path, monkeypatch, error):
    writer = start_run(tmp_path)
    writer.curve(curve(0.1), 0)
    write = os.write

    def half(descriptor, data):
        write(descriptor, data[: len(data) // 2])
        raise error

    monkeypatch.setattr("os.write", half)
    with pytest.raises((KeyboardInterrupt, limpet.LogdirError)):
        writer.curve(curve(0.2), 10)
    monkeypatch.setattr("os.write", write)
    if error is not KeyboardInterrupt:
        assert list(logged_runs(tmp_path)["."].curves["accuracy"]) == [0]  # and no warning of a damaged file
    writer.curve(curve(0.3), 10)
    writer.close()
    curves = assert_shown_once(tmp_path)
    np.testing.assert_array_equal(curves[10].values, curve(0.3).values)


def assert_shown_once(logdir):
    for load in (slow, fast):
        assert [step for step, _ in load(logdir)["robustness_area/accuracy"]] == [0, 10]
    return logged_runs(logdir)["."].curves["accuracy"]


# --- beside foreign files


def test_sessions_of_a_foreign_writer_drop_no_curve(tmp_path):
    run(tmp_path, [0, 100])
    write_foreign(tmp_path)  # in which a session starts at step 0
    assert list(logged_runs(tmp_path)["."].curves["accuracy"]) == [0, 100]


def test_foreign_files_are_named_and_left_alone(tmp_path):
    foreign = write_foreign(tmp_path)
    before = foreign.read_bytes()
    with pytest.warns(UserWarning, match="did not write") as told:
        run(tmp_path, [0, 2], prefix="limpet/")
    (message,) = [str(warning.message) for warning in told]
    assert f"such as '{foreign.name}', and TensorBoard shows all files of one directory as one run" in message
    assert f"such as '{tmp_path / 'limpet'}', or give a prefix" in message
    assert "\n" not in message
    assert foreign.read_bytes() == before
    assert list(logged_runs(tmp_path)["."].curves["accuracy"]) == [0, 2]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(tmp_path, [0, 4], prefix="limpet/")
    assert ["earlier run" in str(warning.message) for warning in told] == [True, False]
    assert foreign.read_bytes() == before
    assert list(logged_runs(tmp_path)["."].curves["accuracy"]) == [0, 4]


def test_a_new_run_drops_nothing_that_foreign_files_hold(tmp_path):
    write_foreign(tmp_path)
    with pytest.warns(UserWarning, match="did not write"):
        run(tmp_path, [0, 2])
    assert foreign_steps(tmp_path) == (list(range(5)), list(range(5)))
    # The start of a session, which every other new run writes, would have dropped them all.
    writer = CurveWriter(tmp_path)
    writer.start_session(0)
    writer.close()
    assert foreign_steps(tmp_path) == ([], [])


def test_hyperparameters_and_layout_of_the_user_are_not_lost(tmp_path):
    layout = margin_layout({"theirs": ["sigma=0.5"]})
    write_foreign(tmp_path, summaries=[hparams_pb({"rate": 0.1}), layout])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        writer = start_run(tmp_path)
        writer.hparams({"sigma": 0.1})
        writer.hparams({"sigma": 0.1})
        for step in (0, 1):
            writer.curve(curve(1.0, metric=f"metric{step}"), step)
        writer.close()
    messages = [str(warning.message) for warning in told]
    assert [message.split(": ")[1].split(",")[0] for message in messages] == [
        "holds event files that Limpet did not write",
        "event files that Limpet did not write hold hyperparameters",
        "event files that Limpet did not write hold a layout of the Custom Scalars tab",
    ]
    (own,) = tmp_path.glob("*.limpet")
    tags = {value.tag for event in events_of(own, complain=pytest.fail) for value in event.summary.value}
    assert not {tag for tag in tags if tag.startswith("_hparams_")}
    assert layout_metadata.CONFIG_SUMMARY_TAG not in tags
    start = EventAccumulator(str(tmp_path)).Reload().SummaryMetadata(hparams_metadata.SESSION_START_INFO_TAG)
    info = hparams_metadata.parse_session_start_info_plugin_data(start.plugin_data.content)
    assert dict(info.hparams).keys() == {"rate"}


def test_limpets_own_hyperparameters_do_not_stand_in_their_own_way(tmp_path):
    for resume in (None, 5):
        writer = start_run(tmp_path, resume=resume)
        writer.hparams({"sigma": 0.1})
        writer.close()
    for path in tmp_path.iterdir():
        tags = {value.tag for event in events_of(path, complain=pytest.fail) for value in event.summary.value}
        assert {hparams_metadata.SESSION_START_INFO_TAG, hparams_metadata.SESSION_END_INFO_TAG} <= tags


def test_every_tag_begins_with_the_prefix(tmp_path):
    writer = start_run(tmp_path, prefix="mine/")
    writer.hparams({"sigma": 0.1})
    writer.text("limpet/config", "seed: 0")
    writer.scalar("train/loss", 1.0, 0)
    writer.curve(curve(1.0), 0, target=0.9)
    writer.sensitivity(COSTS, 0, "accuracy")
    writer.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    tags = set(events.Tags()["tensors"])
    # What TensorBoard looks up by its very name can have no prefix.
    fixed = {tag for tag in tags if tag.startswith("_hparams_")} | {layout_metadata.CONFIG_SUMMARY_TAG}
    assert all(tag.startswith("mine/") for tag in tags - fixed)
    (event,) = events.Tensors(layout_metadata.CONFIG_SUMMARY_TAG)
    layout = layout_pb2.Layout.FromString(tensor_util.make_ndarray(event.tensor_proto).item())
    charts = [chart for category in layout.category for chart in category.chart]
    series = [tag for chart in charts for s in chart.margin.series for tag in (s.value, s.lower, s.upper)]
    assert len(series) == 9
    assert set(series) <= tags
    content = events.SummaryMetadata(hparams_metadata.EXPERIMENT_TAG).plugin_data.content
    metrics = {info.name.tag for info in hparams_metadata.parse_experiment_plugin_data(content).metric_infos}
    assert metrics
    assert metrics <= tags
    logged = logged_runs(tmp_path)["."]
    assert list(logged.curves["accuracy"]) == [0]
    assert list(logged.sensitivities["accuracy"]) == [0]
    assert logged.targets == {"accuracy": 0.9}
    assert logged.configuration == "seed: 0"
