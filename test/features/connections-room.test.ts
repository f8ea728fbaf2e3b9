/** Connections when there is no room to count them one by one, and timewait that nobody looks after. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { IsolatorError } from "../../isolator/errors.js";
import type { ConnectionsPolicy } from "../../isolator/features/connections.js";
import { decode, encode, u32Key, u64Key } from "../../isolator/kernel/codec.js";
import { LOCK_BYTES } from "../../isolator/kernel/contents.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { BpfMap } from "../../isolator/kernel/maps.js";
import { libbpf } from "../../isolator/kernel/native.js";
import { buildId } from "../../isolator/kernel/object.js";
import { openPinnedMap, pinRoot } from "../../isolator/kernel/pins.js";
import { Connector, Listener } from "../support/connections.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { instance, cell } = testInstance();
const COUNT = layouts.structs.connection_count;
const { CONNECTION_SETS, CONNECTION_PLACES, CONNECTION_SPANS, CONNECTION_SPAN_SHIFT, CLOSED_CONNECTIONS } =
  layouts.enums.connection_sizes;
/** cgroup id of no container. */
const NOBODY = 1n;
/** Whoever has taken all the room. */
let neighbour = NOBODY;
let count = 0;

async function counted(connections: ConnectionsPolicy): Promise<Cell & { task: Connector }> {
  const box = await cell([`r${count++}`], policy("", { connections }));
  return Object.assign(box, { task: Connector.start(box.container.node) });
}

const held = (box: Cell) =>
  box.container.counts.connections() ?? { held: -1, live: -1, shared: -1, ports: -1 };

/** Runs `use` with a map of the instance. */
function withMap<T>(name: "connect_sets" | "connect_totals", use: (map: BpfMap) => T): T {
  const map = openPinnedMap(instance.name, buildId(), name);
  if (!map) throw new Error(`${name} is not pinned`);
  try {
    return use(map);
  } finally {
    map.close();
  }
}

/** Gives each place of connect_sets that `which` is about to a container, with one connection, or makes it free. */
function setPlaces(which: (cgroupId: bigint) => boolean, owner: bigint | undefined): void {
  const { cgroup_id, live: liveField } = COUNT.fields;
  withMap("connect_sets", (sets) => {
    for (let set = 0; set < CONNECTION_SETS; set++) {
      const value = sets.lookup(u32Key(set)) ?? new Uint8Array(sets.valueSize);
      const view = new DataView(value.buffer);
      for (let place = 0; place < CONNECTION_PLACES; place++) {
        const at = LOCK_BYTES + place * COUNT.size;
        if (!which(view.getBigUint64(at + cgroup_id.offset, true))) continue;
        view.setBigUint64(at + cgroup_id.offset, owner ?? 0n, true);
        view.setUint32(at + liveField.offset, owner === undefined ? 0 : 1, true);
      }
      sets.update(u32Key(set), value);
    }
  });
}

/** Has everything of a count that lapses do so when the next span begins, in 8.6 s at the latest. */
function hasten(bytes: Uint8Array): void {
  const soon = (Number(process.hrtime.bigint() >> BigInt(CONNECTION_SPAN_SHIFT)) + 1) % CONNECTION_SPANS;
  const now = decode(COUNT, bytes);
  const lapsing = now.lapsing.map((_, i) => (i === soon ? now.closed : 0));
  bytes.set(encode(COUNT, { ...now, lapsing }));
}

