"""What was logged, through TensorBoard's data provider: read once per run and tag, again when there is more."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorboard.context import RequestContext
from tensorboard.data.provider import DataProvider, RunTagFilter

from .._errors import LimpetError
from ..results._robustness_curve import RobustnessCurve
from ..results._sensitivity import Sensitivity
from ._curve_summary import PLUGIN_NAME, curve_of, curve_tag, described
from ._sensitivity_summary import sensitivity_of, sensitivity_tag

SERIES_KEPT = 128
"""How many runs' series stay in memory, a megabyte each at 200 evaluations of 100 chips."""
ALL = 1_000_000


@dataclass(frozen=True)
class Announced:
    """What is known of a run's metric without reading its values.

    Attributes:
        last_step: of the newest evaluation.
        content: the summary's metadata.
    """

    last_step: int
    content: dict[str, Any]


class LoggedSeries:
    """The curves and sensitivities of all runs.

    Args:
        provider: TensorBoard's.
    """

    def __init__(self, provider: DataProvider) -> None:
        self._provider: Any = provider  # whose annotations say that it returns None
        self._kept: OrderedDict[tuple[str, str, str], tuple[Any, dict[int, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def announced(self, ctx: RequestContext, experiment: str, kind: str) -> dict[str, dict[str, Announced]]:
        """The runs, and the metrics of each of which there are curves or sensitivities.

        Args:
            ctx: of the request.
            experiment: TensorBoard's experiment id.
            kind: "curve" or "sensitivity".
        """
        listed = self._provider.list_tensors(ctx, experiment_id=experiment, plugin_name=PLUGIN_NAME)
        found: dict[str, dict[str, Announced]] = {}
        for run, tags in sorted(listed.items()):
            for series in tags.values():
                content = described(series.plugin_content, kind)
                if content is not None and (metric := _metric_of(series.plugin_content, content)) is not None:
                    found.setdefault(run, {})[metric] = Announced(series.max_step, content)
        return found

    def curves(
        self, ctx: RequestContext, experiment: str, runs: Collection[str], metric: str
    ) -> dict[str, dict[int, RobustnessCurve]]:
        """The curves of a metric by run and step; runs that hold none are left out."""
        return self._series(ctx, experiment, runs, curve_tag(metric), curve_of)

    def sensitivities(
        self, ctx: RequestContext, experiment: str, runs: Collection[str], metric: str
    ) -> dict[str, dict[int, Sensitivity]]:
        """The sensitivities of a metric by run and step; runs that hold none are left out."""
        return self._series(ctx, experiment, runs, sensitivity_tag(metric), sensitivity_of)

    def _series(
        self,
        ctx: RequestContext,
        experiment: str,
        runs: Collection[str],
        tag: str,
        parse: Callable[[bytes, Any], Any],
    ) -> dict[str, dict[int, Any]]:
        where = {"experiment_id": experiment, "plugin_name": PLUGIN_NAME}
        listed = self._provider.list_tensors(ctx, run_tag_filter=RunTagFilter(runs=runs, tags=[tag]), **where)
        found, outdated = {}, {}
        for run, tags in listed.items():
            if (series := tags.get(tag)) is None:
                continue
            version = (series.max_step, series.max_wall_time, series.plugin_content)
            kept = self._kept_of((experiment, run, tag), version)
            if kept is None:
                outdated[run] = version
            else:
                found[run] = kept
        if outdated:
            filter_ = RunTagFilter(runs=list(outdated), tags=[tag])
            read = self._provider.read_tensors(ctx, downsample=ALL, run_tag_filter=filter_, **where)
            for run, version in outdated.items():
                values = {datum.step: datum.numpy for datum in read.get(run, {}).get(tag, [])}
                found[run] = _parsed(values, version[-1], parse)
                self._keep((experiment, run, tag), version, found[run])
        return {run: series for run, series in found.items() if series}

    def _kept_of(self, key: tuple[str, str, str], version: Any) -> dict[int, Any] | None:
        with self._lock:
            if key not in self._kept or self._kept[key][0] != version:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][1]

    def _keep(self, key: tuple[str, str, str], version: Any, series: dict[int, Any]) -> None:
        with self._lock:
            self._kept[key] = version, series
            while len(self._kept) > SERIES_KEPT:
                self._kept.popitem(last=False)


def _parsed(values: Mapping[int, Any], content: bytes, parse: Callable[[bytes, Any], Any]) -> dict[int, Any]:
    series = {}
    for step, value in sorted(values.items()):
        try:
            series[step] = parse(content, value)
        except LimpetError:
            continue  # a foreign summary under this tag is no evaluation
    return series


def _metric_of(raw: bytes, content: Mapping[str, Any]) -> str | None:
    """The metric that metadata speak of; None where they are not whole."""
    if content["kind"] == "sensitivity":
        metric = content.get("metric")
        return metric if isinstance(metric, str) else None
    try:
        curve = curve_of(raw, np.zeros((len(content["curve"]["sigmas"]), 2)))
    except (LimpetError, KeyError, TypeError):
        return None
    return curve.metric
