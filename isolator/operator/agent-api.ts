/**
 * What an agent answers on /monitor/statistics and /containers (src/slave/http.cpp of Mesos), from what the daemon knows:
 * one entry for each executor, nested containers being in their root container's total.
 */
import { setImmediate as breathe } from "node:timers/promises";
import type { Isolator } from "../containers/isolator.js";
import type { Entry } from "../containers/registry.js";
import { formatId } from "../containers/names.js";
import { toResourceStatistics } from "../features/statistics.js";
import { codecs } from "../mesos/messages.js";
import { toContainerStatus } from "../protocol/views.js";
import type { Page } from "./pages.js";

/** Containers that are looked at before other calls have their turn. */
const AT_ONCE = 50;

interface ExecutorUsage {
  executor_id: string;
  executor_name: string;
  framework_id: string;
  source: string;
  statistics: object;
}

interface ContainerUsage extends ExecutorUsage {
  container_id: string;
  status: object;
}

function usageOf({ container, config }: Entry): ExecutorUsage | undefined {
  const executor = config?.executor_info;
  if (!container || !executor) return undefined;
  const statistics = toResourceStatistics(container.counts.statistics(), Date.now() / 1000);
  return {
    executor_id: executor.executor_id.value,
    executor_name: executor.name ?? "",
    framework_id: executor.framework_id?.value ?? "",
    source: executor.source ?? "",
    statistics: codecs.ResourceStatistics.toJson(statistics),
  };
}

/** @returns a list in JSON */
async function collect(
  isolator: Isolator,
  show: (entry: Entry) => ExecutorUsage | undefined,
): Promise<Awaited<ReturnType<Page>>> {
  const shown: string[] = [];
  for (const [index, entry] of isolator.list().entries()) {
    if (index % AT_ONCE === AT_ONCE - 1) await breathe();
    // Gone meanwhile?
    if (entry.id.length > 1 || isolator.named(entry.name) !== entry) continue;
    const one = show(entry);
    if (one !== undefined) shown.push(JSON.stringify(one));
  }
  return { type: "application/json", text: `[${shown.join()}]` };
}

/** GET /monitor/statistics */
export function monitorStatistics(isolator: Isolator): ReturnType<Page> {
  return collect(isolator, usageOf);
}

/** GET /containers */
export function containers(isolator: Isolator): ReturnType<Page> {
  return collect(isolator, (entry): ContainerUsage | undefined => {
    const usage = usageOf(entry);
    if (!usage) return undefined;
    const status = codecs.ContainerStatus.toJson(toContainerStatus(entry));
    return { container_id: formatId(entry.id), ...usage, status };
  });
}
