"""Analog products beside aihwkit's tile on CPUs: outputs without noise, and the spread of each kind of noise.

aihwkit 1.2.0 runs on Python 3.12 to 3.14. In a virtual environment of its own, and then in Limpet's:

python tests/benchmarks/aihwkit_products.py --write peer.json
python tests/benchmarks/aihwkit_products.py --beside peer.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

INPUTS, OUTPUTS, BATCH = 40, 10, 16
RANGE = 2.0
PASSES = 20_000
CASES: list[dict[str, Any]] = [
    {"rows": rows, "bound": bound, "range": range_, "ir_drop": ir_drop, "managed": managed, "states": states}
    for rows in (40, 16)
    for bound, range_, ir_drop, managed, states in (
        (None, RANGE, 0.0, False, 254),
        (10.0, RANGE, 0.0, False, 254),
        (1.0, RANGE, 0.0, False, 254),
        (10.0, "dynamic", 0.0, False, 254),
        (1.0, "dynamic", 0.0, True, 256),
        (10.0, RANGE, 100.0, False, 254),
    )
]
"""Wires resist a hundred times more than aihwkit's. Half of the largest of 254 steps would lie between two codes."""
NOISES: dict[str, dict[str, Any]] = {
    "outputs": {"out_noise": 0.04},
    "inputs": {"inp_noise": 0.05},
    "weights": {"w_noise": 0.0175, "w_noise_type": "PCM_READ"},
    "additive": {"w_noise": 0.0175, "w_noise_type": "ADDITIVE_CONSTANT"},
}


def layer(case: dict[str, Any], **noise: Any) -> Any:
    """A layer of aihwkit, whose weights are fractions of the largest one of their column."""
    from aihwkit.nn import AnalogLinear  # pyright: ignore[reportMissingImports]
    from aihwkit.simulator import configs  # pyright: ignore[reportMissingImports]

    config = configs.InferenceRPUConfig(noise_model=None, drift_compensation=None)
    mapping, forward, ranges = config.mapping, config.forward, config.pre_post.input_range
    mapping.weight_scaling_omega, mapping.weight_scaling_columnwise = 1.0, True
    mapping.max_input_size, mapping.max_output_size = case["rows"], 0
    forward.inp_res, forward.inp_bound = case["states"], 1.0
    forward.out_res = -1 if case["bound"] is None else case["states"]
    forward.out_bound = -1 if case["bound"] is None else case["bound"]
    forward.ir_drop, forward.out_noise = float(case["ir_drop"] > 0), 0.0
    forward.ir_drop_g_ratio = 1 / 1.75e-6 / max(case["ir_drop"], 1.0)
    forward.bound_management = configs.BoundManagementType["ITERATIVE" if case["managed"] else "NONE"]
    dynamic = case["range"] == "dynamic"
    forward.noise_management = configs.NoiseManagementType["ABS_MAX" if dynamic else "NONE"]
    ranges.enable, ranges.init_from_data = not dynamic, 0
    if not dynamic:
        ranges.init_value = case["range"]
    for key, value in noise.items():
        setattr(forward, key, configs.WeightNoiseType[value] if key == "w_noise_type" else value)
    return AnalogLinear(INPUTS, OUTPUTS, bias=False, rpu_config=config).eval()


def peer() -> dict[str, Any]:
    """Outputs of each case, and the spread of noisy outputs by the kind of noise."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    found, spreads = [], {}
    with torch.no_grad():
        for case in CASES:
            held, x, w = layer(case), torch.randn(BATCH, INPUTS), 0.3 * torch.randn(OUTPUTS, INPUTS)
            held.set_weights(w)
            y = held(x)
            found.append({**case, "x": x.tolist(), "w": held.get_weights()[0].T.tolist(), "y": y.tolist()})
        for name, noise in NOISES.items():
            held, x, w = layer(CASES[6], **noise), torch.randn(1, INPUTS), 0.3 * torch.randn(OUTPUTS, INPUTS)
            held.set_weights(w)
            drawn = held(x.repeat(PASSES, 1)).numpy()
            spreads[name] = {"x": x.tolist(), "w": held.get_weights()[0].T.tolist(), "spread": drawn.std(0).tolist()}
    return {"cases": found, "spreads": spreads}


def drawn(w: Any, case: dict[str, Any], **noise: Any) -> Any:
    """The weights of the same layer of Limpet."""
    import jax

    import limpet

    dac = limpet.Converter(levels=case["states"] + 1, range=case["range"], noise=noise.get("inp_noise", 0.0))
    adc = limpet.Converter(
        levels=case["bound"] and case["states"] + 1, bound=case["bound"], noise=noise.get("out_noise", 0.0)
    )
    held = limpet.Product(
        dac,
        adc,
        noise.get("w_noise", 0.0),
        "inputs" if noise.get("w_noise_type") == "ADDITIVE_CONSTANT" else "weights",
        wire=case["ir_drop"] * 1.75e-6,
        relative_to="column",
        bound_management=5 if case["managed"] else 0,  # aihwkit's ends above a factor of max_bm_res / (2 inp_res), 32
    )
    part = limpet.Part("w", array=limpet.Array(rows=case["rows"]), product=held)
    return limpet.Hardware(w=part).on({"w": w})(jax.random.key(0), {"w": w})["w"]


def beside(theirs: dict[str, Any]) -> None:
    """Print the largest differences of outputs, and ratios of spreads."""
    import jax.numpy as jnp

    import limpet

    for case in theirs["cases"]:
        x, w, y = (jnp.asarray(case[key], jnp.float32) for key in ("x", "w", "y"))
        found = limpet.products(lambda x, w, case=case: x @ drawn(w, case))(x, w)
        told = ", ".join(f"{key} {case[key]}" for key in ("rows", "bound", "range", "ir_drop", "managed"))
        print(f"  {told:65} largest difference {np.abs(found - y).max():.1e} of {np.abs(y).max():.1f}")
    for name, spread in theirs["spreads"].items():
        x, w = (jnp.asarray(spread[key], jnp.float32) for key in ("x", "w"))
        network = limpet.products(lambda x, w, name=name: x @ drawn(w, CASES[6], **NOISES[name]))
        ratios = np.asarray(network(jnp.repeat(x, PASSES, axis=0), w)).std(axis=0) / np.array(spread["spread"])
        print(f"  spread of noise of {name:10} ratio {ratios.min():.3f} to {ratios.max():.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--beside", type=Path)
    options = parser.parse_args()
    if options.write:
        options.write.write_text(json.dumps(peer()))
    if options.beside:
        beside(json.loads(options.beside.read_text()))


if __name__ == "__main__":
    main()
