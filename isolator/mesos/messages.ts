/**
 * The messages of proto/, Mesos's and this program's own: their types and codecs. All that others import of this
 * directory.
 */
import { setImmediate as breathe } from "node:timers/promises";
import protobuf from "protobufjs/light.js";
import { MessageCodec } from "./codec.js";
import { descriptor } from "./gen/descriptor.js";
import { bpf_isolator, mesos } from "./gen/types.js";

export { bpf_isolator, mesos };
export { fromContainerId, toContainerId } from "./ids.js";
export type { MessageCodec };

const root = protobuf.Root.fromJSON(descriptor);
root.resolveAll();

function codec<T extends object>(name: string): MessageCodec<T> {
  return new MessageCodec<T>(root.lookupType(name));
}

/** Codecs of the messages that travel or are stored on their own. */
export const codecs = {
  Call: codec<bpf_isolator.Call>("bpf_isolator.Call"),
  Recover: codec<bpf_isolator.Call.Recover>("bpf_isolator.Call.Recover"),
  Response: codec<bpf_isolator.Response>("bpf_isolator.Response"),
  List: codec<bpf_isolator.Response.List>("bpf_isolator.Response.List"),
  ContainerSummary: codec<bpf_isolator.ContainerSummary>("bpf_isolator.ContainerSummary"),
  ContainerID: codec<mesos.ContainerID>("mesos.ContainerID"),
  ContainerConfig: codec<mesos.slave.ContainerConfig>("mesos.slave.ContainerConfig"),
  ContainerLaunchInfo: codec<mesos.slave.ContainerLaunchInfo>("mesos.slave.ContainerLaunchInfo"),
  ContainerLimitation: codec<mesos.slave.ContainerLimitation>("mesos.slave.ContainerLimitation"),
  ContainerState: codec<mesos.slave.ContainerState>("mesos.slave.ContainerState"),
  ContainerStatus: codec<mesos.ContainerStatus>("mesos.ContainerStatus"),
  MasterAgent: codec<mesos.v1.master.Agent>("mesos.v1.master.Agent"),
  MasterTask: codec<mesos.v1.master.Task>("mesos.v1.master.Task"),
  MasterEvent: codec<mesos.v1.master.Event>("mesos.v1.master.Event"),
  Resource: codec<mesos.Resource>("mesos.Resource"),
  ResourceStatistics: codec<mesos.ResourceStatistics>("mesos.ResourceStatistics"),
} as const;

/** Messages that are in these, and these themselves. */
function within(names: readonly string[]): ReadonlySet<protobuf.Type> {
  const found = new Set(names.map((name) => root.lookupType(name)));
  // What is added is come to too.
  for (const { fieldsArray } of found)
    for (const { resolvedType } of fieldsArray)
      if (resolvedType instanceof protobuf.Type) found.add(resolvedType);
  return found;
}

/**
 * Has protobufjs make its code for calls and their answers, a message at a time, with others' turns between them: else it
 * makes that of all messages in a call when the first one comes, and those of a PREPARE keep the event loop for 20 ms.
 */
export async function makeCodecs(): Promise<void> {
  for (const type of within(["bpf_isolator.Call", "bpf_isolator.Response"])) {
    // A call was quicker.
    if (Object.hasOwn(type, "encode")) continue;
    type.setup();
    await breathe();
  }
}
