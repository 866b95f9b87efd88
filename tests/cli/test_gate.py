"""`limpet gate`: agrees with the curve, says why in one line, and knows which run it judges."""

import math
import re
import warnings

import numpy as np
import pytest
from logged_curves import ANALOG, curve, log, strict

import limpet
from limpet.cli import main
from limpet.tensorboard import start_run


def gate(run, capsys, *options, json_too=True):
    code = main(["gate", str(run), *options, *(["--json"] if json_too else [])])
    return code, capsys.readouterr().out


def test_gate_agrees_with_the_curve(runs, capsys):
    code, out = gate(runs / "logs/plain", capsys, "--sigma", "0.1", "--target", "0.9", "--yield", "0.5")
    answer = strict(out)
    expected = curve(1.0).yield_at(0.9)[1]
    assert (answer["yield"], answer["low"], answer["high"]) == (expected.fraction, expected.low, expected.high)
    assert answer["step"] == 200
    assert answer["metric"] == "accuracy"
    assert answer["chips_passed"] == round(40 * expected.fraction)
    assert answer["passed"] == (expected.low >= 0.5)
    assert code == (0 if answer["passed"] else 1)


def test_gate_turns_at_the_lower_end_of_the_interval(runs, capsys):
    expected = curve(1.0).yield_at(0.85)[1]
    assert 0 < expected.low < expected.fraction  # the fraction itself passes either way
    arguments = ["--sigma", "0.1", "--target", "0.85", "--yield"]
    assert gate(runs / "logs/plain", capsys, *arguments, repr(expected.low))[0] == 0
    assert gate(runs / "logs/plain", capsys, *arguments, repr(math.nextafter(expected.low, 1)))[0] == 1
    tighter = [*arguments, repr(expected.low), "--confidence", "0.99"]
    assert gate(runs / "logs/plain", capsys, *tighter)[0] == 1


def test_gate_knows_which_way_is_better(runs, capsys):
    loss = curve(1.0, "loss", higher_is_better=False)
    options = ["--metric", "loss", "--sigma", "0.1", "--target", "0.95", "--yield", "0.85"]
    code, out = gate(runs / "logs/robust", capsys, *options)
    assert strict(out)["yield"] == loss.yield_at(0.95)[1].fraction == 0.975
    assert code == 0
    code, out = gate(runs / "logs/robust", capsys, *options, json_too=False)
    assert "have loss <= 0.95 at sigma 0.1" in out


def test_gate_takes_the_target_that_was_logged(runs, capsys):
    _, out = gate(runs / "logs/plain", capsys, "--sigma", "0.1", "--yield", "0.5")
    assert strict(out)["target"] == 0.9


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        ("--target 0.5 --yield 0.9", 0, r"^PASS: 40 of 40 chips have accuracy >= 0.5 .* its lower end reaches 0.9 "),
        ("--target 0.5 --yield 0.95", 1, r"^FAIL: 40 of 40 .* and 40 chips cannot show more: measure 72 at least "),
        ("--target 0.9 --yield 0.9", 1, r"^FAIL: \d+ of 40 .* its lower end is below 0.9 \("),
        ("--target 0.85 --yield 0.85", 1, r"^FAIL: 35 of 40 .* its lower end is below 0.85, though the yield is not"),
    ],
)
def test_gate_says_why_in_one_line(options, code, reason, runs, capsys):
    found, out = gate(runs / "logs/plain", capsys, "--sigma", "0.1", *options.split(), json_too=False)
    assert found == code
    assert re.search(reason, out), out
    assert out.count("\n") == 1


def test_the_chips_needed_are_enough_and_no_fewer_are():
    def passes(chips):
        return limpet.RobustnessCurve("accuracy", [0.1], np.ones((1, chips))).yield_at(0.9)[0].low >= 0.95

    assert passes(72)
    assert not passes(71)


