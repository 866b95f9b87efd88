"""A fit as a configuration, with what was found in comments."""

import json
import textwrap
from collections.abc import Mapping

from limpet.deviations import described

from ._measurements import Measurements, guessed_leaves
from ._parameter_fit import ParameterFit
from ._units import quantity


def configuration(table: Measurements, parts: Mapping[str, ParameterFit]) -> str:
    """The hardware as fitted, as a configuration in YAML that `limpet.load_config` reads.

    Args:
        table: the measurements that the hardware was fitted to.
        parts: what was found, by the name of the part that it becomes.
    """
    lines = [
        f"# Fitted by `limpet fit` to {_one_line(table.source)}: {_count(len(table.line), 'value')} of "
        f"{_count(len(parts), 'parameter')}, {_count(len(table.chips), 'chip')}.",
        "#",
        "# Leaves are guessed from the names of the parameters: put in their place which leaves of your network these",
        "# are (`limpet check` with --model lists them). Deviations hold the whole spread, of chips, cores and neurons",
        "# together, and each device is drawn on its own.",
        "hardware:",
    ]
    for part, found in parts.items():
        lines += [f"  {part}:"]
        for finding in findings(found):
            lines += textwrap.wrap(finding, 110, initial_indent="    # ", subsequent_indent="    #   ")
        lines += [
            f"    leaves: {json.dumps(guessed_leaves(found.name), ensure_ascii=False)}  # a guess",
            f"    deviation: {_flow(described(found.deviation))}",
        ]
    return "\n".join([*lines, "training: {}", ""])


def findings(found: ParameterFit) -> list[str]:
    """What was found of a parameter, in lines."""
    chips = len(set(found.chips.tolist()))
    nominal = f", nominal {quantity(found.nominal, found.unit)}" if found.unit else ""
    lowest = found.candidates[0]
    others = [f"{kind} {aic - lowest.aic:+.1f}" for kind, aic in found.aic.items() if kind != found.best.kind]
    chosen = f"{found.best.kind} by AIC (others, above the lowest: {', '.join(others)})"
    if found.best is not lowest:
        chosen = (
            f"{found.best.kind}, {found.best.aic - lowest.aic:.1f} above the lowest AIC and simpler (others: "
            f"{', '.join(others)})"
        )
    lines = [
        f"{_count(len(found.factors), 'value')} of {_count(chips, 'chip')}{nominal}; {chosen}",
        f"Kolmogorov-Smirnov distance {found.distance:.3g}, p = {found.p_value:.2g} (simulated, with a fit of its own "
        f"each time)",
        f"sigma by level, with 95% intervals: {'; '.join(f'{c.level} {c}' for c in found.components)}",
    ]
    if found.off_center:
        lines.append(off_center(found))
    return lines


def off_center(found: ParameterFit) -> str:
    """What devices are off by in common."""
    off = found.best.center - 1
    return (
        f"typically {abs(off):.1%} {'above' if off > 0 else 'below'} nominal, which no deviation holds: set nominal "
        f"values by it, or calibrate it away"
    )


def _flow(plain: dict[str, object]) -> str:
    """Plain values as a YAML mapping in one line."""
    values = [f"{key}: {value:.6g}" if isinstance(value, float) else f"{key}: {value}" for key, value in plain.items()]
    return f"{{{', '.join(values)}}}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
