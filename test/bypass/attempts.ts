/**
 * Everything a task could try to get a port that is not its own. Each is made with the policy off, where it must get
 * through, and on, where it must be stopped at the step and with the error named here. Later features add theirs.
 */
import type { Policy } from "../../isolator/features/policy.js";

/** Ports of the policed container and of its neighbour; the neighbour's are inside of ip_local_port_range. */
export const OWN = "31000-31199";
export const NEIGHBOUR = "40000-40199";
/** The range of a container that only this range is judged for: nobody's, and inside of ip_local_port_range. */
export const JUDGED = "44000-44199";

export interface Attempt {
  /** Words for test/helpers/attempt.c; PORT, OWN_PORT, NEIGHBOUR_PORT and the like stand for a fresh port of each kind. */
  words: string;
  /** Where it is stopped. "reach": a listener that nobody can reach. */
  step: string;
  errno: "EPERM" | "ETIMEDOUT";
}

const FAMILIES = ["4", "6", "mapped"];
const BINDERS = ["tcp", "udp", "mptcp", "udplite"];
const STREAMS = ["tcp", "mptcp"];

function each(lists: readonly (readonly string[])[], words: (...values: string[]) => string): string[] {
  const rows = lists.reduce<string[][]>(
    (all, list) => all.flatMap((row) => list.map((x) => [...row, x])),
    [[]],
  );
  return rows.map((row) => words(...row));
}

function stopped(step: string, errno: Attempt["errno"], ...words: string[]): Attempt[] {
  return words.map((text) => ({ words: text, step, errno }));
}

/** bind() to a port that is not the container's: stopped in every mode. */
const BIND: Attempt[] = stopped(
  "bind",
  "EPERM",
  ...each(
    [FAMILIES, ["any", "loopback"], BINDERS],
    (f, a, p) => `bind port=PORT family=${f} addr=${a} proto=${p}`,
  ),
  ...each(
    [
      [
        "reuseport",
        "freebind",
        "fork-bind",
        "thread-bind",
        "daemon-bind",
        "exec-bind",
        "passed-fd",
        "netns",
        "userns-netns",
      ],
      BINDERS.slice(0, 3),
    ],
    (name, p) => `${name} port=PORT proto=${p}`,
  ),
  ...each([["transparent", "child-cgroup", "fastopen-listen"]], (name) => `${name} port=PORT`),
  ...each([FAMILIES], (f) => `tcp-repair port=PORT family=${f}`),
  ...each(
    [
      ["", " async=1", " sqpoll=1"],
      ["tcp", "udp"],
    ],
    (how, p) => `io-uring-bind port=PORT proto=${p}${how}`,
  ),
  ...each([["direct", "socketcall"]], (how) => `compat32-bind port=PORT how=${how}`),
  ...each([["tcp", "udp"]], (p) => `race-bind port=PORT allowed=OWN_PORT proto=${p}`),
  "bind port=NEIGHBOUR_PORT",
  "bind port=PORT family=6 addr=any v6only=1",
);

/** A call that fails, but only after the kernel has chosen the port that the socket then receives on. */
const FAILED_CALLS = ["port-zero", "no-peer", "unreachable", "broadcast", "denied"];

/** A kernel-chosen port that is another container's: kept off in every mode. */
const NEIGHBOURS: Attempt[] = [
  ...stopped(
    "bind",
    "EPERM",
    ...each(
      [["4", "6"], BINDERS],
      (f, p) => `local-port-range how=bind port=NEIGHBOUR_PORT family=${f} proto=${p}`,
    ),
  ),
  ...stopped(
    "sendto",
    "EPERM",
    ...each([["4", "6"]], (f) => `local-port-range how=sendto proto=udp port=NEIGHBOUR_PORT family=${f}`),
  ),
  ...stopped(
    "reach",
    "ETIMEDOUT",
    ...each(
      [["4", "6"], FAILED_CALLS],
      (f, how) => `udp-failed-call how=${how} port=NEIGHBOUR_PORT family=${f}`,
    ),
    ...each(
      [["4", "6"], STREAMS],
      (f, p) => `local-port-range how=listen port=NEIGHBOUR_PORT family=${f} proto=${p}`,
    ),
  ),
];

/** A TCP listener on a kernel-chosen port: unreachable where ephemeral is clients or deny. */
const LISTENERS: Attempt[] = stopped(
  "reach",
  "ETIMEDOUT",
  ...each([FAMILIES, STREAMS], (f, p) => `listen-unbound family=${f} proto=${p}`),
  ...each([FAMILIES, STREAMS], (f, p) => `tcp-disconnect-listen listen-port=OWN_PORT family=${f} proto=${p}`),
  ...each([FAMILIES, STREAMS], (f, p) => `accepted-listen listen-port=OWN_PORT family=${f} proto=${p}`),
  "fastopen-listen",
  "listen-unbound family=6 reach=4",
  "local-port-range how=listen port=FREE_PORT",
  "io-uring-listen-unbound",
);

const BOUND_LISTENERS: Attempt[] = stopped(
  "reach",
  "ETIMEDOUT",
  ...each([FAMILIES, STREAMS], (f, p) => `bind-zero family=${f} proto=${p}`),
  "bind-no-port how=listen",
  "local-port-range how=bind port=FREE_PORT",
);

