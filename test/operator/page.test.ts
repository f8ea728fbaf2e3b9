/**
 * The status page of a real daemon in a real browser: what it shows, that it goes on by itself, what it does with names
 * that somebody chose with care, with a thousand containers, by keyboard alone.
 */
// not in the VM: HTTP and a browser are the same there
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, it, type TestContext } from "node:test";
import { servicesOf, type ToldService } from "../../isolator/cli/service-views.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { readAssets } from "../../isolator/operator/assets.js";
import { EventStreams, message } from "../../isolator/operator/event-stream.js";
import { OperatorServer } from "../../isolator/operator/server.js";
import type { Snapshot } from "../../isolator/operator/wire.js";
import { Agent, CPUS, ports } from "../support/agent.js";
import { TestBrowser, whyNoBrowser, type Watched } from "../support/browser.js";
import { Connector, Listener } from "../support/connections.js";
import { TestDaemon } from "../support/daemon.js";
import { describeUnless } from "../support/describe.js";
import { enterOwnNetwork } from "../support/network.js";
import { attempt } from "../support/process.js";
import { until } from "../support/wait.js";

const MANY = 1_000;
/** Ids of containers have no "/", space or control character; everything else has. */
const HOSTILE_ID = `"><b>&#98;'%2e?a=1#x\u202egnp`;
const HOSTILE_TASK = `</script><img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>`;

const CONFIG = `connections_total: 4
bandwidth: { default: { egress: 80Mbit } }
classes: [{ name: shop, match: { framework_id: f-shop } }]
`;

const executor = (id: string, framework: string, port: string) => ({
  resources: [CPUS, ports(port)],
  executor_info: {
    ...{ executor_id: { value: id }, framework_id: { value: framework } },
    ...{ name: id, source: id, command: {} },
  },
});

