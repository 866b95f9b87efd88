"""The `hardware` section: parts, their leaves, and deviations by name, with parameters, in chains and of one's own."""

import sys

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import pytest
from pydantic import ValidationError

import limpet

PARAMS = {"layer": {"kernel": jnp.ones(3), "bias": jnp.ones(3)}}
OWN = """
from __future__ import annotations
import dataclasses
from dataclasses import dataclass
import limpet

@dataclass(frozen=True)
class Offset(limpet.Deviation):
    volts: float
    steps: tuple[int, ...] = ()
    signed: bool = True

    def __post_init__(self):
        if self.volts > 9:
            raise RuntimeError("no such\\nsupply")

    def deviate(self, draw, value, strength):
        return value + self.volts * strength * draw.normal(())

@dataclass(frozen=True)
class Wrapped(limpet.Deviation):
    inner: limpet.Deviation
    schema: float = 0.0
    _hidden: float = 0.0

    def deviate(self, draw, value, strength):
        return self.inner.deviate(draw, value, strength)

@dataclass(frozen=True)
class Relative(limpet.Deviation):
    sigma: float

    def deviate(self, draw, value, strength):
        return value + draw.times_normal(value, self.sigma * strength)

@dataclass(frozen=True, init=False)
class Loose(limpet.Deviation):
    volts: float

    def __init__(self, *arguments, **options):
        object.__setattr__(self, "volts", options["volts"])

    def deviate(self, draw, value, strength):
        return value

@dataclass
class Changing(limpet.Deviation):
    volts: float

    def deviate(self, draw, value, strength):
        return value
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's own deviations, and others that cannot be imported, where Python looks for modules."""
    (tmp_path / "own_of_test_hardware_section.py").write_text(OWN)
    (tmp_path / "raises_of_test_hardware_section.py").write_text("1 / 0\n")
    (tmp_path / "ends_of_test_hardware_section.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_of_test_hardware_section"
    for name in [name for name in sys.modules if name.endswith("_of_test_hardware_section")]:
        del sys.modules[name]


@pytest.fixture
def load(tmp_path):
    def load(part: str):
        path = tmp_path / "config.yaml"
        path.write_text(f"hardware: {{weights: {part}}}")
        return limpet.load_config(path)

    return load


@pytest.mark.parametrize(
    ("part", "deviation"),
    [
        ("sigma: 0.1", limpet.Gaussian(0.1)),
        ("sigma: 0.1, deviation: gaussian", limpet.Gaussian(0.1)),
        ("sigma: 0.1, deviation: log-normal", limpet.LogNormal(0.1)),
        ("percent_deviation: 0.3", limpet.Gaussian(0.1)),
        ("percent_deviation: 0.3, sigma_rule: 2, deviation: truncated-gaussian", limpet.TruncatedGaussian(0.15)),
        ("deviation: {kind: gaussian, sigma: 0.1}", limpet.Gaussian(0.1)),
        (
            "deviation: {kind: log-normal, sigma_ln: 0.1, preserve: mean}",
            limpet.LogNormal(sigma_ln=0.1, preserve="mean"),
        ),
        ("deviation: {kind: log-normal, sigma: null, sigma_vth: 5e-3}", limpet.LogNormal(sigma_vth=5e-3)),
        ("sigma: 0.2, deviation: {kind: log-normal, preserve: mean}", limpet.LogNormal(0.2, "mean")),
        ("percent_deviation: 0.3, deviation: {kind: truncated-gaussian, bound: 2}", limpet.TruncatedGaussian(0.1, 2.0)),
        (
            "deviation: [{kind: log-normal, sigma: 0.1}, {kind: gaussian, sigma: 0.2}]",
            limpet.Chain((limpet.LogNormal(0.1), limpet.Gaussian(0.2))),
        ),
        (
            "deviation: [{kind: shared, across: chip, deviation: {kind: log-normal, sigma: 0.05}}, "
            "{kind: log-normal, sigma: 0.1}]",
            limpet.Chain((limpet.Shared(limpet.LogNormal(0.05), across="chip"), limpet.LogNormal(0.1))),
        ),
        (
            "deviation: {kind: shared, groups: [0, 0, 1], name: core, deviation: [{kind: gaussian, sigma: 0.1}]}",
            limpet.Shared(limpet.Chain((limpet.Gaussian(0.1),)), groups=(0, 0, 1), name="core"),
        ),
        (
            "deviation: {kind: shared, groups: [128 of 0, 1, 128 of 2], deviation: {kind: gaussian, sigma: 0.1}}",
            limpet.Shared(limpet.Gaussian(0.1), groups=(0,) * 128 + (1,) + (2,) * 128),
        ),
        (
            "deviation: {kind: shared, across: column, deviation: {kind: drop-connect, fraction: 0.1}}",
            limpet.Shared(limpet.DropConnect(0.1), across="column"),
        ),
        (
            "deviation: {kind: spatial, length: 3, grid: [2, 2], sites: devices, "
            "deviation: {kind: gaussian, sigma: 0.1}}",
            limpet.Spatial(limpet.Gaussian(0.1), length=3.0, grid=(2, 2), sites="devices"),
        ),
        (
            "deviation: {kind: spatial, length: 3, positions: [[0, 1], [2.5, 3]], "
            "deviation: {kind: gaussian, sigma: 1}}",
            limpet.Spatial(limpet.Gaussian(1.0), length=3.0, positions=((0.0, 1.0), (2.5, 3.0))),
        ),
        (
            "deviation: {kind: graded, columns: [1, 0.5], devices: [[1, 2], [0, 1]], "
            "deviation: {kind: gaussian, sigma: 0.1}}",
            limpet.Graded(limpet.Gaussian(0.1), columns=(1.0, 0.5), devices=((1.0, 2.0), (0.0, 1.0))),
        ),
        (
            "deviation: {kind: crossbar, device: {kind: programming, spread: 0.1}, significances: [1, 3], "
            "filling: lowest first, drift_compensation: column, relative_to: column}",
            limpet.Crossbar(
                limpet.Programming(0.1),
                significances=(1.0, 3.0),
                filling="lowest first",
                drift_compensation="column",
                relative_to="column",
            ),
        ),
        (
            "deviation: {kind: log-normal, pelgrom: {a_vt: 5.05, width: 1.0, length: 0.5}}",
            limpet.LogNormal(sigma_vth=limpet.pelgrom(5.05, 1.0, 0.5)),
        ),
        (
            "deviation: {kind: log-normal, pelgrom: {a_vt: 7, width: 1, length: 1, pair: true}, kappa: 0.7}",
            limpet.LogNormal(sigma_vth=limpet.pelgrom(7.0, 1.0, 1.0, pair=True), kappa=0.7),
        ),
    ],
)
def test_a_deviation_by_kind_by_parameters_and_as_a_chain(load, part, deviation):
    config = load(f"{{leaves: '*/kernel', {part}}}")
    assert config.hardware.parts["weights"] == limpet.Part("*/kernel", deviation)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ("{rows: 512, columns: 256}", limpet.Array(rows=512, columns=256)),
        ("{stack: 0, outputs: [1, 2], groups: 2}", limpet.Array(stack=(0,), outputs=(1, 2), groups=2)),
        ("{'*/kernel': {rows: 8}, '*': {stack: [0]}}", {"*/kernel": limpet.Array(rows=8), "*": limpet.Array(stack=0)}),
    ],
)
def test_arrays_of_a_part(load, array, expected):
    config = load(f"{{leaves: '*', sigma: 0.1, array: {array}}}")
    assert config.hardware.parts["weights"] == limpet.Part("*", limpet.Gaussian(0.1), array=expected)
    assert limpet.Config.model_validate_json(config.model_dump_json()) == config
    assert "array" in config.model_dump()["hardware"]["weights"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ("512", "weights.array = 512: allowed is a mapping such as {rows: 512, columns: 512}"),
        ("{row: 512}", "weights.array.row: unknown key; did you mean 'rows'?"),
        ("{rows: 0}", "weights.array.rows = 0: allowed is a whole number from 1 on"),
        ("{stack: [0], outputs: 0}", "weights.array: axis 0 is both in the stack and an output"),
        ("{'*/kernel': {rows: wide}}", "weights.array..*/kernel.*rows = 'wide'"),
    ],
)
def test_what_is_no_array_is_refused_under_its_key(load, array, message):
    with pytest.raises(limpet.ConfigError, match=message):
        load(f"{{leaves: '*', sigma: 0.1, array: {array}}}")


