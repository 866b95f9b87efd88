"""`limpet.products` beside one product as each of four simulators computes it, tiles even and uneven."""

from functools import partial
from typing import Any

import jax
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


def outputs(product: Product, x: Any, w: Any, rows: int | None = None, key: jax.Array = KEY, **condition: Any) -> Any:
    recipe = limpet.Mismatch({"w": True}, limpet.Exact(), array=Array(rows=rows), product=product)

    def network(x: jax.Array, w: jax.Array) -> jax.Array:
        return x @ recipe(key, {"w": w}, limpet.Condition(**condition))["w"]

    return np.asarray(jax.jit(limpet.products(network))(x, w))


def batch_range(x: np.ndarray, w: np.ndarray, rows: int | None = None, **given: Any) -> np.ndarray:
    """aihwkit's product, with the largest input of the whole batch for the range of each tile."""
    parts = reference.tiles(len(w), rows)
    each = [reference.aihwkit(x[:, part], w[part], input_range=np.abs(x[:, part]).max(), **given) for part in parts]
    return np.sum(each, axis=0)


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
