/** Light, dark, or as the system has it; kept by the browser. */
import { element } from "./dom.js";

const THEMES = { system: "as the system", light: "light", dark: "dark" } as const;
const KEY = "bpf-isolator-theme";

function stored(): string {
  try {
    return localStorage.getItem(KEY) ?? "system";
  } catch {
    return "system";
  }
}

/** @param onChange called after each change, the system's too */
export function addThemes(select: HTMLSelectElement, onChange: () => void): void {
  for (const [value, text] of Object.entries(THEMES)) select.append(element("option", { value }, text));
  select.value = stored();
  if (select.value === "") select.value = "system";
  const apply = (): void => {
    if (select.value === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = select.value;
  };
  apply();
  select.addEventListener("change", () => {
    try {
      localStorage.setItem(KEY, select.value);
    } catch {
      // A browser that keeps nothing: it holds until the page is closed.
    }
    apply();
    onChange();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
}
