/** What a daemon knows of the cluster: its sources of endpoints, as the configuration has them, and what the kernel knows. */
import { classesOf } from "../config/classes.js";
import type { ContainerFacts } from "../config/facts.js";
import type { Config } from "../config/schema.js";
import { messageOf } from "../errors.js";
import { formatAddress, parseAddress } from "../features/addresses.js";
import type { Membership } from "../features/classes.js";
import { decodeExplanation, encodeEgressQuestion } from "../features/egress-query.js";
import { formatDestination, ruleName } from "../features/egress.js";
import {
  decodeFound,
  encodeQuestion,
  keyOf,
  type Endpoint,
  type FoundEndpoint,
  type PlaceKey,
} from "../features/endpoints.js";
import type { Policy } from "../features/policy.js";
import type { bpf_isolator } from "../mesos/messages.js";
import { EndpointTable } from "../kernel/endpoint-table.js";
import type { Programs } from "../kernel/programs.js";
import { ask } from "../kernel/query.js";
import { EndpointDirectory } from "./directory.js";
import { FileSource } from "./file.js";
import { HostAddresses } from "./host-addresses.js";
import { MasterSource } from "./master.js";
import { formatPort, SHARED_SET } from "../features/services.js";
import { endLostBackends } from "../kernel/terminate.js";
import { ServiceDirectory } from "./services.js";
import type { TaskVips } from "./vips.js";
import {
  ClaimMap,
  type Classifier,
  type EndpointSource,
  type SourceSink,
  type SourceStatus,
} from "./source.js";

/** A source with what it has said. */
export interface SourceSummary extends SourceStatus {
  /** Places that it names. */
  endpoints: number;
  /** Of these, with several claims: the newest holds. */
  duplicates: number;
}

type Part = Pick<Config, "classes" | "trustedRoles" | "endpoints" | "services">;

const NAMES = ["static", "file", "master"] as const;
type Name = (typeof NAMES)[number];

function classifierOf({ classes, trustedRoles }: Part): Classifier {
  const lists = new Map<string, readonly Membership[]>();
  return {
    names: new Set(classes.map(({ name }) => name)),
    classesOf: (facts: ContainerFacts) => {
      const list = classesOf(classes, facts, trustedRoles);
      const text = JSON.stringify(list);
      const known = lists.get(text) ?? list;
      lists.set(text, known);
      return known;
    },
  };
}

/** The configuration's own: it never changes by itself. */
class StaticSource implements EndpointSource {
  readonly name = "static";

  constructor(private readonly endpoints: readonly Endpoint[]) {}

  start(sink: SourceSink): void {
    const claims = new ClaimMap();
    for (const endpoint of this.endpoints)
      claims.add(keyOf(endpoint), { classes: endpoint.classes, task: "" });
    sink.replace(claims);
  }

  reclassify(): void {
    // It names its classes itself.
  }

  status(): SourceStatus {
    return { name: this.name, where: "the configuration", state: "current", ignored: new Map() };
  }

  stop(): void {
    // Nothing runs.
  }
}

/** What of the configuration a source goes by; undefined: there is none. */
function settingOf(name: Name, { endpoints }: Part): unknown {
  return name === "static" ? (endpoints.static.length > 0 ? endpoints.static : undefined) : endpoints[name];
}

function makeSource(name: Name, part: Part, classifier: Classifier): EndpointSource | undefined {
  const { file, master } = part.endpoints;
  if (name === "static") return new StaticSource(part.endpoints.static);
  if (name === "file") return file === undefined ? undefined : new FileSource(file, classifier);
  return master && new MasterSource(master, classifier);
}

export class Cluster {
  private readonly table: EndpointTable;
  private readonly directory: EndpointDirectory;
  private readonly addresses: HostAddresses;
  readonly services: ServiceDirectory;
  private readonly sources = new Map<Name, EndpointSource>();
  private part: Part;
  private ending: Promise<void> = Promise.resolve();

  /**
   * @param programs that the containers run under; not closed before stop()
   * @param hostsFile of services, where the configuration names none
   * @param log told of what an operator must know
   * @param onPrincipals told of the principals of frameworks, by framework id
   */
  constructor(
    private readonly programs: Programs,
    config: Part,
    hostsFile: string,
    private readonly log: (message: string, what: "service" | "warning") => void,
    onPrincipals: (principals: ReadonlyMap<string, string>) => void = () => undefined,
  ) {
    const warn = (message: string): void => {
      log(message, "warning");
    };
    this.part = config;
    this.table = new EndpointTable(programs);
    this.directory = new EndpointDirectory(this.table, warn);
    this.directory.onPrincipals = onPrincipals;
    this.addresses = new HostAddresses(programs.map("host_addresses"));
    this.services = new ServiceDirectory(
      programs,
      SHARED_SET,
      config.services,
      config.trustedRoles,
      hostsFile,
      (address) => this.addresses.has(address),
      () => {
        this.endConnected();
      },
      log,
    );
    const classifier = classifierOf(config);
    const begun = NAMES.flatMap((name) => this.add(name, classifier) ?? []);
    this.directory.keepLeft([...classifier.names]);
    for (const begin of begun) begin();
    if (!config.endpoints.master) this.services.noClaims();
  }

