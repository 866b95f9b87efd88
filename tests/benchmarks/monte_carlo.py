"""The engine's cost: against a loop over single chips, Rockpool's own usage, and the matrix products alone.

python tests/benchmarks/monte_carlo.py
"""

import gc
import logging
import re
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from rockpool.devices.dynapse import DynapSim  # noqa: E402
from rockpool.devices.dynapse import frozen_mismatch_prototype as rockpool_prototype  # noqa: E402
from rockpool.nn.combinators import Sequential  # noqa: E402
from rockpool.nn.modules import LinearJax  # noqa: E402
from rockpool.transform.mismatch import mismatch_generator as rockpool_generator  # noqa: E402

import limpet  # noqa: E402
from limpet.measure._monte_carlo import ahead  # noqa: E402
from limpet.measure._robustness_curve import curve_measurement  # noqa: E402

ROUNDS, REPEATS = 15, 5  # an evaluation of the smallest network takes 10 ms: several in a row are measured


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def report(name: str, times: list[float], unit: int) -> float:
    per = [found / unit for found in times]
    print(f"  {name:48} {1e3 * statistics.median(per):10.4f}  ({1e3 * min(per):.4f} to {1e3 * max(per):.4f})")
    return statistics.median(per)


def at(scales: jax.Array) -> limpet.Condition:
    """Conditions of several scales."""
    return limpet.Condition(scales, None, jnp.zeros(len(scales), jnp.uint32), None)


def dynapse(neurons: int = 4, timesteps: int = 500, chips: int = 1000) -> None:
    """One sample through 60 inputs and a few recurrent neurons, T = 500; frozen mismatch of sigma 0.1."""
    np.random.seed(0)
    net = Sequential(LinearJax((60, neurons), has_bias=False), DynapSim((neurons, neurons), has_rec=True))
    x = (jax.random.uniform(jax.random.key(0), (1, timesteps, 60)) < 0.05).astype(jnp.float32)
    tree = jax.tree.map(jnp.float32, limpet.attributes(net))
    mismatch = limpet.Mismatch(limpet.frozen_mismatch_prototype(net), limpet.Gaussian(0.1))

    def spikes(tree: Any, x: jax.Array) -> jax.Array:
        return net.set_attributes(tree).reset_state()(x)[0].sum()

    measurement = curve_measurement(spikes, mismatch, limpet.Chips())
    single = jax.jit(lambda chip, tree, x: spikes(mismatch(limpet.virtual_chip(0, chip), tree), x))
    evaluate = jax.jit(spikes)
    regenerate = rockpool_generator(rockpool_prototype(net), 0.30, 3.0)

    def rockpool_chip(chip: int) -> jax.Array:
        deviated = net.set_attributes(regenerate(net, jax.random.PRNGKey(chip)))
        return deviated.reset_state()(x)[0].sum()

    def whole() -> Any:
        return list(ahead(measurement.prepare(tree, x, at(jnp.ones(1))).rounds(0, chips)))

    whole()
    float(single(np.uint32(0), tree, x))
    rockpool_chip(0)
    float(evaluate(tree, x))
    rested, ours, loop, outside, theirs = [], [], [], [], []
    for _ in range(ROUNDS):
        rested.append(seconds(whole))
        ours.append(seconds(lambda: [whole() for _ in range(REPEATS)]))
        loop.append(seconds(lambda: [float(single(np.uint32(chip), tree, x)) for chip in range(64)]))
        outside.append(seconds(lambda: [float(evaluate(limpet.freeze(tree, mismatch, chip=c), x)) for c in range(64)]))
        theirs.append(seconds(lambda: rockpool_chip(1)))
    print(f"DynapSim, 60 inputs, {neurons} neurons, T = {timesteps}, one sample; milliseconds a chip")
    engine_time = report("limpet's engine", ours, REPEATS * chips)
    report("the same, one evaluation after a pause", rested, chips)
    loop_time = report("loop: draw and evaluation in one jitted function", loop, 64)
    outside_time = report("loop: chip drawn, then a jitted evaluation", outside, 64)
    rockpool_time = report("Rockpool's un-jitted usage", theirs, 1)
    ratios = [f"{time / engine_time:.0f}" for time in (loop_time, outside_time, rockpool_time)]
    print(f"  times as long as the engine: {', '.join(ratios)}")


