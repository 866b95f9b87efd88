"""A configuration as the hyperparameters of a run."""

import jax.numpy as jnp

import limpet
from limpet.config._hparams import flattened, hparams_of

HARDWARE = {"a": {"leaves": ["*/kernel", "x"], "percent_deviation": 0.3}, "b": {"leaves": "y", "sigma": 0.2}}


def row(training, **others):
    return hparams_of(limpet.Config.model_validate({"hardware": HARDWARE, "training": training, **others}))


def test_a_configuration_is_one_flat_row():
    standard = row({}, train={"rate": 1e-3, "sizes": [4, 2]})
    assert standard["train.rate"] == 1e-3
    assert standard["train.sizes"] == "[4, 2]"
    assert standard["hardware.a.leaves"] == "*/kernel, x"
    assert standard["hardware.a.deviation.kind"] == "gaussian"
    assert standard["hardware.a.deviation.sigma"] == 0.1
    assert standard["training.dynamic.scale"] is None
    mismatch = row({"dynamic": {"parts": ["a"], "scale": 2}, "frozen": {"chip": "fresh"}}, seed=3)
    assert mismatch["training.dynamic.scale"] == 2.0
    assert mismatch["training.dynamic.parts"] == "a"
    assert mismatch["training.frozen.parts"] == "b"
    assert mismatch["training.frozen.chip"] == "fresh"
    assert mismatch["seed"] == 3
    assert not [name for name in mismatch if name.startswith("tensorboard")]
    assert all(isinstance(value, bool | int | float | str | None) for value in {**standard, **mismatch}.values())


def test_a_product_has_a_column_for_each_of_its_numbers():
    product = limpet.Product(inputs=limpet.Converter(bits=8, range="dynamic"), wire=1e-6)
    flat = hparams_of(limpet.Config(hardware=limpet.Hardware(a=limpet.Part("*", product=product))))
    assert {key: value for key, value in flat.items() if key.startswith("hardware.")} == {
        "hardware.a.leaves": "*",
        "hardware.a.deviation.kind": "exact",
        "hardware.a.product.inputs.bits": 8,
        "hardware.a.product.inputs.range": "dynamic",
        "hardware.a.product.wire": 1e-6,
    }


def test_all_runs_have_the_same_columns():
    # Whichever run's columns TensorBoard takes, what the others redraw is among them.
    both = {"dynamic": {"parts": ["a"]}, "frozen": {"chip": 1}}
    rows = [row(training) for training in (None, {}, {"dynamic": {}}, {"frozen": {"chip": 1}}, both)]
    assert len({frozenset(columns) for columns in rows}) == 1


def test_a_prototype_of_many_leaves_is_one_column():
    params = {f"layer_{index}": jnp.ones(1) for index in range(50)}
    recipe = limpet.Mismatch(limpet.prototype(params, ("*", True)), limpet.Gaussian(0.1))
    assert len(hparams_of(limpet.Config(hardware=recipe))) < 40


def test_nested_values_are_flattened_to_what_tensorboard_takes():
    assert flattened({"a": {"b": 1, "c": {}}, "d": None, 2: (1, 2)}) == {
        "a.b": 1,
        "a.c": "{}",
        "d": None,
        "2": "(1, 2)",
    }
