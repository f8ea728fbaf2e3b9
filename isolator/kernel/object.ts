/** The compiled BPF object: where it is, which build it is, and that it has the layouts this program was made for. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { IsolatorError, messageOf } from "../errors.js";
import { readLayouts } from "./btf.js";
import { layouts } from "./gen/layout.js";

/** Structs and enums of bpf/layout.h that user space reads or writes. */
export const STRUCTS = [
  "policy",
  "counters",
  "port_owner",
  "port_bounds",
  "event",
  "socket_note",
  "connection_count",
  "connection_rule",
  "connection_pass",
  "connection_share",
  "bandwidth_rule",
  "bandwidth_state",
  "socket_tally",
  "port_remap_set",
  "file_key",
  "file_detail",
  "file_cache",
  "file_identity",
  "marking",
  "marking_rule",
  "marking_set",
  "endpoint_key",
  "address_block",
  "class_set",
  "endpoint_state",
  "endpoint_found",
  "egress_block",
  "egress_class",
  "egress_ranges",
  "egress_hit",
  "egress_recent",
  "egress_verdict",
  "termination",
  "listening_ports",
  "ended_socket",
  "service_key",
  "service",
  "service_slot_key",
  "service_slot",
  "service_backend",
] as const;
export const ENUMS = [
  "ring_slot",
  "policy_flags",
  "enforcement",
  "ephemeral",
  "reason",
  "connection_sizes",
  "bandwidth_flags",
  "remap_way",
  "remap_sizes",
  "file_verdict",
  "file_operation",
  "class_bit",
  "endpoint_current",
  "endpoint_origin",
  "egress_sizes",
  "egress_action",
  "egress_kind",
  "connection_total",
  "service_sizes",
  "service_flag",
  "service_state",
] as const;

/** dist/bpf/isolator.bpf.o, beside the compiled program. */
export const OBJECT_FILE = fileURLToPath(new URL("../../bpf/isolator.bpf.o", import.meta.url));

let build: string | undefined;
let layout: string | undefined;

/**
 * Short name of the data layouts of this build: builds with the same one can share maps, so that new programs take the
 * place of old ones with all that those know.
 */
export function layoutId(): string {
  return (layout ??= createHash("sha256").update(JSON.stringify(layouts)).digest("hex").slice(0, 12));
}

/**
 * Short name of this build of the programs: equal for equal object files. Read once a process.
 * @throws not-built
 */
export function buildId(): string {
  return (build ??= hashObject());
}

function hashObject(): string {
  try {
    return createHash("sha256").update(readFileSync(OBJECT_FILE)).digest("hex").slice(0, 12);
  } catch (error) {
    throw new IsolatorError(
      "not-built",
      `the BPF object ${OBJECT_FILE} cannot be read (${messageOf(error)}). Build it: npm run build`,
      error,
    );
  }
}

/**
 * Compares the object's layouts with those that this program was compiled with: a difference would be misread bytes.
 * @throws layout-mismatch, not-built
 */
export function checkLayouts(): void {
  if (isDeepStrictEqual(readLayouts(OBJECT_FILE, STRUCTS, ENUMS), layouts)) return;
  throw new IsolatorError(
    "layout-mismatch",
    `the BPF object ${OBJECT_FILE} has other data layouts than this program was compiled with: ` +
      "they are from two versions. Build both again: npm run build",
  );
}
