/**
 * The status page's files, as a browser gets them, and what it may do with them: nothing but what this server sends, no
 * inline script or style, no frame, no form.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { IsolatorError, messageOf } from "../errors.js";
import type { Page } from "./pages.js";

/** Files of page/ once it is compiled, which begin with the page itself. */
const FILES: Readonly<Record<string, string>> = {
  "index.html": "text/html",
  "page.css": "text/css",
  "icon.svg": "image/svg+xml",
  "main.js": "text/javascript",
  "container.js": "text/javascript",
  "dom.js": "text/javascript",
  "format.js": "text/javascript",
  "panels.js": "text/javascript",
  "search.js": "text/javascript",
  "sparkline.js": "text/javascript",
  "state.js": "text/javascript",
  "stream.js": "text/javascript",
  "table.js": "text/javascript",
  "theme.js": "text/javascript",
};
/** Of npm's uplot. */
const LIBRARY: Readonly<Record<string, string>> = {
  "uPlot.esm.js": "text/javascript",
  "uPlot.min.css": "text/css",
};

const POLICY = [
  "default-src 'none'",
  ...["script-src", "style-src", "img-src", "connect-src"].map((kind) => `${kind} 'self'`),
  ...["base-uri", "form-action", "frame-ancestors"].map((kind) => `${kind} 'none'`),
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  "Content-Security-Policy": POLICY,
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Frame-Options": "DENY",
};

function read(path: string, type: string): Page {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new IsolatorError(
      "not-built",
      `the status page's ${path} cannot be read: run npm run build (${messageOf(error)})`,
      error,
    );
  }
  return () => Promise.resolve({ type: `${type}; charset=utf-8`, text });
}

/** With types that both the daemon and the page are compiled with: one level above the page's own. */
const SHARED = "wire.js";

/** By path. Read once. @throws not-built */
export function readAssets(): Record<string, Page> {
  const built = fileURLToPath(new URL("page", import.meta.url));
  const library = dirname(createRequire(import.meta.url).resolve("uplot"));
  const own = Object.entries(FILES).map(([name, type]) => [`/page/${name}`, read(join(built, name), type)]);
  const others = Object.entries(LIBRARY).map(([name, type]) => [
    `/page/${name}`,
    read(join(library, name), type),
  ]);
  const pages = Object.fromEntries([...own, ...others]) as Record<string, Page>;
  const { "/page/index.html": index, ...rest } = pages;
  const shared = read(join(built, "..", SHARED), "text/javascript");
  return { ...(index ? { "/": index } : {}), ...rest, [`/${SHARED}`]: shared };
}
