"""Benches whose chips are simulated: tables of measurements, the components of which are known."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

COLUMNS = ("chip", "core", "neuron", "parameter", "nominal", "measured")
SIZES = [[32] * 4] * 4
"""Neurons of each core, by chip."""


def places(sizes: Sequence[Sequence[int]] = SIZES) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The chip, the core (numbered through) and the neuron of each device."""
    rows, core = [], 0
    for chip, cores in enumerate(sizes):
        for neurons in cores:
            rows += [(chip, core, neuron) for neuron in range(neurons)]
            core += 1
    return tuple(np.array(rows).T)


def nested(generator: np.random.Generator, spreads: Sequence[float], sizes=SIZES, tail: Callable | None = None):
    """Normal numbers of each level's standard deviation, added up; the lowest level's may be of another law."""
    chip, core, _ = places(sizes)
    lowest = generator.normal(size=len(chip)) if tail is None else tail(len(chip))
    upper = (
        generator.normal(0, spreads[0], chip.max() + 1)[chip] + generator.normal(0, spreads[1], core.max() + 1)[core]
    )
    return upper + spreads[2] * lowest


def table(factors, sizes=SIZES, parameter="Itau", nominal=2e-12) -> dict[str, list]:
    """Columns by name."""
    chip, core, neuron = places(sizes)
    first = np.array([core[chip == number].min() for number in range(chip.max() + 1)])
    columns = (
        [f"chip{number}" for number in chip],
        list(core - first[chip]),
        list(neuron),
        [parameter] * len(chip),
        [nominal] * len(chip),
        list(np.asarray(factors) * nominal),
    )
    return dict(zip(COLUMNS, columns, strict=True))


def write(path: Path, *tables: dict[str, list], header: Sequence[str] = COLUMNS) -> Path:
    """A .csv file of tables, one below the other."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for columns in tables:
            writer.writerows(zip(*columns.values(), strict=True))
    return path
