"""The seconds in which `limpet fit` reads and fits a table of 36,864 rows: 24 dies of 4 cores of 128 devices.

python tests/benchmarks/fit_speed.py
"""

import csv
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import limpet
from limpet.bench._measurements import read_measurements

SET_VALUES = (20.0, 50.0, 100.0)


def write(path: Path) -> None:
    """A table of three set values, with 40 gross errors."""
    generator = np.random.default_rng(0)
    die, core, device, place = np.indices((24, 4, 128, 3)).reshape(4, -1)
    logs = generator.normal(0, 0.08, 24)[die] + generator.normal(0, 0.05, (24, 4))[die, core]
    logs += generator.normal(0, 0.15, (24, 4, 128))[die, core, device] + generator.normal(0, 0.03, len(die))
    nominal = np.array(SET_VALUES)[place]
    measured = 0.7 * nominal * np.exp(logs)
    measured[generator.choice(len(die), 40, replace=False)] *= 30
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["chip", "core", "device", "nominal [pA]", "measured [pA]"])
        rows.writerows(zip(die, core, device, nominal, measured, strict=True))


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dies.csv"
        write(path)
        for name, run in {
            "read": lambda: read_measurements(path),
            "read and fit": lambda: limpet.fit_measurements(path),
            "read and fit, robust": lambda: limpet.fit_measurements(path, robust=True),
        }.items():
            seconds = []
            for _ in range(4):
                start = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - start)
            print(f"{name:22} {seconds[0]:.2f} s the first time, {min(seconds[1:]):.2f} s later", flush=True)


if __name__ == "__main__":
    main()
