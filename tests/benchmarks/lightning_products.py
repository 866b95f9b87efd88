"""Analog products beside aihwkit-lightning: outputs and gradients without noise, the spread of noise, and its own step.

In a virtual environment of its own: python -m pip install torch aihwkit-lightning; then, there and in Limpet's:

python tests/benchmarks/lightning_products.py --write peer.json
python tests/benchmarks/lightning_products.py --beside peer.json
python tests/benchmarks/lightning_products.py --steps    # there: its steps, over its plain one, in turn
"""

import argparse
import json
import os
import statistics
import sys
import time
from itertools import pairwise, product
from pathlib import Path
from typing import Any

kept = {"MALLOC_MMAP_THRESHOLD_": str(2**34), "MALLOC_TRIM_THRESHOLD_": str(2**36), "MALLOC_ARENA_MAX": "1"}
if "--allocator=system" not in sys.argv and any(os.environ.get(name) != value for name, value in kept.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **kept})


SIZE = 10
RANGE = 2.0
STATES = 254
CASES = [
    {"rows": rows, "bound": bound, "range": range_, "shape": shape}
    for rows, bound, range_, shape in product(
        (9, 11), (None, 10.0, 1.0), (RANGE, "dynamic"), ((SIZE,), (2, SIZE), (2, SIZE, SIZE))
    )
]
"""With and without an output converter; of a bound of 1, a third of the outputs are beyond."""
NOISE, PASSES = 0.1, 20_000
SIZES, BATCH = (784, 512, 512, 10), 256


def layer(inputs: int, outputs: int, rows: int, bound: float | None, range_: float | str, noise: float = 0.0) -> Any:
    """A layer of aihwkit-lightning, with an input converter of 8 bits."""
    from aihwkit_lightning.nn import AnalogLinear  # pyright: ignore[reportMissingImports]
    from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig  # pyright: ignore[reportMissingImports]

    config = TorchInferenceRPUConfig()
    config.forward.inp_res, config.forward.out_noise = STATES, noise
    config.forward.out_res = -1 if bound is None else STATES
    config.forward.out_bound = -1 if bound is None else bound
    config.mapping.max_input_size = rows
    ranges = config.pre_post.input_range
    ranges.enable, ranges.learn_input_range, ranges.init_from_data = True, False, 0
    ranges.dynamic = range_ == "dynamic"
    ranges.init_value = RANGE if range_ == "dynamic" else range_
    return AnalogLinear(inputs, outputs, bias=False, rpu_config=config).train()


def peer() -> dict[str, Any]:
    """Outputs and gradients of each case, and the spread of noisy outputs by the number of tiles."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    found = []
    for case in CASES:
        held = layer(SIZE, SIZE, case["rows"], case["bound"], case["range"])
        x = torch.randn(case["shape"], requires_grad=True)
        y = held(x * 1.0)
        towards = torch.randn(y.shape)
        y.backward(towards)
        arrays = {"x": x, "w": held.weight.T, "towards": towards, "y": y, "dx": x.grad, "dw": held.weight.grad.T}
        found.append({**case, **{key: array.detach().numpy().tolist() for key, array in arrays.items()}})
    spreads = {}
    for rows in (SIZE, SIZE // 2):
        held = layer(SIZE, SIZE, rows, None, RANGE, NOISE)
        with torch.no_grad():
            x = torch.randn(1, SIZE)
            drawn = held(x.repeat(PASSES, 1)).numpy()
        spreads[rows] = {"x": x.numpy().tolist(), "w": held.weight.detach().numpy().T.tolist()}
        spreads[rows]["spread"] = drawn.std(axis=0).tolist()
    return {"cases": found, "spreads": spreads}


def ours(rows: int, bound: float | None, range_: float | str, noise: float = 0.0, tiles: int = 1) -> Any:
    """The same layer as hardware; lightning divides its noise by the root of the number of tiles."""
    import limpet

    outputs = limpet.Converter(bits=None if bound is None else 8, bound=bound, noise=noise / tiles**0.5)
    with_outputs = bound is not None or noise
    held = limpet.Product(limpet.Converter(bits=8, range=range_), outputs if with_outputs else None)
    return limpet.Part("*", array=limpet.Array(rows=rows), product=held)


def beside(theirs: dict[str, Any]) -> None:
    """Print the largest differences of outputs and gradients, and ratios of spreads."""
    raise NotImplementedError


def steps() -> None:
    """Print the step of aihwkit-lightning with converters, and with output noise, over its plain one, in turn."""
    import torch  # pyright: ignore[reportMissingImports]

    def training(linear: Any) -> Any:
        torch.manual_seed(0)
        layers: list[Any] = []
        for inputs, outputs in pairwise(SIZES):
            layers += [linear(inputs, outputs), torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1]).train()
        update = torch.optim.SGD(model.parameters(), lr=1e-3)
        x, y = torch.randn(BATCH, SIZES[0]), torch.randint(0, SIZES[-1], (BATCH,))

        def run() -> float:
            start = time.perf_counter()
            for _ in range(5):
                update.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                update.step()
            return (time.perf_counter() - start) / 5

        return run

    runs = {
        "plain": training(lambda inputs, outputs: torch.nn.Linear(inputs, outputs, bias=False)),
        "DAC and ADC, fixed ranges": training(lambda i, o: layer(i, o, 1024, 10.0, RANGE)),
        "and output noise": training(lambda i, o: layer(i, o, 1024, 10.0, RANGE, 0.04)),
        "and 4 row tiles": training(lambda i, o: layer(i, o, 196 if i == 784 else 128, 10.0, RANGE, 0.04)),
        "DAC and ADC, dynamic ranges": training(lambda i, o: layer(i, o, 1024, 10.0, "dynamic")),
    }
    times = [{name: run() for name, run in runs.items()} for _ in range(32)][2:]
    for name in runs:
        low, ratio, high = statistics.quantiles([found[name] / found["plain"] for found in times], n=4)
        median = 1e3 * statistics.median(found[name] for found in times)
        print(f"  {name:30} {median:8.2f} ms   ratio {ratio:.3f} ({low:.3f} to {high:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--allocator")
    options = parser.parse_args()
    if options.write:
        options.write.write_text(json.dumps(peer()))
    if options.beside:
        beside(json.loads(options.beside.read_text()))
    if options.steps:
        steps()


if __name__ == "__main__":
    main()
