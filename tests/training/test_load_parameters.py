"""Trained parameters from a file: which of its values are a model's, and which files are refused."""

import sys

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import limpet

TREE = {"dense": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}, "step": 0}
KERNEL = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def save(tmp_path):
    def save(values, name="trained.npz"):
        np.savez(tmp_path / name, **values)
        return tmp_path / name

    return save


def test_a_part_of_a_tree_is_replaced(save):
    loaded = limpet.load_parameters(TREE, save({"dense/kernel": KERNEL, "other": np.ones(1)}))
    np.testing.assert_array_equal(loaded["dense"]["kernel"], KERNEL)
    assert loaded["dense"]["bias"] is TREE["dense"]["bias"]
    assert loaded["step"] == 0
    assert not TREE["dense"]["kernel"].any()


@pytest.mark.parametrize(
    ("prefixes", "taken"),
    [
        (["params"], "params"),
        (["opt_state/0/mu", "opt_state/0/nu", "params"], "params"),
        (["ema_params", "params"], "params"),
        (["opt_state/0/mu/params", "state/params"], "state/params"),
        (["", "opt_state/0/mu"], ""),
        (["model", "params"], "params"),
        (["anything"], "anything"),
    ],
)
def test_of_a_training_state_the_parameters_are_taken(prefixes, taken, save):
    stored = {}
    for number, prefix in enumerate(prefixes):
        for name, value in (("kernel", KERNEL), ("bias", np.ones(2, np.float32))):
            stored[f"{prefix}/dense/{name}".lstrip("/")] = value + number
    loaded = limpet.load_parameters(TREE, save(stored))
    np.testing.assert_array_equal(loaded["dense"]["kernel"], KERNEL + prefixes.index(taken))


def test_a_prefix_that_holds_more_of_the_leaves_is_taken(save):
    stored = {"params/dense/bias": np.ones(2), "net/dense/bias": np.ones(2) * 2, "net/dense/kernel": KERNEL}
    assert (limpet.load_parameters(TREE, save(stored))["dense"]["bias"] == 2).all()


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"x/y": np.ones(2)}, "holds none of the model's leaves; it holds x/y; the model has dense/bias"),
        ({"dense/kernel": np.ones((2, 3))}, r"leaf 'dense/kernel' has shape \(2, 3\), where the model's has \(3, 2\)"),
        ({"dense/bias": np.array(["a", "b"])}, "leaf 'dense/bias' holds <U1, where the model's holds real numbers"),
        ({"dense/bias": np.ones(2, int)}, "leaf 'dense/bias' holds int64"),
        ({"dense/bias": np.ones(2) * 1j}, "leaf 'dense/bias' holds complex128"),
        (
            {"ema/dense/bias": np.ones(2), "net/dense/bias": np.ones(2)},
            "holds the model's leaves 2 times, under ema/, net/; save the trained ones alone, or under the name params",
        ),
        ({}, "holds no arrays"),
        ({"a": np.array([None])}, "is no .npz of arrays by leaf path"),
    ],
)
def test_what_is_not_the_model_s_is_refused(stored, message, save):
    with pytest.raises(limpet.LimpetError, match=f"trained.npz: {message}"):
        limpet.load_parameters(TREE, save(stored))


@pytest.mark.parametrize(
    "prefixes",
    [
        ["opt_state/0/trace"],
        ["0/trace"],
        ["0/mu", "0/nu"],
        ["opt_state/inner_state/0/mu"],
        ["optimizer/state"],
        [".opt_state/.trace"],
        ["exp_avg"],
    ],
)
def test_an_optimizer_s_state_is_no_weights(prefixes, save):
    stored = {f"{prefix}/dense/{name}": TREE["dense"][name] for prefix in prefixes for name in ("kernel", "bias")}
    alone = f"holds the model's leaves under {prefixes[0]}/.* alone, which is an optimizer's state and no weights"
    with pytest.raises(limpet.LimpetError, match=alone):
        limpet.load_parameters(TREE, save({**stored, "step": np.ones(())}))
    stored["state/dense/bias"] = np.ones(2, np.float32)  # fewer leaves, but weights
    loaded = limpet.load_parameters(TREE, save(stored))
    assert loaded["dense"]["bias"].tolist() == [1.0, 1.0]
    assert loaded["dense"]["kernel"] is TREE["dense"]["kernel"]