describe("connections", () => {
  const servers: Listener[] = [];
  before(async () => {
    neighbour = (await counted({ max: 1 })).container.cgroupId;
    for (let i = 0; i < 6; i++) servers.push(await Listener.start("127.0.0.1", true));
  });
  after(async () => {
    for (const server of servers) await server.close();
  });
  const port = (i: number): number => servers[i]?.port ?? 0;

  it("with room for 4 destinations: others share one count and one limit, and none is counted twice or not at all", async () => {
    const box = await counted({ max: 2 });
    for (let i = 0; i < 4; i++) assert.equal((await box.task.connect(port(i))).result, "ok");
    setPlaces((cgroupId) => cgroupId !== box.container.cgroupId, neighbour);
    // Those that have a place keep it, and a limit of their own.
    assert.deepEqual(await box.task.tell(`hold 2 tcp 127.0.0.1 ${port(0)}`), [1, 1, 0]);
    // The fifth and the sixth have none: they share.
    const fifth = await box.task.connect(port(4));
    const sixth = await box.task.connect(port(5));
    assert.deepEqual([fifth.result, sixth.result], ["ok", "ok"]);
    for (const i of [4, 5]) assert.equal((await box.task.connect(port(i))).result, "EAGAIN");
    assert.deepEqual(held(box), { held: 7, live: 7, shared: 2, ports: 0 });
    await box.task.try(`abort ${fifth.fd}`);
    assert.equal(held(box).shared, 1);
    // Room again: not before the last that shares is gone, so that no destination is counted at two places.
    setPlaces((cgroupId) => cgroupId === neighbour, undefined);
    assert.equal((await box.task.connect(port(4))).result, "ok");
    assert.deepEqual(held(box), { held: 7, live: 7, shared: 2, ports: 0 });
    await box.task.kill();
    for (const server of servers) await server.drop("reset");
    await until(() => held(box).held === 0 && held(box).shared === 0, "all are given back", 90_000);
    const task = Connector.start(box.container.node);
    assert.equal((await task.connect(port(4))).result, "ok");
    assert.deepEqual(held(box), { held: 1, live: 1, shared: 0, ports: 0 });
    assert.equal(box.container.counts.destinations().length, 1);
  });

  it("of a container that is gone, which nobody gave back, make room for others", async () => {
    const box = await counted({ max: 1 });
    const mine = ({ container }: Cell) =>
      container.counts.destinations().map(({ port: to, held: n }) => [to, n]);
    setPlaces((cgroupId) => cgroupId !== box.container.cgroupId, NOBODY);
    assert.equal((await box.task.connect(port(2))).result, "ok");
    assert.equal((await box.task.connect(port(2))).result, "EAGAIN");
    assert.deepEqual(mine(box), [[port(2), 1]]);
    assert.equal(held(box).shared, 0);
    setPlaces((cgroupId) => cgroupId === NOBODY, undefined);
  });

  it("in timewait that find no room to be known by their ends lapse by time alone, and count until then", async () => {
    const box = await counted({ max: 1 });
    const fd = libbpf().objectGet(join(pinRoot(instance.name), buildId(), "map_closed_connects"));
    // struct connection_ends and struct closed_connection, which user space has no other use for.
    const [keySize, valueSize] = [48, 80];
    const map = new BpfMap("closed_connects", fd, valueSize);
    const keys = new Uint8Array(CLOSED_CONNECTIONS * keySize);
    for (let i = 0; i < CLOSED_CONNECTIONS; i++)
      new DataView(keys.buffer).setUint32(i * keySize, i + 1, true);
    try {
      // There are some of the test before: all that is free is filled.
      const values = new Uint8Array(CLOSED_CONNECTIONS * valueSize);
      try {
        map.updateBatch(keys, values, CLOSED_CONNECTIONS);
      } catch (error) {
        assert.equal(error instanceof IsolatorError && error.code, "map-full");
      }
      const { fd: socket } = await box.task.connect(port(0));
      await servers[0]?.accepted(1);
      await box.task.try(`close ${socket}`);
      await servers[0]?.drop("end");
      await until(() => held(box).live === 0, "it is closed");
      assert.equal(held(box).held, 1);
      assert.equal((await box.task.connect(port(0))).result, "EAGAIN");
      sh("ss", "-K", "state", "time-wait");
      assert.equal(held(box).held, 1);
    } finally {
      for (let i = 0; i < CLOSED_CONNECTIONS; i++) map.delete(keys.subarray(i * keySize, (i + 1) * keySize));
      map.close();
    }
  });

  it("in timewait are given back by connect() itself when their time is over: no process looks after them", async () => {
    const box = await counted({ max: 1, total: 1 });
    // What looks for them in this process does so every 10 s, and would be in time: the kernel has this one until it is
    // killed, so that it finds nothing to give back.
    const { fd } = await box.task.connect(port(1));
    await servers[1]?.accepted(1);
    await box.task.try(`close ${fd}`);
    await servers[1]?.drop("end");
    await until(() => held(box).live === 0, "it is closed");
    assert.equal((await box.task.connect(port(1))).result, "EAGAIN");
    const { cgroupId } = box.container;
    withMap("connect_totals", (totals) => {
      const value = totals.lookup(u64Key(cgroupId));
      assert(value);
      hasten(value.subarray(LOCK_BYTES, LOCK_BYTES + COUNT.size));
      totals.update(u64Key(cgroupId), value);
    });
    withMap("connect_sets", (sets) => {
      for (let set = 0; set < CONNECTION_SETS; set++) {
        const value = sets.lookup(u32Key(set));
        assert(value);
        for (let place = 0; place < CONNECTION_PLACES; place++) {
          const at = LOCK_BYTES + place * COUNT.size;
          if (decode(COUNT, value.subarray(at, at + COUNT.size)).cgroup_id !== cgroupId) continue;
          hasten(value.subarray(at, at + COUNT.size));
          sets.update(u32Key(set), value);
        }
      }
    });
    await until(
      async () => (await box.task.connect(port(1))).result === "ok",
      "connect() gives back what has lapsed",
      20_000,
    );
    assert.deepEqual(held(box), { held: 1, live: 1, shared: 0, ports: 0 });
  });
});
