"""`limpet.products` beside one product as each of four simulators computes it, tiles even and uneven."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet import Array, Converter, Product

from . import reference

KEY = jax.random.key(3)
RNG = np.random.default_rng(1)
X = RNG.standard_normal((16, 40)).astype(np.float32)
W = (0.3 * RNG.standard_normal((40, 6)) * np.array([1, 0.5, 2, 1, 0.2, 1])).astype(np.float32)
TOWARDS = RNG.standard_normal((16, 6)).astype(np.float32)
INTEGERS = RNG.integers(0, 32, (16, 40)).astype(np.float32), RNG.integers(-63, 64, (40, 6)).astype(np.float32)
INTEGERS[1][0] = 63
ROWS = [None, 20, 16]
"""One tile, two even ones, and three of which one is larger."""
dac, adc = partial(Converter, bits=8), partial(Converter, bits=8)


def outputs(
    product: Product,
    x: Any,
    w: Any,
    rows: int | None = None,
    columns: int | None = None,
    key: Any = KEY,
    **condition: Any,
) -> Any:
    array = Array(rows=rows, columns=columns)
    recipe = limpet.Mismatch({"w": True}, limpet.Exact(), array=array, product=product)

    def network(x: jax.Array, w: jax.Array) -> jax.Array:
        return x @ recipe(key, {"w": w}, limpet.Condition(**condition))["w"]

    return np.asarray(jax.jit(limpet.products(network))(x, w))


def batch_range(x: np.ndarray, w: np.ndarray, rows: int | None = None, **given: Any) -> np.ndarray:
    """aihwkit's product, with the largest input of the whole batch for the range of each tile."""
    parts = reference.tiles(len(w), rows)
    each = [reference.aihwkit(x[:, part], w[part], input_range=np.abs(x[:, part]).max(), **given) for part in parts]
    return np.sum(each, axis=0)


def two_passes(x: np.ndarray, w: np.ndarray, rows: int | None = None, **given: Any) -> np.ndarray:
    """aihwkit's product with `mv_type` POS_NEG_SEPARATE_DIGITAL_SUM."""
    above, below = np.maximum(x, 0), np.maximum(-x, 0)
    return reference.aihwkit(above, w, rows, **given) - reference.aihwkit(below, w, rows, **given)


