/** Messages: what a real agent sent, in both encodings, and what must not get lost or be misread. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import protobuf from "protobufjs";
import { IsolatorError } from "../../isolator/errors.js";
import {
  codecs,
  fromContainerId,
  mesos,
  toContainerId,
  type MessageCodec,
} from "../../isolator/mesos/messages.js";
import { bytesOf, readTrace, traceNames, type Recorded, type RecordedCall } from "../support/traces.js";

/** Every message of a recorded call with its codec. */
function messagesOf(call: RecordedCall): [MessageCodec<object>, Recorded][] {
  const all = <T extends object>(codec: MessageCodec<T>, recorded: Recorded[]) =>
    recorded.map((message): [MessageCodec<object>, Recorded] => [
      codec as unknown as MessageCodec<object>,
      message,
    ]);
  const one = (message: Recorded | undefined): Recorded[] => (message ? [message] : []);
  return [
    ...all(codecs.ContainerID, [...one(call.container_id_pb), ...(call.orphans ?? [])]),
    ...all(codecs.ContainerConfig, one(call.container_config)),
    ...all(codecs.Resource, call.resource_requests ?? []),
    ...all(codecs.ContainerState, call.states ?? []),
  ];
}

function bad(code: string, pattern: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof IsolatorError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, pattern);
    return true;
  };
}

/** Messages of a Mesos that is newer than proto/: more fields of every wire type, more values of enums. */
function newerConfig(): protobuf.Type {
  const { root } = protobuf.parse(
    `syntax = "proto2";
     enum Kind { SCALAR = 0; RANGES = 1; CUBE = 77; }
     message Id { required string value = 1; optional Id parent = 2; optional string extra = 1000; }
     message Quota { optional string name = 1; optional fixed32 four = 2; optional fixed64 eight = 3; }
     message Resource { required string name = 1; required Kind type = 2; optional Quota quota = 900;
       repeated Kind kinds = 901; optional group Old = 902 { optional int32 x = 1; } }
     message Config { required string directory = 3; required Command command_info = 11; repeated Resource resources = 13;
       optional Kind container_class = 14; optional sint64 later = 500; }
     message Command { optional string value = 3; optional bytes blob = 99; }`,
    { keepCase: true },
  );
  root.resolveAll();
  return root.lookupType("Config");
}

describe("recorded messages", () => {
  for (const name of traceNames()) {
    it(`of ${name} are the same from bytes and from JSON, and encode to their bytes`, () => {
      let seen = 0;
      for (const call of readTrace(name)) {
        for (const [codec, recorded] of messagesOf(call)) {
          const where = `${name} call ${call.seq} ${codec.name}`;
          const bytes = bytesOf(recorded);
          const message = codec.decode(bytes);
          assert.deepEqual(codec.parseJson(JSON.stringify(recorded.json)), message, where);
          assert.deepEqual(codec.encode(message), bytes, where);
          assert.deepEqual(codec.parseJson(JSON.stringify(codec.toJson(message))), message, where);
          seen++;
        }
      }
      assert.ok(seen > 0);
    });
  }

  it("read as what they say", () => {
    const call = readTrace("discovery-and-labels").find(({ method }) => method === "prepare");
    assert.ok(call?.container_config);
    const config = codecs.ContainerConfig.decode(bytesOf(call.container_config));
    const ports = config.resources?.find((resource) => resource.name === "ports");
    assert.equal(ports?.type, mesos.Value.Type.RANGES);
    assert.deepEqual(ports.ranges?.range?.[0], { begin: 31010n, end: 31011n });
    const port = config.task_info?.discovery?.ports?.ports?.at(-1);
    assert.deepEqual(port?.labels?.labels, [{ key: "VIP_1", value: "/dns:53" }, { key: "nv" }]);
    assert.equal(config.container_class, undefined);
  });
});