def test_the_state_of_an_optimizer_as_optax_has_it(tmp_path):
    params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}
    for optimizer in (optax.sgd(0.1, momentum=0.9), optax.adam(0.1), optax.MultiSteps(optax.rmsprop(0.1), 2)):
        limpet.save_parameters(tmp_path / "state.npz", {"opt_state": optimizer.init(params)})
        with pytest.raises(limpet.LimpetError, match="an optimizer's state and no weights"):
            limpet.load_parameters(params, tmp_path / "state.npz")
        limpet.save_parameters(tmp_path / "state.npz", optimizer.init(params))
        with pytest.raises(limpet.LimpetError, match="an optimizer's state and no weights"):
            limpet.load_parameters(params, tmp_path / "state.npz")


@pytest.mark.parametrize(
    ("stored", "stays", "holds"),
    [
        ({"dense/kernel": KERNEL, "dense/shift": np.ones(2)}, "dense/bias", "dense/shift"),
        ({"params/Dense_0/kernel": KERNEL, "params/dense/bias": np.ones(2)}, "dense/kernel", "Dense_0/kernel"),
    ],
)
def test_a_leaf_that_was_renamed_is_told(stored, stays, holds, save):
    with pytest.warns(UserWarning, match=f"has no {stays}, which stay as they are in the model; .* has not: {holds}."):
        limpet.load_parameters(TREE, save(stored))


@pytest.mark.parametrize(
    "stored",
    [
        {"dense/kernel": KERNEL},  # a part
        {"dense/kernel": KERNEL, "dense/bias": np.ones(2), "dense/shift": np.ones(2)},  # more, beside all of them
        {"dense/kernel": KERNEL, "dense/kernel/gain": np.ones(2)},  # what calibration gives a chip
        {"dense/kernel": KERNEL, "opt_state/0/mu/dense/bias": np.ones(2)},
        {"dense/kernel": KERNEL, "other": np.ones(5), "count": np.ones(2, int)},
    ],
)
def test_a_part_of_the_leaves_is_no_reason_to_warn(stored, save):
    assert (limpet.load_parameters(TREE, save(stored))["dense"]["kernel"] == KERNEL).all()


def test_files_that_are_none(tmp_path, save):
    whole = save({"dense/kernel": KERNEL})
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:100])
    for name, message in (("cut.npz", "is no .npz"), ("no.npz", "there is no such file")):
        with pytest.raises(limpet.LimpetError, match=message):
            limpet.load_parameters(TREE, tmp_path / name)
    (tmp_path / "3").mkdir()
    with pytest.raises(limpet.LimpetError, match="is no Orbax checkpoint: name the directory of a step"):
        limpet.load_parameters(TREE, tmp_path)
    (tmp_path / "3" / "_METADATA").write_text("{")
    with pytest.raises(limpet.LimpetError, match="cannot be read by Orbax"):
        limpet.load_parameters(TREE, tmp_path)


@pytest.mark.parametrize("absent", ["orbax", "orbax.checkpoint"])
def test_without_orbax_it_is_said_how_to_install_it(absent, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "orbax"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(limpet.LimpetError, match=r"install Orbax: python -m pip install 'limpet\[orbax\]'"):
        limpet.load_parameters(TREE, tmp_path)


def test_values_are_no_wider_than_the_model_s(save):
    tree = {"half": jnp.zeros(2, jnp.bfloat16), "single": jnp.zeros(2)}
    loaded = limpet.load_parameters(tree, save({"half": np.float32([1, 2]), "single": np.float64([0.1, 2])}))
    assert loaded["half"].dtype == jnp.bfloat16
    assert loaded["single"].dtype == np.float32


def test_an_nnx_module(save):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    loaded = limpet.load_parameters(model, save({"kernel": KERNEL}))
    np.testing.assert_array_equal(loaded.kernel.get_value(), KERNEL)
    assert (model.kernel.get_value() != KERNEL).any()


def test_a_rockpool_network(save, dynapse_net):
    w_rec = jnp.full((4, 4), 0.5)
    loaded = limpet.load_parameters(dynapse_net, save({"params/1_DynapSim/w_rec": w_rec}))
    attributes = limpet.attributes(loaded)
    np.testing.assert_array_equal(attributes["1_DynapSim"]["w_rec"], w_rec)
    before = limpet.attributes(dynapse_net)
    same = jax.tree.map(np.array_equal, before["1_DynapSim"], attributes["1_DynapSim"])
    assert [name for name, equal in same.items() if not equal] == ["w_rec"]
