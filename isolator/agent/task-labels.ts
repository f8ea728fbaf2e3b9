/**
 * Tells the isolator what the tasks in its containers are labelled, where the agent did not: tasks of pods, and of custom
 * executors. It asks soon after a container came, then less and less often, and not at all while there is nothing to learn.
 */
import type { AgentApi } from "../config/agent-api.js";
import type { TaskFacts } from "../config/facts.js";
import { IsolatorError, messageOf } from "../errors.js";
import { getTasks } from "./tasks.js";

/** ms: a task is known to its agent some tenths of a second after its container. */
const FIRST = 300;
const MOST = 60_000;

/** What it is asked of, and told to. */
export interface Learner {
  /** Where the agent is; undefined: it has not said. */
  agentUrl(): string | undefined;
  /** Names of containers whose tasks are not known. */
  unlabelled(): Promise<ReadonlySet<string>>;
  /** @param asked when the agent was; ms of a clock that only goes forward */
  learn(name: string, task: TaskFacts, asked: number): void;
  /** The agent does not answer. Called once until it does. */
  onProblem(problem: IsolatorError): void;
}

export class TaskLabels {
  private readonly stopping = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private pause = FIRST;
  private asking = false;
  /** Whether a container came while it was asking. */
  private more = false;
  private failed = false;

  /** @param api undefined: it is never asked */
  constructor(
    private readonly learner: Learner,
    private api: AgentApi | undefined,
  ) {}

  /** Another configuration. */
  set(api: AgentApi | undefined): void {
    this.api = api;
    this.failed = false;
    this.expect();
  }

  /** A container has come, or has another task: it is asked soon. */
  expect(): void {
    this.pause = FIRST;
    this.more = this.asking;
    if (!this.asking) this.schedule();
  }

  stop(): void {
    this.stopping.abort();
    clearTimeout(this.timer);
  }

  private schedule(): void {
    clearTimeout(this.timer);
    if (this.stopping.signal.aborted || !this.api) return;
    this.timer = setTimeout(() => void this.ask(), this.pause).unref();
    this.pause = Math.min(2 * this.pause, MOST);
  }

  private async ask(): Promise<void> {
    const { api } = this;
    const url = api?.url ?? this.learner.agentUrl();
    // A container that comes, or an agent that says where it is, calls expect().
    if (!api || url === undefined) return;
    this.asking = true;
    const wanted = await this.learn(url, api);
    this.asking = false;
    if (this.more) this.pause = FIRST;
    if (wanted || this.more) this.schedule();
    this.more = false;
  }

  /** @returns whether there is anything to learn. Never rejects. */
  private async learn(url: string, api: AgentApi): Promise<boolean> {
    if ((await this.learner.unlabelled()).size === 0) return false;
    try {
      const asked = performance.now();
      const tasks = await getTasks(url, api, this.stopping.signal);
      const wanted = await this.learner.unlabelled();
      this.stopping.signal.throwIfAborted();
      for (const [name, task] of tasks) if (wanted.has(name)) this.learner.learn(name, task, asked);
      this.failed = false;
    } catch (error) {
      if (!this.failed && !this.stopping.signal.aborted) this.learner.onProblem(asProblem(error));
      this.failed = true;
    }
    return true;
  }
}

function asProblem(error: unknown): IsolatorError {
  return error instanceof IsolatorError
    ? error
    : new IsolatorError("internal", `the agent's tasks cannot be read: ${messageOf(error)}`, error);
}
