/** Classes of this host's containers that demand a principal, which only a master's stream tells. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mesos } from "../../isolator/mesos/messages.js";
import { Agent, CPUS } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { eventRecord, TestMaster, type MasterEvent } from "../support/master.js";
import { enterOwnNetwork } from "../support/network.js";
import { until } from "../support/wait.js";

const { Type } = mesos.v1.master.Event;

const frameworkInfo = (principal?: string) => ({
  framework_info: { id: { value: "fw" }, ...(principal === undefined ? {} : { principal }) },
});

function snapshot(principal: string): MasterEvent {
  const get_state = { get_frameworks: { frameworks: [frameworkInfo(principal)] } };
  return { type: Type.SUBSCRIBED, subscribed: { get_state, heartbeat_interval_seconds: 15 } };
}

describe("a daemon that hears a master", async () => {
  enterOwnNetwork();
  const master = await TestMaster.start();
  const daemon = await TestDaemon.start({
    config: [
      `endpoints: { master: { urls: ["${master.url}"] } }`,
      "classes:",
      "  - { name: ops, match: { principal: operations } }",
      "  - { name: others, match: { framework_id: fw, principal: others } }",
    ].join("\n"),
  });
  const agent = new Agent(daemon);
  const classes = async (name: string) => (await agent.find(name))?.classes?.map((each) => each.name) ?? [];
  const becomes = (name: string, wanted: string[]) =>
    until(async () => (await classes(name)).join() === wanted.join(), `${name} is of ${wanted.join()}`);
  const prepare = (name: string, framework: string) =>
    agent.prepare(name, {
      executor_info: { executor_id: { value: name }, framework_id: { value: framework }, type: "CUSTOM" },
      resources: [CPUS],
    });

  it("gives and takes the class of a container that runs, of this framework alone", async () => {
    await prepare("theirs", "fw");
    await prepare("strange", "another");
    assert.deepEqual(await classes("theirs"), []);
    const { response } = await master.next();
    response.write(eventRecord(snapshot("operations")));
    await becomes("theirs", ["ops"]);
    response.write(
      eventRecord({
        type: Type.FRAMEWORK_UPDATED,
        framework_updated: { framework: frameworkInfo("others") },
      }),
    );
    await becomes("theirs", ["others"]);
    response.write(
      eventRecord({
        type: Type.FRAMEWORK_UPDATED,
        framework_updated: { framework: frameworkInfo("operations") },
      }),
    );
    await becomes("theirs", ["ops"]);
    assert.deepEqual(await classes("strange"), []);
    await prepare("later", "fw");
    assert.deepEqual(await classes("later"), ["ops"]);
  });

  it("remembers it when it starts again and the master is away", async () => {
    master.stop();
    await daemon.restart();
    assert.deepEqual(await classes("theirs"), ["ops"]);
    await prepare("after", "fw");
    assert.deepEqual(await classes("after"), ["ops"]);
    assert.deepEqual(await classes("strange"), []);
  });
});
