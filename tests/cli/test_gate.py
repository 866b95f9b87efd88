"""`limpet gate`: agrees with the curve, says why in one line, and knows which run it judges."""

import math
import re
import warnings
from xml.etree import ElementTree

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
    assert code == {"passed": 0, "failed": 1, "too few chips": 3}[answer["outcome"]]


def test_gate_turns_at_the_ends_of_the_interval(runs, capsys):
    expected = curve(1.0).yield_at(0.85)[1]
    assert 0 < expected.low < expected.fraction  # the fraction itself passes either way
    arguments = ["--sigma", "0.1", "--target", "0.85", "--yield"]
    assert gate(runs / "logs/plain", capsys, *arguments, repr(expected.low))[0] == 0
    assert gate(runs / "logs/plain", capsys, *arguments, repr(math.nextafter(expected.low, 1)))[0] == 3
    tighter = [*arguments, repr(expected.low), "--confidence", "0.99"]
    assert gate(runs / "logs/plain", capsys, *tighter)[0] == 3
    assert expected.fraction < expected.high < 1
    for undecided in (expected.fraction, math.nextafter(expected.fraction, 1), expected.high):
        assert gate(runs / "logs/plain", capsys, *arguments, repr(undecided))[0] == 3
    above = repr(math.nextafter(expected.high, 1))
    assert gate(runs / "logs/plain", capsys, *arguments, above)[0] == 1
    assert gate(runs / "logs/plain", capsys, *arguments, above, "--confidence", "0.99")[0] == 3


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
        ("--target 0.5 --yield 0.95", 3, r"^TOO FEW CHIPS: 40 of 40 .* cannot show more: measure 72 at least "),
        ("--target 0.5 --yield 0.999", 3, r"^TOO FEW CHIPS: 40 of 40 .* cannot show more: measure 3688 at least "),
        ("--target 0.9 --yield 0.9", 1, r"^FAIL: \d+ of 40 .* its upper end is below 0.9 \("),
        (
            "--target 0.85 --yield 0.85",
            3,
            r"^TOO FEW CHIPS: 35 of 40 .*; 0.85 lies within it: more chips might tell \(",
        ),
        ("--target 0.85 --yield 0.9", 3, r"^TOO FEW CHIPS: 35 of 40 .*; 0.9 lies within it: more chips might tell"),
        ("--target 0.85 --yield 0.999", 1, r"^FAIL: 35 of 40 .* its upper end is below 0.999 \("),
    ],
)
def test_gate_says_why_in_one_line(options, code, reason, runs, capsys):
    found, out = gate(runs / "logs/plain", capsys, "--sigma", "0.1", *options.split(), json_too=False)
    assert found == code
    assert re.search(reason, out), out
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("chips", "failing", "code"), [(64, 0, 3), (3688, 0, 0), (3688, 1, 3), (500, 40, 1), (64, 1, 3), (64, 4, 1)]
)
def test_too_few_chips_are_told_from_chips_that_fail(chips, failing, code, tmp_path, capsys):
    values = np.ones((1, chips))
    values[0, :failing] = np.nan
    limpet.RobustnessCurve("accuracy", [0.1], values).save(tmp_path / "curve.npz")
    options = ["--sigma", "0.1", "--target", "0.9", "--yield", "0.999"]
    found, out = gate(tmp_path / "curve.npz", capsys, *options)
    assert found == code
    assert strict(out)["outcome"] == {0: "passed", 1: "failed", 3: "too few chips"}[code]
    assert strict(out)["passed"] == (code == 0)


GATES = """
- {run: RUNS/logs/plain, sigma: 0.1, target: 0.5, yield: 0.9}
- {run: RUNS/logs/robust, metric: loss, step: 200, sigma: 0.1, target: 0.95, yield: 0.85}
- {sigma: 1e-1, target: 0.5, yield: 0.95, confidence: 0.99}
"""


