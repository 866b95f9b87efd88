// The entry point that TensorBoard calls: the page, fed by the plugin's routes.
import { showPage } from "./page.js";
import { serverSource } from "./source.js";
import { followTheme } from "./theme.js";

export async function render() {
  document.title = "Robustness";
  const sheet = document.createElement("link");
  sheet.rel = "stylesheet";
  sheet.href = new URL("style.css", document.baseURI).href;
  const styled = new Promise((resolve) => (sheet.onload = sheet.onerror = resolve));
  document.head.append(sheet);
  followTheme();
  await styled;
  try {
    await loadPlotly();
  } catch (error) {
    const note = document.createElement("p");
    note.className = "notice";
    note.textContent = error.message;
    document.body.append(note);
    return;
  }
  await showPage(document.body, serverSource());
}

async function loadPlotly() {
  const answer = await fetch("plotly.js", { method: "HEAD" });
  if (!answer.ok) throw new Error(await (await fetch("plotly.js")).text());
  await new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "plotly.js";
    script.onload = resolve;
    script.onerror = () => reject(new Error("plotly's script could not be loaded; reload the page"));
    document.head.append(script);
  });
}
