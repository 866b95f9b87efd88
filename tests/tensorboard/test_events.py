"""Event files: written incrementally, read back to the last bit, and understood by TensorBoard's own plugins."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from logged_curves import BEYOND
from tab_routes import TabRoutes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util import tensor_util

import limpet
from limpet.tensorboard import CurveWriter, logged_runs
from limpet.tensorboard._summaries import curve_summary, limits_summary, sensitivity_summary, unpacked

SIGMAS = [0.2, 0.0, 0.1]
FIRST_VERSION = Path(__file__).parents[1] / "data" / "first_version"
"""An event file and a curve that the first version wrote, which did not record the hardware."""


def curve(seed=0, metric="accuracy", failed=True, **described):
    values = np.random.default_rng(seed).random((3, 10))
    if failed:
        values[0, :2] = np.nan, np.inf
    better = metric != "loss"
    return limpet.RobustnessCurve(metric, SIGMAS, values, seed=seed, higher_is_better=better, **described)


def sensitivity(chips=7):
    rng = np.random.default_rng(1)
    alone = rng.random((3, chips))
    alone[1, 0] = np.nan
    groups = ("a/w", "b", "c")
    return limpet.Sensitivity(groups, 0.9, rng.random(chips), alone, rng.random((3, chips)), rng.random(3), True)


def accumulated(logdir):
    return EventAccumulator(str(logdir), size_guidance={"tensors": 0}).Reload()


def event_file(logdir):
    (found,) = Path(logdir).glob("*tfevents*")
    return found


def test_what_is_read_back_is_what_was_written(tmp_path):
    writer = CurveWriter(tmp_path / "run")
    for step in (3, 7):
        writer.curve(curve(), step, target=0.5)
    writer.sensitivity(sensitivity(), 7, "accuracy")
    writer.close()
    run = logged_runs(tmp_path)["run"]
    assert list(run.curves["accuracy"]) == [3, 7]
    np.testing.assert_array_equal(run.curves["accuracy"][7].values, curve().values)
    assert run.targets == {"accuracy": 0.5}
    found, expected = run.sensitivities["accuracy"][7], sensitivity()
    assert found.groups == expected.groups
    assert found.higher_is_better
    for name in ("nominal", "everything", "alone", "without", "first_order"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.ranking() == expected.ranking()


def test_counts_beyond_limits_are_read_back_and_others_are_left_out(tmp_path):
    with pytest.raises(limpet.MetricError, match="describe no result of format 1"):
        unpacked(b"{}", np.zeros((2, 1, 1)))
    writer = CurveWriter(tmp_path, prefix="mine/")
    writer.curve(curve(), 1)
    writer.limits(BEYOND, 1)
    for wrong in (
        {"leaves": ["w"]},
        {"leaves": [3, "b"]},
        {"limits": None},
        {"sigmas": ["0", 1, 2]},
        {"sigmas": [0.1]},
        {"chips": 39},
        {"chips": True},
        {"axis": "place"},
    ):
        summary = limits_summary(BEYOND)
        plugin = summary.value[0].metadata.plugin_data
        plugin.content = json.dumps(json.loads(plugin.content) | wrong).encode()
        summary.value[0].tag += str(wrong)
        writer._add(summary, 2)
    writer.close()
    with pytest.warns(UserWarning, match="is left out") as warned:
        run = logged_runs(tmp_path)["."]
    assert len(warned) == 8
    (beyond,) = run.beyond_limits.values()
    assert {name: getattr(beyond, name) for name in ("leaves", "limits", "chips", "axis")} == {
        "leaves": ("w", "<i>b</i>"),
        "limits": ("0 to 4 (clip)", "none to 0 (report)"),
        "chips": 40,
        "axis": "sigma",
    }
    for name in ("sigmas", "share", "chips_beyond"):
        np.testing.assert_array_equal(getattr(beyond, name), getattr(BEYOND, name))
    writer = CurveWriter(tmp_path / "wrong")
    writer._add(summary, 2)
    writer.close()
    routes = TabRoutes(tmp_path)
    assert json.loads(routes.ask("runs")[1])["limits"] == ["."]
    answer = json.loads(routes.ask("limits", run=".")[1])
    assert (answer["step"], answer["sigmas"]) == (1, [0.0, 0.1, 0.2])
    assert answer["rows"][0] == {
        "leaf": "w",
        "limits": "0 to 4 (clip)",
        "share": [0.0, 0.0001, 0.25],
        "chips": [0, 3, 40],
    }
    assert routes.ask("limits", run="nobody")[0] == 400


def test_a_run_may_hold_sensitivities_alone(tmp_path):
    writer = CurveWriter(tmp_path)
    writer.sensitivity(sensitivity(chips=1), 0, "loss")
    writer.close()
    run = logged_runs(tmp_path)["."]
    assert not run.curves
    assert run.sensitivities["loss"][0].alone.shape == (3, 1)


def test_hardware_and_excluded_chips_are_read_back(tmp_path):
    known = curve(fingerprint="a3c1f2d4e5b60718", hardware="gaussian on w (3x4)", excluded_chips=(17,))
    other = curve(fingerprint="77c1f2d4e5b60718", hardware="log-normal on w (3x4)")
    writer = CurveWriter(tmp_path)
    writer.curve(known, 1)
    writer.curve(other, 2)  # in one file, with other metadata
    writer.close()
    curves = logged_runs(tmp_path)["."].curves["accuracy"]
    for step, written in ((1, known), (2, other)):
        assert curves[step].fingerprint == written.fingerprint
        assert curves[step].hardware == written.hardware
        assert curves[step].excluded_chips == written.excluded_chips


def test_what_the_first_version_wrote_is_read():
    run = logged_runs(FIRST_VERSION)["."]
    assert list(run.curves["accuracy"]) == [0, 100]
    assert run.targets == {"accuracy": 0.9}
    assert run.configuration == "seed: 0  \ndynamic.sigma: 0.1"
    saved = limpet.RobustnessCurve.load(FIRST_VERSION / "curve.npz")
    for found in (run.curves["accuracy"][100], saved):
        assert (found.fingerprint, found.hardware, found.excluded_chips) == ("", "", ())
    np.testing.assert_array_equal(run.curves["accuracy"][100].values, saved.values)


def test_a_tag_holds_curves_that_differ_in_values_alone(tmp_path):
    """TensorBoard keeps the metadata of a tag's first event only."""
    writer = CurveWriter(tmp_path)
    for step, fingerprint in enumerate("aab"):
        writer.curve(curve(fingerprint=fingerprint), step)
    writer.close()
    events = accumulated(tmp_path)
    tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("limpet/curve/")]
    assert sorted(len(events.Tensors(tag)) for tag in tags) == [1, 2]


