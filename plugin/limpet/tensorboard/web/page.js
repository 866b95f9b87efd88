// The page: what is chosen, and what is drawn when a choice or the log changes.
import { Chart } from "./chart.js";
import { Controls } from "./controls.js";
import { MOST_WITH_BANDS, curveAxes, curveTraces, valueRange } from "./curve_chart.js";
import { curvesCsv } from "./csv.js";
import { download, element, fileName } from "./dom.js";
import { emptyState } from "./empty.js";
import { excludedSentences, hardwareSentence, isMixed } from "./hardware.js";
import { Logged } from "./logged.js";
import { DifferencePanel, SensitivityPanel, YieldPanel } from "./panels.js";
import { LimitsPanel } from "./limits_panel.js";
import { RunsTable } from "./runs_table.js";
import { byName } from "./source.js";

const LOOK_AGAIN = 15_000;
const SHOWN_AT_FIRST = 8;
const ROWS_ASKED_AT_ONCE = 8;
const SETTLE = 120; // milliseconds after which a slider is taken to rest

export async function showPage(root, source) {
  const page = new Page(root, source);
  await page.guard(() => page.look());
  if (source.live) setInterval(() => document.hidden || page.guard(() => page.look()), LOOK_AGAIN);
}

class Page {
  constructor(root, source) {
    this.source = source;
    this.logged = new Logged(source);
    this.selected = new Set();
    this.seen = new Set();
    this.chosen = { metric: null, sigma: null, target: null, step: null, perChip: false };
    this.rows = byName();
    this.ticket = 0;
    const choose = (changes) => this.guard(() => this.choose(changes));
    this.controls = new Controls(
      {
        metric: (metric) => choose({ metric, sigma: null, target: this.logged.target(metric), step: null }),
        sigma: (sigma) => choose({ sigma }),
        target: (target) => choose({ target }),
        step: (step) => this.guard(() => this.moveTo(step)),
        perChip: (perChip) => choose({ perChip }),
        csv: () => this.saveCsv(),
      },
      source.live,
    );
    this.curveChart = new Chart("Robustness curves", "", 430);
    this.yields = new YieldPanel(source);
    this.difference = new DifferencePanel(source, () => choose({}));
    this.sensitivity = new SensitivityPanel(source, () => choose({}));
    this.limits = new LimitsPanel(source, () => choose({}));
    this.table = new RunsTable((run, shown) => this.guard(() => this.toggleRuns([run], shown)));
    this.yields.chart.place.style.height = this.curveChart.place.style.height;
    this.alert = element("p", { className: "notice", role: "alert", hidden: true });
    this.content = element(
      "div",
      { className: "content", hidden: true },
      element("div", { className: "pair-of-cards" }, this.curveChart.card, this.yields.card),
      this.tableCard(),
      element("div", { className: "pair-of-cards even" }, this.difference.card, this.sensitivity.card, this.limits.card),
    );
    this.empty = emptyState();
    this.empty.hidden = this.controls.element.hidden = true;
    root.append(element("main", { className: "robustness" }, this.controls.element, this.alert, this.empty, this.content));
  }

  tableCard() {
    const all = (shown) => () => this.guard(() => this.toggleRuns(this.allRuns(), shown));
    return element(
      "section",
      { className: "card" },
      element(
        "header",
        {},
        element("h2", {}, "Runs"),
        (this.tableHint = element("span", { className: "hint" })),
        element("div", { className: "tools" },
          element("button", { type: "button", id: "show-all", onclick: all(true) }, "show all"),
          element("button", { type: "button", id: "show-none", onclick: all(false) }, "none")),
      ),
      (this.hardwareNote = element("p", { className: "caution", id: "hardware-note", hidden: true })),
      (this.excludedNote = element("p", { className: "note", id: "excluded-note", hidden: true })),
      element("div", { className: "scroll" }, this.table.element),
    );
  }

  allRuns() {
    return this.logged.runsWith(this.chosen.metric);
  }

  shownRuns() {
    return this.allRuns().filter((run) => this.selected.has(run));
  }

  // Errors are shown in one line on the page, and go when the next thing works.
  async guard(work) {
    try {
      await work();
      this.alert.hidden = true;
    } catch (error) {
      this.alert.textContent = error.message;
      this.alert.hidden = false;
    }
  }

  async look() {
    const changed = await this.logged.refresh();
    const metrics = this.logged.metrics();
    this.empty.hidden = metrics.length > 0;
    this.content.hidden = this.controls.element.hidden = !metrics.length;
    if (!changed || !metrics.length) return;
    if (!metrics.includes(this.chosen.metric)) {
      this.chosen.metric = metrics[0];
      this.chosen.target = this.logged.target(metrics[0]);
    }
    for (const run of Object.keys(this.logged.runs)) {
      if (!this.seen.has(run) && this.selected.size < SHOWN_AT_FIRST) this.selected.add(run);
      this.seen.add(run);
    }
    this.controls.setMetrics(metrics, this.chosen.metric);
    await this.choose({});
  }

  async choose(changes) {
    if ("metric" in changes) this.rows = byName();
    Object.assign(this.chosen, changes);
    const { metric } = this.chosen;
    const sigmas = this.logged.sigmas(metric);
    if (!sigmas.includes(this.chosen.sigma)) {
      const deviating = sigmas.filter((sigma) => sigma > 0);
      this.chosen.sigma = this.logged.startAt[metric] ?? deviating[Math.floor(deviating.length / 2)] ?? sigmas[0];
    }
    this.controls.setSigmas(sigmas, this.chosen.sigma);
    this.controls.setTarget(this.chosen.target);
    this.yields.allRuns = this.difference.allRuns = this.allRuns();
    this.drawTable();
    const problems = await this.logged.evaluations(metric, this.shownRuns());
    const steps = new Set(this.shownRuns().flatMap((run) => this.logged.curve(metric, run)?.steps ?? []));
    this.controls.setSteps([...steps].sort((first, second) => first - second), this.chosen.step);
    await Promise.all([this.drawCurves(), this.drawPanels(), this.fillTable()]);
    if (problems.length) throw new Error(problems.join(" "));
  }

