// The metric over sigma: mean (line), 5th to 95th percentile (band), worst chip (dotted), or a line for each chip.
import { colourOf, translucent } from "./colours.js";
import { label } from "./chart.js";
import { number, runName } from "./format.js";

// Of more runs only means are drawn: bands on top of one another say nothing.
export const MOST_WITH_BANDS = 12;

const TITLES = new Map([
  ["scale", "scale on each leaf's sigma"],
  ["time", "seconds since programming"],
]);

export function sigmaAxis(axis) {
  const title = TITLES.get(axis) ?? "mismatch sigma (relative standard deviation)";
  return { title, hoverformat: ".4g", ...(axis === "time" ? { type: "log", exponentformat: "power" } : {}) };
}

// shown: [{run, curve, at}], the run's evaluations and the place of the one to show; chips: values by run, or null.
export function curveTraces(shown, allRuns, chips) {
  const bands = [];
  const lines = [];
  const many = shown.length > MOST_WITH_BANDS;
  for (const { run, curve, at } of shown) {
    const colour = colourOf(run, allRuns);
    const chart = { legendgroup: `run ${run}`, name: label(runName(run)), x: curve.sigmas };
    if (chips?.[run]) {
      bands.push(chipLines(run, chips[run], { ...chart, line: { color: translucent(colour, 0.28), width: 1 } }));
    } else if (!many) {
      bands.push(band(run, curve, at, { ...chart, fillcolor: translucent(colour, shown.length > 8 ? 0.06 : 0.16) }));
      lines.push({
        ...chart, y: curve.worst[at], mode: "lines", line: { color: colour, width: 1.5, dash: "dot" },
        showlegend: false, hoverinfo: "skip", meta: { kind: "worst", run },
      });
    }
    lines.push({
      ...chart, y: curve.mean[at], mode: many ? "lines" : "lines+markers", line: { color: colour, width: many ? 1.5 : 2.5 },
      marker: { size: 6 }, cliponaxis: false,
      customdata: curve.sigmas.map((_, place) => tooltip(curve, at, place)), meta: { kind: "mean", run },
      hovertemplate: "<b>%{fullData.name}</b>: mean %{y:.4g}<br>%{customdata}<extra></extra>",
    });
  }
  return [...bands, ...lines];
}

export function curveAxes(shown, metric) {
  const first = shown[0]?.curve;
  return {
    xaxis: sigmaAxis(first?.axis),
    yaxis: { title: `${metric} over virtual chips`, range: valueRange(shown.map(({ curve }) => curve)) },
    hovermode: shown.length > 6 ? "closest" : "x",
    showlegend: shown.length <= MOST_WITH_BANDS,
  };
}

// A rate keeps the range 0 to 1; anything else, that of all chips at all steps: the axis stands still as curves move.
export function valueRange(curves) {
  const ranges = curves.map((curve) => curve.range).filter(Boolean);
  if (!ranges.length) return undefined;
  const low = Math.min(...ranges.map(([start]) => start));
  const high = Math.max(...ranges.map(([, end]) => end));
  if (curves[0].higher_is_better && low >= 0 && high <= 1) return [0, 1.03];
  const margin = 0.04 * (high - low || Math.abs(high) || 1);
  return [low - margin, high + margin];
}

function tooltip(curve, at, place) {
  const failed = curve.failed[at][place];
  const spread = `5–95%: ${number(curve.p5[at][place])} to ${number(curve.p95[at][place])}`;
  return `${spread}<br>worst chip: ${failed ? "failed" : number(curve.worst[at][place])}` + (failed ? ` (${failed} failed)` : "");
}

function band(run, curve, at, chart) {
  const places = curve.sigmas.map((_, place) => place).filter((p) => curve.p5[at][p] !== null && curve.p95[at][p] !== null);
  const back = [...places].reverse();
  return {
    ...chart,
    x: [...places, ...back].map((place) => curve.sigmas[place]),
    y: [...places.map((place) => curve.p95[at][place]), ...back.map((place) => curve.p5[at][place])],
    fill: "toself", mode: "lines", line: { width: 0 }, showlegend: false, hoverinfo: "skip",
    meta: { kind: "band", run },
  };
}

// All chips are one trace with gaps: a hundred traces would make the page slow.
function chipLines(run, { sigmas, values }, chart) {
  return {
    ...chart,
    x: values.flatMap(() => [...sigmas, null]),
    y: values.flatMap((chip) => [...chip, null]),
    mode: "lines", showlegend: false, hoverinfo: "skip", meta: { kind: "chips", run, chips: values.length },
  };
}