const DENY: Attempt[] = [
  ...stopped(
    "bind",
    "EPERM",
    ...each([FAMILIES, BINDERS], (f, p) => `bind-zero family=${f} proto=${p}`),
    ...each([["listen", "connect"]], (how) => `bind-no-port how=${how} listen-port=OWN_PORT`),
    "bind-no-port how=sendto proto=udp",
  ),
  ...stopped(
    "sendto",
    "EPERM",
    ...each([FAMILIES, ["udp", "udplite"]], (f, p) => `udp-send-unbound family=${f} proto=${p}`),
    ...each([FAMILIES], (f) => `udp-connect-disconnect family=${f}`),
    "local-port-range how=sendto proto=udp port=FREE_PORT",
  ),
  ...stopped(
    "reach",
    "ETIMEDOUT",
    ...each([FAMILIES, FAILED_CALLS], (f, how) => `udp-failed-call how=${how} family=${f}`),
  ),
  ...stopped("sendmsg", "EPERM", "io-uring-sendmsg", "io-uring-sendmsg sqpoll=1"),
];

const PROTOCOLS: Attempt[] = stopped(
  "socket",
  "EPERM",
  ...each(
    [
      ["sctp-stream", "sctp-seq", "dccp"],
      ["4", "6"],
    ],
    (c, f) => `socket create=${c} family=${f}`,
  ),
);

/** By mode of `ephemeral`. */
export const BYPASSES: Record<Policy["ephemeral"], Attempt[]> = {
  allow: [...BIND, ...NEIGHBOURS, ...PROTOCOLS],
  clients: [...BIND, ...NEIGHBOURS, ...PROTOCOLS, ...LISTENERS, ...BOUND_LISTENERS],
  deny: [...BIND, ...PROTOCOLS, ...LISTENERS, ...DENY],
};

const ALWAYS = [
  ...each(
    [FAMILIES, ["any", "loopback"], BINDERS],
    (f, a, p) => `bind port=OWN_PORT family=${f} addr=${a} proto=${p}`,
  ),
  ...each(
    [["reuseport", "fork-bind", "netns", "child-cgroup", "fastopen-listen"]],
    (n) => `${n} port=OWN_PORT`,
  ),
  ...each([["", " async=1"]], (how) => `io-uring-bind port=OWN_PORT${how}`),
  ...each([FAMILIES, STREAMS], (f, p) => `connect listen-port=OWN_PORT family=${f} proto=${p}`),
  ...each([FAMILIES], (f) => `udp-connected-send listen-port=OWN_PORT family=${f}`),
  ...each(
    [
      [
        "tcp",
        "udp",
        "mptcp",
        "icmp",
        "raw-icmp",
        "raw-udp",
        "raw-sctp",
        "raw-dccp",
        "netlink",
        "unix",
        "packet",
      ],
    ],
    (c) => `socket create=${c}`,
  ),
  "bind port=OWN_PORT addr=127.0.0.5",
  "bind port=OWN_PORT family=6 addr=any reach=4",
];

const CHOSEN_UDP = [
  ...each([FAMILIES, ["udp", "udplite"]], (f, p) => `bind-zero family=${f} proto=${p}`),
  ...each([FAMILIES], (f) => `udp-send-unbound family=${f}`),
  "bind-no-port how=connect listen-port=OWN_PORT",
  "io-uring-sendmsg",
];

/** What must go on working, by mode of `ephemeral`. */
export const PERMITTED: Record<Policy["ephemeral"], string[]> = {
  allow: [
    ...ALWAYS,
    ...CHOSEN_UDP,
    ...each([FAMILIES, STREAMS], (f, p) => `bind-zero family=${f} proto=${p}`),
    ...each([FAMILIES, STREAMS], (f, p) => `listen-unbound family=${f} proto=${p}`),
  ],
  clients: [...ALWAYS, ...CHOSEN_UDP],
  deny: ALWAYS,
};

/** The first attempt of each kind: for what differs by policy and not by protocol or family. */
export function oneOfEach(attempts: readonly Attempt[]): Attempt[] {
  const kinds = new Map<string, Attempt>();
  for (const attempt of attempts) {
    const [name = ""] = attempt.words.split(" ");
    const how = /how=\S+/.exec(attempt.words)?.[0] ?? "";
    const neighbour = attempt.words.includes("NEIGHBOUR_PORT") ? "neighbour" : "";
    const kind = [name, how, neighbour, attempt.step].join(" ");
    if (!kinds.has(kind)) kinds.set(kind, attempt);
  }
  return [...kinds.values()];
}

/** The same attempts at ports of JUDGED instead of ports outside of it. */
function inside(attempts: readonly Attempt[]): Attempt[] {
  const other = /\b(FREE_)?PORT\b/;
  return attempts
    .filter(({ words }) => other.test(words))
    .map((attempt) => ({ ...attempt, words: attempt.words.replace(other, "JUDGED_PORT") }));
}

function outside(attempts: readonly Attempt[]): string[] {
  return oneOfEach(attempts)
    .map(({ words }) => words)
    .filter((words) => !words.includes("NEIGHBOUR_PORT"));
}

const UDP_DENY = DENY.filter(({ step }) => step !== "bind");

/** Containers with OWN of which only the range JUDGED is judged, by mode of `ephemeral`: bind(0) is for the mode. */
export const RANGE = {
  clients: {
    stopped: oneOfEach([...inside([...LISTENERS, ...BOUND_LISTENERS]), ...NEIGHBOURS]),
    permitted: outside([...LISTENERS, ...BOUND_LISTENERS]),
  },
  deny: {
    stopped: oneOfEach([
      ...inside([...BIND, ...DENY, ...LISTENERS]),
      ...BIND.slice(-2),
      ...NEIGHBOURS,
      ...PROTOCOLS,
      ...DENY,
    ]).filter(({ words }) => !UDP_DENY.some((attempt) => attempt.words === words)),
    permitted: [
      ...outside([...BIND, ...UDP_DENY, ...LISTENERS]),
      "bind port=OWN_PORT",
      "connect listen-port=OWN_PORT",
    ],
  },
};
