"""The command line: what it prints, its exit codes, and one line for whatever is wrong."""

import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from logged_curves import strict
from rich.console import Console

import limpet
import limpet.tensorboard
from limpet.cli import main

CONFIG = """
seed: 5
dynamic: {percent_deviation: 0.3, targets: ['*/kernel'], schedule: {kind: linear, steps: 300}}
frozen: {sigma: 0.05, chip: 17, targets: ['*/bias']}
robustness: {sigmas: [0.0, 0.1], chips: 10}
"""
NETS = """
import jax
import jax.numpy as jnp
params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones(2), "step": 3}}
shapes = jax.eval_shape(lambda: params)
number = 3
array = jnp.ones(3)
def build():
    return params
def from_config(config):
    return {"dense": {"kernel": jnp.full((config.robustness.chips, 2), 2.0), "bias": jnp.ones(2)}}
def needs_two(config, size):
    return params
def fails():
    raise RuntimeError("no weights\\nhere")
class Namespace:
    build = staticmethod(build)
"""


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A current directory with a configuration, a module that builds networks, and saved parameters."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "nets_of_test_cli.py").write_text(NETS)
    (tmp_path / "raises_of_test_cli.py").write_text("import no_such_module_anywhere\n")
    np.savez("params.npz", **{"dense/kernel": np.ones((3, 2), np.float32), "dense/bias": np.ones(2, np.float32)})
    np.savez("objects.npz", a=np.array([None, {}], dtype=object))
    yield tmp_path
    sys.modules.pop("nets_of_test_cli", None)


# --- check


def test_check_without_a_network(workplace, capsys):
    assert main(["check", "config.yaml", "frozen=null"]) == 0
    out = capsys.readouterr().out
    assert "config.yaml with frozen=null: valid" in out
    assert "gaussian, sigma 0.1 = percent_deviation 0.3 / sigma_rule 3" in out
    assert "linear: sigma 0 at step 0, 0.1 from step 300" in out
    assert "Give --model or --tree" in out


