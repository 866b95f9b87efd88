"""Whatever lies beside a good run in a log directory, the good run is read as if it lay there alone."""

import json
import os
import random
from collections import Counter
from urllib.parse import quote

import numpy as np
import pytest
from logged_curves import BEYOND, curve, log, strict
from tab_routes import TabRoutes
from tensorboard.backend.event_processing.io_wrapper import GetLogdirSubdirectories
from tensorboard.compat.proto.types_pb2 import DT_INT64, DT_STRING

import limpet
from limpet.cli import main
from limpet.tensorboard import CurveWriter, logged_runs, write_report
from limpet.tensorboard._records import masked_checksum
from limpet.tensorboard._summaries import curve_summary

GOOD = curve(0.5)
EVENTS = "events.out.tfevents.1.host"


def odd(logdir, change):
    """A run of two evaluations, the summary of the second of which is changed."""
    writer = CurveWriter(logdir)
    for step in (1, 2):
        summary = curve_summary(curve(0.7), target=0.9)
        if step == 2:
            summary.value[0].tag += "/odd"
            change(summary.value[0])
        writer._add(summary, step)
    writer.close()


def described(**changes):
    """Changes what the metadata say of the curve."""

    def change(value):
        told = json.loads(value.metadata.plugin_data.content)
        told["curve"].update(changes)
        value.metadata.plugin_data.content = json.dumps(told).encode()

    return change


def target(number):
    def change(value):
        told = json.loads(value.metadata.plugin_data.content)
        value.metadata.plugin_data.content = json.dumps(told | {"target": number}).encode()

    return change


def sizes(*shape):
    def change(value):
        for dimension, size in zip(value.tensor.tensor_shape.dim, shape, strict=True):
            dimension.size = size

    return change


def one_number_repeated(value):
    """A tensor that TensorBoard's own function fills with one number until the shape is full."""
    value.tensor.tensor_content = b""
    value.tensor.double_val[:] = [1.0]
    sizes(3, 10**12)(value)


def content(text):
    return lambda value: setattr(value.metadata.plugin_data, "content", text)


