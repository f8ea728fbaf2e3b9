/** One of an earlier daemon's containers. */
import {
  factsOf,
  withoutBandwidth,
  withTask,
  type ContainerFacts,
  type TaskFacts,
} from "../../config/facts.js";
import { messageOf } from "../../errors.js";
import { codecs, type mesos } from "../../mesos/messages.js";
import type { Container } from "../container.js";
import type { ContainerId } from "../names.js";
import { recordKey } from "../record.js";
import { parentOf, type Entry } from "../registry.js";
import type { Parts } from "./parts.js";

/** What prepare() and update() have told of a container. */
interface Told {
  bytes?: Uint8Array;
  config?: mesos.slave.ContainerConfig;
  facts?: ContainerFacts | undefined;
  task?: TaskFacts | undefined;
}

/**
 * What is told of it is read when somebody wants it, at the latest by Judgement.judgeAll() in the background: of many
 * containers it takes as long as all else of a start, and they are enforced without it.
 */
export class TakenUp implements Entry {
  readonly id: ContainerId;
  readonly name: string;
  recovered = true;
  cleaning: boolean;
  taskOldSince: number | undefined;
  private known: Told | undefined;

  constructor(
    private readonly parts: Parts,
    readonly container: Container,
  ) {
    this.id = container.id;
    this.name = container.name;
    this.cleaning = container.record.stage === "cleaning";
  }

  get bytes(): Uint8Array | undefined {
    return this.told.bytes;
  }

  get config(): mesos.slave.ContainerConfig | undefined {
    return this.told.config;
  }

  get facts(): ContainerFacts | undefined {
    return this.told.facts;
  }

  set facts(facts: ContainerFacts | undefined) {
    this.told.facts = facts;
  }

  get task(): TaskFacts | undefined {
    return this.told.task;
  }

  set task(task: TaskFacts | undefined) {
    this.told.task = task;
  }

  private get told(): Told {
    return (this.known ??= this.read());
  }

  private read(): Told {
    const { instance, log } = this.parts;
    try {
      const bytes = instance.records.readConfig(recordKey(this.id));
      if (!bytes) return {};
      const config = codecs.ContainerConfig.decode(bytes);
      const facts = this.factsOf(config);
      const task = instance.records.readTask(recordKey(this.id));
      return { bytes, config, facts: task ? withTask(facts, task) : facts, task };
    } catch (error) {
      const what = `its ContainerConfig cannot be read again, its policy stays: ${messageOf(error)}`;
      log.add("warning", this.name, what);
      return {};
    }
  }

  private factsOf(config: mesos.slave.ContainerConfig): ContainerFacts {
    const parentId = parentOf(this.id);
    const parent = parentId && this.parts.registry.find(parentId);
    const facts = factsOf(config, this.name, parent ? (parent.facts ?? true) : undefined);
    const { ports, ownNetwork, bandwidth } = this.container.policy;
    // In a network of its own its policy has none of them.
    if (ports && !ownNetwork) facts.ports = ports;
    if (!ownNetwork) facts.ownNetwork = false;
    const asked = bandwidth?.asked;
    if (!asked) return facts;
    return {
      ...withoutBandwidth(facts),
      ...(asked.resource === undefined ? {} : { networkBandwidth: asked.resource }),
      ...(asked.cpus === undefined ? {} : { cpus: asked.cpus }),
    };
  }
}
