"""From a bench's table to hardware: which distribution each parameter follows, and what chips and cores bring."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limpet import Hardware, LimpetError, LogNormal, Part, StudentT, TruncatedGaussian
from limpet.checks import warn_user
from limpet.deviations import label
from limpet.files import write_text

from ._candidate import Candidate, best_of, candidates, refitted
from ._cells import Table
from ._columns import Columns, Nominal
from ._components import Component, components
from ._configuration import configuration
from ._measurements import Measurements, guessed_leaves, read_measurements
from ._nested import Nested
from ._parameter_fit import ParameterFit

FEWEST_VALUES = 5
"""Of a parameter, to fit a distribution of up to three numbers to."""
RESAMPLES = 199
"""Of a goodness of fit; it can then be told to 0.005."""
RESAMPLES_IF_SLOW = 99
"""Of distributions that are fitted by iteration."""

NOT_A_TEXT = frozenset("on off yes no y n true false null".split())
"""Words that YAML reads as something else, so that no part of a hardware is called so."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What a bench's measurements say of the hardware.

    Attributes:
        measurements: the measurements that the fit was made of.
        parameters: what was found, by the parameter's name.
    """

    measurements: Measurements
    parameters: Mapping[str, ParameterFit]

    def hardware(self, leaves: Mapping[str, str] | None = None) -> Hardware:
        """The hardware as fitted: a part for each parameter, with its whole spread.

        Args:
            leaves: the path glob of the leaves that a parameter is, by parameter; `*/<parameter>` for all others.

        Raises:
            LimpetError: `leaves` names a parameter that was not measured.
        """
        if unknown := [name for name in leaves or {} if name not in self.parameters]:
            raise LimpetError(
                f"leaves names {', '.join(map(repr, unknown))}, which was not measured; the parameters are "
                f"{', '.join(self.parameters)}"
            )
        patterns = {name: guessed_leaves(name) for name in self.parameters} | dict(leaves or {})
        return Hardware(
            {part: Part(patterns[name], self.parameters[name].deviation) for name, part in self.part_names().items()}
        )

    def configuration(self) -> str:
        """That hardware as a configuration in YAML, with what was found in comments; leaves are guessed from names."""
        return configuration(
            self.measurements, {part: self.parameters[name] for name, part in self.part_names().items()}
        )

    def write_page(self, output: str | Path) -> None:
        """Write one HTML file with pictures: histograms, quantiles, components.

        Args:
            output: the file to write; its directory is made if need be.

        Raises:
            LogdirError: it cannot be written.
        """
        from ._page import page

        write_text(output, page(self.measurements, self.parameters, self.configuration()))

    def part_names(self) -> dict[str, str]:
        """The part of the hardware that each parameter becomes: its name, made of letters, digits, _ and - alone."""
        names: dict[str, str] = {}
        for name in self.parameters:
            word = re.sub(r"[^A-Za-z0-9_-]", "_", name)
            word = word if re.match("[A-Za-z_]", word) else f"_{word}"
            word = f"{word}_" if word.lower() in NOT_A_TEXT else word
            while word in names.values():
                word += "_"
            names[name] = word
        return names

    def __repr__(self) -> str:
        return f"Fit({', '.join(f'{name}: {label(fit.deviation)}' for name, fit in self.parameters.items())})"


def fit_measurements(
    source: str | Path | Table,
    *,
    columns: Columns | None = None,
    nominal: Nominal | None = None,
    readings: bool = False,
) -> Fit:
    """Find out from a bench's measurements what chips are like.

    For each parameter, five distributions (Gaussian, log-normal, Student's, truncated Gaussian and uniform) are fitted
    to measured / nominal by maximum likelihood, and compared by AIC; and the spread is divided into what all devices of
    a chip have in common, what those of a core have, and the rest. AIC counts values as independent, which those of a
    chip are not quite; and of distributions that end (uniform, truncated Gaussian) its theory holds only roughly. So of
    distributions within 2 of the lowest, the one of fewest parameters is taken, and a truncated Gaussian only where it
    is lower by more than 8.

    Args:
        source: a .csv file with the columns chip, core, neuron, parameter, nominal and measured, and perhaps a unit (a
            column `unit`, or `measured [nA]`); or columns by name (a dict of lists, or a data frame).

    Raises:
        LimpetError: the table cannot be read or cannot be meant, see the message; a parameter has fewer than 5 values
            or no spread; statsmodels is not installed.

    Examples:
        >>> import numpy as np
        >>> devices = np.arange(400)
        >>> fit = fit_measurements(
        ...     {
        ...         "chip": devices // 100,
        ...         "core": devices // 25 % 4,
        ...         "neuron": devices % 25,
        ...         "parameter": ["Itau_mem"] * 400,
        ...         "nominal": np.full(400, 2e-12),
        ...         "measured": 2e-12 * np.exp(np.random.default_rng(0).normal(0, 0.2, 400)),
        ...     }
        ... )
        >>> fit.parameters["Itau_mem"].best.kind
        'log-normal'
        >>> fit.hardware()
        Hardware(Itau_mem: log-normal, sigma 0.201 on */Itau_mem)
    """
    table = read_measurements(source, columns=columns, nominal=nominal, readings=readings)
    if len(table.chips) == 1:
        warn_user(
            f"{table.source}: all values are of one chip, {table.chips[0]}: what chips differ by cannot be told, and "
            f"the spread of a population is larger"
        )
    return Fit(table, {name: _fitted(table.where(table.parameter == name), name) for name in table.parameters})


def _fitted(rows: Measurements, name: str) -> ParameterFit:
    factors, everything = rows.factor, np.ones(rows.line.shape, bool)
    where = f"{rows.source}: parameter '{name}' ({rows.places(everything)})"
    if len(factors) < FEWEST_VALUES:
        number = f"{len(factors)} value{'s' if len(factors) > 1 else ''}"
        raise LimpetError(f"{where} has {number}; needed are {FEWEST_VALUES}: measure more devices, or leave it out")
    if factors.std() <= 1e-9 * np.abs(factors).max():
        raise LimpetError(
            f"{where}: all values are off by the same factor {factors[0]:.6g}, so there is nothing to fit"
        )
    if factors.mean() <= 0:
        raise LimpetError(f"{where}: measured / nominal has the mean {factors.mean():.3g}; is a sign the wrong way?")
    fitted = candidates(factors)
    best = best_of(fitted)
    found = components(
        factors, rows.chip, rows.core, center=best.center, logarithms=isinstance(best.deviation, LogNormal)
    )
    return ParameterFit(
        name,
        factors,
        rows.chip,
        rows.core,
        float(np.median(rows.nominal)),
        rows.unit[0],
        fitted,
        best,
        best.distance(factors),
        _p_value(best, factors, rows, found),
        found,
    )


def _p_value(best: Candidate, factors: NDArray[np.float64], rows: Measurements, found: tuple[Component, ...]) -> float:
    """How often simulated benches of the fitted distribution are at least as far from their own fit."""
    from scipy import special

    levels = {component.level: component.sigma**2 for component in found if component.told}
    groups = Nested.of(factors, rows.chip, rows.core)
    places = {"chip": groups.chip, "core": groups.core, "neuron": np.arange(len(factors))}
    whole, measured = sum(levels.values()), best.distance(factors)
    slow = isinstance(best.deviation, StudentT | TruncatedGaussian)
    resamples, farther = RESAMPLES_IF_SLOW if slow else RESAMPLES, 0
    grid = np.linspace(-6, 6, 1201)
    bent = best.quantiles(special.ndtr(grid))
    generator = np.random.default_rng(0)
    for _ in range(resamples):
        # Normal numbers that devices of a chip and of a core share as the components say, then bent to the law.
        normal = np.zeros(len(factors))
        for level, variance in levels.items():
            place = places[level]
            normal += (variance / whole) ** 0.5 * generator.standard_normal(int(place.max()) + 1)[place]
        simulated = np.interp(normal, grid, bent)
        own = refitted(best, simulated)
        farther += own is None or own.distance(simulated) >= measured
    return (farther + 1) / (resamples + 1)
