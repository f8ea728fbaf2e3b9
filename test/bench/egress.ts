/**
 * bench:egress: what judging a destination costs connect() and sendto(), and whether that grows with rules and endpoints.
 * A datagram is the first to its destination, or one after it, whose verdict is remembered. The path is that of bench:path;
 * each number of endpoints is an instance of its own, so that all are there at once.
 */
import { HostAddresses } from "../../isolator/cluster/host-addresses.js";
import { EndpointDirectory } from "../../isolator/cluster/directory.js";
import { ClaimMap } from "../../isolator/cluster/source.js";
import { Instance } from "../../isolator/containers/instance.js";
import { prepareContainer } from "../../isolator/containers/preparation.js";
import type { EgressPolicy, EgressRule } from "../../isolator/features/egress.js";
import { keyOf } from "../../isolator/features/endpoints.js";
import { u32Key } from "../../isolator/kernel/codec.js";
import { EndpointTable } from "../../isolator/kernel/endpoint-table.js";
import { build } from "./lib/build.js";
import { makeRoot, moveInto } from "./lib/cgroup.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { limitText, type LoadEnd } from "./lib/load.js";
import { machineLine, measuringCpu, requireMachine } from "./lib/machine.js";
import { deliver, readOptions } from "./lib/options.js";
import { enableStatistics, Programs } from "./lib/programs.js";
import { abbaRounds, pairs, type Spread, spread } from "./lib/stats.js";
import { table } from "./lib/table.js";
import { makeNetwork } from "./lib/topology.js";
import { PEER_PORT, type Setting, startEmpty, startPeer, startPlain } from "./lib/variants.js";
import { runBench } from "./lib/run.js";

/** Rules, and endpoints of the cluster, of each container that is measured. The first is what the others are compared with. */
const SUBJECTS = [
  { rules: 0, endpoints: 10 },
  { rules: 10, endpoints: 10 },
  { rules: 1_000, endpoints: 10 },
  { rules: 10, endpoints: 10_000 },
  { rules: 1_000, endpoints: 1_000_000 },
] as const;
/** Ratio of a connect() with rules to one without. */
const FLAT = 1.02;
/** ns of the programs at sendto(), over empty ones. */
const SEND = 40;
/** Operations of a sample. */
const CONNECTS = 2_000;
const SENDS = 20_000;
const FIRST_PORT = 31_100;

interface Subject {
  name: string;
  task: LoadEnd;
  connect: number[];
  send: number[];
  /** While nothing is remembered. */
  first: number[];
  programs?: Programs;
  /** Whose programs they are; none: empty ones. */
  instance?: Instance;
}

function rule(i: number): EgressRule {
  const to = i % 2 === 0 ? { class: `c${i}` } : { cidr: `172.${16 + (i >> 9)}.${(i >> 1) & 255}.0/24` };
  return { name: `rule ${i}`, to, action: "deny" };
}

function rules(count: number): EgressPolicy {
  const allow: EgressRule = { name: "web", to: { class: "web" }, action: "allow" };
  return { rules: [...Array.from({ length: count - 1 }, (_, i) => rule(i)), allow], byDefault: "allow" };
}

