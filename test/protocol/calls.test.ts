/** Every call in both encodings: what the service is asked, what comes back. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { bpf_isolator, codecs, mesos } from "../../isolator/mesos/messages.js";
import { JSON_TYPE, PROTOBUF, responseOf, socketDirectory, TestServer } from "../support/protocol.js";
import { bytesOf, readTrace, traceNames, type RecordedCall } from "../support/traces.js";

const { Type } = bpf_isolator.Call;
const directory = socketDirectory();
let server: TestServer;

before(async () => {
  server = await TestServer.start(directory);
});
after(() => server.stop());
beforeEach(() => {
  server.service.asked.length = 0;
});

/** A recorded call as a client sends it in JSON; WATCH apart, which is a stream. */
function toJson(call: RecordedCall): object | undefined {
  const id = { container_id: call.container_id_pb?.json };
  switch (call.method) {
    case "recover":
      return {
        type: "RECOVER",
        recover: {
          states: call.states?.map(({ json }) => json),
          orphans: call.orphans?.map(({ json }) => json),
        },
      };
    case "prepare":
      return { type: "PREPARE", prepare: { ...id, container_config: call.container_config?.json } };
    case "isolate":
      return { type: "ISOLATE", isolate: { ...id, pid: call.pid } };
    case "update":
      return {
        type: "UPDATE",
        update: { ...id, resource_requests: call.resource_requests?.map(({ json }) => json) },
      };
    case "usage":
      return { type: "USAGE", usage: id };
    case "status":
      return { type: "STATUS", status: id };
    case "cleanup":
      return { type: "CLEANUP", cleanup: id };
    default:
      return undefined;
  }
}

/** The same in protobuf, from the bytes that the agent's module recorded. */
function toProtobuf(call: RecordedCall): Uint8Array | undefined {
  const json = toJson(call);
  if (!json) return undefined;
  const message = codecs.Call.parseJson(JSON.stringify(json));
  const container_id = call.container_id_pb && codecs.ContainerID.decode(bytesOf(call.container_id_pb));
  if (call.method === "prepare" && call.container_config) {
    const container_config = codecs.ContainerConfig.decode(bytesOf(call.container_config));
    return codecs.Call.encode({ ...message, prepare: { container_id, container_config } });
  }
  if (call.method === "update") {
    const resource_requests = call.resource_requests?.map((resource) =>
      codecs.Resource.decode(bytesOf(resource)),
    );
    return codecs.Call.encode({ ...message, update: { container_id, resource_requests } });
  }
  return codecs.Call.encode(message);
}

describe("recorded calls", () => {
  for (const name of traceNames()) {
    it(`of ${name} reach the service alike in both encodings`, async () => {
      const seen: unknown[] = [];
      for (const [type, encode] of [
        [PROTOBUF, toProtobuf],
        [JSON_TYPE, (call: RecordedCall) => JSON.stringify(toJson(call))],
      ] as const) {
        server.service.asked.length = 0;
        const expected: string[] = [];
        for (const call of readTrace(name)) {
          if (!toJson(call)) continue;
          const answer = await server.send(encode(call), { "Content-Type": type });
          assert.equal(answer.status, 200, answer.body.toString());
          assert.equal(answer.headers["content-type"], type);
          const response = responseOf(answer);
          assert.equal(response.type, Type[call.method.toUpperCase() as keyof typeof Type]);
          expected.push([call.method, call.container_id].filter(Boolean).join(" "));
        }
        assert.deepEqual(server.service.methods(), expected);
        seen.push(structuredClone(server.service.asked));
      }
      assert.deepEqual(seen[0], seen[1]);
    });
  }
});