NOISE_FREE = {
    "aihwkit, 8 bits": (
        Product(dac(range=2.0), adc(bound=10.0), relative_to="column"),
        partial(reference.aihwkit, input_range=2.0, inp_states=254, out_states=254, out_bound=10.0),
    ),
    "aihwkit, outputs beyond the bound": (
        Product(Converter(levels=63, range=1.5), Converter(levels=21, bound=1.0), relative_to="column"),
        partial(reference.aihwkit, input_range=1.5, inp_states=62, out_states=20, out_bound=1.0),
    ),
    "aihwkit, clipped without rounding": (
        Product(Converter(range=1.0), Converter(bound=2.0)),
        partial(reference.aihwkit, weight_scaling="tile", input_range=1.0, out_bound=2.0),
    ),
    "aihwkit, ranges of vectors": (
        Product(dac(range="dynamic"), adc(bound=10.0)),
        partial(
            reference.aihwkit,
            weight_scaling="tile",
            input_range="dynamic",
            inp_states=254,
            out_states=254,
            out_bound=10.0,
        ),
    ),
    "aihwkit, range of the batch": (
        Product(dac(range="batch"), adc(bound=5.0), relative_to="column"),
        partial(batch_range, inp_states=254, out_states=254, out_bound=5.0),
    ),
    "aihwkit, bounds managed": (
        Product(Converter(levels=257, range="dynamic"), adc(bound=0.7), relative_to="column", bound_management=6),
        partial(
            reference.aihwkit,
            input_range="dynamic",
            inp_states=256,
            out_states=254,
            out_bound=0.7,
            max_bm=2**5,
        ),
    ),
    "aihwkit, bounds managed once at most": (
        Product(Converter(range=2.0), adc(bound=0.7), relative_to="column", bound_management=1),
        partial(reference.aihwkit, input_range=2.0, clamp=False, out_states=254, out_bound=0.7, max_bm=1),
    ),
    "aihwkit, negative inputs in a pass of their own": (
        Product(Converter(levels=32, range=2.0, signed=False), adc(bound=1.0), relative_to="column"),
        partial(two_passes, input_range=2.0, inp_states=62, out_states=254, out_bound=1.0),
    ),
    "aihwkit, negative inputs in a pass of their own, without a range": (
        Product(Converter(signed=False), adc(bound=2.0), relative_to=1.0),
        partial(two_passes, weight_scaling=1.0, input_range=1e3, out_states=254, out_bound=2e-3),
    ),
    "aihwkit, units of a weight of 1.5": (
        Product(dac(range=2.0), adc(bound=3.0), relative_to=1.5),
        partial(reference.aihwkit, weight_scaling=1.5, input_range=2.0, inp_states=254, out_states=254, out_bound=3.0),
    ),
    "aihwkit, wires": (
        Product(dac(range=2.0), wire=1.75e-3, relative_to="column"),
        partial(reference.aihwkit, input_range=2.0, inp_states=254, ir_drop=1.0, g_ratio=1 / 1.75e-3),
    ),
    "lightning, fixed ranges": (
        Product(dac(range=1.5), adc(bound=2.0)),
        partial(reference.lightning, input_range=1.5, inp_states=254, out_states=254, out_bound=2.0),
    ),
    "lightning, bounds of channels": (
        Product(dac(range="dynamic"), adc(bound=3.0), relative_to="column"),
        partial(
            reference.lightning,
            input_range="dynamic",
            inp_states=254,
            out_states=254,
            out_bound=3.0,
            bound_per_channel=True,
        ),
    ),
    "CrossSim, sign and magnitude": (
        Product(Converter(bits=6, range=2.0), Converter(bits=7, bound=3.0), relative_to="tensor"),
        partial(reference.crosssim, input_range=2.0, input_bits=6, adc_bits=7, adc_range=3.0),
    ),
    "CrossSim, bits one after the other": (
        Product(Converter(bits=6, range=2.0, slice_bits=1), Converter(bits=7, bound=3.0), relative_to="tensor"),
        partial(
            reference.crosssim,
            input_range=2.0,
            input_bits=6,
            slice_bits=1,
            adc_per_slice=True,
            adc_bits=7,
            adc_range=3.0,
        ),
    ),
    "CrossSim, three bits at a time": (
        Product(Converter(bits=8, range=2.0, slice_bits=3), Converter(bits=7, bound=3.0), relative_to="tensor"),
        partial(
            reference.crosssim,
            input_range=2.0,
            input_bits=8,
            slice_bits=3,
            adc_per_slice=True,
            adc_bits=7,
            adc_range=3.0,
        ),
    ),
}
"""Of each: the product, and the reference of inputs, weights and the most rows of a tile."""


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("case", NOISE_FREE)
def test_without_noise(case, rows):
    product, expected = NOISE_FREE[case]
    np.testing.assert_allclose(outputs(product, X, W, rows), expected(X, W, rows), atol=1e-5)


@pytest.mark.parametrize("rows", ROWS)
def test_columns_on_several_arrays(rows):
    """Of 6 columns on arrays of 4, each has the largest weight of its array."""
    product, expected = NOISE_FREE["lightning, fixed ranges"]
    given = np.concatenate([expected(X, W[:, part], rows) for part in reference.tiles(6, 4)], axis=1)
    np.testing.assert_allclose(outputs(product, X, W, rows, columns=4), given, atol=1e-5)
    assert np.abs(given - expected(X, W, rows)).max() > 1e-3


def test_outputs_of_unsigned_converters_end_at_0():
    bound = 2 * 3.0 * np.abs(W).max()
    given = np.clip(reference.rounded(np.clip(X, -2, 2) @ W, bound / 2, 15), 0, bound)
    found = outputs(Product(Converter(range=2.0), Converter(levels=16, bound=3.0, signed=False)), X, W)
    np.testing.assert_allclose(found, given, atol=1e-5)


