/** Loads the compiled object into the kernel, and says what the kernel has against it. */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { IsolatorError } from "../errors.js";
import { CALLS, DEVICE_PROGRAMS, ITERATORS, MAP_NAMES, PRIMER, QUERIES } from "./contents.js";
import { HOOKS, type Hook } from "./hooks.js";
import { LSM_MAC, MACHINE_HOOKS, type MachineHook } from "./machine-hooks.js";
import { activeSecurityModules, kernelIsAtLeast } from "./machine.js";
import { errnoName, lastErrno, libbpf, libc, type Pointer } from "./native.js";
import { checkLayouts, OBJECT_FILE } from "./object.js";
import { removePins } from "./pins.js";
import { loadsLsm } from "./probe-programs.js";

/** enum bpf_attach_type: of any function in the kernel's BTF. */
const BPF_TRACE_FENTRY = 24;
const LOG_SIZE = 1 << 20;
const LOG_LINES = 6;

/** File descriptor of a loaded program; the object owns it. */
export function programFd(object: Pointer, name: string): number {
  return libbpf().programFd(libbpf().findProgram(object, name));
}

let destroys: boolean | undefined;

/** Whether programs can end sockets: bpf_sock_destroy(), since 6.5, where the kernel is built with it. Asked once a process. */
export function hasSockDestroy(): boolean {
  return (destroys ??=
    kernelIsAtLeast("6.5") && libbpf().vmlinuxBtfId("bpf_sock_destroy", BPF_TRACE_FENTRY) > 0);
}

/** The program of an iterator that this kernel can have. */
export function iteratorProgram({ name, ...more }: (typeof ITERATORS)[number]): string {
  return "plain" in more && !hasSockDestroy() ? more.plain : name;
}

/**
 * Loads everything and pins it.
 * @param directory of the pins, made whole or not at all
 * @param maps directory of pins whose maps are to be used
 * @throws not-built, layout-mismatch, load-failed
 */
export function load(directory: string, maps?: string): void {
  checkLayouts();
  const { object, hooks } = loadObject(maps);
  const temporary = `${directory}_new`;
  try {
    removePins(temporary);
    mkdirSync(temporary, { recursive: true, mode: 0o700 });
    const pin = (fd: number, name: string): void => {
      const result = fd < 0 ? fd : libbpf().objectPin(fd, join(temporary, name));
      if (result < 0) {
        throw new IsolatorError(
          "load-failed",
          `${name} cannot be pinned in ${temporary}: ${errnoName(result)}`,
        );
      }
    };
    for (const { name } of [...hooks, PRIMER]) pin(programFd(object, name), `program_${name}`);
    for (const iterator of ITERATORS)
      pin(programFd(object, iteratorProgram(iterator)), `iterator_${iterator.name}`);
    for (const name of CALLS) pin(programFd(object, name), `call_${name}`);
    for (const name of QUERIES) pin(programFd(object, name), `query_${name}`);
    for (const name of DEVICE_PROGRAMS) pin(programFd(object, name), `device_${name}`);
    for (const name of MAP_NAMES) pin(libbpf().findMapFd(object, name), `map_${name}`);
    renameSync(temporary, directory);
  } catch (error) {
    removePins(temporary);
    throw error;
  } finally {
    libbpf().objectClose(object);
  }
}

export interface Loaded {
  object: Pointer;
  /** Those whose programs are loaded. */
  hooks: readonly Hook[];
}

/** Those of MACHINE_HOOKS that the kernel has. */
function presentMachineHooks(): MachineHook[] {
  return MACHINE_HOOKS.filter(({ hook }) => libbpf().vmlinuxBtfId(hook, LSM_MAC) >= 0);
}

/**
 * Loads the programs of MACHINE_HOOKS, for the maps that are pinned: apart from the others, since few containers need them
 * and their verification takes as long as that of all the others.
 * @param directory of the build's pins, where they are pinned too; undefined: only to know whether they load
 * @returns whether the kernel has what is needed, and takes them
 * @throws load-failed
 */
export function loadMachine(directory?: string): boolean {
  const machine = presentMachineHooks();
  const lacks = MACHINE_HOOKS.some((hook) => !hook.newer && !machine.includes(hook));
  if (lacks || !mayHaveLsm()) return false;
  const { object } = tryLoad([], directory, machine);
  if (object === null) return false;
  try {
    if (directory === undefined) return true;
    for (const { name } of machine) {
      const pin = join(directory, `program_${name}`);
      // Left by a process that was killed here: it is the same.
      if (existsSync(pin)) continue;
      const result = libbpf().objectPin(programFd(object, name), pin);
      if (result < 0) throw new IsolatorError("load-failed", `${pin} cannot be pinned: ${errnoName(result)}`);
    }
    return true;
  } finally {
    libbpf().objectClose(object);
  }
}

/** What loadAhead() has loaded, until load() has a use for it. */
let ahead: Loaded | undefined;

/**
 * Loads everything in a thread, while this one does something else, for the load() to come: the kernel takes half a second
 * to verify all programs. What it refuses is left to load(), which says why.
 */
export async function loadAhead(): Promise<void> {
  const hooks = mayHaveLsm() && loadsAnyLsm() ? HOOKS : HOOKS.filter(({ lsm }) => !lsm);
  const object = openObject(hooks);
  const errno = await libbpf().objectLoadAsync(object);
  if (errno < 0) libbpf().objectClose(object);
  else ahead = { object, hooks };
}

/** Gives back what loadAhead() has loaded and nobody had a use for: programs and maps that are pinned already. */
export function dropAhead(): void {
  if (ahead) libbpf().objectClose(ahead.object);
  ahead = undefined;
}

