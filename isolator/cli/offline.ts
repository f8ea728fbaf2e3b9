/** The containers of an instance without its daemon. */
import { Instance } from "../containers/instance.js";
import { HeldView } from "../containers/held.js";
import { readOverview } from "../containers/overview.js";
import type { bpf_isolator } from "../mesos/messages.js";
import { toRunSummary } from "../protocol/views.js";

/** @throws not-root, bad-argument, no-cgroup2, state-failed */
export function listOffline(instance: string): bpf_isolator.ContainerSummary[] {
  const now = Date.now() / 1000;
  const all = readOverview(Instance.open(instance));
  const held = HeldView.read(
    instance,
    all.map(({ record }) => record),
  );
  return all.map(({ record, usage, glass }) => toRunSummary(record, usage, glass, now, held));
}
