"""A fit as a configuration, with what was found in comments."""

import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from limpet import Chain, Deviation, Hardware
from limpet.deviations import described, label
from limpet.results import words

from ._in_time import ODDS
from ._measurements import Measurements, guessed_leaves
from ._parameter_fit import UNEVEN_TIME, ParameterFit
from ._units import quantity

SPIKE = 0.05
"""The fraction of values without any deviation from which on it is said."""
SHARE = 0.3
"""The fraction of a device's standard deviation from which on what no part of the hardware holds is said."""


def configuration(table: Measurements, parts: Mapping[str, ParameterFit], hardware: Hardware) -> str:
    """The hardware as fitted, as a configuration in YAML that `limpet.load_config` reads.

    Args:
        table: the measurements that the hardware was fitted to.
        parts: the fit of each part, by its name.
        hardware: the hardware with these parts.
    """
    lines = [
        f"# Fitted by `limpet fit` to {_one_line(table.source)}: {count(len(table.line), 'value')} of "
        f"{count(len(parts), 'parameter')}, {count(len(table.chips), 'chip')}.",
        "#",
        "# Leaves are guessed from the names of the parameters: put in their place which leaves of your network these",
        "# are (`limpet check` with --model lists them). What training redraws is for you to add:",
        "# `training: {dynamic: {}}` draws all of it anew at every step.",
        "hardware:",
    ]
    for part, found in parts.items():
        lines += [f"  {part}:"]
        for finding in findings(found):
            lines += textwrap.wrap(finding, 110, initial_indent="    # ", subsequent_indent="    #   ")
        deviation = hardware.parts[part].deviation
        lines.append(f"    leaves: {json.dumps(guessed_leaves(found.name), ensure_ascii=False)}  # a guess")
        if isinstance(deviation, Chain):
            lines += ["    deviation:", *(f"      - {_flow(_brief(member))}" for member in deviation.members)]
        else:
            lines.append(f"    deviation: {_flow(_brief(deviation))}")
    return "\n".join([*lines, ""])


def findings(found: ParameterFit) -> list[str]:
    """What was found of a parameter, in lines."""
    chips = len(set(found.rows.chip.tolist()))
    at = f", set to {quantity(found.nominal, found.unit)}" if len(found.by_set_value) == 1 and found.unit else ""
    best, *others = found.evidence.items()
    beside = ", ".join(f"{name} {value - best[1]:+.1f}" for name, value in others)
    plainest = ", the plainest of those that are as likely" if others and others[0][1] > best[1] else ""
    lines = [
        f"{count(len(found.rows.line), 'value')} of {count(chips, 'chip')}{at}; {best[0]} by evidence{plainest}"
        + (f" (logarithm of the odds of others: {beside})" if beside else ""),
        f"Kolmogorov-Smirnov distance {found.distance:.3g}, p = {found.p_value:.2g} (simulated)",
        f"sigma by level, with 95% intervals: {'; '.join(f'{c.level} {c}' for c in found.components)}",
    ]
    if not found.relative:
        lines.append(
            f"of devices, settings and readings it is a fraction of the largest set value, "
            f"{quantity(found.largest, found.unit)}, which the largest weight of an array stands for"
        )
    if found.off_center:
        lines.append(off_center(found))
    if found.stuck:
        lines.append(stuck_devices(found))
    if found.outliers and found.left_out:
        lines.append(f"{found.outliers}: far off, and left out")
    return [*lines, *doubts(found)]


def beside(found: ParameterFit) -> tuple[str, str, str, str, str, str]:
    """What a row of a table of parameters shows: name, values, set value, gain, law, and the law of next evidence."""
    many = len(found.by_set_value) != 1
    at = f"up to {quantity(found.largest, found.unit)}" if many else quantity(found.nominal, found.unit)
    gain = f"{found.gain:.4f} ± {found.gain_error:.4f}"
    best, *others = found.evidence.items()
    below = others[0][1] - best[1] if others else 0.0
    after = f"{others[0][0]}{', as likely' if below > -ODDS else f' {below:+.0f}'}" if others else ""
    return found.name, f"{len(found.rows.line):,}", at, gain, label(found.deviation), after