describe("answers", () => {
  const id: mesos.ContainerID = { value: "leaf", parent: { value: "root" } };

  it("come in the type asked for, without that in the type sent", async () => {
    const call: bpf_isolator.Call = { type: Type.USAGE, usage: { container_id: id } };
    const bodies = {
      [PROTOBUF]: codecs.Call.encode(call),
      [JSON_TYPE]: JSON.stringify(codecs.Call.toJson(call)),
    };
    const cases: [string, string | undefined, string][] = [
      [PROTOBUF, undefined, PROTOBUF],
      [JSON_TYPE, undefined, JSON_TYPE],
      ["Application/JSON; charset=utf-8", "*/*", JSON_TYPE],
      [PROTOBUF, JSON_TYPE, JSON_TYPE],
      [JSON_TYPE, PROTOBUF, PROTOBUF],
      [JSON_TYPE, `${PROTOBUF};q=0.5, ${JSON_TYPE};q=0.1`, PROTOBUF],
      [PROTOBUF, "application/*", PROTOBUF],
    ];
    for (const [sent, accept, expected] of cases) {
      const body = sent === PROTOBUF ? bodies[PROTOBUF] : bodies[JSON_TYPE];
      const answer = await server.send(body, { "Content-Type": sent, ...(accept ? { Accept: accept } : {}) });
      assert.equal(answer.headers["content-type"], expected, `${sent} ${accept ?? ""}`);
      assert.deepEqual(responseOf(answer), {
        type: Type.USAGE,
        usage: { statistics: { timestamp: 1.5, net_rx_bytes: 2n ** 60n } },
      });
    }
  });

  it("of JSON have Mesos's names, enums by name, and counters as exact as they are", async () => {
    const answer = await server.send('{"type":"USAGE","usage":{"container_id":{"value":"c"}}}');
    assert.equal(
      answer.body.toString(),
      '{"type":"USAGE","usage":{"statistics":{"timestamp":1.5,"net_rx_bytes":"1152921504606846976"}}}',
    );
  });

  it("hold what the service gave", async () => {
    const launch_info: mesos.slave.ContainerLaunchInfo = { enter_namespaces: [0x40000000] };
    server.service.launchInfo = launch_info;
    const prepare = { container_id: id, container_config: { directory: "/d", command_info: {} } };
    assert.deepEqual(await server.client.call({ type: Type.PREPARE, prepare }), {
      type: Type.PREPARE,
      prepare: { launch_info },
    });
    server.service.launchInfo = undefined;
    assert.deepEqual((await server.client.call({ type: Type.PREPARE, prepare })).prepare, {});
    assert.deepEqual(
      (await server.client.call({ type: Type.LIST })).list?.containers,
      server.service.summaries,
    );
    const facts = await server.facts();
    assert.deepEqual(facts, {
      version: "1.2.3",
      memory_bytes: 5n,
      calls: 1,
      streams: 0,
      streams_dropped: 0n,
    });
    const limits = { mem: { value: Infinity } };
    await server.client.call({ type: Type.UPDATE, update: { container_id: id, resource_limits: limits } });
    assert.deepEqual(server.service.asked.at(-1), {
      method: "update",
      id: "root.leaf",
      arguments: [[], limits],
    });
  });
});

describe("what an operator could not write down", () => {
  const container_id: mesos.ContainerID = { value: "leaf", parent: { value: "root" } };
  const call = (break_glass?: bpf_isolator.Call.BreakGlass) =>
    server.client.call({ type: Type.BREAK_GLASS, ...(break_glass && { break_glass }) });

  it("comes with the containers that it is for, and modes that there are", async () => {
    assert.deepEqual(await call({ container_id, words: [{ container_id, mode: "audit" }] }), {
      type: Type.BREAK_GLASS,
    });
    await call({ words: [{ mode: "detach" }, { container_id }] });
    await call({});
    const id = ["root", "leaf"];
    assert.deepEqual(server.service.asked, [
      { method: "breakGlass", id: "root.leaf", arguments: [[{ id, mode: "audit" }]] },
      { method: "breakGlass", arguments: [[{ mode: "detach" }, { id }]] },
      { method: "breakGlass", arguments: [[]] },
    ]);
  });

  it("is refused whole where a part makes no sense", async () => {
    await assert.rejects(call({ words: [{ mode: "audit" }, { mode: "off" }] }), {
      code: "bad-message",
      message: "BREAK_GLASS has a mode besides audit and detach",
    });
    await assert.rejects(call({ words: [{ container_id: { value: "../x" } }] }), {
      code: "bad-container-id",
    });
    await assert.rejects(call(), { code: "bad-message" });
    assert.deepEqual(server.service.asked, []);
  });
});

