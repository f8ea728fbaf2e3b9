/** Port mappings: what a task binds and is told, and what others see of it. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { describe as inWords, toDenial } from "../../isolator/features/events.js";
import {
  readRemapEntries,
  RemapChanges,
  remapEntries,
  type RemapEntry,
} from "../../isolator/features/remap-sets.js";
import { checkMappings, parseMappings, requireWithin } from "../../isolator/features/remap.js";
import { parsePorts } from "../../isolator/features/ports.js";
import { Programs } from "../../isolator/kernel/programs.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, Host, sh } from "../support/network.js";
import { attempt, ATTEMPT, DIST, inNode } from "../support/process.js";
import type { Asked, Told } from "../support/remap-task.js";

const TASK = [process.execPath, join(DIST, "test/support/remap-task.js")];
const HERE = "10.97.0.1";
const THERE = "10.97.0.2";
const HERE6 = "fd97::1";
const NOBODY = 65534;

enterOwnNetwork();
const { instance, cell } = testInstance();
let far: Host;
let farServer: ChildProcess;
/** 82 is mapped into net.ipv4.ip_local_port_range. */
let box: Cell;
/** Has no mappings. */
let plain: Cell;

before(async () => {
  far = await Host.create();
  sh("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", `${far.pid}`);
  for (const [run, device, addresses] of [
    [sh, "v0", [`${HERE}/24`, `${HERE6}/64`]],
    [far.run.bind(far), "v1", [`${THERE}/24`, "fd97::2/64"]],
  ] as const) {
    for (const address of addresses) {
      const nodad = address.includes(":") ? ["nodad"] : [];
      run("ip", "address", "add", address, "dev", device, ...nodad);
    }
    run("ip", "link", "set", device, "up");
  }
  const [file, ...args] = far.command(ATTEMPT, "hold", "port=80", "addr=any");
  farServer = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  assert(farServer.stdout);
  await once(farServer.stdout, "data");
  box = await cell(
    ["box"],
    policy("31000-31019,40000,81", {
      remap: checkMappings(parseMappings("80:31000,443:31001/tcp,53:31002/udp,82:40000,8080:81")),
    }),
  );
  plain = await cell(["plain"], policy("31020-31029"));
});
after(() => {
  farServer.kill("SIGKILL");
  far.close();
});

/** Tasks that answer, by container and user: they take their time to start. */
const tasks = new Map<
  string,
  { child: ChildProcessByStdio<Writable, Readable, null>; lines: AsyncIterator<string> }
>();
after(() => {
  for (const { child } of tasks.values()) child.kill("SIGKILL");
});

