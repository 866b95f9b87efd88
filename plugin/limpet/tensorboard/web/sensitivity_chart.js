// Which leaf costs how much: bars, the costliest on top.
import { label } from "./chart.js";

const SHOWN = 20;

export function sensitivityTraces(found) {
  const rows = found.rows.slice(0, SHOWN).reverse();
  const bar = (name, key, color) => ({
    type: "bar", orientation: "h", name, y: rows.map(({ group }) => label(group)), x: rows.map((row) => row[key]),
    marker: { color }, customdata: rows.map(({ failed }) => failed),
    hovertemplate: `%{y}<br>${name}: %{x:.4g}<br>chips that fail with it alone: %{customdata}<extra></extra>`,
  });
  return [bar("saved if all but it deviate", "saved", "#9db7dd"), bar("cost if it alone deviates", "cost", "#2f6fdb")];
}

export function sensitivityAxes(found, metric) {
  return {
    xaxis: { title: `loss of ${metric}`, zeroline: true },
    yaxis: { title: "", automargin: true, type: "category" },
    barmode: "group", bargap: 0.3,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, traceorder: "reversed" },
    hovermode: "closest",
  };
}

export function sensitivityHeight(found) {
  return Math.max(220, 110 + 26 * Math.min(found.rows.length, SHOWN));
}

export function sensitivityNote(found) {
  const more = found.rows.length > SHOWN ? ` The ${SHOWN} costliest of ${found.rows.length} groups are shown.` : "";
  return `Measured on ${found.chips} virtual chips.${more}`;
}
