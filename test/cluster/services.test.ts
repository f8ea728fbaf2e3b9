/** The services of a daemon as claims come and go: what is in the kernel when, and that nothing else is touched. */
// not in the VM: only what user space writes is looked at
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { after, describe, it } from "node:test";
import { ServiceDirectory } from "../../isolator/cluster/services.js";
import type { TaskVips } from "../../isolator/cluster/vips.js";
import { parseAddress } from "../../isolator/features/addresses.js";
import { encodeServiceKey } from "../../isolator/features/service-layout.js";
import { SHARED_SET } from "../../isolator/features/services.js";
import { decode } from "../../isolator/kernel/codec.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { Programs } from "../../isolator/kernel/programs.js";
import { yaml } from "../support/config.js";

const programs = Programs.trial();
const temporary = mkdtempSync(join(tmpdir(), "isolator-directory-"));
const { services: config, trustedRoles } = yaml(`
services:
  range: 10.77.0.0/29
  hosts_file: ${join(temporary, "hosts")}
  static: [{vip: "10.66.0.1:80", backends: ["10.5.0.1:1000"]}]
  claims: [{match: {role: web}, names: ["/**"], addresses: [10.88.0.0/16]}]
`);
let gone = 0;
const directory = new ServiceDirectory(
  programs,
  SHARED_SET,
  config,
  trustedRoles,
  "",
  () => false,
  () => gone++,
  () => undefined,
);
after(() => {
  directory.stop();
  programs.close();
  rmSync(temporary, { recursive: true });
});

function claim(text: string, port: number, draining = false, address = SHARED): TaskVips {
  const [place = "", vipPort = ""] = text.split(":");
  const vip = { ...(place.startsWith("/") ? { name: place } : { address: place }), port: Number(vipPort) };
  const facts = { roles: ["web"], labels: new Map<string, string>() } as unknown as TaskVips["facts"];
  return {
    facts,
    vips: [{ vip, protocol: "tcp", port }],
    addresses: [parseAddress(address) ?? new Uint8Array(16)],
    draining,
  };
}

/** What programs find for an address. */
function inKernel(address: string, port: number) {
  const key = encodeServiceKey(SHARED_SET, { address, port, protocol: "tcp" });
  const value = programs.map("services").lookup(key);
  return value && decode(layouts.structs.service, value);
}

/** Of backends. */
const SHARED = "10.5.0.1";
const OWN = "10.5.0.7";
const address = (i: number): string => `10.88.${i >> 8}.${i & 255}`;

describe("a directory of services", () => {
  it("has a change in the kernel when the next turn of the event loop begins, and touches no other service", async () => {
    const tasks = new Map<string, TaskVips>();
    for (let i = 0; i < 1000; i++)
      for (const port of [1000, 2000])
        tasks.set(`${i}-${port}`, claim(`${address(i)}:80`, port, false, i === 7 ? OWN : SHARED));
    directory.replace(tasks);
    await directory.settled();
    const all = (): string =>
      JSON.stringify(
        Array.from({ length: 1000 }, (_, i) => (i === 7 ? 0 : String(inKernel(address(i), 80)?.table))),
      );
    const before = all();
    assert.equal(inKernel(address(7), 80)?.count, 2);
    const goneBefore = gone;
    for (const [change, count, ends] of [
      [
        () => {
          directory.set("7-2000", claim(`${address(7)}:80`, 2000, true, OWN));
        },
        1,
        0,
      ],
      [
        () => {
          directory.set("7-3000", claim(`${address(7)}:80`, 3000, false, OWN));
        },
        2,
        0,
      ],
      [
        () => {
          directory.set("7-2000", undefined);
        },
        2,
        1,
      ],
      [
        () => {
          directory.set("7-1000", claim(`${address(7)}:80`, 1000, true, OWN));
        },
        1,
        1,
      ],
      [
        () => {
          directory.set("new", claim("10.88.9.9:80", 1));
        },
        1,
        1,
      ],
    ] as const) {
      change();
      await turn();
      assert.equal(inKernel(address(7), 80)?.count, count);
      assert.equal(gone - goneBefore, ends);
    }
    assert.equal(inKernel("10.88.9.9", 80)?.count, 1);
    assert.equal(all(), before);
  });

  it("leaves out a backend for as long as it is a virtual address itself", async () => {
    directory.set("a", claim("10.88.20.1:80", 80, false, "10.88.20.2"));
    await directory.settled();
    assert.equal(inKernel("10.88.20.1", 80)?.count, 1);
    directory.set("b", claim("10.88.20.2:80", 80, false, "10.88.20.1"));
    await directory.settled();
    assert.deepEqual([inKernel("10.88.20.1", 80)?.count, inKernel("10.88.20.2", 80)?.count], [0, 0]);
    assert.equal([...directory.ignored].find(([kind]) => kind.startsWith("backends"))?.[1], 2);
    directory.set("b", undefined);
    await directory.settled();
    assert.deepEqual([inKernel("10.88.20.1", 80)?.count, inKernel("10.88.20.2", 80)], [1, undefined]);
    assert.equal([...directory.ignored].length, 0);
  });

  it("gives a name that waits the address of one that is gone, and tells both in the file of hosts", async () => {
    for (let i = 0; i < 7; i++) directory.set(`n${i}`, claim(`/n${i}:80`, 5000 + i));
    await directory.settled();
    const names = (): string[] => [...directory.list()].flatMap(({ service: { name } }) => name ?? []).sort();
    assert.deepEqual(names(), ["/n0", "/n1", "/n2", "/n3", "/n4", "/n5"]);
    assert.equal([...directory.ignored].find(([kind]) => kind.includes("get no address"))?.[1], 1);
    directory.set("n2", undefined);
    await directory.settled();
    assert.deepEqual(names(), ["/n0", "/n1", "/n3", "/n4", "/n5", "/n6"]);
    assert.match(readFileSync(join(temporary, "hosts"), "utf8"), /^10\.77\.0\.\d n6\.l4lb$/m);
  });

  it("takes what it had by labels out of the kernel when nobody tells of tasks any more", async () => {
    directory.noClaims();
    await directory.settled();
    assert.deepEqual(
      [...directory.list()].map(({ service }) => service.address),
      ["10.66.0.1"],
    );
    assert.equal(programs.map("services").keys(32).length, 1);
    assert.equal(programs.map("service_ends").keys(32).length, 1);
  });
});
