"""The result in plain sentences."""

from collections.abc import Iterator, Mapping

import numpy as np

from limpet import RobustnessCurve, Yield
from limpet.results import excluded_words, hardware_names

from ._numbers import measured_at

MOST_NAMED = 12
"""Runs that a sentence names, beside the best one; all of them stand in the table."""


def statement(curves: Mapping[str, RobustnessCurve], target: float | None, metric: str) -> Iterator[str]:
    """What the newest evaluations say of a metric: the best run and the others, at the strength that tells most.

    Runs that were measured on different hardware are not ranked against each other, because their chips are not the
    same: the runs of each hardware have sentences of their own. Runs that do not tell their hardware, as those of old
    files do not, stand together.

    Args:
        curves: the curves by the name of their run, not empty.
        target: the target of the yield; None to speak of the mean.
        metric: the name of the metric that the curves are of.
    """
    of_hardware: dict[str, dict[str, RobustnessCurve]] = {}
    for run, curve in curves.items():
        of_hardware.setdefault(curve.fingerprint, {})[run] = curve
    names = hardware_names({curve.fingerprint: curve.hardware for curve in curves.values()})
    if len(of_hardware) > 1:
        yield hardware_sentence(list(of_hardware))
    for fingerprint, alike in sorted(of_hardware.items(), key=lambda group: not group[0]):
        place = f"On hardware '{names[fingerprint]}', at" if fingerprint else "On hardware that was not recorded, at"
        yield from _of_one_hardware(alike, target, metric, place if len(of_hardware) > 1 else "At")
    without_chips: dict[str, list[str]] = {}
    for run, curve in curves.items():
        if words := excluded_words(curve.excluded_chips):
            without_chips.setdefault(words, []).append(f"'{run}'")
    for words, trained in without_chips.items():
        yield f"{named(trained)} {'was' if len(trained) == 1 else 'were'} {words}."


def named(names: list[str]) -> str:
    """Names in a sentence, or what is said of each; of very many, the first, and how many more there are."""
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED:,} more"


def hardware_sentence(fingerprints: list[str]) -> str:
    """Why runs are not ranked against each other.

    Args:
        fingerprints: the fingerprints of what they were measured on, several; the empty one stands for hardware that
            was not recorded.
    """
    if len([fingerprint for fingerprint in fingerprints if fingerprint]) > 1:
        return (
            "These runs were measured on different hardware, so their chips are not the same, and they are ranked only "
            "among runs of one hardware."
        )
    return (
        "For some of these runs it was not recorded on which hardware they were measured, so they are not ranked "
        "against the others."
    )


def telling_sigma(curves: Mapping[str, RobustnessCurve], target: float | None) -> float:
    """Where the runs differ most, of several such the largest; for one run, where its yield is nearest one half."""
    sigmas = sorted({sigma for curve in curves.values() for sigma in curve.sigmas.tolist()})

    def spread(sigma: float) -> float:
        measured = _measured_at(curves, sigma).values()
        if target is None:
            values = [float(curve.mean()[0]) for curve in measured]
        else:
            values = [curve.yield_at(target)[0].fraction for curve in measured]
        if len(curves) == 1:
            return -abs(values[0] - 0.5) if target is not None else sigma
        return float(np.nan_to_num(np.ptp(values)))

    return max(sigmas, key=lambda sigma: (spread(sigma), sigma))


def _of_one_hardware(
    curves: Mapping[str, RobustnessCurve], target: float | None, metric: str, place: str
) -> Iterator[str]:
    """The best run and the others of one hardware; the sentence begins with `place`."""
    sigma = telling_sigma(curves, target)
    measured = _measured_at(curves, sigma)
    any_curve = next(iter(curves.values()))
    sign = 1 if any_curve.higher_is_better else -1
    place = f"{place} {any_curve.axis} {any_curve.place(sigma)}"
    if target is None:
        means = {run: float(curve.mean()[0]) for run, curve in measured.items()}
        best, *others = sorted(means, key=lambda run: -sign * np.nan_to_num(means[run], nan=-sign * np.inf))
        low, high = (float(end[0]) for end in measured[best].interval("mean"))
        first = f"{place}, the mean {metric} of '{best}' over chips is {means[best]:.4g}"
        if np.isfinite([low, high]).all():  # of chips that are all alike there may be none
            first += f" (95% interval {low:.4g}-{high:.4g})"
        yield _joined(first, [f"'{run}': {means[run]:.4g}" for run in others])
    else:
        yields = {run: curve.yield_at(target)[0] for run, curve in measured.items()}
        best, *others = sorted(yields, key=lambda run: -yields[run].fraction)
        reach = f"reach {metric} {target:g} {'or more' if sign > 0 else 'or less'}"
        first = f"{place}, {_percent(yields[best])} of chips with '{best}' {reach} ({_interval(yields[best])})"
        yield _joined(first, [f"'{run}': {_percent(yields[run])}" for run in others])
    failed = {run: int(curve.failed[0]) for run, curve in measured.items() if curve.failed[0]}
    if failed:
        counts = ", ".join(f"{count} of {measured[run].chips} with '{run}'" for run, count in failed.items())
        yield f"{place}, chips fail (no finite {metric}): {counts}."


def _measured_at(curves: Mapping[str, RobustnessCurve], sigma: float) -> dict[str, RobustnessCurve]:
    """The runs that were measured at a strength, each there alone."""
    return {run: there for run, curve in curves.items() if (there := measured_at(curve, sigma)) is not None}


def _joined(first: str, others: list[str]) -> str:
    return f"{first}; {named(others)}." if others else f"{first}."


def _percent(reached: Yield) -> str:
    return f"{100 * reached.fraction:.3g}%"


def _interval(reached: Yield) -> str:
    return f"{100 * reached.confidence:.0f}% interval {100 * reached.low:.0f}-{100 * reached.high:.0f}%"
