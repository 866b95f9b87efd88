"""The same dense networks in aihwkit-lightning: its step with weight noise against torch's plain step.

In a virtual environment of its own: python -m pip install torch aihwkit-lightning; then
python tests/benchmarks/aihwkit_lightning_step.py [--allocator=system]
"""

# ruff: noqa: E402
# pyright: reportMissingImports=false
import os
import statistics
import sys
import time
from itertools import pairwise

kept = {"MALLOC_MMAP_THRESHOLD_": str(2**34), "MALLOC_TRIM_THRESHOLD_": str(2**36), "MALLOC_ARENA_MAX": "1"}
if "--allocator=system" not in sys.argv and any(os.environ.get(name) != value for name, value in kept.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **kept})

import torch
from aihwkit_lightning.nn import AnalogLinear
from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig
from aihwkit_lightning.simulator.parameters import WeightNoiseInjectionType

NETWORKS = [((1024, 2048, 2048, 2048, 10), 128), ((1024, 2048, 2048, 2048, 10), 32), ((784, 512, 512, 10), 128)]
STEPS, ROUNDS = 5, 15


def analog_linear(inputs: int, outputs: int) -> torch.nn.Module:
    config = TorchInferenceRPUConfig()
    config.modifier.noise_type = WeightNoiseInjectionType.ADD_NORMAL
    config.modifier.std_dev = 0.1
    config.forward.is_perfect = True  # weight noise alone: no converters, no output noise
    return AnalogLinear(inputs, outputs, bias=False, rpu_config=config)


def training(sizes: tuple[int, ...], batch: int, linear, optimizer):
    torch.manual_seed(0)
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).train()
    update = optimizer(model.parameters(), lr=1e-3)
    x, y = torch.randn(batch, sizes[0]), torch.randint(0, sizes[-1], (batch,))

    def run() -> None:
        for _ in range(STEPS):
            update.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            update.step()

    return run


def seconds(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    plain_linear = lambda inputs, outputs: torch.nn.Linear(inputs, outputs, bias=False)  # noqa: E731
    for sizes, batch in NETWORKS:
        for name, optimizer in (("Adam", torch.optim.Adam), ("SGD", torch.optim.SGD)):
            plain, noisy = (training(sizes, batch, linear, optimizer) for linear in (plain_linear, analog_linear))
            times = [(seconds(plain), seconds(noisy)) for _ in range(ROUNDS + 2)][2:]
            low, ratio, high = statistics.quantiles([noisy / plain for plain, noisy in times], n=4)
            medians = [1e3 * statistics.median(found) for found in zip(*times, strict=True)]
            print(f"{'-'.join(map(str, sizes))}, batch {batch}, {name}; {STEPS} steps")
            print(f"  plain {medians[0]:.2f} ms, with noise {medians[1]:.2f} ms, ", end="")
            print(f"ratio {ratio:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