def test_gate_takes_a_sigma_to_six_digits_and_says_which_are_measured(runs, capsys):
    run = runs / "logs/plain"
    _, out = gate(run, capsys, "--sigma", "0.10000000001", "--target", "0.5", "--yield", "0.5")
    assert strict(out)["sigma"] == 0.1
    assert main(["gate", str(run), "--sigma", "0.1001", "--target", "0.5", "--yield", "0.5"]) == 2
    assert f"--sigma 0.1001: not measured by {run}; measured are 0, 0.1, 0.2" in capsys.readouterr().err


def test_gate_takes_times_in_words_and_scales_by_their_name(tmp_path, capsys):
    rows = [[0.95] * 40, [0.8] * 40]
    log(tmp_path / "pcm", [(5, limpet.RobustnessCurve("accuracy", [86400.0, 31536000.0], rows, axis="time"))])
    log(tmp_path / "scales", [(5, limpet.RobustnessCurve("accuracy", [1.0, 2.0], rows, axis="scale"))])
    options = ["--target", "0.9", "--yield", "0.9"]
    for time in ("1 day", "24 h", "86400"):
        code, out = gate(tmp_path / "pcm", capsys, "--time", time, *options, json_too=False)
        assert code == 0
        assert "at time 1 day, a yield of 1" in out
    _, out = gate(tmp_path / "pcm", capsys, "--time", "1 year", *options)
    assert strict(out)["sigma"] == 31536000.0
    assert gate(tmp_path / "scales", capsys, "--scale", "2", *options)[0] == 1
    for run, place, line in [
        ("pcm", ("--time", "2 days"), f"--time 2 days: not measured by {tmp_path / 'pcm'}"),
        ("pcm", ("--time", "1 fortnight"), "--time = '1 fortnight': allowed is a number of seconds above 0"),
        ("pcm", ("--sigma", "86400"), "goes over time; give --time, one of 1 day, 1 year"),
        ("scales", ("--sigma", "1"), "goes over scale; give --scale, one of 1, 2"),
        ("scales", ("--time", "1 s"), "--time 1 s: "),
    ]:
        assert main(["gate", str(tmp_path / run), *place, *options]) == 2
        assert line in capsys.readouterr().err


def test_gate_names_hardware_and_the_chip_that_is_left_out(tmp_path, capsys):
    log(tmp_path, [(5, curve(0.5, chips=39, excluded_chips=(17,)))])
    options = ["--sigma", "0.1", "--target", "0.5", "--yield", "0.5"]
    _, out = gate(tmp_path, capsys, *options)
    answer = strict(out)
    assert (answer["fingerprint"], answer["hardware"]) == (ANALOG["fingerprint"], ANALOG["hardware"])
    assert answer["excluded_chips"] == [17]
    _, out = gate(tmp_path, capsys, *options, json_too=False)
    assert out.startswith("PASS: 39 of 39 chips")
    assert f"({tmp_path} at step 5, trained on chip 17, which is left out)" in out


def test_gate_judges_the_run_that_was_started_last(tmp_path, capsys):
    logdir = tmp_path / "run"
    for slope, step in ((0.1, 500), (4.0, 100)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the second run sets the first one aside
            writer = start_run(logdir)
        writer.curve(curve(slope), step)
        writer.close()
    options = ["--sigma", "0.1", "--target", "0.9", "--yield", "0.5"]
    code, out = gate(logdir, capsys, *options)
    assert (code, strict(out)["step"]) == (1, 100)
    assert gate(tmp_path / "run.1", capsys, *options)[0] == 0


def test_a_truncated_run_is_read_with_a_warning_of_one_line(tmp_path, capsys):
    log(tmp_path / "run", [(1, curve(1.0)), (2, curve(0.5))])
    (events,) = (tmp_path / "run").iterdir()
    events.write_bytes(events.read_bytes()[:-20])
    assert main(["gate", str(tmp_path / "run"), "--sigma", "0.1", "--target", "0.5", "--yield", "0.5"]) == 0
    err = capsys.readouterr().err
    assert err.startswith(f"warning: {events}: ")
    assert err.count("\n") == 1
