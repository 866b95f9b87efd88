"""`limpet.product_report`: what products saw and gave, beside NumPy; in loops, conditions and mapped functions."""

import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet import Array, Converter, Part, Product

from .test_ranges import STACKED, layers

RNG = np.random.default_rng(1)
W = jnp.asarray(RNG.standard_normal((12, 4)), jnp.float32)
X = jnp.asarray(RNG.standard_normal((300, 12)), jnp.float32)


def test_it_counts_as_numpy_does():
    product = Product(Converter(bits=4, range=1.5), Converter(bits=5, bound=2.0, noise=0.05))
    hardware = limpet.Hardware(crossbar=Part("w", product=product, array=Array(rows=6)))
    report = limpet.product_report(lambda p, x: x @ p["w"], {"w": W}, hardware, X)
    quiet = limpet.product_report(lambda p, x: x @ p["w"], {"w": W}, hardware, X, condition=0.0)
    x, w = np.asarray(X), np.asarray(W)
    codes = np.clip(np.round(x / 1.5 * 7), -7, 7)
    tiles = [(codes[:, part] @ w[part], 7 * 2 * np.abs(w[part]).max()) for part in (slice(6), slice(6, 12))]
    shares = np.stack([y / bound for y, bound in tiles])
    held = quiet.of("w")
    assert (held.layout, held.range) == ("2 arrays of 6 x 4", (1.5, 1.5))
    assert held.inputs_clipped == np.mean(np.abs(x) > 1.5)
    assert held.input_levels == len(np.unique(codes)) / 15
    assert held.largest_output == pytest.approx(np.abs(shares).max(), rel=1e-5)
    rounded = np.round(shares * 15)
    assert held.outputs_clipped == np.mean(np.abs(rounded) > 15)
    assert held.output_levels == len(np.unique(np.clip(rounded, -15, 15))) / 31
    assert held.noise == 0
    spread = [0.05 / 2 * bound for _, bound in tiles]
    expected = (np.mean(np.square(spread)) / np.mean([y**2 for y, _ in tiles])) ** 0.5
    assert report.of("w").noise == pytest.approx(expected, rel=5 / (2 * 2400) ** 0.5)
    with pytest.raises(limpet.LimpetError, match="no product 2 of leaf 'w'; there are w 1"):
        report.of("w", 2)


def test_noise_of_inputs_and_devices_counts_and_what_has_no_converter_has_no_share():
    product = Product(Converter(range="dynamic", noise=0.02), read_noise=0.02)
    hardware = limpet.Hardware(crossbar=Part("w", product=product))
    held = limpet.product_report(lambda p, x: x @ p["w"], {"w": W}, hardware, X).of("w")
    assert held.noise > 0.03
    assert held.inputs_clipped == 0
    assert (held.input_levels, held.largest_output, held.outputs_clipped, held.output_levels) == (None,) * 4


@pytest.mark.parametrize(
    "product", [Product(Converter(bits=5, range="dynamic", signed=False)), Product(read_noise=0.1)]
)
def test_products_in_loops_conditions_and_functions_computed_again(product):
    hardware = limpet.Hardware(crossbar=Part("w", product=product, array=Array(stack=0, rows=4)))

    def network(params, x):
        return layers(params, x) @ params["w"][0]

    report = limpet.product_report(network, STACKED, hardware, X[:20, :8])
    assert [(held.path, held.number) for held in report.products] == [("w", 1), ("w", 2)]
    first = report.of("w")
    if product.inputs is None:
        assert first.range is None
        assert first.noise > 0.05
    else:
        assert first.input_levels == 1
        assert first.range is not None
        low, high = first.range
        assert high == pytest.approx(float(jnp.abs(X[:20, :8]).max()))
        assert 0 < low < high
    assert "6 arrays of 4 x 8" in str(report)


def test_what_has_no_product_is_refused():
    with pytest.raises(limpet.LimpetError, match="no leaf has a product but the exact one"):
        limpet.product_report(lambda p, x: x, {"w": W}, limpet.Hardware(w=Part("w", limpet.Gaussian(0.1))), X)
