"""A fit as one HTML file with pictures, which needs nothing else to be read."""

import html
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from limpet.deviations import label

from ..tensorboard._page_files import in_script, json_in_script, page_files, paragraphs
from ._components import LEVELS, Component
from ._configuration import beside, count, doubts, off_center, stuck_devices
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
        for kind, figure in _FIGURES.items():
            if (drawn := figure(parameter)) is not None:
                figures[f"{kind}-{number}"] = drawn
    return Template((files("limpet.bench") / "web" / "fit.html").read_text("utf-8")).substitute(
        style=page_files()["style.css"],
        subtitle=html.escape(
            f"{Path(table.source).name}: {count(len(table.line), 'value')} of {count(len(found), 'parameter')} on "
            f"{count(len(table.chips), 'chip')}; written {datetime.now(UTC):%Y-%m-%d %H:%M UTC}"
        ),
        result=paragraphs(map(_sentence, found)),
        overview=_overview(found),
        cards="\n".join(_card(number, parameter, figures) for number, parameter in enumerate(found)),
        configuration=html.escape(configuration),
        plotly=in_script(get_plotlyjs()),
        figures=json_in_script(figures),
    )


def _sentence(found: ParameterFit) -> str:
    """The result in words: the law, the level that brings most, and what there is to doubt."""
    told = [component for component in found.components if component.told]
    whole = sum(component.sigma**2 for component in told)
    most = max(told, key=lambda component: component.sigma)
    brings = f"{most.sigma**2 / whole:.0%} of the variance is {_LEVELS[most.level]}" if len(told) > 1 and whole else ""
    texts = [f"{found.name}: {label(found.deviation)}{'; ' if brings else ''}{brings}."]
    further = [off_center(found)] if found.off_center else []
    further += [stuck_devices(found)] if found.stuck else []
    further += [label(later)] if (later := found.in_time.deviation) else []
    further += [label(found.read_noise)] if found.read_noise else []
    further += [f"{found.outliers}: far off, and left out"] if found.outliers and found.left_out else []
    return " ".join([*texts, *(f"{text[0].upper()}{text[1:]}." for text in [*further, *doubts(found)])])


_LEVELS = {
    "chip": "from chip to chip",
    "core": "from core to core",
    "device": "from device to device",
    "setting": "from one set value of a device to another",
    "time": "from one time to another, beyond drift or relaxation",
    "reading": "from reading to reading",
}


def _overview(found: Sequence[ParameterFit]) -> str:
    levels = [level for level in LEVELS if any(parameter.component(level) for parameter in found)]
    headers = ("parameter", "values", "set to", "gain", "law of a device", "next by evidence", "off by", "p", *levels)
    rows = [
        (
            *beside(parameter),
            f"{parameter.distance:.3f}",
            f"{parameter.p_value:.2g}",
            *(_percent(parameter.component(level)) for level in levels),
        )
        for parameter in found
    ]
    return _table(headers, rows, "overview")


def _percent(component: Component | None) -> str:
    if component is None or not component.told:
        return "" if component is None else "not told"
    zero = ", at the boundary" if component.note else ""
    sigma, low, high = (f"{100 * value:.3g}%" for value in (component.sigma, component.low, component.high))
    return f"{sigma} ({low} to {high}){zero}"


