/**
 * The agent's v1 API, GET_TASKS: which labels and discovery name the tasks in containers have. A task's statuses name its
 * container from TASK_STARTING on.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import type { AgentApi } from "../config/agent-api.js";
import { taskFacts, type TaskFacts } from "../config/facts.js";
import { formatId } from "../containers/names.js";
import { IsolatorError, messageOf } from "../errors.js";
import { toContainerId, type mesos } from "../mesos/messages.js";

/** ms for a whole answer. */
const TIMEOUT = 5_000;
/** Bytes of an answer. A task has some KiB; an agent keeps some hundred. */
const MAX_ANSWER = 32 * 1024 * 1024;

const Label = z.object({ key: z.string(), value: z.string().optional() });
const Labels = z.object({ labels: z.array(Label).optional() });

/** Only what is read; Mesos's other keys are ignored. */
const Task = z.object({
  labels: Labels.optional(),
  discovery: z.object({ name: z.string().optional() }).optional(),
  statuses: z
    .array(z.object({ container_status: z.object({ container_id: z.unknown() }).optional() }))
    .optional(),
});
const Answer = z.object({
  get_tasks: z.object({ launched_tasks: z.array(Task).optional() }),
});

const Credential = z.object({ principal: z.string(), secret: z.string() });

/** "root.child" of a ContainerID as JSON, or undefined where it makes no sense. */
function nameOf(id: unknown): string | undefined {
  try {
    return formatId(toContainerId(id as mesos.ContainerID));
  } catch {
    return undefined;
  }
}

/**
 * Facts of the tasks by the names of their containers. Tasks that share a container (of a custom executor) have all labels of
 * them.
 * @throws bad-message
 */
export function parseTasks(body: unknown): Map<string, TaskFacts> {
  const parsed = Answer.safeParse(body);
  if (!parsed.success) {
    throw new IsolatorError(
      "bad-message",
      `the agent's answer to GET_TASKS makes no sense: ${z.prettifyError(parsed.error).slice(0, 300)}`,
    );
  }
  const byContainer = new Map<string, z.infer<typeof Task>[]>();
  for (const task of parsed.data.get_tasks.launched_tasks ?? []) {
    const id = task.statuses?.findLast(({ container_status }) => container_status)?.container_status;
    const name = id && nameOf(id.container_id);
    if (name !== undefined) byContainer.set(name, [...(byContainer.get(name) ?? []), task]);
  }
  return new Map(
    [...byContainer].map(([name, tasks]) => [
      name,
      taskFacts(
        tasks.map(({ labels }) => labels as mesos.Labels | undefined),
        tasks.find(({ discovery }) => discovery?.name)?.discovery?.name,
      ),
    ]),
  );
}

function authorization(credential: string): string {
  try {
    const { principal, secret } = Credential.parse(JSON.parse(readFileSync(credential, "utf8")));
    return `Basic ${Buffer.from(`${principal}:${secret}`).toString("base64")}`;
  } catch (error) {
    // Without the file's content, which a parser's message would show.
    const why = error instanceof Error && "code" in error ? messageOf(error) : "it is no Mesos credential";
    throw new IsolatorError("bad-argument", `${credential} cannot be used for the agent's API: ${why}`);
  }
}

/**
 * Asks an agent.
 * @param url of the agent, without a path
 * @throws bad-argument where the credential cannot be used; bad-message; agent-failed
 */
export async function getTasks(
  url: string,
  { credential }: AgentApi,
  signal: AbortSignal,
): Promise<Map<string, TaskFacts>> {
  const headers = {
    "Content-Type": "application/json",
    Accept: "application/json",
    ...(credential === undefined ? {} : { Authorization: authorization(credential) }),
  };
  let text: string;
  try {
    const response = await fetch(new URL("/api/v1", url), {
      ...{ method: "POST", headers, body: JSON.stringify({ type: "GET_TASKS" }), redirect: "error" },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]),
    });
    text = await bounded(response);
    if (response.status !== 200) throw new Error(`HTTP ${response.status} ${response.statusText}`);
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? `: ${messageOf(error.cause)}` : "";
    throw new IsolatorError(
      "agent-failed",
      `the agent at ${url} does not answer GET_TASKS: ${messageOf(error)}${cause}`,
    );
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new IsolatorError("bad-message", `the agent at ${url} answers GET_TASKS with no JSON`);
  }
  return parseTasks(body);
}

/** Its body, as long as that is not too long. */
async function bounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_ANSWER) throw new Error(`its answer is longer than ${MAX_ANSWER} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
