"""What a bench's measurements say of one parameter."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limpet import Deviation
from limpet.deviations import label

from ._candidate import Candidate
from ._components import Component
from ._units import quantity


@dataclass(frozen=True, eq=False)
class ParameterFit:
    """What was found of one parameter.

    Attributes:
        name: the name of the parameter, as the table writes it.
        factors: the ratio measured / nominal of each device, shape (values,).
        chips: the name of the chip of each, shape (values,).
        cores: the name of the core within that chip, shape (values,).
        nominal: the median of the nominal values, in `unit`.
        unit: the base unit, such as "A"; empty where none was said.
        candidates: every distribution that was fitted, the lowest AIC first.
        best: the one to take: of those within 2 of the lowest AIC, the one of fewest parameters; a truncated Gaussian
            only where it is lower by more than 8.
        distance: Kolmogorov-Smirnov distance between the best one and the factors.
        p_value: how often factors that do follow the best distribution are that far from one fitted to them: of
            simulated benches with the same chips, cores and components, each with a fit of its own. (The usual p-value
            does not hold where the distribution was fitted to the very same values.)
        components: the components of the spread, for the levels chip, core and neuron.
    """

    name: str
    factors: NDArray[np.float64]
    chips: NDArray[np.str_]
    cores: NDArray[np.str_]
    nominal: float
    unit: str
    candidates: tuple[Candidate, ...]
    best: Candidate
    distance: float
    p_value: float
    components: tuple[Component, ...]

    @property
    def deviation(self) -> Deviation:
        """The best distribution as a deviation, its parameters to four digits, as the configuration has them."""
        return self.best.rounded

    @property
    def aic(self) -> dict[str, float]:
        """AIC by kind of deviation, the lowest first; those that cannot have given the factors are not there."""
        return {candidate.kind: candidate.aic for candidate in self.candidates}

    def row(self) -> tuple[str, str, str, str, str]:
        """What tables of parameters begin with: name, count of values, nominal, center and deviation."""
        nominal = quantity(self.nominal, self.unit)
        return self.name, f"{len(self.factors):,}", nominal, f"{self.best.center:.4f}", label(self.deviation)

    @property
    def center_error(self) -> float:
        """The standard error of the center, with what chips and cores have in common."""
        groups = {
            "chip": len(np.unique(self.chips)),
            "core": len({*zip(self.chips.tolist(), self.cores.tolist(), strict=True)}),
            "neuron": len(self.factors),
        }
        return self.best.center * sum(c.sigma**2 / groups[c.level] for c in self.components if c.told) ** 0.5

    @property
    def off_center(self) -> bool:
        """Whether devices are off in common, by more than 1% and than twice the standard error."""
        return abs(self.best.center - 1) > max(0.01, 2 * self.center_error)
