"""The command line: what it prints, its exit codes, and one line for whatever is wrong."""

import json
import math
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import limpet
import limpet.tensorboard
from limpet.cli import main
from limpet.tensorboard import CurveWriter

SIGMAS = [0.0, 0.1, 0.2]
NORMAL = np.random.default_rng(0).normal(size=(len(SIGMAS), 40))


def curve(slope, metric="accuracy", chips=40, **extra):
    values = 1 - slope * np.array(SIGMAS)[:, None] * (1 + 0.3 * NORMAL[:, :chips])
    return limpet.RobustnessCurve(metric, SIGMAS, values, **extra)


def log(logdir, curves, target=None):
    writer = CurveWriter(logdir)
    for step, found in curves:
        writer.curve(found, step, target)
    writer.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, each with two evaluations of an accuracy and the second one of a loss too; and saved curves."""
    root = tmp_path_factory.mktemp("runs")
    log(root / "logs/plain", [(100, curve(2.0)), (200, curve(1.0))], target=0.9)
    loss = curve(1.0, "loss", higher_is_better=False)
    log(root / "logs/robust", [(100, curve(1.0)), (200, curve(0.5)), (200, loss)])
    curve(0.5).save(root / "curve.npz")
    (root / "empty").mkdir()
    (root / "broken.npz").write_bytes((root / "curve.npz").read_bytes()[:100])
    (root / "notes.txt").write_text("no curve")
    return root


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


# --- gate


def gate(run, capsys, *options, json_too=True):
    code = main(["gate", str(run), *options, *(["--json"] if json_too else [])])
    return code, capsys.readouterr().out


def test_gate_agrees_with_the_curve(runs, capsys):
    code, out = gate(runs / "logs/plain", capsys, "--sigma", "0.1", "--target", "0.9", "--yield", "0.5")
    found = strict(out)
    expected = curve(1.0).yield_at(0.9)[1]
    assert (found["yield"], found["low"], found["high"]) == (expected.fraction, expected.low, expected.high)
    assert found["step"] == 200
    assert found["metric"] == "accuracy"
    assert found["chips_passed"] == round(40 * expected.fraction)
    assert found["passed"] == (expected.low >= 0.5)
    assert code == (0 if found["passed"] else 1)


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


# --- compare


def test_compare_agrees_with_limpet_compare(runs, capsys):
    assert main(["compare", str(runs / "logs/plain"), str(runs / "curve.npz"), "--confidence", "0.9", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    expected = limpet.compare(curve(1.0), curve(0.5), 0.9)
    assert [row["sigma"] for row in found["rows"]] == SIGMAS
    assert [row["difference"] for row in found["rows"]] == expected.difference.tolist()
    assert [row["low"] for row in found["rows"]] == expected.low.tolist()
    assert [row["mean_a"] for row in found["rows"]] == curve(1.0).mean().tolist()
    assert [row["mean_b"] for row in found["rows"]] == curve(0.5).mean().tolist()
    assert [row["worse"]["high"] for row in found["rows"]] == [worse.high for worse in expected.worse]
    assert (found["a"]["step"], found["b"]["step"]) == (200, None)


def test_compare_at_a_step(runs, capsys):
    paths = [str(runs / "logs/plain"), str(runs / "logs/robust")]
    assert main(["compare", *paths, "--metric", "accuracy", "--step", "100", "--json"]) == 0
    rows = strict(capsys.readouterr().out)["rows"]
    assert [row["difference"] for row in rows] == limpet.compare(curve(2.0), curve(1.0)).difference.tolist()


def test_compare_prints_a_table_that_grep_can_read(runs, capsys):
    assert main(["compare", str(runs / "logs/plain"), str(runs / "logs/robust")]) == 0  # accuracy is all they share
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line.split() for line in lines if line.strip().startswith("0.2 ")]
    assert row[1:4] == [f"{curve(1.0).mean()[2]:.3f}", f"{curve(0.5).mean()[2]:.3f}", f"+{row[3][1:]}"]
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)
    assert f"B: {runs / 'logs/robust'} at step 200" in lines


def test_compare_means_are_of_the_chips_compared(tmp_path, capsys):
    curve(1.0).save(tmp_path / "many.npz")
    curve(0.5, chips=25).save(tmp_path / "few.npz")
    assert main(["compare", str(tmp_path / "many.npz"), str(tmp_path / "few.npz"), "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert found["chips"] == 25
    for row in found["rows"]:
        assert row["mean_b"] - row["mean_a"] == pytest.approx(row["difference"], abs=1e-12)
    assert main(["compare", str(tmp_path / "many.npz"), str(tmp_path / "few.npz")]) == 0
    assert "the first 25 virtual chips of seed 0, which both hold" in capsys.readouterr().out


def test_what_is_not_finite_is_still_json(tmp_path, capsys):
    dead = np.array([[1.0, 0.9], [np.nan, np.nan]])
    limpet.RobustnessCurve("accuracy", [0.0, 0.1], dead).save(tmp_path / "dead.npz")
    path = str(tmp_path / "dead.npz")
    assert main(["compare", path, path, "--json"]) == 0
    row = strict(capsys.readouterr().out)["rows"][1]
    assert (row["mean_a"], row["low"], row["high"], row["failed_a"]) == ("NaN", "-Infinity", "Infinity", 2)
    assert math.isnan(float(row["difference"]))
    assert main(["compare", path, path]) == 0
    assert "A: 2 evaluations failed (NaN or infinite)" in capsys.readouterr().out


def test_a_truncated_run_is_read_with_a_warning_of_one_line(tmp_path, capsys):
    log(tmp_path / "run", [(1, curve(1.0)), (2, curve(0.5))])
    (events,) = (tmp_path / "run").iterdir()
    events.write_bytes(events.read_bytes()[:-20])
    assert main(["gate", str(tmp_path / "run"), "--sigma", "0.1", "--target", "0.5", "--yield", "0.5"]) == 0
    err = capsys.readouterr().err
    assert err.startswith(f"warning: {events}: ")
    assert err.count("\n") == 1


# --- report


def test_report_hands_over_its_paths(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(limpet.tensorboard, "write_report", lambda *paths: calls.append(paths), raising=False)
    assert main(["report", "runs", "-o", "out.html"]) == 0
    assert calls == [("runs", "out.html")]
    assert capsys.readouterr().out == "report: out.html\n"


def test_an_interrupt_is_130(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(limpet.tensorboard, "write_report", interrupted, raising=False)
    assert main(["report", "runs"]) == 130
    assert capsys.readouterr().err == "limpet report: interrupted\n"


# --- bad input

GATE = "gate RUNS/logs/plain --yield 0.9"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "compare RUNS/logs/plain RUNS/missing",
            "RUNS/missing: there is no such file or directory; needed is a directory that holds the",
        ),
        ("compare RUNS/logs/plain RUNS/notes.txt", "RUNS/notes.txt: holds no run; needed is a directory that holds"),
        ("compare RUNS/logs/plain RUNS/broken.npz", "RUNS/broken.npz: holds no robustness curve"),
        ("compare RUNS/logs/plain RUNS/empty", "RUNS/empty: no robustness curves were logged there"),
        (
            "compare RUNS/logs RUNS/logs/plain",
            "RUNS/logs: holds 2 runs, plain, robust; name one, such as RUNS/logs/plain",
        ),
        ("compare RUNS/logs/plain RUNS/logs/robust --metric f1", "--metric f1: RUNS/logs/plain holds accuracy"),
        ("compare RUNS/logs/robust RUNS/logs/robust", "RUNS/logs/robust holds accuracy, loss: name one by --metric"),
        (
            "compare RUNS/logs/plain RUNS/logs/plain --step 7",
            "--step 7: RUNS/logs/plain: evaluations are at steps 100, 200",
        ),
        ("compare RUNS/curve.npz RUNS/curve.npz --step 7", "it is one saved curve, without steps"),
        (f"{GATE} --sigma 0.15", "--sigma 0.15: not measured by RUNS/logs/plain; measured are 0, 0.1, 0.2"),
        (f"{GATE} --sigma 0.1 --confidence 95", "argument --confidence: 95: allowed is a number between 0 and 1"),
        (f"{GATE} --sigma 0.1 --target nan", "--target nan: allowed is a finite number"),
        (f"{GATE} --sigma 0.1 --yield 1", "argument --yield: 1: allowed is a number between 0 and 1"),
        (f"{GATE} --sigma much", "argument --sigma: invalid float value: 'much'"),
        ("gate RUNS/curve.npz --sigma 0.1 --yield 0.9", "no target of accuracy was logged; give --target"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(command, message, runs, workplace, capsys):
    assert main(command.replace("RUNS", str(runs)).split(" ") if command else []) == 2
    printed = capsys.readouterr()
    assert message.replace("RUNS", str(runs)) in printed.err
    assert printed.err.count("\n") == 1
    assert re.match(r"limpet( \w+)?: error: ", printed.err)
    assert printed.out == ""
    assert not Path("out.npz").exists()


def test_a_logdir_that_is_refused_is_one_line(monkeypatch, capsys):
    def refuse(logdir, output):
        raise limpet.LogdirError(f"{logdir}: there is no such directory")

    monkeypatch.setattr(limpet.tensorboard, "write_report", refuse, raising=False)
    assert main(["report", "nowhere"]) == 2
    assert capsys.readouterr().err == "limpet report: error: nowhere: there is no such directory\n"


# --- the program


def test_light_commands_start_without_jax(runs):
    plain, robust = runs / "logs/plain", runs / "logs/robust"
    code = f"""
import sys, limpet.tensorboard
from limpet.cli import main
limpet.tensorboard.write_report = lambda logdir, output: None
assert main(["--help"]) == 0
assert main(["gate", {str(plain)!r}, "--sigma", "0.1", "--target", "0.5", "--yield", "0.5"]) == 0
assert main(["compare", {str(plain)!r}, {str(robust)!r}]) == 0
assert main(["report", {str(runs)!r}]) == 0
assert not {{"jax", "rockpool", "pydantic", "tensorflow"}} & set(sys.modules)
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_python_m_limpet_and_the_script_are_the_same_program(runs):
    command = [sys.executable, "-m", "limpet", "gate", str(runs / "missing"), "--sigma", "0.1", "--yield", "0.5"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.startswith("limpet gate: error: ")
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert pkgutil.resolve_name(pyproject["project"]["scripts"]["limpet"]) is main


@pytest.mark.parametrize("command", ["compare", "gate", "report"])
def test_every_command_has_help_with_examples(command, capsys):
    assert main([command, "--help"]) == 0
    assert re.search(rf"examples:\n  limpet {command} ", capsys.readouterr().out)