def _card(number: int, found: ParameterFit, figures: Collection[str]) -> str:
    best = next(iter(found.evidence.values()))
    rows = [(name, f"{evidence - best:+.1f}") for name, evidence in found.evidence.items()]
    untold = [f"{component.level}: {component.note}" for component in found.components if not component.told]
    note = f'<p class="note">Not told: {html.escape("; ".join(untold))}.</p>' if untold else ""
    names = [name for kind in _FIGURES if (name := f"{kind}-{number}") in figures]
    plots = "\n".join(f'<div class="plot" id="{name}"></div>' for name in names)
    headers = ("law", "log odds beside the law taken")
    return (
        f'<section class="card"><h2>{html.escape(found.name)}</h2>\n<div class="plots">\n{plots}\n'
        f"<div>{_table(headers, rows, 'candidates', 0)}</div>\n</div>\n"
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
    values, law = found.residuals, found.distribution
    low, high = np.quantile(values, [0.001, 0.999])
    margin = 0.1 * (high - low)
    values = values[(values >= low - margin) & (values <= high + margin)]
    # Freedman and Diaconis' rule, but no fewer than ten bars and no more than eighty.
    width = 2 * float(np.subtract(*np.quantile(values, [0.75, 0.25]))) * len(values) ** (-1 / 3)
    bars = int(np.clip(np.ceil((values.max() - values.min()) / max(width, 1e-12)), 10, 80))
    heights, edges = np.histogram(values, bins=bars, density=True)
    grid = np.linspace(low - margin, high + margin, 300)
    bar = {"type": "bar", "width": _rounded(np.diff(edges)), "marker": {"color": BLUE, "opacity": 0.45}}
    line = {"line": {"color": ORANGE, "width": 2}}
    data = [_trace((edges[1:] + edges[:-1]) / 2, heights, "measured") | bar]
    data.append(_trace(grid, law.pdf(grid), found.kind) | line)
    layout = _layout("Devices within their cores, and the law", _axis(found), "density")
    if outside := len(found.residuals) - len(values):
        layout["title"]["text"] += f" ({outside:,} outside)"
    layout["yaxis"] |= {"range": [0, 1.35 * float(max(heights.max(), law.pdf(grid).max()))]}  # room for the legend
    return {"data": data, "layout": layout}


def _axis(found: ParameterFit) -> str:
    """What residuals are, as an axis says it."""
    if found.shape is not None:
        return "measured / set value, over the core's"
    return "deviation / what the law has at the set value"


def _quantiles(found: ParameterFit) -> dict[str, Any]:
    from scipy import stats

    ordered, count, law = np.sort(found.residuals), len(found.residuals), found.distribution
    ranks = np.unique(np.linspace(0, count - 1, MOST_POINTS).round().astype(int))
    ranks = np.union1d(ranks, np.r_[0 : min(TAIL, count), max(count - TAIL, 0) : count])
    expected = law.ppf((ranks + 0.5) / count)
    low, high = (law.ppf(stats.beta.ppf(level, ranks + 1, count - ranks)) for level in (0.025, 0.975))
    ends, edge = [expected[0], expected[-1]], {"line": {"width": 0}, "hoverinfo": "skip"}
    band = {"fill": "tonexty", "fillcolor": "rgba(217,120,15,0.16)"}
    data = [
        _trace(expected, low, "") | edge | {"showlegend": False},
        _trace(expected, high, "95% by chance") | edge | band,
        _trace(ends, ends, found.kind) | {"line": {"color": ORANGE, "width": 1.5}},
        _trace(expected, ordered[ranks], "measured") | {"mode": "markers", "marker": {"color": BLUE, "size": 4}},
    ]
    layout = _layout(f"Quantiles beside those of the law ({found.kind})", "quantile of the law", "measured quantile")
    layout["legend"] |= {"y": 0.02, "yanchor": "bottom"}  # the upper right is where the upper tail lies
    return {"data": data, "layout": layout}


def _by_set_value(found: ParameterFit) -> dict[str, Any] | None:
    """The spread at each set value; None where there is one set value alone."""
    shown = [at for at in found.by_set_value if at.count > 1]
    if len(shown) < 2:
        return None
    nominal, sigma, expected, error = (
        np.array(column)
        for column in zip(
            *((at.nominal, at.sigma, at.expected, 1.96 / (2 * (at.count - 1)) ** 0.5) for at in shown), strict=True
        )
    )
    width = sigma * nominal
    bars = {"type": "data", "array": _rounded(width * error), "color": BLUE}
    marks = {"mode": "markers", "marker": {"color": BLUE, "size": 7}, "error_y": bars}
    data = [
        _trace(nominal, width, "measured, 95%") | marks,
        _trace(nominal, expected * nominal, found.kind) | {"line": {"color": ORANGE, "width": 2}},
    ]
    unit = f" ({found.unit})" if found.unit else ""
    layout = _layout("Spread of devices by set value", f"set value{unit}", f"standard deviation{unit}")
    layout["legend"] |= {"x": 0.02, "xanchor": "left"}
    top = 1.3 * float(max((width * (1 + error)).max(), (expected * nominal).max()))
    layout["yaxis"] |= {"range": [0, top], "exponentformat": "SI"}
    layout["xaxis"] |= {"exponentformat": "SI", "rangemode": "tozero"}
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


def _by_time(found: ParameterFit) -> dict[str, Any] | None:
    """The spread at each time; None where there is one time alone."""
    if len(found.by_time) < 2:
        return None
    time, sigma, expected = (
        np.array(column) for column in zip(*((at.time, at.sigma, at.expected) for at in found.by_time), strict=True)
    )
    marks = {"mode": "markers", "marker": {"color": BLUE, "size": 7}}
    law = {"line": {"color": ORANGE, "width": 2}}
    zero = ", 0 at the left" if time[0] == 0 else ""
    time = np.maximum(time, time[time > 0].min() / 10)  # on a logarithmic axis, where 0 has no place
    data = [_trace(time, sigma, "measured") | marks, _trace(time, expected, "the hardware's") | law]
    layout = _layout("Spread by time", f"seconds after devices were set{zero}", "sigma / largest set value")
    layout["legend"] |= {"x": 0.02, "xanchor": "left"}
    layout["yaxis"] |= {"range": [0, 1.3 * float(max(sigma.max(), expected.max()))]}
    layout["xaxis"] |= {"type": "log"}
    return {"data": data, "layout": layout}


_FIGURES: dict[str, Callable[[ParameterFit], dict[str, Any] | None]] = {
    "histogram": _histogram,
    "quantiles": _quantiles,
    "set-values": _by_set_value,
    "times": _by_time,
    "components": _components,
}
"""What is drawn of a parameter, by the name of the place on the page."""


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
