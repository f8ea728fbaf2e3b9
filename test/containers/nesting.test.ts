/** Nested containers: own ports and the parent's policy, each denial and each packet counted once at its level. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { totalDenied, type Usage } from "../../isolator/features/accounting.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { attempt } from "../support/process.js";

enterOwnNetwork();
const { cell } = testInstance();
let pod: Cell, web: Cell, db: Cell, sidecar: Cell, deep: Cell, stranger: Cell;

before(async () => {
  pod = await cell(["pod"], policy("31000-31019", { ephemeral: "clients" }));
  web = await cell(["pod", "web"], policy("31000-31009"), pod);
  db = await cell(["pod", "db"], policy("31010-31014", { enforce: "audit" }), pod);
  sidecar = await cell(["pod", "sidecar"], policy(undefined), pod);
  deep = await cell(["pod", "web", "deep"], policy("31005"), web);
  stranger = await cell(["stranger"], policy("40000-40009"));
});

const denied = (box: Cell): number => Number(totalDenied(box.container.counts.usage().denied));
const audited = (box: Cell): number => Number(totalDenied(box.container.counts.usage().audited));

/** Makes an attempt and says by how much the denials of each level grew. */
async function denials(
  words: string,
  at: Cell,
  ...levels: Cell[]
): Promise<{ status: number; grown: number[] }> {
  const before = levels.map(denied);
  const { status } = await attempt(words, at.container.node);
  return { status, grown: levels.map((level, i) => denied(level) - (before[i] ?? 0)) };
}

