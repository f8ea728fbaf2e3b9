/** What is beside the containers: health, events, services, what the kernel can do, the daemon. */
import type { DaemonView, Detail, FeatureView, ServiceView, ShownEvent } from "../wire.js";
import { byId, element, setText } from "./dom.js";
import { formatClock, formatCount } from "./format.js";
import { hrefOf } from "./table.js";
import type { State } from "./state.js";

/** Lines of events in the page. */
const SHOWN = 200;

const KINDS = {
  all: { text: "all events", has: () => true },
  denials: {
    text: "denials only",
    has: (kind: string) => ["denied", "audited", "reported", "not_shown"].includes(kind),
  },
} as const;

function classOf(kind: string): string | undefined {
  if (["denied", "escaped", "self_check", "limitation"].includes(kind)) return "bad";
  if (["audited", "reported", "warning", "cleanup_pending", "not_shown"].includes(kind)) return "warn";
  return undefined;
}

function lineOf({ time, container, name, kind, message }: ShownEvent): HTMLLIElement {
  const who = container === "" ? [] : [element("a", { href: hrefOf(container) }, name), " "];
  return element(
    "li",
    {},
    element("time", { datetime: new Date(time).toISOString() }, formatClock(time)),
    " ",
    element("b", { class: classOf(kind) }, kind),
    " ",
    ...who,
    message,
  );
}

/** Newest first. */
export class EventList {
  private readonly list = byId("event-list");
  private readonly kinds = byId("kinds") as HTMLSelectElement;
  private container = "";

  constructor(private readonly state: State) {
    for (const [value, { text }] of Object.entries(KINDS))
      this.kinds.append(element("option", { value }, text));
    this.kinds.addEventListener("change", () => {
      this.showAll();
    });
  }

  /** @param container only of this one and those nested in it; "": of all */
  setContainer(container: string): void {
    this.container = container;
    this.showAll();
  }

  showAll(): void {
    const wanted = this.state.events.filter((event) => this.isWanted(event)).slice(-SHOWN);
    this.list.replaceChildren(...wanted.reverse().map(lineOf));
  }

  add(events: readonly ShownEvent[]): void {
    const lines = events.filter((event) => this.isWanted(event)).map(lineOf);
    this.list.prepend(...lines.reverse());
    while (this.list.childElementCount > SHOWN) this.list.lastElementChild?.remove();
  }

  private isWanted({ kind, container }: ShownEvent): boolean {
    const kinds = KINDS[this.kinds.value === "denials" ? "denials" : "all"];
    if (!kinds.has(kind)) return false;
    return (
      this.container === "" || container === this.container || container.startsWith(`${this.container}.`)
    );
  }
}

/** Names and values in a dl: written only where they are others, for whoever reads or copies them. */
export function showDetails(list: HTMLElement, details: readonly Detail[]): void {
  const names = [...list.querySelectorAll("dt")];
  if (names.length !== details.length || details.some(([name], i) => names[i]?.textContent !== name)) {
    list.replaceChildren(...details.flatMap(([name]) => [element("dt", {}, name), element("dd")]));
  }
  list.querySelectorAll("dd").forEach((value, i) => {
    setText(value, details[i]?.[1] ?? "");
  });
}

export function showDaemon(daemon: DaemonView): void {
  const { instance, version, problems, details, started } = daemon;
  setText(byId("instance"), `${instance}, ${version}`);
  const health = byId("health");
  setText(health, problems.length === 0 ? "healthy" : `${formatCount(problems.length)} not as it should be`);
  health.className = `badge ${problems.length === 0 ? "good" : "bad"}`;
  byId("problems").hidden = problems.length === 0;
  const list = byId("problem-list");
  if (problems.join("\n") !== [...list.children].map(({ textContent }) => textContent).join("\n"))
    list.replaceChildren(...problems.map((problem) => element("li", {}, problem)));
  const since: Detail = ["started", new Date(started).toLocaleString()];
  showDetails(byId("daemon-details"), [since, ...details]);
}

const STATUS = { works: "good", limited: "warn", fails: "bad" } as const;

export function showFeatures(features: readonly FeatureView[] | null): void {
  if (!features) return;
  byId("feature-list").replaceChildren(
    ...features.map(({ feature, status, reasons }) =>
      element(
        "li",
        {},
        `${feature}: `,
        element("b", { class: STATUS[status] }, status),
        ...(reasons.length === 0 ? [] : [` (${reasons.join("; ")})`]),
      ),
    ),
  );
}

const SERVICE_HEADS = ["Service", "Address", "Backend", "State", "Connections", "Failures"];

export function showServices(services: readonly ServiceView[]): void {
  byId("services").hidden = services.length === 0;
  if (services.length === 0) return;
  const rows = services.flatMap(({ name, address, backends }) =>
    // One without any is what its operator must see.
    (backends.length > 0
      ? backends
      : [{ address: "none", state: "no backend", connections: 0, failures: 0 }]
    ).map((backend, i) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, i === 0 ? name : ""),
        element("td", {}, i === 0 ? address : ""),
        element("td", {}, backend.address),
        element("td", {}, backend.state),
        element("td", { class: "number" }, formatCount(backend.connections)),
        element("td", { class: "number" }, formatCount(backend.failures)),
      ),
    ),
  );
  const heads = SERVICE_HEADS.map((head) => element("th", { scope: "col" }, head));
  const table = element(
    "table",
    { class: "list", "aria-labelledby": "services-head" },
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows),
  );
  byId("service-table").replaceChildren(table);
}
