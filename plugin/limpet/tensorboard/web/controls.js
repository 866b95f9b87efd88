// The bar on top: metric, sigma, target, the training step, lines per chip, download of the numbers.
import { element } from "./dom.js";
import { number, step as stepText } from "./format.js";

const PLAY_MILLISECONDS = 300;

export class Controls {
  // on: {metric, sigma, target, step, perChip, csv}, functions of the new value; live: whether numbers can be asked for.
  constructor(on, live) {
    this.on = on;
    this.steps = [];
    this.timer = null;
    this.metric = element("select", { id: "metric", onchange: () => on.metric(this.metric.value) });
    this.sigma = element("select", { id: "sigma", onchange: () => on.sigma(Number(this.sigma.value)) });
    this.target = element("input", {
      id: "target", type: "number", step: "any", placeholder: "none", disabled: !live, onchange: () => this.readTarget(),
    });
    this.slider = element("input", {
      id: "step", type: "range", min: 0, max: 0, step: 1, oninput: () => this.moved(), "aria-label": "training step",
    });
    this.stepLabel = element("output", { id: "step-label", htmlFor: "step" });
    this.play = element("button", { type: "button", id: "play", onclick: () => this.toggle() }, "▶");
    this.perChip = element("input", { id: "per-chip", type: "checkbox", onchange: () => on.perChip(this.perChip.checked) });
    const csv = element("button", { type: "button", id: "csv", title: "Download the numbers of the curves shown", onclick: on.csv }, "CSV");
    this.training = field("training step", "Move to see how the curves came about.", element("span", { className: "slider" }, this.play, this.slider, this.stepLabel));
    this.element = element(
      "div",
      { className: "controls" },
      field("metric", "What was measured on each virtual chip.", this.metric),
      field("sigma", "The strength at which the table, the yield and the difference are read.", this.sigma),
      field("target", "A chip passes at this value or better; the yield is the share that does.", this.target),
      live ? this.training : null,
      element("label", { className: "check", title: "Draw a line for each virtual chip instead of the band." }, this.perChip, "every chip"),
      csv,
    );
  }

  setMetrics(metrics, chosen) {
    setOptions(this.metric, metrics.map((metric) => [metric, metric]), chosen);
  }

  setSigmas(sigmas, chosen) {
    setOptions(this.sigma, sigmas.map((sigma) => [String(sigma), number(sigma)]), String(chosen));
  }

  setTarget(target) {
    if (document.activeElement !== this.target) this.target.value = target ?? "";
  }

  // chosen: a step, or null for the newest.
  setSteps(steps, chosen) {
    this.steps = steps;
    const place = chosen === null ? steps.length - 1 : Math.max(0, steps.findLastIndex((step) => step <= chosen));
    this.slider.max = Math.max(0, steps.length - 1);
    this.slider.value = place;
    this.slider.disabled = this.play.disabled = steps.length < 2;
    this.showStep();
  }

  moved() {
    const place = Number(this.slider.value);
    this.showStep();
    this.on.step(place === this.steps.length - 1 ? null : this.steps[place]);
  }

  showStep() {
    const place = Number(this.slider.value);
    const newest = place === this.steps.length - 1 ? " (newest)" : "";
    this.stepLabel.textContent = this.steps.length ? `${stepText(this.steps[place])}${newest}` : "–";
    this.play.textContent = this.timer ? "❚❚" : "▶";
    this.play.title = this.timer ? "Stop" : "Play the curves over training";
  }

  toggle() {
    if (this.timer) return this.stop();
    if (Number(this.slider.value) === this.steps.length - 1) this.slider.value = 0;
    this.timer = setInterval(() => {
      const place = Number(this.slider.value) + 1;
      if (place > Number(this.slider.max)) return this.stop();
      this.slider.value = place;
      this.moved();
    }, PLAY_MILLISECONDS);
    this.moved();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.showStep();
  }

  readTarget() {
    this.on.target(this.target.value.trim() === "" || Number.isNaN(this.target.valueAsNumber) ? null : this.target.valueAsNumber);
  }
}

export function setOptions(select, options, chosen) {
  const shown = [...select.options].map(({ value, text }) => [value, text]);
  if (JSON.stringify(shown) !== JSON.stringify(options)) {
    select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  }
  select.value = chosen;
}

function field(name, tip, control) {
  return element("label", { className: "field", title: tip }, element("span", {}, name), control);
}