describeUnless(whyNoBrowser(), "the status page", async () => {
  enterOwnNetwork();
  const daemon = await TestDaemon.start({ config: CONFIG });
  const agent = new Agent(daemon);
  const browser = new TestBrowser();
  const url = (): string =>
    `http://${String(daemon.log.findLast(({ operator }) => operator !== undefined)?.["operator"])}/`;
  let watched: Watched;
  const text = async (selector: string): Promise<string> =>
    (await watched.page.locator(selector).first().textContent()) ?? "";
  const row = (name: string): string => `#table tbody tr:has(a:text-is(${JSON.stringify(name)}))`;
  const shows = (selector: string, what: RegExp): Promise<unknown> =>
    until(async () => what.test(await text(selector)), `${selector} shows ${what.source}`);
  const focused = (): Promise<string> =>
    watched.page.evaluate("document.activeElement.textContent || document.activeElement.id");
  const active = async (id: string) => (await watched.page.locator(`${id}:focus`).count()) === 1;

  before(async () => {
    await agent.prepare("web", executor("web-task", "f-shop", "31000-31005"));
    await agent.prepare(HOSTILE_ID, executor(HOSTILE_TASK, "f", "31010"));
    watched = await browser.open(url());
  });

  afterEach(() => {
    assert.deepEqual(watched.complaints, []);
    assert.deepEqual(watched.outside, []);
  });

  it("shows containers with task, class and ports, and the daemon's health and kernel", async () => {
    await shows("#count", /^2$/);
    const cells = await watched.page.locator(`${row("web")} td`).allTextContents();
    assert.deepEqual(cells.slice(0, 5), ["web-task", "shop", "31000-31005", "prepared", "on"]);
    await shows("#health", /^healthy$/);
    await shows("#connection", /^live$/);
    await shows("#daemon-details", /agent.*configuration.*programs/);
    await shows("#feature-list", /ports: (works|limited)/);
    assert.equal(await watched.page.locator("#services").isHidden(), true, "there are none");
  });

  it("shows traffic, connections, limits in use and denials as they come", async () => {
    const listener = await Listener.start();
    const task = Connector.start(await agent.node("web"));
    await task.tell(`hold 3 tcp 127.0.0.1 ${listener.port}`);
    await attempt("bind port=8080", await agent.node("web"));
    await shows(`${row("web")} td:nth-child(9)`, /3$/);
    await shows(`${row("web")} td:nth-child(10)`, /^ 3 of 4$/);
    const meter = watched.page.locator(`${row("web")} meter`);
    assert.deepEqual([await meter.getAttribute("value"), await meter.getAttribute("max")], ["3", "4"]);
    await shows("#event-list li", /denied.*web.*bind\(\) tcp .*:8080/);
    await shows(`${row("web")} td:nth-child(11)`, /^1$/);
    await until(
      async () =>
        (
          await watched.page
            .locator(`${row("web")} path`)
            .first()
            .getAttribute("d")
        )?.includes("L"),
      "a line of what it receives",
    );
  });

  it("shows a container's last 15 minutes, and all that is known of it", async () => {
    await watched.page.locator(`${row("web")} a`).click();
    await shows("#container-head", /^Container web$/);
    assert.equal(await active("#container-head"), true, "a screen reader goes on there");
    assert.equal(await watched.page.locator("#container canvas").count(), 3);
    await shows(
      "#container figcaption >> nth=1",
      /^Connections, last 15 minutes: connections 3 now, 3 at most$/,
    );
    await shows("#container dl", /most go to.*127\.0\.0\.1/s);
    await shows("#container .limits", /connections in all: 3 of 4.*sent: .* of 9\.5 MiB\/s/s);
    assert.match(watched.page.url(), /\?container=web$/);
    await watched.page.reload();
    await shows("#container-head", /^Container web$/);
    await watched.page.keyboard.press("Escape");
    await shows("#count", /^2$/);
    assert.equal(await watched.page.locator("#container").isHidden(), true);
    await watched.page.goBack();
    await shows("#container-head", /^Container web$/);
    await watched.page.goForward();
  });

  it("shows names as text, whatever is in them", async () => {
    const shown = String.raw`"><b>&#98;'%2e?a=1#x\xe2\x80\xaegnp`;
    const { page } = watched;
    const links = await page.locator("#table tbody a").allTextContents();
    assert(links.includes(shown), links.join());
    assert((await page.locator("#table tbody td").allTextContents()).includes(HOSTILE_TASK));
    await attempt("bind port=8081", await agent.node(HOSTILE_ID));
    await shows("#event-list", /8081/);
    assert.equal((await page.locator("#event-list a").allTextContents())[0], shown);
    await page.locator("#table tbody a").filter({ hasText: "gnp" }).click();
    await shows("#container-head", /gnp$/);
    await shows("#container dl", /onerror/);
    assert.equal(await page.locator("#main img, #main script, td b, dd b").count(), 0);
    assert.doesNotMatch(await page.title(), /hacked/);
    await page.keyboard.press("Escape");
  });

  it("is for the keyboard, and for a screen reader", async () => {
    const { page } = watched;
    await page.keyboard.press("/");
    await page.keyboard.type("31003 shop");
    await shows("#found", /^1 found$/);
    await page.keyboard.press("Control+A");
    await page.keyboard.press("Delete");
    await page.locator("#table").focus();
    await page.keyboard.press("End");
    assert.equal(await focused(), "web");
    await page.keyboard.press("ArrowUp");
    assert.match(await focused(), /gnp$/);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await shows("#container-head", /^Container web$/);
    await page.keyboard.press("Escape");
    const head = page.locator("#table th", { hasText: "Denied" });
    await head.locator("button").focus();
    await page.keyboard.press("Enter");
    assert.equal(await head.getAttribute("aria-sort"), "descending");
    await page.keyboard.press("Enter");
    assert.equal(await head.getAttribute("aria-sort"), "ascending");
    assert.equal(await page.locator("#table table").getAttribute("aria-rowcount"), "3");
    // Everything that can be used has a name.
    for (const role of ["button", "link", "combobox", "searchbox", "meter", "region", "log", "img"] as const)
      for (const each of await page.getByRole(role).all())
        assert.notEqual(await each.evaluate(nameOf), "", `${role}: ${await each.innerHTML()}`);
  });

  it("is light or dark as the system is, or as its user wants", async () => {
    const { page } = watched;
    const back = (): Promise<string> => page.evaluate("getComputedStyle(document.body).backgroundColor");
    await page.emulateMedia({ colorScheme: "light" });
    assert.equal(await back(), "rgb(255, 255, 255)");
    await page.emulateMedia({ colorScheme: "dark" });
    assert.equal(await back(), "rgb(13, 17, 23)");
    await page.locator("#theme").selectOption("light");
    assert.equal(await back(), "rgb(255, 255, 255)");
    await page.locator("#theme").selectOption("system");
  });

  it("goes on by itself when its daemon is killed and started again", async () => {
    await daemon.stop("SIGKILL");
    await shows("#connection", /does not answer/);
    await daemon.start();
    await shows("#connection", /^live$/);
    await shows(`${row("web")} td:nth-child(5)`, /^recovered$/);
    await agent.cleanup(HOSTILE_ID);
    await shows("#count", /^1$/);
  });

  it("shows a thousand containers, and writes only what changes", async (test: TestContext) => {
    const { page } = watched;
    await page.evaluate(
      `window.tasks = []; new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((e) => e.duration)))
       .observe({ type: "longtask" })`,
    );
    for (let i = 0; i < MANY; i += 50)
      await Promise.all(
        Array.from({ length: 50 }, (_, j) =>
          agent.prepare(`many-${i + j}`, executor(`task-${i + j}`, "f", `${32000 + i + j}`)),
        ),
      );
    await shows("#count", /^1,001$/);
    assert.equal(await page.locator("#table table").getAttribute("aria-rowcount"), "1002");
    assert((await page.locator("#table tbody tr").count()) < 100, "only those that are seen are in the page");
    await page.locator("#table").focus();
    await page.keyboard.press("End");
    assert.equal(await focused(), "web");
    await page.keyboard.press("/");
    await page.keyboard.type("32777");
    await shows("#found", /^1 found$/);
    await shows("#table tbody a", /^many-777$/);
    await page.locator("#search").fill("");
    // Nothing happens to them: so nothing happens in the table, while ticks come.
    await page.evaluate(
      `window.writes = 0; new MutationObserver((all) => (window.writes += all.length))
       .observe(document.querySelector("#table"), { subtree: true, childList: true, attributes: true, characterData: true });`,
    );
    await agent.cleanup("many-0");
    await shows("#count", /^1,000$/);
    await agent.cleanup("many-1");
    await shows("#count", /^999$/);
    const writes: number = await page.evaluate("window.writes");
    assert(writes < 400, `${writes} writes for two rows that are gone and those that came up`);
    const tasks: number[] = await page.evaluate("window.tasks");
    test.diagnostic(`the longest the page was busy: ${Math.round(Math.max(0, ...tasks))} ms`);
    for (let i = 2; i < MANY; i += 50)
      await Promise.all(
        Array.from({ length: Math.min(50, MANY - i) }, (_, j) => agent.cleanup(`many-${i + j}`)),
      );
  });
});

