"""The program: its exit codes, one line for whatever is wrong, and help."""

import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import limpet
import limpet.tensorboard
from limpet.cli import main

CHECK = "check config.yaml"
MODEL = "check config.yaml --model nets_of_test_cli"
TREE = "check config.yaml --tree"
CHIPS = "chips params.npz --config config.yaml -o out.npz"
GATE = "gate RUNS/logs/plain --yield 0.9"
BUILT = "chips nets_of_test_cli:build --config config.yaml -o out.npz --chip 1"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("chekc config.yaml", "invalid choice: 'chekc'"),
        ("check", "the following arguments are required: CONFIG (see limpet check --help)"),
        ("check missing.yaml", "missing.yaml: there is no such file"),
        ("check params.npz", "params.npz: a configuration is a .yaml, .yml or .toml file"),
        (f"{CHECK} --modle nets:build", "unrecognized arguments: --modle"),
        (f"{CHECK} --set seed=1", "unrecognized arguments: --set"),
        (f"{CHECK} hardware.kernels.sigma", "override 'hardware.kernels.sigma': expected KEY=VALUE"),
        (f"{CHECK} hardware.kernels.sigma=", "the value is missing; hardware.kernels.sigma=null takes an entry back"),
        (f"{CHECK} hardware.kernels.sigma=[", "override 'hardware.kernels.sigma=[': the value cannot be parsed"),
        (f"{CHECK} seed=-1 hardware.kernels.sgima=3", "2 problems: seed = -1: allowed is a number >= 0; hardware.kern"),
        (f"{CHECK} hardware.biases=null", "training.frozen.parts[0] = 'biases': no such part of the hardware"),
        (f"{CHECK} --model nets", "nets: expected MODULE:NAME, such as nets:build"),
        (f"{CHECK} --model=", ": expected MODULE:NAME"),
        (
            f"{CHECK} --model ./nets_of_test_cli:build",
            "a script is named with its ending, such as ./nets_of_test_cli.py",
        ),
        (f"{CHECK} --model no.py:build", "there is no file no.py"),
        (f"{CHECK} --model no_such_nets:build", "'no_such_nets' cannot be imported: ModuleNotFoundError"),
        (f"{CHECK} --model raises_of_test_cli:net", "raises_of_test_cli.py:1)"),
        (f"{MODEL}:biuld", "has no 'biuld'; did you mean 'build'?"),
        (f"{MODEL}:array", "needed is a Rockpool module or a tree of arrays"),
        (f"{MODEL}:number", "is of type int; needed is a Rockpool module or a tree"),
        (f"{MODEL}:twice", "nets_of_test_cli:twice: two leaves share the path 'dense/kernel'"),
        (f"{MODEL}:needs_two", "takes config, size; allowed is a function of no argument, or of the configuration"),
        (f"{MODEL}:fails", "nets_of_test_cli:fails: failed: RuntimeError: no weights here ("),
        (f"{MODEL}:leaves", "nets_of_test_cli:leaves: failed: SystemExit: 4 ("),
        (f"{MODEL}:build --tree params.npz", "argument --tree: not allowed with argument --model"),
        (f"{TREE} missing.npz", "missing.npz: there is no such file"),
        (f"{TREE} config.yaml", "config.yaml: is no .npz of arrays by leaf path (is no .npz"),
        (f"{TREE} objects.npz", "objects.npz: is no .npz of arrays by leaf path"),
        (f"{TREE} params.npz hardware.kernels.leaves=[x]", "hardware.kernels.leaves: rule ('x', True) matches no leaf"),
        (
            f"{TREE} params.npz hardware.kernels.leaves=dynapse-weights",
            "'dynapse-weights' selects leaves of a Rockpool module",
        ),
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
        (f"{GATE} --sigma 0.1 --target nan", "--target = nan: allowed is a finite number"),
        (f"{GATE} --sigma 0.1 --yield 1", "argument --yield: 1: allowed is a number between 0 and 1"),
        (f"{GATE} --sigma much", "argument --sigma: invalid float value: 'much'"),
        ("gate RUNS/curve.npz --sigma 0.1 --yield 0.9", "no target of accuracy was logged; give --target"),
        ("chips params.npz", "the following arguments are required: --config, --chip, -o/--output"),
        (f"{CHIPS} --chip -1", "--chip = -1: allowed is a whole number from 0 to 4294967295"),
        (f"{CHIPS} --chip 1.5", "argument --chip: invalid int value: '1.5'"),
        (f"{CHIPS} --chip 1 --seed -1", "--seed = -1: allowed is a whole number"),
        (f"{CHIPS} --chip 1 --sigma -0.1", "--sigma = -0.1: allowed is a number from 0 to 5"),
        (f"{CHIPS} --chip 1 --sigma 10", "--sigma = 10.0: allowed is a number from 0 to 5"),
        (f"{CHIPS} --chip 1 --scale nan", "--scale = nan: allowed is a number from 0 to 1000"),
        (f"{CHIPS} --chip 1 --scale 1e300", "--scale = 1e+300: allowed is a number from 0 to 1000"),
        (f"{CHIPS} --chip 1 --scale 1 --sigma 1", "argument --sigma: not allowed with argument --scale"),
        (f"{CHIPS} --chip 1 --frozen training.frozen=null", "--frozen: config.yaml has no training.frozen"),
        (f"{CHIPS} --chip 1 --frozen training=null", "--frozen: config.yaml has no training.frozen"),
        (f"{BUILT.replace('build', 'shapes')}", "leaf 'dense/bias' is a shape without values"),
        (
            f"{BUILT.replace('build', 'dead')}",
            "nets_of_test_cli:dead: leaf 'dense/kernel' holds NaN or infinite values",
        ),
        (f"{BUILT} --params missing.npz", "missing.npz: there is no such file"),
        (f"{BUILT} --params .", ".: is no Orbax checkpoint: name the directory of a step"),
        (f"{BUILT} --params objects.npz", "objects.npz: is no .npz of arrays by leaf path"),
        ("chips params.npz --config config.yaml --chip 1 -o no/out.npz", "no/out.npz: No such file or directory"),
        ("chips params.npz --config config.yaml --chip 1 -o out.txt", "-o out.txt: give a name that ends in .npz"),
        ("chips params.npz --config config.yaml --chip 1 -o params.npz", "-o params.npz: would overwrite the nominal"),
        (
            f"{BUILT.replace('out.npz', './params.npz')} --params params.npz",
            "-o params.npz: would overwrite the nominal",
        ),
        (
            f"{CHIPS} --chip 1 --sigma 0.1 "
            "'hardware.biases.deviation={kind: deviations_of_test_cli:Offset, volts: 1}' --import-from .",
            "Offset(volts=1.0) has no relative standard deviation",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(command, message, runs, workplace, capsys):
    before = Path("params.npz").read_bytes()
    assert main(shlex.split(command.replace("RUNS", str(runs)))) == 2
    printed = capsys.readouterr()
    assert message.replace("RUNS", str(runs)) in printed.err
    assert printed.err.removeprefix("importing\n").count("\n") == 1
    assert re.match(r"(importing\n)?limpet( \w+)?: error: ", printed.err)
    assert len(printed.err) < 500
    assert printed.out == ""
    assert not Path("out.npz").exists()
    assert Path("params.npz").read_bytes() == before


def test_a_script_whose_name_is_taken_is_refused(workplace, capsys):
    Path("json.py").write_text("tree = {}\n")
    assert main(["check", "config.yaml", "--model", "json.py:tree"]) == 2
    assert "'json' is also the name of a module that is in use; rename the script" in capsys.readouterr().err


def test_an_interrupt_in_the_network_s_own_code_is_130(workplace, capsys):
    assert main(["check", "config.yaml", "--model", "nets_of_test_cli:interrupted"]) == 130
    assert capsys.readouterr().err == "limpet check: interrupted\n"


def test_an_interrupt_is_130(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(limpet.tensorboard, "write_report", interrupted, raising=False)
    assert main(["report", "runs"]) == 130
    assert capsys.readouterr().err == "limpet report: interrupted\n"


FULL = "limpet: error: the output cannot be written (No space left on device)\n"
PASS = "gate CURVE --sigma 0.1 --target 0.5 --yield 0.5"


@pytest.mark.parametrize(
    ("command", "redirected", "code", "said"),
    [
        (PASS, ">&-", 0, ""),
        (f"{PASS} --json", ">&- 2>&-", 0, ""),
        (PASS.replace("0.5 --yield", "2 --yield"), ">&-", 1, ""),
        ("gate CURVE", "2>&-", 2, ""),  # what is wrong is not said on the other stream
        ("--help", ">&-", 0, ""),
        (f"{PASS} --json", "> NOBODY", 141, ""),
        ("--help", "> NOBODY", 141, ""),
        ("gate CURVE", "2> NOBODY", 141, ""),
        (PASS, "> /dev/full", 2, FULL),
        ("--help", "> /dev/full", 2, FULL),
        (f"UNBUFFERED {PASS}", "> /dev/full", 2, FULL),
        (f"UNBUFFERED {PASS}", "> NOBODY", 141, ""),
    ],
)
def test_closed_pipes_and_full_disks_end_without_a_traceback(command, redirected, code, said, runs, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    read, write = os.pipe()
    os.close(read)
    line = f"exec {sys.executable} -W error -m limpet {command} {redirected}"
    line = line.replace("CURVE", str(runs / "curve.npz")).replace(" NOBODY", f"&{write}")
    line = line.replace("-m limpet UNBUFFERED", "-u -m limpet")
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, pass_fds=[write])
    os.close(write)
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "", said)


def test_light_commands_start_without_jax(runs):
    plain, robust = runs / "logs/plain", runs / "logs/robust"
    (runs / "gates.yaml").write_text(f"[{{run: {plain}, sigma: 0.1, target: 0.5, yield: 0.5}}]")
    code = f"""
import sys, limpet.tensorboard
from limpet.cli import main
limpet.tensorboard.write_report = lambda sources, output, target: None
assert main(["--help"]) == 0
assert main(["gate", {str(plain)!r}, "--sigma", "0.1", "--target", "0.5", "--yield", "0.5"]) == 0
assert main(["gate", "--file", {str(runs / "gates.yaml")!r}]) == 0
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


def test_the_version_is_the_package_s_and_that_of_its_draws(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"limpet {limpet.__version__}, draws version {limpet.DRAWS_VERSION}\n", "")


@pytest.mark.parametrize("command", ["check", "compare", "gate", "chips", "fit", "report"])
def test_help_has_examples_and_fits_eighty_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"examples:\n  limpet {command} ", out)
    if command in {"check", "chips"}:
        assert max(map(len, out.splitlines())) <= 86  # one path in the examples is longer


def test_help_of_the_program(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n    {command} " in out for command in ("check", "compare", "gate", "chips", "fit", "report"))
    assert max(map(len, out.splitlines())) <= 80
