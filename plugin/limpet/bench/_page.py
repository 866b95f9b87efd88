"""A fit as one HTML file with pictures, which needs nothing else to be read."""

import html
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from limpet.deviations import label

from ..tensorboard._page_files import in_script, json_in_script, page_files, paragraphs
from ._components import Component
from ._configuration import off_center
from ._measurements import Measurements
from ._parameter_fit import ParameterFit

MOST_POINTS = 400
"""Of a quantile-quantile plot; of more values, evenly spaced ranks are shown, and both tails in full."""
TAIL = 40
"""Values of each tail that are all shown."""
BLUE, ORANGE, GREY = "#2f6fdb", "#d9780f", "#8a929c"


def page(table: Measurements, parameters: Mapping[str, ParameterFit], configuration: str) -> str:
    """The page, as HTML.

    Args:
        table: the measurements that the fit was made of.
        parameters: the fit of each parameter, by the parameter's name.
        configuration: the hardware as fitted, in YAML.
    """
    from plotly.offline import get_plotlyjs

    found = list(parameters.values())
    figures: dict[str, Any] = {}
    for number, parameter in enumerate(found):
        figures[f"histogram-{number}"] = _histogram(parameter)
        figures[f"quantiles-{number}"] = _quantiles(parameter)
        figures[f"components-{number}"] = _components(parameter)
    return Template((files("limpet.bench") / "web" / "fit.html").read_text("utf-8")).substitute(
        style=page_files()["style.css"],
        subtitle=html.escape(
            f"{Path(table.source).name}: {len(table.line):,} values of {len(found)} parameters on "
            f"{len(table.chips)} chips; written {datetime.now(UTC):%Y-%m-%d %H:%M UTC}"
        ),
        result=paragraphs(map(_sentence, found)),
        overview=_overview(found),
        cards="\n".join(_card(number, parameter) for number, parameter in enumerate(found)),
        configuration=html.escape(configuration),
        plotly=in_script(get_plotlyjs()),
        figures=json_in_script(figures),
    )


def _sentence(found: ParameterFit) -> str:
    """The result in words: the distribution, and the level that brings most."""
    told = [component for component in found.components if component.told]
    most = max(told, key=lambda component: component.sigma)
    share = most.sigma**2 / sum(component.sigma**2 for component in told)
    brings = f"{share:.0%} of the variance is {_LEVELS[most.level]}" if len(told) > 1 else "levels cannot be told apart"
    doubt = "" if found.p_value >= 0.05 else f" Mind the tails: p = {found.p_value:.2g}."
    off = f" Devices are {off_center(found)}." if found.off_center else ""
    return f"{found.name}: {label(found.deviation)}; {brings}.{off}{doubt}"


_LEVELS = {"chip": "from chip to chip", "core": "from core to core", "neuron": "from neuron to neuron"}


def _overview(found: Iterable[ParameterFit]) -> str:
    headers = ("parameter", "values", "nominal", "center", "distribution", "p", "chip", "core", "neuron")
    rows = [(*parameter.row(), f"{parameter.p_value:.2g}", *map(_percent, parameter.components)) for parameter in found]
    return _table(headers, rows, "overview")


def _percent(component: Component) -> str:
    if not component.told:
        return "not told"
    zero = ", at the boundary" if component.note else ""
    sigma, low, high = (f"{100 * value:.3g}%" for value in (component.sigma, component.low, component.high))
    return f"{sigma} ({low} to {high}){zero}"


def _card(number: int, found: ParameterFit) -> str:
    lowest = found.candidates[0].aic
    rows = [
        (label(fit.rounded), f"{fit.center:.4f}", f"{fit.parameters}", f"{fit.aic - lowest:+.1f}")
        for fit in found.candidates
    ]
    best = found.candidates.index(found.best)
    untold = [f"{component.level}: {component.note}" for component in found.components if not component.told]
    note = f'<p class="note">Not told: {html.escape("; ".join(untold))}.</p>' if untold else ""
    kinds = ("histogram", "quantiles", "components")
    plots = "\n".join(f'<div class="plot" id="{kind}-{number}"></div>' for kind in kinds)
    return (
        f'<section class="card"><h2>{html.escape(found.name)}</h2>\n<div class="three">\n{plots}\n</div>\n'
        f"{_table(('distribution', 'center', 'numbers fitted', 'AIC above the lowest'), rows, 'candidates', best)}\n"
        f"{note}</section>"
    )


def _table(headers: Iterable[str], rows: Iterable[Iterable[str]], name: str = "", best: int = -1) -> str:
    head = "".join(f'<th class="words">{html.escape(header)}</th>' for header in headers)
    body = "\n".join(
        f"<tr{' class=best' if place == best else ''}>"
        + "".join(f'<td class="words">{html.escape(cell)}</td>' for cell in row)
        + "</tr>"
        for place, row in enumerate(rows)
    )
    return f'<table class="{name}"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'


