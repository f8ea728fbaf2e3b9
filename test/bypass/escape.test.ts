/**
 * The ways out of a container's node and into the programs and maps, for root with every right: each is gone with `escape`
 * allowed and denied. All need BPF LSM; what a kernel without it does is in test/containers/escaped.test.ts.
 */
import assert from "node:assert/strict";
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { REASONS, type Reason } from "../../isolator/features/accounting.js";
import { describe as inWords, toDenial } from "../../isolator/features/events.js";
import { HOOKS } from "../../isolator/kernel/hooks.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { buildId } from "../../isolator/kernel/object.js";
import { MAP_NAMES } from "../../isolator/kernel/contents.js";
import { pinRoot } from "../../isolator/kernel/pins.js";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { testAttempts } from "../support/attempts.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { attachLsm, hookNamed, withoutLsm } from "../support/lsm.js";
import { enterOwnNetwork } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { instance, cell } = testInstance();
const attempt = testAttempts();
const skip = withoutLsm("file_open");

/** Somewhere outside of every container. */
const outside = join(requireCgroup2(), `escape-test-${process.pid}`);
const pins = join(pinRoot(instance.name), buildId());

interface Way {
  words: string;
  step: string;
  reason: Reason;
}

const way = (reason: Reason, step: string, ...words: string[]): Way[] =>
  words.map((text) => ({ words: text, step, reason }));

const WAYS: Way[] = [
  ...way(
    "cgroup",
    "open",
    ...["write", "rdwr", "shell", "reopen", "handle", "child", "io-uring", "bind-mount"].map(
      (how) => `leave how=${how} to=${outside}`,
    ),
    `leave to=${requireCgroup2()}`,
  ),
  ...way("clone", "clone3", `clone-into to=${outside}`),
  ...way(
    "mount",
    "mount",
    ...["cgroup2", "bpf"].flatMap((type) =>
      ["mount", "fsopen"].map((how) => `mount-fs type=${type} how=${how}`),
    ),
    "mount-fs type=cgroup2 how=userns",
  ),
  ...way(
    "bpf",
    "get",
    "bpf-get how=map type=policies",
    "bpf-get how=map type=isolator_events",
    ...["bind4", "ingress", "file_open"].map((name) => `bpf-get how=program type=${name}`),
    `bpf-get how=pin to=${pins}/map_policies`,
    `bpf-get how=pin to=${pins}/program_bind4`,
    "bpf-detach port=20000",
  ),
  ...way("bpf", "load", "bpf-undo port=20001"),
];

let strict: Cell | undefined;
let audited: Cell | undefined;

before(async () => {
  mkdirSync(outside);
  if (skip !== false) return;
  strict = await cell(["strict"], policy("31000-31009", { escape: "deny" }));
  audited = await cell(["audited"], policy("31010", { escape: "deny", enforce: "audit" }));
});
after(async () => {
  await until(() => {
    rmdirSync(outside);
    return true;
  }, "nothing is left outside");
});

