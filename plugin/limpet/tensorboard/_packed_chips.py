"""The metric of every chip of many runs, and how many chips reach which target, in few bytes.

Written out as the tab's routes answer them, these are nine tenths of a report of a thousand runs. So values are packed
in single precision, which is what metrics are computed in. The targets of a chart of the yield are the chips' own
values: only the counts are written. And the interval of a count is written once for all runs. `web/packed.js` unpacks
all of it.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limpet import RobustnessCurve
from limpet.results import yield_of

from . import _numbers


def packed_chips(curves: Mapping[str, RobustnessCurve], low: float, high: float) -> dict[str, Any]:
    """What a report holds of the chips of the runs of one metric.

    Args:
        curves: by run.
        low: the smallest target in the charts of their yield.
        high: the largest.

    Returns:
        `low`, `high` and `points`, the largest number of targets; for each run its sigmas, in rising order, its values,
        packed, shape (chips, strengths), and for each sigma how many chips reach each target; for each kind of count
        (`kind` of a run) the ends of the interval, by count.
    """
    intervals: dict[str, dict[int, tuple[float, float]]] = {}
    runs = {}
    for name, curve in curves.items():
        order = np.argsort(curve.sigmas, kind="stable")
        with np.errstate(over="ignore"):  # what single precision cannot hold has failed there
            single = curve.values[order].astype(np.float32)
        ordered = replace(curve, sigmas=curve.sigmas[order], values=single)
        passed = [
            row.passing(_numbers.targets_of(row, low, high))[0].tolist()
            for row in (
                replace(ordered, sigmas=ordered.sigmas[[k]], values=ordered.values[[k]]) for k in range(len(order))
            )
        ]
        kind = f"{curve.chips}{' in pairs' if curve.antithetic else ''}"
        ends = intervals.setdefault(kind, {})
        for count in {count for counts in passed for count in counts} - ends.keys():
            reached = yield_of(count, curve.chips, _numbers.CONFIDENCE, "exact", curve.antithetic)
            ends[count] = reached.low, reached.high
        runs[name] = {
            "sigmas": ordered.sigmas.tolist(),
            "chips": curve.chips,
            "values": _packed(single.T),
            "passed": passed,
            "kind": kind,
        }
    return {"low": low, "high": high, "points": _numbers.TARGETS, "intervals": intervals, "runs": runs}


def _packed(values: NDArray[np.float32]) -> str:
    """Numbers as text: base64 of their bytes, the lowest first."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
