// The panels that ask for numbers of one sigma, target or pair. An answer that comes too late is dropped.
import { Chart } from "./chart.js";
import { setOptions } from "./controls.js";
import { differenceAxes, differenceHint, differenceNote, differenceTraces } from "./difference_chart.js";
import { element } from "./dom.js";
import { number, runName, sentence } from "./format.js";
import { sensitivityAxes, sensitivityHeight, sensitivityNote, sensitivityTraces } from "./sensitivity_chart.js";
import { themeColour } from "./theme.js";
import { yieldAxes, yieldTraces } from "./yield_chart.js";

// Calls `then` with the answer, unless the same panel has asked again meanwhile.
export class Panel {
  constructor() {
    this.ticket = 0;
  }

  async latest(asking, then) {
    const ticket = ++this.ticket;
    const answer = await asking;
    if (ticket === this.ticket) await then(answer);
  }
}

export class YieldPanel extends Panel {
  constructor(source) {
    super();
    this.source = source;
    this.chart = new Chart("Yield over target", "", 360);
    this.card = this.chart.card;
  }

  async update({ metric, sigma, target, step, runs, range, better }) {
    if (!runs.length || !range) return;
    const [low, high] = [Math.min(range[0], target ?? range[0]), Math.max(range[1], target ?? range[1])];
    await this.latest(this.source.ask("yields", { metric, run: runs, step, sigma, low, high }), async (yields) => {
      this.chart.hint.textContent = `at sigma ${number(sigma)}`;
      this.chart.say(target === null ? "Enter a target above to see each run's yield in the table." : "");
      await this.chart.draw(yieldTraces(yields, this.allRuns), yieldAxes(metric, better, target, runs.length, themeColour("muted")));
    });
  }
}

export class DifferencePanel extends Panel {
  constructor(source, onChange) {
    super();
    this.source = source;
    this.chart = new Chart("Paired difference", "", 320);
    this.card = this.chart.card;
    this.first = element("select", { id: "first", title: "the run to start from", onchange: onChange });
    this.second = element("select", { id: "second", title: "the run to compare", onchange: onChange });
    this.chart.addTool(element("span", { className: "pair" }, this.second, "minus", this.first));
  }

  // hardware: of each run, in the same order.
  async update({ metric, sigma, step, runs, axis, hardware }) {
    this.card.hidden = runs.length < 2;
    if (runs.length < 2) return;
    const options = runs.map((run) => [run, runName(run)]);
    const [first, second] = this.pair(runs, hardware);
    setOptions(this.first, options, first);
    setOptions(this.second, options, second);
    await this.latest(this.source.ask("difference", { metric, first, second, step }), async (answer) => {
      const refused = "error" in answer;
      this.chart.place.hidden = refused;
      this.chart.note.className = refused ? "caution" : "note";
      this.chart.hint.textContent = refused ? "these two runs cannot be compared" : differenceHint(answer);
      if (refused) return this.chart.say(sentence(answer.error));
      this.chart.say(differenceNote(answer, first, second, sigma));
      await this.chart.draw(differenceTraces(answer, second, this.allRuns), differenceAxes(metric, axis));
    });
  }

  // The runs that are chosen, as long as they are shown; at first, two of one hardware where there are two.
  pair(runs, hardware) {
    const alike = (run) => runs.find((other) => other !== run && fingerprintOf(other) === fingerprintOf(run));
    const fingerprintOf = (run) => hardware[runs.indexOf(run)].fingerprint;
    const chosen = [this.first.value, this.second.value];
    const first = runs.includes(chosen[0]) ? chosen[0] : runs.find(alike) ?? runs[0];
    if (runs.includes(chosen[1]) && chosen[1] !== first) return [first, chosen[1]];
    return [first, alike(first) ?? runs.find((run) => run !== first)];
  }
}

export class SensitivityPanel extends Panel {
  constructor(source, onChange) {
    super();
    this.source = source;
    this.chart = new Chart("Sensitivity", "what each leaf's mismatch costs", 300);
    this.card = this.chart.card;
    this.run = element("select", { id: "sensitivity-run", onchange: onChange });
    this.chart.addTool(this.run);
  }

  async update({ metric, runs }) {
    this.card.hidden = !runs.length;
    if (!runs.length) return;
    const run = runs.includes(this.run.value) ? this.run.value : runs[0];
    setOptions(this.run, runs.map((other) => [other, runName(other)]), run);
    await this.latest(this.source.ask("sensitivity", { metric, run }), async (costs) => {
      this.chart.place.style.height = `${sensitivityHeight(costs)}px`;
      this.chart.say(sensitivityNote(costs));
      await this.chart.draw(sensitivityTraces(costs), sensitivityAxes(costs, metric));
    });
  }
}
