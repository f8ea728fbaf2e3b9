/**
 * By what an agent's containers are judged: the configuration, where the agent listens, and the principals of frameworks.
 * What changes in one of them is applied to all whom it concerns.
 */
import { setImmediate as breathe } from "node:timers/promises";
import type { ContainerFacts } from "../../config/facts.js";
import { policyFor, type AgentAddress } from "../../config/policy.js";
import type { Config } from "../../config/schema.js";
import { IsolatorError, messageOf } from "../../errors.js";
import type { Policy } from "../../features/policy.js";
import { readAgentAddress, writeAgentAddress } from "../agent-address.js";
import { pacing } from "../background.js";
import type { Container } from "../container.js";
import { readPrincipals, writePrincipals, type Principals } from "../principals.js";
import type { Entry } from "../registry.js";
import type { Parts } from "./parts.js";

export class Judgement {
  /** Undefined until its first handshake. */
  private address: AgentAddress | undefined;
  /** Of frameworks, as a master told last. */
  private principals: Principals = new Map();
  private stopped = false;
  private changes = 0;

  constructor(
    private readonly parts: Pick<Parts, "instance" | "registry" | "log" | "notices" | "serially">,
    private current: Config,
  ) {}

  get config(): Config {
    return this.current;
  }

  /** Another configuration, for all that is judged from now on. */
  use(config: Config): void {
    this.current = config;
    this.changes++;
  }

  /** Another one when policyOf() may say something else than before. */
  get version(): number {
    return this.changes;
  }

  /** What a daemon before this one has known. */
  readState(): void {
    const { stateDirectory } = this.parts.instance;
    this.address = readAgentAddress(stateDirectory);
    this.principals = readPrincipals(stateDirectory);
  }

  /** Where the agent listens; undefined: none has said. */
  get agent(): AgentAddress | undefined {
    return this.address;
  }

  /** @returns whether that is news */
  learnAgent(agent: AgentAddress): boolean {
    if (this.address?.ip === agent.ip && this.address.port === agent.port) return false;
    this.address = agent;
    this.changes++;
    this.keep("the agent's address will not be known to the next daemon", () => {
      writeAgentAddress(this.parts.instance.stateDirectory, agent);
    });
    return true;
  }

  /** Containers of frameworks with another one than before may be in other classes. */
  learnPrincipals(next: Principals): void {
    const before = this.principals;
    const changed = [...new Set([...before.keys(), ...next.keys()])].filter(
      (id) => before.get(id) !== next.get(id),
    );
    if (changed.length === 0) return;
    this.principals = new Map(next);
    this.changes++;
    this.keep("the next daemon will not know principals", () => {
      writePrincipals(this.parts.instance.stateDirectory, next);
    });
    const ids = new Set(changed);
    this.inPieces(async (entry) => {
      if (ids.has(entry.facts?.frameworkId ?? "")) await this.judgeAgain(entry);
    }).catch((error: unknown) => {
      this.parts.log.add("warning", "", `not all containers are judged by it: ${messageOf(error)}`);
    });
  }

  /** @param otherwise what it means that it cannot be written */
  private keep(otherwise: string, write: () => void): void {
    try {
      write();
    } catch (error) {
      this.parts.log.add("warning", "", `${otherwise}: ${messageOf(error)}`);
    }
  }

  /** By the configuration and all that is known of its framework and agent. */
  policyOf(facts: ContainerFacts): Policy {
    const principal = this.principals.get(facts.frameworkId ?? "");
    return policyFor(this.config, principal === undefined ? facts : { ...facts, principal }, this.address);
  }

  /**
   * Resolves when all containers that are judged otherwise than before are.
   * @param then done with each after that
   * @throws shutting-down
   */
  judgeAll(then: (entry: Entry) => void = () => undefined): Promise<void> {
    return this.inPieces(async (entry) => {
      await this.judgeAgain(entry);
      if (!entry.cleaning) then(entry);
    });
  }

  /**
   * Does something with each container there is; one that is busy keeps no other waiting.
   * @throws shutting-down where stop() came first; what `work` throws, when all is done
   */
  private async inPieces(work: (entry: Entry) => Promise<void>): Promise<void> {
    const rest = pacing(() => this.stopped);
    const all: Promise<void>[] = [];
    for (const entry of this.parts.registry.list()) {
      const due = rest();
      if (due) await due;
      if (this.stopped)
        throw new IsolatorError("shutting-down", "the daemon is ending: the next one judges the others");
      const done = this.parts.serially(entry.id, () => work(entry));
      all.push(done);
      await Promise.race([done, breathe()]).catch(() => undefined);
    }
    const failed = (await Promise.allSettled(all)).find(({ status }) => status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
  }

  /** Nothing is judged again from now on. */
  stop(): void {
    this.stopped = true;
  }

  get isEnding(): boolean {
    return this.stopped;
  }

  async judgeAgain(entry: Entry): Promise<void> {
    if (entry.cleaning) return;
    const { container, facts } = entry;
    if (!container || !facts) return;
    const { ports } = container.policy;
    // Ports are what the last update() said, whatever prepare() did.
    const policy = this.policyOf({ ...facts, ...(ports ? { ports } : {}) });
    if (JSON.stringify(policy) === JSON.stringify(container.policy)) return;
    await this.apply(container, policy).catch((error: unknown) => {
      const what = `the new configuration cannot be applied to it: ${messageOf(error)}`;
      this.parts.log.add("warning", entry.name, what);
    });
  }

  /** Puts a container under another policy, and tells what comes of it. @throws as Container.update() */
  async apply(container: Container, policy: Policy): Promise<void> {
    const { notices } = this.parts;
    const dropped = await container.update(policy, (ports, owner) => {
      notices.tookOver(container.name, ports, owner);
    });
    notices.keptListeners(container, dropped);
  }
}
