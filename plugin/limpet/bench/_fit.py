"""From a bench's table to hardware: which law each parameter follows, and what chips and cores have in common."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limpet import Hardware, LimpetError
from limpet.checks import warn_user
from limpet.deviations import label
from limpet.files import write_text

from ._cells import Table
from ._columns import Columns, Nominal
from ._configuration import configuration, doubts
from ._measurements import Measurements, read_measurements
from ._parameter_fit import ParameterFit, fit_parameter
from ._part import Leaves, checked_cores, checked_levels, part_of, shares_cores

NOT_A_TEXT = frozenset("on off yes no y n true false null".split())
"""Words that YAML reads as something else, so that no part of a hardware is called so."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What a bench's measurements say of the hardware.

    Attributes:
        measurements: the measurements that the fit was made of.
        parameters: the fit of each parameter, by the parameter's name.
    """

    measurements: Measurements
    parameters: Mapping[str, ParameterFit]

    def hardware(
        self,
        leaves: Mapping[str, Leaves] | None = None,
        *,
        levels: Collection[str] | None = None,
        cores: Sequence[int] | None = None,
    ) -> Hardware:
        """The hardware as fitted: a part for each parameter.

        A part is a chain of what was found: what a chip and what a core has in common (`limpet.Shared`), what each
        device deviates by, the gain and offset of all (`limpet.Systematic`, where they are off by more than 1% and than
        twice their standard error), drift or relaxation, stuck devices and read noise.

        Args:
            leaves: the path glob of the leaves that a parameter is, or several, by parameter; `*/<parameter>` for all
                others.
            levels: the levels that devices share, of "chip" and "core"; what others bring, each device draws by itself.
                None for all that the measurements tell.
            cores: the core of each place along the last axis of the leaves, whole numbers from 0; None for the cores of
                the table's devices in natural order, which leaves with as many places have.

        Raises:
            LimpetError: `leaves` names a parameter that was not measured, a level is none or could not be told, or
                `cores` are no whole numbers, or cores have nothing in common.
        """
        if unknown := [name for name in leaves or {} if name not in self.parameters]:
            raise LimpetError(
                f"leaves names {', '.join(map(repr, unknown))}, which was not measured; the parameters are "
                f"{', '.join(self.parameters)}"
            )
        shared, places = checked_levels(levels, self.parameters), checked_cores(cores)
        if places is not None and not ("core" in shared and any(map(shares_cores, self.parameters.values()))):
            raise LimpetError("cores: nothing that cores have in common is in this hardware, so leave them out")
        return Hardware(
            {
                part: part_of(self.parameters[name], (leaves or {}).get(name), shared, places, self._prefix(part))
                for name, part in self.part_names().items()
            }
        )

    def _prefix(self, part: str) -> str:
        """What stands before the names of a part's levels: parts of their own draw their own chips and cores."""
        return f"{part}_" if len(self.parameters) > 1 else ""

    def configuration(self, *, levels: Collection[str] | None = None) -> str:
        """That hardware as a configuration in YAML, with what was found in comments; leaves are guessed from names.

        It says nothing of training: whoever loads it does.

        Args:
            levels: the levels that devices share, as in `hardware`.
        """
        found = {part: self.parameters[name] for name, part in self.part_names().items()}
        return configuration(self.measurements, found, self.hardware(levels=levels))

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
    robust: bool = False,
) -> Fit:
    """Find out from a bench's measurements what chips are like.

    For each parameter: which law the devices of a core follow, and how it depends on the value that they are set to;
    what chips, cores, devices, set values and readings bring to the spread, by restricted maximum likelihood with 95%
    intervals; the gain and the offset that all have in common; drift or relaxation, where there are several times; and
    which devices are stuck.

    Laws are compared by their evidence, the probability of the measurements averaged over all centers and widths that
    a law may have, and for a Gaussian spread in proportion to the set value others are taken only at odds of 20 to 1: a
    dozen Gaussian devices are not called uniform because no value lies outside of those that were measured.

    Args:
        source: a table as .csv, .tsv, .txt, .parquet or .xlsx (`bench.xlsx#sheet` where several sheets hold something),
            or columns by name (a dict of lists, or a data frame). Its columns are chip, device (or neuron), nominal and
            measured, and perhaps core, parameter, time, reading and unit. A unit stands in the column unit (of both
            values of a row), or behind a title: `measured [nA]`.
        columns: the titles of columns that are called otherwise, by these words: `{"chip": "die"}`. A chip, core or
            device may be several columns: `{"device": ["row", "col"]}`. Where measured values stand in several
            columns whose titles are set values (times, readings, parameters), they are given for that word:
            `{"nominal": ["10 uS", "20 uS"]}`. None leaves a column out. In a file without titles, places take their
            stead, counted from 1.
        nominal: the value that devices were set to, where no such column says it: a quantity such as "2 pA", or the
            title of a column; or one of these for each parameter, `{"leak": "2 pA", "gain": "Vset"}`. Where the table
            has no column of measured values, these parameters are the titles of such columns.
        readings: whether rows that agree in everything but the measured value are repeated readings.
        robust: whether rows that are far off are left out. Where they are not, they are named, with what they change.

    Raises:
        LimpetError: the table cannot be read or cannot be meant, see the message; a parameter has fewer than 5 values
            or no spread.

    Examples:
        >>> import numpy as np
        >>> devices = np.arange(400)
        >>> fit = fit_measurements(
        ...     {
        ...         "chip": devices // 100,
        ...         "core": devices // 25 % 4,
        ...         "device": devices % 25,
        ...         "parameter": ["Itau_mem"] * 400,
        ...         "nominal": np.full(400, 2e-12),
        ...         "measured": 2e-12 * np.exp(np.random.default_rng(0).normal(0, 0.2, 400)),
        ...     }
        ... )
        >>> fit.parameters["Itau_mem"].kind
        'log-normal'
        >>> fit.hardware(levels=())
        Hardware(Itau_mem: log-normal, sigma 0.2013 on */Itau_mem)
    """
    table = read_measurements(source, columns=columns, nominal=nominal, readings=readings)
    if len(table.chips) == 1:
        warn_user(
            f"{table.source}: all values are of one chip, {table.chips[0]}: what chips differ by cannot be told, and "
            f"the spread of a population is larger"
        )
    fits = {name: fit_parameter(table.where(table.parameter == name), name, robust) for name in table.parameters}
    for found in fits.values():
        for doubt in doubts(found):
            warn_user(f"{table.source}: parameter '{found.name}': {doubt}")
    return Fit(table, fits)