def test_several_gates_in_one_file(runs, tmp_path, capsys):
    file, junit = tmp_path / "gates.yaml", tmp_path / "new/gates.xml"
    file.write_text(GATES.replace("RUNS", str(runs)))
    command = ["gate", str(runs / "logs/plain"), "--file", str(file)]
    assert main([*command, "--junit", str(junit)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["PASS", "PASS", "TOO FEW CHIPS"]
    suite = ElementTree.parse(junit).getroot()[0]
    assert dict(suite.items()) == {"name": "limpet gate", "tests": "3", "failures": "0", "errors": "1", "skipped": "0"}
    assert [(case.get("classname"), case.get("name")) for case in suite] == [
        (str(runs / "logs/plain"), "accuracy >= 0.5 at sigma 0.1 on 0.9 of all chips"),
        (str(runs / "logs/robust"), "loss <= 0.95 at sigma 0.1 on 0.85 of all chips"),
        (str(runs / "logs/plain"), "accuracy >= 0.5 at sigma 0.1 on 0.95 of all chips"),
    ]
    assert [[part.tag for part in case] for case in suite] == [["system-out"], ["system-out"], ["error", "system-out"]]
    assert suite[2][0].get("message") == lines[2]
    file.write_text(file.read_text() + f"- {{run: {runs}/logs/plain, sigma: 0.1, target: 0.95, yield: 0.9}}\n")
    assert main([*command, "--json"]) == 1  # one that failed counts more
    answer = strict(capsys.readouterr().out)
    assert (answer["passed"], answer["outcome"]) == (False, "failed")
    assert [each["outcome"] for each in answer["gates"]] == ["passed", "passed", "too few chips", "failed"]
    assert answer["gates"][1]["step"] == 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{run: RUN}", "holds {'run': '"),
        ("[]", "holds []; needed is a list of gates, mappings of run, metric, step"),
        ("[3]", "gate 1: is 3; needed is a mapping of run"),
        (
            "[{run: RUN, sigma: 0.1, yield: 0.9}, {run: RUN, simga: 0.1}]",
            "gate 2: 'simga' is no key of a gate; did you",
        ),
        ("[{run: RUN, sigma: [0.1], yield: 0.9}]", "gate 1: sigma = [0.1]: allowed is a number or a text"),
        ("[{run: RUN, sigma: 0.1, yield: much}]", "gate 1: argument --yield: much: allowed is a number between 0"),
        ("[{run: RUN, sigma: 0.1, yield: true}]", "gate 1: yield = True: allowed is a number or a text"),
        ("[{run: RUN, sigma: 0.1, yield: 95}]", "gate 1: argument --yield: 95: allowed is a number between 0 and 1"),
        (
            "[{run: RUN, sigma: 0.1, scale: 1, yield: 0.9}]",
            "gate 1: argument --scale: not allowed with argument --sigma",
        ),
        (
            "[{run: RUN, yield: 0.9}]",
            "gate 1: the following arguments are required: one of --sigma, --scale and --time",
        ),
        ("[{sigma: 0.1}]", "gate 1: the following arguments are required: RUN, --yield"),
        ("[{run: nowhere, sigma: 0.1, yield: 0.9}]", "gate 1: nowhere: there is no such file or directory"),
        ("[{run: RUN, sigma: 0.15, target: 0.5, yield: 0.9}]", "gate 1: --sigma 0.15: not measured by"),
        (
            "[{run: RUN, sigma: 0.1, sigma: 0.2, yield: 0.9}]",
            "gates.yaml: cannot be parsed: line 1, column",
        ),
    ],
)
def test_a_gate_of_a_file_that_cannot_be_judged_is_named(text, message, runs, tmp_path, capsys):
    (tmp_path / "gates.yaml").write_text(text.replace("RUN", str(runs / "logs/plain")))
    junit = tmp_path / "gates.xml"
    assert main(["gate", "--file", str(tmp_path / "gates.yaml"), "--junit", str(junit)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not junit.exists()


def test_what_a_gate_needs_and_what_stands_in_the_file(runs, tmp_path, capsys):
    for command, message in [
        (["gate"], "required: RUN, one of --sigma, --scale and --time, --yield"),
        (["gate", "RUN", "--sigma", "0.1"], "the following arguments are required: --yield"),
        (["gate", "--file", "gates.yaml", "--yield", "0.9", "--step", "3"], "--step, --yield: with --file, each gate"),
        (["gate", "--file", "gates.toml"], "gates.toml: a configuration is a .yaml or .yml file"),
        (["gate", "--file", "gates.yaml"], "gates.yaml: there is no such file"),
    ]:
        assert main(command) == 2
        assert message in capsys.readouterr().err


def test_junit_holds_what_xml_allows(tmp_path, capsys):
    values = np.ones((1, 9))
    limpet.RobustnessCurve("a <b>\x00\x1b & µ", [0.1], values, higher_is_better=True).save(tmp_path / "odd & <.npz")
    options = ["--sigma", "0.1", "--target", "2", "--yield", "0.9", "--junit", str(tmp_path / "gate.xml")]
    assert gate(tmp_path / "odd & <.npz", capsys, *options)[0] == 1
    (case,) = ElementTree.parse(tmp_path / "gate.xml").getroot()[0]
    assert case.get("name") == "a <b>\ufffd\ufffd & µ >= 2 at sigma 0.1 on 0.9 of all chips"
    assert [(part.tag, part.get("type")) for part in case] == [("failure", "failed"), ("system-out", None)]


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
