"""`limpet check`: what a configuration resolves to, and which leaves of a network deviate."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from logged_curves import strict
from rich.console import Console

import limpet
from limpet.cli import main

NETWORK = "hardware: {w: {leaves: dynapse-weights, sigma: 0.2}, c: {leaves: dynapse-frozen, sigma: 0.1}}\n"


def lines_of(capsys) -> list[str]:
    """What was printed, each line with single spaces."""
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_without_a_network(workplace, capsys):
    assert main(["check", "config.yaml", "training.frozen=null"]) == 0
    lines = lines_of(capsys)
    assert lines[0] == "config.yaml with training.frozen=null: valid"
    assert "hardware kernels gaussian, sigma 0.1, on */kernel" in lines
    assert "biases log-normal, sigma 0.05, on */bias" in lines
    assert "training dynamic kernels: afresh at every step" in lines
    assert "strength linear: sigma 0 at step 0, 0.2 from step 300 (scale 2)" in lines
    assert "nominal biases: no mismatch while training" in lines
    assert "robustness chips 10 of seed 5, every 500 steps" in lines
    assert "parts all: kernels, biases" in lines
    assert "scale 0, 1" in lines
    assert lines[-1] == "Give --model, --tree or --task to see which leaves deviate."


def test_training_without_mismatch(workplace, capsys):
    assert main(["check", "config.yaml", "training={}"]) == 0
    assert "training nominal kernels, biases: no mismatch while training" in lines_of(capsys)
    assert main(["check", "config.yaml", "training=null"]) == 0
    assert "training redraws not said; a callback needs training: {dynamic: {}}" in " ".join(lines_of(capsys))


def test_json_without_a_network(workplace, capsys):
    assert main(["check", "config.yaml", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert found["leaves"] is None
    assert found["training"] == {
        "dynamic": ["kernels"],
        "frozen": ["biases"],
        "nominal": [],
        "chip": 3,
        "chip_seed": 5,
    }
    assert found["measured"] == {
        "parts": ["kernels", "biases"],
        "scales": [0.0, 1.0],
        "chips": 10,
        "seed": 5,
        "left_out": 3,
    }
    assert limpet.Config.model_validate(found["resolved"]) == limpet.load_config("config.yaml")


@pytest.mark.parametrize(
    ("overrides", "chip", "said"),
    [
        ([], 3, "10 of seed 5, every 500 steps; chip 3, which training meets, is left out"),
        (["training.frozen.chip=10"], None, "10 of seed 5, every 500 steps"),
        (["training.frozen.seed=6"], None, "10 of seed 5, every 500 steps"),
        (["training.frozen.chip=fresh"], None, "10 of seed 5, every 500 steps"),
        (["training.frozen.seed=6", "robustness.seed=6"], 3, "10 of seed 6, every 500 steps; chip 3, which"),
    ],
)
def test_the_chip_that_training_meets_is_not_among_the_measured_ones(overrides, chip, said, workplace, capsys):
    assert main(["check", "config.yaml", *overrides, "--json"]) == 0
    assert strict(capsys.readouterr().out)["measured"]["left_out"] == chip
    assert main(["check", "config.yaml", *overrides]) == 0
    (line,) = [line for line in lines_of(capsys) if line.startswith("robustness chips")]
    assert line.startswith(f"robustness chips {said}")
    assert ("is left out" in line) == (chip is not None)


def test_which_leaves_deviate(workplace, capsys):
    assert main(["check", "config.yaml", "--model", "nets_of_test_cli:build"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "3 of 4 leaves of nets_of_test_cli:build deviate" in lines
    rows = [re.split(r"  +", line.strip()) for line in lines if re.match(r" \w+/", line)]
    assert rows == [
        ["dense/bias", "2", "1 array of 1 x 2", "float32", "biases", "chip 3"],
        ["dense/kernel", "3x2", "1 array of 3 x 2", "float32", "kernels", "dynamic"],
        ["head/kernel", "2", "1 array of 1 x 2", "float32", "kernels", "dynamic"],
    ]
    assert "1 stays as it is: head/step" in lines
    assert main(["check", "config.yaml", "training={}", "--model", "nets_of_test_cli:build"]) == 0
    assert [line.split()[-1] for line in lines_of(capsys) if line.startswith("dense/")] == ["nominal", "nominal"]


def test_on_which_arrays_leaves_sit_and_what_a_metric_makes_of_them(workplace, capsys):
    stack = "hardware.kernels={leaves: layers, array: {stack: [0], rows: 2}, sigma: 0.1}"
    options = [stack, "hardware.biases={leaves: shift, sigma: 0.1}", "--task", "nets_of_test_cli:task"]
    assert main(["check", "config.yaml", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [re.split(r"  +", line.strip()) for line in lines if re.match(r" (leaf|layers|shift) ", line)]
    assert rows == [
        ["leaf", "shape", "arrays", "used as", "dtype", "part", "training"],
        ["layers", "5x4x4", "10 arrays of 2 x 4", "5 arrays of 4 x 4", "float32", "kernels", "dynamic"],
        ["shift", "5x4", "1 array of 5 x 4", "scanned over axis 0 and added", "float32", "biases", "chip 3"],
    ]
    assert main(["check", "config.yaml", *options, "--json"]) == 0
    layers, _, unused = strict(capsys.readouterr().out)["leaves"]
    assert (layers["arrays"], layers["used"]) == ("10 arrays of 2 x 4", "5 arrays of 4 x 4")
    assert (unused["path"], unused["arrays"], unused["used"]) == ("unused", None, None)


def test_the_product_of_a_part_is_shown(workplace, capsys):
    product = "hardware.kernels={leaves: '*/kernel', product: {inputs: {bits: 8, range: dynamic}}}"
    assert main(["check", "config.yaml", product]) == 0
    assert "hardware kernels exact, inputs: 8 bits, range dynamic, on */kernel" in lines_of(capsys)
    assert main(["check", "config.yaml", product, "--model", "nets_of_test_cli:build", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    words = {leaf["path"]: (leaf["deviation"], leaf["product"]) for leaf in found["leaves"]}
    assert words["dense/kernel"] == ("exact", "inputs: 8 bits, range dynamic")
    assert words["dense/bias"][1] is None
    assert found["resolved"]["hardware"]["kernels"]["product"] == {"inputs": {"bits": 8, "range": "dynamic"}}


def test_a_task_without_a_metric_is_refused(workplace, capsys):
    assert main(["check", "config.yaml", "--task", "nets_of_test_cli:build"]) == 2
    needed = "needed are tree, metric_fn, batch"
    assert f"nets_of_test_cli:build: gave no tree, metric_fn, batch; {needed}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["params", "build", "talks", "Namespace.build", "shapes"])
def test_trees_and_functions_alike(name, workplace, capsys):
    assert main(["check", "config.yaml", "--model", f"nets_of_test_cli:{name}", "--json"]) == 0
    printed = capsys.readouterr()
    leaves = strict(printed.out)["leaves"]
    assert [leaf["path"] for leaf in leaves] == ["dense/bias", "dense/kernel", "head/kernel", "head/step"]
    assert [leaf["part"] for leaf in leaves] == ["biases", "kernels", "kernels", None]
    assert [leaf["training"] for leaf in leaves] == ["chip 3", "dynamic", "dynamic", "nominal"]
    assert printed.err == ("building\n" if name == "talks" else "")
    assert str(workplace) not in sys.path


def test_the_configuration_with_overrides_wherever_they_stand(workplace, capsys):
    options = ["robustness.chips=4", "--model", "nets_of_test_cli:from_config", "seed=6", "--json", "seed=7"]
    options += ["train={started: 2026-01-31, rate: .inf}"]  # what YAML knows and JSON does not
    assert main(["check", "config.yaml", *options]) == 0
    found = strict(capsys.readouterr().out)
    kernel = next(leaf for leaf in found["leaves"] if leaf["path"] == "dense/kernel")
    assert kernel["shape"] == [4, 2]
    assert (kernel["deviation"], kernel["sigma"]) == ("gaussian, sigma 0.1", 0.1)
    assert found["resolved"]["seed"] == 7
    assert found["resolved"]["train"] == {"started": "2026-01-31", "rate": "Infinity"}


def test_a_saved_tree(workplace, capsys):
    assert main(["check", "config.yaml", "--tree", "params.npz", "--json"]) == 0
    leaves = strict(capsys.readouterr().out)["leaves"]
    assert {leaf["path"]: (leaf["part"], leaf["sigma"]) for leaf in leaves} == {
        "dense/bias": ("biases", 0.05),
        "dense/kernel": ("kernels", 0.1),
    }


def test_a_deviation_of_ones_own_is_found_where_an_option_says(workplace, capsys):
    kind = "{kind: 'deviations_of_test_cli:Offset', volts: 0.2}"
    own = [f"hardware.biases.deviation={kind}", "--import-from", "."]
    assert main(["check", "config.yaml", *own, "--tree", "params.npz", "--json"]) == 0
    assert str(workplace) not in sys.path
    printed = capsys.readouterr()
    bias, kernel = strict(printed.out)["leaves"]
    assert (bias["deviation"], bias["sigma"]) == ("deviations_of_test_cli:Offset, volts 0.2", None)
    assert kernel["sigma"] == 0.1
    assert printed.err == "importing\n"
    assert main(["check", "config.yaml", *own, "training.frozen=null"]) == 0
    assert not [line for line in lines_of(capsys) if line.startswith("sigma")]  # the parts share none
    own[0] = "hardware.biases.deviation={kind: 'deviations_of_test_cli:Offset'}"
    assert main(["check", "config.yaml", *own]) == 2
    assert "hardware.biases.deviation.volts: is missing" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check config.yaml", "check config.yaml --model nets_of_test_cli:build"])
def test_a_configuration_alone_runs_nothing_of_the_current_folder(command, workplace, capsys):
    """It may be a stranger's, and so may be what lies beside it."""
    (workplace / "deviations_of_test_cli.py").write_text("raise SystemExit('was run')")
    kind = "hardware.biases.deviation={kind: 'deviations_of_test_cli:Offset', volts: 0.2}"
    assert main([*command.split(), kind]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "ModuleNotFoundError" in line
    assert line.endswith("put its folder on PYTHONPATH, or give that to a command by --import-from")
    assert "deviations_of_test_cli" not in sys.modules
    ran = subprocess.run(
        [sys.executable, "-m", "limpet", *command.split(), kind],  # by -m, Python itself looks in the current folder
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, "ModuleNotFoundError" in ran.stderr) == (2, True)


def test_a_rockpool_network(workplace, capsys, monkeypatch, dynapse_net):
    Path("config.yaml").write_text(f"{NETWORK}training: {{dynamic: {{parts: [w]}}, frozen: {{chip: fresh}}}}\n")
    monkeypatch.setattr(limpet, "net_of_test_cli", dynapse_net, raising=False)
    assert main(["check", "config.yaml", "--model", "limpet:net_of_test_cli", "--json"]) == 0
    found = {leaf["path"]: leaf for leaf in strict(capsys.readouterr().out)["leaves"]}
    for path, part, sigma, training in (
        ("1_DynapSim/w_rec", "w", 0.2, "dynamic"),
        ("1_DynapSim/Iref", "c", 0.1, "fresh chip"),
        ("1_DynapSim/dt", None, None, "nominal"),
    ):
        assert (found[path]["part"], found[path]["sigma"], found[path]["training"]) == (part, sigma, training)
    assert [path for path, leaf in found.items() if leaf["unread"]] == ["1_DynapSim/If_nmda"]
    assert main(["check", "config.yaml", "--model", "limpet:net_of_test_cli"]) == 0
    lines = lines_of(capsys)
    assert any(line.startswith("1_DynapSim/If_nmda * ") for line in lines)
    assert "* registered by the network, but its simulation never reads it" in lines


def test_the_example(monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[2])
    options = ["--model", "examples/dynapse_frozen_noise.py:network", "train.neurons_per_class=1", "train.classes=3"]
    assert main(["check", "configs/dynapse.yaml", *options]) == 0
    assert "26 of 28 leaves of examples/dynapse_frozen_noise.py:network deviate" in capsys.readouterr().out


def test_leaves_selected_twice_are_refused(workplace, capsys):
    assert main(["check", "config.yaml", "--tree", "params.npz", "hardware.biases.leaves=*"]) == 2
    assert "leaf 'dense/kernel' is selected by 'kernels' and by 'biases'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("schedule", "shown"),
    [
        ("constant, factor: 0.5", "constant: sigma 0.1 at every step (scale 2)"),
        ("cosine, steps: 9", "cosine: sigma 0 at step 0, 0.2 from step 9 (scale 2)"),
        ("linear, steps: 9, begin: 3", "linear: sigma 0 until step 3, 0.2 from step 12 (scale 2)"),
        (
            "piecewise, boundaries: [5, 9], factors: [0, 1, 2]",
            "piecewise: sigma 0 from step 0, 0.2 from step 5, 0.4 from step 9 (scale 2)",
        ),
    ],
)
def test_every_schedule(schedule, shown, workplace, capsys):
    assert main(["check", "config.yaml", f"training.dynamic.schedule={{kind: {schedule}}}"]) == 0
    assert f"strength {shown}" in lines_of(capsys)