def test_the_largest_input_gets_the_highest_code_whatever_its_last_bits_are():
    """Also where codes are cut off, and the largest of each vector is the range."""
    x = np.abs(RNG.standard_normal((1000, 1)).astype(np.float32))
    for rounding in ("nearest", "floor"):
        product = Product(Converter(bits=8, range="dynamic", rounding=rounding))
        np.testing.assert_allclose(outputs(product, x, np.ones((1, 1), np.float32)), x, rtol=1e-6)


GAIN = 0.00203
"""In place of .002, so that no output lies at the edge of a code."""


def hagen(num_sends: int, noise: float = 0.0) -> Product:
    """BrainScaleS-2: what one input of 31 gives through one weight of 63, in codes of the output converter."""
    full = 31 * 63 * GAIN * num_sends
    return Product(
        Converter(levels=32, range=31.0, signed=False),
        Converter(levels=256, bound=127 / full, rounding="floor", noise=noise / full),
        relative_to="tensor",
        saturates=True,
    )


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("num_sends", [1, 12])
def test_hxtorch(num_sends, rows):
    """At 12 sends, sums of tiles saturate as well."""
    x, w = INTEGERS
    expected = reference.hxtorch(x, w, rows, num_sends=num_sends, gain=GAIN, noise_std=0.0)
    found = outputs(hagen(num_sends), x, w, rows) * (GAIN * num_sends)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.min() == -128 or num_sends == 1


MANY = 4000
"""Products of one input: the ratio of two spreads has a standard error of 1.6%."""
NOISY = {
    "aihwkit, outputs": (
        Product(Converter(range=2.0), Converter(noise=0.04), relative_to="column"),
        partial(reference.aihwkit, input_range=2.0, out_noise=0.04),
    ),
    "aihwkit, inputs": (
        Product(dac(range=2.0, noise=0.05)),
        partial(reference.aihwkit, input_range=2.0, inp_states=254, inp_noise=0.05),
    ),
    "aihwkit, weights": (
        Product(Converter(range="dynamic"), read_noise=0.0175, relative_to="column"),
        partial(reference.aihwkit, input_range="dynamic", w_noise=0.0175),
    ),
    "aihwkit, each device alike": (
        Product(read_noise=0.0175, read_noise_of="inputs"),
        partial(
            reference.aihwkit,
            weight_scaling="tile",
            input_range=10.0,
            w_noise=0.0175,
            w_noise_type="ADDITIVE_CONSTANT",
        ),
    ),
    "aihwkit, all at once": (
        Product(
            dac(range=2.0, noise=0.05), adc(bound=2.0, noise=0.04), read_noise=0.0175, wire=1e-3, relative_to="column"
        ),
        partial(
            reference.aihwkit,
            input_range=2.0,
            inp_states=254,
            inp_noise=0.05,
            w_noise=0.0175,
            ir_drop=1.0,
            g_ratio=1e3,
            out_noise=0.04,
            out_states=254,
            out_bound=2.0,
        ),
    ),
    "lightning": (
        Product(Converter(range="dynamic"), Converter(noise=0.1)),
        partial(reference.lightning, input_range="dynamic", out_noise=0.1),
    ),
}


@pytest.mark.parametrize(("case", "rows"), [*((case, 16) for case in NOISY), ("aihwkit, all at once", None)])
def test_mean_and_spread_of_noise(case, rows):
    """Means within 5 standard errors of each other and spreads within 8%: false alarms 1e-4 in all of them."""
    product, expected = NOISY[case]
    if case == "lightning":
        expected = partial(expected, out_noise=0.1 * 3**0.5)  # lightning divides by the root of the number of tiles
    x = np.repeat(X[:1], MANY, axis=0)
    found, given = outputs(product, x, W, rows), expected(x, W, rows, generator=np.random.default_rng(0))
    np.testing.assert_allclose(found.std(axis=0), given.std(axis=0), rtol=0.08)
    errors = np.hypot(found.std(axis=0), given.std(axis=0)) / MANY**0.5
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - given.mean(axis=0)), 5 * errors)


