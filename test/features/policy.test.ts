/** What a policy becomes: bits for the kernel, hooks to attach, and what it asks in vain. */
// not in the VM: it asks no kernel anything
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { REASONS } from "../../isolator/features/accounting.js";
import { describe as inWords, toDenial } from "../../isolator/features/events.js";
import { encodePolicy, gapsOf, hooksOf, mustWatch, type Policy } from "../../isolator/features/policy.js";
import { decode } from "../../isolator/kernel/codec.js";
import type { KernelEvent } from "../../isolator/kernel/events.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { HOOKS } from "../../isolator/kernel/hooks.js";

const BASE: Policy = { ports: [], ephemeral: "allow", allowProtocols: [], enforce: "on" };
const flags = layouts.enums.policy_flags;
const flagsOf = (policy: Policy): number =>
  decode(layouts.structs.policy, encodePolicy(policy, 1n, 0, 0)).flags;
const nothing = (): boolean => false;
const everything = (): boolean => true;
const ESCAPE = ["bpf_map", "bpf_prog", "file_open", "sb_set_mnt_opts", "task_alloc"];

describe("a policy", () => {
  it("denies escape and allows all sockets where it does not say", () => {
    assert.equal(flagsOf(BASE), flags.POLICY_DENY_ESCAPE);
    assert.deepEqual([...hooksOf(BASE)].sort(), [...ESCAPE, "socket_listen"].sort());
    assert.deepEqual(gapsOf(BASE, nothing), [], "nobody asked for it by name");
    assert.equal(mustWatch(BASE, nothing), true);
    assert.equal(mustWatch(BASE, everything), false);
  });

  it("has one bit for each kind of sockets", () => {
    const { POLICY_DENY_RAW, POLICY_DENY_PACKET, POLICY_DENY_VSOCK, POLICY_DENY_XDP, POLICY_DENY_RECEIVED } =
      flags;
    const bits = [
      POLICY_DENY_RAW,
      POLICY_DENY_PACKET,
      POLICY_DENY_VSOCK,
      POLICY_DENY_XDP,
      POLICY_DENY_RECEIVED,
    ];
    (["raw", "packet", "vsock", "xdp", "received"] as const).forEach((kind, i) => {
      assert.equal(flagsOf({ ...BASE, escape: "allow", sockets: { [kind]: "deny" } }), bits[i], kind);
      assert.equal(flagsOf({ ...BASE, escape: "allow", sockets: { [kind]: "allow" } }), 0, kind);
    });
    const all = Object.values(flags);
    assert.equal(new Set(all).size, all.length);
    for (const bit of all) assert.equal(bit & (bit - 1), 0, "a single bit");
  });

  it("takes a hook of BPF LSM only where it asks for what that does", () => {
    const hooks = (policy: Partial<Policy>): string[] =>
      [...hooksOf({ ...BASE, escape: "allow", ...policy })].filter((hook) =>
        HOOKS.some(({ name, lsm }) => lsm && name === hook),
      );
    assert.deepEqual(hooks({}), ["socket_listen"]);
    assert.deepEqual(hooks({ sockets: { raw: "deny" } }), ["socket_listen"]);
    assert.deepEqual(hooks({ sockets: { packet: "deny", xdp: "deny" } }), ["socket_listen", "socket_create"]);
    assert.deepEqual(hooks({ sockets: { received: "deny" } }), ["socket_listen", "file_receive"]);
    assert.equal(hooks({ escape: "deny", sockets: { packet: "deny", received: "deny" } }).length, 8);
  });

  it("names what the kernel cannot refuse", () => {
    const has = (hook: string): boolean => hook === "sock_create";
    const policy: Policy = {
      ...BASE,
      sockets: { raw: "deny", vsock: "deny", packet: "allow" },
      escape: "deny",
    };
    assert.deepEqual(gapsOf({ ...policy, escape: "allow" }, has), ["vsock sockets"]);
    assert.equal(gapsOf(policy, has).length, 1 + ESCAPE.length);
    assert.deepEqual(gapsOf(policy, everything), []);
    assert.equal(mustWatch({ ...policy, escape: "allow" }, nothing), false);
  });
});

describe("an event in words", () => {
  const event = (reason: (typeof REASONS)[number], more: Partial<KernelEvent> = {}): string => {
    const zero = decode(layouts.structs.event, new Uint8Array(layouts.structs.event.size));
    const comm = new Uint8Array(16);
    comm.set(Buffer.from("task"));
    const full = { ...zero, pid: 5, comm, reason: REASONS.indexOf(reason), ...more };
    return inWords(toDenial(full, (id) => (id === 7n ? "other" : undefined)));
  };
  const cases: [string, string][] = [
    [event("socket", { family: 17 }), "denied socket() packet by task[5]"],
    [event("socket", { family: 10, protocol: 58 }), "denied socket() raw ipv6 icmpv6 by task[5]"],
    [
      event("received", { family: 2, protocol: 6, port: 8080 }),
      "denied a socket from outside of the container (tcp port 8080) by task[5]",
    ],
    [
      event("received", { family: 40, audited: 1 }),
      "would deny a socket from outside of the container (vsock) by task[5]",
    ],
    [
      event("cgroup", { owner: 7n }),
      "denied open of cgroup.procs or cgroup.threads outside of the container by task[5]: the node is that of container other",
    ],
    [
      event("cgroup", { owner: 1n }),
      "denied open of cgroup.procs or cgroup.threads outside of the container by task[5]",
    ],
    [event("clone"), "denied clone3() with CLONE_INTO_CGROUP by task[5]"],
    [event("mount"), "denied mount of cgroup2 or bpffs by task[5]"],
    [
      event("bpf"),
      "denied bpf() on the isolator's maps or programs, or with a program that could undo a refusal by task[5]",
    ],
  ];
  for (const [words, expected] of cases) {
    it(expected, () => {
      assert.equal(words, expected);
    });
  }

  it("exists for every reason of the kernel's", () => {
    const { REASONS: room, ...reasons } = layouts.enums.reason;
    const names = Object.keys(reasons).map((name) => name.replace("REASON_", "").toLowerCase());
    assert.deepEqual(names, [...REASONS]);
    assert(names.length <= room);
  });
});
