"""Digits trained for one kind of chip and measured on each of the others: what robustness to one says of another.

python examples/evidence/crossed.py                 # 3 seeds, a training of 4 seconds for each row
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import CHIP_SEEDS, Results, interval, of_curve, rows_of
from tasks import TASKS
from ways import WAYS

import limpet
from training import KEPT, Training

TIME = 3600.0
"""Seconds since programming, of phase-change memory."""

CHIPS = {
    "relative 0.7": "relative:0.7",
    "additive 0.15": "additive:0.15",
    "PCM": "pcm-nandakumar2019",
    "ReRAM": "reram-wan2022",
}
"""By their names in the table: relative noise; noise of that share of each tensor's largest weight; two presets."""

TRAINED: dict[str, tuple[str | None, Any]] = {
    "without mismatch": (None, None),
    "relative 0.7": ("relative 0.7", None),
    "additive 0.15": ("additive 0.15", None),
    "additive 0.15, straight through": ("additive 0.15", "straight_through"),
    "additive 0.15, straight through, clipped": ("additive 0.15", "clipped"),
    "PCM": ("PCM", None),
    "ReRAM": ("ReRAM", None),
}
"""By their names in the table: the chip trained for, and how the gradient goes through noise relative to the largest
weight: exactly if nothing is said, else past it, with weights clipped to 2.5 standard deviations or not."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each training; 0 for --steps")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--chips", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/evidence/crossed"))
    arguments = parser.parse_args(argv)
    task = TASKS["digits"](None)
    settings = {"seconds": arguments.seconds, "chips": arguments.chips, "time": TIME}
    settings |= {"steps": None if arguments.seconds else arguments.steps}
    try:
        results = Results(arguments.out, settings)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    hardware = {name: task.hardware(described) for name, described in CHIPS.items()}
    for name, (chip, gradient) in TRAINED.items():
        training: Training | None = None
        for seed in range(arguments.seeds):
            if f"{name}/{seed}" in results.rows:
                continue
            if training is None:
                how: dict[str, Any] = {"gradient": "straight_through"} if gradient else {}
                recipe = hardware[chip or "relative 0.7"].on(task.model, **how)
                after = limpet.clip_weights(2.5) if gradient == "clipped" else KEPT
                way = "forward noise" if chip else "standard"
                training = Training(WAYS[way](task, recipe), task, "test", task.rate, after=after)
            steps = training.steps_in(arguments.seconds) if arguments.seconds else arguments.steps
            network = training.run(seed, steps)
            row: dict[str, Any] = {"steps": steps, "nominal": float(task.accuracy(network, task.test_set)), "chips": {}}
            for measured, kind in hardware.items():
                at: dict[str, Any] = {"times": [TIME]} if measured == "PCM" else {"scales": [1]}
                curve = limpet.robustness_curve(
                    task.accuracy, network, kind.on(task.model), batch=task.test_set,
                    chips=limpet.Chips(arguments.chips, seed=CHIP_SEEDS["test"], progress=False), **at,
                )  # fmt: skip
                row["chips"][measured] = of_curve(curve, task.target)
            results.add(f"{name}/{seed}", row)
    print(f"| trained for | steps | nominal | {' | '.join(CHIPS)} |")
    print("|---" * (len(CHIPS) + 3) + "|")
    for name in TRAINED:
        if runs := rows_of(results.rows, name):
            cells = [f"{np.mean([row['steps'] for row in runs]):,.0f}", interval([row["nominal"] for row in runs])]
            for chip in CHIPS:
                both = (interval([row["chips"][chip][what] for row in runs]) for what in ("mean", "worst"))
                cells.append(" / ".join(both))
            print(f"| {name} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
