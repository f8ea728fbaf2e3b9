/** Services: which backend a connect() goes to, of few and of many. */
// not in the VM: which one is chosen is arithmetic that no kernel does otherwise; 10,000 connects take a minute there
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { slotsByWeight } from "../../isolator/features/service-slots.js";
import { parseVipOption, parseVipOptions } from "../../isolator/features/vip-option.js";
import { Listener } from "../support/connections.js";
import { testInstance } from "../support/instance.js";
import { at, boxMaker, chosen } from "../support/services.js";
import { enterOwnNetwork, makeWayOut, sh } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const box = boxMaker(testInstance());

let web: Listener;
let other: Listener;
before(async () => {
  makeWayOut();
  sh("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535");
  web = await Listener.start("127.0.0.1", true, true);
  other = await Listener.start("127.0.0.1", true, true);
});
after(async () => {
  for (const listener of [web, other]) await listener.close();
});

describe("services: which backend", () => {
  it("draws by weight, within 5 % over 10,000 connects, and the kernel counts what the backends got", async () => {
    const vip = `10.77.0.1:80=127.0.0.1:${web.port}*3,127.0.0.1:${other.port}`;
    const made = await box([vip]);
    const [connected] = (await made.task.tell("cycles 2 5000 abort 10.77.0.1 80")) as number[];
    assert.equal(connected, 10_000);
    const [three, one] = [chosen(made, vip, 0), chosen(made, vip, 1)];
    assert.equal(three + one, 10_000);
    assert.ok(Math.abs(three / 10_000 - 0.75) < 0.75 * 0.05, `${three} of 10,000 where 7,500 are due`);
  });

  it("has slots that make up the weights exactly, for any weights", () => {
    const backends = [1, 7, 20, 20, 300, 1, 65535].map((weight, i) => ({
      address: "10.0.0.1",
      port: i + 1,
      weight,
    }));
    const total = backends.reduce((sum, { weight }) => sum + weight, 0);
    const share = new Map<number, number>();
    for (const { backend, other: second, first } of slotsByWeight(backends)) {
      share.set(backend.port, (share.get(backend.port) ?? 0) + first / backends.length);
      share.set(second.port, (share.get(second.port) ?? 0) + (1 - first) / backends.length);
    }
    for (const { port, weight } of backends)
      assert.ok(Math.abs((share.get(port) ?? 0) - weight / total) < 1e-9, `weight ${weight}`);
  });

  it("takes of two the one with fewer connections", async () => {
    const vip = `10.77.0.1:80=127.0.0.1:${web.port},127.0.0.1:${other.port};choice=least_connections`;
    const made = await box([vip]);
    const holder = await Listener.start("127.0.0.1");
    const wide = await box([
      `10.77.0.1:80=127.0.0.1:${holder.port},127.0.0.2:${holder.port};choice=least_connections`,
    ]);
    assert.equal((await made.task.connect(80, { to: "10.77.0.1" })).result, "ok");
    // 127.0.0.2 refuses, so all that is held is the first one's: it has all connections, and is taken all the same.
    for (let i = 0; i < 5; i++) await wide.task.connect(80, { to: "10.77.0.1" });
    const keeper = await Listener.start("127.0.0.1");
    const even = await box([
      `10.77.0.1:80=127.0.0.1:${holder.port},127.0.0.1:${keeper.port};choice=least_connections`,
    ]);
    const service = parseVipOption(`10.77.0.1:80=127.0.0.1:${holder.port},127.0.0.1:${keeper.port}`);
    for (let i = 0; i < 40; i++)
      assert.equal((await even.task.connect(80, { to: "10.77.0.1" })).result, "ok");
    const live = service.backends.map((backend) => even.table.counts(service, backend)?.live ?? 0);
    assert.equal((live[0] ?? 0) + (live[1] ?? 0), 40);
    // Both draws give the fuller one a quarter of the time: that evens out, and chance alone would be off by 10 now and then.
    assert.ok(Math.abs((live[0] ?? 0) - (live[1] ?? 0)) <= 8, live.join(" and "));
    await even.task.try("closeall");
    await until(
      () => service.backends.every((backend) => even.table.counts(service, backend)?.live === 0) || undefined,
      "all connections are gone from the counts",
    );
  });

  it("keeps a container with its backend, and prefers those of this host", async () => {
    const list = Array.from({ length: 50 }, (_, i) => `127.0.1.${i + 1}:${web.port}`).join(",");
    const sh2 = await Listener.start("0.0.0.0", false, true);
    const places = list.replaceAll(`:${web.port}`, `:${sh2.port}`);
    const vip = `10.77.0.1:80=${places};affinity=container`;
    const used = new Set<string>();
    for (let i = 0; i < 6; i++) {
      const made = await box([vip]);
      const seen = new Set<string>();
      for (let j = 0; j < 10; j++) {
        const { fd } = await made.task.connect(80, { to: "10.77.0.1" });
        seen.add(at(await made.task.tell(`peer ${fd}`)));
        await made.task.try(`close ${fd}`);
      }
      assert.equal(seen.size, 1);
      used.add([...seen][0] ?? "");
    }
    assert.ok(used.size > 1, "all containers have the same backend");
    const near = await box([`10.77.0.1:80=10.9.9.9:${sh2.port},192.0.2.1:${sh2.port};prefer=local`]);
    for (let i = 0; i < 10; i++) {
      const { fd, result } = await near.task.connect(80, { to: "10.77.0.1" });
      assert.equal(result, "ok");
      assert.equal(at(await near.task.tell(`peer ${fd}`)), `192.0.2.1:${sh2.port}`);
    }
  });

  it("knows 10,000 backends", async () => {
    const backends = Array.from({ length: 10_000 }, (_, i) => `127.1.${i >> 8}.${i & 255}:${web.port}`);
    const everywhere = await Listener.start("0.0.0.0", false, true);
    const made = await box([
      `10.77.0.1:80=${backends.map((place) => place.replace(/:.*/, `:${everywhere.port}`)).join(",")}`,
    ]);
    const seen = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const { fd, result } = await made.task.connect(80, { to: "10.77.0.1" });
      assert.equal(result, "ok");
      seen.add(at(await made.task.tell(`peer ${fd}`)));
      await made.task.try(`close ${fd}`);
    }
    assert.ok(seen.size > 90, `${seen.size} different ones of 100`);
  });

  it("does not take what cannot be one: loops, port 0, another family, twice the same", () => {
    for (const [texts, why] of [
      [["10.77.0.1:80=10.77.0.2:80", "10.77.0.2:80=10.0.0.1:1"], /is a virtual address itself/],
      [["10.77.0.1:80=10.77.0.1:80"], /is a virtual address itself/],
      [["10.77.0.1:0=10.0.0.1:80"], /port is not 1 to 65535/],
      [["10.77.0.1:80=10.0.0.1:0"], /no port of 1 to 65535/],
      [["10.77.0.1:80=[fd00::1]:80"], /not of the same family/],
      [["10.77.0.1:80=10.0.0.1:1,10.0.0.1:1"], /is there twice/],
      [["10.77.0.1:80=10.0.0.1:1", "10.77.0.1:80=10.0.0.1:2"], /given twice/],
      [["0.0.0.0:80=10.0.0.1:1"], /no address of one host/],
      [["10.77.0.1:80=10.0.0.1:1*0"], /no weight of 1/],
      [["10.77.0.1:80"], /there is no =/],
      [["10.77.0.1:80=10.0.0.1:1;speed=11"], /no option "speed"/],
    ] as const)
      assert.throws(() => parseVipOptions(texts), why);
  });
});
