/** Events, as messages. */
import type { IsolatorEvent } from "../containers/event-log.js";
import { formatId } from "../containers/names.js";
import type { Denial } from "../features/events.js";
import { bpf_isolator, fromContainerId } from "../mesos/messages.js";

function toDenialMessage(denial: Denial): bpf_isolator.Event.Denial {
  const { reason, protocol, family, address, port, pid, uid, process, unreachable, owner, time } = denial;
  const { option, dscp, askedPort, file } = denial;
  return {
    ...{ reason, protocol, family, port, pid, uid, process },
    ...(address === undefined ? {} : { address }),
    ...(unreachable ? { unreachable } : {}),
    ...(owner === undefined ? {} : { owner }),
    ...(option === undefined ? {} : { option }),
    ...(dscp === undefined ? {} : { dscp }),
    ...(askedPort === undefined ? {} : { asked_port: askedPort }),
    ...(denial.rule === undefined ? {} : { rule: denial.rule }),
    ...(file ? { file: { ...file, inode: BigInt(file.inode) } } : {}),
    ...(denial.ruleName === undefined ? {} : { rule_name: denial.ruleName }),
    boot_time: BigInt(time),
  };
}

/** @param idOf id of a container by its name, if it is known */
export function toEvent(
  event: IsolatorEvent,
  idOf: (name: string) => readonly [string, ...string[]] | undefined,
): bpf_isolator.Event {
  const { time, kind, container, message, count, denial } = event;
  const id = container === "" ? undefined : (idOf(container) ?? splitName(container));
  return {
    time: time / 1000,
    type: kind,
    ...(id ? { container_id: fromContainerId(id) } : {}),
    message,
    ...(denial ? { denial: toDenialMessage(denial) } : {}),
    ...(count === undefined ? {} : { lost: BigInt(count) }),
  };
}

/** Mesos's ids have no dot, so an agent's name is its id, also when the container is gone. */
function splitName(name: string): readonly [string, ...string[]] {
  const [root = name, ...nested] = name.split(".");
  return [root, ...nested];
}

/** Whether an event is about a container or one that is nested in it. */
export function isAbout(event: IsolatorEvent, id: readonly [string, ...string[]]): boolean {
  const name = formatId(id);
  return event.container === name || event.container.startsWith(`${name}.`);
}
