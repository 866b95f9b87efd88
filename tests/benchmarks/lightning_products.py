"""Analog products beside aihwkit-lightning: outputs and gradients without noise, the spread of noise, and its own step.

In a virtual environment of its own: python -m pip install torch aihwkit-lightning; then, there and in Limpet's:

python tests/benchmarks/lightning_products.py --write peer.json
python tests/benchmarks/lightning_products.py --beside peer.json
python tests/benchmarks/lightning_products.py --steps    # there: its steps, over its plain one, in turn
"""

# ruff: noqa: E402
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

import numpy as np

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
LEARNED = [{"rows": rows, "start": start} for rows in (9, 11) for start in (0.7, 5.0)]
"""Ranges that are learned: a third of the inputs are beyond .7, and none beyond 5, which decays."""
DECAY = 0.01
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
    ranges.enable, ranges.learn_input_range, ranges.init_from_data = True, True, 0
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
    learned = []
    for case in LEARNED:
        held = layer(SIZE, SIZE, case["rows"], 10.0, case["start"])
        held.rpu_config.pre_post.input_range.decay = DECAY
        x, towards = torch.randn(20, SIZE), torch.randn(20, SIZE)
        (held(x) * towards).sum().backward()
        arrays = {"x": x, "w": held.weight.T, "towards": towards, "of_range": held.input_range.grad}
        learned.append({**case, **{key: array.detach().numpy().tolist() for key, array in arrays.items()}})
    spreads = {}
    for rows in (SIZE, SIZE // 2):
        held = layer(SIZE, SIZE, rows, None, RANGE, NOISE)
        with torch.no_grad():
            x = torch.randn(1, SIZE)
            drawn = held(x.repeat(PASSES, 1)).numpy()
        spreads[rows] = {"x": x.numpy().tolist(), "w": held.weight.detach().numpy().T.tolist()}
        spreads[rows]["spread"] = drawn.std(axis=0).tolist()
    return {"cases": found, "learned": learned, "spreads": spreads}


def drawn(w: Any, rows: int, bound: float | None, range_: float | str, noise: float = 0.0, ranges: Any = None) -> Any:
    """The weights of the same layer of Limpet; lightning divides its noise by the root of the number of tiles."""
    import jax

    import limpet

    dac = limpet.Converter(bits=8, range=range_, **({"decay": DECAY} if range_ == "learned" else {}))
    noise /= (-(-len(w) // rows)) ** 0.5
    adc = limpet.Converter(bits=bound and 8, bound=bound, noise=noise)  # pyright: ignore[reportArgumentType]
    held = limpet.Product(dac, adc if noise or bound else None)
    part = limpet.Part("w", array=limpet.Array(rows=rows), product=held)
    return limpet.Hardware(w=part).on({"w": w})(jax.random.key(0), {"w": w}, ranges=ranges)["w"]


def beside(theirs: dict[str, Any]) -> None:
    """Print the largest differences of outputs and gradients, and ratios of spreads."""
    import jax
    import jax.numpy as jnp

    import limpet

    rows: dict[str, list[float]] = {}
    for case in theirs["cases"]:
        x, w, towards = (jnp.asarray(case[key], jnp.float32) for key in ("x", "w", "towards"))

        def value(x: Any, w: Any, case: Any = case, towards: Any = towards) -> Any:
            y = x @ drawn(w, case["rows"], case["bound"], case["range"])
            return (y * towards).sum(), y

        (_, y), slopes = jax.value_and_grad(limpet.products(value), argnums=(0, 1), has_aux=True)(x, w)
        name = f"rows {case['rows']}, bound {case['bound']}, range {case['range']}"
        ours = {"y": y, "dx": slopes[0], "dw": slopes[1]}
        found = [float(np.abs(held - np.array(case[key])).max()) for key, held in ours.items()]
        rows[name] = [max(pair) for pair in zip(rows.get(name, found), found, strict=True)]
    print("largest differences, inputs of 1 to 3 axes         outputs   gradients: inputs   weights")
    for name, found in rows.items():
        print(f"  {name:45} {found[0]:10.1e} {found[1]:19.1e} {found[2]:9.1e}")
    for case in theirs["learned"]:
        x, w, towards = (jnp.asarray(case[key], jnp.float32) for key in ("x", "w", "towards"))
        given = np.ravel(case["of_range"])

        def of_range(ranges: Any, case: Any = case, x: Any = x, w: Any = w, towards: Any = towards) -> Any:
            return (x @ drawn(w, case["rows"], 10.0, "learned", ranges={"w": ranges}) * towards).sum()

        slope = np.ravel(jax.grad(limpet.products(of_range))(jnp.full((1, len(given)), case["start"])))
        told = ", ".join(f"{ours:.4f} to {peers:.4f}" for ours, peers in zip(slope, given, strict=True))
        print(f"  gradient of learned ranges, tiles of {case['rows']:2} rows, from {case['start']}: {told}")
    for most, spread in theirs["spreads"].items():
        x, w = (jnp.asarray(spread[key], jnp.float32) for key in ("x", "w"))
        network = limpet.products(lambda x, w, most=most: x @ drawn(w, int(most), None, RANGE, NOISE))
        ratios = np.asarray(network(jnp.repeat(x, PASSES, axis=0), w)).std(axis=0) / np.array(spread["spread"])
        print(f"spread of noise, tiles of {most:2} rows: ratio {ratios.min():.3f} to {ratios.max():.3f}")


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
