// The table of runs: which are shown, and how each does at the chosen sigma.
import { colourOf } from "./colours.js";
import { element } from "./dom.js";
import { cell, runName, step, yieldText } from "./format.js";

const COLUMNS = [
  { key: "run", title: "run", tip: "Tick the runs to show." },
  { key: "hardware", title: "hardware", tip: "What deviates on the chips; only runs of one hardware were measured on the same chips." },
  { key: "step", title: "step", tip: "Training step of the evaluation: the newest no later than the slider." },
  { key: "nominal", title: "nominal", tip: "Metric without mismatch (sigma 0)." },
  { key: "mean", title: "mean", tip: "Mean over the virtual chips that did not fail, at the chosen sigma." },
  { key: "p5", title: "5th percentile", tip: "5% of chips do worse than this, failed chips counted as worst." },
  { key: "worst", title: "worst chip", tip: "The worst of the virtual chips." },
  { key: "yield", title: "yield (95% interval)", tip: "Share of chips that reach the target, with its exact interval." },
  { key: "failed", title: "failed chips", tip: "Chips whose metric is NaN or infinite." },
];

// Cells and rows are made once and then written to: what the pointer or the keyboard holds stays under it as numbers come in.
export class RunsTable {
  constructor(onToggle) {
    this.onToggle = onToggle;
    this.sort = { key: "run", rising: true };
    this.heads = COLUMNS.map((column) => this.makeHead(column));
    this.rows = new Map();
    this.body = element("tbody");
    this.element = element("table", {}, element("thead", {}, element("tr", {}, ...this.heads)), this.body);
  }

  // hardwareOf: what a run was measured on; null hides that column, because all runs shown have it in common.
  draw(allRuns, selected, rows, hardwareOf) {
    this.last = [allRuns, selected, rows, hardwareOf];
    if (!hardwareOf && this.sort.key === "hardware") this.sort = { key: "run", rising: true };
    this.element.classList.toggle("one-hardware", !hardwareOf);
    this.heads.forEach((head, place) => this.writeHead(head, COLUMNS[place]));
    const ordered = [...allRuns].sort((first, second) => this.order(first, second, ...this.last));
    const lines = ordered.map((run) => this.rows.get(run) ?? this.makeRow(run));
    ordered.forEach((run, place) =>
      writeRow(lines[place], colourOf(run, allRuns), selected.has(run), rows[run], hardwareOf?.(run)),
    );
    if (lines.length === this.body.rows.length && lines.every((line, place) => line === this.body.rows[place])) return;
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    this.body.replaceChildren(...lines);
    focused?.focus();
  }

  makeHead({ key, title, tip }) {
    const sortBy = () => {
      this.sort = { key, rising: this.sort.key === key ? !this.sort.rising : ["run", "hardware"].includes(key) };
      this.draw(...this.last);
    };
    const button = element("button", { type: "button", title: `${tip} Click to sort.`, onclick: sortBy }, title);
    return element("th", { scope: "col", dataset: { column: key } }, button);
  }

  writeHead(head, { key, title }) {
    const sorted = this.sort.key === key;
    head.setAttribute("aria-sort", sorted ? (this.sort.rising ? "ascending" : "descending") : "none");
    head.firstChild.textContent = title + (sorted ? (this.sort.rising ? " ▲" : " ▼") : "");
  }

  makeRow(run) {
    const box = element("input", { type: "checkbox", onchange: () => this.onToggle(run, box.checked) });
    const swatch = element("span", { className: "swatch" });
    const name = element("label", { title: run }, box, swatch, element("span", { className: "run-name" }, runName(run)));
    const cells = COLUMNS.slice(1).map(({ key }) => element("td", { dataset: { column: key } }));
    const line = element("tr", { dataset: { run } }, element("td", {}, name), ...cells);
    this.rows.set(run, line);
    return line;
  }

  order(first, second, allRuns, selected, rows, hardwareOf) {
    const direction = this.sort.rising ? 1 : -1;
    const value = (run) => {
      if (this.sort.key === "run") return allRuns.indexOf(run);
      const cell = rows[run]?.[this.sort.key];
      return (this.sort.key === "yield" ? cell?.fraction : cell) ?? -Infinity;
    };
    const difference = this.sort.key === "hardware"
      ? hardwareOf(first).name.localeCompare(hardwareOf(second).name)
      : value(first) - value(second);
    return direction * difference || allRuns.indexOf(first) - allRuns.indexOf(second);
  }
}

function writeRow(line, colour, shown, row, hardware) {
  const failed = row?.failed > 0;
  const texts = {
    hardware: hardware?.name ?? "",
    step: row ? step(row.step) : "…",
    nominal: cell(row?.nominal),
    mean: cell(row?.mean),
    p5: failed && row.p5 === null ? "failed" : cell(row?.p5),
    worst: failed ? "failed" : cell(row?.worst),
    yield: yieldText(row?.yield),
    failed: row?.failed === undefined ? "–" : `${row.failed} of ${row.chips}`,
  };
  line.querySelector("input").checked = shown;
  line.querySelector(".swatch").style.background = colour;
  line.classList.toggle("off", !shown);
  for (const td of [...line.cells].slice(1)) {
    td.textContent = texts[td.dataset.column];
    if (td.dataset.column === "hardware") td.title = hardware?.words ?? "";
    td.classList.toggle("bad", failed && td.dataset.column === "failed");
  }
}
