"""A configuration as the hyperparameters of a run."""

import limpet
from limpet.config._hparams import flattened, hparams_of


def test_a_configuration_is_one_flat_row():
    standard = limpet.Config.model_validate(
        {"robustness": {"targets": ["*"]}, "train": {"rate": 1e-3, "sizes": [4, 2]}}
    )
    mismatch = limpet.Config.model_validate(
        {"dynamic": {"sigma": 0.2, "targets": ["*/kernel"], "schedule": {"kind": "linear", "steps": 5}}, "seed": 3}
    )
    rows = [hparams_of(config) for config in (standard, mismatch)]
    assert rows[0]["train.rate"] == 1e-3
    assert rows[0]["train.sizes"] == "[4, 2]"
    assert rows[0]["dynamic.sigma"] is None
    assert rows[1]["dynamic.sigma"] == 0.2
    assert rows[1]["dynamic.schedule.kind"] == "linear"
    assert rows[1]["seed"] == 3
    assert not [name for name in rows[1] if name.startswith("tensorboard")]
    # so that whichever run's columns TensorBoard takes, the others' strengths are among them
    assert {"dynamic.sigma", "frozen.sigma", "frozen.chip"} <= rows[0].keys() & rows[1].keys()


def test_nested_values_are_flattened_to_what_tensorboard_takes():
    assert flattened({"a": {"b": 1, "c": {}}, "d": None, 2: (1, 2)}) == {
        "a.b": 1,
        "a.c": "{}",
        "d": None,
        "2": "(1, 2)",
    }