GIVEN = limpet.Product(
    inputs=limpet.Converter(bits=8, range="dynamic"),
    outputs=limpet.Converter(bits=6, bound=10.0, gain=limpet.LogNormal(0.1), offset=0.2),
    read_noise=0.0175,
)


@pytest.mark.parametrize(
    ("part", "deviation", "product"),
    [
        ("sigma: 0.1, product: {inputs: {bits: 8, range: 2.5}}", 0.1, {"inputs": {"bits": 8, "range": 2.5}}),
        (
            "product: {inputs: {bits: 8, range: dynamic}, outputs: {bits: 6, bound: 10, gain: {kind: log-normal, "
            "sigma: 0.1}, offset: 0.2}, read_noise: 0.0175}",
            None,
            GIVEN,
        ),
        ("deviation: exact, product: {outputs: {noise: 0.1}, inputs: null}", None, {"outputs": {"noise": 0.1}}),
        ("sigma: 0.1, product: null", 0.1, None),
    ],
)
def test_products_of_a_part(load, part, deviation, product):
    config = load(f"{{leaves: '*', {part}}}")
    if isinstance(product, dict):
        product = limpet.Product(**{key: limpet.Converter(**given) for key, given in product.items()})
    given = limpet.Exact() if deviation is None else limpet.Gaussian(deviation)
    assert config.hardware.parts["weights"] == limpet.Part("*", given, product=product)
    assert limpet.Config.model_validate_json(config.model_dump_json()) == config
    if product is not None:
        assert product.label() in config.describe()
        assert limpet.Config(hardware=config.hardware.described()).hardware == config.hardware