/** Has the task of a container do something; undefined: one of no container. @param uid of the task; root if not given */
async function task(asked: Asked, where: Cell | undefined, uid?: number): Promise<Told> {
  const key = `${where?.container.name ?? ""} ${uid ?? ""}`;
  let known = tasks.get(key);
  if (!known) {
    const command = [...TASK, ...(uid === undefined ? [] : [`${uid}`])];
    const [file = "", ...args] = where ? inNode(where.container.node, command) : command;
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
    known = { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
    tasks.set(key, known);
  }
  known.child.stdin.write(`${JSON.stringify(asked)}\n`);
  const line = await known.lines.next();
  assert(!line.done, "the task is gone");
  return JSON.parse(line.value) as Told;
}

/** A server that stays, until `end` is called. */
async function holding(
  listen: Asked["listen"],
  where: Cell,
): Promise<{ told: Told; end: () => Promise<unknown> }> {
  const told = await task({ ...(listen ? { listen } : {}), hold: true }, where);
  return { told, end: () => task({}, where) };
}

/** Ports in LISTEN as the kernel has them, for ss and all others. */
function listening(): number[] {
  return ["tcp", "tcp6"].flatMap((name) =>
    [
      ...readFileSync(`/proc/thread-self/net/${name}`, "utf8").matchAll(/^ *\d+: \w+:(\w{4}) \w+:\w+ 0A/gm),
    ].map(([, port = ""]) => parseInt(port, 16)),
  );
}

/** An attempt that gets through, at `real` as seen from outside, and is told `told`. */
function gives(words: string, real: number, told: number, where: () => Cell = () => box): void {
  it(`${words}: ${real}, and says ${told}`, async (test) => {
    const outcome = await attempt(`${words} real-port=${real}`, where().container.node);
    if (outcome.status === 77) {
      test.skip(`this kernel cannot do it: ${outcome.errno ?? outcome.detail}`);
      return;
    }
    assert.deepEqual([outcome.status, outcome.port], [0, told], JSON.stringify(outcome));
  });
}

const FAMILIES = ["4", "6", "mapped"];
const PROTOCOLS = ["tcp", "udp", "mptcp", "udplite"];

describe("bind() to a container port", () => {
  it("is EPERM without a mapping", async () => {
    for (const words of ["bind port=80", "bind port=443 proto=udp", "bind port=53 proto=tcp"]) {
      const { status, step, errno } = await attempt(
        words,
        words.includes("=80") ? plain.container.node : box.container.node,
      );
      assert.deepEqual([status, step, errno], [1, "bind", "EPERM"], words);
    }
  });

  for (const family of FAMILIES) {
    for (const proto of PROTOCOLS) gives(`bind port=80 family=${family} proto=${proto}`, 31000, 80);
    gives(`bind port=80 family=${family} addr=any`, 31000, 80);
  }
  gives("bind port=80 family=6 addr=any proto=udp", 31000, 80);
  // The fifth of its mappings, which is not in the policy itself.
  gives("bind port=8080", 81, 8080);
  gives("bind port=80 addr=127.0.0.5", 31000, 80);
  gives("bind port=443", 31001, 443);
  gives("bind port=53 proto=udp", 31002, 53);
  for (const name of ["reuseport", "fork-bind", "thread-bind", "exec-bind", "freebind"])
    gives(`${name} port=80`, 31000, 80);
  for (const proto of ["udp", "mptcp"]) gives(`reuseport port=80 proto=${proto}`, 31000, 80);
  for (const name of ["fastopen-listen", "child-cgroup", "netns", "transparent"])
    gives(`${name} port=80`, 31000, 80);
  for (const how of ["", " async=1", " sqpoll=1"])
    for (const proto of ["tcp", "udp"]) gives(`io-uring-bind port=80 proto=${proto}${how}`, 31000, 80);
  for (const how of ["direct", "socketcall"]) gives(`compat32-bind port=80 how=${how}`, 31000, 80);

  // By the container port, and some by the host port: each of four gets some of 64 clients.
  for (const proto of ["tcp", "udp", "mptcp"])
    for (const how of ["alike", "mixed"])
      gives(`reuseport-group port=80 how=${how} proto=${proto}`, 31000, 80);
  gives("reuseport-group port=80 family=6", 31000, 80);
});

describe("a race on the address in memory", () => {
  for (const proto of ["tcp", "udp"]) {
    it(`with another container's port never binds that, ${proto}`, async () => {
      const { status, detail } = await attempt(
        `race-bind port=31020 allowed=80 proto=${proto}`,
        box.container.node,
      );
      assert.equal(status, 1, detail);
      assert.match(detail, /held=0 /);
      // It was run: now the one port was there and now the other.
      assert.match(detail, /other-port=[1-9].* eperm=[1-9]/);
    });

    it(`with the host port says the one that was bound by, ${proto}`, async () => {
      // Either is right; that nothing else comes of it is what is tried.
      const { status, port } = await attempt(
        `race-bind port=80 allowed=31000 proto=${proto}`,
        box.container.node,
      );
      assert.deepEqual([status, port], [0, 80]);
    });
  }
});

describe("a host port", () => {
  for (const family of FAMILIES) gives(`bind port=31000 family=${family}`, 31000, 31000);
  for (const proto of ["udp", "mptcp", "udplite"]) gives(`bind port=31000 proto=${proto}`, 31000, 31000);
  gives("bind port=31000 family=6 proto=mptcp", 31000, 31000);
  gives("bind port=81", 81, 81);
  gives("io-uring-bind port=31000", 31000, 31000);
  // The kernel chooses it: nobody has asked for 82.
  for (const proto of ["tcp", "mptcp", "udp"])
    gives(`local-port-range how=bind port=40000 proto=${proto}`, 40000, 40000);
  for (const proto of ["tcp", "mptcp"])
    gives(`local-port-range how=listen port=40000 proto=${proto}`, 40000, 40000);
  gives("local-port-range how=sendto port=40000 proto=udp", 40000, 40000);
  for (const proto of ["tcp", "udp"])
    gives(`local-port-range how=connect port=40000 listen-port=31003 proto=${proto}`, 40000, 40000);
  gives("bind port=82", 40000, 82);
});

describe("a port below 1024", () => {
  const listen = { port: 8080, host: "127.0.0.1" };

  it("is given for another one to who has the right to it", async () => {
    assert.deepEqual(await task({ listen }, box), { server: 8080 });
    assert.deepEqual(await task({ listen }, box, NOBODY), { error: "EACCES" });
  });

  it("is mapped for a user without rights to one above", async () => {
    const listen = { port: 80, host: "127.0.0.1" };
    assert.deepEqual(await task({ listen }, box, NOBODY), { server: 80 });
    assert.deepEqual(await task({ listen }, undefined, NOBODY), { error: "EACCES" });
  });
});

describe("a connection to a local address and a container port", () => {
  const cases = ["127.0.0.1", "127.3.2.1", HERE, "::1", HERE6, `::ffff:${HERE}`, "::ffff:127.0.0.1"];

  for (const host of cases) {
    it(`reaches the container itself: ${host}`, async () => {
      const any = host.includes(":") ? "::" : "0.0.0.0";
      const told = await task({ listen: { port: 80, host: any }, to: { port: 80, host } }, box);
      assert.deepEqual(told, { server: 80, accepted: 80, peer: 80, answer: "mine" });
    });
  }

  it("by the host port says that", async () => {
    const host = "127.0.0.1";
    const told = await task({ listen: { port: 80, host }, to: { port: 31000, host } }, box);
    assert.deepEqual(told, { server: 80, accepted: 80, peer: 31000, answer: "mine" });
    const number = await task({ listen: { port: 31000, host }, to: { port: 80, host } }, box);
    assert.deepEqual(number, { server: 31000, accepted: 31000, peer: 80, answer: "mine" });
  });

  for (const proto of ["tcp", "mptcp"]) {
    for (const family of proto === "tcp" ? ["4"] : FAMILIES) {
      it(`reaches it by ${proto}, family ${family}`, async (test) => {
        const words = `connect listen-port=80 proto=${proto} family=${family}`;
        const outcome = await attempt(words, box.container.node);
        if (outcome.status === 77) test.skip(outcome.detail);
        else assert.equal(outcome.status, 0, JSON.stringify(outcome));
      });
    }
  }

  it("reaches it by io_uring, and by a datagram", async (test) => {
    for (const words of [
      "io-uring-connect listen-port=80",
      "udp-connected-send listen-port=80 family=mapped",
    ]) {
      const outcome = await attempt(words, box.container.node);
      if (outcome.status === 77) test.skip(outcome.detail);
      else assert.equal(outcome.status, 0, JSON.stringify(outcome));
    }
  });

  it("is refused where nothing listens there, as is another's", async () => {
    const to = { port: 80, host: "127.0.0.1" };
    assert.deepEqual(await task({ to }, box), { error: "ECONNREFUSED" });
    const server = await holding({ port: 80, host: "127.0.0.1" }, box);
    assert.deepEqual(server.told, { server: 80 });
    assert.deepEqual(await task({ to }, plain), { error: "ECONNREFUSED" });
    assert.deepEqual(await task({ to }, undefined), { error: "ECONNREFUSED" });
    assert.equal((await task({ to: { port: 31000, host: "127.0.0.1" } }, plain)).answer, "mine");
    await server.end();
  });

  it("is not one to another host's", async () => {
    const listen = { port: 80, host: "0.0.0.0" };
    const told = await task({ listen, to: { port: 80, host: THERE } }, box);
    assert.deepEqual(told, { server: 80, peer: 80, answer: "ping" });
  });

  for (const connected of [false, true]) {
    for (const host of ["127.0.0.1", HERE, HERE6]) {
      it(`reaches it by UDP, ${connected ? "connected" : "not connected"}: ${host}`, async () => {
        const listen = { port: 53, host, udp: true };
        const told = await task({ listen, to: { port: 53, host, udp: true, connected } }, box);
        assert.deepEqual(told, { server: 53, peer: 53, answer: "mine" });
        const number = await task({ listen, to: { port: 31002, host, udp: true, connected } }, box);
        assert.deepEqual(number, { server: 53, peer: 31002, answer: "mine" });
      });
    }
  }
});

describe("others", () => {
  it("see the host port", async () => {
    const server = await holding({ port: 80, host: "0.0.0.0" }, box);
    const ports = listening();
    await server.end();
    assert(ports.includes(31000) && !ports.includes(80), ports.join());
  });
});

describe("nested", () => {
  let pod: Cell, web: Cell, same: Cell, side: Cell;
  before(async () => {
    pod = await cell(["pod"], policy("31040-31049", { remap: parseMappings("80:31040,81:31041,82:31042") }));
    web = await cell(["pod", "web"], policy("31043", { remap: parseMappings("80:31043") }), pod);
    same = await cell(["pod", "same"], policy("31041", { remap: parseMappings("81:31041") }), pod);
    side = await cell(["pod", "side"], policy(undefined), pod);
  });

  for (const proto of ["tcp", "udp", "mptcp"]) {
    gives(`bind port=80 proto=${proto}`, 31043, 80, () => web);
    gives(`bind port=81 proto=${proto}`, 31041, 81, () => same);
    gives(`bind port=31041 proto=${proto}`, 31041, 31041, () => same);
    gives(`bind port=82 proto=${proto}`, 31042, 82, () => side);
    gives(`bind port=31042 proto=${proto}`, 31042, 31042, () => side);
    gives(`bind port=80 proto=${proto}`, 31040, 80, () => pod);
  }

  it("keeps to the child's own ports", async () => {
    const { status, errno } = await attempt("bind port=82", web.container.node);
    assert.deepEqual([status, errno], [1, "EPERM"]);
  });

  it("goes to the innermost container that maps the port", async () => {
    const host = "127.0.0.1";
    const server = await holding({ port: 80, host }, web);
    const outer = await holding({ port: 82, host }, side);
    // By another task of the container: that one serves.
    assert.deepEqual(await task({ to: { port: 80, host } }, web, 0), { peer: 80, answer: "mine" });
    assert.deepEqual(await task({ to: { port: 80, host } }, pod), { error: "ECONNREFUSED" });
    assert.deepEqual(await task({ to: { port: 82, host } }, web), { peer: 82, answer: "mine" });
    await server.end();
    await outer.end();
  });
});

describe("an update", () => {
  it("that takes the host port away takes its mapping", async () => {
    const remap = parseMappings("80:31060,81:31061");
    const own = await cell(["shrinks"], policy("31060-31061", { remap }));
    await own.container.update(policy("31060", { remap }));
    const { status, errno } = await attempt("bind port=81", own.container.node);
    assert.deepEqual([status, errno], [1, "EPERM"]);
    const [event] = own.poll();
    assert(event);
    assert.match(
      inWords(toDenial(event, () => undefined)),
      /^denied bind\(\) tcp 127\.0\.0\.1:31061, to which port 81 is mapped, by /,
    );
    const other = await cell(["takes"], policy("31061"));
    const host = "127.0.0.1";
    const server = await holding({ port: 31061, host }, other);
    assert.deepEqual(await task({ to: { port: 81, host } }, own), { error: "ECONNREFUSED" });
    await server.end();
  });

  it("of mappings is one of the kernel's", async () => {
    const own = await cell(["changes"], policy("31070-31071", { remap: parseMappings("80:31070") }));
    await own.container.update(policy("31070-31071", { remap: parseMappings("81:31071") }));
    assert.equal((await attempt("bind port=80", own.container.node)).errno, "EPERM");
    assert.equal((await attempt("bind port=81 real-port=31071", own.container.node)).port, 81);
    await own.container.update(policy("31070-31071"));
    assert.equal((await attempt("bind port=81", own.container.node)).errno, "EPERM");
  });
});

describe("1,000 mappings", () => {
  const many = Array.from({ length: 1000 }, (_, i) => `${i + 1}:${32000 + i}`).join(",");

  it("are one container's, and nothing is left of them", async () => {
    const programs = Programs.open(instance.name);
    const entries = (): number => readRemapEntries(programs.map("port_remaps").lookupAll()).length;
    const before = entries();
    const own = await cell(["many"], policy("32000-32999", { remap: checkMappings(parseMappings(many)) }));
    assert.equal(entries() - before, 2000);
    for (const [port, real, proto] of [
      [1, 32000, "tcp"],
      [500, 32499, "udp"],
      [1000, 32999, "tcp"],
    ] as const) {
      const outcome = await attempt(`bind port=${port} real-port=${real} proto=${proto}`, own.container.node);
      assert.deepEqual([outcome.status, outcome.port], [0, port]);
    }
    await own.container.cleanup();
    assert.equal(entries(), before);
    programs.close();
  });

  it("are four containers' in one table, and refused where it is full", () => {
    const sets = new Map<number, Uint8Array<ArrayBuffer>>();
    const changes = new RemapChanges((index) => {
      const bytes = new Uint8Array(128);
      sets.set(index, bytes);
      return bytes;
    });
    const mappings = checkMappings(parseMappings(many));
    const entries = (): RemapEntry[] => readRemapEntries(new Uint8Array(Buffer.concat([...sets.values()])));
    for (let id = 5000n; id < 5004n; id++) for (const entry of remapEntries(mappings, id)) changes.put(entry);
    assert.equal(entries().length, 8000);
    for (const entry of remapEntries(mappings, 5001n)) changes.remove(entry);
    assert.equal(entries().length, 6000);
    assert(entries().every(({ cgroupId }) => cgroupId !== 5001n));
    const full = new RemapChanges(() => new Uint8Array(128).fill(1));
    assert.throws(
      () => {
        for (const entry of remapEntries(mappings, 1n)) full.put(entry);
      },
      { code: "map-full", message: /no room for another port mapping/ },
    );
  });
});

describe("bad mappings", () => {
  const cases: [text: string, why: RegExp][] = [
    ["", /"" is no mapping/],
    ["80", /"80" is no mapping/],
    ["80:31000/sctp", /"80:31000\/sctp" is no mapping/],
    ["80:31000,", /"" is no mapping/],
    ["-1:31000", /is no mapping/],
    ["0:31000", /container port 0 is not between 1 and 65535/],
    ["80:65536", /host port 65536 is not between/],
    ["80:31000,80:31001", /container port 80 is there twice for tcp, in 80:31000 and 80:31001$/],
    ["80:31000,80:31000", /container port 80 is there twice for tcp/],
    ["80:31000,81:31000", /host port 31000 is there twice for tcp, in 80:31000 and 81:31000$/],
    [
      "80:31000,80:31001/udp",
      /container port 80 is there twice for udp, .*\(one without a protocol is for both\)$/,
    ],
    ["80:31000/udp,81:31000", /host port 31000 is there twice for udp, .*is for both/],
    ["80:32000", /host ports 32000 are not among the container's \(31000-31009\)/],
    ["80:31000,81:32000,82:32001/tcp", /host ports 32000-32001 are not/],
    [Array.from({ length: 1025 }, (_, i) => `${i + 1}:31000`).join(","), /there are 1025, more than 1024/],
  ];
  for (const [text, why] of cases) {
    it(`${text.slice(0, 40)}: ${why.source.slice(0, 60)}`, () => {
      assert.throws(
        () => {
          requireWithin(checkMappings(parseMappings(text)), parsePorts("31000-31009"));
        },
        {
          code: "bad-argument",
          message: why,
        },
      );
    });
  }

  it("are not the same port for two protocols, nor a port to itself", () => {
    const mappings = checkMappings(parseMappings("80:31000/tcp, 80:31001/UDP,31002:31002"));
    assert.deepEqual(mappings, [
      { containerPort: 80, hostPort: 31000, protocol: "tcp" },
      { containerPort: 80, hostPort: 31001, protocol: "udp" },
    ]);
  });
});
