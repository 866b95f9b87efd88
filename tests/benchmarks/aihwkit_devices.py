"""Spread and mean of programmed weights over their value: Limpet's presets beside aihwkit's noise models.

In a virtual environment of its own with torch (CPU) and numpy, then in Limpet's. The noise models are Python; what
aihwkit compiles is not needed, so its sources will do:

pip download aihwkit==1.2.0 --no-deps && tar xzf aihwkit-1.2.0.tar.gz
python tests/benchmarks/aihwkit_devices.py --source aihwkit-1.2.0/src/aihwkit --write peer.json
python tests/benchmarks/aihwkit_devices.py --beside peer.json
"""

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType

FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
COUNT = 200_000
DAY = 86400.0


def peer(source: Path) -> dict[str, list[list[float]]]:
    """By model and time: mean and standard deviation of the weights at each fraction of the largest."""
    for package in ("", "inference", "inference/noise", "inference/converter"):
        module = ModuleType(".".join(filter(None, ("aihwkit", *package.split("/")))))
        module.__path__ = [str(source / package)]
        sys.modules[module.__name__] = module
    import torch  # pyright: ignore[reportMissingImports]
    from aihwkit.inference.converter.conductance import SinglePairConductanceConverter  # pyright: ignore[reportMissingImports]
    from aihwkit.inference.noise.hermes import HermesNoiseModel  # pyright: ignore[reportMissingImports]
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel  # pyright: ignore[reportMissingImports]
    from aihwkit.inference.noise.reram import ReRamWan2022NoiseModel  # pyright: ignore[reportMissingImports]

    of_40_microsiemens = SinglePairConductanceConverter(g_max=40.0)
    models = {
        "pcm-nandakumar2019": (PCMLikeNoiseModel(), (None, DAY)),
        "pcm-hermes": (HermesNoiseModel(num_devices=2), (None, DAY)),
        "reram-wan2022": (ReRamWan2022NoiseModel(g_converter=of_40_microsiemens), (DAY,)),
    }
    found = {}
    torch.manual_seed(0)
    for name, (model, times) in models.items():
        for time in times:
            rows = []
            for fraction in FRACTIONS:
                weights = torch.full((COUNT,), fraction)
                weights[0] = 1.0  # the largest
                if name == "reram-wan2022":
                    moved = model.apply_noise(weights, time)
                else:
                    # By conductances, as tiles do it: `apply_drift_noise` would take the largest of the weights that
                    # were programmed already for the largest one.
                    targets, scales = model.g_converter.convert_to_conductances(weights)
                    held = [model.apply_programming_noise_to_conductance(target) for target in targets]
                    if time is not None:
                        held = [
                            model.apply_drift_noise_to_conductance(g, model.generate_drift_coefficients(target), time)
                            for g, target in zip(held, targets, strict=True)
                        ]
                    moved = model.g_converter.convert_back_to_weights(held, scales)
                rows.append([float(moved[1:].mean()), float(moved[1:].std())])
            found[f"{name} {time}"] = rows
    return found


def beside(theirs: dict[str, list[list[float]]]) -> None:
    """Both, and the largest difference as a fraction of the largest weight."""
    import jax
    import jax.numpy as jnp

    import limpet

    for key, rows in theirs.items():
        name, _, time = key.partition(" ")
        values = jnp.asarray([[fraction] * (COUNT - 1) + [1.0] for fraction in FRACTIONS])
        tree = {f"{fraction}": row[None] for fraction, row in zip(FRACTIONS, values, strict=True)}
        hardware = limpet.preset(name)
        at_once = hardware.parts["weights"].deviation
        if time == "None" and isinstance(at_once.device, limpet.Chain):  # after programming, before any read  # pyright: ignore
            (programming, *_) = at_once.device.members  # pyright: ignore[reportAttributeAccessIssue]
            hardware = limpet.Hardware(weights=limpet.Part("matrices", limpet.Crossbar(programming)))
        recipe = hardware.on(tree)
        seconds = None if time == "None" else float(time)
        key = jax.random.key(0, impl=limpet.fast)
        condition = limpet.Condition(time=seconds)
        drawn = jax.jit(lambda tree, recipe=recipe, key=key, at=condition: recipe(key, tree, at))(tree)
        print(f"{name}, {'programmed' if seconds is None else f'{seconds:g} s'}")
        print("  w / m      mean: aihwkit   limpet     spread: aihwkit   limpet   ratio")
        for fraction, (mean, spread) in zip(FRACTIONS, rows, strict=True):
            ours = drawn[f"{fraction}"][0, :-1]
            print(
                f"  {fraction:5.2f}   {mean:14.4f} {float(ours.mean()):8.4f}   {spread:15.5f} {float(ours.std()):8.5f}"
                f"   {float(ours.std()) / spread:.3f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("aihwkit-1.2.0/src/aihwkit"))
    parser.add_argument("--write", type=Path)
    parser.add_argument("--beside", type=Path)
    options = parser.parse_args()
    if options.write:
        options.write.write_text(json.dumps(peer(options.source)))
    if options.beside:
        beside(json.loads(options.beside.read_text()))


if __name__ == "__main__":
    main()
