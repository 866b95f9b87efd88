"""The program: one line for whatever is wrong, and help."""

import re
import shlex
from pathlib import Path

import pytest

from limpet.cli import main

CHECK = "check config.yaml"
MODEL = "check config.yaml --model nets_of_test_cli"
TREE = "check config.yaml --tree"
CHIPS = "chips params.npz --config config.yaml -o out.npz"
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
        (f"{CHECK} hardware.biases=null", "training.frozen.parts[0] = 'biases': there is no such part of the hardware"),
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
        (f"{TREE} config.yaml", "config.yaml: is no .npz file"),
        (f"{TREE} objects.npz", "objects.npz: is no .npz of arrays by leaf path"),
        (f"{TREE} params.npz hardware.kernels.leaves=[x]", "hardware.kernels.leaves: rule ('x', True) matches no leaf"),
        (f"{TREE} params.npz hardware.kernels.leaves=dynapse-weights", "'dynapse-weights' is a selection of other mod"),
        ("chips params.npz", "the following arguments are required: --config, --chip, -o/--output"),
        (f"{CHIPS} --chip -1", "--chip = -1: allowed is an integer from 0 to 4294967295"),
        (f"{CHIPS} --chip 1.5", "argument --chip: invalid int value: '1.5'"),
        (f"{CHIPS} --chip 1 --seed -1", "--seed = -1: allowed is an integer"),
        (f"{CHIPS} --chip 1 --sigma -0.1", "--sigma = -0.1: allowed is a finite number >= 0"),
        (f"{CHIPS} --chip 1 --sigma 10", "--sigma = 10: allowed is a number from 0 to 5"),
        (f"{CHIPS} --chip 1 --scale nan", "--scale = nan: allowed is a finite number >= 0"),
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
            "'hardware.biases.deviation={kind: deviations_of_test_cli:Offset, volts: 1}'",
            "Offset(volts=1.0) has no relative standard deviation",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(command, message, workplace, capsys):
    before = Path("params.npz").read_bytes()
    assert main(shlex.split(command)) == 2
    printed = capsys.readouterr()
    assert message in printed.err
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


@pytest.mark.parametrize("command", ["check", "chips"])
def test_help_has_examples_and_fits_eighty_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"examples:\n  limpet {command} ", out)
    assert max(map(len, out.splitlines())) <= 86  # one path in the examples is longer


def test_help_of_the_program(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n    {command} " in out for command in ("check", "compare", "gate", "chips", "report"))
    assert max(map(len, out.splitlines())) <= 80
