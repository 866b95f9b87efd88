"""What every benchmark shares: things are measured in turn, in one run, and compared within each turn."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(2**34), "MALLOC_TRIM_THRESHOLD_": str(2**36), "MALLOC_ARENA_MAX": "1"}


def settle_environment() -> None:
    """Start again with what a process reads only once, at its start.

    - An allocator (glibc's) that keeps what was freed. As it is, large blocks go back to the system when they are freed
      (those above 32 MB, and with a heap for each thread, smaller ones as well), and each step then waits for thousands
      of page faults, more or fewer by what ran before it: that measures the allocator. `--allocator=system` shows it.
    - `--vectors=512`: XLA compiles for vectors of 512 bits. As it is, it uses 256 on every CPU.
    """
    wanted = {}
    if "--allocator=system" not in sys.argv:
        wanted |= KEEPING
    if "--vectors=512" in sys.argv:
        wanted |= {"XLA_FLAGS": "--xla_cpu_prefer_vector_width=512"}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def seconds(run: Callable[[], Any]) -> float:
    """How long one run takes, until the device has finished it."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def interleaved(runs: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds by name: every run once in each round, after some that do not count."""
    for run in runs.values():
        for _ in range(warm_up):
            seconds(run)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return times


def report(times: Mapping[str, list[float]], baseline: str) -> dict[str, float]:
    """Print medians, and the median and the middle half of the ratios to the baseline of the same round."""
    ratios = {}
    for name, found in times.items():
        each = sorted(one / base for one, base in zip(found, times[baseline], strict=True))
        low, ratios[name], high = statistics.quantiles(each, n=4)
        median = 1e3 * statistics.median(found)
        print(f"  {name:40} {median:9.3f} ms   ratio {ratios[name]:6.3f} ({low:.3f} to {high:.3f})")
    return ratios
