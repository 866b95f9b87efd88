// One plotly chart in a card: title, axes and colours of the theme, and its picture for download.
import { download, element, fileName } from "./dom.js";
import { onThemeChange, themeColour } from "./theme.js";

// plotly reads some HTML and templates such as %{x} in labels; names are data.
export function label(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("{", "&#123;");
}

export class Chart {
  constructor(title, hint, height) {
    this.note = element("p", { className: "note" });
    this.place = element("div", { className: "plot" });
    this.place.style.height = `${height}px`;
    this.tools = element("div", { className: "tools" });
    this.tools.append(
      element("button", { type: "button", title: "Download this chart as a picture", onclick: () => this.save() }, "PNG"),
    );
    this.heading = element("h2", {}, title);
    this.card = element(
      "section",
      { className: "card" },
      element("header", {}, this.heading, (this.hint = element("span", { className: "hint" }, hint)), this.tools),
      this.place,
      this.note,
    );
    this.drawn = null;
    onThemeChange(() => this.drawn && this.draw(...this.drawn));
  }

  addTool(tool) {
    this.tools.prepend(tool);
  }

  say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
    return this;
  }

  draw(traces, axes) {
    this.drawn = [traces, axes];
    const ink = themeColour("ink");
    const line = { gridcolor: themeColour("grid"), linecolor: themeColour("line"), zerolinecolor: themeColour("line") };
    const styled = (axis) => ({ ...line, automargin: true, ...axis, title: { text: label(axis.title), standoff: 10 } });
    const layout = {
      font: { family: "Roboto, system-ui, sans-serif", size: 12, color: ink },
      paper_bgcolor: themeColour("card"),
      plot_bgcolor: themeColour("card"),
      margin: { l: 56, r: 16, t: 12, b: 48 },
      hoverlabel: { bgcolor: themeColour("card"), bordercolor: themeColour("line"), font: { color: ink, size: 12 } },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 12 } },
      ...axes,
      xaxis: styled(axes.xaxis),
      yaxis: styled(axes.yaxis),
    };
    return window.Plotly.react(this.place, traces, layout, { responsive: true, displayModeBar: false });
  }

  async save() {
    const options = { format: "png", width: 1000, height: 620, scale: 2 };
    const picture = await window.Plotly.toImage(this.place, options);
    download(`${fileName("limpet", this.heading.textContent)}.png`, await pictureBlob(picture));
  }
}

// Decoded here, because TensorBoard's content security policy lets nothing fetch a data: address.
async function pictureBlob(address) {
  const bytes = Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (char) => char.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}
