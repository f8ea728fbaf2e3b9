/** `statistics` and `operator` of the configuration: what is said of mistakes, and what defaults are. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConfigError, parseConfig } from "../../isolator/config/load.js";
import { parseAddress } from "../../isolator/config/statistics.js";

function problems(text: string): string {
  try {
    parseConfig(Buffer.from(text), "f.yaml");
  } catch (error) {
    assert(error instanceof ConfigError);
    return error.problems.join("\n");
  }
  assert.fail(`accepted: ${text}`);
}

describe("statistics and operator", () => {
  it("have defaults in each part", () => {
    const read = (text: string) => parseConfig(Buffer.from(text), "f.yaml").config;
    assert.deepEqual(read("").statistics, { interval: 10 });
    assert.deepEqual(read("statistics: { rates: { window: 2, interval: 1 } }").statistics, {
      interval: 10,
      rates: { window: 2, interval: 1 },
    });
    assert.deepEqual(read("operator: {}").operator, { hosts: [] });
    assert.deepEqual(read("operator: { address: off }").operator, { address: "off", hosts: [] });
  });

  for (const [text, said] of [
    ["statistics: { interval: 0 }", /1:25: statistics\.interval: /],
    ["statistics: { interval: 61 }", /statistics\.interval: /],
    ["statistics: { rates: { window: 10 } }", /statistics\.rates\.interval: /],
    ["statistics: { rates: { window: 10, interval: 0.01 } }", /statistics\.rates\.interval: /],
    [
      "statistics: { rates: { window: 1, interval: 0.6 } }",
      /1:32: statistics\.rates\.window: is too short: give two intervals/,
    ],
    [
      "statistics: { rates: { window: 3600, interval: 0.02 } }",
      /statistics\.rates\.window: has room for too many samples/,
    ],
    ["operator: { address: 5052 }", /operator\.address: /],
    ['operator: { address: "localhost:5052" }', /operator\.address: .*is no address with a port/],
    ['operator: { address: "127.0.0.1" }', /is no address with a port/],
    ["operator: { adress: x }", /operator\.adress: unknown key \(did you mean address\?\)/],
  ] as const) {
    it(`says what is wrong with ${text}`, () => {
      assert.match(problems(text), said);
    });
  }

  it("takes addresses of IPv4 and IPv6 with a port", () => {
    assert.deepEqual(parseAddress("127.0.0.1:5052"), { ip: "127.0.0.1", port: 5052 });
    assert.deepEqual(parseAddress("[::]:1"), { ip: "::", port: 1 });
    for (const text of ["1.2.3.256:1", "[::1]", "::1:5", "127.0.0.1:0", "127.0.0.1:65536", ":80", "a:80", ""])
      assert.equal(parseAddress(text), undefined, text);
  });
});
