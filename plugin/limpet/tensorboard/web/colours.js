// A run keeps its colour whatever else is shown: it follows from the run's place among all runs.

const PALETTE = [
  "#2f6fdb", "#e0662b", "#1f9d78", "#b5489c", "#c79a10", "#3aa0c9", "#7a5bd6", "#cc4455",
  "#6b8e23", "#8c6d5a", "#d17aa8", "#4b8078",
];

export function colourOf(run, allRuns) {
  return PALETTE[allRuns.indexOf(run) % PALETTE.length];
}

export function translucent(colour, opacity) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
}