describe("fields that this program does not know", () => {
  it("survive decoding and encoding at every level", () => {
    const type = newerConfig();
    const bytes = type
      .encode(
        type.fromObject({
          directory: "/d",
          command_info: { value: "true", blob: "AP8=" },
          resources: [
            { name: "ports", type: "RANGES", quota: { name: "q", four: 4, eight: "8" }, old: { x: -1 } },
            { name: "cpus", type: "SCALAR", kinds: ["CUBE", "SCALAR"] },
          ],
          container_class: "CUBE",
          later: "-9007199254740993",
        }),
      )
      .finish();
    const config = codecs.ContainerConfig.decode(bytes);
    assert.equal(config.container_class, undefined);
    const again = codecs.ContainerConfig.encode(config);
    const read = (from: Uint8Array): unknown =>
      type.toObject(type.decode(from), { longs: String, enums: String, bytes: String });
    assert.deepEqual(read(again), read(bytes));
    assert.deepEqual(codecs.ContainerConfig.decode(again), config);
  });

  it("of JSON are left out, and so are names of enums, unless required", () => {
    const text =
      '{"name":"x","type":"SCALAR","future":{"a":[1]},"reservations":[{"type":"LEASED","role":"r"}]}';
    assert.deepEqual(codecs.Resource.parseJson(text), {
      name: "x",
      type: mesos.Value.Type.SCALAR,
      reservations: [{ role: "r" }],
    });
    assert.throws(
      () => codecs.Resource.parseJson('{"name":"x","type":"CUBE"}'),
      bad("bad-message", /type is "CUBE", which is not a name that Value.Type has/),
    );
  });
});

describe("64 bits", () => {
  const statistics = (bytes: bigint): mesos.ResourceStatistics => ({ timestamp: 1.5, net_rx_bytes: bytes });

  it("are exact in protobuf and JSON", () => {
    for (const value of [0n, 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
      const message = statistics(value);
      assert.deepEqual(codecs.ResourceStatistics.decode(codecs.ResourceStatistics.encode(message)), message);
      const json = JSON.stringify(codecs.ResourceStatistics.toJson(message));
      assert.match(json, value < 2n ** 53n ? /"net_rx_bytes":\d+}/ : /"net_rx_bytes":"\d+"}/);
      assert.deepEqual(codecs.ResourceStatistics.parseJson(json), message);
    }
    const snmp: mesos.ResourceStatistics = {
      timestamp: 0,
      net_snmp_statistics: { tcp_stats: { MaxConn: -1n, InSegs: -(2n ** 63n) } },
    };
    assert.deepEqual(codecs.ResourceStatistics.decode(codecs.ResourceStatistics.encode(snmp)), snmp);
  });

  it("that do not fit are refused", () => {
    assert.throws(
      () => codecs.ResourceStatistics.encode(statistics(2n ** 64n)),
      /does not fit .*net_rx_bytes/,
    );
    assert.throws(() => codecs.ResourceStatistics.encode(statistics(-1n)), /does not fit/);
    for (const value of ["-1", '"18446744073709551616"', "1.5", '"1.5"', '""', '"0x1"']) {
      assert.throws(
        () => codecs.ResourceStatistics.parseJson(`{"timestamp":1,"net_rx_bytes":${value}}`),
        bad("bad-message", /net_rx_bytes is .*, which is not an integer of 0 to 18446744073709551615/),
        value,
      );
    }
    assert.throws(
      () => codecs.ResourceStatistics.parseJson('{"timestamp":1,"net_rx_bytes":9007199254740993}'),
      bad("bad-message", /net_rx_bytes is a number above 2\^53/),
    );
  });
});

