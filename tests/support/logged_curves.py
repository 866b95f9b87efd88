"""Curves and runs for tests of what reads them, and JSON that a strict parser takes."""

import json

import numpy as np

import limpet
from limpet.results._beyond_limits import BeyondLimits
from limpet.tensorboard import CurveWriter

SIGMAS = [0.0, 0.1, 0.2]
NORMAL = np.random.default_rng(0).normal(size=(len(SIGMAS), 40))
ANALOG = {"fingerprint": "a3c1f2d4e5b60718", "hardware": "gaussian, sigma 1 on dense/kernel (64x10)"}
"""The hardware of most curves."""
MEMRISTIVE = {
    "fingerprint": "77c1f2d4e5b60718",
    "hardware": "log-normal, sigma 1 on dense/kernel (64x10)",
}
"""Another."""


BEYOND = BeyondLimits(
    leaves=("w", "<i>b</i>"),
    limits=("0 to 4 (clip)", "none to 0 (report)"),
    sigmas=np.array([0.1, 0.0, 0.2]),
    share=np.array([[1e-4, 0.0], [0.0, 0.0], [0.25, 0.5]]),
    chips_beyond=np.array([[3.0, 0.0], [0.0, 0.0], [40.0, 1.0]]),
    chips=40,
)
"""How many values were beyond their limits, at the strengths of the curves."""


def curve(slope, metric="accuracy", chips=40, hardware=ANALOG, **described):
    """A metric that falls by `slope` over sigma, and by a little more or less on each chip.

    Its chips are those of draws version 3, as in the files of the first version that stand in `tests/data`.
    """
    described.setdefault("draws_version", 3)
    values = 1 - slope * np.array(SIGMAS)[:, None] * (1 + 0.3 * NORMAL[:, :chips])
    return limpet.RobustnessCurve(metric, SIGMAS, values, **(hardware or {}), **described)


def log(logdir, curves, target=None):
    """A run that holds curves, pairs of a step and a curve."""
    writer = CurveWriter(logdir)
    for step, evaluation in curves:
        writer.curve(evaluation, step, target)
    writer.close()


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)
