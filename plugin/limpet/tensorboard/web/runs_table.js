// The table of runs: which are shown, and how each does at the chosen sigma.
import { colourOf } from "./colours.js";
import { element } from "./dom.js";
import { cell, runName, step, yieldText } from "./format.js";

const COLUMNS = [
  { key: "run", title: "run", tip: "Tick the runs to show." },
  { key: "step", title: "step", tip: "Training step of the evaluation: the newest no later than the slider." },
  { key: "nominal", title: "nominal", tip: "Metric without mismatch (sigma 0)." },
  { key: "mean", title: "mean", tip: "Mean over the virtual chips that did not fail, at the chosen sigma." },
  { key: "p5", title: "5th percentile", tip: "5% of chips do worse than this, failed chips counted as worst." },
  { key: "worst", title: "worst chip", tip: "The worst of the virtual chips." },
  { key: "yield", title: "yield (95% interval)", tip: "Share of chips that reach the target, with its exact interval." },
  { key: "failed", title: "failed chips", tip: "Chips whose metric is NaN or infinite." },
];

export class RunsTable {
  constructor(onToggle) {
    this.onToggle = onToggle;
    this.sort = { key: "run", rising: true };
    this.head = element("tr");
    this.body = element("tbody");
    this.element = element("table", {}, element("thead", {}, this.head), this.body);
  }

  draw(allRuns, selected, rows) {
    this.last = [allRuns, selected, rows];
    this.head.replaceChildren(...COLUMNS.map((column) => this.headCell(column)));
    const ordered = [...allRuns].sort((one, other) => this.order(one, other, allRuns, rows));
    const focused = this.body.contains(document.activeElement) ? document.activeElement.closest("tr").dataset.run : null;
    this.body.replaceChildren(...ordered.map((run) => this.row(run, allRuns, selected, rows[run])));
    // Whoever goes through the runs by keyboard stays where they are.
    if (focused !== null) [...this.body.rows].find((row) => row.dataset.run === focused)?.querySelector("input").focus();
  }

  headCell({ key, title, tip }) {
    const here = this.sort.key === key;
    const mark = here ? (this.sort.rising ? " ▲" : " ▼") : "";
    const sortBy = () => {
      this.sort = { key, rising: here ? !this.sort.rising : key === "run" };
      this.draw(...this.last);
    };
    const button = element("button", { type: "button", title: `${tip} Click to sort.`, onclick: sortBy }, title + mark);
    const direction = here ? (this.sort.rising ? "ascending" : "descending") : "none";
    return element("th", { "aria-sort": direction, scope: "col" }, button);
  }

  row(run, allRuns, selected, found) {
    const box = element("input", { type: "checkbox", checked: selected.has(run), onchange: () => this.onToggle(run, box.checked) });
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = colourOf(run, allRuns);
    const name = element("label", { title: run }, box, swatch, element("span", { className: "run-name" }, runName(run)));
    const failed = found?.failed > 0;
    const cells = [
      found ? step(found.step) : "…",
      cell(found?.nominal),
      cell(found?.mean),
      failed && found.p5 === null ? "failed" : cell(found?.p5),
      failed ? "failed" : cell(found?.worst),
      yieldText(found?.yield),
      found?.failed === undefined ? "–" : `${found.failed} of ${found.chips}`,
    ];
    const line = element("tr", { dataset: { run } }, element("td", {}, name));
    cells.forEach((text, place) => {
      line.append(element("td", { className: failed && place === 6 ? "bad" : "", dataset: { column: COLUMNS[place + 1].key } }, text));
    });
    line.classList.toggle("off", !selected.has(run));
    return line;
  }

  order(one, other, allRuns, rows) {
    const direction = this.sort.rising ? 1 : -1;
    const value = (run) => {
      if (this.sort.key === "run") return allRuns.indexOf(run);
      const found = rows[run]?.[this.sort.key];
      return (this.sort.key === "yield" ? found?.fraction : found) ?? -Infinity;
    };
    return direction * (value(one) - value(other)) || allRuns.indexOf(one) - allRuns.indexOf(other);
  }
}
