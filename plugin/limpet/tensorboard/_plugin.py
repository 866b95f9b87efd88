"""TensorBoard's Robustness tab: the routes that its page asks.

Everything shown is read through TensorBoard's data provider, never from the file system.
"""

import argparse
import json
import math
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tensorboard.backend.http_util import Respond
from tensorboard.data.provider import DataProvider
from tensorboard.plugins.base_plugin import FrontendMetadata, TBContext, TBLoader, TBPlugin
from werkzeug.wrappers import Request, Response

from limpet import RobustnessCurve
from tensorboard import plugin_util

from . import _numbers
from ._logged_series import LoggedSeries
from ._page_files import page_files
from ._query import Query, QueryError
from ._summaries import PLUGIN_NAME

SAMPLES = 1000
"""Evaluations of a run that TensorBoard keeps for this tab; of an unknown plugin's tensors it keeps about ten."""
DAY = 86_400
CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css"}
Answer = Callable[[Any, str, Any], Any]


class RobustnessLoader(TBLoader):
    """Raises how many evaluations TensorBoard keeps, and makes the tab."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Keep more evaluations than TensorBoard would, unless the user says how many."""
        flags.samples_per_plugin = {PLUGIN_NAME: SAMPLES} | (flags.samples_per_plugin or {})

    def load(self, context: TBContext) -> Any:
        """The tab; None, which leaves it out, where this TensorBoard has no data provider."""
        return RobustnessTab(context.data_provider) if context.data_provider is not None else None


class RobustnessTab(TBPlugin):
    """Robustness curves of several runs over training.

    Args:
        provider: TensorBoard's.
    """

    plugin_name = PLUGIN_NAME

    def __init__(self, provider: DataProvider) -> None:
        self._logged = LoggedSeries(provider)
        # The intervals need it, and importing it takes longer than an answer may.
        threading.Thread(target=import_module, args=("scipy.stats",), daemon=True).start()

    def is_active(self) -> bool:
        """False: that there are curves to show, TensorBoard sees for itself."""
        return False

    def frontend_metadata(self) -> FrontendMetadata:
        """Where the page begins."""
        return FrontendMetadata(es_module_path="/tab.js", tab_name="Robustness", disable_reload=True)

    def get_plugin_apps(self) -> dict[str, Any]:
        """The routes: the page's files, plotly's script, and the numbers."""
        pages = {f"/{name}": _page_route(name) for name in page_files() if name.endswith(tuple(CONTENT_TYPES))}
        numbers: dict[str, tuple[Answer, tuple[str, ...]]] = {
            "runs": (self._runs, ()),
            "evaluations": (self._evaluations, ("metric", "run")),
            "chips": (self._chips, ("metric", "run", "step")),
            "table": (self._table, ("metric", "run", "step", "sigma", "target")),
            "yields": (self._yields, ("metric", "run", "step", "sigma", "low", "high")),
            "difference": (self._difference, ("metric", "first", "second", "step")),
            "sensitivity": (self._sensitivity, ("metric", "run")),
            "limits": (self._limits, ("run", "step")),
        }
        routes = {f"/{name}": _numbers_route(answer, allowed) for name, (answer, allowed) in numbers.items()}
        return pages | routes | {"/plotly.js": _plotly_route()}

    def _runs(self, ctx: Any, experiment: str, query: Query) -> Any:
        runs: dict[str, dict[str, Any]] = {}
        for run, metrics in self._logged.announced(ctx, experiment, "curve").items():
            runs[run] = {
                metric: _numbers.overview(step, told.result, told.description.get("target"))
                for metric, (step, told) in metrics.items()
                if isinstance(told.result, RobustnessCurve)
            }
        sensitivities = self._logged.announced(ctx, experiment, "sensitivity")
        return {
            "runs": runs,
            "sensitivities": {run: sorted(metrics) for run, metrics in sensitivities.items()},
            "limits": sorted(self._logged.announced(ctx, experiment, "limits")),
            "hardware_names": _numbers.names_of_hardware(runs),
        }

    def _evaluations(self, ctx: Any, experiment: str, query: Query) -> Any:
        run = query.text("run")
        return _numbers.evaluations(self._curves(ctx, experiment, query, [run])[run])

    def _chips(self, ctx: Any, experiment: str, query: Query) -> Any:
        run = query.text("run")
        return _numbers.chips(self._newest(ctx, experiment, query, [run])[run][1])

    def _table(self, ctx: Any, experiment: str, query: Query) -> Any:
        sigma, target = query.number("sigma"), query.optional_number("target")
        newest = self._newest_readable(ctx, experiment, query, query.texts("run"))
        return {run: {"step": step} | _numbers.table_row(curve, sigma, target) for run, (step, curve) in newest.items()}

    def _yields(self, ctx: Any, experiment: str, query: Query) -> Any:
        sigma, low, high = query.number("sigma"), query.number("low"), query.number("high")
        if not 0 < high - low < math.inf:
            raise QueryError(f"low = {low:g}: allowed is a number below high = {high:g}, and not infinitely far")
        newest = self._newest_readable(ctx, experiment, query, query.texts("run"))
        return {run: _numbers.yield_over_target(curve, sigma, low, high) for run, (_, curve) in newest.items()}

    def _difference(self, ctx: Any, experiment: str, query: Query) -> Any:
        first, second = query.text("first"), query.text("second")
        newest = self._newest(ctx, experiment, query, [first, second])
        return _numbers.difference(newest[first][1], newest[second][1])

    def _sensitivity(self, ctx: Any, experiment: str, query: Query) -> Any:
        run, metric = query.text("run"), query.text("metric")
        series = self._logged.series(ctx, experiment, "sensitivity", metric, [run]).get(run)
        if series is None:
            raise QueryError(f"run {run[:80]!r} holds no sensitivity of {metric[:80]!r} that can be read")
        return _numbers.leaf_costs(series[max(series)])

    def _limits(self, ctx: Any, experiment: str, query: Query) -> Any:
        run, latest = query.text("run"), query.optional_step()
        series = self._logged.series(ctx, experiment, "limits", "", [run]).get(run)
        if series is None:
            raise QueryError(f"run {run[:80]!r} holds no counts of values beyond limits that can be read")
        return _numbers.beyond_limits(*_no_later(series, latest))

    def _curves(self, ctx: Any, experiment: str, query: Query, runs: list[str]) -> dict[str, dict[int, Any]]:
        """The curves of some runs by step, none of them empty."""
        curves = self._logged.series(ctx, experiment, "curve", query.text("metric"), runs)
        for run in runs:
            if run not in curves:
                raise _no_curve(run, query)
        return curves

    def _newest(self, ctx: Any, experiment: str, query: Query, runs: list[str]) -> dict[str, tuple[int, Any]]:
        """Step and curve of some runs: the newest, or the newest no later than the step asked for, else the first."""
        latest = query.optional_step()
        return {run: _no_later(series, latest) for run, series in self._curves(ctx, experiment, query, runs).items()}

    def _newest_readable(self, ctx: Any, experiment: str, query: Query, runs: list[str]) -> dict[str, tuple[int, Any]]:
        """The same, without the runs that hold no curve that can be read, so that the others are answered for."""
        latest = query.optional_step()
        curves = self._logged.series(ctx, experiment, "curve", query.text("metric"), runs)
        return {run: _no_later(series, latest) for run, series in curves.items()}


