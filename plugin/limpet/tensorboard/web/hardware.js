// What is said of runs that were not all measured on one hardware, and of chips that were left out.
import { runName } from "./format.js";

// hardware: of each run shown, what `Logged.hardware` gives.
export function isMixed(hardware) {
  return new Set(hardware.map(({ fingerprint }) => fingerprint)).size > 1;
}

export function hardwareSentence(hardware) {
  if (!isMixed(hardware)) return "";
  const known = new Set(hardware.map(({ fingerprint }) => fingerprint).filter(Boolean));
  return known.size > 1
    ? "The runs shown were measured on different hardware, so their chips are not the same: rank only runs of one hardware against each other."
    : "For some of the runs shown it was not recorded on which hardware they were measured: their chips may not be those of the others.";
}

// runs: those shown; hardware: theirs, in the same order.
export function excludedSentences(runs, hardware) {
  const runsByWords = new Map();
  runs.forEach((run, place) => {
    const { excluded } = hardware[place];
    if (excluded) runsByWords.set(excluded, [...(runsByWords.get(excluded) ?? []), runName(run)]);
  });
  return [...runsByWords].map(([words, names]) => `${names.join(", ")}: ${words}.`);
}
