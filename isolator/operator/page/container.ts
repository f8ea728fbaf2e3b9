/** A container's page: its limits, its last 15 minutes, and all that is known of it. */
import { AT, type ContainerView, type Series } from "../wire.js";
import { byId, element, setText } from "./dom.js";
import { formatClock, formatCount, formatRate, formatUsed } from "./format.js";
import { showDetails } from "./panels.js";
import { fillMeter } from "./table.js";
import uPlot from "./uPlot.esm.js";

const HEIGHT = 180;

interface Line {
  name: string;
  /** Custom property of page.css. */
  colour: string;
  read: (view: ContainerView) => Series;
}

interface ChartKind {
  title: string;
  format: (value: number | null | undefined) => string;
  lines: readonly Line[];
}

const CHARTS: readonly ChartKind[] = [
  {
    title: "Traffic",
    format: formatRate,
    lines: [
      { name: "received", colour: "--received", read: ({ past }) => past.received },
      { name: "sent", colour: "--sent", read: ({ past }) => past.sent },
    ],
  },
  {
    title: "Connections",
    format: formatCount,
    lines: [{ name: "connections", colour: "--connections", read: ({ past }) => past.connections }],
  },
  {
    title: "Denied",
    format: formatCount,
    lines: [{ name: "denied", colour: "--denied", read: ({ past }) => past.denied }],
  },
];

/** A colour as a canvas takes it. */
function colourOf(property: string): string {
  const probe = element("span");
  probe.style.color = `var(${property})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** What the picture says, in words. */
function wordsOf({ title, format, lines }: ChartKind, view: ContainerView): string {
  const parts = lines.map(({ name, read }) => {
    const values = read(view);
    const known = values.filter((value) => value !== null);
    return `${name} ${format(values.at(-1))} now, ${format(known.length > 0 ? Math.max(...known) : null)} at most`;
  });
  return `${title}, last 15 minutes: ${parts.join("; ")}`;
}

class Chart {
  readonly root = element("figure");
  private readonly caption = element("figcaption");
  private readonly place = element("div", { role: "img" });
  private readonly plot: uPlot;

  constructor(private readonly kind: ChartKind) {
    this.root.append(this.caption, this.place);
    const axis = { stroke: colourOf("--faint"), grid: { stroke: colourOf("--line"), width: 1 } };
    this.plot = new uPlot(
      {
        ...{ width: 400, height: HEIGHT },
        // Without anything on it, an axis from 0 to 1.
        scales: { y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.1 : 1] } },
        axes: [
          axis,
          { ...axis, size: 80, values: (_plot, splits) => splits.map((value) => kind.format(value)) },
        ],
        series: [
          {
            label: "at",
            value: (_plot: uPlot, time: number | null) => (time === null ? "–" : formatClock(1000 * time)),
          },
          ...kind.lines.map(({ name, colour }) => ({
            ...{ label: name, stroke: colourOf(colour), width: 1.5 },
            value: (_plot: uPlot, value: number | null) => kind.format(value),
          })),
        ],
      },
      [[], ...kind.lines.map(() => [])],
      this.place,
    );
    new ResizeObserver(() => {
      const width = this.root.clientWidth;
      if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
    }).observe(this.root);
  }

  show(view: ContainerView): void {
    const words = wordsOf(this.kind, view);
    setText(this.caption, words);
    this.place.setAttribute("aria-label", words);
    const times = view.times.map((time) => time / 1000);
    this.plot.setData([times, ...this.kind.lines.map(({ read }) => [...read(view)])]);
  }

  close(): void {
    this.plot.destroy();
  }
}

export class ContainerPage {
  private readonly root = byId("container");
  private key = "";
  private charts: Chart[] = [];
  private readonly note = element("p", { role: "status" });
  private readonly facts = element("p");
  private readonly limits = element("div", { class: "limits" });
  private readonly details = element("dl");
  private view: ContainerView | undefined;
  private asking = false;

  /** @param key of the container; "": none any more */
  open(key: string): void {
    this.key = key;
    this.view = undefined;
    this.root.hidden = key === "";
    this.root.replaceChildren();
    this.closeCharts();
    if (key === "") return;
    const head = element("h2", { id: "container-head", tabindex: "-1" }, "Container");
    const back = element("a", { href: "/" }, "All containers");
    for (const each of [this.note, this.facts, this.limits, this.details]) each.replaceChildren();
    this.charts = CHARTS.map((kind) => new Chart(kind));
    const charts = element("div", { class: "charts" }, ...this.charts.map(({ root }) => root));
    this.root.append(
      ...[back, head, this.note, this.facts, this.limits, charts],
      ...[element("h3", {}, "All that is known"), this.details],
    );
    head.focus();
    void this.refresh();
  }

  /** Other colours. */
  repaint(): void {
    if (this.key === "") return;
    const places = this.charts.map(({ root }) => root);
    const charts = CHARTS.map((kind) => new Chart(kind));
    places.forEach((place, i) => {
      const chart = charts[i];
      if (chart) place.replaceWith(chart.root);
    });
    this.closeCharts();
    this.charts = charts;
    this.show();
  }

  /** Asks how it is now. Never rejects. */
  async refresh(): Promise<void> {
    const { key } = this;
    if (key === "" || this.asking) return;
    this.asking = true;
    try {
      const answer = await fetch(`/container/${encodeURIComponent(key)}`);
      if (key !== this.key) return;
      if (answer.ok) {
        this.view = (await answer.json()) as ContainerView;
        setText(this.note, "");
        this.show();
      } else if (answer.status === 404) {
        setText(
          this.note,
          this.view ? "It has ended; this is the last that is known." : "There is no such container now.",
        );
      } else setText(this.note, `The daemon does not tell: ${await answer.text()}`);
    } catch {
      // The line at the top of the page says it.
    } finally {
      this.asking = false;
      if (key !== this.key) void this.refresh();
    }
  }

  private show(): void {
    const { view } = this;
    if (!view) return;
    const { row, numbers, details } = view;
    setText(byId("container-head"), `Container ${row.name}`);
    const parts = [
      ...(row.task === "" ? [] : [`task ${row.task}`]),
      ...(row.classes === "" ? [] : [`class ${row.classes}`]),
      `ports ${row.ports}`,
      row.state,
      `enforcement ${row.enforcement}`,
    ];
    setText(this.facts, parts.join(" · "));
    this.limits.replaceChildren(
      ...row.limits.map((limit, i) => {
        const used = numbers[AT.limits + i] ?? 0;
        const meter = element("meter", { min: "0" });
        fillMeter(meter, { ...limit, used });
        return element("div", {}, meter, ` ${limit.name}: ${formatUsed(used, limit.most, limit.unit)}`);
      }),
    );
    for (const chart of this.charts) chart.show(view);
    showDetails(this.details, details);
  }

  private closeCharts(): void {
    for (const chart of this.charts) chart.close();
    this.charts = [];
  }
}
