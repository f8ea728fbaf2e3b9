/** Endpoints of a daemon: configured, streamed by a master, shown, and there again after kill -9. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { TestDaemon } from "../support/daemon.js";
import { recordedRecords, TestMaster } from "../support/master.js";
import { enterOwnNetwork } from "../support/network.js";
import { runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const CLASSES = `
classes:
  - {name: db, match: {role: db}}
  - {name: any, match: {role: "*"}}
`;
const master = await TestMaster.start();
const daemon = await TestDaemon.start();

async function cli(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runIsolator([...args, "--instance", daemon.instance]);
  assert.equal(status, 0, stderr);
  return stdout;
}

async function endpoints(...args: string[]): Promise<{ address: string; port?: number; source: string }[]> {
  const { version, endpoints } = JSON.parse(await cli("endpoints", "--json", ...args)) as {
    version: number;
    endpoints: { address: string; port?: number; source: string }[];
  };
  assert.equal(version, 1);
  return endpoints;
}

describe("a daemon's endpoints", () => {
  it("are none by default", async () => {
    assert.deepEqual(await endpoints(), []);
    assert.doesNotMatch(await cli("status"), /endpoints/);
  });

  it("come from the configuration and a master with the next reading of the configuration, and are shown", async () => {
    await daemon.reload(`${CLASSES}
endpoints:
  static:
    - {class: db, address: 10.1.2.3, ports: "5432,6432", protocol: tcp}
    - {class: db, address: 10.9.0.0/16}
  master: {urls: ["${master.url}"], encoding: json}
`);
    const { response } = await master.next();
    // The first state, a framework, a task that is staged and starting: it runs with the sixth.
    for (const record of recordedRecords("json").slice(0, 6)) response.write(record);
    await until(async () => (await endpoints()).length === 6, "all endpoints");
    const text = await cli("endpoints");
    assert.match(text, /^ENDPOINT +CLASSES +SOURCE +TASK$/m);
    assert.match(text, /^tcp 10\.1\.2\.3:5432 +db +static$/m);
    assert.match(text, /^10\.9\.0\.0\/16 +db +static$/m);
    assert.match(text, /^127\.0\.0\.1:31001 +any +master +\S+-0000\/t1$/m);
    assert.deepEqual(
      (await endpoints("--class", "any")).map(({ port }) => port),
      [31001, 31002, 31003],
    );
    assert.match(
      await cli("status"),
      /endpoints: master +current, 3 endpoints, heard of \d+ s ago, from 127/,
    );
    assert.match(await cli("status"), /endpoints: static +current, 3 endpoints, from the configuration/);
  });

  it("of one daemon are a file of another's", async () => {
    const text = await cli("endpoints", "--export");
    const [head, ...lines] = text.trim().split("\n");
    assert.deepEqual(JSON.parse(head ?? ""), { version: 1, endpoints: 6 });
    assert.equal(lines.length, 6);
    const file = `${daemon.configFile}.endpoints`;
    writeFileSync(file, text);
    const other = await TestDaemon.start({ config: `${CLASSES}\nendpoints: {file: ${file}}\n` });
    const read = async (): Promise<string> =>
      (await runIsolator(["endpoints", "--instance", other.instance])).stdout;
    await until(async () => (await read()).split("\n").length === 8, "the other's endpoints");
    assert.match(await read(), /^127\.0\.0\.1:31001 +any +file +\S+-0000\/t1$/m);
  });

  it("hold while the master is away and the daemon is killed: the next one begins with them", async () => {
    master.stop();
    await until(async () => /endpoints: master +stale, 3/.test(await cli("status")), "the master is away");
    await daemon.restart("SIGKILL");
    await until(async () => (await endpoints()).length === 6, "all endpoints");
    assert.deepEqual([...new Set((await endpoints()).map(({ source }) => source))].sort(), [
      "before",
      "static",
    ]);
    assert.match(await cli("status"), /endpoints: master +waiting, 0 endpoints, from 127/);
  });
});