@pytest.mark.parametrize(
    ("product", "messages"),
    [
        ("8", ["product = 8: allowed is a mapping such as {inputs: {bits: 8, range: dynamic}"]),
        (
            "{inputs: {bit: 8}, outputs: 6, read_nois: 1}",
            [
                "product.inputs.bit: unknown key; did you mean 'bits'? Allowed are bits, bound",
                "product.outputs = 6: allowed is a mapping such as {bits: 8",
                "product.read_nois: unknown key; did you mean 'read_noise'?",
            ],
        ),
        ("{inputs: {bits: 80, range: 1}}", ["product.inputs.bits = 80: allowed is a whole number from 2 to 16"]),
        ("{inputs: {bits: 8}}", ["product.inputs: rounding needs a range"]),
        ("{inputs: {range: dynamc}}", ["product.inputs.range = 'dynamc': allowed are a number, 'dynamic', "]),
        ("{inputs: {range: 1, gain: 0.1}}", ["product.inputs.gain = 0.1: gain belongs to outputs"]),
        ("{outputs: {range: dynamic}}", ["product.outputs.range = 'dynamic': range belongs to inputs"]),
        ("{outputs: {gain: gaussian, offset: yes}}", ["product.outputs.gain.sigma: is missing"]),
        (
            "{outputs: {gain: {kind: lognormal}}}",
            ["product.outputs.gain.kind = 'lognormal': there is no such deviation"],
        ),
        ("{outputs: {offset: yes}}", ["product.outputs.offset = true: allowed is a finite number"]),
        ("{bound_management: 3}", ["product.bound_management = 3: outputs have no bound"]),
        ("{relative_to: row}", ["product.relative_to = 'row': allowed are 'array', 'column' and 'tensor'"]),
    ],
)
def test_what_is_no_product_is_refused_under_its_key(load, product, messages):
    with pytest.raises(limpet.ConfigError) as refused:
        load(f"{{leaves: '*', product: {product}}}")
    assert f"{len(messages)} problem" in str(refused.value)
    for message in messages:
        assert f"hardware.weights.{message}" in str(refused.value)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("{low: 1e-13, high: 1e-6, policy: clip}", limpet.Limits(1e-13, 1e-6)),
        ("{low: 0, policy: truncate}", limpet.Limits(0.0, policy="truncate")),
        ("{high: 2, policy: report}", limpet.Limits(high=2.0, policy="report")),
        ("dynapse", limpet.Limits(table="dynapse")),
        ("{table: dynapse, policy: error}", limpet.Limits(table="dynapse", policy="error")),
        ("null", None),
    ],
)
def test_limits_of_a_part(load, limits, expected):
    config = load(f"{{leaves: '*', sigma: 0.1, limits: {limits}}}")
    assert config.hardware.parts["weights"] == limpet.Part("*", limpet.Gaussian(0.1), expected)
    assert limpet.Config.model_validate_json(config.model_dump_json()) == config
    assert ("limits" in config.describe()) == (expected is not None)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("{leaves: a, sigma: 1, limits: 3}", "weights.limits = 3: allowed are a mapping such as {low: 1e-13"),
        ("{leaves: a, sigma: 1, limits: {}}", "weights.limits = {}: give low, high or both"),
        ("{leaves: a, sigma: 1, limits: {low: a}}", "weights.limits.low = 'a': allowed is a finite number"),
        ("{leaves: a, sigma: 1, limits: {low: 1, hihg: 2}}", "weights.limits.hihg: unknown key; did you mean 'high'?"),
        ("{leaves: a, sigma: 1, limits: {low: 2, high: 1}}", "low = 2 is not below high = 1"),
        ("{leaves: a, sigma: 1, limits: {low: 2, policy: cut}}", "weights.limits.policy = 'cut': allowed are"),
        (
            "{leaves: a, sigma: 1, limits: xylo}",
            "weights.limits.table = 'xylo': allowed is 'dynapse'",
        ),
        (
            "{leaves: a, sigma: 1, deviation: uniform, limits: {low: 0, policy: truncate}}",
            "limits with policy 'truncate' need a distribution that is known",
        ),
        (
            "{leaves: a, deviation: {kind: shared, across: chip, deviation: {kind: additive, spread: 1}}}",
            "weights.deviation.deviation: what several values have in common is a factor",
        ),
        ("{leaves: a, deviation: {kind: shared, deviation: {kind: gaussian, sigma: 1}}}", "by either across or groups"),
        (
            "{leaves: a, deviation: {kind: log-normal, pelgrom: {a_vt: 5.05, width: 1.0}}}",
            "weights.deviation.pelgrom: allowed is a mapping of a_vt, width, length",
        ),
        ("null", "weights = null: allowed is a mapping, such as {leaves: '*/kernel', sigma: 0.1}"),
        ("[a]", "weights = ['a']: allowed is a mapping"),
        ("{}", "weights.leaves: is missing"),
        ("{leaves: 3, sigma: 1}", "weights.leaves = 3: allowed are path globs"),
        ("{leaves: [], sigma: 1}", "weights.leaves = []: allowed are path globs"),
        ("{leaves: [[a, maybe]], sigma: 1}", "weights.leaves = [['a', 'maybe']]: allowed are path globs"),
        ("{leaves: '', sigma: 1}", "weights.leaves = '': an empty path matches no leaf"),
        ("{leaves: [[3, true]], sigma: 1}", "weights.leaves = [[3, True]]: 3 is no path glob"),
        ("{leaves: [' '], sigma: 1}", "weights.leaves = [' ']: an empty path matches no leaf"),
        ("{leaves: {a: false}, sigma: 1}", "weights.leaves: all rules say false"),
        ("{leaves: dynapse, sigma: 1}", "did you mean dynapse-frozen or dynapse-weights?"),
        ("{leaves: dynapse-wieghts, sigma: 1}", "did you mean dynapse-weights"),
        ("{leaves: a, sigma: .nan}", "weights.sigma = nan: a finite number is needed"),
        ("{leaves: a, sigma: -0.1}", "weights.sigma = -0.1: allowed is a number >= 0"),
        ("{leaves: a, sigma: yes}", "weights.sigma = true: a number is needed"),
        ("{leaves: a, sigma: 10%}", "weights.sigma = '10%': a number is needed"),
        ("{leaves: a, sigma: 10}", "weights.sigma = 10: it is a fraction, 0.30 means 30%"),
        ("{leaves: a, percent_deviation: 30}", "weights.percent_deviation = 30: it is a fraction, 0.30 means 30%"),
        ("{leaves: a, percent_deviation: .inf}", "weights.percent_deviation = inf: a finite number is needed"),
        ("{leaves: a, percent_deviation: 1, sigma_rule: 0}", "weights.sigma_rule = 0: allowed is a number > 0"),
        ("{leaves: a, sigma_rule: 3}", "weights: sigma_rule goes with percent_deviation, which is missing"),
        (
            "{leaves: a, sigma: 0.1, percent_deviation: 0.3}",
            "weights: give sigma, or percent_deviation with sigma_rule",
        ),
        ("{leaves: a}", "weights: no strength: give sigma, or percent_deviation"),
        ("{leaves: a, deviation: log-normal}", "weights: no strength: give sigma"),
        ("{leaves: a, deviation: gaussian, product: {}}", "weights: no strength: give sigma"),
        ("{leaves: a, sgima: 0.1}", "weights.sgima: unknown key; did you mean 'sigma'?"),
        (
            "{leaves: a, sigma: 1, deviation: lognormal}",
            "weights.deviation = 'lognormal': there is no such deviation; did",
        ),
        ("{leaves: a, deviation: 0.1}", "weights.deviation = 0.1: allowed are a kind such as log-normal"),
        ("{leaves: a, deviation: []}", "weights.deviation = []: an empty chain: give one deviation or more"),
        (
            "{leaves: a, deviation: {sigma: 1}}",
            "weights.deviation: give its kind: additive, binary-branches, crossbar",
        ),
        (
            "{leaves: a, deviation: {kind: 3}}",
            "weights.deviation.kind = 3: there is no such deviation; allowed are addi",
        ),
        (
            "{leaves: a, deviation: {kind: gausian}}",
            "weights.deviation.kind = 'gausian': there is no such deviation; did",
        ),
        ("{leaves: a, deviation: {kind: gaussian}}", "weights.deviation.sigma: is missing"),
        ("{leaves: a, deviation: {kind: gaussian, sigma: on}}", "weights.deviation.sigma = true: allowed is a finite"),
        ("{leaves: a, deviation: {kind: gaussian, sigma: 10}}", "weights.deviation.sigma = 10: it is a fraction"),
        (
            "{leaves: a, deviation: {kind: gaussian, sigma: 1, sgima: 1}}",
            "weights.deviation.sgima: unknown key; did you mean 'sig",
        ),
        ("{leaves: a, deviation: {kind: log-normal}}", "weights.deviation: give one of sigma, sigma_ln and sigma_vth"),
        (
            "{leaves: a, deviation: {kind: log-normal, sigma: 1, preserve: x}}",
            "preserve = 'x': allowed are 'median' and 'mean'",
        ),
        ("{leaves: a, deviation: {kind: log-normal, sigma: 1, kappa: 1}}", "weights.deviation: kappa and thermal_volt"),
        (
            "{leaves: a, deviation: {kind: truncated-gaussian, sigma: 1, bound: 1}}",
            "weights.deviation.bound = 1: allow",
        ),
        ("{leaves: a, sigma: 1, deviation: {kind: gaussian, sigma: 1}}", "weights.deviation: a strength stands beside"),
        (
            "{leaves: a, sigma: 1, deviation: [{kind: gaussian, sigma: 1}]}",
            "it has its own strength, inside of it",
        ),
        (
            "{leaves: a, deviation: [{kind: gaussian, sigma: 1}, {kind: gaussian}]}",
            "weights.deviation[1].sigma: is miss",
        ),
        ("{leaves: a, deviation: [{kind: gaussian, sigma: 1}, 3]}", "weights.deviation[1] = 3: allowed are a kind"),
        (
            "{leaves: a, deviation: [{kind: x, sigma: 1}]}",
            "weights.deviation[0].kind = 'x': there is no such deviation",
        ),
        ("{leaves: a, deviation: [[{kind: gaussian, x: 1, sigma: 1}]]}", "weights.deviation[0][0].x: unknown key"),
        ("{leaves: a, deviation: {kind: 'limpet:Chain', members: []}}", "a chain is written as a list of deviations"),
        ("{leaves: a, deviation: {kind: 'os:path'}}", "weights.deviation.kind = 'os:path': is <module"),
        ("{leaves: a, deviation: ':'}", "weights.deviation = ':': is no deviation"),
    ],
)
def test_what_a_part_cannot_be(load, part, message):
    with pytest.raises(limpet.ConfigError) as caught:
        load(part)
    assert message in str(caught.value).partition("hardware.")[2]
    assert "1 problem\n" in str(caught.value)


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ("", "hardware = null: allowed is the name of a preset"),
        ("weights", "hardware = 'weights': there is no preset 'weights'"),
        ("[weights]", "hardware = ['weights']: allowed is the name of a preset"),
        ("{}", "hardware = {}: allowed is the name of a preset"),
        ("{leaves: a, sigma: 1}", "hardware: parts have names: write {weights: {leaves: ..., sigma: ...}}"),
        ("{on: {leaves: a, sigma: 1}}", "hardware: true cannot be the name of a part"),
        ("{null: {leaves: a, sigma: 1}}", "hardware: null cannot be the name of a part"),
        ("{'': {leaves: a, sigma: 1}}", "hardware: '' cannot be the name of a part"),
        ("{a.b: {leaves: a, sigma: 1}}", "hardware: 'a.b' cannot be the name of a part"),
    ],
)
def test_what_hardware_cannot_be(tmp_path, hardware, message):
    (tmp_path / "config.yaml").write_text(f"hardware: {hardware}")
    with pytest.raises(limpet.ConfigError) as caught:
        limpet.load_config(tmp_path / "config.yaml")
    assert message in str(caught.value)


