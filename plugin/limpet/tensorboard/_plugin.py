"""TensorBoard's Robustness tab: the routes that its page asks.

Everything shown is read through TensorBoard's data provider, never from the file system.
"""

import argparse
import inspect
import json
import math
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tensorboard.backend.http_util import Respond
from tensorboard.data.provider import DataProvider
from tensorboard.plugins.base_plugin import FrontendMetadata, TBContext, TBLoader, TBPlugin
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Request, Response

from limpet import LimpetError, RobustnessCurve
from tensorboard import plugin_util

from . import _numbers
from ._logged_series import LoggedSeries
from ._page_files import page_files
from ._summaries import PLUGIN_NAME, Kind

SAMPLES = 1000
"""The number of evaluations of a run that TensorBoard keeps for this tab; of an unknown plugin's it keeps about ten."""
DAY = 86_400
CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css"}
ROUTES = ("runs", "evaluations", "chips", "table", "yields", "difference", "sensitivity", "limits")
"""The routes that answer with numbers, each by the method of its name, whose arguments are the query's parameters."""
Where = tuple[Any, str]
"""The context of a request, and TensorBoard's experiment id."""
Step = int | None
Target = float | None


class QueryError(LimpetError):
    """A request that cannot be answered, and why."""


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
        provider: the data provider by which TensorBoard answers for all of its log directory.
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
        numbers = {f"/{name}": _numbers_route(getattr(self, f"_{name}")) for name in ROUTES}
        return pages | numbers | {"/plotly.js": _plotly_route()}

    def _runs(self, where: Where) -> Any:
        runs = {
            run: {
                metric: _numbers.overview(step, told.result, told.description.get("target"))
                for metric, (step, told) in metrics.items()
                if isinstance(told.result, RobustnessCurve)
            }
            for run, metrics in self._logged.announced(*where, "curve").items()
        }
        sensitivities = self._logged.announced(*where, "sensitivity")
        return {
            "runs": runs,
            "sensitivities": {run: sorted(metrics) for run, metrics in sensitivities.items()},
            "limits": sorted(self._logged.announced(*where, "limits")),
            "hardware_names": _numbers.names_of_hardware(runs),
        }

    def _evaluations(self, where: Where, *, metric: str, run: str) -> Any:
        return _numbers.evaluations(self._series(where, "curve", metric, run)[0])

    def _chips(self, where: Where, *, metric: str, run: str, step: Step = None) -> Any:
        return _numbers.chips(*self._newest(where, metric, step, run))

    def _table(
        self, where: Where, *, metric: str, run: list[str], sigma: float, step: Step = None, target: Target = None
    ) -> Any:
        series = self._logged.series(*where, "curve", metric, run)  # of the runs that hold a curve that can be read
        newest = {name: _no_later(steps, step) for name, steps in series.items()}
        return {name: {"step": at} | _numbers.table_row(curve, sigma, target) for name, (at, curve) in newest.items()}

    def _yields(
        self, where: Where, *, metric: str, run: list[str], sigma: float, low: float, high: float, step: Step = None
    ) -> Any:
        if not 0 < high - low < math.inf:
            raise QueryError(f"low = {low:g}: allowed is a number below high = {high:g}, and not infinitely far")
        series = self._logged.series(*where, "curve", metric, run)
        newest = {name: _no_later(steps, step)[1] for name, steps in series.items()}
        return {name: _numbers.yield_over_target(curve, sigma, low, high) for name, curve in newest.items()}

    def _difference(self, where: Where, *, metric: str, first: str, second: str, step: Step = None) -> Any:
        return _numbers.difference(*self._newest(where, metric, step, first, second))

    def _sensitivity(self, where: Where, *, metric: str, run: str) -> Any:
        return _numbers.leaf_costs(_no_later(self._series(where, "sensitivity", metric, run)[0], None)[1])

    def _limits(self, where: Where, *, run: str, step: Step = None) -> Any:
        return _numbers.beyond_limits(*_no_later(self._series(where, "limits", "", run)[0], step))

    def _newest(self, where: Where, metric: str, step: Step, *runs: str) -> list[RobustnessCurve]:
        return [_no_later(series, step)[1] for series in self._series(where, "curve", metric, *runs)]

    def _series(self, where: Where, kind: Kind, metric: str, *runs: str) -> list[dict[int, Any]]:
        """The results of each run by step, none of them empty."""
        found = self._logged.series(*where, kind, metric, runs)
        for run in runs:
            if run not in found:
                what = f"{kind} of {metric[:80]!r}" if metric else "counts of values beyond limits"
                raise QueryError(f"run {run[:80]!r} holds no {what} that can be read")
        return [found[run] for run in runs]


def _no_later(series: dict[int, Any], latest: int | None) -> tuple[int, Any]:
    """Step and result of the newest evaluation no later than the step asked for, of the first where there is none."""
    step = max((step for step in series if latest is None or step <= latest), default=min(series))
    return step, series[step]


def _numbers_route(answer: Callable[..., Any]) -> Any:
    @Request.application
    def route(request: Request) -> Response:
        if request.method != "GET":
            return Respond(request, f"{request.method} is not allowed here, GET is", "text/plain", code=405)
        try:
            where = (plugin_util.context(request.environ), plugin_util.experiment_id(request.environ))
            numbers = answer(where, **_arguments(request.args, answer))
        except QueryError as error:
            return Respond(request, str(error), "text/plain", code=400)
        return Respond(request, json.dumps(numbers, allow_nan=False), "application/json")

    return route


def _arguments(query: MultiDict[str, str], answer: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of what answers a request, from the request's parameters.

    Raises:
        QueryError: one is unknown, missing, or not what its annotation says.
    """
    known = {
        name: found for name, found in inspect.signature(answer).parameters.items() if found.kind is found.KEYWORD_ONLY
    }
    for name in query:
        if name not in known:
            raise QueryError(f"unknown parameter {name[:80]!r}; allowed are {', '.join(known) or 'none'}")
    for name, parameter in known.items():
        if name not in query and parameter.default is parameter.empty:
            raise QueryError(f"parameter '{name}' is missing")
    return {
        name: query.getlist(name) if found.annotation == list[str] else _parsed(name, query[name], found.annotation)
        for name, found in known.items()
        if name in query
    }


def _parsed(name: str, text: str, annotation: Any) -> str | float:
    if annotation is str:
        return text
    kind, words = (int, "an integer") if annotation == Step else (float, "a finite number")
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if isinstance(number, float) and not math.isfinite(number):
        raise QueryError(f"{name} = {text[:80]!r}: allowed is {words}")
    return number


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
