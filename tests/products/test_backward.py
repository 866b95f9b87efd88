"""`backward="analog"`: gradients through the arrays driven from their columns, beside what is computed directly."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet import Array, Converter, Part, Product

from . import reference

RNG = np.random.default_rng(2)
W = RNG.standard_normal((12, 6)).astype(np.float32)
X = RNG.standard_normal((40, 12)).astype(np.float32)
TOWARDS = RNG.standard_normal((40, 6)).astype(np.float32)
KEY = jax.random.key(5)
TILES = [(None, None), (6, None), (5, 4), (1, 2)]
"""Of rows and of columns, at most; 12 arrays of one row are computed in a loop."""
DAC, ADC = partial(Converter, bits=6), partial(Converter, bits=7)


def gradients(product, rows=None, columns=None, condition=1.0, key=KEY):
    array = Array(rows=rows, columns=columns)
    recipe = limpet.Mismatch({"w": True}, limpet.Exact(), array=array, product=product)

    def value(x, w):
        return (TOWARDS * (x @ recipe(key, {"w": w}, condition)["w"])).sum()

    return jax.jit(jax.grad(limpet.products(value), argnums=(0, 1)))(X, W)


def through(slope, w, bound):
    """What one array gives at its rows for slopes at its columns."""
    largest = np.abs(slope).max(axis=1, keepdims=True)
    codes = np.round(slope / np.where(largest > 0, largest, 1) * 31)
    most = bound * 31 * np.abs(w).max()
    return np.clip(np.round(codes @ w.T / most * 63), -63, 63) * (most / 63) * largest / 31


@pytest.mark.parametrize(("rows", "columns"), TILES)
@pytest.mark.parametrize("input_range", [1.0, "dynamic"])
def test_gradients_pass_through_each_array(input_range, rows, columns):
    product = Product(DAC(range=input_range), ADC(bound=1.5), backward="analog")
    exact = Product(DAC(range=input_range), ADC(bound=1.5))
    found, of_weights = gradients(product, rows, columns)
    _, exactly = gradients(exact, rows, columns)
    np.testing.assert_allclose(of_weights, exactly, rtol=1e-6, atol=1e-6)
    expected = []
    for part in reference.tiles(12, rows):
        x, total = X[:, part], 0.0
        largest = np.abs(x).max(axis=1, keepdims=True) if input_range == "dynamic" else 1.0
        codes = np.clip(np.round(x / largest * 31), -31, 31)
        for column in reference.tiles(6, columns):
            w = W[part, column]
            most = 1.5 * 31 * np.abs(w).max()
            kept = np.abs(np.round(codes @ w / most * 63)) <= 63
            total = total + through(TOWARDS[:, column] * kept, w, 1.5)
        expected.append(np.where(np.abs(x) <= largest, total, 0))
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=2e-5)


def test_noise_gains_and_offsets_are_the_rows_own():
    noisy = Product(Converter(range="dynamic"), Converter(noise=0.05, gain=0.1, offset=0.05), backward="analog")
    found, _ = gradients(noisy, 6)
    quiet, _ = gradients(noisy, 6, condition=0.0)
    exact = TOWARDS @ W.T
    np.testing.assert_allclose(quiet, exact, atol=1e-4)
    largest = np.abs(TOWARDS).max(axis=1, keepdims=True)
    unit = largest * np.repeat([np.abs(W[:6]).max(), np.abs(W[6:]).max()], 6)
    left = (np.asarray(found) - exact) / unit
    gain = [np.polyfit((exact / unit)[:, row], left[:, row], 1) for row in range(12)]
    assert 0.03 < np.std([slope for slope, _ in gain]) < 0.25
    rest = [left[:, row] - np.polyval(gain[row], (exact / unit)[:, row]) for row in range(12)]
    assert np.std(rest) == pytest.approx(0.05, rel=0.25)
    again, _ = gradients(noisy, 6)
    np.testing.assert_array_equal(found, again)
    other, _ = gradients(noisy, 6, condition=limpet.Condition(read=1))
    assert not np.allclose(found, other)


@pytest.mark.parametrize(
    "inputs",
    [
        Converter(bits=6, range=2.0, signed=False),
        Converter(bits=6, range=2.0, slice_bits=2),
        Converter(range=2.0),
        None,
    ],
)
def test_other_converters(inputs):
    """What gradients lose is of the size of rounding."""
    managed = 0 if inputs is None or inputs.slice_bits else 4
    product = Product(inputs, Converter(bits=9, bound=0.5 if managed else 3.0), bound_management=managed)
    found, _ = gradients(replace(product, backward="analog"), 6)
    exact, _ = gradients(product, 6)
    lost = np.abs(np.asarray(found) - exact).mean() / np.abs(exact).mean()
    assert 1e-4 < lost < 0.15


CUBE = jnp.asarray(RNG.standard_normal((12, 2, 3)), jnp.float32)
KERNEL = jnp.asarray(RNG.standard_normal((3, 2, 4)), jnp.float32)
IMAGES = jnp.asarray(X.reshape(40, 6, 2))
FORMS = {
    "weights first": (lambda x, w: w.T @ x.T, X, jnp.asarray(W), None),
    "several axes": (lambda x, w: jnp.einsum("bi,ihd->hbd", x, w), X, CUBE, (1, 2)),
    "a convolution": (
        lambda x, w: jax.lax.conv_general_dilated(x, w, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")),
        IMAGES,
        KERNEL,
        None,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_products(form):
    fn, x, w, outputs = FORMS[form]
    product = Product(Converter(bits=15, range="dynamic"), backward="analog")
    recipe = limpet.Mismatch(
        {"w": True}, limpet.Exact(), array=Array(outputs=outputs, rows=4, columns=3), product=product
    )
    exact = jax.grad(lambda x: jnp.sum(fn(x, w) ** 2))(x)
    found = jax.grad(limpet.products(lambda x: jnp.sum(fn(x, recipe(KEY, {"w": w})["w"]) ** 2)))(x)
    assert 0 < np.abs(found - exact).max() < 2e-3 * np.abs(exact).max()


def test_in_scans_computed_again_and_mapped():
    stacked = {"w": jnp.asarray(RNG.standard_normal((3, 8, 8)) / 3, jnp.float32)}
    product = Product(DAC(range="dynamic"), ADC(bound=4.0, gain=0.05), backward="analog")
    part = Part("w", product=product, array=Array(stack=0, rows=4, columns=4))
    recipe = limpet.Hardware(crossbar=part).on(stacked)

    def scanned(params, x):
        params = recipe(KEY, params)
        return jax.lax.scan(jax.checkpoint(lambda x, w: (jnp.tanh(x @ w), None)), x, params["w"])[0].sum()

    def unrolled(params, x):
        params = recipe(KEY, params)
        for layer in range(3):
            x = jnp.tanh(x @ params["w"][layer])
        return x.sum()

    x = X[:5, :8]
    first, second = (jax.jit(jax.grad(limpet.products(fn), argnums=1))(stacked, x) for fn in (scanned, unrolled))
    np.testing.assert_allclose(first, second, atol=1e-5)
    each = jax.jit(jax.vmap(jax.grad(limpet.products(scanned), argnums=1), (None, 0)))(stacked, x)
    np.testing.assert_allclose(each, first, atol=1e-5)
    exact = jax.grad(lambda x: jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, stacked["w"])[0].sum())(x)
    assert 1e-4 < np.abs(first - exact).mean() < 0.4 * np.abs(exact).mean()


def test_what_cannot_be_driven_from_its_columns_is_refused():
    recipe = limpet.Mismatch({"w": True}, limpet.Exact(), product=Product(DAC(range=1.0), backward="analog"))
    with pytest.raises(limpet.LimpetError, match="leaf 'w': backward = 'analog' drives whole arrays"):
        limpet.products(lambda w: X @ recipe(KEY, {"w": w})["w"][:, :3])(W)
    with pytest.raises(limpet.LimpetError, match=r"Product.backward = 'analog': there is neither"):
        Product(backward="analog")
