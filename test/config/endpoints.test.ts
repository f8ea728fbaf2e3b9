/** `endpoints` of the configuration: what is read from it, and what is wrong with it, told by its place. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseConfig } from "../../isolator/config/load.js";
import type { EndpointsConfig } from "../../isolator/config/endpoints.js";

const CLASSES = "classes: [{name: a, match: {role: a}}, {name: b, match: {role: b}}]\n";

function load(text: string): EndpointsConfig {
  return parseConfig(Buffer.from(`${CLASSES}endpoints: ${text}\n`), "f").config.endpoints;
}

function problems(text: string): string[] {
  try {
    load(text);
  } catch (error) {
    return [...(error as { problems: string[] }).problems];
  }
  return assert.fail("it was read");
}

describe("endpoints in the configuration", () => {
  it("are read, each port an endpoint, those of one place with all of its classes", () => {
    assert.deepEqual(
      load(
        '{static: [{class: a, address: 10.0.0.1, ports: "1-2"}, {class: b, address: 10.0.0.1, ports: "2"}, ' +
          "{class: a, address: 10.0.0.0/8}], file: /x, master: {urls: [http://m:5050], encoding: json, " +
          "credential: /c, address_attribute: ip6}}",
      ),
      {
        static: [
          { address: "10.0.0.1", port: 1, classes: [{ name: "a" }] },
          { address: "10.0.0.1", port: 2, classes: [{ name: "a" }, { name: "b" }] },
          { address: "10.0.0.0/8", classes: [{ name: "a" }] },
        ],
        file: "/x",
        master: { urls: ["http://m:5050"], encoding: "json", credential: "/c", addressAttribute: "ip6" },
      },
    );
    assert.deepEqual(load("{}"), { static: [] });
  });

  for (const [text, problem] of [
    [
      "{static: [{class: c, address: 10.0.0.1}]}",
      /static\[0\]\.class: there is no class "c" in classes: those are a, b/,
    ],
    ["{static: [{class: a, address: 10.0.0.1/8}]}", /address: "10.0.0.1\/8" has bits set beyond its prefix/],
    ['{static: [{class: a, address: 10.0.0.0/8, ports: "1"}]}', /ports: are of single addresses only/],
    ["{static: [{class: a, address: 10.0.0.1, protocol: tcp}]}", /protocol: has no effect without ports/],
    ['{static: [{class: a, address: 10.0.0.1, ports: "1-20000"}]}', /make more than 10000 endpoints/],
    ["{file: here}", /file: is no absolute path/],
    ["{master: {urls: []}}", /urls: is empty: give at least one master/],
    ["{master: {urls: [zk://a/mesos]}}", /urls\[0\]: is no URL of a master/],
    ["{master: {urls: [http://u:p@m:5050]}}", /urls\[0\]: is no URL of a master/],
  ] as const) {
    it(`is told by its place: ${text}`, () => {
      assert.match(problems(text).join("\n"), problem);
    });
  }

  it("tells two classes whose names the kernel would take for the same", () => {
    const text = "classes: [{name: c17439, match: {role: r}}, {name: c24164, match: {role: r}}]";
    assert.throws(() => parseConfig(Buffer.from(text), "f"), /has by chance the same number .* as c17439/);
  });
});
