// Numbers and names as a reader sees them.

export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(digits - 2);
  return String(Number(value.toPrecision(digits)));
}

// One form for a column: rates to three decimals, so that they can be compared at a glance.
export function cell(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) <= 1 && Math.abs(value) >= 1e-3 ? value.toFixed(3) : number(value);
}

export function percent(fraction) {
  return `${Number((100 * fraction).toFixed(1))}%`;
}

export function yieldText(found) {
  if (!found) return "–";
  return `${percent(found.fraction)} (${interval(found)})`;
}

export function interval({ low, high }) {
  return `${Number((100 * low).toFixed(0))}–${Number((100 * high).toFixed(0))}%`;
}

export function step(value) {
  return value.toLocaleString("en-US");
}

// The place of a strength among others, to six digits; -1 where it is not among them.
export function placeOf(sigma, sigmas) {
  return sigmas.findIndex((other) => Math.abs(other - sigma) <= 1e-6 * Math.abs(sigma));
}

// Errors begin in lower case and end without a stop.
export function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

// "." is what TensorBoard calls the log directory itself.
export function runName(run) {
  return run === "." ? ". (log directory)" : run;
}
