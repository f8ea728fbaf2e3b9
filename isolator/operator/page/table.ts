/**
 * The table of containers: a thousand and more of them, of which only the rows that can be seen are in the page. Rows
 * are kept by container and only what has changed of them is written.
 */
import { AT, type Row } from "../wire.js";
import { byId, element, setAttribute, setText } from "./dom.js";
import { formatCount, formatRate, formatUsed } from "./format.js";
import { matches } from "./search.js";
import { Sparkline } from "./sparkline.js";
import { fullest, SPARKS, type Container, type Spark, type State } from "./state.js";

/** Rows beyond what can be seen, above and below. */
const MARGIN = 8;
/** Pixels, until a row is there to be measured. */
const ROW_HEIGHT = 28;

interface Column {
  head: string;
  /** What to sort by. */
  value: (container: Container) => string | number;
  isNumber?: true;
}

const text = (head: string, field: Exclude<keyof Row, "limits">): Column => ({
  head,
  value: ({ row }) => row[field],
});
const number = (head: string, place: number): Column => ({
  head,
  value: ({ numbers }) => numbers[place] ?? -1,
  isNumber: true,
});

const COLUMNS: readonly Column[] = [
  text("Container", "name"),
  text("Task", "task"),
  text("Class", "classes"),
  text("Ports", "ports"),
  text("State", "state"),
  text("Enforced", "enforcement"),
  number("Received", AT.received),
  number("Sent", AT.sent),
  number("Connections", AT.connections),
  { head: "Fullest limit", value: (container) => fullest(container)?.share ?? -1 },
  number("Denied", AT.denied),
];

export function hrefOf(key: string): string {
  return `/?container=${encodeURIComponent(key)}`;
}

/** One container's row. */
class RowView {
  readonly root = element("tr");
  readonly link = element("a");
  private readonly texts: HTMLTableCellElement[];
  private readonly values: Record<Spark, HTMLElement>;
  private readonly sparks: Record<Spark, Sparkline>;
  private readonly meter = element("meter", { min: "0" });
  private readonly used = element("span");
  private readonly denied = element("td", { class: "number" });

  constructor(key: string) {
    this.link.setAttribute("href", hrefOf(key));
    this.texts = Array.from({ length: 5 }, () => element("td", { class: "cut" }));
    const value = (): HTMLElement => element("span", { class: "value" });
    this.values = { received: value(), sent: value(), connections: value() };
    this.sparks = {
      received: new Sparkline("received"),
      sent: new Sparkline("sent"),
      connections: new Sparkline("connections"),
    };
    this.root.append(
      element("th", { scope: "row" }, this.link),
      ...this.texts,
      ...SPARKS.map((name) =>
        element("td", { class: "number" }, this.sparks[name].root, " ", this.values[name]),
      ),
      element("td", {}, this.meter, " ", this.used),
      this.denied,
    );
  }

  update(container: Container, index: number): void {
    const { row, numbers, sparks } = container;
    // The head is row 1.
    setAttribute(this.root, "aria-rowindex", `${index + 2}`);
    setText(this.link, row.name);
    [row.task, row.classes, row.ports, row.state, row.enforcement].forEach((each, i) => {
      const cell = this.texts[i];
      if (!cell) return;
      setText(cell, each);
      setAttribute(cell, "title", each);
    });
    setText(this.values.received, formatRate(numbers[AT.received]));
    setText(this.values.sent, formatRate(numbers[AT.sent]));
    setText(this.values.connections, formatCount(numbers[AT.connections]));
    for (const name of SPARKS) this.sparks[name].draw(sparks[name]);
    const limit = fullest(container);
    this.meter.hidden = limit === undefined;
    if (limit) fillMeter(this.meter, limit);
    setText(this.used, limit ? formatUsed(limit.used, limit.most, limit.unit) : "");
    const denied = numbers[AT.denied] ?? 0;
    const audited = numbers[AT.audited] ?? 0;
    setText(
      this.denied,
      audited > 0 ? `${formatCount(denied)} (+${formatCount(audited)} audited)` : formatCount(denied),
    );
    setAttribute(this.root, "class", denied > 0 ? "attention" : "");
  }
}

/** A bar of how much of a limit is in use. */
export function fillMeter(
  meter: HTMLMeterElement,
  { name, used, most }: { name: string; used: number; most: number },
): void {
  setAttribute(meter, "max", `${most}`);
  setAttribute(meter, "high", `${0.8 * most}`);
  setAttribute(meter, "optimum", "0");
  setAttribute(meter, "value", `${Math.min(used, most)}`);
  setAttribute(meter, "title", name);
  setAttribute(meter, "aria-label", name);
}

export class ContainerTable {
  private readonly body = element("tbody");
  private readonly above = element("tr", { class: "space", "aria-hidden": "true" }, element("td"));
  private readonly below = element("tr", { class: "space", "aria-hidden": "true" }, element("td"));
  private readonly heads: HTMLTableCellElement[];
  private readonly table: HTMLTableElement;
  private readonly rows = new Map<string, RowView>();
  private order: string[] = [];
  private sort = { column: 0, down: false };
  private search = "";

