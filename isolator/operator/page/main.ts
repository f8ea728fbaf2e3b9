/** The status page: which of its two pages is shown, keys, and what is drawn when. */
import { ContainerPage } from "./container.js";
import { byId, setText } from "./dom.js";
import { EventList, showDaemon, showFeatures, showServices } from "./panels.js";
import { State } from "./state.js";
import { connect } from "./stream.js";
import { ContainerTable } from "./table.js";
import { addThemes } from "./theme.js";

const state = new State();
const table = new ContainerTable(byId("table"), state);
const events = new EventList(state);
const page = new ContainerPage();
const search = byId("search") as HTMLInputElement;
const title = document.title;

let isDue = false;
/** What the panels show: drawn again only when it is another, for whoever reads or copies it. */
const shown: Partial<Pick<State, "daemon" | "services" | "features">> = {};

/** Draws what has changed, once a frame, and not where nobody sees it. */
function draw(): void {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    table.update();
    const { daemon, services, features } = state;
    if (daemon && daemon !== shown.daemon) showDaemon(daemon);
    if (services !== shown.services) showServices(services);
    if (features !== shown.features) showFeatures(features);
    Object.assign(shown, { daemon, services, features });
  });
}

/** Shows what the address says. */
function route(): void {
  const key = new URLSearchParams(location.search).get("container") ?? "";
  byId("overview").hidden = key !== "";
  document.title = key === "" ? title : `${state.containers.get(key)?.row.name ?? "container"} – ${title}`;
  page.open(key);
  events.setContainer(key);
  if (key === "") draw();
}

function go(href: string): void {
  history.pushState(null, "", href);
  route();
}

document.addEventListener("click", (event) => {
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  const href = link?.getAttribute("href") ?? "";
  if (href !== "/" && !href.startsWith("/?container=")) return;
  event.preventDefault();
  go(href);
});

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    if (byId("overview").hidden) go("/");
    search.focus();
  } else if (event.key === "Escape" && byId("overview").hidden) {
    go("/");
    byId("main").focus();
  }
});

search.addEventListener("input", () => {
  table.setSearch(search.value.trim());
});
addEventListener("popstate", route);
addThemes(byId("theme") as HTMLSelectElement, () => {
  page.repaint();
});

connect({
  snapshot: (snapshot) => {
    state.begin(snapshot);
    events.showAll();
    draw();
    void page.refresh();
  },
  tick: (tick) => {
    state.apply(tick);
    draw();
    void page.refresh();
  },
  log: (fresh) => {
    events.add(state.addEvents(fresh));
  },
  features: (features) => {
    state.features = features;
    draw();
  },
  connection: (up) => {
    const text = up ? "live" : "The daemon does not answer: what is shown is old. Trying again.";
    const line = byId("connection");
    setText(line, text);
    line.className = up ? "good" : "bad";
  },
});
route();
