/** What instances share and how they end: full maps, dead owners, other builds of the programs, several at once. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Container } from "../../isolator/containers/container.js";
import { Instance } from "../../isolator/containers/instance.js";
import { prepareContainer } from "../../isolator/containers/preparation.js";
import { encode, u32Key, u64Key } from "../../isolator/kernel/codec.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { FileLock } from "../../isolator/kernel/lock.js";
import { pinRoot } from "../../isolator/kernel/pins.js";
import { Programs } from "../../isolator/kernel/programs.js";
import { assertNothingLeft, instanceName, policy } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { attempt } from "../support/process.js";

enterOwnNetwork();
/** Each beginning may load all programs: seconds in the kernel lab. */
const ROUNDS = process.env["BPF_ISOLATOR_VM"] === undefined ? 10 : 3;

describe("an instance", () => {
  /** Where it is there already, with its programs loaded, and one container that reads no events. */
  const shared = Instance.open(instanceName());
  let first: Container;
  before(async () => {
    first = await prepareContainer(shared, { id: ["first"], policy: policy("31000") });
  });
  after(async () => {
    await first.cleanup();
    assertNothingLeft(shared.name);
  });

  it("says that a map is full, and leaves nothing of the container that did not fit", async () => {
    // Every ring taken, as by as many processes.
    const rings = join(shared.stateDirectory, "rings");
    mkdirSync(rings);
    const locks = Array.from({ length: layouts.enums.ring_slot.NO_RING }, (_, slot) =>
      FileLock.try(join(rings, `${slot}`)),
    );
    const second = { id: ["second"] as const, policy: policy("31001") };
    await assert.rejects(prepareContainer(shared, { ...second, onEvent: () => undefined }), {
      code: "map-full",
      message: /1023 processes read events .* event_rings has no room/,
    });
    assert(!existsSync(join(shared.root, "second")));
    for (const lock of locks) lock?.release();
    const third = await prepareContainer(shared, { ...second, onEvent: () => undefined });
    assert.equal((await attempt("bind port=31001", third.node)).status, 0);
    await third.cleanup();
  });

  it("takes over the port of a container that is no more", async () => {
    const programs = Programs.open(shared.name);
    const dead = encode(layouts.structs.port_owner, { chain: [1n << 50n, 0n, 0n, 0n] });
    programs.map("port_owners").update(u32Key(31001), dead);
    const second = await prepareContainer(shared, { id: ["second"], policy: policy("31001") });
    assert.equal((await attempt("bind port=31001", second.node)).status, 0);
    await second.cleanup();
    programs.close();
  });

  it("does not mix two builds of the programs, and removes one that nobody uses", async () => {
    const instance = Instance.open(instanceName());
    mkdirSync(join(pinRoot(instance.name), "0123456789ab"), { recursive: true });
    const first = await prepareContainer(instance, { id: ["first"], policy: policy("31000") });
    assert(!existsSync(join(pinRoot(instance.name), "0123456789ab")), "it was unused");
    const [record] = instance.records.list();
    assert(record);
    mkdirSync(join(pinRoot(instance.name), "0123456789ab"));
    const other = Instance.open(instance.name);
    other.records.list = () => [{ ...record, build: "0123456789ab" }];
    await assert.rejects(
      prepareContainer(other, { id: ["second"], policy: policy("31001") }),
      /containers first of instance .* run under another version of the programs/,
    );
    await first.cleanup();
    assertNothingLeft(instance.name);
  });

  it("may end in one process while it begins in another, again and again", async () => {
    const name = instanceName();
    const worker = async (n: number): Promise<void> => {
      const instance = Instance.open(name);
      for (let i = 0; i < ROUNDS; i++) {
        const box = await prepareContainer(instance, { id: [`box-${n}`], policy: policy(`${31000 + n}`) });
        assert.equal((await attempt(`bind port=${31000 + n}`, box.node)).status, 0);
        assert.equal((await attempt("bind port=8080", box.node)).status, 1);
        await box.cleanup();
      }
    };
    await Promise.all([0, 1, 2, 3].map(worker));
    assertNothingLeft(name);
  });

  it("enforces nothing yet, and allows nothing, where the policy is not written", async () => {
    const box = await prepareContainer(shared, { id: ["box"], policy: policy("31002") });
    const programs = Programs.open(shared.name);
    programs.map("policies").update(u64Key(box.node.id), new Uint8Array(layouts.structs.policy.size));
    for (const words of [
      "bind port=31002",
      "bind-zero",
      "listen-unbound",
      "udp-send-unbound",
      "socket create=tcp",
    ]) {
      const { status, step, errno } = await attempt(words, box.node);
      assert.deepEqual([status, step, errno], [1, "socket", "EPERM"], words);
    }
    programs.close();
    await box.cleanup();
  });
});