  constructor(
    private readonly root: HTMLElement,
    private readonly state: State,
  ) {
    this.heads = COLUMNS.map(({ head, isNumber }, i) => {
      const button = element("button", { type: "button" }, head);
      button.addEventListener("click", () => {
        this.sortBy(i);
      });
      return element("th", { scope: "col", class: isNumber ? "number" : undefined }, button);
    });
    this.table = element(
      "table",
      { class: "list", "aria-labelledby": "containers-head", "aria-colcount": `${COLUMNS.length}` },
      element("thead", {}, element("tr", { "aria-rowindex": "1" }, ...this.heads)),
      this.body,
    );
    this.body.append(this.above, this.below);
    root.append(this.table);
    root.addEventListener("scroll", () => {
      requestAnimationFrame(() => {
        this.render();
      });
    });
    root.addEventListener("keydown", (event) => {
      this.onKey(event);
    });
    new ResizeObserver(() => {
      this.render();
    }).observe(root);
    this.showSort();
  }

  setSearch(search: string): void {
    this.search = search;
    this.update();
    setText(byId("found"), search === "" ? "" : `${formatCount(this.order.length)} found`);
  }

  /** After the state has changed. */
  update(): void {
    const { containers } = this.state;
    const fitting = [...containers.values()].filter(({ row }) => matches(row, this.search));
    if (this.focusedKey() === undefined) this.order = this.sorted(fitting);
    else {
      // Whoever goes from row to row by keyboard must find them where they were.
      const keys = new Set(fitting.map(({ row }) => row.key));
      const kept = this.order.filter((key) => keys.delete(key));
      this.order = [...kept, ...this.sorted(fitting.filter(({ row }) => keys.has(row.key)))];
    }
    setText(byId("count"), formatCount(containers.size));
    this.render();
  }

  private sorted(containers: readonly Container[]): string[] {
    const { column, down } = this.sort;
    const value = COLUMNS[column]?.value ?? (() => 0);
    const sign = down ? -1 : 1;
    return containers
      .map((container) => ({ key: container.row.key, name: container.row.name, value: value(container) }))
      .sort((a, b) => sign * compare(a.value, b.value) || compare(a.name, b.name))
      .map(({ key }) => key);
  }

  private sortBy(column: number): void {
    const isSame = this.sort.column === column;
    this.sort = {
      column,
      down: isSame ? !this.sort.down : COLUMNS[column]?.isNumber === true || column === 9,
    };
    this.showSort();
    this.update();
  }

  private showSort(): void {
    this.heads.forEach((head, i) => {
      if (i !== this.sort.column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
    });
  }

  private get rowHeight(): number {
    const [row] = this.rows.values();
    return row && row.root.offsetHeight > 0 ? row.root.offsetHeight : ROW_HEIGHT;
  }

  private render(): void {
    const height = this.rowHeight;
    const seen = Math.ceil(this.root.clientHeight / height);
    const first = Math.max(0, Math.min(this.order.length, Math.floor(this.root.scrollTop / height)) - MARGIN);
    const wanted = this.order.slice(first, first + seen + 2 * MARGIN);
    setAttribute(this.table, "aria-rowcount", `${this.order.length + 1}`);
    setHeight(this.above, first * height);
    setHeight(this.below, (this.order.length - first - wanted.length) * height);
    const keys = new Set(wanted);
    for (const [key, view] of this.rows) {
      if (keys.has(key)) continue;
      if (view.root.contains(document.activeElement)) this.root.focus({ preventScroll: true });
      view.root.remove();
      this.rows.delete(key);
    }
    let next = this.above.nextSibling;
    wanted.forEach((key, i) => {
      const container = this.state.containers.get(key);
      if (!container) return;
      const view = this.rows.get(key) ?? new RowView(key);
      this.rows.set(key, view);
      view.update(container, first + i);
      if (view.root === next) next = next.nextSibling;
      else this.body.insertBefore(view.root, next);
    });
  }

  private focusedKey(): string | undefined {
    for (const [key, { root }] of this.rows) if (root.contains(document.activeElement)) return key;
    return undefined;
  }

  private onKey(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target instanceof HTMLButtonElement) return;
    const focused = this.focusedKey();
    const at = focused === undefined ? -1 : this.order.indexOf(focused);
    const page = Math.max(1, Math.floor(this.root.clientHeight / this.rowHeight) - 2);
    const last = this.order.length - 1;
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(last, to)));
  }

  /** Brings a row into view, and the keyboard to it. */
  private focus(index: number): void {
    const height = this.rowHeight;
    // Below the head, which stays in its place.
    const top = index * height;
    const room = this.root.clientHeight - 2 * height;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    else if (top > this.root.scrollTop + room) this.root.scrollTop = top - room;
    this.render();
    this.rows.get(this.order[index] ?? "")?.link.focus({ preventScroll: true });
  }
}

/** web-2 before web-10. */
const NAMES = new Intl.Collator("en", { numeric: true });

function compare(a: string | number, b: string | number): number {
  return typeof a === "string" || typeof b === "string" ? NAMES.compare(`${a}`, `${b}`) : a - b;
}

function setHeight(row: HTMLTableRowElement, pixels: number): void {
  const height = `${Math.max(0, pixels)}px`;
  if (row.style.height !== height) row.style.height = height;
  row.hidden = pixels <= 0;
}
