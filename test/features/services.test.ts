/** Services: virtual addresses that real sockets of real programs connect and send to. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { parseVipOption, parseVipOptions } from "../../isolator/features/vip-option.js";
import { endLostBackends } from "../../isolator/kernel/terminate.js";
import { Connector, Listener } from "../support/connections.js";
import { policy, testInstance } from "../support/instance.js";
import { at, boxMaker, chosen } from "../support/services.js";
import { enterOwnNetwork, makeWayOut, sh } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const made = testInstance();
const { cell, instance } = made;
const box = boxMaker(made);

/** Answers each datagram with what it got. @returns its port, and what ends it */
async function echo(host: string): Promise<{ port: number; close: () => void }> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  socket.on("message", (message, from) => {
    socket.send(message, from.port, from.address);
  });
  socket.bind(0, host);
  await once(socket, "listening");
  socket.unref();
  after(() => {
    socket.close();
  });
  return {
    port: socket.address().port,
    close: () => {
      socket.removeAllListeners("message");
    },
  };
}

let web: Listener;
let other: Listener;
let v6: Listener;
before(async () => {
  makeWayOut();
  sh("sysctl", "-qw", "net.ipv4.tcp_fastopen=1", "net.ipv4.ip_local_port_range=1024 65535");
  web = await Listener.start("127.0.0.1", true, true);
  other = await Listener.start("127.0.0.1", true, true);
  v6 = await Listener.start("::1", true, true);
});
after(async () => {
  for (const listener of [web, other, v6]) await listener.close();
});

