/** Tasks with VIP labels, and what a master tells of them. */
import { mesos } from "../../isolator/mesos/messages.js";

type Task = mesos.v1.master.Task;
type Event = mesos.v1.master.Event;
const { TaskState } = mesos.v1.master;
const { Type } = mesos.v1.master.Event;

type Labels = Readonly<Record<string, string>>;

const labelsOf = (labels: Labels) => ({
  labels: Object.entries(labels).map(([key, value]) => ({ key, value })),
});

/**
 * A task on 127.0.0.1 that runs.
 * @param port or ports: its resources; the first one is told in its DiscoveryInfo, with the labels
 */
export function task(
  id: string,
  port: number | readonly number[],
  vips: Labels,
  role = "web",
  more: Partial<Task> = {},
): Task {
  const ports = typeof port === "number" ? [port] : port;
  const range = ports.map((number) => ({ begin: BigInt(number), end: BigInt(number) }));
  return {
    task_id: { value: id },
    framework_id: { value: "f" },
    agent_id: { value: "a" },
    state: TaskState.TASK_RUNNING,
    resources: [
      { name: "ports", type: mesos.Value.Type.RANGES, ranges: { range }, allocation_info: { role } },
    ],
    discovery: {
      visibility: mesos.DiscoveryInfo.Visibility.CLUSTER,
      ports: { ports: [{ number: ports[0] ?? 0, labels: labelsOf(vips) }] },
    },
    ...more,
  };
}

/** The same with the labels on the task, and no DiscoveryInfo. */
export function labelled(id: string, ports: readonly number[], vips: Labels, role = "web"): Task {
  return { ...task(id, ports, {}, role), labels: labelsOf(vips), discovery: undefined };
}

const AGENT = { agent_info: { hostname: "h", id: { value: "a" } }, pid: "slave(1)@127.0.0.1:5051" };

export const subscribed = (tasks: readonly Task[]): Event => ({
  type: Type.SUBSCRIBED,
  subscribed: {
    get_state: { get_agents: { agents: [AGENT] }, get_tasks: { tasks: [...tasks] } },
    heartbeat_interval_seconds: 15,
  },
});

export const added = (one: Task): Event => ({ type: Type.TASK_ADDED, task_added: { task: one } });

export const updated = (
  id: string,
  state: mesos.v1.master.TaskState,
  healthy?: boolean,
  framework = "f",
): Event => ({
  type: Type.TASK_UPDATED,
  task_updated: {
    framework_id: { value: framework },
    status: { task_id: { value: id }, ...(healthy === undefined ? {} : { healthy }) },
    state,
  },
});