def _no_later(series: dict[int, Any], latest: int | None) -> tuple[int, Any]:
    step = max((step for step in series if latest is None or step <= latest), default=min(series))
    return step, series[step]


def _no_curve(run: str, query: Query) -> QueryError:
    return QueryError(f"run {run[:80]!r} holds no curve of {query.text('metric')[:80]!r} that can be read")


def _numbers_route(answer: Answer, allowed: tuple[str, ...]) -> Any:
    @Request.application
    def route(request: Request) -> Response:
        if request.method != "GET":
            return Respond(request, f"{request.method} is not allowed here, GET is", "text/plain", code=405)
        try:
            ctx = plugin_util.context(request.environ)
            experiment = plugin_util.experiment_id(request.environ)
            numbers = answer(ctx, experiment, Query(request.args, *allowed))
        except QueryError as error:
            return Respond(request, str(error), "text/plain", code=400)
        return Respond(request, json.dumps(numbers, allow_nan=False), "application/json")

    return route


def _page_route(name: str) -> Any:
    @Request.application
    def route(request: Request) -> Response:
        return Respond(request, page_files()[name], CONTENT_TYPES[name[name.rindex(".") :]])

    return route


def _plotly_route() -> Any:
    @Request.application
    def route(request: Request) -> Response:
        try:
            from plotly.offline import get_plotlyjs

            script = get_plotlyjs()
        except (ImportError, OSError) as error:
            line = f"The charts need the plotly package, which cannot be imported ({error}): pip install plotly"
            return Respond(request, line, "text/plain", code=503)
        return Respond(request, script, "text/javascript", expires=DAY)

    return route
