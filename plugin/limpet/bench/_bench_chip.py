"""A chip of a bench's table, usable where a virtual one is."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limpet import LimpetError, MeasuredChip
from limpet.checks import listing, shown, text, warn_user
from limpet.results import words

from ._cells import Table
from ._columns import Columns, Nominal
from ._measurements import Measurements, guessed_leaves, natural_key, read_measurements
from ._units import quantity, quantity_of, time_of

CLOSE_TIME = 0.01
"""Times that differ by less than this part of them are one: chips are read one device after the other."""


def bench_chip(
    source: str | Path | Table | Measurements,
    chip: str | None = None,
    *,
    leaves: Mapping[str, str] | None = None,
    name: str | None = None,
    at: str | float | Mapping[str, str | float] | None = None,
    time: str | float | None = None,
    columns: Columns | None = None,
    nominal: Nominal | None = None,
    readings: bool = False,
) -> MeasuredChip:
    """A chip of a bench's table: the factors, measured / nominal, by which it multiplies a network's own values.

    Devices are put into a leaf in the order of their cores, and of their labels within those; numbers within labels
    count as numbers, so that device n10 comes after n2. Of several readings of a device, the mean counts.

    Args:
        source: a table as `limpet.fit_measurements` takes it (a file, or columns by name), or one that was read
            already, as the `measurements` of a fit are.
        chip: the name of the chip in the table; None where it holds one.
        leaves: the path glob of the leaf that a parameter of the table is, by parameter; None, and what is not named,
            is `*/<parameter>` or the parameter itself.
        name: the name by which tables call the chip; None for its name in the table.
        at: the set value at which its devices are looked at, such as "2 pA", or one for each parameter; None where
            each device was set to one value.
        time: the time since programming at which they are looked at, such as "1 day", within 1%; None where each
            device was measured at one time.
        columns: the titles of the table's columns; see `limpet.fit_measurements`.
        nominal: what devices were set to, where the table does not say it; see `limpet.fit_measurements`.
        readings: whether rows that agree in all but the measured value are repeated readings.

    Raises:
        LimpetError: the table cannot be read; it holds several chips, set values or times and none is named, or has no
            such one; or `leaves` names what was not measured, or holds what is no path glob.

    Examples:
        >>> table = {
        ...     "chip": ["A3", "A3"],
        ...     "core": [0, 0],
        ...     "device": [1, 0],
        ...     "parameter": ["gain", "gain"],
        ...     "nominal": [2.0, 2.0],
        ...     "measured": [2.2, 1.8],
        ... }
        >>> bench_chip(table).on({"gain": np.ones(2)})["gain"]
        Array([0.9, 1.1], dtype=float32)
    """
    if isinstance(source, Measurements):
        table = source
    else:
        table = read_measurements(source, columns=columns, nominal=nominal, readings=readings)
    if chip is None and len(table.chips) > 1:
        raise LimpetError(f"{table.source}: holds {len(table.chips)} chips; name one by chip=, of {_list(table.chips)}")
    if chip is not None and str(chip) not in table.chips:
        raise LimpetError(f"{table.source}: has no chip {chip!r}; it has {_list(table.chips)}")
    own = table.chips[0] if chip is None else str(chip)
    parameters = table.where(table.chip == own).parameters
    for parameter, glob in (leaves or {}).items():
        text(f"leaves[{parameter!r}]", glob)
    for argument, named in (("leaves", leaves or {}), ("at", at if isinstance(at, Mapping) else {})):
        if unknown := [parameter for parameter in named if parameter not in parameters]:
            raise LimpetError(
                f"{argument} names {_list(unknown)}, which was not measured; measured are {_list(parameters)}"
            )
    globs = {parameter: guessed_leaves(parameter) for parameter in parameters} | dict(leaves or {})
    factors = {}
    for parameter in parameters:
        rows = table.where(table.parameter == parameter)
        set_to = at.get(parameter) if isinstance(at, Mapping) else at
        factors[globs[parameter]] = _in_order(_chosen(rows.where(rows.chip == own), set_to, time), rows)
    return MeasuredChip(name or own, factors=factors)


def _chosen(rows: Measurements, at: Any, time: Any) -> Measurements:
    """The values of one parameter at one set value and time.

    Raises:
        LimpetError: it has none there; or a device has several, and it is not said which.
    """
    where, unit = f"{rows.source}: '{rows.parameter[0]}' of chip {rows.chip[0]}", str(rows.unit[0])
    if at is not None:
        number, found = quantity_of(str(at)) or (np.nan, None)
        scale, base = found or (1.0, "")
        chosen = np.isclose(rows.nominal, number * scale, rtol=1e-6, atol=0) & (base == unit)
        if not chosen.any():
            raise LimpetError(f"at = {shown(at)}: {where} was {_set_values(rows)}")
        rows = rows.where(chosen)
    if time is not None:
        seconds = time_of(str(time))
        if seconds is None or seconds < 0:
            raise LimpetError(f"time = {shown(time)}: allowed is a number of seconds, or a text such as '1 day'")
        chosen = np.abs(rows.time - seconds) <= CLOSE_TIME * seconds
        if not chosen.any():
            raise LimpetError(f"time = {shown(time)}: {where} was {_times(rows)}")
        rows = rows.where(chosen)
    if _differ(rows, rows.nominal, 0.0):
        raise LimpetError(f"{where} was {_set_values(rows)}; choose one by at=")
    if _differ(rows, rows.time, CLOSE_TIME):
        raise LimpetError(f"{where} was {_times(rows)}; choose one by time=")
    if not rows.nominal.all():
        raise LimpetError(f"{where}: nominal is 0 ({rows.places(rows.nominal == 0)}), so that there is no factor")
    return rows


def _differ(rows: Measurements, values: NDArray[np.float64], tolerance: float) -> bool:
    """Whether a device has values that are not alike."""
    of_devices = [values[places] for places in _devices(rows).values()]
    return any(np.ptp(own) > tolerance * np.abs(own).max() for own in of_devices if len(own) > 1)


def _devices(rows: Measurements) -> dict[tuple[str, str], list[int]]:
    """The places of the values of each device, by its core and its label."""
    devices: dict[tuple[str, str], list[int]] = {}
    for place, device in enumerate(zip(rows.core.tolist(), rows.device.tolist(), strict=True)):
        devices.setdefault(device, []).append(place)
    return devices


def _set_values(rows: Measurements) -> str:
    values = [quantity(value, str(rows.unit[0])) for value in np.unique(rows.nominal).tolist()]
    return f"set to {listing(values, limit=12)}"


def _times(rows: Measurements) -> str:
    times = np.unique(rows.time[~np.isnan(rows.time)]).tolist()
    return f"measured {listing(map(words, times), limit=12) if times else 'at unknown times'} after programming"


def _in_order(rows: Measurements, table: Measurements) -> NDArray[np.float64]:
    """The factors of a parameter, by core and device.

    Args:
        rows: the values of the parameter on one chip.
        table: its values on all chips, which have devices that this one may lack.
    """
    devices, others = _devices(rows), _devices(table.where(table.chip != rows.chip[0])).keys()
    lacking = sorted(others - devices.keys(), key=_natural)
    if 0 < len(lacking) < len(others):  # where each device of the table has a label of its own, none is lacking
        names = listing((f"core {core}, device {label}" if core else f"device {label}" for core, label in lacking), 6)
        warn_user(
            f"{rows.source}: '{rows.parameter[0]}' of chip {rows.chip[0]} has no value of {names}, which other chips "
            f"have; its factors are those of the devices that are left, one after the other"
        )
    factors = rows.factor
    return np.array([factors[devices[device]].mean() for device in sorted(devices, key=_natural)])


def _natural(device: tuple[str, str]) -> list[tuple[list[tuple[float, str]], str]]:
    return [natural_key(label) for label in device]


def _list(names: Collection[str]) -> str:
    return listing(map(repr, names), limit=12)