# --- one's own


def test_a_deviation_of_ones_own(load, own):
    config = load(
        f"{{leaves: '*/bias', deviation: {{kind: '{own}:Offset', volts: 1e-1, steps: [1, 2], signed: false}}}}"
    )
    (part,) = config.hardware.parts.values()
    assert (part.deviation.volts, part.deviation.steps, part.deviation.signed) == (0.1, (1, 2), False)
    chip = config.recipe(PARAMS)(limpet.virtual_chip(0, 0), PARAMS)
    assert len(set((chip["layer"]["bias"] - 1).tolist())) == 1
    assert limpet.Config.model_validate(config.model_dump()) == config


@pytest.mark.parametrize("kind", ["{own}:Relative", "{own}.Relative"])
def test_a_strength_beside_a_deviation_of_ones_own(load, own, kind):
    config = load(f"{{leaves: '*/bias', sigma: 0.2, deviation: '{kind.format(own=own)}'}}")
    assert config.recipe(PARAMS).sigma("layer/bias") == 0.2


def test_parameters_may_be_deviations_and_have_any_name(load, own):
    inner = "{kind: log-normal, sigma: 0.1}"
    config = load(f"{{leaves: a, deviation: {{kind: '{own}:Wrapped', inner: {inner}, schema: 1, _hidden: 2}}}}")
    deviation = config.hardware.parts["weights"].deviation
    assert (deviation.inner, deviation.schema, deviation._hidden) == (limpet.LogNormal(0.1), 1.0, 2.0)
    assert limpet.Config.model_validate(config.model_dump()) == config
    assert (
        load(f"{{leaves: a, deviation: {{kind: '{own}:Loose', volts: 2}}}}").hardware.parts["weights"].deviation.volts
        == 2
    )


