"""Every registered deviation, and variants of some, as tests of all of them need them.

A member is made as `cls(sigma=0.1)`, or as `cls()` where it has no sigma. One that needs more has its example in
EXAMPLES.
"""

import math
from dataclasses import dataclass, fields

import numpy as np

import limpet
from limpet.deviations import DEVIATIONS


@dataclass(frozen=True)
class Own(limpet.Deviation):
    """A deviation as a user writes one: uniform around the nominal value, and common to the chip by a half."""

    sigma: float
    offset: str = "die"

    def deviate(self, draw, value, strength):
        own = draw.uniform(value.shape, value.dtype) * 2 - 1
        common = draw.shared(self.offset).uniform((), value.dtype) * 2 - 1
        return value * (1 + self.sigma * strength * (own + common) * math.sqrt(1.5))


PROGRAMMING = limpet.Programming(spread=(0.01, 0.08, -0.05))
DRIFT = limpet.Drift(
    exponent={"kind": "logarithm", "slope": -0.0155, "offset": 0.0244, "low": 0.049, "high": 0.1},
    spread=0.01,
)
READ_NOISE = limpet.ReadNoise(
    spread={"kind": "power", "factor": 0.0088, "exponent": -0.65, "high": 0.2}, read_time=1e-6
)
EXAMPLES: dict[str, limpet.Deviation] = {
    "additive": limpet.Additive(spread=0.05),
    "binary-branches": limpet.BinaryBranches(spread=0.1),
    "crossbar": limpet.Crossbar(PROGRAMMING),
    "drift": DRIFT,
    "drop-connect": limpet.DropConnect(fraction=0.1),
    "empirical": limpet.Empirical(tuple(1 + 0.1 * np.sin(np.arange(40.0) ** 2)), bandwidth=0.02),
    "off": limpet.Off(limpet.LogNormal(sigma=0.1)),
    "graded": limpet.Graded(limpet.LogNormal(sigma=0.1), rows=(0.5,)),
    "programming": PROGRAMMING,
    "quantize": limpet.Quantize(bits=4),
    "read-noise": READ_NOISE,
    "relaxation": limpet.Relaxation(mean=(0.0, -0.01), spread=(0.02, 0.005)),
    "right-censored-gaussian": limpet.RightCensoredGaussian(spread=0.1, bound=0.5),
    "shared": limpet.Shared(limpet.LogNormal(sigma=0.1), across="chip"),
    "spatial": limpet.Spatial(limpet.LogNormal(sigma=0.1), length=3.0, nugget=0.2),
    "stuck": limpet.Stuck(at_zero=0.05, at_largest=0.02, at_random=0.03),
    "synapse-branches": limpet.SynapseBranches(spread=0.1, currents=((0.6, 1.1),), core_spread=0.05),
    "systematic": limpet.Systematic(gain=0.7, offset=0.05),
}
VARIANTS: dict[str, limpet.Deviation] = {
    "log-normal that keeps the mean": limpet.LogNormal(sigma=0.1, preserve="mean"),
    "truncated at two sigma": limpet.TruncatedGaussian(sigma=0.1, bound=2.0),
    "chain": limpet.Chain((limpet.LogNormal(sigma=0.1), limpet.Gaussian(0.05), limpet.Gaussian(0.05))),
    "own": Own(sigma=0.1),
    "additive by column": limpet.Additive(spread=0.05, relative_to="column"),
    "additive to a number": limpet.Additive(spread=0.05, relative_to=2.0),
    "programmed with a shift": limpet.Programming(spread=0.05, mean=(0.01, -0.05), relative_to=2.0),
    "phase-change memory": limpet.Crossbar(limpet.Chain((PROGRAMMING, DRIFT, READ_NOISE)), drift_compensation=True),
    "filaments": limpet.Crossbar(PROGRAMMING, mapping="single", smallest=0.1),
    "a common gain": limpet.Chain((limpet.Systematic(gain=0.7), limpet.LogNormal(sigma=0.1))),
    "measured factors": limpet.Empirical((0.9, 1.0, 1.3)),
    "quantised, then programmed": limpet.Chain((limpet.Quantize(levels=31), PROGRAMMING)),
}


def example(kind: str) -> limpet.Deviation:
    cls = DEVIATIONS[kind]
    with_sigma = "sigma" in {field.name for field in fields(cls)}
    return EXAMPLES.get(kind) or (cls(sigma=0.1) if with_sigma else cls())


MEMBERS: dict[str, limpet.Deviation] = {kind: example(kind) for kind in DEVIATIONS} | VARIANTS