ODD = {
    "a shape of other sizes": (sizes(7, 40), "holds 120 numbers"),
    "a negative shape": (sizes(-3, -40), "holds 120 numbers"),
    "a shape that fills the memory": (one_number_repeated, "that holds 1 numbers"),
    "no shape": (lambda value: value.tensor.ClearField("tensor_shape"), r"of shape \(\) that holds 120"),
    "content cut short": (lambda value: setattr(value.tensor, "tensor_content", b"123"), "holds 0.375 numbers"),
    "texts": (lambda value: setattr(value.tensor, "dtype", DT_STRING), "a tensor of type 7"),
    "whole numbers": (lambda value: setattr(value.tensor, "dtype", DT_INT64), "a tensor of type 9"),
    "no such type": (lambda value: setattr(value.tensor, "dtype", 99), "a tensor of type 99"),
    "no tensor": (lambda value: value.ClearField("tensor"), "a tensor of type 0"),
    "sigmas of another number": (described(sigmas=[0.1]), "of shape"),
    "sigmas that are none": (described(sigmas=[0.0, float("nan"), 0.2]), "sigmas = .* allowed are finite numbers"),
    "sigmas too large": (described(sigmas=[0, 1, 10**400]), "sigmas = .* allowed are real numbers"),
    "a metric that is no text": (described(metric=["x"]), "metric = .* allowed is a text"),
    "a direction that is none": (described(higher_is_better="no"), "allowed are True and False"),
    "chips that are none": (described(excluded_chips=[1e400]), "excluded_chips = inf: allowed is a whole number"),
    "an entry more": (described(colour="red"), "'colour', which a curve has not"),
    "hardware that is no text": (described(hardware=3), "hardware = 3: allowed is a text"),
    "a target that is none": (target(float("nan")), "is read without the target of its yield: target = nan: allowed"),
    "a target that is a text": (target("high"), "is read without the target of its yield: target = 'high': allowed"),
    "metadata of no sense": (content(b'{"format": 1, "kind": "curve"}'), "describe no result of format 1"),
    "metadata nested deeply": (content(b"[" * 100_000), "describe no result of format 1"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The directory of a run of two evaluations."""
    directory = tmp_path_factory.mktemp("good")
    log(directory, [(1, GOOD), (2, GOOD)], target=0.9)
    return directory


@pytest.mark.parametrize("name", ODD)
def test_an_odd_summary_is_left_out_alone(tmp_path, good, name):
    change, message = ODD[name]
    (tmp_path / "good").symlink_to(good)
    odd(tmp_path / "odd", change)
    with pytest.warns(UserWarning, match=message) as caught:
        runs = logged_runs(tmp_path)
    assert all("/odd/events" in str(warning.message) for warning in caught)
    np.testing.assert_array_equal(runs["good"].curves["accuracy"][2].values, GOOD.values)
    assert runs["good"].targets == {"accuracy": 0.9}
    np.testing.assert_array_equal(runs["odd"].curves["accuracy"][1].values, curve(0.7).values)
    assert runs["odd"].targets == {"accuracy": 0.9}


@pytest.mark.parametrize("name", [name for name in ODD if "fills" not in name])  # TensorBoard itself would fill it
def test_an_odd_summary_takes_no_other_run_down_in_the_tab(tmp_path, good, name):
    (tmp_path / "good").symlink_to(good)
    odd(tmp_path / "odd", ODD[name][0])
    routes = TabRoutes(tmp_path)
    status, body = routes.ask("runs")
    assert status == 200
    assert strict(body)["runs"]["good"]["accuracy"]["target"] == 0.9
    both = {"metric": "accuracy", "run": ["odd", "good"], "sigma": 0.1}
    for route, parameters in (("table", both), ("yields", both | {"low": 0, "high": 1})):
        status, body = routes.ask(route, **parameters)
        assert status == 200
        assert "good" in strict(body)
    status, body = routes.ask("evaluations", metric="accuracy", run="good")
    assert strict(body)["steps"] == [1, 2]
    assert routes.ask("evaluations", metric="accuracy", run="odd")[0] in (200, 400)


def test_reports_and_gates_are_given_what_can_be_read(tmp_path, capsys):
    log(tmp_path / "logs" / "good", [(1, GOOD)], target=0.9)
    for place, name in enumerate(("sigmas too large", "a target that is none")):
        odd(tmp_path / "logs" / f"odd{place}", ODD[name][0])
    assert main(["report", str(tmp_path / "logs"), "-o", str(tmp_path / "report.html")]) == 0
    assert capsys.readouterr().err.count("warning: ") == 2
    assert "good" in (tmp_path / "report.html").read_text()
    arguments = ["--sigma", "0.1", "--yield", "0.5"]
    assert main(["gate", str(tmp_path / "logs" / "odd1"), *arguments]) in (0, 1)
    assert "without the target" in capsys.readouterr().err


def test_what_has_the_name_of_an_event_file_and_is_none(tmp_path):
    log(tmp_path / "good", [(1, GOOD)])
    log(tmp_path / "tfevents" / "run", [(1, GOOD)])  # a directory may be called so
    log(tmp_path / "good" / f"{EVENTS}.directory", [(1, GOOD)])
    os.mkfifo(tmp_path / "good" / f"{EVENTS}.pipe")
    (tmp_path / "good" / f"{EVENTS}.nowhere").symlink_to("nowhere")
    (tmp_path / "good" / f"{EVENTS}.itself").symlink_to(f"{EVENTS}.itself")
    with pytest.warns(UserWarning, match="events.out") as caught:
        runs = logged_runs(tmp_path)
    assert set(runs) == {"good", "tfevents/run", f"good/{EVENTS}.directory"}
    said = sorted(str(warning.message).removeprefix(str(tmp_path)) for warning in caught)
    assert [line.split(":")[0] for line in said] == [
        f"/good/{EVENTS}.{ending}" for ending in ("directory", "itself", "nowhere", "pipe")
    ]
    with pytest.warns(UserWarning, match="events.out"):
        write_report(tmp_path, tmp_path / "report.html")


def test_a_record_asks_for_no_more_memory_than_the_file_has(tmp_path):
    log(tmp_path, [(1, GOOD)])
    (file,) = tmp_path.glob("*tfevents*")
    length = (2**62).to_bytes(8, "little")
    with file.open("ab") as opened:
        opened.write(length + masked_checksum(length).to_bytes(4, "little") + b"some more")
    with pytest.warns(UserWarning, match="a record is cut short"):
        assert list(logged_runs(tmp_path)["."].curves["accuracy"]) == [1]


def test_links_are_followed_as_tensorboard_follows_them(tmp_path):
    log(tmp_path / "elsewhere" / "run", [(1, GOOD)])
    (tmp_path / "logs" / "files").mkdir(parents=True)
    (tmp_path / "logs" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (event_file,) = (tmp_path / "elsewhere" / "run").iterdir()
    (tmp_path / "logs" / "files" / event_file.name).symlink_to(event_file)
    runs = logged_runs(tmp_path / "logs")
    shown = {os.path.relpath(found, tmp_path / "logs") for found in GetLogdirSubdirectories(str(tmp_path / "logs"))}
    assert set(runs) == shown == {"linked/run", "files"}


def test_a_link_that_leads_back_is_followed_once(tmp_path):
    log(tmp_path / "run", [(1, GOOD)])
    (tmp_path / "run" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "run" / "itself").symlink_to("itself")
    with pytest.warns(UserWarning, match="itself: cannot be read"):
        assert set(logged_runs(tmp_path)) == {"run"}


def test_names_that_are_no_text(tmp_path):
    log(tmp_path / "run", [(1, GOOD)])
    os.rename(tmp_path / "run", os.fsencode(tmp_path) + b"/run\xff<i>")
    assert set(logged_runs(tmp_path)) == {"run\N{REPLACEMENT CHARACTER}<i>"}
    write_report(tmp_path, tmp_path / "report.html")
    assert "run\N{REPLACEMENT CHARACTER}&lt;i&gt;" in (tmp_path / "report.html").read_text("utf-8")


PARAMETERS = {
    "runs": {},
    "evaluations": {"metric": "accuracy", "run": "good"},
    "chips": {"metric": "accuracy", "run": "odd", "step": "2"},
    "table": {"metric": "accuracy", "run": "good", "sigma": "0.1", "target": "0.9"},
    "yields": {"metric": "accuracy", "run": "odd", "sigma": "0.1", "low": "0", "high": "1"},
    "difference": {"metric": "accuracy", "first": "good", "second": "odd"},
    "sensitivity": {"metric": "accuracy", "run": "good"},
    "limits": {"run": "good", "step": "2"},
}
VALUES = [
    *"accuracy good odd 0.1 0 1 2 0.2 nan inf -inf 1e999 -1e308 1e308 1e-320 99999999999999999999999 -1 1.5".split(),
    *"0x10 1_0 \u0661 None true [] {} __proto__ % ../../etc/passwd <script> \ud83d".split(),
    *("", " ", "9" * 5000, "a\0b", "a\nb"),
]


def hostile_requests(count):
    """What a route may be asked, some of it left out, changed, doubled, renamed; and texts that are no query."""
    rng = random.Random(0)
    for _ in range(count):
        route, method = rng.choice(list(PARAMETERS)), rng.choice(["GET"] * 18 + ["POST", "PUT"])
        pairs = list(PARAMETERS[route].items())
        for _ in range(rng.randrange(4)):
            place = rng.randrange(len(pairs) + 1)
            match rng.randrange(4):
                case 0 if pairs:
                    del pairs[place % len(pairs)]
                case 1:
                    pairs.insert(place, (rng.choice(["", "x", "run[]", "step", "run", "RUN"]), rng.choice(VALUES)))
                case _ if pairs:
                    pairs[place % len(pairs)] = (pairs[place % len(pairs)][0], rng.choice(VALUES))
        query = "&".join(f"{quote(name)}={quote(value, errors='surrogatepass')}" for name, value in pairs)
        if rng.random() < 0.05:
            query = "".join(chr(rng.randrange(33, 127)) for _ in range(rng.randrange(60))).replace("#", "")
        yield route, method, query


@pytest.mark.long
def test_hostile_requests_are_answered_in_json_or_refused(tmp_path):
    log(tmp_path / "good", [(step, GOOD) for step in (1, 2)], target=0.9)
    many = np.random.default_rng(0).normal(size=(3, 400))
    many[1, :3] = np.nan, np.inf, -7
    log(tmp_path / "odd", [(2, limpet.RobustnessCurve("accuracy", GOOD.sigmas, many))])
    writer = CurveWriter(tmp_path / "good")
    writer.limits(BEYOND, 2)
    writer.close()
    routes = TabRoutes(tmp_path)
    statuses = Counter()
    for route, method, query in hostile_requests(6000):
        status, body = routes.ask(route, method, query)
        assert status in (200, 400, 405), (route, method, query, body)
        if status == 200:
            strict(body)
        else:
            assert len(body) < 1000
            assert "\n" not in body
        statuses[status] += 1
    assert min(statuses[200], statuses[400]) > 1000
    assert statuses[405] > 100
