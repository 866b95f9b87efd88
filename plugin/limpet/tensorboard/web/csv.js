// The numbers shown as CSV.

const COLUMNS = ["run", "step", "metric", "sigma", "mean", "p5", "p95", "worst", "failed_chips", "chips", "hardware"];

// The column "hardware" holds the fingerprint: only rows of one fingerprint were measured on the same chips.
export function curvesCsv(shown, metric, logged) {
  const lines = [COLUMNS];
  for (const { run, curve, at } of shown) {
    const { fingerprint } = logged.hardware(metric, run);
    curve.sigmas.forEach((sigma, place) => {
      const statistics = [curve.mean, curve.p5, curve.p95, curve.worst, curve.failed].map((values) => values[at][place]);
      lines.push([run, curve.steps[at], metric, sigma, ...statistics, curve.chips, fingerprint]);
    });
  }
  return lines.map((cells) => cells.map(cell).join(",")).join("\r\n") + "\r\n";
}

// A spreadsheet would run text that begins like a formula.
function cell(value) {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
