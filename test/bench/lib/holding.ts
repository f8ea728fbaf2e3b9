/** Connections that a container of a benchmark holds while it is measured, and other containers beside it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Instance } from "../../../isolator/containers/instance.js";
import { prepareContainer } from "../../../isolator/containers/preparation.js";
import { repository } from "./build.js";
import { moveInto, nodeOf } from "./cgroup.js";
import type { Cleanup } from "./cleanup.js";
import { inNamespace } from "./command.js";
import type { Setting, Variant } from "./variants.js";

/** To one destination, half of the source ports that the network has; of one process, with room to spare. */
const EACH = 500;
const OF_A_PROCESS = 15_000;

/** Of the listeners; the network has few ports for the kernel to choose from, and those are all taken. */
const FIRST_PORT = 10_000;

/** A process of test/helpers/connections.c. */
class Connections {
  private constructor(private readonly ask: (command: string) => Promise<string>) {}

  static start(namespace: string, cleanup: Cleanup, node?: string): Connections {
    const [file = "", ...args] = inNamespace(namespace, join(repository(), "dist/test/helpers/connections"));
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
    const exited = once(child, "exit");
    cleanup.add("ending connections", async () => {
      child.kill("SIGKILL");
      await exited;
    });
    if (node !== undefined && child.pid !== undefined) moveInto(node, child.pid);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return new Connections(async (command) => {
      child.stdin.write(`${command}\n`);
      const { value } = (await lines.next()) as { value?: string };
      return value ?? "nothing";
    });
  }

  /** @returns the first number of the answer @throws Error where it is no success */
  async tell(command: string): Promise<number> {
    const answer = await this.ask(command);
    if (!answer.startsWith("ok ")) throw new Error(`"${command}" of a benchmark: ${answer}`);
    return Number(answer.split(" ")[1]);
  }
}

/** What is held so far, and the processes that hold it. */
export class Holding {
  #held = 0;
  #listeners = 0;
  #ends: { client: Connections; server: Connections; count: number } | undefined;

  /** @param variant whose container holds */
  constructor(
    private readonly variant: Variant,
    private readonly setting: Setting,
  ) {}

  /** Connects until so many are held. */
  async reach(count: number): Promise<void> {
    while (this.#held < count) await this.#more(Math.min(EACH, count - this.#held));
  }

  async #more(count: number): Promise<void> {
    const { cleanup } = this.setting;
    const { namespace } = this.variant.host;
    if (!this.#ends || this.#ends.count + count > OF_A_PROCESS) {
      const server = Connections.start(namespace, cleanup);
      const client = Connections.start(namespace, cleanup, nodeOf(this.variant.task.pid));
      this.#ends = { client, server, count: 0 };
    }
    const { client, server } = this.#ends;
    const port = await server.tell(`listen 127.0.0.1 ${FIRST_PORT + this.#listeners++}`);
    const connected = await client.tell(`hold ${count} tcp 127.0.0.1 ${port}`);
    if (connected !== count) throw new Error(`${connected} of ${count} connections came up`);
    this.#ends.count += count;
    this.#held += count;
  }
}

/** Containers of the benchmark's instance, whose connections are counted too. */
export async function crowd(count: number, cleanup: Cleanup): Promise<void> {
  const instance = Instance.open(`bench-${process.pid}`);
  for (let i = 0; i < count; i++) {
    const container = await prepareContainer(instance, {
      id: [`crowd-${i}`],
      policy: {
        ...{ ports: [], ephemeral: "allow", enforce: "on", allowProtocols: [] },
        connections: { max: 100, total: 1000 },
      },
    });
    cleanup.add(`removing ${container.name}`, () => container.cleanup());
  }
}
