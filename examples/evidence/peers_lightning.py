"""Training of the digits network by aihwkit-lightning, for peers.py, which runs this in an environment that has it.

pip install aihwkit-lightning torch numpy
python peers_lightning.py given.npz trained.npz --noise 0.15 --clip 2.5 --seconds 1 4
"""

import argparse
import time
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from aihwkit_lightning.nn import AnalogLinear  # pyright: ignore[reportMissingImports]
from aihwkit_lightning.optim import AnalogOptimizer  # pyright: ignore[reportMissingImports]
from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig  # pyright: ignore[reportMissingImports]
from aihwkit_lightning.simulator.parameters import (  # pyright: ignore[reportMissingImports]
    WeightClipType,
    WeightNoiseInjectionType,
)

TRIAL = 1.0
"""Seconds that are trained to tell how many steps fit into a time."""


def network(initial: dict[str, np.ndarray], noise: float, clip: float) -> Any:
    config = TorchInferenceRPUConfig()
    config.modifier.std_dev, config.modifier.noise_type = noise, WeightNoiseInjectionType.ADD_NORMAL
    if clip:
        config.clip.sigma, config.clip.type = clip, WeightClipType.LAYER_GAUSSIAN
    layers: list[Any] = []
    for number in range(len(initial) // 2):
        kernel = torch.tensor(initial[f"dense_{number}/kernel"])
        layer = AnalogLinear(*kernel.shape, bias=True, rpu_config=config)
        with torch.no_grad():
            layer.weight.copy_(kernel.T)
            layer.bias.copy_(torch.tensor(initial[f"dense_{number}/bias"]))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def trained(net: Any, images: Any, labels: Any, *, steps: int, rate: float, batch: int, seed: int) -> float:
    """Trains in place; the seconds it took."""
    torch.manual_seed(seed)
    analog = [layer for layer in net if isinstance(layer, AnalogLinear)]
    optimizer = AnalogOptimizer(torch.optim.Adam, lambda: iter(analog), net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    net.train()
    started = time.process_time()
    for _ in range(steps):
        chosen = torch.randint(len(images), (batch,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(images[chosen]), labels[chosen]).backward()
        optimizer.step()
        schedule.step()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("given", help="images, labels, rate, batch, and initial weights as seed/layer/leaf")
    parser.add_argument("trained", help="written: weights as seconds/seed/layer/leaf, steps and seconds")
    parser.add_argument("--noise", type=float, required=True, help="of each tensor's largest weight")
    parser.add_argument("--clip", type=float, default=0.0, help="standard deviations of a layer; 0 for none")
    parser.add_argument("--seconds", type=float, nargs="+", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    given = dict(np.load(arguments.given))
    images, labels = torch.tensor(given["images"]), torch.tensor(given["labels"]).long()
    settings = {"rate": float(given["rate"]), "batch": int(given["batch"])}
    seeds = sorted({path.split("/")[0] for path in given if "/" in path}, key=int)
    initial = {
        seed: {path.partition("/")[2]: value for path, value in given.items() if path.startswith(f"{seed}/")}
        for seed in seeds
    }
    count, taken = 200, 0.0
    while taken < TRIAL:
        count *= 2
        net = network(initial[seeds[0]], arguments.noise, arguments.clip)
        taken = trained(net, images, labels, steps=count, seed=0, **settings)
    results: dict[str, Any] = {}
    for seconds in arguments.seconds:
        for seed in seeds:
            net, steps = network(initial[seed], arguments.noise, arguments.clip), round(seconds * count / taken)
            real = trained(net, images, labels, steps=steps, seed=int(seed), **settings)
            results[f"{seconds:g}/{seed}/steps"], results[f"{seconds:g}/{seed}/seconds"] = steps, real
            for number, layer in enumerate(layer for layer in net if isinstance(layer, AnalogLinear)):
                where = f"{seconds:g}/{seed}/dense_{number}"
                results[f"{where}/kernel"] = layer.weight.detach().numpy().T
                results[f"{where}/bias"] = layer.bias.detach().numpy()
    np.savez(arguments.trained, **results)


if __name__ == "__main__":
    main()
