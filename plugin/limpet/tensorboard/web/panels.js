// The panels that ask for numbers of one sigma, target or pair. An answer that comes too late is dropped.
import { Chart } from "./chart.js";
import { setOptions } from "./controls.js";
import { differenceAxes, differenceNote, differenceTraces } from "./difference_chart.js";
import { element } from "./dom.js";
import { number, runName } from "./format.js";
import { sensitivityAxes, sensitivityHeight, sensitivityNote, sensitivityTraces } from "./sensitivity_chart.js";
import { themeColour } from "./theme.js";
import { yieldAxes, yieldTraces } from "./yield_chart.js";

// Calls `then` with the answer, unless the same panel has asked again meanwhile.
class Panel {
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
    this.chart = new Chart("Paired difference", "the same chips under two runs, chip by chip", 320);
    this.card = this.chart.card;
    this.first = element("select", { id: "first", title: "the run to start from", onchange: onChange });
    this.second = element("select", { id: "second", title: "the run to compare", onchange: onChange });
    this.chart.addTool(element("span", { className: "pair" }, this.second, "minus", this.first));
  }

  async update({ metric, sigma, step, runs, axis }) {
    this.card.hidden = runs.length < 2;
    if (runs.length < 2) return;
    const options = runs.map((run) => [run, runName(run)]);
    const first = runs.includes(this.first.value) ? this.first.value : runs[0];
    const second = runs.includes(this.second.value) && this.second.value !== first ? this.second.value : runs.find((run) => run !== first);
    setOptions(this.first, options, first);
    setOptions(this.second, options, second);
    await this.latest(this.source.ask("difference", { metric, first, second, step }), async (found) => {
      this.chart.place.hidden = "error" in found;
      if (found.error) return this.chart.say(found.error);
      this.chart.say(differenceNote(found, first, second, sigma));
      await this.chart.draw(differenceTraces(found, second, this.allRuns), differenceAxes(metric, axis));
    });
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
    setOptions(this.run, runs.map((one) => [one, runName(one)]), run);
    await this.latest(this.source.ask("sensitivity", { metric, run }), async (found) => {
      this.chart.place.style.height = `${sensitivityHeight(found)}px`;
      this.chart.say(sensitivityNote(found));
      await this.chart.draw(sensitivityTraces(found), sensitivityAxes(found, metric));
    });
  }
}
