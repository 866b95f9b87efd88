// The report: the tab's page, fed by the numbers that the file holds.
import { showPage } from "./page.js";
import { embeddedSource, parsed } from "./source.js";
import { followTheme } from "./theme.js";

followTheme();
showPage(document.getElementById("charts"), embeddedSource(parsed(document.getElementById("answers").textContent)));
