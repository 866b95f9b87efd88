"""How fast the Robustness tab answers on 50 runs of 200 evaluations of 100 chips: milliseconds by route; and how long a
report on them takes, and how large it is.

The logs are written first (half a minute), then TensorBoard is started and asked as the page asks. Many runs:
`--runs 1000 --evaluations 5`.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from browser import get, tensorboard, until

import limpet
from limpet.tensorboard import CurveWriter, write_report
from limpet.tensorboard._summaries import curve_summary

SIGMAS = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.25])


def write_logs(root, runs, evaluations, chips):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=chips)
    for run in range(runs):
        writer = CurveWriter(root / f"run{run:02d}")
        writer.text("limpet/config", "".join(f"section.key_{line}: {run}  \n" for line in range(25)))
        for step in range(evaluations):
            values = 1 - (2 + run / runs) * SIGMAS[:, None] ** 1.5 * np.exp(0.5 * noise + 0.1 * rng.normal(size=chips))
            # The scalars and pictures that a curve brings along are none of the tab's business.
            writer._add(curve_summary(limpet.RobustnessCurve("accuracy", SIGMAS, values), 0.9), step * 100)
        writer.close()


def milliseconds(address, route, times=1, **parameters):
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        status, body = get(f"{address}/data/plugin/limpet/{route}?{urlencode(parameters, doseq=True)}")
        taken.append(1e3 * (time.perf_counter() - start))
        assert status == 200, body
    return taken


def one_by_one(address, route, each, **parameters):
    return [milliseconds(address, route, run=run, **parameters)[0] for run in each]


def all_there(address, runs, evaluations):
    known = json.loads(get(f"{address}/data/plugin/limpet/runs")[1])["runs"]
    return len(known) == runs and all(run["accuracy"]["last_step"] == (evaluations - 1) * 100 for run in known.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--chips", type=int, default=100)
    parser.add_argument("--slow-loader", action="store_true", help="TensorBoard's --load_fast=false")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        logdir = Path(folder) / "logs"
        write_logs(logdir, given.runs, given.evaluations, given.chips)
        start = time.perf_counter()
        write_report(logdir, Path(folder) / "report.html")
        report = time.perf_counter() - start, (Path(folder) / "report.html").stat().st_size / 1e6
        with tensorboard(logdir, f"--load_fast={'false' if given.slow_loader else 'true'}") as address:
            until(lambda: all_there(address, given.runs, given.evaluations))
            names = [f"run{run:02d}" for run in range(given.runs)]
            last = (given.evaluations - 1) * 100
            common = {"metric": "accuracy", "sigma": 0.15}
            groups = [names[start : start + 8] for start in range(0, given.runs, 8)]
            rows = {
                "runs": milliseconds(address, "runs", 10),
                "evaluations, first time": one_by_one(address, "evaluations", names, metric="accuracy"),
                "evaluations, again": milliseconds(address, "evaluations", 10, metric="accuracy", run=names[0]),
                "table of 8 runs": one_by_one(address, "table", groups, **common, target=0.9, step=last // 2),
                "yields of 8 runs": one_by_one(address, "yields", groups, **common, low=0, high=1),
                "chips of a run": milliseconds(address, "chips", 10, metric="accuracy", run=names[0], step=last // 2),
                "difference": milliseconds(
                    address, "difference", 10, metric="accuracy", first=names[0], second=names[1]
                ),
            }
    print(f"{'milliseconds':26}  median   worst")
    for name, taken in rows.items():
        print(f"{name:26}  {statistics.median(taken):6.0f}  {max(taken):6.0f}")
    print(f"a report takes {report[0]:.1f} s and has {report[1]:.1f} MB")


if __name__ == "__main__":
    main()
