/** What a search finds: all of its words must be somewhere; a number also in a range of ports. */
import type { Row } from "../wire.js";

const texts = new WeakMap<Row, string>();

function textOf(row: Row): string {
  const known = texts.get(row);
  if (known !== undefined) return known;
  const { name, task, classes, ports, state, enforcement } = row;
  const text = [name, task, classes, ports, state, enforcement].join("\n").toLowerCase();
  texts.set(row, text);
  return text;
}

function hasPort(ports: string, port: number): boolean {
  return [...ports.matchAll(/(\d+)(?:-(\d+))?/g)].some(
    ([, begin, end = begin]) => port >= Number(begin) && port <= Number(end),
  );
}

export function matches(row: Row, search: string): boolean {
  const words = search.toLowerCase().split(/\s+/);
  return words.every(
    (word) => textOf(row).includes(word) || (/^\d{1,5}$/.test(word) && hasPort(row.ports, Number(word))),
  );
}