def off_center(found: ParameterFit) -> str:
    """What devices are off by in common."""
    off = found.gain - 1
    side = "above" if off > 0 else "below"
    gain = f"{abs(off):.1%} {side} what they are set to (standard error {found.gain_error:.1%})"
    shift = f", and shifted by {found.offset:+.2%} of the largest set value" if found.offset else ""
    return f"devices of all chips are {gain}{shift}"


def stuck_devices(found: ParameterFit) -> str:
    """How many devices follow no set value."""
    at = {"at_zero": "at zero", "at_largest": "at the largest value", "at_random": "elsewhere"}
    counts = ", ".join(f"{number:,} {at[key]}" for key, number in found.stuck.items())
    return f"of {count(found.devices, 'device')}, stuck are {counts}"


def doubts(found: ParameterFit) -> list[str]:
    """What is to be looked at before the fit is believed."""
    lines: list[str] = []
    rows = found.outliers
    if found.outliers and not found.left_out:
        rest = "none can be fitted" if found.without_outliers is None else label(found.without_outliers)
        lines.append(
            f"{rows}: far off what the rest makes believable; with them the law of a device is "
            f"{label(found.deviation)}, without {rest}: look at them, or leave them out (robust=True, --robust)"
        )
    if found.doubtful:
        lines.append(
            f"no law fits: that of least doubt, {found.kind}, is {found.distance:.3f} off (Kolmogorov-Smirnov, "
            f"p = {found.p_value:.2g}); look at the quantiles in the report (--report)"
        )
    if (time := found.component("time")) is not None and time.sigma > SHARE * _of_devices(found):
        lines.append(
            f"what devices are off by anew at each time, {time.sigma:.3g}, is in no part of the hardware: readings "
            f"that are repeated at one time would tell how much of it is the noise of a read"
        )
    off = {at: abs(math.log(max(at.sigma, 1e-12) / max(at.expected, 1e-12))) for at in found.by_time}
    if off and max(off.values()) > math.log(UNEVEN_TIME):
        at = max(off, key=lambda at: off[at])
        lines.append(
            f"{words(at.time)} after they were set, values spread by {at.sigma:.3g} of the largest set value, and "
            f"those of the hardware by {at.expected:.3g}"
        )
    if found.exact > SPIKE:
        lines.append(
            f"{found.exact:.0%} of the values are exactly what devices were set to; if set values are medians of what "
            f"was measured, some devices seem to be perfect, and the law gets a peak"
        )
    if found.below_zero > SPIKE / 10:
        lines.append(
            f"the law puts {found.below_zero:.1%} of the devices below zero, and none was measured there; a log-normal "
            f"one puts none there"
        )
    if found.common_place > SHARE * _of_devices(found):
        lines.append(
            f"devices at the same place (core and device label) are off alike on every chip, by "
            f"{found.common_place:.3g}: that is the layout's and could be calibrated away once, but the hardware draws "
            f"it anew on each chip"
        )
    if uneven := found.uneven:
        at = uneven[0]
        lines.append(
            f"at the set value {quantity(at.nominal, found.unit)} devices spread by {at.sigma:.3g}, and the law says "
            f"{at.expected:.3g}"
        )
    return lines


def _of_devices(found: ParameterFit) -> float:
    return sum(c.sigma**2 for c in found.components if c.level in ("device", "setting") and c.told) ** 0.5


def _brief(deviation: Deviation) -> dict[str, Any]:
    """A deviation as plain values, without those that are the default."""
    plain: dict[str, Any] = dict(described(deviation))
    for field in fields(deviation):  # pyright: ignore[reportArgumentType]
        value = getattr(deviation, field.name)
        if field.default is not MISSING and value == field.default:
            plain.pop(field.name, None)
        elif isinstance(value, Deviation):
            plain[field.name] = _brief(value)
    return plain


def _flow(plain: Any) -> str:
    """Plain values in YAML's notation for one line."""
    if isinstance(plain, dict):
        return f"{{{', '.join(f'{key}: {_flow(value)}' for key, value in plain.items())}}}"
    if isinstance(plain, list | tuple):
        return f"[{', '.join(map(_flow, plain))}]"
    return f"{plain:.6g}" if isinstance(plain, float) else str(plain)


def count(number: int, noun: str) -> str:
    """A number of things, in words."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