def test_noise_of_hxtorch():
    x, w = (values[: 40 if place else 1] for place, values in enumerate(INTEGERS))
    x = np.repeat(x, MANY, axis=0)
    given = reference.hxtorch(x, w, 20, gain=GAIN, generator=np.random.default_rng(0))
    found = outputs(hagen(1, noise=2.0), x, w, 20) * GAIN
    np.testing.assert_allclose(found.std(axis=0), given.std(axis=0), rtol=0.08)
    np.testing.assert_allclose(found.mean(axis=0), given.mean(axis=0), atol=5 * 4 / MANY**0.5)


def test_noise_is_new_for_each_input_and_output_and_scales_with_the_condition():
    product = Product(Converter(range=2.0, noise=0.05), Converter(noise=0.04), read_noise=0.02)
    x = np.repeat(X[:1], MANY, axis=0)
    exact = outputs(product, x, W, scale=0.0)
    np.testing.assert_allclose(exact, np.clip(x, -2, 2) @ W, atol=1e-5)
    full, half = (outputs(product, x, W, scale=scale) - exact for scale in (1.0, 0.5))
    np.testing.assert_allclose(half.std(axis=0) / full.std(axis=0), 0.5, rtol=0.08)
    assert np.abs(np.corrcoef(full[:-1, 0], full[1:, 0])[0, 1]) < 5 / MANY**0.5
    assert not np.allclose(full, outputs(product, x, W, key=jax.random.key(4)) - exact)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("corrected", [False, True])
def test_gains_and_offsets_of_columns(rows, corrected):
    """They are read off a product without a range and bound, and hold in those with a bound: y gain + offset r m."""
    w = np.repeat(W, 50, axis=1)
    parts = reference.tiles(len(w), rows)

    def seen(x, **given):
        outputs_ = Converter(**{"gain": 0.05, "offset": 0.2, **given})
        return outputs(Product(Converter(range=2.0), outputs_, relative_to="column"), x, w, rows)

    offset, gain, largest = [], [], []
    for part in parts:
        one = np.zeros((2, 40), np.float32)
        one[1, part] = 1.0
        largest.append(np.abs(w[part]).max(axis=0))
        nothing, something = seen(one)
        offset.append(nothing)
        gain.append((something - nothing) / w[part].sum(axis=0))
    all_offsets = offset[0]
    # With nothing at its inputs each tile gives its offset: what the others give is the same in all of these.
    assert len({tuple(found) for found in offset}) == 1
    assert np.std(np.concatenate(gain)) == pytest.approx(0.05, rel=5 / (2 * 300 * len(parts)) ** 0.5)
    assert np.std(all_offsets / np.sqrt(np.sum(np.square(largest), axis=0)) / 2) == pytest.approx(0.2, rel=5 / 600**0.5)
    x = np.clip(X, -2, 2)
    exact = [x[:, part] @ w[part] for part in parts]
    converted = sum(y * g for y, g in zip(exact, gain, strict=True)) + all_offsets
    np.testing.assert_allclose(seen(X), converted, atol=1e-4)
    if corrected:
        np.testing.assert_allclose(seen(X, corrected=True), x @ w, atol=1e-4)
    if len(parts) == 1:
        bound = 2 * 2.0 * largest[0]
        clipped = np.clip(reference.rounded(converted, bound, 254), -bound, bound)
        expected = (clipped - all_offsets) / gain[0] if corrected else clipped
        np.testing.assert_allclose(seen(X, bits=8, bound=2.0, corrected=corrected), expected, atol=1e-4)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("input_range", [1.5, "dynamic"])
def test_gradients_are_those_of_lightning(input_range, rows):
    product = Product(dac(range=input_range), adc(bound=2.0))
    recipe = limpet.Mismatch({"w": True}, limpet.Exact(), array=Array(rows=rows), product=product)

    def value(x: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.sum(TOWARDS * (x @ recipe(KEY, {"w": w})["w"]))

    found = jax.jit(jax.grad(limpet.products(value), argnums=(0, 1)))(X, W)
    states = {"inp_states": 254, "out_states": 254}
    given = reference.lightning_gradients(X, W, TOWARDS, rows, input_range=input_range, out_bound=2.0, **states)
    for ours, theirs in zip(found, given, strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs, atol=1e-4)
