"""Which way of training helps how much, at equal time, with each chip calibrated or not.

Every network of a task is trained for the same number of seconds, compilation left out, and measured on the same 100
chips, of a seed that training never saw. A run that was interrupted goes on where it was: what is in the JSON file is
not done again.

python examples/evidence/objectives.py --task digits-small
python examples/evidence/objectives.py --task digits-small --seconds 0                  # a given number of steps each
python examples/evidence/objectives.py --task digits --hardware reram-wan2022
python examples/evidence/objectives.py --task spoken-digits --data recordings/
python examples/evidence/objectives.py --task mnist-cnn --split validation --only "forward noise" --rate 3e-3
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import Results, measured, picture, table
from tasks import TASKS
from ways import WAYS

import limpet
from training import Training


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(TASKS), default="digits")
    parser.add_argument("--hardware", default="relative", help="relative[:SIGMA], additive:SIGMA or a preset's name")
    parser.add_argument("--data", type=Path, help="recordings, for spoken-digits")
    parser.add_argument("--seconds", type=float, help="of each training, if not the task's; 0 for --steps")
    parser.add_argument("--steps", type=int, help="of each training, where --seconds is 0, if not the task's")
    parser.add_argument("--rate", type=float, help="of Adam, if not the task's")
    parser.add_argument("--seeds", type=int, help="if not the task's")
    parser.add_argument("--chips", type=int, default=100)
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="validation to choose settings")
    parser.add_argument("--only", action="append", choices=list(WAYS), help="a way; may be repeated")
    parser.add_argument("--out", type=Path, help="directory of JSON and picture")
    arguments = parser.parse_args(argv)
    try:
        task = TASKS[arguments.task](arguments.data)
        hardware = task.hardware(arguments.hardware)
    except limpet.LimpetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds = task.seconds if arguments.seconds is None else arguments.seconds
    described = f"relative, sigma {task.sigma}" if arguments.hardware == "relative" else arguments.hardware
    settings = {
        "task": arguments.task,
        "hardware": described,
        "seconds": seconds,
        "steps": None if seconds else arguments.steps or task.steps,
        "rate": arguments.rate or task.rate,
        "chips": arguments.chips,
        "target": task.target,
        "split": arguments.split,
    }
    kind = "-".join((arguments.task, "time" if seconds else "steps", arguments.hardware.replace(":", "-")))
    out = arguments.out or Path("runs/evidence") / kind
    try:
        results = Results(out, settings)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    recipe = hardware.on(task.model)
    for way in arguments.only or task.ways:
        training: Training | None = None
        for seed in range(arguments.seeds or task.seeds):
            if f"{way}/{seed}" in results.rows:
                continue
            training = training or Training(WAYS[way](task, recipe), task, arguments.split, settings["rate"])
            steps = training.steps_in(seconds) if seconds else settings["steps"]
            started = time.process_time()
            network = training.run(seed, steps)
            row = {"steps": steps, "seconds": time.process_time() - started}
            results.add(f"{way}/{seed}", row | measured(network, task, recipe, arguments.split, arguments.chips))
    print(table(results.rows, task.target))
    length = f"{seconds:g} s each" if seconds else "equal steps"
    picture(results.rows, f"{task.title}; {described}; {length}", out / "results.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
