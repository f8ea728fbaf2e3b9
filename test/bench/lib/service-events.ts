/**
 * How long it takes from a master's event to the kernel's table of services, beside many others: a master over real
 * HTTP, the daemon's own reader of it, and a look at the map in each turn of the event loop, all in this process.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { Cluster } from "../../../isolator/cluster/cluster.js";
import { parseConfig } from "../../../isolator/config/load.js";
import { encodeServiceKey } from "../../../isolator/features/service-layout.js";
import { SHARED_SET } from "../../../isolator/features/services.js";
import { decode } from "../../../isolator/kernel/codec.js";
import { layouts } from "../../../isolator/kernel/gen/layout.js";
import { Programs } from "../../../isolator/kernel/programs.js";
import { codecs, mesos } from "../../../isolator/mesos/messages.js";
import { encodeRecord } from "../../../isolator/mesos/recordio.js";
import { subscribed, task, updated } from "../../support/vip-tasks.js";
import type { Cleanup } from "./cleanup.js";
import { type Spread, spread } from "./stats.js";

const { TaskState } = mesos.v1.master;

/** ms. */
export interface EventTimes {
  services: number;
  drained: Spread;
  added: Spread;
}

interface Master {
  url: string;
  subscriber: Promise<ServerResponse>;
}

async function startMaster(cleanup: Cleanup): Promise<Master> {
  let come: (response: ServerResponse) => void = () => undefined;
  const subscriber = new Promise<ServerResponse>((resolve) => (come = resolve));
  const server = createServer((request, response) => {
    response.writeHead(200, { "Content-Type": request.headers.accept ?? "" });
    response.flushHeaders();
    come(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.add("the master", () => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, subscriber };
}

const address = (i: number): string => `10.88.${i >> 8}.${i & 255}`;

/** @param services with two tasks each @param events of each kind */
export async function measureEvents(services: number, events: number, cleanup: Cleanup): Promise<EventTimes> {
  const master = await startMaster(cleanup);
  const text = `
services: {claims: [{match: {role: web}, addresses: [10.88.0.0/16]}]}
endpoints: {master: {urls: ["${master.url}"]}}`;
  const { config } = parseConfig(Buffer.from(text), "bench.yaml");
  const programs = Programs.trial();
  cleanup.add("programs", () => {
    programs.close();
  });
  const cluster = new Cluster(programs, config, "", () => undefined);
  cleanup.add("the cluster", () => {
    cluster.stop();
  });
  const response = await master.subscriber;
  const tasks = Array.from({ length: 2 * services }, (_, i) =>
    task(`t${i}`, 1000 + (i % 60_000), { VIP_0: `${address(i >> 1)}:80` }),
  );
  const send = (event: mesos.v1.master.Event): void => {
    response.write(encodeRecord(codecs.MasterEvent.encode(event)));
  };
  const backends = (i: number): number => {
    const key = encodeServiceKey(SHARED_SET, { address: address(i), port: 80, protocol: "tcp" });
    const value = programs.map("services").lookup(key);
    return value ? decode(layouts.structs.service, value).count : 0;
  };
  send(subscribed(tasks));
  for (let i = 0; i < services; i++) while (backends(i) < 2) await turn();
  await cluster.settled();
  const taken = { drained: [] as number[], added: [] as number[] };
  for (let i = 0; i < events; i++) {
    const which = (i * 7919) % services;
    for (const [kind, state, count] of [
      ["drained", TaskState.TASK_KILLING, 1],
      ["added", TaskState.TASK_RUNNING, 2],
    ] as const) {
      const from = performance.now();
      send(updated(`t${2 * which}`, state));
      while (backends(which) !== count) await turn();
      taken[kind].push(performance.now() - from);
    }
  }
  return { services, drained: spread(taken.drained), added: spread(taken.added) };
}
