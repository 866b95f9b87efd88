"""`limpet chips`: a chip by its number, of trained or untrained values."""

import json
import zipfile
from pathlib import Path

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from logged_curves import strict

import limpet
from limpet.cli import main

CHIPS = ["chips", "params.npz", "--config", "config.yaml", "-o", "out.npz"]
NETWORK = (
    "hardware: {w: {leaves: dynapse-weights, sigma: 0.2}, c: {leaves: dynapse-frozen, sigma: 0.1}}\n"
    "training: {dynamic: {parts: [w]}, frozen: {chip: 7, seed: 2, scale: 1.5}}\n"
)


class Dense(nnx.Module):
    def __init__(self):
        self.dense = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        self.norm = nnx.BatchNorm(2, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def trained():
    """Values that `dense` of the test's network could have been trained to."""
    return {"kernel": np.linspace(0.1, 1, 6, dtype=np.float32).reshape(3, 2), "bias": np.float32([0.5, 2])}


def read(path="out.npz") -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def comment(path="out.npz") -> dict:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.comment)


def same(values, expected) -> bool:
    return set(values) == set(expected) and all(np.array_equal(values[path], expected[path]) for path in expected)


def flat(tree, prefix=""):
    """Values by leaf path of nested dicts."""
    leaves = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


def test_a_chip_is_the_one_that_curves_show(workplace, capsys):
    config, tree = limpet.load_config("config.yaml"), read("params.npz")
    assert main([*CHIPS, "--chip", "7", "--chip", "4", "--scale", "2", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert found["deviating"] == ["dense/bias", "dense/kernel"]
    assert [(chip["chip"], chip["seed"], chip["output"]) for chip in found["chips"]] == [
        (7, 5, "out_7.npz"),
        (4, 5, "out_4.npz"),
    ]
    assert (found["scale"], found["generator"], found["untrained"]) == (2.0, "fast", [])
    measured = limpet.robustness_curve(
        lambda tree, _: tree["dense/kernel"].sum() + tree["dense/bias"].sum(),
        tree,
        config.recipe(tree),
        scales=[2.0],
        chips=limpet.Chips(8, seed=5),
    )
    for chip in (7, 4):
        values = read(f"out_{chip}.npz")
        assert set(values) == set(tree)
        total = values["dense/kernel"].sum() + values["dense/bias"].sum()
        assert total == pytest.approx(measured.values[0, chip], rel=1e-6)


def test_the_archive_says_which_chip_of_which_hardware_it_is(workplace, capsys):
    assert main([*CHIPS, "--chip", "7", "--scale", "1.5", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert comment() == {
        "chip": 7,
        "seed": 5,
        "generator": "fast",
        "scale": 1.5,
        "fingerprint": found["fingerprint"],
        "draws_version": limpet.DRAWS_VERSION,
    }
    assert main([*CHIPS, "--chip", "8", "--json", "generator=threefry2x32"]) == 0
    same_hardware = comment()
    assert same_hardware["fingerprint"] == found["fingerprint"]
    assert same_hardware["generator"] == "threefry2x32"
    assert main([*CHIPS, "--chip", "8", "hardware.biases.deviation=gaussian", "hardware.biases.sigma=0.1"]) == 0
    assert comment()["fingerprint"] != found["fingerprint"]


@pytest.mark.parametrize("generator", ["fast", "threefry2x32"])
def test_a_chip_of_a_tree_is_the_recipe_s_to_the_last_bit(generator, workplace):
    config, tree = limpet.load_config("config.yaml", f"generator={generator}"), read("params.npz")
    recipe = config.recipe(tree)
    assert main([*CHIPS, "--chip", "17", "--scale", "1.5", f"generator={generator}"]) == 0
    assert same(read(), recipe(limpet.virtual_chip(5, 17, generator), tree, 1.5))
    assert same(read(), limpet.freeze(tree, config.hardware, chip=17, seed=5, generator=generator, condition=1.5))


def test_a_sigma_is_that_of_every_leaf(workplace):
    tree = read("params.npz")
    assert main([*CHIPS, "--chip", "17", "--sigma", "0.2"]) == 0
    recipe = limpet.load_config("config.yaml").recipe(tree).with_sigma(0.2)
    assert same(read(), recipe(limpet.virtual_chip(5, 17), tree))
    assert comment()["scale"] == 1.0


def test_frozen_parts_are_those_of_freeze(workplace, capsys):
    options = ["--config", "config.yaml", "--frozen", "--chip", "3", "-o", "out.npz", "training.frozen.scale=2"]
    assert main(["chips", "nets_of_test_cli:build", *options]) == 0
    assert capsys.readouterr().out == (
        "out.npz: chip 3 of seed 5, 4 leaves, 1 deviating\n"
        "values are untrained, as nets_of_test_cli:build builds them; give trained ones by --params\n"
    )
    from nets_of_test_cli import params  # pyright: ignore[reportMissingImports]

    config = limpet.load_config("config.yaml", "training.frozen.scale=2")
    assert same(read(), flat(config.freeze(params)))
    np.testing.assert_array_equal(read()["dense/kernel"], params["dense"]["kernel"])
    assert main(["chips", "nets_of_test_cli:build", *options, "--scale", "1"]) == 0
    assert same(read(), flat(config.freeze(params, condition=1)))


def test_chips_are_of_the_seed_that_robustness_names(workplace, capsys):
    assert main([*CHIPS, "--chip", "3", "--json", "robustness.seed=9"]) == 0
    assert strict(capsys.readouterr().out)["chips"][0]["seed"] == 9
    named = read()
    assert main([*CHIPS, "--chip", "3", "--seed", "9"]) == 0
    assert same(read(), named)
    assert main([*CHIPS, "--chip", "3"]) == 0
    assert (read()["dense/kernel"] != named["dense/kernel"]).all()


def test_a_rockpool_network(workplace, monkeypatch, dynapse_net):
    Path("config.yaml").write_text(NETWORK)
    config = limpet.load_config("config.yaml")
    monkeypatch.setattr(limpet, "net_of_test_cli", dynapse_net, raising=False)
    command = ["chips", "limpet:net_of_test_cli", "--config", "config.yaml", "--chip", "7", "-o", "out.npz"]
    assert main(command) == 0
    expected = flat(limpet.attributes(limpet.freeze(dynapse_net, config.hardware, chip=7)))
    written = read()
    assert set(written) <= set(expected)
    assert set(config.recipe(dynapse_net).paths) <= set(written)
    assert all(np.array_equal(written[path], expected[path]) for path in written)
    assert main([*command, "--frozen"]) == 0
    expected = flat(limpet.attributes(config.freeze(dynapse_net)))
    assert all(np.array_equal(value, expected[path]) for path, value in read().items())
    assert comment()["seed"] == 2
    assert comment()["scale"] == 1.5
    assert np.array_equal(read()["1_DynapSim/w_rec"], limpet.attributes(dynapse_net)["1_DynapSim"]["w_rec"])


def test_an_nnx_module(workplace, monkeypatch):
    model = Dense()
    monkeypatch.setattr(limpet, "net_of_test_cli", model, raising=False)
    command = ["chips", "limpet:net_of_test_cli", "--config", "config.yaml", "--chip", "7", "-o", "out.npz"]
    assert main(command) == 0
    chip = limpet.freeze(model, limpet.load_config("config.yaml").hardware, seed=5, chip=7)
    written = read()
    assert {"dense/kernel", "dense/bias", "norm/mean"} <= set(written)
    for path, value in written.items():
        module, name = path.split("/")
        assert np.array_equal(value, getattr(getattr(chip, module), name).get_value())


# --- trained values


def written_with(params, workplace, capsys, model="nets_of_test_cli:build"):
    command = ["chips", model, "--config", "config.yaml", "--params", str(params), "--chip", "7", "-o", "out.npz"]
    assert main(command) == 0
    return capsys.readouterr().out


def chip_of(trained, workplace):
    """Chip 7 of the test's network with trained values in `dense`, by leaf path."""
    from nets_of_test_cli import params  # pyright: ignore[reportMissingImports]

    tree = {**params, "dense": {name: jnp.asarray(value) for name, value in trained.items()}}
    recipe = limpet.load_config("config.yaml").recipe(tree)
    return flat(recipe(limpet.virtual_chip(5, 7), tree))


def saved_as(kind, trained, folder):
    """The trained values in one of the forms in which training scripts leave them."""
    tree = {"dense": trained}
    moments = jax.tree.map(np.zeros_like, tree)
    if kind == "npz":
        np.savez(folder / "trained.npz", **{f"dense/{name}": value for name, value in trained.items()})
        return folder / "trained.npz"
    if kind == "npz of a state":
        state = {f"params/dense/{name}": value for name, value in trained.items()}
        state |= {f"mu/dense/{name}": value * 0 for name, value in trained.items()}
        np.savez(folder / "trained.npz", **state)
        return folder / "trained.npz"
    if kind == "pytree":
        ocp.PyTreeCheckpointer().save(folder / "step", tree)
        return folder / "step"
    if kind == "standard":
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder / "step", tree)
        return folder / "step"
    if kind == "state":
        state = {"opt_state": [{"mu": moments, "nu": moments}], "params": tree, "step": np.int32(3)}
        ocp.PyTreeCheckpointer().save(folder / "step", state)
        return folder / "step"
    with ocp.CheckpointManager(folder / "manager") as manager:
        for step, values in ((9, moments), (10, tree)):  # by number, 10 is the newest
            if kind == "manager":
                manager.save(step, args=ocp.args.StandardSave(values))
            else:
                items = {"params": values, "moments": moments}
                saved = {name: ocp.args.StandardSave(item) for name, item in items.items()}
                manager.save(step, args=ocp.args.Composite(**saved, notes=ocp.args.JsonSave({"a": 1})))
        manager.wait_until_finished()
    return folder / "manager"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", ["npz", "npz of a state", "pytree", "standard", "state", "manager", "manager of several items"]
)
def test_trained_values(kind, trained, workplace, capsys):
    out = written_with(saved_as(kind, trained, workplace), workplace, capsys)
    assert "untrained" not in out
    assert "holds 2 leaves; nets_of_test_cli:build gives the others: head/kernel, head/step" in out
    assert same(read(), chip_of(trained, workplace))


def test_values_of_an_nnx_module_as_orbax_writes_them(workplace, capsys, monkeypatch):
    model, other = Dense(), Dense()
    other.dense.kernel[...] = other.dense.kernel[...] + 1
    _, state = nnx.split(other)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(workplace / "step", nnx.to_pure_dict(state))
    monkeypatch.setattr(limpet, "net_of_test_cli", model, raising=False)
    out = written_with(workplace / "step", workplace, capsys, "limpet:net_of_test_cli")
    assert "untrained" not in out
    chip = limpet.freeze(other, limpet.load_config("config.yaml").hardware, seed=5, chip=7)
    assert np.array_equal(read()["dense/kernel"], chip.dense.kernel.get_value())


def test_untrained_values_are_said_to_be(workplace, capsys):
    command = ["chips", "nets_of_test_cli:build", "--config", "config.yaml", "--chip", "7", "-o", "out.npz", "--json"]
    assert main(command) == 0
    untrained = strict(capsys.readouterr().out)["untrained"]
    assert untrained == ["dense/bias", "dense/kernel", "head/kernel", "head/step"]
    assert main([*command, "--params", "params.npz"]) == 0
    assert strict(capsys.readouterr().out)["untrained"] == ["head/kernel", "head/step"]


def test_inputs_are_not_written_over(workplace, capsys):
    before = Path("params.npz").read_bytes()
    Path("link.npz").symlink_to("params.npz")
    np.savez("params_1.npz", **read("params.npz"))
    for model, output, *options in (
        ("params.npz", "params.npz"),
        ("params.npz", "link.npz"),
        ("params.npz", str(workplace / "params.npz")),
        ("params_1.npz", "params.npz", "--chip", "2"),  # chip 1 of several goes to params_1.npz
        ("nets_of_test_cli:build", "params.npz", "--params", "params.npz"),
    ):
        assert main(["chips", model, "--config", "config.yaml", "--chip", "1", *options, "-o", output]) == 2
        assert "would overwrite the nominal values that it is made of" in capsys.readouterr().err
    assert Path("params.npz").read_bytes() == before


def test_chips_hold_what_npz_can_hold(workplace, capsys):
    Path("odd_of_test_cli.py").write_text(
        "import jax, jax.numpy as jnp\n"
        "tree = {'file': jnp.ones(4, jnp.bfloat16), 'key': jax.random.key(0), 'activation': jnp.tanh, 'n': 3}\n"
    )
    options = ["--config", "config.yaml", "--chip", "0", "-o", "out.npz", "training={}"]
    overrides = ["hardware.kernels.leaves=file", "hardware.biases=null"]
    assert main(["chips", "odd_of_test_cli:tree", *options, *overrides]) == 0
    assert "left out as no numbers: activation, key" in capsys.readouterr().out
    values = read()
    assert sorted(values) == ["file", "n"]
    assert values["file"].dtype == np.float32
    assert (jnp.asarray(values["file"], jnp.bfloat16) == values["file"]).all()  # no value was changed
    assert (values["file"] != 1).any()


def test_a_chip_is_a_tree_that_check_reads(workplace, capsys):
    assert main([*CHIPS, "--chip", "0"]) == 0
    assert main(["check", "config.yaml", "--tree", "out.npz"]) == 0
    assert "2 of 2 leaves of out.npz deviate" in capsys.readouterr().out


@pytest.mark.parametrize("leaf", [np.ones(2, ">f8"), np.ones(2, np.longdouble), np.zeros(2, "V2"), np.array("text")])
def test_trees_of_types_that_jax_does_not_know(tmp_path, capsys, leaf):
    (tmp_path / "config.yaml").write_text("hardware: {w: {leaves: 'w', sigma: 0.1}}")
    np.savez(tmp_path / "tree.npz", w=np.ones(2, ">f4"), other=leaf)
    output = tmp_path / "out.npz"
    arguments = ["chips", str(tmp_path / "tree.npz"), "--config", str(tmp_path / "config.yaml"), "--chip", "1"]
    assert main([*arguments, "-o", str(output)]) == 0
    with np.load(output) as written:
        assert written["w"].shape == (2,)
        assert ("other" in written) == (leaf.dtype.kind == "f")
    assert ("left out as no numbers: other" in capsys.readouterr().out) == (leaf.dtype.kind != "f")


def test_a_chip_at_a_time_is_the_one_of_a_curve_over_times(workplace, capsys):
    drift = "{kind: drift, exponent: 0.06, spread: 0.03}"
    Path("config.yaml").write_text(f"hardware: {{w: {{leaves: '*/kernel', deviation: {drift}}}}}\n")
    tree, recipe = read("params.npz"), limpet.load_config("config.yaml").recipe(read("params.npz"))
    for time, seconds in (("1 year", 31536000.0), ("3600", 3600.0)):
        assert main([*CHIPS, "--chip", "17", "--time", time]) == 0
        assert same(read(), recipe(limpet.virtual_chip(0, 17), tree, limpet.Condition(time=seconds)))
        assert comment()["time"] == seconds
