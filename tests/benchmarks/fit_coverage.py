"""How often the 95% intervals of `limpet fit` hold the true spread, by law of the lowest level and size of the bench.

python tests/benchmarks/fit_coverage.py
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import simulated_bench as bench

from limpet.bench._nested import Nested

LEVELS = ("chip", "core", "neuron")
SPREADS = (0.05, 0.03, 0.1)
BENCHES = {
    "1 chip of 50": [[50]],
    "4 chips x 3 cores x 12": [[12] * 3] * 4,
    "4 chips x 4 cores x 25": [[25] * 4] * 4,
    "5 chips, unbalanced": [[16, 3, 20], [8, 8, 8, 8], [30, 2], [16] * 4, [5, 25, 9]],
    "20 chips x 5": [[5]] * 20,
}


def laws(generator):
    """Draws of variance 1, by name."""

    def student(degrees):
        return lambda count: generator.standard_t(degrees, count) * ((degrees - 2) / degrees) ** 0.5

    return {
        "normal": lambda count: generator.normal(size=count),
        "Student t, 8": student(8),
        "Student t, 5": student(5),
        "Student t, 4": student(4),
        "Student t, 3": student(3),
        "Laplace": lambda count: generator.laplace(size=count) / 2**0.5,
        "uniform": lambda count: generator.uniform(-1, 1, count) * 3**0.5,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000, help="benches of each kind")
    repeats = parser.parse_args().repeats
    print(f"{'bench':24}{'lowest level':16}" + "".join(f"{level:>10}" for level in LEVELS) + f"{'width':>9}")
    for name, sizes in BENCHES.items():
        chip, core, _ = bench.places(sizes)
        generator = np.random.default_rng(0)
        for law, draw in laws(generator).items():
            hits, widths = dict.fromkeys(LEVELS, 0), []
            for _ in range(repeats):
                values = bench.nested(generator, SPREADS, sizes, draw)
                combinations = Nested(values, chip, core).combinations()
                true = dict(zip(LEVELS, SPREADS, strict=True))
                if "core" not in combinations:  # of chips of one core each, both are the chip's
                    true["chip"] = float(np.hypot(true["chip"], true["core"]))
                for level, combination in combinations.items():
                    low, high = (max(end, 0.0) for end in combination.interval(0.95))
                    hits[level] += low <= true[level] ** 2 <= high
                    if level == "neuron":
                        widths.append((high**0.5 - low**0.5) / SPREADS[2])
            cells = "".join(f"{hits[level] / repeats:10.1%}" if hits[level] else f"{'':10}" for level in LEVELS)
            print(f"{name:24}{law:16}{cells}{np.median(widths):9.2f}", flush=True)


if __name__ == "__main__":
    main()
