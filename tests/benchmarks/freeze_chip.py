"""Building one virtual chip of a 64-neuron DynapSim, un-jitted: limpet.freeze against DynapSim(percent_mismatch=...).

Both are measured in turn in one run; prints medians, ranges and the ratio.

    python tests/benchmarks/freeze_chip.py
"""

import logging
import statistics
import time
import warnings
from collections.abc import Callable

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
from rockpool.devices.dynapse import DynapSim  # noqa: E402

import limpet  # noqa: E402

NEURONS, ROUNDS = 64, 7


def seconds(build: Callable[[], object]) -> float:
    start = time.perf_counter()
    build()
    return time.perf_counter() - start


def main() -> None:
    np.random.seed(0)
    net = DynapSim((NEURONS, NEURONS), has_rec=True)
    mismatch = limpet.Mismatch(limpet.frozen_mismatch_prototype(net), limpet.Gaussian.from_percent(0.30))
    first = seconds(lambda: limpet.freeze(net, mismatch, chip=0))
    own, rockpool = [], []
    for chip in range(1, ROUNDS + 1):
        own.append(
            seconds(lambda chip=chip: np.asarray(limpet.attributes(limpet.freeze(net, mismatch, chip=chip))["Io"]))
        )
        rockpool.append(
            seconds(lambda: np.asarray(DynapSim((NEURONS, NEURONS), has_rec=True, percent_mismatch=0.30).Io))
        )
    print(f"{NEURONS} neurons, {ROUNDS} chips each, in turn; seconds a chip")
    for name, times in (("limpet.freeze", own), ("DynapSim(percent_mismatch)", rockpool)):
        print(f"  {name:28} median {statistics.median(times):8.4f}  ({min(times):.4f} to {max(times):.4f})")
    print(f"  first call of limpet.freeze, compilation included: {first:.2f}")
    print(f"  ratio of medians: {statistics.median(rockpool) / statistics.median(own):.0f}")


if __name__ == "__main__":
    main()
