// Where numbers come from: the plugin's routes, or answers embedded in a report. Both are asked alike.
import { chipsOf, yieldsOf } from "./packed.js";

// Runs and metrics have names of their users' choice, and every plain object has members such as "constructor" and
// "__proto__". So what is looked up by such a name is an object that has none: made here, or by `byName`.
export function parsed(text) {
  return JSON.parse(text, (_, value) =>
    value !== null && typeof value === "object" && !Array.isArray(value) ? Object.setPrototypeOf(value, null) : value,
  );
}

export function byName(entries = []) {
  const made = Object.create(null);
  for (const [name, value] of entries) made[name] = value;
  return made;
}

export function query(route, parameters = {}) {
  const pairs = [];
  for (const [name, value] of Object.entries(parameters)) {
    for (const single of Array.isArray(value) ? value : [value]) {
      if (single !== null && single !== undefined) pairs.push(`${name}=${encodeURIComponent(single)}`);
    }
  }
  return pairs.length ? `${route}?${pairs.join("&")}` : route;
}

export function serverSource() {
  return {
    live: true,
    async ask(route, parameters) {
      const answer = await fetch(query(route, parameters));
      if (!answer.ok) throw new Error(await answer.text());
      return parsed(await answer.text());
    },
  };
}

const NOT_COMPARED = "This report compares each run with the first one of its hardware only; the tab compares any two.";

// A report holds one answer per route, run and sigma, of the newest evaluations: its target and step do not change.
export function embeddedSource(answers) {
  // What `answer` gives for each of the runs asked for, where it gives something.
  const perRun = ({ run: names, ...asked }, answer) =>
    byName(names.map((name) => [name, answer(name, asked)]).filter(([, found]) => found));
  const embedded = {
    runs: () => answers.runs,
    evaluations: ({ metric, run }) => answers.evaluations[metric][run],
    chips: ({ metric, run }) => chipsOf(answers.chips[metric].runs[run]),
    table: (asked) => perRun(asked, (run, { metric, sigma }) => answers.table[metric][run]?.[String(sigma)]),
    yields: (asked) => perRun(asked, (run, { metric, sigma }) => yieldsOf(answers.chips[metric], answers.chips[metric].runs[run], sigma)),
    difference: ({ metric, first, second }) => answers.difference[metric][first][second] ?? { error: NOT_COMPARED },
    sensitivity: ({ metric, run }) => answers.sensitivity[metric][run],
    limits: ({ run }) => answers.limits[run],
  };
  return { live: false, ask: async (route, parameters) => embedded[route](parameters) };
}
