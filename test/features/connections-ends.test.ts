/** Every way in which a socket that holds a connection changes hands or ends. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { ConnectionsPolicy } from "../../isolator/features/connections.js";
import { Connector, Listener, receiver } from "../support/connections.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
// What is sent there goes out of the loopback device, comes back, and is nobody's: no answer.
sh("ip", "route", "add", "198.51.100.0/24", "dev", "lo");
const SILENT = "198.51.100.1";
const { cell } = testInstance();
let count = 0;

async function counted(connections: ConnectionsPolicy): Promise<Cell & { task: Connector }> {
  const box = await cell([`e${count++}`], policy("", { connections }));
  return Object.assign(box, { task: Connector.start(box.container.node) });
}

const live = (box: Cell): number => box.container.counts.connections()?.live ?? -1;
const held = (box: Cell): number => box.container.counts.connections()?.held ?? -1;
let server: Listener;
describe("a connection", () => {
  before(async () => {
    server = await Listener.start("127.0.0.1", true);
  });
  after(() => server.close());

  it("that is not answered holds its place until it times out", async () => {
    const box = await counted({ max: 1 });
    const fd = await box.task.socket();
    await box.task.try(`patience ${fd} 500`);
    const answer = box.task.try(`connect ${fd} ${SILENT} 9`);
    await until(() => live(box) === 1, "it is counted while it is tried");
    assert.equal(await answer, "ETIMEDOUT");
    assert.equal(held(box), 0);
    assert.equal((await box.task.connect(server.port)).result, "ok");
  });

  it("that a signal interrupts goes on being tried, and holds its place until it is closed", async () => {
    const box = await counted({ max: 1 });
    const fd = await box.task.socket();
    assert.equal(await box.task.try(`interrupt ${fd} ${SILENT} 9`), "EINTR");
    assert.equal(live(box), 1);
    const other = await box.task.socket();
    assert.equal(await box.task.try(`connect ${other} ${SILENT} 9`), "EAGAIN");
    await box.task.try(`close ${fd}`);
    assert.equal(held(box), 0);
  });

  it("that is not waited for is counted at once, and given back when it fails behind the task's back", async () => {
    const box = await counted({ max: 1 });
    const fd = await box.task.socket();
    await box.task.try(`nonblock ${fd}`);
    await box.task.try(`patience ${fd} 500`);
    assert.equal(await box.task.try(`connect ${fd} ${SILENT} 9`), "EINPROGRESS");
    assert.equal(live(box), 1);
    await until(() => held(box) === 0, "it fails by itself, with nobody asking");
  });

  it("is held by the last of its file descriptors: dup()", async () => {
    const box = await counted({ max: 1 });
    const { fd } = await box.task.connect(server.port);
    const [twin = -1] = (await box.task.tell(`dup ${fd}`)) as number[];
    await box.task.try(`close ${fd}`);
    assert.equal((await box.task.connect(server.port)).result, "EAGAIN");
    await box.task.try(`abort ${twin}`);
    assert.equal(held(box), 0);
  });

  it("is held while nobody has it open but the kernel: SCM_RIGHTS, received or not", async () => {
    const box = await counted({ max: 1 });
    const { fd } = await box.task.connect(server.port);
    assert.equal(await box.task.try(`flight ${fd}`), "ok");
    assert.equal(live(box), 1);
    const [landed = -1] = (await box.task.tell("land")) as number[];
    await box.task.try(`abort ${landed}`);
    assert.equal(held(box), 0);
    const second = await box.task.connect(server.port);
    await box.task.try(`flight ${second.fd}`);
    assert.equal((await box.task.connect(server.port)).result, "EAGAIN");
    await box.task.try("sink");
    await until(() => live(box) === 0, "it is gone with what it was sent over");
  });

  it("is held by another program that the task became: exec(), ended by SIGKILL", async () => {
    const box = await counted({ max: 1 });
    const { fd } = await box.task.connect(server.port);
    await box.task.try(`exec ${fd}`);
    await box.task.try(`close ${fd}`);
    assert.equal((await box.task.connect(server.port)).result, "EAGAIN");
    await box.task.try("reap");
    await until(() => live(box) === 0, "it is gone with the process");
  });

  it("that is shut down holds its place until the other end is done too", async () => {
    const peer = await Listener.start();
    const box = await counted({ max: 1 });
    const { fd } = await box.task.connect(peer.port);
    await peer.accepted(1);
    await box.task.try(`shutdown ${fd}`);
    assert.equal((await box.task.connect(peer.port)).result, "EAGAIN");
    await peer.drop("reset");
    await until(() => held(box) === 0, "the other end is done");
  });

  it("of UDP holds its place through all of it", async () => {
    const port = await receiver();
    const box = await counted({ max: 1 });
    const { fd } = await box.task.connect(port, { kind: "udp" });
    await box.task.try("fork");
    await box.task.try(`close ${fd}`);
    assert.equal((await box.task.connect(port, { kind: "udp" })).result, "EAGAIN");
    await box.task.try("reap");
    await until(() => held(box) === 0, "it is gone with the child");
  });
});