/** An instance whose programs know so many endpoints, the other end of the path among them. */
async function instanceWith(endpoints: number, peer: string, cleanup: Cleanup): Promise<Instance> {
  const instance = Instance.open(`bench-${process.pid}-${endpoints}`);
  const keeper = await prepareContainer(instance, {
    id: ["keeper"],
    policy: { ports: [], ephemeral: "allow", enforce: "on", allowProtocols: [] },
  });
  cleanup.add(`removing ${instance.name}`, () => keeper.cleanup());
  const directory = new EndpointDirectory(new EndpointTable(instance.loaded), (message) => {
    throw new Error(message);
  });
  const addresses = new HostAddresses(instance.loaded.map("host_addresses"));
  cleanup.add("stopping", () => {
    addresses.stop();
    directory.stop();
  });
  const claims = new ClaimMap();
  const [web, other] = [[{ name: "web" }], [{ name: "c0" }]];
  for (const port of [PEER_PORT, PEER_PORT + 2])
    claims.add(keyOf({ address: peer, port }), { classes: web, task: "" });
  for (let i = 2; i < endpoints; i++) {
    const address = `10.${100 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
    claims.add(keyOf({ address, port: 31_000 }), { classes: other, task: "" });
  }
  directory.sink("bench", 0).replace(claims);
  await directory.settled();
  return instance;
}

async function startSubject(
  { rules: count, endpoints }: (typeof SUBJECTS)[number],
  port: number,
  instance: Instance,
  setting: Setting,
): Promise<Subject> {
  const container = await prepareContainer(instance, {
    id: [`r${count}`],
    policy: {
      ...{ ports: [], ephemeral: "allow", enforce: "on", allowProtocols: [] },
      // Its ports are nobody's, so that it is no server that answers.
      judged: { begin: 1, end: 1 },
      ...(count > 0 ? { egress: rules(count) } : {}),
    },
  });
  setting.cleanup.add(`removing ${container.name}`, () => container.cleanup());
  const name = `${count.toLocaleString("en")} rules, ${endpoints.toLocaleString("en")} endpoints`;
  const task = await startPlain(setting, name, setting.network.host.namespace);
  moveInto(container.node.path, task.pid);
  await task.command(`open ${port}`);
  return { name: count === 0 ? "no rules" : name, task, connect: [], send: [], first: [], instance };
}

async function sampleSend(subject: Subject, peer: string, into: number[]): Promise<void> {
  const { programs } = subject;
  if (!programs) return;
  const before = programs.read().get("sendmsg4");
  await subject.task.command(`udp ${peer} ${PEER_PORT} ${limitText({ count: SENDS })}`);
  const after = programs.read().get("sendmsg4");
  if (!before || !after) throw new Error("there is no program at sendto()");
  into.push((after.ns - before.ns) / (after.count - before.count));
}

/** As each first datagram to a destination: in no epoch is anything remembered. */
async function sampleFirst(subject: Subject, peer: string): Promise<void> {
  const { instance } = subject;
  instance?.loaded.map("egress_epoch").update(u32Key(0), new Uint8Array(8));
  await sampleSend(subject, peer, subject.first);
  instance?.loaded.map("port_owners").change(() => undefined);
}

async function measure(rounds: number, cleanup: Cleanup): Promise<{ subjects: Subject[]; empty: Subject }> {
  const network = makeNetwork(cleanup);
  const setting: Setting = {
    ...{ network, built: build(cleanup), root: makeRoot(cleanup), cpu: measuringCpu(), cleanup },
  };
  await startPeer(setting);
  const peer = network.host.peerAddress;
  const instances = new Map<number, Instance>();
  const subjects: Subject[] = [];
  for (const [i, subject] of SUBJECTS.entries()) {
    const instance =
      instances.get(subject.endpoints) ?? (await instanceWith(subject.endpoints, peer, cleanup));
    instances.set(subject.endpoints, instance);
    subjects.push(await startSubject(subject, FIRST_PORT + 10 * i, instance, setting));
    process.stderr.write(`${subjects.at(-1)?.name ?? ""}\n`);
  }
  const { task } = await startEmpty(setting, ["sendmsg4", "sendmsg6"]);
  const empty: Subject = { name: "empty", task, connect: [], send: [], first: [] };
  for (const subject of abbaRounds(subjects, rounds).flat()) {
    const { operations, ns } = await subject.task.command(
      `connect ${peer} ${PEER_PORT + 2} ${limitText({ count: CONNECTS })}`,
    );
    subject.connect.push(ns / operations);
  }
  enableStatistics(cleanup);
  for (const subject of [...subjects, empty]) subject.programs = new Programs(subject.task.pid, cleanup);
  for (const subject of abbaRounds([...subjects, empty], rounds).flat()) {
    await sampleSend(subject, peer, subject.send);
    await sampleFirst(subject, peer);
  }
  return { subjects, empty };
}

function report(subjects: readonly Subject[], empty: Subject, rounds: number): string {
  const [first] = subjects;
  if (!first) throw new Error("nothing was measured");
  const quartiles = ({ median, q1, q3 }: Spread, digits: number): string =>
    `${median.toFixed(digits)} (${q1.toFixed(digits)}–${q3.toFixed(digits)})`;
  const rows = subjects.map((subject) => {
    const ratio = spread(pairs(subject.connect, first.connect, (a, b) => a / b));
    const more = spread(pairs(subject.send, empty.send, (a, b) => a - b));
    return [
      subject.name,
      (spread(subject.connect).median / 1000).toFixed(1),
      subject === first ? "" : quartiles(ratio, 3),
      subject === first ? "" : `≤ ${FLAT}${ratio.median <= FLAT ? "" : " **missed**"}`,
      quartiles(more, 1),
      `≤ ${SEND}${more.median <= SEND ? "" : " **missed**"}`,
      quartiles(spread(pairs(subject.first, empty.first, (a, b) => a - b)), 0),
    ];
  });
  return `
${machineLine()}. ${rounds} pairs.

${table(["container", "connect + close, µs", "to no rules", "target", "sendto(): over empty programs, ns", "target", "the first to a destination"], rows, 1)}

TCP connections to another namespace over a veth, of the class that the last rule names; datagrams of 64 bytes, by the
kernel's BPF statistics, to the same: what was allowed is remembered from the first on. Medians (quartiles) of ABBA pairs,
all on one CPU. Half of the rules name classes, half blocks of addresses. Made by \`npm run bench:egress\`.
`.trim();
}

async function main(): Promise<void> {
  const options = readOptions("bench:egress", 40);
  if (!options) return;
  requireMachine();
  const { subjects, empty } = await withCleanup((cleanup) => measure(options.pairs, cleanup));
  const figures = [...subjects, empty].map(({ name, connect, send, first }) => ({
    name,
    connect,
    send,
    first,
  }));
  await deliver(options, "bench:egress", report(subjects, empty, options.pairs), {
    machine: machineLine(),
    pairs: options.pairs,
    figures,
  });
}

await runBench("bench:egress", main);
