"""What was logged, through TensorBoard's data provider: read once per run and metric, again when there is more.

What a tag holds is read from its metadata: tags may have any prefix, and a run that was logged with other metadata (on
other hardware, at other strengths) has several tags of one metric, whose evaluations are one series here.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache, partial
from typing import Any

from tensorboard.context import RequestContext
from tensorboard.data.provider import DataProvider, RunTagFilter

from limpet import LimpetError

from ._summaries import PLUGIN_NAME, Kind, Logged, target_of, unpacked

SERIES_KEPT = 128
"""The number of runs whose series stay in memory, a megabyte each at 200 evaluations of 100 chips."""
ALL = 1_000_000
_MALFORMED = (ValueError, TypeError, LookupError, MemoryError)
"""What TensorBoard raises where a tensor is not what its shape and type say, or is missing."""
_log = logging.getLogger(__name__)


class LoggedSeries:
    """The curves, sensitivities and counts beyond limits of all runs.

    Args:
        provider: the data provider by which TensorBoard answers for all of its log directory.
    """

    def __init__(self, provider: DataProvider) -> None:
        self._provider: Any = provider  # whose annotations say that it returns None
        self._kept: OrderedDict[tuple[str, str, Kind, str], tuple[Any, dict[int, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def announced(self, ctx: RequestContext, experiment: str, kind: Kind) -> dict[str, dict[str, tuple[int, Logged]]]:
        """What the metadata of each run say, by metric, without reading values: the newest step, and the result.

        Args:
            ctx: the context of the request that TensorBoard hands on.
            experiment: the id of the experiment, which TensorBoard's own server leaves empty.
            kind: the kind of results; counts beyond limits are of no metric, "".
        """
        runs: dict[str, dict[str, tuple[int, Logged]]] = {}
        for run, tags in sorted(self._listed(ctx, experiment).items()):
            # The newest evaluation speaks for all: it is the one that tables and charts show first.
            for series in sorted(tags.values(), key=lambda series: (series.max_step, series.max_wall_time)):
                if (told := _told(series.plugin_content)) is not None and told.kind == kind:
                    runs.setdefault(run, {})[told.metric] = series.max_step, told
        return runs

    def series(
        self, ctx: RequestContext, experiment: str, kind: Kind, metric: str, runs: Collection[str]
    ) -> dict[str, dict[int, Any]]:
        """The results of some runs by step; runs that hold none are left out.

        Args:
            ctx: the context of the request that TensorBoard hands on.
            experiment: the id of the experiment, which TensorBoard's own server leaves empty.
            kind: the kind of results: curves, sensitivities or counts beyond limits.
            metric: their metric; "" for counts beyond limits.
            runs: the names of the runs, as TensorBoard lists them.
        """
        by_run, outdated = {}, {}
        for run, tags in self._listed(ctx, experiment, runs).items():
            contents = {
                tag: series.plugin_content
                for tag, series in tags.items()
                if (told := _told(series.plugin_content)) is not None and (told.kind, told.metric) == (kind, metric)
            }
            version = {tag: (tags[tag].max_step, tags[tag].max_wall_time, contents[tag]) for tag in contents}
            kept = self._kept_of((experiment, run, kind, metric), version)
            if kept is not None:
                by_run[run] = kept
            elif contents:
                outdated[run] = contents, version
        if outdated:
            tags = {tag for contents, _ in outdated.values() for tag in contents}
            ask = partial(self._provider.read_tensors, downsample=ALL)
            read = _without_malformed(partial(_asked, ask, ctx, experiment, tags=tags), list(outdated))
            for run, (contents, version) in outdated.items():
                by_run[run] = _merged(read.get(run, {}), contents)
                self._keep((experiment, run, kind, metric), version, by_run[run])
        return {run: series for run, series in by_run.items() if series}

    def _listed(
        self, ctx: RequestContext, experiment: str, runs: Collection[str] | None = None
    ) -> Mapping[str, Mapping[str, Any]]:
        """Limpet's tags by run, of all runs for None."""
        ask = partial(_asked, self._provider.list_tensors, ctx, experiment)
        if runs is None:
            try:
                return ask(None)
            except _MALFORMED:
                runs = [run.run_name for run in self._provider.list_runs(ctx, experiment_id=experiment)]
        return _without_malformed(ask, runs)

    def _kept_of(self, key: tuple[str, str, Kind, str], version: Any) -> dict[int, Any] | None:
        with self._lock:
            if key not in self._kept or self._kept[key][0] != version:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][1]

    def _keep(self, key: tuple[str, str, Kind, str], version: Any, series: dict[int, Any]) -> None:
        with self._lock:
            self._kept[key] = version, series
            while len(self._kept) > SERIES_KEPT:
                self._kept.popitem(last=False)


def _asked(
    ask: Callable[..., Any],
    ctx: RequestContext,
    experiment: str,
    runs: Collection[str] | None,
    tags: Collection[str] | None = None,
) -> Mapping[str, Any]:
    chosen = RunTagFilter(runs=runs, tags=tags)
    return ask(ctx, experiment_id=experiment, plugin_name=PLUGIN_NAME, run_tag_filter=chosen)


def _without_malformed(ask: Callable[[Collection[str]], Mapping[str, Any]], runs: Collection[str]) -> dict[str, Any]:
    """What TensorBoard answers on some runs. One that it cannot read is left out, and no other one with it."""
    try:
        return dict(ask(runs))
    except _MALFORMED as error:
        if len(runs) > 1:
            return {name: answer for run in runs for name, answer in _without_malformed(ask, [run]).items()}
        _log.warning("run '%s' cannot be read and is left out: %s", *runs, error)
        return {}


def _merged(logged: Mapping[str, Any], contents: Mapping[str, bytes]) -> dict[int, Any]:
    """The evaluations under several tags as one series by step; of two at one step, that which was logged last."""
    data = [(datum.wall_time, tag, datum) for tag in contents for datum in logged.get(tag, [])]
    series = {}
    for _, tag, datum in sorted(data, key=lambda entry: entry[0]):
        try:
            series[datum.step] = unpacked(contents[tag], datum.numpy).result
        except LimpetError:
            continue  # a foreign summary under this tag is no evaluation
    return dict(sorted(series.items()))


@lru_cache(maxsize=4096)  # the page asks again and again, and metadata do not change
def _told(content: bytes) -> Logged | None:
    """What metadata say without the numbers; None where they are not whole."""
    try:
        told = unpacked(content)
    except LimpetError:
        return None
    try:
        target_of(told.description)
    except LimpetError:  # the curve can be shown, and the viewer may choose a target
        return told._replace(description={**told.description, "target": None})
    return told