def _histogram(found: ParameterFit) -> dict[str, Any]:
    factors = found.factors
    low, high = np.quantile(factors, [0.001, 0.999])
    # Freedman and Diaconis' rule, but no fewer than ten bars and no more than eighty.
    width = 2 * float(np.subtract(*np.quantile(factors, [0.75, 0.25]))) * len(factors) ** (-1 / 3)
    bars = int(np.clip(np.ceil((factors.max() - factors.min()) / max(width, 1e-12)), 10, 80))
    heights, edges = np.histogram(factors, bins=bars, density=True)
    margin = 0.1 * (high - low)
    grid = np.linspace(min(low, edges[0]) - margin, max(high, edges[-1]) + margin, 300)
    others = [candidate for candidate in found.candidates if candidate is not found.best]
    curves = [(found.best, ORANGE, "solid"), *((other, GREY, "dot") for other in others[:1])]
    bar = {"type": "bar", "width": _rounded(np.diff(edges)), "marker": {"color": BLUE, "opacity": 0.45}}
    data = [_trace((edges[1:] + edges[:-1]) / 2, heights, "measured") | bar]
    for candidate, color, dash in curves:
        line = {"line": {"color": color, "dash": dash, "width": 2}}
        data.append(_trace(grid, candidate.density(grid), candidate.kind) | line)
    layout = _layout("Measured values and fitted density", "measured / nominal", "density")
    highest = max(heights.max(), found.best.density(grid).max())
    layout["yaxis"] |= {"range": [0, 1.35 * float(highest)]}  # room for the legend
    return {"data": data, "layout": layout}


def _quantiles(found: ParameterFit) -> dict[str, Any]:
    from scipy import stats

    ordered, count = np.sort(found.factors), len(found.factors)
    ranks = np.unique(np.linspace(0, count - 1, MOST_POINTS).round().astype(int))
    ranks = np.union1d(ranks, np.r_[0 : min(TAIL, count), max(count - TAIL, 0) : count])
    expected = found.best.quantiles((ranks + 0.5) / count)
    low, high = (found.best.quantiles(stats.beta.ppf(level, ranks + 1, count - ranks)) for level in (0.025, 0.975))
    ends, edge = [expected[0], expected[-1]], {"line": {"width": 0}, "hoverinfo": "skip"}
    band = {"fill": "tonexty", "fillcolor": "rgba(217,120,15,0.16)"}
    data = [
        _trace(expected, low, "") | edge | {"showlegend": False},
        _trace(expected, high, "95% by chance") | edge | band,
        _trace(ends, ends, found.best.kind) | {"line": {"color": ORANGE, "width": 1.5}},
        _trace(expected, ordered[ranks], "measured") | {"mode": "markers", "marker": {"color": BLUE, "size": 4}},
    ]
    layout = _layout(f"Quantiles beside those of the {found.best.kind}", "fitted quantile", "measured / nominal")
    layout["legend"] |= {"y": 0.02, "yanchor": "bottom"}  # the upper right is where the upper tail lies
    return {"data": data, "layout": layout}


def _components(found: ParameterFit) -> dict[str, Any]:
    told = [component for component in found.components if component.told]
    sigma, low, high = ([100 * getattr(component, end) for component in told] for end in ("sigma", "low", "high"))
    above, below = np.subtract(high, sigma).tolist(), np.subtract(sigma, low).tolist()
    error = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    data = {
        **{"type": "scatter", "mode": "markers+text", "textposition": "middle right", "cliponaxis": False},
        **{"x": [component.level for component in told], "y": sigma, "text": [f"  {value:.2g}%" for value in sigma]},
        "marker": {"color": BLUE, "size": 9},
        "error_y": error | {"color": BLUE, "thickness": 1.6, "width": 7},
        "showlegend": False,
    }
    layout = _layout("Where the spread comes from, 95% intervals", "", "sigma (%)")
    layout["yaxis"] |= {"range": [-0.05 * max(high), 1.1 * max(high)]}  # the mark of a sigma of 0 stands free
    layout["xaxis"] |= {"type": "category", "range": [-0.5, len(told) - 0.3]}
    return {"data": [data], "layout": layout}


def _trace(x: Any, y: Any, name: str) -> dict[str, Any]:
    """A line, to six digits, so that the page stays small."""
    return {"type": "scatter", "mode": "lines", "x": _rounded(x), "y": _rounded(y), "name": name}


def _layout(title: str, x: str, y: str) -> dict[str, Any]:
    axis = {"gridcolor": "#eceef1", "zeroline": False, "automargin": True}
    return {
        "title": {"text": title, "font": {"size": 14}, "x": 0.02, "xanchor": "left"},
        "xaxis": {**axis, "title": {"text": x}},
        "yaxis": {**axis, "title": {"text": y}},
        "margin": {"l": 55, "r": 15, "t": 40, "b": 45},
        "legend": {"x": 0.99, "xanchor": "right", "y": 0.99, "bgcolor": "rgba(255,255,255,0.7)", "font": {"size": 11}},
        "font": {"family": "Roboto, system-ui, sans-serif", "size": 12, "color": "#24292f"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "bargap": 0,
    }


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in np.asarray(values, np.float64)]
