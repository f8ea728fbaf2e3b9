/** `bpf-isolator run`: a command as the only task of a container of its own, with no agent and no daemon. */
import { randomBytes } from "node:crypto";
import { HostAddresses } from "../cluster/host-addresses.js";
import type { Container } from "../containers/container.js";
import { describeEnded } from "../containers/ended.js";
import { Instance } from "../containers/instance.js";
import { prepareContainer } from "../containers/preparation.js";
import { exitStatus, findCommand, Task } from "../containers/task.js";
import { IsolatorError } from "../errors.js";
import { bandwidthStatistics } from "../features/bandwidth.js";
import { ruleName } from "../features/egress.js";
import { toDenial } from "../features/events.js";
import { toStatisticsJson } from "../features/statistics.js";
import { Reporter } from "./reporter.js";
import { policyOf, type PolicyOptions } from "./run-policy.js";
import { SignalRelay } from "./signals.js";
import { checkUsageFile, writeUsageFile } from "./usage-file.js";
import { Watching } from "./watching.js";

/** ms between two looks for connections that rules have come to deny. */
const LOOK = 2_000;

/** Options as the command line gives them. */
export interface RunOptions extends PolicyOptions {
  name?: string;
  instance: string;
  json?: boolean;
  usageFile?: string;
}

/** Ends connections that its rules have come to deny, for as long as the container is there. @returns what stops it */
function endDenied(container: Container, { sockets }: Instance, reporter: Reporter): () => void {
  if (container.policy.egress?.existing === undefined) return () => undefined;
  sockets.onEnded = (all) => {
    const own = all.filter(({ cgroup_id }) => cgroup_id === container.cgroupId);
    if (own.length > 0) reporter.ended(describeEnded(own));
  };
  const timer = setInterval(() => {
    sockets.soon();
  }, LOOK).unref();
  return () => {
    clearInterval(timer);
  };
}

/** @returns the task's exit status; the container is cleaned up */
async function runTask(
  container: Container,
  instance: Instance,
  path: string,
  args: readonly string[],
  signals: SignalRelay,
  watching: Watching,
): Promise<number> {
  let task: Task | undefined;
  try {
    if (signals.ending) return exitStatus(null, signals.ending);
    task = await Task.start(container, instance, path, args);
    signals.to(task.child);
    // Not before: this process itself was in the node for a moment.
    watching.start(task.child.pid);
    return await task.exited;
  } finally {
    watching.end();
    // From here on a signal ends this process, as it would any other: the next run sweeps.
    signals.close();
    await container.killAll();
    await task?.close();
    await container.cleanup();
  }
}

/**
 * @param command the command and its arguments
 * @returns exit status: the command's own, 128 + number for a death by signal
 * @throws IsolatorError
 */
export async function run([command, ...args]: readonly string[], options: RunOptions): Promise<number> {
  const policy = policyOf(options);
  if (command === undefined) throw new IsolatorError("bad-argument", "no command is given");
  if (options.usageFile !== undefined) checkUsageFile(options.usageFile);
  const path = findCommand(command);
  const signals = new SignalRelay();
  const name = options.name ?? `run-${randomBytes(4).toString("hex")}`;
  const instance = Instance.open(options.instance);
  const reporter = new Reporter(name, options.json ?? false);
  const container = await prepareContainer(instance, {
    id: [name],
    policy,
    onEvent: (event) => {
      reporter.denial(() =>
        toDenial(
          event,
          (cgroupId) => instance.nameOf(cgroupId),
          (_, rule) => ruleName(policy.egress, rule),
        ),
      );
    },
  });
  for (const gap of container.enforcement.gaps()) reporter.gap(gap);
  // A daemon looks at them too: both write the same.
  const addresses =
    policy.egress || policy.marking?.destinations
      ? new HostAddresses(instance.loaded.map("host_addresses"))
      : undefined;
  const watching = new Watching(container, reporter);
  const stopEnding = endDenied(container, instance, reporter);
  const status = await runTask(container, instance, path, args, signals, watching).finally(() => {
    addresses?.stop();
    stopEnding();
  });
  const usage = container.counts.usage();
  const more = bandwidthStatistics(policy.bandwidth, container.counts.bandwidth());
  reporter.summary(usage, Number(usage.eventsLost), more);
  if (options.usageFile !== undefined) {
    const statistics = toStatisticsJson({ usage, more }, Date.now() / 1000);
    writeUsageFile(options.usageFile, `${JSON.stringify(statistics, null, 2)}\n`);
  }
  return status;
}
