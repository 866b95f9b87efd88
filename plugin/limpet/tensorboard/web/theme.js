// Light or dark: what TensorBoard's own page shows, else what the system prefers.

const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();

function hostBody() {
  try {
    return window.parent !== window ? window.parent.document.body : null;
  } catch {
    return null; // embedded in a page of another origin
  }
}

export function isDark() {
  const host = hostBody();
  return host ? host.classList.contains("dark-mode") : systemDark.matches;
}

export function followTheme() {
  const apply = () => {
    const theme = isDark() ? "dark" : "light";
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    listeners.forEach((listener) => listener());
  };
  systemDark.addEventListener("change", apply);
  const host = hostBody();
  if (host) new MutationObserver(apply).observe(host, { attributes: true, attributeFilter: ["class"] });
  apply();
}

export function onThemeChange(listener) {
  listeners.add(listener);
}

export function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
