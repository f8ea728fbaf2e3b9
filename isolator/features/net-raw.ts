/**
 * CAP_NET_RAW: raw and packet sockets need it, and where no hook of the kernel refuses these, a container can be launched
 * without it. It leaves the bounding set: neither root nor a file's capabilities bring it back. Effective capabilities are not
 * given, since to those who are not root they would give rights that they never had.
 *
 * Mesos merges the lists of several isolators to one, in which there is what any of them has. So the list is not to have more
 * than that of Mesos's own linux/capabilities, where that isolator has one.
 */
import { IsolatorError } from "../errors.js";
import { mesos } from "../mesos/messages.js";
import type { Policy } from "./policy.js";
import { openSockets } from "./sockets.js";

const { Capability } = mesos.CapabilityInfo;

const ALL = Object.values(Capability).filter(
  (value): value is mesos.CapabilityInfo.Capability =>
    typeof value === "number" && value !== Capability.UNKNOWN,
);

/**
 * Whether a container is to lose it.
 * @param has whether there is a program for a hook
 */
export function mustTakeNetRaw(policy: Policy, has: (hook: string) => boolean): boolean {
  const { enforce, sockets } = policy;
  if (enforce !== "on" || (sockets?.raw !== "deny" && sockets?.packet !== "deny")) return false;
  // The hook that sees packet sockets is one of BPF LSM.
  return openSockets({ packet: "deny" }, has).length > 0;
}

/** The set that linux/capabilities would set as bounding; undefined: the container names none. */
function wanted(config: mesos.slave.ContainerConfig): readonly mesos.CapabilityInfo.Capability[] | undefined {
  const { bounding_capabilities, effective_capabilities, capability_info } =
    config.container_info?.linux_info ?? {};
  const effective = effective_capabilities ?? capability_info;
  const set = bounding_capabilities ?? effective;
  return set && [...(set.capabilities ?? []), ...(effective?.capabilities ?? [])];
}

/**
 * What takes it away.
 * @param name of the container, for errors
 * @throws bad-argument where the container asks for it by name: Mesos's linux/capabilities would give it back
 */
export function withoutNetRaw(
  config: mesos.slave.ContainerConfig,
  name: string,
): mesos.slave.ContainerLaunchInfo {
  const set = wanted(config);
  if (set?.includes(Capability.NET_RAW)) {
    throw new IsolatorError(
      "bad-argument",
      `container ${name} asks for the capability NET_RAW, and raw or packet sockets are denied here: leave it out of the ` +
        "capabilities of its LinuxInfo",
    );
  }
  // Mesos's own list is this one too, if it has one.
  const capabilities = set ? [...new Set(set)] : ALL.filter((value) => value !== Capability.NET_RAW);
  return { bounding_capabilities: { capabilities } };
}
