/** A ring of events that this process reads: its own, since a ring has one reader. */
import { IsolatorError } from "../errors.js";
import type { Layout } from "./btf.js";
import { decode, u32Key, type Struct } from "./codec.js";
import { layouts } from "./gen/layout.js";
import type { BpfMap } from "./maps.js";
import {
  errnoName,
  lastErrno,
  libbpf,
  libc,
  registerRingCallback,
  unregisterCallback,
  type Pointer,
} from "./native.js";

/** One event as the kernel wrote it. */
export type KernelEvent = Struct<typeof layouts.structs.event> & {
  /** Of REASON_FILE. */
  file?: FileDetail;
};
/** What comes after an event about a file. */
export type FileDetail = Struct<typeof layouts.structs.file_detail>;

const MAP_TYPE_RINGBUF = 27;
const POLL_MS = 25;
/** Read at one go: a task that makes events faster than they are read must not keep this process from all else. */
const MAX_AT_ONCE = 2000;

/** More than a daemon's ring has room for. */
const MAX_DRAINED = 50_000;

function decodeEvent(bytes: Uint8Array): KernelEvent {
  const { event, file_detail: detail } = layouts.structs;
  const decoded = decode(event, bytes);
  if (bytes.length < event.size + detail.size) return decoded;
  return { ...decoded, file: decode(detail, bytes.subarray(event.size)) };
}

/** How a ring is made. */
export interface RingOptions {
  /** Bytes, a power of two and a multiple of the page size; an event takes 88, one about a file 488. */
  size: number;
  /**
   * Where it is pinned: it stays there when this process ends, goes on collecting events, and is taken up by the next
   * process that names it.
   */
  pin?: string;
}

export class EventRing {
  private readonly timer: NodeJS.Timeout;
  private readonly fd: number;
  private readonly callback: bigint;
  private ring: Pointer;
  private read = 0;

  /**
   * @param rings the map event_rings
   * @param slot index in it; what is there is replaced
   * @param onEvent called for each event, within 25 ms of it
   * @param onClose called once, at close() or leave()
   * @throws map-failed
   */
  constructor(
    private readonly rings: BpfMap,
    readonly slot: number,
    { size, pin }: RingOptions,
    onEvent: (event: KernelEvent) => void,
    private readonly onClose: () => void,
  ) {
    this.fd = openRingMap(size, pin);
    this.callback = registerRingCallback((bytes) => {
      if (bytes.length >= layouts.structs.event.size) onEvent(decodeEvent(bytes));
      return ++this.read < MAX_AT_ONCE;
    });
    this.ring = libbpf().ringNew(this.fd, this.callback, null, null);
    const errno = lastErrno();
    try {
      if (this.ring === null || this.ring === 0n) {
        throw new IsolatorError("map-failed", `the ring for events cannot be mapped: ${errnoName(errno)}`);
      }
      rings.update(u32Key(slot), u32Key(this.fd));
    } catch (error) {
      this.free();
      throw error;
    }
    this.timer = setInterval(() => {
      this.poll();
    }, POLL_MS).unref();
  }

  /**
   * Delivers what is in the ring now, up to a limit.
   * @returns whether it came to the end
   */
  poll(): boolean {
    this.read = 0;
    if (this.ring !== null) libbpf().ringConsume(this.ring);
    return this.read < MAX_AT_ONCE;
  }

  /** Delivers what is left and frees the ring; events after that are counted as lost. Safe to call twice. */
  close(): void {
    if (this.ring === null) return;
    clearInterval(this.timer);
    // The kernel waits until no program writes to it any more, so that there is an end to what is left.
    this.rings.delete(u32Key(this.slot));
    while (!this.poll());
    this.free();
    this.onClose();
  }

  /** Stops reading and leaves the ring where it is pinned, for the next process. Safe to call twice. */
  leave(): void {
    if (this.ring === null) return;
    clearInterval(this.timer);
    // Not to the end, which tasks that make events all the time would keep away: the next process has the rest.
    this.poll();
    this.free();
    this.onClose();
  }

  private free(): void {
    if (this.ring !== null && this.ring !== 0n) libbpf().ringFree(this.ring);
    this.ring = null;
    unregisterCallback(this.callback);
    libc().close(this.fd);
  }
}

/**
 * Delivers what is left in a ring that another build of the programs has left pinned, up to as much as one can hold.
 * @param pin where; missing is fine
 * @param layout of struct event in that build; fields that it does not have are 0
 * @throws map-failed
 */
export function drainRing(pin: string, layout: Layout, onEvent: (event: KernelEvent) => void): void {
  const fd = libbpf().objectGet(pin);
  if (fd < 0) return;
  const none = decode(layouts.structs.event, new Uint8Array(layouts.structs.event.size));
  let read = 0;
  const callback = registerRingCallback((bytes) => {
    if (bytes.length >= layout.size) onEvent({ ...none, ...decode(layout, bytes) });
    // Containers that could not be taken up may write more and more.
    return ++read < MAX_DRAINED;
  });
  const ring = libbpf().ringNew(fd, callback, null, null);
  const errno = lastErrno();
  try {
    if (ring === null || ring === 0n)
      throw new IsolatorError("map-failed", `the ring ${pin} cannot be mapped: ${errnoName(errno)}`);
    libbpf().ringConsume(ring);
    libbpf().ringFree(ring);
  } finally {
    unregisterCallback(callback);
    libc().close(fd);
  }
}

/** @returns file descriptor @throws map-failed */
function openRingMap(size: number, pin: string | undefined): number {
  const pinned = pin === undefined ? -1 : libbpf().objectGet(pin);
  if (pinned >= 0) return pinned;
  const fd = libbpf().mapCreate(MAP_TYPE_RINGBUF, "isolator_events", 0, 0, size, null);
  if (fd < 0) throw new IsolatorError("map-failed", `a ring for events cannot be made: ${errnoName(fd)}`);
  const result = pin === undefined ? 0 : libbpf().objectPin(fd, pin);
  if (result < 0) {
    libc().close(fd);
    throw new IsolatorError(
      "map-failed",
      `a ring for events cannot be pinned at ${pin}: ${errnoName(result)}`,
    );
  }
  return fd;
}
