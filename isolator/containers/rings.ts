/**
 * Which process has which ring of events: /run/bpf-isolator/INSTANCE/rings/SLOT is locked (flock) by the process that
 * reads that one. A slot whose process is gone is free; its ring is replaced by the next owner's.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { IsolatorError } from "../errors.js";
import { EventRing, type KernelEvent } from "../kernel/events.js";
import { layouts } from "../kernel/gen/layout.js";
import { FileLock } from "../kernel/lock.js";
import { buildId } from "../kernel/object.js";
import { pinRoot } from "../kernel/pins.js";
import type { Programs } from "../kernel/programs.js";
import type { Instance } from "./instance.js";

/** Room for about 3,000 events between two looks at the ring. */
const RING_BYTES = 256 * 1024;
/** The daemon's has all containers of an agent, and those that happen while there is no daemon: about 24,000. */
const DAEMON_RING_BYTES = 2 * 1024 * 1024;
/** The last one, always: a container's policy need not change when another daemon takes over. */
export const DAEMON_SLOT = layouts.enums.ring_slot.NO_RING - 1;

/**
 * A ring of this process's own. The caller holds the instance's lock.
 * @param onEvent called for each event
 * @throws map-full when too many processes read events already; map-failed
 */
export function openRing(
  instance: Instance,
  programs: Programs,
  onEvent: (event: KernelEvent) => void,
): EventRing {
  const directory = join(instance.stateDirectory, "rings");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (let slot = 0; slot < DAEMON_SLOT; slot++) {
    const lock = FileLock.try(join(directory, `${slot}`));
    if (!lock) continue;
    try {
      return new EventRing(programs.map("event_rings"), slot, { size: RING_BYTES }, onEvent, () => {
        lock.release();
      });
    } catch (error) {
      lock.release();
      throw error;
    }
  }
  throw new IsolatorError(
    "map-full",
    `${DAEMON_SLOT} processes read events of instance ${instance.name} already, and the BPF map ` +
      "event_rings has no room for another. End some, or use another --instance",
  );
}

/**
 * The daemon's ring: pinned, so that events of the time when no daemon ran are read by the next one.
 * @param onEvent called for each event
 * @throws map-failed
 */
export function openDaemonRing(
  instance: Instance,
  programs: Programs,
  onEvent: (event: KernelEvent) => void,
): EventRing {
  const options = { size: DAEMON_RING_BYTES, pin: daemonRingPin(instance.name, buildId()) };
  return new EventRing(programs.map("event_rings"), DAEMON_SLOT, options, onEvent, () => undefined);
}

/** Where the daemon's ring of a build is pinned. */
export function daemonRingPin(instance: string, build: string): string {
  return join(pinRoot(instance), build, "ring_daemon");
}