describe("a way out", { skip }, () => {
  for (const [i, { words, step, reason }] of WAYS.entries()) {
    it(`is closed: ${words}`, async (test) => {
      assert(strict && audited);
      // One of its own: what gets through may leave it without its programs.
      const lax = await cell([`lax-${i}`], policy("31020", { escape: "allow" }));
      const off = await attempt(words, lax.container.node);
      await lax.container.cleanup();
      if (off.status === 77) {
        test.skip(`this kernel cannot do it: ${off.errno ?? off.detail}`);
        return;
      }
      assert.equal(off.status, 0, `where escape is allowed it must get through: ${JSON.stringify(off)}`);

      strict.poll().splice(0);
      const before = strict.container.counts.usage().denied[reason];
      const on = await attempt(words, strict.container.node);
      assert.deepEqual([on.status, on.step, on.errno], [1, step, "EPERM"], JSON.stringify(on));
      const count = strict.container.counts.usage().denied[reason] - before;
      assert(count >= 1n, "it is counted");
      const events = strict.poll();
      assert.equal(BigInt(events.length), count, "each is told");
      for (const event of events) assert.deepEqual([REASONS[event.reason], event.audited], [reason, 0]);

      // Enforcement of ports in audit mode lets bind() through in any case.
      const told = audited.container.counts.usage().audited[reason];
      const through = await attempt(words, audited.container.node);
      assert.equal(through.status, 0, JSON.stringify(through));
      assert(audited.container.counts.usage().audited[reason] > told, "audit mode tells it");
      if (words.startsWith("bpf-detach") || words.startsWith("bpf-undo")) {
        await audited.container.cleanup();
        audited = await cell([`audited-${i}`], policy("31010", { escape: "deny", enforce: "audit" }));
      }
    });
  }

  it("is closed to every map and every program", async () => {
    assert(strict);
    const words = [
      ...MAP_NAMES.map((name) => `bpf-get how=map type=${name}`),
      ...HOOKS.map(({ name }) => `bpf-get how=program type=${name}`),
    ];
    for (const each of words) {
      const { step, errno } = await attempt(each, strict.container.node);
      assert.deepEqual([step, errno], ["get", "EPERM"], each);
    }
  });

  it("is told with the container whose node was the goal", async () => {
    assert(strict && audited);
    strict.poll().splice(0);
    const { path } = audited.container.node;
    assert.equal((await attempt(`leave to=${path}`, strict.container.node)).step, "open");
    const [event] = strict.poll();
    assert(event);
    const denial = toDenial(event, (cgroupId) => instance.nameOf(cgroupId));
    assert.deepEqual(
      [denial.owner, denial.port, denial.family],
      [audited.container.name, undefined, undefined],
    );
    assert.match(
      inWords(denial),
      /denied open of cgroup\.procs .* by attempt\[\d+\]: the node is that of container/,
    );
  });

  it("is closed also for a nested container, to its parent's node", async () => {
    assert(strict);
    const child = await cell(["strict", "child"], policy(undefined, { escape: "deny" }), strict);
    const { path } = strict.container.node;
    const up = await attempt(`leave to=${path}`, child.container.node);
    assert.deepEqual([up.status, up.step, up.errno], [1, "open", "EPERM"]);
    assert.deepEqual(
      [child.container.counts.usage().denied.cgroup, strict.container.counts.usage().denied.cgroup > 0n],
      [1n, true],
    );
    const down = await attempt(`leave to=${child.container.node.path}`, strict.container.node);
    assert.equal(down.status, 0, JSON.stringify(down));
  });
});

describe("what stays open where escape is denied", { skip }, () => {
  const permitted = [
    "child-cgroup port=31000",
    "mount-fs type=tmpfs",
    "mount-fs type=tmpfs how=fsopen",
    ...["map", "filter", "device", "skb"].map((how) => `bpf-own how=${how}`),
    "fork-bind port=31001",
    "thread-bind port=31002",
    "netns port=31003",
    "userns-netns port=31004",
  ];
  for (const words of permitted) {
    it(`permits ${words}`, async () => {
      assert(strict);
      const { status, ...rest } = await attemptInside(words, strict);
      assert.equal(status, 0, JSON.stringify(rest));
    });
  }

  it("is everything for a process outside of containers", async () => {
    for (const words of [`leave to=${outside}`, `clone-into to=${outside}`, "mount-fs type=bpf"]) {
      assert.equal((await attempt(words)).status, 0, words);
    }
  });
});

/** The other end of what listens cannot leave the node here: it stays inside, where connect() is free. */
function attemptInside(words: string, policed: Cell) {
  return attempt(words, policed.container.node, { peerOutside: false });
}

describe("an earlier refusal", { skip }, () => {
  it("by another's program stays, and is not counted as the isolator's", async () => {
    assert(strict);
    const below = CgroupNode.create(join(strict.container.node.path, "below"));
    const before = strict.container.counts.usage().denied.listen;
    const hook = hookNamed("socket_listen");
    const listen = () => attempt("bind port=31005", below, { peerOutside: false });
    try {
      assert.equal((await listen()).status, 0);
      assert.equal(attachLsm(hook, 0, below), 0);
      const { status, step, errno } = await listen();
      assert.deepEqual([status, step, errno], [1, "listen", "EPERM"]);
      assert.equal(strict.container.counts.usage().denied.listen, before);
    } finally {
      await below.remove();
    }
  });
});
