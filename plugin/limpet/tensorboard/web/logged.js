// What the source has told so far: the list of runs, and each run's evaluations, asked for once.
import { byName } from "./source.js";

export class Logged {
  constructor(source) {
    this.source = source;
    this.runs = byName();
    this.sensitivities = byName();
    this.withLimits = []; // runs whose values beyond their limits were counted
    this.startAt = byName(); // sigma by metric, where the source knows which tells most
    this.hardwareNames = byName(); // short names by fingerprint
    this.asked = new Map(); // "metric run" as JSON to {lastStep, promise, curve}
  }

  // Whether anything has changed.
  async refresh() {
    const answer = await this.source.ask("runs");
    const before = JSON.stringify([this.runs, this.sensitivities, this.withLimits]);
    this.runs = answer.runs;
    this.sensitivities = answer.sensitivities;
    this.withLimits = answer.limits;
    this.startAt = answer.start_at ?? byName();
    this.hardwareNames = answer.hardware_names;
    return JSON.stringify([this.runs, this.sensitivities, this.withLimits]) !== before;
  }

  // Those of most runs first.
  metrics() {
    const metrics = [...new Set(Object.values(this.runs).flatMap((ofRun) => Object.keys(ofRun)))].sort();
    const count = (metric) => this.runsWith(metric).length;
    return metrics.sort((first, second) => count(second) - count(first));
  }

  runsWith(metric) {
    return Object.keys(this.runs).filter((run) => this.runs[run][metric]);
  }

  sigmas(metric) {
    const all = this.runsWith(metric).flatMap((run) => this.runs[run][metric].sigmas);
    return [...new Set(all)].sort((first, second) => first - second);
  }

  target(metric) {
    return this.runsWith(metric).map((run) => this.runs[run][metric].target).find((target) => target !== null) ?? null;
  }

  // What a run was measured on; an empty fingerprint stands for hardware that was not recorded.
  hardware(metric, run) {
    const { fingerprint, hardware, excluded } = this.runs[run][metric];
    const name = this.hardwareNames[fingerprint];
    return { fingerprint, name, words: hardware || name, excluded };
  }

  runsWithSensitivity(metric) {
    return Object.keys(this.sensitivities).filter((run) => this.sensitivities[run].includes(metric));
  }

  // What is wrong with runs that cannot be read; the others are there.
  async evaluations(metric, runs) {
    const settled = await Promise.allSettled(runs.map((run) => this.ask(metric, run)));
    return settled.filter(({ status }) => status === "rejected").map(({ reason }) => reason.message);
  }

  curve(metric, run) {
    return this.asked.get(JSON.stringify([metric, run]))?.curve;
  }

  async ask(metric, run) {
    const key = JSON.stringify([metric, run]);
    const lastStep = this.runs[run][metric].last_step;
    const known = this.asked.get(key);
    if (known?.lastStep === lastStep) return known.promise;
    const promise = this.source.ask("evaluations", { metric, run });
    const entry = { lastStep, promise, curve: known?.curve };
    this.asked.set(key, entry);
    try {
      entry.curve = await promise;
    } catch (error) {
      this.asked.delete(key);
      throw error;
    }
  }
}
