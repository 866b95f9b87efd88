// Yield over target at one sigma, with its interval; the chosen target is marked. The yield falls just after a chip's
// own value, hence steps that hold up to their right end.
import { colourOf, translucent } from "./colours.js";
import { label } from "./chart.js";
import { MOST_WITH_BANDS } from "./curve_chart.js";
import { percent, runName } from "./format.js";

export function yieldTraces(yields, allRuns) {
  const traces = [];
  const many = Object.keys(yields).length > MOST_WITH_BANDS;
  for (const [run, found] of Object.entries(yields)) {
    if (!found) continue;
    const colour = colourOf(run, allRuns);
    const chart = { legendgroup: `run ${run}`, name: label(runName(run)) };
    if (!many) traces.push({
      ...chart, x: found.targets, y: found.low, mode: "lines", line: { width: 0, shape: "vh" }, hoverinfo: "skip",
    });
    if (!many) traces.push({
      ...chart, x: found.targets, y: found.high, mode: "lines", line: { width: 0, shape: "vh" }, fill: "tonexty",
      fillcolor: translucent(colour, 0.14), hoverinfo: "skip", meta: { kind: "interval", run },
    });
    traces.push({
      ...chart, x: found.targets, y: found.fraction, mode: "lines", line: { color: colour, width: many ? 1.2 : 2, shape: "vh" },
      customdata: found.targets.map((_, place) => `${percent(found.low[place])} to ${percent(found.high[place])}`),
      hovertemplate: "<b>%{fullData.name}</b>: %{y:.1%}<br>95% interval %{customdata}<extra></extra>",
      meta: { kind: "yield", run },
    });
  }
  return traces;
}

export function yieldAxes(metric, better, target, runs, colour) {
  const marked = { type: "line", x0: target, x1: target, y0: 0, y1: 1, yref: "paper", line: { color: colour, width: 1.5, dash: "dash" } };
  return {
    xaxis: { title: `target: ${metric} ${better ? "at least" : "at most"}`, hoverformat: ".4g" },
    yaxis: { title: "yield (share of chips)", range: [0, 1.03], tickformat: ".0%" },
    shapes: target === null ? [] : [marked],
    hovermode: runs > 6 ? "closest" : "x",
    showlegend: false,
  };
}
