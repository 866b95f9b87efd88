"""Products in the loop: what training with converters and noise is worth on a chip of 6-bit converters, at equal time.

The chip: arrays of 32 rows whose weights are programmed with noise, input and output converters of 6 bits, and output
noise. Each network is measured with the bounds of its output converters as they are said, and as `limpet.output_bounds`
finds them on training data, so that no network is behind for want of a calibration that takes a second.

python examples/evidence/converters.py --task digits
python examples/evidence/converters.py --task digits-cnn
python examples/evidence/converters.py --task digits --split validation --bound 5
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from measuring import CHIP_SEEDS, Results, interval, of_curve, rows_of
from tasks import TASKS, Task
from tasks._task import batches_of
from ways import WAYS

import limpet
from training import Training

ALONE, WITHIN, FOUND = "on weights alone", "with products", "with products, bounds found first"
TRAINED = {"without mismatch": "standard"} | dict.fromkeys((ALONE, WITHIN, FOUND), "forward noise")
"""Ways of training, by their names in the table. Those with products have the chip's, of the bounds that are said or of
those that were found for the first network that was trained on weights alone; the others have exact products."""


def hardware_of(bits: int, bound: float, rows: int) -> limpet.Hardware:
    product = limpet.Product(
        inputs=limpet.Converter(bits=bits, range="dynamic"),
        outputs=limpet.Converter(bits=bits, bound=bound, noise=0.04),
    )
    part = limpet.Part("*/kernel", limpet.Additive(spread=0.05), array=limpet.Array(rows=rows), product=product)
    return limpet.Hardware(crossbar=part)


def measured(network: Any, task: Task, hardware: limpet.Hardware, split: str, chips: int) -> dict[str, Any]:
    """A network on chips whose bounds are as said, and found on the data that it was trained on."""
    examples, test = task.shown(split)
    batches = batches_of(examples, 64, 8)
    found = limpet.output_bounds(task.accuracy, network, hardware, batches, method="least squares")
    row: dict[str, Any] = {"nominal": float(task.accuracy(network, test)), "bounds": found, "chips": {}}
    for name, kind in {"as said": hardware, "found": hardware.with_bounds(found)}.items():
        which = limpet.Chips(chips, seed=CHIP_SEEDS[split], progress=False)
        curve = limpet.robustness_curve(
            task.accuracy, network, kind.on(task.model), scales=[1], chips=which, batch=test
        )
        row["chips"][name] = of_curve(curve, task.target)
    return row


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("digits", "digits-small", "digits-cnn", "mnist-cnn"), default="digits")
    parser.add_argument("--bits", type=int, default=6, help="of both converters")
    parser.add_argument("--bound", type=float, default=10.0, help="of output converters, before bounds are found")
    parser.add_argument("--rows", type=int, default=32, help="of an array")
    parser.add_argument("--seconds", type=float, help="of each training, if not the task's")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--chips", type=int, default=100)
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="validation to choose settings")
    parser.add_argument("--out", type=Path, help="directory of the JSON")
    arguments = parser.parse_args(argv)
    task = TASKS[arguments.task](None)
    settings = {name: getattr(arguments, name) for name in ("task", "bits", "bound", "rows", "chips", "split")}
    settings["seconds"] = task.seconds if arguments.seconds is None else arguments.seconds
    try:
        results = Results(arguments.out or Path("runs/evidence") / f"converters-{arguments.task}", settings)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    hardware = hardware_of(arguments.bits, arguments.bound, arguments.rows)
    for name, way in TRAINED.items():
        training: Training | None = None
        trained_on = hardware.without_products()
        if name in (WITHIN, FOUND):
            trained_on = hardware if name == WITHIN else hardware.with_bounds(results.rows[f"{ALONE}/0"]["bounds"])
        for seed in range(arguments.seeds):
            if f"{name}/{seed}" in results.rows:
                continue
            recipe = trained_on.on(task.model)
            training = training or Training(WAYS[way](task, recipe), task, arguments.split, task.rate)
            steps = training.steps_in(settings["seconds"])
            started = time.process_time()
            network = training.run(seed, steps)
            row = {"steps": steps, "seconds": time.process_time() - started}
            results.add(f"{name}/{seed}", row | measured(network, task, hardware, arguments.split, arguments.chips))
    print(table(results.rows))
    return 0


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Means over seeds, and half the width of their 95% interval."""
    lines = [
        "| trained | steps | nominal | mean | 5th percentile | bounds found: mean | 5th percentile |",
        "|---" * 7 + "|",
    ]
    for name in TRAINED:
        if runs := rows_of(rows, name):
            cells = [f"{np.mean([row['steps'] for row in runs]):,.0f}", interval([row["nominal"] for row in runs])]
            for state in ("as said", "found"):
                cells += [interval([row["chips"][state][figure] for row in runs]) for figure in ("mean", "p5")]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
