"""The directory of a run: one run in it, nothing lost, and foreign files left alone."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
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
from limpet.tensorboard import CurveWriter, logged_runs, start_run
from limpet.tensorboard._event_files import events_of
from limpet.tensorboard._stock_charts import margin_layout

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


def test_files_of_one_second_are_read_in_the_order_in_which_they_were_begun(tmp_path):
    log(tmp_path, [(0, curve(0.1)), (100, curve(0.1))])
    (first,) = tmp_path.iterdir()
    first = first.rename(tmp_path / "events.out.tfevents.0000000001.host.9.9.limpet")
    run(tmp_path, [100], slope=0.5, resume=50)
    (second,) = set(tmp_path.iterdir()) - {first}
    second.rename(tmp_path / "events.out.tfevents.0000000001.host.10.0.limpet")  # sorts first by name
    curves = logged_runs(tmp_path)["."].curves["accuracy"]
    np.testing.assert_array_equal(curves[100].values, curve(0.5).values)


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


# --- beside foreign files


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
    layout = margin_layout({"theirs": [0.5]})
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
