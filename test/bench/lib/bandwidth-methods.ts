/** What holds traffic back in bench:bandwidth: a container's limit, and tc's tbf and htb as Mesos has them on a veth. */
import { prepareContainer } from "../../../isolator/containers/preparation.js";
import type { Instance } from "../../../isolator/containers/instance.js";
import type { CgroupNode } from "../../../isolator/kernel/cgroup.js";
import { type Link, SINK, SOURCE, THERE } from "../../support/bandwidth.js";
import { sh } from "../../support/network.js";

/** Bytes/s. */
export const MBIT = 125_000;

export interface Held {
  /** Where senders run; undefined: in no container. */
  node?: CgroupNode;
  /** Packets that it has dropped. */
  dropped: () => number;
  end: () => Promise<void>;
}

export interface Method {
  name: string;
  /** Words of the flows, as test/helpers/bandwidth.c has them. */
  words: string;
  ingress?: true;
  /** Not of every number of flows. */
  flows?: number;
  hold: (rate: number) => Promise<Held>;
}

const SEND = `send to=${THERE} port=${SINK}`;
const RECEIVE = `receive to=${THERE} port=${SOURCE}`;

/** @param commands of tc, with RATE and BURST in them */
function withTc(name: string, ...commands: string[]): Method {
  return {
    name,
    words: `${SEND} cc=cubic`,
    hold: (rate) => {
      for (const command of commands)
        sh(
          "tc",
          ...command
            .replace("RATE", `${rate}mbit`)
            .replace("BURST", `${Math.max(Math.round((rate * MBIT) / 250), 65_536)}`)
            .split(" "),
        );
      return Promise.resolve({
        dropped: () => {
          const said = JSON.parse(sh("tc", "-s", "-j", "qdisc", "show", "dev", "near")) as {
            drops?: number;
          }[];
          return said[0]?.drops ?? 0;
        },
        end: () => {
          sh("tc", "qdisc", "del", "dev", "near", "root");
          return Promise.resolve();
        },
      });
    },
  };
}

function withLimit(instance: Instance, side: "egress" | "ingress"): Method["hold"] {
  return async (rate) => {
    const container = await prepareContainer(instance, {
      id: ["limited"],
      policy: {
        ...{ ports: [], ephemeral: "allow", enforce: "on", allowProtocols: [] },
        bandwidth: { [side]: { rate: rate * MBIT } },
      },
    });
    return {
      node: container.node,
      dropped: () => Number(container.counts.bandwidth()?.[side].droppedPackets ?? 0n),
      end: () => container.cleanup(),
    };
  };
}

/** As the method, with ECN at both ends. */
function withEcn(link: Link, method: Method): Method {
  const set = (value: number): void => {
    for (const host of [sh, link.far.run.bind(link.far)]) host("sysctl", "-qw", `net.ipv4.tcp_ecn=${value}`);
  };
  return {
    ...method,
    name: `${method.name}, ECN`,
    hold: async (rate) => {
      set(1);
      const held = await method.hold(rate);
      return {
        ...held,
        end: () => {
          set(2);
          return held.end();
        },
      };
    },
  };
}

/** Nothing: what the machine carries. */
export const NONE: Method = {
  name: "",
  words: `${SEND} cc=cubic`,
  hold: () => Promise.resolve({ dropped: () => 0, end: () => Promise.resolve() }),
};

/** @param bbr whether the kernel has this congestion control */
export function methods(instance: Instance, link: Link, bbr: boolean): Method[] {
  const ours: Method = { name: "this", words: `${SEND} cc=cubic`, hold: withLimit(instance, "egress") };
  const received: Method = {
    ...{ name: "this, ingress", ingress: true as const },
    words: RECEIVE,
    hold: withLimit(instance, "ingress"),
  };
  return [
    ours,
    ...(bbr ? [{ ...ours, name: "this, BBR", words: `${SEND} cc=bbr`, flows: 4 }] : []),
    withTc("tbf", "qdisc add dev near root tbf rate RATE burst BURST latency 50ms"),
    withTc(
      "htb",
      "qdisc add dev near root handle 1: htb default 1",
      "class add dev near parent 1: classid 1:1 htb rate RATE burst BURST",
    ),
    received,
    { ...withEcn(link, received), flows: 64 },
  ];
}
