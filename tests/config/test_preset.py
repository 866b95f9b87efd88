"""Presets: each says where its numbers are from, is a hardware, and has the spread that its source gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.config._preset import described_preset, preset_names
from limpet.deviations import Chain, Crossbar, Drift, Programming, ReadNoise

SIZES = {"width": 1.0, "length": 1.0}
TREE = {"dense": {"kernel": jnp.linspace(-1.0, 1.0, 60).reshape(6, 10), "bias": jnp.zeros(10)}}


def hardware_of(name):
    return limpet.preset(name, **(SIZES if name.startswith("subthreshold") else {}))


def device_of(name, kind, **parameters):
    deviation = limpet.preset(name, **parameters).parts["weights"].deviation
    assert isinstance(deviation, Crossbar)
    members = deviation.device.members if isinstance(deviation.device, Chain) else (deviation.device,)
    return next(member for member in members if isinstance(member, kind))


def at(law, *values):
    return [float(law(jnp.asarray(value, jnp.float32))) for value in values]


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
    chip = hardware_of(name).on(TREE)(limpet.virtual_chip(0, 1), TREE)
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
    ("name", "parameters", "largest", "at_values", "expected"),
    [  # microsiemens, as the sources give them
        ("pcm-nandakumar2019", {}, 25, (0, 0.5, 1), (0.2635, 0.9527, 1.0554)),
        ("pcm-joshi2020", {}, 25, (0, 1), (0.2864, 1.0655)),
        ("pcm-hermes", {}, 20.7, (0, 1), (0.16603222, 1.0926986)),
        ("pcm-hermes", {"devices": 1}, 10.35, (0, 1), (0.15781817, 1.00756719)),
        ("reram-wan2022", {"after": "1s"}, 40, (0, 0.25, 0.5, 1), (0.348, 2.258, 2.023, 1.103)),
        ("reram-wan2022", {}, 40, (0, 0.25, 0.5, 1), (0.701, 3.721, 3.909, 2.651)),
        ("reram-wan2022", {"after": "2days"}, 40, (0, 0.25, 0.5, 1), (0.782, 3.664, 3.929, 2.677)),
        ("rram-milo2021", {}, 225, (50 / 225, 1), (4.33, 2.73)),
        ("sonos-agrawal2022", {"day": 0}, 3200, (0, 1), (0, 19.88665)),
        ("sonos-agrawal2022", {"day": 5}, 3200, (0, 1), (0, 34.57908)),
    ],
)
def test_spreads_at_stated_conductances(name, parameters, largest, at_values, expected):
    spread = device_of(name, Programming, **parameters).spread
    np.testing.assert_allclose(largest * np.array(at(spread, *at_values)), expected, rtol=2e-3, atol=1e-6)


def test_drift_and_read_noise_of_phase_change_memory():
    drift, read = device_of("pcm-nandakumar2019", Drift), device_of("pcm-nandakumar2019", ReadNoise)
    np.testing.assert_allclose(
        at(drift.exponent, 1e-7, 0.1, 1.0), [0.1, 0.0244 + 0.0155 * np.log(10), 0.049], rtol=1e-5
    )
    np.testing.assert_allclose(
        at(drift.spread, 1e-7, 0.1, 1.0), [0.045, 0.0125 * np.log(10) - 0.0059, 0.008], rtol=1e-5
    )
    np.testing.assert_allclose(at(read.spread, 1e-7, 1.0), [0.2, 0.0088], rtol=1e-5)
    # a full conductance, one day after programming: 0.0088 * sqrt(ln(86420 / 5e-7)) = 4.5% from read to read
    recipe = limpet.Mismatch({"w": True}, ReadNoise(spread=read.spread, read_time=2.5e-7))
    one = {"w": jnp.ones(200_000)}
    noise = recipe(jax.random.key(0), one, limpet.Condition(time=86400.0))["w"]
    assert abs(float(noise.std()) / 0.0448 - 1) < 0.01


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: limpet.preset("pcm-nandakumar"),
            "there is no preset 'pcm-nandakumar'; did you mean 'pcm-nandakumar2019'",
        ),
        (lambda: limpet.preset("reram-wan2022", after="3days"), "after = '3days': allowed are 1s, 1day, 2days"),
        (lambda: limpet.preset("sonos-agrawal2022", day=6), "day = 6: allowed are 0, 1, 2, 3, 4, 5"),
        (lambda: limpet.preset("subthreshold-gf180", width=1.0), "needs length, a number from 0.1 to 100 um"),
        (
            lambda: limpet.preset("subthreshold-gf180", width=1e-6, length=1.0),
            "width = 1e-06: allowed is a number from",
        ),
        (lambda: limpet.preset("pcm-joshi2020", time=1), "has no parameter 'time'; it has none"),
        (lambda: limpet.preset("pcm-nandakumar2019", drift_compensation=1), "allowed are true and false"),
        (lambda: limpet.preset("pcm-joshi2020", name=3), "has no parameter 'name'"),
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
