/**
 * The messages of proto/, Mesos's and this program's own: their types and codecs. All that others import of this
 * directory.
 */
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
