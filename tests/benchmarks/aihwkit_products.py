"""Analog products beside aihwkit's tile on CPUs: outputs without noise, and the spread of each kind of noise.

aihwkit 1.2.0 runs on Python 3.12 to 3.14. In a virtual environment of its own, and then in Limpet's:

python tests/benchmarks/aihwkit_products.py --write peer.json
python tests/benchmarks/aihwkit_products.py --beside peer.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

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
        (10.0, RANGE, 1000.0, False, 254),
    )
]
"""Wires resist a thousand times more than aihwkit's. Half of the largest of 254 steps would lie between two codes."""
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
    forward.ir_drop, forward.out_noise = case["ir_drop"], 0.0
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


def beside(theirs: dict[str, Any]) -> None:
    """Print the largest differences of outputs, and ratios of spreads."""
    raise NotImplementedError


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
