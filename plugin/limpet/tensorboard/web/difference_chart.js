// What changes from one run to another, chip by chip, over sigma.
import { colourOf, translucent } from "./colours.js";
import { sigmaAxis } from "./curve_chart.js";
import { interval, number, percent, placeOf, runName } from "./format.js";

export function differenceTraces(found, second, allRuns) {
  const colour = colourOf(second, allRuns);
  const known = found.sigmas.map((_, place) => place).filter((place) => found.low[place] !== null && found.high[place] !== null);
  const back = [...known].reverse();
  const texts = found.worse.map((worse, place) => {
    const ends = `95% interval ${number(found.low[place])} to ${number(found.high[place])}`;
    return `${ends}<br>worse on ${percent(worse.fraction)} of chips (${interval(worse)})`;
  });
  return [
    {
      x: [...known, ...back].map((place) => found.sigmas[place]),
      y: [...known.map((place) => found.high[place]), ...back.map((place) => found.low[place])],
      fill: "toself", mode: "lines", line: { width: 0 }, fillcolor: translucent(colour, 0.18), hoverinfo: "skip",
    },
    {
      x: found.sigmas, y: found.difference, mode: "lines+markers", line: { color: colour, width: 2.5 }, marker: { size: 6 },
      customdata: texts, hovertemplate: "difference %{y:.4g}<br>%{customdata}<extra></extra>", meta: { kind: "difference" },
    },
  ];
}

export function differenceAxes(metric, axis) {
  return {
    xaxis: sigmaAxis(axis),
    yaxis: { title: `difference in ${metric}`, zeroline: true, zerolinewidth: 2 },
    hovermode: "x",
    showlegend: false,
  };
}

export function differenceHint(found) {
  return found.same_chips ? "the same chips under two runs, chip by chip" : "chips of one number under two runs, chip by chip";
}

export function differenceNote(found, first, second, sigma) {
  const doubt = found.same_chips
    ? ""
    : "The hardware of one or both is not recorded: chips of one number are the same only if both runs were measured on one hardware.";
  const place = placeOf(sigma, found.sigmas);
  if (place < 0 || found.difference[place] === null) return doubt;
  const ends = `95% interval ${number(found.low[place], 3)} to ${number(found.high[place], 3)}`;
  const worse = `${percent(found.worse[place].fraction)} (${interval(found.worse[place])})`;
  const chips = found.same_chips ? `on the same ${found.chips} chips` : `on ${found.chips} pairs of chips`;
  return (
    `At sigma ${number(sigma)}, ${runName(second)} minus ${runName(first)} is ${number(found.difference[place], 3)} ` +
    `${chips} (${ends}); ${worse} of chips get worse. ${doubt}`
  );
}
