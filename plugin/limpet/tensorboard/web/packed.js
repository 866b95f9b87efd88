// The chips of a report's runs, as `_packed_chips.py` packs them, in the form in which the tab's routes answer.
import { placeOf } from "./format.js";

export function chipsOf(run) {
  return { sigmas: run.sigmas, values: unpacked(run).map((chip) => chip.map((value) => (Number.isFinite(value) ? value : null))) };
}

// The yield at one sigma over targets; null where the run was not measured there.
export function yieldsOf({ low, high, points, intervals }, run, sigma) {
  const place = placeOf(sigma, run.sigmas);
  if (place < 0) return null;
  const values = unpacked(run).map((chip) => chip[place]);
  const steps = [...new Set(values.filter((value) => low < value && value < high))].sort((first, second) => first - second);
  const grid = () => Array.from({ length: points - 2 }, (_, step) => low + ((step + 1) * (high - low)) / (points - 1));
  const counts = run.passed[place];
  return {
    targets: [low, ...(steps.length <= points ? steps : grid()), high],
    fraction: counts.map((count) => count / run.chips),
    low: counts.map((count) => intervals[run.kind][count][0]),
    high: counts.map((count) => intervals[run.kind][count][1]),
  };
}

// For each chip its values by strength. Single precision, the lowest byte first.
function unpacked({ chips, sigmas, values }) {
  const bytes = Uint8Array.from(atob(values), (char) => char.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const at = (chip, strength) => view.getFloat32(4 * (chip * sigmas.length + strength), true);
  return Array.from({ length: chips }, (_, chip) => sigmas.map((_, strength) => at(chip, strength)));
}
