"""Presets: each says where its numbers are from, and is a hardware. `test_preset_sources.py` compares the numbers."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.config._preset import described_preset, preset_names

SIZES = {"width": 1.0, "length": 1.0}
TREE = {"dense": {"kernel": jnp.linspace(-1.0, 1.0, 60).reshape(6, 10), "bias": jnp.zeros(10)}}


def hardware_of(name):
    return limpet.preset(name, **(SIZES if name.startswith("subthreshold") else {}))


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_says_where_it_is_from_and_is_a_hardware(name):
    preset = described_preset(name)
    assert preset.status in ("measured", "derived", "simulator default", "illustrative")
    assert preset.title
    assert len(preset.source) > 20
    assert preset.measured
    again = limpet.Config.model_validate({"hardware": {"preset": name} | (SIZES if "sub" in name else {})}).hardware
    assert again == hardware_of(name)
    # and what it resolves to can be written into a configuration
    assert limpet.Config.model_validate({"hardware": again.described()}).hardware == again


@pytest.mark.parametrize("name", [name for name in preset_names() if "matrices" in repr(hardware_of(name))])
def test_weights_are_all_matrices(name):
    chip = hardware_of(name).without_products().on(TREE)(limpet.virtual_chip(0, 1), TREE)
    assert not np.array_equal(chip["dense"]["kernel"], TREE["dense"]["kernel"])
    assert chip["dense"]["bias"] is TREE["dense"]["bias"]


@pytest.mark.parametrize("name", ["rockpool-30", "dynapse-virtual", "teili-dpi", "subthreshold-gf180"])
def test_presets_of_dynapse_leave_physical_constants_out(name, dynapse_net):
    recipe = hardware_of(name).on(dynapse_net)
    names = {path.rpartition("/")[2] for path in recipe.paths}
    assert {"Itau_mem", "Iw_ahp", "Ispkthr"} <= names
    assert ("Ut" in names) == (name == "rockpool-30")
    assert "Iscale" not in names


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: limpet.preset("pcm-nandakumar"),
            "there is no preset 'pcm-nandakumar'; did you mean 'pcm-nandakumar2019'",
        ),
        (lambda: limpet.preset("reram-wan2022", after="3days"), "after = '3days': allowed are 1s, 1day, 2days"),
        (lambda: limpet.preset("sonos-agrawal2022", day=6), "day = 6: allowed are 0, 1, 2, 3, 4, 5"),
        (lambda: limpet.preset("subthreshold-gf180", width=1.0), "needs length, a number from 0.28 to 50 um"),
        (
            lambda: limpet.preset("subthreshold-gf180", width=1e-6, length=1.0),
            "width = 1e-06: allowed is a number from",
        ),
        (
            lambda: limpet.preset("subthreshold-sky130", width=1, length=0.18, polarity="p"),
            "length = 0.18: allowed is a number from 0.5 to 20 um",
        ),
        (
            lambda: limpet.preset("subthreshold-sky130", width=1, polarity="p-short"),
            "needs length, a number from 0.15 to 0.25 um",
        ),
        (lambda: limpet.preset("sonos-agrawal2022", day=2.5), "day = 2.5: allowed are 0, 1, 2, 3, 4, 5"),
        (lambda: limpet.preset("pcm-joshi2020", time=1), "has no parameter 'time'; it has none"),
        (lambda: limpet.preset("pcm-nandakumar2019", drift_compensation=1), "allowed are true and false"),
        (lambda: limpet.preset("pcm-joshi2020", name=3), "has no parameter 'name'"),
        (
            lambda: limpet.preset("hermes-core", range="fixed"),
            "range = 'fixed': allowed is a number from 1e-06 to 1e\\+06, or 'dynamic', or 'batch', or 'learned'",
        ),
        (lambda: limpet.preset("rockpool-30", leaves="*"), "give a mapping by part, of weights, currents"),
    ],
)
def test_what_was_not_measured_is_refused(ask, message):
    with pytest.raises(limpet.LimpetError, match=message):
        ask()


def test_leaves_of_ones_own():
    assert limpet.preset("brainscales2", leaves="*/bias").on(TREE).paths == ("dense/bias",)
    with pytest.raises(limpet.ConfigError, match="there is no preset 'pcm'"):
        limpet.MismatchCallback(TREE, limpet.load_config(_written({"hardware": "pcm"})))


def _written(values):
    import json
    import tempfile
    from pathlib import Path

    path = Path(tempfile.mkdtemp()) / "config.yaml"
    path.write_text(json.dumps(values))
    return path


def test_a_preset_takes_arrays_products_and_what_the_largest_value_is_of():
    said = limpet.Array(rows=2, columns=3)
    by_hand = limpet.preset("pcm-hermes", leaves="*/kernel", array=said, relative_to="column")
    part = by_hand.parts["weights"]
    assert part.array == limpet.Part("*", part.deviation, array=said).array
    assert isinstance(part.deviation, limpet.Crossbar)
    assert part.deviation.relative_to == "column"
    plain = {"preset": "pcm-hermes", "leaves": "*/kernel", "array": {"rows": 2, "columns": 3}, "relative_to": "column"}
    config = limpet.Config.model_validate({"hardware": plain})
    assert config.hardware == by_hand
    product = {"inputs": {"bits": 8, "range": "dynamic"}}
    converted = limpet.preset("pcm-hermes", leaves="*/kernel", product=product).parts["weights"]
    assert converted.product == limpet.Product(inputs=limpet.Converter(bits=8, range="dynamic"))
    by_glob = limpet.preset("brainscales2", array={"*/kernel": {"rows": 256}, "head/*": limpet.Array(stack=0)})
    assert dict(by_glob.parts["weights"].array) == {"*/kernel": limpet.Array(rows=256), "head/*": limpet.Array(stack=0)}
    (quantised, _) = limpet.preset("brainscales2", relative_to=1.5).parts["weights"].deviation.members
    assert quantised.relative_to == 1.5
    mock = limpet.preset("brainscales2-mock", relative_to=1.5).parts["weights"]
    assert mock.product.relative_to == mock.deviation.relative_to == 1.5


def test_a_preset_may_be_like_another_one():
    """What it says itself goes first, parameters included; what it leaves open is as that one says."""
    devices, rig = (limpet.preset(name).parts["weights"] for name in ("pcm-nandakumar2019", "pcm-rasch2023"))
    assert rig.deviation == replace(devices.deviation, relative_to="column", drift_compensation=True)
    assert rig.leaves == devices.leaves
    compensated = limpet.preset("pcm-rasch2023", drift_compensation=False).parts["weights"].deviation
    assert compensated.drift_compensation is False


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("pcm-hermes", {"array": 512}, r"array = 512: allowed is a mapping such as \{rows: 512"),
        ("pcm-hermes", {"array": {"row": 512}}, r"array = \{'row': 512\}: row = 512: unknown key; did you mean 'rows'"),
        ("pcm-hermes", {"array": {"*": {"rows": 0}}}, r"\}: \*\.rows = 0: allowed is a whole number from 1 on$"),
        ("pcm-hermes", {"relative_to": "row"}, r"relative_to = 'row': allowed are 'array'"),
        ("pcm-hermes", {"product": {"inputs": {"bit": 8}}}, "inputs.bit = 8: unknown key; did you mean 'bits'"),
        ("rockpool-30", {"product": {}}, "its parts .* are not all matrices"),
        ("teili-dpi", {"relative_to": "column"}, "nothing of it depends on a largest value"),
        ("rockpool-30", {"relative_to": "array"}, "nothing of it depends on a largest value"),
    ],
)
def test_what_a_preset_cannot_take_is_refused(name, given, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.preset(name, **given)
