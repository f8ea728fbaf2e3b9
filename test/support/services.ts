/** Containers with services of their own, for the tests of services. */
import { formatAddress } from "../../isolator/features/addresses.js";
import { parseVipOption, parseVipOptions } from "../../isolator/features/vip-option.js";
import { ServiceTable } from "../../isolator/kernel/service-table.js";
import { Connector } from "./connections.js";
import { policy, type Cell, type testInstance } from "./instance.js";

export interface Box extends Cell {
  task: Connector;
  table: ServiceTable;
}

type Make = (vips: readonly string[], more?: object, parent?: Cell) => Promise<Box>;

/** @returns what makes a container with services of its own, and a task in it */
export function boxMaker({ instance, cell }: ReturnType<typeof testInstance>): Make {
  let count = 0;
  return async (vips, more = {}, parent) => {
    const own = parseVipOptions(vips);
    const id = parent ? ([...parent.container.id, "n"] as never) : ([`s${count++}`] as never);
    const made = await cell(id, policy("", { services: { own }, ...more }), parent);
    const table = new ServiceTable(instance.loaded, made.container.cgroupId);
    return Object.assign(made, { task: Connector.start(made.container.node), table });
  };
}

/** What a backend of a service was chosen for so far. */
export function chosen(made: Box, vip: string, backend: number): number {
  const service = parseVipOption(vip);
  const counts = made.table.counts(service, service.backends[backend] ?? { address: "::", port: 0 });
  return Number(counts?.connects ?? 0n);
}

/** "127.0.0.1:80", as an answer of the task tells it. */
export function at(answer: number[] | string): string {
  if (typeof answer === "string") return answer;
  const [port = 0, ...bytes] = answer;
  return `${formatAddress(Uint8Array.from(bytes))}:${port}`;
}
