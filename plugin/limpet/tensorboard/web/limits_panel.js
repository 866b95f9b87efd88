// Which leaves would have left their limits: on how many chips, how many of their values, at the chosen sigma.
import { setOptions } from "./controls.js";
import { element } from "./dom.js";
import { number, percent, placeOf, runName, step as stepText } from "./format.js";
import { Panel } from "./panels.js";

const COLUMNS = ["leaf", "limits", "values beyond", "on chips"];

export class LimitsPanel extends Panel {
  constructor(source, onChange) {
    super();
    this.source = source;
    this.run = element("select", { id: "limits-run", title: "the run whose chips are counted", onchange: onChange });
    this.hint = element("span", { className: "hint" });
    this.note = element("p", { className: "note" });
    this.body = element("tbody");
    const head = element("thead", {}, element("tr", {}, ...COLUMNS.map((title) => element("th", { scope: "col" }, title))));
    this.table = element("table", { className: "limits" }, head, this.body);
    this.card = element(
      "section",
      { className: "card", hidden: true },
      element("header", {}, element("h2", {}, "Values beyond limits"), this.hint, element("div", { className: "tools" }, this.run)),
      element("div", { className: "scroll" }, this.table),
      this.note,
    );
  }

  async update({ sigma, step, runs }) {
    this.card.hidden = !runs.length;
    if (!runs.length) return;
    const run = runs.includes(this.run.value) ? this.run.value : runs[0];
    setOptions(this.run, runs.map((other) => [other, runName(other)]), run);
    await this.latest(this.source.ask("limits", { run, step }), (counted) => this.draw(counted, sigma));
  }

  draw({ rows, sigmas, axis, chips, step }, sigma) {
    const place = placeOf(sigma, sigmas);
    this.hint.textContent = `at ${axis} ${number(sigma)}, step ${stepText(step)}`;
    this.table.hidden = place < 0;
    this.note.textContent = place < 0
      ? `This run was not measured at ${axis} ${number(sigma)}; it was at ${sigmas.map((value) => number(value)).join(", ")}.`
      : `Counted as the ${chips} virtual chips would be without limits, whatever happens to these values.`;
    if (place < 0) return;
    const ordered = [...rows].sort((first, second) => second.share[place] - first.share[place]);
    const lines = ordered.map(({ leaf, limits, share, chips: beyond }) =>
      [leaf, limits, shareText(share[place]), `${beyond[place]} of ${chips}`]);
    this.body.replaceChildren(...lines.map((cells) => element("tr", {}, ...cells.map((text) => element("td", {}, text)))));
  }
}

// Few values are not none.
function shareText(share) {
  return share > 0 && share < 0.0005 ? "< 0.1%" : percent(share);
}
