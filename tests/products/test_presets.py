"""What the arrays of whole chips compute, beside the references: without noise to 1e-5, and noise by its spread."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

import limpet
from limpet.config._preset import described_preset, preset_names

from . import reference

RNG = np.random.default_rng(5)
X = RNG.standard_normal((8, 600)).astype(np.float32)
W = (0.3 * RNG.standard_normal((600, 6)) * np.array([1, 0.5, 2, 1, 0.2, 1])).astype(np.float32)
INTEGERS = RNG.integers(0, 32, (8, 600)).astype(np.float32), RNG.integers(-63, 64, (600, 6)).astype(np.float32)
INTEGERS[1][0, 0] = 63
MANY = 4000
"""Products of one input: the ratio of two spreads has a standard error of 1.6%."""
EIGHT_BITS: dict[str, Any] = {"inp_states": 254, "out_states": 254}

rig = partial(
    reference.aihwkit, rows=512, ir_drop=1.0, g_ratio=1 / 1.75e-6, w_noise=0.0175, out_noise=0.04, out_bound=10.0
)
afm = partial(reference.lightning, out_bound=14.0, bound_per_channel=True, **EIGHT_BITS)
hermes = partial(reference.aihwkit, rows=256, weight_scaling="tile", **EIGHT_BITS)
sonos = partial(reference.crosssim, rows=1152, input_range=3.0, input_bits=8, adc_bits=8, adc_range=4.271561324751555)
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "pcm-rasch2023": ({}, partial(rig, input_range="dynamic", **EIGHT_BITS)),
    "pcm-rasch2023, fixed range": ({"range": 2.0}, partial(rig, input_range=2.0, **EIGHT_BITS)),
    "afm-buchel2025": ({"range": 2.0}, partial(afm, input_range=2.0)),
    "hermes-core": ({}, partial(hermes, input_range="dynamic", out_bound=10.0)),
    "hermes-core, a bound of 3": ({"bound": 3}, partial(hermes, input_range="dynamic", out_bound=3.0)),
    "sonos-xiao2022": ({"range": 3.0}, sonos),
    "brainscales2-mock": ({}, reference.hxtorch),
    "brainscales2-mock, 6 sends": ({"sends": 6}, partial(reference.hxtorch, num_sends=6)),
}
"""Parameters of the preset, and the reference of inputs and weights."""


def outputs(name: str, x: Any, w: Any, scale: float) -> np.ndarray:
    part = limpet.preset(name.partition(",")[0], leaves="w", **CASES[name][0]).parts["weights"]
    if scale:  # noise alone
        part = replace(part, deviation=limpet.Exact())
    recipe = limpet.Hardware(weights=part).on({"w": w})

    def network(x: jax.Array, w: jax.Array) -> jax.Array:
        return x @ recipe(jax.random.key(0), {"w": w}, limpet.Condition(scale=scale))["w"]

    return np.asarray(jax.jit(limpet.products(network))(x, w))


def operands(name: str) -> tuple[np.ndarray, np.ndarray]:
    return INTEGERS if "brainscales2" in name else (X, W)


def units(name: str) -> float:
    """Codes of hxtorch's outputs to one of the product of its inputs and weights."""
    return 0.002 * CASES[name][0].get("sends", 1) if "brainscales2" in name else 1.0


@pytest.mark.parametrize("name", CASES)
def test_without_noise(name):
    x, w = operands(name)
    expected = CASES[name][1]
    silent = {"noise_std": 0.0} if "brainscales2" in name else {}
    given, found = expected(x, w, **silent), outputs(name, x, w, 0.0) * units(name)
    if not silent:
        np.testing.assert_allclose(found, given, atol=1e-5 * np.abs(given).max())
        return
    sums = [x[:, part] @ w[part] * units(name) for part in reference.tiles(600, 128)]
    at_an_edge = np.any([np.abs(each - np.round(each)) < 1e-4 for each in sums], axis=0)
    np.testing.assert_array_less(np.abs(found - given), np.where(at_an_edge, 1.01, 1e-3))
    assert at_an_edge.mean() < 0.3


@pytest.mark.parametrize("name", ["pcm-rasch2023", "pcm-rasch2023, fixed range", "brainscales2-mock, 6 sends"])
def test_noise(name):
    """Spreads within 8% and means within 5 standard errors: false alarms 1e-5 in all of them together."""
    x, w = operands(name)
    x, rng = np.repeat(x[:1], MANY, axis=0), np.random.default_rng(0)
    given, found = CASES[name][1](x, w, generator=rng), outputs(name, x, w, 1.0) * units(name)
    np.testing.assert_allclose(found.std(axis=0), given.std(axis=0), rtol=0.08)
    errors = np.hypot(found.std(axis=0), given.std(axis=0)) / MANY**0.5
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - given.mean(axis=0)), 5 * errors + 1e-4)


def test_every_preset_with_a_product_is_compared():
    with_products = {name for name in preset_names() if "product:" in described_preset(name).text}
    assert with_products == {name.partition(",")[0] for name in CASES}