  /** Ends UDP sockets that are connected to backends which are gone: send() on them runs no program. */
  private endConnected(): void {
    this.ending = this.ending
      .then(() => endLostBackends(this.programs))
      .then((ended) => {
        for (const { remote, remote_port: port } of ended) {
          const place = formatPort({ address: formatAddress(remote), port });
          this.log(`ended a UDP socket that was connected to backend ${place}, which is gone`, "service");
        }
      })
      .catch((error: unknown) => {
        const why = messageOf(error);
        this.log(`UDP sockets that are connected to backends which are gone stay: ${why}`, "warning");
      });
  }

  /** @returns begins it */
  private add(name: Name, classifier: Classifier): (() => void) | undefined {
    const source =
      settingOf(name, this.part) === undefined ? undefined : makeSource(name, this.part, classifier);
    if (!source) return undefined;
    const sink = {
      ...this.directory.sink(name, NAMES.indexOf(name)),
      vips: (task: string, vips: TaskVips | undefined) => {
        this.services.set(task, vips);
      },
      replaceVips: (tasks: ReadonlyMap<string, TaskVips>) => {
        this.services.replace(tasks);
      },
    };
    this.sources.set(name, source);
    return () => {
      source.start(sink);
    };
  }

  /** Another configuration. Sources that are as they were go on with what they know. */
  reconfigure(config: Part): void {
    const before = this.part;
    this.part = config;
    const classifier = classifierOf(config);
    const reclassified =
      JSON.stringify([before.classes, before.trustedRoles]) !==
      JSON.stringify([config.classes, config.trustedRoles]);
    for (const name of NAMES) {
      const source = this.sources.get(name);
      if (JSON.stringify(settingOf(name, before)) === JSON.stringify(settingOf(name, config))) {
        if (reclassified) source?.reclassify(classifier);
        continue;
      }
      source?.stop();
      this.sources.delete(name);
      const begin = this.add(name, classifier);
      if (begin) begin();
      else this.directory.drop(name);
    }
    this.services.reconfigure(config.services, config.trustedRoles);
    if (before.endpoints.master && !config.endpoints.master) this.services.noClaims();
  }

  /** The address by which the cluster knows this host, from the agent's handshake. */
  setHost(ip: string | undefined): void {
    this.table.setHost(ip === undefined ? undefined : parseAddress(ip));
  }

  status(): SourceSummary[] {
    return [...this.sources.values()].map((source) => ({
      ...source.status(),
      ...this.directory.counts(source.name),
    }));
  }

  /** Why the kernel does not have what the sources say; undefined: it has. */
  get problem(): string | undefined {
    return this.directory.problem;
  }

  /** Every endpoint as it holds. */
  list(): AsyncGenerator<Endpoint & { source: string }> {
    return this.directory.list();
  }

  /** What the programs would find for a destination. @param address 16 bytes @param protocol IPPROTO_* @throws map-failed */
  find(address: Uint8Array, port: number, protocol: number): FoundEndpoint {
    const answer = ask(this.programs.query("endpoint_query"), encodeQuestion(address, port, protocol));
    return decodeFound(
      answer,
      this.part.classes.map(({ name }) => name),
    );
  }

  /** What a container's rules say of a destination. @returns undefined where it has none @throws map-failed */
  explain(
    container: { name: string; policy: Policy; owns: (port: number) => boolean },
    key: PlaceKey,
    port: number,
  ): bpf_isolator.EgressVerdict | undefined {
    const { egress } = container.policy;
    if (!egress) return undefined;
    const names = this.part.classes.map(({ name }) => name);
    const answer = ask(this.programs.query("egress_query"), encodeEgressQuestion(key, egress));
    const { action, rule, byBlock, byClass, class: about, destination } = decodeExplanation(answer, names);
    const common = { container: container.name };
    if (destination.local && port !== 0 && container.owns(port))
      return { ...common, action: "allow", by: "its own port" };
    const decided = egress.rules[rule - 1];
    return {
      ...common,
      action,
      by: ruleName(egress, rule),
      rule: decided ? formatDestination(decided.to) : "everything",
      ...(byBlock === undefined ? {} : { by_address: ruleName(egress, byBlock) }),
      ...(byClass === undefined ? {} : { by_class: ruleName(egress, byClass) }),
      ...(about ? { class_name: about.name } : {}),
    };
  }

  /** Resolves when the kernel has all that the sources have said so far. */
  async settled(): Promise<void> {
    await this.directory.settled();
    await this.services.settled();
    await this.ending;
  }

  /** What the kernel has stays in use. */
  stop(): void {
    for (const source of this.sources.values()) source.stop();
    this.addresses.stop();
    this.services.stop();
    this.directory.stop();
  }
}
