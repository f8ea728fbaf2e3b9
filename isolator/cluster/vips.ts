/**
 * What tasks claim of virtual addresses: labels VIP_0, VIP_1, ... of Marathon and DC/OS, on a port of the DiscoveryInfo,
 * or of the task, where VIP_n is about its n-th port. All of it is chosen by users: bounded here, allowed by the
 * configuration (services.claims), and never for a port that is not the task's.
 */
import { parseVip, type VipSpec } from "../config/service-texts.js";
import type { ContainerFacts } from "../config/facts.js";
import type { EndpointProtocol } from "../features/endpoints.js";
import { listPorts } from "../features/ports.js";
import type { mesos } from "../mesos/messages.js";
import type { Ignored } from "./ignored.js";

/** Of a task. */
const MAX_VIPS = 32;
const MAX_PORTS = 128;
/** Of a port. */
const MAX_LABELS = 1024;
const LABEL = /^VIP_\d{1,3}$/;
const MAX_TEXT = 160;

export const IGNORED_VIPS = {
  form: "VIP labels that are no virtual address",
  port: "VIP labels of ports that are not the task's",
  many: "VIP labels beyond the 32 of a task",
} as const;

/** One of a task. */
export interface TaskVip {
  vip: VipSpec;
  protocol: EndpointProtocol;
  /** Of the task, where it leads. */
  port: number;
}

/** What a source says of a task that claims virtual addresses. */
export interface TaskVips {
  facts: ContainerFacts;
  vips: readonly TaskVip[];
  /** By which it is reached, of 16 bytes each. */
  addresses: readonly Uint8Array[];
  /** It gets no new connections: it is being killed, or not healthy. */
  draining: boolean;
}

function protocolsOf(text: string | undefined): EndpointProtocol[] {
  const named = (text ?? "tcp").toLowerCase().split(",");
  return (["tcp", "udp"] as const).filter((protocol) => named.includes(protocol));
}

/** @param ignored counts what cannot be used */
export function vipsOf(task: mesos.v1.master.Task, facts: ContainerFacts, ignored: Ignored): TaskVip[] {
  const found: TaskVip[] = [];
  const own = listPorts(facts.ports ?? []);
  const add = (text: string, port: number | undefined, protocols: readonly EndpointProtocol[]): void => {
    const vip = text.length > MAX_TEXT ? undefined : parseVip(text.trim());
    if (!vip) ignored.count(IGNORED_VIPS.form);
    else if (port === undefined || port < 1 || port > 65535) ignored.count(IGNORED_VIPS.port);
    else if (found.length >= MAX_VIPS) ignored.count(IGNORED_VIPS.many);
    else for (const protocol of protocols) found.push({ vip, protocol, port });
  };
  for (const { number, protocol, labels } of (task.discovery?.ports?.ports ?? []).slice(0, MAX_PORTS)) {
    // In a network of its own all of its ports are its own.
    const port = facts.ownNetwork || own.includes(number) ? number : undefined;
    for (const { key, value = "" } of (labels?.labels ?? []).slice(0, MAX_LABELS))
      if (LABEL.test(key)) add(value, port, protocolsOf(protocol));
  }
  for (const [key, value] of facts.labels)
    if (LABEL.test(key)) add(value, facts.ownNetwork ? undefined : own[Number(key.slice(4))], ["tcp"]);
  return found;
}