describe("wrong messages", () => {
  it("in JSON name the field", () => {
    const wrong: [string, RegExp][] = [
      ["{", /JSON/],
      ["[]", /the message is an array, which is not an object/],
      ['{"directory":1,"command_info":{}}', /directory is 1, which is not a string/],
      [`{"directory":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, /directory is an array, which is not/],
      ['{"directory":"/d"}', /command_info is missing/],
      [
        '{"directory":"/d","command_info":{"shell":"yes"}}',
        /command_info.shell is "yes", which is not true or/,
      ],
      [
        '{"directory":"/d","command_info":{},"resources":{}}',
        /resources is an object, which is not an array/,
      ],
      [
        '{"directory":"/d","command_info":{},"resources":[{"name":"a","type":"SET"},{"name":"b","type":1}]}',
        /resources\[1\].type is 1, which is not a name of mesos.Value.Type/,
      ],
      [
        '{"directory":"/d","command_info":{},"limits":{"cpus":{"value":"many"}}}',
        /limits\["cpus"\].value is "many", which is not a number/,
      ],
      [
        '{"directory":"/d","command_info":{},"executor_info":{"executor_id":{"value":"e"},"data":"%"}}',
        /executor_info.data is "%", which is not base64/,
      ],
    ];
    for (const [text, pattern] of wrong) {
      assert.throws(() => codecs.ContainerConfig.parseJson(text), bad("bad-message", pattern), text);
    }
  });

  it("in protobuf are refused", () => {
    const whole = codecs.ContainerConfig.encode({ directory: "/d", command_info: { value: "true" } });
    for (let length = 0; length < whole.length; length++) {
      assert.throws(
        () => codecs.ContainerConfig.decode(whole.subarray(0, length)),
        bad("bad-message", /no mesos.slave.ContainerConfig in protobuf/),
      );
    }
    assert.throws(() => codecs.ContainerConfig.decode(Buffer.from("<html>")), bad("bad-message", /protobuf/));
  });

  it("that are nested too deep are refused in both", () => {
    let id: mesos.ContainerID = { value: "x" };
    for (let i = 0; i < 20_000; i++) id = { value: "x", parent: id };
    let text = '{"value":"x"}';
    let bytes = Buffer.from([0x0a, 1, 0x78]);
    for (let i = 0; i < 200; i++) {
      text = `{"value":"x","parent":${text}}`;
      const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7];
      bytes = Buffer.concat([Buffer.from([0x0a, 1, 0x78, 0x12, ...length]), bytes]);
    }
    assert.throws(() => codecs.ContainerID.parseJson(text), bad("bad-message", /nested more than 100 deep/));
    assert.throws(() => codecs.ContainerID.decode(bytes), bad("bad-message", /depth/));
    assert.throws(() => toContainerId(id), bad("bad-container-id", /nested more than 32 deep/));
  });

  it("do not reach prototypes", () => {
    const text =
      '{"directory":"/d","command_info":{},"limits":{"__proto__":{"value":1}},"__proto__":{"user":"root"}}';
    const config = codecs.ContainerConfig.parseJson(text);
    assert.equal(config.user, undefined);
    assert.deepEqual(Object.keys(config.limits ?? {}), ["__proto__"]);
    assert.deepEqual(codecs.ContainerConfig.decode(codecs.ContainerConfig.encode(config)), config);
  });
});

describe("empty lists and maps", () => {
  it("are absent", () => {
    const empty = { directory: "/d", command_info: {}, resources: [], limits: {} };
    const absent = { directory: "/d", command_info: {} };
    assert.deepEqual(codecs.ContainerConfig.toJson(empty), absent);
    assert.deepEqual(codecs.ContainerConfig.parseJson(JSON.stringify(empty)), absent);
    assert.deepEqual(codecs.ContainerConfig.decode(codecs.ContainerConfig.encode(empty)), absent);
  });
});

describe("doubles", () => {
  it("may be infinite, as a limit of Mesos is", () => {
    const config = codecs.ContainerConfig.parseJson(
      '{"directory":"/d","command_info":{},"limits":{"mem":{"value":"Infinity"},"cpus":{"value":"0.5"}}}',
    );
    assert.deepEqual(config.limits, { mem: { value: Infinity }, cpus: { value: 0.5 } });
    assert.deepEqual(codecs.ContainerConfig.decode(codecs.ContainerConfig.encode(config)), config);
    assert.deepEqual(
      codecs.ContainerConfig.parseJson(JSON.stringify(codecs.ContainerConfig.toJson(config))),
      config,
    );
  });
});

describe("container ids", () => {
  it("become names from the root down, and back", () => {
    const legal: [string, ...string[]][] = [
      ["782ff0b0-6c38"],
      ["a", "b", "check-0"],
      ["ümläut", "a:b", "x".repeat(242)],
    ];
    for (const id of legal) assert.deepEqual(toContainerId(fromContainerId(id)), id);
    assert.deepEqual(fromContainerId(["root", "leaf"]), { value: "leaf", parent: { value: "root" } });
  });

  it("are refused where Mesos refuses them, or where two would look the same", () => {
    const values = ["", ".", "..", "a.b", "a/b", "a\\b", "a b", "a\0", "a\n", "\x7f", "\ud800", "\ufffd"];
    for (const value of [...values, "x".repeat(243), "x".repeat(10_000), "ü".repeat(122)]) {
      assert.throws(() => toContainerId({ value }), bad("bad-container-id", /the container id/), value);
      assert.throws(
        () => toContainerId({ value: "a", parent: { value } }),
        bad("bad-container-id", /id/),
        value,
      );
    }
  });
});
