/** A line without axes, drawn again only when it is another. For the ear the number beside it is enough. */
import { setAttribute } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 72;
const HEIGHT = 20;
const POINTS = 30;

/** M and L of a path; a gap where a value is not known. */
function pathOf(values: readonly (number | null)[]): string {
  const most = Math.max(1, ...values.map((value) => value ?? 0));
  let isGap = true;
  return values
    .map((value, i) => {
      const command = isGap ? "M" : "L";
      isGap = value === null;
      if (value === null) return "";
      const x = ((POINTS - values.length + i) * WIDTH) / (POINTS - 1);
      return `${command}${x.toFixed(1)} ${(HEIGHT - 1 - (value / most) * (HEIGHT - 2)).toFixed(1)}`;
    })
    .join("");
}

export class Sparkline {
  readonly root = document.createElementNS(SVG, "svg");
  private readonly path = document.createElementNS(SVG, "path");

  constructor(kind: string) {
    this.root.setAttribute("class", `spark ${kind}`);
    this.root.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.root.setAttribute("aria-hidden", "true");
    this.root.append(this.path);
  }

  draw(values: readonly (number | null)[]): void {
    setAttribute(this.path, "d", pathOf(values));
  }
}