def digits(chips: int = 1000) -> None:
    """64-128-10 on 360 test images, 6 strengths, all weights deviating."""
    keys = jax.random.split(jax.random.key(0), 4)
    tree = {
        "hidden": jax.random.normal(keys[0], (64, 128)) / 8,
        "out": jax.random.normal(keys[1], (128, 10)) / 11,
    }
    batch = (jax.random.normal(keys[2], (360, 64)), jax.random.randint(keys[3], (360,), 0, 10))
    mismatch = limpet.Mismatch(dict.fromkeys(tree, True), limpet.Gaussian(1.0))
    scales = jnp.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3])

    def accuracy(tree: Any, batch: Any) -> jax.Array:
        x, y = batch
        return ((jax.nn.relu(x @ tree["hidden"]) @ tree["out"]).argmax(axis=-1) == y).mean()

    measurement = curve_measurement(accuracy, mismatch, limpet.Chips())

    @jax.jit
    def products(tree: Any, batch: Any) -> Any:
        # the next product needs the last one's result, so none can be left out
        def once(carry: jax.Array, _: Any) -> tuple[jax.Array, None]:
            return (carry @ tree["hidden"]) @ tree["out"] @ jnp.ones((10, 64)) * 1e-3, None

        return jax.lax.scan(once, batch[0], None, length=len(scales) * chips)[0]

    def whole() -> Any:
        return list(ahead(measurement.prepare(tree, batch, at(scales)).rounds(0, chips)))

    whole()
    jax.block_until_ready(products(tree, batch))
    ours, floor = [], []
    for _ in range(ROUNDS):
        ours.append(seconds(whole))
        floor.append(seconds(lambda: products(tree, batch)))
    print(f"dense digits classifier, {chips} chips at {len(scales)} strengths; milliseconds a chip and strength")
    engine_time = report("limpet's engine", ours, chips * len(scales))
    floor_time = report("the matrix products alone", floor, chips * len(scales))
    print(f"  ratio: {engine_time / floor_time:.2f}")


def calls() -> None:
    """Calls of `robustness_curve`: the first, later ones, and what 200 with a fresh lambda each leave behind."""
    keys = jax.random.split(jax.random.key(0), 4)
    tree = {
        "hidden": jax.random.normal(keys[0], (64, 128)) / 8,
        "out": jax.random.normal(keys[1], (128, 10)) / 11,
    }
    batch = (jax.random.normal(keys[2], (450, 64)), jax.random.randint(keys[3], (450,), 0, 10))
    mismatch = limpet.Mismatch(dict.fromkeys(tree, True), limpet.Gaussian(0.1))

    def accuracy(tree: Any, batch: Any) -> jax.Array:
        x, y = batch
        return ((jax.nn.relu(x @ tree["hidden"]) @ tree["out"]).argmax(axis=-1) == y).mean()

    def curve(metric: Any, chips: int = 100) -> Any:
        settings = {"sigmas": [0.0, 0.1, 0.2], "chips": chips, "batch": batch}
        return limpet.robustness_curve(metric, tree, mismatch, **settings).values

    print("robustness_curve, digits classifier, 100 chips at 3 strengths; seconds")
    times = [seconds(lambda: curve(accuracy)) for _ in range(6)]
    print(f"  first call {times[0]:.2f}, the next five {', '.join(f'{time:.3f}' for time in times[1:])}")
    resident = []
    for count in range(200):
        curve(lambda tree, batch: accuracy(tree, batch) * 1.0, chips=4)
        if count % 50 == 49:
            gc.collect()
            status = Path("/proc/self/status").read_text() if Path("/proc/self/status").exists() else "VmRSS: 0 kB"
            resident.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024)  # pyright: ignore[reportOptionalSubscript]
    print(f"  MB resident after 50, 100, 150 and 200 calls with a fresh lambda each: {', '.join(map(str, resident))}")


if __name__ == "__main__":
    calls()
    dynapse()
    digits()
