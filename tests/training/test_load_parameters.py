"""Trained parameters from a file: which of its values are a model's, and which files are refused."""

import sys

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
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