def test_check_shows_which_leaves_deviate(workplace, capsys):
    assert main(["check", "config.yaml", "--model", "nets_of_test_cli:build"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "3 of 4 leaves of nets_of_test_cli:build deviate" in lines
    rows = {line.split()[0]: line.split()[1:] for line in lines if re.match(r" \w+/", line)}
    assert rows == {
        "dense/bias": ["2", "float32", "frozen", "0.05", "no"],
        "dense/kernel": ["3x2", "float32", "dynamic", "0.1", "yes"],
        "head/kernel": ["2", "float32", "dynamic", "0.1", "yes"],
    }
    assert "1 stay as they are: head/step" in lines


@pytest.mark.parametrize("name", ["params", "build", "Namespace.build"])
def test_check_takes_trees_and_functions_alike(name, workplace, capsys):
    assert main(["check", "config.yaml", "--model", f"nets_of_test_cli:{name}", "--json"]) == 0
    assert [leaf["path"] for leaf in strict(capsys.readouterr().out)["leaves"]] == [
        "dense/bias",
        "dense/kernel",
        "head/kernel",
        "head/step",
    ]
    assert str(workplace) not in sys.path


def test_check_hands_over_the_configuration_with_overrides_wherever_they_stand(workplace, capsys):
    options = ["robustness.chips=4", "--model", "nets_of_test_cli:from_config", "seed=6", "--json", "seed=7"]
    options += ["train={started: 2026-01-31, rate: .inf}"]  # what YAML knows and JSON does not
    assert main(["check", "config.yaml", *options]) == 0
    found = strict(capsys.readouterr().out)
    kernel = next(leaf for leaf in found["leaves"] if leaf["path"] == "dense/kernel")
    assert kernel["shape"] == [4, 2]
    assert kernel["sections"] == {"dynamic": limpet.load_config("config.yaml").dynamic.sigma}
    assert found["resolved"]["seed"] == 7
    assert found["resolved"]["train"] == {"started": "2026-01-31", "rate": "Infinity"}


def test_check_of_a_saved_tree(workplace, capsys):
    assert main(["check", "config.yaml", "--tree", "params.npz", "--json"]) == 0
    leaves = strict(capsys.readouterr().out)["leaves"]
    assert {leaf["path"]: (leaf["sections"], leaf["measured"]) for leaf in leaves} == {
        "dense/bias": ({"frozen": 0.05}, False),  # a plain tree cannot tell a fixed chip's nominal values
        "dense/kernel": ({"dynamic": pytest.approx(0.1)}, True),
    }


def test_check_of_a_rockpool_network(workplace, capsys, monkeypatch, dynapse_net):
    Path("config.yaml").write_text("dynamic: {sigma: 0.2}\nfrozen: {sigma: 0.1, chip: fresh}\n")
    monkeypatch.setattr(limpet, "net_of_test_cli", dynapse_net, raising=False)
    assert main(["check", "config.yaml", "--model", "limpet:net_of_test_cli", "--json"]) == 0
    found = {leaf["path"]: leaf for leaf in strict(capsys.readouterr().out)["leaves"]}
    assert found["1_DynapSim/w_rec"]["sections"] == {"dynamic": 0.2}
    assert found["1_DynapSim/Iref"]["sections"] == {"frozen": 0.1}
    assert found["1_DynapSim/dt"]["sections"] == {}
    assert [path for path, leaf in found.items() if leaf["unread"]] == ["1_DynapSim/If_nmda"]
    assert main(["check", "config.yaml", "--model", "limpet:net_of_test_cli"]) == 0
    assert "1_DynapSim/If_nmda *" in capsys.readouterr().out


def test_check_of_the_example(monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[2])
    options = ["--model", "examples/dynapse_frozen_noise.py:network", "train.neurons_per_class=1", "train.classes=3"]
    assert main(["check", "configs/dynapse.yaml", *options]) == 0
    assert "26 of 28 leaves of examples/dynapse_frozen_noise.py:network deviate" in capsys.readouterr().out


def test_check_refuses_leaves_selected_twice(workplace, capsys):
    Path("config.yaml").write_text(CONFIG.replace("chip: 17, targets: ['*/bias']", "chip: fresh, targets: ['*']"))
    assert main(["check", "config.yaml", "--tree", "params.npz"]) == 2
    assert "leaf 'dense/kernel' is selected twice" in capsys.readouterr().err


@pytest.mark.parametrize("schedule", ["constant, factor: 0.5", "cosine, steps: 9", "linear, steps: 9, begin: 3"])
def test_check_shows_every_schedule(schedule, workplace, capsys):
    shown = {
        "constant": "constant: sigma 0.05 at every step",
        "cosine": "cosine: sigma 0 at step 0, 0.1 from step 9",
        "linear": "linear: sigma 0 until step 3, 0.1 from step 12",
    }
    assert main(["check", "config.yaml", f"dynamic.schedule={{kind: {schedule}}}"]) == 0
    assert shown[schedule.partition(",")[0]] in capsys.readouterr().out


def test_check_shows_piecewise_schedules_and_targets_by_metric(workplace, capsys):
    piecewise = "dynamic.schedule={kind: piecewise, boundaries: [5, 9], factors: [0, 1, 2]}"
    by_metric = ["robustness.target={accuracy: 0.9, loss: 2}", "robustness.higher_is_better={loss: false}"]
    assert main(["check", "config.yaml", piecewise, *by_metric]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "piecewise: sigma 0 from step 0, 0.1 from step 5, 0.2 from step 9" in out
    assert "yield at accuracy 0.9, loss 2" in out
    assert "better is loss lower" in out


def test_tables_fit_a_terminal(workplace, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["check", "config.yaml", "--tree", "params.npz"]) == 0
    out = capsys.readouterr().out
    assert "\x1b[" in out
    table = re.sub(r"\x1b\[[0-9;]*m", "", out).partition("deviate")[2]
    assert all(Console().width >= len(line) for line in table.splitlines())
    assert "…" not in table  # paths are folded, not cut


# --- chips


def test_chips_are_the_ones_that_curves_show(workplace, capsys):
    config, tree = limpet.load_config("config.yaml"), dict(np.load("params.npz"))
    options = ["--config", "config.yaml", "--chip", "17", "--chip", "3", "--sigma", "0.2", "-o", "out.npz"]
    assert main(["chips", "params.npz", *options, "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert found["deviating"] == ["dense/kernel"]
    assert [(chip["chip"], chip["seed"], chip["output"]) for chip in found["chips"]] == [
        (17, 5, "out_17.npz"),
        (3, 5, "out_3.npz"),
    ]
    strengths = [0.2]
    measured = limpet.robustness_curve(
        lambda tree, _: tree["dense/kernel"].sum(),
        tree,
        config.chip_recipe(tree),
        sigmas=strengths,
        chips=18,
        seed=5,
    )
    for chip in (17, 3):
        values = np.load(f"out_{chip}.npz")
        assert set(values.files) == set(tree)
        assert values["dense/kernel"].sum() == pytest.approx(measured.values[0, chip], rel=1e-6)
        np.testing.assert_array_equal(values["dense/bias"], tree["dense/bias"])


def test_chips_of_the_frozen_section_are_those_of_freeze(workplace, capsys):
    options = ["--config", "config.yaml", "--frozen", "--chip", "17", "-o", "out.npz"]
    assert main(["chips", "nets_of_test_cli:build", *options]) == 0
    assert capsys.readouterr().out == "out.npz: chip 17 of seed 5, 4 leaves, 1 deviating\n"
    from nets_of_test_cli import params  # pyright: ignore[reportMissingImports]

    expected = limpet.freeze(params, limpet.load_config("config.yaml"))
    np.testing.assert_array_equal(np.load("out.npz")["dense/bias"], expected["dense"]["bias"])
    np.testing.assert_array_equal(np.load("out.npz")["dense/kernel"], params["dense"]["kernel"])
    assert main(["chips", "out.npz", *options[:-1], "other.npz", "--seed", "6", "frozen.sigma=0.2"]) == 0
    assert (np.load("other.npz")["dense/bias"] != np.load("out.npz")["dense/bias"]).all()


def test_chips_are_of_the_seed_that_robustness_names(workplace, capsys):
    command = ["chips", "params.npz", "--config", "config.yaml", "--chip", "3", "-o", "out.npz", "--json"]
    assert main([*command, "robustness.seed=9"]) == 0
    assert strict(capsys.readouterr().out)["chips"][0]["seed"] == 9
    named = np.load("out.npz")["dense/kernel"]
    assert main([*command, "--seed", "9"]) == 0
    np.testing.assert_array_equal(np.load("out.npz")["dense/kernel"], named)
    assert main(command) == 0
    assert (np.load("out.npz")["dense/kernel"] != named).all()


def test_chips_of_a_rockpool_network(workplace, capsys, monkeypatch, dynapse_net):
    Path("config.yaml").write_text("dynamic: {sigma: 0.2}\nfrozen: {sigma: 0.1, chip: fresh}\n")
    monkeypatch.setattr(limpet, "net_of_test_cli", dynapse_net, raising=False)
    assert main(["chips", "limpet:net_of_test_cli", "--config", "config.yaml", "--chip", "2", "-o", "out.npz"]) == 0
    recipe = limpet.load_config("config.yaml").chip_recipe(dynapse_net)
    expected = limpet.attributes(limpet.freeze(dynapse_net, recipe, chip=2))
    for name in ("w_rec", "Iref", "dt"):
        np.testing.assert_array_equal(np.load("out.npz")[f"1_DynapSim/{name}"], expected["1_DynapSim"][name])


def test_chips_hold_what_npz_can_hold(workplace, capsys):
    Path("odd_of_test_cli.py").write_text(
        "import jax, jax.numpy as jnp\n"
        "tree = {'file': jnp.ones(4, jnp.bfloat16), 'key': jax.random.key(0), 'activation': jnp.tanh, 'n': 3}\n"
    )
    options = ["--config", "config.yaml", "--chip", "0", "-o", "out.npz"]
    overrides = ["dynamic.targets=[file]", "frozen=null"]
    assert main(["chips", "odd_of_test_cli:tree", *options, *overrides]) == 0
    assert "left out as no numbers: activation, key" in capsys.readouterr().out
    values = np.load("out.npz")
    assert sorted(values.files) == ["file", "n"]
    assert values["file"].dtype == np.float32
    assert (jnp.asarray(values["file"], jnp.bfloat16) == values["file"]).all()  # no value was changed
    assert (values["file"] != 1).any()


# --- bad input

CHIPS = "chips params.npz --config config.yaml -o out.npz"
GATE = "gate RUNS/logs/plain --yield 0.9"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("chekc config.yaml", "invalid choice: 'chekc'"),
        ("check missing.yaml", "missing.yaml: there is no such file"),
        ("check config.yaml --tree missing.npz", "missing.npz: there is no such file"),
        ("check config.yaml --tree config.yaml", "config.yaml: is no .npz file"),
        ("check config.yaml --tree objects.npz", "objects.npz: is no .npz of arrays by leaf path"),
        ("check config.yaml dynamic.sigma", "override 'dynamic.sigma': expected KEY=VALUE"),
        ("check config.yaml dynamic.sigma=[", "override 'dynamic.sigma=[': the value cannot be parsed"),
        ("check config.yaml seed=-1 dynamic.sgima=3", "2 problems: seed = -1: input should be greater than or equal"),
        ("check config.yaml --modle nets:build", "unrecognized arguments: --modle"),
        ("check config.yaml --model nets", "nets: expected MODULE:NAME, such as nets:build"),
        ("check config.yaml --model no_such_nets:build", "'no_such_nets' cannot be imported: ModuleNotFoundError"),
        ("check config.yaml --model raises_of_test_cli:net", "raises_of_test_cli.py:1)"),
        ("check config.yaml --model nets_of_test_cli:biuld", "has no 'biuld'; did you mean 'build'?"),
        ("check config.yaml --model nets_of_test_cli:array", "needed is a Rockpool module or a tree of arrays"),
        ("check config.yaml --model=", ": expected MODULE:NAME"),
        ("check config.yaml --model nets_of_test_cli:number", "is of type int; needed is a Rockpool module or a tree"),
        ("check config.yaml --model nets_of_test_cli:needs_two", "takes config, size; allowed is a function of no"),
        ("check config.yaml --model nets_of_test_cli:fails", "failed: RuntimeError: no weights"),
        (
            "check config.yaml --tree params.npz dynamic.targets=[x]",
            "dynamic.targets: rule ('x', True) matches no leaf",
        ),
        ("check config.yaml --tree params.npz dynamic.targets=dynapse", "'dynapse' needs a Rockpool network"),
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
        (f"{CHIPS} --chip -1", "--chip = -1: allowed is an integer from 0 to 4294967295"),
        (f"{CHIPS} --chip 1 --seed -1", "seed = -1: allowed is an integer"),
        (f"{CHIPS} --chip 1 --sigma -0.1", "Gaussian.sigma = -0.1: allowed is a finite number >= 0"),
        (f"{CHIPS} --chip 1 --frozen frozen=null", "--frozen: config.yaml has no frozen section"),
        (f"{CHIPS} --chip 1 robustness.targets=['*']", "how much: give --sigma"),
        (
            f"{CHIPS.replace('params.npz', 'nets_of_test_cli:shapes')} --chip 1",
            "'dense/bias' is a shape without values",
        ),
        ("chips params.npz --config config.yaml --chip 1 -o no/out.npz", "no/out.npz: No such file or directory"),
        ("chips params.npz --config config.yaml --chip 1 -o out.txt", "-o out.txt: give a name that ends in .npz"),
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


def test_an_interrupt_is_130(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(limpet.tensorboard, "write_report", interrupted, raising=False)
    assert main(["report", "runs"]) == 130
    assert capsys.readouterr().err == "limpet report: interrupted\n"


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


@pytest.mark.parametrize("command", ["check", "compare", "gate", "chips", "report"])
def test_every_command_has_help_with_examples(command, capsys):
    assert main([command, "--help"]) == 0
    assert re.search(rf"examples:\n  limpet {command} ", capsys.readouterr().out)