@pytest.mark.parametrize(
    ("deviation", "message"),
    [
        ("{kind: 'OWN:Offset'}", ".volts: is missing"),
        ("{kind: 'OWN:Offset', volt: 1}", ".volt: unknown key; did you mean 'volts'?"),
        ("{kind: 'OWN:Offset', volts: lots}", ".volts = 'lots': a number is needed"),
        ("{kind: 'OWN:Offset', volts: .nan}", ".volts = nan: a finite number is needed"),
        ("{kind: 'OWN:Offset', volts: 1, steps: [1, x]}", ".steps[1] = 'x': a whole number is needed"),
        ("{kind: 'OWN:Offset', volts: 10}", ": Offset refuses these parameters (RuntimeError: no such"),
        ("{kind: 'OWN:Wrapped', inner: {kind: gaussian, sigma: x}}", ".inner.sigma = 'x': allowed is a finite"),
        ("{kind: 'OWN:Wrapped', inner: 3}", ".inner = 3: allowed are a kind such as log-normal"),
        ("[{kind: 'OWN:Offset'}]", "[0].volts: is missing"),
        ("{kind: 'OWN:Changing', volts: 1}", ": Changing is no frozen dataclass: decorate it"),
        ("{kind: 'OWN:Nothing'}", ".kind = 'OWN:Nothing': cannot be imported (AttributeError"),
        ("{kind: 'no_such_module:X'}", ".kind = 'no_such_module:X': cannot be imported (ModuleNotFoundError"),
        ("{kind: 'raises_of_test_hardware_section:X'}", "cannot be imported (ZeroDivisionError"),
        ("{kind: 'ends_of_test_hardware_section:X'}", "cannot be imported (it ends the program)"),
    ],
)
def test_a_deviation_of_ones_own_is_checked_by_key_path(load, own, deviation, message):
    with pytest.raises(limpet.ConfigError) as caught:
        load(f"{{leaves: a, deviation: {deviation.replace('OWN', own)}}}")
    assert f"hardware.weights.deviation{message.replace('OWN', own)}" in str(caught.value) or (
        message in str(caught.value) and "hardware.weights.deviation.kind" in str(caught.value)
    )


