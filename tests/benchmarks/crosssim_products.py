"""Analog products beside CrossSim's balanced core: outputs of sign-magnitude converters, inputs whole and bit by bit.

CrossSim needs NumPy alone and is no package of PyPI: git clone https://github.com/sandialabs/cross-sim; then

python tests/benchmarks/crosssim_products.py PATH/OF/cross-sim
"""

import sys
from typing import Any

import jax
import numpy as np

import limpet

RANGE, BOUND = 2.0, 3.0
CASES: list[dict[str, Any]] = [
    {"rows": 40, "bits": 6, "slice_bits": None, "each": False},
    {"rows": 20, "bits": 8, "slice_bits": None, "each": False},
    {"rows": 20, "bits": 6, "slice_bits": 1, "each": False},
    {"rows": 40, "bits": 6, "slice_bits": 1, "each": True},
    {"rows": 20, "bits": 8, "slice_bits": 3, "each": True},
]
"""Bits of inputs; how many of them enter at a time; and whether each pass is converted, or charges are added first."""


def peer(case: dict[str, Any], x: np.ndarray, w: np.ndarray) -> np.ndarray:
    from simulator import AnalogCore, CrossSimParameters  # pyright: ignore[reportMissingImports]

    held = CrossSimParameters()
    held.core.style, held.core.balanced.style = "BALANCED", "ONE_SIDED"
    held.core.rows_max, held.core.weight_bits = case["rows"], 0
    held.xbar.device.infinite_on_off_ratio = True
    inputs, dac, adc = held.core.mapping.inputs, held.xbar.dac, held.xbar.adc
    inputs.mvm.min, inputs.mvm.max, inputs.mvm.clipping = -RANGE, RANGE, True
    dac.mvm.model, dac.mvm.bits, dac.mvm.signed = "SignMagnitudeDAC", case["bits"], True
    if case["slice_bits"]:
        dac.mvm.input_bitslicing, dac.mvm.slice_size = True, case["slice_bits"]
    adc.mvm.model, adc.mvm.bits, adc.mvm.signed = "SignMagnitudeADC", 7, True
    adc.mvm.adc_range_option, adc.mvm.calibrated_range = "CALIBRATED", np.array([-BOUND, BOUND])
    adc.mvm.adc_per_ibit = case["each"]
    core = AnalogCore(w.T.copy(), held)
    return np.stack([core.matvec(vector.copy()) for vector in x])


def ours(case: dict[str, Any], x: np.ndarray, w: np.ndarray) -> np.ndarray:
    slice_bits = case["slice_bits"] if case["each"] else None  # added as charges, bits are as if they entered at once
    dac = limpet.Converter(bits=case["bits"], range=RANGE, slice_bits=slice_bits)
    product = limpet.Product(dac, limpet.Converter(bits=7, bound=BOUND), relative_to="tensor")
    recipe = limpet.Hardware(w=limpet.Part("w", array=limpet.Array(rows=case["rows"]), product=product)).on({"w": w})
    return np.asarray(limpet.products(lambda w: x @ recipe(jax.random.key(0), {"w": w})["w"])(w))


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 40)).astype(np.float32)
    w = (0.3 * rng.standard_normal((40, 6))).astype(np.float32)
    for case in CASES:
        theirs, found = peer(case, x, w), ours(case, x, w)
        told = ", ".join(f"{key} {value}" for key, value in case.items())
        print(f"  {told:50} largest difference {np.abs(found - theirs).max():.1e} of {np.abs(theirs).max():.1f}")


if __name__ == "__main__":
    main()
