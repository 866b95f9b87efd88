"""Mean and spread of deviated weights over their value: `limpet.Additive` beside aihwkit-lightning's two weight noises.

In a virtual environment of its own: python -m pip install torch aihwkit-lightning; then, there and in Limpet's:

python tests/benchmarks/aihwkit_lightning_additive.py --write peer.json
python tests/benchmarks/aihwkit_lightning_additive.py --beside peer.json
"""

import argparse
import json
from pathlib import Path

import numpy as np

SPREAD = 0.1
FRACTIONS = (0.0, 0.1, -0.25, 0.5, -0.75, 1.0)
"""Values, as fractions of the largest one of their channel; of each there are `COPIES` in each channel."""
LARGEST = (1.0, 0.5, 0.25, 0.1)
"""Of the channels."""
COPIES, PASSES = 40, 1000
KINDS = {"tensor": "ADD_NORMAL", "channel": "ADD_NORMAL_PER_CHANNEL"}


def weights() -> np.ndarray:
    """Of shape (inputs, channels)."""
    return np.repeat(np.outer(FRACTIONS, LARGEST), COPIES, axis=0).astype(np.float32)


def summary(drawn: np.ndarray) -> list[list[list[float]]]:
    """Mean and standard deviation for each fraction and channel, from shape (draws, inputs, channels)."""
    cells = drawn.reshape(len(drawn), len(FRACTIONS), COPIES, len(LARGEST)).astype(np.float64)
    return np.stack([cells.mean(axis=(0, 2)), cells.std(axis=(0, 2))], axis=-1).tolist()


def peer() -> dict[str, list]:
    """What a layer in training applies to its weights: its outputs for unit vectors, whose products are the weights."""
    import torch  # pyright: ignore[reportMissingImports]
    from aihwkit_lightning.nn import AnalogLinear  # pyright: ignore[reportMissingImports]
    from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig  # pyright: ignore[reportMissingImports]
    from aihwkit_lightning.simulator.parameters import (  # pyright: ignore[reportMissingImports]
        WeightNoiseInjectionType,
    )

    torch.manual_seed(0)
    found = {}
    for kind, name in KINDS.items():
        config = TorchInferenceRPUConfig()
        config.modifier.noise_type = WeightNoiseInjectionType[name]
        config.modifier.std_dev = SPREAD
        config.forward.is_perfect = True  # weight noise alone: no converters, no output noise
        inputs, channels = weights().shape
        layer = AnalogLinear(inputs, channels, bias=False, rpu_config=config).train()
        layer.set_weights(torch.from_numpy(weights().T.copy()))
        with torch.no_grad():
            drawn = np.stack([layer(torch.eye(inputs)).numpy() for _ in range(PASSES)])
        found[kind] = summary(drawn)
    return found


def beside(theirs: dict[str, list]) -> None:
    import jax
    import jax.numpy as jnp

    import limpet

    for kind, rows in theirs.items():
        recipe = limpet.Mismatch({"w": True}, limpet.Additive(spread=SPREAD, relative_to=kind))
        keys = jax.random.split(jax.random.key(0, impl=limpet.fast), PASSES)
        drawn = jax.jit(jax.vmap(lambda key, recipe=recipe: recipe(key, {"w": jnp.asarray(weights())})["w"]))(keys)
        peers, ours = np.array(rows), np.array(summary(np.asarray(drawn)))
        print(f"relative to the {kind} ({KINDS[kind]}), spread {SPREAD}")
        print("  largest of channel   w / that     mean: lightning   limpet     spread: lightning   limpet   ratio")
        for column, largest in enumerate(LARGEST):
            for row, fraction in enumerate(FRACTIONS):
                (mean, spread), (our_mean, our_spread) = peers[row, column], ours[row, column]
                print(
                    f"  {largest:18g} {fraction:10.2f}   {mean:17.4f} {our_mean:8.4f}   {spread:19.5f} "
                    f"{our_spread:8.5f}   {our_spread / spread:.3f}"
                )
        ratios = ours[..., 1] / peers[..., 1]
        print(f"  ratios of spreads {ratios.min():.4f} to {ratios.max():.4f}, mean {ratios.mean():.4f}")


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
