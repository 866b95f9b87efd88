"""How often the 95% intervals of `limpet fit` hold the true spread, by level, and how wide they are beside it.

python tests/benchmarks/fit_coverage.py
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import simulated_bench as bench

from limpet.bench._components import Groups, Spread

LEVELS = ("chip", "core", "device", "setting", "reading")
UNBALANCED = [[16, 3, 20], [8, 8, 8, 8], [30, 2], [16] * 4, [5, 25, 9]]
LAWS = {  # draws of variance 1
    "normal": lambda generator, count: generator.normal(size=count),
    "Student t, 5": lambda generator, count: generator.standard_t(5, count) * 0.6**0.5,
    "Laplace": lambda generator, count: generator.laplace(size=count) / 2**0.5,
    "uniform": lambda generator, count: generator.uniform(-1, 1, count) * 3**0.5,
}


class Design(NamedTuple):
    """A bench: how many devices, what each level brings, and by which law devices deviate."""

    sizes: Sequence[Sequence[int]]
    spreads: tuple[float, float, float] = (0.05, 0.03, 0.1)
    law: str = "normal"
    settings: int = 1
    setting: float = 0.05
    readings: int = 1
    reading: float = 0.02


DESIGNS = {
    "1 chip of 50": Design([[50]], (0, 0, 0.1)),
    "4 chips x 3 cores x 12": Design([[12] * 3] * 4),
    "the same, of cores alike": Design([[12] * 3] * 4, (0.05, 0, 0.1)),
    "5 chips, unbalanced": Design(UNBALANCED),
    "5 chips, unbalanced, heavy": Design(UNBALANCED, law="Student t, 5"),
    "20 chips x 5": Design([[5]] * 20),
    "6 chips x 20, far apart": Design([[20]] * 6, (0.2, 0, 0.05)),
    "3 x 2 x 8, 3 values, 2 reads": Design([[8] * 2] * 3, (0.1, 0.1, 0.1), settings=3, readings=2),
    "2 x 2 x 16, all alike, heavy": Design([[16] * 2] * 2, (0, 0, 0.1), "Student t, 5"),
    "2 x 4 x 32": Design([[32] * 4] * 2, (0.1, 0.05, 0.1), "uniform"),
    "12 x 4 x 16": Design([[16] * 4] * 12, law="Laplace"),
    "8 x 4 x 32": Design([[32] * 4] * 8, law="Student t, 5"),
}


def simulated(design: Design, repeats: int) -> dict[str, tuple[float, float]]:
    """By level, how many intervals hold the true variance, and the median width of those of sigma over the true one."""
    generator, places = np.random.default_rng(0), bench.places(design.sizes)
    repeated = design.settings * design.readings
    chip, core, device = (np.repeat(labels, repeated) for labels in places)
    setting, reading = np.indices((len(places[0]), design.settings, design.readings)).reshape(3, -1)[1:]
    groups = Groups.among(chip=chip, core=core, device=device, setting=setting, reading=reading)
    true = dict(zip(LEVELS, (*design.spreads, design.setting, design.reading), strict=True))
    if "core" in groups.untold:  # of chips of one core each, both are the chip's
        true["chip"] = float(np.hypot(true["chip"], true["core"]))
    hits: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for _ in range(repeats):
        values = bench.nested(generator, design.spreads, design.sizes, lambda count: LAWS[design.law](generator, count))
        if repeated > 1:
            values = values[:, None] + design.setting * generator.normal(size=(len(values), design.settings))
            values = values[:, :, None] + design.reading * generator.normal(size=(*values.shape, design.readings))
        spread = Spread.of(values.ravel(), np.ones((values.size, 1)), groups, {})
        for level in spread.levels:
            low, high = spread.interval(level)
            hits.setdefault(level, []).append(low <= true[level] ** 2 <= high)
            widths.setdefault(level, []).append((high**0.5 - low**0.5) / (true[level] or np.nan))
    return {level: (float(np.mean(hits[level])), float(np.median(widths[level]))) for level in hits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000, help="benches of each design")
    parser.add_argument("--processes", type=int, default=1, help="designs that are simulated at a time")
    arguments = parser.parse_args()
    repeats = [arguments.repeats] * len(DESIGNS)
    print(f"{repeats[0]:,} benches of each; in brackets the median width of an interval over the true sigma")
    print(f"{'bench':30}{'devices':14}" + "".join(f"{level:>16}" for level in LEVELS))
    with ProcessPoolExecutor(arguments.processes) as pool:
        for (name, design), found in zip(DESIGNS.items(), pool.map(simulated, DESIGNS.values(), repeats), strict=True):
            cells = [_cell(*found[level]) if level in found else "" for level in LEVELS]
            print(f"{name:30}{design.law:14}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def _cell(coverage: float, width: float) -> str:
    return f"{coverage:.1%}" + ("" if np.isnan(width) else f" ({width:.2f})")


if __name__ == "__main__":
    main()