/** @throws load-failed */
export function loadObject(maps?: string): Loaded {
  if (ahead && maps === undefined) {
    const loaded = ahead;
    ahead = undefined;
    return loaded;
  }
  // A kernel may have BPF LSM and yet refuse its programs (lockdown, seccomp): only trying tells, and one small program
  // is tried first, since verifying all of them takes half a second.
  const everything = mayHaveLsm() && loadsAnyLsm() ? tryLoad(HOOKS, maps) : undefined;
  if (everything?.object) return everything;
  const some = everything && tryLoad(withLoadableLsm(), maps);
  if (some?.object) return some;
  const plain = tryLoad(
    HOOKS.filter(({ lsm }) => !lsm),
    maps,
  );
  if (plain.object) return plain;
  throw loadError(plain.errno);
}

/** Whether this kernel takes a program for the first of the security hooks; where it does not, none is loaded. */
function loadsAnyLsm(): boolean {
  const first = HOOKS.find(({ lsm }) => lsm);
  return first !== undefined && loadsLsm(first);
}

/** Without the security hooks that this kernel takes no program for. */
function withLoadableLsm(): Hook[] {
  return HOOKS.filter((hook) => !hook.lsm || loadsLsm(hook));
}

/** False only where it is known that BPF LSM programs can never run. */
function mayHaveLsm(): boolean {
  return activeSecurityModules()?.includes("bpf") !== false;
}

function tryLoad(
  hooks: readonly Hook[],
  maps?: string,
  machine?: readonly MachineHook[],
): Loaded & { errno: number } {
  const object = openObject(hooks, machine);
  if (maps !== undefined) reuseMaps(object, maps);
  const errno = libbpf().objectLoad(object);
  if (errno >= 0) return { object, hooks, errno };
  libbpf().objectClose(object);
  return { object: null, hooks, errno };
}

/**
 * @param hooks that programs are to be loaded for
 * @param machine likewise, with nothing else; undefined: none of them, but all that is no hook's
 */
function openObject(hooks: readonly Hook[], machine?: readonly MachineHook[]): Pointer {
  const object = libbpf().objectOpen(OBJECT_FILE, null);
  if (object === null || object === 0n) {
    throw new IsolatorError("load-failed", `libbpf cannot open ${OBJECT_FILE}: ${errnoName(lastErrno())}`);
  }
  for (const hook of HOOKS) {
    libbpf().setAutoload(libbpf().findProgram(object, hook.name), hooks.includes(hook));
  }
  for (const hook of MACHINE_HOOKS) {
    libbpf().setAutoload(libbpf().findProgram(object, hook.name), machine?.includes(hook) ?? false);
  }
  const load = (name: string, wanted: boolean): void => {
    libbpf().setAutoload(libbpf().findProgram(object, name), wanted && machine === undefined);
  };
  for (const name of [PRIMER.name, ...CALLS, ...QUERIES]) load(name, true);
  for (const iterator of ITERATORS) {
    const used = iteratorProgram(iterator);
    for (const name of "plain" in iterator ? [iterator.name, iterator.plain] : [iterator.name])
      load(name, name === used);
  }
  return object;
}

/** Makes an object use maps that are pinned. @throws load-failed */
function reuseMaps(object: Pointer, directory: string): void {
  for (const name of MAP_NAMES) {
    const fd = libbpf().objectGet(join(directory, `map_${name}`));
    const result = fd < 0 ? fd : libbpf().mapReuseFd(libbpf().findMap(object, name), fd);
    if (fd >= 0) libc().close(fd);
    if (result < 0) {
      libbpf().objectClose(object);
      throw new IsolatorError(
        "load-failed",
        `the map ${join(directory, `map_${name}`)} cannot be used again: ${errnoName(result)}`,
      );
    }
  }
}

function linesOf(log: Uint8Array): string[] {
  const text = Buffer.from(log.subarray(0, log.indexOf(0)))
    .toString()
    .trim();
  return text === "" ? [] : text.split("\n");
}

/** What the verifier writes of a program that it accepts. */
const ACCEPTED = /^(processed|verification time|stack depth|Validating|Func#\d+ .* is safe) /;

/** Loads once more to learn which program the kernel refused and what its verifier said last. */
function loadError(errno: number): IsolatorError {
  const hooks = HOOKS.filter(({ lsm }) => !lsm);
  const object = openObject(hooks);
  const names = [...hooks.map(({ name }) => name), PRIMER.name, ...ITERATORS.map(iteratorProgram)];
  const logs = [...names, ...CALLS, ...QUERIES].map((name) => ({ name, log: new Uint8Array(LOG_SIZE) }));
  try {
    for (const { name, log } of logs) {
      const program = libbpf().findProgram(object, name);
      libbpf().setLogBuffer(program, log, LOG_SIZE);
      libbpf().setLogLevel(program, 1);
    }
    libbpf().objectLoad(object);
    const said = logs
      .map(({ name, log }) => ({ name, lines: linesOf(log) }))
      .find(({ lines }) => lines.some((line) => !ACCEPTED.test(line)));
    const hook = said ? ` The verifier on ${said.name}:\n  ${said.lines.slice(-LOG_LINES).join("\n  ")}` : "";
    return new IsolatorError(
      "load-failed",
      `the kernel refuses the BPF programs with ${errnoName(errno)}. ` +
        `"bpf-isolator check" says what this kernel lacks.${hook}`,
    );
  } finally {
    libbpf().objectClose(object);
  }
}