describe("services: where a connect() goes", () => {
  it("goes to a backend: IPv4, v4-mapped, IPv6, MPTCP, fast open, io_uring, non-blocking, again after AF_UNSPEC", async () => {
    const made = await box([
      `10.77.0.1:80=127.0.0.1:${web.port}`,
      `[fd77::1]:80=[::1]:${v6.port}`,
      `10.77.0.2:80=127.0.0.1:${web.port};peer=vip`,
      `[fd77::2]:80=[::1]:${v6.port};peer=vip`,
    ]);
    const { task } = made;
    const real = `127.0.0.1:${web.port}`;
    for (const [kind, family, to, backend, vip] of [
      ["tcp", 4, "10.77.0.1", real, real],
      ["tcp", 6, "::ffff:10.77.0.1", real, real],
      ["tcp", 6, "fd77::1", `::1:${v6.port}`, `::1:${v6.port}`],
      ["mptcp", 4, "10.77.0.1", real, real],
      ["tcp", 4, "10.77.0.2", real, "10.77.0.2:80"],
      ["tcp", 6, "::ffff:10.77.0.2", real, "10.77.0.2:80"],
      ["tcp", 6, "fd77::2", `::1:${v6.port}`, "fd77::2:80"],
      ["mptcp", 4, "10.77.0.2", real, "10.77.0.2:80"],
      ["mptcp", 6, "fd77::2", `::1:${v6.port}`, "fd77::2:80"],
    ] as const) {
      for (const how of ["connect", "fast", "ring", "nonblock", "unspec"]) {
        // All ways once: there is one hook for all of them.
        if (how !== "connect" && (kind === "mptcp" || to.includes("::ffff"))) continue;
        const fd = await task.socket(kind, family);
        if (how === "unspec") {
          assert.equal(await task.try(`connect ${fd} ${to} 80`), "ok");
          assert.equal(await task.try(`unspec ${fd}`), "ok");
        }
        if (how === "nonblock") await task.try(`nonblock ${fd}`);
        const result = await task.try(`${how === "fast" || how === "ring" ? how : "connect"} ${fd} ${to} 80`);
        if (how === "ring" && result === "ENOSYS") continue;
        assert.ok(["ok", "EINPROGRESS"].includes(result), `${kind} ${how} ${to}: ${result}`);
        if (how === "nonblock") await task.try(`write ${fd}`);
        const told = at(await task.tell(`peer ${fd}`));
        if (told !== "ENOTCONN") assert.equal(told, vip, `${kind} ${how} ${to} (backend ${backend})`);
        await task.try(`close ${fd}`);
      }
    }
    // Straight to the backend by the same socket: that is what is told.
    const fd = await task.socket();
    assert.equal(await task.try(`connect ${fd} 10.77.0.2 80`), "ok");
    assert.equal(await task.try(`unspec ${fd}`), "ok");
    assert.equal(await task.try(`connect ${fd} 127.0.0.1 ${web.port}`), "ok");
    assert.equal(at(await task.tell(`peer ${fd}`)), real);
  });

  it("leaves alone what is no virtual address: other ports, port 0, other protocols, containers without services", async () => {
    const { task } = await box([`127.0.0.1:7=127.0.0.1:${web.port}`]);
    assert.equal((await task.connect(7)).result, "ok");
    assert.equal((await task.connect(8)).result, "ECONNREFUSED");
    // Of Linux, connect() to port 0 is one to a port that nobody has.
    assert.notEqual((await task.connect(0)).result, "ok");
    const plain = await cell(["plain"], policy(""));
    assert.equal((await Connector.start(plain.container.node).connect(7)).result, "ECONNREFUSED");
    // UDP to a virtual address of TCP goes to the address itself.
    const fd = await task.socket("udp");
    assert.equal(await task.try(`connect ${fd} 127.0.0.1 7`), "ok");
    assert.equal(at(await task.tell(`peer ${fd}`)), "127.0.0.1:7");
  });

  it("takes precedence over a real address of this host, and lets it through where it has no backend and is to pass", async () => {
    const { task } = await box([
      `127.0.0.1:${web.port}=127.0.0.1:${other.port}`,
      `192.0.2.1:${web.port}=;no_backend=pass`,
      "192.0.2.1:9=;no_backend=refuse",
    ]);
    const { fd } = await task.connect(web.port);
    assert.equal(at(await task.tell(`peer ${fd}`)), `127.0.0.1:${other.port}`);
    assert.equal((await task.connect(web.port, { to: "192.0.2.1" })).result, "ECONNREFUSED");
    assert.equal((await task.connect(9, { to: "192.0.2.1" })).result, "ECONNREFUSED");
  });

  it("refuses at once where there is no backend, and reports it", async () => {
    const made = await box(["10.77.0.9:80=", "10.77.0.9:53/udp="]);
    const before = process.hrtime.bigint();
    assert.equal((await made.task.connect(80, { to: "10.77.0.9" })).result, "ECONNREFUSED");
    assert.equal((await made.task.connect(80, { to: "::ffff:10.77.0.9", family: 6 })).result, "ECONNREFUSED");
    const fd = await made.task.socket("udp");
    assert.equal(await made.task.try(`send ${fd} 10.77.0.9 53`), "ECONNREFUSED");
    assert.ok(process.hrtime.bigint() - before < 5_000_000_000n);
    assert.equal(made.container.counts.usage().denied.service, 3n);
    const event = made.poll().at(-1);
    assert.deepEqual([event?.reason, event?.port, event?.family], [20, 53, 2]);
    assert.equal(made.table.misses(parseVipOption("10.77.0.9:80=")), 2n);
    const audited = await box(["10.77.0.9:80="], { enforce: "audit" });
    const { fd: open } = { fd: await audited.task.socket() };
    await audited.task.try(`nonblock ${open}`);
    assert.equal(await audited.task.try(`connect ${open} 10.77.0.9 80`), "EINPROGRESS");
    assert.equal(audited.container.counts.usage().audited.service, 1n);
  });

  it("shows rules and limits the backend, and does not translate twice where containers are nested", async () => {
    const vips = [`10.77.0.1:80=127.0.0.1:${web.port}`];
    const made = await box(vips, {
      connections: { max: 2 },
      egress: {
        rules: [
          {
            name: "a",
            to: { cidr: "127.0.0.1", ports: [{ begin: web.port, end: web.port }] },
            action: "allow",
          },
        ],
        byDefault: "deny",
      },
    });
    for (const result of ["ok", "ok", "EAGAIN"])
      assert.equal((await made.task.connect(80, { to: "10.77.0.1" })).result, result);
    assert.equal((await made.task.connect(other.port)).result, "EPERM");
    // The inner container's way leads to what is a virtual address to the outer one.
    const outer = await box([`10.77.0.3:80=127.0.0.1:${web.port};peer=vip`]);
    const inner = await box([`10.77.0.1:80=10.77.0.3:80;peer=vip`], {}, outer);
    const { fd, result } = await inner.task.connect(80, { to: "10.77.0.1" });
    assert.equal(result, "ok");
    assert.match(at(await inner.task.tell(`peer ${fd}`)), /^(10\.77\.0\.[13]:80|127\.0\.0\.1:\d+)$/);
  });
});

