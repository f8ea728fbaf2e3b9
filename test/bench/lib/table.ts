/** Markdown tables, and the block of README.md that holds one. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./build.js";

/** A Markdown table. @param left how many of the first columns are text, aligned left; the others are aligned right */
export function table(head: readonly string[], rows: readonly (readonly string[])[], left = 1): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, index) => (index < left ? ":--" : "--:"));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

/** The number with as many decimals as three or four significant figures need, and a real minus sign. */
export function figure(value: number): string {
  const size = Math.abs(value);
  const digits = size.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
  return value < 0 ? `−${digits}` : digits;
}

/**
 * Replaces what README.md has between `<!-- NAME -->` and `<!-- /NAME -->`.
 * @throws Error when the two marks are not there, so that nothing is written to the wrong place
 */
export function writeReadme(name: string, text: string, file?: string): void {
  const { path, before, after } = readmeAround(name, file);
  // Renamed into place: a reader, or a kill, never meets half a README.
  writeFileSync(`${path}.new`, `${before}\n\n${text.trim()}\n\n${after}`);
  renameSync(`${path}.new`, path);
}

/** README.md up to the end of the opening mark, and from the closing one on. @throws Error when they are not there */
export function readmeAround(
  name: string,
  file = "README.md",
): { path: string; before: string; after: string } {
  const path = join(repository(), file);
  const text = readFileSync(path, "utf8");
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [text.indexOf(open), text.indexOf(close)];
  if (from < 0 || to < from) throw new Error(`${path} has no ${open} … ${close}`);
  return { path, before: text.slice(0, from + open.length), after: text.slice(to) };
}