  async toggleRuns(runs, shown) {
    runs.forEach((run) => (shown ? this.selected.add(run) : this.selected.delete(run)));
    await this.choose({});
  }

  // Curves follow the slider at once; what has to be asked for follows when it rests.
  async moveTo(step) {
    this.chosen.step = step;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.guard(() => Promise.all([this.drawCurves(), this.drawPanels(), this.fillTable()])), SETTLE);
    if (!this.chosen.perChip) await this.drawCurves();
  }

  // The runs shown with the place of their newest evaluation no later than the slider's step.
  shown() {
    const { metric, step } = this.chosen;
    return this.shownRuns().flatMap((run) => {
      const curve = this.logged.curve(metric, run);
      const at = curve ? curve.steps.findLastIndex((evaluated) => step === null || evaluated <= step) : -1;
      return at < 0 ? [] : [{ run, curve, at }];
    });
  }

  async drawCurves() {
    const ticket = ++this.ticket;
    const { metric, step, perChip } = this.chosen;
    const shown = this.shown();
    let chips = null;
    if (perChip) {
      const asked = shown.map(async ({ run }) => [run, await this.source.ask("chips", { metric, run, step })]);
      chips = byName(await Promise.all(asked));
    }
    if (ticket !== this.ticket) return;
    this.curveChart.hint.textContent = shown.length > MOST_WITH_BANDS && !perChip
      ? `lines: means; up to ${MOST_WITH_BANDS} runs are shown with bands`
      : `line: mean; ${perChip ? "thin lines: every chip" : "band: 5th to 95th percentile; dotted: worst chip"}`;
    const mixed = isMixed(this.hardwareOf(shown.map(({ run }) => run)));
    this.curveChart.say(shown.length ? chipCounts(shown, mixed) : "Tick a run in the table below to see its curve.");
    await this.curveChart.draw(curveTraces(shown, this.allRuns(), chips), curveAxes(shown, metric));
  }

  async drawPanels() {
    const shown = this.shown();
    const { metric, sigma, target, step } = this.chosen;
    const runs = shown.map(({ run }) => run);
    const range = shown.length ? valueRange(shown.map(({ curve }) => curve)) : null;
    const { higher_is_better: better = true, axis } = shown[0]?.curve ?? {};
    await Promise.all([
      this.yields.update({ metric, sigma, target, step, runs, range: range?.[0] === 0 ? [0, 1] : range, better }),
      this.difference.update({ metric, sigma, step, runs, axis, hardware: this.hardwareOf(runs) }),
      this.sensitivity.update({ metric, runs: this.logged.runsWithSensitivity(metric) }),
      this.limits.update({ sigma, step, runs: runs.filter((run) => this.logged.withLimits.includes(run)) }),
    ]);
  }

  async fillTable() {
    const { metric, sigma, target, step } = this.chosen;
    const ticket = (this.tableTicket = (this.tableTicket ?? 0) + 1);
    const runs = [...this.shownRuns(), ...this.allRuns().filter((run) => !this.selected.has(run))];
    this.tableHint.textContent = `at sigma ${sigma}` + (target === null ? "" : `; yield: ${metric} ${better(this.logged, metric, runs)} ${target}`);
    const atOnce = this.source.live ? ROWS_ASKED_AT_ONCE : runs.length;
    for (let start = 0; start < runs.length; start += atOnce) {
      const run = runs.slice(start, start + atOnce);
      const rows = await this.source.ask("table", { metric, run, step, sigma, target });
      if (ticket !== this.tableTicket) return;
      Object.assign(this.rows, rows);
      this.drawTable();
    }
  }

  drawTable() {
    const { metric } = this.chosen;
    const runs = this.shownRuns();
    const hardware = this.hardwareOf(runs);
    sayIn(this.hardwareNote, hardwareSentence(hardware));
    sayIn(this.excludedNote, excludedSentences(runs, hardware).join(" "));
    const hardwareShown = isMixed(hardware) ? (run) => this.logged.hardware(metric, run) : null;
    this.table.draw(this.allRuns(), this.selected, this.rows, hardwareShown);
  }

  hardwareOf(runs) {
    return runs.map((run) => this.logged.hardware(this.chosen.metric, run));
  }

  saveCsv() {
    const { metric } = this.chosen;
    download(`${fileName("limpet", metric)}.csv`, new Blob([curvesCsv(this.shown(), metric, this.logged)], { type: "text/csv" }));
  }
}

function better(logged, metric, runs) {
  return logged.runs[runs[0]]?.[metric].higher_is_better ? "at least" : "at most";
}

function sayIn(paragraph, text) {
  paragraph.textContent = text;
  paragraph.hidden = !text;
}

function chipCounts(shown, mixed) {
  const counts = [...new Set(shown.map(({ curve }) => curve.chips))].sort((first, second) => first - second);
  const failing = shown.some(({ curve, at }) => curve.failed[at].some((failed) => failed > 0));
  const stops = failing ? " Where chips failed (no finite value), the dotted line stops and the mean is that of the others." : "";
  const same = shown.every(({ curve }) => curve.same_chips) ? ", the same ones at every step" : "";
  const several = mixed ? " Not all of these runs are known to be of one hardware: see the table of runs." : "";
  return `${counts.join(" or ")} virtual chips at each sigma${same}.${several}${stops}`;
}