describe("services: rules", () => {
  it("may name the service, where the same backend by its own address is another matter", async () => {
    const { port } = await echo("127.0.0.1");
    const own = parseVipOptions([
      `10.77.0.1:80=127.0.0.1:${web.port}`,
      `10.77.0.2:80=127.0.0.1:${web.port}`,
      `10.77.0.1:53/udp=127.0.0.1:${port}`,
    ]).map((service, i) => ({ ...service, name: i === 1 ? "/other" : "/web" }));
    const made = await cell(
      ["named"],
      policy("", {
        services: { own },
        egress: { rules: [{ name: "a", to: { service: "/web" }, action: "allow" }], byDefault: "deny" },
        connections: { rules: [{ to: { service: "/web", protocol: "tcp" }, limit: 2 }] },
      }),
    );
    const task = Connector.start(made.container.node);
    for (const result of ["ok", "ok", "EAGAIN"])
      assert.equal((await task.connect(80, { to: "10.77.0.1" })).result, result);
    assert.equal((await task.connect(80, { to: "10.77.0.2" })).result, "EPERM");
    assert.equal((await task.connect(web.port)).result, "EPERM");
    const fd = await task.socket("udp");
    assert.equal(await task.try(`send ${fd} 10.77.0.1 53`), "ok");
    assert.equal(await task.try(`send ${fd} 127.0.0.1 ${port}`), "EPERM");
  });
});

describe("services: UDP", () => {
  it("sees answers come from the virtual address: unconnected and connected, IPv4, v4-mapped and IPv6, from many at a time", async () => {
    const [one, two, three] = await Promise.all(["127.0.0.1", "127.0.0.1", "::1"].map(echo));
    assert.ok(one && two && three);
    const { task } = await box([
      `10.77.0.53:53/udp=127.0.0.1:${one.port}`,
      `10.77.0.54:53/udp=127.0.0.1:${two.port}`,
      `[fd77::53]:53/udp=[::1]:${three.port}`,
    ]);
    for (const [family, to, told] of [
      [4, "10.77.0.53", "10.77.0.53:53"],
      [6, "::ffff:10.77.0.53", "10.77.0.53:53"],
      [6, "fd77::53", "fd77::53:53"],
    ] as const) {
      const fd = await task.socket("udp", family);
      assert.equal(await task.try(`send ${fd} ${to} 53`), "ok");
      assert.equal(at(await task.tell(`from ${fd}`)), told);
      const connected = await task.socket("udp", family);
      assert.equal(await task.try(`connect ${connected} ${to} 53`), "ok");
      assert.equal(await task.try(`write ${connected}`), "ok");
      assert.equal(at(await task.tell(`from ${connected}`)), told);
      assert.equal(at(await task.tell(`peer ${connected}`)), told);
    }
    // One socket, two virtual addresses, and one of the backends by its own address.
    const fd = await task.socket("udp");
    for (const [to, port, told] of [
      ["10.77.0.53", 53, "10.77.0.53:53"],
      ["10.77.0.54", 53, "10.77.0.54:53"],
      ["127.0.0.1", two.port, `127.0.0.1:${two.port}`],
      ["10.77.0.53", 53, "10.77.0.53:53"],
    ] as const) {
      assert.equal(await task.try(`send ${fd} ${to} ${port}`), "ok");
      assert.equal(at(await task.tell(`from ${fd}`)), told);
    }
  });

  it("stays with a backend until the service has others", async () => {
    const [one, two] = await Promise.all(["127.0.0.1", "127.0.0.1"].map(echo));
    assert.ok(one && two);
    const vip = `10.77.0.55:53/udp=127.0.0.1:${one.port},127.0.0.1:${two.port}`;
    const made = await box([vip]);
    const fd = await made.task.socket("udp");
    for (let i = 0; i < 20; i++) {
      assert.equal(await made.task.try(`send ${fd} 10.77.0.55 53`), "ok");
      assert.equal(at(await made.task.tell(`from ${fd}`)), "10.77.0.55:53");
    }
    assert.equal(chosen(made, vip, 0) + chosen(made, vip, 1), 1);
    const left = chosen(made, vip, 0) === 1 ? two : one;
    const next = parseVipOptions([`10.77.0.55:53/udp=127.0.0.1:${left.port}`]);
    await made.container.update({ ...made.container.policy, services: { own: next } });
    assert.equal(await made.task.try(`send ${fd} 10.77.0.55 53`), "ok");
    assert.equal(at(await made.task.tell(`from ${fd}`)), "10.77.0.55:53");
    const [service] = next;
    assert.ok(service);
    const counts = made.table.counts(service, { address: "127.0.0.1", port: left.port });
    assert.equal(counts?.connects, 1n);
  });
});