def test_everything_is_on_disk_after_a_flush(tmp_path):
    writer = CurveWriter(tmp_path)
    for step in range(3):
        writer.curve(curve(step), step)
        writer.flush()
        assert list(logged_runs(tmp_path)["."].curves["accuracy"]) == list(range(step + 1))
    writer.close()


def _write_until_killed(logdir, flushed):
    writer = CurveWriter(logdir)
    step = 0
    while True:
        writer.curve(curve(step), step)
        writer.flush()
        flushed.value = step
        step += 1


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*cut short:UserWarning")  # the kill may fall into a record
def test_a_kill_corrupts_nothing_that_was_flushed(tmp_path):
    context = multiprocessing.get_context("spawn")
    flushed = context.Value("i", -1)
    process = context.Process(target=_write_until_killed, args=(tmp_path, flushed))
    process.start()
    while flushed.value < 4 and process.is_alive():
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    curves = logged_runs(tmp_path)["."].curves["accuracy"]
    assert set(range(flushed.value + 1)) <= set(curves)
    np.testing.assert_array_equal(curves[3].values, curve(3).values)


def test_a_truncated_file_gives_what_it_holds(tmp_path):
    writer = CurveWriter(tmp_path / "whole")
    for step in range(5):
        writer.curve(curve(step), step)
    writer.close()
    (tmp_path / "cut").mkdir()
    whole = event_file(tmp_path / "whole").read_bytes()
    (tmp_path / "cut" / "events.out.tfevents.1.x").write_bytes(whole[: len(whole) * 3 // 5])
    with pytest.warns(UserWarning, match="cut short"):
        runs = logged_runs(tmp_path)
    assert 2 <= len(runs["cut"].curves["accuracy"]) < 5
    np.testing.assert_array_equal(runs["cut"].curves["accuracy"][1].values, curve(1).values)
    assert len(runs["whole"].curves["accuracy"]) == 5


def test_summaries_of_another_make_under_our_name_are_left_out(tmp_path):
    writer = CurveWriter(tmp_path)
    writer.curve(curve(), 1)
    for summary in (curve_summary(curve(metric="newer")), sensitivity_summary(sensitivity(), "newer")):
        summary.value[0].metadata.plugin_data.content = summary.value[0].metadata.plugin_data.content.replace(
            b'"format": 1', b'"format": 2'
        )
        writer._add(summary, 1)
    misfit = sensitivity_summary(sensitivity(), "misfit")
    misfit.value[0].tensor.CopyFrom(tensor_util.make_tensor_proto(np.zeros(6)))
    writer._add(misfit, 1)
    writer.close()
    with pytest.warns(UserWarning, match="left out"):
        run = logged_runs(tmp_path)["."]
    assert set(run.curves) == {"accuracy"}
    assert not run.sensitivities


def test_histograms_hold_the_chips_that_did_not_fail(tmp_path):
    writer = CurveWriter(tmp_path)
    writer.curve(curve(), 1)
    writer.curve(limpet.RobustnessCurve("dead", [0.1], [[np.nan, np.nan]]), 1)
    writer.close()
    events = accumulated(tmp_path)
    assert events.SummaryMetadata("virtual_chips/accuracy/sigma=0.2").plugin_data.plugin_name == "histograms"
    for sigma, chips in [("0.2", 8), ("0", 10), ("0.1", 10)]:
        (event,) = events.Tensors(f"virtual_chips/accuracy/sigma={sigma}")
        buckets = tensor_util.make_ndarray(event.tensor_proto)
        assert buckets[:, 2].sum() == chips
    (event,) = events.Tensors("virtual_chips/dead/sigma=0.1")
    assert not tensor_util.make_ndarray(event.tensor_proto).any()


def test_the_layout_names_scalars_that_are_there(tmp_path):
    writer = CurveWriter(tmp_path)
    for step in (1, 2):
        for metric in ("accuracy", "loss"):
            writer.curve(curve(metric=metric), step)
    writer.close()
    events = accumulated(tmp_path)
    laid_out = events.Tensors(layout_metadata.CONFIG_SUMMARY_TAG)
    assert len(laid_out) == 2  # with the first metric, and with the second; not at every evaluation
    layout = layout_pb2.Layout.FromString(tensor_util.make_ndarray(laid_out[-1].tensor_proto).item())
    charts = [chart for category in layout.category for chart in category.chart]
    assert [chart.title for chart in charts] == [
        f"{metric} at sigma = {sigma:g}" for metric in ("accuracy", "loss") for sigma in SIGMAS
    ]
    tags = set(events.Tags()["tensors"])
    for chart in charts:
        (series,) = chart.margin.series
        assert {series.value, series.lower, series.upper} <= tags


def plugin_data(events, tag):
    return events.SummaryMetadata(tag).plugin_data.content


@pytest.mark.parametrize(("succeeded", "status"), [(True, api_pb2.STATUS_SUCCESS), (False, api_pb2.STATUS_FAILURE)])
def test_hyperparameters_make_a_session(tmp_path, succeeded, status):
    writer = CurveWriter(tmp_path)
    writer.hparams({"sigma": 0.1, "kind": "linear", "nested": True, "chip": None})
    writer.curve(curve(), 1, target=0.5)
    writer.close(succeeded)
    events = accumulated(tmp_path)
    start = hparams_metadata.parse_session_start_info_plugin_data(
        plugin_data(events, hparams_metadata.SESSION_START_INFO_TAG)
    )
    assert start.hparams["sigma"].number_value == 0.1
    assert start.hparams["kind"].string_value == "linear"
    assert start.hparams["nested"].bool_value is True
    assert "chip" not in start.hparams
    assert start.group_name == tmp_path.as_posix()
    end = hparams_metadata.parse_session_end_info_plugin_data(
        plugin_data(events, hparams_metadata.SESSION_END_INFO_TAG)
    )
    assert end.status == status
    experiment = hparams_metadata.parse_experiment_plugin_data(plugin_data(events, hparams_metadata.EXPERIMENT_TAG))
    assert {info.name for info in experiment.hparam_infos} == {"sigma", "kind", "nested", "chip"}
    tags = set(events.Tags()["tensors"])
    metrics = {info.name.tag for info in experiment.metric_infos}
    assert metrics == {"robustness_area/accuracy"} | {f"robustness_yield/accuracy/sigma={s:g}" for s in SIGMAS}
    assert metrics <= tags
    (area,) = events.Tensors("robustness_area/accuracy")
    np.testing.assert_allclose(tensor_util.make_ndarray(area.tensor_proto), curve().area(), rtol=1e-6)


def test_a_run_without_hyperparameters_is_no_session(tmp_path):
    writer = CurveWriter(tmp_path)
    writer.curve(curve(), 1)
    writer.close()
    assert not [tag for tag in accumulated(tmp_path).Tags()["tensors"] if tag.startswith("_hparams_")]


def test_the_picture_is_there(tmp_path):
    writer = CurveWriter(tmp_path)
    writer.curve(curve(), 4)
    writer.sensitivity(sensitivity(), 4, "accuracy")
    writer.close()
    events = accumulated(tmp_path)
    for tag in ("robustness/accuracy", "sensitivity/accuracy"):
        assert events.SummaryMetadata(tag).plugin_data.plugin_name == "images"
        (event,) = events.Tensors(tag)
        width, height, png = tensor_util.make_ndarray(event.tensor_proto)
        assert png.startswith(b"\x89PNG")
        assert int(width) > 300 < int(height) * 2


def test_foreign_files_are_left_out(tmp_path):
    writer = CurveWriter(tmp_path / "run")
    writer.curve(curve(), 1)
    writer.close()
    shutil.copy(__file__, tmp_path / "events.out.tfevents.0.text")
    with pytest.warns(UserWarning, match="damaged"):
        assert set(logged_runs(tmp_path)) == {"run"}