describe("ports", () => {
  it("lets each level use its own ports and its children's", async () => {
    for (const [box, port] of [
      [web, 31000],
      [deep, 31005],
      [web, 31005],
      [pod, 31005],
      [pod, 31019],
    ] as const) {
      assert.equal(
        (await attempt(`bind port=${port}`, box.container.node)).status,
        0,
        `${box.container.name} ${port}`,
      );
    }
  });

  it("keeps a child off its parent's and its siblings' ports: denied once, by the child", async () => {
    assert.deepEqual(await denials("bind port=31019", web, web, pod), { status: 1, grown: [1, 0] });
    assert.deepEqual(await denials("bind port=31010 proto=udp", web, web, pod), { status: 1, grown: [1, 0] });
    assert.deepEqual(await denials("bind port=31000", deep, deep, web, pod), { status: 1, grown: [1, 0, 0] });
  });

  it("gives a child with no ports of its own those of its parent, and its parent's verdict", async () => {
    assert.equal((await attempt("bind port=31019", sidecar.container.node)).status, 0);
    assert.deepEqual(await denials("bind port=8080", sidecar, sidecar, pod), { status: 1, grown: [0, 1] });
    assert.deepEqual(await denials("bind port=40000", sidecar, sidecar, pod), { status: 1, grown: [0, 1] });
  });

  it("leaves a deny to the innermost level that makes it, though all levels would", async () => {
    for (const words of [
      "bind port=8080",
      "bind port=8080 proto=udp family=6",
      "local-port-range how=bind port=40001",
    ]) {
      assert.deepEqual(await denials(words, deep, deep, web, pod), { status: 1, grown: [1, 0, 0] }, words);
    }
    const send = "local-port-range how=sendto proto=udp port=40001";
    assert.deepEqual(await denials(send, deep, deep, web, pod), { status: 1, grown: [1, 0, 0] });
  });

  it("reports a source port that nobody can prevent once", async () => {
    const count = (box: Cell): bigint => box.container.counts.usage().denied.source_port;
    const levels = [deep, web, pod];
    for (const proto of ["tcp", "udp"]) {
      const before = levels.map(count);
      const words = `local-port-range how=connect port=40002 listen-port=31005 proto=${proto}`;
      assert.equal((await attempt(words, deep.container.node)).status, 0);
      assert.deepEqual(
        levels.map((level, i) => count(level) - (before[i] ?? 0n)),
        [1n, 0n, 0n],
        proto,
      );
    }
  });

  it("enforces the parent's policy where the child only audits", async () => {
    const before = audited(db);
    assert.deepEqual(await denials("bind port=8080", db, db, pod), { status: 1, grown: [0, 1] });
    assert.equal(audited(db) - before, 1);
  });

  it("enforces the parent's policy where the child's is off, and the child counts without a word", async () => {
    const off = await cell(["pod", "off"], policy("31015", { enforce: "off" }), pod);
    const events = pod.poll().length;
    assert.deepEqual(await denials("bind port=8080", off, off, pod), { status: 1, grown: [0, 1] });
    assert.equal(audited(off), 1);
    assert.deepEqual([off.poll().length, pod.poll().length - events], [0, 1]);
    // What only can be reported is the parent's to report then.
    const words = "local-port-range how=connect port=40003 listen-port=31015 proto=udp";
    const source = pod.container.counts.usage().denied.source_port;
    assert.equal((await attempt(words, off.container.node)).status, 0);
    assert.equal(pod.container.counts.usage().denied.source_port - source, 1n);
    await off.container.cleanup();
  });

  it("lets a child whose parent has a network of its own use any port, unless the child's policy says no", async () => {
    const apart = await cell(["apart"], policy("", { ownNetwork: true }));
    const same = await cell(["apart", "same"], policy("", { ownNetwork: true }), apart);
    const host = await cell(["apart", "host"], policy(""), apart);
    assert.equal((await attempt("bind port=31019", same.container.node)).status, 0);
    assert.deepEqual(await denials("bind port=8080", host, host, apart), { status: 1, grown: [1, 0] });
  });

  it("judges a port by the range of each level", async () => {
    const judged = { begin: 32000, end: 32099 };
    const ranged = await cell(["ranged"], policy("32000-32009", { judged }));
    const child = await cell(["ranged", "child"], policy("32000", { judged }), ranged);
    const strict = await cell(["ranged", "strict"], policy("32001"), ranged);
    for (const [box, port, status, grown] of [
      [child, 8080, 0, [0, 0]],
      [child, 32000, 0, [0, 0]],
      [child, 32001, 1, [1, 0]],
      [child, 32099, 1, [1, 0]],
      [child, 31000, 1, [1, 0]],
      [strict, 8080, 1, [1, 0]],
    ] as const) {
      const found = await denials(`bind port=${port}`, box, box, ranged);
      assert.deepEqual(found, { status, grown: [...grown] }, `${box.container.name} ${port}`);
    }
  });

  it("names the innermost owner of a port", async () => {
    await attempt("bind port=31005", stranger.container.node);
    const event = stranger.poll().at(-1);
    assert.equal(event?.owner, deep.container.chain.at(-1));
    assert.equal(event?.port, 31005);
  });

  it("reports a listener that the parent forbids once, at the parent", async () => {
    const [child, parent] = [web.poll().length, pod.poll().length];
    const before = pod.container.counts.usage().rxDropped;
    const { status, grown } = await denials("listen-unbound", web, web, pod);
    assert.deepEqual({ status, grown }, { status: 1, grown: [0, 1] });
    assert.deepEqual([web.poll().length - child, pod.poll().length - parent], [0, 1]);
    // With BPF LSM listen() itself is refused, so that no SYN ever comes.
    if (pod.poll().at(-1)?.unreachable === 0) return;
    assert(pod.container.counts.usage().rxDropped > before, "its SYNs are dropped, and counted as dropped");
    assert(web.container.counts.usage().rxDropped > 0n, "by both levels");
  });

  it("refuses a port that is another container's, or not the parent's", async () => {
    await assert.rejects(cell(["pod", "greedy"], policy("31000"), pod), /31000 of container pod\.web/);
    await assert.rejects(cell(["pod", "outside"], policy("31500"), pod), /31500.*not.*of its parent pod/s);
    await assert.rejects(cell(["thief"], policy("31019,31500"), undefined), /31019 of container pod\./);
  });

  it("gives a child's ports back to its parent at the child's end", async () => {
    const brief = await cell(["pod", "brief"], policy("31018"), pod);
    await brief.container.cleanup();
    assert.equal((await attempt("bind port=31018", pod.container.node)).status, 0);
    assert.equal((await attempt("bind port=31018", web.container.node)).status, 1);
  });
});

describe("counting", () => {
  it("counts a packet once at each level, so that the root has the total", async () => {
    const fields = ["rxPackets", "rxBytes", "txPackets", "txBytes"] as const;
    const grown = (after: Usage, before: Usage): bigint[] =>
      fields.map((field) => after[field] - before[field]);
    const [deepBefore, webBefore, podBefore] = [deep, web, pod].map((box) => box.container.counts.usage());
    assert(deepBefore && webBefore && podBefore);
    assert.equal((await attempt("udp-connected-send listen-port=31005", deep.container.node)).status, 0);
    const child = grown(deep.container.counts.usage(), deepBefore);
    assert(child.every((n) => n > 0n));
    assert.deepEqual(grown(web.container.counts.usage(), webBefore), child);
    assert.deepEqual(grown(pod.container.counts.usage(), podBefore), child);
  });
});