def test_parts_of_several_sigmas_are_shown_by_scale(workplace, capsys):
    assert main(["check", "config.yaml", "training={dynamic: {scale: 3}}"]) == 0
    assert "strength constant: scale 3 at every step" in lines_of(capsys)
    assert main(["check", "config.yaml", "training={dynamic: {scale: 3}}", "hardware.biases.deviation.sigma=0.1"]) == 0
    lines = lines_of(capsys)
    assert "strength constant: sigma 0.3 at every step (scale 3)" in lines
    assert "sigma 0, 0.1" in lines


def test_targets_directions_and_tags(workplace, capsys):
    overrides = ["robustness.target={accuracy: 0.9, loss: 2}", "robustness.higher_is_better={loss: false}"]
    overrides += ["tensorboard={prefix: a/, on_error: warn}", "train=[1]"]
    assert main(["check", "config.yaml", *overrides]) == 0
    lines = lines_of(capsys)
    assert "yield at accuracy 0.9, loss 2" in lines
    assert "better is loss lower" in lines
    assert "written every 100 steps, tags begin with a/, training goes on if that fails" in lines
    assert "train keys [1] (read by your own loop)" in lines


@pytest.mark.parametrize("columns", [40, 80])
def test_tables_fit_a_terminal(columns, workplace, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["check", "config.yaml", "--tree", "params.npz"]) == 0
    out = capsys.readouterr().out
    assert "\x1b[" in out
    table = re.sub(r"\x1b\[[0-9;]*m", "", out).partition("deviate")[2]
    assert all(Console().width >= len(line) for line in table.splitlines())
    assert "…" not in table  # paths are folded, not cut