describeUnless(whyNoBrowser(), "the status page with a token", async () => {
  const directory = mkdtempSync(join(tmpdir(), "isolator-page-"));
  const file = join(directory, "token");
  writeFileSync(file, "0123456789abcdef\n");
  after(() => {
    rmSync(directory, { recursive: true });
  });
  const daemon = await TestDaemon.start({ config: `operator: { token_file: ${file} }` });
  const browser = new TestBrowser();

  it("takes it as the password that the browser asks for, for its stream too", async () => {
    const operator = String(daemon.log.findLast((line) => line["operator"] !== undefined)?.["operator"]);
    const httpCredentials = { username: "", password: "0123456789abcdef" };
    const { page, complaints } = await browser.open(`http://${operator}/`, { httpCredentials });
    await until(async () => (await page.locator("#connection").textContent()) === "live", "it is shown");
    assert.deepEqual(complaints, []);
  });
});

describeUnless(whyNoBrowser(), "the status page of a machine that is not well", async () => {
  const browser = new TestBrowser();
  const streams = new EventStreams();
  const at = (address: string, port: number, state = "", connections = 0, refused = 0n) => ({
    ...{ address, port, state, connections, refused },
  });
  /** As a daemon's services are told: some at a time. */
  async function* told(): AsyncGenerator<ToldService[]> {
    const backends = [at("10.0.0.1", 31000, "up", 3), at("fd00::2", 31001, "draining", 1, 2n)];
    yield await Promise.resolve([{ ...at("10.77.0.1", 80), host: "web<br>", protocol: "tcp", backends }]);
    yield [{ ...at("10.77.0.2", 80), name: "none" }];
  }
  const snapshot: Snapshot = {
    interval: 3_000,
    daemon: {
      version: "1",
      instance: "i",
      started: 0,
      problems: ["container <i>web</i>: detached"],
      details: [],
    },
    containers: [],
    services: await servicesOf({ services: told }),
    features: [{ feature: "ports", status: "fails", reasons: ["no <b>cgroup2</b>"] }],
  };
  const server = await OperatorServer.listen({
    config: () => ({ address: { ip: "127.0.0.1", port: 5999 }, hosts: [] }),
    cgroup2: requireCgroup2(),
    agentNodes: () => [],
    pages: readAssets(),
    streams: {
      "/events": (response) => {
        streams.open(response, [message("snapshot", snapshot)]);
        return Promise.resolve();
      },
    },
    onProblem: (problem) => assert.fail(problem),
  });
  after(() => {
    streams.close();
    server?.close();
  });

  it("shows what is wrong, services with their backends, and takes other versions' events calmly", async () => {
    const { page, complaints } = await browser.open("http://127.0.0.1:5999/");
    const texts = (selector: string): Promise<string[]> => page.locator(selector).allTextContents();
    await until(async () => (await texts("#health"))[0] === "1 not as it should be", "it is said");
    assert.deepEqual(await texts("#problem-list li"), ["container <i>web</i>: detached"]);
    assert.deepEqual(await texts("#services tbody tr"), [
      "web<br>tcp 10.77.0.1:8010.0.0.1:31000up30",
      "[fd00::2]:31001draining12",
      "nonetcp 10.77.0.2:80noneno backend00",
    ]);
    assert.deepEqual(await texts("#feature-list li"), ["ports: fails (no <b>cgroup2</b>)"]);
    streams.send(message("something-new", { a: 1 }));
    streams.send(message("tick", { time: 1, gone: ["unknown"], rows: [], numbers: {}, services: [] }));
    await until(() => page.locator("#services").isHidden(), "they are gone");
    assert.deepEqual(complaints, []);
  });
});

/** In the browser: what a screen reader would say, in short. */
function nameOf(node: unknown): string {
  const element = node as {
    textContent: string;
    title?: string;
    getAttribute: (name: string) => string | null;
    labels?: ArrayLike<{ textContent: string }>;
    ownerDocument: { getElementById: (id: string) => { textContent: string } | null };
  };
  const by = element.getAttribute("aria-labelledby");
  return (
    element.getAttribute("aria-label") ??
    (by === null ? undefined : element.ownerDocument.getElementById(by)?.textContent) ??
    element.labels?.[0]?.textContent ??
    element.textContent
  );
}
