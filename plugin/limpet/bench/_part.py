"""What was found of a parameter as a part of the hardware: levels, devices, faults, time and reads, in a chain."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from limpet import (
    Chain,
    Deviation,
    Exact,
    Gaussian,
    LimpetError,
    LogNormal,
    Part,
    Shared,
    Stuck,
    StudentT,
    Systematic,
)

from ._measurements import guessed_leaves, natural_key
from ._parameter_fit import ParameterFit

SHARED = ("chip", "core")
"""The levels that several devices have in common."""
Leaves = str | Sequence[str]
"""A path glob, or several."""


def part_of(
    found: ParameterFit,
    leaves: Leaves | None,
    levels: Collection[str],
    cores: Sequence[int] | None,
    prefix: str = "",
) -> Part:
    """The part of the hardware that a parameter is.

    Args:
        found: the fit of the parameter.
        leaves: the path globs of its leaves; None to guess them from the parameter's name.
        levels: the levels ("chip", "core") whose devices share a draw; what others bring, each device draws.
        cores: the core of each place along the last axis of its leaves, from 0 on; None for that of each device of the
            table, in natural order.
        prefix: a text before the names of the levels, so that parameters do not share their draws.
    """
    given = guessed_leaves(found.name) if leaves is None else leaves
    return Part((given,) if isinstance(given, str) else tuple(given), deviation_of(found, levels, cores, prefix))


def deviation_of(
    found: ParameterFit, levels: Collection[str], cores: Sequence[int] | None = None, prefix: str = ""
) -> Deviation:
    """The whole deviation of a parameter; see `part_of`."""
    logarithms = found.kind == "log-normal"
    chain: list[Deviation] = []
    apart = 0.0
    for level in SHARED:
        component = found.component(level)
        if component is None or not component.told or not component.sigma:
            continue
        if level not in levels:
            apart += _variance(component.sigma, logarithms)
            continue
        sigma = float(f"{component.sigma:.4g}")
        factor = LogNormal(sigma=sigma) if logarithms else Gaussian(sigma)
        name = prefix + level
        if level == "chip":
            chain.append(Shared(factor, across="chip", name=name))
        else:
            chain.append(Shared(factor, groups=tuple(cores_of(found) if cores is None else cores), name=name))
    chain += _devices(found.deviation, math.sqrt(apart), logarithms)
    if found.off_center:
        common = Systematic(gain=float(f"{found.gain:.5g}"), offset=float(f"{found.offset:.4g}"))
        # Where spreads are relative it does not matter where a gain stands, and in front the law keeps its density.
        chain.insert(0 if found.relative and not found.offset else len(chain), common)
    if (later := found.in_time.deviation) is not None:
        chain.append(later)
    if found.stuck:
        chain.append(Stuck(**{key: float(f"{count / found.devices:.4g}") for key, count in found.stuck.items()}))
    if found.read_noise is not None:
        chain.append(found.read_noise)
    if not chain:
        return Exact()
    return chain[0] if len(chain) == 1 else Chain(tuple(chain))


def _devices(own: Deviation, apart: float, logarithms: bool) -> list[Deviation]:
    """What each device draws: its own deviation, with what levels bring that are not shared."""
    if isinstance(own, Gaussian | LogNormal | StudentT):
        sigma = math.sqrt(_variance(own.sigma, logarithms) + apart**2)
        sigma = math.sqrt(math.expm1(sigma**2)) if logarithms else sigma
        return [replace(own, sigma=float(f"{sigma:.4g}"))] if sigma else []
    return [own] if not apart else [Gaussian(float(f"{apart:.4g}")), own]


def _variance(sigma: float, logarithms: bool) -> float:
    return math.log1p(sigma**2) if logarithms else sigma**2


def cores_of(found: ParameterFit) -> list[int]:
    """The number of the core of each device of a chip, in natural order; with the devices that any chip has."""
    devices = sorted(
        {*zip(found.rows.core.tolist(), found.rows.device.tolist(), strict=True)},
        key=lambda device: (natural_key(device[0]), natural_key(device[1])),
    )
    numbers = {core: place for place, core in enumerate(dict.fromkeys(core for core, _ in devices))}
    return [numbers[core] for core, _ in devices]


def shares_cores(found: ParameterFit) -> bool:
    """Whether the devices of a core have something in common."""
    component = found.component("core")
    return component is not None and component.told and component.sigma > 0


def checked_levels(levels: Collection[str] | None, found: Mapping[str, ParameterFit]) -> tuple[str, ...]:
    """The levels that are to be shared: those given, or all.

    Raises:
        LimpetError: one is no such level, or was not told by any parameter.
    """
    if levels is None:
        return SHARED
    given = (levels,) if isinstance(levels, str) else tuple(levels)
    if unknown := [level for level in given if level not in SHARED]:
        raise LimpetError(f"levels = {unknown[0]!r}: allowed are {', '.join(SHARED)}, and () for none")
    for level in given:
        told = [fit for fit in found.values() if (c := fit.component(level)) is not None and c.told]
        if not told:
            raise LimpetError(f"levels = {level!r}: these measurements cannot tell what a {level} has in common")
    return given


def checked_cores(cores: Sequence[int] | np.ndarray | None) -> list[int] | None:
    """The cores as whole numbers.

    Raises:
        LimpetError: they are none.
    """
    if cores is None:
        return None
    numbers = np.asarray(cores)
    if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iu":
        raise LimpetError(
            f"cores = {cores!r}: allowed is the core of each place along the leaf's last axis, whole numbers from 0"
        )
    return numbers.tolist()