def test_a_strength_beside_a_deviation_that_has_none(load, own):
    with pytest.raises(limpet.ConfigError) as caught:
        load(f"{{leaves: a, sigma: 0.1, deviation: '{own}:Offset'}}")
    assert "no strength can stand beside it; it has no parameter sigma but volts" in str(caught.value)


# --- from Python


def test_hardware_from_python():
    hardware = limpet.Hardware(
        weights=limpet.Part("*/kernel", limpet.Gaussian(0.1)), biases=limpet.Part("*/bias", limpet.LogNormal(0.2))
    )
    config = limpet.Config(hardware=hardware)
    assert config.hardware is hardware
    written = {"weights": {"leaves": "*/kernel", "sigma": 0.1}, "biases": hardware.parts["biases"]}
    assert limpet.Config.model_validate({"hardware": written}) == config
    part = {"leaves": "*", "sigma": 0.2, "deviation": limpet.LogNormal(0.1)}
    with pytest.raises(ValidationError, match="it has its own strength, inside of it"):
        limpet.Config.model_validate({"hardware": {"weights": part}})
    with pytest.raises(ValidationError, match="no such part of the hardware"):
        limpet.Config.model_validate({"hardware": hardware, "training": {"dynamic": {"parts": ["x"]}}})


def test_hardware_from_a_recipe():
    recipe = limpet.Mismatch(limpet.prototype(PARAMS, ("*/kernel", True)), limpet.Gaussian(0.1))
    other = limpet.Mismatch(limpet.prototype(PARAMS, ("*/bias", True)), limpet.LogNormal(0.2))
    config = limpet.Config(hardware=recipe | other)
    assert len(config.hardware.parts) == 2
    assert config.recipe(PARAMS) == recipe | other
    key = limpet.virtual_chip(0, 3)
    drawn, expected = config.recipe(PARAMS)(key, PARAMS), (recipe | other)(key, PARAMS)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), drawn, expected))


@pytest.mark.parametrize(
    "leaves",
    ["dynapse-weights", "*/kernel", ["a", "b/*"], {"*": True, "*/bias": False}, [["*", True], ["*/bias", False]]],
)
def test_hardware_as_a_dictionary_comes_back(leaves):
    chain = [{"kind": "log-normal", "sigma_ln": 0.1}, {"kind": "truncated-gaussian", "sigma": 0.1, "bound": 2}]
    parts = {"a": {"leaves": leaves, "percent_deviation": 0.3}, "b": {"leaves": leaves, "deviation": chain}}
    config = limpet.Config.model_validate({"hardware": parts, "training": {"frozen": {"parts": ["a"], "chip": 3}}})
    assert limpet.Config.model_validate(config.model_dump()) == config
    assert limpet.Config.model_validate_json(config.model_dump_json()) == config


def test_an_nnx_filter_from_python():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    config = limpet.Config(hardware=limpet.Hardware(all=limpet.Part(nnx.Param, limpet.Gaussian(0.1))))
    assert set(config.recipe(model).paths) == {"kernel", "bias"}