describe("services: UDP sockets whose backend is gone", () => {
  it("are ended where they are connected to it, by whichever way this kernel has, so that their task connects again", async () => {
    const [one, two, six] = await Promise.all(["127.0.0.1", "127.0.0.1", "::1"].map(echo));
    assert.ok(one && two && six);
    const vips = (port: number, sixth: number) => [
      `10.77.0.56:53/udp=127.0.0.1:${port}`,
      `[fd77::56]:53/udp=[::1]:${sixth}`,
    ];
    const made = await box(vips(one.port, six.port));
    const { task } = made;
    const connected = async (family: 4 | 6, to: string, port: number): Promise<number> => {
      const fd = await task.socket("udp", family);
      assert.equal(await task.try(`connect ${fd} ${to} ${port}`), "ok");
      return fd;
    };
    const lost = [
      await connected(4, "10.77.0.56", 53),
      await connected(6, "::ffff:10.77.0.56", 53),
      await connected(6, "fd77::56", 53),
    ];
    // Nobody else's: by its own address, one that has left since, one that is connected to nobody.
    const others = [await connected(4, "127.0.0.1", one.port), await connected(4, "10.77.0.56", 53)];
    assert.equal(await task.try(`unspec ${others[1] ?? 0}`), "ok");
    assert.equal(await task.try(`connect ${others[1] ?? 0} 127.0.0.1 ${one.port}`), "ok");
    const free = await task.socket("udp");
    assert.equal(await task.try(`send ${free} 10.77.0.56 53`), "ok");
    assert.deepEqual(await endLostBackends(instance.loaded), []);
    const own = parseVipOptions(vips(two.port, two.port));
    await made.container.update({ ...made.container.policy, services: { own } });
    const ended = await endLostBackends(instance.loaded);
    assert.deepEqual(
      ended.map(({ remote_port: port }) => port).sort(),
      [one.port, one.port, six.port].sort(),
    );
    for (const fd of lost) assert.notEqual(await task.try(`write ${fd}`), "ok");
    for (const fd of others) assert.equal(await task.try(`write ${fd}`), "ok");
    assert.equal(await task.try(`send ${free} 10.77.0.56 53`), "ok");
    // The very socket may connect again. The error of its end may be still to be told.
    const [fd = 0] = lost;
    assert.equal(await task.try(`connect ${fd} 10.77.0.56 53`), "ok");
    assert.match(await task.try(`write ${fd}`), /^(ok|ECONNABORTED)$/);
    assert.equal(await task.try(`write ${fd}`), "ok");
    assert.equal(at(await task.tell(`from ${fd}`)), "10.77.0.56:53");
  });
});

describe("services: backends that fail", () => {
  it("avoids a backend that refuses, after one connect, and takes it back when one succeeds", async () => {
    const gone = await Listener.start("127.0.0.1", false, true);
    const port = gone.port;
    const vip = `10.77.0.1:80=127.0.0.1:${port},127.0.0.1:${web.port}`;
    const made = await box([vip]);
    const own = [{ ...parseVipOption(vip), avoid: 3600 }];
    await made.container.update({ ...made.container.policy, services: { own } });
    await gone.close();
    let failed = 0;
    for (let i = 0; i < 60; i++) {
      const { fd, result } = await made.task.connect(80, { to: "10.77.0.1" });
      if (result !== "ok") failed++;
      await made.task.try(`close ${fd}`);
    }
    assert.equal(failed, 1);
    const back = Connector.start();
    assert.notEqual(typeof (await back.tell(`listen 127.0.0.1 ${port} close`)), "string");
    await made.container.update({
      ...made.container.policy,
      services: { own: [{ ...parseVipOption(vip), avoid: 0.2 }] },
    });
    // It is tried again when its time is over.
    const first = chosen(made, vip, 0);
    const end = Date.now() + 30_000;
    while (chosen(made, vip, 0) < first + 2 && Date.now() < end) {
      const { fd, result } = await made.task.connect(80, { to: "10.77.0.1" });
      assert.equal(result, "ok");
      await made.task.try(`close ${fd}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(chosen(made, vip, 0) >= first + 2, "it is never tried again");
  });

  it("avoids one that does not answer from its first SYN that is sent again", async () => {
    // Nobody has this neighbour: the SYN is lost.
    sh("ip", "neigh", "replace", "192.0.2.66", "lladdr", "02:00:00:00:00:66", "dev", "d0");
    const vip = `10.77.0.1:80=192.0.2.66:80,127.0.0.1:${web.port}`;
    const made = await box([vip]);
    while (chosen(made, vip, 0) === 0) {
      const fd = await made.task.socket();
      await made.task.try(`nonblock ${fd}`);
      await made.task.try(`connect ${fd} 10.77.0.1 80`);
    }
    const service = parseVipOption(vip);
    const counts = () => made.table.counts(service, service.backends[0] ?? { address: "::", port: 0 });
    await until(() => counts()?.unanswered === 1n || undefined, "its first SYN is sent again");
    const before = chosen(made, vip, 0);
    for (let i = 0; i < 100; i++) {
      const { fd, result } = await made.task.connect(80, { to: "10.77.0.1" });
      assert.equal(result, "ok");
      await made.task.try(`close ${fd}`);
    }
    assert.equal(chosen(made, vip, 0), before);
  });
});
