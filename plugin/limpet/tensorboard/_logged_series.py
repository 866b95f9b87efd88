"""What was logged, through TensorBoard's data provider: read once per run and metric, again when there is more.

What a tag holds is read from its metadata: tags may have any prefix, and a run that was logged with other metadata (on
other hardware, at other strengths) has several tags of one metric, whose evaluations are one series here.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from tensorboard.context import RequestContext
from tensorboard.data.provider import DataProvider, RunTagFilter

from .._errors import LimpetError
from ..results._beyond_limits import BeyondLimits
from ..results._robustness_curve import RobustnessCurve
from ..results._sensitivity import Sensitivity
from ._curve_summary import PLUGIN_NAME, curve_of, described, target_of
from ._limits_summary import beyond_limits_of
from ._sensitivity_summary import sensitivity_of

SERIES_KEPT = 128
"""How many runs' series stay in memory, a megabyte each at 200 evaluations of 100 chips."""
ALL = 1_000_000
_MALFORMED = (ValueError, TypeError, LookupError, MemoryError)
"""What TensorBoard raises where a tensor is not what its shape and type say, or is missing."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Announced:
    """What is known of a run's metric without reading its values.

    Attributes:
        last_step: of the newest evaluation.
        content: the summary's metadata.
    """

    last_step: int
    content: Mapping[str, Any]


class LoggedSeries:
    """The curves, sensitivities and counts beyond limits of all runs.

    Args:
        provider: TensorBoard's.
    """

    def __init__(self, provider: DataProvider) -> None:
        self._provider: Any = provider  # whose annotations say that it returns None
        self._kept: OrderedDict[tuple[str, str, str, str], tuple[Any, dict[int, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def announced(self, ctx: RequestContext, experiment: str, kind: str) -> dict[str, dict[str, Announced]]:
        """The runs, and the metrics of each of which there are curves or sensitivities; counts are of no metric: "".

        Args:
            ctx: of the request.
            experiment: TensorBoard's experiment id.
            kind: "curve", "sensitivity" or "limits".
        """
        listed = self._listed(ctx, experiment)
        runs: dict[str, dict[str, Announced]] = {}
        for run, tags in sorted(listed.items()):
            # The newest evaluation speaks for all: it is the one that tables and charts show first.
            for series in sorted(tags.values(), key=lambda series: (series.max_step, series.max_wall_time)):
                if (told := _told(series.plugin_content, kind)) is not None:
                    metric, content = told
                    runs.setdefault(run, {})[metric] = Announced(series.max_step, content)
        return runs

    def curves(
        self, ctx: RequestContext, experiment: str, runs: Collection[str], metric: str
    ) -> dict[str, dict[int, RobustnessCurve]]:
        """The curves of a metric by run and step; runs that hold none are left out."""
        return self._series(ctx, experiment, runs, "curve", metric, curve_of)

    def sensitivities(
        self, ctx: RequestContext, experiment: str, runs: Collection[str], metric: str
    ) -> dict[str, dict[int, Sensitivity]]:
        """The sensitivities of a metric by run and step; runs that hold none are left out."""
        return self._series(ctx, experiment, runs, "sensitivity", metric, sensitivity_of)

    def beyond_limits(
        self, ctx: RequestContext, experiment: str, runs: Collection[str]
    ) -> dict[str, dict[int, BeyondLimits]]:
        """The counts of values beyond limits by run and step; runs that hold none are left out."""
        return self._series(ctx, experiment, runs, "limits", "", beyond_limits_of)

    def _series(
        self,
        ctx: RequestContext,
        experiment: str,
        runs: Collection[str],
        kind: str,
        metric: str,
        parse: Callable[[bytes, Any], Any],
    ) -> dict[str, dict[int, Any]]:
        listed = self._listed(ctx, experiment, runs)
        by_run, outdated = {}, {}
        for run, tags in listed.items():
            contents = {
                tag: series.plugin_content
                for tag, series in tags.items()
                if (told := _told(series.plugin_content, kind)) is not None and told[0] == metric
            }
            version = {tag: (tags[tag].max_step, tags[tag].max_wall_time, contents[tag]) for tag in contents}
            kept = self._kept_of((experiment, run, kind, metric), version)
            if kept is not None:
                by_run[run] = kept
            elif contents:
                outdated[run] = contents, version
        if outdated:
            tags = {tag for contents, _ in outdated.values() for tag in contents}
            read = self._read(ctx, experiment, list(outdated), list(tags))
            for run, (contents, version) in outdated.items():
                by_run[run] = _merged(read.get(run, {}), contents, parse)
                self._keep((experiment, run, kind, metric), version, by_run[run])
        return {run: series for run, series in by_run.items() if series}

    def _listed(
        self, ctx: RequestContext, experiment: str, runs: Collection[str] | None = None
    ) -> Mapping[str, Mapping[str, Any]]:
        """Limpet's tags by run, of all runs for None."""

        def listed(runs: Collection[str] | None) -> Mapping[str, Mapping[str, Any]]:
            return self._provider.list_tensors(
                ctx, experiment_id=experiment, plugin_name=PLUGIN_NAME, run_tag_filter=RunTagFilter(runs=runs)
            )

        def all_runs() -> Collection[str]:
            return [run.run_name for run in self._provider.list_runs(ctx, experiment_id=experiment)]

        return _without_malformed(listed, runs, all_runs)

    def _read(
        self, ctx: RequestContext, experiment: str, runs: Collection[str], tags: Collection[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """What was logged under some tags, by run and tag."""

        def read(runs: Collection[str] | None) -> Mapping[str, Mapping[str, Any]]:
            return self._provider.read_tensors(
                ctx,
                experiment_id=experiment,
                plugin_name=PLUGIN_NAME,
                downsample=ALL,
                run_tag_filter=RunTagFilter(runs=runs, tags=tags),
            )

        return _without_malformed(read, runs, lambda: runs)

    def _kept_of(self, key: tuple[str, str, str, str], version: Any) -> dict[int, Any] | None:
        with self._lock:
            if key not in self._kept or self._kept[key][0] != version:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][1]

    def _keep(self, key: tuple[str, str, str, str], version: Any, series: dict[int, Any]) -> None:
        with self._lock:
            self._kept[key] = version, series
            while len(self._kept) > SERIES_KEPT:
                self._kept.popitem(last=False)


def _without_malformed(
    ask: Callable[[Collection[str] | None], Mapping[str, Any]],
    runs: Collection[str] | None,
    all_runs: Callable[[], Collection[str]],
) -> Mapping[str, Any]:
    """What TensorBoard answers on some runs. One that it cannot read is left out, and no other one with it.

    Args:
        ask: asks TensorBoard, and raises where one of the runs holds what it cannot read.
        runs: to be asked for; None for all.
        all_runs: which these are.
    """
    try:
        return ask(runs)
    except _MALFORMED:
        answers: dict[str, Any] = {}
        for run in all_runs() if runs is None else runs:
            try:
                answers |= ask([run])
            except _MALFORMED as error:
                _log.warning("run '%s' cannot be read and is left out: %s", run, error)
        return answers


def _merged(
    logged: Mapping[str, Any], contents: Mapping[str, bytes], parse: Callable[[bytes, Any], Any]
) -> dict[int, Any]:
    """The evaluations under several tags as one series by step; of two at one step, that which was logged last."""
    data = [(datum.wall_time, tag, datum) for tag in contents for datum in logged.get(tag, [])]
    series = {}
    for _, tag, datum in sorted(data, key=lambda entry: entry[0]):
        try:
            series[datum.step] = parse(contents[tag], datum.numpy)
        except LimpetError:
            continue  # a foreign summary under this tag is no evaluation
    return dict(sorted(series.items()))


@lru_cache(maxsize=4096)  # the page asks again and again, and metadata do not change
def _told(content: bytes, kind: str) -> tuple[str, Mapping[str, Any]] | None:
    """The metric of which metadata speak, and all that they say; None where they are of another kind, or not whole."""
    description = described(content, kind)
    if description is None:
        return None
    if kind == "sensitivity":
        metric = description.get("metric")
        return (metric, description) if isinstance(metric, str) else None
    if kind == "limits":
        try:
            beyond_limits_of(content, np.zeros((2, len(description["sigmas"]), len(description["leaves"]))))
        except (LimpetError, KeyError, TypeError):
            return None
        return "", description
    try:
        metric = curve_of(content, np.zeros((len(description["curve"]["sigmas"]), 2))).metric
    except (LimpetError, KeyError, TypeError):
        return None
    try:
        target = target_of(content)
    except LimpetError:
        target = None  # the curve can be shown, and the viewer may choose a target
    return metric, description | {"target": target}