describe("the handshake", () => {
  const agent = { name: "libbpf_isolator", version: "2.0", mesos_version: "1.11.0" };

  it("says who the daemon is and takes the highest version of both", async () => {
    const handshake = {
      ...agent,
      protocol_versions: [3, 1, 2],
      agent_address: { ip: "10.0.0.1", port: 5051 },
    };
    const response = await server.client.call({ type: Type.HANDSHAKE, handshake });
    assert.deepEqual(response.handshake, {
      name: "bpf-isolator",
      version: "1.2.3",
      protocol_versions: [1],
      protocol_version: 1,
      features: ["ports"],
      pid: process.pid,
      instance: "test",
    });
    assert.deepEqual(server.service.asked, [{ method: "handshake", arguments: [handshake] }]);
  });

  it("says which versions each has and what to upgrade, when there is none in common", async () => {
    for (const [protocol_versions, upgrade] of [
      [[2, 3], "bpf-isolator"],
      [[0], '"libbpf_isolator"'],
    ] as const) {
      await assert.rejects(
        server.client.call({ type: Type.HANDSHAKE, handshake: { ...agent, protocol_versions } }),
        {
          code: "protocol-mismatch",
          message:
            `"libbpf_isolator" 2.0 speaks version ${protocol_versions.join(", ")} of the protocol, ` +
            `bpf-isolator 1.2.3 speaks 1: upgrade ${upgrade}`,
        },
      );
    }
    assert.deepEqual(server.service.asked, []);
  });
});

describe("recover", () => {
  const state = (value: string): mesos.slave.ContainerState => ({
    container_id: { value },
    pid: 2n,
    directory: "/d",
  });

  it("goes on without a container whose id makes no sense", async () => {
    await server.client.call({
      type: Type.RECOVER,
      recover: { states: [state("good"), state("../bad")], orphans: [{ value: "a b" }, { value: "orphan" }] },
    });
    assert.deepEqual(server.service.asked.at(-1)?.arguments, [
      [{ id: ["good"], state: state("good") }],
      [["orphan"]],
    ]);
    assert.deepEqual(
      server.problems.map(({ code }) => code),
      ["bad-container-id", "bad-container-id"],
    );
  });

  it("of any number of containers is read as what it says, also in parts", async () => {
    const executor_info = { executor_id: { value: "e" }, command: {} };
    const states = Array.from({ length: 1500 }, (_, i) => ({ ...state(`c${i}`), executor_info }));
    const part = (some: typeof states, more: object) =>
      codecs.Call.encode({ type: Type.RECOVER, recover: { states: some, ...more } });
    // What comes more than once is one message, as protobuf has it.
    const [first, second] = [
      part(states.slice(0, 1000), { orphans: [{ value: "orphan" }] }),
      part(states.slice(1000), {}),
    ];
    assert(first.length > 16 * 1024);
    const answer = await server.send(Buffer.concat([first, second]), { "Content-Type": PROTOBUF });
    assert.equal(answer.status, 200);
    assert.deepEqual(server.service.asked.at(-1)?.arguments, [
      states.map((each) => ({ id: [each.container_id.value], state: each })),
      [["orphan"]],
    ]);
    const cut = await server.send(Buffer.concat([first, second]).subarray(0, -3), {
      "Content-Type": PROTOBUF,
    });
    assert.deepEqual([cut.status, responseOf(cut).error?.code], [400, "bad-message"]);
    assert.equal(server.service.asked.length, 1);
  });
});

it("lists any number of containers as one message, in both encodings", async () => {
  const before = server.service.summaries;
  const containers = Array.from({ length: 120 }, (_, i): bpf_isolator.ContainerSummary => ({
    container_id: { value: `c${i}` },
    state: bpf_isolator.ContainerSummary.State.ISOLATED,
    ports: [{ begin: BigInt(i), end: BigInt(i) }],
    events_lost: 2n ** 60n,
  }));
  const whole: bpf_isolator.Response = { type: bpf_isolator.Response.Type.LIST, list: { containers } };
  server.service.summaries = containers;
  try {
    const call = { type: Type.LIST };
    const protobuf = await server.send(codecs.Call.encode(call), { "Content-Type": PROTOBUF });
    assert.deepEqual(new Uint8Array(protobuf.body), new Uint8Array(codecs.Response.encode(whole)));
    const json = await server.send('{"type":"LIST"}', { "Content-Type": JSON_TYPE });
    assert.equal(json.body.toString(), JSON.stringify(codecs.Response.toJson(whole)));
  } finally {
    server.service.summaries = before;
  }
});
